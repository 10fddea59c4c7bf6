//! The flags of the commands of `compose` about services that run, or are to: `up` and its kin.

use clap::Args;

use crate::cli::containers::LogLines;

/// The flags of `compose up`.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Only these services, and what they depend on
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Leave them running in the background
    #[arg(short = 'd', long)]
    pub(crate) detach: bool,
    /// Build images first
    #[arg(long)]
    pub(crate) build: bool,
    /// Build nothing, even where an image is missing
    #[arg(long)]
    pub(crate) no_build: bool,
    /// When to pull images (policy, always, missing, never, build)
    #[arg(long, default_value = "policy", hide_default_value = true)]
    pub(crate) pull: String,
    /// Forget containers of services that are not in the files any more
    #[arg(long)]
    pub(crate) remove_orphans: bool,
    /// How many containers a service has (SERVICE=NUMBER)
    #[arg(long)]
    pub(crate) scale: Vec<String>,
    /// Replace containers although nothing has changed
    #[arg(long)]
    pub(crate) force_recreate: bool,
    /// Leave containers as they are, although something has changed
    #[arg(long)]
    pub(crate) no_recreate: bool,
    /// Do not start what the services depend on
    #[arg(long)]
    pub(crate) no_deps: bool,
    /// Stop everything as soon as one container ends
    #[arg(long)]
    pub(crate) abort_on_container_exit: bool,
    /// Stop everything as soon as one container fails
    #[arg(long)]
    pub(crate) abort_on_container_failure: bool,
    /// Exit with the code of this service's container, and stop everything when it ends
    #[arg(long, value_name = "SERVICE")]
    pub(crate) exit_code_from: Option<String>,
    /// Seconds until containers that are to end are killed
    #[arg(short = 't', long)]
    pub(crate) timeout: Option<u64>,
    /// Show when each line was written
    #[arg(long)]
    pub(crate) timestamps: bool,
    /// Show what these services write, and no others
    #[arg(long)]
    pub(crate) attach: Vec<String>,
    /// Do not show what these services write
    #[arg(long)]
    pub(crate) no_attach: Vec<String>,
    /// Also show what the services depend on writes
    #[arg(long)]
    pub(crate) attach_dependencies: bool,
    /// Wait until all run and are healthy; implies --detach
    #[arg(long)]
    pub(crate) wait: bool,
    /// Seconds that this may take
    #[arg(long)]
    pub(crate) wait_timeout: Option<u64>,
    /// No colours
    #[arg(long)]
    pub(crate) no_color: bool,
    /// Do not write the name of the container before each line
    #[arg(long)]
    pub(crate) no_log_prefix: bool,
    /// Make the containers, and start none
    #[arg(long)]
    pub(crate) no_start: bool,
    /// Rebuild or refresh services when files change (what, `develop.watch` says)
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Build without showing how
    #[arg(long)]
    pub(crate) quiet_build: bool,
    /// Pull without showing how
    #[arg(long)]
    pub(crate) quiet_pull: bool,
    /// Accepted; nothing is asked
    #[arg(short = 'y', long)]
    yes: bool,
    /// Accepted; there are no shortcuts
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    menu: Option<bool>,
}

impl UpArgs {
    /// What `--no-start` comes to.
    pub(crate) fn to_create(&self) -> ServiceCreateArgs {
        ServiceCreateArgs {
            services: self.services.clone(),
            build: self.build,
            no_build: self.no_build,
            force_recreate: self.force_recreate,
            no_recreate: self.no_recreate,
            pull: self.pull.clone(),
            quiet_pull: self.quiet_pull,
            remove_orphans: self.remove_orphans,
            scale: self.scale.clone(),
            yes: self.yes,
        }
    }
}

/// The flags of `compose watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Only these services
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Services run already
    #[arg(long)]
    pub(crate) no_up: bool,
    /// Build without showing how
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Accepted; images without a name are not kept
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    prune: Option<bool>,
}

/// The flags of `compose create`.
#[derive(Debug, Args)]
pub(crate) struct ServiceCreateArgs {
    /// Only these services, and what they depend on
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Build images first
    #[arg(long)]
    pub(crate) build: bool,
    /// Build nothing, even where an image is missing
    #[arg(long)]
    pub(crate) no_build: bool,
    /// Replace containers although nothing has changed
    #[arg(long)]
    pub(crate) force_recreate: bool,
    /// Leave containers as they are, although something has changed
    #[arg(long)]
    pub(crate) no_recreate: bool,
    /// When to pull images (policy, always, missing, never, build)
    #[arg(long, default_value = "policy", hide_default_value = true)]
    pub(crate) pull: String,
    /// Pull without showing how
    #[arg(long)]
    pub(crate) quiet_pull: bool,
    /// Forget containers of services that are not in the files any more
    #[arg(long)]
    pub(crate) remove_orphans: bool,
    /// How many containers a service has (SERVICE=NUMBER)
    #[arg(long)]
    pub(crate) scale: Vec<String>,
    /// Accepted; nothing is asked
    #[arg(short = 'y', long)]
    yes: bool,
}

