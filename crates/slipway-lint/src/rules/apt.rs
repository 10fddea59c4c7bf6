//! `apt-get`: versions, answers, recommendations, lists.

use super::Family;
use crate::shell::{Command, Word};
use crate::source::{Source, Step};
use crate::{Findings, Rule, Severity};

const APT: Rule = Rule::new(
    "DL3027",
    Severity::Warning,
    "`apt` is made for people and may change its behaviour",
    "Use apt-get or apt-cache in scripts: their options and output are stable",
);
const VERSIONS: Rule = Rule::new(
    "DL3008",
    Severity::Warning,
    "package installed by apt-get without a version",
    "Write package=version, so that the same Dockerfile installs the same packages tomorrow",
);
const LISTS: Rule = Rule::new(
    "DL3009",
    Severity::Info,
    "what apt-get downloads stays in the layer",
    "End the RUN with rm -rf /var/lib/apt/lists/*, or mount caches over /var/lib/apt and /var/cache/apt",
);
const ANSWERS: Rule = Rule::new(
    "DL3014",
    Severity::Warning,
    "apt-get install asks before it goes on",
    "Add -y: nobody is there to answer",
);
const RECOMMENDS: Rule = Rule::new(
    "DL3015",
    Severity::Info,
    "apt-get install takes recommended packages, too",
    "Add --no-install-recommends and name what is needed",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&VERSIONS, &LISTS, &ANSWERS, &RECOMMENDS, &APT] };

/// Flags whose value is a word of its own.
const WITH_VALUE: [&str; 8] =
    ["-t", "--target-release", "--default-release", "-o", "--option", "-c", "--config-file", "-a"];

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for (_, step, command) in source.commands() {
        if command.program() == "apt" {
            findings.add_at(&APT, step).replace(command.words[0].span, "apt-get");
        }
        if is_install(command) {
            check_install(step, command, findings);
        }
    }
    for (index, step) in source.steps() {
        if source.stays(index) && leaves_lists(step) {
            findings.add_at(&LISTS, step);
        }
    }
}

fn check_install(step: &Step<'_>, command: &Command, findings: &mut Findings<'_>) {
    if let Some(package) = packages(command).into_iter().find(|package| !is_pinned(package)) {
        findings.add(&VERSIONS, step.lines, format!("{}: {}", VERSIONS.summary, package.text));
    }
    let install = command.argument("install").map(|word| word.span).unwrap_or_default();
    let options: Vec<&str> = options(command).collect();
    let says_yes = |option: &&str| option.to_lowercase().starts_with("apt::get::assume-yes");
    if !is_very_quiet(command) && !command.has_flag(&["y", "yes", "assume-yes"]) && !options.iter().any(says_yes) {
        findings.add_at(&ANSWERS, step).insert_after(install, " -y");
    }
    let recommends = |option: &&str| {
        let option = option.to_lowercase();
        option.starts_with("apt::install-recommends=") && option.contains(['0', 'f', 'n'])
    };
    if !command.has_flag(&["no-install-recommends"]) && !options.iter().any(recommends) {
        findings.add_at(&RECOMMENDS, step);
    }
}

/// `-qq`, in all its spellings, means yes.
fn is_very_quiet(command: &Command) -> bool {
    let level = |word: &Word| match (word.text.strip_prefix("--"), word.text.strip_prefix('-')) {
        (Some(long), _) => match long.strip_prefix("quiet") {
            Some("") => 1,
            rest => usize::from(rest == Some("=2")) * 2,
        },
        (None, Some("q=2")) => 2,
        (None, Some(short)) => short.bytes().take_while(|byte| *byte != b'=').filter(|byte| *byte == b'q').count(),
        (None, None) => 0,
    };
    command.arguments().iter().map(level).sum::<usize>() >= 2
}

fn is_install(command: &Command) -> bool {
    command.is_program(&["apt-get"]) && command.operands(&WITH_VALUE).first().is_some_and(|word| word.text == "install")
}

fn packages(command: &Command) -> Vec<&Word> {
    command.operands(&WITH_VALUE).into_iter().skip(1).collect()
}

fn is_pinned(package: &Word) -> bool {
    package.is_variable() || package.text.contains(['=', '/']) || package.text.ends_with(".deb")
}

/// The values of `-o`.
fn options(command: &Command) -> impl Iterator<Item = &str> {
    let words = command.arguments();
    words.iter().enumerate().filter_map(|(index, word)| match word.text.as_str() {
        "-o" | "--option" => words.get(index + 1).map(|value| value.text.as_str()),
        text => text.strip_prefix("--option=").or_else(|| text.strip_prefix("-o").filter(|value| !value.is_empty())),
    })
}

