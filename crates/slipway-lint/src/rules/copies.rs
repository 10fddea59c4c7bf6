//! `COPY` and `ADD`: which of the two, and where to.

use super::Family;
use crate::source::{Source, Step, unquoted};
use crate::{Findings, Rule, Severity};
use slipway_dockerfile::{Args, Keyword, Span};

const ADD: Rule = Rule::new(
    "DL3020",
    Severity::Error,
    "ADD of plain files",
    "Use COPY: ADD also unpacks and downloads, and readers have to wonder which it is",
);
const SEVERAL: Rule = Rule::new(
    "DL3021",
    Severity::Error,
    "COPY of several files to a target that does not end in `/`",
    "End the target in a slash: it has to be a folder",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&ADD, &SEVERAL] };

/// What `ADD` unpacks, by the end of the name.
pub(super) const ARCHIVES: [&str; 17] = [
    ".tar",
    ".tar.gz",
    ".tgz",
    ".tar.bz2",
    ".tbz",
    ".tbz2",
    ".tb2",
    ".tar.xz",
    ".txz",
    ".tar.zst",
    ".tzst",
    ".tar.lzma",
    ".tlz",
    ".gz",
    ".bz2",
    ".xz",
    ".zst",
];

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for (_, step) in source.steps() {
        let Some((sources, target)) = step.paths() else { continue };
        if step.is(Keyword::Add) && sources.iter().any(|path| is_plain(path)) {
            let takes_flag = |name: &str| ["chown", "chmod", "link", "exclude"].contains(&name);
            let can_be_copied = step.instruction.flags.iter().all(|flag| takes_flag(&flag.name))
                // A pattern may stand for an archive, too.
                && sources.iter().all(|path| is_plain(path) && !path.contains(['*', '?', '[']));
            let finding = findings.add_at(&ADD, step);
            if !step.is_trigger && can_be_copied {
                let word = &step.instruction.keyword_word;
                let is_lower = word.text == word.text.to_lowercase();
                finding.replace(word.span, if is_lower { "copy" } else { "COPY" });
            }
        }
        if step.is(Keyword::Copy) && sources.len() > 1 && !is_folder(target) {
            let end = end_of_target(step);
            findings.add_at(&SEVERAL, step).insert_after(end, "/");
        }
    }
}

fn is_plain(path: &str) -> bool {
    let is_remote = path.contains("://") || path.starts_with("git@");
    let is_archive = ARCHIVES.iter().any(|end| path.to_lowercase().ends_with(end));
    !is_remote && !is_archive && !path.contains('$')
}

fn is_folder(target: &str) -> bool {
    target.ends_with('/') || target.contains('$')
}

/// Where a slash goes in; nowhere if the target is quoted or part of a JSON array.
fn end_of_target(step: &Step<'_>) -> Span {
    match &step.instruction.args {
        Args::Words(words) if !step.is_trigger => {
            words.last().filter(|word| unquoted(&word.text) == word.text).map(|word| word.span).unwrap_or_default()
        }
        _ => Span::default(),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_fix, check_hits, check_silent};

    #[test]
    fn add_or_copy() {
        check_hits(
            "DL3020",
            &[
                "ADD x /y\n",
                "ADD [\"a\", \"b\", \"/c/\"]\n",
                "ONBUILD ADD x /y\n",
                "ADD *.txt x.tgz /z/\n",
                "ADD \"x.zip\" /y\n",
            ],
        );
        check_silent(
            "DL3020",
            &[
                "ADD x.tar /y\n",
                "ADD https://x/y /z\n",
                "ADD $X /y\n",
                "COPY x /y\n",
                "ADD git@github.com:x/y /z\n",
                "ADD \"x.tgz\" \"https://x/y\" /z/\n",
                "ADD *.tar.gz /z/\n",
            ],
        );
        check_fix("DL3020", "FROM a:1\nADD --chown=1 x /y\n", "FROM a:1\nCOPY --chown=1 x /y\n");
        for left_alone in ["FROM a:1\nADD x* /y\n", "FROM a:1\nADD x y.tar /z/\n"] {
            check_fix("DL3020", left_alone, left_alone);
        }
    }

    #[test]
    fn several_files() {
        check_hits("DL3021", &["COPY a b /c\n", "COPY [\"a\", \"b\", \"/c\"]\n", "COPY a b .\n", "COPY a b \"c\"\n"]);
        check_silent(
            "DL3021",
            &[
                "COPY a b /c/\n",
                "COPY a /c\n",
                "COPY a b ./\n",
                "COPY a b \"c/\"\n",
                "COPY a b $C\n",
                "COPY <<A <<B /c/\nA\nB\n",
            ],
        );
        check_fix("DL3021", "FROM a:1\nCOPY a b /c\n", "FROM a:1\nCOPY a b /c/\n");
    }
}
