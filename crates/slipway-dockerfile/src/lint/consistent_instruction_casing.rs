//! Keywords that are cased otherwise than most keywords of the file.

use super::{Findings, Rule};
use crate::{Dockerfile, Instruction, Keyword};

pub(super) const RULE: Rule = Rule::new(
    "ConsistentInstructionCasing",
    "consistent-instruction-casing",
    "All commands within the Dockerfile should use the same casing (either upper or lower)",
);

/// Looks at stages only: an `ARG` in front of the first `FROM` neither counts nor is complained about.
pub(super) fn check(dockerfile: &Dockerfile, findings: &mut Findings<'_>) {
    let lower_wins = most_keywords_are_lower(dockerfile);
    let majority = if lower_wins { "lowercase" } else { "uppercase" };
    for instruction in in_stages(dockerfile) {
        let word = &instruction.keyword_word.text;
        let is_right = if lower_wins { is_lower(word) } else { is_upper(word) };
        if !is_right {
            let message = format!("Command '{word}' should match the case of the command majority ({majority})");
            findings.add_at(&RULE, instruction, message);
        }
    }
}

/// Whether more keywords of stages are in lower case than in upper case.
pub fn most_keywords_are_lower(dockerfile: &Dockerfile) -> bool {
    let words = || in_stages(dockerfile).map(|instruction| instruction.keyword_word.text.as_str());
    let n_lower = words().filter(|word| is_lower(word)).count();
    n_lower > words().filter(|word| is_upper(word)).count()
}

fn in_stages(dockerfile: &Dockerfile) -> impl Iterator<Item = &Instruction> {
    dockerfile.instructions.iter().skip_while(|instruction| instruction.keyword != Keyword::From)
}

fn is_lower(word: &str) -> bool {
    word == word.to_lowercase()
}

fn is_upper(word: &str) -> bool {
    word == word.to_uppercase()
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::{check_hits, check_silent};

    #[test]
    fn the_majority_decides_and_upper_case_wins_a_tie() {
        let told = |line: usize, word: &str, majority: &str| {
            let rule = "ConsistentInstructionCasing";
            format!("{line} {rule}: Command '{word}' should match the case of the command majority ({majority})")
        };
        check_hits(&[
            ("FROM a\nrun x\n", &told(2, "run", "uppercase")),
            ("from a\nrun x\nRUN x\n", &told(3, "RUN", "lowercase")),
            ("FROM a\nRun x\n", &told(2, "Run", "uppercase")),
            ("arg X\narg Y\narg Z\nFROM a\nrun x\n", &told(5, "run", "uppercase")),
        ]);
        check_silent(&["from a\nrun x\n", "arg X\nFROM a\nRUN x\n"]);
    }
}
