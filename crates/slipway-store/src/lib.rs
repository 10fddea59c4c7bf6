//! Everything on disk: blobs, snapshots, cache records, image names, locks, garbage collection.
//!
//! ```text
//! <root>/                      mode 0700: layers hold set-user-id files of strangers
//!   oci-layout                 with `blobs/`, what lets other tools read the blobs; written last when a store is made
//!   index.json                 the images of which every blob is here, for these tools
//!   store.db, -wal, -shm       SQLite: every name, record and fact; bytes are in the folders below
//!   blobs/sha256/<hex>         manifests, configs, compressed layers
//!   layers/<layer id>/         what one step changed, in overlay form: whiteouts are character devices 0:0
//!   active/<session>/          what one living process is writing; the folder carries its flock
//!     <n>.upper/, <n>.work/    the two folders of an overlay mount
//!     <n>.blob, <n>.log        a blob, the log of a build, that is not complete yet
//!     uses                     the names of what the process found or made: it stays until the process ends
//!   builds/<id>.record         what is remembered of a build
//!   builds/<id>.log            what its steps wrote, compressed
//!   cache-mounts/<hash>/<n>/   a folder of `RUN --mount=type=cache`; `<hash>` is that of its id
//!   cache-mounts/<hash>/<n>.lock      held by its users; not empty once the folder has its first files
//!   cache-mounts/<hash>/<n>.seeding   held by who puts the first files there
//!   locks/<hex>                one file a key that somebody is working on
//!   taking                     its lock is shared by who looks for something, held alone by who takes something away
//!   volumes/<name>/            a named volume of `run`; only people remove it
//!   volumes/.declared/<name>   says that there is this volume, which nobody has used yet
//!   containers/<id>/          what is known of a container; the folder is its owner's
//!   stacks/<project>/         the same of a stack, the containers of a Compose project
//!   git/<hash>/                bare clones of remote repositories, with what was fetched so far; `<hash>` is that of the URL
//!   quarantine/                what was found damaged and set aside, until the next prune
//!   private-key                random, readable for its owner alone: what fingerprints of secrets are made with
//!   empty/                     the lower layer of a first layer
//!   sandbox, single-id/        not ours: what the binary knows of the machine, and the store of a user with one id
//! ```
//!
//! Several processes use one store at once. Rules that every file here keeps:
//!
//! - A row points only at what was committed before it; a crash leaves files without rows, never rows without files.
//! - A file gets its final name inside the transaction that inserts its row, so that [`Store::sweep`], which looks for
//!   files without rows in a transaction of its own, never sees one that is about to get its row.
//! - Nothing is synced while a build runs. Rows carry the boot they were made in until [`Store::mark_durable`]; those
//!   of an earlier boot that were not marked are dropped by [`Store::open`].
//! - The clock is the caller's: times come in as arguments, in nanoseconds since 1970.

mod blob;
mod build;
mod cache_mount;
mod container;
mod database;
mod durability;
mod error;
mod fact;
mod fsck;
mod image;
mod layer;
mod layout;
mod lock;
mod migrate;
mod open;
mod overlay;
mod private_key;
mod prune;
mod quarantine;
mod record;
mod remove;
mod repository;
mod session;
mod shared_files;
mod snapshot;
mod sweep;
#[cfg(test)]
mod testing;
mod usage;
mod uses;
mod volume;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slipway_oci::Digest;

pub use blob::{Blob, BlobError, BlobReader, BlobWriter};
pub use build::{BuildLimits, BuildLogWriter, BuildRecordError, KeptBuild, NewBuild};
pub use cache_mount::{CacheMount, CacheMountError, Sharing};
pub use container::{ContainerFolder, Containers, Naming, Ownership};
pub use database::DbError;
pub use durability::SyncError;
pub use error::FsError;
pub use fact::FACTS_OF_LAYERS;
pub use fsck::{Finding, KnownLayer};
pub use image::{ImageError, ImageRecord};
pub use layer::LayerSizes;
pub use lock::KeyLock;
pub use open::OpenError;
pub use overlay::{MountError, OverlayFlavor};
pub use prune::{Bounds, PruneError};
pub use quarantine::RepairError;
pub use record::Record;
pub use snapshot::{ActiveSnapshot, LayerId, MountedSnapshot, Snapshot, SnapshotError, SnapshotId};
pub use sweep::{SweepError, Swept};
pub use usage::{Usage, UsageError, UsageKind};
pub use volume::{VolumeError, remove_volume, volumes};

/// An open store. Clones share one connection; threads may use it at once.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    root: PathBuf,
    flavor: OverlayFlavor,
    database: database::Database,
    /// Made when this process first writes something.
    session: Mutex<Option<Arc<session::Session>>>,
    uses: uses::Uses,
    boot_id: String,
    /// Blobs that this process has opened; their content is what a failure may be due to.
    opened_blobs: Mutex<HashSet<Digest>>,
    /// Damage that somebody came upon.
    reported: Mutex<Vec<Finding>>,
    /// What people should be told about the store.
    remarks: Mutex<Vec<String>>,
}

impl Store {
    /// The folder that holds everything.
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// What people should be told about the store, each thing once.
    pub fn take_remarks(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.remarks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn opened_blobs(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.0.opened_blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn boot_id(&self) -> &str {
        &self.0.boot_id
    }

    fn database(&self) -> &database::Database {
        &self.0.database
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("root", &self.0.root).finish_non_exhaustive()
    }
}
