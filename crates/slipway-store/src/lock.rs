//! Who works on what? All locking between processes is here.
//!
//! Every lock is a `flock(2)` on an open file or folder: the kernel gives it up when its process dies, however that
//! happens, and two descriptors exclude each other within one process as well. Waiting is by polling, because a blocked
//! `flock` could not be cancelled.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock, fstat};
use rustix::io::Errno;
use slipway_oci::Digest;

use crate::{FsError, Store};

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// The right to work on one key, among all processes and threads that share the store. Dropped: given up.
#[derive(Debug)]
pub struct KeyLock {
    file: File,
    path: PathBuf,
}

impl Store {
    /// Waits until nobody else works on `key`.
    ///
    /// `keep_waiting` is asked every few milliseconds; `Ok(None)` once it has answered `false`. Whoever gets the lock
    /// looks the key up again first: the process that held it before may have recorded a result, or may have died.
    pub fn lock_key(&self, key: &Digest, mut keep_waiting: impl FnMut() -> bool) -> Result<Option<KeyLock>, FsError> {
        // Who holds the key may wait for everybody to be listed ([`crate::uses`]).
        self.session()?;
        let path = self.root().join("locks").join(key.hex());
        loop {
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .map_err(FsError::on("open", &path))?;
            if !wait_alone(&file, &mut keep_waiting).map_err(FsError::on("flock", &path))? {
                return Ok(None);
            }
            // The holder before us removed the file: others will lock a new one of that name.
            if !is_removed(&file).map_err(FsError::on("fstat", &path))? {
                return Ok(Some(KeyLock { file, path }));
            }
        }
    }

    /// The lock on `key`, or `None` if somebody else has it.
    pub fn try_lock_key(&self, key: &Digest) -> Result<Option<KeyLock>, FsError> {
        self.lock_key(key, || false)
    }
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        // Removed while still locked, so that the folder holds only keys in work. A file that stays does no harm.
        let _ = std::fs::remove_file(&self.path);
        // Closing is not enough if a child process inherited the descriptor a moment ago.
        let _ = release(&self.file);
    }
}

/// Takes the exclusive lock on `file` if nobody has any lock on it.
pub(crate) fn try_alone(file: impl AsFd) -> io::Result<bool> {
    try_lock(file, FlockOperation::NonBlockingLockExclusive)
}

/// Takes a lock on `file` that others may share, if nobody has the exclusive one.
pub(crate) fn try_shared(file: impl AsFd) -> io::Result<bool> {
    try_lock(file, FlockOperation::NonBlockingLockShared)
}

/// Waits for a lock on `file` that others may share. Only for files that nobody has alone for long: this wait cannot be
/// cancelled.
pub(crate) fn shared(file: impl AsFd) -> io::Result<()> {
    Ok(flock(file, FlockOperation::LockShared)?)
}

/// Waits for the exclusive lock on `file`; `false` if `keep_waiting` gave up first.
pub(crate) fn wait_alone(file: impl AsFd, mut keep_waiting: impl FnMut() -> bool) -> io::Result<bool> {
    let mut pause = FIRST_PAUSE;
    while !try_alone(&file)? {
        if !keep_waiting() {
            return Ok(false);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(true)
}

/// Gives up whatever lock is held through `file`.
pub(crate) fn release(file: impl AsFd) -> io::Result<()> {
    Ok(flock(file, FlockOperation::Unlock)?)
}

/// Whether `file` has no name any more.
pub(crate) fn is_removed(file: impl AsFd) -> io::Result<bool> {
    Ok(fstat(file)?.st_nlink == 0)
}

fn try_lock(file: impl AsFd, operation: FlockOperation) -> io::Result<bool> {
    match flock(file, operation) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use crate::testing::{digest, empty_store};

    #[test]
    fn a_key_is_locked_once() {
        let (_folder, store) = empty_store();
        let held = store.try_lock_key(&digest("a")).unwrap().unwrap();
        assert!(store.try_lock_key(&digest("a")).unwrap().is_none());
        assert!(store.try_lock_key(&digest("b")).unwrap().is_some());
        drop(held);
        assert!(store.try_lock_key(&digest("a")).unwrap().is_some());
        assert_eq!(std::fs::read_dir(store.root().join("locks")).unwrap().count(), 0);
    }

    #[test]
    fn waiting_ends_when_it_is_cancelled() {
        let (_folder, store) = empty_store();
        let _held = store.try_lock_key(&digest("a")).unwrap().unwrap();
        let mut n_asked = 0;
        let waited = store.lock_key(&digest("a"), || {
            n_asked += 1;
            n_asked < 3
        });
        assert!(waited.unwrap().is_none());
        assert_eq!(n_asked, 3);
    }

    #[test]
    fn threads_take_turns() {
        let (_folder, store) = empty_store();
        let n_inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _lock = store.lock_key(&digest("a"), || true).unwrap().unwrap();
                        assert_eq!(n_inside.fetch_add(1, Ordering::SeqCst), 0);
                        n_inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
    }
}
