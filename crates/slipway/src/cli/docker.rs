//! Commands and flags that Docker has because of its daemon, as far as scripts need an answer to them
//! (`spec/cli.md` sections 1 and 12).

use clap::{Args, Subcommand};

/// The flags that stand before Docker's commands.
#[derive(Debug, Args)]
pub(crate) struct EngineFlags {
    /// Address of an engine; only one of this machine is accepted, and none is asked
    #[arg(short = 'H', long = "host", hide = true)]
    pub(crate) hosts: Vec<String>,
    /// Name of a context; only one of this machine is accepted, and no engine is asked
    #[arg(short = 'c', long, hide = true)]
    pub(crate) context: Option<String>,
    /// The folder of Docker's config.json
    #[arg(long, value_name = "FOLDER", hide = true)]
    pub(crate) config: Option<String>,
    /// Without effect but for `debug` (debug, info, warn, error, fatal)
    #[arg(short, long, hide = true, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
    /// Without effect; no engine is asked
    #[arg(long, hide = true)]
    tls: bool,
    /// Without effect; no engine is asked
    #[arg(long, hide = true)]
    tlscacert: Option<String>,
    /// Without effect; no engine is asked
    #[arg(long, hide = true)]
    tlscert: Option<String>,
    /// Without effect; no engine is asked
    #[arg(long, hide = true)]
    tlskey: Option<String>,
    /// Without effect; no engine is asked
    #[arg(long, hide = true)]
    tlsverify: bool,
}

/// The flags of `version` and `info`.
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// How to write it: json, or a template
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub(crate) format: String,
}

/// Names of builders, which scripts create and choose. All of them are slipway.
#[derive(Debug, Subcommand)]
pub(crate) enum BuilderNamesCommand {
    /// Remember a name, and print it
    Create(CreateArgs),
    /// Show what a builder can do
    Inspect {
        name: Option<String>,
        /// Without effect; there is nothing to start
        #[arg(long)]
        bootstrap: bool,
    },
    /// List builders
    #[command(name = "ls", alias = "list")]
    List {
        /// How to write the list: table, json, or a template
        #[arg(long, default_value = "", hide_default_value = true)]
        format: String,
        /// Without effect; nothing is shortened
        #[arg(long)]
        no_trunc: bool,
    },
    /// Choose a builder
    Use {
        name: String,
        /// Without effect; there are no contexts
        #[arg(long)]
        default: bool,
        /// Without effect; there are no contexts
        #[arg(long)]
        global: bool,
    },
    /// Forget names
    #[command(name = "rm")]
    Remove {
        names: Vec<String>,
        /// Without effect; no builder is inactive
        #[arg(long)]
        all_inactive: bool,
        /// Do not ask
        #[arg(short, long)]
        force: bool,
        /// Without effect; the store belongs to all names
        #[arg(long)]
        keep_state: bool,
        /// Without effect; there is no daemon
        #[arg(long)]
        keep_daemon: bool,
    },
    /// Do nothing, for there is nothing to stop
    Stop { name: Option<String> },
    /// Print the version
    Version,
    /// Do nothing: `build` is this program's anyway
    #[command(hide = true)]
    Install,
    /// Do nothing: `build` is this program's anyway
    #[command(hide = true)]
    Uninstall,
    /// Not supported
    #[command(hide = true)]
    DialStdio(UnsupportedArgs),
    /// Not supported
    #[command(hide = true)]
    Dap(UnsupportedArgs),
    /// Not supported
    #[command(hide = true)]
    Policy(UnsupportedArgs),
}

/// All that may be typed behind a command that is not there.
#[derive(Debug, Args)]
pub(crate) struct UnsupportedArgs {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// The flags of `buildx create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Without effect; slipway asks no daemon
    #[arg(value_name = "CONTEXT|ENDPOINT")]
    endpoint: Option<String>,
    /// The name; two words if not given
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) name: String,
    /// The kind of daemon that would be started (docker-container, kubernetes, remote)
    #[arg(long, default_value = "docker-container", hide_default_value = true)]
    pub(crate) driver: String,
    /// Without effect; there is no daemon
    #[arg(long = "driver-opt")]
    driver_opts: Vec<String>,
    /// Without effect; there is no daemon
    #[arg(long, alias = "flags")]
    buildkitd_flags: Option<String>,
    /// Without effect; there is no daemon
    #[arg(long, alias = "config")]
    buildkitd_config: Option<String>,
    /// Without effect; a build says what it is for
    #[arg(long = "platform")]
    platforms: Vec<String>,
    /// Choose it
    #[arg(long = "use")]
    pub(crate) is_chosen: bool,
    /// Without effect; there is nothing to start
    #[arg(long)]
    bootstrap: bool,
    /// Take a name that is there already
    #[arg(long)]
    pub(crate) append: bool,
    /// Without effect; a builder has one node
    #[arg(long)]
    leave: bool,
    /// Without effect; a builder has one node
    #[arg(long)]
    node: Option<String>,
}

/// What takes space, and what may go.
#[derive(Debug, Subcommand)]
pub(crate) enum SystemCommand {
    /// Say what takes space in the store
    Df {
        /// How to write the list: table, json, or a template
        #[arg(long, default_value = "", hide_default_value = true)]
        format: String,
    },
    /// Take out of the store what nobody needs
    Prune(SystemPruneArgs),
    /// Say what slipway is, and what this machine is
    Info(VersionArgs),
}

/// The flags of `system prune`.
#[derive(Debug, Args)]
pub(crate) struct SystemPruneArgs {
    /// Also images that have a name, and what is remembered between builds
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Without effect; nobody can say that a volume is not needed
    #[arg(long)]
    volumes: bool,
}

/// The flags of `image prune`.
#[derive(Debug, Args)]
pub(crate) struct ImagePruneArgs {
    /// Also images that have a name
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Only images that this holds for (label=KEY[=VALUE], label!=KEY[=VALUE], until=24h)
    #[arg(long = "filter", value_name = "KEY=VALUE", value_parser = crate::cache_filter::check_form)]
    pub(crate) filters: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
}
