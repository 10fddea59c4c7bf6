//! The user's terminal, lent to a shell inside a step.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::{Condvar, Mutex, PoisonError};

use crossbeam_channel::Sender;
use rustix::stdio::{stderr, stdin};
use rustix::termios::isatty;
use slipway_engine::ShellSeat;

use crate::conversation::Conversation;
use crate::env_vars;
use crate::progress::Stillness;

/// The seat at the user's terminal, for one shell at a time.
pub(crate) struct TerminalSeat {
    screen: Stillness,
    /// With what keeps the screen still.
    taken: Mutex<Option<(Conversation, Sender<()>)>>,
    is_free: Condvar,
}

impl TerminalSeat {
    /// `None` if nobody sits there.
    pub(crate) fn new(screen: Stillness) -> Option<TerminalSeat> {
        is_there().then(|| TerminalSeat { screen, taken: Mutex::new(None), is_free: Condvar::new() })
    }
}

/// Whether there is a terminal to type at and one to see.
pub(crate) fn is_there() -> bool {
    isatty(stdin()) && isatty(stderr())
}

impl ShellSeat for TerminalSeat {
    fn open(&self, intro: &str) -> io::Result<OwnedFd> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = self.is_free.wait_while(taken, |taken| taken.is_some()).unwrap_or_else(PoisonError::into_inner);
        let screen = self.screen.begin();
        io::stderr().write_all(format!("\n{intro}\n`exit` leaves it.\n").as_bytes())?;
        let (conversation, terminal) = Conversation::begin(true, stderr())?;
        *taken = Some((conversation, screen));
        Ok(terminal)
    }

    fn close(&self) {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.is_free.notify_one();
    }

    fn kind(&self) -> Option<String> {
        env_vars::TERM.get()
    }
}
