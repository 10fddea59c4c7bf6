//! What happens to what is damaged?
//!
//! It is set aside, so that nobody uses it and somebody may look at it: files are renamed into `quarantine/`, the rows
//! that point at them go. The next build makes anew what it needs of that. [`Store::prune`] removes what was set aside.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use rusqlite::params;
use slipway_oci::Digest;

use crate::database::{Database, SCHEMA_VERSION};
use crate::{DbError, Finding, FsError, ImageError, OpenError, Store, lock};

/// Why something damaged cannot be set aside.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    #[error("cannot set aside what is damaged in the store")]
    Fs(#[from] FsError),
    #[error("cannot set aside what is damaged in the store")]
    Db(#[from] DbError),
    #[error("cannot replace the damaged database")]
    Open(#[from] Box<OpenError>),
    #[error(transparent)]
    Images(#[from] ImageError),
}

/// What one finding leads to is found in the next round: a blob without its file, then an image without its layer.
const MAX_ROUNDS: usize = 4;

impl Store {
    /// Sets aside what `findings` name, and what then turns out to depend on it; everything that was found.
    ///
    /// Needs the root of the user namespace in which the files were made.
    pub fn repair(&self, findings: Vec<Finding>) -> Result<Vec<Finding>, RepairError> {
        let (mut all, mut pending) = (Vec::new(), findings);
        for _ in 0..MAX_ROUNDS {
            if pending.is_empty() {
                break;
            }
            // Nothing in a damaged database can be believed, nor what was found with it.
            let is_database = |finding: &Finding| matches!(finding, Finding::Database { .. });
            match pending.iter().any(is_database) {
                true => {
                    let fresh = replace(self.root(), self.boot_id()).map_err(Box::new)?;
                    self.database().become_other(fresh);
                }
                false => pending.iter().try_for_each(|finding| self.set_aside(finding))?,
            }
            all.append(&mut pending);
            pending = self.fsck()?;
        }
        if !all.is_empty() {
            self.write_layout_index()?;
        }
        Ok(all)
    }

    /// Remembers damage that somebody came upon, for [`Store::repair_after_failure`].
    pub fn report_damage(&self, finding: Finding) {
        self.0.reported.lock().unwrap_or_else(PoisonError::into_inner).push(finding);
    }

    /// For after a failure that may be due to damage: checks the store, and the content of all blobs that were opened
    /// since the last call, and sets aside what is wrong or was reported; that is the answer.
    pub fn repair_after_failure(&self) -> Result<Vec<Finding>, RepairError> {
        let findings = match self.fsck() {
            Ok(findings) => findings,
            Err(error) if error.is_damage() => vec![Finding::Database { message: error.reason() }],
            Err(error) => return Err(error.into()),
        };
        let opened = std::mem::take(&mut *self.opened_blobs());
        let wrong = opened.iter().filter_map(|digest| self.check_content(digest));
        let reported = std::mem::take(&mut *self.0.reported.lock().unwrap_or_else(PoisonError::into_inner));
        let findings: Vec<Finding> = findings.into_iter().chain(wrong).chain(reported).collect();
        self.repair(findings)
    }

    fn set_aside(&self, finding: &Finding) -> Result<(), RepairError> {
        let query = match finding {
            Finding::Database { .. } => return Ok(()),
            Finding::MissingLayer { layer } | Finding::UnknownLayer { layer, .. } => {
                return Ok(self.forget_layer(layer)?);
            }
            Finding::LayerContent { layer } => {
                self.forget_layer(layer)?;
                return Ok(quarantine(self.root(), &self.root().join("layers").join(layer))?);
            }
            Finding::MissingBlob { digest } => return Ok(self.forget_blob(digest)?),
            Finding::BlobSize { digest, .. } | Finding::BlobContent { digest, .. } => {
                self.forget_blob(digest)?;
                let hex = digest.trim_start_matches("sha256:");
                return Ok(quarantine(self.root(), &self.root().join("blobs/sha256").join(hex))?);
            }
            Finding::ImageLayer { image, .. } => return Ok(self.forget("DELETE FROM images WHERE name = ?1", image)?),
            Finding::CacheMount { name } => {
                let lock = self.root().join(name).with_extension("lock");
                let file = std::fs::File::options().write(true).open(&lock).map_err(FsError::on("open", &lock))?;
                // As before its first files were there.
                return Ok(file.set_len(0).map_err(FsError::on("ftruncate", &lock))?);
            }
            Finding::Build { id } => {
                return Ok(quarantine(self.root(), &self.root().join("builds").join(format!("{id}.record")))?);
            }
            Finding::DanglingRow { table, .. } => match table.as_str() {
                "records" => "DELETE FROM records WHERE snapshot NOT IN (SELECT seq FROM snapshots)",
                "snapshots" => "DELETE FROM snapshots WHERE top NOT IN (SELECT id FROM layers)",
                _ => "DELETE FROM images WHERE config NOT IN (SELECT digest FROM blobs)",
            },
        };
        self.database().run(|c| c.execute(query, []))?;
        Ok(())
    }

    /// Forgets a blob, and the layers that it holds: packed anew from their files, they need not become the same bytes.
    fn forget_blob(&self, digest: &str) -> Result<(), DbError> {
        let query = "SELECT id FROM layers WHERE diff_id IN (SELECT diff_id FROM layer_blobs WHERE digest = ?1)";
        let layers: Vec<String> =
            self.database().run(|c| c.prepare(query)?.query_map([digest], |row| row.get(0))?.collect())?;
        layers.iter().try_for_each(|layer| self.forget_layer(layer))?;
        self.forget("DELETE FROM blobs WHERE digest = ?1", digest)
    }

    fn forget(&self, query: &str, name: &str) -> Result<(), DbError> {
        self.database().run(|c| c.execute(query, params![name]).map(drop))
    }

    /// Forgets a layer and all stacks that have it; their records go with them.
    fn forget_layer(&self, layer: &str) -> Result<(), DbError> {
        self.database().write(|tx| {
            tx.run(|c| {
                c.execute("DELETE FROM snapshots WHERE ' ' || layers || ' ' LIKE '% ' || ?1 || ' %'", params![layer])?;
                c.execute("DELETE FROM layers WHERE id = ?1", params![layer])
            })
        })?;
        Ok(())
    }

    /// `None` if the blob has the bytes that its name says, or is not here.
    pub(crate) fn check_content(&self, digest: &Digest) -> Option<Finding> {
        let mut file = std::fs::File::open(self.blob_path(digest)).ok()?;
        let mut hasher = slipway_oci::Sha256::new();
        let wrong = |found| Finding::BlobContent { digest: digest.to_string(), found };
        match std::io::copy(&mut file, &mut HashOnly(&mut hasher)) {
            Err(error) => Some(wrong(error.to_string())),
            Ok(_) => Some(hasher.finish()).filter(|found| found != digest).map(|found| wrong(found.to_string())),
        }
    }
}

/// A writer that keeps nothing.
struct HashOnly<'a>(&'a mut slipway_oci::Sha256);

impl std::io::Write for HashOnly<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Sets the database of the store in `root` aside, whatever it is, and makes a new one; unless another process did.
pub(crate) fn replace(root: &Path, boot_id: &str) -> Result<Database, OpenError> {
    let path = root.join("store.db");
    let root_dir = std::fs::File::open(root).map_err(FsError::on("open", root))?;
    lock::wait_alone(&root_dir, || true).map_err(FsError::on("flock", root))?;
    if let Ok(Ok(database)) = Database::open(&path, boot_id)
        && database.run(is_sound)?
    {
        return Ok(database);
    }
    for name in ["store.db-wal", "store.db-shm", "store.db"] {
        quarantine(root, &root.join(name))?;
    }
    Database::create(&path)?;
    Database::open(&path, boot_id)?.map_err(|found| OpenError::Format { found, known: SCHEMA_VERSION })
}

fn is_sound(connection: &rusqlite::Connection) -> rusqlite::Result<bool> {
    match connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)) {
        Ok(answer) => Ok(answer == "ok"),
        Err(error) => match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => Ok(false),
            _ => Err(error),
        },
    }
}

