//! Which value does this store have, and no other one?

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use crate::{FsError, Store};

const N_BYTES: usize = 32;

impl Store {
    /// Random bytes that only this store has, made when they are first asked for. What is computed with them can be
    /// compared within the store, and says nothing to who lacks them.
    pub fn private_key(&self) -> Result<[u8; N_BYTES], FsError> {
        let path = self.root().join("private-key");
        match read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => return outcome.map_err(FsError::on("read", &path)),
        }
        self.make_private_key(&path).map_err(FsError::on("write", &path))?;
        // Another process may have been faster; its key counts.
        read(&path).map_err(FsError::on("read", &path))
    }

    fn make_private_key(&self, path: &Path) -> io::Result<()> {
        let mut key = [0; N_BYTES];
        File::open("/dev/urandom")?.read_exact(&mut key)?;
        // Readable for its owner alone.
        let mut file = tempfile::Builder::new().prefix("private-key-").tempfile_in(self.root())?;
        file.write_all(&key)?;
        // A key that is lost in a power failure would make strangers of all that was computed with it.
        file.as_file().sync_all()?;
        match file.persist_noclobber(path) {
            Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

fn read(path: &Path) -> io::Result<[u8; N_BYTES]> {
    let mut key = [0; N_BYTES];
    File::open(path)?.read_exact(&mut key)?;
    Ok(key)
}
