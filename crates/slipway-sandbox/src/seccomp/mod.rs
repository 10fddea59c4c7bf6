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
pub(crate) mod supervised;
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
    with_program(&program(ABIS), 0).map(drop)
}

/// Installs any filter; returns what the kernel does.
fn with_program(program: &[libc::sock_filter], flags: libc::c_ulong) -> io::Result<libc::c_long> {
    let length = u16::try_from(program.len()).expect("because the tables are fixed and far below 4096 instructions");
    let filter = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: `filter` and the program that it points to live through the call; the kernel only reads them.
    let answer =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, std::ptr::from_ref(&filter)) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
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
    let mut intervals = fill_gaps(&mut verdicts, LAST_KNOWN);
    if let Some(HighNumbers { bit, allowed }) = &abi.allowed_high {
        verdicts.extend(allowed.iter().map(|(number, _)| (*number, Verdict::Allow)));
        let last_known = allowed.last().map_or(LAST_KNOWN, |(number, _)| *number);
        let high = fill_gaps(&mut verdicts, last_known);
        intervals.extend(high.iter().map(|(number, verdict)| (bit + number, *verdict)));
    }
    intervals
}

/// Sorts single numbers, puts `EPERM` between and `ENOSYS` after them, and joins neighbours of the same verdict.
fn fill_gaps(verdicts: &mut [(u32, Verdict)], last_known: u32) -> Vec<(u32, Verdict)> {
    verdicts.sort_unstable_by_key(|(number, _)| *number);
    let mut filled: Vec<(u32, Verdict)> = vec![(0, Verdict::Errno(libc::EPERM))];
    let mut add = |number: u32, verdict: Verdict| match filled.last_mut() {
        Some(last) if last.0 == number => last.1 = verdict,
        Some(last) if last.1 == verdict => {}
        _ => filled.push((number, verdict)),
    };
    for (number, verdict) in verdicts {
        add(*number, *verdict);
        add(*number + 1, Verdict::Errno(libc::EPERM));
    }
    add(last_known + 1, Verdict::Errno(libc::ENOSYS));
    filled
}

