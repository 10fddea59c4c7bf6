//! The same `ENV` and `RUN` in several stages on the same image.

use super::Family;
use crate::source::{Base, Source, Stage};
use crate::{Findings, Rule, Severity};
use slipway_dockerfile::Keyword;

const REPEATED: Rule = Rule::new(
    "RepeatedSetup",
    Severity::Info,
    "stages on the same image repeat their setup",
    "Put what they share into a stage of its own (FROM image AS base) and begin the others with FROM base",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&REPEATED] };

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for (index, stage) in source.stages.iter().enumerate() {
        if !matches!(stage.base, Base::Image(_)) {
            continue;
        }
        let earlier = source.stages[..index].iter().filter(|other| other.base == stage.base);
        let shared = earlier.map(|other| shared(other, stage)).max().unwrap_or_default();
        if let Some(first) = shared.first() {
            let what = match shared.len() {
                1 => format!("`{first}` is in an earlier stage on the same image, too"),
                n => format!("`{first}` and {} more are in an earlier stage on the same image, too", n - 1),
            };
            findings.add(&REPEATED, stage.from.lines, what);
        }
    }
}

/// The instructions that both have and that change what is there; those of one word or so are left alone.
fn shared<'a>(one: &Stage<'a>, other: &'a Stage<'_>) -> Vec<&'a str> {
    let counts = |keyword: Keyword| matches!(keyword, Keyword::Run | Keyword::Env);
    let lines =
        other.steps.iter().filter(|step| counts(step.instruction.keyword) && step.instruction.heredocs.is_empty());
    let lines = lines.map(|step| step.instruction.logical_line.as_str());
    lines.filter(|line| one.steps.iter().any(|step| step.instruction.logical_line == **line)).collect()
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};

    #[test]
    fn setup() {
        check_hits(
            "RepeatedSetup",
            &["FROM a:1 AS b\nENV X=1\nFROM a:1\nENV X=1\n", "FROM a:1 AS b\nRUN x\nRUN y\nFROM a:1 AS c\nRUN y\n"],
        );
        check_silent(
            "RepeatedSetup",
            &[
                "FROM a:1 AS b\nENV X=1\nFROM a:2\nENV X=1\n",
                "FROM a:1 AS b\nENV X=1\nFROM b\nENV X=1\n",
                "FROM a:1 AS b\nWORKDIR /x\nFROM a:1\nWORKDIR /x\n",
            ],
        );
    }
}
