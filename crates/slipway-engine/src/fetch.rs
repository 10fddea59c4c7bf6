//! How do layers get into the store? Several at the same time, each streaming on three threads: one receives the blob,
//! hashes and keeps it; one decompresses and unpacks it meanwhile, into a folder of its own; one hashes what is unpacked.
//! Nothing of it can be found before both hashes are right.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use slipway_cache::Backend;
use slipway_graph::op::{ImageOrigin, ImageSource};
use slipway_graph::{Event, Events, StepId};
use slipway_oci::{Descriptor, DiffId, Reference};
use slipway_registry::Registry;
use slipway_solver::Cancel;
use slipway_store::{ActiveSnapshot, LayerId, OverlayFlavor, Snapshot, Store};

use crate::images::{ImageError, layout_blob_path};
use crate::layer::background_hash::BackgroundHash;
use crate::layer::decompress::Compression;
use crate::layer::pipe::{PipeWriter, pipe};
use crate::layer::untar::{self, Meaning};
use crate::layer::{diff, implied};
use crate::rootfs::{CallError, Root};

/// With the pieces of large blobs (`slipway-registry/src/chunks.rs`) this bounds the memory, and the number of connections.
const MAX_LAYERS_AT_ONCE: usize = 6;
const BUFFER_BYTES: usize = 256 * 1024;

/// Whom to tell how far it is, and who may stop it.
pub(crate) struct Progress<'a> {
    pub(crate) events: &'a dyn Events,
    pub(crate) step: StepId,
    pub(crate) cancel: &'a Cancel,
}

/// Who has the blobs.
pub(crate) enum BlobPlace<'a> {
    /// A folder in OCI layout.
    Layout(&'a Path),
    Registry(&'a Registry, &'a Reference),
    Cache(&'a dyn Backend),
}

impl<'a> BlobPlace<'a> {
    /// Where the blobs of an image are that the store lacks.
    pub(crate) fn of_image(image: &'a ImageSource, registry: &'a Registry) -> BlobPlace<'a> {
        match &image.origin {
            ImageOrigin::OciLayout(path) => BlobPlace::Layout(path),
            ImageOrigin::Registry | ImageOrigin::Store => BlobPlace::Registry(registry, &image.reference),
        }
    }
}

/// A layer that has to be in the store.
pub(crate) struct WantedLayer {
    pub(crate) diff_id: DiffId,
    /// `None` if only the store can have it.
    pub(crate) blob: Option<Descriptor>,
    /// When it was made, in nanoseconds since 1970.
    pub(crate) created_ns: i64,
}

/// A layer on its way into the store.
enum Fetched {
    /// It was there before.
    Known(LayerId),
    Unpacked(Box<Unpacked>),
}

/// Complete but for the folders that it shares with the layers below.
struct Unpacked {
    active: ActiveSnapshot,
    diff_id: DiffId,
    descriptor: Descriptor,
    n_bytes: u64,
    implied_folders: BTreeSet<Vec<u8>>,
}

/// Gets layers into the store.
pub(crate) struct LayerFetcher<'a> {
    /// What the layers belong to, for people.
    pub(crate) name: &'a str,
    pub(crate) place: BlobPlace<'a>,
    pub(crate) store: &'a Store,
    pub(crate) flavor: OverlayFlavor,
    pub(crate) progress: &'a Progress<'a>,
}

