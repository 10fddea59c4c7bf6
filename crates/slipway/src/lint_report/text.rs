//! For people: with the lines of the file, or one line a finding.

use std::fmt::Write as _;

use super::{Linted, code};
use crate::report::excerpt;

pub(super) fn blocks(files: &[Linted]) -> String {
    let mut text = String::new();
    for file in files {
        for finding in &file.findings {
            let alias = finding.alias.map(|alias| format!(" ({alias})")).unwrap_or_default();
            let block = excerpt(&file.name, &file.text, finding.lines, None);
            let _ = write!(text, "{}: {}{alias}: {}\n{block}", finding.severity, finding.id, finding.message);
            if !finding.advice.is_empty() {
                let _ = writeln!(text, "{}.", finding.advice);
            }
            if !finding.edits.is_empty() {
                text.push_str("`slipway lint --fix` does it.\n");
            }
            text.push('\n');
        }
    }
    text + &summary(files)
}

/// How many findings there are.
fn summary(files: &[Linted]) -> String {
    let n_findings: usize = files.iter().map(|file| file.findings.len()).sum();
    let n_files = match files.len() {
        1 => "1 file".to_owned(),
        n => format!("{n} files"),
    };
    match n_findings {
        0 => format!("Nothing found in {n_files}.\n"),
        1 => format!("1 finding in {n_files}.\n"),
        n => format!("{n} findings in {n_files}.\n"),
    }
}

/// As compilers of GNU tell errors.
pub(super) fn gnu_lines(files: &[Linted]) -> String {
    let mut text = String::new();
    for file in files {
        for finding in &file.findings {
            let (line, severity) = (finding.lines.first, finding.severity);
            let _ = writeln!(text, "slipway:{}:{line}: {} {severity}: {}", file.name, code(finding), finding.message);
        }
    }
    text
}

pub(super) fn lines(files: &[Linted]) -> String {
    let mut text = String::new();
    for file in files {
        for finding in &file.findings {
            let (line, severity) = (finding.lines.first, finding.severity);
            let _ = writeln!(text, "{}:{line} {} {severity}: {}", file.name, code(finding), finding.message);
        }
    }
    text
}
