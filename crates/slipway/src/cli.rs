//! What can be typed: commands and flags, and what a typing mistake is answered with (`spec/cli.md` sections 1 to 3).
//!
//! Flags are only read here; what their values mean is decided in `slipway-graph`, `request/flags.rs`.

pub(crate) mod analyze;
pub(crate) mod bake;
pub(crate) mod compose;
pub(crate) mod fsck;
pub(crate) mod images;
pub(crate) mod lint;
pub(crate) mod run;
pub(crate) mod update;

use std::ffi::OsString;
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use slipway_graph::request::flags::{BuildFlags, ResourceFlag, parse_bool};
use slipway_graph::size::bytes_of;
use slipway_sandbox::ladder::Rung;

use crate::{cache_filter, exit_code};

/// Builds images from Dockerfiles with no daemon and no root.
#[derive(Debug, Parser)]
#[command(name = "slipway", version, args_override_self = true)]
pub(crate) struct Cli {
    /// Name of a builder; accepted for scripts, there is only one
    #[arg(long, global = true, hide = true, default_value = "")]
    builder: String,
    /// Say more
    #[arg(short = 'D', long, global = true, hide = true)]
    pub(crate) debug: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

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
    /// Say what is doubtful in Dockerfiles, and rewrite what is safe
    Lint(Box<lint::LintArgs>),
    /// Say what the layers of an image hold, what of it is wasted, and whether that is too much
    ///
    /// Prints a report, also on a terminal. With --ci the exit code says whether the rules hold.
    Analyze(Box<analyze::AnalyzeArgs>),
    /// The same as `analyze`, for one image, as `dive` is called
    Dive(Box<analyze::AnalyzeArgs>),
    /// List images of the local store
    Images(images::ImagesArgs),
    /// Say which instructions made an image
    History(images::HistoryArgs),
    /// Show all that is known of images
    Inspect(images::InspectArgs),
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
    /// Run a program in an image
    #[command(disable_help_flag = true)]
    Run(Box<run::RunArgs>),
    /// Move the pins of slipway.lock to what their names stand for now
    Update(update::UpdateArgs),
    /// Open a shell where an instruction would run, or at the end of a stage
    Shell(Box<ShellArgs>),
    /// The same commands as `docker buildx …`
    #[command(hide = true, subcommand)]
    Buildx(BuildCommand),
    /// The same commands as `docker builder …`
    #[command(hide = true, subcommand)]
    Builder(BuildCommand),
    /// The same commands as `docker image …`
    #[command(hide = true, subcommand)]
    Image(ImageCommand),
    /// The same commands as `docker container …`
    #[command(hide = true, subcommand)]
    Container(ContainerCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContainerCommand {
    /// Run a program in an image
    #[command(disable_help_flag = true)]
    Run(Box<run::RunArgs>),
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

/// The flags of `du`.
#[derive(Debug, Args)]
pub(crate) struct DiskUsageArgs {
    /// Only records that this holds for (key=value)
    #[arg(long = "filter", value_parser = cache_filter::check_form)]
    pub(crate) filters: Vec<String>,
    /// How to write the list (table, pretty, json)
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) format: String,
    /// The same as --format=pretty
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value = "false", value_parser = go_bool, action = ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    pub(crate) verbose: bool,
    /// Ignored
    #[arg(long, hide = true)]
    timeout: Option<String>,
}

/// The flags of `prune`.
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Also what is remembered between builds, and unpacked layers of images
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value = "false", value_parser = go_bool, action = ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    pub(crate) all: bool,
    /// Only records that this holds for (until=24h)
    #[arg(long = "filter", value_parser = cache_filter::check_form)]
    pub(crate) filters: Vec<String>,
    /// Do not ask
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value = "false", value_parser = go_bool, action = ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    pub(crate) force: bool,
    /// So much stays in any case
    #[arg(long, value_parser = size)]
    pub(crate) reserved_space: Option<u64>,
    /// Old spelling of --reserved-space
    #[arg(long, hide = true, value_parser = size)]
    pub(crate) keep_storage: Option<u64>,
    /// No more than this stays
    #[arg(long, value_parser = size)]
    pub(crate) max_used_space: Option<u64>,
    /// So much is to be free on the disk
    #[arg(long, value_parser = size)]
    pub(crate) min_free_space: Option<u64>,
    /// Say all that is known of what goes
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value = "false", value_parser = go_bool, action = ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    pub(crate) verbose: bool,
    /// Ignored
    #[arg(long, hide = true)]
    timeout: Option<String>,
}

/// What can be asked about builds that are over. Builds are named by the beginning of an id or `^N`, the N-th before
/// the newest.
#[derive(Debug, Subcommand)]
pub(crate) enum BuildsCommand {
    /// List builds, the newest first
    #[command(name = "ls", alias = "list")]
    List {
        #[arg(long, value_enum, default_value = "table")]
        format: ListFormat,
        /// Do not shorten names
        #[arg(long)]
        no_trunc: bool,
    },
    /// Show what was asked for, what came of it, and how long each step took
    Inspect {
        build: Option<String>,
        #[arg(long, value_enum, default_value = "pretty")]
        format: ListFormat,
    },
    /// Show what the steps of a build wrote; of one step, its output alone
    Logs {
        build: Option<String>,
        /// Its number, or a part of its name
        step: Option<String>,
        /// Type of progress output (plain, rawjson, tty)
        #[arg(long, default_value = "plain")]
        progress: String,
    },
    /// Forget builds
    #[command(name = "rm")]
    Remove {
        builds: Vec<String>,
        /// Forget all of them
        #[arg(long)]
        all: bool,
    },
}

/// How something is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ListFormat {
    /// For people
    #[value(alias = "pretty")]
    Table,
    /// For programs
    Json,
}

