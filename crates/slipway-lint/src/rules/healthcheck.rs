//! Images without a `HEALTHCHECK`. Silent unless asked for: many platforms have checks of their own.

use super::Family;
use crate::source::Source;
use crate::{Findings, Rule, Severity};
use slipway_dockerfile::Keyword;

const MISSING: Rule = Rule::new(
    "DL3057",
    Severity::Ignore,
    "the image has no HEALTHCHECK",
    "Say how to find out whether the program still works, or HEALTHCHECK NONE",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&MISSING] };

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for stage in source.stages_without(|step| step.is(Keyword::Healthcheck)) {
        findings.add(&MISSING, source.stages[stage].from.lines, MISSING.summary);
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};

    #[test]
    fn every_stage_that_ships_counts() {
        check_hits("DL3057", &["RUN x\n", "FROM a:1\nHEALTHCHECK NONE\nFROM b:1\n"]);
        check_hits("DL3057", &["FROM a:1 AS b\nFROM b AS c\nHEALTHCHECK NONE\nFROM b\n"]);
        check_silent(
            "DL3057",
            &[
                "FROM a:1 AS b\nFROM b AS c\nFROM c\nHEALTHCHECK NONE\n",
                "HEALTHCHECK CMD x\n",
                "FROM a:1 AS b\nHEALTHCHECK NONE\nFROM b\n",
            ],
        );
    }
}
