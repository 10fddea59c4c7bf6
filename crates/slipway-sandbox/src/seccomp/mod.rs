//! What a step may ask of the kernel: Docker's default profile for the default capabilities, as a BPF program.
//!
//! The verdicts are those that the reference builder's own filter gives (Docker 28.5.2, read back from a running
//! step with `PTRACE_SECCOMP_GET_FILTER`), system call by system call:
//!
//! - what the tables of the architecture name is allowed; 32-bit programs have a table of their own;
//! - `socket` without `AF_VSOCK`, `clone` without new namespaces, and five values of `personality` are allowed;
//! - `clone3` answers `ENOSYS`, as its flags lie in memory where no filter can look: the C library then falls back
//!   to `clone`;
//! - a call that is younger than the profile answers `ENOSYS`, so that programs fall back to an older one;
//! - everything else answers `EPERM`, and a program of a foreign architecture is killed.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
use aarch64::ABIS;
#[cfg(target_arch = "x86_64")]
use x86_64::ABIS;

use std::io;

/// One way of calling the kernel: its number in `seccomp_data.arch` and its system call numbers.
struct Abi {
    audit_arch: u32,
    /// Allowed with any arguments, as (number, name), sorted by number.
    allowed: &'static [(u32, &'static str)],
    /// A second block of numbers in the same table; empty but for x32.
    allowed_high: Option<HighNumbers>,
    socket: u32,
    clone: u32,
    clone3: u32,
    personality: u32,
}

/// Calls that share an `audit_arch` and are told apart by a bit of the number.
struct HighNumbers {
    /// Added to every number.
    bit: u32,
    /// Allowed in addition to the calls without the bit.
    allowed: &'static [(u32, &'static str)],
}

/// The last system call that the profile knows of; the numbers are the same for all ABIs since 424.
const LAST_KNOWN: u32 = 466;

/// The clone flags that make namespaces: `CLONE_NEWNS`, `NEWCGROUP`, `NEWUTS`, `NEWIPC`, `NEWUSER`, `NEWPID`, `NEWNET`.
const NAMESPACE_FLAGS: u32 = 0x7e02_0000;

/// `PER_LINUX`, `PER_LINUX32`, both with `UNAME26`, and the question for the current one.
const PERSONALITIES: [u32; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

const AF_VSOCK: u32 = 40;

/// What happens to one system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Allow,
    Errno(i32),
    SocketExceptVsock,
    CloneWithoutNamespaces,
    KnownPersonality,
}

/// Installs the filter for this process and all that come from it. It can never be removed.
pub(crate) fn install() -> io::Result<()> {
    let program = program(ABIS);
    let length = u16::try_from(program.len()).expect("because the tables are fixed and far below 4096 instructions");
    let filter = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: `filter` and the program that it points to live through the call; the kernel only reads them.
    let answer =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, std::ptr::from_ref(&filter)) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The program: find the ABI, then the call by binary search, then look at its argument if need be.
fn program(abis: &[Abi]) -> Vec<libc::sock_filter> {
    let mut program = vec![load(OFFSET_ARCH)];
    for abi in abis {
        let body = search(&intervals(abi));
        // The first call of the other ABI is too far away for a conditional jump, which reaches 255 instructions.
        program.push(jump_if(libc::BPF_JEQ, abi.audit_arch, 1, 0));
        program.push(jump(1 + body.len()));
        program.push(load(OFFSET_NR));
        program.extend(body);
    }
    program.push(answer(libc::SECCOMP_RET_KILL_THREAD));
    program
}

/// The whole range of numbers, cut where the verdict changes: each entry counts up to the next one's number.
fn intervals(abi: &Abi) -> Vec<(u32, Verdict)> {
    let mut verdicts: Vec<(u32, Verdict)> = abi.allowed.iter().map(|(number, _)| (*number, Verdict::Allow)).collect();
    verdicts.extend([
        (abi.socket, Verdict::SocketExceptVsock),
        (abi.clone, Verdict::CloneWithoutNamespaces),
        (abi.personality, Verdict::KnownPersonality),
        (abi.clone3, Verdict::Errno(libc::ENOSYS)),
    ]);
    let mut last_known = LAST_KNOWN;
    if let Some(HighNumbers { bit, allowed }) = &abi.allowed_high {
        let same: Vec<_> = verdicts.iter().map(|(number, verdict)| (bit + number, *verdict)).collect();
        verdicts.extend(same);
        verdicts.extend(allowed.iter().map(|(number, _)| (bit + number, Verdict::Allow)));
        verdicts.push((last_known + 1, Verdict::Errno(libc::ENOSYS)));
        last_known = bit + allowed.last().map_or(LAST_KNOWN, |(number, _)| *number);
    }
    verdicts.sort_unstable_by_key(|(number, _)| *number);
    merge(&verdicts, last_known)
}