/// The flags of `explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The beginning of an id, or `^N`: the N-th before the newest; the newest if not given
    pub(crate) build: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
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
}

/// The flags of `shell`.
#[derive(Debug, Args)]
pub(crate) struct ShellArgs {
    /// Where: the end of a stage, or the line of its Dockerfile that would be carried out next
    #[arg(value_name = "STAGE[:LINE]")]
    pub(crate) point: String,
    #[command(flatten)]
    pub(crate) build: BuildArgs,
}

/// The flags of `build`.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// Where the files of the build are; exactly one
    #[arg(value_name = "PATH | URL | -")]
    pub(crate) contexts: Vec<String>,
    /// Add a custom host-to-IP mapping (host=ip)
    #[arg(long = "add-host")]
    add_hosts: Vec<String>,
    /// Allow extra privileged entitlement (network.host, security.insecure)
    #[arg(long = "allow")]
    allow: Vec<String>,
    /// Add an annotation to the image
    #[arg(long = "annotation")]
    annotations: Vec<String>,
    /// Attestation parameters
    #[arg(long = "attest")]
    attest: Vec<String>,
    /// Set build-time variables
    #[arg(long = "build-arg")]
    build_args: Vec<String>,
    /// Additional build contexts (name=path)
    #[arg(long = "build-context")]
    build_contexts: Vec<String>,
    /// External cache sources
    #[arg(long = "cache-from")]
    cache_from: Vec<String>,
    /// Cache export destinations
    #[arg(long = "cache-to")]
    cache_to: Vec<String>,
    /// Which modes files of the context have (disk, git): with git 0644 or 0755, whatever umask or clone they come from
    #[arg(long, value_name = "MODE", default_value = "", hide_default_value = true)]
    context_mode: String,
    /// Method for evaluating the build (build)
    #[arg(long, default_value = "", hide_default_value = true)]
    call: String,
    /// Shorthand for --call=check
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value = "false", value_parser = go_bool, action = ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    check: bool,
    /// Parent cgroup for RUN instructions
    #[arg(long, default_value = "", hide_default_value = true)]
    cgroup_parent: String,
    /// Name of the Dockerfile (default: PATH/Dockerfile)
    #[arg(short = 'f', long, default_value = "", hide_default_value = true)]
    file: String,
    /// Write the image ID to a file
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) iidfile: String,
    /// Set metadata for an image
    #[arg(long = "label")]
    labels: Vec<String>,
    /// Shorthand for --output=type=docker
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value = "false", value_parser = go_bool, action = ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    load: bool,
    /// Write build result metadata to a file
    #[arg(long, default_value = "", hide_default_value = true)]
    metadata_file: String,
    /// Networking mode for RUN instructions (default, none, host)
    #[arg(long, default_value = "", hide_default_value = true)]
    network: String,
    /// Do not use results of earlier builds
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value = "false", value_parser = go_bool, action = ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    no_cache: bool,
    /// Do not use results of earlier builds for these stages
    #[arg(long = "no-cache-filter")]
    no_cache_filter: Vec<String>,
    /// Output destination (type=local,dest=path)
    #[arg(short = 'o', long = "output")]
    outputs: Vec<String>,
    /// Target platform of the build
    #[arg(long = "platform")]
    platforms: Vec<String>,
    /// Source policy
    #[arg(long = "policy")]
    policy: Vec<String>,
    /// Type of progress output (auto, none, plain, quiet, rawjson, tty)
    #[arg(long, default_value = "auto")]
    pub(crate) progress: String,
    /// Shorthand for --attest=type=provenance
    #[arg(long, default_value = "", hide_default_value = true)]
    provenance: String,
    /// Always ask the registry for base images
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value = "false", value_parser = go_bool, action = ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    pull: bool,
    /// Shorthand for --output=type=registry
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value = "false", value_parser = go_bool, action = ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    push: bool,
    /// Print the image ID only
    #[arg(short = 'q', long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value = "false", value_parser = go_bool, action = ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    pub(crate) quiet: bool,
    /// Write what names stand for into slipway.lock beside the Dockerfile; what is there stays
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value = "false", value_parser = go_bool, action = ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    lock: bool,
    /// Take names as slipway.lock has them, and fail if it lacks one
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value = "false", value_parser = go_bool, action = ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    locked: bool,
    /// Fetch nothing: build from what is in the store, or list what is missing
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value = "false", value_parser = go_bool, action = ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    offline: bool,
    /// Resource limits of RUN instructions
    #[arg(long = "resource")]
    resources: Vec<String>,
    /// Shorthand for --attest=type=sbom
    #[arg(long, default_value = "", hide_default_value = true)]
    sbom: String,
    /// Secret to expose to the build (id=mysecret[,src=/local/secret][,key=true]); with key=true another value runs the
    /// steps that use it again
    #[arg(long = "secret")]
    secrets: Vec<String>,
    /// How many steps run at the same time (default: decided by the machine)
    #[arg(long)]
    jobs: Option<std::num::NonZero<usize>>,
    /// Which kind of sandbox steps run in (root, subids, single-id); by default the best that `doctor` finds
    #[arg(long, value_name = "MODE")]
    pub(crate) sandbox: Option<Rung>,
    /// Size of /dev/shm
    #[arg(long, default_value = "", hide_default_value = true)]
    shm_size: String,
    /// SSH agent socket or keys to expose to the build (default|<id>[=<socket>|<key>[,<key>]])
    #[arg(long = "ssh")]
    ssh: Vec<String>,
    /// What becomes of a step that fails: with `shell`, a shell opens in its place (needs a terminal)
    #[arg(long, default_value = "", hide_default_value = true, value_parser = on_failure)]
    pub(crate) on_failure: String,
    /// Give RUN steps a terminal to write to while the screen is drawn (also SLIPWAY_RUN_TTY=1)
    #[arg(long)]
    pub(crate) run_tty: bool,
    /// Say afterwards which steps ran, and what differed from the build before
    #[arg(long)]
    pub(crate) explain: bool,
    /// Fail if a step of this stage ran (its result stays)
    #[arg(long = "expect-cached", value_name = "STAGE")]
    pub(crate) expect_cached: Vec<String>,
    /// Where a shell is wanted instead of a result, `STAGE[:LINE]`; never typed as a flag
    #[arg(skip)]
    pub(crate) shell: String,
    /// Name and optionally a tag (name:tag)
    #[arg(short = 't', long = "tag")]
    tags: Vec<String>,
    /// Set the target build stage to build
    #[arg(long, default_value = "", hide_default_value = true)]
    target: String,
    /// Ulimit options
    #[arg(long = "ulimit")]
    ulimits: Vec<String>,
    /// How many processors RUN instructions may use (1.5)
    #[arg(long, default_value = "", hide_default_value = true)]
    cpus: String,
    /// How much memory RUN instructions may use (512m)
    #[arg(short = 'm', long, default_value = "", hide_default_value = true)]
    memory: String,
    /// How many processes and threads RUN instructions may have
    #[arg(long, default_value = "", hide_default_value = true)]
    pids_limit: String,
    /// Spelling of older programs of a --resource
    #[arg(long, hide = true, default_value = "", hide_default_value = true)]
    memory_swap: String,
    /// Spelling of older programs of a --resource
    #[arg(short = 'c', long, hide = true, default_value = "", hide_default_value = true)]
    cpu_shares: String,
    /// Spelling of older programs of a --resource
    #[arg(long, hide = true, default_value = "", hide_default_value = true)]
    cpu_period: String,
    /// Spelling of older programs of a --resource
    #[arg(long, hide = true, default_value = "", hide_default_value = true)]
    cpu_quota: String,
    /// Spelling of older programs of a --resource
    #[arg(long, hide = true, default_value = "", hide_default_value = true)]
    cpuset_cpus: String,
    /// Spelling of older programs of a --resource
    #[arg(long, hide = true, default_value = "", hide_default_value = true)]
    cpuset_mems: String,
    /// Ignored
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value = "false", value_parser = go_bool, action = ArgAction::Set, hide = true)]
    compress: bool,
    /// Ignored
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value = "false", value_parser = go_bool, action = ArgAction::Set, hide = true)]
    force_rm: bool,
    /// Ignored
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value = "true", value_parser = go_bool, action = ArgAction::Set, hide = true)]
    rm: bool,
    /// Ignored with a warning
    #[arg(long, hide = true, default_value = "", hide_default_value = true)]
    isolation: String,
    /// Ignored with a warning
    #[arg(long = "security-opt", hide = true)]
    security_opts: Vec<String>,
    /// Ignored with a warning
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value = "false", value_parser = go_bool, action = ArgAction::Set, hide = true)]
    squash: bool,
    /// Old spelling of --call
    #[arg(long, hide = true, default_value = "", hide_default_value = true)]
    print: String,
}

