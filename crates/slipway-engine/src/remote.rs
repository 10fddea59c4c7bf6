//! File systems whose layers are known and need not be here: those of base images, and what caches of other machines
//! hold. They are fetched when somebody needs them: a step that reads files, an output that passes layers on.
//!
//! What a cache does not have as promised is a [`LostCache`]: the build is solved again without that cache.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use slipway_cache::{Backend, Layer};
use slipway_graph::Events;
use slipway_graph::op::{ImageOrigin, ImageSource};
use slipway_oci::{Descriptor, DiffId, Digest, Platform, Reference};
use slipway_registry::Registry;
use slipway_solver::Cancel;
use slipway_store::{DbError, LayerId, OverlayFlavor, Snapshot, Store};

use crate::build::internal_step;
use crate::fetch::{BlobPlace, LayerFetcher, Progress, WantedLayer};
use crate::images::{self, ImageError};
use crate::layers::Place;
use crate::ops::OpError;
use crate::ops::files;
use crate::shared_cache::import::LostCache;

/// Who has layers.
pub(crate) enum Holder {
    /// An imported cache, and which one of the request it is.
    Cache { index: usize, backend: Arc<dyn Backend> },
    /// Whoever was asked what the image is.
    Image { image: Box<ImageSource>, registry: Registry },
}

impl Holder {
    /// What people call it.
    fn name(&self) -> String {
        match self {
            Holder::Cache { backend, .. } => backend.name(),
            Holder::Image { image, .. } => image.reference.familiar(),
        }
    }

    fn place(&self) -> BlobPlace<'_> {
        match self {
            Holder::Cache { backend, .. } => BlobPlace::Cache(backend.as_ref()),
            Holder::Image { image, registry } => BlobPlace::of_image(image, registry),
        }
    }
}

/// What fetching needs.
#[derive(Clone, Copy)]
pub(crate) struct Fetching<'a> {
    pub(crate) store: &'a Store,
    pub(crate) flavor: OverlayFlavor,
    pub(crate) events: &'a dyn Events,
    pub(crate) cancel: &'a Cancel,
}

/// A stack of layers, and who has them.
pub(crate) struct RemoteLayers {
    pub(crate) holder: Holder,
    /// Bottom first.
    pub(crate) layers: Vec<Layer>,
}

impl RemoteLayers {
    /// Whether the files of all layers are in the store.
    pub(crate) fn are_here(&self, store: &Store) -> Result<bool, DbError> {
        for layer in &self.layers {
            if store.layer_by_diff_id(&layer.diff_id)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The blob that holds a layer.
    pub(crate) fn blob_of(&self, diff_id: &DiffId) -> Option<&Descriptor> {
        self.layers.iter().find(|layer| layer.diff_id == *diff_id).map(|layer| &layer.blob)
    }

    /// A reference whose repository has the blob, and is another one on the registry of `target`.
    pub(crate) fn mount_source(&self, target: &Reference, blob: &Digest) -> Option<&Reference> {
        let has_blob = self.layers.iter().any(|layer| layer.blob.digest == *blob);
        let repository = match &self.holder {
            Holder::Image { image, .. } => Some(&image.reference).filter(|_| image.origin == ImageOrigin::Registry),
            Holder::Cache { backend, .. } => backend.repository(),
        };
        repository.filter(|source| has_blob && source.host() == target.host())
    }

    /// Gets the blob `digest` into the store, without unpacking it; whether it is one of these layers.
    pub(crate) fn fetch_blob(&self, digest: &Digest, with: Fetching<'_>) -> Result<bool, ImageError> {
        let Some(layer) = self.layers.iter().find(|layer| layer.blob.digest == *digest) else { return Ok(false) };
        let name = self.holder.name();
        let step = with.events.new_step();
        internal_step(with.events, step, &format!("fetching a layer of {name}"), || {
            let progress = Progress { events: with.events, step, cancel: with.cancel };
            self.fetcher(&name, with, &progress).blob(&layer.diff_id, &layer.blob)
        })?;
        Ok(true)
    }

    /// All layers in the store, those that are missing fetched and unpacked.
    fn fetch(&self, with: Fetching<'_>) -> Result<Snapshot, OpError> {
        let name = self.holder.name();
        let title = match self.holder {
            Holder::Cache { .. } => format!("importing layers from cache {name}"),
            Holder::Image { .. } => format!("fetching the layers of {name}"),
        };
        let step = with.events.new_step();
        let fetched = internal_step(with.events, step, &title, || {
            let progress = Progress { events: with.events, step, cancel: with.cancel };
            let wanted: Vec<WantedLayer> = self.layers.iter().map(wanted).collect();
            self.fetcher(&name, with, &progress).stack(&wanted)
        });
        fetched.map_err(|source| match self.lost(source) {
            Ok(lost) => lost.into(),
            Err(source) => OpError::Image(Box::new(source)),
        })
    }

    /// What it means that a layer could not be had: that a cache is lost, unless a base image is.
    pub(crate) fn lost(&self, source: ImageError) -> Result<LostCache, ImageError> {
        match &self.holder {
            Holder::Cache { index, backend } => {
                Ok(LostCache { index: *index, name: backend.name(), source: Box::new(source) })
            }
            Holder::Image { .. } => Err(source),
        }
    }

    fn fetcher<'a>(&'a self, name: &'a str, with: Fetching<'a>, progress: &'a Progress<'a>) -> LayerFetcher<'a> {
        let place = self.holder.place();
        LayerFetcher { name, place, store: with.store, flavor: with.flavor, progress }
    }
}

