//! What can be typed: commands and flags, and what a typing mistake is answered with (`spec/cli.md` sections 1 to 3).
//!
//! Flags are only read here; what their values mean is decided in `slipway-graph`, `request/flags.rs`.

mod absent;
pub(crate) mod analyze;
pub(crate) mod bake;
pub(crate) mod build;
pub(crate) mod builds;
pub(crate) mod cache;
pub(crate) mod completion;
pub(crate) mod compose;
pub(crate) mod containers;
pub(crate) mod docker;
pub(crate) mod fsck;
pub(crate) mod graph;
mod help;
pub(crate) mod images;
pub(crate) mod imagetools;
pub(crate) mod link_name;
pub(crate) mod lint;
pub(crate) mod login;
pub(crate) mod merge;
mod rejected;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod sizes;
pub(crate) mod update;
pub(crate) mod volumes;

use std::any::TypeId;
use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use slipway_graph::request::flags::parse_bool;

use build::{BuildArgs, ShellArgs};
use builds::{BuildsCommand, ExplainArgs};
use cache::{DiskUsageArgs, PruneArgs};
pub(crate) use rejected::Rejected;

/// Builds images from Dockerfiles with no daemon and no root.
#[derive(Debug, Parser)]
#[command(name = "slipway", version, disable_version_flag = true, args_override_self = true)]
pub(crate) struct CliOf<C: Subcommand> {
    /// Name of a builder; there is only one
    #[arg(long, global = true, hide = true, default_value = "", hide_default_value = true)]
    pub(crate) builder: String,
    /// Say more, flags without effect among it
    #[arg(short = 'D', long, global = true)]
    pub(crate) debug: bool,
    /// Print the version
    #[arg(short = 'V', short_alias = 'v', long, action = ArgAction::Version)]
    version: Option<bool>,
    #[command(flatten)]
    pub(crate) engine: docker::EngineFlags,
    /// Why flags that were typed are without effect.
    #[arg(skip)]
    pub(crate) without_effect: Vec<String>,
    #[command(subcommand)]
    pub(crate) command: C,
}

