//! Stages without a name that says something, in a file with several.

use super::Family;
use crate::source::Source;
use crate::{Findings, Rule, Severity};

const UNNAMED: Rule = Rule::new(
    "UnnamedStage",
    Severity::Style,
    "the stage has no name that says what it is for",
    "Add AS name (build, test, production): then COPY --from and --target can say what they mean",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&UNNAMED] };

/// The last stage needs none: it is what is built if nothing is asked for.
fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    let last = source.stages.len() - 1;
    for (index, stage) in source.stages.iter().enumerate() {
        match &stage.name {
            Some(name) if is_number(name) => {
                findings.add(&UNNAMED, stage.from.lines, format!("`{name}` does not say what the stage is for"));
            }
            None if index != last => {
                findings.add(&UNNAMED, stage.from.lines, UNNAMED.summary);
            }
            _ => {}
        }
    }
}

/// `stage1`, `stage-2`
fn is_number(name: &str) -> bool {
    let number = name.strip_prefix("stage").map(|rest| rest.trim_start_matches(['-', '_', '.']));
    number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};

    #[test]
    fn names() {
        check_hits(
            "UnnamedStage",
            &["FROM a:1\nFROM b:1\n", "FROM a:1 AS stage1\n", "FROM a:1 AS x\nFROM b:1 AS stage-2\n"],
        );
        check_silent(
            "UnnamedStage",
            &["FROM a:1\n", "FROM a:1 AS x\nFROM b:1\n", "FROM a:1 AS staged\nFROM b:1 AS stage2go\n"],
        );
    }
}
