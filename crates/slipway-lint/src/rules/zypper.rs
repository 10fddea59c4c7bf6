//! `zypper`: answers, versions, leftovers.

use super::Family;
use crate::shell::{Command, Word};
use crate::source::Source;
use crate::{Findings, Rule, Severity};

const ANSWERS: Rule =
    Rule::new("DL3034", Severity::Warning, "zypper asks before it goes on", "Add -n: nobody is there to answer");
const UPGRADE: Rule = Rule::new(
    "DL3035",
    Severity::Warning,
    "zypper dist-upgrade changes the release of the base",
    "Take a newer base image instead",
);
const CACHE: Rule = Rule::new(
    "DL3036",
    Severity::Warning,
    "the cache of zypper stays in the layer",
    "End the RUN with zypper clean, or mount a cache over /var/cache/zypp",
);
const VERSIONS: Rule = Rule::new(
    "DL3037",
    Severity::Warning,
    "package installed by zypper without a version",
    "Write package=version, so that the same Dockerfile installs the same packages tomorrow",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&ANSWERS, &UPGRADE, &CACHE, &VERSIONS] };

const WITH_VALUE: [&str; 4] = ["-c", "--config", "-r", "--repo"];

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for (_, step, command) in source.commands() {
        let Some(verb) = verb(command) else { continue };
        if matches!(verb, "dist-upgrade" | "dup") {
            findings.add_at(&UPGRADE, step);
        }
        let changes = ["install", "in", "remove", "rm", "source-install", "si", "patch"];
        let is_silent = command.has_flag(&["n", "non-interactive", "no-confirm", "y"]);
        if changes.contains(&verb) && !is_silent {
            findings.add_at(&ANSWERS, step).insert_after(command.words[0].span, " -n");
        }
        if !matches!(verb, "install" | "in") {
            continue;
        }
        if let Some(package) = command.operands(&WITH_VALUE)[1..].iter().find(|package| !is_pinned(package)) {
            findings.add(&VERSIONS, step.lines, format!("{}: {}", VERSIONS.summary, package.text));
        }
        let cleans = |command: &Command| matches!(self::verb(command), Some("clean" | "cc"));
        if !step.commands.iter().any(cleans) && !step.mounts_over("/var/cache/zypp") {
            findings.add_at(&CACHE, step);
        }
    }
}

fn verb(command: &Command) -> Option<&str> {
    let first = command.operands(&WITH_VALUE).first().copied()?;
    (command.program() == "zypper").then_some(first.text.as_str())
}

fn is_pinned(package: &Word) -> bool {
    package.is_variable() || package.text.contains(['=', '<', '>']) || package.text.ends_with(".rpm")
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};

    #[test]
    fn all_of_it() {
        check_hits("DL3034", &["RUN zypper install a=1 && zypper clean\n"]);
        check_silent(
            "DL3034",
            &[
                "RUN zypper -n install a\n",
                "RUN zypper install --no-confirm a\n",
                "RUN zypper refresh\n",
                "RUN zypper dup\n",
            ],
        );
        check_hits("DL3035", &["RUN zypper -n dup\n", "RUN zypper dist-upgrade\n"]);
        check_silent("DL3035", &["RUN zypper -n up\n"]);
        check_hits(
            "DL3036",
            &["RUN zypper -n in a=1\n", "FROM a:1 AS b\nRUN zypper -n in a=1\nFROM c:1\nCOPY --from=b /x /x\n"],
        );
        check_silent("DL3036", &["RUN zypper -n in a=1 && zypper cc -a\n"]);
        check_hits("DL3037", &["RUN zypper -n in a\n"]);
        check_silent("DL3037", &["RUN zypper -n in a=1 'b>=2' c.rpm $D\n"]);
    }
}
