//! The command line: builds images from Dockerfiles with no daemon and no root.
//!
//! `main` reads what was typed, runs the command and picks the exit code; nothing else in the workspace prints, reads
//! environment variables or ends the process.

mod build_report;
mod cache_filter;
mod calls;
mod cli;
mod client_config;
mod commands;
mod config;
mod containers;
mod containers_config;
mod conversation;
mod critical_path;
mod docker_engines;
mod engine_flags;
mod env_vars;
mod exit_code;
mod go_template;
mod interrupt;
mod lint_report;
mod listing;
mod lock_file;
mod metadata;
mod place;
mod progress;
mod report;
mod shell_seat;
mod signals;
mod stack;
mod stage_graph;
mod summary;
mod surroundings;
mod trace;
mod typed_line;
mod watch;
mod work_tree;
mod workflow_command;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use crate::cli::docker::SystemCommand;
use crate::cli::{BuildCommand, BuildxCommand, Cli, Command, ContainerCommand, ImageCommand, link_name};
use crate::report::CommandError;

fn main() -> ExitCode {
    // In the first process of a sandbox this does not return, so nothing may come before it.
    slipway_sandbox::init_if_requested();
    let words: Vec<OsString> = std::env::args_os().collect();
    if let Some(answer) = link_name::plugin_answer(&words) {
        // Nobody is left to be told that the one who asked is gone.
        let _ = std::io::stdout().write_all(answer.as_bytes());
        return ExitCode::SUCCESS;
    }
    let outcome = Cli::parse_words(&words).map_err(CommandError::Rejected).and_then(|cli| run(cli, &words));
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let (text, code) = report::render(&error);
    // Nobody is left to be told that the terminal is gone.
    let _ = match code {
        exit_code::SUCCESS => std::io::stdout().write_all(text.as_bytes()),
        _ => std::io::stderr().write_all(text.as_bytes()),
    };
    ExitCode::from(code)
}

