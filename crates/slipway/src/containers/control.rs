//! How a container is spoken to: over a socket in its folder, on which its owner listens.
//!
//! A request is a line of JSON, with descriptors beside it where a program is to be connected to something; answers are
//! lines of JSON. Both ends are the same program. Only who may enter the folder can reach the socket.

use std::io::{self, BufRead as _, BufReader, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use rustix::pipe::PipeFlags;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The socket in a folder.
const SOCKET: &str = "control";

/// A request is never larger than what a program can be started with.
const MAX_BYTES: u64 = 4 << 20;

/// Descriptors that go with a request, at most.
const MAX_DESCRIPTORS: usize = 4;

/// What is asked of the owner of a container.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Send a signal.
    Signal(i32),
    /// End the container, by its own signal if none is named, and by SIGKILL after the time; do not start it again.
    Stop { signal: Option<String>, timeout_s: Option<u64> },
    /// End the program as `Stop` does, and run it again, with the files that it has now.
    Restart { signal: Option<String>, timeout_s: Option<u64> },
    /// Wait until the container has ended for good.
    Wait,
    /// Take files out of the container's file system, and unpack the archive that comes with the request, if one does,
    /// in a folder of it. All files belong to root then.
    Put { folder: String, removed: Vec<String>, ends: Vec<End> },
    /// Write a file or folder as an archive, in which it is called `name`, to the descriptor that comes with the request.
    Take { path: String, name: String, ends: Vec<End> },
    /// Say what is at a path of the container's file system; the answer is a [`Found`].
    Look { path: String },
    /// Run a further program. `ends` says which descriptors come with the request.
    Exec { program: Program, ends: Vec<End> },
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Found {
    Nothing,
    File,
    Folder,
}

/// A further program.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Program {
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) cwd: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) is_privileged: bool,
}

/// What a descriptor is to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    Terminal,
    Stdin,
    Stdout,
    Stderr,
}

/// What an owner answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    /// The further program, or the container, has ended.
    Exited(u8),
    Refused {
        message: String,
        exit_code: u8,
    },
}

/// Why a container could not be spoken to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    #[error("nobody looks after the container any more")]
    Nobody(#[source] io::Error),
    #[error("the owner of the container has ended before it answered")]
    Gone,
    #[error("cannot speak with the owner of the container")]
    Io(#[from] io::Error),
}

/// Asks the owner of the container in `folder`, and waits for its answer.
pub(crate) fn ask(folder: &Path, request: &Request, descriptors: &[BorrowedFd<'_>]) -> Result<Answer, ControlError> {
    let stream = connect(folder).map_err(ControlError::Nobody)?;
    send(&stream, request, descriptors).map_err(gone_or)?;
    answer(stream)
}

/// Waits for the answer to what was sent.
pub(crate) fn answer(stream: UnixStream) -> Result<Answer, ControlError> {
    match BufReader::new(stream).lines().next() {
        Some(line) => Ok(parse(&line.map_err(gone_or)?)?),
        None => Err(ControlError::Gone),
    }
}

/// An owner that ends closes all connections, also those that it has not looked at yet.
fn gone_or(error: io::Error) -> ControlError {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ControlError::Gone,
        _ => ControlError::Io(error),
    }
}

/// The socket by way of a descriptor of its folder: the path itself may be longer than the 108 bytes of an address.
fn address(folder: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    let folder = rustix::fs::openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()));
    Ok((folder, path))
}

/// A connection with who listens in `folder`.
pub(crate) fn connect(folder: &Path) -> io::Result<UnixStream> {
    let (_folder, path) = address(folder)?;
    UnixStream::connect(path)
}

/// Sends a line of JSON.
pub(crate) fn send(stream: &UnixStream, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(message)?;
    bytes.push(b'\n');
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = sendmsg(stream, &[IoSlice::new(&bytes)], &mut beside, SendFlags::NOSIGNAL)?;
    let mut rest = stream;
    rest.write_all(&bytes[sent..])
}

