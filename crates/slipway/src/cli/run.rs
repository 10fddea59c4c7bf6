//! The flags of `run`: Docker's, as far as they mean something without a daemon.

use std::net::IpAddr;
use std::time::Duration;

use clap::{ArgAction, Args};

use slipway_graph::duration::duration_of;

/// A duration as Go writes them.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    duration_of(text).ok_or_else(|| format!("time: invalid duration {text:?}"))
}

/// Runs a program in an image, in slipway's own sandbox.
///
/// What the program writes is thrown away when it has ended, apart from named volumes and folders of the host. In the
/// foreground every run is as with --rm; with --detach, what is known of the container stays until `slipway rm`.
/// Exits with the program's exit code; with 125 if slipway could not run it, 126 if it cannot be
/// executed, 127 if it is not there, and 128+N if signal N ended it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    slipway build --target test -t t . && slipway run --rm t\n  \
    slipway run -it debian:bookworm-slim bash\n  \
    slipway run -v .:/src:ro -w /src golang go vet ./...\n  \
    slipway run -d --name db -v data:/var/lib/postgresql/data -e POSTGRES_PASSWORD=x -p 5432:5432 postgres")]
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
    /// Go on in the background, and print the container's id
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Forget the container when it has ended; in the foreground that is always so
    #[arg(long)]
    pub(crate) rm: bool,
    /// Name of the container
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) name: String,
    /// Write the container's id to a file
    #[arg(long)]
    pub(crate) cidfile: Option<String>,
    /// Add a label (NAME=value)
    #[arg(short, long = "label")]
    pub(crate) labels: Vec<String>,
    /// Start it again when it has ended (no, always, unless-stopped, on-failure[:count]); with --detach
    #[arg(long, default_value = "no", hide_default_value = true)]
    pub(crate) restart: String,
    /// Signal that asks it to end
    #[arg(long)]
    pub(crate) stop_signal: Option<String>,
    /// Seconds until it is killed after it was asked to end
    #[arg(long)]
    pub(crate) stop_timeout: Option<u64>,
    /// Command that says whether it is well
    #[arg(long)]
    pub(crate) health_cmd: Option<String>,
    /// Time between two questions whether it is well (30s)
    #[arg(long, value_parser = duration)]
    pub(crate) health_interval: Option<Duration>,
    /// Time that the answer may take (30s)
    #[arg(long, value_parser = duration)]
    pub(crate) health_timeout: Option<Duration>,
    /// Time in which it may be unwell, as it starts (0s)
    #[arg(long, value_parser = duration)]
    pub(crate) health_start_period: Option<Duration>,
    /// Bad answers after which it is unhealthy
    #[arg(long)]
    pub(crate) health_retries: Option<u32>,
    /// Never ask whether it is well
    #[arg(long)]
    pub(crate) no_healthcheck: bool,
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
    /// Further groups of the user: names or numbers
    #[arg(long = "group-add")]
    pub(crate) groups: Vec<String>,
    /// Host name
    #[arg(short = 'h', long)]
    pub(crate) hostname: Option<String>,
    /// Add a capability (NET_ADMIN, ALL); the filter of system calls stays
    #[arg(long = "cap-add")]
    pub(crate) cap_add: Vec<String>,
    /// Take a capability away (NET_RAW, ALL)
    #[arg(long = "cap-drop")]
    pub(crate) cap_drop: Vec<String>,
    /// Let it do all that slipway itself may do
    #[arg(long)]
    pub(crate) privileged: bool,
    /// no-new-privileges, seccomp=unconfined|builtin, apparmor=unconfined, label=disable
    #[arg(long = "security-opt")]
    pub(crate) security_options: Vec<String>,
    /// Let a process of slipway's be the first one: it passes signals on, and waits for orphans
    #[arg(long)]
    pub(crate) init: bool,
    /// Lend it a device of this machine (/dev/x[:/dev/y])
    #[arg(long = "device")]
    pub(crate) devices: Vec<String>,
    /// Set a kernel parameter that is the container's own (net.*, kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.*)
    #[arg(long = "sysctl")]
    pub(crate) sysctls: Vec<String>,
    /// Whose host name it has: its own, or the machine's (host)
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) uts: String,
    /// Whose processes it sees: only its own
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) pid: String,
    /// Whose shared memory and message queues it has: its own (private)
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) ipc: String,

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
    /// Offer a port of the container on this machine ([[address:]port:]port[/udp])
    #[arg(short, long = "publish")]
    pub(crate) publish: Vec<String>,
    /// Offer all ports that the image exposes, on any ports of this machine
    #[arg(short = 'P', long)]
    pub(crate) publish_all: bool,
    /// Add a line to /etc/hosts (name:address)
    #[arg(long = "add-host")]
    pub(crate) add_hosts: Vec<String>,
    /// Name server
    #[arg(long = "dns")]
    pub(crate) dns: Vec<IpAddr>,
    /// Domain in which short names are looked for
    #[arg(long = "dns-search")]
    pub(crate) dns_search: Vec<String>,
    /// Option of resolv.conf(5)
    #[arg(long = "dns-option", alias = "dns-opt")]
    pub(crate) dns_options: Vec<String>,

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
