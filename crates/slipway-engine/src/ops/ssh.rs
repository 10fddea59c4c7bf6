//! `RUN --mount=type=ssh`: a socket of our own that passes everything on to the user's agent.
//!
//! The step never gets the host's socket itself: when the step ends the socket is gone, and with it the way.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::fs::{AtFlags, Mode, OFlags};
use slipway_graph::request::{Ssh, SshSource};
use slipway_sandbox::owners::{self, Owner};

/// Why a step cannot be given an agent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SshError {
    #[error("cannot make the agent socket for `{id}`")]
    Socket { id: String, source: io::Error },
    #[error(
        "`--ssh {id}=` with key files is not supported yet; start an agent and pass its socket: `--ssh {id}=$SSH_AUTH_SOCK`"
    )]
    Keys { id: String },
}

const NAME: &str = "agent.sock";

/// The socket of the user's own agent, for programs that are no steps.
pub(super) fn agent(ssh: &Ssh) -> Result<&Path, SshError> {
    match &ssh.source {
        SshSource::Agent(agent) => Ok(agent),
        SshSource::Keys(_) => Err(SshError::Keys { id: ssh.id.clone() }),
    }
}

/// Serves one mount until it is dropped.
pub(super) struct Proxy {
    socket: OwnedFd,
    path: PathBuf,
    is_over: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Makes the socket in `folder`, a file system in memory that is mounted nowhere.
    pub(super) fn start(ssh: &Ssh, folder: BorrowedFd<'_>, mode: u32, owner: (u32, u32)) -> Result<Proxy, SshError> {
        let agent = agent(ssh)?;
        let error = |source: io::Error| SshError::Socket { id: ssh.id.clone(), source };
        // `bind(2)` takes only paths, and this is the path of a descriptor.
        let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()));
        let listener = UnixListener::bind(&path).map_err(error)?;
        rustix::fs::chmodat(folder, NAME, Mode::from_raw_mode(mode), AtFlags::empty()).map_err(|e| error(e.into()))?;
        let owner = Owner { uid: owner.0, gid: owner.1 };
        owners::give_at(folder, NAME.as_bytes(), owner).map_err(|e| error(e.into()))?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let socket = rustix::fs::openat(folder, NAME, flags, Mode::empty()).map_err(|e| error(e.into()))?;
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, agent) = (Arc::clone(&is_over), agent.to_owned());
        let listening = std::thread::spawn(move || {
            for client in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                // A client that cannot be served sees its connection close, as with an agent that died.
                if let (Ok(client), Ok(agent)) = (client, UnixStream::connect(&agent)) {
                    std::thread::spawn(move || pass_on(client, agent));
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

/// Copies both ways until one side closes.
fn pass_on(client: UnixStream, agent: UnixStream) {
    let (Ok(mut client_reader), Ok(mut agent_writer)) = (client.try_clone(), agent.try_clone()) else { return };
    let (mut agent_reader, mut client_writer) = (agent, client);
    let back = std::thread::spawn(move || {
        let _ = io::copy(&mut agent_reader, &mut client_writer);
        let _ = client_writer.shutdown(std::net::Shutdown::Both);
    });
    let _ = io::copy(&mut client_reader, &mut agent_writer);
    let _ = agent_writer.shutdown(std::net::Shutdown::Both);
    let _ = back.join();
}
