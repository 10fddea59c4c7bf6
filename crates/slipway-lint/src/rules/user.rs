//! Who an image runs as.

use super::Family;
use crate::source::{Base, Source, Step, Words};
use crate::{Findings, Rule, Severity};
use slipway_dockerfile::Keyword;

const ROOT: Rule =
    Rule::new("DL3002", Severity::Warning, "the last USER is root", "Switch back to a user without power at the end");
const NAME: Rule = Rule::new(
    "DL3066",
    Severity::Info,
    "USER is a name",
    "Use the number: Kubernetes cannot tell from a name that it is not root (runAsNonRoot)",
);
const MISSING: Rule = Rule::new(
    "RunsAsRoot",
    Severity::Info,
    "the image runs as root",
    "Add a user (RUN useradd --system app) and end the stage with USER: what breaks out of the program is root otherwise",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&ROOT, &NAME, &MISSING] };

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for (_, step) in source.steps().filter(|(_, step)| step.is(Keyword::User)) {
        let user = user(step);
        if !user.contains('$') && !user.bytes().all(|b| b.is_ascii_digit()) {
            findings.add(&NAME, step.lines, format!("{}: {user}", NAME.summary));
        }
    }
    for (index, stage) in source.stages.iter().enumerate() {
        let last = stage.steps.iter().rev().find(|step| step.is(Keyword::User) && !step.is_trigger);
        if let Some(step) = last.filter(|step| is_root(&user(step))) {
            findings.add_at(&ROOT, step);
        }
        // A stage that others stand on is judged with them.
        let is_last = index == source.stages.len() - 1;
        if is_last && last.is_none() && runs_as_root(source, index) {
            findings.add(&MISSING, stage.from.lines, MISSING.summary);
        }
    }
}

/// Whether no stage below sets a user, and the image at the bottom is not known for having one.
fn runs_as_root(source: &Source<'_>, index: usize) -> bool {
    let chain = source.chain(index);
    let sets_user = |index: &usize| source.stages[*index].steps.iter().any(|step| step.is(Keyword::User));
    let bottom = chain.last().map(|bottom| &source.stages[*bottom].base);
    let has_user = match bottom {
        Some(Base::Image(image)) => {
            image.has_variable()
                || image.whole.contains("nonroot")
                || image.whole.contains("rootless")
                || image.whole.contains("unprivileged")
        }
        _ => false,
    };
    !has_user && !chain.iter().any(sets_user)
}

fn user(step: &Step<'_>) -> String {
    let words = step.instruction.words();
    words.first().map_or(String::new(), |word| word.split(':').next().unwrap_or(word).to_owned())
}

fn is_root(user: &str) -> bool {
    matches!(user, "root" | "0")
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};

    #[test]
    fn users() {
        check_hits(
            "DL3002",
            &[
                "USER root\n",
                "USER x\nUSER 0:0\n",
                "USER root:root\n",
                "FROM a:1 AS b\nUSER root\nFROM b\nRUN x\n",
                "FROM a:1 AS b\nUSER root\nFROM c:1\nCOPY --from=b /x /x\nUSER 1\n",
            ],
        );
        check_silent(
            "DL3002",
            &["USER root\nUSER x\n", "USER 1000\n", "FROM a:1 AS b\nUSER root\nRUN x\nUSER 1\nFROM c:1\n"],
        );
        check_hits("DL3066", &["USER app\n", "USER app:1\n"]);
        check_silent("DL3066", &["USER 1000\n", "USER 1000:app\n", "USER $U\n"]);
        check_hits("RunsAsRoot", &["RUN x\n", "FROM a:1 AS b\nUSER 1\nFROM c:1\n"]);
        check_silent(
            "RunsAsRoot",
            &["USER 1000\n", "FROM a:1 AS b\nUSER 1\nFROM b\nRUN x\n", "FROM gcr.io/distroless/static:nonroot\n"],
        );
    }
}
