//! `FROM`: tags, digests, registries.

use super::Family;
use crate::registry_pattern;
use crate::source::{Base, Source};
use crate::{Findings, Rule, Severity};

const UNTAGGED: Rule = Rule::new(
    "DL3006",
    Severity::Warning,
    "the base image has no tag",
    "Name a version: without one it is whatever was pushed last",
);
const LATEST: Rule = Rule::new(
    "DL3007",
    Severity::Warning,
    "the base image has the tag `latest`",
    "Name a version: `latest` is whatever was pushed last",
);
const REGISTRY: Rule = Rule::new(
    "DL3026",
    Severity::Error,
    "the base image comes from a registry that is not trusted",
    "Use an image of one of the trusted registries",
);
const UNPINNED: Rule = Rule::new(
    "UnpinnedBase",
    Severity::Style,
    "the base image has no digest",
    "Add @sha256:… (slipway build --lock keeps digests beside the file): tags are moved, digests never",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&UNTAGGED, &LATEST, &REGISTRY, &UNPINNED] };

/// What Docker Hub is called.
const HUB: [&str; 3] = ["docker.io", "index.docker.io", "hub.docker.com"];

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for stage in &source.stages {
        let Base::Image(image) = &stage.base else { continue };
        let lines = stage.from.lines;
        let about = |rule: &Rule| format!("{}: {}", rule.summary, image.whole);
        let is_known = !image.has_variable();
        match (&image.tag, image.has_digest) {
            (None, false) if is_known => {
                findings.add(&UNTAGGED, lines, about(&UNTAGGED));
            }
            (Some(tag), false) if tag == "latest" => {
                findings.add(&LATEST, lines, about(&LATEST));
            }
            (Some(_), false) if is_known => {
                findings.add(&UNPINNED, lines, about(&UNPINNED));
            }
            _ => {}
        }
        let trusted = &findings.options.trusted_registries;
        let names: Vec<&str> = image.registry.as_deref().map_or(HUB.to_vec(), |registry| vec![registry]);
        let is_trusted = |name: &&str| trusted.iter().any(|pattern| registry_pattern::matches(pattern, name));
        if !trusted.is_empty() && !names.iter().any(is_trusted) {
            findings.add(&REGISTRY, lines, about(&REGISTRY));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Options;
    use crate::testing::{check_hits, check_hits_with, check_silent, check_silent_with};

    #[test]
    fn tags() {
        check_hits("DL3006", &["FROM alpine\n", "FROM x.y:5000/alpine AS b\n"]);
        check_silent(
            "DL3006",
            &[
                "FROM alpine:3\n",
                "FROM alpine@sha256:00\n",
                "FROM scratch\n",
                "FROM a:1 AS b\nFROM b\n",
                "ARG X\nFROM $X\n",
            ],
        );
        check_hits("DL3007", &["FROM alpine:latest\n"]);
        check_silent("DL3007", &["FROM alpine:3\n", "FROM alpine:latest@sha256:00\n"]);
        check_hits("UnpinnedBase", &["FROM alpine:3\n"]);
        check_silent("UnpinnedBase", &["FROM alpine:3@sha256:00\n", "FROM scratch\n"]);
    }

    #[test]
    fn registries() {
        let trusted = |names: &[&str]| Options {
            trusted_registries: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Options::default()
        };
        let of_corp = trusted(&["*.corp.com", "docker.io"]);
        check_hits_with("DL3026", &of_corp, &["FROM quay.io/x:1\n", "FROM corp.com/x:1\n", "FROM localhost:5000/x\n"]);
        check_silent_with(
            "DL3026",
            &of_corp,
            &[
                "FROM x.corp.com/y:1\n",
                "FROM debian:12 AS a\nFROM a\n",
                "FROM library/x:1\n",
                "FROM docker.io/x/y:1\n",
                "FROM scratch\n",
            ],
        );
        check_silent_with("DL3026", &trusted(&["*"]), &["FROM debian:12\n", "FROM quay.io/x:1\n"]);
        check_silent_with("DL3026", &trusted(&[]), &["FROM quay.io/x:1\n"]);
    }
}