impl BuildArgs {
    /// What is to be built, apart from how it is shown.
    pub(crate) fn into_flags(self, context: String, proxies: Vec<(String, String)>) -> BuildFlags {
        let call = self.call_text().to_owned();
        BuildFlags {
            context,
            context_mode: self.context_mode,
            dockerfile_inline: None,
            file: self.file,
            target: self.target,
            tags: self.tags,
            build_args: self.build_args,
            proxies,
            labels: self.labels,
            platforms: self.platforms,
            build_contexts: self.build_contexts,
            no_cache: self.no_cache,
            no_cache_filter: self.no_cache_filter,
            pull: self.pull,
            lock: self.lock,
            locked: self.locked,
            offline: self.offline,
            network: self.network,
            add_hosts: self.add_hosts,
            allow: self.allow,
            jobs: self.jobs.map(std::num::NonZero::get),
            resource_flags: vec![
                resource("-m, --memory", "memory", self.memory),
                resource("--memory-swap", "memory-swap", self.memory_swap),
                resource("-c, --cpu-shares", "cpu-shares", self.cpu_shares),
                resource("--cpu-period", "cpu-period", self.cpu_period),
                resource("--cpu-quota", "cpu-quota", self.cpu_quota),
                resource("--cpuset-cpus", "cpuset-cpus", self.cpuset_cpus),
                resource("--cpuset-mems", "cpuset-mems", self.cpuset_mems),
                resource("--cpus", "cpus", self.cpus),
                resource("--pids-limit", "pids-limit", self.pids_limit),
            ],
            resources: self.resources,
            cgroup_parent: self.cgroup_parent,
            shell: self.shell,
            shm_size: self.shm_size,
            ulimits: self.ulimits,
            secrets: self.secrets,
            ssh: self.ssh,
            outputs: self.outputs,
            push: self.push,
            load: self.load,
            annotations: self.annotations,
            iidfile: self.iidfile,
            cache_from: self.cache_from,
            cache_to: self.cache_to,
            attest: self.attest,
            provenance: self.provenance,
            sbom: self.sbom,
            call,
            check: self.check,
            metadata_file: self.metadata_file,
            policy: self.policy,
        }
    }

