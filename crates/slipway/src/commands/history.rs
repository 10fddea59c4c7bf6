//! `slipway history`: which instructions made an image (`spec/cli.md` section 9.3).

use jiff::Timestamp;
use serde_json::{Value, json};
use slipway_oci::History;

use crate::cli::images::HistoryArgs;
use crate::commands::du::size_with;
use crate::commands::images::age;
use crate::commands::local_images::{config_of, find, id, layer_sizes, open_store, platform_of, print, said, told};
use crate::listing::Listing;
use crate::report::CommandError;

/// How much of an instruction is shown.
const MAX_SHOWN: usize = 45;
/// Images whose times are all the same, for the sake of reproducibility, are dated up to here: 2000-01-01.
const NO_REAL_TIME: i64 = 946_684_800;

/// Prints the list, the newest instruction first.
pub(crate) fn run(args: &HistoryArgs) -> Result<(), CommandError> {
    let platform = platform_of(&args.platform).map_err(|error| said(&error))?;
    let store = open_store()?;
    let found = find(&store, &args.image).and_then(|image| image.for_platform(platform.as_ref(), &args.image));
    let image = found.map_err(|error| told(&error))?.record;
    let config = config_of(&store, &image).map_err(|error| told(&error))?;
    let sizes = layer_sizes(&store, &image).map_err(|error| told(&error))?;
    let shown_id = id(&image.config, args.no_trunc);
    let rows = rows(&config.history, &sizes, &shown_id, args, Timestamp::now());
    let created = if args.human { "CreatedSince" } else { "CreatedAt" };
    let table = format!("{{{{.ID}}}}\t{{{{.{created}}}}}\t{{{{.CreatedBy}}}}\t{{{{.Size}}}}\t{{{{.Comment}}}}");
    let listing = Listing {
        kind: "*image.historyContext",
        headers: &[
            ("ID", "IMAGE"),
            ("CreatedSince", "CREATED"),
            ("CreatedAt", "CREATED AT"),
            ("CreatedBy", "CREATED BY"),
            ("Size", "SIZE"),
            ("Comment", "COMMENT"),
        ],
        table: &table,
    };
    let format = match args.format.trim() {
        "" | "table" if args.quiet => "{{.ID}}",
        format => format,
    };
    let text = listing.write(format, &rows).map_err(|error| CommandError::Told(format!("{error}\n")))?;
    print(&text)
}

fn rows(history: &[History], sizes: &[u64], id: &str, args: &HistoryArgs, now: Timestamp) -> Vec<Value> {
    let mut sizes = sizes.iter();
    let mut with_sizes: Vec<(&History, u64)> = Vec::new();
    for entry in history {
        with_sizes.push((entry, if entry.empty_layer { 0 } else { sizes.next().copied().unwrap_or(0) }));
    }
    let row = |(index, (entry, size_bytes)): (usize, &(&History, u64))| {
        let created: Option<Timestamp> = entry.created.as_deref().and_then(|time| time.parse().ok());
        let age = created.filter(|time| time.as_second() > NO_REAL_TIME).map(|time| age(time, now));
        json!({
            "Comment": entry.comment.as_deref().unwrap_or_default(),
            // Whole seconds, as Docker has it.
            "CreatedAt": created.map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default(),
            "CreatedBy": shown(entry.created_by.as_deref().unwrap_or_default(), args.no_trunc),
            "CreatedSince": age.as_deref().unwrap_or("N/A"),
            "ID": if index == 0 { id } else { "<missing>" },
            "Size": if args.human { size_with(*size_bytes, 3) } else { size_bytes.to_string() },
        })
    };
    with_sizes.iter().rev().enumerate().map(row).collect()
}

/// The instruction on one line.
fn shown(created_by: &str, is_long: bool) -> String {
    let text = created_by.replace('\t', " ");
    if is_long || text.chars().count() <= MAX_SHOWN {
        return text;
    }
    text.chars().take(MAX_SHOWN - 1).collect::<String>() + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(created_by: &str, is_empty: bool, created: &str) -> History {
        History {
            created: Some(created.to_owned()),
            created_by: Some(created_by.to_owned()),
            empty_layer: is_empty,
            ..History::default()
        }
    }

    #[test]
    fn sizes_go_to_the_instructions_that_made_layers() {
        let args = HistoryArgs { human: true, ..HistoryArgs::default() };
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        let long = "RUN\techo a line that is a good deal longer than fits";
        let history = [
            entry("base", false, "1970-01-01T00:00:00Z"),
            entry("ENV a=b", true, "2026-01-09T00:00:00Z"),
            entry(long, false, "2026-01-09T23:59:59Z"),
        ];
        let rows = rows(&history, &[1_234_567, 999], "abc", &args, now);
        let cells = |field: &str| rows.iter().map(|row| row[field].as_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(cells("ID"), ["abc", "<missing>", "<missing>"]);
        assert_eq!(cells("Size"), ["999B", "0B", "1.23MB"]);
        assert_eq!(cells("CreatedSince"), ["1 second ago", "24 hours ago", "N/A"]);
        assert_eq!(cells("CreatedBy")[0], "RUN echo a line that is a good deal longer t…");
    }
}
