//! A screen that is drawn anew while the build runs (`spec/dockerfile.md` section 10.3).
//!
//! While something runs, the picture is that of [`live`]: how far each stage is, and what steps write. When the build is
//! over, what remains on the terminal has a row for each step:
//!
//! ```text
//! [+] Building 1.2s (3/3) FINISHED
//!  => [1/3] FROM docker.io/library/busybox                 0.4s
//!  => CACHED [2/3] WORKDIR /src                            0.0s
//!  => ERROR [3/3] RUN make                                 0.8s
//!  => => # cc -o app app.c
//! ```
//!
//! A picture is drawn over the one before, in one write, line by line where it differs; nothing is cleared first.

use std::time::{Duration, SystemTime};

use rustix::termios::tcgetwinsize;
use slipway_graph::Event;

use super::Screen;
use super::board::{Board, End, Row};
use super::control_sequences::visible;
use super::lines::{LOG_INDENT, Line, Tone, fit_height};
use super::live::{Frame, header, live};
use crate::env_vars;

/// Builds that are over sooner are drawn once.
const REDRAW: Duration = Duration::from_millis(120);
/// However often a picture is wanted.
const MIN_REDRAW: Duration = Duration::from_millis(20);
const DEFAULT_LOG_LINES: usize = 6;
/// Terminals that know them show what is between them at once.
const BEGIN_FRAME: &str = "\x1b[?2026h";
const END_FRAME: &str = "\x1b[?2026l";

/// The terminal screen.
pub(super) struct Tty {
    terminal: Terminal,
    n_log_lines: usize,
    redraw: Duration,
    board: Board,
    /// The last picture, which is above the cursor.
    drawn: Drawn,
}

struct Terminal {
    has_colors: bool,
    /// Width and height, asked again for each picture because windows change.
    size: fn() -> (usize, usize),
}

#[derive(Default)]
struct Drawn {
    width: usize,
    lines: Vec<String>,
    /// Columns of each line.
    lengths: Vec<usize>,
}

impl Drawn {
    /// How many rows of a window it takes: what was drawn for a wider one is wrapped there.
    fn n_rows(&self, width: usize) -> usize {
        let width = width.max(1);
        self.lengths.iter().map(|length| if width < self.width { length.div_ceil(width).max(1) } else { 1 }).sum()
    }
}

impl Tty {
    pub(super) fn on_stderr() -> Tty {
        let n_log_lines = env_vars::BUILDKIT_TTY_LOG_LINES.get().and_then(|text| text.parse().ok());
        let redraw = env_vars::TTY_DISPLAY_RATE.get().and_then(|text| text.parse().ok()).map(Duration::from_millis);
        Tty::new(
            Terminal { has_colors: has_colors(), size: window_size },
            SystemTime::now(),
            n_log_lines.unwrap_or(DEFAULT_LOG_LINES),
            redraw.unwrap_or(REDRAW).max(MIN_REDRAW),
        )
    }

    fn new(terminal: Terminal, started: SystemTime, n_log_lines: usize, redraw: Duration) -> Tty {
        let board = Board::new(started, n_log_lines);
        Tty { terminal, n_log_lines, redraw, board, drawn: Drawn::default() }
    }

    /// Moves to the top of the last picture and draws over it.
    fn draw(&mut self, now: SystemTime, is_finished: bool, out: &mut Vec<u8>) {
        let (width, height) = (self.terminal.size)();
        let lines = match is_finished {
            true => self.rows(now),
            false => {
                let (n_log_lines, has_colors) = (self.n_log_lines, self.terminal.has_colors);
                fit_height(live(&self.board, now, Frame { width, height, n_log_lines, has_colors }), height)
            }
        };
        let has_colors = self.terminal.has_colors;
        let fitted: Vec<String> = lines.iter().map(|line| line.fitted(width, has_colors)).collect();
        if width == self.drawn.width && fitted == self.drawn.lines {
            return;
        }
        let n_above = self.drawn.n_rows(width);
        // What is above the window cannot be drawn over.
        let n_up = n_above.min(height.saturating_sub(1));
        out.extend(BEGIN_FRAME.bytes());
        if n_up > 0 {
            out.extend(format!("\x1b[{n_up}A\r").bytes());
        }
        let is_same_width = width == self.drawn.width && n_up == self.drawn.lines.len();
        for (n, line) in fitted.iter().enumerate() {
            if !(is_same_width && self.drawn.lines.get(n) == Some(line)) {
                out.extend(line.bytes());
                out.extend(b"\x1b[K");
            }
            out.push(b'\n');
        }
        out.extend(b"\x1b[J");
        out.extend(END_FRAME.bytes());
        let lengths = lines.iter().map(|line| line.n_columns(width)).collect();
        self.drawn = Drawn { width, lines: fitted, lengths };
    }

