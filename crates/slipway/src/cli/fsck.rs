//! The flags of `fsck`.

use clap::Args;

/// Exits with 1 if something is damaged and was not set aside.
#[derive(Debug, Args)]
pub(crate) struct FsckArgs {
    /// Set aside what is damaged: files are moved to `quarantine/` in the store, and the next build makes them anew
    #[arg(long)]
    pub(crate) repair: bool,
    /// Only names and sizes, not the content of blobs and layers
    #[arg(long)]
    pub(crate) quick: bool,
}
