//! SARIF 2.1.0, which code scanners read.

use serde_json::{Value, json};
use slipway_lint::{Finding, Severity, all_rules};

use super::{Linted, code};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

pub(super) fn log(files: &[Linted]) -> String {
    let results: Vec<Value> =
        files.iter().flat_map(|file| file.findings.iter().map(|finding| result(&file.name, finding))).collect();
    // Rules are listed under the code that results name, each once.
    let mut rules: Vec<(&str, &Finding)> = Vec::new();
    for finding in files.iter().flat_map(|file| &file.findings) {
        if rules.iter().all(|(known, _)| *known != code(finding)) {
            rules.push((code(finding), finding));
        }
    }
    let rules: Vec<Value> = rules.into_iter().map(|(code, finding)| rule(code, finding)).collect();
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "slipway", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "results": results,
        }],
    });
    format!("{log:#}\n")
}

fn rule(code: &str, finding: &Finding) -> Value {
    let summary = all_rules().iter().find(|rule| rule.id == finding.id).map_or("", |rule| rule.summary);
    let help = if finding.advice.is_empty() { summary } else { finding.advice };
    json!({
        "id": code,
        "name": finding.id,
        "shortDescription": {"text": if summary.is_empty() { finding.message.as_str() } else { summary }},
        "help": {"text": if help.is_empty() { finding.message.as_str() } else { help }},
    })
}

fn result(name: &str, finding: &Finding) -> Value {
    let level = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info | Severity::Style | Severity::Ignore => "note",
    };
    let region = json!({"startLine": finding.lines.first, "endLine": finding.lines.last});
    json!({
        "ruleId": code(finding),
        "level": level,
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": name}, "region": region}}],
    })
}
