//! Files that no builder takes: what the parser found, and which of the well-known ids that has.

use slipway_dockerfile::{Diagnostic, Dockerfile, Keyword};

use crate::{Findings, Rule, Severity};

const INVALID: Rule =
    Rule::new("DL1000", Severity::Error, "the Dockerfile is not valid", "Mend it: no builder takes the file as it is");
const TRIGGER: Rule = Rule::new(
    "DL3043",
    Severity::Error,
    "ONBUILD of an instruction that cannot be a trigger",
    "ONBUILD takes neither FROM nor MAINTAINER nor ONBUILD",
);
const ORDER: Rule = Rule::new(
    "DL3061",
    Severity::Error,
    "an instruction in front of the first FROM",
    "Begin with FROM; only ARG and comments may stand above it",
);

pub(crate) const RULES: [&Rule; 3] = [&INVALID, &TRIGGER, &ORDER];

/// `errors`: what is wrong with the form of the file.
pub(crate) fn check(dockerfile: &Dockerfile, errors: &[Diagnostic], findings: &mut Findings<'_>) {
    for error in errors {
        // The tree lacks what is not valid.
        let line = dockerfile.text.lines().nth(error.lines.first.saturating_sub(1)).unwrap_or_default();
        let rule = if is_bad_trigger(line) { &TRIGGER } else { &INVALID };
        findings.add(rule, error.lines, &error.message);
    }
    let first = dockerfile.instructions.iter().find(|instruction| instruction.keyword != Keyword::Arg);
    if let Some(first) = first.filter(|first| first.keyword != Keyword::From) {
        findings.add(&ORDER, first.lines, ORDER.summary);
    }
}

fn is_bad_trigger(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let is_trigger = words.next().is_some_and(|word| word.eq_ignore_ascii_case("ONBUILD"));
    let is_bad = |word: &str| ["FROM", "MAINTAINER", "ONBUILD"].iter().any(|name| word.eq_ignore_ascii_case(name));
    is_trigger && words.next().is_some_and(is_bad)
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};

    #[test]
    fn triggers() {
        check_hits("DL3043", &["ONBUILD FROM b:1\n", "FROM a:1\nonbuild maintainer x\n", "ONBUILD ONBUILD RUN x\n"]);
        check_silent("DL3043", &["ONBUILD RUN x\n", "MAINTAINER x\n", "ONBUILD COPY x\n"]);
        check_hits("DL1000", &["COPY x\n", "FORM a\nFROM a:1\n"]);
        check_silent("DL1000", &["ONBUILD FROM b:1\n", "RUN x\n"]);
    }

    #[test]
    fn the_first_instruction() {
        check_hits("DL3061", &["LABEL a=b\nFROM a:1\n", "ARG a\nRUN x\nFROM a:1\n"]);
        check_silent(
            "DL3061",
            &[
                "FROM a:1\nLABEL a=b\n",
                "ARG a\nFROM a:1\n",
                "# syntax=x/y:1\n# z\nFROM a:1\n",
                "FROM a:1\nARG b\nRUN c\n",
            ],
        );
    }
}
