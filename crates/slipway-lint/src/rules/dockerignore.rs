//! A context that is copied whole, with nothing to keep parts of it out.

use super::Family;
use crate::source::Source;
use crate::{Findings, Rule, Severity};
use slipway_dockerfile::Keyword;

const MISSING: Rule = Rule::new(
    "MissingDockerignore",
    Severity::Warning,
    "the whole context is copied and there is no .dockerignore",
    "Write one that leaves out .git, dependencies, build results and secrets: they end up in the image, and each of their changes runs the step again",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&MISSING] };

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    if source.has_ignore_file != Some(false) {
        return;
    }
    let copies_all = source.steps().map(|(_, step)| step).find(|step| {
        let is_copy = (step.is(Keyword::Copy) || step.is(Keyword::Add)) && step.flag("from").is_none();
        let takes_all = |sources: &[&str]| sources.iter().any(|path| matches!(*path, "." | "./" | "/" | "*"));
        is_copy && step.paths().is_some_and(|(sources, _)| takes_all(&sources))
    });
    if let Some(step) = copies_all {
        findings.add_at(&MISSING, step);
    }
}

#[cfg(test)]
mod tests {
    use crate::Options;
    use crate::testing::{check_hits_with, check_silent_with};

    #[test]
    fn only_where_somebody_looked() {
        let without = Options { has_ignore_file: Some(false), ..Options::default() };
        check_hits_with("MissingDockerignore", &without, &["COPY . /x\n"]);
        check_silent_with(
            "MissingDockerignore",
            &without,
            &["COPY src /x\n", "FROM a:1 AS b\nFROM a:1\nCOPY --from=b / /x\n"],
        );
        for has_ignore_file in [Some(true), None] {
            let options = Options { has_ignore_file, ..Options::default() };
            check_silent_with("MissingDockerignore", &options, &["COPY . /x\n"]);
        }
    }
}
