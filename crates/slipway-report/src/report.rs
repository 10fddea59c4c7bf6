//! What the page about a build tells: values, in the words and order in which they are shown.

use std::time::Duration;

use crate::stages::{StageGraph, StepState};

/// A build that is over.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What the build is called.
    pub name: String,
    pub id: String,
    /// `Completed`, `Error` or `Canceled`.
    pub status: String,
    pub is_completed: bool,
    /// When it began, for people.
    pub started: String,
    pub wall: Duration,
    /// What was asked for and what came of it: titles and values.
    pub facts: Vec<(String, String)>,
    pub error: Option<String>,
    pub warnings: Vec<String>,
    /// In the order in which they became known.
    pub steps: Vec<ReportStep>,
    /// Numbers of the steps that decided how long the build took, the first one first.
    pub critical_path: Vec<u32>,
    pub graph: StageGraph,
    /// What the steps that were cached took when they ran.
    pub saved: Option<Duration>,
    pub image_bytes: Option<u64>,
    pub compressed_bytes: Option<u64>,
    /// The build that it is compared with.
    pub against: Option<Against>,
}

/// A step of the build.
#[derive(Clone, Debug, Default)]
pub struct ReportStep {
    /// Tells it from the others.
    pub number: u32,
    pub stage: Option<String>,
    /// Without stage and count.
    pub instruction: String,
    pub line: Option<usize>,
    pub state: Option<StepState>,
    /// Since the build began.
    pub start: Option<Duration>,
    pub took: Option<Duration>,
    /// What it added to the file system.
    pub size_bytes: Option<u64>,
    /// Whether what it added is in the image.
    pub is_in_image: bool,
    /// Why it ran, or was found.
    pub reasons: Vec<String>,
    pub error: Option<String>,
    /// What it wrote; without anything that controls a terminal.
    pub log: String,
    /// How much of that is left out, in the middle.
    pub n_bytes_left_out: u64,
}

/// An earlier build, for comparison.
#[derive(Clone, Debug, Default)]
pub struct Against {
    pub id: String,
    pub started: String,
    pub wall: Duration,
    pub image_bytes: Option<u64>,
    pub rows: Vec<ComparedStep>,
}

/// A step of either build; what a build did not have is `None`.
#[derive(Clone, Debug, Default)]
pub struct ComparedStep {
    /// With its stage.
    pub name: String,
    pub before: Option<Measured>,
    pub after: Option<Measured>,
    /// Where more is told about it.
    pub number: Option<u32>,
}

/// What a step was in a build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    pub state: Option<StepState>,
    pub took: Option<Duration>,
}
