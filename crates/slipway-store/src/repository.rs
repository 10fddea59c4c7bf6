//! Where are clones of git repositories kept?

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use slipway_oci::Digest;

use crate::{FsError, Store};

impl Store {
    /// The folder for the bare clone of the remote that `key` stands for; empty at first. Its user holds the lock on
    /// `key` ([`Store::lock_key`]).
    pub fn repository(&self, key: &Digest) -> Result<PathBuf, FsError> {
        self.use_name(&format!("git/{}", key.hex()))?;
        let path = self.root().join("git").join(key.hex());
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(FsError::on("mkdir", &path))?;
        Ok(path)
    }
}