/// With all commands that there are.
pub(crate) type Cli = CliOf<Command>;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build an image from a Dockerfile
    #[command(alias = "b")]
    Build(Box<BuildArgs>),
    /// Say what takes space in the store
    Du(DiskUsageArgs),
    /// Build what a bake file describes
    #[command(alias = "f")]
    Bake(Box<bake::BakeArgs>),
    /// Work with the services of Compose files
    #[command(alias = "docker-compose")]
    Compose(Box<compose::ComposeArgs>),
    /// Take out of the store what nobody needs
    Prune(PruneArgs),
    /// Say what is remembered of builds that are over
    Builds {
        #[command(subcommand)]
        command: Option<BuildsCommand>,
    },
    /// Check that the store is what it promises to be
    Fsck(fsck::FsckArgs),
    /// Say what this machine allows, and what would allow more
    Doctor,
    /// Say which steps of a build ran, and what differed from the build before
    Explain(ExplainArgs),
    /// Draw the stages and steps of a Dockerfile: what takes files from what, and what the last build did
    Graph(Box<graph::GraphArgs>),
    /// Build every target of a Dockerfile, and say how large each image is
    Sizes(Box<sizes::SizesArgs>),
    /// Write a page of HTML about a build: timeline, stages, why steps ran, logs, sizes
    Report(report::ReportArgs),
    /// Say what is doubtful in Dockerfiles, and rewrite what is safe
    #[command(alias = "hadolint")]
    Lint(Box<lint::LintArgs>),
    /// Say what the layers of an image hold, what of it is wasted, and whether that is too much
    ///
    /// On a terminal one can look through layers and files with the keyboard; elsewhere a report is printed. With --ci the
    /// exit code says whether the rules hold.
    Analyze(Box<analyze::AnalyzeArgs>),
    /// The same as `analyze`, for one image, as `dive` is called
    Dive(Box<analyze::AnalyzeArgs>),
    /// List images of the local store
    Images(images::ImagesArgs),
    /// Say which instructions made an image
    History(images::HistoryArgs),
    /// Show all that is known of images
    Inspect(images::InspectObjectsArgs),
    /// Give an image of the local store another name
    Tag(images::TagArgs),
    /// Take names of images away
    #[command(name = "rmi")]
    RemoveImages(images::RemoveImagesArgs),
    /// Fetch an image from a registry
    Pull(images::PullArgs),
    /// Give an image to a registry
    Push(images::PushArgs),
    /// Write images into an archive
    Save(images::SaveArgs),
    /// Take images out of an archive
    Load(images::LoadArgs),
    /// Work on images in registries and OCI layouts
    #[command(subcommand)]
    Imagetools(imagetools::ImagetoolsCommand),
    /// Make one image of what the jobs of a CI run have built, each for its platform
    Merge(merge::MergeArgs),
    /// Keep a user name and password for a registry, if it takes them
    Login(login::LoginArgs),
    /// Forget the user name and password for a registry
    Logout(login::LogoutArgs),
    /// Run a program in an image
    #[command(disable_help_flag = true)]
    Run(Box<run::RunArgs>),
    /// List containers
    Ps(containers::PsArgs),
    /// Show what a container wrote
    Logs(containers::LogsArgs),
    /// Run a further program in a container
    #[command(disable_help_flag = true)]
    Exec(Box<containers::ExecArgs>),
    /// Ask containers to end, and wait until they have
    Stop(containers::StopArgs),
    /// Run containers again that have ended; what they wrote to their own files is gone
    Start(containers::NamesArgs),
    /// End containers and run them again; what they wrote to their own files is gone
    Restart(containers::StopArgs),
    /// Send a signal to containers
    Kill(containers::KillArgs),
    /// Wait until containers have ended, and print their exit codes
    Wait(containers::NamesArgs),
    /// Forget containers that have ended
    Rm(containers::RemoveArgs),
    /// Say where the ports of a container are
    Port(containers::PortArgs),
    /// Copy files into a container that runs, or out of it
    Cp(containers::CopyArgs),
    /// Make, list and remove the folders that outlive containers
    #[command(subcommand)]
    Volume(volumes::VolumeCommand),
    /// Move the pins of slipway.lock to what their names stand for now
    Update(update::UpdateArgs),
    /// Open a shell where an instruction would run, or at the end of a stage
    Shell(Box<ShellArgs>),
    /// Print a script that lets a shell complete commands and flags
    Completion(completion::CompletionArgs),
    /// Write manual pages
    #[command(hide = true)]
    Man(completion::ManArgs),
    /// Say which version this is
    Version(docker::VersionArgs),
    /// Say what slipway is, and what this machine is
    #[command(hide = true)]
    Info(docker::VersionArgs),
    /// The same commands as `docker buildx …`
    #[command(hide = true, subcommand)]
    Buildx(BuildxCommand),
    /// The same commands as `docker builder …`
    #[command(hide = true, subcommand)]
    Builder(BuildCommand),
    /// The same commands as `docker image …`
    #[command(hide = true, subcommand)]
    Image(ImageCommand),
    /// Show what a registry has under a name
    #[command(hide = true, subcommand)]
    Manifest(imagetools::ManifestCommand),
    /// The same commands as `docker container …`
    #[command(hide = true, subcommand)]
    Container(ContainerCommand),
    /// The same commands as `docker system …`
    #[command(hide = true, subcommand)]
    System(docker::SystemCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum BuildxCommand {
    #[command(flatten)]
    Build(BuildCommand),
    #[command(flatten)]
    Builders(docker::BuilderNamesCommand),
    /// Work on images in registries and OCI layouts
    #[command(subcommand)]
    Imagetools(imagetools::ImagetoolsCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContainerCommand {
    /// Run a program in an image
    #[command(disable_help_flag = true)]
    Run(Box<run::RunArgs>),
    /// List containers
    #[command(name = "ls", aliases = ["ps", "list"])]
    List(containers::PsArgs),
    /// Show what a container wrote
    Logs(containers::LogsArgs),
    /// Run a further program in a container
    #[command(disable_help_flag = true)]
    Exec(Box<containers::ExecArgs>),
    /// Ask containers to end, and wait until they have
    Stop(containers::StopArgs),
    /// Run containers again that have ended
    Start(containers::NamesArgs),
    /// End containers and run them again
    Restart(containers::StopArgs),
    /// Send a signal to containers
    Kill(containers::KillArgs),
    /// Wait until containers have ended, and print their exit codes
    Wait(containers::NamesArgs),
    /// Forget containers that have ended
    #[command(name = "rm", alias = "remove")]
    Remove(containers::RemoveArgs),
    /// Say where the ports of a container are
    Port(containers::PortArgs),
    /// Copy files into a container that runs, or out of it
    Cp(containers::CopyArgs),
    /// Show all that is known of containers
    #[command(mut_arg("images", |images| images.value_name("CONTAINER")), mut_arg("platform", |platform| platform.hide(true)))]
    Inspect(images::InspectArgs),
    /// Forget all containers that have ended
    Prune(containers::PruneContainersArgs),
    /// Look after a container in the background
    #[command(hide = true)]
    Own { id: String },
    /// Look after a stack in the background
    #[command(hide = true)]
    OwnStack { project: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum BuildCommand {
    /// Build an image from a Dockerfile
    #[command(alias = "b")]
    Build(Box<BuildArgs>),
    /// Say what takes space in the store
    Du(DiskUsageArgs),
    /// Build what a bake file describes
    #[command(alias = "f")]
    Bake(Box<bake::BakeArgs>),
    /// Take out of the store what nobody needs
    Prune(PruneArgs),
    /// Say what is remembered of builds that are over
    #[command(subcommand)]
    History(BuildsCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Build an image from a Dockerfile
    Build(Box<BuildArgs>),
    /// List images of the local store
    #[command(name = "ls", alias = "list")]
    List(images::ImagesArgs),
    /// Say which instructions made an image
    History(images::HistoryArgs),
    /// Show all that is known of images
    Inspect(images::InspectArgs),
    /// Give an image of the local store another name
    Tag(images::TagArgs),
    /// Take names of images away
    #[command(name = "rm", alias = "remove")]
    Remove(images::RemoveImagesArgs),
    /// Fetch an image from a registry
    Pull(images::PullArgs),
    /// Give an image to a registry
    Push(images::PushArgs),
    /// Write images into an archive
    Save(images::SaveArgs),
    /// Take images out of an archive
    Load(images::LoadArgs),
    /// Take names of images away
    Prune(docker::ImagePruneArgs),
}

/// All commands and flags, as they are shown: that a boolean may be given a value is not worth a word behind each.
pub(crate) fn command() -> clap::Command {
    help::ordered(with_plain_booleans(Cli::command()))
}

impl Cli {
    /// Reads `words`, the first of which is the name that the program was started under.
    pub(crate) fn parse_words(words: &[OsString]) -> Result<Cli, Rejected> {
        // Built by hand instead of `try_parse_from`, so that flags are read as in GNU and Go programs.
        let full_words = link_name::with_implied_command(words);
        if let Some(cli) = Cli::of_build(&full_words) {
            return Ok(cli);
        }
        Cli::matched(&full_words).map_err(|error| {
            let plain_help = (error.kind() == ErrorKind::DisplayHelp)
                .then(|| self::command().try_get_matches_from(&full_words).err())
                .flatten()
                .filter(|error| error.kind() == ErrorKind::DisplayHelp);
            Rejected::from_clap(&plain_help.unwrap_or(error), words)
        })
    }

    /// What most people type, read without the commands that it is none of: to make all of them takes a third of a build
    /// that has nothing to do. `None` for everything else, mistakes among it.
    fn of_build(words: &[OsString]) -> Option<Cli> {
        let is_build = |word: &OsString| ["build", "b", "bake", "f"].iter().any(|name| word == name);
        let cli: CliOf<BuildCommand> = match words {
            [program, front_end, rest @ ..] if front_end == "buildx" && rest.first().is_some_and(is_build) => {
                CliOf::matched(&[std::slice::from_ref(program), rest].concat())
            }
            [_, command, ..] if is_build(command) => CliOf::matched(words),
            _ => return None,
        }
        .ok()?;
        let CliOf { builder, debug, version, engine, without_effect, command } = cli;
        let command = match command {
            BuildCommand::Build(args) => Command::Build(args),
            BuildCommand::Bake(args) => Command::Bake(args),
            other => Command::Builder(other),
        };
        Some(Cli { builder, debug, version, engine, without_effect, command })
    }
}

impl<C: Subcommand> CliOf<C> {
    fn matched(words: &[OsString]) -> Result<CliOf<C>, clap::Error> {
        let mut command = with_gnu_flags(CliOf::<C>::command());
        let matches = command.try_get_matches_from_mut(words)?;
        let without_effect = typed_without_effect(&command, &matches);
        Ok(CliOf { without_effect, ..CliOf::from_arg_matches(&matches)? })
    }
}

/// The typed flags whose help says that they have no effect, with that help: it says why, too.
fn typed_without_effect(command: &clap::Command, matches: &ArgMatches) -> Vec<String> {
    let help_of = |arg: &clap::Arg| arg.get_help().map(ToString::to_string).unwrap_or_default();
    let mut notes: Vec<String> = command
        .get_arguments()
        .filter(|arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine))
        .filter_map(|arg| Some((arg.get_long()?, help_of(arg))))
        .filter(|(_, help)| help.starts_with("Without effect") || help.starts_with("Accepted"))
        .map(|(name, help)| format!("--{name}: {help}"))
        .collect();
    if let Some((name, matches)) = matches.subcommand()
        && let Some(command) = command.find_subcommand(name)
    {
        notes.extend(typed_without_effect(command, matches));
    }
    notes
}

/// Flags as GNU and Go programs read them: every value may begin with a hyphen, and every boolean may be given one
/// (`--pull=false`). Where a boolean is optional, not to name it says something else than to deny it.
fn with_gnu_flags(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue | ArgAction::Set if arg.get_value_parser().type_id() == TypeId::of::<bool>() => {
            boolean_flag(arg)
        }
        ArgAction::Set | ArgAction::Append if !arg.is_positional() && !arg.is_require_equals_set() => {
            arg.allow_hyphen_values(true)
        }
        _ => arg,
    });
    command.mut_subcommands(with_gnu_flags)
}

fn with_plain_booleans(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| if is_optional_boolean(&arg) { arg.action(ArgAction::SetTrue) } else { arg });
    command.mut_subcommands(with_plain_booleans)
}

fn is_optional_boolean(arg: &clap::Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set) && arg.get_value_parser().type_id() == TypeId::of::<bool>()
}

fn boolean_flag(arg: clap::Arg) -> clap::Arg {
    let is_false_by_default = matches!(arg.get_action(), ArgAction::SetTrue) && arg.get_default_values().is_empty();
    let arg = arg
        .action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .value_parser(go_bool)
        .hide_default_value(true)
        .hide_possible_values(true);
    if is_false_by_default { arg.default_value("false") } else { arg }
}

pub(crate) fn go_bool(text: &str) -> Result<bool, String> {
    parse_bool(text).ok_or_else(|| format!("strconv.ParseBool: parsing {text:?}: invalid syntax"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    fn build(line: &str) -> BuildArgs {
        match Cli::parse_words(&words(line)).unwrap().command {
            Command::Build(args)
            | Command::Buildx(BuildxCommand::Build(BuildCommand::Build(args)))
            | Command::Builder(BuildCommand::Build(args))
            | Command::Image(ImageCommand::Build(args)) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_link_called_docker_compose_is_compose() {
        for line in ["/usr/bin/docker-compose config", "docker compose config", "slipway docker-compose config"] {
            assert!(matches!(Cli::parse_words(&words(line)).unwrap().command, Command::Compose(_)), "{line}");
        }
    }

    #[test]
    fn help_names_booleans_without_a_value() {
        let help = Cli::parse_words(&words("slipway bake --load --help")).unwrap_err();
        assert_eq!(help.exit_code, 0);
        for flag in ["--load  ", "--pull  "] {
            assert!(help.text.contains(flag), "{}", help.text);
        }
        assert_eq!(Cli::parse_words(&words("slipway build --pull=false --help")).unwrap_err().exit_code, 0);
    }

    #[test]
    fn builds_are_read_alike_with_and_without_the_other_commands() {
        for line in [
            "slipway build --pull=false -t a --secret id=x,src=y --no-cache .",
            "docker b -D --builder x .",
            "slipway bake --set a.b=c --print a",
            "docker buildx build --builder x --load .",
            "docker buildx f --pull",
        ] {
            let [read, all] = [Cli::of_build(&words(line)).unwrap(), Cli::matched(&words(line)).unwrap()].map(|cli| {
                let args = match cli.command {
                    Command::Build(args) | Command::Buildx(BuildxCommand::Build(BuildCommand::Build(args))) => {
                        format!("{args:?}")
                    }
                    Command::Bake(args) | Command::Buildx(BuildxCommand::Build(BuildCommand::Bake(args))) => {
                        format!("{args:?}")
                    }
                    other => panic!("{other:?}"),
                };
                (args, cli.builder, cli.debug, cli.without_effect)
            });
            assert_eq!(read, all, "{line}");
        }
        for line in
            ["slipway build --nonsense .", "slipway build --help", "slipway -D build .", "slipway images", "slipway"]
        {
            assert!(Cli::of_build(&words(line)).is_none(), "{line}");
        }
    }

    #[test]
    fn dockers_names_mean_the_same() {
        for line in [
            "slipway build .",
            "slipway b .",
            "slipway buildx build .",
            "slipway buildx b .",
            "slipway builder build .",
            "slipway image build .",
            "docker buildx --builder x build .",
            "docker-buildx build .",
            "docker-buildx buildx build .",
        ] {
            assert_eq!(build(line).contexts, ["."], "{line}");
        }
    }
}
