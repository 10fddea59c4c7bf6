//! The flags of `du` and `prune` (`spec/cli.md` section 7).

use std::time::{Duration, Instant};

use clap::Args;
use slipway_graph::duration::duration_of;
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
    /// Give up if it takes longer to measure what is new (such as 20s)
    #[arg(long, value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
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
    /// Take nothing away if builds are in the way for longer (such as 20s)
    #[arg(long, value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
}

/// Whether the time that `--timeout` gives, if it gives any, has not passed since `begin`.
pub(crate) fn has_time_left(begin: Instant, timeout: Option<Duration>) -> bool {
    timeout.is_none_or(|timeout| begin.elapsed() < timeout)
}

fn duration(text: &str) -> Result<Duration, String> {
    duration_of(text).ok_or_else(|| format!("invalid duration: '{text}'"))
}

/// A number of bytes; 0 is no bound.
fn size(text: &str) -> Result<u64, String> {
    bytes_of(text).ok_or_else(|| format!("invalid size: '{text}'"))
}
