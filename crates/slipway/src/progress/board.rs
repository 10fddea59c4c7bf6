//! What is known of the steps of a build while it goes on. Each event costs a little, however many steps there are; who
//! draws asks for what is on the screen, and for no more.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use slipway_graph::step_name::StepName;
use slipway_graph::{Event, StepId};

use super::control_sequences::visible;
use super::{elapsed, size};
use crate::critical_path::critical_path;

/// A line of output that is not over is kept from its end: more than that no screen is wide.
const MAX_OPEN_LINE: usize = 4096;
/// Rates of transfers that began a moment ago say nothing.
const RATE_AFTER: Duration = Duration::from_millis(200);

/// All steps so far.
pub(super) struct Board {
    pub(super) started: SystemTime,
    n_log_lines: usize,
    rows: Vec<Row>,
    by_step: HashMap<StepId, usize>,
    /// Indexes of the rows that have begun, in that order.
    begun: Vec<usize>,
    running: BTreeSet<usize>,
    groups: Vec<Group>,
    by_group: HashMap<String, usize>,
    counts: Counts,
}

/// What became of steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) n_cached: usize,
    pub(super) n_ran: usize,
    pub(super) n_failed: usize,
    pub(super) n_canceled: usize,
}

impl Counts {
    pub(super) fn n_ended(self) -> usize {
        self.n_cached + self.n_ran + self.n_failed + self.n_canceled
    }
}

/// The steps of a stage.
pub(super) struct Group {
    pub(super) name: String,
    /// The group that its first step is based on.
    pub(super) parent: Option<usize>,
    /// Indexes of rows, in the order of the stage.
    pub(super) rows: Vec<usize>,
    pub(super) counts: Counts,
}

#[derive(Default)]
pub(super) struct Row {
    pub(super) name: String,
    inputs: Vec<StepId>,
    group: Option<usize>,
    pub(super) started: Option<SystemTime>,
    has_begun: bool,
    pub(super) end: Option<End>,
    ended: Option<SystemTime>,
    statuses: Vec<Status>,
    pub(super) log: VecDeque<String>,
    is_log_open: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Done,
    Cached,
    Failed,
    Canceled,
}

/// A part of a step: a layer that is fetched, a blob that is given away.
struct Status {
    id: String,
    current: u64,
    total: u64,
    is_done: bool,
    took: Duration,
}

impl Board {
    pub(super) fn new(started: SystemTime, n_log_lines: usize) -> Board {
        Board {
            started,
            n_log_lines,
            rows: Vec::new(),
            by_step: HashMap::new(),
            begun: Vec::new(),
            running: BTreeSet::new(),
            groups: Vec::new(),
            by_group: HashMap::new(),
            counts: Counts::default(),
        }
    }