    /// What remains: the header and a row for each step that began.
    fn rows(&self, now: SystemTime) -> Vec<Line> {
        let mut lines = vec![header(&self.board, now, true)];
        self.board.begun().for_each(|row| self.row(row, now, &mut lines));
        lines
    }

    fn row(&self, row: &Row, now: SystemTime, lines: &mut Vec<Line>) {
        let (prefix, tone) = match row.end {
            None => ("", Tone::Plain),
            Some(End::Done) => ("", Tone::Done),
            Some(End::Cached) => ("CACHED ", Tone::Done),
            Some(End::Failed) => ("ERROR ", Tone::Failed),
            Some(End::Canceled) => ("CANCELED ", Tone::Canceled),
        };
        let text = format!(" => {prefix}{}", row.name);
        lines.push(Line { text, time: Some(row.took(now)), tone, is_detail: row.end != Some(End::Failed) });
        lines.extend(row.transfers().map(|text| Line::detail(format!(" => => {text}"), tone)));
        if matches!(row.end, None | Some(End::Failed)) {
            let first = row.log.len().saturating_sub(self.n_log_lines);
            let shown = row.log.iter().skip(first).map(|line| visible(line, self.terminal.has_colors));
            lines.extend(shown.map(|line| Line::detail(format!("{LOG_INDENT}{line}"), tone)));
        }
    }
}

impl Screen for Tty {
    fn let_go(&mut self) {
        self.drawn = Drawn::default();
    }

    fn event(&mut self, event: &Event, _: &mut Vec<u8>) {
        self.board.note(event);
    }

    fn interval(&self) -> Option<Duration> {
        Some(self.redraw)
    }

    fn tick(&mut self, out: &mut Vec<u8>) {
        self.draw(SystemTime::now(), false, out);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.draw(SystemTime::now(), true, out);
    }
}

