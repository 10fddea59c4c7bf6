//! How the owner of a stack is asked for something.

use std::io::{self, BufRead as _, BufReader, Lines, Write as _};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use slipway_engine::chain;

use super::told;
use crate::containers::control;
use crate::containers::detached::{self, Report};
use crate::report::CommandError;
use crate::stack;
use crate::stack::protocol::{Request, Said};

/// A conversation with the owner of a stack.
pub(super) struct Conversation {
    answers: Lines<BufReader<UnixStream>>,
}

impl Conversation {
    /// Asks the owner of the project's stack, who is started if there is none.
    pub(super) fn begin(
        project: &str,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Conversation, CommandError> {
        let folder = stack::folder(project).map_err(|error| told(chain(&error)))?;
        // One that is about to end hears nothing any more, and then there is none.
        for _ in 0..3 {
            if let Some(conversation) = ask(folder.path(), request, descriptors) {
                return Ok(conversation);
            }
            folder.wait_until_free().map_err(|error| told(chain(&error)))?;
            start_owner(project)?;
        }
        Err(told("the process that was to look after the stack does not answer"))
    }

    /// Asks only if there is an owner.
    pub(super) fn begin_if_there(project: &str, request: &Request) -> Option<Conversation> {
        let folder = stack::folder(project).ok()?;
        ask(folder.path(), request, &[])
    }

    /// What the owner says, to the end.
    pub(super) fn said(self) -> impl Iterator<Item = io::Result<Said>> {
        self.answers.map(|line| control::parse(&line?))
    }

    /// Shows the steps until what was asked is done.
    pub(super) fn follow(self, is_quiet: bool) -> Result<u8, CommandError> {
        for said in self.said() {
            match said.map_err(|error| told(chain(&error)))? {
                Said::Done { exit_code } => return Ok(exit_code),
                Said::Failed { message, exit_code } => {
                    return Err(CommandError::Container { text: format!("{message}\n"), exit_code });
                }
                said if !is_quiet => show_step(&said),
                _ => {}
            }
        }
        Err(told("the process that looks after the stack has ended"))
    }
}

/// Asks who listens in `folder`, if somebody does and hears it.
fn ask(folder: &Path, request: &Request, descriptors: &[BorrowedFd<'_>]) -> Option<Conversation> {
    let stream = control::connect(folder).ok()?;
    control::send(&stream, request, descriptors).ok()?;
    let mut answers = BufReader::new(stream).lines();
    let first = answers.next()?.ok()?;
    matches!(control::parse(&first), Ok(Said::Heard)).then_some(Conversation { answers })
}

/// Shows what becomes of a container, and remarks.
pub(super) fn show_step(said: &Said) {
    let text = match said {
        Said::Step { container, step } => format!(" Container {container}  {step}\n"),
        Said::Remark(text) => format!("WARNING: {text}\n"),
        _ => return,
    };
    // Nobody is left to be told that the terminal is gone.
    let _ = io::stderr().write_all(text.as_bytes());
}

fn start_owner(project: &str) -> Result<(), CommandError> {
    let heard = detached::start(&["container", "own-stack", project], |report| match report {
        Report::Remark(_) => None,
        Report::Started => Some(Ok(())),
        Report::Failed { message, .. } => Some(Err(message)),
    });
    match heard {
        Ok(Some(Ok(()))) => Ok(()),
        Ok(Some(Err(message))) => Err(told(message.trim_end())),
        Ok(None) => Err(told("the process that was to look after the stack has ended without a word")),
        Err(error) => Err(told(format!("cannot start a process for the stack: {error}"))),
    }
}
