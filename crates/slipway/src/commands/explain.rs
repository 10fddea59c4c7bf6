//! `slipway explain [BUILD]`: which steps ran, and what differed from the build before. Also what `build --explain`
//! and `build --expect-cached` say.

use std::io::{self, Write as _};

use slipway_engine::{BuildRecord, Explanation, FileChange, Outcome, PartKind, Reason, StepExplanation, explain};
use slipway_store::{FsError, Store};

use crate::cli::builds::ExplainArgs;
use crate::commands::builds::{self, NoBuildError};
use crate::report::CommandError;

/// Longer values are shortened.
const MAX_VALUE_CHARS: usize = 60;
/// More reasons of one step are counted.
const MAX_REASONS: usize = 10;

/// A stage that was to be cached was not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotCachedError {
    #[error("no step of the build belongs to stage `{0}`")]
    NoSuchStage(String),
    #[error("stage `{stage}` was expected to be cached, but {step} ran{reason}")]
    Ran { stage: String, step: String, reason: String },
}

/// Prints the explanation.
pub(crate) fn run(args: &ExplainArgs) -> Result<(), CommandError> {
    let failed = |error: NoBuildError| CommandError::Options(error.into());
    let store = builds::open_store()?;
    let all = builds::records(&store).map_err(failed)?;
    let explanation = explain(&store, builds::find(&all, args.build.as_deref()).map_err(failed)?, &all);
    let text = match args.json {
        true => serde_json::to_string_pretty(&explanation).map_err(|error| CommandError::Options(error.into()))? + "\n",
        false => text(&explanation),
    };
    io::stdout().write_all(text.as_bytes()).map_err(|error| CommandError::Options(error.into()))
}

/// The explanation of a build that has just ended.
pub(crate) fn of(store: &Store, record: &BuildRecord) -> Result<Explanation, FsError> {
    Ok(explain(store, record, &BuildRecord::all(store)?))
}

/// Fails if a step of `stage` ran. In a file with one stage, which has no name there, every step belongs to it.
pub(crate) fn check_cached(explanation: &Explanation, stage: &str) -> Result<(), NotCachedError> {
    let has_stages = explanation.steps.iter().any(|step| step.stage.is_some());
    let is_in_stage = |step: &&StepExplanation| match &step.stage {
        Some(name) => name.eq_ignore_ascii_case(stage),
        None => !has_stages,
    };
    let mut steps = explanation.steps.iter().filter(is_in_stage).peekable();
    if steps.peek().is_none() {
        return Err(NotCachedError::NoSuchStage(stage.to_owned()));
    }
    // That a base image had to be pulled says nothing about the steps on it.
    match steps.find(|step| step.outcome == Outcome::Ran && !step.is_source) {
        None => Ok(()),
        Some(step) => Err(NotCachedError::Ran {
            stage: stage.to_owned(),
            step: step.step.clone(),
            reason: step.reasons.first().map(|reason| format!(": {}", sentence(reason))).unwrap_or_default(),
        }),
    }
}

/// For people.
pub(crate) fn text(explanation: &Explanation) -> String {
    let mut text = String::new();
    for step in &explanation.steps {
        let outcome = match step.outcome {
            Outcome::Ran => "ran  ",
            Outcome::Hit => "hit  ",
            Outcome::EqualInputs => "equal",
            Outcome::NotReached => "-    ",
        };
        let line = step.lines.map(|(first, _)| format!("  (line {first})")).unwrap_or_default();
        text.push_str(&format!("{outcome}  {}{line}\n", step.step));
        for reason in step.reasons.iter().take(MAX_REASONS) {
            text.push_str(&format!("         {}\n", sentence(reason)));
        }
        if step.reasons.len() > MAX_REASONS {
            text.push_str(&format!("         and {} more\n", step.reasons.len() - MAX_REASONS));
        }
    }
    match &explanation.first_break {
        None => text.push_str("Every step was cached.\n"),
        Some(first) => {
            let followed = match first.n_followed {
                0 => "no other step followed from it".to_owned(),
                1 => "1 step followed from it".to_owned(),
                n_steps => format!("{n_steps} steps followed from it"),
            };
            text.push_str(&format!("The first step that ran is {}; {followed}.\n", first.step));
        }
    }
    text
}

/// A reason for people.
pub(crate) fn sentence(reason: &Reason) -> String {
    match reason {
        Reason::FirstTime => "no earlier build of this step is remembered".to_owned(),
        Reason::NotWanted => "earlier results were not to be used (--no-cache)".to_owned(),
        Reason::ResultGone => "nothing differs, but the earlier result is no longer in the store".to_owned(),
        Reason::FailedBefore => "nothing differs, but the step did not succeed before".to_owned(),
        Reason::Forgotten => "it differs; what it was made of before is no longer remembered".to_owned(),
        Reason::Changed { what, name, before, after } => changed(*what, name, before.as_deref(), after.as_deref()),
        Reason::File { path, change } => file(path, change),
        Reason::Files { selection } => format!("files of {selection} differ"),
        Reason::Parent { step } => format!("it uses {step}, which differs"),
    }
}

