//! `CMD` and `ENTRYPOINT` in shell form: the shell gets the signals and does not pass them on.

use super::{Findings, Rule};
use crate::Keyword;
use crate::facts::{Fact, Seen};

pub(super) const RULE: Rule = Rule::new(
    "JSONArgsRecommended",
    "json-args-recommended",
    "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
);

/// Who says `SHELL` knows what the shell does.
pub(super) fn check(fact: &Fact, findings: &mut Findings<'_>) {
    let is_judged = matches!(fact.place.keyword, Keyword::Cmd | Keyword::Entrypoint);
    if let (true, Seen::Command { needs_default_shell: true }) = (is_judged, &fact.seen) {
        let keyword = &fact.place.written_keyword;
        let message =
            format!("JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals");
        findings.add(&RULE, &fact.place, message);
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::{check_hits, check_silent};

    #[test]
    fn shell_form_without_a_shell_of_ones_own() {
        let told = |line: usize, keyword: &str| {
            let tail = "to prevent unintended behavior related to OS signals";
            format!("{line} JSONArgsRecommended: JSON arguments recommended for {keyword} {tail}")
        };
        check_hits(&[
            ("FROM scratch\nCMD x\n", &told(2, "CMD")),
            ("FROM scratch\nENTRYPOINT x\n", &told(2, "ENTRYPOINT")),
            ("FROM scratch\nENTRYPOINT x\nSHELL [\"s\"]\n", &told(2, "ENTRYPOINT")),
        ]);
        check_silent(&[
            "FROM scratch\nCMD [\"x\"]\n",
            "FROM scratch\nSHELL [\"s\"]\nCMD x\n",
            "FROM scratch AS a\nSHELL [\"s\"]\nFROM a\nCMD x\n",
            "FROM scratch\nRUN x\nHEALTHCHECK CMD x\n",
        ]);
    }
}
