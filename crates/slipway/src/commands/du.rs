//! `slipway du`: what takes space in the store (`spec/cli.md` section 7.1).

use std::fmt::Write as _;
use std::io::{self, Write as _};

use jiff::Timestamp;
use serde_json::json;
use slipway_store::{Store, Usage};

use crate::cache_filter::CacheFilter;
use crate::cli::cache::DiskUsageArgs;
use crate::commands::images::age;
use crate::place;
use crate::report::CommandError;

/// How the list is written.
enum Format {
    Table,
    Pretty,
    Json,
}

/// Why the list cannot be written as wanted.
#[derive(Debug, thiserror::Error)]
enum FormatError {
    #[error("--format and --verbose cannot be used together")]
    AndVerbose,
    #[error("--format `{0}` is not supported; use table, pretty or json")]
    Unknown(String),
}

/// Prints the list, and sums below it.
pub(crate) fn run(args: &DiskUsageArgs) -> Result<(), CommandError> {
    let format = format(args).map_err(|error| CommandError::Options(error.into()))?;
    let filter = CacheFilter::parse(&args.filters).map_err(|error| CommandError::Options(error.into()))?;
    let place = place::find(None)?;
    let flavor = place::enter(place)?;
    let store = Store::open(&place::store_root(place), flavor).map_err(|error| CommandError::Options(error.into()))?;
    let mut usages = store.usage().map_err(|error| CommandError::Options(error.into()))?;
    let now = Timestamp::now();
    usages.retain(|usage| filter.matches(usage, now_ns(now)));
    // Those used last come first.
    usages.sort_by_key(|usage| std::cmp::Reverse(usage.last_used_ns));
    let mut text = match format {
        Format::Table => table(&usages, now),
        Format::Pretty => usages.iter().map(|usage| block(usage, now) + "\n").collect(),
        Format::Json => usages.iter().map(|usage| line_of_json(usage, now)).collect(),
    };
    if !matches!(format, Format::Json) && args.filters.is_empty() {
        text.push_str(&summary(&usages));
    }
    io::stdout().write_all(text.as_bytes()).map_err(|error| CommandError::Options(error.into()))
}

/// Nanoseconds since 1970.
pub(crate) fn now_ns(now: Timestamp) -> i64 {
    i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX)
}

fn format(args: &DiskUsageArgs) -> Result<Format, FormatError> {
    match (args.format.trim(), args.verbose) {
        ("", true) => Ok(Format::Pretty),
        (_, true) => Err(FormatError::AndVerbose),
        ("" | "table", false) => Ok(Format::Table),
        ("pretty", false) => Ok(Format::Pretty),
        ("json", false) => Ok(Format::Json),
        (other, false) => Err(FormatError::Unknown(other.to_owned())),
    }
}

fn table(usages: &[Usage], now: Timestamp) -> String {
    let header = ["ID", "RECLAIMABLE", "SIZE", "LAST ACCESSED"].map(str::to_owned);
    let rows = usages.iter().map(|usage| {
        let star = |is_starred| if is_starred { "*" } else { "" };
        [
            format!("{}{}", usage.name, star(usage.is_mutable())),
            (!usage.is_in_use).to_string(),
            format!("{}{}", size(usage.size_bytes), star(usage.is_of_image)),
            last_used(usage, now),
        ]
    });
    let rows: Vec<[String; 4]> = std::iter::once(header).chain(rows).collect();
    // Ten characters at least with three blanks of them or after them, as Docker's tables have it.
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count() + 3).max().unwrap_or_default().max(10);
    let widths = [0, 1, 2].map(width);
    let mut text = String::new();
    for [id, reclaimable, size, last] in &rows {
        let [id_width, reclaimable_width, size_width] = widths;
        let _ = writeln!(text, "{id:id_width$}{reclaimable:reclaimable_width$}{size:size_width$}{last}");
    }
    text
}

/// One record with all that is known of it; what is empty is left out.
pub(crate) fn block(usage: &Usage, now: Timestamp) -> String {
    let mut text = format!("ID:           {}\n", usage.name);
    if !usage.parents.is_empty() {
        text.push_str("Parents:\n");
        text.extend(usage.parents.iter().map(|parent| format!(" - {parent}\n")));
    }
    let mut field = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(text, "{name:14}{value}");
        }
    };
    field("Created at:", usage.created_ns.map(time).unwrap_or_default());
    field("Mutable:", usage.is_mutable().to_string());
    field("Reclaimable:", (!usage.is_in_use).to_string());
    field("Shared:", usage.is_of_image.to_string());
    field("Size:", size(usage.size_bytes));
    field("Description:", usage.description.clone());
    field("Usage count:", usage.n_uses.to_string());
    field("Last used:", last_used(usage, now));
    field("Type:", usage.record_type.clone());
    text
}

fn line_of_json(usage: &Usage, now: Timestamp) -> String {
    // In the order of their names, as Go has them.
    let line = json!({
        "CreatedAt": usage.created_ns.map(time).unwrap_or_default(),
        "Description": usage.description,
        "ID": usage.name,
        "LastUsedAt": last_used(usage, now),
        "Mutable": usage.is_mutable(),
        "Parents": usage.parents,
        "Reclaimable": !usage.is_in_use,
        "Shared": usage.is_of_image,
        "Size": size(usage.size_bytes),
        "Type": usage.record_type,
        "UsageCount": usage.n_uses,
    });
    let text = line.to_string().replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
    text + "\n"
}

