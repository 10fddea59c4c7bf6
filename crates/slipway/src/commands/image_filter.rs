//! Which images of the store are meant: `--filter` of `images` and `image prune` (`spec/cli.md` section 9.2).

use std::collections::BTreeSet;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use regex::Regex;
use slipway_graph::duration::duration_of;
use slipway_graph::request::flags::parse_bool;
use slipway_oci::Reference;
use slipway_store::{ImageError, ImageRecord, Store};

use crate::commands::local_images::{LocalImageError, config_of, find, repository_and_tag};

/// An image under one of its names, or one that has none.
pub(crate) struct Row {
    pub(crate) name: Option<Reference>,
    pub(crate) image: ImageRecord,
    pub(crate) created: Option<Timestamp>,
}

impl Row {
    fn new(name: Option<Reference>, image: ImageRecord) -> Row {
        Row { name, created: created(&image), image }
    }

    /// All of `store`, the newest image first.
    pub(crate) fn all(store: &Store) -> Result<Vec<Row>, ImageError> {
        let named = store.images()?.into_iter().map(|(name, image)| Row::new(Some(name), image));
        let mut rows: Vec<Row> = named.collect();
        rows.extend(store.unnamed_images()?.into_iter().map(|image| Row::new(None, image)));
        rows.sort_by_key(|row| std::cmp::Reverse(row.created));
        Ok(rows)
    }
}

fn created(image: &ImageRecord) -> Option<Timestamp> {
    image.created.as_deref().and_then(|time| time.parse().ok())
}

/// Why a filter cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilterError {
    #[error("invalid filter '{0}'")]
    Key(String),
    #[error("invalid filter '{key}=[{values}]'")]
    Values { key: String, values: String },
    #[error("failed to parse value as time or duration: {0:?}")]
    Time(String),
    #[error(transparent)]
    Image(#[from] LocalImageError),
}

/// What all filters of a command ask for together.
#[derive(Default)]
pub(crate) struct ImageFilter {
    conditions: Vec<Condition>,
    /// Of several patterns one is enough.
    references: Vec<String>,
}

enum Condition {
    HasNoName(bool),
    Label { name: String, value: Option<String>, is_wanted: bool },
    CreatedBefore(Option<Timestamp>),
    CreatedAfter(Option<Timestamp>),
}

impl ImageFilter {
    /// Reads filters, of which the command knows those called `keys`.
    pub(crate) fn parse(
        texts: &[String],
        keys: &[&str],
        store: &Store,
        now: Timestamp,
    ) -> Result<ImageFilter, FilterError> {
        let pairs = texts.iter().map(|text| {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            (key.trim().to_lowercase(), value.trim())
        });
        let pairs: Vec<(String, &str)> = pairs.collect();
        let mut filter = ImageFilter::default();
        for (key, value) in &pairs {
            if !keys.contains(&key.as_str()) {
                return Err(FilterError::Key(key.clone()));
            }
            let created_of = |name: &str| Ok::<_, FilterError>(created(&find(store, name)?.record));
            filter.conditions.push(match key.as_str() {
                "reference" => {
                    filter.references.push((*value).to_owned());
                    continue;
                }
                "dangling" => Condition::HasNoName(only_bool(&pairs, key)?),
                "label" | "label!" => {
                    let (name, wanted) = value.split_once('=').map_or((*value, None), |(name, v)| (name, Some(v)));
                    let value = wanted.map(str::to_owned);
                    Condition::Label { name: name.to_owned(), value, is_wanted: key == "label" }
                }
                "before" => Condition::CreatedBefore(created_of(value)?),
                "since" => Condition::CreatedAfter(created_of(value)?),
                "until" => {
                    let time = time_of(value, now).ok_or_else(|| FilterError::Time((*value).to_owned()))?;
                    Condition::CreatedBefore(Some(time))
                }
                _ => return Err(FilterError::Key(key.clone())),
            });
        }
        Ok(filter)
    }

    /// Also takes the images that `pattern` means, a name with or without tag.
    pub(crate) fn add_reference(&mut self, pattern: &str) {
        self.references.push(pattern.to_owned());
    }

    /// Leaves the rows that are meant.
    pub(crate) fn keep(&self, rows: &mut Vec<Row>, store: &Store) -> Result<(), LocalImageError> {
        for row in std::mem::take(rows) {
            let holds = self.holds(&row, store)?;
            rows.extend(holds.then_some(row));
        }
        Ok(())
    }

    fn holds(&self, row: &Row, store: &Store) -> Result<bool, LocalImageError> {
        for condition in &self.conditions {
            if !condition.holds(row, store)? {
                return Ok(false);
            }
        }
        let is_named = |pattern: &String| row.name.as_ref().is_some_and(|name| is_named(name, pattern));
        Ok(self.references.is_empty() || self.references.iter().any(is_named))
    }
}