    fn call_text(&self) -> &str {
        if self.call.is_empty() { &self.print } else { &self.call }
    }

    /// What the user should know about flags that are accepted and have no effect.
    pub(crate) fn remarks(&self) -> Vec<&'static str> {
        let remarks = [
            (!self.isolation.is_empty(), "isolation flag is deprecated with BuildKit."),
            (
                !self.security_opts.is_empty(),
                "security-opt flag is deprecated. \"RUN --security=insecure\" should be used with BuildKit.",
            ),
            (
                self.squash,
                "experimental flag squash is removed with BuildKit. You should squash inside build using a \
                 multi-stage Dockerfile for efficiency.",
            ),
        ];
        remarks.into_iter().filter(|(applies, _)| *applies).map(|(_, remark)| remark).collect()
    }
}

fn resource(flag: &'static str, name: &'static str, value: String) -> ResourceFlag {
    ResourceFlag { flag, name, value }
}

impl Cli {
    /// Reads `words`, the first of which is the name that the program was started under.
    pub(crate) fn parse_words(words: &[OsString]) -> Result<Cli, Rejected> {
        // Built by hand instead of `try_parse_from`, so that every value may begin with a hyphen, as in GNU programs.
        let command = let_values_begin_with_hyphens(Cli::command());
        command
            .try_get_matches_from(with_implied_command(words))
            .and_then(|matches| Cli::from_arg_matches(&matches))
            .map_err(|error| Rejected::from_clap(&error, words))
    }
}

