//! What is drawn of a Dockerfile: stages, their steps, and what they take files from. Everybody who draws reads this.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::quantity;

/// The stages of a file, or of a build of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StageGraph {
    pub stages: Vec<Stage>,
}

/// A stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Unique in the file: `build`, `stage-1`.
    pub name: String,
    pub base: Provider,
    /// The line of its `FROM`, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Whether the target needs it.
    pub is_reached: bool,
    pub is_target: bool,
    pub steps: Vec<Step>,
}

/// Who has files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Provider {
    /// By index.
    Stage(usize),
    Image(String),
    /// A folder, a repository or a URL; the build context is called `context`.
    Context(String),
    Scratch,
}

/// An instruction that makes files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// On one line.
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Besides the step before it.
    pub takes_from: Vec<Provider>,
    /// What became of it in the last build, if it was in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<StepState>,
    /// How long it ran then.
    #[serde(rename = "seconds", skip_serializing_if = "Option::is_none", serialize_with = "as_seconds")]
    pub took: Option<Duration>,
    /// What it added to the file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
}

/// What a build did about a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum StepState {
    Hit,
    Ran,
    Failed,
    Canceled,
}

/// A stage that another one takes files from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// In contrast to files that are copied or mounted.
    pub(crate) is_base: bool,
}

impl StageGraph {
    /// Which stages use which, each pair once.
    pub(crate) fn edges(&self) -> Vec<Edge> {
        let mut edges = BTreeMap::new();
        for (to, stage) in self.stages.iter().enumerate() {
            let copied = stage.steps.iter().flat_map(|step| &step.takes_from).map(|from| (from, false));
            for (provider, is_base) in copied.chain([(&stage.base, true)]) {
                if let Provider::Stage(from) = provider
                    && *from != to
                {
                    *edges.entry((to, *from)).or_insert(false) |= is_base;
                }
            }
        }
        edges.into_iter().map(|((to, from), is_base)| Edge { from, to, is_base }).collect()
    }

    /// Whether it is known what became of any step.
    pub(crate) fn has_history(&self) -> bool {
        self.stages.iter().flat_map(|stage| &stage.steps).any(|step| step.state.is_some())
    }

    /// How a provider is called.
    pub(crate) fn name_of<'a>(&'a self, provider: &'a Provider) -> &'a str {
        match provider {
            Provider::Stage(index) => &self.stages[*index].name,
            Provider::Image(name) | Provider::Context(name) => name,
            Provider::Scratch => "scratch",
        }
    }
}

impl Stage {
    /// What its own steps added, as far as that is known.
    pub(crate) fn size_bytes(&self) -> Option<u64> {
        self.steps.iter().filter_map(|step| step.size_bytes).reduce(|sum, size| sum + size)
    }

    /// What its steps ran for.
    pub(crate) fn took(&self) -> Option<Duration> {
        self.steps.iter().filter_map(|step| step.took).reduce(|sum, took| sum + took)
    }

    /// Time and size of all its steps, for people; empty if neither is known.
    pub(crate) fn measure(&self) -> String {
        measure(self.took(), self.size_bytes())
    }
}

impl Step {
    /// Time and size, for people; empty if neither is known.
    pub(crate) fn measure(&self) -> String {
        measure(self.took, self.size_bytes)
    }
}

impl StepState {
    /// One character: told apart by shape, not by colour.
    pub(crate) fn mark(state: Option<StepState>) -> char {
        match state {
            None => '·',
            Some(StepState::Hit) => '✓',
            Some(StepState::Ran) => '●',
            Some(StepState::Failed) => '✗',
            Some(StepState::Canceled) => '–',
        }
    }

    /// The word for it, which is also what drawings call their classes.
    pub(crate) fn word(state: Option<StepState>) -> &'static str {
        match state {
            None => "unknown",
            Some(StepState::Hit) => "hit",
            Some(StepState::Ran) => "ran",
            Some(StepState::Failed) => "failed",
            Some(StepState::Canceled) => "canceled",
        }
    }
}

fn measure(took: Option<Duration>, size_bytes: Option<u64>) -> String {
    let parts = [took.map(quantity::duration), size_bytes.filter(|bytes| *bytes > 0).map(quantity::size)];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn as_seconds<S: serde::Serializer>(took: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match took {
        Some(took) => serializer.serialize_f64(took.as_secs_f64()),
        None => serializer.serialize_none(),
    }
}
