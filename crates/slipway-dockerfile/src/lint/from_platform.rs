//! `FROM --platform=` that says nothing new, or the same on every machine.

use slipway_oci::Platform;

use super::{Findings, Rule};
use crate::facts::{Fact, Seen, StagePlatform};
use crate::quote::quoted;

pub(super) const REDUNDANT: Rule = Rule::new(
    "RedundantTargetPlatform",
    "redundant-target-platform",
    "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
);
pub(super) const CONSTANT: Rule = Rule::new(
    "FromPlatformFlagConstDisallowed",
    "from-platform-flag-const-disallowed",
    "FROM --platform flag should not use a constant value",
);

pub(super) fn check(fact: &Fact, findings: &mut Findings<'_>) {
    let Seen::StagePlatform(platform) = &fact.seen else { return };
    if is_redundant(platform) {
        let written = &platform.written;
        let message =
            format!("Setting platform to predefined {written} in FROM is redundant as this is the default behavior");
        findings.add(&REDUNDANT, &fact.place, message);
    }
    if is_constant(platform) {
        let message = format!("FROM --platform flag should not use constant value {}", quoted(&platform.value));
        findings.add(&CONSTANT, &fact.place, message);
    }
}

/// `$TARGETPLATFORM` and nothing else.
fn is_redundant(platform: &StagePlatform) -> bool {
    let variables = &platform.variables;
    variables.set == ["TARGETPLATFORM"] && variables.unset.is_empty() && platform.value == platform.target
}

/// No variable. A stage that is named after its platform means it.
fn is_constant(platform: &StagePlatform) -> bool {
    if !platform.variables.set.is_empty() || !platform.variables.unset.is_empty() {
        return false;
    }
    let Ok(meant) = platform.value.parse::<Platform>() else { return false };
    let name = platform.stage_name.as_deref().unwrap_or_default();
    !name.contains(&meant.os) && !name.contains(&meant.architecture)
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::{check_hits, check_silent};

    #[test]
    fn what_is_the_default_need_not_be_said() {
        let told = |written: &str| {
            let tail = "in FROM is redundant as this is the default behavior";
            format!("1 RedundantTargetPlatform: Setting platform to predefined {written} {tail}")
        };
        check_hits(&[
            ("FROM --platform=$TARGETPLATFORM scratch\n", &told("$TARGETPLATFORM")),
            ("FROM --platform=${TARGETPLATFORM} scratch\n", &told("${TARGETPLATFORM}")),
        ]);
        check_silent(&["FROM --platform=$BUILDPLATFORM scratch\n", "FROM --platform=linux/$TARGETARCH scratch\n"]);
    }

    #[test]
    fn constants_are_told_unless_the_name_says_them() {
        let told = "1 FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value";
        check_hits(&[
            ("FROM --platform=linux/amd64 scratch AS build\n", &format!("{told} \"linux/amd64\"")),
            ("FROM --platform=arm64 scratch\n", &format!("{told} \"arm64\"")),
        ]);
        check_silent(&[
            "FROM --platform=linux/amd64 scratch AS build-amd64\n",
            "FROM --platform=linux/arm64 scratch AS for_linux\n",
            "ARG P=linux/amd64\nFROM --platform=$P scratch\n",
        ]);
    }
}
