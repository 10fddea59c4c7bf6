//! `slipway images`: what has a name in the local store.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use jiff::Timestamp;
use slipway_oci::{Digest, Reference};
use slipway_store::{ImageRecord, OverlayFlavor, Store};

use crate::cli::ImagesArgs;
use crate::place;
use crate::report::CommandError;

/// Prints the table, or the ids alone.
pub(crate) fn run(args: &ImagesArgs) -> Result<(), CommandError> {
    // Nothing is mounted here, so it does not matter how overlays are marked.
    let root = place::store_root(place::find(None)?);
    let store =
        Store::open(&root, OverlayFlavor::UserNamespace).map_err(|error| CommandError::Options(error.into()))?;
    let images = store.images().map_err(|error| CommandError::Options(error.into()))?;
    let text = if args.quiet { ids(&images, args.no_trunc) } else { table(&images, args.no_trunc, Timestamp::now()) };
    io::stdout().write_all(text.as_bytes()).map_err(|error| CommandError::Options(error.into()))
}

fn ids(images: &[(Reference, ImageRecord)], is_long: bool) -> String {
    images.iter().map(|(_, image)| id(&image.config, is_long) + "\n").collect()
}

fn table(images: &[(Reference, ImageRecord)], is_long: bool, now: Timestamp) -> String {
    let header = ["REPOSITORY", "TAG", "IMAGE ID", "CREATED"].map(str::to_owned);
    let rows: Vec<[String; 4]> = images
        .iter()
        .map(|(name, image)| {
            let familiar = name.familiar();
            let tag = name.tag_or_latest().unwrap_or("<none>").to_owned();
            let repository = familiar.strip_suffix(&format!(":{tag}")).unwrap_or(&familiar).to_owned();
            let created = image.created.as_deref().and_then(|time| time.parse().ok());
            [repository, tag, id(&image.config, is_long), created.map_or("N/A".to_owned(), |time| age(time, now))]
        })
        .collect();
    let rows: Vec<_> = std::iter::once(header).chain(rows).collect();
    // Ten characters at least and three blanks, as Docker's tables have it.
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(7) + 3;
    let widths: [usize; 3] = [0, 1, 2].map(width);
    let mut text = String::new();
    for [repository, tag, id, created] in &rows {
        let [repository_width, tag_width, id_width] = widths;
        let _ = writeln!(text, "{repository:repository_width$}{tag:tag_width$}{id:id_width$}{created}");
    }
    text
}

fn id(digest: &Digest, is_long: bool) -> String {
    let text = digest.as_str();
    match is_long {
        true => text.to_owned(),
        false => text.trim_start_matches("sha256:").chars().take(12).collect(),
    }
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
    use slipway_oci::Platform;

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
    fn columns_are_as_wide_as_their_longest_cell() {
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        let image = |created: Option<&str>| ImageRecord {
            manifest: None,
            config: Digest::of(b"{}"),
            layers: Vec::new(),
            created: created.map(str::to_owned),
            platform: Platform::new("linux", "amd64", None),
            others: Vec::new(),
        };
        let images = [
            ("app:v1".parse().unwrap(), image(Some("2026-01-09T23:00:00Z"))),
            ("registry.example/team/app:latest".parse().unwrap(), image(None)),
        ];
        let expected = "\
REPOSITORY                  TAG       IMAGE ID       CREATED
app                         v1        44136fa355b3   About an hour ago
registry.example/team/app   latest    44136fa355b3   N/A
";
        assert_eq!(table(&images, false, now), expected);
        assert_eq!(ids(&images[..1], false), "44136fa355b3\n");
    }
}
