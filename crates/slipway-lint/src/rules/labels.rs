//! `LABEL`: keys, and what a schema wants in the values.

use std::str::FromStr;

use super::Family;
use crate::source::{Source, Step, unquoted};
use crate::{Findings, Rule, Severity};
use slipway_dockerfile::{Args, Keyword};

const KEY: Rule = Rule::new(
    "DL3048",
    Severity::Style,
    "a label's key is not well-formed",
    "Use lower-case letters, digits, `.` and `-`, begin with a letter, and leave com.docker, io.docker and org.dockerproject alone",
);
const MISSING: Rule =
    Rule::new("DL3049", Severity::Info, "a label that the schema asks for is missing", "Add the label");
const UNKNOWN: Rule =
    Rule::new("DL3050", Severity::Info, "a label that the schema does not know", "Remove it, or add it to the schema");
const EMPTY: Rule = Rule::new("DL3051", Severity::Warning, "a label is empty", "Give it a value, or leave it out");
const URL: Rule =
    Rule::new("DL3052", Severity::Warning, "a label is no URL", "Write the whole address with its scheme");
const TIME: Rule =
    Rule::new("DL3053", Severity::Warning, "a label is no time of RFC 3339", "Write 2024-05-01T12:00:00Z");
const LICENCE: Rule =
    Rule::new("DL3054", Severity::Warning, "a label is no SPDX licence expression", "Write MIT, or Apache-2.0 OR MIT");
const HASH: Rule =
    Rule::new("DL3055", Severity::Warning, "a label is no git commit", "Write all 40 digits, or 7 at least");
const VERSION: Rule =
    Rule::new("DL3056", Severity::Warning, "a label is no semantic version", "Write 1.2.3, or 1.2.3-rc.1");
const EMAIL: Rule = Rule::new("DL3058", Severity::Warning, "a label is no e-mail address", "Write name@host");

pub(crate) const FAMILY: Family =
    Family { check, rules: &[&KEY, &MISSING, &UNKNOWN, &EMPTY, &URL, &TIME, &LICENCE, &HASH, &VERSION, &EMAIL] };

/// What a label has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelKind {
    Text,
    Url,
    Rfc3339,
    SemVer,
    Spdx,
    Hash,
    Email,
}

/// Not the name of a kind of label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no kind of label (try text, url, rfc3339, semver, spdx, hash or email)")]
pub struct NoLabelKind(String);

impl FromStr for LabelKind {
    type Err = NoLabelKind;

    fn from_str(text: &str) -> Result<LabelKind, NoLabelKind> {
        Ok(match text {
            "text" | "" => LabelKind::Text,
            "url" => LabelKind::Url,
            "rfc3339" => LabelKind::Rfc3339,
            "semver" => LabelKind::SemVer,
            "spdx" => LabelKind::Spdx,
            "hash" => LabelKind::Hash,
            "email" => LabelKind::Email,
            other => return Err(NoLabelKind(other.to_owned())),
        })
    }
}

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    let options = findings.options;
    for (_, step) in source.steps().filter(|(_, step)| step.is(Keyword::Label)) {
        let Args::Pairs { pairs, .. } = &step.instruction.args else { continue };
        for (key, value) in pairs {
            let (key, value) = (unquoted(&key.text), unquoted(&value.text));
            let mut add = |rule: &'static Rule| {
                findings.add(rule, step.lines, format!("{}: {key}", rule.summary));
            };
            if !is_good_key(key) {
                add(&KEY);
            }
            match options.label_schema.get(key) {
                Some(_) if value.is_empty() => add(&EMPTY),
                // What a variable holds is not known.
                Some(kind) if !value.contains('$') => {
                    if let Some(rule) = broken(*kind, value) {
                        add(rule);
                    }
                }
                Some(_) => {}
                None if options.has_strict_labels && !key.contains('$') => add(&UNKNOWN),
                None => {}
            }
        }
    }
    check_missing(source, findings);
}

