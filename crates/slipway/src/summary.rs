//! What a build came to, in a few lines at its end: time, steps, what the cache saved, how large the image is and what it
//! grew by, and which steps took longest.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::time::Duration;

use slipway_engine::{BuildRecord, Built, Status, StepRecord};
use slipway_graph::request::NamedRequest;
use slipway_oci::Digest;
use slipway_report::{duration, growth, size};
use slipway_sandbox::ladder::Place;
use slipway_store::{OverlayFlavor, Store};

use crate::place;
use crate::progress::Style;
use crate::stage_graph::took;

/// How many of the steps that took longest are named.
const N_SLOWEST: usize = 3;
/// Steps that took less are not worth a word.
const SLOW: Duration = Duration::from_millis(100);
/// So many earlier builds are looked at.
const MAX_EARLIER: usize = 100;
const MAX_NAME_CHARS: usize = 60;

/// What builds that went on together came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Summary {
    wall: Duration,
    n_hit: usize,
    n_ran: usize,
    /// What the steps that did not run took when they ran last, as far as that is remembered.
    saved: Duration,
    images: Vec<ImageLine>,
    slowest: Vec<(Duration, String)>,
    n_warnings: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct ImageLine {
    /// The name of the build, if there are several.
    name: String,
    bytes: u64,
    compressed_bytes: Option<u64>,
    /// Of the build before.
    bytes_before: Option<u64>,
}

/// Whether a build that is drawn in `style` ends with a summary: what programs read stays as they know it.
fn is_wanted(style: Style, is_asked_for: bool) -> bool {
    match style {
        Style::Tty | Style::Ci(_) => true,
        Style::Plain => is_asked_for,
        Style::Quiet | Style::Silent | Style::Json => false,
    }
}

/// Writes the summary to standard error, if it is wanted. That earlier builds cannot be read makes it shorter.
pub(crate) fn tell(requests: &[NamedRequest], built: &[Built], place: Place, style: Style, is_asked_for: bool) {
    if !is_wanted(style, is_asked_for) {
        return;
    }
    let named = requests.iter().zip(built);
    let builds: Vec<(&str, &BuildRecord)> =
        named.filter_map(|(named, built)| Some((named.name.as_str(), built.record.as_ref()?))).collect();
    if builds.is_empty() {
        return;
    }
    let store = Store::open(&place::store_root(place), OverlayFlavor::Outside).ok();
    let earlier = store.as_ref().and_then(|store| BuildRecord::newest_first(store).ok()).into_iter().flatten();
    let summary = Summary::of(&builds, earlier.take(MAX_EARLIER));
    // A closed terminal must not end the build.
    let _ = io::stderr().write_all(summary.text().as_bytes());
}

/// What the steps that were cached in `build` took when they ran last. `earlier` are the builds before it, the newest first.
pub(crate) fn saved(build: &BuildRecord, earlier: impl Iterator<Item = BuildRecord>) -> Duration {
    Summary::of(&[("", build)], earlier.take(MAX_EARLIER)).saved
}

impl Summary {
    /// `earlier` are builds that are over, the newest first; `builds` themselves may be among them.
    fn of(builds: &[(&str, &BuildRecord)], earlier: impl Iterator<Item = BuildRecord>) -> Summary {
        // A step that several builds share has one number.
        let steps: BTreeMap<u32, &StepRecord> =
            builds.iter().flat_map(|(_, build)| &build.steps).map(|step| (step.number, step)).collect();
        let counted = || steps.values().filter(|step| step.vertex.is_some() && !step.name.starts_with("[internal]"));
        let mut slowest: Vec<(Duration, String)> = steps
            .values()
            .filter(|step| step.ran())
            .filter_map(|step| Some((took(step)?, step.name.clone())))
            .filter(|(took, _)| *took >= SLOW)
            .collect();
        slowest.sort_by_key(|(took, _)| std::cmp::Reverse(*took));
        slowest.truncate(N_SLOWEST);
        let mut summary = Summary {
            wall: wall(builds),
            n_hit: counted().filter(|step| step.hit.is_some()).count(),
            n_ran: counted().filter(|step| step.ran()).count(),
            slowest,
            n_warnings: builds.iter().map(|(_, build)| build.warnings.len()).sum(),
            images: builds.iter().filter_map(|(name, build)| ImageLine::of(name, build)).collect(),
            ..Summary::default()
        };
        let hits = counted().filter(|step| step.hit.is_some()).filter_map(|step| Some(&step.vertex.as_ref()?.key));
        summary.look_back(builds, hits.collect(), earlier);
        summary
    }

    /// Finds what was saved and how large images were, and looks no further back than it takes.
    fn look_back(
        &mut self,
        builds: &[(&str, &BuildRecord)],
        mut hits: BTreeSet<&Digest>,
        earlier: impl Iterator<Item = BuildRecord>,
    ) {
        let own: BTreeSet<&str> = builds.iter().map(|(_, build)| build.id.as_str()).collect();
        for past in earlier.filter(|past| !own.contains(past.id.as_str())) {
            for (image, build) in self.images.iter_mut().zip(builds.iter().filter(|(_, b)| b.image_bytes.is_some())) {
                if image.bytes_before.is_none() && is_same_image(&past, build.1) {
                    image.bytes_before = past.image_bytes;
                }
            }
            for step in past.steps.iter().filter(|step| step.ran()) {
                if step.vertex.as_ref().is_some_and(|vertex| hits.remove(&vertex.key)) {
                    self.saved += took(step).unwrap_or_default();
                }
            }
            if hits.is_empty() && self.images.iter().all(|image| image.bytes_before.is_some()) {
                return;
            }
        }
    }

