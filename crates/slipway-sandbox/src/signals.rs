//! Signal masks and dispositions.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// Blocks every signal of this thread as long as it lives.
///
/// Around a `clone` that shares memory: a handler that ran in the child would write to the parent's data.
pub(crate) struct AllBlocked {
    before: libc::sigset_t,
}

impl AllBlocked {
    pub(crate) fn new() -> Self {
        let mut before = MaybeUninit::uninit();
        let all = full_set();
        // SAFETY: both sets are live; the call fails only for an unknown first argument, and it fills `before`.
        let before = unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, before.as_mut_ptr());
            before.assume_init()
        };
        Self { before }
    }
}

impl Drop for AllBlocked {
    fn drop(&mut self) {
        // SAFETY: `before` is the mask that the kernel gave us.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut()) };
    }
}

/// The highest signal number of the architectures that we know.
const LAST_SIGNAL: libc::c_int = 64;

/// Default dispositions and an empty mask, as a fresh login would have them.
///
/// The Rust runtime ignores `SIGPIPE`, and ignored signals survive `execve`: `yes | head` would never end.
pub(crate) fn reset() -> io::Result<()> {
    // `struct sigaction` of the kernel: handler, flags, restorer (or nothing) and mask; SIG_DFL is 0.
    let default_action = [0_u64; 4];
    for signal in 1..=LAST_SIGNAL {
        // Past the C library, which hides the signals that it uses itself, though a parent may have ignored them.
        // SAFETY: the action is as large as the kernel's structure and installs no handler. SIGKILL and SIGSTOP
        // answer EINVAL, which is fine.
        unsafe {
            let no_old_action = ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, signal, default_action.as_ptr(), no_old_action, size_of::<u64>());
        }
    }
    set_mask(&empty_set())
}

/// Blocks exactly these signals in this thread.
pub(crate) fn block_only(signals: &[libc::c_int]) -> io::Result<libc::sigset_t> {
    let mut set = empty_set();
    for signal in signals {
        // SAFETY: `set` is an initialised set.
        unsafe { libc::sigaddset(&raw mut set, *signal) };
    }
    set_mask(&set)?;
    Ok(set)
}

/// Waits for one of the blocked signals of `set`.
pub(crate) fn wait_for(set: &libc::sigset_t) -> io::Result<libc::siginfo_t> {
    let mut info = MaybeUninit::uninit();
    // SAFETY: `set` is an initialised set and `info` is large enough for what the kernel writes.
    if unsafe { libc::sigwaitinfo(set, info.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a successful call has filled it.
    Ok(unsafe { info.assume_init() })
}

/// Gives a signal its default effect again.
pub(crate) fn use_default(signal: libc::c_int) {
    // SAFETY: installs no handler; the call fails only for numbers that are no signals.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Dies of `signal`, as far as that is possible.
pub(crate) fn raise_default(signal: libc::c_int) {
    use_default(signal);
    // A failure leaves the signal blocked; the caller exits in another way then.
    let _ = set_mask(&empty_set());
    // SAFETY: no memory is involved.
    unsafe { libc::raise(signal) };
}

fn set_mask(set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: `set` is an initialised set, and the old mask is not asked for.
    match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, set, ptr::null_mut()) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

fn empty_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the call initialises the set and cannot fail for a valid pointer.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}

fn full_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the call initialises the set and cannot fail for a valid pointer.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        set.assume_init()
    }
}
