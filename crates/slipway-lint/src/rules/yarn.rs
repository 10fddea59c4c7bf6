//! `yarn install` and its cache.

use super::Family;
use crate::shell::Command;
use crate::source::Source;
use crate::{Findings, Rule, Severity};

const CACHE: Rule = Rule::new(
    "DL3060",
    Severity::Info,
    "the cache of yarn stays in the layer",
    "End the RUN with yarn cache clean, or mount a cache over the folder of yarn's",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&CACHE] };

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for (index, step) in source.steps() {
        let installs = |command: &Command| is_yarn(command, &["install"]);
        let cleans = |command: &Command| is_yarn(command, &["cache", "clean"]);
        let has_cache = step
            .mounts()
            .iter()
            .any(|m| m.kind != "bind" && (m.target.contains("yarn") || m.target.ends_with(".cache")));
        if source.stays(index) && step.commands.iter().any(installs) && !step.commands.iter().any(cleans) && !has_cache
        {
            findings.add_at(&CACHE, step);
        }
    }
}

fn is_yarn(command: &Command, verbs: &[&str]) -> bool {
    let operands =
        command.operands(&["--cwd", "--cache-folder", "--network-timeout", "--registry", "--modules-folder"]);
    command.program() == "yarn"
        && verbs.iter().enumerate().all(|(n, verb)| operands.get(n).is_some_and(|w| w.text == *verb))
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};

    #[test]
    fn cache() {
        check_hits(
            "DL3060",
            &[
                "RUN yarn install\n",
                "RUN yarn --frozen-lockfile install && yarn build\n",
                "FROM a:1 AS b\nRUN yarn install\nFROM b\nRUN x\n",
            ],
        );
        check_silent(
            "DL3060",
            &[
                "RUN yarn install && yarn cache clean\n",
                "RUN yarn build\n",
                "RUN --mount=type=cache,target=/root/.yarn yarn install\n",
                "FROM a:1 AS b\nRUN yarn install\nFROM c:1\nCOPY --from=b /d /d\n",
                "FROM a:1 AS b\nRUN yarn install\nFROM c:1\n",
            ],
        );
    }
}
