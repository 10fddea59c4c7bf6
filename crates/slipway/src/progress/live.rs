//! The picture while a build goes on: what runs now, side by side, and how far all of it is.
//!
//! ```text
//! [+] Building 12.3s (9/14) 4 cached, 5 ran, 2 running
//!  => exporting to image                                              0.3s
//!  => => layer 34.00MB / 120.00MB 11.00MB/s
//!  base        ✓✓✓
//!  ├─ build    ✓●▶○  RUN make -j                                      8.2s
//!  └─ test     ✓▶○   RUN pytest                                       3.1s
//!  critical path 11.4s: [base 3/3] RUN apt-get … > [build 3/4] RUN make -j
//!  [build 3/4] RUN make -j             │ [test 2/3] RUN pytest
//!  cc -o app app.c                     │ tests/a.py ....
//! ```

use std::time::SystemTime;

use slipway_graph::step_name::StepName;

use super::board::{Board, End, Group, Row};
use super::control_sequences::{cut, visible};
use super::elapsed;
use super::lines::{LOG_INDENT, Line, Tone};

/// A pane of output is at least that wide.
const MIN_PANE: usize = 46;
const MAX_PANES: usize = 4;
/// Longer stages are counted instead of shown step by step.
const MAX_MARKS: usize = 24;

/// How the picture is to be.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) n_log_lines: usize,
    pub(super) has_colors: bool,
}

/// The lines of the picture; what matters least can be left out where the window is low.
pub(super) fn live(board: &Board, now: SystemTime, frame: Frame) -> Vec<Line> {
    let mut lines = vec![header(board, now, false)];
    beside_stages(board, now, &mut lines);
    stage_lines(board, now, frame, &mut lines);
    lines.extend(critical_path(board, now));
    panes(board, frame, &mut lines);
    lines
}

/// `[+] Building 1.2s (3/5)` and what became of the steps.
pub(super) fn header(board: &Board, now: SystemTime, is_finished: bool) -> Line {
    let counts = board.counts();
    let seconds = elapsed(board.started, now).as_secs_f64();
    let mut text = format!("[+] Building {seconds:.1}s ({}/{})", counts.n_ended(), board.n_steps());
    if is_finished {
        text += " FINISHED";
    }
    let n_running = board.n_running();
    let parts = [
        (counts.n_cached, "cached"),
        (counts.n_ran, "ran"),
        (n_running, "running"),
        (counts.n_failed, "failed"),
        (counts.n_canceled, "canceled"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0 && !is_finished).map(|(n, word)| format!("{n} {word}")).collect();
    if !parts.is_empty() {
        text += &format!(" {}", parts.join(", "));
    }
    Line::important(text)
}

/// Steps that belong to no stage, and all that transfer something.
fn beside_stages(board: &Board, now: SystemTime, lines: &mut Vec<Line>) {
    for row in board.running() {
        let is_of_stage = StepName(&row.name).group().is_some();
        if is_of_stage && !row.transfers_now() {
            continue;
        }
        lines.push(Line { time: Some(row.took(now)), ..Line::important(format!(" => {}", row.name)) });
        lines.extend(row.transfers().map(|text| Line::detail(format!(" => => {text}"), Tone::Plain)));
    }
}

/// A line a stage, those that are based on others below them.
fn stage_lines(board: &Board, now: SystemTime, frame: Frame, lines: &mut Vec<Line>) {
    let groups = board.groups();
    let mut children = vec![Vec::new(); groups.len()];
    for (index, group) in groups.iter().enumerate() {
        if let Some(parent) = group.parent {
            children[parent].push(index);
        }
    }
    // What does not fit is not even written: there may be thousands.
    let n_max = frame.height.max(4);
    let mut open: Vec<(usize, String, String)> = Vec::new();
    let roots = groups.iter().enumerate().filter(|(_, group)| group.parent.is_none()).map(|(index, _)| index);
    open.extend(roots.map(|index| (index, " ".to_owned(), " ".to_owned())));
    open.reverse();
    let mut shown = Vec::new();
    while let Some((index, own, below)) = open.pop() {
        let group = &groups[index];
        for (n, child) in children[index].iter().enumerate().rev() {
            let is_last = n + 1 == children[index].len();
            let (branch, rest) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            open.push((*child, format!("{below}{branch}"), format!("{below}{rest}")));
        }
        let is_over = group.counts.n_ended() == group.rows.len();
        if shown.len() < n_max || !is_over {
            shown.push((format!("{own}{}", stage_name(group)), index));
        }
    }
    let widest = shown.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0).min(frame.width / 3);
    lines.extend(shown.into_iter().map(|(label, index)| stage_line(board, &groups[index], &label, widest, now)));
}

