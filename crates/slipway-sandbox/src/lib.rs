//! Runs one process in namespaces without root; the only crate with `unsafe`.
//!
//! It has never heard of images, layers or Dockerfiles: it gets a root file system as a detached mount, a program,
//! and who to be, and answers with an exit status. The walk through one step:
//!
//! ```text
//! main()                    init::init_if_requested()   never returns in the first process of a sandbox
//!                           ladder::find()              once a run: what the machine allows
//!                           userns::enter()             root stays, others get a user namespace
//! spawn(&spec)              running.rs                  checks the spec, hands it over, waits for the program to run
//!   namespaces.rs                                       clone into fresh namespaces, exec this program again
//!   init.rs                 the first process: reads the spec, then
//!     filesystems.rs        pivots into the root, mounts /proc /dev /sys and the caller's mounts
//!     devices.rs            fills /dev
//!     network.rs            brings up the loopback, where the step has a network of its own
//!     capabilities.rs       who it may still be
//!     seccomp/              what it may still ask of the kernel
//!     program.rs            finds the program and becomes it, as PID 1
//! running.wait()            exit code or signal
//! ```
//!
//! Nothing is ever mounted in the caller's mount table and every process dies with the thread that started it, so a
//! `kill -9` at any instant leaves nothing behind (`init.rs` names the one exception).
//!
//! A step of `/bin/true` takes 2.5 ms at best, and 3 to 5 ms while other work keeps both cores of the machine busy
//! (`cargo bench -p slipway-sandbox`).
//!
//! With a single id a thread answers what the step asks about owners and ids (`supervisor/`), and files carry their
//! owner with them (`owners.rs`).
//!
//! Beside the walk: `trial.rs` finds out whether a step works here at all, and `confinement.rs` who forbids it;
//! `private_network.rs` is a network for all steps of a build, held by a process of its own (`keeper.rs`);
//! `stack_network.rs` connects programs that have a network each, by `links.rs`; `emulation.rs` does the same for
//! programs of other architectures; `cgroup.rs` limits a step; `mounts.rs` builds detached mounts, `rooted.rs` opens paths inside a root, and `stubs.rs` makes
//! mount points that a root lacks and removes them again.
#![expect(unsafe_code, reason = "clone, exec, seccomp and a few mount calls have no safe wrapper in rustix")]

mod call;
mod capabilities;
mod cgroup;
mod confinement;
mod devices;
mod emulation;
mod filesystems;
mod host_programs;
mod idmap;
mod init;
mod keeper;
pub mod ladder;
mod links;
pub mod mounts;
mod namespaces;
mod network;
pub mod owners;
mod private_network;
mod program;
mod reaper;
mod rooted;
mod running;
mod seccomp;
mod signals;
mod spec;
mod stack_network;
pub mod stubs;
mod supervisor;
mod trial;
pub mod userns;
mod wire;

pub use call::CallError;
pub use capabilities::Capabilities;
pub use cgroup::{ControlGroup, LimitError, Limits};
pub use emulation::{Emulation, Emulator, EmulatorError};
pub use host_programs::{find_program, is_static_program};
pub use init::init_if_requested;
pub use network::{enter as enter_network, fresh as fresh_network};
pub use private_network::{
    NAME_SERVER, PRIVATE_ADDRESS, PrivateNetwork, PrivateNetworkError, StartingNetwork,
    survey as survey_private_network,
};
pub use program::ExecError;
pub use running::{ExitStatus, Running, SpawnError, spawn};
pub use spec::{Credentials, Mount, Network, Privilege, Resource, ResourceLimit, Spec, Special, Surroundings};
pub use stack_network::{Plug, StackNetwork};
