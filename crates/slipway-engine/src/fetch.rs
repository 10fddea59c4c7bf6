//! How do layers get into the store? All at the same time, each streaming through hash, decompression and untar into a
//! directory of its own.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use slipway_cache::Backend;
use slipway_graph::op::{ImageOrigin, ImageSource};
use slipway_graph::{Event, Events, StepId};
use slipway_oci::{Descriptor, DiffId, Reference};
use slipway_registry::Registry;
use slipway_solver::Cancel;
use slipway_store::{ActiveSnapshot, BlobWriter, LayerId, OverlayFlavor, Snapshot, Store};

use crate::images::{ImageError, layout_blob_path};
use crate::layer::background_hash::BackgroundHash;
use crate::layer::decompress::Compression;
use crate::layer::untar::{self, Meaning};
use crate::layer::{diff, implied};
use crate::rootfs::{CallError, Root};

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
        let fetched = std::thread::scope(|scope| {
            let fetch = |wanted| scope.spawn(move || self.layer(wanted));
            let threads: Vec<_> = layers.iter().map(fetch).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(join).collect::<Result<Vec<Fetched>, ImageError>>()
        })?;
        let mut stack = Snapshot::scratch();
        for (layer, wanted) in fetched.into_iter().zip(layers) {
            let layer = self.commit(layer, stack.layers(), wanted.created_ns)?;
            stack = self.store.stack(Some(&stack), &layer, wanted.created_ns)?;
        }
        Ok(stack)
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
        let descriptor = &descriptor;
        self.keep_blob(descriptor)?;
        let (blob, _) = self.store.open_blob(&descriptor.digest)?.ok_or_else(missing)?;
        let compression = Compression::of_layer(&descriptor.media_type)
            .ok_or_else(|| ImageError::MediaType { media_type: descriptor.media_type.clone() })?;
        let plain =
            compression.reader(BufReader::with_capacity(1 << 20, blob)).map_err(|source| self.read_error(source))?;
        let mut counted = Hashing { source: plain, hasher: BackgroundHash::new(), n_bytes: 0 };
        let active = self.store.begin(None)?;
        let upper = untar::open_host_dir(active.upper()).map_err(|errno| self.read_error(errno.into()))?;
        let meaning = Meaning::Layer { is_user_namespace: self.flavor == OverlayFlavor::UserNamespace };
        let implied_folders = untar::unpack(&mut counted, upper.as_fd(), meaning)
            .map_err(|source| ImageError::Unpack { image: self.name.to_owned(), source })?;
        let n_bytes = counted.n_bytes;
        let found = DiffId(counted.hasher.finish().map_err(|source| self.read_error(source))?);
        if found != *diff_id {
            let layer = descriptor.digest.clone();
            let (image, expected) = (self.name.to_owned(), diff_id.clone());
            return Err(ImageError::DiffId { image, layer, expected, found });
        }
        let (diff_id, descriptor) = (diff_id.clone(), descriptor.clone());
        Ok(Fetched::Unpacked(Box::new(Unpacked { active, diff_id, descriptor, n_bytes, implied_folders })))
    }

    /// Gets the blob of a layer into the store as it is, to be passed on.
    pub(crate) fn blob(&self, diff_id: &DiffId, descriptor: &Descriptor) -> Result<(), ImageError> {
        self.keep_blob(descriptor)?;
        check_layer_blob(self.store, self.name, diff_id, descriptor)?;
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

    /// Copies the compressed blob into the store: it is what a registry or layout gets when the image is passed on.
    fn keep_blob(&self, descriptor: &Descriptor) -> Result<(), ImageError> {
        if self.store.has_blob(&descriptor.digest)? {
            return Ok(());
        }
        let mut source: Box<dyn Read> = match &self.place {
            BlobPlace::Layout(path) => {
                let file = File::open(layout_blob_path(path, &descriptor.digest));
                Box::new(file.map_err(|source| self.read_error(source))?)
            }
            BlobPlace::Registry(..) if is_foreign(&descriptor.media_type) => {
                let layer = descriptor.digest.clone();
                return Err(ImageError::Foreign { image: self.name.to_owned(), layer });
            }
            BlobPlace::Registry(registry, _) if registry.is_offline() => {
                let image = format!("{}, layer {}", self.name, descriptor.digest);
                return Err(ImageError::NotInStore { image });
            }
            BlobPlace::Registry(registry, reference) => {
                let fetch = |source| ImageError::Fetch { image: self.name.to_owned(), source: Box::new(source) };
                Box::new(registry.blob(reference, descriptor).map_err(fetch)?)
            }
            BlobPlace::Cache(backend) => {
                let fetch = |source| ImageError::FromCache { image: self.name.to_owned(), source: Box::new(source) };
                // One byte more than there should be is enough to find it wrong.
                Box::new(backend.open(descriptor).map_err(fetch)?.take(descriptor.size.saturating_add(1)))
            }
        };
        let mut writer = self.store.blob_writer()?;
        self.copy(&mut source, &mut writer, descriptor)?;
        writer.commit(Some(&descriptor.digest))?;
        Ok(())
    }

    fn copy(&self, source: &mut dyn Read, writer: &mut BlobWriter, descriptor: &Descriptor) -> Result<(), ImageError> {
        let started = std::time::Instant::now();
        let mut buffer = vec![0; 1 << 20];
        let mut current = 0;
        let status = |current, is_done| Event::StepStatus {
            step: self.progress.step,
            id: descriptor.digest.to_string(),
            current,
            total: descriptor.size,
            is_done,
            took: started.elapsed(),
        };
        loop {
            if self.progress.cancel.is_canceled() {
                return Err(ImageError::Canceled);
            }
            let n_read = source.read(&mut buffer).map_err(|source| self.read_error(source))?;
            if n_read == 0 {
                self.progress.events.emit(status(current, true));
                return Ok(());
            }
            writer.write_all(&buffer[..n_read]).map_err(|source| self.read_error(source))?;
            current += n_read as u64;
            self.progress.events.emit(status(current, false));
        }
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
    let image = || name.to_owned();
    let read_error = |source| ImageError::Read { image: image(), source };
    let missing = || ImageError::BlobMissing { image: image(), digest: blob.digest.clone() };
    let (file, _) = store.open_blob(&blob.digest)?.ok_or_else(missing)?;
    let compression = Compression::of_layer(&blob.media_type)
        .ok_or_else(|| ImageError::MediaType { media_type: blob.media_type.clone() })?;
    let source = compression.reader(BufReader::with_capacity(1 << 20, file)).map_err(read_error)?;
    let mut plain = Hashing { source, hasher: BackgroundHash::new(), n_bytes: 0 };
    io::copy(&mut plain, &mut io::sink()).map_err(read_error)?;
    let found = DiffId(plain.hasher.finish().map_err(read_error)?);
    match found == *diff_id {
        true => Ok(()),
        false => {
            Err(ImageError::DiffId { image: image(), layer: blob.digest.clone(), expected: diff_id.clone(), found })
        }
    }
}

/// Counts and hashes what is read through it.
struct Hashing<R> {
    source: R,
    hasher: BackgroundHash,
    n_bytes: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_read = self.source.read(buffer)?;
        self.hasher.update(&buffer[..n_read])?;
        self.n_bytes += n_read as u64;
        Ok(n_read)
    }
}
