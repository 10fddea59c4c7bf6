//! Shows a build while it runs, on standard error.
//!
//! Those who build hand events to a [`Reporter`] and go on; one thread takes them in order, draws, and writes once for
//! all events that came together. Drawing never waits for building and costs it a channel send.

mod board;
mod ci;
mod control_sequences;
mod failures;
mod json;
mod lines;
mod live;
mod log_limit;
mod plain;
mod recording;
mod tty;

use std::collections::VecDeque;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender};
use slipway_engine::BuildError;
use slipway_graph::event::FileWarning;
use slipway_graph::{Event, Events, StepId};

use crate::{env_vars, report};
pub(crate) use ci::Ci;
pub(crate) use control_sequences::plain_text;
pub(crate) use recording::Recording;
pub(crate) use tty::{has_colors, log_window};

use failures::Failures;
use log_limit::LogLimit;

/// Events that may wait to be drawn. With logs in pieces of some KiB, that bounds the memory of a fast talker.
const N_WAITING: usize = 1024;

/// How a build is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Lines that never change, for files and pipes.
    Plain,
    /// A screen that is drawn anew several times a second.
    Tty,
    /// Nothing but the last output of steps that failed.
    Quiet,
    /// Nothing.
    Silent,
    /// As plain, with marks that a CI system folds and highlights lines by.
    Ci(Ci),
    /// One JSON object a line, for programs.
    Json,
}

/// Why a style cannot be had.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StyleError {
    #[error("invalid progress mode {0}")]
    Unknown(String),
    #[error("progress={0} and quiet cannot be used together")]
    QuietAnd(String),
    #[error("failed to get console: provided file is not a console")]
    NoTerminal,
}

impl Style {
    /// What `--progress` and `-q` mean here.
    pub(crate) fn choose(progress: &str, is_quiet: bool) -> Result<Style, StyleError> {
        let is_terminal = rustix::termios::isatty(rustix::stdio::stderr());
        let preferred = env_vars::BUILDKIT_PROGRESS.get();
        Style::of(progress, is_quiet, preferred.as_deref(), is_terminal, Ci::of_environment())
    }

    fn of(
        progress: &str,
        is_quiet: bool,
        preferred: Option<&str>,
        is_terminal: bool,
        ci: Option<Ci>,
    ) -> Result<Style, StyleError> {
        if is_quiet {
            return match progress {
                "" | "auto" | "quiet" => Ok(Style::Quiet),
                other => Err(StyleError::QuietAnd(other.to_owned())),
            };
        }
        let progress = match progress {
            "" | "auto" => preferred.unwrap_or("auto"),
            other => other,
        };
        match progress {
            "auto" if is_terminal => Ok(Style::Tty),
            "auto" => Ok(ci.map_or(Style::Plain, Style::Ci)),
            "plain" => Ok(Style::Plain),
            "tty" if is_terminal => Ok(Style::Tty),
            "tty" => Err(StyleError::NoTerminal),
            "quiet" => Ok(Style::Quiet),
            "none" => Ok(Style::Silent),
            "rawjson" => Ok(Style::Json),
            other => Err(StyleError::Unknown(other.to_owned())),
        }
    }
}

/// Something that draws events. It only writes to `out`; the thread that calls it does the rest.
trait Screen {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>);

    /// How long until [`Screen::tick`] is wanted; `None` if only events change the picture.
    fn interval(&self) -> Option<Duration>;

    fn tick(&mut self, out: &mut Vec<u8>);

    /// Somebody else writes on the terminal now; what is drawn afterwards begins below that.
    fn let_go(&mut self) {}

    /// The build is over; whatever is missing from the picture is drawn now.
    fn finish(&mut self, out: &mut Vec<u8>);
}

/// Shows nothing.
struct Blank;

impl Screen for Blank {
    fn event(&mut self, _event: &Event, _out: &mut Vec<u8>) {}

    fn interval(&self) -> Option<Duration> {
        None
    }

    fn tick(&mut self, _out: &mut Vec<u8>) {}

    fn finish(&mut self, _out: &mut Vec<u8>) {}
}

/// Takes the events of one build.
pub(crate) struct Reporter {
    next_step: AtomicU32,
    /// `None` if nothing is shown.
    drawing: Option<Drawing>,
    style: Style,
}

