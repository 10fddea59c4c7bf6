//! What does this build have that others may use?
//!
//! Every vertex whose definition key leads somewhere, here or in an imported cache, becomes a result with all keys that
//! lead to the same place. Layers are compressed and sent while the build goes on (`outbox.rs`); of an imported cache
//! they are fetched only if the place that is written to lacks them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use slipway_cache::{Backend, Cache, CacheError, CachedResult, InlineRecord, Layer, inline_records};
use slipway_graph::op::{Op, Source};
use slipway_graph::request::{CacheExtent, CachePlace, CacheTarget};
use slipway_graph::{Event, Events, Graph, VertexId};
use slipway_oci::{DiffId, Digest};
use slipway_solver::Cancel;
use slipway_store::{DbError, Snapshot, Store};

use super::import::Imports;
use super::mounts;
use super::outbox::Outbox;
use crate::assemble::rfc3339;
use crate::build::internal_step;
use crate::layers::{self, BlobForm, BlobWish, LayerError};
use crate::remote::{Holder, RemoteLayers, RemoteSnapshot};
use crate::{chain, export, observe};

/// Keys of one result. Each is another way that once led to it.
const MAX_KEYS: usize = 64;

/// Why a cache was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheExportError {
    #[error("failed to export the {kind} cache `{name}`")]
    Write { kind: &'static str, name: String, source: CacheError },
    #[error("failed to make the layers of the {kind} cache `{name}`")]
    Layers { kind: &'static str, name: String, source: LayerError },
    #[error("cannot make the inline cache")]
    Inline(#[from] serde_json::Error),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// A build that is over, for those who want its cache.
pub(crate) struct CacheExport<'a> {
    pub(crate) store: &'a Store,
    pub(crate) graph: &'a Graph,
    /// One a vertex.
    pub(crate) definitions: &'a [Digest],
    pub(crate) results: &'a [VertexId],
    pub(crate) imports: &'a Imports<'a>,
    pub(crate) events: &'a dyn Events,
    pub(crate) cancel: &'a Cancel,
}

/// The form of blobs that the targets want, if any is a place of its own.
pub(crate) fn wanted_blobs(targets: &[CacheTarget]) -> BlobWish {
    let first = targets.iter().find(|target| target.place != CachePlace::Inline);
    first.map_or(BlobWish::None, |target| BlobWish::Always(form(target)))
}

/// The vertices whose layers belong into a cache of `results`, inputs first.
pub(crate) fn vertices(graph: &Graph, results: &[VertexId], extent: CacheExtent) -> BTreeSet<VertexId> {
    match extent {
        CacheExtent::Max => all_of(graph, results),
        CacheExtent::Min => results.iter().flat_map(|result| chain_of(graph, *result)).collect(),
    }
}

/// All vertices that `results` need and that there may be records of.
fn all_of(graph: &Graph, results: &[VertexId]) -> BTreeSet<VertexId> {
    let reachable = graph.reachable(results);
    let kept = graph.iter().filter(|(id, vertex)| reachable[id.0] && !is_unkept(&vertex.op));
    kept.map(|(id, _)| id).collect()
}

/// The vertices whose layers are those of `result`.
fn chain_of(graph: &Graph, result: VertexId) -> BTreeSet<VertexId> {
    let mut chain = observe::exported(graph, result);
    let bottom = chain.first().map_or(Some(result), |first| graph.vertex(*first).inputs.first().copied());
    chain.extend(bottom.filter(|id| !is_unkept(&graph.vertex(*id).op)));
    chain
}

/// The form of the blobs that `target` wants.
pub(super) fn form(target: &CacheTarget) -> BlobForm {
    BlobForm { compression: target.compression, level: target.compression_level }
}

/// Where the result of a vertex is.
enum Known {
    Here(Snapshot),
    Elsewhere(Arc<RemoteSnapshot>),
}

impl CacheExport<'_> {
    /// Writes one cache after the other. A failure is a remark, unless the target says that it is the build's, or
    /// `is_strict`.
    pub(crate) fn write_all<'o>(
        &self,
        outboxes: impl Iterator<Item = &'o Outbox>,
        is_strict: bool,
    ) -> Result<(), CacheExportError> {
        for outbox in outboxes {
            match self.write(outbox) {
                Err(error) if outbox.target().ignores_error && !is_strict => {
                    self.events.emit(Event::Remark { message: format!("{}; the build is good", chain(&error)) });
                }
                outcome => outcome?,
            }
        }
        Ok(())
    }

    fn write(&self, outbox: &Outbox) -> Result<(), CacheExportError> {
        let (kind, name) = (outbox.kind(), outbox.name());
        let step_name = format!("exporting cache to {kind}:{name}");
        internal_step(self.events, self.events.new_step(), &step_name, || {
            let layers = |source| CacheExportError::Layers { kind, name: name.clone(), source };
            let collected = self.collect(outbox.target()).map_err(layers)?;
            let write = |source| CacheExportError::Write { kind, name: name.clone(), source };
            outbox.finish(&collected.cache, &collected.elsewhere).map_err(write)
        })
    }

    fn collect(&self, target: &CacheTarget) -> Result<Collected, LayerError> {
        let mut collected = Collected::default();
        for vertex in vertices(self.graph, self.results, target.extent) {
            let definition = &self.definitions[vertex.0];
            match self.find(definition)? {
                Some(Known::Here(snapshot)) => {
                    let top = self.add_snapshot(&mut collected, &snapshot, target)?;
                    collected.add_result(top, self.keys(&snapshot, definition)?);
                }
                Some(Known::Elsewhere(remote)) => {
                    let top = collected.add_remote(&remote);
                    collected.add_result(top, remote.keys());
                }
                None => {}
            }
        }
        self.collect_mounts(target, &mut collected);
        Ok(collected)
    }

    /// Adds the files of cache mounts: those of this machine, else those that others have sent along. One that cannot
    /// go along is no reason to keep the rest at home.
    fn collect_mounts(&self, target: &CacheTarget, collected: &mut Collected) {
        let vertices = all_of(self.graph, self.results);
        for identity in mounts::wanted(self.graph, &vertices, &target.mounts) {
            match mounts::save(self.store, &identity, target.max_mount_bytes) {
                Ok(Some(mount)) => collected.cache.mounts.push(mount),
                Ok(None) => {
                    let Some((mount, backend)) = self.imports.mount(&mounts::name_of(&identity)) else { continue };
                    for chunk in &mount.chunks {
                        collected.elsewhere.insert(chunk.digest.clone(), Arc::clone(&backend));
                    }
                    collected.cache.mounts.push(mount);
                }
                Err(error) => {
                    let id = mounts::id_of(&identity);
                    let message = format!("the cache mount `{id}` is not exported: {}", chain(&error));
                    self.events.emit(Event::Remark { message });
                }
            }
        }
    }

    fn find(&self, definition: &Digest) -> Result<Option<Known>, DbError> {
        if let Some(record) = self.store.lookup(definition)? {
            return Ok(Some(Known::Here(record.snapshot)));
        }
        Ok(self.imports.lookup(definition).map(Known::Elsewhere))
    }

    /// What leads to `snapshot`: its origin, the key of this build, all others.
    fn keys(&self, snapshot: &Snapshot, definition: &Digest) -> Result<Vec<Digest>, DbError> {
        let mut keys: Vec<Digest> = self.store.origin(snapshot.id())?.into_iter().collect();
        let others = self.store.keys_of(snapshot.id(), MAX_KEYS)?;
        for key in std::iter::once(definition.clone()).chain(others) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        Ok(keys)
    }

    fn add_snapshot(
        &self,
        collected: &mut Collected,
        snapshot: &Snapshot,
        target: &CacheTarget,
    ) -> Result<Option<usize>, LayerError> {
        let mut parent = None;
        for (index, layer) in snapshot.layers().iter().enumerate() {
            let place = (parent, layer.to_string());
            if let Some(known) = collected.places.get(&place) {
                parent = Some(*known);
                continue;
            }
            let is_forced = target.forces_compression;
            let (diff_id, blob) = layers::any_blob(self.store, snapshot, index, form(target), is_forced, self.cancel)?;
            let blob = export::in_family(blob, true);
            let created = self.store.layer_created_ns(layer)?.map(rfc3339);
            parent = Some(collected.add_layer(place, Layer { blob, diff_id, parent, created }));
        }
        Ok(parent)
    }

    /// What goes into the config of the image `result`, whose layers have these diff IDs.
    pub(crate) fn inline(&self, result: VertexId, diff_ids: &[DiffId]) -> Result<String, CacheExportError> {
        let mut records = Vec::new();
        for vertex in chain_of(self.graph, result) {
            let definition = &self.definitions[vertex.0];
            let (stack, keys) = match self.find(definition)? {
                Some(Known::Here(snapshot)) => (self.diff_ids(&snapshot)?, self.keys(&snapshot, definition)?),
                Some(Known::Elsewhere(remote)) => {
                    (remote.bottom().layers.iter().map(|layer| layer.diff_id.clone()).collect(), remote.keys())
                }
                None => continue,
            };
            if let (Some(layer), true) = (stack.len().checked_sub(1), diff_ids.starts_with(&stack)) {
                records.push(InlineRecord { keys, layer });
            }
        }
        Ok(STANDARD.encode(inline_records(&records)?))
    }

    fn diff_ids(&self, snapshot: &Snapshot) -> Result<Vec<DiffId>, DbError> {
        let diff_ids = snapshot.layers().iter().filter_map(|layer| self.store.diff_id(layer).transpose());
        diff_ids.map(|found| found.map(|(diff_id, _)| diff_id)).collect()
    }
}

