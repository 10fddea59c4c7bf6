//! The flags of `compose` and its commands (`spec/compose.md` section 1).

mod services;

use clap::{Args, Subcommand};

pub(crate) use services::{
    DownArgs, ListProjectsArgs, ServiceCopyArgs, ServiceCreateArgs, ServiceExecArgs, ServiceImagesArgs,
    ServiceKillArgs, ServiceLogsArgs, ServicePortArgs, ServicePsArgs, ServicePushArgs, ServiceRemoveArgs,
    ServiceRestartArgs, ServiceRunArgs, ServiceStopArgs, ServiceWaitArgs, ServicesArgs, UpArgs, WatchArgs,
};

/// The flags of `compose`, which stand before its command.
#[derive(Debug, Args)]
pub(crate) struct ComposeArgs {
    /// Compose configuration files; `-` is standard input
    #[arg(short = 'f', long = "file")]
    pub(crate) files: Vec<String>,
    /// Project name
    #[arg(short = 'p', long)]
    pub(crate) project_name: Option<String>,
    /// What relative paths start from (default: the folder of the first Compose file)
    #[arg(long, alias = "workdir")]
    pub(crate) project_directory: Option<String>,
    /// Files of variables, in the place of `.env`
    #[arg(long = "env-file")]
    pub(crate) env_files: Vec<String>,
    /// Profiles to enable; `*` is all
    #[arg(long = "profile")]
    pub(crate) profiles: Vec<String>,
    /// Type of progress output (auto, tty, plain, json, quiet)
    #[arg(long)]
    pub(crate) progress: Option<String>,
    /// When to use colours and other control sequences (auto, never, always)
    #[arg(long, value_name = "WHEN")]
    pub(crate) ansi: Option<String>,
    /// Old spelling of `--ansi never`
    #[arg(long, hide = true)]
    pub(crate) no_ansi: bool,
    /// Accepted; images are pulled one after the other, and builds share what the machine has
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(crate) parallel: Option<String>,
    /// Refused; there are other commands that say what would be done
    #[arg(long, hide = true, global = true)]
    pub(crate) dry_run: bool,
    /// Name images with `_` in the place of `-`
    #[arg(long)]
    pub(crate) compatibility: bool,
    /// Keep resources that no service uses
    #[arg(long)]
    pub(crate) all_resources: bool,
    #[command(subcommand)]
    pub(crate) command: ComposeCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ComposeCommand {
    /// Show what the Compose files say, in their long form
    #[command(alias = "convert")]
    Config(ConfigArgs),
    /// Build the images of services
    Build(ServiceBuildArgs),
    /// Start services and what they depend on
    Up(Box<UpArgs>),
    /// End services, and forget their containers and networks
    Down(DownArgs),
    /// Run a program in the place of a service
    Run(Box<ServiceRunArgs>),
    /// Run a further program in a container of a service
    Exec(ServiceExecArgs),
    /// List containers of services
    Ps(ServicePsArgs),
    /// Show what services wrote
    Logs(ServiceLogsArgs),
    /// End services; their containers stay
    Stop(ServiceStopArgs),
    /// Start services that have ended
    Start(ServicesArgs),
    /// End services and start them again
    Restart(ServiceRestartArgs),
    /// Send a signal to services
    Kill(ServiceKillArgs),
    /// Pull images of services
    Pull(ServicesArgs),
    /// Push images of services
    Push(ServicePushArgs),
    /// Make containers of services, and start none
    Create(Box<ServiceCreateArgs>),
    /// Remove containers that have ended
    Rm(ServiceRemoveArgs),
    /// Wait until containers of services have ended
    Wait(ServiceWaitArgs),
    /// List the images of containers
    Images(ServiceImagesArgs),
    /// List projects that run
    Ls(ListProjectsArgs),
    /// Show where a port of a service is
    Port(ServicePortArgs),
    /// Copy files into a service, or out of it
    Cp(ServiceCopyArgs),
    /// Start services; rebuild or refresh them when files change
    Watch(WatchArgs),
    /// Print the version
    Version(ComposeVersionArgs),
}

/// The flags of `compose version`.
#[derive(Debug, Args)]
pub(crate) struct ComposeVersionArgs {
    /// Print the number alone
    #[arg(long)]
    pub(crate) short: bool,
    /// How to write it (pretty, json)
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub(crate) format: String,
}

/// The flags of `compose build`.
#[derive(Debug, Args)]
pub(crate) struct ServiceBuildArgs {
    /// Only these services; all that are enabled if none is named
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Set a build-time variable for all services
    #[arg(long = "build-arg")]
    pub(crate) build_args: Vec<String>,
    /// Check the Dockerfiles, build nothing
    #[arg(long)]
    pub(crate) check: bool,
    /// Without effect; memory of steps is not limited here
    #[arg(short = 'm', long, hide = true)]
    memory: Option<String>,
    /// Do not use results of earlier builds
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Print what is to be built as a bake file, build nothing
    #[arg(long)]
    pub(crate) print: bool,
    /// Always ask the registry for base images
    #[arg(long)]
    pub(crate) pull: bool,
    /// Push the images of services that name one
    #[arg(long)]
    pub(crate) push: bool,
    /// Print nothing but errors
    #[arg(short = 'q', long)]
    pub(crate) quiet: bool,
    /// SSH agent or keys for all services (default, or id=path)
    #[arg(long, num_args = 0..=1, default_missing_value = "default", require_equals = true)]
    pub(crate) ssh: Option<String>,
    /// Also build the services that these depend on
    #[arg(long)]
    pub(crate) with_dependencies: bool,
    /// Old place of the flag of `compose`
    #[arg(long, hide = true)]
    pub(crate) progress: Option<String>,
    /// Without effect; there is only one
    #[arg(long, hide = true)]
    builder: Option<String>,
    /// Without effect; what can be done at the same time is
    #[arg(long, hide = true)]
    parallel: bool,
    /// Without effect
    #[arg(long, hide = true)]
    compress: bool,
    /// Without effect; nothing is left to remove
    #[arg(long, hide = true)]
    force_rm: bool,
    /// Without effect; nothing is left to remove
    #[arg(long, hide = true)]
    no_rm: bool,
}

/// The flags of `compose config`.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Only these services and what they depend on
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Format of the output (yaml, json)
    #[arg(long, default_value = "yaml", hide_default_value = true)]
    pub(crate) format: String,
    /// Write to a file
    #[arg(short = 'o', long)]
    pub(crate) output: Option<String>,
    /// Only validate, print nothing
    #[arg(short = 'q', long)]
    pub(crate) quiet: bool,
    /// Print the names of services, one a line
    #[arg(long = "services")]
    pub(crate) lists_services: bool,
    /// Print the names of images, one a line
    #[arg(long)]
    pub(crate) images: bool,
    /// Print the names of volumes, one a line
    #[arg(long)]
    pub(crate) volumes: bool,
    /// Print the names of networks, one a line
    #[arg(long)]
    pub(crate) networks: bool,
    /// Print the names of profiles, one a line
    #[arg(long)]
    pub(crate) profiles: bool,
    /// Print the names of models, one a line
    #[arg(long)]
    pub(crate) models: bool,
    /// Print a digest of the configuration of services, `*` for all
    #[arg(long)]
    pub(crate) hash: Option<String>,
    /// Print the variables that the files name, and their defaults
    #[arg(long)]
    pub(crate) variables: bool,
    /// Print the variables that are known
    #[arg(long)]
    pub(crate) environment: bool,
    /// Do not fill in variables
    #[arg(long)]
    pub(crate) no_interpolate: bool,
    /// Do not fill in defaults
    #[arg(long)]
    pub(crate) no_normalize: bool,
    /// Leave relative paths as they are
    #[arg(long)]
    pub(crate) no_path_resolution: bool,
    /// Do not check whether what is referred to is there
    #[arg(long)]
    pub(crate) no_consistency: bool,
    /// Leave variables of services that have no value without one
    #[arg(long)]
    pub(crate) no_env_resolution: bool,
    /// Ask registries which digests the images have, and show images with them
    #[arg(long)]
    pub(crate) resolve_image_digests: bool,
    /// Print a file that, put over the others, fixes the digests of images
    #[arg(long)]
    pub(crate) lock_image_digests: bool,
}
