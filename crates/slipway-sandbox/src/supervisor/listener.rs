//! The kernel's side of supervision: a system call of the step arrives, waits, and gets its answer (seccomp_unotify(2)).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// A system call that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) id: u64,
    /// The calling thread, as a number of our process namespace.
    pub(super) thread: u32,
    pub(super) number: i32,
    /// As they were when the call was made; the caller cannot change them any more.
    pub(super) arguments: [u64; 6],
}

/// What becomes of a system call.
#[derive(Debug)]
pub(super) enum Answer {
    /// It returns this number and the kernel does nothing.
    Value(i64),
    /// It fails.
    Error(Errno),
    /// The kernel carries it out as if nobody had asked, with all its own checks.
    Kernel,
    /// It returns a descriptor for this file.
    File { file: OwnedFd, close_on_exec: bool },
}

impl From<Errno> for Answer {
    fn from(errno: Errno) -> Self {
        Self::Error(errno)
    }
}

/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` (`linux/seccomp.h`).
const SYNC_WAKE_UP: u64 = 1;

/// Where the system calls arrive. When it is dropped all calls that would have arrived fail with `ENOSYS`.
pub(super) struct Listener(OwnedFd);

impl Listener {
    pub(super) fn new(descriptor: OwnedFd) -> Self {
        // Caller and thread take turns, so let them do that on one processor: it takes a third of the time. Kernels
        // before 6.6 do not know it and do without.
        // SAFETY: no memory is involved; the flag comes as the argument itself.
        unsafe {
            libc::ioctl(descriptor.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP);
        }
        Self(descriptor)
    }

    /// Waits for the next call; nothing once no process is left that could make one.
    pub(super) fn next(&self) -> Option<Request> {
        loop {
            let mut events = [PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut events, None) {
                Err(Errno::INTR) => continue,
                Err(_) => return None,
                Ok(_) => {}
            }
            if !events[0].revents().contains(PollFlags::IN) {
                return None;
            }
            // The caller may have been killed between the two calls (`ENOENT`): then the next one's turn has come.
            if let Ok(request) = self.receive() {
                return Some(request);
            }
        }
    }

    fn receive(&self) -> io::Result<Request> {
        // The kernel wants zeros where it will write.
        let mut notification = MaybeUninit::<libc::seccomp_notif>::zeroed();
        // SAFETY: the structure is of the size that the request number says, and lives through the call.
        let answer =
            unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, notification.as_mut_ptr()) };
        if answer < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: all bytes were zero before, which is a value of this structure, and the kernel has filled it.
        let libc::seccomp_notif { id, pid, data, .. } = unsafe { notification.assume_init() };
        Ok(Request { id, thread: pid, number: data.nr, arguments: data.args })
    }

    /// Whether the call still waits. While it does, the number of its thread names that very thread.
    pub(super) fn still_waits(&self, request: &Request) -> bool {
        // SAFETY: the kernel reads one number, which lives through the call.
        let answer = unsafe {
            libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, std::ptr::from_ref(&request.id))
        };
        answer == 0
    }

    /// Gives the answer. A caller that has been killed meanwhile does not hear it, and does not mind.
    pub(super) fn send(&self, request: &Request, answer: &Answer) {
        let (value, error, flags) = match answer {
            Answer::Value(value) => (*value, 0, 0),
            Answer::Error(errno) => (0, -errno.raw_os_error(), 0),
            Answer::Kernel => (0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
            Answer::File { file, close_on_exec } => match self.send_file(request, file, *close_on_exec) {
                Ok(()) => return,
                // Its table of descriptors is full, or it was killed.
                Err(error) => (0, -error.raw_os_error().unwrap_or(libc::EMFILE), 0),
            },
        };
        let response = libc::seccomp_notif_resp { id: request.id, val: value, error, flags };
        // SAFETY: the kernel reads the structure, which lives through the call.
        unsafe {
            libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, std::ptr::from_ref(&response));
        }
    }

    /// Puts the file into the caller's table and returns its number there, in one.
    fn send_file(&self, request: &Request, file: &OwnedFd, close_on_exec: bool) -> io::Result<()> {
        let order = libc::seccomp_notif_addfd {
            id: request.id,
            flags: libc::SECCOMP_ADDFD_FLAG_SEND as u32,
            srcfd: file.as_fd().as_raw_fd().cast_unsigned(),
            newfd: 0,
            newfd_flags: if close_on_exec { libc::O_CLOEXEC.cast_unsigned() } else { 0 },
        };
        // SAFETY: the kernel reads the structure, which lives through the call; `file` stays ours.
        let answer =
            unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD, std::ptr::from_ref(&order)) };
        if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