/// Receives the one line that who asks sends before it waits, with what came beside it.
pub(crate) fn receive<T: DeserializeOwned>(stream: &UnixStream) -> io::Result<(T, Vec<OwnedFd>)> {
    let mut bytes = vec![0; 64 << 10];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(stream, &mut [IoSliceMut::new(&mut bytes)], &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = message {
            descriptors.extend(more);
        }
    }
    bytes.truncate(received.bytes);
    if !bytes.ends_with(b"\n") {
        BufReader::new(stream.take(MAX_BYTES)).read_until(b'\n', &mut bytes)?;
    }
    Ok((serde_json::from_slice(&bytes)?, descriptors))
}

/// A message from its line.
pub(crate) fn parse<T: DeserializeOwned>(line: &str) -> io::Result<T> {
    Ok(serde_json::from_str(line)?)
}

/// Somebody who listens; ends when dropped. Conversations that have begun go on.
pub(crate) struct Listening {
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// Listens in `folder`; `talk` is called with each connection, on a thread of its own.
pub(crate) fn listen(folder: &Path, talk: impl Fn(UnixStream) + Send + Sync + 'static) -> io::Result<Listening> {
    let (_folder, path) = address(folder)?;
    // Left by an owner that was killed; there is only one at a time.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    let (stopped, stop) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let talk = Arc::new(talk);
    let work = move || {
        while is_ready(&listener, &stopped) {
            let Ok((stream, _)) = listener.accept() else { continue };
            let talk = Arc::clone(&talk);
            let conversation = move || {
                if stream.set_nonblocking(false).is_ok() {
                    talk(stream);
                }
            };
            // Without a thread the connection closes, which who asks takes for a refusal.
            let _ = thread::Builder::new().name("conversation".to_owned()).spawn(conversation);
        }
    };
    let thread = thread::Builder::new().name("listener".to_owned()).spawn(work)?;
    Ok(Listening { stop: Some(stop), thread: Some(thread) })
}

impl Drop for Listening {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // If it panicked it does not listen any more, which is what is wanted.
            let _ = thread.join();
        }
    }
}

/// Waits for `end`; `false` once `stopped` closes.
fn is_ready(end: impl AsFd, stopped: &OwnedFd) -> bool {
    let mut waiting = [PollFd::new(stopped, PollFlags::IN), PollFd::from_borrowed_fd(end.as_fd(), PollFlags::IN)];
    loop {
        match poll(&mut waiting, None) {
            Err(Errno::INTR) => {}
            answer => return answer.is_ok() && waiting[0].revents().is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn requests_arrive_with_their_descriptors() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "content").unwrap();
        let listening = listen(folder.path(), |stream| {
            let (request, mut descriptors): (Request, _) = receive(&stream).unwrap();
            let mut text = String::new();
            File::from(descriptors.remove(0)).read_to_string(&mut text).unwrap();
            let Request::Exec { program, ends } = request else { panic!("it was another request") };
            let message = format!("{} {} {ends:?}", program.args.concat().len(), text);
            send(&stream, &Answer::Refused { message, exit_code: 7 }, &[]).unwrap();
        })
        .unwrap();
        let file = File::open(folder.path().join("file")).unwrap();
        // Longer than what a socket takes at once.
        let program = Program { args: vec!["x".repeat(1 << 20)], ..Program::default() };
        let request = Request::Exec { program, ends: vec![End::Stdin] };
        match ask(folder.path(), &request, &[file.as_fd()]).unwrap() {
            Answer::Refused { message, exit_code: 7 } => assert_eq!(message, "1048576 content [Stdin]"),
            other => panic!("{other:?}"),
        }
        drop(listening);
        assert!(matches!(ask(folder.path(), &Request::Signal(1), &[]), Err(ControlError::Nobody(_))));
    }
}
