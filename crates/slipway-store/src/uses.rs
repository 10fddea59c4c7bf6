//! What do living processes use, so that nobody takes it away from them?
//!
//! Finding happens under a lock that others may share, taking away under the same lock held alone: what is about to go
//! is not found, and what was found does not go. A process that only looks (a build that has nothing to do) keeps its
//! share until it ends, which costs no file. One that begins to write ([`crate::session`]), or to wait for others,
//! lists in the file `uses` of its session's folder what it found or made: layers, blobs, cache mounts and clones. From
//! then on it takes its share for each find only, and the list counts as long as its process lives.
//!
//! The record of a build names what the build used; see [`crate::build`].

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::params;

use crate::{DbError, FsError, Snapshot, Store, lock};

const LIST: &str = "uses";

/// What this process uses.
pub(crate) struct Uses {
    state: Mutex<State>,
    /// Its lock is shared by who looks for something, and held alone by who takes something away.
    taking: PathBuf,
}

struct State {
    names: HashSet<String>,
    hold: Hold,
}

/// How others are kept from taking away what is used.
enum Hold {
    /// Nothing was found yet.
    Nothing,
    /// By a share in the lock.
    Share(File),
    /// By a list; the other file is the one to lock for each find.
    List { list: File, path: PathBuf, taking: File },
}

impl Uses {
    /// For the store in `root`. Makes no file yet.
    pub(crate) fn new(root: &Path) -> Uses {
        let state = Mutex::new(State { names: HashSet::new(), hold: Hold::Nothing });
        Uses { state, taking: taking_path(root) }
    }

    /// Lists in the session's `folder` what was found so far and what will be, and gives up the share in the lock.
    pub(crate) fn list_in(&self, folder: &Path) -> Result<(), FsError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let path = folder.join(LIST);
        let mut list = File::options().create(true).append(true).open(&path).map_err(FsError::on("open", &path))?;
        write_names(&mut list, &path, state.names.iter())?;
        let taking = match std::mem::replace(&mut state.hold, Hold::Nothing) {
            Hold::Share(taking) => taking,
            Hold::Nothing | Hold::List { .. } => open_taking(&self.taking)?,
        };
        lock::release(&taking).map_err(FsError::on("flock", &self.taking))?;
        state.hold = Hold::List { list, path, taking };
        Ok(())
    }

    /// The names of what this process has used so far, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<String> = state.names.iter().cloned().collect();
        names.sort();
        names
    }

    /// Runs `find` while nothing is taken away, and keeps what it found, by its names, from being taken later.
    fn find<T, E: From<FsError>>(
        &self,
        find: impl FnOnce() -> Result<T, E>,
        names: impl FnOnce(&T) -> Vec<String>,
    ) -> Result<T, E> {
        // Threads take turns: they share the descriptor, and so the lock.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { names: known, hold } = &mut *state;
        let (list, path, taking) = match hold {
            Hold::List { list, path, taking } => (list, path, taking),
            Hold::Share(_) | Hold::Nothing => {
                if matches!(hold, Hold::Nothing) {
                    let taking = open_taking(&self.taking)?;
                    lock::shared(&taking).map_err(FsError::on("flock", &self.taking))?;
                    *hold = Hold::Share(taking);
                }
                let found = find()?;
                known.extend(names(&found));
                return Ok(found);
            }
        };
        lock::shared(&taking).map_err(FsError::on("flock", &self.taking))?;
        let found = find().and_then(|found| {
            let new: Vec<String> = names(&found).into_iter().filter(|name| known.insert(name.clone())).collect();
            write_names(list, path, new.iter())?;
            Ok(found)
        });
        lock::release(&taking).map_err(FsError::on("flock", &self.taking))?;
        found
    }
}

fn write_names<'a>(list: &mut File, path: &Path, names: impl Iterator<Item = &'a String>) -> Result<(), FsError> {
    let lines: String = names.flat_map(|name| [name.as_str(), "\n"]).collect();
    match lines.is_empty() {
        true => Ok(()),
        false => list.write_all(lines.as_bytes()).map_err(FsError::on("write", path)),
    }
}

/// Removes the list in a session's `folder`. For the end of the session; a list that stays makes the folder stay, which
/// the next process removes.
pub(crate) fn forget_list(folder: &Path) {
    let _ = std::fs::remove_file(folder.join(LIST));
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
        self.0.uses.find(find, names)
    }

    /// Lists `name` as used by this process.
    pub(crate) fn use_name(&self, name: &str) -> Result<(), FsError> {
        self.find_to_use(|| Ok(()), |()| vec![name.to_owned()])
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

    /// Waits until nobody is looking for anything, nor any build that does nothing else goes on; until the answer is
    /// dropped nobody finds anything. `Ok(None)` once `keep_waiting` has answered `false`.
    pub(crate) fn take(&self, keep_waiting: impl FnMut() -> bool) -> Result<Option<Taking>, FsError> {
        // Whoever keeps a share while waiting for the others to give up theirs would wait for ever.
        self.session()?;
        let path = taking_path(self.root());
        let file = open_taking(&path)?;
        if !lock::wait_alone(&file, keep_waiting).map_err(FsError::on("flock", &path))? {
            return Ok(None);
        }
        Ok(Some(Taking { _file: file, used: self.used_by_living()? }))
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
