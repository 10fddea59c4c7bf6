//! Which folder is a named volume?
//!
//! A volume is a folder `volumes/<name>/` that outlives what uses it, until somebody removes it. Nothing is remembered
//! of it but its name, and no prune takes it away.

use std::fs::DirBuilder;
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

/// Removes the volume `name` of the store at `root`, with all that is in it; whether it was there.
pub fn remove_volume(root: &Path, name: &str) -> Result<bool, VolumeError> {
    if !is_name(name) {
        return Err(VolumeError::Name(name.to_owned()));
    }
    let path = root.join("volumes").join(name);
    match std::fs::remove_dir_all(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FsError::on("rmdir", &path)(error).into()),
    }
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
