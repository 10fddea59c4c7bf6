//! Pipes of which only the last command can fail.

use super::Family;
use crate::source::{Shell, Source, Step};
use crate::{Findings, Rule, Severity};

const PIPEFAIL: Rule = Rule::new(
    "DL4006",
    Severity::Warning,
    "a pipe of which only the last command can fail the step",
    "Use SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"], or begin the script with set -o pipefail",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&PIPEFAIL] };

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for (_, step) in source.steps() {
        let has_pipe = step.commands.iter().any(|command| command.is_piped);
        if has_pipe && matches!(step.shell, Shell::Posix { fails_in_pipes: false, .. }) && !sets_pipefail(step) {
            findings.add_at(&PIPEFAIL, step);
        }
    }
}

fn sets_pipefail(step: &Step<'_>) -> bool {
    step.commands.iter().any(|command| command.program() == "set" && command.argument("pipefail").is_some())
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};

    #[test]
    fn pipes() {
        check_hits(
            "DL4006",
            &[
                "RUN a | b\n",
                "SHELL [\"/bin/bash\", \"-c\"]\nRUN a | b\n",
                "SHELL [\"/bin/sh\", \"-o\", \"pipefail\", \"-c\"]\nRUN a | b\n",
                "FROM a:1\nSHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]\nFROM b:1\nRUN a | b\n",
            ],
        );
        check_silent(
            "DL4006",
            &[
                "SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]\nRUN a | b\n",
                "SHELL [\"/bin/ash\", \"-eo\", \"pipefail\", \"-c\"]\nRUN a | b\n",
                "SHELL [\"/usr/local/bin/zsh\", \"-o\", \"pipefail\", \"-c\"]\nRUN a | b\n",
                "RUN set -euo pipefail; a | b\n",
                "RUN a || b\n",
                "RUN echo 'a | b'\n",
                "SHELL [\"pwsh\", \"-c\"]\nRUN a | b\n",
            ],
        );
    }
}