struct Drawing {
    sender: Sender<Message>,
    thread: JoinHandle<()>,
}

enum Message {
    Event(Event),
    /// Draws nothing until the other end of the second channel is gone, and says so on the first.
    Hold(Sender<()>, Receiver<()>),
    /// With what is to be said after the last step.
    Finish(Vec<String>),
}

impl Reporter {
    /// Starts to draw. `is_debug`: warnings are told at length.
    pub(crate) fn start(style: Style, is_debug: bool) -> Reporter {
        let drawing = (style != Style::Silent).then(|| {
            let (sender, receiver) = crossbeam_channel::bounded(N_WAITING);
            let thread = thread::spawn(move || draw(style, is_debug, &receiver));
            Drawing { sender, thread }
        });
        Reporter { next_step: AtomicU32::new(0), drawing, style }
    }

    /// The line that marks, for whoever reads the screen, where a build failed.
    pub(crate) fn annotation(&self, error: &BuildError) -> Option<String> {
        match self.style {
            Style::Ci(ci) => ci.failure(error),
            Style::Plain | Style::Tty | Style::Quiet | Style::Silent | Style::Json => None,
        }
    }

    /// For those who write on the same screen.
    pub(crate) fn stillness(&self) -> Stillness {
        Stillness { sender: self.drawing.as_ref().map(|drawing| drawing.sender.clone()) }
    }

    /// Draws what is left, then `remarks` on the machine or the flags, and the warnings about the Dockerfile.
    pub(crate) fn finish(self, remarks: Vec<String>) {
        let Some(Drawing { sender, thread }) = self.drawing else { return };
        // If the drawing thread is gone, it took the screen with it, and there is nobody to tell.
        let _ = sender.send(Message::Finish(remarks));
        let _ = thread.join();
    }
}

/// Keeps the screen still, for others to write on it.
#[derive(Clone)]
pub(crate) struct Stillness {
    sender: Option<Sender<Message>>,
}

impl Stillness {
    /// Returns when all that has happened is drawn. Until the returned value is dropped nothing is drawn; events wait.
    pub(crate) fn begin(&self) -> Sender<()> {
        let (release, until) = crossbeam_channel::bounded(0);
        let (held_sender, held) = crossbeam_channel::bounded(1);
        if let Some(sender) = &self.sender
            && sender.send(Message::Hold(held_sender, until)).is_ok()
        {
            // An error means that nothing will be drawn any more, which is just as good.
            let _ = held.recv();
        }
        release
    }
}

impl Events for Reporter {
    fn emit(&self, event: Event) {
        if let Some(drawing) = &self.drawing {
            let _ = drawing.sender.send(Message::Event(event));
        }
    }

    fn new_step(&self) -> StepId {
        StepId(self.next_step.fetch_add(1, Ordering::Relaxed))
    }
}

fn draw(style: Style, is_debug: bool, receiver: &Receiver<Message>) {
    let mut screen: Box<dyn Screen> = match style {
        Style::Plain => Box::new(plain::Plain::new(cuts_names(), None)),
        Style::Ci(ci) => Box::new(plain::Plain::new(cuts_names(), Some(ci))),
        Style::Quiet | Style::Silent => Box::new(Blank),
        Style::Tty => Box::new(tty::Tty::on_stderr()),
        Style::Json => Box::<json::Json>::default(),
    };
    // A file gets the bytes as they are.
    let has_colors_if_terminal = (style == Style::Tty).then(tty::has_colors);
    let shows_failures = style != Style::Json;
    let shows_summary = matches!(style, Style::Plain | Style::Tty | Style::Ci(_));
    let mut limit = LogLimit::from_environment();
    let mut failures = Failures::default();
    let mut warnings = Vec::new();
    let mut all_remarks = Vec::new();
    let mut out = Vec::new();
    let mut next_tick = None;
    let mut waiting = VecDeque::new();
    loop {
        let received = match waiting.pop_front() {
            Some(message) => Received::Message(message),
            None => receive(receiver, &mut next_tick, screen.interval()),
        };
        match received {
            Received::Message(Message::Event(event)) => {
                let event = limit.apply(event);
                if let Event::Remark { message } = &event {
                    all_remarks.push(message.clone());
                }
                if let Event::Warning(warning) = &event
                    && !warnings.contains(warning)
                {
                    warnings.push(warning.clone());
                }
                failures.note(&event);
                screen.event(&event, &mut out);
            }
            Received::Message(Message::Hold(held, until)) => {
                flush(&mut out);
                screen.let_go();
                drop(held);
                waiting.extend(collect_until(receiver, &until));
            }
            Received::Message(Message::Finish(remarks)) => {
                screen.finish(&mut out);
                if shows_failures {
                    failures.write(has_colors_if_terminal, &mut out);
                }
                if shows_summary {
                    all_remarks.extend(remarks);
                    write_closing(&all_remarks, &warnings, is_debug, &mut out);
                }
                flush(&mut out);
                return;
            }
            Received::Tick => screen.tick(&mut out),
            Received::Nothing => return flush(&mut out),
        }
        if receiver.is_empty() || out.len() > 64 * 1024 {
            flush(&mut out);
        }
    }
}

