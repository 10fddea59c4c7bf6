//! Dockerfiles in; warnings as `line rule: message` out. The tests of each rule are in its file.

use std::collections::BTreeMap;

use slipway_oci::ImageConfig;

use super::{CheckOptions, LintInputs, RULES, Warning, lint};
use crate::lower::tests::Case;
use crate::{IgnoreRules, parse};

/// What is found in `text`, with images `amd` and `arm` for those platforms.
fn warnings(text: &str, args: &[(&str, &str)], ignore_file: &str) -> Vec<Warning> {
    let build_args: BTreeMap<String, String> = args.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let mut case = Case::new(text).all_stages();
    for (name, value) in args {
        case = case.arg(name, value);
    }
    for (image, architecture) in [("amd", "amd64"), ("arm", "arm64")] {
        let config =
            ImageConfig { os: "linux".to_owned(), architecture: architecture.to_owned(), ..ImageConfig::default() };
        case = case.image(&format!("{image}:latest"), config);
    }
    let (dockerfile, mut errors) = parse(text.as_bytes());
    let (facts, lowering_errors) = case.facts();
    errors.extend(lowering_errors);
    let options = CheckOptions::of(&dockerfile, &build_args).expect("the options can be read");
    let ignore_rules = IgnoreRules::parse(ignore_file.as_bytes()).expect("the ignore file can be read");
    lint(&dockerfile, &facts, &errors, LintInputs { options: &options, ignore_rules: &ignore_rules })
}

fn shown(warnings: Vec<Warning>) -> Vec<String> {
    warnings.into_iter().map(|w| format!("{} {}: {}", w.lines.first, w.rule.name, w.message)).collect()
}

/// Each text gives just this warning.
pub(super) fn check_hits(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(shown(warnings(text, &[], "")), [*expected], "{text}");
    }
}

/// None of the texts gives a warning.
pub(super) fn check_silent(texts: &[&str]) {
    for text in texts {
        assert_eq!(shown(warnings(text, &[("FOREIGN", "linux/arm64")], "")), [""; 0], "{text}");
    }
}

pub(super) fn hits_with_args(text: &str, args: &[(&str, &str)]) -> Vec<String> {
    shown(warnings(text, args, ""))
}

pub(super) fn hits_with_ignore_file(text: &str, ignore_file: &str) -> Vec<String> {
    shown(warnings(text, &[], ignore_file))
}

fn names(text: &str) -> Vec<&'static str> {
    warnings(text, &[], "").into_iter().map(|warning| warning.rule.name).collect()
}

#[test]
fn rules_have_names_of_their_own_and_pages_that_follow_from_them() {
    for (index, rule) in RULES.iter().enumerate() {
        assert!(RULES[..index].iter().all(|other| other.name != rule.name), "{}", rule.name);
        assert!(rule.page.is_empty() || rule.page.replace('-', "").eq_ignore_ascii_case(rule.name), "{}", rule.page);
    }
}

#[test]
fn rules_are_silenced_for_the_file_or_for_one_instruction() {
    let twice = "FROM scratch\nLABEL a b\nLABEL c d\nCMD x\n";
    assert_eq!(names(twice), ["LegacyKeyValueFormat", "LegacyKeyValueFormat", "JSONArgsRecommended"]);
    assert_eq!(names(&format!("# check=skip=LegacyKeyValueFormat\n{twice}")), ["JSONArgsRecommended"]);
    assert!(names(&format!("# check=skip=all\n{twice}")).is_empty());
    let once = "FROM scratch\n# check=skip=LegacyKeyValueFormat,Other and why\nLABEL a b\nLABEL c d\n";
    assert_eq!(hits_with_args(once, &[]).len(), 1);
    assert!(names("FROM scratch\n# check=skip=all\nCMD x\n").is_empty());
}

#[test]
fn nothing_is_said_about_what_follows_a_mistake() {
    assert_eq!(names("FROM scratch as x\nLABEL a b\nCOPPY x\nMAINTAINER y\n"), ["FromAsCasing"]);
    assert_eq!(names("FROM scratch as x\nLABEL a b\nEXPOSE x\nLABEL c d\n"), ["FromAsCasing", "LegacyKeyValueFormat"]);
    assert!(names("FROM scratch as x\nRUN <<E\n").is_empty());
}

#[test]
fn the_order_is_that_of_the_reference() {
    let text = "from scratch as Base\nARG SECRET_KEY=1\nCOPY $bar /\nMAINTAINER x\nWORKDIR rel\nCMD foo\nCMD bar\n";
    let expected = [
        "StageNameCasing",
        "MaintainerDeprecated",
        "ConsistentInstructionCasing",
        "SecretsUsedInArgOrEnv",
        "UndefinedVar",
        "WorkdirRelativePath",
        "JSONArgsRecommended",
        "MultipleInstructionsDisallowed",
        "JSONArgsRecommended",
    ];
    assert_eq!(names(text), expected);
}
