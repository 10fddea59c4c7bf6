//! The flags of `run`: Docker's, as far as they mean something without a daemon.

use clap::{ArgAction, Args};

/// Runs a program in an image, in slipway's own sandbox and in the foreground.
///
/// What the program writes is thrown away with the container, apart from named volumes and folders of the host: every
/// run is as with --rm. Exits with the program's exit code; with 125 if slipway could not run it, 126 if it cannot be
/// executed, 127 if it is not there, and 128+N if signal N ended it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    slipway build --target test -t t . && slipway run --rm t\n  \
    slipway run -it debian:bookworm-slim bash\n  \
    slipway run -v .:/src:ro -w /src golang go vet ./...\n  \
    slipway run -v data:/var/lib/postgresql/data -e POSTGRES_PASSWORD=x postgres")]
pub(crate) struct RunArgs {
    /// The image, the command and its arguments; flags come before them
    #[arg(value_name = "IMAGE [COMMAND] [ARG...]", required = true, trailing_var_arg = true)]
    pub(crate) words: Vec<String>,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,

    /// Pass on standard input
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the program a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Accepted; nothing of a container is ever kept
    #[arg(long, default_value = "true")]
    rm: bool,
    /// Accepted; a container without a daemon cannot be asked for by name
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    /// Accepted; labels of a container that is not kept
    #[arg(short, long = "label")]
    labels: Vec<String>,
    /// Say nothing while the image is pulled
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Set a variable (NAME=value); NAME alone takes the value from here
    #[arg(short, long = "env")]
    pub(crate) env: Vec<String>,
    /// Read variables from a file, one a line
    #[arg(long = "env-file")]
    pub(crate) env_files: Vec<String>,
    /// The program, in place of the image's; empty for none
    #[arg(long)]
    pub(crate) entrypoint: Option<String>,
    /// Working folder
    #[arg(short, long)]
    pub(crate) workdir: Option<String>,
    /// User and group: names or numbers (name|uid[:group|gid])
    #[arg(short, long)]
    pub(crate) user: Option<String>,
    /// Host name
    #[arg(short = 'h', long)]
    pub(crate) hostname: Option<String>,

    /// Mount a folder of the host or a named volume ([SOURCE:]TARGET[:ro])
    #[arg(short, long = "volume")]
    pub(crate) volumes: Vec<String>,
    /// Mount something (type=bind|volume|tmpfs,source=...,target=...,readonly)
    #[arg(long = "mount")]
    pub(crate) mounts: Vec<String>,
    /// Mount a folder in memory (TARGET[:size=64m,mode=1777,exec,ro])
    #[arg(long)]
    pub(crate) tmpfs: Vec<String>,
    /// Let nothing but volumes and folders in memory be written to
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Size of /dev/shm
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) shm_size: String,

    /// Network (default, bridge, none, host)
    #[arg(long, alias = "net", default_value = "", hide_default_value = true)]
    pub(crate) network: String,
    /// Add a line to /etc/hosts (name:address)
    #[arg(long = "add-host")]
    pub(crate) add_hosts: Vec<String>,

    /// When to pull the image (missing, always, never)
    #[arg(long, default_value = "missing")]
    pub(crate) pull: String,
    /// Platform of the image
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) platform: String,

    /// Memory limit
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub(crate) memory: String,
    /// Memory and swap limit; -1 for no limit on swap
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) memory_swap: String,
    /// Number of processors
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) cpus: String,
    /// Relative weight against others
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub(crate) cpu_shares: String,
    /// Processors to use (0-3, 0,1)
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) cpuset_cpus: String,
    /// Number of processes
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) pids_limit: String,
    /// Resource limits (type=soft[:hard])
    #[arg(long = "ulimit")]
    pub(crate) ulimits: Vec<String>,
}
