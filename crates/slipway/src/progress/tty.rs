//! A screen that is drawn anew while the build runs (`spec/dockerfile.md` section 10.3).
//!
//! ```text
//! [+] Building 1.2s (3/5)
//!  => [1/3] FROM docker.io/library/busybox                 0.4s
//!  => CACHED [2/3] WORKDIR /src                            0.0s
//!  => [3/3] RUN make                                       0.8s
//!  => => # cc -o app app.c
//! ```

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use rustix::termios::tcgetwinsize;
use slipway_graph::{Event, StepId};

use super::control_sequences::{cut, visible};
use super::{Screen, elapsed, size};
use crate::env_vars;

/// In front of each line that a step wrote.
const LOG_INDENT: &str = " => => # ";
/// Builds that are over sooner are drawn once.
const REDRAW: Duration = Duration::from_millis(120);
const DEFAULT_LOG_LINES: usize = 6;

/// The terminal screen.
pub(super) struct Tty {
    terminal: Terminal,
    started: SystemTime,
    n_log_lines: usize,
    rows: Vec<Row>,
    by_step: HashMap<StepId, usize>,
    /// How many lines of the last picture are above the cursor.
    n_drawn: usize,
}

struct Terminal {
    has_colors: bool,
    /// Width and height, asked again for each picture because windows change.
    size: fn() -> (usize, usize),
}

#[derive(Default)]
struct Row {
    name: String,
    started: Option<SystemTime>,
    /// Position among the rows that began, `None` before that.
    order: Option<usize>,
    end: Option<End>,
    took: Duration,
    statuses: Vec<(String, String)>,
    log: VecDeque<String>,
    is_log_open: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Done,
    Cached,
    Failed,
    Canceled,
}

/// A line of the picture before it is fitted to the terminal.
struct Line {
    text: String,
    time: Option<Duration>,
    color: Option<&'static str>,
    /// What is left out first if the window is too low.
    is_detail: bool,
}

impl Tty {
    pub(super) fn on_stderr() -> Tty {
        let n_log_lines = env_vars::BUILDKIT_TTY_LOG_LINES.get().and_then(|text| text.parse().ok());
        Tty::new(
            Terminal { has_colors: has_colors(), size: window_size },
            SystemTime::now(),
            n_log_lines.unwrap_or(DEFAULT_LOG_LINES),
        )
    }

    fn new(terminal: Terminal, started: SystemTime, n_log_lines: usize) -> Tty {
        Tty { terminal, started, n_log_lines, rows: Vec::new(), by_step: HashMap::new(), n_drawn: 0 }
    }

    fn row(&mut self, step: StepId) -> &mut Row {
        let index = *self.by_step.entry(step).or_insert_with(|| {
            self.rows.push(Row::default());
            self.rows.len() - 1
        });
        &mut self.rows[index]
    }

    fn begin(&mut self, step: StepId) -> &mut Row {
        let n_begun = self.rows.iter().filter(|row| row.order.is_some()).count();
        let row = self.row(step);
        row.order.get_or_insert(n_begun);
        row
    }

    fn end(&mut self, step: StepId, end: End, at: Option<SystemTime>) {
        let row = self.begin(step);
        row.end = Some(end);
        row.took = row.started.zip(at).map_or(Duration::ZERO, |(started, at)| elapsed(started, at));
    }

    /// Moves to the top of the last picture and draws over it.
    fn draw(&mut self, now: SystemTime, is_finished: bool, out: &mut Vec<u8>) {
        let (width, height) = (self.terminal.size)();
        let lines = self.lines(now, is_finished);
        let lines = fit_height(lines, height);
        if self.n_drawn > 0 {
            out.extend(format!("\x1b[{}A\r", self.n_drawn).bytes());
        }
        for line in &lines {
            out.extend(line.fitted(width, self.terminal.has_colors).bytes());
            out.extend(b"\x1b[K\n");
        }
        out.extend(b"\x1b[J");
        self.n_drawn = lines.len();
    }

    fn lines(&self, now: SystemTime, is_finished: bool) -> Vec<Line> {
        let n_ended = self.rows.iter().filter(|row| row.end.is_some()).count();
        let finished = if is_finished { " FINISHED" } else { "" };
        let seconds = elapsed(self.started, now).as_secs_f64();
        let header = format!("[+] Building {seconds:.1}s ({n_ended}/{}){finished}", self.rows.len());
        let mut lines = vec![Line { text: header, time: None, color: None, is_detail: false }];
        let mut rows: Vec<&Row> = self.rows.iter().filter(|row| row.order.is_some()).collect();
        rows.sort_by_key(|row| row.order);
        rows.into_iter().for_each(|row| row.lines(now, self.n_log_lines, self.terminal.has_colors, &mut lines));
        lines
    }
}

