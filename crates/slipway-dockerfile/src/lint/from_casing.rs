//! `FROM … AS …`: a stage name with upper case, an `as` that is not cased as its `from`.

use super::{Findings, Rule};
use crate::{Args, Instruction, Keyword};

pub(super) const STAGE_NAME: Rule =
    Rule::new("StageNameCasing", "stage-name-casing", "Stage names should be lowercase");
pub(super) const AS: Rule =
    Rule::new("FromAsCasing", "from-as-casing", "The 'as' keyword should match the case of the 'from' keyword");

pub(super) fn check(instruction: &Instruction, findings: &mut Findings<'_>) {
    let (Keyword::From, Args::Words(words)) = (instruction.keyword, &instruction.args) else { return };
    let [_, as_word, name] = &words[..] else { return };
    if name.text.to_lowercase() != name.text {
        let message = format!("Stage name '{}' should be lowercase", name.text);
        findings.add_at(&STAGE_NAME, instruction, message);
    }
    let (from, as_word) = (&instruction.keyword_word.text, &as_word.text);
    let is_match = match (*from == from.to_lowercase(), *from == from.to_uppercase()) {
        (true, _) => *as_word == as_word.to_lowercase(),
        (_, true) => *as_word == as_word.to_uppercase(),
        // `From` is another rule's business.
        (false, false) => true,
    };
    if !is_match {
        findings.add_at(&AS, instruction, format!("'{as_word}' and '{from}' keywords' casing do not match"));
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::{check_hits, check_silent};

    #[test]
    fn names_and_keywords_have_one_case() {
        check_hits(&[
            ("FROM a AS B", "1 StageNameCasing: Stage name 'B' should be lowercase"),
            ("FROM a as b", "1 FromAsCasing: 'as' and 'FROM' keywords' casing do not match"),
            ("FROM a As b", "1 FromAsCasing: 'As' and 'FROM' keywords' casing do not match"),
            ("from a AS b", "1 FromAsCasing: 'AS' and 'from' keywords' casing do not match"),
        ]);
        check_silent(&["FROM a AS b", "from a as b", "FROM a"]);
    }
}