fn wanted(layer: &Layer) -> WantedLayer {
    WantedLayer {
        diff_id: layer.diff_id.clone(),
        blob: Some(layer.blob.clone()),
        created_ns: created_ns(layer).unwrap_or_else(crate::now_ns),
    }
}

/// When a layer was made, in nanoseconds since 1970, if its holder says so.
pub(crate) fn created_ns(layer: &Layer) -> Option<i64> {
    let created = layer.created.as_ref()?.parse::<jiff::Timestamp>().ok()?;
    i64::try_from(created.as_nanosecond()).ok()
}

/// A layer that was made on nothing.
#[derive(Clone)]
struct Top {
    layer: LayerId,
    /// The key that leads to it.
    key: Digest,
}

/// A snapshot that is somewhere else, at least its lower part, unless somebody has needed it meanwhile.
pub(crate) struct RemoteSnapshot {
    bottom: Arc<RemoteLayers>,
    /// What was made here without looking at `bottom`, bottom first.
    tops: Vec<Top>,
    /// What leads to it; the first is its origin.
    keys: Mutex<Vec<Digest>>,
    here: Mutex<Option<Snapshot>>,
}

impl fmt::Debug for RemoteSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteSnapshot").field("from", &self.bottom.holder.name()).finish_non_exhaustive()
    }
}

impl RemoteSnapshot {
    /// Just what is elsewhere, with the keys that are known to lead there.
    pub(crate) fn new(bottom: RemoteLayers, keys: Vec<Digest>) -> RemoteSnapshot {
        RemoteSnapshot { bottom: Arc::new(bottom), tops: Vec::new(), keys: Mutex::new(keys), here: Mutex::default() }
    }

    /// The same with a layer on top that was made on nothing, and that `key` leads to.
    pub(crate) fn with_on_top(&self, layer: LayerId, key: Digest) -> RemoteSnapshot {
        let tops = self.tops.iter().cloned().chain([Top { layer, key }]).collect();
        RemoteSnapshot { bottom: Arc::clone(&self.bottom), tops, keys: Mutex::default(), here: Mutex::default() }
    }

    /// The layers that are elsewhere.
    pub(crate) fn bottom(&self) -> &Arc<RemoteLayers> {
        &self.bottom
    }

    /// Whether it is a base image that holds it, and not a cache.
    pub(crate) fn is_of_image(&self) -> bool {
        matches!(self.bottom.holder, Holder::Image { .. })
    }

    /// The key that it was made under.
    pub(crate) fn origin(&self) -> Digest {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.first().cloned().expect("because whatever made it was recorded under its key")
    }

    /// What leads to it; the first is its origin.
    pub(crate) fn keys(&self) -> Vec<Digest> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Further keys that lead to it.
    pub(crate) fn add_keys(&self, keys: &[Digest]) {
        let mut known = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            if !known.contains(key) {
                known.push(key.clone());
            }
        }
    }

    /// The snapshot in the store, fetched if it is not there, and recorded under its keys.
    pub(crate) fn fetch(&self, with: Fetching<'_>) -> Result<Snapshot, OpError> {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(snapshot) = &*here {
            return Ok(snapshot.clone());
        }
        let mut snapshot = self.bottom.fetch(with)?;
        for top in &self.tops {
            snapshot = files::stack(&snapshot, &top.layer, with.store).map_err(Box::new)?;
        }
        with.store.record(&self.keys(), snapshot.id(), None)?;
        *here = Some(snapshot.clone());
        Ok(snapshot)
    }
}