fn stage_name(group: &Group) -> &str {
    if group.name.is_empty() { "steps" } else { &group.name }
}

fn stage_line(board: &Board, group: &Group, label: &str, width: usize, now: SystemTime) -> Line {
    let rows = || group.rows.iter().map(|index| board.at(*index));
    let is_running = |row: &&Row| row.started.is_some() && row.end.is_none();
    let marks = match group.rows.len() {
        ..=MAX_MARKS => rows().map(mark).collect(),
        n_rows => format!("{}/{n_rows}", group.counts.n_ended()),
    };
    let running: Vec<&Row> = rows().filter(is_running).take(2).collect();
    let names: Vec<&str> = running.iter().map(|row| StepName(&row.name).instruction()).collect();
    let text = format!("{label:width$} {marks} {}", names.join("; "));
    let time = running.iter().map(|row| row.took(now)).max();
    let tone = match group.counts {
        counts if counts.n_failed > 0 => Tone::Failed,
        counts if counts.n_ended() == group.rows.len() => Tone::Done,
        _ => Tone::Plain,
    };
    Line { text: text.trim_end().to_owned(), time, tone, is_detail: running.is_empty() }
}

/// Told apart by shape, for those who see no colours.
fn mark(row: &Row) -> char {
    match (row.end, row.started) {
        (Some(End::Cached), _) => '✓',
        (Some(End::Done), _) => '●',
        (Some(End::Failed), _) => '✗',
        (Some(End::Canceled), _) => '–',
        (None, Some(_)) => '▶',
        (None, None) => '○',
    }
}

/// The steps that the build has waited for so far.
fn critical_path(board: &Board, now: SystemTime) -> Option<Line> {
    let path = board.critical_path();
    let ran: Vec<&&Row> = path.iter().filter(|row| row.end != Some(End::Cached)).collect();
    if ran.len() < 2 {
        return None;
    }
    let took: std::time::Duration = ran.iter().map(|row| row.took(now)).sum();
    let names: Vec<&str> = ran.iter().rev().map(|row| row.name.as_str()).collect();
    Some(Line::detail(format!(" critical path {:.1}s: {}", took.as_secs_f64(), names.join(" < ")), Tone::Faint))
}

/// The last lines that running steps wrote, side by side where there is room.
fn panes(board: &Board, frame: Frame, lines: &mut Vec<Line>) {
    let talking: Vec<&Row> = board.running().filter(|row| !row.log.is_empty()).collect();
    let n_panes = (frame.width / MIN_PANE).min(MAX_PANES).min(talking.len());
    if n_panes < 2 {
        for row in talking.iter().take(frame.height) {
            lines.push(Line::detail(format!(" {}", row.name), Tone::Title));
            lines.extend(tail(row, frame).map(|text| Line::detail(format!("{LOG_INDENT}{text}"), Tone::Plain)));
        }
        return;
    }
    let width = (frame.width + 1) / n_panes - 3;
    for chunk in talking.chunks(n_panes).take(frame.height) {
        let side_by_side = |cells: Vec<String>| -> String {
            let cells = cells.iter().map(|cell| {
                let (text, n_shown) = cut(cell, width);
                text + &" ".repeat(width - n_shown)
            });
            format!(" {}", cells.collect::<Vec<_>>().join(" │ ")).trim_end().to_owned()
        };
        lines.push(Line::detail(side_by_side(chunk.iter().map(|row| row.name.clone()).collect()), Tone::Title));
        let tails: Vec<Vec<String>> = chunk.iter().map(|row| tail(row, frame).collect()).collect();
        let n_rows = tails.iter().map(Vec::len).max().unwrap_or(0);
        for n in 0..n_rows {
            let cells = tails.iter().map(|tail| tail.get(n).cloned().unwrap_or_default()).collect();
            lines.push(Line::detail(side_by_side(cells), Tone::Plain));
        }
    }
}

