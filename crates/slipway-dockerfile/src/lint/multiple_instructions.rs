//! `CMD`, `ENTRYPOINT`, `HEALTHCHECK` of which only the last counts.

use std::collections::HashMap;

use super::{Findings, Rule};
use crate::Keyword;
use crate::facts::{Fact, Place, Seen};

pub(super) const RULE: Rule = Rule::new(
    "MultipleInstructionsDisallowed",
    "multiple-instructions-disallowed",
    "Multiple instructions of the same type should not be used in the same stage",
);

/// The last instruction of each kind in each stage so far.
#[derive(Default)]
pub(super) struct Earlier(HashMap<(usize, Keyword), Place>);

impl Earlier {
    /// Points at the earlier one, for that is the one without effect.
    pub(super) fn check(&mut self, fact: &Fact, findings: &mut Findings<'_>) {
        let Seen::Command { .. } = fact.seen else { return };
        let keyword = &fact.place.written_keyword;
        if let Some(earlier) = self.0.insert((fact.stage, fact.place.keyword), fact.place.clone()) {
            let reason = "should not be used in the same stage because only the last one will be used";
            findings.add(&RULE, &earlier, format!("Multiple {keyword} instructions {reason}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::{check_hits, check_silent};

    #[test]
    fn all_but_the_last_are_told() {
        let told = |line: usize, keyword: &str| {
            let tail = "should not be used in the same stage because only the last one will be used";
            format!("{line} MultipleInstructionsDisallowed: Multiple {keyword} instructions {tail}")
        };
        check_hits(&[
            ("FROM scratch\nCMD []\nCMD []\n", &told(2, "CMD")),
            ("FROM scratch\nENTRYPOINT []\nRUN x\nENTRYPOINT []\n", &told(2, "ENTRYPOINT")),
            ("FROM scratch\nHEALTHCHECK NONE\nHEALTHCHECK CMD x\n", &told(2, "HEALTHCHECK")),
        ]);
        check_silent(&["FROM scratch AS a\nCMD []\nFROM a\nCMD []\n", "FROM scratch\nCMD []\nENTRYPOINT []\n"]);
    }
}