/// What the store remembers of a snapshot of a base image that nobody has needed, so that the next build finds it by its
/// key.
#[derive(Serialize, Deserialize)]
struct Promise {
    reference: String,
    /// The folder, if the image is in an OCI layout.
    layout: Option<PathBuf>,
    manifest: Digest,
    platform: Platform,
    /// The keys of the layers on top, bottom first.
    tops: Vec<Digest>,
}

const PROMISE: &str = "promise";

impl RemoteSnapshot {
    /// Has the store remember it under `key`, if it is one of a base image.
    pub(crate) fn remember(&self, key: &Digest, store: &Store) -> Result<(), DbError> {
        let Holder::Image { image, .. } = &self.bottom.holder else { return Ok(()) };
        let layout = match &image.origin {
            ImageOrigin::OciLayout(path) => Some(path.clone()),
            ImageOrigin::Registry | ImageOrigin::Store => None,
        };
        let promise = Promise {
            reference: image.reference.to_string(),
            layout,
            manifest: image.manifest.clone(),
            platform: image.platform.clone(),
            tops: self.tops.iter().map(|top| top.key.clone()).collect(),
        };
        let text = serde_json::to_vec(&promise).expect("because a promise has only text keys");
        store.set_fact(PROMISE, key.as_str(), &text)
    }

    /// What the store remembers under `key`, if all that it takes is still there.
    pub(crate) fn remembered(
        key: &Digest,
        store: &Store,
        registry: &Registry,
    ) -> Result<Option<RemoteSnapshot>, DbError> {
        let Some(text) = store.fact(PROMISE, key.as_str())? else { return Ok(None) };
        let Ok(promise) = serde_json::from_slice::<Promise>(&text) else { return Ok(None) };
        let Ok(reference) = promise.reference.parse::<Reference>() else { return Ok(None) };
        let image = ImageSource {
            written: reference.clone(),
            reference,
            origin: promise.layout.map_or(ImageOrigin::Registry, ImageOrigin::OciLayout),
            manifest: promise.manifest,
            platform: promise.platform,
            chain_id: None,
        };
        let Ok(bottom) = images::remote_layers(&image, store, registry) else { return Ok(None) };
        let mut snapshot = RemoteSnapshot::new(bottom, Vec::new());
        for top in promise.tops {
            let found = store.lookup(&top)?.and_then(|record| record.snapshot.layers().last().cloned());
            let Some(layer) = found else { return Ok(None) };
            snapshot = snapshot.with_on_top(layer, top);
        }
        snapshot.add_keys(std::slice::from_ref(key));
        Ok(Some(snapshot))
    }
}

/// A root file system that is complete, be it here or elsewhere.
#[derive(Clone)]
pub(crate) enum RootFs {
    Here(Snapshot),
    /// No step has needed its files.
    Remote(Arc<RemoteSnapshot>),
}

impl RootFs {
    /// The layers in the store that lie on the `n_base` distinct ones of the base image, bottom first.
    pub(crate) fn places_above(&self, n_base: usize) -> Vec<Place> {
        match self {
            RootFs::Here(snapshot) => {
                (n_base..snapshot.layers().len()).map(|index| Place::of(snapshot, index)).collect()
            }
            // What is below them came with the base image, or is in a cache.
            RootFs::Remote(remote) => remote.tops.iter().map(|top| Place::on_nothing(top.layer.clone())).collect(),
        }
    }

    /// The layers on the `n_base` distinct ones of the base image that an imported cache has, bottom first. What
    /// [`RootFs::places_above`] gives lies on them.
    pub(crate) fn cached_above(&self, n_base: usize) -> Vec<Layer> {
        let RootFs::Remote(remote) = self else { return Vec::new() };
        let mut seen = BTreeSet::new();
        let distinct = remote.bottom.layers.iter().filter(|layer| seen.insert(&layer.diff_id));
        distinct.skip(n_base).cloned().collect()
    }

    /// Its files.
    pub(crate) fn snapshot(&self, with: Fetching<'_>) -> Result<Snapshot, OpError> {
        match self {
            RootFs::Here(snapshot) => Ok(snapshot.clone()),
            RootFs::Remote(remote) => remote.fetch(with),
        }
    }
}