fn changed(what: PartKind, name: &str, before: Option<&str>, after: Option<&str>) -> String {
    if what == PartKind::Secret {
        return secret(name, before.is_some(), after.is_some());
    }
    let kind = match what {
        PartKind::BuildArgument => "build argument ",
        PartKind::Environment => "environment variable ",
        PartKind::Mount => "mount ",
        PartKind::Base => "base image ",
        PartKind::Remote => "content of ",
        PartKind::Secret | PartKind::Instruction | PartKind::Files | PartKind::Parent => "",
    };
    match (before, after) {
        (Some(before), Some(after)) => format!("{kind}{name}: {} -> {}", shortened(before), shortened(after)),
        (None, Some(after)) => format!("{kind}{name} is new: {}", shortened(after)),
        (Some(before), None) => format!("{kind}{name} is gone, was {}", shortened(before)),
        (None, None) => format!("{kind}{name} differs"),
    }
}

/// What is kept of a secret's value would mean nothing to people.
fn secret(id: &str, counted: bool, counts: bool) -> String {
    match (counted, counts) {
        (false, true) => format!("the value of secret `{id}` counts, and did not before"),
        (true, false) => format!("the value of secret `{id}` does not count any more"),
        _ => format!("the secret `{id}` changed"),
    }
}

fn file(path: &str, change: &FileChange) -> String {
    match change {
        FileChange::Appeared => format!("{path}: appeared"),
        FileChange::Gone => format!("{path}: gone"),
        FileChange::Renamed { from } => format!("{path}: renamed from {from}"),
        FileChange::Kind { before, after } => format!("{path}: {before} -> {after}"),
        FileChange::Content => format!("{path}: content"),
        FileChange::Mode { before, after } => format!("{path}: mode {before} -> {after}"),
        FileChange::Owner { before, after } => format!("{path}: owner {before} -> {after}"),
    }
}

/// On one line.
fn shortened(value: &str) -> String {
    let line = value.replace('\n', "\\n");
    match line.char_indices().nth(MAX_VALUE_CHARS) {
        Some((end, _)) => format!("`{}…`", &line[..end]),
        None => format!("`{line}`"),
    }
}

#[cfg(test)]
mod tests {
    use slipway_engine::Break;

    use super::*;

    fn step(name: &str, stage: Option<&str>, outcome: Outcome, reasons: Vec<Reason>) -> StepExplanation {
        let stage = stage.map(str::to_owned);
        StepExplanation {
            number: 0,
            step: name.to_owned(),
            stage,
            lines: Some((2, 2)),
            outcome,
            is_source: false,
            reasons,
        }
    }

    fn explanation(steps: Vec<StepExplanation>) -> Explanation {
        let first = steps.iter().find(|step| step.outcome == Outcome::Ran);
        let first_break = first.map(|step| Break { step: step.step.clone(), n_followed: 1 });
        Explanation { build: "id".to_owned(), steps, first_break }
    }

    #[test]
    fn reasons_stand_below_their_steps() {
        let file = Reason::File { path: "src/a".to_owned(), change: FileChange::Content };
        let all = explanation(vec![
            step("[b 1/3] FROM x", Some("b"), Outcome::Hit, Vec::new()),
            step("[b 2/3] COPY src .", Some("b"), Outcome::Ran, vec![file]),
            step(
                "[b 3/3] RUN make",
                Some("b"),
                Outcome::Ran,
                vec![Reason::Parent { step: "[b 2/3] COPY src .".to_owned() }],
            ),
        ]);
        let expected = "\
hit    [b 1/3] FROM x  (line 2)
ran    [b 2/3] COPY src .  (line 2)
         src/a: content
ran    [b 3/3] RUN make  (line 2)
         it uses [b 2/3] COPY src ., which differs
The first step that ran is [b 2/3] COPY src .; 1 step followed from it.
";
        assert_eq!(text(&all), expected);
    }

    #[test]
    fn a_stage_that_ran_is_told_with_its_reason() {
        let ran = step("[b 1/1] RUN x", Some("b"), Outcome::Ran, vec![Reason::FirstTime]);
        let all = explanation(vec![step("[a 1/1] RUN y", Some("a"), Outcome::Hit, Vec::new()), ran]);
        assert!(check_cached(&all, "a").is_ok());
        let told = check_cached(&all, "B").unwrap_err().to_string();
        assert_eq!(
            told,
            "stage `B` was expected to be cached, but [b 1/1] RUN x ran: no earlier build of this step is remembered"
        );
        assert!(matches!(check_cached(&all, "c"), Err(NotCachedError::NoSuchStage(_))));
        let only = explanation(vec![step("[1/1] RUN x", None, Outcome::Hit, Vec::new())]);
        assert!(check_cached(&only, "anything").is_ok());
    }
}