impl Screen for Tty {
    fn let_go(&mut self) {
        self.n_drawn = 0;
    }

    fn event(&mut self, event: &Event, _: &mut Vec<u8>) {
        match event {
            Event::StepPlanned { step, name } => self.row(*step).name = visible(name, false),
            Event::StepStarted { step, at } => self.begin(*step).started = Some(*at),
            Event::StepLog { step, bytes, .. } => {
                let n_log_lines = self.n_log_lines;
                self.row(*step).log(bytes, n_log_lines);
            }
            Event::StepStatus { step, id, current, total, is_done, .. } => {
                self.row(*step).status(id, *current, *total, *is_done);
            }
            Event::StepCached { step } => self.end(*step, End::Cached, None),
            Event::StepDone { step, at } => self.end(*step, End::Done, Some(*at)),
            Event::StepFailed { step, at, .. } => self.end(*step, End::Failed, Some(*at)),
            Event::StepCanceled { step } => self.end(*step, End::Canceled, None),
            Event::Remark { .. } | Event::Warning(_) => {}
        }
    }

    fn interval(&self) -> Option<Duration> {
        Some(REDRAW)
    }

    fn tick(&mut self, out: &mut Vec<u8>) {
        self.draw(SystemTime::now(), false, out);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.draw(SystemTime::now(), true, out);
    }
}

impl Row {
    fn log(&mut self, bytes: &[u8], n_lines: usize) {
        for part in String::from_utf8_lossy(bytes).split_inclusive('\n') {
            match self.log.back_mut() {
                Some(line) if self.is_log_open => line.push_str(part),
                _ => self.log.push_back(part.to_owned()),
            }
            self.is_log_open = !part.ends_with('\n');
        }
        while self.log.len() > n_lines {
            self.log.pop_front();
        }
    }

    fn status(&mut self, id: &str, current: u64, total: u64, is_done: bool) {
        let progress = match (current, total) {
            (0, 0) => String::new(),
            (current, 0) => format!(" {}", size(current)),
            (current, total) => format!(" {} / {}", size(current), size(total)),
        };
        let text = format!("{progress}{}", if is_done { " done" } else { "" });
        match self.statuses.iter_mut().find(|(known, _)| known == id) {
            Some((_, shown)) => *shown = text,
            None => self.statuses.push((id.to_owned(), text)),
        }
    }

    fn lines(&self, now: SystemTime, n_log_lines: usize, has_colors: bool, lines: &mut Vec<Line>) {
        let (prefix, color) = match self.end {
            None => ("", None),
            Some(End::Done) => ("", Some("\x1b[34m")),
            Some(End::Cached) => ("CACHED ", Some("\x1b[34m")),
            Some(End::Failed) => ("ERROR ", Some("\x1b[31m")),
            Some(End::Canceled) => ("CANCELED ", Some("\x1b[33m")),
        };
        let took = match (self.end, self.started) {
            (None, Some(started)) => elapsed(started, now),
            _ => self.took,
        };
        let text = format!(" => {prefix}{}", self.name);
        lines.push(Line { text, time: Some(took), color, is_detail: self.end.is_some_and(|end| end != End::Failed) });
        let detail = |text| Line { text, time: None, color, is_detail: true };
        lines.extend(self.statuses.iter().map(|(id, progress)| detail(format!(" => => {id}{progress}"))));
        if matches!(self.end, None | Some(End::Failed)) {
            let first = self.log.len().saturating_sub(n_log_lines);
            lines.extend(
                self.log.iter().skip(first).map(|line| detail(format!("{LOG_INDENT}{}", visible(line, has_colors)))),
            );
        }
    }
}

impl Line {
    /// As wide as the terminal: the text cut, the time at the right edge.
    fn fitted(&self, width: usize, has_colors: bool) -> String {
        let time = self.time.map(|time| format!(" {:.1}s", time.as_secs_f64())).unwrap_or_default();
        let n_left = width.saturating_sub(time.len());
        let (mut text, n_shown) = cut(&self.text, n_left);
        if !time.is_empty() {
            text.extend(std::iter::repeat_n(' ', n_left - n_shown));
            text += &time;
        }
        match self.color {
            Some(color) if has_colors => format!("{color}{text}\x1b[0m"),
            _ => text,
        }
    }
}

