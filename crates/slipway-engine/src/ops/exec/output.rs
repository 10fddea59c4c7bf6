//! Where a step writes to: two pipes, or a terminal if the user wants that.
//!
//! A terminal is for output alone. Nobody types, and it is not the step's controlling one, so that `/dev/tty` is not
//! there and no key ever becomes a signal. It passes bytes on as they are: a log has no carriage returns that the step
//! did not write.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::time::SystemTime;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Gid, Uid, fchown};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, OptionalActions, OutputModes, Winsize, tcgetattr, tcsetattr, tcsetwinsize};
use slipway_graph::{Event, Events, LogStream, StepId};

/// Columns and rows that the user's window has for the output of a step.
pub type WindowSize = fn() -> (u16, u16);

/// Pieces of log from one end before the other one is looked at.
const MOST_IN_A_ROW: usize = 16;

/// Two ends for a step.
pub(super) struct Ends {
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// The other sides of the same.
pub(super) struct Output {
    open: Vec<(LogStream, File)>,
}

impl Output {
    /// Two pipes: standard output and standard error stay apart.
    pub(super) fn pipes() -> io::Result<(Output, Ends)> {
        let (out_reader, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
        let (err_reader, stderr) = pipe_with(PipeFlags::CLOEXEC)?;
        let open = vec![(LogStream::Stdout, out_reader.into()), (LogStream::Stderr, err_reader.into())];
        Ok((Output { open }, Ends { stdout, stderr }))
    }

    /// One terminal for both, which the user `uid` may open again by name.
    pub(super) fn terminal((columns, rows): (u16, u16), uid: u32) -> io::Result<(Output, Ends)> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let stdout = ioctl_tiocgptpeer(&master, flags)?;
        let mut modes = tcgetattr(&stdout)?;
        modes.output_modes.remove(OutputModes::OPOST);
        modes.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdout, OptionalActions::Now, &modes)?;
        tcsetwinsize(&stdout, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
        // Where it may not be given away, only those users can open it again who it belongs to.
        let _ = fchown(&stdout, Some(Uid::from_raw(uid)), None::<Gid>);
        let stderr = stdout.try_clone()?;
        Ok((Output { open: vec![(LogStream::Stdout, master.into())] }, Ends { stdout, stderr }))
    }

    /// Passes on what the step writes until all of its ends are closed. Where both have something, standard output
    /// goes first: programs say why they gave up last, and on standard error.
    pub(super) fn forward(self, step: StepId, events: &dyn Events) {
        let mut open = self.open;
        let mut buffer = vec![0; 16 << 10];
        let mut n_in_a_row = 0;
        while !open.is_empty() {
            let mut waiting: Vec<PollFd<'_>> = open.iter().map(|(_, file)| PollFd::new(file, PollFlags::IN)).collect();
            if let Err(errno) = poll(&mut waiting, None)
                && errno != Errno::INTR
            {
                return;
            }
            let ready: Vec<usize> = (0..open.len()).filter(|index| !waiting[*index].revents().is_empty()).collect();
            // Now and then the other one gets its turn, so that a step that never stops talking cannot block itself.
            let turn = if n_in_a_row < MOST_IN_A_ROW { ready.first() } else { ready.last() };
            let Some(index) = turn.copied() else { continue };
            n_in_a_row = if index == 0 { n_in_a_row + 1 } else { 0 };
            let (stream, file) = &mut open[index];
            match file.read(&mut buffer) {
                Ok(n_read @ 1..) => {
                    let (stream, bytes) = (*stream, buffer[..n_read].to_vec());
                    events.emit(Event::StepLog { step, stream, bytes, at: SystemTime::now() });
                }
                // An error ends the log, not the step: the exit code tells how it went. A terminal ends with one.
                Ok(0) | Err(_) => drop(open.remove(index)),
            }
        }
    }
}