/// Whether there is never a record of it.
fn is_unkept(op: &Op) -> bool {
    matches!(op, Op::Source(Source::Local(_) | Source::Scratch))
}

/// A cache in the making.
#[derive(Default)]
struct Collected {
    cache: Cache,
    /// Layers by what is below them and a name that is theirs there.
    places: HashMap<(Option<usize>, String), usize>,
    /// Results by their topmost layer.
    results: HashMap<usize, usize>,
    /// Who has the blobs that need not be here.
    elsewhere: HashMap<Digest, Arc<dyn Backend>>,
}

impl Collected {
    fn add_layer(&mut self, place: (Option<usize>, String), layer: Layer) -> usize {
        let index = self.cache.layers.len();
        self.cache.layers.push(layer);
        self.places.insert(place, index);
        index
    }

    fn add_remote(&mut self, remote: &Arc<RemoteSnapshot>) -> Option<usize> {
        let mut parent = None;
        let RemoteLayers { holder, layers } = remote.bottom().as_ref();
        for layer in layers {
            if let Holder::Cache { backend, .. } = holder {
                self.elsewhere.entry(layer.blob.digest.clone()).or_insert_with(|| Arc::clone(backend));
            }
            let place = (parent, layer.blob.digest.to_string());
            parent = Some(match self.places.get(&place) {
                Some(known) => *known,
                None => self.add_layer(place, Layer { parent, ..layer.clone() }),
            });
        }
        parent
    }

    /// Nothing is noted of a result without layers: it takes no time to make.
    fn add_result(&mut self, layer: Option<usize>, keys: Vec<Digest>) {
        let Some(layer) = layer else { return };
        let Collected { cache, results, .. } = self;
        let place = *results.entry(layer).or_insert_with(|| {
            cache.results.push(CachedResult { keys: Vec::new(), layer });
            cache.results.len() - 1
        });
        let known = &mut cache.results[place].keys;
        for key in keys {
            if !known.contains(&key) {
                known.push(key);
            }
        }
    }
}
