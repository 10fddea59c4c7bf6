//! Which system call failed, and on what?

use std::io;
use std::path::{Path, PathBuf};

/// A system call on a file of the store that failed; the reason is its source.
#[derive(Debug, thiserror::Error)]
#[error("{call}({})", path.display())]
pub struct FsError {
    call: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FsError {
    /// For `map_err`: says that `call` on `path` is what failed.
    pub fn on<E: Into<io::Error>>(call: &'static str, path: &Path) -> impl FnOnce(E) -> FsError {
        move |source| FsError { call, path: path.to_owned(), source: source.into() }
    }
}
