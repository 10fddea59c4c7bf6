//! Puts the parts together: carries out ops, makes layers, exports.
//!
//! ```text
//! engine.rs     what all commands share
//! build.rs      Engine::build, the table of contents of a build; prepare.rs: its first steps; solve.rs: its main one
//! failure.rs    why there is no image
//! links.rs      which of several builds come first
//! frontend.rs   a Dockerfile becomes a graph and warnings; inspect.rs: questions about one instead of a build
//! platforms.rs  several platforms in one graph
//! contexts.rs   the folders that a build may read (context/: selecting, scanning, digests)
//! language.rs   whether the file is in the built-in language
//! images.rs     what a name stands for; fetch.rs: how layers get into the store
//! remote.rs     layers that are somewhere else until somebody needs them
//! shared_cache/ --cache-from and --cache-to
//! pins.rs       what pinned names stand for now; unmet.rs: what a build lacks that may not ask for it
//! ops/          what each op does; mod.rs is the border to the solver
//! ssh/          who answers behind the socket of `RUN --mount=type=ssh`
//! rootfs/       files of a tree whose names and links somebody else chose
//! layers.rs     diff IDs and blobs while the build goes on (layer/: tar, diff, compression)
//! layer_check.rs whether layers are still what they were
//! assemble.rs   config, history, times
//! attest/       what is said about a result beside it
//! container/    a program in an image: `slipway run`
//! reproduce.rs  whether two builds came to the same files
//! records/      what is kept of a build that is over, and why its steps ran
//! export/       one exporter a file
//! docker_api/   container engines, for `--load`
//! stored/       images of the local store without a build: pull, push, save, load
//! ```

mod assemble;
mod attest;
mod build;
mod cap;
mod chain;
mod container;
mod context;
mod contexts;
mod descriptors;
mod docker_api;
mod durability;
mod engine;
mod export;
mod failure;
mod fetch;
mod frontend;
#[cfg(fuzzing)]
pub mod fuzzing;
mod images;
mod inputs;
mod inspect;
mod language;
mod layer;
mod layer_check;
mod layers;
mod links;
mod observe;
mod ops;
mod pins;
mod platforms;
mod prepare;
mod records;
mod remote;
mod remote_context;
mod reproduce;
mod rootfs;
mod shared_cache;
mod solve;
mod ssh;
mod stdin_context;
mod store_disk;
mod stored;
mod unmet;

pub use build::{Built, SourceFile};
pub use chain::chain;
pub use container::ports::{OpenPort, PortError, Protocol, PublishedPort};
pub use container::{Container, ContainerError, ContainerRequest, PullPolicy, Resolver, Rights, Special};
pub use docker_api::{DockerAddress, DockerEngines};
pub use engine::{Engine, EngineParts, FindDockerEngines};
pub use export::ExportedImage;
pub use failure::{BuildError, BuildFailure, ErrorClass};
pub use inspect::{Checked, Inspector, OpenEngine};
pub use layer_check::{LayerCheck, check_layers};
pub use layers::write_layer_tar;
pub use ops::exec::WindowSize;
pub use ops::exec::container::{ContainerEnds, ContainerMount, Started, is_device};
pub use ops::exec::guest_files::{GuestFileError, pack_host_files, unpack_on_host};
pub use ops::exec::guests::{Guest, GuestEnds, GuestError, GuestHost};
pub use ops::network::JoinedNetwork;
pub use ops::shell::ShellSeat;
pub use records::{
    AttachmentRecord, Break, BuildRecord, BundleError, Explanation, FileChange, HitKind, LayerRecord, LogError,
    LogPiece, LogReader, MaterialRecord, Outcome, PartKind, Reason, RequestSettings, RequestSummary, Status,
    StepExplanation, StepRecord, VertexRecord, explain, read_bundle, read_log, step_sizes, write_bundle,
};
pub use reproduce::{Cause, TracedStep, UnlikeFile, UnlikeStep, Unlikeness, Variation, blame_folder_order};
pub use stored::{Loaded, Pulled, StoredImageError};

/// Now, in nanoseconds since 1970.
fn now_ns() -> i64 {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_nanos()).unwrap_or(i64::MAX)
}
