//! What have other machines recorded? Asked by key, answered from lists of records that are read when the first key is
//! missing here: a build that needs nothing contacts nobody.
//!
//! A hit brings no files along. They are fetched when somebody needs them: a step that reads them, an output. What
//! turns out to be broken then is [`LostCache`]: the build is solved again without that cache.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slipway_cache::{Backend, Cache, CachedMount};
use slipway_graph::request::CacheSource;
use slipway_graph::{Event, Events};
use slipway_oci::{Descriptor, Digest};
use slipway_registry::Registry;
use slipway_store::Store;

use super::{backend, kind, mounts};
use crate::build::internal_step;
use crate::chain;
use crate::images::ImageError;
use crate::remote::{Holder, RemoteLayers, RemoteSnapshot};

/// A cache whose records promise what it does not have.
#[derive(Debug, thiserror::Error)]
#[error("the cache `{name}` cannot be used")]
pub(crate) struct LostCache {
    /// Which one, as [`Imports::give_up`] takes it.
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) source: Box<ImageError>,
}

/// The caches that a build may look into.
pub(crate) struct Imports<'a> {
    sources: Vec<&'a CacheSource>,
    registry: &'a Registry,
    events: &'a dyn Events,
    /// `None` until somebody asks.
    loaded: Mutex<Option<Vec<Imported>>>,
}

/// A cache that was read.
struct Imported {
    /// Its place in the request.
    index: usize,
    backend: Arc<dyn Backend>,
    cache: Cache,
    /// Which result a key leads to.
    results: HashMap<Digest, usize>,
    /// What was found so far, by result.
    found: HashMap<usize, Arc<RemoteSnapshot>>,
}

impl<'a> Imports<'a> {
    /// Nothing is read before the first question.
    pub(crate) fn new(sources: Vec<&'a CacheSource>, registry: &'a Registry, events: &'a dyn Events) -> Imports<'a> {
        Imports { sources, registry, events, loaded: Mutex::new(None) }
    }

    /// Who hears of what is fetched.
    pub(crate) fn events(&self) -> &'a dyn Events {
        self.events
    }

    /// Whether there is no cache to look into.
    pub(crate) fn are_none(&self) -> bool {
        self.sources.is_empty()
    }

    /// The snapshot that somebody recorded under `key`.
    pub(crate) fn lookup(&self, key: &Digest) -> Option<Arc<RemoteSnapshot>> {
        if self.sources.is_empty() {
            return None;
        }
        let mut loaded = self.loaded();
        loaded.get_or_insert_with(|| self.load()).iter_mut().find_map(|imported| imported.lookup(key))
    }

    /// The files of the cache mount `name`, and who has them.
    pub(super) fn mount(&self, name: &Digest) -> Option<(CachedMount, Arc<dyn Backend>)> {
        if self.sources.is_empty() {
            return None;
        }
        let mut loaded = self.loaded();
        loaded.get_or_insert_with(|| self.load()).iter().find_map(|imported| {
            let mount = imported.cache.mounts.iter().find(|mount| mount.name == *name)?;
            Some((mount.clone(), Arc::clone(&imported.backend)))
        })
    }

    /// Gives the fresh folder of the cache mount `identity` the files that others have sent along. If that fails the
    /// folder stays empty, as if there were none.
    pub(crate) fn fill_mount(&self, store: &Store, identity: &str, folder: &Path) -> io::Result<()> {
        let Some((mount, backend)) = self.mount(&mounts::name_of(identity)) else { return Ok(()) };
        let id = mounts::id_of(identity);
        let name = format!("importing cache mount {id} from cache {}", backend.name());
        let restored = internal_step(self.events, self.events.new_step(), &name, || {
            mounts::restore(store, backend.as_ref(), &mount, folder)
        });
        let Err(error) = restored else { return Ok(()) };
        let message = format!("failed to import the cache mount `{id}` from `{}`: {}", backend.name(), chain(&error));
        self.events.emit(Event::Remark { message });
        empty(folder)
    }

    /// Forgets the cache that was lost, and says so.
    pub(crate) fn give_up(&self, lost: &LostCache) {
        let message = format!("{}; the build goes on without it", chain(lost));
        self.events.emit(Event::Remark { message });
        self.loaded().iter_mut().for_each(|loaded| loaded.retain(|imported| imported.index != lost.index));
    }

    fn loaded(&self) -> MutexGuard<'_, Option<Vec<Imported>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load(&self) -> Vec<Imported> {
        let load = |(index, source): (usize, &&CacheSource)| match source {
            CacheSource::Unusable(reason) => {
                let message = format!("failed to configure a cache importer: {reason}");
                self.events.emit(Event::Remark { message });
                Vec::new()
            }
            CacheSource::Place(place) => match backend(place, self.registry) {
                Some(backend) => self.load_from(index, kind(place), &backend),
                None => Vec::new(),
            },
        };
        self.sources.iter().enumerate().flat_map(load).collect()
    }

    fn load_from(&self, index: usize, kind: &str, backend: &Arc<dyn Backend>) -> Vec<Imported> {
        let name = format!("importing cache manifest from {kind}:{}", backend.name());
        let loaded =
            internal_step(self.events, self.events.new_step(), &name, || backend.load().map_err(|error| chain(&error)));
        match loaded {
            Ok(caches) => caches.into_iter().map(|cache| Imported::new(index, Arc::clone(backend), cache)).collect(),
            Err(reason) => {
                let message = format!("failed to import the {kind} cache `{}`: {reason}", backend.name());
                self.events.emit(Event::Remark { message });
                Vec::new()
            }
        }
    }
}

impl Imported {
    fn new(index: usize, backend: Arc<dyn Backend>, cache: Cache) -> Imported {
        let mut results = HashMap::new();
        for (place, result) in cache.results.iter().enumerate() {
            for key in &result.keys {
                results.entry(key.clone()).or_insert(place);
            }
        }
        Imported { index, backend, cache, results, found: HashMap::new() }
    }

    fn lookup(&mut self, key: &Digest) -> Option<Arc<RemoteSnapshot>> {
        let place = *self.results.get(key)?;
        let Imported { index, backend, cache, found, .. } = self;
        let result = &cache.results[place];
        let snapshot = found.entry(place).or_insert_with(|| {
            let holder = Holder::Cache { index: *index, backend: Arc::clone(backend) };
            let layers = cache.stack(result).into_iter().cloned().collect();
            Arc::new(RemoteSnapshot::new(RemoteLayers { holder, layers }, result.keys.clone()))
        });
        Some(Arc::clone(snapshot))
    }
}

/// Puts a blob of a cache into the store, which checks it.
pub(super) fn fetch_blob(backend: &dyn Backend, store: &Store, blob: &Descriptor) -> io::Result<()> {
    let reader = backend.open(blob).map_err(io::Error::other)?;
    let mut writer = store.blob_writer().map_err(io::Error::other)?;
    io::copy(&mut reader.take(blob.size.saturating_add(1)), &mut writer)?;
    writer.commit(Some(&blob.digest)).map(drop).map_err(io::Error::other)
}

/// Removes what a transfer that broke off has left.
fn empty(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => std::fs::remove_dir_all(entry.path())?,
            false => std::fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}