fn tail(row: &Row, frame: Frame) -> impl Iterator<Item = String> {
    let first = row.log.len().saturating_sub(frame.n_log_lines);
    row.log.iter().skip(first).map(move |line| visible(line, frame.has_colors))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use slipway_graph::{Event, LogStream, StepId};

    use super::*;
    use crate::progress::lines::fit_height;

    fn at(seconds: f64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds)
    }

    fn board() -> Board {
        let mut board = Board::new(at(0.0), 2);
        let steps = [
            ("[internal] load metadata for docker.io/library/golang:1", &[][..]),
            ("[base 1/2] FROM golang:1", &[]),
            ("[base 2/2] WORKDIR /src", &[1]),
            ("[build 1/2] COPY . .", &[2]),
            ("[build 2/2] RUN make -j", &[3]),
            ("[test 1/1] RUN pytest --verbose", &[2]),
            ("[stage-3 1/1] COPY --from=build /app /", &[4]),
        ];
        for (step, (name, inputs)) in steps.iter().enumerate() {
            let inputs = inputs.iter().map(|input| StepId(*input)).collect();
            board.note(&Event::StepPlanned { step: StepId(step as u32), name: (*name).to_owned(), inputs });
        }
        let started = |step, s| Event::StepStarted { step: StepId(step), at: at(s) };
        let done = |step, s| Event::StepDone { step: StepId(step), at: at(s) };
        let log = |step, text: &str| Event::StepLog {
            step: StepId(step),
            stream: LogStream::Stdout,
            bytes: text.into(),
            at: at(5.0),
        };
        let status = Event::StepStatus {
            step: StepId(0),
            id: "sha256:abc".to_owned(),
            current: 5_000_000,
            total: 20_000_000,
            is_done: false,
            took: Duration::from_secs(1),
        };
        let events = [started(0, 0.0), status, Event::StepCached { step: StepId(1) }];
        let more = [started(2, 0.5), done(2, 1.0), started(3, 1.0), done(3, 2.0), started(4, 2.0), started(5, 1.0)];
        let logs = [log(4, "cc a.c\ncc b.c\ncc c.c\n"), log(5, "tests/a.py ....\n")];
        events.iter().chain(&more).chain(&logs).for_each(|event| board.note(event));
        board
    }

    fn picture(width: usize, height: usize) -> String {
        let frame = Frame { width, height, n_log_lines: 2, has_colors: false };
        let lines = fit_height(live(&board(), at(9.0), frame), height);
        lines.iter().map(|line| line.fitted(width, false).trim_end().to_owned() + "\n").collect()
    }

    #[test]
    fn stages_run_side_by_side() {
        let expected = "\
[+] Building 9.0s (3/7) 1 cached, 2 ran, 3 running
 => [internal] load metadata for docker.io/library/golang:1                                 9.0s
 => => sha256:abc 5.00MB / 20.00MB 5.00MB/s
 base          ✓●
 ├─ build      ●▶ RUN make -j                                                               7.0s
 │  └─ stage-3 ○
 └─ test       ▶ RUN pytest --verbose                                                       8.0s
 critical path 8.5s: [test 1/1] RUN pytest --verbose < [base 2/2] WORKDIR /src
 [build 2/2] RUN make -j                       │ [test 1/1] RUN pytest --verbose
 cc b.c                                        │ tests/a.py ....
 cc c.c                                        │
";
        assert_eq!(picture(96, 40), expected);
    }

    #[test]
    fn a_narrow_window_stacks_what_steps_write() {
        let expected = "\
[+] Building 9.0s (3/7) 1 cached, 2 ran
 => [internal] load metadata for d 9.0s
 => => sha256:abc 5.00MB / 20.00MB 5.00
 base         ✓●
 ├─ build     ●▶ RUN make -j       7.0s
 │  └─ stage-3 ○
 └─ test      ▶ RUN pytest --verbo 8.0s
 critical path 8.5s: [test 1/1] RUN pyt
 [build 2/2] RUN make -j
 => => # cc b.c
 => => # cc c.c
 [test 1/1] RUN pytest --verbose
 => => # tests/a.py ....
";
        assert_eq!(picture(39, 40), expected);
    }

    #[test]
    fn a_low_window_keeps_what_runs_and_no_window_panics() {
        let expected = "\
[+] Building 9.0s (3/7) 1 cached, 2 ran, 3 running
 => [internal] load metadata for docker.io/library/golang:1                                 9.0s
 ├─ build      ●▶ RUN make -j                                                               7.0s
 └─ test       ▶ RUN pytest --verbose                                                       8.0s
";
        assert_eq!(picture(96, 5), expected);
        for (width, height) in (0..60).flat_map(|width| (0..12).map(move |height| (width, height))) {
            assert!(picture(width, height).lines().count() <= height.max(3));
        }
    }

    #[test]
    fn thousands_of_stages_take_no_more_than_the_window() {
        let mut board = Board::new(at(0.0), 2);
        for step in 0..10_000 {
            let (name, inputs) = (format!("[s{step} 1/1] RUN x"), Vec::new());
            board.note(&Event::StepPlanned { step: StepId(step), name, inputs });
            board.note(&Event::StepCached { step: StepId(step) });
        }
        let frame = Frame { width: 80, height: 24, n_log_lines: 2, has_colors: false };
        assert!(live(&board, at(1.0), frame).len() <= 26);
    }
}
