//! Where does a living process put what is not committed yet?
//!
//! Each open [`Store`] that writes, or waits for others, has one folder below `active/`, with an exclusive lock on it. A folder whose lock is
//! free belongs to a dead process and is removed by the next one that starts to write.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use crate::remove::remove;
use crate::uses::forget_list;
use crate::{FsError, Store, lock};

/// The folder of one process, locked as long as this value lives.
pub(crate) struct Session {
    path: PathBuf,
    name: String,
    next: AtomicU64,
    /// Holds the lock.
    _folder: File,
}

impl Session {
    /// A name that no other process and no later call gets.
    pub(crate) fn unique_name(&self) -> String {
        format!("{}-{}", self.name, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// A path in the folder whose file or tree vanishes when the value is dropped, unless it was moved away.
    pub(crate) fn temporary(self: &Arc<Self>, name: &str) -> Temporary {
        Temporary { path: self.path.join(name), _session: Arc::clone(self) }
    }

    fn start(active: &Path) -> Result<Session, FsError> {
        loop {
            let folder = tempfile::Builder::new()
                .prefix("")
                .rand_bytes(12)
                .tempdir_in(active)
                .map_err(FsError::on("mkdir", active))?;
            let path = folder.path().to_owned();
            // Between making and locking it, another process may take it for the folder of a dead one.
            let file = match File::open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened.map_err(FsError::on("open", &path))?,
            };
            if !lock::try_alone(&file).map_err(FsError::on("flock", &path))?
                || lock::is_removed(&file).map_err(FsError::on("fstat", &path))?
            {
                continue;
            }
            let path = folder.keep();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Ok(Session { path, name, next: AtomicU64::new(0), _folder: file });
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        forget_list(&self.path);
        // Everything temporary in it holds the session, so it is empty; if not, the next process sweeps it.
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// A file or tree that is not committed.
pub(crate) struct Temporary {
    path: PathBuf,
    _session: Arc<Session>,
}

impl Temporary {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What cannot be removed now is removed with the session's folder by a later sweep.
        let _ = remove(&self.path);
    }
}

impl Store {
    /// This process's session; the first call also removes what dead processes left.
    pub(crate) fn session(&self) -> Result<Arc<Session>, FsError> {
        let mut session = self.0.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = &*session {
            return Ok(Arc::clone(session));
        }
        let active = self.root().join("active");
        // Leftovers that cannot be removed are no reason not to build; an explicit sweep reports them.
        let _ = sweep_dead(&active);
        let started = Arc::new(Session::start(&active)?);
        self.0.uses.list_in(&started.path)?;
        *session = Some(Arc::clone(&started));
        Ok(started)
    }
}

/// Removes the folders in `active` that no living process holds; how many. What cannot be removed does not keep the
/// others from it; the first failure is the answer.
pub(crate) fn sweep_dead(active: &Path) -> Result<usize, FsError> {
    let mut n_removed = 0;
    let mut failure = None;
    for entry in std::fs::read_dir(active).map_err(FsError::on("open", active))? {
        let path = entry.map_err(FsError::on("readdir", active))?.path();
        match remove_if_dead(&path) {
            Ok(true) => n_removed += 1,
            Ok(false) => {}
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(n_removed), Err)
}

fn remove_if_dead(session: &Path) -> Result<bool, FsError> {
    let folder = match File::open(session) {
        // Its process, or another one that sweeps, removed it meanwhile.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        opened => opened.map_err(FsError::on("open", session))?,
    };
    let is_dead = lock::try_alone(&folder).map_err(FsError::on("flock", session))?;
    if is_dead {
        remove(session).map_err(FsError::on("unlink", session))?;
    }
    Ok(is_dead)
}
