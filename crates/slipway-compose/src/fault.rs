//! What is wrong in a Compose file, where, and what to try.

use crate::tree::Mark;

/// A file that was read: its path, as messages show it, and its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceFile {
    pub path: String,
    pub text: String,
}

/// One mistake, in the words of the reference where it has words for it.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Fault {
    pub(crate) reason: String,
    pub(crate) mark: Option<Mark>,
    pub(crate) hint: Option<String>,
}

impl Fault {
    pub(crate) fn new(reason: impl Into<String>) -> Fault {
        Fault { reason: reason.into(), mark: None, hint: None }
    }

    /// With a place, unless it has one already.
    pub(crate) fn at(mut self, mark: Option<Mark>) -> Fault {
        self.mark = self.mark.or(mark);
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Fault {
        self.hint = Some(hint.into());
        self
    }

    /// With something in front of the reason.
    pub(crate) fn within(mut self, what: &str) -> Fault {
        self.reason = format!("{what}: {}", self.reason);
        self
    }
}

/// Why a project cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct ComposeError {
    pub reason: String,
    /// The file that the mistake is in, and its line, from 1.
    pub place: Option<(SourceFile, usize)>,
    pub hint: Option<String>,
}
