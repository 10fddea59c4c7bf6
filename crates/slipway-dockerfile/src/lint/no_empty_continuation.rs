//! An empty line in the middle of an instruction.

use slipway_graph::LineRange;

use super::{Findings, Rule};
use crate::Dockerfile;
use crate::facts::Place;

pub(super) const RULE: Rule = Rule::new(
    "NoEmptyContinuation",
    "no-empty-continuation",
    "Empty continuation lines will become errors in a future release",
);

pub(super) fn check(dockerfile: &Dockerfile, findings: &mut Findings<'_>) {
    let (mut line, mut at) = (1, 0);
    for instruction in dockerfile.instructions.iter().filter(|i| i.has_empty_continuation) {
        // Told at the last line of the instruction, heredocs aside: there it turns out that it went on.
        line += dockerfile.text[at..instruction.span.end].matches('\n').count();
        at = instruction.span.end;
        let lines = LineRange { first: line, last: line };
        let place = Place { lines, ..Place::of(instruction) };
        findings.add(&RULE, &place, "Empty continuation line".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::{check_hits, check_silent};

    #[test]
    fn empty_lines_break_nothing_but_look_so() {
        check_hits(&[
            ("FROM a\nRUN x \\\n\n  y\n", "4 NoEmptyContinuation: Empty continuation line"),
            ("FROM a\nRUN <<E \\\n\n  y\nE\n", "4 NoEmptyContinuation: Empty continuation line"),
        ]);
        check_silent(&["FROM a\n\nRUN x \\\n # c\n  y\n", "FROM a\nRUN <<E\n\nE\n"]);
    }
}