    /// Takes note of what happened.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::StepPlanned { step, name, inputs } => self.plan(*step, name, inputs),
            Event::StepStarted { step, at } => {
                let index = self.begin(*step);
                self.rows[index].started = Some(*at);
                self.running.insert(index);
            }
            Event::StepLog { step, bytes, .. } => {
                let n_log_lines = self.n_log_lines;
                let index = self.row(*step);
                self.rows[index].log(bytes, n_log_lines);
            }
            Event::StepStatus { step, id, current, total, is_done, took } => {
                let index = self.row(*step);
                let now = Status { id: id.clone(), current: *current, total: *total, is_done: *is_done, took: *took };
                self.rows[index].status(now);
            }
            Event::StepCached { step } => self.end(*step, End::Cached, None),
            Event::StepDone { step, at } => self.end(*step, End::Done, Some(*at)),
            Event::StepFailed { step, at, .. } => self.end(*step, End::Failed, Some(*at)),
            Event::StepCanceled { step } => self.end(*step, End::Canceled, None),
            Event::Remark { .. } | Event::Warning(_) => {}
        }
    }

    /// The steps that have begun, in that order.
    pub(super) fn begun(&self) -> impl Iterator<Item = &Row> {
        self.begun.iter().map(|index| &self.rows[*index])
    }

    /// The steps that are being carried out, in the order in which they were planned.
    pub(super) fn running(&self) -> impl Iterator<Item = &Row> {
        self.running.iter().map(|index| &self.rows[*index])
    }

    pub(super) fn n_running(&self) -> usize {
        self.running.len()
    }

    pub(super) fn n_steps(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub(super) fn at(&self, index: usize) -> &Row {
        &self.rows[index]
    }

    /// The chain of steps that decided when the last one ended, or how long the one that runs longest has to wait: from
    /// it, always on to the input that ended last. The first one comes first.
    pub(super) fn critical_path(&self) -> Vec<&Row> {
        let longest = self.running.iter().filter(|index| self.rows[**index].group.is_some()).min_by_key(|index| {
            let row = &self.rows[**index];
            (row.started, **index)
        });
        let last_ended = || {
            let counted = (0..self.rows.len()).filter(|index| self.rows[*index].group.is_some());
            counted.filter(|index| self.rows[*index].ended.is_some()).max_by_key(|index| self.rows[*index].ended)
        };
        let Some(last) = longest.copied().or_else(last_ended) else { return Vec::new() };
        let inputs_of =
            |index: usize| self.rows[index].inputs.iter().filter_map(|step| self.by_step.get(step).copied()).collect();
        let path = critical_path(last, inputs_of, |index| self.rows[index].ended);
        path.into_iter().map(|index| &self.rows[index]).collect()
    }

    fn row(&mut self, step: StepId) -> usize {
        *self.by_step.entry(step).or_insert_with(|| {
            self.rows.push(Row::default());
            self.rows.len() - 1
        })
    }

    fn plan(&mut self, step: StepId, name: &str, inputs: &[StepId]) {
        let index = self.row(step);
        self.rows[index].name = visible(name, false);
        self.rows[index].inputs = inputs.to_vec();
        let Some(group) = StepName(name).group() else { return };
        let based_on = inputs.first().and_then(|input| self.rows[*self.by_step.get(input)?].group);
        let n_groups = self.groups.len();
        let group = *self.by_group.entry(group.to_owned()).or_insert(n_groups);
        if group == n_groups {
            let name = StepName(name).group().unwrap_or_default();
            self.groups.push(Group {
                name: visible(name, false),
                parent: based_on,
                rows: Vec::new(),
                counts: Counts::default(),
            });
        }
        if self.rows[index].group.replace(group).is_none() {
            self.groups[group].rows.push(index);
        }
    }

    fn begin(&mut self, step: StepId) -> usize {
        let index = self.row(step);
        if !std::mem::replace(&mut self.rows[index].has_begun, true) {
            self.begun.push(index);
        }
        index
    }

    fn end(&mut self, step: StepId, end: End, at: Option<SystemTime>) {
        let index = self.begin(step);
        self.running.remove(&index);
        let row = &mut self.rows[index];
        row.ended = at;
        if row.end.replace(end).is_some() {
            return;
        }
        let group = row.group.map(|group| &mut self.groups[group].counts);
        for counts in [Some(&mut self.counts), group].into_iter().flatten() {
            match end {
                End::Done => counts.n_ran += 1,
                End::Cached => counts.n_cached += 1,
                End::Failed => counts.n_failed += 1,
                End::Canceled => counts.n_canceled += 1,
            }
        }
    }
}

impl Row {
    /// How long it took, or has taken so far.
    pub(super) fn took(&self, now: SystemTime) -> Duration {
        let end = if self.end.is_some() { self.ended } else { Some(now) };
        self.started.zip(end).map_or(Duration::ZERO, |(started, end)| elapsed(started, end))
    }

    /// Its transfers, with bytes and rates.
    pub(super) fn transfers(&self) -> impl Iterator<Item = String> {
        self.statuses.iter().map(Status::text)
    }

    /// Whether anything of it is on its way.
    pub(super) fn transfers_now(&self) -> bool {
        self.statuses.iter().any(|status| !status.is_done)
    }

    fn log(&mut self, bytes: &[u8], n_lines: usize) {
        for part in String::from_utf8_lossy(bytes).split_inclusive('\n') {
            match self.log.back_mut() {
                Some(line) if self.is_log_open => line.push_str(part),
                _ => self.log.push_back(part.to_owned()),
            }
            if let Some(line) = self.log.back_mut()
                && line.len() > 2 * MAX_OPEN_LINE
            {
                let from = line.len() - MAX_OPEN_LINE;
                let from = (from..line.len()).find(|at| line.is_char_boundary(*at)).unwrap_or(line.len());
                line.drain(..from);
            }
            self.is_log_open = !part.ends_with('\n');
            while self.log.len() > n_lines {
                self.log.pop_front();
            }
        }
    }

    fn status(&mut self, now: Status) {
        match self.statuses.iter_mut().find(|known| known.id == now.id) {
            Some(known) => *known = now,
            None => self.statuses.push(now),
        }
    }
}

