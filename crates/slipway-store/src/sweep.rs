//! What lies on disk that no row and no living process wants?
//!
//! Leftovers of crashes and of power losses only. What rows to drop, so that a store does not grow for ever, is not
//! decided here.

use std::collections::HashSet;
use std::path::Path;

use crate::remove::remove_all;
use crate::{DbError, FsError, Store, session};

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Folders of processes that died.
    pub n_sessions: usize,
    pub n_layers: usize,
    pub n_blobs: usize,
}

/// Why not all leftovers could be removed.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    #[error("cannot remove what is left of earlier builds")]
    Fs(#[from] FsError),
    #[error("cannot find out what is left of earlier builds")]
    Db(#[from] DbError),
}

impl Store {
    /// Removes layers and blobs without rows, and what dead processes left. Other processes may be building.
    ///
    /// Needs the root of the user namespace in which the files were made.
    pub fn sweep(&self) -> Result<Swept, SweepError> {
        let n_sessions = session::sweep_dead(&self.root().join("active"))?;
        let n_layers = self.sweep_folder(&self.root().join("layers"), "SELECT id FROM layers")?;
        let n_blobs = self.sweep_folder(&self.root().join("blobs/sha256"), "SELECT substr(digest, 8) FROM blobs")?;
        Ok(Swept { n_sessions, n_layers, n_blobs })
    }

    /// Removes what is in `folder` under none of the names that `query` gives; how many.
    fn sweep_folder(&self, folder: &Path, query: &str) -> Result<usize, SweepError> {
        let session = self.session()?;
        // In a transaction only what is quick: files with final names and their rows come into being in one, too.
        let garbage = self.database().write(|tx| {
            let wanted: HashSet<String> = tx.run(|c| c.prepare(query)?.query_map([], |row| row.get(0))?.collect())?;
            let mut garbage = Vec::new();
            for entry in std::fs::read_dir(folder).map_err(FsError::on("open", folder))? {
                let entry = entry.map_err(FsError::on("readdir", folder))?;
                if entry.file_name().to_str().is_some_and(|name| wanted.contains(name)) {
                    continue;
                }
                let temporary = session.temporary(&format!("{}.garbage", session.unique_name()));
                std::fs::rename(entry.path(), temporary.path()).map_err(FsError::on("rename", &entry.path()))?;
                garbage.push(temporary);
            }
            Ok::<_, SweepError>(garbage)
        })?;
        let n_removed = garbage.len();
        remove_all(garbage);
        Ok(n_removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::empty_store;

    #[test]
    fn only_what_nobody_wants_is_removed() {
        let (_folder, store) = empty_store();
        let snapshot = store.begin(None).unwrap().commit(1).unwrap();
        let kept = store.put_blob(b"kept").unwrap();
        let active = store.begin(Some(&snapshot)).unwrap();
        let root = store.root();
        std::fs::create_dir_all(root.join("layers/garbage/deep")).unwrap();
        std::fs::write(root.join("blobs/sha256/garbage"), "").unwrap();
        std::fs::create_dir_all(root.join("active/dead/1.upper")).unwrap();

        let expected = Swept { n_sessions: 1, n_layers: 1, n_blobs: 1 };
        assert_eq!(store.sweep().unwrap(), expected);
        assert_eq!(store.sweep().unwrap(), Swept::default());
        assert!(active.upper().exists());
        assert!(store.has_blob(&kept.digest).unwrap());
        assert_eq!(store.fsck().unwrap(), []);
        active.commit(2).unwrap();
        assert_eq!(store.fsck().unwrap(), []);
    }

    #[test]
    fn starting_to_write_removes_what_dead_processes_left() {
        let (_folder, store) = empty_store();
        std::fs::create_dir_all(store.root().join("active/dead/1.upper/x")).unwrap();
        let _active = store.begin(None).unwrap();
        assert!(!store.root().join("active/dead").exists());
    }
}
