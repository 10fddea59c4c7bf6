//! `ENV key value` and `LABEL key value`, without `=`.

use super::{Findings, Rule};
use crate::facts::{Fact, Seen};

pub(super) const RULE: Rule = Rule::new(
    "LegacyKeyValueFormat",
    "legacy-key-value-format",
    "Legacy key/value format with whitespace separator should not be used",
);

pub(super) fn check(fact: &Fact, findings: &mut Findings<'_>) {
    if let Seen::Pair { is_legacy: true, .. } = &fact.seen {
        let keyword = &fact.place.written_keyword;
        let message =
            format!("\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format");
        findings.add(&RULE, &fact.place, message);
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::{check_hits, check_silent};

    #[test]
    fn blanks_instead_of_an_equals_sign() {
        let told = |keyword: &str| {
            let tail = format!("should be used instead of legacy \"{keyword} key value\" format");
            format!("2 LegacyKeyValueFormat: \"{keyword} key=value\" {tail}")
        };
        check_hits(&[("FROM scratch\nENV a b c\n", &told("ENV")), ("FROM scratch\nLABEL a b\n", &told("LABEL"))]);
        check_silent(&["FROM scratch\nENV a=b c=d\nLABEL a=b\n"]);
    }
}
