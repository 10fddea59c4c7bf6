//! `slipway images`: what has a name in the local store (`spec/cli.md` section 9.2).

use std::io::{self, Write as _};

use jiff::Timestamp;
use serde_json::{Value, json};
use slipway_oci::Reference;
use slipway_store::{ImageRecord, Store};

use crate::cli::images::ImagesArgs;
use crate::commands::du::size_with;
use crate::commands::local_images::{
    LocalImageError, config_of, find, id, layer_sizes, open_store, repository_and_tag, told,
};
use crate::go_template::Template;
use crate::listing::Listing;
use crate::report::CommandError;
use slipway_graph::duration::duration_of;

const NONE: &str = "<none>";

/// Why a filter cannot be used.
#[derive(Debug, thiserror::Error)]
enum FilterError {
    #[error("invalid filter '{0}'")]
    Key(String),
    #[error("invalid filter '{key}={value}'")]
    Value { key: String, value: String },
    #[error(transparent)]
    Image(#[from] LocalImageError),
}

/// An image under one of its names.
struct Row {
    name: Reference,
    image: ImageRecord,
    created: Option<Timestamp>,
}

/// Prints the list, the newest image first.
pub(crate) fn run(args: &ImagesArgs) -> Result<(), CommandError> {
    let store = open_store()?;
    let now = Timestamp::now();
    let mut rows: Vec<Row> = store.images().map_err(|error| told(&error))?.into_iter().map(row).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.created));
    keep_matching(&mut rows, &store, args, now).map_err(|error| told(&error))?;
    let format = if args.quiet && args.format.is_empty() { "{{.ID}}" } else { args.format.as_str() };
    let shows_digests = args.digests || Template::parse(format).is_ok_and(|template| template.mentions("Digest"));
    let cells = rows.iter().map(|row| cells(&store, row, args.no_trunc, shows_digests, now));
    let cells = cells.collect::<Result<Vec<_>, _>>().map_err(|error| told(&error))?;
    let text = listing(args.digests).write(format, &cells).map_err(|error| CommandError::Told(format!("{error}\n")))?;
    io::stdout().write_all(text.as_bytes()).map_err(|error| told(&error))
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

fn row((name, image): (Reference, ImageRecord)) -> Row {
    Row { name, created: created(&image), image }
}

fn created(image: &ImageRecord) -> Option<Timestamp> {
    image.created.as_deref().and_then(|time| time.parse().ok())
}

fn cells(
    store: &Store,
    row: &Row,
    is_long: bool,
    shows_digests: bool,
    now: Timestamp,
) -> Result<Value, LocalImageError> {
    let (repository, tag) = repository_and_tag(&row.name);
    let digest = row.image.manifest.as_ref().filter(|_| shows_digests).map(|manifest| manifest.digest.to_string());
    let size_bytes: u64 = layer_sizes(store, &row.image)?.iter().sum();
    Ok(json!({
        "Containers": "N/A",
        "CreatedAt": row.created.map(|time| time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()).unwrap_or_default(),
        "CreatedSince": row.created.map_or_else(|| "N/A".to_owned(), |time| age(time, now)),
        "Digest": digest.as_deref().unwrap_or(NONE),
        "ID": id(&row.image.config, is_long),
        "Repository": repository,
        "SharedSize": "N/A",
        "Size": size_with(size_bytes, 3),
        "Tag": tag.as_deref().unwrap_or(NONE),
        "UniqueSize": "N/A",
        "VirtualSize": size_with(size_bytes, 4),
    }))
}

/// Leaves the rows that the argument and all filters hold for; of several `reference` filters, one is enough.
fn keep_matching(rows: &mut Vec<Row>, store: &Store, args: &ImagesArgs, now: Timestamp) -> Result<(), FilterError> {
    let mut references: Vec<String> = Vec::new();
    if !args.repository.is_empty() {
        rows.retain(|row| is_named(&row.name, &args.repository));
    }
    for filter in &args.filters {
        let (key, value) = filter.split_once('=').unwrap_or((filter, ""));
        let (key, value) = (key.trim().to_lowercase(), value.trim());
        let wrong = || FilterError::Value { key: key.clone(), value: value.to_owned() };
        let created_of = |name: &str| Ok::<_, FilterError>(created(&find(store, name)?.record));
        match key.as_str() {
            "reference" => references.push(value.to_owned()),
            "dangling" => {
                let is_wanted = slipway_graph::request::flags::parse_bool(value).ok_or_else(wrong)?;
                // An image that has lost its last name is not listed any more.
                rows.retain(|row| row.name.tag_or_latest().is_none() == is_wanted);
            }
            "label" => {
                let mut kept = Vec::new();
                for row in rows.drain(..) {
                    let labels = config_of(store, &row.image)?.config.labels;
                    let (name, wanted) = value.split_once('=').map_or((value, None), |(name, v)| (name, Some(v)));
                    if labels.get(name).is_some_and(|found| wanted.is_none_or(|wanted| wanted == found)) {
                        kept.push(row);
                    }
                }
                *rows = kept;
            }
            "before" => {
                let time = created_of(value)?;
                rows.retain(|row| row.created < time);
            }
            "since" => {
                let time = created_of(value)?;
                rows.retain(|row| row.created > time);
            }
            "until" => {
                let ago = || now.checked_sub(jiff::SignedDuration::try_from(duration_of(value)?).ok()?).ok();
                let time = value.parse().ok().or_else(ago).ok_or_else(wrong)?;
                rows.retain(|row| row.created.is_some_and(|created| created < time));
            }
            _ => return Err(FilterError::Key(key)),
        }
    }
    rows.retain(|row| references.is_empty() || references.iter().any(|pattern| is_named(&row.name, pattern)));
    Ok(())
}

/// Whether the pattern fits the name with its tag, or without.
fn is_named(name: &Reference, pattern: &str) -> bool {
    let (repository, _) = repository_and_tag(name);
    let [full, pattern] = [name.familiar(), pattern.to_owned()].map(|text| text.chars().collect::<Vec<char>>());
    fits(&pattern, &full) || fits(&pattern, &repository.chars().collect::<Vec<char>>())
}

/// A pattern of the shell: `*` and `?` stand for anything but slashes.
fn fits(pattern: &[char], text: &[char]) -> bool {
    // Where the last star was, and how far the text had come by then.
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some('?') if text[t] != '/' => (p, t) = (p + 1, t + 1),
            Some(c) if *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((after, taken)) if text[taken] != '/' => {
                    star = Some((after, taken + 1));
                    (p, t) = (after, taken + 1);
                }
                _ => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
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

    #[test]
    fn patterns_do_not_cross_slashes() {
        let name: Reference = "team/app:v1".parse().unwrap();
        for (pattern, is_meant) in [
            ("team/app", true),
            ("team/app:v1", true),
            ("team/*", true),
            ("*/a?p:*", true),
            ("*", false),
            ("app", false),
            ("team/app:v2", false),
            ("team/ap", false),
        ] {
            assert_eq!(is_named(&name, pattern), is_meant, "{pattern}");
        }
    }
}
