//! `slipway compose COMMAND`: a project of several services.

mod build;
mod config;
mod images;
mod lines;
mod location;
mod one_off;
pub(crate) mod own_stack;
mod plan;
mod services;
mod stack_client;
mod up;

use std::ffi::OsString;
use std::io::{self, Write};

use slipway_compose::{ComposeError, Inputs, Omit, Project};
use slipway_graph::LineRange;

use crate::cli::compose::{ComposeArgs, ComposeCommand};
use crate::commands::version;
use crate::env_vars;
use crate::report::{CommandError, excerpt, hint_line};
use location::Location;
pub(crate) use location::{ThisDisk, add_env_file};

/// Carries out a command of `compose`.
pub(crate) fn run(args: &ComposeArgs, is_debug: bool, words: &[OsString]) -> Result<(), CommandError> {
    if let ComposeCommand::Version(version) = &args.command {
        return version::compose(version);
    }
    let location = Location::find(args)?;
    match &args.command {
        ComposeCommand::Version(_) => Ok(()),
        ComposeCommand::Config(config) => config::run(config, args, &location),
        ComposeCommand::Build(build) => build::run(build, args, &location, is_debug, words),
        ComposeCommand::Up(up) => up::run(up, args, &location),
        ComposeCommand::Run(run) => one_off::run(run, args, &location),
        ComposeCommand::Down(down) => services::down(down, args, &location),
        ComposeCommand::Exec(exec) => services::exec(exec, &location),
        ComposeCommand::Ps(ps) => services::list(ps, &location),
        ComposeCommand::Logs(logs) => services::logs(logs, &location),
        ComposeCommand::Stop(stop) => services::stop(stop, &location),
        ComposeCommand::Start(start) => up::start(&start.services, args, &location),
        ComposeCommand::Restart(restart) => {
            services::stop(restart, &location)?;
            up::start(&restart.services, args, &location)
        }
        ComposeCommand::Kill(kill) => services::kill(kill, &location),
        ComposeCommand::Pull(pull) => images::pull(&pull.services, args, &location),
    }
}

/// An error in the words of the reference, which has nothing in front of them.
fn told(message: impl std::fmt::Display) -> CommandError {
    CommandError::Told(format!("{message}\n"))
}

/// The error with the lines of its file.
fn shown(error: &ComposeError) -> CommandError {
    let block = error
        .place
        .as_ref()
        .map(|(file, line)| excerpt(&file.path, &file.text, LineRange { first: *line, last: *line }, None));
    told(format!("{}{}{}", block.unwrap_or_default(), hint_line(error.hint.as_deref()), error.reason))
}

fn write_out(text: &str) -> Result<(), CommandError> {
    io::stdout().write_all(text.as_bytes()).map_err(|error| CommandError::Options(error.into()))
}

/// Reads the project, and says what there is to say about it.
fn read(location: &Location, omit: Omit) -> Result<Project, CommandError> {
    let home = env_vars::HOME.get().unwrap_or_default();
    let inputs = Inputs {
        files: &location.files,
        folder: &location.folder,
        environment: &location.environment,
        name: location.name.as_deref(),
        profiles: &location.profiles,
        home: &home,
        further_files: &ThisDisk,
        omit,
    };
    let project = Project::read(&inputs).map_err(|error| shown(&error))?;
    for warning in location.warnings.iter().chain(&project.warnings) {
        // Nobody is left to be told that the terminal is gone.
        let _ = writeln!(io::stderr(), "WARNING: {warning}");
    }
    Ok(project)
}
