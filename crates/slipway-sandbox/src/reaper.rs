//! The first process of a container with `--init`: what programs that were not written to be PID 1 want to have above them.
//!
//! The kernel gives PID 1 two duties. It becomes the parent of all whose parents end, and who does not wait for these fills
//! the table of processes; and no signal has its default effect on it, so that a program without handlers cannot be asked
//! to end. So the program becomes a child of this process, which waits for all, passes every signal on, and ends as the
//! program does.
//!
//! This process goes on to be slipway, beside programs of the image, with the program's user and rights. Nobody without
//! `CAP_SYS_PTRACE` may look at its memory or at `/proc/1/exe`, and who may can write to no program that is running
//! (CVE-2019-5736); it ends only when all that could keep a descriptor of it do.

use std::io;

use rustix::process::{DumpableBehavior, Pid, WaitOptions, WaitStatus};

use crate::call::{CallError, Named};
use crate::signals;

/// What the kernel tells this process about its own faults and its terminal is not for the program; SIGKILL and SIGSTOP
/// never come here.
const OWN: [libc::c_int; 9] = [
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGABRT,
    libc::SIGTRAP,
    libc::SIGSYS,
    libc::SIGTTIN,
    libc::SIGTTOU,
];

/// Returns in a child that the caller goes on in. This process stays to look after it, and ends with its exit code.
pub(crate) fn continue_in_child() -> Result<(), CallError> {
    let passed_on: Vec<libc::c_int> = (1..=libc::SIGRTMAX()).filter(|signal| !OWN.contains(signal)).collect();
    // Before there is a child, so that nothing is missed.
    let awaited = signals::block_only(&passed_on).named(|| "sigprocmask(init)".to_owned())?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .named(|| "prctl(PR_SET_DUMPABLE, 0)".to_owned())?;
    // SAFETY: this process has one thread, so the child has all there is of it, and no lock is held.
    let child = unsafe { libc::fork() };
    if child < 0 {
        return Err(io::Error::last_os_error()).named(|| "fork(program)".to_owned());
    }
    let Some(child) = Pid::from_raw(child) else {
        // A group of its own, in front of the terminal: what is typed there reaches it once, not through us as well.
        take_foreground().named(|| "tcsetpgrp(program)".to_owned())?;
        return signals::reset().named(|| "sigprocmask(none)".to_owned());
    };
    // Who started us waits until nobody holds the report any more; and of the others, none is to be found here.
    // SAFETY: no memory is involved, and nobody uses these descriptors again: this process only waits, and never returns.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    let code = look_after(child, &awaited);
    // SAFETY: ends the process; no memory is involved.
    unsafe { libc::_exit(code) }
}

fn take_foreground() -> io::Result<()> {
    rustix::process::setpgid(None, None)?;
    let stdin = rustix::stdio::stdin();
    if rustix::termios::tcgetpgrp(stdin).is_ok() {
        // Who asks from the background is told so by a signal; it is blocked until `signals::reset`.
        signals::block_only(&[libc::SIGTTOU])?;
        rustix::termios::tcsetpgrp(stdin, rustix::process::getpid())?;
    }
    Ok(())
}

/// Waits for everybody until `program` has ended; gives its exit code, 128 + n for a signal n.
fn look_after(program: Pid, awaited: &libc::sigset_t) -> i32 {
    loop {
        let Ok(signal) = signals::wait_for(awaited) else { continue };
        if signal.si_signo != libc::SIGCHLD {
            pass_on(signal.si_signo, program);
            continue;
        }
        // One signal may stand for several of them.
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid == program
                && let Some(code) = exit_code(status)
            {
                return code;
            }
        }
    }
}

fn pass_on(signal: libc::c_int, program: Pid) {
    // SAFETY: no memory is involved. A program that has just ended is told by SIGCHLD.
    unsafe { libc::kill(program.as_raw_nonzero().get(), signal) };
}

fn exit_code(status: WaitStatus) -> Option<i32> {
    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal))
}
