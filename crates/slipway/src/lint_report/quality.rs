//! What services that watch over the quality of code read: Code Climate, GitLab, Codacy, SonarQube.

use serde_json::{Value, json};
use slipway_lint::{Finding, Severity};
use slipway_oci::Digest;

use super::{Linted, code};

/// An issue of Code Climate, each followed by a zero byte.
pub(super) fn codeclimate(files: &[Linted]) -> String {
    issues(files).map(|issue| format!("{issue}\0")).collect()
}

/// GitLab's variant: a list, and every issue has a name of its own, so that the same one is known again.
pub(super) fn gitlab(files: &[Linted]) -> String {
    let with_fingerprint = |mut issue: Value| {
        let fingerprint = Digest::of(issue.to_string().as_bytes());
        issue["fingerprint"] = fingerprint.hex().into();
        issue
    };
    let issues: Vec<Value> = issues(files).map(with_fingerprint).collect();
    format!("{}\n", Value::Array(issues))
}

/// Codacy's objects, one a line.
pub(super) fn codacy(files: &[Linted]) -> String {
    let line = |(file, finding): (&Linted, &Finding)| {
        let (name, message, line) = (&file.name, &finding.message, finding.lines.first);
        let object = json!({"filename": name, "patternId": code(finding), "message": message, "line": line});
        format!("{object}\n")
    };
    findings(files).map(line).collect()
}

/// SonarQube's generic issues.
pub(super) fn sonarqube(files: &[Linted]) -> String {
    let issue = |(file, finding): (&Linted, &Finding)| {
        let (severity, kind) = match finding.severity {
            Severity::Error => ("CRITICAL", "BUG"),
            Severity::Warning => ("MAJOR", "CODE_SMELL"),
            Severity::Info => ("MINOR", "CODE_SMELL"),
            Severity::Style | Severity::Ignore => ("INFO", "CODE_SMELL"),
        };
        json!({
            "engineId": "slipway",
            "ruleId": code(finding),
            "severity": severity,
            "type": kind,
            "primaryLocation": {
                "message": finding.message,
                "filePath": file.name,
                "textRange": {"startLine": finding.lines.first, "endLine": finding.lines.last},
            },
        })
    };
    let issues: Vec<Value> = findings(files).map(issue).collect();
    format!("{}\n", json!({"issues": issues}))
}

fn issues(files: &[Linted]) -> impl Iterator<Item = Value> {
    findings(files).map(|(file, finding)| {
        let severity = match finding.severity {
            Severity::Error => "blocker",
            Severity::Warning => "major",
            Severity::Info => "info",
            Severity::Style | Severity::Ignore => "minor",
        };
        let lines = json!({"begin": finding.lines.first, "end": finding.lines.last});
        json!({
            "type": "issue",
            "check_name": code(finding),
            "description": finding.message,
            "categories": ["Bug Risk"],
            "location": {"path": file.name, "lines": lines},
            "severity": severity,
        })
    })
}

fn findings(files: &[Linted]) -> impl Iterator<Item = (&Linted, &Finding)> {
    files.iter().flat_map(|file| file.findings.iter().map(move |finding| (file, finding)))
}
