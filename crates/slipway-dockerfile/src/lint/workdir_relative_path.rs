//! A relative `WORKDIR` that depends on where the base image happens to be.

use super::{Findings, Rule};
use crate::facts::{Fact, Seen};
use crate::quote::quoted;

pub(super) const RULE: Rule = Rule::new(
    "WorkdirRelativePath",
    "workdir-relative-path",
    "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base \
     image changes",
);

/// Told once: an absolute path there makes all later ones right.
pub(super) fn check(fact: &Fact, findings: &mut Findings<'_>) {
    let Seen::Workdir { path, is_first: true } = &fact.seen else { return };
    if !path.starts_with('/') {
        let message =
            format!("Relative workdir {} can have unexpected results if the base image changes", quoted(path));
        findings.add(&RULE, &fact.place, message);
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::{check_hits, check_silent};

    #[test]
    fn the_first_one_in_the_file_counts() {
        let told = |line: usize| {
            let tail = "can have unexpected results if the base image changes";
            format!("{line} WorkdirRelativePath: Relative workdir \"a\" {tail}")
        };
        check_hits(&[
            ("FROM scratch\nWORKDIR a\nWORKDIR b\n", &told(2)),
            ("FROM scratch AS x\nFROM x\nWORKDIR a\n", &told(3)),
            ("FROM scratch AS x\nWORKDIR /b\nFROM scratch\nWORKDIR a\nCOPY --from=x / /\n", &told(4)),
        ]);
        check_silent(&[
            "FROM scratch\nWORKDIR /a\nWORKDIR b\n",
            "FROM scratch AS x\nWORKDIR /b\nFROM x\nWORKDIR a\n",
            "FROM scratch\nENV d=/d\nWORKDIR $d\n",
        ]);
    }
}