impl LayerFetcher<'_> {
    /// The stack of `layers`, bottom first; those that are not in the store are fetched and unpacked at the same time.
    pub(crate) fn stack(&self, layers: &[WantedLayer]) -> Result<Snapshot, ImageError> {
        let mut stack = Snapshot::scratch();
        for (layer, wanted) in self.layers(layers)?.into_iter().zip(layers) {
            let layer = self.commit(layer, stack.layers(), wanted.created_ns)?;
            stack = self.store.stack(Some(&stack), &layer, wanted.created_ns)?;
        }
        Ok(stack)
    }

    /// All of `layers`, some at a time. When one cannot be had, no further one is begun.
    fn layers(&self, layers: &[WantedLayer]) -> Result<Vec<Fetched>, ImageError> {
        let next = AtomicUsize::new(0);
        let results: Vec<Mutex<Option<_>>> = layers.iter().map(|_| Mutex::new(None)).collect();
        let fetch_some = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let (Some(wanted), Some(result)) = (layers.get(index), results.get(index)) else { return };
                let fetched = self.layer(wanted);
                if fetched.is_err() {
                    next.store(layers.len(), Ordering::Relaxed);
                }
                *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(fetched);
            }
        };
        thread::scope(|scope| {
            for _ in 0..layers.len().min(MAX_LAYERS_AT_ONCE) {
                scope.spawn(fetch_some);
            }
        });
        let result_of = |result: Mutex<Option<_>>| result.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.into_iter().filter_map(result_of).collect()
    }

    fn layer(&self, wanted: &WantedLayer) -> Result<Fetched, ImageError> {
        let (diff_id, descriptor) = (&wanted.diff_id, wanted.blob.as_ref());
        if let Some(layer) = self.store.layer_by_diff_id(diff_id)? {
            // The files are enough: only who passes the image on needs its blob.
            if let Some(descriptor) = descriptor
                && self.store.has_blob(&descriptor.digest)?
            {
                self.blob(diff_id, descriptor)?;
            }
            return Ok(Fetched::Known(layer));
        }
        let missing = || ImageError::BlobMissing { image: self.name.to_owned(), digest: diff_id.0.clone() };
        let descriptor = match descriptor {
            Some(descriptor) => descriptor.clone(),
            // An image of this store whose layer is only there as a blob: its times were rewritten.
            None => self.blob_at_hand(diff_id)?.ok_or_else(missing)?,
        };
        let unpacked = self.with_blob(&descriptor, |bytes| self.unpack(bytes, diff_id, &descriptor))?;
        Ok(Fetched::Unpacked(Box::new(unpacked)))
    }

    /// Unpacks the `bytes` of a layer into a folder of its own, which is gone again if they are not what they should be.
    fn unpack(&self, bytes: &mut dyn BufRead, diff_id: &DiffId, blob: &Descriptor) -> Result<Unpacked, ImageError> {
        let plain = PlainLayer::open(bytes, self.name, blob)?;
        // Headers of 512 bytes are no size to decompress at once.
        let mut plain = BufReader::with_capacity(BUFFER_BYTES, plain);
        let active = self.store.begin(None)?;
        let upper = untar::open_host_dir(active.upper()).map_err(|errno| self.read_error(errno.into()))?;
        let meaning = Meaning::Layer { is_user_namespace: self.flavor == OverlayFlavor::UserNamespace };
        let implied_folders = untar::unpack(&mut plain, upper.as_fd(), meaning)
            .map_err(|source| ImageError::Unpack { image: self.name.to_owned(), source })?;
        let n_bytes = plain.into_inner().finish(self.name, diff_id, blob)?;
        let (diff_id, descriptor) = (diff_id.clone(), blob.clone());
        Ok(Unpacked { active, diff_id, descriptor, n_bytes, implied_folders })
    }

    /// Gets the blob of a layer into the store as it is, to be passed on.
    pub(crate) fn blob(&self, diff_id: &DiffId, descriptor: &Descriptor) -> Result<(), ImageError> {
        if self.store.diff_id_of_blob(&descriptor.digest)?.as_ref() != Some(diff_id)
            || !self.store.has_blob(&descriptor.digest)?
        {
            self.with_blob(descriptor, |bytes| check_content(bytes, self.name, diff_id, descriptor))?;
        }
        Ok(self.store.add_layer_blob(diff_id, descriptor)?)
    }

    fn blob_at_hand(&self, diff_id: &DiffId) -> Result<Option<Descriptor>, ImageError> {
        for blob in self.store.layer_blobs(diff_id)? {
            if self.store.has_blob(&blob.digest)? {
                return Ok(Some(blob));
            }
        }
        Ok(None)
    }

    /// Commits a layer that lies on top of `below`, which are committed.
    fn commit(&self, fetched: Fetched, below: &[LayerId], created_ns: i64) -> Result<LayerId, ImageError> {
        let Unpacked { active, diff_id, descriptor, n_bytes, implied_folders } = match fetched {
            Fetched::Known(layer) => return Ok(layer),
            Fetched::Unpacked(unpacked) => *unpacked,
        };
        if !below.is_empty() && !implied_folders.is_empty() {
            let adopt = |source: CallError| ImageError::Adopt { image: self.name.to_owned(), source };
            let upper = Root::open(active.upper()).map_err(|source| self.read_error(source))?;
            let view = self.store.view_layers(below)?;
            let view = diff::open_dir(view.as_fd(), c".").map_err(|errno| self.read_error(errno.into()))?;
            implied::adopt(&upper, &Root::new(view), &implied_folders).map_err(adopt)?;
        }
        let layer = active.commit_unpacked(&diff_id, n_bytes, created_ns)?;
        self.store.add_layer_blob(&diff_id, &descriptor)?;
        Ok(layer)
    }

    /// Has `read` read a blob, which is in the store afterwards: it is what a registry or layout gets when the image is
    /// passed on. What is elsewhere is read while it arrives, and what `read` makes of it counts for nothing if it turns
    /// out at the end that the bytes are not those that the digest says.
    fn with_blob<T: Send>(
        &self,
        descriptor: &Descriptor,
        read: impl FnOnce(&mut dyn BufRead) -> Result<T, ImageError> + Send,
    ) -> Result<T, ImageError> {
        if let Some((blob, _)) = self.store.open_blob(&descriptor.digest)? {
            return read(&mut BufReader::with_capacity(BUFFER_BYTES, blob));
        }
        let source = self.source(descriptor)?;
        let (arriving, mut bytes) = pipe();
        thread::scope(|scope| {
            let reader = scope.spawn(move || read(&mut bytes));
            let kept = self.keep(source, arriving, descriptor);
            let made = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // Bytes that are missing or wrong explain whatever became of them.
            kept.and(made)
        })
    }

    /// A blob that the store lacks, from where it is.
    fn source(&self, descriptor: &Descriptor) -> Result<Box<dyn Read>, ImageError> {
        match &self.place {
            BlobPlace::Layout(path) => {
                let file = File::open(layout_blob_path(path, &descriptor.digest));
                Ok(Box::new(file.map_err(|source| self.read_error(source))?))
            }
            BlobPlace::Registry(..) if is_foreign(&descriptor.media_type) => {
                let layer = descriptor.digest.clone();
                Err(ImageError::Foreign { image: self.name.to_owned(), layer })
            }
            BlobPlace::Registry(registry, _) if registry.is_offline() => {
                let image = format!("{}, layer {}", self.name, descriptor.digest);
                Err(ImageError::NotInStore { image })
            }
            BlobPlace::Registry(registry, reference) => {
                let fetch = |source| ImageError::Fetch { image: self.name.to_owned(), source: Box::new(source) };
                Ok(Box::new(registry.blob(reference, descriptor).map_err(fetch)?))
            }
            BlobPlace::Cache(backend) => {
                let fetch = |source| ImageError::FromCache { image: self.name.to_owned(), source: Box::new(source) };
                // One byte more than there should be is enough to find it wrong.
                Ok(Box::new(backend.open(descriptor).map_err(fetch)?.take(descriptor.size.saturating_add(1))))
            }
        }
    }

    /// Puts `source` into the store, and at the same time into `arriving` for as long as somebody reads it there.
    fn keep(
        &self,
        mut source: Box<dyn Read>,
        mut arriving: PipeWriter,
        descriptor: &Descriptor,
    ) -> Result<(), ImageError> {
        let started = std::time::Instant::now();
        let status = |current, is_done| Event::StepStatus {
            step: self.progress.step,
            id: descriptor.digest.to_string(),
            current,
            total: descriptor.size,
            is_done,
            took: started.elapsed(),
        };
        let mut writer = self.store.blob_writer()?;
        let mut has_reader = true;
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut current = 0;
        loop {
            if self.progress.cancel.is_canceled() {
                return Err(ImageError::Canceled);
            }
            let n_read = source.read(&mut buffer).map_err(|source| self.read_error(source))?;
            if n_read == 0 {
                break;
            }
            let bytes = &buffer[..n_read];
            // Whoever has stopped to read has failed, maybe for want of the right bytes: that is seen at the end.
            has_reader = has_reader && arriving.write_all(bytes).is_ok();
            writer.write_all(bytes).map_err(|source| self.read_error(source))?;
            current += n_read as u64;
            self.progress.events.emit(status(current, false));
        }
        // Nobody may read any more.
        let _ = arriving.flush();
        drop(arriving);
        self.progress.events.emit(status(current, true));
        writer.commit(Some(&descriptor.digest))?;
        Ok(())
    }

    fn read_error(&self, source: io::Error) -> ImageError {
        ImageError::Read { image: self.name.to_owned(), source }
    }
}

