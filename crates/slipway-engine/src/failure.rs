//! Why there is no image, and whose fault that is.

use std::error::Error;

use slipway_dockerfile::Diagnostic;
use slipway_graph::LineRange;
use slipway_solver::Cancel;

use crate::build::SourceFile;

/// Why there is no image, and the file that a message may point into.
#[derive(Debug)]
pub struct BuildError {
    /// Which of the requests failed, by its place.
    pub build: usize,
    pub failure: BuildFailure,
    pub dockerfile: Option<SourceFile>,
}

/// What went wrong.
#[derive(Debug)]
pub enum BuildFailure {
    /// The user's file.
    Dockerfile(Vec<Diagnostic>),
    /// One step.
    Step {
        lines: Option<LineRange>,
        name: String,
        source: Box<dyn Error + Send + Sync>,
        /// What to try, where that is known for sure.
        hint: Option<String>,
    },
    /// slipway did, while it worked on a step; `message` is what the panic said.
    Panic {
        lines: Option<LineRange>,
        name: String,
        message: String,
    },
    /// The user interrupted.
    Canceled,
    /// What the request names is of no use; nothing was begun.
    Request(Box<dyn Error + Send + Sync>),
    Other(Box<dyn Error + Send + Sync>),
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Their file or their command failed.
    User,
    /// Kernel, disk or network.
    Environment,
    /// Ours.
    Bug,
}

impl BuildFailure {
    /// Those who were told to stop have nothing to say for themselves, unless they were what stopped the others.
    pub(crate) fn unless_canceled(self, cancel: &Cancel) -> BuildFailure {
        match self {
            BuildFailure::Step { .. } | BuildFailure::Panic { .. } => self,
            _ if cancel.is_canceled() => BuildFailure::Canceled,
            _ => self,
        }
    }
}

impl BuildError {
    /// Whose fault it is, as far as that can be told.
    pub fn class(&self) -> ErrorClass {
        match self.failure {
            BuildFailure::Dockerfile(_) | BuildFailure::Step { .. } | BuildFailure::Canceled => ErrorClass::User,
            BuildFailure::Request(_) | BuildFailure::Other(_) => ErrorClass::Environment,
            BuildFailure::Panic { .. } => ErrorClass::Bug,
        }
    }
}

/// A request that cannot be carried out, and why.
pub(crate) struct Failed {
    pub(crate) build: usize,
    pub(crate) failure: BuildFailure,
}

/// What the request `build` names is of no use.
pub(crate) fn unusable(build: usize, error: impl Error + Send + Sync + 'static) -> BuildError {
    BuildError { build, failure: BuildFailure::Request(Box::new(error)), dockerfile: None }
}

/// The failure of the only request there is.
pub(crate) fn other(source: Box<dyn Error + Send + Sync>) -> BuildError {
    BuildError { build: 0, failure: BuildFailure::Other(source), dockerfile: None }
}