/// Renames `path` into the folder of what was set aside; nothing there is fine.
fn quarantine(root: &Path, path: &Path) -> Result<(), FsError> {
    let folder = root.join("quarantine");
    match std::fs::create_dir(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(FsError::on("mkdir", &folder)(error));
        }
        _ => {}
    }
    match std::fs::rename(path, free_name(&folder, path)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(FsError::on("rename", path)(error)),
        _ => Ok(()),
    }
}

fn free_name(folder: &Path, path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let numbered = (1..).map(|number| folder.join(format!("{name}.{number}")));
    std::iter::once(folder.join(&*name)).chain(numbered).find(|path| !path.exists()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{digest, empty_store};
    use crate::{OverlayFlavor, Sharing};

    fn set_aside(store: &Store) -> Vec<String> {
        let entries = std::fs::read_dir(store.root().join("quarantine")).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_damaged_goes_with_what_depends_on_it() {
        let (_folder, store) = empty_store();
        let lower = store.begin(None).unwrap().commit(1).unwrap();
        let upper = store.begin(Some(&lower)).unwrap().commit(2).unwrap();
        store.record(&[digest("lower")], lower.id(), None).unwrap();
        store.record(&[digest("upper")], upper.id(), None).unwrap();
        let changed = store.put_blob(b"changed").unwrap().digest;
        std::fs::remove_dir(store.layer_path(&lower.layers()[0])).unwrap();
        std::fs::write(store.blob_path(&changed), "CHANGED").unwrap();
        let mount = store.cache_mount("id", Sharing::Shared, |_| Ok(()), || true).unwrap().unwrap();
        std::fs::remove_dir(mount.path()).unwrap();
        drop(mount);
        std::fs::write(store.root().join("builds/torn.record"), "torn").unwrap();
        let other = store.begin(None).unwrap().commit(3).unwrap();
        let other = other.layers()[0].to_string();

        let mut findings = store.fsck().unwrap();
        findings.extend(store.fsck_contents().unwrap());
        assert_eq!(findings.len(), 4, "{findings:?}");
        findings.push(Finding::LayerContent { layer: other.clone() });
        store.repair(findings).unwrap();
        assert_eq!(store.fsck().unwrap(), []);
        assert_eq!(store.fsck_contents().unwrap(), []);
        let mut expected = [changed.hex(), "torn.record", &other];
        expected.sort();
        assert_eq!(set_aside(&store), expected);
        assert_eq!([store.lookup(&digest("lower")).unwrap(), store.lookup(&digest("upper")).unwrap()], [None, None]);
        assert!(store.cache_mount("id", Sharing::Shared, |_| Ok(()), || true).unwrap().unwrap().path().is_dir());
    }

    #[test]
    fn a_database_that_is_none_is_replaced_when_the_store_is_opened() {
        let (_folder, store) = empty_store();
        let root = store.root().to_owned();
        // Else all of it would be read from the log.
        store.database().checkpoint().unwrap();
        drop(store);
        std::fs::write(root.join("store.db"), "x".repeat(8192)).unwrap();
        let store = Store::open(&root, OverlayFlavor::Root).unwrap();
        assert_eq!(store.take_remarks().len(), 1);
        store.put_blob(b"x").unwrap();
        assert_eq!(store.fsck().unwrap(), []);
        assert!(set_aside(&store).contains(&"store.db".to_owned()));
    }

    #[test]
    fn pages_that_are_garbage_are_found_and_replaced_while_the_store_is_open() {
        let (_folder, store) = empty_store();
        for number in 0..2000 {
            store.set_fact("kind", &number.to_string(), &[7; 100]).unwrap();
        }
        store.database().checkpoint().unwrap();
        let path = store.root().join("store.db");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[8192..].fill(0xa5);
        std::fs::write(&path, bytes).unwrap();
        let found = store.repair_after_failure().unwrap();
        assert!(matches!(found[..], [Finding::Database { .. }]), "{found:?}");
        store.put_blob(b"x").unwrap();
        assert_eq!(store.fsck().unwrap(), []);
    }

    #[test]
    fn a_newer_format_is_refused() {
        let (_folder, store) = empty_store();
        let connection = rusqlite::Connection::open(store.root().join("store.db")).unwrap();
        connection.pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
        let error = Store::open(store.root(), OverlayFlavor::Root).unwrap_err().to_string();
        assert!(
            error.contains(&SCHEMA_VERSION.to_string()) && error.contains(&(SCHEMA_VERSION + 1).to_string()),
            "{error}"
        );
    }
}