/// Whether the user wants colours.
pub(crate) fn has_colors() -> bool {
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
    use slipway_graph::{LogStream, StepId};

    use super::*;

    fn at(seconds: f64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds)
    }

    fn tty(size: fn() -> (usize, usize)) -> Tty {
        let mut tty = Tty::new(Terminal { has_colors: false, size }, at(0.0), 2, REDRAW);
        let log =
            |text: &str| Event::StepLog { step: StepId(2), stream: LogStream::Stdout, bytes: text.into(), at: at(0.5) };
        for (step, name) in ["[1/4] FROM a", "[2/4] WORKDIR /w", "[3/4] RUN make", "[4/4] RUN later"].iter().enumerate()
        {
            let (step, name) = (StepId(step as u32), (*name).to_owned());
            tty.event(&Event::StepPlanned { step, name, inputs: Vec::new() }, &mut Vec::new());
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
        tty
    }

    fn picture(tty: &mut Tty, seconds: f64, is_finished: bool) -> String {
        let mut out = Vec::new();
        tty.draw(at(seconds), is_finished, &mut out);
        let text = String::from_utf8(out).unwrap();
        let text = text.strip_prefix(BEGIN_FRAME).unwrap().strip_suffix(END_FRAME).unwrap();
        text.replace("\x1b[K", "").replace("\x1b[J", "")
    }

    #[test]
    fn the_last_picture_has_a_row_a_step_that_began() {
        let mut tty = tty(|| (34, 24));
        assert_eq!(picture(&mut tty, 1.2, false).lines().count(), 5);
        let at_end = Event::StepFailed { step: StepId(2), message: String::new(), at: at(1.0) };
        tty.event(&at_end, &mut Vec::new());
        let expected = "\
\x1b[5A\r[+] Building 1.2s (3/4) FINISHED
 => [1/4] FROM a              0.4s
 => CACHED [2/4] WORKDIR /w   0.0s
 => ERROR [3/4] RUN make      0.6s
 => => # second
 => => # third
";
        assert_eq!(picture(&mut tty, 1.2, true), expected);
    }

    #[test]
    fn only_what_differs_is_written() {
        let mut tty = tty(|| (60, 24));
        let first = picture(&mut tty, 1.2, false);
        assert!(first.contains("third"), "{first}");
        let second = picture(&mut tty, 1.4, false);
        assert!(second.contains("Building 1.4s") && !second.contains("third"), "{second}");
        assert_eq!(second.matches('\n').count(), first.matches('\n').count());
    }

    #[test]
    fn a_picture_like_the_last_one_is_not_written() {
        let mut tty = tty(|| (60, 24));
        let bytes_of = |tty: &mut Tty, seconds| {
            let mut out = Vec::new();
            tty.draw(at(seconds), false, &mut out);
            out.len()
        };
        assert!(bytes_of(&mut tty, 1.2) > 0);
        assert_eq!(bytes_of(&mut tty, 1.2), 0);
        // Times are shown in tenths of a second.
        assert_eq!(bytes_of(&mut tty, 1.201), 0);
        assert!(bytes_of(&mut tty, 1.3) > 0);
        tty.terminal.size = || (61, 24);
        assert!(bytes_of(&mut tty, 1.3) > 0, "the window has another size");
        tty.let_go();
        assert!(bytes_of(&mut tty, 1.3) > 0, "somebody else wrote on it");
    }

    /// However many steps run and however much they write, a picture is no larger than the window that it is for.
    #[test]
    fn a_picture_is_as_large_as_the_window_at_most() {
        for (width, height) in [(80, 24), (200, 50), (20, 5)] {
            let mut tty = tty(|| (80, 24));
            for number in 10..1000 {
                let step = StepId(number);
                let name = format!("[s{number} 1/1] RUN {}", "x".repeat(500));
                tty.event(&Event::StepPlanned { step, name, inputs: Vec::new() }, &mut Vec::new());
                tty.event(&Event::StepStarted { step, at: at(0.1) }, &mut Vec::new());
                let bytes = "y".repeat(3000).into_bytes();
                let log = Event::StepLog { step, stream: LogStream::Stdout, bytes, at: at(0.2) };
                tty.event(&log, &mut Vec::new());
            }
            let mut out = Vec::new();
            let size: fn() -> (usize, usize) = match width {
                80 => || (80, 24),
                200 => || (200, 50),
                _ => || (20, 5),
            };
            tty.terminal.size = size;
            tty.draw(at(1.0), false, &mut out);
            // A character takes four bytes at most; a line ends in a few more.
            assert!(out.len() <= height * (4 * width + 16) + 64, "{} bytes for {width}x{height}", out.len());
        }
    }

    #[test]
    fn a_window_that_became_narrower_is_drawn_from_the_top() {
        let mut tty = tty(|| (60, 24));
        picture(&mut tty, 1.2, false);
        tty.terminal.size = || (30, 24);
        // The header and the line with a time are wider than 30 columns, and so take two rows each.
        let second = picture(&mut tty, 1.3, false);
        assert!(second.starts_with("\x1b[7A\r[+] Building 1.3s"), "{second:?}");
        tty.terminal.size = || (200, 24);
        assert!(picture(&mut tty, 1.4, false).starts_with("\x1b[5A\r"));
    }

    #[test]
    fn pictures_come_no_more_often_than_wanted_and_events_draw_nothing() {
        let mut tty = tty(|| (60, 24));
        assert_eq!(tty.interval(), Some(REDRAW));
        let mut out = Vec::new();
        for _ in 0..1000 {
            let bytes = b"line\n".to_vec();
            tty.event(&Event::StepLog { step: StepId(2), stream: LogStream::Stdout, bytes, at: at(1.0) }, &mut out);
        }
        assert!(out.is_empty());
    }
}
