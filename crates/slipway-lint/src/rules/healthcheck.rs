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
    let last = source.stages.len() - 1;
    let mut steps = source.chain(last).into_iter().flat_map(|index| &source.stages[index].steps);
    if !steps.any(|step| step.is(Keyword::Healthcheck)) {
        findings.add(&MISSING, source.stages[last].from.lines, MISSING.summary);
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};

    #[test]
    fn the_last_stage_counts() {
        check_hits("DL3057", &["RUN x\n", "FROM a:1\nHEALTHCHECK NONE\nFROM b:1\n"]);
        check_silent("DL3057", &["HEALTHCHECK CMD x\n", "FROM a:1 AS b\nHEALTHCHECK NONE\nFROM b\n"]);
    }
}