/// Fills the gaps between single numbers with `EPERM` and joins neighbours of the same verdict.
fn merge(verdicts: &[(u32, Verdict)], last_known: u32) -> Vec<(u32, Verdict)> {
    let mut merged: Vec<(u32, Verdict)> = vec![(0, Verdict::Errno(libc::EPERM))];
    let mut add = |number: u32, verdict: Verdict| match merged.last_mut() {
        Some(last) if last.0 == number => last.1 = verdict,
        Some(last) if last.1 == verdict => {}
        _ => merged.push((number, verdict)),
    };
    for (number, verdict) in verdicts {
        add(*number, *verdict);
        add(number + 1, Verdict::Errno(libc::EPERM));
    }
    add(last_known + 1, Verdict::Errno(libc::ENOSYS));
    merged
}

/// Binary search for the interval of the loaded number.
fn search(intervals: &[(u32, Verdict)]) -> Vec<libc::sock_filter> {
    match intervals {
        [] => unreachable!("the range of numbers is never empty"),
        [(_, verdict)] => decide(*verdict),
        _ => {
            let (lower, upper) = intervals.split_at(intervals.len() / 2);
            let below = search(lower);
            let mut code = vec![jump_if(libc::BPF_JGE, upper[0].0, 0, 1), jump(below.len())];
            code.extend(below);
            code.extend(search(upper));
            code
        }
    }
}

/// Ends the program with a verdict.
///
/// Arguments are compared by their lower half: the kernel takes these three as 32-bit numbers and ignores the rest.
fn decide(verdict: Verdict) -> Vec<libc::sock_filter> {
    let refuse = answer(libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned());
    let allow = answer(libc::SECCOMP_RET_ALLOW);
    match verdict {
        Verdict::Allow => vec![allow],
        Verdict::Errno(errno) => vec![answer(libc::SECCOMP_RET_ERRNO | errno.cast_unsigned())],
        Verdict::SocketExceptVsock => {
            vec![load(OFFSET_FIRST_ARGUMENT), jump_if(libc::BPF_JEQ, AF_VSOCK, 0, 1), refuse, allow]
        }
        Verdict::CloneWithoutNamespaces => {
            vec![load(OFFSET_FIRST_ARGUMENT), jump_if(libc::BPF_JSET, NAMESPACE_FLAGS, 0, 1), refuse, allow]
        }
        Verdict::KnownPersonality => {
            let mut code = vec![load(OFFSET_FIRST_ARGUMENT)];
            for known in PERSONALITIES {
                code.extend([jump_if(libc::BPF_JEQ, known, 0, 1), allow]);
            }
            code.push(refuse);
            code
        }
    }
}

/// Offsets in `struct seccomp_data`.
const OFFSET_NR: u32 = 0;
const OFFSET_ARCH: u32 = 4;
/// The lower half: both architectures are little-endian.
const OFFSET_FIRST_ARGUMENT: u32 = 16;

fn load(offset: u32) -> libc::sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

fn answer(value: u32) -> libc::sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, value)
}

/// Leaves out the next `count` instructions.
fn jump(count: usize) -> libc::sock_filter {
    let count = u32::try_from(count).expect("because the tables are fixed and far below 4096 instructions");
    instruction(libc::BPF_JMP | libc::BPF_JA, 0, 0, count)
}

/// Leaves out `then` instructions if the comparison with the loaded number holds, else `otherwise`.
///
/// With 0 and 1: the next instruction is the one for "yes".
fn jump_if(comparison: u32, value: u32, then: u8, otherwise: u8) -> libc::sock_filter {
    instruction(libc::BPF_JMP | comparison | libc::BPF_K, then, otherwise, value)
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).expect("because operation codes have 16 bits"), jt, jf, k }
}
