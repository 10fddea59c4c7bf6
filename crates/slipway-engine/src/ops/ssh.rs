//! `RUN --mount=type=ssh`: a socket of our own, behind which an agent answers.
//!
//! The step never gets the host's socket itself: when the step ends the socket is gone, and with it the way.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::fs::{AtFlags, Mode, OFlags};
use slipway_sandbox::owners::{self, Owner};

use crate::ssh::{Agent, serve};

const NAME: &str = "agent.sock";

/// Serves one mount until it is dropped.
pub(super) struct Proxy {
    socket: OwnedFd,
    path: PathBuf,
    is_over: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Makes the socket in `folder`, a file system in memory that is mounted nowhere.
    pub(super) fn start(agent: Arc<Agent>, folder: BorrowedFd<'_>, mode: u32, owner: (u32, u32)) -> io::Result<Proxy> {
        // `bind(2)` takes only paths, and this is the path of a descriptor.
        let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()));
        let listener = UnixListener::bind(&path)?;
        rustix::fs::chmodat(folder, NAME, Mode::from_raw_mode(mode), AtFlags::empty())?;
        owners::give_at(folder, NAME.as_bytes(), Owner { uid: owner.0, gid: owner.1 })?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let socket = rustix::fs::openat(folder, NAME, flags, Mode::empty())?;
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let listening = std::thread::spawn(move || {
            for client in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(client) = client {
                    let agent = Arc::clone(&agent);
                    // A client that cannot be served sees its connection close, as with an agent that died.
                    std::thread::spawn(move || serve(client, &agent));
                }
            }
        });
        Ok(Proxy { socket, path, is_over, listening: Some(listening) })
    }

    /// The socket, to be bound into the step.
    pub(super) fn socket(&self) -> impl AsFd + '_ {
        self.socket.as_fd()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes the listener up, so that it sees that it is over.
        if UnixStream::connect(&self.path).is_ok()
            && let Some(listening) = self.listening.take()
        {
            // A panic there has been reported and changes nothing here.
            let _ = listening.join();
        }
    }
}
