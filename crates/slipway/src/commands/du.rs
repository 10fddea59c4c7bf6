//! `slipway du`: what takes space in the store (`spec/cli.md` section 7.1).

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Value, json};
use slipway_store::{Store, Usage};

use crate::cache_filter::CacheFilter;
use crate::cli::cache::{DiskUsageArgs, has_time_left};
use crate::commands::images::age;
use crate::go_template::TemplateError;
use crate::listing::Listing;
use crate::place;
use crate::report::CommandError;

/// Both were asked for.
#[derive(Debug, thiserror::Error)]
#[error("--format and --verbose cannot be used together")]
struct FormatAndVerboseError;

const LISTING: Listing<'_> = Listing {
    kind: "*commands.diskusageContext",
    headers: &[
        ("ID", "ID"),
        ("Parents", "PARENTS"),
        ("CreatedAt", "CREATED AT"),
        ("Mutable", "MUTABLE"),
        ("Reclaimable", "RECLAIMABLE"),
        ("Shared", "SHARED"),
        ("Size", "SIZE"),
        ("Description", "DESCRIPTION"),
        ("UsageCount", "USAGE COUNT"),
        ("LastUsedAt", "LAST ACCESSED"),
        ("Type", "TYPE"),
    ],
    table: "{{.ID}}\t{{.Reclaimable}}\t{{.Size}}\t{{.LastUsedAt}}",
};

/// Prints the list, and sums below it.
pub(crate) fn run(args: &DiskUsageArgs) -> Result<(), CommandError> {
    let format = args.format.trim();
    if args.verbose && !format.is_empty() {
        return Err(CommandError::Options(FormatAndVerboseError.into()));
    }
    let filter = CacheFilter::parse(&args.filters).map_err(|error| CommandError::Options(error.into()))?;
    let place = place::find(None)?;
    let flavor = place::enter(place)?;
    let store = Store::open(&place::store_root(place), flavor).map_err(|error| CommandError::Options(error.into()))?;
    let begin = Instant::now();
    let usages = store.usage_while(|| has_time_left(begin, args.timeout));
    let mut usages = usages.map_err(|error| CommandError::Options(error.into()))?;
    let now = Timestamp::now();
    usages.retain(|usage| filter.matches(usage, now_ns(now)));
    // Those used last come first.
    usages.sort_by_key(|usage| std::cmp::Reverse(usage.last_used_ns));
    let is_pretty = args.verbose || format == "pretty";
    let mut text = match is_pretty {
        true => usages.iter().map(|usage| block(usage, now) + "\n").collect(),
        false => listed(&usages, format, now).map_err(|error| CommandError::Told(format!("{error}\n")))?,
    };
    if args.filters.is_empty() && (is_pretty || ["", "table"].contains(&format)) {
        text.push_str(&summary(&usages));
    }
    io::stdout().write_all(text.as_bytes()).map_err(|error| CommandError::Options(error.into()))
}

/// Nanoseconds since 1970.
pub(crate) fn now_ns(now: Timestamp) -> i64 {
    i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX)
}

/// A table, lines of JSON, or what a template makes of each record.
fn listed(usages: &[Usage], format: &str, now: Timestamp) -> Result<String, TemplateError> {
    // Marks are for people.
    let is_table = format.is_empty() || format.split_whitespace().next() == Some("table");
    let rows: Vec<Value> = usages.iter().map(|usage| row(usage, is_table, now)).collect();
    LISTING.write(format, &rows)
}

fn row(usage: &Usage, is_table: bool, now: Timestamp) -> Value {
    let star = |is_starred| if is_table && is_starred { "*" } else { "" };
    // In the order of their names, as Go has them.
    json!({
        "CreatedAt": usage.created_ns.map(time).unwrap_or_default(),
        "Description": usage.description,
        "ID": format!("{}{}", usage.name, star(usage.is_mutable())),
        "LastUsedAt": last_used(usage, now),
        "Mutable": usage.is_mutable(),
        "Parents": usage.parents,
        "Reclaimable": !usage.is_in_use,
        "Shared": usage.is_of_image,
        "Size": format!("{}{}", size(usage.size_bytes), star(usage.is_of_image)),
        "Type": usage.record_type,
        "UsageCount": usage.n_uses,
    })
}

/// One record with all that is known of it; what is empty is left out.
fn block(usage: &Usage, now: Timestamp) -> String {
    let mut text = format!("ID:           {}\n", usage.name);
    if !usage.parents.is_empty() {
        text.push_str("Parents:\n");
        text.extend(usage.parents.iter().map(|parent| format!(" - {parent}\n")));
    }
    for (name, value) in fields(usage, now) {
        let _ = writeln!(text, "{name:14}{value}");
    }
    text
}

/// What is known of a record beside its id and parents, as people read it; what is empty is left out.
pub(crate) fn fields(usage: &Usage, now: Timestamp) -> impl Iterator<Item = (&'static str, String)> {
    let all = [
        ("Created at:", usage.created_ns.map(time).unwrap_or_default()),
        ("Mutable:", usage.is_mutable().to_string()),
        ("Reclaimable:", (!usage.is_in_use).to_string()),
        ("Shared:", usage.is_of_image.to_string()),
        ("Size:", size(usage.size_bytes)),
        ("Description:", usage.description.clone()),
        ("Usage count:", usage.n_uses.to_string()),
        ("Last used:", last_used(usage, now)),
        ("Type:", usage.record_type.clone()),
    ];
    all.into_iter().filter(|(_, value)| !value.is_empty())
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
        assert_eq!(listed(&[usage(), mount], "", now()).unwrap(), expected);
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
        let line = listed(&[usage()], "json", now()).unwrap();
        assert!(line.starts_with("{\"CreatedAt\":") && line.ends_with("\"UsageCount\":3}\n"), "{line}");
        assert!(line.contains("RUN a \\u003e b") && line.contains("\"Size\":\"1.235MB\""), "{line}");
    }

    #[test]
    fn templates_make_tables_and_lines() {
        let written = |format: &str| listed(&[usage()], format, now()).unwrap_or_else(|error| error.to_string());
        let table = "TYPE      USAGE COUNT   SIZE\nregular   3             1.235MB*\n";
        assert_eq!(written("table {{.Type}}\\t{{.UsageCount}}\\t{{.Size}}"), table);
        assert_eq!(written("{{.ID}} {{.Size}} {{.Mutable}} {{.Parents}}"), "abc-1 1.235MB false [p]\n");
        assert!(written("{{.Nope}}").contains("can't evaluate field Nope"));
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
