//! A base that is a name only if somebody passes the right `--build-arg`.

use slipway_oci::Reference;

use super::{Findings, Rule};
use crate::facts::{Fact, Seen};

pub(super) const RULE: Rule = Rule::new(
    "InvalidDefaultArgInFrom",
    "invalid-default-arg-in-from",
    "Default value for global ARG results in an empty or invalid base image name",
);

pub(super) fn check(fact: &Fact, findings: &mut Findings<'_>) {
    let Seen::DefaultBase { written, value } = &fact.seen else { return };
    if value.parse::<Reference>().is_err() {
        let message = format!("Default value for ARG {written} results in empty or invalid base image name");
        findings.add(&RULE, &fact.place, message);
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::{check_silent, hits_with_args};

    #[test]
    fn defaults_alone_must_do() {
        let told = |line: usize, written: &str| {
            let tail = "results in empty or invalid base image name";
            format!("{line} InvalidDefaultArgInFrom: Default value for ARG {written} {tail}")
        };
        let args = [("A", "scratch")];
        assert_eq!(hits_with_args("ARG A\nFROM $A\n", &args), [told(2, "$A")]);
        assert_eq!(hits_with_args("ARG A=:x\nFROM ${A}\n", &args), [told(2, "${A}")]);
        assert!(hits_with_args("ARG A=amd\nFROM $A\n", &args).is_empty());
        check_silent(&["ARG A=scratch\nFROM $A\n", "ARG A=scr\nARG B=${A}atch\nFROM $B\n"]);
    }
}
