//! The flags of `report`.

use std::path::PathBuf;

use clap::Args;

/// The flags of `report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The beginning of an id, or `^N`: the N-th before the newest; the newest if not given
    pub(crate) build: Option<String>,
    /// The file to write; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "slipway-report.html")]
    pub(crate) output: PathBuf,
    /// An earlier build to compare with, named in the same way
    #[arg(long, value_name = "BUILD")]
    pub(crate) against: Option<String>,
}
