//! `yum`, `dnf` and `microdnf`: versions, answers, leftovers.

use super::Family;
use crate::shell::{Command, Word};
use crate::source::{Source, Step};
use crate::{Findings, Rule, Severity};

const ADVICE_ANSWERS: &str = "Add -y: nobody is there to answer";
const ADVICE_VERSIONS: &str = "Write package-version, so that the same Dockerfile installs the same packages tomorrow";

const YUM_ANSWERS: Rule = Rule::new("DL3030", Severity::Warning, "yum install asks before it goes on", ADVICE_ANSWERS);
const YUM_CACHE: Rule = Rule::new(
    "DL3032",
    Severity::Warning,
    "the cache of yum stays in the layer",
    "End the RUN with yum clean all, or mount a cache over /var/cache/yum",
);
const YUM_VERSIONS: Rule =
    Rule::new("DL3033", Severity::Warning, "package installed by yum without a version", ADVICE_VERSIONS);
const DNF_ANSWERS: Rule = Rule::new("DL3038", Severity::Warning, "dnf install asks before it goes on", ADVICE_ANSWERS);
const DNF_CACHE: Rule = Rule::new(
    "DL3040",
    Severity::Warning,
    "the cache of dnf stays in the layer",
    "End the RUN with dnf clean all, or mount a cache over /var/cache/dnf",
);
const DNF_VERSIONS: Rule =
    Rule::new("DL3041", Severity::Warning, "package installed by dnf without a version", ADVICE_VERSIONS);

pub(crate) const FAMILY: Family =
    Family { check, rules: &[&YUM_ANSWERS, &YUM_CACHE, &YUM_VERSIONS, &DNF_ANSWERS, &DNF_CACHE, &DNF_VERSIONS] };

/// One of the programs and its rules.
struct Manager {
    programs: &'static [&'static str],
    cache: &'static str,
    answers: &'static Rule,
    leftovers: &'static Rule,
    versions: &'static Rule,
}

const MANAGERS: [Manager; 2] = [
    Manager {
        programs: &["yum"],
        cache: "/var/cache/yum",
        answers: &YUM_ANSWERS,
        leftovers: &YUM_CACHE,
        versions: &YUM_VERSIONS,
    },
    Manager {
        programs: &["dnf", "microdnf", "dnf5"],
        cache: "/var/cache/dnf",
        answers: &DNF_ANSWERS,
        leftovers: &DNF_CACHE,
        versions: &DNF_VERSIONS,
    },
];

const WITH_VALUE: [&str; 10] = [
    "-c",
    "--config",
    "-x",
    "--exclude",
    "--enablerepo",
    "--disablerepo",
    "--installroot",
    "--releasever",
    "--setopt",
    "--repo",
];
/// What brings packages in.
const INSTALLS: [&str; 6] = ["install", "localinstall", "reinstall", "groupinstall", "group", "module"];

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for manager in &MANAGERS {
        for (index, step) in source.steps() {
            check_step(manager, source.ships(index), step, findings);
        }
    }
}

fn check_step(manager: &Manager, ships: bool, step: &Step<'_>, findings: &mut Findings<'_>) {
    let installs = || step.commands.iter().filter(|command| is_install(command, manager));
    for command in installs() {
        let (verb, packages) =
            command.operands(&WITH_VALUE).split_first().map_or_else(Default::default, |(v, p)| (v.span, p.to_vec()));
        if !command.has_flag(&["y", "assumeyes", "assume-yes"]) {
            findings.add_at(manager.answers, step).insert_after(verb, " -y");
        }
        let first = &command.operands(&WITH_VALUE)[0].text;
        if matches!(first.as_str(), "install" | "reinstall")
            && let Some(package) = packages.iter().find(|package| !is_pinned(package))
        {
            findings.add(manager.versions, step.lines, format!("{}: {}", manager.versions.summary, package.text));
        }
    }
    let cleans = |command: &Command| {
        let removes = || command.arguments().iter().any(|word| word.text.starts_with(manager.cache));
        match command.program() {
            "rm" => removes(),
            program => manager.programs.contains(&program) && command.argument("clean").is_some(),
        }
    };
    if ships && installs().next().is_some() && !step.commands.iter().any(cleans) && !step.mounts_over(manager.cache) {
        findings.add_at(manager.leftovers, step);
    }
}

fn is_install(command: &Command, manager: &Manager) -> bool {
    manager.programs.contains(&command.program())
        && command.operands(&WITH_VALUE).first().is_some_and(|word| INSTALLS.contains(&word.text.as_str()))
}

/// `httpd-2.4`, `httpd-0:2.4`, a file, an address.
fn is_pinned(package: &Word) -> bool {
    let text = &package.text;
    let has_version = text.split('-').skip(1).any(|part| part.starts_with(|c: char| c.is_ascii_digit()));
    package.is_variable() || has_version || text.ends_with(".rpm") || text.contains(['/', '=']) || text.starts_with('@')
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_fix, check_hits, check_silent};

    #[test]
    fn answers() {
        check_hits("DL3030", &["RUN yum install httpd-2.4 && yum clean all\n"]);
        check_silent("DL3030", &["RUN yum install -y httpd\n", "RUN yum -y install httpd\n", "RUN yum clean all\n"]);
        check_hits("DL3038", &["RUN microdnf install httpd-2.4\n"]);
        check_silent("DL3038", &["RUN dnf install -y httpd-2.4\n", "RUN dnf clean all\n"]);
        check_fix("DL3038", "FROM a:1\nRUN dnf install x\n", "FROM a:1\nRUN dnf install -y x\n");
    }

    #[test]
    fn leftovers() {
        check_hits("DL3032", &["RUN yum install -y a-1\n"]);
        check_silent(
            "DL3032",
            &[
                "RUN yum install -y a-1 && yum clean all\n",
                "RUN yum install -y a-1 && rm -rf /var/cache/yum/*\n",
                "RUN dnf install a\n",
            ],
        );
        check_hits("DL3040", &["RUN dnf install -y a-1\n"]);
        check_silent(
            "DL3040",
            &[
                "RUN dnf install -y a-1 && dnf clean all\n",
                "RUN --mount=type=cache,target=/var/cache/dnf dnf install -y a\n",
            ],
        );
    }

    #[test]
    fn versions() {
        check_hits("DL3033", &["RUN yum install -y httpd\n"]);
        check_silent("DL3033", &["RUN yum install -y httpd-2.4.6\n", "RUN yum update -y\n"]);
        check_hits("DL3041", &["RUN dnf install -y httpd-2.4 python3-devel\n"]);
        check_silent(
            "DL3041",
            &["RUN dnf install -y httpd-2.4 ./x.rpm https://x/y.rpm $X\n", "RUN dnf module install -y ruby:3\n"],
        );
    }
}
