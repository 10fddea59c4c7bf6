//! `pip install`: versions and the cache.

use super::Family;
use crate::shell::{Command, Word};
use crate::source::{Source, Step};
use crate::{Findings, Rule, Severity};
use slipway_dockerfile::{Args, Keyword};

const VERSIONS: Rule = Rule::new(
    "DL3013",
    Severity::Warning,
    "package installed by pip without a version",
    "Write package==version, or install from a file of requirements with versions",
);
const CACHE: Rule = Rule::new(
    "DL3042",
    Severity::Warning,
    "the cache of pip stays in the layer",
    "Add --no-cache-dir, or mount a cache over /root/.cache/pip",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&VERSIONS, &CACHE] };

const WITH_VALUE: [&str; 31] = [
    "-r",
    "--requirement",
    "-c",
    "--constraint",
    "-e",
    "--editable",
    "-t",
    "--target",
    "-i",
    "--index-url",
    "--extra-index-url",
    "-f",
    "--find-links",
    "--trusted-host",
    "--prefix",
    "--root",
    "--platform",
    "--python-version",
    "--abi",
    "--implementation",
    "--only-binary",
    "--no-binary",
    "--timeout",
    "--progress-bar",
    "-b",
    "--build",
    "--src",
    "--proxy",
    "--upgrade-strategy",
    "--retries",
    "--cache-dir",
];

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for (index, step, command) in source.commands() {
        let Some(packages) = packages(command) else { continue };
        if !has_versions_elsewhere(command)
            && let Some(package) = packages.iter().find(|package| !is_pinned(package))
        {
            findings.add(&VERSIONS, step.lines, format!("{}: {}", VERSIONS.summary, package.text));
        }
        let is_clean = command.has_flag(&["no-cache-dir"])
            || command.assignments.iter().any(|word| is_no_cache(word.text.split_once('=')))
            || step.mounts_over("/root/.cache/pip")
            || step.mounts().iter().any(|mount| mount.kind == "cache" && mount.target.ends_with("pip"))
            || exports_no_cache(step)
            || sets_no_cache(source, index, step);
        if !is_clean {
            findings.add_at(&CACHE, step);
        }
    }
}

/// The packages that a command installs; `None` if it is no `pip install`.
fn packages(command: &Command) -> Option<Vec<&Word>> {
    let mut operands = command.operands(&WITH_VALUE);
    let program = command.program();
    if program.starts_with("python") && command.flag_value("-m").is_some_and(|module| module == "pip") {
        let module = operands.iter().position(|word| word.text == "pip")?;
        operands.remove(module);
    } else if !matches!(program, "pip" | "pip2" | "pip3") && !program.starts_with("pip3.") {
        return None;
    }
    let (verb, packages) = operands.split_first()?;
    (verb.text == "install").then(|| packages.to_vec())
}

/// A file with versions, and what a project in the folder asks for, hold for what is named on the line, too.
fn has_versions_elsewhere(command: &Command) -> bool {
    let files = ["-c", "--constraint", "-r", "--requirement"];
    files.iter().any(|flag| command.flag_value(flag).is_some()) || command.argument(".").is_some()
}

fn is_pinned(package: &Word) -> bool {
    let text = &package.text;
    let has_version = ["==", ">=", "<=", "~=", "!=", ">", "<"].iter().any(|sign| text.contains(sign));
    let is_file = text.starts_with('.') || [".whl", ".tar.gz", ".zip"].iter().any(|end| text.ends_with(end));
    // A folder or an address says which version it is; a repository only with the name of a commit.
    let is_place = match is_repository(text) {
        true => text.contains('@'),
        false => text.contains('/'),
    };
    package.is_variable() || has_version || is_file || is_place
}

/// `git+https://…` and its like.
fn is_repository(text: &str) -> bool {
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    ["git", "hg", "svn", "bzr"].contains(&scheme.split('+').next().unwrap_or(scheme))
}

fn is_no_cache(pair: Option<(&str, &str)>) -> bool {
    let is_true = |value: &str| !matches!(value.to_lowercase().as_str(), "" | "0" | "off" | "no" | "false");
    pair.is_some_and(|(name, value)| name == "PIP_NO_CACHE_DIR" && is_true(value))
}

/// Whether the script exports a variable that turns the cache off.
fn exports_no_cache(step: &Step<'_>) -> bool {
    let exports = step.commands.iter().filter(|command| command.program() == "export");
    exports.flat_map(Command::arguments).any(|word| is_no_cache(word.text.split_once('=')))
}

/// Whether an `ENV` of the stage, or of one that it stands on, turns the cache off in front of `step`.
fn sets_no_cache(source: &Source<'_>, index: usize, step: &Step<'_>) -> bool {
    let steps = source.chain(index).into_iter().flat_map(|index| &source.stages[index].steps);
    steps.filter(|earlier| earlier.is(Keyword::Env) && earlier.lines.first < step.lines.first).any(|env| {
        let Args::Pairs { pairs, .. } = &env.instruction.args else { return false };
        pairs.iter().any(|(name, value)| is_no_cache(Some((&name.text, crate::source::unquoted(&value.text)))))
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};

    #[test]
    fn versions() {
        check_hits(
            "DL3013",
            &[
                "RUN pip install django\n",
                "RUN python3 -m pip install a==1 b\n",
                "RUN python -m pip install -U pip a==1\n",
                "RUN pip3 install --no-cache-dir -U pip\n",
                "RUN pip install -i https://x a\n",
                "RUN pip install git+https://x/y.git#egg=y\n",
                "RUN pip install git+ssh://x/y.git#egg=y\n",
                "RUN pip install --build /opt/x --proxy p a\n",
                "RUN pip install gitpython\n",
            ],
        );
        check_silent(
            "DL3013",
            &[
                "RUN pip install a==1 'b>=2' git+https://x@1 ./c d.whl\n",
                "RUN pip install -r requirements.txt\n",
                "RUN pip install -e .\n",
                "RUN pip install -c constraints.txt a\n",
                "RUN pip install a -r requirements.txt\n",
                "RUN pip install a .\n",
                "RUN pip install x/y https://x/y.zip\n",
                "RUN pip install --upgrade-strategy eager --src s -b b a===1\n",
                "RUN pipenv install a\n",
                "RUN pip list\n",
                "RUN pip install $X\n",
            ],
        );
    }

    #[test]
    fn cache() {
        check_hits(
            "DL3042",
            &[
                "RUN pip install a==1\n",
                "ENV PIP_NO_CACHE_DIR=0\nRUN pip install a\n",
                "RUN PIP_NO_CACHE_DIR=off pip install a\n",
                "RUN export PIP_NO_CACHE_DIR=False && pip install a\n",
            ],
        );
        check_silent(
            "DL3042",
            &[
                "RUN pip install --no-cache-dir a\n",
                "ENV PIP_NO_CACHE_DIR=1\nRUN pip install a\n",
                "RUN PIP_NO_CACHE_DIR=1 pip install a\n",
                "RUN export PIP_NO_CACHE_DIR=1 && pip install a\n",
                "RUN pipx install a\n",
                "RUN --mount=type=cache,target=/root/.cache pip install a\n",
                "FROM a:1 AS b\nENV PIP_NO_CACHE_DIR=on\nFROM b\nRUN pip install a\n",
            ],
        );
    }
}
