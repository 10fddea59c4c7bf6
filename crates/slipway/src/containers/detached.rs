//! An owner in the background: slipway itself, started again, in a session of its own.
//!
//! It has no terminal and no output. Its standard input is a socket, on which it says how the start goes to who started
//! it; after that it keeps to its folder.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::stdio::stdin;
use serde::{Deserialize, Serialize};

use super::{Config, control};
use crate::exit_code;

/// What is said of a start.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// Something that the user should know.
    Remark(String),
    Started,
    Failed {
        message: String,
        exit_code: u8,
    },
}

/// Starts slipway with these arguments, and hands what it says to `hear` until that answers `false`; `None` if it ended
/// without having said enough.
pub(crate) fn start<T>(arguments: &[&str], mut hear: impl FnMut(Report) -> Option<T>) -> io::Result<Option<T>> {
    let (ours, theirs) = UnixStream::pair()?;
    // The program that runs now, whatever has become of its file.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("slipway").args(arguments).current_dir("/");
    command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn()?;
    // It holds their end, too.
    drop(command);
    for line in BufReader::new(ours).lines() {
        if let Some(heard) = hear(control::parse(&line?)?) {
            return Ok(Some(heard));
        }
    }
    Ok(None)
}

/// Starts an owner for the container with this config, whose folder is there, and waits until its program runs.
///
/// # Errors
/// It does not run: the text for the user, and the exit code. Then nothing is left of the container.
pub(crate) fn start_owner(config: &Config, is_quiet: bool) -> Result<(), (String, u8)> {
    let heard = start(&["container", "own", &config.id], |report| match report {
        Report::Remark(text) => {
            if !is_quiet {
                // Nobody is left to be told that the terminal is gone.
                let _ = writeln!(io::stderr(), "{text}");
            }
            None
        }
        Report::Started => Some(Ok(())),
        Report::Failed { message, exit_code } => Some(Err((message, exit_code))),
    });
    let ended = |why: String| {
        Err((format!("slipway: the process that was to look after the container {why}\n"), exit_code::USAGE))
    };
    match heard {
        Ok(Some(outcome)) => outcome,
        Ok(None) => ended("has ended without a word".to_owned()),
        Err(error) => ended(format!("cannot be started: {error}")),
    }
}

/// Leaves the session of who started this process: no key that is typed there ends it.
pub(crate) fn leave_session() {
    // It fails if this is the first process of its session already.
    let _ = rustix::process::setsid();
}

/// The background's side: who is told.
pub(crate) struct Starter(Mutex<Option<UnixStream>>);

impl Starter {
    /// Takes standard input for the way to tell.
    pub(crate) fn at_stdin() -> io::Result<Starter> {
        let stream = UnixStream::from(stdin().try_clone_to_owned()?);
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        Ok(Starter(Mutex::new(Some(stream))))
    }

    /// Tells it. After the last word nobody listens.
    pub(crate) fn tell(&self, report: &Report) {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stream) = &*stream {
            // Who started this may have gone; the container stays all the same.
            let _ = control::send(stream, report, &[]);
        }
        if !matches!(report, Report::Remark(_)) {
            *stream = None;
        }
    }
}