/// Whether a layer is to be fetched from places that the image names (image spec, "Non-Distributable Layers"). These
/// can be any: an image could have this machine ask servers that only it can reach.
fn is_foreign(media_type: &str) -> bool {
    media_type.contains(".foreign.") || media_type.contains(".nondistributable.")
}

/// Fails unless `blob`, which is in the store, holds the layer `diff_id`, as the image `name` says.
///
/// Where the layer itself is known nothing is unpacked, and nobody would notice that the blob is another one until it is
/// passed on in the layer's place.
pub(crate) fn check_layer_blob(
    store: &Store,
    name: &str,
    diff_id: &DiffId,
    blob: &Descriptor,
) -> Result<(), ImageError> {
    if store.diff_id_of_blob(&blob.digest)?.as_ref() == Some(diff_id) {
        return Ok(());
    }
    let missing = || ImageError::BlobMissing { image: name.to_owned(), digest: blob.digest.clone() };
    let (file, _) = store.open_blob(&blob.digest)?.ok_or_else(missing)?;
    check_content(&mut BufReader::with_capacity(BUFFER_BYTES, file), name, diff_id, blob)
}

/// Fails unless the `bytes` of `blob` are the layer `diff_id`, as the image `name` says.
fn check_content(bytes: &mut dyn BufRead, name: &str, diff_id: &DiffId, blob: &Descriptor) -> Result<(), ImageError> {
    let mut plain = PlainLayer::open(bytes, name, blob)?;
    let copied = io::copy(&mut plain, &mut io::sink());
    copied.map_err(|source| ImageError::Read { image: name.to_owned(), source })?;
    plain.finish(name, diff_id, blob).map(drop)
}

