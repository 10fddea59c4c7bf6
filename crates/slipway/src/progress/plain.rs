//! Lines that never change (`spec/dockerfile.md` section 10.2).
//!
//! Steps run at the same time, but one of them at a time has the *focus* and writes; what the others say waits. The
//! focus moves when a step ends, when the step that has it has nothing more to come, or after some seconds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use slipway_graph::{Event, StepId};

use super::ci::Ci;
use super::failures::log_time;
use super::{Screen, elapsed, size};

/// Steps that end sooner after they began are shown in one piece.
const SETTLING: Duration = Duration::from_millis(100);
/// How long a step keeps the focus while others wait.
const FOCUS_AT_LEAST: Duration = Duration::from_secs(5);
const MAX_NAME_CHARS: usize = 72;

/// The plain screen.
pub(super) struct Plain {
    cuts_names: bool,
    /// Who folds what belongs together.
    ci: Option<Ci>,
    /// The number of the last group, and whether it is open.
    group: (u32, bool),
    /// By number, so that those planned first are looked at first.
    steps: BTreeMap<StepId, Step>,
    focus: Option<StepId>,
    focus_since: Instant,
    n_numbered: u32,
    /// What was written last does not end in a newline.
    is_line_open: bool,
}

#[derive(Default)]
struct Step {
    name: String,
    /// Given when the step is first written.
    number: Option<u32>,
    started: Option<SystemTime>,
    has_ended: bool,
    /// The last log piece did not end in a newline.
    is_log_open: bool,
    waiting: Vec<Piece>,
    statuses: BTreeMap<String, Status>,
}

/// A part of what is shown, without the number of its step.
struct Piece {
    /// Begins a line, in contrast to the rest of one that was written in parts.
    begins_line: bool,
    text: Vec<u8>,
}

/// When a status was last shown.
struct Status {
    current: u64,
    took: Duration,
    is_done: bool,
}

impl Plain {
    pub(super) fn new(cuts_names: bool, ci: Option<Ci>) -> Plain {
        Plain {
            cuts_names,
            ci,
            group: (0, false),
            steps: BTreeMap::new(),
            focus: None,
            focus_since: Instant::now(),
            n_numbered: 0,
            is_line_open: false,
        }
    }

    fn step(&mut self, id: StepId) -> &mut Step {
        self.steps.entry(id).or_default()
    }

    /// Writes `pieces`, at once if the step has the focus or nobody has it.
    fn say(&mut self, id: StepId, pieces: Vec<Piece>, out: &mut Vec<u8>) {
        if pieces.is_empty() {
            return;
        }
        self.step(id).waiting.extend(pieces);
        if self.focus.is_none_or(|focus| focus == id) {
            self.give_focus(id, out);
        }
    }

    /// Writes the last line of a step, and all that waited before it.
    fn end(&mut self, id: StepId, line: String, out: &mut Vec<u8>) {
        let step = self.step(id);
        step.has_ended = true;
        step.waiting.push(Piece::line(line));
        self.give_focus(id, out);
        self.focus = None;
        self.end_group(out);
    }

    /// Begins a group, or only the line that it would begin with.
    fn begin_group(&mut self, title: &str, out: &mut Vec<u8>) {
        match self.ci {
            None => out.extend(format!("\n{title}\n").bytes()),
            Some(ci) => {
                self.group = (self.group.0 + 1, true);
                out.extend(ci.begin(self.group.0, title).bytes());
            }
        }
    }

    fn end_group(&mut self, out: &mut Vec<u8>) {
        if let (Some(ci), (number, true)) = (self.ci, self.group) {
            self.close_line(out);
            out.extend(ci.end(number).bytes());
            self.group.1 = false;
        }
    }

