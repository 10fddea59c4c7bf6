//! `COPY` and `ADD` of what `.dockerignore` leaves out.

use super::{Findings, Rule};
use crate::facts::{Fact, Seen};
use crate::quote::quoted;
use crate::{IgnoreRules, Keyword, paths};

pub(super) const RULE: Rule =
    Rule::new("CopyIgnoredFile", "copy-ignored-file", "Attempting to Copy file that is excluded by .dockerignore");

/// Silent where the ignore file has exceptions: a folder may be left out and files in it not.
pub(super) fn check(fact: &Fact, ignore_rules: &IgnoreRules, findings: &mut Findings<'_>) {
    let Seen::ContextPath(path) = &fact.seen else { return };
    if ignore_rules.has_exceptions() {
        return;
    }
    let path = paths::clean(path);
    if ignore_rules.verdict_from_root(&path).is_excluded() {
        let verb = if fact.place.keyword == Keyword::Add { "Add" } else { "Copy" };
        let message = format!("Attempting to {verb} file {} that is excluded by .dockerignore", quoted(&path));
        findings.add(&RULE, &fact.place, message);
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::hits_with_ignore_file;

    #[test]
    fn paths_that_are_left_out_are_told() {
        let told = |verb: &str, path: &str| {
            format!("2 CopyIgnoredFile: Attempting to {verb} file \"{path}\" that is excluded by .dockerignore")
        };
        let hits = |line: &str, ignore: &str| hits_with_ignore_file(&format!("FROM scratch\n{line}\n"), ignore);
        assert_eq!(hits("COPY a b ./a d/x /", "a\nd\n"), ["a", "a", "d/x"].map(|path| told("Copy", path)));
        assert_eq!(hits("ADD *.log /", "*.log\n"), [told("Add", "*.log")]);
        assert_eq!(hits("COPY . /", "*\n"), [told("Copy", ".")]);
        for (line, ignore) in [
            ("COPY . /", "a\n"),
            ("COPY a /", "a\n!a/b\n"),
            ("COPY --from=other a /", "a\n"),
            ("ADD https://host/a /", "**\n"),
            ("COPY a /", ""),
        ] {
            assert!(hits(line, ignore).is_empty(), "{line} with {ignore}");
        }
    }
}
