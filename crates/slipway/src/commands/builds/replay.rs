//! What the steps of a build wrote, alone or as if the build happened now.

use std::time::{SystemTime, UNIX_EPOCH};

use slipway_engine::{BuildRecord, LogError, LogPiece, LogReader, StepRecord};
use slipway_graph::{Event, Events, StepId};

use super::{NoBuildError, failed, nanoseconds, print};
use crate::progress::{Reporter, Style};
use crate::report::CommandError;

/// Prints what one step wrote. `step` is its number, or a part of its name.
pub(super) fn print_step(record: &BuildRecord, log: LogReader, step: &str) -> Result<(), CommandError> {
    let by_number =
        step.trim_start_matches('#').parse().ok().and_then(|number: u32| record.step(number.checked_sub(1)?));
    let found = by_number.or_else(|| record.steps.iter().find(|candidate| candidate.name.contains(step)));
    let number = found.ok_or_else(|| failed(NoBuildError::NoSuchStep(step.to_owned())))?.number;
    for piece in log {
        let piece = piece.map_err(|error| failed(error.into()))?;
        if piece.step == number {
            print(&piece.bytes)?;
        }
    }
    Ok(())
}

/// Shows the build as if it happened now.
pub(super) fn replay(record: &BuildRecord, log: LogReader, progress: &str) -> Result<(), CommandError> {
    let style = Style::choose(progress, false).map_err(|error| CommandError::Options(error.into()))?;
    let reporter = Reporter::start(style, false);
    let outcome = replay_to(&reporter, record, log);
    reporter.finish(Vec::new());
    outcome.map_err(|error| failed(error.into()))
}

/// Hands on what happened, in its order. Logs come as they are read: they may be longer than the memory.
fn replay_to(
    events: &dyn Events,
    record: &BuildRecord,
    log: impl Iterator<Item = Result<LogPiece, LogError>>,
) -> Result<(), LogError> {
    let mut others = milestones(record).into_iter().peekable();
    for piece in log {
        let LogPiece { step, stream, at_ns, bytes } = piece?;
        let is_before = |(at, event): &(i64, Event)| {
            *at < at_ns || (*at == at_ns && !matches!(event, Event::StepDone { .. } | Event::StepFailed { .. }))
        };
        while let Some((_, event)) = others.next_if(is_before) {
            events.emit(event);
        }
        events.emit(Event::StepLog { step: StepId(step), stream, bytes, at: system_time(at_ns) });
    }
    others.for_each(|(_, event)| events.emit(event));
    Ok(())
}

/// All that happened but what steps wrote, in its order, with the time in nanoseconds since 1970.
fn milestones(record: &BuildRecord) -> Vec<(i64, Event)> {
    let mut timed: Vec<(i64, Event)> = Vec::new();
    for record in &record.steps {
        let step = StepId(record.number);
        let start = record.started_ns.unwrap_or(i64::MIN);
        timed.push((i64::MIN, Event::StepPlanned { step, name: record.name.clone(), inputs: inputs_of(record) }));
        if record.hit.is_some() {
            timed.push((start, Event::StepCached { step }));
        } else if record.started_ns.is_some() {
            timed.push((start, Event::StepStarted { step, at: system_time(start) }));
        }
    }
    for record in &record.steps {
        let step = StepId(record.number);
        match (record.completed_ns, &record.error) {
            (Some(end), Some(message)) => {
                let message = message.clone();
                timed.push((end, Event::StepFailed { step, message, at: system_time(end) }));
            }
            (Some(end), None) => timed.push((end, Event::StepDone { step, at: system_time(end) })),
            (None, _) if record.is_canceled => timed.push((i64::MAX, Event::StepCanceled { step })),
            (None, _) => {}
        }
    }
    // Keeps the order above for what happened at the same time.
    timed.sort_by_key(|(at, _)| *at);
    timed
}

fn system_time(ns: i64) -> SystemTime {
    UNIX_EPOCH + nanoseconds(ns)
}

/// The steps whose results a step used.
fn inputs_of(step: &StepRecord) -> Vec<StepId> {
    step.vertex.iter().flat_map(|vertex| &vertex.inputs).map(|input| StepId(*input)).collect()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::tests::record;
    use super::*;

    /// Takes events down.
    #[derive(Default)]
    struct Heard(std::sync::Mutex<Vec<String>>);

    impl Events for Heard {
        fn emit(&self, event: Event) {
            let text = match event {
                Event::StepPlanned { step, .. } => format!("{} planned", step.0),
                Event::StepStarted { step, .. } => format!("{} started", step.0),
                Event::StepDone { step, .. } => format!("{} done", step.0),
                Event::StepLog { step, bytes, .. } => format!("{} {}", step.0, String::from_utf8(bytes).unwrap()),
                other => panic!("{other:?}"),
            };
            self.0.lock().unwrap().push(text);
        }

        fn new_step(&self) -> StepId {
            unreachable!("because nothing is built")
        }
    }

    #[test]
    fn a_replay_has_the_order_of_the_build() {
        let step = |number, started_ns, completed_ns| StepRecord {
            number,
            name: String::new(),
            lines: None,
            started_ns: Some(started_ns),
            completed_ns: Some(completed_ns),
            error: None,
            is_canceled: false,
            hit: None,
            vertex: None,
        };
        let mut build = record("a", "/x", None);
        build.steps = vec![step(0, 10, 20), step(1, 20, 30)];
        let log = [(0, 10, "first"), (0, 20, "last"), (1, 25, "other")].map(|(step, at_ns, text)| {
            Ok(LogPiece { step, stream: slipway_graph::LogStream::Stdout, at_ns, bytes: text.into() })
        });
        let heard = Heard::default();
        replay_to(&heard, &build, log.into_iter()).unwrap();
        let expected =
            ["0 planned", "1 planned", "0 started", "0 first", "1 started", "0 last", "0 done", "1 other", "1 done"];
        assert_eq!(heard.0.into_inner().unwrap(), expected);
        let damaged = [Err(LogError::Damaged(io::ErrorKind::InvalidData.into()))];
        assert!(replay_to(&Heard::default(), &build, damaged.into_iter()).is_err());
    }
}