impl Status {
    fn text(&self) -> String {
        let mut text = visible(&self.id, false);
        match (self.current, self.total) {
            (0, 0) => {}
            (current, 0) => text += &format!(" {}", size(current)),
            (current, total) => text += &format!(" {} / {}", size(current), size(total)),
        }
        if self.is_done {
            return text + " done";
        }
        if self.took >= RATE_AFTER && self.current > 0 {
            text += &format!(" {}/s", size((self.current as f64 / self.took.as_secs_f64()) as u64));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use slipway_graph::LogStream;

    use super::*;

    fn at(seconds: f64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds)
    }

    fn board() -> Board {
        Board::new(at(0.0), 3)
    }

    fn plan(board: &mut Board, step: u32, name: &str, inputs: &[u32]) {
        let inputs = inputs.iter().map(|input| StepId(*input)).collect();
        board.note(&Event::StepPlanned { step: StepId(step), name: name.to_owned(), inputs });
    }

    fn run(board: &mut Board, step: u32, from: f64, to: f64) {
        board.note(&Event::StepStarted { step: StepId(step), at: at(from) });
        board.note(&Event::StepDone { step: StepId(step), at: at(to) });
    }

    #[test]
    fn stages_know_what_they_are_based_on_and_how_far_they_are() {
        let mut board = board();
        plan(&mut board, 0, "[internal] load", &[]);
        plan(&mut board, 1, "[base 1/1] FROM x", &[]);
        plan(&mut board, 2, "[build 1/2] RUN a", &[1]);
        plan(&mut board, 3, "[build 2/2] RUN b", &[2]);
        plan(&mut board, 4, "[base 1/1] FROM x", &[]);
        board.note(&Event::StepCached { step: StepId(1) });
        run(&mut board, 2, 0.0, 1.0);
        board.note(&Event::StepFailed { step: StepId(3), message: String::new(), at: at(2.0) });
        board.note(&Event::StepCanceled { step: StepId(4) });
        let groups: Vec<_> = board.groups().iter().map(|g| (g.name.as_str(), g.parent, g.rows.len())).collect();
        assert_eq!(groups, [("base", None, 2), ("build", Some(0), 2)]);
        let expected = Counts { n_ran: 1, n_failed: 1, ..Counts::default() };
        assert_eq!(board.groups()[1].counts, expected);
        assert_eq!((board.counts().n_ended(), board.n_steps(), board.n_running()), (4, 5, 0));
    }

    #[test]
    fn the_critical_path_leads_to_what_runs_longest() {
        let mut board = board();
        plan(&mut board, 0, "[a 1/1] FROM x", &[]);
        plan(&mut board, 1, "[b 1/1] FROM y", &[]);
        plan(&mut board, 2, "[c 1/2] COPY --from=a", &[0, 1]);
        plan(&mut board, 3, "[c 2/2] RUN", &[2]);
        run(&mut board, 0, 0.0, 1.0);
        run(&mut board, 1, 0.0, 3.0);
        run(&mut board, 2, 3.0, 4.0);
        let names = |board: &Board| board.critical_path().iter().map(|row| row.name.clone()).collect::<Vec<_>>();
        let expected = ["[b 1/1] FROM y", "[c 1/2] COPY --from=a"];
        assert_eq!(names(&board), expected);
        board.note(&Event::StepStarted { step: StepId(3), at: at(4.0) });
        assert_eq!(names(&board), ["[b 1/1] FROM y", "[c 1/2] COPY --from=a", "[c 2/2] RUN"]);
    }

    #[test]
    fn transfers_have_bytes_and_rates() {
        let status = |current, total, is_done, ms| {
            let (id, took) = ("layer".to_owned(), Duration::from_millis(ms));
            Status { id, current, total, is_done, took }.text()
        };
        assert_eq!(status(0, 0, false, 900), "layer");
        assert_eq!(status(5_000_000, 10_000_000, false, 500), "layer 5.00MB / 10.00MB 10.00MB/s");
        assert_eq!(status(5_000, 0, false, 100), "layer 5.00kB");
        assert_eq!(status(5, 5, true, 500), "layer 5B / 5B done");
    }

    #[test]
    fn what_is_kept_of_output_is_bounded() {
        let mut board = board();
        for _ in 0..1000 {
            let (bytes, stream) = ("é".repeat(1000).into_bytes(), LogStream::Stdout);
            board.note(&Event::StepLog { step: StepId(0), stream, bytes, at: at(0.0) });
        }
        let bytes: usize = board.at(0).log.iter().map(String::len).sum();
        assert!(bytes <= 3 * MAX_OPEN_LINE, "{bytes}");
    }
}
