//! What happened during a build. The whole interface between those who build and those who draw.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::LineRange;

/// A step as people see it: a vertex, or work beside the graph (`[internal] load …`, `exporting to image`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepId(pub u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogStream {
    Stdout,
    Stderr,
}

/// One thing that happened. Events of one step come in the order of this list; steps interleave.
#[derive(Clone, Debug)]
pub enum Event {
    /// The build knows that there will be this step.
    StepPlanned {
        step: StepId,
        name: String,
        /// The steps whose results it uses.
        inputs: Vec<StepId>,
    },
    StepStarted {
        step: StepId,
        at: SystemTime,
    },
    /// Bytes that a program wrote; not cut at line ends.
    StepLog {
        step: StepId,
        stream: LogStream,
        bytes: Vec<u8>,
        at: SystemTime,
    },
    /// A part of a step went on: a layer being pulled, a blob being pushed. Sizes in bytes; `total` 0 is unknown.
    StepStatus {
        step: StepId,
        id: String,
        current: u64,
        total: u64,
        is_done: bool,
        took: Duration,
    },
    /// The result was there already; nothing ran.
    StepCached {
        step: StepId,
    },
    StepDone {
        step: StepId,
        at: SystemTime,
    },
    /// `message` is the whole error text.
    StepFailed {
        step: StepId,
        message: String,
        at: SystemTime,
    },
    /// Not finished because something else failed or the user interrupted.
    StepCanceled {
        step: StepId,
    },
    /// A remark on the machine.
    Remark {
        message: String,
    },
    /// A remark on the user's file.
    Warning(Box<FileWarning>),
}

impl Event {
    /// The step that it is about.
    pub fn step(&self) -> Option<StepId> {
        match self {
            Event::StepPlanned { step, .. }
            | Event::StepStarted { step, .. }
            | Event::StepLog { step, .. }
            | Event::StepStatus { step, .. }
            | Event::StepCached { step }
            | Event::StepDone { step, .. }
            | Event::StepFailed { step, .. }
            | Event::StepCanceled { step } => Some(*step),
            Event::Warning(warning) => Some(warning.step),
            Event::Remark { .. } => None,
        }
    }
}

/// A remark on a file, in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileWarning {
    /// The step that read the file.
    pub step: StepId,
    /// Which rule, what is wrong, on which line.
    pub short: String,
    /// What the rule is about.
    pub detail: String,
    /// Where to read more.
    pub url: Option<String>,
    pub file_name: String,
    /// Where it lies, as typed.
    pub path: String,
    /// The whole file.
    pub text: Arc<str>,
    pub lines: LineRange,
}

/// Where events go. Implementations put them in one order; they must not block for long.
pub trait Events: Sync + Send {
    /// Takes one event.
    fn emit(&self, event: Event);

    /// A new step id, never given out before in this build.
    fn new_step(&self) -> StepId;
}
