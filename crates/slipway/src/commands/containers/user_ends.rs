//! What a program that another process runs is given of the user: their terminal, or pipes whose content is passed on.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::thread::{self, JoinHandle};

use rustix::pipe::PipeFlags;
use rustix::stdio::stdout;

use crate::commands::run::seat;
use crate::containers::control::End;
use crate::conversation::Conversation;

/// How a program is connected to the user.
pub(crate) struct Seat {
    pub(crate) is_interactive: bool,
    pub(crate) has_terminal: bool,
}

/// The ends for a program, and this side of them.
pub(crate) struct UserEnds {
    /// What each descriptor is for.
    pub(crate) ends: Vec<End>,
    descriptors: Vec<OwnedFd>,
    copies: Vec<JoinHandle<()>>,
    terminal: Option<Conversation>,
}

impl UserEnds {
    pub(crate) fn of(seat: &Seat) -> io::Result<UserEnds> {
        if seat.has_terminal {
            let (terminal, descriptor) = Conversation::begin(seat.is_interactive, stdout())?;
            let (ends, descriptors) = (vec![End::Terminal], vec![descriptor]);
            return Ok(UserEnds { ends, descriptors, copies: Vec::new(), terminal: Some(terminal) });
        }
        // Never the user's own: a program that has a terminal can type into it.
        let (out, copy_of_out) = copied_to(io::stdout())?;
        let (err, copy_of_err) = copied_to(io::stderr())?;
        let (mut ends, mut descriptors) = (vec![End::Stdout, End::Stderr], vec![out, err]);
        if seat.is_interactive {
            ends.push(End::Stdin);
            descriptors.push(seat::input()?);
        }
        Ok(UserEnds { ends, descriptors, copies: vec![copy_of_out, copy_of_err], terminal: None })
    }

    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.descriptors.iter().map(OwnedFd::as_fd).collect()
    }

    /// To be called when the program has its ends: its output is over as soon as it closes them.
    pub(crate) fn are_handed_over(&mut self) {
        self.descriptors.clear();
    }

    /// Returns when all output is passed on. The terminal is as before when anything is said.
    pub(crate) fn finish(self) {
        for copy in self.copies {
            // If it panicked there is nothing left to show.
            let _ = copy.join();
        }
        drop(self.terminal);
    }
}

/// A pipe whose content is written to `to`.
fn copied_to(mut to: impl Write + Send + 'static) -> io::Result<(OwnedFd, JoinHandle<()>)> {
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let copy = move || {
        let (mut from, mut buffer) = (File::from(reader), vec![0; 64 << 10]);
        // The end of either side is the end of the output, whatever its reason.
        while let Ok(n_read @ 1..) = from.read(&mut buffer)
            && to.write_all(&buffer[..n_read]).and_then(|()| to.flush()).is_ok()
        {}
    };
    Ok((writer, thread::Builder::new().name("output".to_owned()).spawn(copy)?))
}