/// A stage has a label of its own or from below. Of those without, some are judged with another: what only passes files
/// on, and what a stage stands on that has the label.
fn check_missing(source: &Source<'_>, findings: &mut Findings<'_>) {
    for label in findings.options.label_schema.keys() {
        let sets_label = |step: &Step<'_>| match &step.instruction.args {
            Args::Pairs { pairs, .. } if step.is(Keyword::Label) => {
                pairs.iter().any(|(key, _)| unquoted(&key.text) == label)
            }
            _ => false,
        };
        for stage in source.stages_without(sets_label) {
            findings.add(&MISSING, source.stages[stage].from.lines, format!("{}: {label}", MISSING.summary));
        }
    }
}

fn is_good_key(key: &str) -> bool {
    let is_reserved = ["com.docker.", "io.docker.", "org.dockerproject."].iter().any(|space| key.starts_with(space));
    key.starts_with(|c: char| c.is_ascii_lowercase())
        && key.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-'))
        && !key.contains("..")
        && !key.contains("--")
        && !is_reserved
}

/// The rule that `value` breaks.
fn broken(kind: LabelKind, value: &str) -> Option<&'static Rule> {
    let (is_good, rule) = match kind {
        LabelKind::Text => return None,
        LabelKind::Url => (is_url(value), &URL),
        LabelKind::Rfc3339 => (value.parse::<jiff::Timestamp>().is_ok(), &TIME),
        LabelKind::SemVer => (is_version(value), &VERSION),
        LabelKind::Spdx => (spdx::Expression::parse(value).is_ok(), &LICENCE),
        LabelKind::Hash => {
            ((7..=40).contains(&value.len()) && value.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), &HASH)
        }
        LabelKind::Email => (is_email(value), &EMAIL),
    };
    (!is_good).then_some(rule)
}

fn is_url(value: &str) -> bool {
    let Some((scheme, rest)) = value.split_once("://") else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    !scheme.is_empty()
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        && !host.is_empty()
        && !value.contains(' ')
}

/// `spec` semver.org 2.0.0.
fn is_version(value: &str) -> bool {
    let (rest, build) = value.split_once('+').map_or((value, None), |(rest, build)| (rest, Some(build)));
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let is_number = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) && (part == "0" || !part.starts_with('0'))
    };
    let is_word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let parts: Vec<&str> = core.split('.').collect();
    let is_pre = |part: &str| is_word(part) && (is_number(part) || !part.bytes().all(|b| b.is_ascii_digit()));
    parts.len() == 3
        && parts.into_iter().all(is_number)
        && pre.is_none_or(|pre| pre.split('.').all(is_pre))
        && build.is_none_or(|build| build.split('.').all(is_word))
}

