//! What the page about a build tells, from its record, its log and what of it is still in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use slipway_engine::{BuildRecord, Status, StepExplanation, StepRecord, explain, read_log, step_sizes};
use slipway_report::{Against, ComparedStep, Measured, Report, ReportStep};
use slipway_store::Store;

use crate::commands::builds;
use crate::commands::explain::sentence;
use crate::critical_path::critical_path;
use crate::progress::plain_text;
use crate::stage_graph::{self, History, state, took};
use crate::summary;

/// How much of a step's output is shown from its beginning and from its end.
const MAX_LOG_END: usize = 96 << 10;

/// The report on `record`, one of `all`, which are the builds that are remembered, the newest first. What cannot be read any
/// more is left out.
pub(crate) fn of(store: &Store, record: &BuildRecord, all: &[BuildRecord], against: Option<&BuildRecord>) -> Report {
    let sizes = step_sizes(store, record).unwrap_or_default();
    let explanation = explain(store, record, all);
    let explained: BTreeMap<u32, &StepExplanation> = explanation.steps.iter().map(|step| (step.number, step)).collect();
    let mut logs = logs(store, record);
    let in_image = in_image(record);
    let steps = record.steps.iter().map(|step| {
        let Log { text, n_left_out } = logs.remove(&step.number).unwrap_or_default().into_log();
        let reasons = explained.get(&step.number).map(|step| step.reasons.iter().map(sentence).collect());
        ReportStep {
            number: step.number,
            stage: step.stage().map(str::to_owned),
            instruction: step.instruction().to_owned(),
            line: step.lines.map(|(first, _)| first),
            state: state(step),
            start: step.started_ns.map(|start| since(record.started_ns, start)),
            took: took(step),
            size_bytes: sizes.get(&step.number).copied(),
            is_in_image: in_image.contains(&step.number),
            reasons: reasons.unwrap_or_default(),
            error: step.error.clone(),
            log: text,
            n_bytes_left_out: n_left_out,
        }
    });
    let history = History { build: record.clone(), sizes: sizes.clone() };
    let earlier = all.iter().filter(|other| other.started_ns < record.started_ns);
    Report {
        name: builds::name(record),
        id: record.id.clone(),
        status: builds::status(record.status).to_owned(),
        is_completed: record.status == Status::Completed,
        started: shown_time(record.started_ns),
        wall: since(record.started_ns, record.completed_ns),
        facts: facts(record),
        error: record.error.clone(),
        warnings: record.warnings.clone(),
        steps: steps.collect(),
        critical_path: critical(record),
        graph: stage_graph::of_build(&history),
        saved: Some(summary::saved(record, earlier.cloned())).filter(|saved| !saved.is_zero()),
        image_bytes: record.image_bytes,
        compressed_bytes: record.compressed_bytes,
        against: against.map(|other| compared(other, record)),
    }
}

fn facts(record: &BuildRecord) -> Vec<(String, String)> {
    let request = &record.request;
    let pairs = |pairs: &[(String, String)]| {
        pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
    };
    let facts = [
        ("Context", request.context.clone()),
        ("Dockerfile", request.dockerfile.clone()),
        ("Target", request.target.clone().unwrap_or_default()),
        ("Platforms", request.platforms.join(", ")),
        ("Tags", request.tags.join(", ")),
        ("Build arguments", pairs(&request.build_args)),
        ("Labels", pairs(&request.labels)),
        ("Secrets", request.secrets.join(", ")),
        ("Began", shown_time(record.started_ns)),
        ("Ended", shown_time(record.completed_ns)),
        ("Image", record.image_id.as_ref().map(ToString::to_string).unwrap_or_default()),
    ];
    facts.into_iter().filter(|(_, value)| !value.is_empty()).map(|(title, value)| (title.to_owned(), value)).collect()
}

/// The numbers of the steps that decided how long the build took.
fn critical(record: &BuildRecord) -> Vec<u32> {
    let places: BTreeMap<u32, usize> =
        record.steps.iter().enumerate().map(|(place, step)| (step.number, place)).collect();
    let ended = |place: usize| record.steps[place].completed_ns.filter(|_| record.steps[place].ran());
    let inputs = |place: usize| {
        let inputs = record.steps[place].vertex.iter().flat_map(|vertex| &vertex.inputs);
        inputs.filter_map(|input| places.get(input).copied()).collect()
    };
    let vertices = (0..record.steps.len()).filter(|place| record.steps[*place].vertex.is_some());
    let last = vertices.filter_map(|place| Some((ended(place)?, place))).max();
    let path = last.map(|(_, last)| critical_path(last, inputs, ended)).unwrap_or_default();
    path.into_iter().map(|place| record.steps[place].number).collect()
}

