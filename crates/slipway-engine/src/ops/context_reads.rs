//! What does a vertex read of folders of the host, and is that what its key says?
//!
//! Keys are made before anything runs, and the user may go on editing. So the folder is looked at again after the files
//! were read. If what was read is something else by then, it is read once more and the vertex gets the key of that;
//! each vertex for itself, so two of them may see two versions of a file. What changes all the time gets a key that
//! nobody will ask for.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use slipway_graph::VertexId;
use slipway_graph::op::{FolderId, LocalSource, Op, Source};
use slipway_oci::Digest;

use super::{EngineOps, Input, OpError, selections};
use crate::context::{Manifest, SourcePattern};
use crate::contexts::ContextsError;

/// How often changing files are read.
const MAX_READS: usize = 2;

/// Files of a folder of the host that a vertex reads.
pub(crate) struct ContextSelection {
    /// Folder and path, for people: `context:src`.
    pub(crate) name: String,
    pub(crate) digest: Digest,
}

/// What a vertex made of folders of the host.
pub(super) struct Reading<T> {
    pub(super) result: T,
    /// What was read is known to be what the key says, so that nobody has to look again.
    pub(super) is_as_keyed: bool,
}

/// What the keys of vertices say of the folders that they read: by vertex and input, a digest a selection.
#[derive(Default)]
pub(crate) struct ContextReads(Mutex<HashMap<(VertexId, usize), Vec<Digest>>>);

impl ContextReads {
    fn get(&self, vertex: VertexId, index: usize) -> Option<Vec<Digest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(vertex, index)).cloned()
    }

    fn set(&self, vertex: VertexId, index: usize, digests: Vec<Digest>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((vertex, index), digests);
    }
}

impl EngineOps<'_> {
    /// What the vertex reads of its input `index`, which is this folder of the host.
    pub(super) fn context_digests(
        &self,
        vertex: VertexId,
        index: usize,
        folder: FolderId,
    ) -> Result<Vec<Digest>, ContextsError> {
        if let Some(known) = self.context_reads.get(vertex, index) {
            return Ok(known);
        }
        let selections = self.context_selections(vertex, index);
        let digests: Vec<Digest> =
            selections.iter().map(|wanted| self.contexts.digest(folder, wanted)).collect::<Result<_, _>>()?;
        self.context_reads.set(vertex, index, digests.clone());
        Ok(digests)
    }

    /// Whether the vertex reads one thing of folders of the host, and its key says that this is its digest.
    pub(super) fn is_key_of(&self, vertex: VertexId, inputs: &[Input], digest: &Digest) -> bool {
        let mut keyed = folders(inputs).map(|(index, _)| self.context_reads.get(vertex, index));
        let (first, second) = (keyed.next().flatten(), keyed.next());
        second.is_none() && first.is_some_and(|digests| digests.as_slice() == std::slice::from_ref(digest))
    }

    /// Carries out `read`, with which the vertex reads those of its `inputs` that are folders of the host, and sees to it
    /// that its key speaks of what was read. `identity` gives a name that nothing else has.
    pub(super) fn read_contexts<T>(
        &self,
        vertex: VertexId,
        inputs: &[Input],
        read: impl Fn() -> Result<Reading<T>, OpError>,
        identity: impl Fn(&T) -> Digest,
    ) -> Result<T, OpError> {
        let is_as_keyed = |reading: &Result<Reading<T>, OpError>| {
            reading.as_ref().is_ok_and(|reading| reading.is_as_keyed) || self.is_as_keyed(vertex, inputs)
        };
        let mut reading = read();
        for _ in 1..MAX_READS {
            if is_as_keyed(&reading) {
                return Ok(reading?.result);
            }
            reading = read();
        }
        let is_as_keyed = is_as_keyed(&reading);
        let result = reading?.result;
        if !is_as_keyed {
            let unique = identity(&result);
            for (index, _) in folders(inputs) {
                let n_selections = self.context_selections(vertex, index).len();
                self.context_reads.set(vertex, index, vec![unique.clone(); n_selections]);
            }
        }
        Ok(result)
    }

    /// Whether the folders still hold what the vertex' key says. If not, the key says from now on what they hold.
    fn is_as_keyed(&self, vertex: VertexId, inputs: &[Input]) -> bool {
        let mut is_same = true;
        for (index, folder) in folders(inputs) {
            let selections = self.context_selections(vertex, index);
            let now: Result<Vec<Digest>, _> =
                selections.iter().map(|wanted| self.contexts.look_again(folder, wanted)).collect();
            // What cannot be looked at any more was deleted: that is a change.
            let Ok(now) = now else { return false };
            if self.context_reads.get(vertex, index).as_ref() != Some(&now) {
                is_same = false;
                self.context_reads.set(vertex, index, now);
            }
        }
        is_same
    }

    /// What the vertex reads of folders of the host. What cannot be read is left out: the vertex fails, or has.
    pub(crate) fn context_selections_of(&self, vertex: VertexId) -> Vec<ContextSelection> {
        let mut all = Vec::new();
        for (index, local) in self.folder_inputs(vertex) {
            let digests = self.context_digests(vertex, index, local.folder).unwrap_or_default();
            for (wanted, digest) in self.context_selections(vertex, index).iter().zip(digests) {
                let name = format!("{}:{}", local.name, wanted.source.trim_start_matches('/'));
                all.push(ContextSelection { name, digest });
            }
        }
        all
    }

    /// The files of the selection with this digest; `None` if they are too many to be listed, or gone.
    pub(crate) fn manifest_of(&self, vertex: VertexId, digest: &Digest) -> Option<Manifest> {
        for (index, local) in self.folder_inputs(vertex) {
            for wanted in self.context_selections(vertex, index) {
                if self.contexts.digest(local.folder, &wanted).is_ok_and(|known| known == *digest) {
                    return self.contexts.manifest(local.folder, &wanted).ok().flatten();
                }
            }
        }
        None
    }

    /// Those inputs of the vertex that are folders of the host, by place.
    fn folder_inputs(&self, vertex: VertexId) -> impl Iterator<Item = (usize, &LocalSource)> {
        let inputs = self.graph.vertex(vertex).inputs.iter().enumerate();
        inputs.filter_map(|(index, input)| match &self.graph.vertex(*input).op {
            Op::Source(Source::Local(local)) => Some((index, local)),
            _ => None,
        })
    }

    /// What the vertex reads of a folder of the host that is its input `index`: all of it, if it does not say.
    fn context_selections(&self, vertex: VertexId, index: usize) -> Vec<SourcePattern<'_>> {
        let mut selections = selections(&self.graph.vertex(vertex).op, index);
        if selections.is_empty() {
            selections.push(SourcePattern::literal("/"));
        }
        selections
    }
}

/// The inputs that are folders of the host, by place.
fn folders(inputs: &[Input]) -> impl Iterator<Item = (usize, FolderId)> {
    inputs.iter().enumerate().filter_map(|(index, input)| match input {
        Input::Context(folder) => Some((index, *folder)),
        Input::Snapshot(_) => None,
    })
}
