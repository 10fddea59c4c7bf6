//! Collects the record of one build while it goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use slipway_dockerfile::{Dockerfile, Keyword};
use slipway_graph::op::{Op, Source};
use slipway_graph::request::BuildRequest;
use slipway_graph::{Event, StepId, VertexId};
use slipway_oci::{Digest, media_type};
use slipway_solver::Hit;
use slipway_store::{BuildLimits, NewBuild, Store};

use super::log::LogWriter;
use super::note::{Note, PartKind};
use super::{AttachmentRecord, BuildRecord, RequestSummary, Status, StepRecord, VertexRecord, lines_of};
use crate::build::Built;
use crate::failure::BuildFailure;
use crate::ops::EngineOps;
use crate::{chain, now_ns};

/// How many digits of an id are enough to tell builds apart.
const ID_LENGTH: usize = 25;

/// Remembers what it is told of.
pub(crate) struct Recorder<'a> {
    store: &'a Store,
    request: RequestSummary,
    started_ns: i64,
    /// Names that build arguments set.
    arg_names: Mutex<BTreeSet<String>>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    steps: BTreeMap<u32, StepRecord>,
    warnings: Vec<String>,
    log: Option<LogWriter>,
    has_no_log: bool,
    refers_to: BTreeSet<Digest>,
    notes: Vec<(Digest, Vec<u8>)>,
}

