//! Annotations of GitHub Actions: a workflow command a line.

use slipway_lint::Severity;

use super::{Linted, code};
use crate::workflow_command::command;

pub(super) fn annotations(files: &[Linted]) -> String {
    let mut text = String::new();
    for file in files {
        for finding in &file.findings {
            let level = match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Info | Severity::Style | Severity::Ignore => "notice",
            };
            let (first, last) = (finding.lines.first.to_string(), finding.lines.last.to_string());
            let properties =
                [("file", file.name.as_str()), ("line", &first), ("endLine", &last), ("title", code(finding))];
            text += &(command(level, &properties, &finding.message) + "\n");
        }
    }
    text
}
