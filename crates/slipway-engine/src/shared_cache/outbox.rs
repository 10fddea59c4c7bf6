//! Blobs of layers go to where the cache will be kept while the build still runs, as soon as each layer is made.
//!
//! One thread a target, begun with its first layer: a build that has nothing to do sends nothing ahead. When the cache is
//! to be written the thread completes the blob that it is at, and all that is left is sent together. What leads to the
//! blobs comes last, so a build that fails leaves blobs that nobody finds.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use slipway_cache::{Backend, BlobSource, Cache, CacheError, Saving};
use slipway_graph::request::CacheTarget;
use slipway_graph::{Graph, VertexId};
use slipway_oci::{Descriptor, Digest};
use slipway_registry::Registry;
use slipway_solver::Cancel;
use slipway_store::{LayerId, Snapshot, Store};

use super::export::{form, vertices};
use super::import::fetch_blob;
use super::{backend, kind};
use crate::layers;
use crate::observe::maker_of_layer;

/// The outboxes of all targets of a build. Dropping it stops what is on its way.
pub(crate) struct Outboxes {
    outboxes: Vec<Outbox>,
    /// Whether anything is sent before the build is over.
    sends_ahead: bool,
    /// The keys of vertices, as far as they are known.
    definitions: Mutex<HashMap<VertexId, Digest>>,
    stop: Arc<Cancel>,
}

/// What is on its way to one target.
pub(crate) struct Outbox {
    /// The request that names the target.
    build: usize,
    /// The vertices whose layers the cache will have.
    wanted: BTreeSet<VertexId>,
    courier: Arc<Courier>,
    queue: Mutex<Option<mpsc::Sender<Parcel>>>,
    thread: Mutex<Option<JoinHandle<Result<(), CacheError>>>>,
}

/// Layers to be sent.
enum Parcel {
    /// All of this one, whose newest layer has just been made.
    Made(Snapshot),
    /// All of what is recorded under this key.
    Recorded(Digest),
}

/// Brings blobs to their place.
struct Courier {
    store: Store,
    saving: Saving,
    target: CacheTarget,
    stop: Arc<Cancel>,
    /// Set when the cache is about to be written: what is left is sent by others.
    is_relieved: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outboxes {
    /// None yet.
    pub(crate) fn new(sends_ahead: bool) -> Outboxes {
        Outboxes { outboxes: Vec::new(), sends_ahead, definitions: Mutex::default(), stop: Arc::default() }
    }

    /// Stops everything if it is canceled.
    pub(crate) fn stop(&self) -> Arc<Cancel> {
        Arc::clone(&self.stop)
    }

    /// Adds one for each of `targets` that is a place of its own; the request `build` wants a cache of `results` there.
    pub(crate) fn add(
        &mut self,
        build: usize,
        targets: &[CacheTarget],
        (graph, results): (&Graph, &[VertexId]),
        (store, registry): (&Store, &Registry),
    ) {
        for target in targets {
            let Some(backend) = backend(&target.place, registry) else { continue };
            let courier = Courier {
                store: store.clone(),
                saving: Saving::new(backend),
                target: target.clone(),
                stop: self.stop(),
                is_relieved: AtomicBool::new(false),
            };
            let mut wanted = vertices(graph, results, target.extent);
            wanted.extend(wanted.clone().into_iter().map(|vertex| maker_of_layer(graph, vertex)));
            self.outboxes.push(Outbox {
                build,
                wanted,
                courier: Arc::new(courier),
                queue: Mutex::default(),
                thread: Mutex::default(),
            });
        }
    }

    /// Those of the request `build`, in the order of its targets.
    pub(crate) fn of(&self, build: usize) -> impl Iterator<Item = &Outbox> {
        self.outboxes.iter().filter(move |outbox| outbox.build == build)
    }

    /// The vertices whose layers the request `build` wants to be sent.
    pub(crate) fn wanted(&self, build: usize) -> BTreeSet<VertexId> {
        self.of(build).flat_map(|outbox| outbox.wanted.iter().copied()).collect()
    }

    /// To be told the key of each vertex.
    pub(crate) fn keyed(&self, vertex: VertexId, definition: &Digest) {
        if !self.outboxes.is_empty() {
            locked(&self.definitions).insert(vertex, definition.clone());
        }
    }

    /// To be told which vertices will run. If there are any, there is time to send what the others have made earlier.
    pub(crate) fn left(&self, left: &[VertexId]) {
        if left.is_empty() || !self.sends_ahead {
            return;
        }
        let definitions = locked(&self.definitions);
        for outbox in &self.outboxes {
            let cached = outbox.wanted.iter().filter(|vertex| !left.contains(vertex));
            let keys = cached.filter_map(|vertex| definitions.get(vertex).cloned());
            keys.for_each(|key| outbox.put(Parcel::Recorded(key)));
        }
    }

    /// To be told that the newest layer of `snapshot` is there, which `vertex` has made.
    pub(crate) fn made(&self, vertex: VertexId, snapshot: &Snapshot) {
        let wanting = self.outboxes.iter().filter(|outbox| self.sends_ahead && outbox.wanted.contains(&vertex));
        wanting.for_each(|outbox| outbox.put(Parcel::Made(snapshot.clone())));
    }
}

impl Drop for Outboxes {
    fn drop(&mut self) {
        // Nobody waits: a server that says nothing must not keep a build that failed from saying so.
        self.stop.cancel();
    }
}

impl Outbox {
    /// What the cache is to be like.
    pub(crate) fn target(&self) -> &CacheTarget {
        &self.courier.target
    }

