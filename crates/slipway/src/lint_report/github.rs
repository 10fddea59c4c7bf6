//! Annotations of GitHub Actions: a workflow command a line.

use std::fmt::Write as _;

use slipway_lint::Severity;

use super::{Linted, code};

pub(super) fn annotations(files: &[Linted]) -> String {
    let mut text = String::new();
    for file in files {
        for finding in &file.findings {
            let level = match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Info | Severity::Style | Severity::Ignore => "notice",
            };
            let (first, last) = (finding.lines.first, finding.lines.last);
            let (name, title) = (property(&file.name), property(code(finding)));
            let message = data(&finding.message);
            let _ = writeln!(text, "::{level} file={name},line={first},endLine={last},title={title}::{message}");
        }
    }
    text
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_the_format_is_escaped() {
        assert_eq!(data("50%\nx:y"), "50%25%0Ax:y");
        assert_eq!(property("a,b:c"), "a%2Cb%3Ac");
    }
}
