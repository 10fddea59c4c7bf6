//! From a spec to a running process, and from there to its exit status.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Mutex, PoisonError};

use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus};

use crate::call::{CallError, Named};
use crate::program::ExecError;
use crate::spec::{Credentials, Network, Spec, Surroundings};
use crate::supervisor::Supervisor;
use crate::wire::{self, Failure};
use crate::{init, namespaces, owners};

/// Why a process did not start.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The machine does not allow the sandbox, or a path of the spec is not there.
    #[error("cannot set up the sandbox")]
    Setup(#[source] CallError),
    /// The sandbox is fine, but its program cannot be executed.
    #[error(transparent)]
    Exec(ExecError),
    /// No user or group has this number; the kernel would read it as "stay who you are", which is root.
    #[error("{0} is no user or group id")]
    InvalidId(u32),
    /// An argument or variable cannot be passed to a program.
    #[error("`{0}` holds a NUL byte")]
    Nul(String),
}

impl From<CallError> for SpawnError {
    fn from(error: CallError) -> Self {
        Self::Setup(error)
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl ExitStatus {
    /// Whether it exited with code 0.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// The exit code as shells and container runtimes count: 128 + n for a signal n.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }

    pub(crate) fn from_wait(status: &WaitIdStatus) -> Self {
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => unreachable!("waitid was asked for ended processes only"),
        }
    }
}

/// Starts the process and returns once its program runs.
///
/// The process and all its descendants are killed when the calling *thread* ends, so that nothing outlives a killed
/// slipway: wait on the thread that spawns. One that joined others is killed with them, or when slipway ends.
pub fn spawn(spec: &Spec) -> Result<Running, SpawnError> {
    refuse_nul(spec)?;
    refuse_no_id(&spec.credentials)?;
    let spec_file = write_spec(spec)?;
    let (report, report_writer) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).named(|| "pipe2(report of the first process)".to_owned())?;
    let is_single_id = owners::are_recorded();
    let is_supervised = is_single_id || spec.shuffles_folders;
    let supervision = is_supervised.then(|| Supervisor::start(&spec.credentials)).transpose()?;
    let (supervisor, channel) = supervision.unzip();
    let mut args = vec![
        init::ARGV0.to_owned(),
        descriptor_argument(spec_file.as_fd()),
        descriptor_argument(report_writer.as_fd()),
    ];
    args.extend(channel.iter().map(|channel| descriptor_argument(channel.as_fd())));
    if is_single_id {
        args.push(init::SINGLE_ID.to_owned());
    }
    let mut inherited: Vec<BorrowedFd<'_>> =
        vec![spec_file.as_fd(), report_writer.as_fd(), spec.stdout.as_fd(), spec.stderr.as_fd()];
    let home = match &spec.surroundings {
        Surroundings::Own { root, .. } => root,
        Surroundings::Of(process) => process,
    };
    inherited.push(home.as_fd());
    inherited.extend(spec.mounts.iter().map(|mount| mount.source.as_fd()));
    inherited.extend(spec.terminal.iter().chain(&spec.stdin).map(AsFd::as_fd));
    inherited.extend(spec.user_namespace.iter().map(AsFd::as_fd));
    inherited.extend(spec.control_groups.iter().map(AsFd::as_fd));
    inherited.extend(channel.iter().map(|channel| channel.as_fd()));
    let own_network = match &spec.network {
        Network::Host => 0,
        Network::None => libc::CLONE_NEWNET,
        Network::Joined(namespace) => {
            inherited.push(namespace.as_fd());
            0
        }
    };

    let (pid, pidfd) = match &spec.surroundings {
        Surroundings::Own { .. } => {
            let shared = if spec.special.shares_host_name { libc::CLONE_NEWUTS } else { 0 };
            namespaces::start((namespaces::OF_A_STEP & !shared) | own_network, &args, &inherited)?
        }
        Surroundings::Of(process) => namespaces::start_among_those_of(process, &args, &inherited)?,
    };
    let running = Running { pid, pidfd, ended: Mutex::new(Ended { status: None, supervisor }) };
    drop((report_writer, channel));
    match read_report(report)? {
        None => Ok(running),
        Some(Failure::Call(error)) => Err(SpawnError::Setup(error)),
        Some(Failure::Exec(error)) => Err(SpawnError::Exec(error)),
    }
}

