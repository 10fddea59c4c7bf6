//! The stages that are drawn, from a Dockerfile as it is now or from the record of a build.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use slipway_dockerfile::{FileOrigin, Overview, StageOverview, StepOverview};
use slipway_engine::{BuildRecord, StepRecord};
use slipway_graph::step_name::StepName;
use slipway_report::{Provider, Stage, StageGraph, Step, StepState};

/// A build that is over, with what its steps added in bytes, by number.
pub(crate) struct History {
    pub(crate) build: BuildRecord,
    pub(crate) sizes: BTreeMap<u32, u64>,
}

/// The stages of a file, with what the last build did.
pub(crate) fn of_file(overview: &Overview, history: Option<&History>) -> StageGraph {
    let is_only = overview.stages.len() == 1;
    let stages = overview.stages.iter().enumerate().map(|(index, stage)| {
        let past = history.map(|history| Past::of(history, (!is_only).then_some(stage.name.as_str())));
        Stage {
            name: stage.name.clone(),
            base: provider(&stage.base),
            line: Some(stage.lines.first),
            is_reached: stage.is_reached,
            is_target: index == overview.target,
            steps: steps_of(stage, past),
        }
    });
    StageGraph { stages: stages.collect() }
}

/// The stages of a build, as it was.
pub(crate) fn of_build(history: &History) -> StageGraph {
    let build = &history.build;
    let counted = |step: &&StepRecord| step.vertex.is_some() && StepName(&step.name).group().is_some();
    let mut names: Vec<&str> = Vec::new();
    let mut stage_of: BTreeMap<u32, usize> = BTreeMap::new();
    for step in build.steps.iter().filter(counted) {
        let name = step.stage().unwrap_or(ONLY_STAGE);
        let index = names.iter().position(|known| *known == name).unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        });
        stage_of.insert(step.number, index);
    }
    let used: BTreeSet<u32> = build.steps.iter().flat_map(|s| &s.vertex).flat_map(|v| v.inputs.clone()).collect();
    let target = build.steps.iter().filter(counted).rfind(|step| !used.contains(&step.number));
    let target = target.and_then(|step| stage_of.get(&step.number).copied());
    let provider_of = |input: u32| match (stage_of.get(&input), build.step(input)) {
        (Some(index), _) => Provider::Stage(*index),
        (None, Some(step)) => provider_called(&step.name),
        (None, None) => Provider::Scratch,
    };
    let stages = names.iter().enumerate().map(|(index, name)| {
        let steps = || build.steps.iter().filter(|step| stage_of.get(&step.number) == Some(&index));
        let first = steps().next();
        let is_base = |step: &StepRecord| step.vertex.as_ref().is_some_and(|vertex| vertex.is_source);
        let base = match first {
            Some(first) if is_base(first) => Provider::Image(image_name(first.instruction())),
            Some(first) => {
                first.vertex.iter().flat_map(|v| &v.inputs).next().map_or(Provider::Scratch, |i| provider_of(*i))
            }
            None => Provider::Scratch,
        };
        Stage {
            name: (*name).to_owned(),
            base,
            line: None,
            is_reached: true,
            is_target: target == Some(index),
            steps: steps().filter(|step| !is_base(step)).map(|s| past_step(s, &history.sizes, provider_of)).collect(),
        }
    });
    StageGraph { stages: stages.collect() }
}

/// The name of a stage that needs none.
const ONLY_STAGE: &str = "image";

fn past_step(step: &StepRecord, sizes: &BTreeMap<u32, u64>, provider_of: impl Fn(u32) -> Provider) -> Step {
    // The first input is what the step adds to.
    let others = step.vertex.iter().flat_map(|vertex| vertex.inputs.iter().skip(1));
    Step {
        text: step.instruction().to_owned(),
        line: step.lines.map(|(first, _)| first),
        takes_from: others.map(|input| provider_of(*input)).collect(),
        state: state(step),
        took: took(step),
        size_bytes: sizes.get(&step.number).copied(),
    }
}

/// What a step that belongs to no stage provides.
fn provider_called(name: &str) -> Provider {
    match name.strip_prefix("FROM ") {
        Some(_) => Provider::Image(image_name(name)),
        None if name.contains("scratch") => Provider::Scratch,
        None => Provider::Context(name.trim_start_matches("[internal] load build ").to_owned()),
    }
}

/// What a `FROM` names, its digest shortened.
fn image_name(instruction: &str) -> String {
    let image = instruction.strip_prefix("FROM ").unwrap_or(instruction);
    match image.split_once("@sha256:") {
        Some((name, hex)) => format!("{name}@{}", hex.chars().take(12).collect::<String>()),
        None => image.to_owned(),
    }
}

/// The steps of one stage that a build knew, in its order.
struct Past<'a> {
    sizes: &'a BTreeMap<u32, u64>,
    steps: Vec<&'a StepRecord>,
}

impl<'a> Past<'a> {
    fn of(history: &'a History, stage: Option<&str>) -> Past<'a> {
        let is_of_stage = |step: &&StepRecord| step.lines.is_some() && step.stage() == stage;
        Past { sizes: &history.sizes, steps: history.build.steps.iter().filter(is_of_stage).collect() }
    }

    /// The step that `step` was, taken out: the one with its text, else the one on its lines that has its keyword.
    fn take(&mut self, step: &StepOverview) -> Option<&'a StepRecord> {
        let keyword = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
        let same_text = |past: &&StepRecord| past.instruction() == step.text;
        let same_place = |past: &&StepRecord| {
            past.lines == Some((step.lines.first, step.lines.last))
                && keyword(past.instruction()) == keyword(&step.text)
        };
        let found = self.steps.iter().position(same_text).or_else(|| self.steps.iter().position(same_place))?;
        Some(self.steps.remove(found))
    }
}

fn steps_of(stage: &StageOverview, mut past: Option<Past<'_>>) -> Vec<Step> {
    let step = |step: &StepOverview| {
        let record = past.as_mut().and_then(|past| past.take(step));
        let size_bytes = record.zip(past.as_ref()).and_then(|(record, past)| past.sizes.get(&record.number).copied());
        Step {
            text: step.text.clone(),
            line: Some(step.lines.first),
            takes_from: step.takes_from.iter().map(provider).collect(),
            state: record.and_then(state),
            took: record.and_then(took),
            size_bytes,
        }
    };
    stage.steps.iter().map(step).collect()
}

fn provider(origin: &FileOrigin) -> Provider {
    match origin {
        FileOrigin::Stage(index) => Provider::Stage(*index),
        FileOrigin::Image(name) => Provider::Image(name.clone()),
        FileOrigin::Context(name) => Provider::Context(name.clone()),
        FileOrigin::Scratch => Provider::Scratch,
    }
}

/// What became of a step; `None` if the build did not get to it.
pub(crate) fn state(step: &StepRecord) -> Option<StepState> {
    match step {
        step if step.hit.is_some() => Some(StepState::Hit),
        step if step.error.is_some() => Some(StepState::Failed),
        step if step.is_canceled => Some(StepState::Canceled),
        step if step.completed_ns.is_some() => Some(StepState::Ran),
        _ => None,
    }
}

/// How long a step ran.
pub(crate) fn took(step: &StepRecord) -> Option<Duration> {
    let (start, end) = step.started_ns.zip(step.completed_ns)?;
    Some(Duration::from_nanos(u64::try_from(end - start).unwrap_or(0)))
}