fn cuts_names() -> bool {
    env_vars::PROGRESS_NO_TRUNC.get().as_deref() == Some("0")
}

/// What comes in until the other end of `until` is gone.
fn collect_until(receiver: &Receiver<Message>, until: &Receiver<()>) -> Vec<Message> {
    let mut messages = Vec::new();
    loop {
        crossbeam_channel::select! {
            recv(receiver) -> message => match message {
                Ok(message) => messages.push(message),
                Err(_) => return messages,
            },
            recv(until) -> _ => return messages,
        }
    }
}

enum Received {
    Message(Message),
    Tick,
    /// All senders are gone.
    Nothing,
}

/// The next message, or the next tick if that is due earlier. Ticks keep their pace however many messages come.
fn receive(receiver: &Receiver<Message>, next_tick: &mut Option<Instant>, interval: Option<Duration>) -> Received {
    let due = match interval {
        Some(interval) => *next_tick.get_or_insert_with(|| Instant::now() + interval),
        None => {
            *next_tick = None;
            return receiver.recv().map_or(Received::Nothing, Received::Message);
        }
    };
    if Instant::now() >= due {
        *next_tick = None;
        return Received::Tick;
    }
    match receiver.recv_deadline(due) {
        Ok(message) => Received::Message(message),
        Err(error) if error.is_timeout() => {
            *next_tick = None;
            Received::Tick
        }
        Err(_) => Received::Nothing,
    }
}

fn flush(out: &mut Vec<u8>) {
    if !out.is_empty() {
        // A closed terminal must not end the build.
        let _ = std::io::stderr().write_all(out);
        out.clear();
    }
}

/// Remarks, and the number and text of warnings (`spec/cli.md` section 5.6).
fn write_closing(remarks: &[String], warnings: &[Box<FileWarning>], is_debug: bool, out: &mut Vec<u8>) {
    for remark in remarks {
        out.extend(format!("WARNING: {remark}\n").bytes());
    }
    let hint = if is_debug { "" } else { " (use slipway --debug to expand)" };
    match warnings.len() {
        0 => return,
        1 => out.extend(format!("\n 1 warning found{hint}:\n").bytes()),
        n => out.extend(format!("\n {n} warnings found{hint}:\n").bytes()),
    }
    for warning in warnings {
        out.extend(format!(" - {}\n", warning.short).bytes());
        if is_debug {
            let link = warning.url.as_ref().map(|url| format!("More info: {url}\n")).unwrap_or_default();
            let block = report::excerpt(&warning.file_name, &warning.text, warning.lines, None);
            out.extend(format!("{}\n{link}{block}\n", warning.detail).bytes());
        }
    }
}

/// Time from `start` to `end`; none if a clock was set back in between.
fn elapsed(start: SystemTime, end: SystemTime) -> Duration {
    end.duration_since(start).unwrap_or_default()
}

