//! Stage names that are taken already, by another stage or by the language.

use std::collections::HashSet;

use super::{Findings, Rule};
use crate::quote::quoted;
use crate::{Args, Dockerfile, Keyword};

pub(super) const DUPLICATE: Rule =
    Rule::new("DuplicateStageName", "duplicate-stage-name", "Stage names should be unique");
pub(super) const RESERVED: Rule =
    Rule::new("ReservedStageName", "reserved-stage-name", "Reserved words should not be used as stage names");

pub(super) fn check(dockerfile: &Dockerfile, findings: &mut Findings<'_>) {
    let mut names = HashSet::new();
    for instruction in dockerfile.instructions.iter().filter(|instruction| instruction.keyword == Keyword::From) {
        let Args::Words(words) = &instruction.args else { continue };
        let [_, _, name] = &words[..] else { continue };
        let name = name.text.to_lowercase();
        if ["scratch", "context"].contains(&name.as_str()) {
            let message = format!("Stage name should not use the same name as reserved stage {}", quoted(&name));
            findings.add_at(&RESERVED, instruction, message);
        }
        let message = format!("Duplicate stage name {}, stage names should be unique", quoted(&name));
        if !names.insert(name) {
            findings.add_at(&DUPLICATE, instruction, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::{check_hits, check_silent};

    #[test]
    fn a_name_is_free_or_taken() {
        let reserved = "ReservedStageName: Stage name should not use the same name as reserved stage";
        check_hits(&[
            (
                "FROM a AS b\nFROM a AS b\n",
                "2 DuplicateStageName: Duplicate stage name \"b\", stage names should be unique",
            ),
            ("FROM a AS scratch\n", &format!("1 {reserved} \"scratch\"")),
            ("FROM a AS context\n", &format!("1 {reserved} \"context\"")),
        ]);
        check_silent(&["FROM scratch AS b\nFROM a AS c\n", "FROM a\nFROM a\n"]);
    }
}
