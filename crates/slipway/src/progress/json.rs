//! One JSON object a line, for programs (`spec/dockerfile.md` section 10.3, rawjson).

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use slipway_graph::event::FileWarning;
use slipway_graph::{Event, LogStream, StepId};
use slipway_oci::Digest;

use super::Screen;

/// The screen of programs.
#[derive(Default)]
pub(super) struct Json {
    vertices: HashMap<StepId, Map<String, Value>>,
}

impl Json {
    /// Writes the vertex anew with `fields` added to it.
    fn vertex(&mut self, step: StepId, fields: &[(&str, Value)], out: &mut Vec<u8>) {
        let vertex = self.vertices.entry(step).or_default();
        vertex.extend(fields.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        write_line(&json!({ "vertexes": [vertex] }), out);
    }
}

impl Screen for Json {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::StepPlanned { step, name, inputs } => {
                let ids: Vec<Value> = inputs.iter().map(|input| vertex_id(*input)).collect();
                let mut fields = vec![("digest", vertex_id(*step)), ("inputs", json!(ids)), ("name", json!(name))];
                fields.retain(|(key, _)| *key != "inputs" || !inputs.is_empty());
                self.vertex(*step, &fields, out);
            }
            Event::StepStarted { step, at } => self.vertex(*step, &[("started", time(*at))], out),
            Event::StepLog { step, stream, bytes, at } => {
                let stream = match stream {
                    LogStream::Stdout => 1,
                    LogStream::Stderr => 2,
                };
                let log = json!({
                    "vertex": vertex_id(*step), "stream": stream, "data": base64(bytes), "timestamp": time(*at),
                });
                write_line(&json!({ "logs": [log] }), out);
            }
            Event::StepStatus { step, id, current, total, is_done, .. } => {
                let now = time(SystemTime::now());
                let mut status = json!({ "id": id, "vertex": vertex_id(*step), "current": current, "timestamp": now });
                if *total > 0 {
                    status["total"] = json!(total);
                }
                if *is_done {
                    status["completed"] = now;
                }
                write_line(&json!({ "statuses": [status] }), out);
            }
            Event::StepCached { step } => self.vertex(*step, &[("cached", json!(true))], out),
            Event::StepDone { step, at } => self.vertex(*step, &[("completed", time(*at))], out),
            Event::StepFailed { step, message, at } => {
                self.vertex(*step, &[("completed", time(*at)), ("error", json!(message))], out);
            }
            Event::StepCanceled { step } => self.vertex(*step, &[("error", json!("context canceled"))], out),
            Event::Remark { message } => {
                write_line(&json!({ "warnings": [{ "short": base64(message.as_bytes()) }] }), out);
            }
            Event::Warning(warning) => write_line(&json!({ "warnings": [warning_fields(warning)] }), out),
        }
    }

    fn interval(&self) -> Option<Duration> {
        None
    }

    fn tick(&mut self, _: &mut Vec<u8>) {}

    fn finish(&mut self, _: &mut Vec<u8>) {}
}

fn write_line(value: &Value, out: &mut Vec<u8>) {
    out.extend(value.to_string().bytes());
    out.push(b'\n');
}

fn warning_fields(warning: &FileWarning) -> Value {
    let range = |line: usize| json!({ "start": { "line": line }, "end": { "line": line } });
    let ranges: Vec<Value> = (warning.lines.first..=warning.lines.last).map(range).collect();
    let mut fields = json!({
        "vertex": vertex_id(warning.step),
        "level": 1,
        "short": base64(warning.short.as_bytes()),
        "detail": [base64(warning.detail.as_bytes())],
        "sourceInfo": {
            "filename": warning.file_name,
            "data": base64(warning.text.as_bytes()),
            "language": "Dockerfile",
        },
        "range": ranges,
    });
    if let Some(url) = &warning.url {
        fields["url"] = json!(url);
    }
    fields
}

/// Readers expect a digest; all they do with it is to tell vertices apart.
fn vertex_id(step: StepId) -> Value {
    json!(Digest::of(&step.0.to_le_bytes()).as_str())
}

fn time(at: SystemTime) -> Value {
    Timestamp::try_from(at).map_or(Value::Null, |at| json!(at.to_string()))
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vertex_grows_from_line_to_line() {
        let mut json = Json::default();
        let mut out = Vec::new();
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        json.event(
            &Event::StepPlanned { step: StepId(0), name: "RUN x".to_owned(), inputs: vec![StepId(7)] },
            &mut out,
        );
        json.event(&Event::StepStarted { step: StepId(0), at }, &mut out);
        json.event(&Event::StepDone { step: StepId(0), at }, &mut out);
        let lines: Vec<Value> =
            String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let last = &lines[2]["vertexes"][0];
        assert_eq!((&last["name"], &last["started"]), (&json!("RUN x"), &json!("1970-01-01T00:00:01Z")));
        assert_eq!(last["completed"], last["started"]);
        assert_eq!(last["inputs"], json!([vertex_id(StepId(7))]));
        assert_eq!(lines[0]["vertexes"][0]["completed"], Value::Null);
        assert_eq!(lines[0]["vertexes"][0]["digest"], last["digest"]);
    }
}