/// The flags of `compose restart`.
#[derive(Debug, Args)]
pub(crate) struct ServiceRestartArgs {
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Leave services alone that are to be restarted with what they depend on
    #[arg(long)]
    pub(crate) no_deps: bool,
    /// Seconds until containers are killed
    #[arg(short = 't', long)]
    pub(crate) timeout: Option<u64>,
}

/// The flags of `compose rm`.
#[derive(Debug, Args)]
pub(crate) struct ServiceRemoveArgs {
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
    /// End containers first
    #[arg(short, long)]
    pub(crate) stop: bool,
    /// Remove volumes without a name as well
    #[arg(short, long)]
    pub(crate) volumes: bool,
}

/// The flags of `compose wait`.
#[derive(Debug, Args)]
pub(crate) struct ServiceWaitArgs {
    #[arg(value_name = "SERVICE", required = true)]
    pub(crate) services: Vec<String>,
    /// End the project as soon as the first container has ended
    #[arg(long)]
    pub(crate) down_project: bool,
}

/// The flags of `compose images`.
#[derive(Debug, Args)]
pub(crate) struct ServiceImagesArgs {
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// How to write the list (table, json)
    #[arg(long, default_value = "table")]
    pub(crate) format: String,
    /// Only ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// The flags of `compose ls`.
#[derive(Debug, Args)]
pub(crate) struct ListProjectsArgs {
    /// Also projects of which nothing runs
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Only those that this holds for (name=)
    #[arg(long = "filter")]
    pub(crate) filters: Vec<String>,
    /// How to write the list (table, json)
    #[arg(long, default_value = "table")]
    pub(crate) format: String,
    /// Only names
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// The flags of `compose port`.
#[derive(Debug, Args)]
pub(crate) struct ServicePortArgs {
    #[arg(value_name = "SERVICE")]
    pub(crate) service: String,
    #[arg(value_name = "PRIVATE_PORT")]
    pub(crate) port: u16,
    /// Which of several containers of the service
    #[arg(long)]
    pub(crate) index: Option<u32>,
    /// tcp or udp
    #[arg(long, default_value = "tcp")]
    pub(crate) protocol: String,
}

/// The flags of `compose cp`.
#[derive(Debug, Args)]
pub(crate) struct ServiceCopyArgs {
    /// A path, SERVICE:PATH, or `-` for an archive on standard input
    #[arg(value_name = "SOURCE", allow_hyphen_values = true)]
    pub(crate) source: String,
    /// SERVICE:PATH, a path, or `-` for an archive on standard output
    #[arg(value_name = "DEST", allow_hyphen_values = true)]
    pub(crate) dest: String,
    /// Also containers of `compose run`
    #[arg(long)]
    pub(crate) all: bool,
    /// Which of several containers of the service
    #[arg(long)]
    pub(crate) index: Option<u32>,
}

/// The flags of `compose push`.
#[derive(Debug, Args)]
pub(crate) struct ServicePushArgs {
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Succeed although some images could not be pushed
    #[arg(long)]
    pub(crate) ignore_push_failures: bool,
    /// Push images of what the services depend on as well
    #[arg(long)]
    pub(crate) include_deps: bool,
    /// Push without showing how
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// The flags of `compose down`.
#[derive(Debug, Default, Args)]
pub(crate) struct DownArgs {
    /// Only these services
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Accepted; what is left of the project goes in any case
    #[arg(long)]
    remove_orphans: bool,
    /// Remove images as well (local: those without a name of their own; all)
    #[arg(long)]
    pub(crate) rmi: Option<String>,
    /// Seconds until containers are killed
    #[arg(short = 't', long)]
    pub(crate) timeout: Option<u64>,
    /// Remove the project's named volumes as well
    #[arg(short = 'v', long)]
    pub(crate) volumes: bool,
}

/// The flags of `compose ps`.
#[derive(Debug, Args)]
pub(crate) struct ServicePsArgs {
    /// Only these services
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Also containers that have ended
    #[arg(short, long)]
    pub(crate) all: bool,
    /// How to write the list (table, json, or a template)
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) format: String,
    /// Only ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Only the names of services
    #[arg(long = "services")]
    pub(crate) lists_services: bool,
}

/// The flags of `compose logs`.
#[derive(Debug, Args)]
pub(crate) struct ServiceLogsArgs {
    /// Only these services
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    #[command(flatten)]
    pub(crate) which: LogLines,
    /// No colours
    #[arg(long)]
    pub(crate) no_color: bool,
    /// Do not write the name of the container before each line
    #[arg(long)]
    pub(crate) no_log_prefix: bool,
}

/// Services, all if none is named.
#[derive(Debug, Args)]
pub(crate) struct ServicesArgs {
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

/// The flags of `compose stop`.
#[derive(Debug, Args)]
pub(crate) struct ServiceStopArgs {
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Seconds until containers are killed
    #[arg(short = 't', long)]
    pub(crate) timeout: Option<u64>,
}

/// The flags of `compose kill`.
#[derive(Debug, Args)]
pub(crate) struct ServiceKillArgs {
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Signal to send
    #[arg(short, long, default_value = "SIGKILL")]
    pub(crate) signal: String,
}

/// The flags of `compose run`.
#[derive(Debug, Args)]
pub(crate) struct ServiceRunArgs {
    /// The service, a command and its arguments; flags come before them
    #[arg(value_name = "SERVICE [COMMAND] [ARG...]", required = true, trailing_var_arg = true)]
    pub(crate) words: Vec<String>,
    /// Build the image first
    #[arg(long)]
    pub(crate) build: bool,
    /// Set a variable (NAME=value); NAME alone takes the value from here
    #[arg(short, long = "env")]
    pub(crate) env: Vec<String>,
    /// Read variables from a file, one a line
    #[arg(long)]
    pub(crate) env_from_file: Vec<String>,
    /// Add a label (NAME=value)
    #[arg(short, long = "label")]
    pub(crate) labels: Vec<String>,
    /// Accepted; nothing of such a container is kept
    #[arg(long)]
    rm: bool,
    /// Give the program no terminal
    #[arg(short = 'T', long = "no-tty", alias = "no-TTY")]
    pub(crate) no_tty: bool,
    /// Name of the container
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// User and group: names or numbers
    #[arg(short, long)]
    pub(crate) user: Option<String>,
    /// Working folder
    #[arg(short, long)]
    pub(crate) workdir: Option<String>,
    /// The program, in place of the image's
    #[arg(long)]
    pub(crate) entrypoint: Option<String>,
    /// Add a capability
    #[arg(long)]
    pub(crate) cap_add: Vec<String>,
    /// Take a capability away
    #[arg(long)]
    pub(crate) cap_drop: Vec<String>,
    /// Do not start what the service depends on
    #[arg(long)]
    pub(crate) no_deps: bool,
    /// Mount a folder of the host or a named volume ([SOURCE:]TARGET[:ro])
    #[arg(short, long = "volume")]
    pub(crate) volumes: Vec<String>,
    /// Offer a port on this machine ([[address:]port:]port[/udp])
    #[arg(short, long)]
    pub(crate) publish: Vec<String>,
    /// Offer the ports of the service
    #[arg(short = 'P', long)]
    pub(crate) service_ports: bool,
    /// Forget containers of services that are not in the files any more
    #[arg(long)]
    pub(crate) remove_orphans: bool,
    /// Let others find it by the names of the service
    #[arg(long)]
    pub(crate) use_aliases: bool,
    /// When to pull images (policy, always, missing, never, build)
    #[arg(long, default_value = "policy", hide_default_value = true)]
    pub(crate) pull: String,
    /// Say nothing but what the program says
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Build without showing how
    #[arg(long)]
    pub(crate) quiet_build: bool,
    /// Pull without showing how
    #[arg(long)]
    pub(crate) quiet_pull: bool,
    /// Pass on standard input
    #[arg(short, long, default_value = "true")]
    pub(crate) interactive: bool,
}

/// The flags of `compose exec`.
#[derive(Debug, Args)]
pub(crate) struct ServiceExecArgs {
    /// The service, the command and its arguments; flags come before them
    #[arg(value_name = "SERVICE COMMAND [ARG...]", required = true, num_args = 2.., trailing_var_arg = true)]
    pub(crate) words: Vec<String>,
    /// Set a variable (NAME=value); NAME alone takes the value from here
    #[arg(short, long = "env")]
    pub(crate) env: Vec<String>,
    /// Which of several containers of the service
    #[arg(long, default_value_t = 1)]
    pub(crate) index: u32,
    /// Give the program no terminal
    #[arg(short = 'T', long = "no-tty", alias = "no-TTY")]
    pub(crate) no_tty: bool,
    /// Let it do all that slipway itself may do
    #[arg(long)]
    pub(crate) privileged: bool,
    /// User and group: names or numbers
    #[arg(short, long)]
    pub(crate) user: Option<String>,
    /// Working folder
    #[arg(short, long)]
    pub(crate) workdir: Option<String>,
}
