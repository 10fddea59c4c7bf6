//! `slipway compose COMMAND`: a project of several services.

mod build;
mod config;
mod location;

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