    fn text(&self) -> String {
        let n_steps = self.n_hit + self.n_ran;
        let plural = if n_steps == 1 { "" } else { "s" };
        let mut text =
            format!("\n {}, {n_steps} step{plural}: {} cached, {} ran", duration(self.wall), self.n_hit, self.n_ran);
        if self.saved >= SLOW {
            text += &format!("; the cache saved {}", duration(self.saved));
        }
        text.push('\n');
        for image in &self.images {
            let name = if image.name.is_empty() { String::new() } else { format!(" {}", image.name) };
            text += &format!(" image{name}: {}", size(image.bytes));
            if let Some(bytes) = image.compressed_bytes {
                text += &format!(", compressed {}", size(bytes));
            }
            if let Some(before) = image.bytes_before {
                text += &format!(" ({} since the build before)", growth(before, image.bytes));
            }
            text.push('\n');
        }
        if !self.slowest.is_empty() {
            let named = self.slowest.iter().map(|(took, name)| format!("{} {}", duration(*took), shortened(name)));
            text += &format!(" slowest: {}\n", named.collect::<Vec<_>>().join("\n          "));
        }
        match self.n_warnings {
            0 => {}
            1 => text += " 1 warning\n",
            n => text += &format!(" {n} warnings\n"),
        }
        text
    }
}

impl ImageLine {
    fn of(name: &str, build: &BuildRecord) -> Option<ImageLine> {
        let (name, compressed_bytes) = (name.to_owned(), build.compressed_bytes);
        Some(ImageLine { name, bytes: build.image_bytes?, compressed_bytes, bytes_before: None })
    }
}

/// From the first beginning to the last end.
fn wall(builds: &[(&str, &BuildRecord)]) -> Duration {
    let start = builds.iter().map(|(_, build)| build.started_ns).min();
    let end = builds.iter().map(|(_, build)| build.completed_ns).max();
    let ns = start.zip(end).map_or(0, |(start, end)| end - start);
    Duration::from_nanos(u64::try_from(ns).unwrap_or(0))
}

/// Whether `past` made what `build` makes, from files that may have changed since.
fn is_same_image(past: &BuildRecord, build: &BuildRecord) -> bool {
    let asked = |build: &BuildRecord| {
        let request = &build.request;
        (request.context.clone(), request.dockerfile.clone(), request.target.clone(), request.platforms.clone())
    };
    past.status == Status::Completed && past.image_bytes.is_some() && asked(past) == asked(build)
}

fn shortened(name: &str) -> String {
    match name.char_indices().nth(MAX_NAME_CHARS) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use slipway_engine::{HitKind, RequestSummary, VertexRecord};

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn step(number: u32, key: &str, hit: bool, seconds: i64) -> StepRecord {
        let vertex =
            VertexRecord { key: Digest::of(key.as_bytes()), inputs: vec![], ignores_cache: false, is_source: false };
        StepRecord {
            number,
            name: format!("[b {number}/9] RUN {key}"),
            lines: None,
            started_ns: (!hit).then_some(0),
            completed_ns: (!hit).then_some(seconds * SECOND),
            error: None,
            is_canceled: false,
            hit: hit.then_some(HitKind::Definition),
            vertex: Some(vertex),
        }
    }

    fn build(id: &str, image_bytes: u64, steps: Vec<StepRecord>) -> BuildRecord {
        BuildRecord {
            id: id.to_owned(),
            request: RequestSummary {
                context: "/x".to_owned(),
                dockerfile: "Dockerfile".to_owned(),
                target: None,
                platforms: vec![],
                build_args: vec![],
                labels: vec![],
                tags: vec![],
                secrets: vec![],
                named_contexts: vec![],
                settings: slipway_engine::RequestSettings::default(),
            },
            started_ns: SECOND,
            completed_ns: 6 * SECOND,
            status: Status::Completed,
            error: None,
            image_id: None,
            image_bytes: Some(image_bytes),
            compressed_bytes: None,
            materials: vec![],
            attachments: vec![],
            layers: vec![],
            warnings: vec!["Rule: odd".to_owned()],
            steps,
        }
    }

    #[test]
    fn a_build_is_compared_with_what_came_before() {
        let now = build("now", 5_000_000, vec![step(1, "a", true, 0), step(2, "b", true, 0), step(3, "c", false, 4)]);
        let failed = BuildRecord { status: Status::Error, ..build("failed", 1, vec![step(1, "a", false, 7)]) };
        let earlier = vec![
            now.clone(),
            failed,
            build("second", 2_000_000, vec![step(1, "a", true, 0), step(2, "b", false, 20)]),
            build("first", 1_000_000, vec![step(1, "a", false, 900), step(2, "b", false, 900)]),
        ];
        let text = Summary::of(&[("", &now)], earlier.into_iter()).text();
        let expected = "
 5.0s, 3 steps: 2 cached, 1 ran; the cache saved 27.0s
 image: 5.00MB (+3.00MB since the build before)
 slowest: 4.0s [b 3/9] RUN c
 1 warning
";
        assert_eq!(text, expected);
    }

    #[test]
    fn steps_that_targets_share_count_once() {
        let (a, b) = (build("a", 1, vec![step(1, "x", false, 0)]), build("b", 2, vec![step(1, "x", false, 0)]));
        let summary = Summary::of(&[("a", &a), ("b", &b)], std::iter::empty());
        assert_eq!((summary.n_ran, summary.n_warnings), (1, 2));
        assert!(summary.text().contains("\n image a: 1B\n image b: 2B\n"), "{}", summary.text());
    }

    #[test]
    fn programs_that_read_the_progress_get_no_summary() {
        assert!(is_wanted(Style::Tty, false) && is_wanted(Style::Plain, true));
        assert!(!is_wanted(Style::Plain, false) && !is_wanted(Style::Json, true) && !is_wanted(Style::Quiet, true));
    }
}
