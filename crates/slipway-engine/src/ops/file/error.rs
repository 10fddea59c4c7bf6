//! Why can files not be put where a Dockerfile wants them?

use super::{ArchiveError, ModeError};
use crate::context::{ScanError, SelectError};
use crate::rootfs::{AccountsError, CallError, FollowError, TreePath};

/// Why a file op failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileOpError {
    #[error("cannot copy to non-directory: {path}")]
    NotAFolder { path: TreePath },
    #[error("cannot replace to directory {path} with file")]
    ReplacesFolder { path: TreePath },
    #[error("mkdir {path}: not a directory")]
    MkdirOverFile { path: TreePath },
    #[error("`{path}` is a device 0:0, which would delete a file of the layers below")]
    WhiteoutDevice { path: TreePath },
    #[error("input {input} does not exist: there are {n_inputs}")]
    NoInput { input: usize, n_inputs: usize },
    #[error(transparent)]
    Scan(#[from] ScanError),
    #[error(transparent)]
    Follow(#[from] FollowError),
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    #[error(transparent)]
    Mode(#[from] ModeError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Call(#[from] CallError),
}

impl From<SelectError> for FileOpError {
    fn from(error: SelectError) -> Self {
        FileOpError::Scan(error.into())
    }
}
