//! `slipway exec`: a further program in a container that runs.

use std::io;

use rustix::stdio::stdin;
use rustix::termios::isatty;
use slipway_engine::chain;

use super::find;
use super::user_ends::{Seat, UserEnds};
use crate::cli::containers::ExecArgs;
use crate::commands::local_images::told;
use crate::commands::run::environment;
use crate::containers::Known;
use crate::containers::control::{self, Answer, Program, Request};
use crate::exit_code;
use crate::report::CommandError;

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
    let mut user = UserEnds::of(seat).map_err(cannot)?;
    if seat.has_terminal && !program.env.iter().any(|pair| pair.starts_with("TERM=")) {
        program.env.push("TERM=xterm".to_owned());
    }
    let ends = std::mem::take(&mut user.ends);
    let stream = control::connect(known.folder.path()).map_err(|_| not_running(known))?;
    control::send(&stream, &Request::Exec { program, ends }, &user.descriptors()).map_err(cannot)?;
    user.are_handed_over();
    let answer = control::answer(stream);
    user.finish();
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