fn leaves_lists(step: &Step<'_>) -> bool {
    let updates = |command: &Command| command.is_program(&["apt-get"]) && command.argument("update").is_some();
    let clears = |command: &Command| {
        command.program() == "rm" && command.arguments().iter().any(|word| word.text.starts_with("/var/lib/apt"))
    };
    step.commands.iter().any(updates) && !step.commands.iter().any(clears) && !keeps_lists_elsewhere(step)
}

/// Who mounts a folder above the lists means to keep the packages as well, which are in another one.
fn keeps_lists_elsewhere(step: &Step<'_>) -> bool {
    let over_lists = |path: &str| path.starts_with("/var/lib/apt/lists");
    let is_cache = |kind: &str| matches!(kind, "cache" | "tmpfs");
    step.mounts().iter().any(|mount| is_cache(&mount.kind) && over_lists(&mount.target))
        || (step.mounts_over("/var/lib/apt") && step.mounts_over("/var/cache/apt"))
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_fix, check_hits, check_silent};

    #[test]
    fn versions() {
        check_hits(
            "DL3008",
            &[
                "RUN apt-get install python\n",
                "RUN apt-get -y install a=1 b\n",
                "ONBUILD RUN apt-get install python\n",
                "RUN [\"apt-get\", \"install\", \"x\"]\n",
            ],
        );
        check_silent(
            "DL3008",
            &[
                "RUN apt-get install a=1 b=2\n",
                "RUN apt-get update\n",
                "RUN apt-get install -t sid a/sid ./x.deb\n",
                "RUN apt-get install $PACKAGES\n",
                "RUN echo apt-get install x\n",
                "RUN apt-get install -o X=y a=1\n",
            ],
        );
    }

    #[test]
    fn lists() {
        check_hits(
            "DL3009",
            &[
                "RUN apt-get update\n",
                "FROM a:1 AS b\nRUN apt-get update\nFROM b\nRUN x\n",
                "RUN --mount=type=cache,target=/var/cache/apt apt-get update\n",
                "RUN --mount=type=cache,target=/var/lib/apt apt-get update\n",
                "RUN apt-get update && apt-get install -y a=1 && rm -rf /tmp/*\n",
            ],
        );
        check_silent(
            "DL3009",
            &[
                "RUN apt-get update && rm -rf /var/lib/apt/lists/*\n",
                "RUN --mount=type=cache,target=/var/lib/apt/lists apt-get update\n",
                "RUN --mount=type=cache,target=/var/lib/apt --mount=type=cache,target=/var/cache/apt apt-get update\n",
                "FROM a:1 AS b\nRUN apt-get update\nFROM c:1\nCOPY --from=b /x /x\n",
                "FROM a:1 AS b\nRUN apt-get update\nFROM c:1\n",
            ],
        );
    }

    #[test]
    fn answers() {
        check_hits(
            "DL3014",
            &["RUN apt-get install a=1\n", "RUN apt-get install -q a\n", "RUN apt-get --quiet install a\n"],
        );
        check_silent(
            "DL3014",
            &[
                "RUN apt-get install -y a\n",
                "RUN apt-get -qqy install a\n",
                "RUN apt-get -qq install a\n",
                "RUN apt-get install -q -q a\n",
                "RUN apt-get install -q=2 a\n",
                "RUN apt-get install --quiet --quiet a\n",
                "RUN apt-get --quiet=2 install a\n",
                "RUN apt-get --yes install a\n",
                "RUN apt-get install --assume-yes a\n",
                "RUN apt-get -o APT::Get::Assume-Yes=true install a\n",
            ],
        );
        check_fix(
            "DL3014",
            "FROM a:1\nRUN x && \\\n  apt-get install \\\n  b\n",
            "FROM a:1\nRUN x && \\\n  apt-get install -y \\\n  b\n",
        );
    }

    #[test]
    fn recommendations() {
        check_hits("DL3015", &["RUN apt-get install -y a\n"]);
        check_silent(
            "DL3015",
            &[
                "RUN apt-get install --no-install-recommends a\n",
                "RUN apt-get install -o APT::Install-Recommends=false a\n",
            ],
        );
    }

    #[test]
    fn apt_itself() {
        check_hits("DL3027", &["RUN apt update\n"]);
        check_fix("DL3027", "FROM a:1\nRUN apt update && apt-get x\n", "FROM a:1\nRUN apt-get update && apt-get x\n");
        check_silent("DL3027", &["RUN apt-get update\n", "RUN ls apt\n"]);
    }
}