/// The program is one of its commands under some names: `docker-compose`, and `dive`, whose version is slipway's.
fn with_implied_command(words: &[OsString]) -> Vec<OsString> {
    let started_as = words.first().and_then(|word| Path::new(word).file_name()).and_then(|name| name.to_str());
    let command = match started_as {
        Some("docker-compose") => Some("compose"),
        Some("dive") if words.get(1).is_none_or(|word| word != "--version") => Some("dive"),
        _ => None,
    };
    let mut words = words.to_vec();
    if let Some(command) = command {
        words.insert(1, command.into());
    }
    words
}

fn let_values_begin_with_hyphens(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| {
        let takes_next_word = !arg.is_positional()
            && !arg.is_require_equals_set()
            && matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
        if takes_next_word { arg.allow_hyphen_values(true) } else { arg }
    });
    command.mut_subcommands(let_values_begin_with_hyphens)
}

fn on_failure(text: &str) -> Result<String, &'static str> {
    match text {
        "" | "shell" => Ok(text.to_owned()),
        _ => Err("expected shell"),
    }
}

/// A number of bytes; 0 is no bound.
fn size(text: &str) -> Result<u64, String> {
    bytes_of(text).ok_or_else(|| format!("invalid size: '{text}'"))
}

pub(crate) fn go_bool(text: &str) -> Result<bool, String> {
    parse_bool(text).ok_or_else(|| format!("strconv.ParseBool: parsing {text:?}: invalid syntax"))
}

/// What was typed is no command, or asks for help.
#[derive(Debug)]
pub(crate) struct Rejected {
    /// For standard output if `exit_code` is 0, else for standard error.
    pub(crate) text: String,
    pub(crate) exit_code: u8,
}

impl Rejected {
    /// A command with the wrong number of arguments.
    pub(crate) fn argument_count(words: &[OsString]) -> Rejected {
        let program = Program::of(words);
        let message = format!("ERROR: {}: '{}' requires 1 argument", program.name, program.command);
        Rejected { text: program.with_usage(&message), exit_code: exit_code::FAILURE }
    }

    /// A command other than `build` with the wrong number of arguments.
    fn missing_arguments(words: &[OsString]) -> Rejected {
        let name = Program::of(words).name;
        let mut command = Cli::command();
        let mut path = name.clone();
        for word in words.iter().skip(1).filter_map(|word| word.to_str()) {
            if let Some(subcommand) = command.find_subcommand(word) {
                path = format!("{path} {word}");
                command = subcommand.clone();
            }
        }
        let positionals: Vec<clap::Arg> = command.get_positionals().cloned().collect();
        let n_required = positionals.iter().filter(|arg| arg.is_required_set()).count();
        let is_open = positionals.iter().any(|arg| matches!(arg.get_action(), ArgAction::Append));
        let least = if is_open {
            "at least "
        } else if n_required < positionals.len() {
            "at most "
        } else {
            ""
        };
        let n = if least == "at most " { positionals.len() } else { n_required };
        let plural = if n == 1 { "" } else { "s" };
        let usage: String = positionals.iter().map(|arg| format!(" {arg}")).collect();
        let text = format!(
            "{name}: '{path}' requires {least}{n} argument{plural}\n\nUsage:  {path} [OPTIONS]{usage}\n\n\
             Run '{path} --help' for more information\n"
        );
        Rejected { text, exit_code: exit_code::FAILURE }
    }

