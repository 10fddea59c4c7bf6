//! A base image for another platform than the one that is built for.

use super::{Findings, Rule};
use crate::facts::{Fact, Seen};
use crate::quote::quoted;

pub(super) const RULE: Rule =
    Rule::new("InvalidBaseImagePlatform", "", "Base image platform does not match expected target platform");

pub(super) fn check(fact: &Fact, findings: &mut Findings<'_>) {
    let Seen::ForeignBase { image, pulled, expected } = &fact.seen else { return };
    let (pulled, expected) = (quoted(&pulled.to_string()), quoted(&expected.to_string()));
    let message =
        format!("Base image {image} was pulled with platform {pulled}, expected {expected} for current build");
    findings.add(&RULE, &fact.place, message);
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::{check_hits, check_silent};

    #[test]
    fn a_foreign_base_is_told() {
        let told =
            "Base image arm was pulled with platform \"linux/arm64\", expected \"linux/amd64\" for current build";
        check_hits(&[("FROM arm\n", &format!("1 InvalidBaseImagePlatform: {told}"))]);
        check_silent(&["FROM amd\n", "ARG FOREIGN\nFROM --platform=$FOREIGN arm\n"]);
    }
}
