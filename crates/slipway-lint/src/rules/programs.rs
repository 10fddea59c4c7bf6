//! Programs that have no business in a build, or are used where an instruction does it better.

use super::Family;
use crate::source::Source;
use crate::{Findings, Rule, Severity};

const POINTLESS: Rule = Rule::new(
    "DL3001",
    Severity::Info,
    "a program that does nothing useful in an image",
    "A step has no services, no terminal and no other processes; leave the program out",
);
const CD: Rule = Rule::new(
    "DL3003",
    Severity::Warning,
    "cd in RUN",
    "Use WORKDIR: it holds for the instructions that follow and can be seen in the image",
);
const SUDO: Rule = Rule::new(
    "DL3004",
    Severity::Error,
    "sudo in RUN",
    "Switch with USER: sudo behaves differently without a terminal and stays in the image",
);
const USER_ID: Rule = Rule::new(
    "DL3046",
    Severity::Warning,
    "useradd with a high user id and without -l makes a huge sparse file",
    "Add -l, so that /var/log/lastlog does not grow with the id",
);
const SHELL_LINK: Rule =
    Rule::new("DL4005", Severity::Warning, "a link in the place of /bin/sh", "Use SHELL to choose the shell of RUN");

pub(crate) const FAMILY: Family = Family { check, rules: &[&POINTLESS, &CD, &SUDO, &USER_ID, &SHELL_LINK] };

const POINTLESS_PROGRAMS: [&str; 11] =
    ["ssh", "vim", "shutdown", "service", "ps", "free", "top", "kill", "mount", "ifconfig", "nano"];

/// Ids with more digits than this are high.
const MAX_ID_DIGITS: usize = 5;

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for (_, step, command) in source.commands() {
        match command.program() {
            "cd" => {
                findings.add_at(&CD, step);
            }
            "sudo" => {
                findings.add_at(&SUDO, step);
            }
            "useradd" => {
                let id = command.flag_value("-u").or_else(|| command.flag_value("--uid"));
                let is_high = id.is_some_and(|id| id.len() > MAX_ID_DIGITS && id.bytes().all(|b| b.is_ascii_digit()));
                if is_high && !command.has_flag(&["l", "no-log-init"]) {
                    findings.add_at(&USER_ID, step);
                }
            }
            "ln" if command.arguments().last().is_some_and(|word| word.text == "/bin/sh") => {
                findings.add_at(&SHELL_LINK, step);
            }
            program if POINTLESS_PROGRAMS.contains(&program) => {
                findings.add(&POINTLESS, step.lines, format!("{}: {program}", POINTLESS.summary));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};

    #[test]
    fn all_of_them() {
        check_hits("DL3001", &["RUN top\n", "RUN x && service y start\n", "ONBUILD RUN vim\n"]);
        check_silent("DL3001", &["RUN apt-get install ssh\n", "RUN echo top\n"]);
        check_hits("DL3003", &["RUN cd /x && y\n", "RUN (cd x; y)\n"]);
        check_silent("DL3003", &["WORKDIR /x\nRUN y\n", "RUN git -C x pull\n"]);
        check_hits("DL3004", &["RUN sudo x\n", "RUN <<EOF\na\nsudo b\nEOF\n"]);
        check_silent("DL3004", &["RUN apt-get install sudo\n", "RUN <<EOF\n#!/usr/bin/perl\nsudo b\nEOF\n"]);
        check_hits("DL3046", &["RUN useradd -u 123456 x\n", "RUN useradd --uid=123456 x\n"]);
        check_silent("DL3046", &["RUN useradd -l -u 123456 x\n", "RUN useradd -u 12345 x\n", "RUN useradd x\n"]);
        check_hits("DL4005", &["RUN ln -sfv /bin/bash /bin/sh\n"]);
        check_silent("DL4005", &["RUN ln -sf /bin/bash /bin/bash2\n"]);
    }
}