    /// A flag whose value is refused by the flag's own parser.
    pub(crate) fn argument(message: &str, words: &[OsString]) -> Rejected {
        Rejected { text: Program::of(words).with_usage(message), exit_code: exit_code::USAGE }
    }

    fn from_clap(error: &clap::Error, words: &[OsString]) -> Rejected {
        let program = Program::of(words);
        let typed = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => text.as_str(),
            _ => "",
        };
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Rejected { text: error.to_string(), exit_code: exit_code::SUCCESS }
            }
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
                Rejected { text: error.to_string(), exit_code: exit_code::FAILURE }
            }
            ErrorKind::InvalidSubcommand => {
                let name = &program.name;
                let command = typed(ContextKind::InvalidSubcommand);
                let text =
                    format!("{name}: unknown command: {name} {command}\n\nRun '{name} --help' for more information\n");
                Rejected { text, exit_code: exit_code::FAILURE }
            }
            ErrorKind::MissingRequiredArgument => Rejected::missing_arguments(words),
            ErrorKind::UnknownArgument if !typed(ContextKind::InvalidArg).starts_with('-') => {
                Rejected::missing_arguments(words)
            }
            ErrorKind::UnknownArgument => {
                Rejected::argument(&unknown_flag(typed(ContextKind::InvalidArg), words), words)
            }
            ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
                let flag = flag_names(typed(ContextKind::InvalidArg));
                let value = typed(ContextKind::InvalidValue);
                let message = match std::error::Error::source(error) {
                    Some(reason) => format!("invalid argument {value:?} for \"{flag}\" flag: {reason}"),
                    None => missing_value(&flag, words),
                };
                Rejected::argument(&message, words)
            }
            _ => Rejected::argument(error.to_string().trim_start_matches("error: ").trim_end(), words),
        }
    }
}

/// `-z` typed alone or among others (`-qz`) is a shorthand.
fn unknown_flag(typed: &str, words: &[OsString]) -> String {
    let Some(shorthand) = typed.strip_prefix('-').filter(|name| !name.starts_with('-')) else {
        return format!("unknown flag: {typed}");
    };
    let in_word = words
        .iter()
        .filter_map(|word| word.to_str())
        .find(|word| word.strip_prefix('-').is_some_and(|names| !names.starts_with('-') && names.contains(shorthand)));
    format!("unknown shorthand flag: '{shorthand}' in {}", in_word.unwrap_or(typed))
}

/// `--output <OUTPUT>` as `-o, --output`, the way that the reference names flags.
fn flag_names(shown: &str) -> String {
    let long = shown.split(['=', ' ', '[']).next().unwrap_or_default();
    let build = <BuildArgs as Args>::augment_args(clap::Command::new("build"));
    let short = build
        .get_arguments()
        .find(|arg| arg.get_long().is_some_and(|name| long.strip_prefix("--") == Some(name)))
        .and_then(clap::Arg::get_short);
    match short {
        Some(short) => format!("-{short}, {long}"),
        None => long.to_owned(),
    }
}

/// Only the last word can lack its value.
fn missing_value(flag: &str, words: &[OsString]) -> String {
    let last = words.last().and_then(|word| word.to_str()).unwrap_or_default();
    match last.strip_prefix('-') {
        Some(shorthands) if !shorthands.starts_with('-') => {
            let shorthand = shorthands.chars().last().unwrap_or_default();
            format!("flag needs an argument: '{shorthand}' in {last}")
        }
        _ => format!("flag needs an argument: {}", flag.rsplit(' ').next().unwrap_or(flag)),
    }
}

/// What people call this program, which differs if it was started under Docker's name.
struct Program {
    name: String,
    /// `slipway build`, `docker buildx build`, `docker run`.
    command: String,
    /// What follows its options.
    arguments: &'static str,
}

