//! `slipway images`: which images are in the local store, under which names (`spec/cli.md` section 9.2).

use std::io::{self, Write as _};

use jiff::Timestamp;
use serde_json::{Value, json};
use slipway_oci::{Digest, Reference};
use slipway_store::Store;

use crate::cli::images::ImagesArgs;
use crate::commands::du::size_with;
use crate::commands::image_filter::{ImageFilter, Row};
use crate::commands::local_images::{LocalImageError, id, layer_sizes, open_store, print, repository_and_tag, told};
use crate::commands::transfer::complete_images;
use crate::containers;
use crate::go_template::Template;
use crate::listing::Listing;
use crate::report::CommandError;

const NONE: &str = "<none>";

/// The filters of `images`.
const FILTERS: [&str; 7] = ["before", "dangling", "label", "label!", "reference", "since", "until"];
/// Commands that people who type `images` instead of `image` may mean.
const IMAGE_COMMANDS: [&str; 13] =
    ["build", "history", "import", "inspect", "list", "load", "ls", "prune", "pull", "push", "rm", "save", "tag"];

/// Prints the list, the newest image first.
pub(crate) fn run(args: &ImagesArgs) -> Result<(), CommandError> {
    if args.complete {
        complete_images()?;
    }
    let store = open_store()?;
    let now = Timestamp::now();
    let mut filter = ImageFilter::parse(&args.filters, &FILTERS, &store, now).map_err(|error| told(&error))?;
    if !args.repository.is_empty() {
        filter.add_reference(&args.repository);
    }
    let mut rows = Row::all(&store).map_err(|error| told(&error))?;
    filter.keep(&mut rows, &store).map_err(|error| told(&error))?;
    let format = &format(args);
    let shows_digests = args.digests || Template::parse(format).is_ok_and(|template| template.mentions("Digest"));
    let cells = rows.iter().map(|row| cells(&store, row, args.no_trunc, shows_digests, now));
    let cells = cells.collect::<Result<Vec<_>, _>>().map_err(|error| told(&error))?;
    let text = listing(args.digests).write(format, &cells).map_err(|error| CommandError::Told(format!("{error}\n")))?;
    print(&text)?;
    if rows.is_empty() && IMAGE_COMMANDS.contains(&args.repository.as_str()) {
        let name = &args.repository;
        let hint = format!("\nNo images found matching {name:?}: did you mean \"slipway image {name}\"?\n");
        io::stderr().write_all(hint.as_bytes()).map_err(|error| told(&error))?;
    }
    Ok(())
}

/// The format that was asked for, with what else was asked for in it.
fn format(args: &ImagesArgs) -> String {
    let digest = if args.digests { "digest: {{.Digest}}\\n" } else { "" };
    match args.format.trim() {
        "" | "table" if args.quiet => "{{.ID}}".to_owned(),
        "raw" if args.quiet => "image_id: {{.ID}}".to_owned(),
        "raw" => format!(
            "repository: {{{{.Repository}}}}\\ntag: {{{{.Tag}}}}\\n{digest}image_id: {{{{.ID}}}}\\n\
             created_at: {{{{.CreatedAt}}}}\\nvirtual_size: {{{{.Size}}}}\\n"
        ),
        table if args.digests && table.starts_with("table ") && !table.contains(".Digest") => {
            format!("{table}\\t{{{{.Digest}}}}")
        }
        other => other.to_owned(),
    }
}

fn listing(shows_digests: bool) -> Listing<'static> {
    Listing {
        kind: "*formatter.imageContext",
        headers: &[
            ("Repository", "REPOSITORY"),
            ("Tag", "TAG"),
            ("Digest", "DIGEST"),
            ("ID", "IMAGE ID"),
            ("CreatedSince", "CREATED"),
            ("CreatedAt", "CREATED AT"),
            ("Size", "SIZE"),
            ("VirtualSize", "SIZE"),
            ("SharedSize", "SHARED SIZE"),
            ("UniqueSize", "UNIQUE SIZE"),
            ("Containers", "CONTAINERS"),
        ],
        table: match shows_digests {
            true => "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
            false => "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
        },
    }
}

fn cells(
    store: &Store,
    row: &Row,
    is_long: bool,
    shows_digests: bool,
    now: Timestamp,
) -> Result<Value, LocalImageError> {
    let (repository, tag) = row.name.as_ref().map(repository_and_tag).unzip();
    let digest = row.image.digest().filter(|_| shows_digests && row.name.is_some()).map(Digest::to_string);
    let names: Vec<Reference> = row.name.iter().cloned().collect();
    let containers = containers::of_image(&row.image.config, &names)?.len();
    let size_bytes: u64 = layer_sizes(store, &row.image)?.iter().sum();
    Ok(json!({
        "Containers": containers.to_string(),
        "CreatedAt": row.created.map(|time| time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()).unwrap_or_default(),
        "CreatedSince": row.created.map_or_else(|| "N/A".to_owned(), |time| age(time, now)),
        "Digest": digest.as_deref().unwrap_or(NONE),
        "ID": id(&row.image.config, is_long),
        "Repository": repository.as_deref().unwrap_or(NONE),
        "SharedSize": "N/A",
        "Size": size_with(size_bytes, 3),
        "Tag": tag.flatten().as_deref().unwrap_or(NONE),
        "UniqueSize": "N/A",
        "VirtualSize": size_with(size_bytes, 4),
    }))
}

/// How long ago that was (`spec/cli.md` section 9.1).
pub(crate) fn age(time: Timestamp, now: Timestamp) -> String {
    let seconds = (now.as_second() - time.as_second()).max(0);
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    let days = seconds / 86_400;
    let text = match (seconds, minutes) {
        (0, _) => "Less than a second".to_owned(),
        (1, _) => "1 second".to_owned(),
        (..60, _) => format!("{seconds} seconds"),
        (_, 1) => "About a minute".to_owned(),
        (_, ..60) => format!("{minutes} minutes"),
        _ => match (hours, days) {
            (1, _) => "About an hour".to_owned(),
            (..48, _) => format!("{hours} hours"),
            (_, ..14) => format!("{days} days"),
            (_, ..60) => format!("{} weeks", days / 7),
            (_, ..730) => format!("{} months", days / 30),
            _ => format!("{} years", days / 365),
        },
    };
    text + " ago"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_rounded_as_docker_rounds_them() {
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        for (seconds, expected) in [
            (0, "Less than a second ago"),
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (60, "About a minute ago"),
            (600, "10 minutes ago"),
            (3600, "About an hour ago"),
            (7200, "2 hours ago"),
            (3 * 86_400, "3 days ago"),
            (20 * 86_400, "2 weeks ago"),
            (90 * 86_400, "3 months ago"),
            (800 * 86_400, "2 years ago"),
        ] {
            let time = Timestamp::from_second(now.as_second() - seconds).unwrap();
            assert_eq!(age(time, now), expected);
        }
    }
}
