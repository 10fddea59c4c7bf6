//! What do the unit tests need of a store?

use slipway_oci::Digest;
use tempfile::TempDir;

use crate::{OverlayFlavor, Store};

/// An empty store, and the folder that it vanishes with.
pub(crate) fn empty_store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store"), OverlayFlavor::Root).unwrap();
    (folder, store)
}

/// A digest like no other.
pub(crate) fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}