    fn give_focus(&mut self, id: StepId, out: &mut Vec<u8>) {
        if self.focus != Some(id) {
            self.leave_focus(out);
            self.write_header(id, out);
            self.focus = Some(id);
            self.focus_since = Instant::now();
        }
        let step = self.step(id);
        let number = step.number.unwrap_or_default();
        for piece in std::mem::take(&mut step.waiting) {
            if piece.begins_line {
                self.close_line(out);
            }
            if !self.is_line_open {
                out.extend(format!("#{number} ").bytes());
            }
            out.extend(&piece.text);
            self.is_line_open = !piece.text.ends_with(b"\n");
        }
    }

    fn leave_focus(&mut self, out: &mut Vec<u8>) {
        self.close_line(out);
        if let Some(number) = self.focus.and_then(|focus| self.steps.get(&focus)?.number) {
            out.extend(format!("#{number} ...\n").bytes());
        }
        self.end_group(out);
    }

    fn write_header(&mut self, id: StepId, out: &mut Vec<u8>) {
        if self.n_numbered == 0 {
            out.extend(concat!("#0 building with slipway ", env!("CARGO_PKG_VERSION"), "\n").bytes());
        }
        let mut n_numbered = self.n_numbered;
        let cuts_names = self.cuts_names;
        let step = self.step(id);
        let number = *step.number.get_or_insert_with(|| {
            n_numbered += 1;
            n_numbered
        });
        let name = if cuts_names { shortened(&step.name) } else { step.name.clone() };
        self.n_numbered = n_numbered;
        self.begin_group(&format!("#{number} {name}"), out);
    }

    fn close_line(&mut self, out: &mut Vec<u8>) {
        if self.is_line_open {
            out.push(b'\n');
            self.is_line_open = false;
        }
    }

    /// The step that should get the focus next, if any.
    fn next_focus(&self) -> Option<StepId> {
        let open = self
            .steps
            .iter()
            .filter(|(id, step)| step.started.is_some() && !step.has_ended && self.focus != Some(**id));
        match self.focus {
            Some(_) if self.focus_since.elapsed() < FOCUS_AT_LEAST => None,
            Some(_) => open.filter(|(_, step)| !step.waiting.is_empty()).max_by_key(|(_, step)| step.waiting.len()),
            None => open.max_by_key(|(id, step)| (step.waiting.len(), std::cmp::Reverse(**id))),
        }
        .map(|(id, _)| *id)
    }
}

impl Screen for Plain {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::StepPlanned { step, name, .. } => self.step(*step).name.clone_from(name),
            Event::StepStarted { step, at } => self.step(*step).started = Some(*at),
            Event::StepLog { step, bytes, at, .. } => {
                let pieces = self.step(*step).log(bytes, *at);
                self.say(*step, pieces, out);
            }
            Event::StepStatus { step, id, current, total, is_done, took } => {
                let now = Status { current: *current, took: *took, is_done: *is_done };
                let piece = self.step(*step).status(id, *total, now);
                self.say(*step, piece.into_iter().collect(), out);
            }
            Event::StepCached { step } => self.end(*step, "CACHED".to_owned(), out),
            Event::StepDone { step, at } => {
                let took = self.step(*step).started.map(|started| elapsed(started, *at).as_secs_f64());
                let line = took.map_or_else(|| "DONE".to_owned(), |took| format!("DONE {took:.1}s"));
                self.end(*step, line, out);
            }
            Event::StepFailed { step, message, .. } => self.end(*step, format!("ERROR: {message}"), out),
            Event::StepCanceled { step } => self.end(*step, "CANCELED".to_owned(), out),
            Event::Remark { .. } => {}
            Event::Warning(warning) => {
                self.say(warning.step, vec![Piece::line(format!("WARN: {}", warning.short))], out);
                if let Some(annotation) = self.ci.and_then(|ci| ci.warning(warning)) {
                    self.close_line(out);
                    out.extend(annotation.bytes());
                }
            }
        }
    }

    fn interval(&self) -> Option<Duration> {
        let is_open =
            |(id, step): (&StepId, &Step)| step.started.is_some() && !step.has_ended && self.focus != Some(*id);
        self.steps.iter().any(is_open).then_some(SETTLING)
    }

    fn tick(&mut self, out: &mut Vec<u8>) {
        if let Some(next) = self.next_focus() {
            self.give_focus(next, out);
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        let waiting: Vec<StepId> =
            self.steps.iter().filter(|(_, step)| !step.waiting.is_empty()).map(|(id, _)| *id).collect();
        for id in waiting {
            self.give_focus(id, out);
        }
        self.close_line(out);
        self.end_group(out);
    }
}

