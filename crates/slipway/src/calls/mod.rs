//! The answers to `--call`, as text for people and as JSON for programs, in the words of the reference builder
//! (`spec/dockerfile.md` section 9.3).

pub(crate) mod check;
pub(crate) mod describe;
pub(crate) mod outline;
mod table;
pub(crate) mod targets;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use slipway_graph::LineRange;
use slipway_oci::to_indented;

/// Where something stands in the file; without ranges nowhere in particular.
#[derive(Serialize)]
struct Location {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ranges: Vec<Range>,
}

#[derive(Serialize)]
struct Range {
    start: Position,
    end: Position,
}

#[derive(Serialize)]
struct Position {
    line: usize,
}

impl Location {
    /// Each line is a range of its own.
    fn of(lines: LineRange) -> Location {
        let range = |line| Range { start: Position { line }, end: Position { line } };
        Location { ranges: (lines.first..=lines.last).map(range).collect() }
    }

    fn nowhere() -> Location {
        Location { ranges: Vec::new() }
    }
}

fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

fn json<T: Serialize>(value: &T) -> String {
    let json = to_indented(value).expect("because the answers have nothing but texts, numbers and lists");
    String::from_utf8(json).expect("because JSON is text") + "\n"
}
