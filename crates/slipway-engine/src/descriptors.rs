//! How many files may be open?
//!
//! An overlay mount takes a descriptor a layer, several steps run at once, and the usual soft limit of 1024 is from
//! another age. The process raises its own; steps get the one that the user had, since there are programs that close
//! every possible descriptor one by one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit that the process started with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OriginalLimit {
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

impl OriginalLimit {
    /// The limit as it is now.
    pub(crate) fn read() -> OriginalLimit {
        let limit = getrlimit(Resource::Nofile);
        let value = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
        OriginalLimit { soft: value(limit.current), hard: value(limit.maximum) }
    }
}

/// Raises the soft limit to the hard one, and says what it was.
pub(crate) fn raise_limit() -> OriginalLimit {
    let original = OriginalLimit::read();
    let maximum = getrlimit(Resource::Nofile).maximum;
    // If it cannot be raised, a build with many layers says so when it runs out.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    original
}