impl Piece {
    fn line(text: String) -> Piece {
        Piece { begins_line: true, text: (text + "\n").into_bytes() }
    }
}

impl Step {
    fn log(&mut self, bytes: &[u8], at: SystemTime) -> Vec<Piece> {
        bytes
            .split_inclusive(|byte| *byte == b'\n')
            .map(|part| {
                let begins_line = !self.is_log_open;
                let mut text = if begins_line { log_time(self.started, at).into_bytes() } else { Vec::new() };
                text.extend(part);
                self.is_log_open = !part.ends_with(b"\n");
                Piece { begins_line, text }
            })
            .collect()
    }

    /// `None` if it has changed too little since it was last shown.
    fn status(&mut self, id: &str, total: u64, now: Status) -> Option<Piece> {
        let is_news = self.statuses.get(id).is_none_or(|shown| {
            let has_advanced = total > 0 && now.current.saturating_sub(shown.current) * 20 >= total;
            let is_old = now.took.saturating_sub(shown.took) >= Duration::from_secs(5);
            !shown.is_done && (now.is_done || has_advanced || is_old)
        });
        if !is_news {
            return None;
        }
        let mut text = id.to_owned();
        match (now.current, total) {
            (0, 0) => {}
            (current, 0) => text += &format!(" {}", size(current)),
            (current, total) => text += &format!(" {} / {}", size(current), size(total)),
        }
        if now.took > Duration::from_millis(10) {
            text += &format!(" {:.1}s", now.took.as_secs_f64());
        }
        if now.is_done {
            text += " done";
        }
        self.statuses.insert(id.to_owned(), now);
        Some(Piece::line(text))
    }
}

