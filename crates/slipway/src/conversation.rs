//! The user's terminal and that of a program in a sandbox.
//!
//! The program gets a terminal of its own (a pty), and what is typed and written is passed on between the two. It never
//! gets the user's: a program that has that can type into it, and so into the user's shell.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::pty::OpenptFlags;
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

/// How soon a program hears of a window that changed its size.
const SIZE_CHECK: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// Passes on between the user's terminal and a program's. The user's is as before when this is dropped.
pub(crate) struct Conversation {
    /// How the user's terminal was, if it was changed.
    before: Option<Termios>,
    /// `None` once the thread has been told to stop.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Conversation {
    /// Returns the program's end of its terminal as well. What it writes goes to `screen`, and what the user types, if
    /// that `is_heard`, to the program: then standard input has to be a terminal.
    pub(crate) fn begin(is_heard: bool, screen: BorrowedFd<'static>) -> io::Result<(Conversation, OwnedFd)> {
        let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        rustix::pty::grantpt(&master)?;
        rustix::pty::unlockpt(&master)?;
        let terminal =
            rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        let (stopped, stop) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let before = is_heard.then(|| tcgetattr(stdin())).transpose()?;
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            tcsetattr(stdin(), OptionalActions::Drain, &raw)?;
        }
        // Before the program asks for it.
        follow_size(&master, screen);
        let thread = thread::spawn(move || pass_on(&master, screen, is_heard, &stopped));
        Ok((Conversation { before, stop: Some(stop), thread: Some(thread) }, terminal))
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // If it panicked there is nothing left to pass on.
            let _ = thread.join();
        }
        if let Some(before) = &self.before {
            // A terminal that is gone needs nothing.
            let _ = tcsetattr(stdin(), OptionalActions::Drain, before);
        }
    }
}

/// Passes on until the pipe `stopped` closes, and then what the program has written last.
fn pass_on(master: &OwnedFd, screen: BorrowedFd<'_>, mut hears_user: bool, stopped: &OwnedFd) {
    loop {
        follow_size(master, screen);
        let mut waiting = vec![PollFd::new(master, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        if hears_user {
            waiting.push(PollFd::from_borrowed_fd(stdin(), PollFlags::IN));
        }
        if poll(&mut waiting, Some(&SIZE_CHECK)).is_err() {
            continue;
        }
        let is_ready = |index: usize| waiting.get(index).is_some_and(|end| !end.revents().is_empty());
        let (from_program, is_over, from_user) = (is_ready(0), is_ready(1), is_ready(2));
        let has_copied = from_program && copy(master.as_fd(), screen);
        if !has_copied && (from_program || is_over) {
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

/// Gives the program's terminal the size of the user's.
fn follow_size(master: &OwnedFd, screen: BorrowedFd<'_>) {
    let of_user = tcgetwinsize(screen).or_else(|_| tcgetwinsize(stdin()));
    if let (Ok(size), Ok(known)) = (of_user, tcgetwinsize(master))
        && (size.ws_col, size.ws_row) != (known.ws_col, known.ws_row)
    {
        // A size that is wrong is ugly and nothing more.
        let _ = tcsetwinsize(master, size);
    }
}
