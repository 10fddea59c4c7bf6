//! Answers one question: is what a builder made of a case what the case expects?

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use crate::base::Base;
use crate::builder::Outcome;
use crate::case::Case;
use crate::workspace::Workspace;

/// What a builder answered, as the text of an `expect/reference` section:
/// the summary of what the last run made, or its error; then the steps that later runs ran again.
pub fn answer(outcomes: &[Outcome], workspace: &Workspace, base: &Base) -> Result<String> {
    let last = outcomes.last().context("a case has at least one run")?;
    let mut text = match (&last.report, &last.product) {
        (Some(report), _) => without_definition(report),
        (None, Some(product)) => product.summary(base)?,
        (None, None) => format!("error: {}\n", final_message(&last.stderr)),
    };
    for (index, outcome) in outcomes.iter().enumerate().skip(1) {
        if outcome.steps.ran.is_empty() {
            writeln!(text, "ran in run {}: nothing", index + 1)?;
        }
        for step in &outcome.steps.ran {
            writeln!(text, "ran in run {}: {step}", index + 1)?;
        }
    }
    Ok(workspace.restore(&text))
}

/// A report in JSON without what the reference says of how it came by the Dockerfile, which is new in every run.
fn without_definition(report: &str) -> String {
    let mut kept = String::new();
    let mut is_inside = false;
    for line in report.split_inclusive('\n') {
        is_inside |= line.trim_end() == "      \"definition\": {";
        if !is_inside {
            kept.push_str(line);
        }
        is_inside &= line.trim_end() != "      },";
    }
    kept
}

/// The last message of a failed build, without the words that every one starts with and without its random parts.
fn final_message(stderr: &str) -> String {
    let start = stderr.rfind("\nERROR: ").map_or(0, |at| at + 1);
    let message = stderr[start..].trim();
    let message = ["ERROR: ", "failed to build: ", "failed to solve: "]
        .iter()
        .fold(message, |rest, prefix| rest.strip_prefix(prefix).unwrap_or(rest));
    let mut words: Vec<String> = message.split(' ').map(without_mount_point).collect();
    // `failed to calculate checksum of ref <id>::<id>: "/x": not found`
    for at in 1..words.len() {
        if words[at - 1] == "ref" && words[at].contains("::") {
            words[at] = "<id>:".to_owned();
        }
    }
    words.join(" ")
}

/// `word` with `<rootfs>` for the random folder that the reference mounted an image's files at.
fn without_mount_point(word: &str) -> String {
    match word.split_once("/cachemounts/buildkit") {
        Some((_, rest)) => format!("<rootfs>{}", rest.trim_start_matches(|c: char| c.is_ascii_digit())),
        None => word.to_owned(),
    }
}

/// Compares what slipway made with what `case` expects; the text says what is wrong.
pub fn check(case: &Case, outcomes: &[Outcome], workspace: &Workspace, base: &Base) -> Result<(), String> {
    for (run, outcome) in case.runs.iter().zip(outcomes) {
        let wanted = if run.must_fail { 1 } else { 0 };
        if outcome.exit_code != Some(wanted) {
            let code = outcome.exit_code.map_or("a signal".to_owned(), |c| c.to_string());
            return Err(format!("`{run}` ended with {code} instead of {wanted}:\n{}", outcome.stderr));
        }
    }
    let Some(last) = outcomes.last() else {
        return Err("the case has no runs".to_owned());
    };
    for text in lines(case, "stderr") {
        if !last.stderr.contains(text) {
            return Err(format!("the error output lacks `{text}`:\n{}", last.stderr));
        }
    }
    let product = match (&last.product, &last.report) {
        (Some(product), _) => Some(product),
        (None, Some(_)) => None,
        // Messages are slipway's own; what they must say is in `expect/stderr`.
        (None, None) if lines(case, "stderr").next().is_some() => return Ok(()),
        (None, None) => return Err("a build that fails needs `expect/stderr`".to_owned()),
    };
    for text in lines(case, "absent") {
        let product = product.ok_or("`expect/absent` needs a result")?;
        if product.contains(text).map_err(|e| format!("{e:#}"))? {
            return Err(format!("`{text}` is in the result"));
        }
    }
    let actual = answer(outcomes, workspace, base).map_err(|e| format!("{e:#}"))?;
    compare(case, &actual)
}

