//! Which folder is a named volume?
//!
//! A volume is a folder `volumes/<name>/` that outlives what uses it, until somebody removes it. Nothing is remembered
//! of it but its name, and no prune of the store takes it away. The folder is made when a container first uses the
//! volume, with what the image has there; until then the name of a volume that somebody asked for is a file in
//! `volumes/.declared/`.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::{FsError, Store};

/// Why there is no volume.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// As Docker has it: names are parts of paths.
    #[error(
        "\"{0}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed"
    )]
    Name(String),
    #[error("cannot reach the volume's folder")]
    Fs(#[from] FsError),
    #[error("cannot put the first files into the volume `{name}`")]
    Seed { name: String, source: io::Error },
}

impl Store {
    /// The folder of the volume `name`. `seed` is called on a new folder (empty, mode 0755) before anybody else sees it;
    /// if it fails there is no volume.
    pub fn volume(&self, name: &str, seed: impl FnOnce(&Path) -> io::Result<()>) -> Result<PathBuf, VolumeError> {
        if !is_name(name) {
            return Err(VolumeError::Name(name.to_owned()));
        }
        let volumes = self.root().join("volumes");
        let path = volumes.join(name);
        if path.is_dir() {
            return Ok(path);
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&volumes).map_err(FsError::on("mkdir", &volumes))?;
        let session = self.session()?;
        let new = session.temporary(&format!("{}.volume", session.unique_name()));
        DirBuilder::new().mode(0o755).create(new.path()).map_err(FsError::on("mkdir", new.path()))?;
        seed(new.path()).map_err(|source| VolumeError::Seed { name: name.to_owned(), source })?;
        // Unlike the standard library's, this never takes the place of a volume that somebody else has just made.
        match rustix::fs::renameat_with(
            rustix::fs::CWD,
            new.path(),
            rustix::fs::CWD,
            &path,
            rustix::fs::RenameFlags::NOREPLACE,
        ) {
            Ok(()) | Err(Errno::EXIST) => Ok(path),
            Err(errno) => Err(FsError::on("rename", &path)(errno).into()),
        }
    }
}

/// The names below `volumes/` of volumes that no container has used yet. No volume is called so.
const DECLARED: &str = ".declared";

impl Store {
    /// Says that there is a volume `name`; that it is there already is fine.
    pub fn declare_volume(&self, name: &str) -> Result<(), VolumeError> {
        if !is_name(name) {
            return Err(VolumeError::Name(name.to_owned()));
        }
        let declared = self.root().join("volumes").join(DECLARED);
        DirBuilder::new().recursive(true).mode(0o700).create(&declared).map_err(FsError::on("mkdir", &declared))?;
        let path = declared.join(name);
        File::create(&path).map_err(FsError::on("create", &path))?;
        Ok(())
    }
}

/// The names of the volumes of the store at `root`.
pub fn volumes(root: &Path) -> Result<BTreeSet<String>, VolumeError> {
    let volumes = root.join("volumes");
    let mut names = BTreeSet::new();
    for folder in [volumes.join(DECLARED), volumes] {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(FsError::on("read", &folder)(error).into()),
        };
        for entry in entries {
            let entry = entry.map_err(FsError::on("read", &folder))?;
            names.extend(entry.file_name().into_string().ok().filter(|name| is_name(name)));
        }
    }
    Ok(names)
}

/// Removes the volume `name` of the store at `root`, with all that is in it; whether it was there.
pub fn remove_volume(root: &Path, name: &str) -> Result<bool, VolumeError> {
    if !is_name(name) {
        return Err(VolumeError::Name(name.to_owned()));
    }
    let volumes = root.join("volumes");
    let (declared, path) = (volumes.join(DECLARED).join(name), volumes.join(name));
    let was_there = |path: &Path, removed: io::Result<()>| match removed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FsError::on("remove", path)(error)),
    };
    let was_used = was_there(&path, fs::remove_dir_all(&path))?;
    Ok(was_there(&declared, fs::remove_file(&declared))? || was_used)
}

fn is_name(name: &str) -> bool {
    let is_first = |c: char| c.is_ascii_alphanumeric();
    name.len() > 1 && name.starts_with(is_first) && name.chars().all(|c| is_first(c) || matches!(c, '_' | '.' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::empty_store;

    #[test]
    fn a_volume_is_seeded_once_and_stays() {
        let (_folder, store) = empty_store();
        let seed = |path: &Path| std::fs::write(path.join("first"), "1");
        let made = store.volume("data", seed).unwrap();
        let found = store.volume("data", |_| panic!("it is there already")).unwrap();
        assert_eq!(made, found);
        assert_eq!(std::fs::read_to_string(found.join("first")).unwrap(), "1");
    }

    #[test]
    fn a_volume_that_was_asked_for_is_seeded_when_it_is_used() {
        let (_folder, store) = empty_store();
        assert!(volumes(store.root()).unwrap().is_empty());
        store.declare_volume("data").unwrap();
        store.volume("used", |_| Ok(())).unwrap();
        assert!(volumes(store.root()).unwrap().iter().eq(["data", "used"]));
        let path = store.volume("data", |path| std::fs::write(path.join("first"), "1")).unwrap();
        assert!(path.join("first").exists());
        store.declare_volume("data").unwrap();
        assert!(path.join("first").exists());
        assert!(remove_volume(store.root(), "data").unwrap());
        assert!(!remove_volume(store.root(), "data").unwrap());
        assert!(volumes(store.root()).unwrap().iter().eq(["used"]));
    }

    #[test]
    fn a_volume_that_cannot_be_seeded_is_none() {
        let (_folder, store) = empty_store();
        assert!(store.volume("data", |_| Err(io::Error::other("no"))).is_err());
        let path = store.volume("data", |_| Ok(())).unwrap();
        assert_eq!(std::fs::read_dir(path).unwrap().count(), 0);
    }

    #[test]
    fn names_of_volumes_are_no_paths() {
        let (_folder, store) = empty_store();
        for name in ["", "a", "..", ".hidden", "a/b", "-x", "a b"] {
            assert!(matches!(store.volume(name, |_| Ok(())), Err(VolumeError::Name(_))), "{name}");
        }
    }
}
