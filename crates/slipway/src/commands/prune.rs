//! `slipway prune`: takes out of the store what nobody needs (`spec/cli.md` section 7.2).

use std::fmt::Write as _;
use std::io::{self, BufRead as _, Write as _};
use std::time::Instant;

use jiff::Timestamp;
use slipway_store::{Bounds, Store, Usage};

use crate::cache_filter::CacheFilter;
use crate::cli::cache::{PruneArgs, has_time_left};
use crate::commands::du::{fields, last_used, now_ns, size};
use crate::report::CommandError;
use crate::{client_config, place};

/// Asks, takes away, and lists what went.
pub(crate) fn run(args: &PruneArgs) -> Result<(), CommandError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| CommandError::Options(error);
    if args.keep_storage.is_some() {
        let remark = "Flag --keep-storage has been deprecated, keep-storage flag has been changed to reserved-space";
        writeln!(io::stderr(), "{remark}").map_err(|error| failed(error.into()))?;
    }
    let filters = [args.filters.as_slice(), &client_config::prune_filters()].concat();
    let filter = CacheFilter::parse(&filters).map_err(|error| failed(error.into()))?;
    // The namespace first: what is typed afterwards is read once only.
    let place = place::find(None)?;
    let flavor = place::enter(place)?;
    if !args.force && !is_confirmed(args.all).map_err(|error| failed(error.into()))? {
        return Ok(());
    }
    let store = Store::open(&place::store_root(place), flavor).map_err(|error| failed(error.into()))?;
    let now = Timestamp::now();
    let bounds = Bounds {
        reserved_bytes: args.reserved_space.or(args.keep_storage),
        max_used_bytes: args.max_used_space,
        min_free_bytes: args.min_free_space,
    };
    let is_wanted = |usage: &Usage| (args.all || usage.record_type != "internal") && filter.matches(usage, now_ns(now));
    let begin = Instant::now();
    let gone = store.prune_while(!args.all, bounds, is_wanted, || has_time_left(begin, args.timeout));
    let gone = gone.map_err(|error| failed(error.into()))?;
    let text = list(&gone, args.verbose, now);
    io::stdout().write_all(text.as_bytes()).map_err(|error| failed(error.into()))
}

fn is_confirmed(is_all: bool) -> io::Result<bool> {
    let what = if is_all { "all build cache" } else { "all dangling build cache" };
    let mut stdout = io::stdout();
    write!(stdout, "WARNING! This will remove {what}. Are you sure you want to continue? [y/N] ")?;
    stdout.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

fn list(gone: &[Usage], is_verbose: bool, now: Timestamp) -> String {
    let mut text = String::new();
    if !is_verbose && !gone.is_empty() {
        text.push_str("ID\tRECLAIMABLE\tSIZE\tLAST ACCESSED\n");
    }
    for usage in gone {
        let _ = match is_verbose {
            true => writeln!(text, "{}", block(usage, now)),
            false => {
                let (id, size, last) = (&usage.name, size(usage.size_bytes), last_used(usage, now));
                writeln!(text, "{id:<40}\t{:<5}\t{size:<10}\t{last}", true)
            }
        };
    }
    let total = gone.iter().map(|usage| usage.size_bytes).sum();
    let _ = writeln!(text, "Total:\t{}", size(total));
    text
}

/// One record with all that is known of it, in two columns with tabs between.
fn block(usage: &Usage, now: Timestamp) -> String {
    let parents = usage.parents.iter().map(String::as_str).collect::<Vec<_>>().join(",");
    let first = [("ID:", usage.name.clone()), ("Parent:", parents)].into_iter().filter(|(_, value)| !value.is_empty());
    let line = |(name, value): (&str, String)| {
        // The longest name takes one tab stop and a half.
        let tabs = if name.len() < 8 { "\t\t" } else { "\t" };
        format!("{name}{tabs}{value}\n")
    };
    first.chain(fields(usage, now)).map(line).collect()
}

#[cfg(test)]
mod tests {
    use slipway_store::UsageKind;

    use super::*;

    #[test]
    fn nothing_gone_is_a_total_of_nothing() {
        assert_eq!(list(&[], false, Timestamp::now()), "Total:\t0B\n");
    }
    #[test]
    fn blocks_have_tabs() {
        let usage = Usage {
            name: "abc-1".to_owned(),
            kind: UsageKind::Layer,
            record_type: "regular".to_owned(),
            description: String::new(),
            parents: ["p".to_owned(), "q".to_owned()].into(),
            created_ns: None,
            last_used_ns: None,
            n_uses: 3,
            size_bytes: 1_234_567,
            is_in_use: false,
            is_of_image: false,
        };
        let expected = "ID:\t\tabc-1\nParent:\t\tp,q\nMutable:\tfalse\nReclaimable:\ttrue\nShared:\t\tfalse\n\
                        Size:\t\t1.235MB\nUsage count:\t3\nType:\t\tregular\n\nTotal:\t1.235MB\n";
        assert_eq!(list(&[usage], true, Timestamp::now()), expected);
    }
}
