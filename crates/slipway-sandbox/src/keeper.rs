//! A process beside the build that keeps something alive for all of its steps, such as a network.
//!
//! It is this program, started again as the first process of a process namespace of its own: whatever it starts ends
//! with it, also what turned itself into a daemon. And it ends when its control pipe closes, which the kernel does
//! when slipway ends, by whatever means. It says once whether it is ready, and slipway waits for that for a limited
//! time only.

use std::any::Any;
use std::convert::Infallible;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Signal, WaitId, WaitIdOptions};

use crate::call::{CallError, Named};
use crate::idmap;
use crate::{emulation, init, namespaces, private_network};

/// The name under which a keeper is started; nobody types it.
const ARGV0: &CStr = c"slipway: keeper";

/// What a keeper says when it is ready; anything else is why it is not.
const READY: &str = "ready";

/// What a keeper says in a user namespace that has no ids yet.
const WANTS_IDS: &str = "ids";

/// What a keeper keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// See [`crate::private_network`].
    Network,
    /// See [`crate::emulation`].
    Emulator,
}

impl Role {
    const ALL: [(Self, &'static CStr); 2] = [(Self::Network, c"network"), (Self::Emulator, c"emulator")];

    fn word(self) -> &'static CStr {
        let (_, word) = Self::ALL.into_iter().find(|(role, _)| *role == self).expect("because all of them are listed");
        word
    }
}

/// Why there is no keeper.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeeperError {
    #[error(transparent)]
    Call(#[from] CallError),
    /// It said why it cannot do its work.
    #[error("{0}")]
    Refused(String),
    /// It said nothing in time.
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
}

impl KeeperError {
    /// In one line, with the kernel's answer.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Call(CallError { call, source }) => format!("{call}: {source}"),
            Self::Refused(_) | Self::Late(_) => self.to_string(),
        }
    }
}

/// A keeper that has been started and may not be ready yet; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Starting {
    keeper: Keeper,
    report: File,
    since: Instant,
}

/// A running keeper; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Keeper {
    pidfd: OwnedFd,
    pid: u32,
    control: File,
}

impl Keeper {
    /// Starts a keeper and waits until it is ready, at most `patience`.
    pub(crate) fn start(role: Role, arguments: &[&OsStr], patience: Duration) -> Result<Self, KeeperError> {
        Self::begin(role, arguments)?.finish(patience)
    }

    /// Starts a keeper that gets ready while the caller does something else. The calling thread has to live until
    /// [`Starting::finish`] returns, or the keeper may end with it.
    pub(crate) fn begin(role: Role, arguments: &[&OsStr]) -> Result<Starting, KeeperError> {
        let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).named(|| "pipe2(keeper)".to_owned());
        let ((control, control_writer), (report, report_writer)) = (pipe()?, pipe()?);
        let mut args = vec![ARGV0.to_owned(), role.word().to_owned(), number(&control), number(&report_writer)];
        for argument in arguments {
            args.push(CString::new(argument.as_bytes()).named(|| "execve(keeper)".to_owned())?);
        }
        let inherited = [control.as_fd(), report_writer.as_fd()];
        let (pid, pidfd) = namespaces::start(libc::CLONE_NEWPID, &args, &inherited)?;
        // From here on it ends when it goes out of scope.
        let keeper = Self { pidfd, pid, control: control_writer.into() };
        Ok(Starting { keeper, report: report.into(), since: Instant::now() })
    }

    /// Gives the keeper's user namespace all ids that this process has, under the same numbers.
    fn give_ids(&mut self) -> Result<(), CallError> {
        for file in ["uid_map", "gid_map"] {
            let own = format!("/proc/self/{file}");
            let map = idmap::same_ids(&fs::read_to_string(&own).named(|| format!("read({own})"))?);
            let path = format!("/proc/{}/{file}", self.pid);
            fs::write(&path, map).named(|| format!("write({path})"))?;
        }
        self.control.write_all(&[1]).named(|| "write(keeper)".to_owned())
    }

    /// The namespace of `kind`, as in `/proc/<pid>/ns/<kind>`, that the keeper lives in.
    pub(crate) fn namespace(&self, kind: &str) -> Result<OwnedFd, CallError> {
        // It has not been waited for, so that the number is still its own.
        let path = format!("/proc/{}/ns/{kind}", self.pid);
        File::open(&path).map(OwnedFd::from).named(|| format!("open({path})"))
    }
}