impl Program {
    fn of(words: &[OsString]) -> Program {
        let started_as = words.first().and_then(|word| Path::new(word).file_name()).and_then(|name| name.to_str());
        let name = match started_as {
            Some("docker" | "docker-buildx") => "docker",
            _ => "slipway",
        };
        let mut typed = words.iter().skip(1).filter_map(|word| word.to_str()).filter(|word| *word != "container");
        let (command, arguments) = match (typed.next(), name) {
            (Some("run"), name) => (format!("{name} run"), "IMAGE [COMMAND] [ARG...]"),
            (_, "docker") => ("docker buildx build".to_owned(), "PATH | URL | -"),
            (_, name) => (format!("{name} build"), "PATH | URL | -"),
        };
        Program { name: name.to_owned(), command, arguments }
    }

    fn with_usage(&self, message: &str) -> String {
        let Program { command, arguments, .. } = self;
        format!("{message}\n\nUsage:  {command} [OPTIONS] {arguments}\n\nRun '{command} --help' for more information\n")
    }
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
            | Command::Buildx(BuildCommand::Build(args))
            | Command::Builder(BuildCommand::Build(args))
            | Command::Image(ImageCommand::Build(args)) => *args,
            other => panic!("{other:?}"),
        }
    }

    fn rejected(line: &str) -> (String, u8) {
        let rejected = Cli::parse_words(&words(line)).unwrap_err();
        (rejected.text.lines().next().unwrap().to_owned(), rejected.exit_code)
    }

    #[test]
    fn a_link_called_docker_compose_is_compose() {
        for line in ["/usr/bin/docker-compose config", "docker compose config", "slipway docker-compose config"] {
            assert!(matches!(Cli::parse_words(&words(line)).unwrap().command, Command::Compose(_)), "{line}");
        }
    }

    #[test]
    fn flags_are_spelled_as_in_gnu_programs() {
        let args =
            build("slipway build -qf x --build-arg=A=1 --build-arg B . -ta --tag b --pull=false -o - --label -x");
        assert!(args.quiet && !args.pull);
        assert_eq!(args.contexts, ["."]);
        assert_eq!(args.file, "x");
        assert_eq!(args.build_args, ["A=1", "B"]);
        assert_eq!(args.tags, ["a", "b"]);
        assert_eq!(args.outputs, ["-"]);
        assert_eq!(args.labels, ["-x"]);
        assert_eq!(build("slipway build -f a -f b --pull .").file, "b");
        assert_eq!(build("slipway build -f - -").contexts, ["-"]);
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

    #[test]
    fn typing_mistakes_are_told_as_the_reference_tells_them() {
        for (line, message, code) in [
            ("slipway build --zzz .", "unknown flag: --zzz", 125),
            ("slipway build -z .", "unknown shorthand flag: 'z' in -z", 125),
            ("slipway build -o", "flag needs an argument: 'o' in -o", 125),
            ("slipway build --output", "flag needs an argument: --output", 125),
            (
                "slipway build --pull=maybe .",
                "invalid argument \"maybe\" for \"--pull\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
                125,
            ),
            (
                "slipway build --quiet=x .",
                "invalid argument \"x\" for \"-q, --quiet\" flag: strconv.ParseBool: parsing \"x\": invalid syntax",
                125,
            ),
            ("slipway nope", "slipway: unknown command: slipway nope", 1),
            ("docker nope", "docker: unknown command: docker nope", 1),
            ("docker rmi", "docker: 'docker rmi' requires at least 1 argument", 1),
            ("docker tag a", "docker: 'docker tag' requires 2 arguments", 1),
            ("docker image history a b", "docker: 'docker image history' requires 1 argument", 1),
            ("slipway images a b", "slipway: 'slipway images' requires at most 1 argument", 1),
        ] {
            assert_eq!(rejected(line), (message.to_owned(), code), "{line}");
        }
    }

    #[test]
    fn the_usage_follows_a_mistake() {
        let rejected = Rejected::argument_count(&words("/usr/bin/docker build"));
        assert_eq!(
            rejected.text,
            "ERROR: docker: 'docker buildx build' requires 1 argument\n\n\
             Usage:  docker buildx build [OPTIONS] PATH | URL | -\n\n\
             Run 'docker buildx build --help' for more information\n"
        );
    }

    #[test]
    fn ignored_flags_are_remarked_on_where_they_matter() {
        assert!(build("slipway build --rm --force-rm --compress .").remarks().is_empty());
        assert_eq!(build("slipway build --squash --isolation x .").remarks().len(), 2);
    }
}