fn refuse_nul(spec: &Spec) -> Result<(), SpawnError> {
    let holds_nul = |text: &&OsStr| text.as_bytes().contains(&0);
    match spec.args.iter().chain(&spec.env).map(|text| text.as_os_str()).find(holds_nul) {
        Some(text) => Err(SpawnError::Nul(text.to_string_lossy().into_owned())),
        None => Ok(()),
    }
}

fn refuse_no_id(Credentials { uid, gid, groups }: &Credentials) -> Result<(), SpawnError> {
    match [uid, gid].into_iter().chain(groups).find(|id| **id == u32::MAX) {
        Some(id) => Err(SpawnError::InvalidId(*id)),
        None => Ok(()),
    }
}

/// Puts the spec where the first process can read it.
fn write_spec(spec: &Spec) -> Result<File, CallError> {
    let descriptor = rustix::fs::memfd_create("slipway-sandbox-spec", MemfdFlags::CLOEXEC)
        .named(|| "memfd_create(spec)".to_owned())?;
    let mut file = File::from(descriptor);
    file.write_all(&wire::encode(spec)).and_then(|()| file.rewind()).named(|| "write(spec)".to_owned())?;
    Ok(file)
}

fn descriptor_argument(descriptor: BorrowedFd<'_>) -> CString {
    CString::new(descriptor.as_raw_fd().to_string()).expect("because digits hold no NUL byte")
}

/// Waits until the program runs (nothing is reported) or could not be started.
fn read_report(report: OwnedFd) -> Result<Option<Failure>, CallError> {
    let mut bytes = Vec::new();
    File::from(report).read_to_end(&mut bytes).named(|| "read(report of the first process)".to_owned())?;
    if bytes.is_empty() {
        return Ok(None);
    }
    wire::decode_failure(&bytes).map(Some).named(|| "read(report of the first process)".to_owned())
}

/// A running sandboxed process: PID 1 of its own process namespace.
///
/// Can be shared between threads. Dropping it kills the process.
#[derive(Debug)]
pub struct Running {
    pid: u32,
    pidfd: OwnedFd,
    ended: Mutex<Ended>,
}

/// What is left to know and to do once the process has ended.
#[derive(Debug)]
struct Ended {
    status: Option<ExitStatus>,
    /// The thread that answers for the process, until it has ended too.
    supervisor: Option<Supervisor>,
}

impl Running {
    /// Waits until the process and all its descendants are gone.
    pub fn wait(&self) -> Result<ExitStatus, CallError> {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(status) = ended.status {
            return Ok(status);
        }
        let status = loop {
            match rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED) {
                Err(Errno::INTR) => {}
                answer => break answer.named(|| "waitid(sandbox)".to_owned())?,
            }
        };
        let status = ExitStatus::from_wait(&status.expect("because without NOHANG the call waits for a status"));
        ended.status = Some(status);
        // It may still hold files of the root, which the caller is free to unmount from now on.
        if let Some(supervisor) = ended.supervisor.take() {
            supervisor.join();
        }
        Ok(status)
    }

    /// The number of the process, as this process sees it.
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// A descriptor of the process, for [`Surroundings::Of`].
    pub fn descriptor(&self) -> Result<OwnedFd, CallError> {
        self.pidfd.try_clone().named(|| "dup(pidfd)".to_owned())
    }

    /// Sends a signal to the process, which as PID 1 hears only those that it handles. Harmless when it has ended already.
    pub fn signal(&self, signal: Signal) -> Result<(), CallError> {
        match rustix::process::pidfd_send_signal(&self.pidfd, signal) {
            Err(Errno::SRCH) => Ok(()),
            answer => answer.map_err(io::Error::from).named(|| format!("pidfd_send_signal(sandbox, {signal:?})")),
        }
    }

    /// Kills the process and with it all its descendants. Harmless when it has ended already.
    pub fn kill(&self) -> Result<(), CallError> {
        self.signal(Signal::KILL)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both only fail when there is nothing left to kill or to wait for.
        let _ = self.kill();
        let _ = self.wait();
    }
}
