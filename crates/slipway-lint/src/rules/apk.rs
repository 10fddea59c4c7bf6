//! `apk add`: versions and the index.

use super::Family;
use crate::shell::{Command, Word};
use crate::source::Source;
use crate::{Findings, Rule, Severity};

const VERSIONS: Rule = Rule::new(
    "DL3018",
    Severity::Warning,
    "package installed by apk without a version",
    "Write package=version, so that the same Dockerfile installs the same packages tomorrow",
);
const INDEX: Rule = Rule::new(
    "DL3019",
    Severity::Info,
    "the index of apk stays in the layer",
    "Add --no-cache, or mount a cache over /var/cache/apk",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&VERSIONS, &INDEX] };

const WITH_VALUE: [&str; 9] =
    ["-t", "--virtual", "-X", "--repository", "--repositories-file", "-p", "--root", "--keys-dir", "--cache-dir"];

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for (_, step, command) in source.commands() {
        let operands = command.operands(&WITH_VALUE);
        if command.program() != "apk" || operands.first().is_none_or(|word| word.text != "add") {
            continue;
        }
        if let Some(package) = operands[1..].iter().find(|package| !is_pinned(package)) {
            findings.add(&VERSIONS, step.lines, format!("{}: {}", VERSIONS.summary, package.text));
        }
        let clears = |command: &Command| {
            command.program() == "rm" && command.arguments().iter().any(|word| word.text.starts_with("/var/cache/apk"))
        };
        let is_clean =
            command.has_flag(&["no-cache"]) || step.mounts_over("/var/cache/apk") || step.commands.iter().any(clears);
        if !is_clean {
            findings.add_at(&INDEX, step);
        }
    }
}

fn is_pinned(package: &Word) -> bool {
    package.is_variable() || package.text.contains(['=', '<', '>', '~']) || package.text.ends_with(".apk")
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};

    #[test]
    fn versions() {
        check_hits("DL3018", &["RUN apk add --no-cache git\n", "RUN apk --no-cache add -t .deps git=1 curl\n"]);
        check_silent(
            "DL3018",
            &["RUN apk add -U --virtual .deps a=1 b~2 \"c>3\"\n", "RUN apk update\n", "RUN apk add $X ./y.apk\n"],
        );
    }

    #[test]
    fn index() {
        check_hits("DL3019", &["RUN apk add a=1\n", "RUN apk --update add a=1\n"]);
        check_silent(
            "DL3019",
            &[
                "RUN apk add --no-cache a\n",
                "RUN apk --no-cache add a\n",
                "RUN apk add a && rm -rf /var/cache/apk/*\n",
                "RUN --mount=type=cache,target=/var/cache/apk apk add -U a\n",
            ],
        );
    }
}
