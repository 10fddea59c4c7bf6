//! Which containers are there, and which of them has somebody who looks after it?
//!
//! ```text
//! containers/lock         held by who gives a name to a container
//! containers/<id>/        what its owner says of it: files that this crate does not know
//!   lock                  held by its owner as long as the container may run
//! ```
//!
//! A folder without an owner is that of a container which has ended; it stays until somebody removes it.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::FsError;
use crate::lock::{shared, try_alone, try_shared, wait_alone};

const LOCK: &str = "lock";

/// The containers of a store. They can be asked for without opening it.
#[derive(Clone, Debug)]
pub struct Containers {
    path: PathBuf,
}

/// The right to give names: while it lives, nobody else makes a container.
#[derive(Debug)]
pub struct Naming {
    _lock: File,
}

/// The folder of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerFolder {
    path: PathBuf,
}

/// The right, and the duty, to look after a container; given up when dropped.
#[derive(Debug)]
pub struct Ownership {
    _lock: File,
}

impl Containers {
    /// Those of the store at `root`.
    pub fn of_store(root: &Path) -> Containers {
        Containers { path: root.join("containers") }
    }

    /// What is beside them: the stacks that containers belong to. A stack has a folder and an owner as a container has.
    pub fn stacks_of_store(root: &Path) -> Containers {
        Containers { path: root.join("stacks") }
    }

    /// The folder of this id, which is made if it is not there.
    pub fn folder(&self, id: &str) -> Result<ContainerFolder, FsError> {
        let path = self.path.join(id);
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(FsError::on("mkdir", &path))?;
        Ok(ContainerFolder { path })
    }

    /// All of them, in the order of their ids.
    pub fn all(&self) -> Result<Vec<ContainerFolder>, FsError> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(FsError::on("opendir", &self.path)(error)),
        };
        let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
        let mut paths = paths.map_err(FsError::on("readdir", &self.path))?;
        paths.retain(|path| path.is_dir());
        paths.sort();
        Ok(paths.into_iter().map(|path| ContainerFolder { path }).collect())
    }

    /// Waits until nobody else makes a container.
    pub fn naming(&self) -> Result<Naming, FsError> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path).map_err(FsError::on("mkdir", &self.path))?;
        let path = self.path.join(LOCK);
        let lock = open_lock(&path)?;
        wait_alone(&lock, || true).map_err(FsError::on("flock", &path))?;
        Ok(Naming { _lock: lock })
    }

    /// Makes the folder of a new container, whose `id` nobody else has.
    pub fn create(&self, id: &str, _naming: &Naming) -> Result<ContainerFolder, FsError> {
        let path = self.path.join(id);
        DirBuilder::new().mode(0o700).create(&path).map_err(FsError::on("mkdir", &path))?;
        Ok(ContainerFolder { path })
    }
}

impl ContainerFolder {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The id of the container.
    pub fn id(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// The bytes of a file in it; `None` if it is not there.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FsError> {
        let path = self.path.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FsError::on("read", &path)(error)),
        }
    }

    /// Writes a file in it as a whole: who reads it meanwhile sees the old or the new one.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), FsError> {
        let (path, new) = (self.path.join(name), self.path.join(format!("{name}.new")));
        let written = File::create(&new).and_then(|mut file| file.write_all(bytes));
        written.and_then(|()| fs::rename(&new, &path)).map_err(FsError::on("write", &path))
    }

    /// Becomes the owner of the container, if nobody is.
    pub fn own(&self) -> Result<Option<Ownership>, FsError> {
        let path = self.path.join(LOCK);
        let lock = open_lock(&path)?;
        let is_mine = try_alone(&lock).map_err(FsError::on("flock", &path))?;
        Ok(is_mine.then_some(Ownership { _lock: lock }))
    }

    /// Whether somebody looks after the container.
    pub fn is_owned(&self) -> bool {
        let lock = File::open(self.path.join(LOCK));
        lock.is_ok_and(|lock| try_shared(&lock).is_ok_and(|is_free| !is_free))
    }

    /// Waits until nobody looks after the container any more.
    pub fn wait_until_free(&self) -> Result<(), FsError> {
        let path = self.path.join(LOCK);
        match File::open(&path) {
            Ok(lock) => shared(&lock).map_err(FsError::on("flock", &path)),
            // It has removed itself.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(FsError::on("open", &path)(error)),
        }
    }

    /// Removes it, with all that is known of the container.
    pub fn remove(&self) -> Result<(), FsError> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            answer => answer.map_err(FsError::on("rmdir", &self.path)),
        }
    }
}

fn open_lock(path: &Path) -> Result<File, FsError> {
    let file = File::options().create(true).truncate(false).read(true).write(true).open(path);
    file.map_err(FsError::on("open", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_has_one_owner_at_most() {
        let root = tempfile::tempdir().unwrap();
        let containers = Containers::of_store(root.path());
        assert_eq!(containers.all().unwrap(), []);
        let folder = containers.create("abc", &containers.naming().unwrap()).unwrap();
        assert_eq!((folder.id(), folder.is_owned()), ("abc", false));
        let owner = folder.own().unwrap().unwrap();
        assert!(folder.is_owned() && folder.own().unwrap().is_none());
        drop(owner);
        assert!(!folder.is_owned());
        folder.wait_until_free().unwrap();
        assert_eq!(containers.all().unwrap(), std::slice::from_ref(&folder));
        folder.remove().unwrap();
        folder.remove().unwrap();
        assert_eq!(containers.all().unwrap(), []);
    }

    #[test]
    fn files_are_replaced_as_a_whole() {
        let root = tempfile::tempdir().unwrap();
        let containers = Containers::of_store(root.path());
        let folder = containers.create("abc", &containers.naming().unwrap()).unwrap();
        assert_eq!(folder.read("state").unwrap(), None);
        folder.replace("state", b"1").unwrap();
        folder.replace("state", b"2").unwrap();
        assert_eq!(folder.read("state").unwrap().unwrap(), b"2");
    }
}