/// Binary search for the interval of the loaded number.
fn search(intervals: &[(u32, Verdict)]) -> Vec<libc::sock_filter> {
    match intervals {
        [] => unreachable!("the range of numbers is never empty"),
        [(_, verdict)] => decide(*verdict),
        _ => {
            let (lower, upper) = intervals.split_at(intervals.len() / 2);
            let below = search(lower);
            let pivot = upper[0].0;
            let mut code = match u8::try_from(below.len()) {
                Ok(count) => vec![jump_if(libc::BPF_JGE, pivot, count, 0)],
                Err(_) => vec![jump_if(libc::BPF_JGE, pivot, 0, 1), jump(below.len())],
            };
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel would; knows the instructions that are generated here.
    fn run(program: &[libc::sock_filter], arch: u32, number: u32, first_argument: u64) -> u32 {
        run_with(program, arch, number, &[first_argument])
    }

    /// As [`run`], with more arguments.
    pub(super) fn run_with(program: &[libc::sock_filter], arch: u32, number: u32, arguments: &[u64]) -> u32 {
        let mut data = vec![number, arch, 0, 0];
        data.extend(arguments.iter().flat_map(|argument| [*argument as u32, (argument >> 32) as u32]));
        let (mut loaded, mut next) = (0, 0);
        loop {
            let libc::sock_filter { code, jt, jf, k } = program[next];
            next += 1;
            let holds = match u32::from(code) & !libc::BPF_K {
                code if code == libc::BPF_LD | libc::BPF_ABS => {
                    loaded = data[k as usize / 4];
                    continue;
                }
                code if code == libc::BPF_RET => return k,
                code if code == libc::BPF_JMP | libc::BPF_JA => {
                    next += k as usize;
                    continue;
                }
                code if code == libc::BPF_JMP | libc::BPF_JEQ => loaded == k,
                code if code == libc::BPF_JMP | libc::BPF_JGE => loaded >= k,
                code if code == libc::BPF_JMP | libc::BPF_JSET => loaded & k != 0,
                code => panic!("instruction {code:#x}"),
            };
            next += usize::from(if holds { jt } else { jf });
        }
    }

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const EPERM: u32 = libc::SECCOMP_RET_ERRNO | 1;
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | 38;

    /// The verdict on a native call.
    fn native(number: libc::c_long, first_argument: u64) -> u32 {
        run(
            &program(ABIS),
            ABIS[0].audit_arch,
            u32::try_from(number).expect("because numbers are small"),
            first_argument,
        )
    }

    #[test]
    fn the_tables_are_sorted_and_leave_out_the_special_calls() {
        for abi in ABIS {
            assert!(abi.allowed.is_sorted_by(|a, b| a.0 < b.0));
            let special = ["socket", "clone", "clone3", "personality"];
            assert!(abi.allowed.iter().all(|(_, name)| !special.contains(name)));
            assert!(abi.allowed_high.iter().all(|high| high.allowed.is_sorted_by(|a, b| a.0 < b.0)));
        }
    }

    #[test]
    fn every_number_gets_the_verdict_of_its_table() {
        let program = program(ABIS);
        assert!(program.len() < 4096, "{}", program.len());
        for abi in ABIS {
            let special = [abi.socket, abi.clone, abi.clone3, abi.personality];
            for number in (0..2000).filter(|number| !special.contains(number)) {
                let expected = match abi.allowed.iter().any(|(allowed, _)| *allowed == number) {
                    true => ALLOW,
                    false if number <= LAST_KNOWN => EPERM,
                    false => ENOSYS,
                };
                assert_eq!(run(&program, abi.audit_arch, number, 0), expected, "{:#x} {number}", abi.audit_arch);
            }
        }
    }

    #[test]
    fn what_programs_need_is_allowed() {
        for number in [libc::SYS_read, libc::SYS_execve, libc::SYS_openat2, libc::SYS_chroot, libc::SYS_ptrace] {
            assert_eq!(native(number, 0), ALLOW, "{number}");
        }
    }

    #[test]
    fn what_changes_the_host_is_refused() {
        let refused = [
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_bpf,
            libc::SYS_keyctl,
            libc::SYS_io_uring_setup,
            libc::SYS_kexec_load,
            libc::SYS_open_by_handle_at,
            libc::SYS_fsopen,
        ];
        for number in refused {
            assert_eq!(native(number, 0), EPERM, "{number}");
        }
    }

    #[test]
    fn clone_makes_threads_but_no_namespaces() {
        let thread = libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND;
        assert_eq!(native(libc::SYS_clone, u64::from(thread.cast_unsigned())), ALLOW);
        for flag in [libc::CLONE_NEWUSER, libc::CLONE_NEWNS, libc::CLONE_NEWNET, libc::CLONE_NEWCGROUP] {
            assert_eq!(native(libc::SYS_clone, u64::from((thread | flag).cast_unsigned())), EPERM, "{flag:#x}");
        }
        assert_eq!(native(libc::SYS_clone3, 0), ENOSYS);
    }

    #[test]
    fn sockets_to_the_hypervisor_are_refused() {
        assert_eq!(native(libc::SYS_socket, 1), ALLOW);
        assert_eq!(native(libc::SYS_socket, 40), EPERM);
        // The kernel reads an int, so the upper half must not hide the number.
        assert_eq!(native(libc::SYS_socket, (7 << 32) | 40), EPERM);
    }

    #[test]
    fn five_personalities_are_known() {
        for known in [0, 8, 0x20000, 0x20008, 0xffff_ffff] {
            assert_eq!(native(libc::SYS_personality, known), ALLOW, "{known:#x}");
        }
        // READ_IMPLIES_EXEC and ADDR_NO_RANDOMIZE weaken the defences of programs.
        for weaker in [0x40_0000, 0x4_0000, 1] {
            assert_eq!(native(libc::SYS_personality, weaker), EPERM, "{weaker:#x}");
        }
    }

    #[test]
    fn a_foreign_architecture_is_killed() {
        let elf_class_of_s390x = 0x8000_0016;
        assert_eq!(run(&program(ABIS), elf_class_of_s390x, 0, 0), libc::SECCOMP_RET_KILL_THREAD);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn x32_has_numbers_of_its_own() {
        let x32 = |number: u32| native(libc::c_long::from(0x4000_0000 | number), 0);
        assert_eq!(x32(0), ALLOW);
        assert_eq!(x32(520), ALLOW, "execve");
        assert_eq!(x32(528), EPERM, "kexec_load");
        assert_eq!(x32(165), EPERM, "mount");
        assert_eq!(x32(548), ENOSYS);
        assert_eq!(native(520, 0), ENOSYS);
    }
}
