//! `bake --call` and `bake --check`: what each Dockerfile answers, one target after the other (`spec/bake.md` section 15.1).

use serde_json::{Map, Value as Json};
use slipway_bake::Selection;
use slipway_graph::request::{BuildRequest, Call, Method};

use super::write_out;
use crate::commands::call::{self, Answer};
use crate::progress::Style;
use crate::report::CommandError;

/// What is to be found out about the Dockerfile of a target.
pub(super) struct Question<'a> {
    pub(super) target: &'a str,
    pub(super) call: Call,
    pub(super) request: BuildRequest,
}

/// Writes all answers: under the names of the targets, or as one document with what each of them is.
pub(super) fn ask(
    selection: &Selection,
    questions: &[Question<'_>],
    as_json: bool,
    style: Style,
    is_debug: bool,
) -> Result<(), CommandError> {
    let (mut is_bad, mut document) = (false, Vec::new());
    for (index, Question { target, call, request }) in questions.iter().enumerate() {
        let answer = call::answer(*call, request, None, style, is_debug, Vec::new())?;
        is_bad |= answer.failure.is_some() || answer.has_findings && !call.ignores_status;
        if as_json {
            document.push((target.to_string(), method_name(call.method), answer_json(&answer)));
            continue;
        }
        let gap = if index > 0 { "\n" } else { "" };
        let description = match selection.targets[*target].description.as_str() {
            "" => String::new(),
            description => format!("{description}\n"),
        };
        let failure = answer.failure.map(|text| format!("error: {text}")).unwrap_or_default();
        write_out(&format!("{gap}{target}\n{description}\n{}{failure}", answer.headline + &answer.text))?;
    }
    if !document.is_empty() {
        write_out(&selection.answers_to_json(document))?;
    }
    if is_bad { Err(CommandError::Findings) } else { Ok(()) }
}

fn method_name(method: Method) -> &'static str {
    match method {
        Method::Check => "check",
        Method::Outline => "outline",
        Method::Targets => "targets",
        Method::Describe => "subrequests.describe",
    }
}

/// The answer with its keys in order; what is wrong with the file stands beside what was found.
fn answer_json(answer: &Answer) -> Json {
    let parsed = serde_json::from_str(&answer.json).unwrap_or_else(|_| Json::from(answer.json.clone()));
    let Json::Object(mut fields) = parsed else { return parsed };
    if let Some(failure) = &answer.failure {
        fields.insert("error".to_owned(), failure.clone().into());
    }
    let mut fields: Vec<(String, Json)> = fields.into_iter().collect();
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    Json::from(Map::from_iter(fields))
}
