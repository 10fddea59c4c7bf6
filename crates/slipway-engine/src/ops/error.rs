//! Why does a step fail, whose fault is it, and what helps?

use slipway_store::{DbError, FsError, SnapshotError};

use super::exec::ExecError;
use super::file::FileOpError;
use super::files::FileError;
use super::git::GitSourceError;
use super::http::HttpError;
use super::secret::SecretError;
use crate::context::{DigestError, ScanError};
use crate::contexts::ContextsError;
use crate::images::ImageError;
use crate::shared_cache::import::LostCache;

/// Why a vertex failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpError {
    /// The engine only looks: see [`OverlayFlavor::Outside`].
    #[error("the step has to run, and this process cannot run it")]
    Outside,
    #[error(transparent)]
    Exec(#[from] ExecError),
    #[error(transparent)]
    File(#[from] Box<FileError>),
    #[error(transparent)]
    Image(#[from] Box<ImageError>),
    #[error(transparent)]
    Http(#[from] Box<HttpError>),
    #[error(transparent)]
    Git(#[from] Box<GitSourceError>),
    #[error(transparent)]
    Context(#[from] Box<ContextsError>),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("cannot use the cache")]
    Cache(#[from] DbError),
    #[error("cannot lock the step")]
    Lock(#[from] FsError),
    #[error(transparent)]
    LostCache(#[from] LostCache),
    #[error("step results cannot be combined")]
    NotAFileSystem,
}

/// Whether a step failed because of what the user's program or file says.
pub(crate) fn is_of_user(error: &(dyn std::error::Error + 'static)) -> bool {
    let of_program = |error: &ExecError| matches!(error, ExecError::Exit { .. } | ExecError::OutOfMemory { .. });
    match error.downcast_ref() {
        Some(OpError::Exec(error)) => of_program(error),
        Some(OpError::Context(_)) => true,
        _ => false,
    }
}

impl OpError {
    /// What people can do about it, if that is known for sure.
    pub(crate) fn hint(&self) -> Option<String> {
        let digest = match self {
            OpError::Exec(error) => return error.hint(),
            OpError::Http(error) => match error.as_ref() {
                HttpError::Moved { url, .. } => return Some(format!("`slipway update {url}` moves the pin")),
                _ => return None,
            },
            OpError::Context(error) => match error.as_ref() {
                ContextsError::Digest(digest) => digest,
                _ => return None,
            },
            OpError::File(error) => match error.as_ref() {
                FileError::Op(FileOpError::Scan(ScanError::Select(select))) => return select.hint(),
                FileError::Digest(digest) | FileError::Context(ContextsError::Digest(digest)) => digest,
                _ => return None,
            },
            _ => return None,
        };
        match digest {
            DigestError::Scan(ScanError::Select(select)) => select.hint(),
            _ => None,
        }
    }
}
