//! Keywords that are cased otherwise than most keywords of the file.

use super::{Findings, Rule};
use crate::{Dockerfile, Keyword};

pub(super) const RULE: Rule = Rule::new(
    "ConsistentInstructionCasing",
    "consistent-instruction-casing",
    "All commands within the Dockerfile should use the same casing (either upper or lower)",
);

/// Looks at stages only: an `ARG` in front of the first `FROM` neither counts nor is complained about.
pub(super) fn check(dockerfile: &Dockerfile, findings: &mut Findings<'_>) {
    let in_stages = || dockerfile.instructions.iter().skip_while(|instruction| instruction.keyword != Keyword::From);
    let is_lower = |word: &str| word == word.to_lowercase();
    let is_upper = |word: &str| word == word.to_uppercase();
    let words = || in_stages().map(|instruction| instruction.keyword_word.text.as_str());
    let n_lower = words().filter(|word| is_lower(word)).count();
    let n_upper = words().filter(|word| is_upper(word)).count();
    let majority = if n_lower > n_upper { "lowercase" } else { "uppercase" };
    for instruction in in_stages() {
        let word = &instruction.keyword_word.text;
        let is_right = if n_lower > n_upper { is_lower(word) } else { is_upper(word) };
        if !is_right {
            let message = format!("Command '{word}' should match the case of the command majority ({majority})");
            findings.add_at(&RULE, instruction, message);
        }
    }
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
