//! Stages that have no name, in a file with several.

use super::Family;
use crate::source::Source;
use crate::{Findings, Rule, Severity};

const UNNAMED: Rule = Rule::new(
    "UnnamedStage",
    Severity::Style,
    "the stage has no name",
    "Add AS name: then COPY --from and --target can say what they mean",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&UNNAMED] };

/// The last stage needs none: it is what is built if nothing is asked for.
fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    let Some((_, earlier)) = source.stages.split_last() else { return };
    for stage in earlier.iter().filter(|stage| stage.name.is_none()) {
        findings.add(&UNNAMED, stage.from.lines, UNNAMED.summary);
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};

    #[test]
    fn names() {
        check_hits("UnnamedStage", &["FROM a:1\nFROM b:1\n"]);
        check_silent("UnnamedStage", &["FROM a:1\n", "FROM a:1 AS x\nFROM b:1\n"]);
    }
}
