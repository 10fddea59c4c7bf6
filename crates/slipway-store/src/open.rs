//! How does a store come to be, and how is it opened?

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::database::{Database, SCHEMA_VERSION};
use crate::uses::Uses;
use crate::{DbError, FsError, Inner, OverlayFlavor, Store, layout, lock, quarantine};

const FOLDERS: [&str; 7] = ["blobs/sha256", "builds", "layers", "active", "cache-mounts", "locks", "empty"];
const OCI_LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot open the store")]
    Fs(#[from] FsError),
    #[error("cannot open the store")]
    Db(#[from] DbError),
    #[error(
        "the store was written by a newer slipway: it is in format {found}, and this one reads format {known}; use the \
         newer one, or another folder (`SLIPWAY_ROOT`)"
    )]
    Format { found: i64, known: i64 },
}

impl Store {
    /// Opens the store in `root`, which is made if it is not there.
    ///
    /// Takes well under a millisecond for a store that exists, and needs no namespace as long as no snapshot is
    /// mounted or removed. `flavor` says who will mount the snapshots.
    pub fn open(root: &Path, flavor: OverlayFlavor) -> Result<Store, OpenError> {
        let boot_id = std::fs::read_to_string(BOOT_ID).map_err(FsError::on("read", Path::new(BOOT_ID)))?;
        Store::open_in_boot(root, flavor, boot_id.trim_end())
    }

    pub(crate) fn open_in_boot(root: &Path, flavor: OverlayFlavor, boot_id: &str) -> Result<Store, OpenError> {
        let path = root.join("store.db");
        if !root.join("oci-layout").exists() {
            create(root, &path)?;
        }
        let mut opened = Database::open(&path, boot_id);
        if matches!(opened, Ok(Err(0))) {
            // The power failed before anything in a new store was durable.
            create(root, &path)?;
            opened = Database::open(&path, boot_id);
        }
        let mut remarks = Vec::new();
        let database = match opened {
            Ok(Ok(database)) => database,
            Ok(Err(found)) => return Err(OpenError::Format { found, known: SCHEMA_VERSION }),
            Err(error) if error.is_damage() => {
                remarks.push(format!(
                    "the database of the store was damaged ({}): it is set aside in `{}`, and what is needed is built \
                     again",
                    error.reason(),
                    root.join("quarantine").display()
                ));
                quarantine::replace(root, boot_id)?
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Store(Arc::new(Inner {
            root: root.to_owned(),
            flavor,
            database,
            session: Mutex::new(None),
            uses: Uses::new(root),
            boot_id: boot_id.to_owned(),
            opened_blobs: Mutex::default(),
            reported: Mutex::default(),
            remarks: Mutex::new(remarks),
        })))
    }
}

/// Makes what is missing; `oci-layout` comes last and says that all of it is there.
fn create(root: &Path, database: &Path) -> Result<(), OpenError> {
    let mut private = DirBuilder::new();
    private.recursive(true).mode(0o700);
    private.create(root).map_err(FsError::on("mkdir", root))?;
    let root_dir = File::open(root).map_err(FsError::on("open", root))?;
    lock::wait_alone(&root_dir, || true).map_err(FsError::on("flock", root))?;
    for folder in FOLDERS {
        let folder = root.join(folder);
        private.create(&folder).map_err(FsError::on("mkdir", &folder))?;
    }
    Database::create(database)?;
    layout::write_empty(root)?;
    let layout = root.join("oci-layout");
    std::fs::write(&layout, OCI_LAYOUT).map_err(FsError::on("write", &layout))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::empty_store;

    #[test]
    fn many_may_make_the_same_store_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("a/b");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let store = Store::open(&root, OverlayFlavor::Root).unwrap();
                    store.put_blob(b"x").unwrap();
                });
            }
        });
        let store = Store::open(&root, OverlayFlavor::Root).unwrap();
        assert_eq!(store.fsck().unwrap(), []);
        assert!(store.has_blob(&slipway_oci::Digest::of(b"x")).unwrap());
    }

    #[test]
    fn a_store_of_another_version_is_left_alone() {
        let (_folder, store) = empty_store();
        let path = store.root().join("store.db");
        rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 999).unwrap();
        let error = Store::open(store.root(), OverlayFlavor::Root).unwrap_err();
        assert!(matches!(error, OpenError::Format { found: 999, .. }));
    }

    #[test]
    fn a_database_lost_with_the_power_is_made_again() {
        let (_folder, store) = empty_store();
        let root = store.root().to_owned();
        drop(store);
        for file in ["store.db", "store.db-wal", "store.db-shm"] {
            std::fs::write(root.join(file), "").unwrap();
        }
        let store = Store::open(&root, OverlayFlavor::Root).unwrap();
        store.put_blob(b"x").unwrap();
        assert_eq!(store.fsck().unwrap(), []);
    }
}
