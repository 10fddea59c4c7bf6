//! Whose is the root folder of a new layer? That of who owns the one below.
//!
//! The store sets owners. Where they are recorded instead, which it knows nothing of, the record is carried over here.

use std::fs::File;
use std::path::Path;

use rustix::fs::FileType;
use slipway_sandbox::owners;
use slipway_store::{ActiveSnapshot, FsError, Snapshot, SnapshotError, Store};

/// Starts a layer on top of `parent`.
pub(super) fn begin(store: &Store, parent: &Snapshot) -> Result<ActiveSnapshot, SnapshotError> {
    let active = store.begin(Some(parent))?;
    let Some(top) = parent.layers().last().filter(|_| owners::are_recorded()) else { return Ok(active) };
    let open = |path: &Path| File::open(path).map_err(FsError::on("open", path));
    if let Some(owner) = owners::recorded(open(&store.layer_path(top))?, FileType::Directory) {
        owners::give(open(active.upper())?, owner).map_err(FsError::on("chown", active.upper()))?;
    }
    Ok(active)
}
