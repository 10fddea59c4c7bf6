//! What do living processes use, so that nobody takes it away from them?
//!
//! Each process lists in the file `uses` of its session's folder what it found or made: layers, blobs, cache mounts and
//! clones. Finding and listing happen under a lock that others may share, taking away under the same lock held alone:
//! what is about to go is not found, and what was found does not go. The list counts as long as its process lives.
//!
//! When a build ends, the list becomes rows that say what was used last, and how often.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::params;

use crate::{DbError, FsError, Snapshot, Store, lock};

const LIST: &str = "uses";

/// What this process uses: the names, and the file with the same names.
pub(crate) struct Uses {
    state: Mutex<State>,
    list: PathBuf,
    taking: PathBuf,
}

struct State {
    names: HashSet<String>,
    files: Option<Files>,
}

struct Files {
    list: File,
    /// Its lock is shared by who looks for something, and held alone by who takes something away.
    taking: File,
}

impl Uses {
    /// For a session in `folder` of the store in `root`. Makes no file yet.
    pub(crate) fn new(root: &Path, folder: &Path) -> Uses {
        let state = Mutex::new(State { names: HashSet::new(), files: None });
        Uses { state, list: folder.join(LIST), taking: taking_path(root) }
    }

    /// Removes the list. For the end of the session.
    pub(crate) fn forget(&self) {
        // A list that stays makes the folder stay, which the next process removes.
        let _ = std::fs::remove_file(&self.list);
    }

    /// Runs `find` while nothing is taken away, and lists the names of what it found.
    fn find<T, E: From<FsError>>(
        &self,
        find: impl FnOnce() -> Result<T, E>,
        names: impl FnOnce(&T) -> Vec<String>,
    ) -> Result<T, E> {
        // Threads take turns: they share the descriptor, and so the lock.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { names: known, files } = &mut *state;
        let files = match files {
            Some(files) => files,
            None => files.insert(self.open()?),
        };
        lock::shared(&files.taking).map_err(FsError::on("flock", &self.taking))?;
        let found = find().and_then(|found| {
            let mut lines = String::new();
            for name in names(&found) {
                if !known.contains(&name) {
                    lines = lines + &name + "\n";
                    known.insert(name);
                }
            }
            if !lines.is_empty() {
                files.list.write_all(lines.as_bytes()).map_err(FsError::on("write", &self.list))?;
            }
            Ok(found)
        });
        lock::release(&files.taking).map_err(FsError::on("flock", &self.taking))?;
        found
    }

    fn open(&self) -> Result<Files, FsError> {
        let list =
            File::options().create(true).append(true).open(&self.list).map_err(FsError::on("open", &self.list))?;
        Ok(Files { list, taking: open_taking(&self.taking)? })
    }
}

/// The right to take things away, alone among all processes. Dropped: given up.
pub(crate) struct Taking {
    _file: File,
    /// What living processes use.
    pub(crate) used: HashSet<String>,
}

impl Store {
    /// Runs `find` such that what it finds stays until this process ends; `names` says what that is.
    pub(crate) fn find_to_use<T, E: From<FsError>>(
        &self,
        find: impl FnOnce() -> Result<T, E>,
        names: impl FnOnce(&T) -> Vec<String>,
    ) -> Result<T, E> {
        self.session()?.uses().find(find, names)
    }

    /// Lists `name` as used by this process.
    pub(crate) fn use_name(&self, name: &str) -> Result<(), FsError> {
        self.find_to_use(|| Ok(()), |()| vec![name.to_owned()])
    }

    /// Remembers what this process has used so far as used at `now_ns`, once more than before. For the end of a build.
    pub fn remember_uses(&self, now_ns: i64) -> Result<(), DbError> {
        let Some(session) = self.started_session() else { return Ok(()) };
        let state = session.uses().state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.names.is_empty() {
            return Ok(());
        }
        self.database().write(|tx| {
            tx.run(|c| {
                let mut update = c.prepare_cached(
                    "INSERT INTO usage (name, last_used_ns, n_uses) VALUES (?1, ?2, 1)
                     ON CONFLICT (name) DO UPDATE SET last_used_ns = ?2, n_uses = n_uses + 1",
                )?;
                state.names.iter().try_for_each(|name| update.execute(params![name, now_ns]).map(drop))
            })
        })
    }

    /// Remembers what the thing `name` ([`crate::Usage::name`]) is, in words for people, and which type of record it is
    /// for them.
    pub fn describe(&self, name: &str, record_type: &str, description: &str) -> Result<(), DbError> {
        self.database().run(|c| {
            c.prepare_cached(
                "INSERT INTO usage (name, type, description) VALUES (?1, ?2, ?3)
                 ON CONFLICT (name) DO UPDATE SET type = ?2, description = ?3",
            )?
            .execute(params![name, record_type, description])
        })?;
        Ok(())
    }

    /// Waits until nobody is looking for anything; until the answer is dropped nobody finds anything.
    pub(crate) fn take(&self) -> Result<Taking, FsError> {
        let path = taking_path(self.root());
        let file = open_taking(&path)?;
        lock::wait_alone(&file, || true).map_err(FsError::on("flock", &path))?;
        Ok(Taking { _file: file, used: self.used_by_living()? })
    }

    /// What living processes have listed. Without [`Store::take`], more may be listed at any moment.
    pub(crate) fn used_by_living(&self) -> Result<HashSet<String>, FsError> {
        let active = self.root().join("active");
        let mut used = HashSet::new();
        for entry in std::fs::read_dir(&active).map_err(FsError::on("open", &active))? {
            let folder = entry.map_err(FsError::on("readdir", &active))?.path();
            let Ok(opened) = File::open(&folder) else { continue };
            if lock::try_alone(&opened).map_err(FsError::on("flock", &folder))? {
                continue;
            }
            let list = std::fs::read_to_string(folder.join(LIST)).unwrap_or_default();
            used.extend(list.lines().map(str::to_owned));
        }
        Ok(used)
    }
}

/// The names of a snapshot's layers.
pub(crate) fn names_of(snapshot: &Snapshot) -> Vec<String> {
    snapshot.layers().iter().map(|layer| layer.as_str().to_owned()).collect()
}

fn taking_path(root: &Path) -> PathBuf {
    root.join("taking")
}

fn open_taking(path: &Path) -> Result<File, FsError> {
    File::options().create(true).truncate(false).write(true).open(path).map_err(FsError::on("open", path))
}