impl<'a> Recorder<'a> {
    /// A record that knows what was asked for.
    pub(crate) fn start(request: &BuildRequest, store: &'a Store) -> Recorder<'a> {
        let arg_names = request.build_args.keys().cloned().collect();
        Recorder {
            store,
            request: RequestSummary::of(request),
            started_ns: now_ns(),
            arg_names: Mutex::new(arg_names),
            seen: Mutex::default(),
        }
    }

    /// Learns which variables are build arguments.
    pub(crate) fn read_args(&self, dockerfile: &Dockerfile) {
        let args = dockerfile.instructions.iter().filter(|instruction| instruction.keyword == Keyword::Arg);
        let names = args.flat_map(|arg| arg.logical_line.split_whitespace().skip(1));
        let names = names.map(|word| word.split('=').next().unwrap_or(word).to_owned());
        self.arg_names.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
    }

    /// The key of a vertex, which names its note.
    pub(crate) fn keyed(&self, ops: &EngineOps<'_>, vertex: VertexId, key: &Digest) {
        let described = ops.graph.vertex(vertex);
        let step = ops.steps[vertex.0];
        let mut seen = self.seen();
        seen.refers_to.insert(key.clone());
        seen.refers_to.extend(ops.context_selections_of(vertex).into_iter().map(|selection| selection.digest));
        let record = seen.step(step);
        record.lines = described.lines.map(lines_of);
        record.vertex = Some(VertexRecord {
            key: key.clone(),
            inputs: described.inputs.iter().map(|input| ops.steps[input.0].0).collect(),
            ignores_cache: described.ignores_cache,
            is_source: matches!(described.op, Op::Source(_)),
        });
    }

    /// Why a vertex did not run.
    pub(crate) fn hit(&self, step: StepId, hit: Hit) {
        self.seen().step(step).hit = Some(hit.into());
    }

    /// Writes the notes of all vertices whose definition keys were not known; to be asked when the solver is done.
    pub(crate) fn take_notes(&self, ops: &EngineOps<'_>) {
        let arg_names = self.arg_names.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (id, vertex) in ops.graph.iter() {
            let keys = {
                let seen = self.seen();
                let key_of = |step: StepId| Some(seen.steps.get(&step.0)?.vertex.as_ref()?.key.clone());
                let is_new = seen.steps.get(&ops.steps[id.0].0).is_some_and(is_new);
                let inputs: Vec<Option<Digest>> = vertex.inputs.iter().map(|i| key_of(ops.steps[i.0])).collect();
                is_new.then(|| key_of(ops.steps[id.0])).flatten().map(|key| (key, inputs))
            };
            let Some((key, inputs)) = keys else { continue };
            let mut note = Note::of(vertex, &key, &arg_names);
            for (place, (input, key)) in vertex.inputs.iter().zip(inputs).enumerate() {
                let is_folder = matches!(ops.graph.vertex(*input).op, Op::Source(Source::Local(_)));
                if let (false, Some(key)) = (is_folder, key) {
                    note.add(PartKind::Parent, place.to_string(), key.as_str());
                }
            }
            for (secret, fingerprint) in ops.keyed_secrets(id).unwrap_or_default() {
                note.add(PartKind::Secret, secret, &fingerprint[..12]);
            }
            for selection in ops.context_selections_of(id) {
                note.add(PartKind::Files, selection.name.clone(), selection.digest.as_str());
                self.keep_manifest(ops, id, &selection.digest);
            }
            self.seen().notes.extend(note.to_bytes().map(|bytes| (key, bytes)));
        }
    }

    fn keep_manifest(&self, ops: &EngineOps<'_>, vertex: VertexId, digest: &Digest) {
        let is_known = |seen: &Seen| seen.notes.iter().any(|(name, _)| name == digest);
        if is_known(&self.seen()) || self.store.build_note(digest).is_ok_and(|note| note.is_some()) {
            return;
        }
        let bytes = ops.manifest_of(vertex, digest).and_then(|manifest| manifest.to_bytes());
        self.seen().notes.extend(bytes.map(|bytes| (digest.clone(), bytes)));
    }

    /// Keeps the record and returns it; `index` tells builds apart that were begun together. A store that cannot take it is no reason for a build to fail.
    pub(crate) fn finish(self, index: usize, outcome: Result<&Built, &BuildFailure>) -> BuildRecord {
        let seen = self.seen.into_inner().unwrap_or_else(PoisonError::into_inner);
        let failure = outcome.err();
        let size = outcome.ok().and_then(|built| built.size);
        let completed_ns = now_ns();
        let record = BuildRecord {
            id: new_id(self.started_ns, index),
            request: self.request,
            started_ns: self.started_ns,
            completed_ns,
            status: match failure {
                None => Status::Completed,
                Some(BuildFailure::Canceled) => Status::Canceled,
                Some(_) => Status::Error,
            },
            error: failure.map(message),
            image_id: outcome.ok().and_then(|built| built.image_id.clone()),
            image_bytes: size.and_then(|size| size.plain_bytes),
            compressed_bytes: size.and_then(|size| size.compressed_bytes),
            materials: outcome.map(|built| built.materials.clone()).unwrap_or_default(),
            attachments: outcome.map(attachments).unwrap_or_default(),
            layers: outcome.map(|built| built.layers.clone()).unwrap_or_default(),
            warnings: seen.warnings,
            steps: seen.steps.into_values().collect(),
        };
        let refers_to: Vec<Digest> = seen.refers_to.into_iter().collect();
        let log = seen.log.and_then(|log| log.finish().ok());
        if let Ok(bytes) = serde_json::to_vec(&record) {
            let build = NewBuild {
                id: &record.id,
                ended_ns: completed_ns,
                record: &bytes,
                log,
                refers_to: &refers_to,
                notes: &seen.notes,
            };
            let _ = self.store.add_build(build, BuildLimits::default());
        }
        record
    }

    /// Takes note of an event.
    pub(crate) fn note(&self, event: &Event) {
        self.seen().note(event, self.store);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn step(&mut self, step: StepId) -> &mut StepRecord {
        self.steps.entry(step.0).or_insert_with(|| StepRecord::new(step.0))
    }

    fn note(&mut self, event: &Event, store: &Store) {
        match event {
            Event::StepPlanned { step, name, .. } => self.step(*step).name.clone_from(name),
            Event::StepStarted { step, at } => self.step(*step).started_ns = Some(ns(*at)),
            Event::StepDone { step, at } => self.step(*step).completed_ns = Some(ns(*at)),
            Event::StepFailed { step, message, at } => {
                let record = self.step(*step);
                record.completed_ns = Some(ns(*at));
                record.error = Some(message.clone());
            }
            Event::StepCanceled { step } => self.step(*step).is_canceled = true,
            Event::StepLog { step, stream, bytes, at } => {
                if self.log.is_none() && !self.has_no_log {
                    self.log = LogWriter::start(store);
                    self.has_no_log = self.log.is_none();
                }
                let added = self.log.as_mut().map(|log| log.add(step.0, *stream, ns(*at), bytes));
                if let Some(Err(_)) = added {
                    // Half a log would read as damaged.
                    self.log = None;
                    self.has_no_log = true;
                }
            }
            Event::Warning(warning) if !self.warnings.contains(&warning.short) => {
                self.warnings.push(warning.short.clone());
            }
            Event::StepCached { .. } | Event::StepStatus { .. } | Event::Remark { .. } | Event::Warning(_) => {}
        }
    }
}

/// The documents that were made, the one that names point to first.
fn attachments(built: &Built) -> Vec<AttachmentRecord> {
    let named = built.image.as_ref().map(|image| AttachmentRecord {
        digest: image.descriptor.digest.clone(),
        media_type: image.descriptor.media_type.clone(),
        platform: image.descriptor.platform.as_ref().map(ToString::to_string),
    });
    let config = built.image.as_ref().map_or(built.image_id.as_ref(), |image| image.config.as_ref());
    let config = config.map(|digest| AttachmentRecord {
        digest: digest.clone(),
        media_type: media_type::OCI_CONFIG.to_owned(),
        platform: None,
    });
    named.into_iter().chain(config).collect()
}

/// Whether the definition key of a step was not known.
fn is_new(step: &StepRecord) -> bool {
    use super::HitKind::{Content, Identity};
    step.ran() || matches!(step.hit, Some(Identity | Content))
}

fn message(failure: &BuildFailure) -> String {
    match failure {
        BuildFailure::Dockerfile(diagnostics) => diagnostics.first().map_or_else(String::new, |first| first.headline()),
        BuildFailure::Step { source, .. } | BuildFailure::Request(source) | BuildFailure::Other(source) => {
            chain::chain(source.as_ref())
        }
        BuildFailure::Panic { message, .. } => message.clone(),
        BuildFailure::Canceled => "context canceled".to_owned(),
    }
}

fn new_id(started_ns: i64, index: usize) -> String {
    let digest = Digest::of(format!("{started_ns} {} {index}", std::process::id()).as_bytes());
    digest.hex()[..ID_LENGTH].to_owned()
}

fn ns(at: SystemTime) -> i64 {
    let since_1970 = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_nanos()).unwrap_or(i64::MAX)
}
