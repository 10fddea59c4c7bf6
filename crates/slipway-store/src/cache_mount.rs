//! Which folder does a `RUN --mount=type=cache` get?
//!
//! Each id has numbered folders, normally one. A lock file beside each says who uses it, and whether it was ever
//! seeded: it is empty until then. A second one is held by who seeds it.
//!
//! | sharing | folder | lock |
//! |---|---|---|
//! | `shared` | the first one that nobody has alone | together with others |
//! | `private` | the first one that nobody uses at all | alone |
//! | `locked` | number 0, waiting for it | alone |

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use slipway_oci::Digest;

use crate::remove::remove;
use crate::{FsError, Store, lock};

/// What several RUNs with the same cache mount do at the same time (`sharing=` of the mount).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// All use one folder.
    Shared,
    /// Each gets a folder of its own.
    Private,
    /// One after the other.
    Locked,
}

/// A cache mount in use. Dropped: given back, its files kept.
#[derive(Debug)]
pub struct CacheMount {
    path: PathBuf,
    name: String,
    /// Holds the lock.
    _lock: File,
}

/// Why there is no folder for a cache mount.
#[derive(Debug, thiserror::Error)]
pub enum CacheMountError {
    #[error("cannot reach the cache mount's folder")]
    Fs(#[from] FsError),
    #[error("somebody has the cache mount alone")]
    InUse,
    #[error("cannot put the first files into the cache mount {}", path.display())]
    Seed { path: PathBuf, source: io::Error },
}

impl CacheMount {
    /// The folder to mount.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is called among the things that take space ([`crate::Usage::name`]).
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Store {
    /// The folder for the cache mount `id`, which may be any text.
    ///
    /// `seed` is called on a new folder (empty, mode 0755, owned by root) before anybody else sees it, to give it its
    /// mode, owner and first files; after an error or a crash in it the next user starts afresh. `keep_waiting` is
    /// asked every few milliseconds while others are in the way; `Ok(None)` once it has answered `false`.
    pub fn cache_mount(
        &self,
        id: &str,
        sharing: Sharing,
        mut seed: impl FnMut(&Path) -> io::Result<()>,
        mut keep_waiting: impl FnMut() -> bool,
    ) -> Result<Option<CacheMount>, CacheMountError> {
        // Who is in the way may wait for everybody to be listed ([`crate::uses`]).
        self.session()?;
        let copies = self.root().join("cache-mounts").join(Digest::of(id.as_bytes()).hex());
        DirBuilder::new().recursive(true).mode(0o700).create(&copies).map_err(FsError::on("mkdir", &copies))?;
        let mut number = 0;
        loop {
            let lock_path = copies.join(format!("{number}.lock"));
            let lock_file = open_lock(&lock_path).map_err(FsError::on("open", &lock_path))?;
            let path = copies.join(number.to_string());
            if !is_seeded(&lock_file).map_err(FsError::on("fstat", &lock_path))? {
                // A lock of its own: those who wait for the seeding to end would take the other one from each other.
                let seeding_path = copies.join(format!("{number}.seeding"));
                let seeding = open_lock(&seeding_path).map_err(FsError::on("open", &seeding_path))?;
                if !lock::wait_alone(&seeding, &mut keep_waiting).map_err(FsError::on("flock", &seeding_path))? {
                    return Ok(None);
                }
                seed_once(&lock_file, &path, &mut seed)
                    .map_err(|source| CacheMountError::Seed { path: path.clone(), source })?;
                lock::release(&seeding).map_err(FsError::on("flock", &seeding_path))?;
            }
            let is_ours = match sharing {
                Sharing::Shared => lock::try_shared(&lock_file),
                Sharing::Private => lock::try_alone(&lock_file),
                Sharing::Locked => lock::wait_alone(&lock_file, &mut keep_waiting),
            };
            if is_ours.map_err(FsError::on("flock", &lock_path))? {
                if !is_seeded(&lock_file).map_err(FsError::on("fstat", &lock_path))? {
                    // It was taken away while we waited.
                    continue;
                }
                let hash = copies.file_name().unwrap_or_default().to_string_lossy();
                let name = format!("cache-mounts/{hash}/{number}");
                self.use_name(&name)?;
                return Ok(Some(CacheMount { path, name, _lock: lock_file }));
            }
            if sharing == Sharing::Locked {
                return Ok(None);
            }
            number += 1;
        }
    }
}

impl Store {
    /// The first folder of the cache mount `id`, shared with others; `None` if nobody has used it here.
    ///
    /// # Errors
    /// [`CacheMountError::InUse`] if somebody has it alone.
    pub fn known_cache_mount(&self, id: &str) -> Result<Option<CacheMount>, CacheMountError> {
        let hash = Digest::of(id.as_bytes());
        let name = format!("cache-mounts/{}/0", hash.hex());
        let path = self.root().join(&name);
        let lock_path = path.with_extension("lock");
        let lock_file = match File::options().write(true).open(&lock_path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(FsError::on("open", &lock_path))?,
        };
        if !lock::try_shared(&lock_file).map_err(FsError::on("flock", &lock_path))? {
            return Err(CacheMountError::InUse);
        }
        if !is_seeded(&lock_file).map_err(FsError::on("fstat", &lock_path))? {
            return Ok(None);
        }
        self.use_name(&name)?;
        Ok(Some(CacheMount { path, name, _lock: lock_file }))
    }
}

/// Makes the folder and its first files, unless somebody did while we waited for the lock.
fn seed_once(mut lock_file: &File, path: &Path, mut seed: impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    if is_seeded(lock_file)? {
        return Ok(());
    }
    // What a seeding that did not end has left.
    remove(path)?;
    DirBuilder::new().mode(0o700).create(path)?;
    std::os::unix::fs::lchown(path, Some(0), Some(0))?;
    std::fs::set_permissions(path, Permissions::from_mode(0o755))?;
    seed(path)?;
    lock_file.write_all(b"seeded\n")
}

fn is_seeded(lock_file: &File) -> io::Result<bool> {
    Ok(lock_file.metadata()?.len() > 0)
}

fn open_lock(path: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).write(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::empty_store;

    #[test]
    fn sharing_decides_who_gets_which_folder() {
        let (_folder, store) = empty_store();
        let get = |sharing| store.cache_mount("id", sharing, |_| Ok(()), || false).unwrap();
        let name = |mount: &CacheMount| mount.path().file_name().unwrap().to_str().unwrap().to_owned();

        let shared = [get(Sharing::Shared).unwrap(), get(Sharing::Shared).unwrap()];
        assert_eq!(shared.each_ref().map(name), ["0", "0"]);
        assert!(get(Sharing::Locked).is_none(), "others use the folder");
        let private = [get(Sharing::Private).unwrap(), get(Sharing::Private).unwrap()];
        assert_eq!(private.each_ref().map(name), ["1", "2"]);
        drop((shared, private));

        let locked = get(Sharing::Locked).unwrap();
        assert_eq!(name(&locked), "0");
        assert!(get(Sharing::Locked).is_none(), "another has it locked");
        drop(locked);
        assert_eq!(name(&get(Sharing::Private).unwrap()), "0");
    }

    #[test]
    fn what_is_known_is_what_was_used() {
        let (_folder, store) = empty_store();
        assert!(store.known_cache_mount("id").unwrap().is_none());
        let locked = store.cache_mount("id", Sharing::Locked, |_| Ok(()), || false).unwrap().unwrap();
        assert!(matches!(store.known_cache_mount("id"), Err(CacheMountError::InUse)));
        let path = locked.path().to_owned();
        drop(locked);
        assert_eq!(store.known_cache_mount("id").unwrap().unwrap().path(), path);
    }

    #[test]
    fn an_id_cannot_leave_the_store() {
        let (folder, store) = empty_store();
        let ids = ["../../etc", "/etc", "", ".", "a\0b", "a/b"];
        let mut paths: Vec<PathBuf> = Vec::new();
        for id in ids {
            let mount = store.cache_mount(id, Sharing::Locked, |_| Ok(()), || false).unwrap().unwrap();
            assert!(mount.path().canonicalize().unwrap().starts_with(folder.path().join("store/cache-mounts")));
            paths.push(mount.path().to_owned());
        }
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), ids.len());
    }

