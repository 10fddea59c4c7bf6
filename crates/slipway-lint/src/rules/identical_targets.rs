//! Targets that build the same image.

use super::Family;
use crate::source::{Source, Stage};
use crate::{Findings, Rule, Severity};

const IDENTICAL: Rule = Rule::new(
    "IdenticalTargets",
    Severity::Warning,
    "the stage builds the same image as another one",
    "Give each target what it is for (debuggers in dev, only the program in prod), or keep one of them",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&IDENTICAL] };

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for (index, stage) in source.stages.iter().enumerate() {
        let same = source.stages[..index].iter().find(|other| other.name.is_some() && is_same(other, stage));
        if let (Some(name), Some(other)) = (&stage.name, same.and_then(|other| other.name.as_ref())) {
            findings.add(&IDENTICAL, stage.from.lines, format!("`{name}` builds the same image as `{other}`"));
        }
    }
}

fn is_same(one: &Stage<'_>, other: &Stage<'_>) -> bool {
    let lines = |stage: &Stage<'_>| {
        let words = stage.steps.iter().map(|step| {
            let bodies: Vec<String> = step.instruction.heredocs.iter().map(|heredoc| heredoc.body.clone()).collect();
            (step.instruction.logical_line.clone(), bodies)
        });
        words.collect::<Vec<_>>()
    };
    let platform = |stage: &Stage<'_>| stage.from.flags.iter().map(|flag| flag.value.clone()).collect::<Vec<_>>();
    one.base == other.base && platform(one) == platform(other) && lines(one) == lines(other)
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};

    #[test]
    fn targets() {
        check_hits(
            "IdenticalTargets",
            &[
                "FROM a:1 AS base\nFROM base AS dev\nFROM base AS prod\n",
                "FROM a:1 AS x\nRUN y\nFROM a:1 AS z\nRUN y\n",
            ],
        );
        check_silent(
            "IdenticalTargets",
            &[
                "FROM a:1 AS base\nFROM base AS dev\nRUN x\nFROM base AS prod\n",
                "FROM a:1 AS b\nFROM a:2 AS c\n",
                "FROM --platform=x a:1 AS b\nFROM a:1 AS c\n",
            ],
        );
    }
}
