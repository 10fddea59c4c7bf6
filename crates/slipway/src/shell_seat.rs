//! The user's terminal, lent to a shell inside a step.
//!
//! The shell gets a terminal of its own (a pty), and what is typed and written is passed on between the two. It never
//! gets the user's: a program that has that can type into it, and so into the user's shell.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::Sender;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::pty::OpenptFlags;
use rustix::stdio::{stderr, stdin};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use slipway_engine::ShellSeat;

use crate::env_vars;
use crate::progress::Stillness;

/// How soon a shell hears of a window that changed its size.
const SIZE_CHECK: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// The seat at the user's terminal, for one shell at a time.
pub(crate) struct TerminalSeat {
    screen: Stillness,
    taken: Mutex<Option<Conversation>>,
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
        let (conversation, terminal) = Conversation::begin(screen)?;
        *taken = Some(conversation);
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

/// Passes on between the user's terminal and a shell's. The user's is as before when this is dropped.
struct Conversation {
    before: Termios,
    /// `None` once the thread has been told to stop.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
    _screen: Sender<()>,
}

impl Conversation {
    /// Returns the shell's end of its terminal as well.
    fn begin(screen: Sender<()>) -> io::Result<(Conversation, OwnedFd)> {
        let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        rustix::pty::grantpt(&master)?;
        rustix::pty::unlockpt(&master)?;
        let terminal =
            rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        let (stopped, stop) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Drain, &raw)?;
        let thread = thread::spawn(move || pass_on(&master, &stopped));
        Ok((Conversation { before, stop: Some(stop), thread: Some(thread), _screen: screen }, terminal))
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // If it panicked there is nothing left to pass on.
            let _ = thread.join();
        }
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(stdin(), OptionalActions::Drain, &self.before);
    }
}

/// Passes on until the pipe `stopped` closes, and then what the shell has written last.
fn pass_on(master: &OwnedFd, stopped: &OwnedFd) {
    let mut hears_user = true;
    loop {
        follow_size(master);
        let mut waiting = vec![PollFd::new(master, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        if hears_user {
            waiting.push(PollFd::from_borrowed_fd(stdin(), PollFlags::IN));
        }
        if poll(&mut waiting, Some(&SIZE_CHECK)).is_err() {
            continue;
        }
        let is_ready = |index: usize| waiting.get(index).is_some_and(|end| !end.revents().is_empty());
        let (from_shell, is_over, from_user) = (is_ready(0), is_ready(1), is_ready(2));
        let has_copied = from_shell && copy(master.as_fd(), stderr());
        if !has_copied && (from_shell || is_over) {
            return;
        }
        if from_user {
            hears_user = copy(stdin(), master.as_fd());
        }
    }
}

/// Copies what there is to read now. `false` at the end, and when nobody listens any more.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
    let mut buffer = [0; 4096];
    let mut rest = match rustix::io::read(from, &mut buffer) {
        Ok(0) | Err(_) => return false,
        Ok(n_read) => &buffer[..n_read],
    };
    while !rest.is_empty() {
        match rustix::io::write(to, rest) {
            Ok(n_written) => rest = &rest[n_written..],
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return false,
        }
    }
    true
}

/// Gives the shell's terminal the size of the user's.
fn follow_size(master: &OwnedFd) {
    if let (Ok(size), Ok(known)) = (tcgetwinsize(stdin()), tcgetwinsize(master))
        && (size.ws_col, size.ws_row) != (known.ws_col, known.ws_row)
    {
        // A size that is wrong is ugly and nothing more.
        let _ = tcsetwinsize(master, size);
    }
}