impl Condition {
    fn holds(&self, row: &Row, store: &Store) -> Result<bool, LocalImageError> {
        Ok(match self {
            Condition::HasNoName(is_wanted) => row.name.is_none() == *is_wanted,
            Condition::Label { name, value, is_wanted } => {
                let labels = config_of(store, &row.image)?.config.labels;
                let fits = |found: &String| value.as_ref().is_none_or(|wanted| wanted == found);
                labels.get(name).is_some_and(fits) == *is_wanted
            }
            Condition::CreatedBefore(time) => row.created < *time,
            Condition::CreatedAfter(time) => row.created > *time,
        })
    }
}

/// The one value that `key` has, which is true or false.
fn only_bool(pairs: &[(String, &str)], key: &str) -> Result<bool, FilterError> {
    let values: BTreeSet<&str> = pairs.iter().filter(|(other, _)| other == key).map(|(_, value)| *value).collect();
    let only = values.first().filter(|_| values.len() == 1);
    only.and_then(|value| parse_bool(value)).ok_or_else(|| {
        let values = values.iter().copied().collect::<Vec<_>>().join(" ");
        FilterError::Values { key: key.to_owned(), values }
    })
}

/// A time: so long ago, seconds since 1970, or a date, which may lack a zone (then it is UTC) and a time of day.
fn time_of(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(ago) = duration_of(text) {
        return now.checked_sub(SignedDuration::try_from(ago).ok()?).ok();
    }
    let seconds = text.split_once('.').map_or(text, |(whole, _)| whole);
    if let Ok(seconds) = seconds.parse() {
        return Timestamp::from_second(seconds).ok();
    }
    let zoned = text.parse::<Timestamp>().ok();
    zoned.or_else(|| TimeZone::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok())
}

/// Whether the pattern fits the name with its tag, or without.
fn is_named(name: &Reference, pattern: &str) -> bool {
    let Some(pattern) = shell_pattern(pattern) else { return false };
    pattern.is_match(&name.familiar()) || pattern.is_match(&repository_and_tag(name).0)
}

/// A pattern of the shell: `*` and `?` stand for anything but slashes, `[…]` for one of some letters, and what follows a
/// backslash for itself. `None` if it is none.
fn shell_pattern(pattern: &str) -> Option<Regex> {
    let mut expression = String::from("^");
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '*' => expression.push_str("[^/]*"),
            '?' => expression.push_str("[^/]"),
            '\\' => expression.push_str(&regex::escape(&letters.next()?.to_string())),
            '[' => {
                let (class, rest) = letters.as_str().split_once(']').filter(|(class, _)| !class.is_empty())?;
                let (negation, class) = class.strip_prefix('^').map_or(("", class), |class| ("^", class));
                let class = regex::escape(class).replace("\\-", "-");
                expression.push_str(&format!("[{negation}{class}]"));
                letters = rest.chars();
            }
            letter => expression.push_str(&regex::escape(&letter.to_string())),
        }
    }
    Regex::new(&format!("{expression}$")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_do_not_cross_slashes() {
        let name: Reference = "team/app:v1".parse().unwrap();
        for (pattern, is_meant) in [
            ("team/app", true),
            ("team/app:v1", true),
            ("team/*", true),
            ("*/a?p:*", true),
            ("[a-z]*/[^b]pp", true),
            ("te[bam][bam]/app", true),
            ("team/app:v[2-9]", false),
            ("team/app:v[1", false),
            ("t\\eam/app", true),
            ("*", false),
            ("app", false),
            ("team/app:v2", false),
            ("team/ap", false),
        ] {
            assert_eq!(is_named(&name, pattern), is_meant, "{pattern}");
        }
    }

    #[test]
    fn times_are_ages_dates_and_seconds() {
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("24h", "2026-01-09T00:00:00Z"),
            ("1136073600", "2006-01-01T00:00:00Z"),
            ("1136073600.5", "2006-01-01T00:00:00Z"),
            ("2020-02-03", "2020-02-03T00:00:00Z"),
            ("2020-02-03T04:05", "2020-02-03T04:05:00Z"),
            ("2020-02-03T04:05:06", "2020-02-03T04:05:06Z"),
            ("2020-02-03T04:05:06+01:00", "2020-02-03T03:05:06Z"),
        ] {
            assert_eq!(time_of(text, now), Some(expected.parse().unwrap()), "{text}");
        }
        assert_eq!(time_of("yesterday", now), None);
    }
}
