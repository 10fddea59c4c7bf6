//! Archives that are copied, then unpacked.

use super::Family;
use super::copies::ARCHIVES;
use crate::shell::Command;
use crate::source::Source;
use crate::{Findings, Rule, Severity};
use slipway_dockerfile::Keyword;

const UNPACK: Rule = Rule::new(
    "DL3010",
    Severity::Info,
    "an archive is copied and unpacked by a later step",
    "Use ADD: it unpacks, and the archive itself does not stay in a layer",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&UNPACK] };

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for stage in &source.stages {
        for (index, step) in stage.steps.iter().enumerate() {
            // ADD takes nothing from other stages.
            if !step.is(Keyword::Copy) || step.flag("from").is_some() {
                continue;
            }
            let Some((sources, target)) = step.paths() else { continue };
            let names = sources.iter().chain([&target]).filter(|path| is_archive(path)).map(|path| file_name(path));
            let names: Vec<&str> = names.collect();
            let later = stage.steps[index + 1..].iter().flat_map(|step| &step.commands);
            if later.filter(|command| unpacks(command)).any(|command| mentions(command, &names)) {
                findings.add_at(&UNPACK, step);
            }
        }
    }
}

fn is_archive(path: &str) -> bool {
    ARCHIVES.iter().any(|end| path.ends_with(end))
}

fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

fn unpacks(command: &Command) -> bool {
    let first = command.arguments().first().map_or("", |word| &word.text);
    match command.program() {
        // `tar xf` does without the dash.
        "tar" => command.has_flag(&["x", "extract", "get"]) || (!first.starts_with('-') && first.contains('x')),
        "gunzip" | "bunzip2" | "unxz" | "unlzma" | "unzstd" | "uncompress" | "zcat" | "gzcat" | "bzcat" | "xzcat" => {
            true
        }
        _ => false,
    }
}

fn mentions(command: &Command, names: &[&str]) -> bool {
    command.arguments().iter().any(|word| names.contains(&file_name(&word.text)))
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};

    #[test]
    fn archives() {
        check_hits(
            "DL3010",
            &[
                "COPY x.tar.gz /tmp/\nRUN tar -xzf /tmp/x.tar.gz\n",
                "COPY x /y.tar\nRUN tar xf /y.tar\n",
                "COPY a/x.gz /x.gz\nRUN gunzip /x.gz\n",
                "COPY x.tar /srv\nWORKDIR /srv\nRUN a && b && tar -xf x.tar\n",
                "COPY a\\b.tar.gz \"C:\\Program Files\\X\"\nRUN tar -xf \"C:\\Program Files\\X\\b.tar.gz\"\n",
            ],
        );
        check_silent(
            "DL3010",
            &[
                "COPY x.tar /tmp/\n",
                "COPY x.tar /tmp/\nRUN tar -cf /tmp/x.tar y\n",
                "COPY --from=b x.tar /tmp/\nRUN tar xf /tmp/x.tar\n",
                "COPY x.tar /tmp/\nRUN tar xf /tmp/y.tar\n",
                "COPY x.zip /\nRUN unzip x.zip\n",
            ],
        );
    }
}