fn run(cli: Cli, words: &[OsString]) -> Result<(), CommandError> {
    let notes = engine_flags::apply(&cli.engine)?;
    let is_debug = cli.debug || cli.engine.log_level.as_deref() == Some("debug");
    engine_flags::tell(&[notes, cli.without_effect].concat(), is_debug);
    engine_flags::warn_of_builder(&cli.builder);
    match cli.command {
        Command::Build(args)
        | Command::Buildx(BuildxCommand::Build(BuildCommand::Build(args)))
        | Command::Builder(BuildCommand::Build(args))
        | Command::Image(ImageCommand::Build(args)) => commands::build::run(*args, is_debug, words),
        Command::Bake(args)
        | Command::Buildx(BuildxCommand::Build(BuildCommand::Bake(args)))
        | Command::Builder(BuildCommand::Bake(args)) => commands::bake::run(&args, is_debug, words),
        Command::Compose(args) => commands::compose::run(&args, is_debug, words),
        Command::Du(args)
        | Command::Buildx(BuildxCommand::Build(BuildCommand::Du(args)))
        | Command::Builder(BuildCommand::Du(args)) => commands::du::run(&args),
        Command::Prune(args)
        | Command::Buildx(BuildxCommand::Build(BuildCommand::Prune(args)))
        | Command::Builder(BuildCommand::Prune(args)) => commands::prune::run(&args),
        Command::Builds { command } => commands::builds::run(command.as_ref()),
        Command::Buildx(BuildxCommand::Build(BuildCommand::History(command)))
        | Command::Builder(BuildCommand::History(command)) => commands::builds::run(Some(&command)),
        Command::Completion(args) => commands::completion::run(&args, words),
        Command::Man(args) => commands::completion::man(&args),
        Command::Version(args) => commands::version::run(&args),
        Command::Info(args) | Command::System(SystemCommand::Info(args)) => commands::version::info(&args),
        Command::Buildx(BuildxCommand::Builders(command)) => commands::builder_names::run(&command),
        Command::System(SystemCommand::Df { format }) => commands::system::disk_usage(&format),
        Command::System(SystemCommand::Prune(args)) => commands::system::prune(&args),
        Command::Image(ImageCommand::Prune(args)) => commands::system::prune_images(&args),
        Command::Explain(args) => commands::explain::run(&args),
        Command::Fsck(args) => commands::fsck::run(&args),
        Command::Doctor => commands::doctor::run(),
        Command::Analyze(args) => commands::analyze::run(*args, is_debug, words),
        Command::Dive(args) => commands::analyze::run_as_dive(*args, is_debug, words),
        Command::Graph(args) => commands::graph::run(*args, words),
        Command::Sizes(args) => commands::sizes::run(*args, is_debug, words),
        Command::Report(args) => commands::report::run(&args),
        Command::Lint(args) => commands::lint::run(&args),
        Command::Imagetools(command) | Command::Buildx(BuildxCommand::Imagetools(command)) => {
            commands::imagetools::run(&command)
        }
        Command::Manifest(command) => commands::imagetools::print_manifest(&command),
        Command::Merge(args) => commands::merge::run(&args),
        Command::Login(args) => commands::login::login(args),
        Command::Logout(args) => commands::login::logout(&args),
        Command::Run(args) | Command::Container(ContainerCommand::Run(args)) => commands::run::run(&args),
        Command::Ps(args) | Command::Container(ContainerCommand::List(args)) => commands::containers::list::run(&args),
        Command::Logs(args) | Command::Container(ContainerCommand::Logs(args)) => {
            commands::containers::logs::run(&args)
        }
        Command::Exec(args) | Command::Container(ContainerCommand::Exec(args)) => {
            commands::containers::exec::run(&args)
        }
        Command::Stop(args) | Command::Container(ContainerCommand::Stop(args)) => {
            commands::containers::life::stop(&args)
        }
        Command::Start(args) | Command::Container(ContainerCommand::Start(args)) => {
            commands::containers::life::start(&args)
        }
        Command::Restart(args) | Command::Container(ContainerCommand::Restart(args)) => {
            commands::containers::life::restart(&args)
        }
        Command::Kill(args) | Command::Container(ContainerCommand::Kill(args)) => {
            commands::containers::life::kill(&args)
        }
        Command::Wait(args) | Command::Container(ContainerCommand::Wait(args)) => {
            commands::containers::life::wait(&args)
        }
        Command::Rm(args) | Command::Container(ContainerCommand::Remove(args)) => {
            commands::containers::life::remove(&args)
        }
        Command::Port(args) | Command::Container(ContainerCommand::Port(args)) => {
            commands::containers::port::run(&args)
        }
        Command::Cp(args) | Command::Container(ContainerCommand::Cp(args)) => commands::containers::copied::run(&args),
        Command::Container(ContainerCommand::Inspect(args)) => commands::containers::inspect::run(&args),
        Command::Container(ContainerCommand::Prune(args)) => commands::containers::life::prune(&args),
        Command::Volume(command) => commands::volumes::run(&command),
        Command::Container(ContainerCommand::Own { id }) => commands::containers::own::run(&id),
        Command::Container(ContainerCommand::OwnStack { project }) => commands::compose::own_stack::run(&project),
        Command::Shell(args) => commands::shell::run(*args, is_debug, words),
        Command::Update(args) => commands::update::run(args, words),
        Command::Images(args) | Command::Image(ImageCommand::List(args)) => commands::images::run(&args),
        Command::History(args) | Command::Image(ImageCommand::History(args)) => commands::history::run(&args),
        Command::Inspect(args) => commands::inspect::run_any(&args),
        Command::Image(ImageCommand::Inspect(args)) => commands::inspect::run(&args),
        Command::Pull(args) | Command::Image(ImageCommand::Pull(args)) => commands::transfer::pull(&args),
        Command::Push(args) | Command::Image(ImageCommand::Push(args)) => commands::transfer::push(&args),
        Command::Save(args) | Command::Image(ImageCommand::Save(args)) => commands::transfer::save(&args),
        Command::Load(args) | Command::Image(ImageCommand::Load(args)) => commands::transfer::load(&args),
        Command::Tag(args) | Command::Image(ImageCommand::Tag(args)) => commands::tag::run(&args),
        Command::RemoveImages(args) | Command::Image(ImageCommand::Remove(args)) => commands::remove_images::run(&args),
    }
}
