//! Every Dockerfile of the cases is judged: nothing panics, and what fixes make of a valid file is valid.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::path::Path;

use slipway_lint::{Edit, Finding, Options, Severity, all_rules, fixed, lint};

/// Options under which every rule speaks.
fn options() -> Options {
    let severities: BTreeMap<String, Severity> =
        all_rules().into_iter().map(|rule| (rule.id.to_owned(), Severity::Error)).collect();
    Options { severities, has_ignore_file: Some(false), disables_comments: true, ..Options::default() }
}

fn judge(text: &str) -> (Vec<Finding>, bool) {
    let (dockerfile, errors) = slipway_dockerfile::parse(text.as_bytes());
    let is_valid = errors.is_empty() && dockerfile.text == text;
    (lint(&dockerfile, errors, &options()), is_valid)
}

/// The texts of all files in the cases that are called like a Dockerfile.
fn dockerfiles() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases");
    let mut texts = Vec::new();
    for path in slipway_test::case::find(&root).unwrap() {
        let text = std::fs::read_to_string(path).unwrap();
        // A txtar archive: files begin with a line `-- name … --`.
        let mut current: Option<String> = None;
        for line in text.split_inclusive('\n') {
            if line.starts_with("-- ") && line.trim_end().ends_with(" --") {
                texts.extend(current.take());
                current = line.contains("ockerfile").then(String::new);
            } else if let Some(file) = &mut current {
                file.push_str(line);
            }
        }
        texts.extend(current);
    }
    texts
}

#[test]
fn every_dockerfile_can_be_judged_and_fixed() {
    let texts = dockerfiles();
    assert!(texts.len() > 1000, "{}", texts.len());
    let mut seen = BTreeMap::new();
    for text in &texts {
        let (findings, is_valid) = judge(text);
        for finding in &findings {
            *seen.entry(finding.id.clone()).or_insert(0) += 1;
        }
        let edits: Vec<Edit> = findings.into_iter().flat_map(|finding| finding.edits).collect();
        if is_valid && !edits.is_empty() {
            let after = fixed(text, &edits);
            let (_, errors) = slipway_dockerfile::parse(after.as_bytes());
            assert_eq!(errors, [], "{after}");
        }
    }
    // A corpus in which few rules find anything proves little.
    assert!(seen.len() > 40, "{seen:?}");
}
