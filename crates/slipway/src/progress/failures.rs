//! Repeats the last output of the steps that failed, so that it is found right above the error.

use std::collections::{HashMap, VecDeque};
use std::time::SystemTime;

use slipway_graph::{Event, StepId};

use super::control_sequences::harmless;
use super::elapsed;

const N_LINES: usize = 10;

/// The last lines of all steps, and which of them failed.
#[derive(Default)]
pub(super) struct Failures {
    steps: HashMap<StepId, Step>,
    failed: Vec<StepId>,
}

#[derive(Default)]
struct Step {
    name: String,
    started: Option<SystemTime>,
    lines: VecDeque<Vec<u8>>,
    is_line_open: bool,
}

impl Failures {
    /// Remembers what may be needed.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::StepPlanned { step, name, .. } => self.step(*step).name.clone_from(name),
            Event::StepStarted { step, at } => self.step(*step).started = Some(*at),
            Event::StepLog { step, bytes, at, .. } => self.step(*step).log(bytes, *at),
            Event::StepFailed { step, .. } => self.failed.push(*step),
            Event::StepCached { step } | Event::StepDone { step, .. } | Event::StepCanceled { step } => {
                // Its lines are not needed any more.
                self.steps.remove(step);
            }
            Event::StepStatus { .. } | Event::Remark { .. } | Event::Warning(_) => {}
        }
    }

    /// A block for each step that failed. `has_colors` is for a terminal, which gets no other control sequences.
    pub(super) fn write(&self, has_colors: Option<bool>, out: &mut Vec<u8>) {
        for step in self.failed.iter().filter_map(|id| self.steps.get(id)) {
            out.extend(format!("------\n > {}:\n", step.name).bytes());
            for line in &step.lines {
                match has_colors {
                    Some(has_colors) => out.extend(harmless(line, has_colors).bytes()),
                    None => out.extend(line.strip_suffix(b"\n").unwrap_or(line)),
                }
                out.push(b'\n');
            }
            out.extend(b"------\n");
        }
    }

    fn step(&mut self, id: StepId) -> &mut Step {
        self.steps.entry(id).or_default()
    }
}

impl Step {
    fn log(&mut self, bytes: &[u8], at: SystemTime) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            match self.lines.back_mut() {
                Some(line) if self.is_line_open => line.extend(part),
                _ => {
                    let mut line = log_time(self.started, at).into_bytes();
                    line.extend(part);
                    self.lines.push_back(line);
                }
            }
            self.is_line_open = !part.ends_with(b"\n");
            if self.lines.len() > N_LINES {
                self.lines.pop_front();
            }
        }
    }
}

/// Seconds since the step began and a blank: three decimals below 10 s, two below 100 s, then one.
pub(super) fn log_time(started: Option<SystemTime>, at: SystemTime) -> String {
    let seconds = started.map_or(0.0, |started| elapsed(started, at).as_secs_f64());
    let n_decimals = match seconds {
        ..10.0 => 3,
        10.0..100.0 => 2,
        _ => 1,
    };
    format!("{seconds:.n_decimals$} ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use slipway_graph::LogStream;

    use super::*;

    #[test]
    fn the_last_ten_lines_of_a_failed_step_are_repeated() {
        let (step, other) = (StepId(3), StepId(4));
        let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        let log = |step, text: &str, millis| Event::StepLog {
            step,
            stream: LogStream::Stdout,
            bytes: text.into(),
            at: at(millis),
        };
        let mut failures = Failures::default();
        failures.note(&Event::StepPlanned { step, name: "[2/2] RUN x".to_owned(), inputs: Vec::new() });
        failures.note(&Event::StepStarted { step, at: at(0) });
        failures.note(&log(other, "not this\n", 0));
        failures.note(&log(step, "first\n", 1));
        for n in 1..=9 {
            failures.note(&log(step, &format!("l{n}\n"), 219));
        }
        failures.note(&log(step, "part", 12_345));
        failures.note(&log(step, "ial", 13_000));
        failures.note(&Event::StepFailed { step, message: "m".to_owned(), at: at(14_000) });
        let mut out = Vec::new();
        failures.write(None, &mut out);
        let lines: String = (1..=9).map(|n| format!("0.219 l{n}\n")).collect();
        let expected = format!("------\n > [2/2] RUN x:\n{lines}12.35 partial\n------\n");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn times_have_fewer_decimals_as_they_grow() {
        let time =
            |seconds| log_time(Some(SystemTime::UNIX_EPOCH), SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds));
        assert_eq!([0.1234, 12.344, 123.44].map(time), ["0.123 ", "12.34 ", "123.4 "]);
    }
}