fn compare(case: &Case, actual: &str) -> Result<(), String> {
    let Some(reference) = case.answer("reference") else {
        return Err("no answer is recorded; run `cargo xtask record`".to_owned());
    };
    let expected = match (case.answer("image"), case.differs.iter().any(|(what, _)| what != "stderr")) {
        (None, false) => reference,
        (Some(own), true) if own != reference => own,
        (Some(_), true) => return Err("`expect/image` equals the record; the difference is gone".to_owned()),
        (Some(_), false) => return Err("`expect/image` needs a `differs:` line with the reason".to_owned()),
        (None, true) => return Err("a `differs:` line needs `expect/image`".to_owned()),
    };
    match difference(expected, actual) {
        Some(difference) => Err(difference),
        None => Ok(()),
    }
}

fn lines<'a>(case: &'a Case, section: &str) -> impl Iterator<Item = &'a str> {
    case.answer(section).unwrap_or_default().lines().filter(|l| !l.is_empty())
}

/// The lines that differ, `-` expected and `+` actual, or `None` if the texts are equal.
pub fn difference(expected: &str, actual: &str) -> Option<String> {
    if expected == actual {
        return None;
    }
    let (old, new): (Vec<_>, Vec<_>) = (expected.lines().collect(), actual.lines().collect());
    let mut out = String::new();
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
            continue;
        }
        // The nearest line that both still have; everything before it was removed or added.
        let rest = (old.len() - i) + (new.len() - j);
        let meet = (0..=rest).find_map(|distance| {
            (0..=distance).find_map(|skip| {
                let (a, b) = (i + skip, j + distance - skip);
                (old.get(a)? == new.get(b)?).then_some((a, b))
            })
        });
        let (a, b) = meet.unwrap_or((old.len(), new.len()));
        old[i..a].iter().for_each(|l| out.push_str(&format!("- {l}\n")));
        new[j..b].iter().for_each(|l| out.push_str(&format!("+ {l}\n")));
        (i, j) = (a, b);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(differs: &str, own: &str) -> Case {
        let text = format!("about\n\nrun: build .\n{differs}-- expect/reference --\na\nb\n{own}");
        Case::parse(&text).expect("the case is well formed")
    }

    #[test]
    fn the_difference_shows_lines_on_both_sides() {
        assert_eq!(difference("a\nb\nc\n", "a\nx\nc\nd\n").as_deref(), Some("- b\n+ x\n+ d\n"));
        assert_eq!(difference("a\n", "a\n"), None);
    }

    #[test]
    fn the_record_decides() {
        assert_eq!(compare(&case("", ""), "a\nb\n"), Ok(()));
        assert!(compare(&case("", ""), "a\n").is_err());
    }

    #[test]
    fn a_difference_needs_a_reason_and_must_be_one() {
        let own = "-- expect/image --\nc\n";
        assert_eq!(compare(&case("differs: layers — older\n", own), "c\n"), Ok(()));
        assert!(compare(&case("", own), "c\n").is_err());
        assert!(compare(&case("differs: layers — older\n", ""), "a\nb\n").is_err());
        let stale = "-- expect/image --\na\nb\n";
        assert!(compare(&case("differs: layers — older\n", stale), "a\nb\n").is_err());
    }

    #[test]
    fn what_is_new_in_every_run_is_left_out() {
        let report = "{\n    {\n      \"data\": \"x\",\n      \"definition\": {\n        \"a\": {\n        },\n      },\n      \"b\": 1\n";
        assert_eq!(without_definition(report), "{\n    {\n      \"data\": \"x\",\n      \"b\": 1\n");
    }

    #[test]
    fn a_message_loses_its_prefixes_and_ids() {
        let stderr = "#1 x\nERROR: failed to build: failed to solve: checksum of ref ab::cd: \"/x\": not found\n";
        assert_eq!(final_message(stderr), "checksum of ref <id>: \"/x\": not found");
        let stderr = "#1 x\nERROR: failed to solve: not a directory: /var/cachemounts/buildkit123/f\n";
        assert_eq!(final_message(stderr), "not a directory: <rootfs>/f");
    }
}
