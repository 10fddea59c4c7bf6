//! What a caller says about one sandboxed process.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::capabilities::Capabilities;
use crate::mounts::Attributes;

/// One process to run: its surroundings, its program, who it is, and where its output goes.
///
/// Descriptors are handed over as they are; the process sees none but 0 to 2.
#[derive(Debug)]
pub struct Spec {
    /// Which files it sees, and which other processes.
    pub surroundings: Surroundings,
    /// Program and arguments. A program without a slash is looked up in the `PATH` of `env`, inside the root.
    pub args: Vec<OsString>,
    /// The whole environment as `NAME=value`; nothing is added to it.
    pub env: Vec<OsString>,
    /// Working directory inside the root. It is made, for root, where it is missing: a mount may cover the one that the
    /// caller made.
    pub cwd: PathBuf,
    /// User and groups.
    pub credentials: Credentials,
    /// Host name inside. Like the network, the mounts, and what is said of the root, it is for [`Surroundings::Own`].
    pub hostname: String,
    /// Which network it sees.
    pub network: Network,
    /// A user namespace below that of the caller, with the same ids, which it joins when all is set up: that of an
    /// [`crate::Emulator`].
    pub user_namespace: Option<OwnedFd>,
    /// How much it may do.
    pub privilege: Privilege,
    /// Mounts on top of the built-in ones, attached in this order.
    pub mounts: Vec<Mount>,
    /// Files of control groups that the process enters, see [`crate::ControlGroup::entrances`].
    pub control_groups: Vec<OwnedFd>,
    /// Limits to set; the others are inherited.
    pub rlimits: Vec<ResourceLimit>,
    /// Size of `/dev/shm`; Docker's default is 64 MiB.
    pub shm_size_bytes: u64,
    /// Whether the root cannot be written to, apart from what is mounted in it.
    pub is_root_readonly: bool,
    /// Whether folders have their entries in another order than the file system has them.
    pub shuffles_folders: bool,
    /// What it has unlike others.
    pub special: Special,
    /// A terminal that becomes the process's own: its input and output, in place of the three below.
    pub terminal: Option<OwnedFd>,
    /// Where standard input comes from; empty (`/dev/null`) if it comes from nowhere.
    pub stdin: Option<OwnedFd>,
    /// Where standard output goes.
    pub stdout: OwnedFd,
    /// Where standard error goes.
    pub stderr: OwnedFd,
}

/// What a process finds itself in.
#[derive(Debug)]
pub enum Surroundings {
    /// Namespaces of its own, with a root of its own.
    Own {
        /// The root file system, a detached mount (from `fsmount` or `open_tree`). It can be used for one spawn only.
        root: OwnedFd,
        /// An existing directory of the host, where the root is attached inside the sandbox's own mount table. It
        /// may be the same for any number of sandboxes and is never written to.
        attach_at: PathBuf,
    },
    /// Those of another sandboxed process ([`crate::Running::descriptor`]), and with them its root, its mounts, its
    /// network and its host name. It ends with that process.
    Of(OwnedFd),
}

/// User and groups by number, as seen inside the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User id.
    pub uid: u32,
    /// Primary group id. It is always one of the supplementary groups as well (CVE-2023-25173).
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
}

/// Which network a sandboxed process sees.
#[derive(Debug)]
pub enum Network {
    /// The one of the host.
    Host,
    /// Its own, with nothing but a loopback.
    None,
    /// The one of this namespace, such as a [`crate::PrivateNetwork`].
    Joined(OwnedFd),
}

/// How much a sandboxed process may do (BuildKit's `--security`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// At most these capabilities, Docker's system call filter, and masked paths; no device nodes but those of `/dev`.
    Sandboxed(Capabilities),
    /// All capabilities that the caller has, no filter, nothing masked, `/sys` writable.
    Insecure,
}

/// What a sandboxed process may have unlike others: nothing, mostly. What is said of namespaces is for
/// [`Surroundings::Own`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Special {
    /// A process of ours is the first one: it hands signals on to the program, and waits for those whose parents are gone.
    pub has_init: bool,
    /// Nothing that is executed gives more rights than there were before (`no_new_privs`).
    pub forbids_new_privileges: bool,
    /// System calls are not filtered.
    pub is_unfiltered: bool,
    /// Its host name is the host's.
    pub shares_host_name: bool,
    /// Settings below `/proc/sys` that are the namespaces' own, with `/` between the parts of their names, and values.
    pub kernel_settings: Vec<(String, String)>,
}

/// A detached mount and where it goes.
#[derive(Debug)]
pub struct Mount {
    /// Absolute path inside the root. Links in it are followed, but never out of the root. It has to exist: see
    /// [`crate::stubs`].
    pub target: PathBuf,
    /// A detached mount of a directory or a file, see [`crate::mounts`]. It can be used for one spawn only.
    pub source: OwnedFd,
    /// Restrictions to add to the mount and all that is mounted below it.
    pub attributes: Attributes,
    /// A device of the host that a process with few privileges may open. The caller has to know that it is one which
    /// somebody lent to it: files of images may be devices, too.
    pub is_device: bool,
}

/// A resource limit, as `setrlimit(2)` has it. `u64::MAX` means unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceLimit {
    /// What is limited.
    pub resource: Resource,
    /// The limit in force.
    pub soft: u64,
    /// How far the process may raise it.
    pub hard: u64,
}

/// Declares [`Resource`] with its names in one place.
macro_rules! resources {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A resource that `setrlimit(2)` can limit, in the unit of the manual page.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Resource { $($(#[$doc])* $name,)* }

        impl Resource {
            /// All of them; the position is the number used on the wire.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The resource of this name as `--ulimit` spells it.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$name),)* _ => None }
            }

            pub(crate) fn kernel_name(self) -> rustix::process::Resource {
                match self { $(Self::$name => rustix::process::Resource::$name,)* }
            }
        }
    };
}

resources! {
    /// Size of the address space, bytes.
    As = "as",
    /// Size of a core file, bytes.
    Core = "core",
    /// Processor time, seconds.
    Cpu = "cpu",
    /// Size of the data segment, bytes.
    Data = "data",
    /// Size of a written file, bytes.
    Fsize = "fsize",
    /// File locks.
    Locks = "locks",
    /// Locked memory, bytes.
    Memlock = "memlock",
    /// Bytes in POSIX message queues.
    Msgqueue = "msgqueue",
    /// Ceiling of the nice value.
    Nice = "nice",
    /// Open descriptors, one more than the highest number.
    Nofile = "nofile",
    /// Processes of the user.
    Nproc = "nproc",
    /// Resident memory, without effect today.
    Rss = "rss",
    /// Ceiling of the real-time priority.
    Rtprio = "rtprio",
    /// Microseconds of real-time processor use without a blocking call.
    Rttime = "rttime",
    /// Queued signals.
    Sigpending = "sigpending",
    /// Size of the stack, bytes.
    Stack = "stack",
}
