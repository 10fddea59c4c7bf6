//! Attributes and text of XML, and the formats that are made of it.

use std::fmt::Write as _;

use super::{Linted, code};

/// Checkstyle's report, which many tools of continuous integration read.
pub(super) fn checkstyle(files: &[Linted]) -> String {
    let mut text = "<?xml version='1.0' encoding='UTF-8'?>\n<checkstyle version='4.3'>\n".to_owned();
    for file in files {
        let _ = writeln!(text, "<file name='{}'>", escaped(&file.name));
        for finding in &file.findings {
            let (line, severity) = (finding.lines.first, finding.severity);
            let (message, source) = (escaped(&finding.message), escaped(code(finding)));
            let _ = writeln!(
                text,
                "<error line='{line}' column='1' severity='{severity}' message='{message}' source='{source}'/>"
            );
        }
        text.push_str("</file>\n");
    }
    text + "</checkstyle>\n"
}

/// JUnit's report: a suite a file, a failed case a finding. A file without findings has one case, which passed.
pub(super) fn junit(files: &[Linted]) -> String {
    let mut text = "<?xml version='1.0' encoding='UTF-8'?>\n<testsuites name='slipway lint'>\n".to_owned();
    for file in files {
        let name = escaped(&file.name);
        let n_failures = file.findings.len();
        let n_cases = n_failures.max(1);
        let _ = writeln!(text, "<testsuite name='{name}' tests='{n_cases}' failures='{n_failures}' errors='0'>");
        if file.findings.is_empty() {
            let _ = writeln!(text, "<testcase name='no findings' classname='{name}'/>");
        }
        for finding in &file.findings {
            let (line, severity) = (finding.lines.first, finding.severity);
            let (message, id) = (escaped(&finding.message), escaped(code(finding)));
            let _ = writeln!(
                text,
                "<testcase name='{id} in line {line}' classname='{name}'><failure type='{severity}' \
                 message='{message}'>{name}:{line} {id} {severity}: {message}</failure></testcase>"
            );
        }
        text.push_str("</testsuite>\n");
    }
    text + "</testsuites>\n"
}

/// `text` inside an attribute or an element. Control characters, which XML has no way to write, are replaced.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\t' | '\n' | '\r' => {
                let _ = write!(escaped, "&#{};", u32::from(character));
            }
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_the_format_is_escaped() {
        assert_eq!(escaped("<a b='\"&\">\n\u{1b}ä"), "&lt;a b=&apos;&quot;&amp;&quot;&gt;&#10;\u{fffd}ä");
    }
}
