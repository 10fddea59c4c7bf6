//! The flags of the commands about containers: `ps`, `logs`, `stop` and the like.

use clap::{ArgAction, Args};

/// The flags of `ps`.
#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Also those that have ended
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Only those that this holds for (name=, label=, status=, id=)
    #[arg(short = 'f', long = "filter")]
    pub(crate) filters: Vec<String>,
    /// How to write the list (table, json, or a template)
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) format: String,
    /// Only the newest so many, whether they run or not
    #[arg(short = 'n', long, value_name = "NUMBER")]
    pub(crate) last: Option<i64>,
    /// Only the newest, whether it runs or not
    #[arg(short, long)]
    pub(crate) latest: bool,
    /// Do not shorten anything
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// The flags of `logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    #[command(flatten)]
    pub(crate) which: LogLines,
}

/// Which lines of a log are wanted, and how they are shown: the flags that `logs` and `compose logs` have in common.
#[derive(Debug, Args)]
pub(crate) struct LogLines {
    /// Go on with what will be written, until the container ends
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the last lines of each container (a number, or all)
    #[arg(short = 'n', long, default_value = "all", hide_default_value = true)]
    pub(crate) tail: String,
    /// Only what was written after this: a time, or how long ago (10m)
    #[arg(long)]
    pub(crate) since: Option<String>,
    /// Only what was written before this: a time, or how long ago (10m)
    #[arg(long)]
    pub(crate) until: Option<String>,
    /// Show when each line was written
    #[arg(short, long)]
    pub(crate) timestamps: bool,
}

/// The flags of `stop` and `restart`.
#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
    /// Signal that asks the container to end
    #[arg(short, long)]
    pub(crate) signal: Option<String>,
    /// Seconds until it is killed
    #[arg(short, long, alias = "timeout")]
    pub(crate) time: Option<u64>,
}

/// The flags of `kill`.
#[derive(Debug, Args)]
pub(crate) struct KillArgs {
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
    /// Signal to send
    #[arg(short, long, default_value = "KILL")]
    pub(crate) signal: String,
}

/// Containers and nothing else.
#[derive(Debug, Args)]
pub(crate) struct NamesArgs {
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
}

/// The flags of `rm`.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
    /// Kill those that run
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Accepted; volumes without a name go with their container in any case
    #[arg(short, long)]
    volumes: bool,
}

/// The flags of `container prune`.
#[derive(Debug, Args)]
pub(crate) struct PruneContainersArgs {
    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// The flags of `cp`.
#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// A path, CONTAINER:PATH, or `-` for an archive on standard input
    #[arg(value_name = "SOURCE", allow_hyphen_values = true)]
    pub(crate) source: String,
    /// CONTAINER:PATH, a path, or `-` for an archive on standard output
    #[arg(value_name = "DEST", allow_hyphen_values = true)]
    pub(crate) dest: String,
    /// Without effect; nothing is said of a copy that succeeds
    #[arg(short, long)]
    quiet: bool,
}

/// The flags of `port`.
#[derive(Debug, Args)]
pub(crate) struct PortArgs {
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    /// Only where this port is (80, 53/udp)
    #[arg(value_name = "PORT")]
    pub(crate) port: Option<String>,
}

/// The flags of `exec`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slipway exec db psql -U postgres\n  slipway exec -it web sh")]
pub(crate) struct ExecArgs {
    /// The container, the command and its arguments; flags come before them
    #[arg(value_name = "CONTAINER COMMAND [ARG...]", required = true, num_args = 2.., trailing_var_arg = true)]
    pub(crate) words: Vec<String>,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// Do not wait for its end
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Set a variable (NAME=value); NAME alone takes the value from here
    #[arg(short, long = "env")]
    pub(crate) env: Vec<String>,
    /// Read variables from a file, one a line
    #[arg(long = "env-file")]
    pub(crate) env_files: Vec<String>,
    /// Pass on standard input
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Let it do all that slipway itself may do
    #[arg(long)]
    pub(crate) privileged: bool,
    /// Give the program a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// User and group: names or numbers (name|uid[:group|gid])
    #[arg(short, long)]
    pub(crate) user: Option<String>,
    /// Working folder
    #[arg(short, long)]
    pub(crate) workdir: Option<String>,
}
