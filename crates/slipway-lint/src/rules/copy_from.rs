//! `COPY --from`: what it names.

use super::Family;
use crate::source::{Source, Step};
use crate::{Findings, Rule, Severity};
use slipway_dockerfile::{Keyword, Span};

const UNKNOWN: Rule = Rule::new(
    "DL3022",
    Severity::Warning,
    "COPY --from names no earlier stage",
    "Name a stage above this one, or write the image with its tag or registry",
);
const ITSELF: Rule = Rule::new(
    "DL3023",
    Severity::Error,
    "COPY --from names the stage it stands in",
    "Copy from another stage, or move the file with RUN",
);
const NUMBER: Rule = Rule::new(
    "NumericCopyFrom",
    Severity::Warning,
    "--from counts stages",
    "Use the stage's name: a stage put in front of it changes what a number means, and the build goes on without a word",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&UNKNOWN, &ITSELF, &NUMBER] };

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for (index, step) in source.steps().filter(|(_, step)| step.is(Keyword::Copy)) {
        let Some(from) = step.flag("from") else { continue };
        let stage = source.stage_called(from, index);
        if source.stages[index].name.as_deref() == Some(&from.to_lowercase()) {
            findings.add_at(&ITSELF, step);
        } else if stage.is_none() && !from.contains([':', '/', '@', '$']) {
            findings.add(&UNKNOWN, step.lines, format!("{}: {from}", UNKNOWN.summary));
        }
        if let (Some(stage), true) = (stage, from.bytes().all(|b| b.is_ascii_digit())) {
            let name = source.stages[stage].name.as_ref();
            let line = source.stages[stage].from.lines.first;
            let finding = findings.add(&NUMBER, step.lines, format!("--from={from} means the stage of line {line}"));
            if let Some(name) = name {
                finding.replace(value_of(step, "from"), name);
            }
        }
    }
}

/// Where the value of a flag stands.
fn value_of(step: &Step<'_>, name: &str) -> Span {
    let flag = step.instruction.flags.iter().find(|flag| flag.name == name).filter(|_| !step.is_trigger);
    let place =
        flag.and_then(|flag| Some(Span { start: flag.span.end - flag.value.as_ref()?.len(), end: flag.span.end }));
    place.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_fix, check_hits, check_silent};

    #[test]
    fn names() {
        check_hits(
            "DL3022",
            &["COPY --from=foo x y\n", "FROM a:1\nCOPY --from=b x y\nFROM c:1 AS b\n", "COPY --from=0 x y\n"],
        );
        check_silent(
            "DL3022",
            &[
                "FROM a:1 AS b\nFROM c:1\nCOPY --from=b x y\nCOPY --from=0 x y\n",
                "COPY --from=nginx:1 x y\n",
                "COPY --from=x.y/z a b\n",
                "COPY --from=$X a b\n",
            ],
        );
        check_hits("DL3023", &["FROM a:1 AS b\nCOPY --from=b x y\n"]);
        check_silent("DL3023", &["FROM a:1 AS b\nFROM a:1 AS c\nCOPY --from=b x y\n"]);
    }

    #[test]
    fn numbers() {
        let numbered = "FROM a:1 AS b\nFROM c:1\nCOPY --from=0 /x /y\n";
        check_hits("NumericCopyFrom", &[numbered, "FROM a:1\nFROM c:1\nCOPY --from=0 /x /y\n"]);
        check_fix("NumericCopyFrom", numbered, "FROM a:1 AS b\nFROM c:1\nCOPY --from=b /x /y\n");
        check_silent("NumericCopyFrom", &["FROM a:1 AS b\nFROM c:1\nCOPY --from=b /x /y\n"]);
    }
}
