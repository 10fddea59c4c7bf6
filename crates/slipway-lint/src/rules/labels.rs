//! `LABEL`: keys, and what a schema wants in the values.

use std::str::FromStr;

use super::Family;
use crate::source::{Source, unquoted};
use crate::{Findings, Rule, Severity};
use slipway_dockerfile::{Args, Keyword};

const KEY: Rule = Rule::new(
    "DL3048",
    Severity::Style,
    "a label's key is not well-formed",
    "Use lower-case letters, digits, `.` and `-`, and leave com.docker, io.docker and org.dockerproject alone",
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
            if key.contains('$') {
                continue;
            }
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
                None if options.has_strict_labels => add(&UNKNOWN),
                None => {}
            }
        }
    }
    check_missing(source, findings);
}

/// Labels are looked for in everything that the last stage stands on.
fn check_missing(source: &Source<'_>, findings: &mut Findings<'_>) {
    let last = source.stages.len() - 1;
    let steps: Vec<_> = source.chain(last).into_iter().flat_map(|index| &source.stages[index].steps).collect();
    let has = |wanted: &str| {
        steps.iter().any(|step| match &step.instruction.args {
            Args::Pairs { pairs, .. } if step.is(Keyword::Label) => {
                pairs.iter().any(|(k, _)| unquoted(&k.text) == wanted)
            }
            _ => false,
        })
    };
    for label in findings.options.label_schema.keys().filter(|label| !has(label)) {
        findings.add(&MISSING, source.stages[last].from.lines, format!("{}: {label}", MISSING.summary));
    }
}

fn is_good_key(key: &str) -> bool {
    let is_edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let is_reserved = ["com.docker.", "io.docker.", "org.dockerproject."].iter().any(|space| key.starts_with(space));
    is_edge(key.chars().next())
        && is_edge(key.chars().last())
        && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_'))
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
        LabelKind::Spdx => (is_licence(value), &LICENCE),
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

/// By form only: ids are added to the SPDX list every few months.
fn is_licence(value: &str) -> bool {
    let words: Vec<&str> = value.split([' ', '(', ')']).filter(|word| !word.is_empty()).collect();
    let is_id = |word: &&str| {
        word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.+:".contains(&b))
            && word.starts_with(|c: char| c.is_ascii_alphanumeric())
    };
    !words.is_empty()
        && words.len() % 2 == 1
        && words.iter().step_by(2).all(is_id)
        && words.iter().skip(1).step_by(2).all(|word| matches!(*word, "AND" | "OR" | "WITH"))
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
    use crate::testing::{check_hits, check_silent};
    use crate::{Options, lint};

    #[test]
    fn keys() {
        check_hits(
            "DL3048",
            &["LABEL A=1\n", "LABEL a..b=1\n", "LABEL com.docker.x=1\n", "LABEL -a=1\n", "LABEL \"a b\"=1\n"],
        );
        check_silent("DL3048", &["LABEL org.opencontainers.image.title=1 a-b=2 a1=3\n", "LABEL $X=1\n"]);
    }

    #[test]
    fn schemas() {
        let found = |text: &str| {
            let kinds = [
                ("t", "text"),
                ("u", "url"),
                ("r", "rfc3339"),
                ("v", "semver"),
                ("l", "spdx"),
                ("h", "hash"),
                ("e", "email"),
            ];
            let schema = kinds.iter().map(|(name, kind)| ((*name).to_owned(), kind.parse().unwrap())).collect();
            let options = Options { label_schema: schema, has_strict_labels: true, ..Options::default() };
            let (dockerfile, errors) = slipway_dockerfile::parse(format!("FROM a:1\n{text}\n").as_bytes());
            let ids = lint(&dockerfile, errors, &options).into_iter().map(|f| f.id);
            ids.filter(|id| ("DL3049".."DL3059").contains(&id.as_ref()) && id != "DL3057").collect::<Vec<_>>()
        };
        let good = "LABEL t=x u=https://x.y/z r=2024-05-01T12:00:00Z v=1.2.3-rc.1+b l=\"Apache-2.0 OR (MIT AND BSD-3-Clause)\" h=0123abc e=a@b.c";
        assert_eq!(found(good), [""; 0]);
        let bad = "LABEL t= u=x r=yesterday v=1.2 l=\"do what you want to\" h=xyz e=a z=1";
        assert_eq!(found(bad), ["DL3050", "DL3051", "DL3052", "DL3053", "DL3054", "DL3055", "DL3056", "DL3058"]);
        assert_eq!(found("LABEL t=x u=$U r=x"), ["DL3049", "DL3049", "DL3049", "DL3049", "DL3053"]);
    }
}
