//! `MAINTAINER`.

use super::{Findings, Rule};
use crate::{Instruction, Keyword};

pub(super) const RULE: Rule = Rule::new(
    "MaintainerDeprecated",
    "maintainer-deprecated",
    "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
);

pub(super) fn check(instruction: &Instruction, findings: &mut Findings<'_>) {
    if instruction.keyword == Keyword::Maintainer {
        let message = "Maintainer instruction is deprecated in favor of using label".to_owned();
        findings.add_at(&RULE, instruction, message);
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::{check_hits, check_silent};

    #[test]
    fn a_label_does_it() {
        let told = "2 MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label";
        check_hits(&[("FROM scratch\nMAINTAINER x\n", told)]);
        check_silent(&["FROM scratch\nLABEL org.opencontainers.image.authors=x\n"]);
    }
}
