//! The flags of `completion` and `man`.

use clap::Args;
use clap_complete::Shell;

/// The flags of `completion`.
#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// The shell that is to complete commands and flags
    pub(crate) shell: Shell,
}

/// The flags of `man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Where the pages are written
    pub(crate) folder: String,
}