fn shortened(name: &str) -> String {
    match name.char_indices().nth(MAX_NAME_CHARS) {
        Some(_) => name.chars().take(MAX_NAME_CHARS - 3).chain("...".chars()).collect(),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use slipway_graph::LogStream;

    use super::*;

    const A: StepId = StepId(0);
    const B: StepId = StepId(1);

    fn at(seconds: f64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds)
    }

    fn planned(step: StepId, name: &str) -> Event {
        Event::StepPlanned { step, name: name.to_owned(), inputs: Vec::new() }
    }

    fn started(step: StepId) -> Event {
        Event::StepStarted { step, at: at(0.0) }
    }

    fn log(step: StepId, text: &str, seconds: f64) -> Event {
        Event::StepLog { step, stream: LogStream::Stdout, bytes: text.into(), at: at(seconds) }
    }

    fn shown(events: &[Event]) -> String {
        shown_in(None, events)
    }

    fn shown_in(ci: Option<Ci>, events: &[Event]) -> String {
        let mut plain = Plain::new(false, ci);
        let mut out = Vec::new();
        for event in events {
            plain.event(event, &mut out);
        }
        plain.finish(&mut out);
        let text = String::from_utf8(out).unwrap();
        text.strip_prefix(concat!("#0 building with slipway ", env!("CARGO_PKG_VERSION"), "\n")).unwrap().to_owned()
    }

    #[test]
    fn a_step_is_shown_from_start_to_end() {
        let status = |current, is_done| Event::StepStatus {
            step: A,
            id: "sha256:abc".to_owned(),
            current,
            total: 3_400_000,
            is_done,
            took: Duration::from_secs_f64(current as f64 / 1e7),
        };
        let events = [
            planned(A, "[1/3] FROM docker.io/library/busybox"),
            planned(B, "[2/3] RUN x"),
            started(A),
            status(0, false),
            status(1, false),
            status(1_700_000, false),
            status(3_400_000, true),
            status(3_400_000, true),
            Event::StepDone { step: A, at: at(0.44) },
            started(B),
            log(B, "one\ntwo\npar", 0.1459),
            log(B, "tial\n", 1.147),
            Event::StepDone { step: B, at: at(1.2) },
        ];
        let expected = "
#1 [1/3] FROM docker.io/library/busybox
#1 sha256:abc 0B / 3.40MB
#1 sha256:abc 1.70MB / 3.40MB 0.2s
#1 sha256:abc 3.40MB / 3.40MB 0.3s done
#1 DONE 0.4s

#2 [2/3] RUN x
#2 0.146 one
#2 0.146 two
#2 0.146 partial
#2 DONE 1.2s
";
        assert_eq!(shown(&events), expected);
    }

    #[test]
    fn the_focus_leaves_an_unfinished_step_and_comes_back() {
        let events = [
            planned(A, "slow"),
            planned(B, "fast"),
            started(A),
            started(B),
            log(A, "a1\n", 1.0),
            log(B, "b1\n", 1.0),
            log(A, "no newline", 2.0),
            Event::StepDone { step: B, at: at(2.0) },
            log(A, "a2\n", 3.0),
            Event::StepDone { step: A, at: at(3.0) },
        ];
        let expected = "
#1 slow
#1 1.000 a1
#1 2.000 no newline
#1 ...

#2 fast
#2 1.000 b1
#2 DONE 2.0s

#1 slow
#1 a2
#1 DONE 3.0s
";
        assert_eq!(shown(&events), expected);
    }

    #[test]
    fn every_end_has_its_word() {
        let failed = Event::StepFailed { step: B, message: "no such file".to_owned(), at: at(0.0) };
        let events = [
            planned(A, "a"),
            planned(B, "b"),
            planned(StepId(2), "c"),
            planned(StepId(3), "never"),
            Event::StepCached { step: A },
            started(B),
            failed,
            Event::StepCanceled { step: StepId(2) },
        ];
        assert_eq!(shown(&events), "\n#1 a\n#1 CACHED\n\n#2 b\n#2 ERROR: no such file\n\n#3 c\n#3 CANCELED\n");
    }

    #[test]
    fn a_silent_step_is_announced_after_a_while() {
        let mut plain = Plain::new(false, None);
        let mut out = Vec::new();
        assert_eq!(plain.interval(), None);
        plain.event(&planned(A, "sleep"), &mut out);
        plain.event(&started(A), &mut out);
        assert!(out.is_empty());
        assert_eq!(plain.interval(), Some(SETTLING));
        plain.tick(&mut out);
        assert!(String::from_utf8(out).unwrap().ends_with("\n#1 sleep\n"));
        assert_eq!(plain.interval(), None);
    }

    #[test]
    fn steps_are_groups_where_somebody_folds_them() {
        let events = [
            planned(A, "50% [a]"),
            planned(B, "b"),
            started(A),
            started(B),
            log(A, "::error::not a command\nopen", 1.0),
            Event::StepDone { step: B, at: at(2.0) },
            Event::StepDone { step: A, at: at(3.0) },
        ];
        let expected = "\
::group::#1 50%25 [a]
#1 1.000 ::error::not a command
#1 1.000 open
#1 ...
::endgroup::
::group::#2 b
#2 DONE 2.0s
::endgroup::
::group::#1 50%25 [a]
#1 DONE 3.0s
::endgroup::
";
        assert_eq!(shown_in(Some(Ci::GitHub), &events), expected);
        let folded = shown_in(Some(Ci::GitLab), &events);
        for number in 1..=3 {
            let (start, end) = (format!(":slipway_{number}[collapsed=true]\r"), format!(":slipway_{number}\r"));
            assert_eq!((folded.matches(&start).count(), folded.matches(&end).count()), (1, 1), "{folded}");
        }
    }

    #[test]
    fn names_can_be_shortened() {
        let long = "x".repeat(100);
        assert_eq!(shortened(&long), "x".repeat(69) + "...");
        assert_eq!(shortened(&long[..72]), long[..72]);
    }
}