/// The tar of a layer, counted and hashed while it is read.
struct PlainLayer<'a> {
    tar: Box<dyn Read + 'a>,
    hasher: BackgroundHash,
    n_bytes: u64,
}

impl<'a> PlainLayer<'a> {
    /// Decompresses the `bytes` of `blob`, a layer of the image `name`.
    fn open(bytes: &'a mut dyn BufRead, name: &str, blob: &Descriptor) -> Result<PlainLayer<'a>, ImageError> {
        let compression = Compression::of_layer(&blob.media_type)
            .ok_or_else(|| ImageError::MediaType { media_type: blob.media_type.clone() })?;
        let tar = compression.reader(bytes).map_err(|source| ImageError::Read { image: name.to_owned(), source })?;
        Ok(PlainLayer { tar, hasher: BackgroundHash::new(), n_bytes: 0 })
    }

    /// How many bytes there were, if they were those of the layer `expected`.
    fn finish(self, name: &str, expected: &DiffId, blob: &Descriptor) -> Result<u64, ImageError> {
        let image = name.to_owned();
        let found = match self.hasher.finish() {
            Ok(digest) => DiffId(digest),
            Err(source) => return Err(ImageError::Read { image, source }),
        };
        if found != *expected {
            return Err(ImageError::DiffId { image, layer: blob.digest.clone(), expected: expected.clone(), found });
        }
        Ok(self.n_bytes)
    }
}

impl Read for PlainLayer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_read = self.tar.read(buffer)?;
        self.hasher.update(&buffer[..n_read])?;
        self.n_bytes += n_read as u64;
        Ok(n_read)
    }
}
