//! Turns what the solver reports into events for people, and hands finished layers on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use slipway_graph::op::{ImageSource, Op, Source};
use slipway_graph::{Event, Events, Graph, StepId, VertexId};
use slipway_oci::Digest;
use slipway_solver::{Hit, Observer};

use crate::chain;
use crate::layers::{BlobWish, Unmade};
use crate::ops::exec::HostFiles;
use crate::ops::{EngineOps, OpError, Output};
use crate::records::audience::SharedSteps;
use crate::shared_cache::outbox::Outboxes;

/// One step a vertex, in the order of the graph.
pub(crate) struct BuildObserver<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) audience: &'a SharedSteps<'a>,
    pub(crate) ops: &'a EngineOps<'a>,
    pub(crate) steps: &'a [StepId],
    /// Vertices whose newest layer is part of an image.
    pub(crate) exported: &'a BTreeMap<VertexId, BlobWish>,
    /// Takes the snapshots whose newest layer is to be made.
    pub(crate) hand_in: &'a (dyn Fn(Unmade) + Sync),
    /// What goes to other machines meanwhile.
    pub(crate) outboxes: &'a Outboxes,
    /// Told whenever the store has become larger.
    pub(crate) grown: &'a (dyn Fn() + Sync),
    /// What is told which steps are left; `None` in a process that runs no step.
    pub(crate) host_files: Option<&'a HostFiles>,
    /// How many vertices were started.
    pub(crate) n_run: &'a AtomicUsize,
}

/// The vertices whose newest layer ends up in the image of `target`: down the chain of first inputs, and what is
/// merged onto it.
pub(crate) fn exported(graph: &Graph, target: VertexId) -> BTreeSet<VertexId> {
    let mut exported = BTreeSet::new();
    let mut open = vec![target];
    while let Some(id) = open.pop() {
        let vertex = graph.vertex(id);
        match vertex.op {
            Op::Source(_) => {}
            Op::Exec(_) | Op::File(_) | Op::Merge => {
                exported.insert(id);
                open.extend(vertex.inputs.first());
            }
        }
    }
    exported
}

/// The image that `target` is based on, if it is based on one.
pub(crate) fn base_image(graph: &Graph, target: VertexId) -> Option<&ImageSource> {
    match &graph.vertex(bottom(graph, target)?).op {
        Op::Source(Source::Image(image)) => Some(image),
        Op::Source(_) | Op::Exec(_) | Op::File(_) | Op::Merge => None,
    }
}

/// The vertex that the files of `target` begin with.
pub(crate) fn bottom(graph: &Graph, target: VertexId) -> Option<VertexId> {
    match exported(graph, target).first() {
        Some(first) => graph.vertex(*first).inputs.first().copied(),
        None => Some(target),
    }
}

/// What the history calls the layers of `target` that no instruction speaks for: the names of the steps, the files of
/// a host folder under them.
pub(crate) fn layer_names(graph: &Graph, target: VertexId) -> Vec<String> {
    let steps = exported(graph, target);
    let folder = bottom(graph, target).and_then(|id| match &graph.vertex(id).op {
        Op::Source(Source::Local(local)) => Some(format!("local source for {}", local.name)),
        Op::Source(_) | Op::Exec(_) | Op::File(_) | Op::Merge => None,
    });
    folder.into_iter().chain(steps.iter().map(|id| graph.vertex(*id).name.clone())).collect()
}

impl Observer<EngineOps<'_>> for BuildObserver<'_> {
    fn planned(&self, vertices: &[VertexId]) {
        for id in vertices {
            let vertex = self.graph.vertex(*id);
            let inputs = vertex.inputs.iter().map(|input| self.steps[input.0]).collect();
            self.audience.emit(Event::StepPlanned { step: self.steps[id.0], name: vertex.name.clone(), inputs });
        }
    }

    fn left(&self, vertices: &[VertexId]) {
        self.outboxes.left(vertices);
        if let Some(host_files) = self.host_files {
            let steps = vertices.iter().filter_map(|id| match &self.graph.vertex(*id).op {
                Op::Exec(exec) => Some(exec),
                Op::Source(_) | Op::File(_) | Op::Merge => None,
            });
            host_files.expect(steps);
        }
    }

    fn keyed(&self, vertex: VertexId, definition: &Digest) {
        self.audience.keyed(self.ops, vertex, definition);
        self.outboxes.keyed(vertex, definition);
    }

    fn cached(&self, vertex: VertexId, hit: Hit) {
        self.audience.hit(self.steps[vertex.0], hit);
        self.audience.emit(Event::StepCached { step: self.steps[vertex.0] });
    }

    fn started(&self, vertex: VertexId) {
        self.n_run.fetch_add(1, Ordering::Relaxed);
        self.audience.emit(Event::StepStarted { step: self.steps[vertex.0], at: SystemTime::now() });
    }

    fn done(&self, vertex: VertexId, output: &Output) {
        self.audience.emit(Event::StepDone { step: self.steps[vertex.0], at: SystemTime::now() });
        if let (Some(wish), Output::Snapshot(snapshot)) = (self.exported.get(&vertex), output) {
            (self.hand_in)(Unmade { vertex, snapshot: snapshot.clone(), wish: *wish });
        }
        (self.grown)();
    }

    fn failed(&self, vertex: VertexId, error: &OpError) {
        if matches!(error, OpError::LostCache(_)) {
            // It is tried again, without that cache.
            self.audience.emit(Event::StepCanceled { step: self.steps[vertex.0] });
            return;
        }
        let message = chain(error);
        self.audience.emit(Event::StepFailed { step: self.steps[vertex.0], message, at: SystemTime::now() });
    }

    fn panicked(&self, vertex: VertexId, message: &str) {
        let message = format!("slipway panicked: {message}");
        self.audience.emit(Event::StepFailed { step: self.steps[vertex.0], message, at: SystemTime::now() });
    }

    fn canceled(&self, vertex: VertexId) {
        self.audience.emit(Event::StepCanceled { step: self.steps[vertex.0] });
    }
}

/// The vertex that makes the newest layer of `vertex`. What is merged onto something is a layer of its own, whatever that
/// something is, and so whether its files are here.
pub(crate) fn maker_of_layer(graph: &Graph, vertex: VertexId) -> VertexId {
    match (&graph.vertex(vertex).op, graph.vertex(vertex).inputs.as_slice()) {
        (Op::Merge, [_, top]) => *top,
        _ => vertex,
    }
}
