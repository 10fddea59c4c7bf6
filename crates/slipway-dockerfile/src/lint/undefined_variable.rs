//! Variables that nothing defines, in `FROM` and in stages.

use super::{Findings, Rule};
use crate::facts::{Fact, Seen};

pub(super) const IN_FROM: Rule =
    Rule::new("UndefinedArgInFrom", "undefined-arg-in-from", "FROM command must use declared ARGs");
pub(super) const IN_STAGE: Rule =
    Rule::new("UndefinedVar", "undefined-var", "Variables should be defined before their use");

pub(super) fn check(fact: &Fact, findings: &mut Findings<'_>) {
    match &fact.seen {
        Seen::UndeclaredArg { name, similar } => {
            let guess = similar.as_ref().map(|name| format!(" (did you mean {name}?)")).unwrap_or_default();
            let message = format!("FROM argument '{name}' is not declared{guess}");
            findings.add(&IN_FROM, &fact.place, message);
        }
        Seen::UnsetVariable { name, similar } => {
            let guess = similar.as_ref().map(|name| format!(" (did you mean ${name}?)")).unwrap_or_default();
            let message = format!("Usage of undefined variable '${name}'{guess}");
            findings.add(&IN_STAGE, &fact.place, message);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::{check_hits, check_silent};

    #[test]
    fn from_knows_the_args_in_front_and_the_platforms() {
        check_hits(&[
            ("FROM scratch$XYZZY\n", "1 UndefinedArgInFrom: FROM argument 'XYZZY' is not declared"),
            (
                "ARG base=scratch\nFROM ${base}$bas\n",
                "2 UndefinedArgInFrom: FROM argument 'bas' is not declared (did you mean base?)",
            ),
            (
                "FROM --platform=$TARGETPLATFORM$BUILDPLATFROM scratch\n",
                "1 UndefinedArgInFrom: FROM argument 'BUILDPLATFROM' is not declared (did you mean BUILDPLATFORM?)",
            ),
        ]);
        check_silent(&["ARG X\nFROM scratch$X\n", "FROM --platform=$BUILDPLATFORM scratch\n"]);
    }

    #[test]
    fn stages_know_their_own_args_and_variables() {
        let told = |line: usize, name: &str| format!("{line} UndefinedVar: Usage of undefined variable '${name}'");
        check_hits(&[
            ("FROM scratch\nCOPY $xyzzy /\n", &told(2, "xyzzy")),
            ("FROM scratch\nENV a=${xyzzy:-1}${xyzzy}\n", &told(2, "xyzzy")),
            ("FROM scratch\nARG a=$xyzzy\n", &told(2, "xyzzy")),
            ("ARG G=1\nFROM scratch\nLABEL a=$G\n", &told(3, "G")),
            ("FROM scratch\nRUN --mount=type=tmpfs,target=/m$xyzzy x\n", &told(2, "xyzzy")),
            ("FROM scratch\nCOPY <<E /\n$xyzzy\nE\n", &told(2, "xyzzy")),
            (
                "FROM scratch\nWORKDIR /$PAHT\n",
                "2 UndefinedVar: Usage of undefined variable '$PAHT' (did you mean $PATH?)",
            ),
        ]);
        check_silent(&[
            "FROM scratch\nENV a=1\nARG b\nARG c=2\nENV d=$PATH$a$b$c\n",
            "ARG G=1\nFROM scratch\nARG G\nENV a=$G\n",
            "FROM scratch AS p\nENV a=1\nARG b\nFROM p\nENV x=$a$b\n",
            "FROM scratch\nRUN $x\nCMD [\"$x\"]\nEXPOSE $x\nCOPY <<'E' /\n$x\nE\n",
            "FROM scratch\nENV a=$BUILDKIT_SBOM_SCAN_STAGE\n",
        ]);
    }
}
