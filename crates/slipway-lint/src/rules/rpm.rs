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
const INSTALLS: [&str; 4] = ["install", "localinstall", "reinstall", "groupinstall"];
/// What has an `install` of its own.
const KINDS: [&str; 2] = ["group", "module"];
/// Where packages are kept by one of the two or by its older forms.
const CACHES: [&str; 2] = ["/var/cache/yum", "/var/cache/dnf"];

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for manager in &MANAGERS {
        for (_, step) in source.steps() {
            check_step(manager, step, findings);
        }
    }
}

fn check_step(manager: &Manager, step: &Step<'_>, findings: &mut Findings<'_>) {
    for command in step.commands.iter().filter(|command| is_install(command, manager)) {
        let operands = command.operands(&WITH_VALUE);
        let n_verbs = if KINDS.contains(&operands[0].text.as_str()) { 2 } else { 1 };
        let (verbs, packages) = operands.split_at(n_verbs);
        if !command.has_flag(&["y", "assumeyes", "assume-yes"]) {
            findings.add_at(manager.answers, step).insert_after(verbs[n_verbs - 1].span, " -y");
        }
        let is_good: fn(&Word) -> bool = match verbs[0].text.as_str() {
            "install" | "reinstall" => is_pinned,
            "module" => is_pinned_module,
            _ => continue,
        };
        if let Some(package) = packages.iter().find(|package| !is_good(package)) {
            findings.add(manager.versions, step.lines, format!("{}: {}", manager.versions.summary, package.text));
        }
    }
    if leaves_packages(manager, step) && !step.mounts_over(manager.cache) {
        findings.add_at(manager.leftovers, step);
    }
}

/// Whether a program of the manager's installs something and does not clean up after that.
fn leaves_packages(manager: &Manager, step: &Step<'_>) -> bool {
    let removes = |word: &Word| CACHES.iter().any(|cache| word.text.starts_with(cache));
    step.commands.iter().enumerate().any(|(index, install)| {
        let cleans = |command: &Command| match command.program() {
            "rm" => command.arguments().iter().any(removes),
            program => program == install.program() && command.argument("clean").is_some(),
        };
        is_install(install, manager) && !step.commands[index + 1..].iter().any(cleans)
    })
}

/// Whether a command installs packages or modules; then it has as many operands as that takes words.
fn is_install(command: &Command, manager: &Manager) -> bool {
    let operands = command.operands(&WITH_VALUE);
    let verbs: Vec<&str> = operands.iter().take(2).map(|word| word.text.as_str()).collect();
    manager.programs.contains(&command.program())
        && match verbs[..] {
            [verb, ..] if INSTALLS.contains(&verb) => true,
            [kind, "install"] => KINDS.contains(&kind),
            _ => false,
        }
}

/// `ruby:3`
fn is_pinned_module(module: &Word) -> bool {
    module.is_variable() || module.text.contains(':')
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
        check_silent(
            "DL3030",
            &[
                "RUN yum install -y httpd\n",
                "RUN yum -y install httpd\n",
                "RUN yum clean all\n",
                "RUN yum module list\n",
                "RUN bash -c `# no yum at all`\n",
            ],
        );
        check_hits("DL3038", &["RUN microdnf install httpd-2.4\n"]);
        check_silent("DL3038", &["RUN dnf install -y httpd-2.4\n", "RUN dnf clean all\n"]);
        check_fix("DL3038", "FROM a:1\nRUN dnf install x\n", "FROM a:1\nRUN dnf install -y x\n");
    }

    #[test]
    fn leftovers() {
        check_hits(
            "DL3032",
            &["RUN yum install -y a-1\n", "FROM a:1 AS b\nRUN yum install -y a-1\nFROM c:1\nCOPY --from=b /x /x\n"],
        );
        check_silent(
            "DL3032",
            &[
                "RUN yum install -y a-1 && yum clean all\n",
                "RUN yum install -y a-1 && rm -rf /var/cache/yum/*\n",
                "RUN dnf install a\n",
            ],
        );
        check_hits(
            "DL3040",
            &[
                "RUN dnf install -y a-1\n",
                "RUN dnf install -y a-1 && microdnf clean all\n",
                "RUN dnf clean all && dnf install -y a-1\n",
                "RUN dnf module install -y a:1\n",
            ],
        );
        check_silent(
            "DL3040",
            &[
                "RUN dnf install -y a-1 && dnf clean all\n",
                "RUN microdnf install -y a-1 && rm -rf /var/cache/yum/*\n",
                "RUN dnf module enable -y a:1\n",
                "RUN --mount=type=cache,target=/var/cache/dnf dnf install -y a\n",
            ],
        );
    }

    #[test]
    fn versions() {
        check_hits("DL3033", &["RUN yum install -y httpd\n", "RUN yum module install -y tomcat\n"]);
        check_silent(
            "DL3033",
            &[
                "RUN yum install -y httpd-2.4.6 openssl-1:1.1.1k gcc-c++-1.1.1 rpm-sign-4.16\n",
                "RUN yum update -y\n",
                "RUN yum module install -y tomcat:9\n",
                "RUN yum install -y \"git-core-${V}\"\n",
            ],
        );
        check_hits(
            "DL3041",
            &[
                "RUN dnf install -y httpd-2.4 python3-devel\n",
                "RUN microdnf module install -y tomcat\n",
                "RUN dnf install -y rpm-sign\n",
            ],
        );
        check_silent(
            "DL3041",
            &["RUN dnf install -y httpd-2.4 ./x.rpm https://x/y.rpm $X\n", "RUN dnf module install -y ruby:3\n"],
        );
    }
}
