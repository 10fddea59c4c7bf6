//! `RUN` after `RUN`.

use super::Family;
use crate::source::{Source, Step};
use crate::{Findings, Rule, Severity};
use slipway_dockerfile::Keyword;

const CONSECUTIVE: Rule = Rule::new(
    "DL3059",
    Severity::Info,
    "a RUN right after another one",
    "Join them with &&, or in a heredoc: what the second one deletes stays in the layer of the first",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&CONSECUTIVE] };

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for stage in &source.stages {
        for pair in stage.steps.windows(2) {
            let [first, second] = pair else { continue };
            let are_runs = [first, second].iter().all(|step| step.is(Keyword::Run) && !step.is_trigger);
            // Who wrote a chain has joined what belongs together.
            let are_chains = [first, second].iter().any(|step| step.commands.len() > 1);
            if are_runs && !are_chains && flags(first) == flags(second) {
                findings.add_at(&CONSECUTIVE, second);
            }
        }
    }
}

/// Steps with other mounts or another network cannot be one.
fn flags<'a>(step: &'a Step<'_>) -> Vec<(&'a str, Option<&'a str>)> {
    step.instruction.flags.iter().map(|flag| (flag.name.as_str(), flag.value.as_deref())).collect()
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};

    #[test]
    fn runs() {
        check_hits(
            "DL3059",
            &[
                "RUN a\nRUN b\n",
                "RUN a\n# c\nRUN b\n",
                "RUN --mount=type=secret,id=x a\nRUN --mount=type=secret,id=x b\n",
                "RUN a && b\nRUN c\nRUN d\n",
            ],
        );
        check_silent(
            "DL3059",
            &[
                "RUN a\nENV b=c\nRUN d\n",
                "RUN a\nRUN --network=none b\n",
                "RUN a\nFROM b:1\nRUN c\n",
                "RUN a && b\nRUN c\n",
                "RUN a\nRUN b; c\n",
            ],
        );
    }
}
