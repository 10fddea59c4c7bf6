//! `slipway exec`: a further program in a container that runs.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::thread::{self, JoinHandle};

use rustix::pipe::PipeFlags;
use rustix::stdio::{stdin, stdout};
use rustix::termios::isatty;
use slipway_engine::chain;

use super::find;
use crate::cli::containers::ExecArgs;
use crate::commands::run::{environment, seat};
use crate::containers::control::{self, Answer, End, Program, Request};
use crate::containers::{Known, told};
use crate::conversation::Conversation;
use crate::exit_code;
use crate::report::CommandError;

/// How a program is connected to the user.
pub(crate) struct Seat {
    pub(crate) is_interactive: bool,
    pub(crate) has_terminal: bool,
}

/// Runs the program; its exit code is slipway's.
pub(crate) fn run(args: &ExecArgs) -> Result<(), CommandError> {
    let (name, program) = args.words.split_first().expect("because clap asks for a container");
    let known = find(name)?;
    let env = environment::read(&args.env_files, &args.env).map_err(|error| told(&error))?;
    let program = Program {
        args: program.to_vec(),
        env,
        cwd: args.workdir.clone(),
        user: args.user.clone(),
        is_privileged: args.privileged,
    };
    if args.detach {
        return in_background(&known, program);
    }
    if args.tty && args.interactive && !isatty(stdin()) {
        return Err(failed("cannot attach stdin to a TTY-enabled container because stdin is not a terminal"));
    }
    exec(&known, program, &Seat { is_interactive: args.interactive, has_terminal: args.tty })
}

/// Runs a program in a container to its end, connected to the user.
pub(crate) fn exec(known: &Known, mut program: Program, seat: &Seat) -> Result<(), CommandError> {
    let cannot = |error: io::Error| told(&error);
    let (mut ends, mut descriptors, mut copies) = (Vec::new(), Vec::new(), Vec::new());
    let mut conversation = None;
    if seat.has_terminal {
        let (begun, terminal) = Conversation::begin(seat.is_interactive, stdout()).map_err(cannot)?;
        (conversation, ends) = (Some(begun), vec![End::Terminal]);
        descriptors.push(terminal);
        if !program.env.iter().any(|pair| pair.starts_with("TERM=")) {
            program.env.push("TERM=xterm".to_owned());
        }
    } else {
        // Never the user's own: a program that has a terminal can type into it.
        for (end, (descriptor, copy)) in [
            (End::Stdout, copied_to(io::stdout()).map_err(cannot)?),
            (End::Stderr, copied_to(io::stderr()).map_err(cannot)?),
        ] {
            ends.push(end);
            descriptors.push(descriptor);
            copies.push(copy);
        }
        if seat.is_interactive {
            ends.push(End::Stdin);
            descriptors.push(seat::input().map_err(cannot)?);
        }
    }
    let borrowed: Vec<_> = descriptors.iter().map(OwnedFd::as_fd).collect();
    let stream = control::connect(known.folder.path()).map_err(|_| not_running(known))?;
    control::send(&stream, &Request::Exec { program, ends }, &borrowed).map_err(cannot)?;
    drop(borrowed);
    // The reader sees the end when the program's ends are closed.
    drop(descriptors);
    let answer = control::answer(stream);
    for copy in copies {
        // If it panicked there is nothing left to show.
        let _ = copy.join();
    }
    // The terminal is as before when anything is said.
    drop(conversation);
    match answer {
        Ok(Answer::Exited(exit_code::SUCCESS) | Answer::Done) => Ok(()),
        Ok(Answer::Exited(exit_code)) => Err(CommandError::Container { text: String::new(), exit_code }),
        Ok(Answer::Refused { message, exit_code }) => {
            Err(CommandError::Container { text: format!("slipway: {message}\n"), exit_code })
        }
        Err(error) => Err(failed(&chain(&error))),
    }
}

fn in_background(known: &Known, program: Program) -> Result<(), CommandError> {
    let stream = control::connect(known.folder.path()).map_err(|_| not_running(known))?;
    control::send(&stream, &Request::Exec { program, ends: Vec::new() }, &[]).map_err(|error| told(&error))
}

fn not_running(known: &Known) -> CommandError {
    failed(&format!("container {} is not running", known.config.id))
}

fn failed(message: &str) -> CommandError {
    CommandError::Container { text: format!("slipway: {message}\n"), exit_code: exit_code::FAILURE }
}

/// A pipe whose content is written to `to`.
pub(crate) fn copied_to(mut to: impl Write + Send + 'static) -> io::Result<(OwnedFd, JoinHandle<()>)> {
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