impl Starting {
    /// Waits until the keeper is ready, at most until `patience` has passed since it was started.
    pub(crate) fn finish(self, patience: Duration) -> Result<Keeper, KeeperError> {
        let Self { mut keeper, mut report, since } = self;
        loop {
            let line = read_line(&mut report, since + patience).named(|| "read(report of a keeper)".to_owned())?;
            match line.as_deref() {
                None => return Err(KeeperError::Late(patience)),
                Some(READY) => return Ok(keeper),
                Some(WANTS_IDS) => keeper.give_ids()?,
                Some(reason) => return Err(KeeperError::Refused(reason.to_owned())),
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        // The kernel takes 10 ms and more to take a network apart. Nobody has to wait for that, but in a program that
        // lives on, somebody has to take away what is left of the process.
        if let Ok(pidfd) = self.pidfd.try_clone() {
            thread::spawn(move || rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED));
        }
    }
}

fn number(descriptor: &OwnedFd) -> CString {
    CString::new(descriptor.as_raw_fd().to_string()).expect("because digits hold no NUL byte")
}

/// The line that is written, or what there is of it when the other end closes; `None` if that is not before `until`.
fn read_line(from: &mut File, until: Instant) -> io::Result<Option<String>> {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if !is_readable(&*from, until.saturating_duration_since(Instant::now()))? {
            return Ok(None);
        }
        let n_read = from.read(&mut buffer)?;
        text.extend(&buffer[..n_read]);
        if n_read == 0 || text.ends_with(b"\n") {
            return Ok(Some(String::from_utf8_lossy(&text).trim_end().to_owned()));
        }
    }
}

/// Whether there is something to read, or the other end has closed, before `patience` is over.
fn is_readable(descriptor: impl AsFd, patience: Duration) -> io::Result<bool> {
    let mut ends = [PollFd::new(&descriptor, PollFlags::IN)];
    let patience = Timespec::try_from(patience).map_err(|_| Errno::INVAL)?;
    match poll(&mut ends, Some(&patience)) {
        Err(Errno::INTR) => is_readable(descriptor, Duration::ZERO),
        answer => Ok(answer? > 0),
    }
}

/// Has to be called first in `main`: this program may have been started as a keeper. Then the call never returns.
pub(crate) fn keep_if_requested(args: &[OsString]) {
    let [name, role, control, report, arguments @ ..] = args else { return };
    if name.as_bytes() != ARGV0.to_bytes() {
        return;
    }
    let Some((role, _)) = Role::ALL.into_iter().find(|(_, word)| word.to_bytes() == role.as_bytes()) else { return };
    let (Some(control), Some(report)) = (init::inherited(control), init::inherited(report)) else { return };
    let Err(message) = keep(role, Link { control: control.into(), report: report.into() }, arguments);
    // Nobody may be left to tell.
    let _ = rustix::io::write(rustix::stdio::stderr(), message.as_bytes());
    // SAFETY: ends the process; no memory is involved.
    unsafe { libc::_exit(1) }
}

/// A keeper's side of the talk with slipway.
pub(crate) struct Link {
    control: File,
    report: File,
}

impl Link {
    fn say(&mut self, line: &str) -> Result<(), String> {
        self.report.write_all(format!("{line}\n").as_bytes()).map_err(|error| format!("write(report): {error}"))
    }

    /// Waits until slipway has given ids to the user namespace that this process has made.
    pub(crate) fn ask_for_ids(&mut self) -> Result<(), String> {
        self.say(WANTS_IDS)?;
        self.control.read_exact(&mut [0]).map_err(|error| format!("read(control): {error}"))
    }
}

/// Does the work of `role` until the control pipe closes.
fn keep(role: Role, mut link: Link, arguments: &[OsString]) -> Result<Infallible, String> {
    // The thread that started the keeper may end long before the build does; the control pipe tells when that ends.
    let _ = rustix::process::set_parent_process_death_signal(None);
    // A session of its own: Ctrl-C reaches slipway, which ends its keepers itself.
    let _ = rustix::process::setsid();
    init::close_others_on_exec().map_err(|error| format!("close_range(3, CLOEXEC): {error}"))?;
    let made: Result<Box<dyn Any>, String> = match role {
        Role::Network => private_network::make(arguments).map(|made| Box::new(made) as Box<dyn Any>),
        Role::Emulator => emulation::make(&mut link, arguments).map(|made| Box::new(made) as Box<dyn Any>),
    };
    let _kept = match made {
        Ok(made) => made,
        Err(reason) => {
            link.say(&reason.replace('\n', " "))?;
            return Err(String::new());
        }
    };
    link.say(READY)?;
    while !is_readable(&link.control, Duration::from_secs(3600)).map_err(|error| error.to_string())? {}
    // SAFETY: ends the process; no memory is involved.
    unsafe { libc::_exit(0) }
}
