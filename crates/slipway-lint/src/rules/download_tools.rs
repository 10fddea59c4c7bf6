//! `wget` and `curl`.

use super::Family;
use crate::source::Source;
use crate::{Findings, Rule, Severity};

const PROGRESS: Rule = Rule::new(
    "DL3047",
    Severity::Warning,
    "wget fills the log with its progress",
    "Add --progress=dot:giga, or -q or -nv",
);
const BOTH: Rule = Rule::new(
    "DL4001",
    Severity::Warning,
    "both wget and curl are used",
    "One of them will do; each is another package to install and to keep safe",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&PROGRESS, &BOTH] };

const QUIET: [&str; 9] = ["q", "quiet", "nv", "no-verbose", "progress", "o", "output-file", "a", "append-output"];

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for stage in &source.stages {
        let (mut wget, mut curl) = (false, false);
        for step in &stage.steps {
            let mut uses_one = false;
            for command in &step.commands {
                wget |= command.program() == "wget";
                curl |= command.program() == "curl";
                uses_one |= command.is_program(&["wget", "curl"]);
                if command.program() == "wget" && !command.has_flag(&QUIET) {
                    let program = command.words[0].span;
                    findings.add_at(&PROGRESS, step).insert_after(program, " --progress=dot:giga");
                }
            }
            if wget && curl && uses_one {
                findings.add_at(&BOTH, step);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};
    use crate::{Options, lint};

    #[test]
    fn progress() {
        check_hits("DL3047", &["RUN wget https://x\n", "RUN x && wget -O y https://x\n"]);
        check_silent(
            "DL3047",
            &[
                "RUN wget -qO- x\n",
                "RUN wget --progress=dot x\n",
                "RUN wget -nv x\n",
                "RUN wget -o log x\n",
                "RUN apt-get install wget\n",
            ],
        );
    }

    #[test]
    fn both() {
        check_hits("DL4001", &["RUN wget -q x\nRUN curl y\n", "RUN wget -q x | curl y\n"]);
        let text = "FROM a:1\nRUN wget -q x\nRUN curl x\nRUN x\nRUN wget -q y\n";
        let (dockerfile, errors) = slipway_dockerfile::parse(text.as_bytes());
        let found = lint(&dockerfile, errors, &Options::default());
        let lines = found.iter().filter(|finding| finding.id == "DL4001").map(|finding| finding.lines.first);
        assert_eq!(lines.collect::<Vec<_>>(), [3, 5]);
        check_silent("DL4001", &["RUN curl x\nRUN curl y\n", "FROM a:1\nRUN curl x\nFROM b:1\nRUN wget -q y\n"]);
    }
}
