//! Which kernel call failed, on what, and why.

use std::io;

use crate::confinement;

/// A kernel call that failed, written as in a trace: `mount(proc, /proc)`.
///
/// The reason is the error's source.
#[derive(Debug, thiserror::Error)]
#[error("{call}")]
pub struct CallError {
    /// The call and its main argument.
    pub call: String,
    /// What the kernel answered.
    pub source: io::Error,
}

impl CallError {
    /// Advice, if the call was not permitted; `None` if it failed for another reason.
    pub fn hint(&self) -> Option<String> {
        (self.source.kind() == io::ErrorKind::PermissionDenied).then(confinement::advice)
    }
}

/// Gives a failed call its name.
pub(crate) trait Named<T> {
    /// Wraps the error; `call` is only asked for when there is one.
    fn named(self, call: impl FnOnce() -> String) -> Result<T, CallError>;
}

impl<T, E: Into<io::Error>> Named<T> for Result<T, E> {
    fn named(self, call: impl FnOnce() -> String) -> Result<T, CallError> {
        self.map_err(|source| CallError { call: call(), source: source.into() })
    }
}