/// Leaves out details, the oldest first, then whole rows, until the picture fits below one free line.
fn fit_height(mut lines: Vec<Line>, height: usize) -> Vec<Line> {
    let n_max = height.saturating_sub(1).max(2);
    let mut n_excess = lines.len().saturating_sub(n_max);
    let mut is_header = true;
    lines.retain(|line| {
        let goes = !is_header && line.is_detail && n_excess > 0;
        is_header = false;
        n_excess -= usize::from(goes);
        !goes
    });
    lines.truncate(n_max);
    lines
}

/// Whether the user wants colours.
pub(super) fn has_colors() -> bool {
    env_vars::NO_COLOR.get().is_none()
}

/// Columns and rows that the window has for what steps write.
pub(crate) fn log_window() -> (u16, u16) {
    let (columns, rows) = window_size();
    let narrow = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
    (narrow(columns.saturating_sub(LOG_INDENT.len()).max(1)), narrow(rows))
}

fn window_size() -> (usize, usize) {
    match tcgetwinsize(rustix::stdio::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

#[cfg(test)]
mod tests {
    use slipway_graph::LogStream;

    use super::*;

    fn at(seconds: f64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds)
    }

    fn tty(size: fn() -> (usize, usize)) -> Tty {
        Tty::new(Terminal { has_colors: false, size }, at(0.0), 2)
    }

    fn feed(tty: &mut Tty) {
        let log =
            |text: &str| Event::StepLog { step: StepId(2), stream: LogStream::Stdout, bytes: text.into(), at: at(0.5) };
        for (step, name) in ["[1/4] FROM a", "[2/4] WORKDIR /w", "[3/4] RUN make", "[4/4] RUN later"].iter().enumerate()
        {
            tty.event(&Event::StepPlanned { step: StepId(step as u32), name: (*name).to_owned() }, &mut Vec::new());
        }
        for event in [
            Event::StepStarted { step: StepId(0), at: at(0.0) },
            Event::StepDone { step: StepId(0), at: at(0.4) },
            Event::StepCached { step: StepId(1) },
            Event::StepStarted { step: StepId(2), at: at(0.4) },
            log("first\nsecond\nthi"),
            log("rd\n"),
        ] {
            tty.event(&event, &mut Vec::new());
        }
    }

    fn picture(tty: &mut Tty, is_finished: bool) -> String {
        let mut out = Vec::new();
        tty.draw(at(1.2), is_finished, &mut out);
        String::from_utf8(out).unwrap().replace("\x1b[K", "").replace("\x1b[J", "")
    }

    #[test]
    fn a_picture_has_a_row_a_step_that_began() {
        let mut tty = tty(|| (34, 24));
        feed(&mut tty);
        let expected = "\
[+] Building 1.2s (2/4)
 => [1/4] FROM a              0.4s
 => CACHED [2/4] WORKDIR /w   0.0s
 => [3/4] RUN make            0.8s
 => => # second
 => => # third
";
        assert_eq!(picture(&mut tty, false), expected);
        tty.event(&Event::StepDone { step: StepId(2), at: at(1.0) }, &mut Vec::new());
        let expected = "\
\x1b[6A\r[+] Building 1.2s (3/4) FINISHED
 => [1/4] FROM a              0.4s
 => CACHED [2/4] WORKDIR /w   0.0s
 => [3/4] RUN make            0.6s
";
        assert_eq!(picture(&mut tty, true), expected);
    }

    #[test]
    fn a_low_window_shows_what_runs() {
        let mut tty = tty(|| (30, 4));
        feed(&mut tty);
        assert_eq!(
            picture(&mut tty, false),
            "[+] Building 1.2s (2/4)\n => [3/4] RUN make        0.8s\n => => # third\n"
        );
    }

    #[test]
    fn colors_can_be_left_out() {
        let line = Line { text: " => x".to_owned(), time: None, color: Some("\x1b[34m"), is_detail: false };
        assert_eq!(line.fitted(80, true), "\x1b[34m => x\x1b[0m");
        assert_eq!(line.fitted(80, false), " => x");
    }
}