    /// How people know the kind of the target.
    pub(crate) fn kind(&self) -> &'static str {
        kind(&self.courier.target.place)
    }

    /// What people call the target.
    pub(crate) fn name(&self) -> String {
        self.courier.saving.backend().name()
    }

    fn put(&self, parcel: Parcel) {
        let mut queue = locked(&self.queue);
        let queue = queue.get_or_insert_with(|| {
            let (queue, parcels) = mpsc::channel();
            let courier = Arc::clone(&self.courier);
            *locked(&self.thread) = Some(thread::spawn(move || courier.deliver(&parcels)));
            queue
        });
        // After a failure nothing more is sent; it is told when the cache is written.
        let _ = queue.send(parcel);
    }

    /// Waits until nothing is on its way.
    fn come_back(&self) -> Result<(), CacheError> {
        self.courier.is_relieved.store(true, Ordering::Relaxed);
        drop(locked(&self.queue).take());
        let thread = locked(&self.thread).take();
        // After a panic, which has been told, the rest is sent all the same.
        thread.map_or(Ok(()), |thread| thread.join().unwrap_or(Ok(())))
    }

    /// Sends what is left of `cache`, then what leads to it. `elsewhere` has the blobs that need not be here.
    pub(crate) fn finish(
        &self,
        cache: &Cache,
        elsewhere: &HashMap<Digest, Arc<dyn Backend>>,
    ) -> Result<(), CacheError> {
        self.come_back()?;
        self.courier.saving.finish(cache, &Blobs { courier: &self.courier, elsewhere })
    }
}

impl Courier {
    fn deliver(&self, parcels: &mpsc::Receiver<Parcel>) -> Result<(), CacheError> {
        let mut seen: HashSet<LayerId> = HashSet::new();
        for parcel in parcels {
            // What cannot be had now is left to the end of the build, which tells why.
            let snapshot = match parcel {
                Parcel::Made(snapshot) => snapshot,
                Parcel::Recorded(key) => match self.store.lookup(&key) {
                    Ok(Some(record)) => record.snapshot,
                    Ok(None) | Err(_) => continue,
                },
            };
            for (index, layer) in snapshot.layers().iter().enumerate() {
                if self.stop.is_canceled() || self.is_relieved.load(Ordering::Relaxed) {
                    return Ok(());
                }
                if seen.insert(layer.clone())
                    && let Some(blob) = self.packed(&snapshot, index)
                {
                    self.saving.send(&blob, &Blobs { courier: self, elsewhere: &HashMap::new() })?;
                }
            }
        }
        Ok(())
    }

    fn packed(&self, snapshot: &Snapshot, index: usize) -> Option<Descriptor> {
        let is_forced = self.target.forces_compression;
        let packed = layers::any_blob(&self.store, snapshot, index, form(&self.target), is_forced, &self.stop);
        packed.ok().map(|(_, blob)| blob)
    }
}

/// The blobs of the store, and of imported caches by way of it.
struct Blobs<'a> {
    courier: &'a Courier,
    elsewhere: &'a HashMap<Digest, Arc<dyn Backend>>,
}

impl BlobSource for Blobs<'_> {
    fn open(&self, blob: &Descriptor) -> io::Result<Box<dyn Read + Send>> {
        let Courier { store, stop, .. } = self.courier;
        let here = || store.open_blob(&blob.digest).map_err(io::Error::other);
        let mut found = here()?;
        if let (None, Some(remote)) = (&found, self.elsewhere.get(&blob.digest)) {
            fetch_blob(remote.as_ref(), store, blob)?;
            found = here()?;
        }
        let (file, _) =
            found.ok_or_else(|| io::Error::other(format!("the blob {} is not in the store", blob.digest)))?;
        Ok(Box::new(Stoppable { file, stop: Arc::clone(stop) }))
    }
}

/// A file that is read until everything is stopped.
struct Stoppable<F> {
    file: F,
    stop: Arc<Cancel>,
}

impl<F: Read> Read for Stoppable<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.stop.is_canceled() {
            true => Err(io::Error::other("canceled")),
            false => self.file.read(buffer),
        }
    }
}