fn summary(usages: &[Usage]) -> String {
    let sum = |is_counted: fn(&Usage) -> bool| -> u64 {
        usages.iter().filter(|usage| is_counted(usage)).map(|usage| usage.size_bytes).sum()
    };
    let (total, shared) = (sum(|_| true), sum(|usage| usage.is_of_image));
    let reclaimable = sum(|usage| !usage.is_in_use);
    let mut text = String::new();
    if shared > 0 {
        let _ = writeln!(text, "Shared:\t\t{}\nPrivate:\t{}", size(shared), size(total - shared));
    }
    let _ = writeln!(text, "Reclaimable:\t{}\nTotal:\t\t{}", size(reclaimable), size(total));
    text
}

/// When a build last used it, as people say it; empty if none has.
pub(crate) fn last_used(usage: &Usage, now: Timestamp) -> String {
    let time = usage.last_used_ns.and_then(|ns| Timestamp::from_nanosecond(ns.into()).ok());
    time.map(|time| age(time, now)).unwrap_or_default()
}

fn time(ns: i64) -> String {
    let time = Timestamp::from_nanosecond(ns.into()).unwrap_or_default();
    let text = time.strftime("%Y-%m-%d %H:%M:%S%.f").to_string();
    text + " +0000 UTC"
}

/// A size with four digits: `1.235MB`.
pub(crate) fn size(bytes: u64) -> String {
    size_with(bytes, 4)
}

/// A size with so many digits; lists of images have three.
pub(crate) fn size_with(bytes: u64, n_digits: usize) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1000.0, unit + 1);
    }
    let n_decimals = match value {
        0.0..10.0 => n_digits - 1,
        10.0..100.0 => n_digits - 2,
        100.0..1000.0 => n_digits - 3,
        _ => 0,
    };
    let text = format!("{value:.n_decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use slipway_store::UsageKind;

    use super::*;

    fn usage() -> Usage {
        Usage {
            name: "abc-1".to_owned(),
            kind: UsageKind::Layer,
            record_type: "regular".to_owned(),
            description: "[1/1] RUN a > b".to_owned(),
            parents: ["p".to_owned()].into(),
            created_ns: Some(1_767_225_600_500_000_000),
            last_used_ns: Some(1_767_225_600_000_000_000),
            n_uses: 3,
            size_bytes: 1_234_567,
            is_in_use: false,
            is_of_image: true,
        }
    }

    fn now() -> Timestamp {
        "2026-01-01T02:00:00Z".parse().unwrap()
    }

    #[test]
    fn the_table_marks_what_is_mutable_or_shared() {
        let mount = Usage { kind: UsageKind::CacheMount, last_used_ns: None, is_in_use: true, ..usage() };
        let expected = "\
ID        RECLAIMABLE   SIZE       LAST ACCESSED
abc-1     true          1.235MB*   2 hours ago
abc-1*    false         1.235MB*   \n";
        assert_eq!(table(&[usage(), mount], now()), expected);
    }

    #[test]
    fn a_block_leaves_out_what_is_empty() {
        let expected = "\
ID:           abc-1
Parents:
 - p
Created at:   2026-01-01 00:00:00.5 +0000 UTC
Mutable:      false
Reclaimable:  true
Shared:       true
Size:         1.235MB
Description:  [1/1] RUN a > b
Usage count:  3
Last used:    2 hours ago
Type:         regular
";
        assert_eq!(block(&usage(), now()), expected);
        let bare = Usage { parents: [].into(), description: String::new(), last_used_ns: None, ..usage() };
        let text = block(&bare, now());
        assert!(!text.contains("Parents") && !text.contains("Description") && !text.contains("Last used"));
    }

    #[test]
    fn lines_of_json_have_sorted_keys() {
        let line = line_of_json(&usage(), now());
        assert!(line.starts_with("{\"CreatedAt\":") && line.ends_with("\"UsageCount\":3}\n"), "{line}");
        assert!(line.contains("RUN a \\u003e b"));
    }

    #[test]
    fn sizes_have_four_digits() {
        let all = [0, 999, 1000, 1_234_567, 12_345_678, 123_456_789, 5_600_000_000].map(size);
        assert_eq!(all, ["0B", "999B", "1kB", "1.235MB", "12.35MB", "123.5MB", "5.6GB"]);
    }

    #[test]
    fn private_is_told_where_something_is_shared() {
        let private = Usage { is_of_image: false, is_in_use: true, ..usage() };
        assert_eq!(
            summary(&[usage(), private.clone()]),
            "Shared:\t\t1.235MB\nPrivate:\t1.235MB\nReclaimable:\t1.235MB\nTotal:\t\t2.469MB\n"
        );
        assert_eq!(summary(&[private]), "Reclaimable:\t0B\nTotal:\t\t1.235MB\n");
    }
}