fn is_email(value: &str) -> bool {
    let Some((name, host)) = value.split_once('@') else { return false };
    !name.is_empty()
        && host.contains('.')
        && !host.starts_with('.')
        && !host.ends_with('.')
        && !value.contains([' ', '<', '>'])
        && !host.contains('@')
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_hits_with, check_silent, check_silent_with};
    use crate::{Options, lint};

    #[test]
    fn keys() {
        check_hits(
            "DL3048",
            &[
                "LABEL A=1\n",
                "LABEL a..b=1\n",
                "LABEL a--b=1\n",
                "LABEL a$b=1\n",
                "LABEL 1a=1\n",
                "LABEL a_b=1\n",
                "LABEL .a =1\n",
                "LABEL com.docker.x=1\n",
                "LABEL -a=1\n",
                "LABEL \"a b\"=1\n",
            ],
        );
        check_silent("DL3048", &["LABEL org.opencontainers.image.title=1 a-b=2 a1=3\n", "LABEL a b\n"]);
    }

    #[test]
    fn every_stage_that_ships_needs_its_labels() {
        let missing = |text: &str| {
            let schema = [("a".to_owned(), "text".parse().unwrap())].into();
            let options = Options { label_schema: schema, ..Options::default() };
            let (dockerfile, errors) = slipway_dockerfile::parse(text.as_bytes());
            let found = lint(&dockerfile, errors, &options).into_iter().filter(|finding| finding.id == "DL3049");
            found.map(|finding| finding.lines.first).collect::<Vec<_>>()
        };
        for (text, expected) in [
            ("FROM x:1\nLABEL b=1\n", vec![1]),
            ("FROM x:1\nLABEL a=1\n", vec![]),
            ("FROM x:1\nFROM y:1\n", vec![1, 2]),
            ("FROM x:1\nLABEL a=1\nFROM y:1\n", vec![3]),
            ("FROM x:1 AS b\nFROM b\n", vec![1, 2]),
            ("FROM x:1 AS b\nFROM b\nLABEL a=1\n", vec![]),
            ("FROM x:1 AS b\nLABEL a=1\nFROM b\n", vec![]),
            ("FROM x:1 AS b\nFROM y:1\nLABEL a=1\n", vec![1]),
            ("FROM x:1 AS b\nFROM y:1\nLABEL a=1\nCOPY --from=b /b /b\n", vec![]),
            ("FROM x:1 AS b\nFROM b\nLABEL a=1\nFROM b\n", vec![4]),
        ] {
            assert_eq!(missing(text), expected, "{text}");
        }
    }

    /// A schema with one label of a kind, called `x`.
    fn with_label(kind: &str) -> Options {
        Options { label_schema: [("x".to_owned(), kind.parse().unwrap())].into(), ..Options::default() }
    }

    #[test]
    fn labels_are_there_and_no_others() {
        let options = with_label("text");
        check_hits_with("DL3049", &options, &["LABEL y=1\n", "RUN z\n"]);
        check_silent_with("DL3049", &options, &["LABEL x=1\n", "LABEL \"x\"=1 y=2\n"]);
        check_hits_with("DL3051", &options, &["LABEL x=\n", "LABEL x=\"\"\n", "ONBUILD LABEL x=''\n"]);
        check_silent_with("DL3051", &options, &["LABEL x=y\n", "LABEL y=\n", "LABEL x=$Y\n"]);
        let strict = Options { has_strict_labels: true, ..options.clone() };
        check_hits_with("DL3050", &strict, &["LABEL x=1 y=2\n"]);
        check_silent_with("DL3050", &strict, &["LABEL x=1\n", "LABEL $X=1\n"]);
        check_silent_with("DL3050", &options, &["LABEL x=1 y=2\n"]);
    }

    #[test]
    fn values_are_what_the_schema_says() {
        let url = with_label("url");
        check_hits_with("DL3052", &url, &["LABEL x=y\n", "LABEL x=http://\n", "LABEL x=\"https://a b\"\n"]);
        check_silent_with("DL3052", &url, &["LABEL x=https://y.z/a\n", "LABEL x=$U\n", "LABEL y=z\n"]);
        let time = with_label("rfc3339");
        check_hits_with("DL3053", &time, &["LABEL x=yesterday\n", "LABEL x=2024-05-01\n"]);
        check_silent_with(
            "DL3053",
            &time,
            &["LABEL x=2024-05-01T12:00:00Z\n", "LABEL x=\"2021-03-10T10:26:33.564595127+01:00\"\n"],
        );
        let licence = with_label("spdx");
        check_hits_with(
            "DL3054",
            &licence,
            &["LABEL x=\"do what you want to\"\n", "LABEL x=\"MIT OR\"\n", "LABEL x=not-spdx\n"],
        );
        check_silent_with(
            "DL3054",
            &licence,
            &["LABEL x=BSD-3-Clause\n", "LABEL x=\"Apache-2.0 OR (MIT AND BSD-3-Clause)\"\n"],
        );
        let hash = with_label("hash");
        check_hits_with("DL3055", &hash, &["LABEL x=xyz\n", "LABEL x=123456\n", "LABEL x=not-git-hash\n"]);
        check_silent_with(
            "DL3055",
            &hash,
            &["LABEL x=2dbfae9\n", "LABEL x=43c572f1272b6b3171dd1db9e41b7027128ce080\n"],
        );
        let version = with_label("semver");
        check_hits_with("DL3056", &version, &["LABEL x=1.2\n", "LABEL x=v1.2.3\n", "LABEL x=01.2.3\n"]);
        check_silent_with("DL3056", &version, &["LABEL x=1.2.3-rc.1+b\n", "LABEL x=0.0.0\n"]);
        let email = with_label("email");
        check_hits_with("DL3058", &email, &["LABEL x=a\n", "LABEL x=\"A <a@b.c>\"\n", "LABEL x=a@b@c.d\n"]);
        check_silent_with("DL3058", &email, &["LABEL x=a@b.c\n", "LABEL x=a.b+c@d.e.f\n"]);
    }
}
