//! `slipway compose COMMAND`: a project of several services.

mod again;
mod build;
mod config;
mod copied;
mod images;
mod life;
mod lines;
mod listed;
mod location;
mod one_off;
pub(crate) mod own_stack;
mod plan;
mod services;
mod stack_client;
mod up;
mod watch;

use std::ffi::OsString;
use std::io::{self, Write};

use slipway_compose::{ComposeError, Files, Inputs, Omit, Project};
use slipway_graph::LineRange;

use crate::cli::compose::{ComposeArgs, ComposeCommand};
use crate::commands::version;
use crate::env_vars;
use crate::report::{CommandError, excerpt, hint_line};
use location::Location;
pub(crate) use location::{ThisDisk, add_env_file};

/// Carries out a command of `compose`.
pub(crate) fn run(args: &ComposeArgs, is_debug: bool, words: &[OsString]) -> Result<(), CommandError> {
    check(args)?;
    match &args.command {
        ComposeCommand::Version(version) => return version::compose(version),
        ComposeCommand::Ls(list) => return listed::projects(list),
        _ => {}
    }
    let location = Location::find(args)?;
    match &args.command {
        ComposeCommand::Version(_) | ComposeCommand::Ls(_) => Ok(()),
        ComposeCommand::Config(config) => config::run(config, args, &location),
        ComposeCommand::Build(build) => build::run(build, args, &location, is_debug, words),
        ComposeCommand::Up(up) => up::run(up, args, &location),
        ComposeCommand::Run(run) => one_off::run(run, args, &location),
        ComposeCommand::Down(down) => services::down(down, args, &location),
        ComposeCommand::Exec(exec) => services::exec(exec, &location),
        ComposeCommand::Ps(ps) => services::list(ps, &location),
        ComposeCommand::Logs(logs) => services::logs(logs, args, &location),
        ComposeCommand::Stop(stop) => services::stop(stop, &location),
        ComposeCommand::Start(start) => up::start(&start.services, args, &location),
        ComposeCommand::Restart(restart) => life::restart(restart, args, &location),
        ComposeCommand::Create(create) => life::create(create, args, &location),
        ComposeCommand::Rm(remove) => life::remove(remove, &location),
        ComposeCommand::Wait(wait) => life::wait(wait, args, &location),
        ComposeCommand::Images(images) => listed::images(images, &location),
        ComposeCommand::Port(port) => listed::port(port, &location),
        ComposeCommand::Cp(copy) => copied::run(copy, &location),
        ComposeCommand::Watch(watch) => watch::run(watch, args, &location),
        ComposeCommand::Kill(kill) => services::kill(kill, &location),
        ComposeCommand::Push(push) => images::push(push, args, &location),
        ComposeCommand::Pull(pull) => images::pull(&pull.services, args, &location),
    }
}

/// Refuses global flags that cannot be followed.
fn check(args: &ComposeArgs) -> Result<(), CommandError> {
    if args.dry_run {
        return Err(told(
            "--dry-run is not known here: `compose config` shows what was understood, `compose build --print` what \
             would be built",
        ));
    }
    if let Some(text) = &args.parallel
        && text.parse::<i64>().is_err()
    {
        let reason = "strconv.ParseInt: parsing";
        return Err(told(format!(
            "invalid argument {text:?} for \"--parallel\" flag: {reason} {text:?}: invalid syntax"
        )));
    }
    if let Some(text) = env_vars::named_by_user("COMPOSE_PARALLEL_LIMIT").filter(|text| !text.is_empty())
        && text.parse::<i64>().is_err()
    {
        return Err(told(format!("COMPOSE_PARALLEL_LIMIT must be an integer (found: {text:?})")));
    }
    match args.ansi.as_deref() {
        None | Some("auto" | "never" | "always") => Ok(()),
        Some(other) => Err(told(format!("unsupported --ansi value {other:?}; use auto, never or always"))),
    }
}

/// Whether `--ansi` or `COMPOSE_ANSI` ask for colours; `None` where they leave that to whether somebody looks on.
fn wants_color(args: &ComposeArgs) -> Option<bool> {
    let named = env_vars::named_by_user("COMPOSE_ANSI");
    match args.ansi.as_deref().or(named.as_deref()) {
        _ if args.no_ansi => Some(false),
        Some("never") => Some(false),
        Some("always") => Some(true),
        _ => None,
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
    let project = read_from(location, omit, &ThisDisk)?;
    for warning in location.warnings.iter().chain(&project.warnings) {
        // Nobody is left to be told that the terminal is gone.
        let _ = writeln!(io::stderr(), "WARNING: {warning}");
    }
    Ok(project)
}

/// Reads the project, and the files that it names from `further_files`.
fn read_from(location: &Location, omit: Omit, further_files: &dyn Files) -> Result<Project, CommandError> {
    let home = env_vars::HOME.get().unwrap_or_default();
    let inputs = Inputs {
        files: &location.files,
        folder: &location.folder,
        environment: &location.environment,
        name: location.name.as_deref(),
        profiles: &location.profiles,
        home: &home,
        further_files,
        omit,
    };
    Project::read(&inputs).map_err(|error| shown(&error))
}
