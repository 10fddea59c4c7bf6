//! Answers one question: who hears of a step, where several builds go on together?
//!
//! Each build has a record. What a build does by itself is in its record alone; a vertex of the shared graph is in the
//! records of all builds that need it. Those who draw are told once, and see in brackets whose step it is: that of the
//! build that brought it.

use std::collections::HashMap;

use slipway_graph::request::NamedRequest;
use slipway_graph::{Event, Events, StepId, VertexId};
use slipway_oci::Digest;
use slipway_solver::Hit;
use slipway_store::Store;

use super::recorder::Recorder;
use crate::build::Built;
use crate::failure::{BuildError, BuildFailure};
use crate::ops::EngineOps;

/// The records of all builds, and who draws.
pub(crate) struct Audience<'a> {
    events: &'a dyn Events,
    builds: Vec<Listener<'a>>,
}

struct Listener<'a> {
    recorder: Recorder<'a>,
    /// Stands in front of the names of its steps; empty where there is one build.
    label: &'a str,
}

impl<'a> Audience<'a> {
    /// Records that know what was asked for.
    pub(crate) fn start(requests: &'a [NamedRequest], events: &'a dyn Events, store: &'a Store) -> Audience<'a> {
        let has_several = requests.len() > 1;
        let builds = requests.iter().map(|NamedRequest { name, request }| Listener {
            recorder: Recorder::start(request, store),
            label: if has_several { name } else { "" },
        });
        Audience { events, builds: builds.collect() }
    }

    /// A new step id, never given out before.
    pub(crate) fn new_step(&self) -> StepId {
        self.events.new_step()
    }

    /// Those who hear of what the build `index` does by itself.
    pub(crate) fn of(&self, index: usize) -> OwnSteps<'_> {
        OwnSteps { events: self.events, listener: &self.builds[index] }
    }

    /// Keeps all records. A build that did not fail itself was canceled because another one did.
    pub(crate) fn finish(self, outcome: &mut Result<Vec<Built>, BuildError>) {
        for (index, Listener { recorder, .. }) in self.builds.into_iter().enumerate() {
            match outcome {
                Ok(built) => built[index].record = Some(recorder.finish(index, Ok(&built[index]))),
                Err(error) => {
                    let failure = if error.build == index { &error.failure } else { &BuildFailure::Canceled };
                    recorder.finish(index, Err(failure));
                }
            }
        }
    }
}

/// Takes the events of one build.
#[derive(Clone, Copy)]
pub(crate) struct OwnSteps<'a> {
    events: &'a dyn Events,
    listener: &'a Listener<'a>,
}

impl<'a> OwnSteps<'a> {
    pub(crate) fn recorder(&self) -> &'a Recorder<'a> {
        &self.listener.recorder
    }
}

impl Events for OwnSteps<'_> {
    fn emit(&self, event: Event) {
        self.listener.recorder.note(&event);
        self.events.emit(labelled(event, self.listener.label));
    }

    fn new_step(&self) -> StepId {
        self.events.new_step()
    }
}

/// Takes the events of the vertices of a graph.
pub(crate) struct SharedSteps<'a> {
    audience: &'a Audience<'a>,
    /// The builds that need a vertex, by its step; the one that brought it comes first.
    users: HashMap<StepId, &'a [usize]>,
}

impl<'a> SharedSteps<'a> {
    /// `steps` and `users` go by vertex.
    pub(crate) fn new(audience: &'a Audience<'a>, steps: &[StepId], users: &'a [Vec<usize>]) -> SharedSteps<'a> {
        let users = steps.iter().copied().zip(users.iter().map(Vec::as_slice)).collect();
        SharedSteps { audience, users }
    }

    fn listeners(&self, step: StepId) -> impl Iterator<Item = &Listener<'a>> {
        let users = self.users.get(&step).copied().unwrap_or_default();
        users.iter().map(|index| &self.audience.builds[*index])
    }

    /// The key of a vertex, which names its note.
    pub(crate) fn keyed(&self, ops: &EngineOps<'_>, vertex: VertexId, key: &Digest) {
        self.listeners(ops.steps[vertex.0]).for_each(|build| build.recorder.keyed(ops, vertex, key));
    }

    /// Why a vertex did not run.
    pub(crate) fn hit(&self, step: StepId, hit: Hit) {
        self.listeners(step).for_each(|build| build.recorder.hit(step, hit));
    }

    /// See [`Recorder::take_notes`].
    pub(crate) fn take_notes(&self, ops: &EngineOps<'_>) {
        self.audience.builds.iter().for_each(|build| build.recorder.take_notes(ops));
    }
}

impl Events for SharedSteps<'_> {
    fn emit(&self, event: Event) {
        let Some(step) = event.step() else { return self.audience.events.emit(event) };
        let mut label = "";
        for (index, build) in self.listeners(step).enumerate() {
            build.recorder.note(&event);
            if index == 0 {
                label = build.label;
            }
        }
        self.audience.events.emit(labelled(event, label));
    }

    fn new_step(&self) -> StepId {
        self.audience.events.new_step()
    }
}

/// The event with the build's name in front of the step's: in its brackets, if it has any.
fn labelled(event: Event, label: &str) -> Event {
    match event {
        Event::StepPlanned { step, name, inputs } if !label.is_empty() => {
            let name = match name.strip_prefix('[') {
                Some(rest) => format!("[{label} {rest}"),
                None => format!("[{label}] {name}"),
            };
            Event::StepPlanned { step, name, inputs }
        }
        event => event,
    }
}