/// `12B`, `3.40MB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.2}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use slipway_graph::LineRange;

    use super::*;

    #[test]
    fn the_style_depends_on_flags_terminal_and_preference() {
        use Style::*;
        for (progress, is_quiet, preferred, is_terminal, expected) in [
            ("auto", false, None, true, Ok(Tty)),
            ("auto", false, None, false, Ok(Plain)),
            ("auto", false, Some("plain"), true, Ok(Plain)),
            ("tty", false, Some("plain"), true, Ok(Tty)),
            ("tty", false, None, false, Err(StyleError::NoTerminal)),
            ("none", false, None, true, Ok(Silent)),
            ("rawjson", false, None, true, Ok(Json)),
            ("auto", true, Some("plain"), true, Ok(Quiet)),
            ("plain", true, None, true, Err(StyleError::QuietAnd("plain".to_owned()))),
            ("zzz", false, None, true, Err(StyleError::Unknown("zzz".to_owned()))),
        ] {
            assert_eq!(Style::of(progress, is_quiet, preferred, is_terminal, None), expected);
        }
        // Who asks for a style gets it, also where a CI system reads along.
        for (progress, preferred, is_terminal, expected) in [
            ("auto", None, false, Ci(super::Ci::GitHub)),
            ("auto", Some("plain"), false, Plain),
            ("plain", None, false, Plain),
            ("rawjson", None, false, Json),
            ("auto", None, true, Tty),
        ] {
            assert_eq!(Style::of(progress, false, preferred, is_terminal, Some(super::Ci::GitHub)), Ok(expected));
        }
    }

    #[test]
    fn sizes_are_decimal() {
        let all = [2, 999, 1000, 3_400_000, 1_234_567_890].map(size);
        assert_eq!(all, ["2B", "999B", "1.00kB", "3.40MB", "1.23GB"]);
    }

    fn warning(line: usize) -> Box<FileWarning> {
        Box::new(FileWarning {
            step: StepId(0),
            short: format!("Rule: odd (line {line})"),
            detail: "Things should not be odd".to_owned(),
            url: Some("https://host/rule/".to_owned()),
            file_name: "Dockerfile".to_owned(),
            path: "Dockerfile".to_owned(),
            text: "FROM a".into(),
            lines: LineRange { first: line, last: line },
        })
    }

    #[test]
    fn warnings_are_counted_and_told() {
        let told = |warnings: &[Box<FileWarning>], is_debug| {
            let mut out = Vec::new();
            write_closing(&["flag x does nothing".to_owned()], warnings, is_debug, &mut out);
            String::from_utf8(out).unwrap()
        };
        let remark = "WARNING: flag x does nothing\n";
        assert_eq!(told(&[], false), remark);
        let short =
            " 2 warnings found (use slipway --debug to expand):\n - Rule: odd (line 1)\n - Rule: odd (line 2)\n";
        assert_eq!(told(&[warning(1), warning(2)], false), format!("{remark}\n{short}"));
        let long = " 1 warning found:\n - Rule: odd (line 1)\nThings should not be odd\nMore info: https://host/rule/\n\
                    Dockerfile:1\n--------------------\n   1 | >>> FROM a\n--------------------\n\n";
        assert_eq!(told(&[warning(1)], true), format!("{remark}\n{long}"));
    }

    #[test]
    fn a_tick_is_an_interval_after_the_last_one_however_many_messages_come() {
        let interval = Duration::from_secs(3600);
        let (sender, receiver) = crossbeam_channel::unbounded();
        for _ in 0..100 {
            sender.send(Message::Event(Event::StepCached { step: StepId(0) })).unwrap();
        }
        let begun = Instant::now();
        let mut next_tick = Some(begun);
        let mut n_ticks = 0;
        for _ in 0..101 {
            n_ticks += usize::from(matches!(receive(&receiver, &mut next_tick, Some(interval)), Received::Tick));
        }
        assert_eq!((n_ticks, receiver.len()), (1, 0));
        assert!(next_tick.is_some_and(|next| next >= begun + interval));
    }

    #[test]
    fn steps_get_different_numbers_and_nothing_waits_for_a_silent_screen() {
        let reporter = Reporter::start(Style::Silent, false);
        assert_ne!(reporter.new_step(), reporter.new_step());
        for _ in 0..2 * N_WAITING {
            reporter.emit(Event::StepCached { step: StepId(0) });
        }
        reporter.finish(Vec::new());
    }
}
