//! Targets of `COPY` that depend on a folder nobody chose.

use super::Family;
use crate::source::Source;
use crate::{Findings, Rule, Severity};
use slipway_dockerfile::Keyword;

const RELATIVE: Rule = Rule::new(
    "DL3045",
    Severity::Warning,
    "COPY to a relative path without a WORKDIR",
    "Set WORKDIR first, or begin the target with a slash: where it goes depends on the base image",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&RELATIVE] };

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for (index, stage) in source.stages.iter().enumerate() {
        let below = source.chain(index).into_iter().skip(1);
        let mut has_workdir =
            below.into_iter().any(|index| source.stages[index].steps.iter().any(|step| step.is(Keyword::Workdir)));
        for step in &stage.steps {
            has_workdir |= step.is(Keyword::Workdir);
            let Some((_, target)) = step.paths() else { continue };
            let is_relative = !target.starts_with(['/', '$', '\\']) && target.as_bytes().get(1) != Some(&b':');
            if step.is(Keyword::Copy) && is_relative && !has_workdir {
                findings.add_at(&RELATIVE, step);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};

    #[test]
    fn targets() {
        check_hits("DL3045", &["COPY a b\n", "COPY a .\n", "FROM a:1\nWORKDIR /x\nFROM b:1\nCOPY a b\n"]);
        check_silent(
            "DL3045",
            &[
                "WORKDIR /x\nCOPY a b\n",
                "COPY a /b\n",
                "COPY a $B\n",
                "COPY a \"/b\"\n",
                "COPY a c:\\b\n",
                "FROM a:1 AS x\nWORKDIR /y\nFROM x\nCOPY a b\n",
            ],
        );
    }
}
