//! Every Dockerfile of the cases is judged: nothing panics, and what fixes make of a valid file is valid.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::{BTreeMap, BTreeSet};
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

/// What a rule rewrites it finds nothing wrong with afterwards.
fn assert_fixes_cure(text: &str, findings: &[Finding]) {
    let ids: BTreeSet<&str> = findings.iter().filter(|f| !f.edits.is_empty()).map(|f| f.id.as_ref()).collect();
    for id in ids {
        let own = || findings.iter().filter(|finding| finding.id == id);
        let edits: Vec<Edit> = own().flat_map(|finding| finding.edits.clone()).collect();
        let after = fixed(text, &edits);
        let n_left = judge(&after).0.iter().filter(|finding| finding.id == id && !finding.edits.is_empty()).count();
        assert_eq!(n_left, 0, "{id} is not cured in\n{text}\nwhich became\n{after}");
    }
}

/// Each rule has a list of texts in which it finds something, and one in which it does not.
#[test]
fn every_rule_has_hits_and_misses() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut texts = String::new();
    for place in [folder.join("rules"), folder] {
        for entry in std::fs::read_dir(place).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(path).unwrap();
                texts.extend(text.split_whitespace());
            }
        }
    }
    let builds: BTreeSet<&str> = slipway_dockerfile::lint::RULES.iter().map(|rule| rule.name).collect();
    let rules = all_rules().into_iter().filter(|rule| !builds.contains(rule.id));
    for rule in rules {
        for list in ["check_hits", "check_silent"] {
            let has_list = |call: &str| texts.contains(&format!("{call}(\"{}\"", rule.id));
            let with_options = format!("{list}_with");
            assert!(has_list(list) || has_list(&with_options), "{} has no list for {list}", rule.id);
        }
    }
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
        if is_valid {
            assert_fixes_cure(text, &findings);
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
