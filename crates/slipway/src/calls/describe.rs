//! `--call=subrequests.describe`: which questions there are.

use serde::Serialize;

use super::json;
use super::table::table;

const VERSION: &str = "1.0.0";

/// A question: its name, what it answers, and the options it looks at.
struct Question {
    name: &'static str,
    description: &'static str,
    /// `None` and an empty list differ for programs.
    options: Option<&'static [Named]>,
}

#[derive(Clone, Copy, Serialize)]
struct Named {
    name: &'static str,
    description: &'static str,
}

const QUESTIONS: [Question; 3] = [
    Question {
        name: "outline",
        description: "List all parameters current build target supports",
        options: Some(&[Named { name: "target", description: "Target build stage" }]),
    },
    Question { name: "targets", description: "List all targets current build supports", options: Some(&[]) },
    Question { name: "subrequests.describe", description: "List available subrequest types", options: None },
];

#[derive(Serialize)]
struct Answer {
    name: String,
    version: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    description: &'static str,
    opts: Option<&'static [Named]>,
    inputs: Option<&'static [Named]>,
    metadata: [Named; 2],
    refs: Option<&'static [Named]>,
}

/// For programs.
pub(crate) fn as_json() -> String {
    json(&QUESTIONS.map(|question| Answer {
        name: format!("frontend.{}", question.name),
        version: VERSION,
        kind: "rpc",
        description: question.description,
        opts: question.options,
        inputs: None,
        metadata: ["result.json", "result.txt"].map(|name| Named { name, description: "" }),
        refs: None,
    }))
}

/// For people.
pub(crate) fn as_text() -> String {
    let mut rows = vec![["NAME", "VERSION", "DESCRIPTION"]];
    rows.extend(QUESTIONS.iter().map(|question| [question.name, VERSION, question.description]));
    table(&rows, 1)
}