    #[test]
    fn a_folder_is_seeded_once_and_anew_after_a_failure() {
        let (_folder, store) = empty_store();
        let fail = |path: &Path| {
            std::fs::write(path.join("half"), "")?;
            Err(io::Error::other("the disk is full"))
        };
        let error = store.cache_mount("id", Sharing::Shared, fail, || true).unwrap_err();
        assert!(matches!(error, CacheMountError::Seed { .. }));

        let seed = |path: &Path| std::fs::write(path.join("seed"), "");
        let mount = store.cache_mount("id", Sharing::Shared, seed, || true).unwrap().unwrap();
        assert!(mount.path().join("seed").exists());
        assert!(!mount.path().join("half").exists());

        let again = |_: &Path| -> io::Result<()> { panic!("seeded twice") };
        assert!(store.cache_mount("id", Sharing::Shared, again, || true).unwrap().is_some());
    }

    #[test]
    fn who_waits_for_the_seeding_shares_the_folder_afterwards() {
        let (_folder, store) = empty_store();
        let (started, starts) = std::sync::mpsc::channel();
        let (waiting, waits) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let store = &store;
            let first = scope.spawn(move || {
                let seed = |_: &Path| {
                    started.send(()).unwrap();
                    waits.recv().map_err(io::Error::other)
                };
                store.cache_mount("id", Sharing::Shared, seed, || true).unwrap().unwrap()
            });
            starts.recv().unwrap();
            let mut n_asked = 0;
            let keep_waiting = || {
                if n_asked == 0 {
                    waiting.send(()).unwrap();
                }
                n_asked += 1;
                n_asked < 30_000
            };
            // The first one keeps its mount until it is joined.
            let second = store.cache_mount("id", Sharing::Shared, |_| panic!("seeded twice"), keep_waiting);
            let second = second.unwrap().expect("the folder can be shared as soon as it is seeded");
            assert_eq!(second.path(), first.join().unwrap().path());
        });
    }

    #[test]
    fn locked_waits_for_the_other_thread() {
        let (_folder, store) = empty_store();
        let held = store.cache_mount("id", Sharing::Locked, |_| Ok(()), || true).unwrap().unwrap();
        std::fs::write(held.path().join("a"), "").unwrap();
        std::thread::scope(|scope| {
            let (is_waiting, waits) = std::sync::mpsc::channel();
            let store = &store;
            let second = scope.spawn(move || {
                let waiting = || {
                    // Nobody listens after the first time.
                    let _ = is_waiting.send(());
                    true
                };
                store
                    .cache_mount("id", Sharing::Locked, |_| Ok(()), waiting)
                    .unwrap()
                    .unwrap()
                    .path()
                    .join("a")
                    .exists()
            });
            waits.recv().unwrap();
            drop(held);
            assert!(second.join().unwrap());
        });
    }
}
