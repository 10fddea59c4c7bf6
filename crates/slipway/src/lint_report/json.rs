//! A list of objects with the keys that tools for Dockerfile linters read.

use serde::Serialize;

use super::{Linted, code};

#[derive(Serialize)]
struct Entry<'a> {
    code: &'a str,
    column: usize,
    file: &'a str,
    level: String,
    line: usize,
    message: &'a str,
    /// The rule under slipway's name.
    rule: &'a str,
    advice: &'a str,
    /// Whether `--fix` can mend it.
    fixable: bool,
}

pub(super) fn list(files: &[Linted]) -> String {
    let entries: Vec<Entry<'_>> = files
        .iter()
        .flat_map(|file| {
            file.findings.iter().map(|finding| Entry {
                code: code(finding),
                column: 1,
                file: &file.name,
                level: finding.severity.to_string(),
                line: finding.lines.first,
                message: &finding.message,
                rule: &finding.id,
                advice: finding.advice,
                fixable: !finding.edits.is_empty(),
            })
        })
        .collect();
    let text = serde_json::to_string(&entries).expect("because texts and numbers can always be written");
    text + "\n"
}
