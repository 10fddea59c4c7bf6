//! Starts this very program again as the first process of fresh namespaces.
//!
//! The caller may hold gigabytes of heap and many threads. A plain fork would copy all page tables (50 ms with
//! 500 MB) and leave the child with locks that nobody unlocks. So the child shares the memory, the calling thread
//! sleeps, and the child does three kinds of calls only: keep some descriptors, ask to die with its parent, exec.
//! `clone(2)` of the C library is used rather than a bare `clone3`, because a child that shares memory needs a stack
//! of its own, and setting that up takes assembly, which the C library has for every architecture.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::mpsc;
use std::thread;

use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use crate::call::{CallError, Named};
use crate::signals;

/// Enough for the child's three kinds of calls, none of which has large locals.
const STACK_BYTES: usize = 64 * 1024;

/// The program to start. The magic link works whatever has happened to the file of that name since.
const THIS_PROGRAM: &CStr = c"/proc/self/exe";

/// Namespaces of its own that every step gets.
pub(crate) const OF_A_STEP: c_int =
    libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP;

/// Starts this program in fresh `namespaces` (`CLONE_NEW…`), with `args` and an empty environment; `inherited`
/// descriptors stay open in it.
///
/// Returns the number and a descriptor of the process once the program runs. It is killed when the calling *thread*
/// ends, unless it lifts that itself.
pub(crate) fn start(
    namespaces: c_int,
    args: &[CString],
    inherited: &[BorrowedFd<'_>],
) -> Result<(u32, OwnedFd), CallError> {
    start_with(namespaces, args, inherited.iter().map(AsRawFd::as_raw_fd).collect())
}

/// As [`start`]; the descriptors have to stay open until this returns.
fn start_with(namespaces: c_int, args: &[CString], inherited: Vec<RawFd>) -> Result<(u32, OwnedFd), CallError> {
    let mut argv: Vec<*const c_char> = args.iter().map(|arg| arg.as_ptr()).collect();
    argv.push(ptr::null());
    let mut orders = ChildOrders { argv: argv.as_ptr(), inherited, failure: None };
    let mut stack = Box::<[u8]>::new_uninit_slice(STACK_BYTES);
    let mut pidfd: c_int = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD | namespaces;

    let _blocked = signals::AllBlocked::new();
    // SAFETY: `child` gets a stack of its own, which like `orders` and `argv` outlives it: CLONE_VFORK suspends this
    // thread until the child has executed another program or ended. No signal handler can run in the child, as all
    // signals are blocked. The kernel writes one int through the pointer for CLONE_PIDFD.
    let pid =
        unsafe { libc::clone(child, top_of(&mut stack), flags, (&raw mut orders).cast::<c_void>(), &raw mut pidfd) };
    let Ok(number) = u32::try_from(pid) else {
        return Err(io::Error::last_os_error()).named(|| "clone(new namespaces)".to_owned());
    };
    // SAFETY: CLONE_PIDFD has just opened this descriptor for us; nobody else knows it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let Some((call, source)) = orders.failure else { return Ok((number, pidfd)) };
    // It has ended already; this only takes its leftover away.
    let _ = rustix::process::waitid(
        rustix::process::WaitId::PidFd(std::os::fd::AsFd::as_fd(&pidfd)),
        rustix::process::WaitIdOptions::EXITED,
    );
    Err(source).named(|| call.to_owned())
}

/// As [`start`], in no new namespaces, but among the processes that `process` sees.
///
/// A thread goes there to start the child, and lives as long as the child does: who is not root of the machine cannot
/// come back from there, and the child would be killed with the thread.
pub(crate) fn start_among_those_of(
    process: &OwnedFd,
    args: &[CString],
    inherited: &[BorrowedFd<'_>],
) -> Result<(u32, OwnedFd), CallError> {
    let (tell, told) = mpsc::channel();
    let process = process.try_clone().named(|| "dup(pidfd)".to_owned())?;
    let (args, inherited) = (args.to_vec(), inherited.iter().map(AsRawFd::as_raw_fd).collect());
    let work = move || {
        let started = move_into_thread_name_spaces(process.as_fd(), ThreadNameSpaceType::PROCESS_ID)
            .named(|| "setns(container, CLONE_NEWPID)".to_owned())
            .and_then(|()| start_with(0, &args, inherited));
        let child = started.as_ref().ok().and_then(|(_, pidfd)| pidfd.try_clone().ok());
        // Who asked waits for it.
        let _ = tell.send(started);
        if let Some(child) = child {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            // It may have been waited for already.
            while let Err(Errno::INTR) = rustix::process::waitid(WaitId::PidFd(child.as_fd()), options) {}
        }
    };
    thread::Builder::new().name("guest".to_owned()).spawn(work).named(|| "clone(thread)".to_owned())?;
    // `inherited` stays open until the child has its own copies.
    told.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended")).named(|| "clone(container)".to_owned()))
}

/// The highest address of the stack that suits every ABI: stacks grow down and are aligned to 16 bytes.
fn top_of(stack: &mut [MaybeUninit<u8>]) -> *mut c_void {
    let end = stack.as_mut_ptr_range().end;
    end.wrapping_sub(end.addr() % 16).cast::<c_void>()
}

/// What the child is to do, in memory that both processes see.
struct ChildOrders {
    argv: *const *const c_char,
    inherited: Vec<RawFd>,
    /// The call that failed, if the other program could not be started.
    failure: Option<(&'static str, io::Error)>,
}

/// Runs in the child, on the parent's memory: no allocation, no lock, no panic.
extern "C" fn child(orders: *mut c_void) -> c_int {
    // SAFETY: `start` passes its live `ChildOrders`, and its thread sleeps, so that this is the only reference.
    let orders = unsafe { &mut *orders.cast::<ChildOrders>() };
    orders.failure = Some(execute(orders));
    127
}

/// Returns only if it fails.
fn execute(orders: &ChildOrders) -> (&'static str, io::Error) {
    for descriptor in &orders.inherited {
        // The child has its own table of descriptors; the parent's flags stay as they are.
        // SAFETY: no memory is involved.
        if unsafe { libc::fcntl(*descriptor, libc::F_SETFD, 0) } < 0 {
            return ("fcntl(F_SETFD)", io::Error::last_os_error());
        }
    }
    // SAFETY: no memory is involved.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } < 0 {
        return ("prctl(PR_SET_PDEATHSIG)", io::Error::last_os_error());
    }
    let environment = [ptr::null::<c_char>()];
    // SAFETY: path and arguments are C strings, both arrays end with a null pointer.
    unsafe { libc::execve(THIS_PROGRAM.as_ptr(), orders.argv, environment.as_ptr()) };
    ("execve(/proc/self/exe)", io::Error::last_os_error())
}
