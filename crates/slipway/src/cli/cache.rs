//! The flags of `du` and `prune` (`spec/cli.md` section 7).

use clap::Args;
use slipway_graph::size::bytes_of;

use crate::cache_filter;

/// The flags of `du`.
#[derive(Debug, Args)]
pub(crate) struct DiskUsageArgs {
    /// Only records that this holds for (key=value)
    #[arg(long = "filter", value_parser = cache_filter::check_form)]
    pub(crate) filters: Vec<String>,
    /// How to write the list: table, pretty, json, or a Go template, also as `table TEMPLATE`
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) format: String,
    /// The same as --format=pretty
    #[arg(long)]
    pub(crate) verbose: bool,
    /// Without effect; there is no daemon to wait for
    #[arg(long, hide = true)]
    timeout: Option<String>,
}

/// The flags of `prune`.
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Also what is remembered between builds, and unpacked layers of images
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Only records that this holds for (until=24h)
    #[arg(long = "filter", value_parser = cache_filter::check_form)]
    pub(crate) filters: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
    /// So much stays in any case
    #[arg(long, value_parser = size)]
    pub(crate) reserved_space: Option<u64>,
    /// Old spelling of --reserved-space
    #[arg(long, hide = true, value_parser = size)]
    pub(crate) keep_storage: Option<u64>,
    /// No more than this stays
    #[arg(long, value_parser = size)]
    pub(crate) max_used_space: Option<u64>,
    /// So much is to be free on the disk
    #[arg(long, value_parser = size)]
    pub(crate) min_free_space: Option<u64>,
    /// Say all that is known of what goes
    #[arg(long)]
    pub(crate) verbose: bool,
    /// Without effect; there is no daemon to wait for
    #[arg(long, hide = true)]
    timeout: Option<String>,
}

/// A number of bytes; 0 is no bound.
fn size(text: &str) -> Result<u64, String> {
    bytes_of(text).ok_or_else(|| format!("invalid size: '{text}'"))
}