/// The numbers of the steps whose files are in the image: from what nobody uses, always on to what it adds to.
fn in_image(record: &BuildRecord) -> BTreeSet<u32> {
    let used: BTreeSet<u32> = record.steps.iter().flat_map(|s| &s.vertex).flat_map(|v| v.inputs.clone()).collect();
    let results = record.steps.iter().filter(|step| step.vertex.is_some() && !used.contains(&step.number));
    let mut found = BTreeSet::new();
    for result in results {
        let mut current = Some(result);
        while let Some(step) = current.filter(|step| found.insert(step.number)) {
            let vertex = step.vertex.as_ref().filter(|vertex| !vertex.is_source);
            current = vertex.and_then(|vertex| record.step(*vertex.inputs.first()?));
        }
    }
    found
}

fn compared(before: &BuildRecord, after: &BuildRecord) -> Against {
    let shown = |build: &BuildRecord| -> Vec<(String, StepRecord)> {
        let steps = build.steps.iter().filter(|step| step.vertex.is_some() && !step.name.starts_with("[internal]"));
        steps.map(|step| (step.name.clone(), step.clone())).collect()
    };
    let measured = |step: &StepRecord| Measured { state: state(step), took: took(step) };
    let mut then = shown(before);
    let mut rows = Vec::new();
    for (name, now) in shown(after) {
        let place = then.iter().position(|(other, _)| *other == name);
        let before = place.map(|place| measured(&then.remove(place).1));
        rows.push(ComparedStep { name, before, after: Some(measured(&now)), number: Some(now.number) });
    }
    let gone = then.into_iter();
    rows.extend(gone.map(|(name, step)| ComparedStep {
        name,
        before: Some(measured(&step)),
        after: None,
        number: None,
    }));
    Against {
        id: before.id.clone(),
        started: shown_time(before.started_ns),
        wall: since(before.started_ns, before.completed_ns),
        image_bytes: before.image_bytes,
        rows,
    }
}

/// What a step wrote, while it is read: both ends of it.
#[derive(Default)]
struct LogEnds {
    head: Vec<u8>,
    tail: std::collections::VecDeque<u8>,
    n_left_out: u64,
}

#[derive(Default)]
struct Log {
    text: String,
    n_left_out: u64,
}

impl LogEnds {
    fn add(&mut self, bytes: &[u8]) {
        let n_head = bytes.len().min(MAX_LOG_END - self.head.len());
        self.head.extend(&bytes[..n_head]);
        self.tail.extend(&bytes[n_head..]);
        let n_excess = self.tail.len().saturating_sub(MAX_LOG_END);
        self.tail.drain(..n_excess);
        self.n_left_out += n_excess as u64;
    }

    fn into_log(mut self) -> Log {
        let gap: &[u8] = if self.n_left_out > 0 { b"\n[...]\n" } else { b"" };
        let bytes = [&self.head, gap, self.tail.make_contiguous()].concat();
        Log { text: plain_text(&bytes), n_left_out: self.n_left_out }
    }
}

/// What the steps wrote, by number. A damaged log is shown as far as it goes.
fn logs(store: &Store, record: &BuildRecord) -> BTreeMap<u32, LogEnds> {
    let mut logs: BTreeMap<u32, LogEnds> = BTreeMap::new();
    for piece in read_log(store, &record.id).into_iter().flatten().map_while(Result::ok) {
        logs.entry(piece.step).or_default().add(&piece.bytes);
    }
    logs
}

fn since(start_ns: i64, end_ns: i64) -> Duration {
    Duration::from_nanos(u64::try_from(end_ns - start_ns).unwrap_or(0))
}

/// `2026-11-22 10:00:00 UTC`.
fn shown_time(ns: i64) -> String {
    let text = builds::time(ns - ns.rem_euclid(1_000_000_000)).to_string();
    text.replace('T', " ").replace('Z', " UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_long_log_are_shown() {
        let mut ends = LogEnds::default();
        ends.add(b"first\r\n");
        (0..1000).for_each(|_| ends.add(&[b'x'; 1000]));
        ends.add(b"\nlast \x1b[31mred\x1b[0m");
        let n_bytes = 7 + 1_000_000 + 18;
        let Log { text, n_left_out } = ends.into_log();
        assert_eq!(n_left_out, n_bytes - 2 * MAX_LOG_END as u64);
        assert!(text.starts_with("first\nxxx") && text.contains("\n[...]\n") && text.ends_with("\nlast red"), "{text}");
    }

    #[test]
    fn times_are_for_people() {
        assert_eq!(shown_time(1_000_000_000_123_456_789), "2001-09-09 01:46:40 UTC");
    }
}
