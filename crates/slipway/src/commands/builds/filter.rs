//! Which builds does a user mean: `--filter` of `builds ls` (`spec/cli.md` section 14).

use std::cmp::Ordering;

use jiff::Timestamp;
use slipway_engine::{BuildRecord, Status};
use slipway_graph::duration::duration_of;

/// All of them have to hold.
#[derive(Debug, Default, PartialEq)]
pub(super) struct BuildFilter(Vec<Condition>);

#[derive(Debug, PartialEq)]
enum Condition {
    /// A part of the build's id.
    Ref {
        text: String,
        is_wanted: bool,
    },
    /// A part of its context, which may be a repository.
    Repository {
        text: String,
        is_wanted: bool,
    },
    Status {
        text: String,
        is_wanted: bool,
    },
    StartedAt(Comparison, i64),
    CompletedAt(Comparison, i64),
    Duration(Comparison, i64),
}

/// `<`, `<=`, `>` or `>=`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Comparison {
    ordering: Ordering,
    or_equal: bool,
}

/// Why a filter means nothing; the texts are the reference's.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum FilterError {
    #[error("invalid filter {0:?}")]
    Form(String),
    #[error("unsupported filter {0:?}")]
    Unknown(String),
    #[error("invalid separator for {0:?}, expected = or !=")]
    NotEquality(String),
    #[error("invalid separator for {0:?}, expected <=, <, >= or >")]
    NotOrder(String),
    #[error("invalid time {0}")]
    Time(String),
    #[error("invalid duration {0}")]
    Duration(String),
}

/// What may stand between key and value, the longer ones first.
const SEPARATORS: [&str; 6] = ["!=", "<=", ">=", "=", "<", ">"];

impl BuildFilter {
    /// Reads filters, of which each may hold several with commas between them. Times may be durations before `now`.
    pub(super) fn parse(texts: &[String], now: Timestamp) -> Result<BuildFilter, FilterError> {
        let parts = texts.iter().flat_map(|text| text.split(','));
        Ok(BuildFilter(parts.map(|text| Condition::parse(text.trim(), now)).collect::<Result<_, _>>()?))
    }

    pub(super) fn accepts(&self, build: &BuildRecord) -> bool {
        self.0.iter().all(|condition| condition.accepts(build))
    }
}

impl Condition {
    fn parse(text: &str, now: Timestamp) -> Result<Condition, FilterError> {
        let first = SEPARATORS.iter().filter_map(|separator| Some((text.find(separator)?, *separator)));
        let (at, separator) =
            first.min_by_key(|(at, s)| (*at, 2 - s.len())).ok_or(FilterError::Form(text.to_owned()))?;
        let (key, value) = (&text[..at], &text[at + separator.len()..]);
        let equality = || match separator {
            "=" => Ok((value.to_owned(), true)),
            "!=" => Ok((value.to_owned(), false)),
            _ => Err(FilterError::NotEquality(text.to_owned())),
        };
        let order = || match separator {
            "<" => Ok(Comparison { ordering: Ordering::Less, or_equal: false }),
            "<=" => Ok(Comparison { ordering: Ordering::Less, or_equal: true }),
            ">" => Ok(Comparison { ordering: Ordering::Greater, or_equal: false }),
            ">=" => Ok(Comparison { ordering: Ordering::Greater, or_equal: true }),
            _ => Err(FilterError::NotOrder(text.to_owned())),
        };
        match key {
            "ref" => equality().map(|(text, is_wanted)| Condition::Ref { text, is_wanted }),
            "repository" => equality().map(|(text, is_wanted)| Condition::Repository { text, is_wanted }),
            "status" => equality().map(|(text, is_wanted)| Condition::Status { text, is_wanted }),
            "startedAt" => Ok(Condition::StartedAt(order()?, time(value, now)?)),
            "completedAt" => Ok(Condition::CompletedAt(order()?, time(value, now)?)),
            "duration" => {
                let duration = duration_of(value).ok_or_else(|| FilterError::Duration(value.to_owned()))?;
                Ok(Condition::Duration(order()?, i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)))
            }
            _ => Err(FilterError::Unknown(text.to_owned())),
        }
    }

    fn accepts(&self, build: &BuildRecord) -> bool {
        match self {
            Condition::Ref { text, is_wanted } => build.id.contains(text.as_str()) == *is_wanted,
            Condition::Repository { text, is_wanted } => build.request.context.contains(text.as_str()) == *is_wanted,
            Condition::Status { text, is_wanted } => (status_word(build.status) == text) == *is_wanted,
            Condition::StartedAt(comparison, ns) => comparison.holds(build.started_ns, *ns),
            Condition::CompletedAt(comparison, ns) => comparison.holds(build.completed_ns, *ns),
            Condition::Duration(comparison, ns) => comparison.holds(build.completed_ns - build.started_ns, *ns),
        }
    }
}

impl Comparison {
    fn holds(self, left: i64, right: i64) -> bool {
        let ordering = left.cmp(&right);
        ordering == self.ordering || (self.or_equal && ordering == Ordering::Equal)
    }
}

fn status_word(status: Status) -> &'static str {
    match status {
        Status::Completed => "completed",
        Status::Error => "error",
        Status::Canceled => "canceled",
    }
}

/// Nanoseconds since 1970 of a time, or of a duration ago.
fn time(text: &str, now: Timestamp) -> Result<i64, FilterError> {
    let ns = |time: Timestamp| i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX);
    if let Some(ago) = duration_of(text) {
        return Ok(ns(now).saturating_sub(i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX)));
    }
    text.parse().map(ns).map_err(|_| FilterError::Time(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::builds::tests::record;

    fn parse(text: &str) -> Result<BuildFilter, FilterError> {
        BuildFilter::parse(&[text.to_owned()], Timestamp::from_second(100).unwrap())
    }

    #[test]
    fn builds_are_found_by_what_is_known_of_them() {
        // It began at second 1 and took 83 seconds.
        let build = record("abc", "https://github.com/me/app.git", None);
        for (text, expected) in [
            ("ref=ab", true),
            ("ref!=ab", false),
            ("repository=me/app", true),
            ("repository!=me/app,status=completed", false),
            ("status=completed", true),
            ("status=error", false),
            ("status!=canceled", true),
            ("startedAt>=1970-01-01T00:00:01Z", true),
            ("startedAt>1970-01-01T00:00:01Z", false),
            ("startedAt<1m", true),
            ("completedAt>10s", false),
            ("duration>=83s", true),
            ("duration<1m", false),
        ] {
            assert_eq!(parse(text).unwrap().accepts(&build), expected, "{text}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused_in_known_words() {
        for (text, told) in [
            ("x", "invalid filter \"x\""),
            ("x=y", "unsupported filter \"x=y\""),
            ("ref>y", "invalid separator for \"ref>y\", expected = or !="),
            ("duration=1s", "invalid separator for \"duration=1s\", expected <=, <, >= or >"),
            ("startedAt>y", "invalid time y"),
            ("duration>y", "invalid duration y"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), told);
        }
    }
}
