//! Stages that a reader expects to run, and that no build of the last stage runs.

use super::Family;
use crate::source::Source;
use crate::{Findings, Rule, Severity};

const UNREACHED: Rule = Rule::new(
    "UnreachedTestStage",
    Severity::Info,
    "nothing depends on this stage, so a plain build never runs it",
    "Build it with --target in CI, or copy something from it (COPY --from=test /passed /) so that it has to succeed",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&UNREACHED] };

/// Parts of names of stages that check something.
const CHECKS: [&str; 8] = ["test", "tests", "lint", "check", "checks", "verify", "audit", "validate"];

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    let reached = source.reached();
    for (index, stage) in source.stages.iter().enumerate().filter(|(index, _)| !reached[*index]) {
        let Some(name) = &stage.name else { continue };
        let is_check = name.split(['-', '_', '.']).any(|part| CHECKS.contains(&part));
        let is_base = (0..source.stages.len()).any(|other| source.needs(other).contains(&index));
        if is_check && !is_base {
            findings.add(
                &UNREACHED,
                stage.from.lines,
                format!("nothing depends on `{name}`, so a plain build never runs it"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};

    #[test]
    fn tests_that_never_run() {
        check_hits(
            "UnreachedTestStage",
            &["FROM a:1 AS build\nFROM build AS test\nRUN x\nFROM build\n", "FROM a:1 AS unit-tests\nFROM a:1\n"],
        );
        check_silent(
            "UnreachedTestStage",
            &[
                "FROM a:1 AS test\nFROM a:1\nCOPY --from=test /x /x\n",
                "FROM a:1 AS build\nFROM build AS test\n",
                "FROM a:1 AS dev\nFROM a:1\n",
                "FROM a:1 AS latest\nFROM b:1\n",
            ],
        );
    }
}
