//! `--check`: the warnings about a Dockerfile.

use serde::Serialize;
use slipway_dockerfile::lint::Warning;
use slipway_engine::{BuildFailure, Checked, chain};
use slipway_graph::LineRange;

use super::{Location, base64, json};
use crate::report::{excerpt, panic_text};

#[derive(Serialize)]
struct Answer<'a> {
    /// `null` if there are none.
    warnings: Option<Vec<WarningAnswer<'a>>>,
    sources: [Source<'a>; 1],
    #[serde(rename = "buildError", skip_serializing_if = "Option::is_none")]
    build_error: Option<ErrorAnswer>,
}

#[derive(Serialize)]
struct WarningAnswer<'a> {
    #[serde(rename = "ruleName")]
    rule_name: &'a str,
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    detail: &'a str,
    location: Location,
}

impl WarningAnswer<'_> {
    fn of(warning: &Warning) -> WarningAnswer<'_> {
        WarningAnswer {
            rule_name: warning.rule.name,
            description: warning.rule.description,
            url: warning.rule.url(),
            detail: &warning.message,
            location: Location::of(warning.lines),
        }
    }
}

#[derive(Serialize)]
struct Source<'a> {
    filename: &'a str,
    data: String,
    language: &'a str,
}

#[derive(Serialize)]
struct ErrorAnswer {
    message: String,
    location: Location,
}

/// For programs.
pub(crate) fn as_json(checked: &Checked) -> String {
    let warnings: Vec<_> = checked.warnings.iter().map(WarningAnswer::of).collect();
    let file = &checked.dockerfile;
    json(&Answer {
        warnings: (!warnings.is_empty()).then_some(warnings),
        sources: [Source { filename: &file.name, data: base64(&file.text), language: "Dockerfile" }],
        build_error: checked.failure.as_ref().map(|failure| {
            let (message, lines) = message_and_lines(failure);
            ErrorAnswer { message, location: lines.map_or_else(Location::nowhere, Location::of) }
        }),
    })
}

/// How many warnings there are; nothing if the file cannot be built and there is none.
pub(crate) fn headline(checked: &Checked) -> String {
    match (checked.warnings.len(), &checked.failure) {
        (0, None) => "Check complete, no warnings found.\n".to_owned(),
        (0, Some(_)) => String::new(),
        (1, _) => "Check complete, 1 warning has been found!\n".to_owned(),
        (n, _) => format!("Check complete, {n} warnings have been found!\n"),
    }
}

/// For people: in the order of the file.
pub(crate) fn as_text(checked: &Checked) -> String {
    let mut text = String::new();
    let mut warnings: Vec<&Warning> = checked.warnings.iter().collect();
    warnings.sort_by_key(|warning| warning.lines.first);
    for warning in warnings {
        let link = warning.rule.url().map(|url| format!(" - {url}")).unwrap_or_default();
        let block = excerpt(&checked.dockerfile.path, &checked.dockerfile.text, warning.lines, None);
        text.push_str(&format!("\nWARNING: {}{link}\n{}\n{block}", warning.rule.name, warning.message));
    }
    // Between the warnings and the error that follows on the other stream.
    if checked.failure.is_some() && !checked.warnings.is_empty() {
        text.push('\n');
    }
    text
}

/// Why the file cannot be built, with its lines.
pub(crate) fn failure_text(checked: &Checked, failure: &BuildFailure) -> String {
    let (message, lines) = message_and_lines(failure);
    let block = lines.map(|lines| excerpt(&checked.dockerfile.path, &checked.dockerfile.text, lines, None));
    format!("{message}\n{}", block.unwrap_or_default())
}

fn message_and_lines(failure: &BuildFailure) -> (String, Option<LineRange>) {
    match failure {
        BuildFailure::Dockerfile(diagnostics) => match diagnostics.first() {
            Some(first) => (first.headline(), Some(first.lines)),
            None => ("the Dockerfile is not valid".to_owned(), None),
        },
        BuildFailure::Step { lines, source, .. } => (chain(source.as_ref()), *lines),
        BuildFailure::Panic { lines, name, message } => (panic_text(name, message), *lines),
        BuildFailure::Canceled => ("context canceled".to_owned(), None),
        BuildFailure::Request(source) | BuildFailure::Other(source) => (chain(source.as_ref()), None),
    }
}
