//! Gives layers their diff IDs while the build goes on, and their compressed blobs when something leaves the store.
//!
//! A layer is hashed as soon as the step that made it commits, on a thread of its own while the next step runs. If an
//! output of the build will need the compressed bytes, they are made in the same pass, so that files are read once; so are
//! those of small layers of an image that gets a name, because other tools find it in the store then. A layer
//! is in the hands of one thread of one process at a time: who wants the same of it waits and takes what was made.

use std::io::{self, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::thread::Scope;

use slipway_graph::VertexId;
use slipway_graph::request::{self, ImageOutput};
use slipway_oci::{Descriptor, DiffId, Digest};
use slipway_solver::Cancel;
use slipway_store::{BlobError, BlobWriter, DbError, Finding, LayerId, Snapshot, SnapshotError, Store};

use crate::layer::background_hash::BackgroundHash;
use crate::layer::compress::{Compressor, layer_media_type};
use crate::layer::decompress::Compression;
use crate::layer::diff::{self, DiffError};
use crate::layer::untar;

/// Why the tar of a layer cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayerError {
    #[error(transparent)]
    Diff(#[from] DiffError),
    #[error("cannot open the folder of layer {layer}")]
    Open { layer: LayerId, source: io::Error },
    #[error("cannot hash the layer")]
    Hash(#[source] io::Error),
    #[error("cannot compress the layer")]
    Compress(#[source] io::Error),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("cannot read the layer {digest} of the base image", digest = .digest)]
    Missing { digest: Digest },
    #[error("cannot decompress a layer of the base image")]
    Decompress(#[source] io::Error),
    #[error("the layer {digest} holds {found} instead of {expected}", found = .found.0, expected = .expected.0)]
    OtherContent { digest: Digest, expected: DiffId, found: DiffId },
    #[error("layer {layer} holds {found} instead of {expected}", found = .found.0, expected = .expected.0)]
    Repacked { layer: LayerId, expected: DiffId, found: DiffId },
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// How blobs are to be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlobForm {
    pub(crate) compression: request::Compression,
    pub(crate) level: Option<u32>,
}

impl BlobForm {
    pub(crate) fn of(output: &ImageOutput) -> BlobForm {
        BlobForm { compression: output.compression, level: output.compression_level }
    }
}

/// New layers of an image that are no longer than this together are compressed as soon as they are made.
pub(crate) const MAX_SMALL_BYTES: u64 = 1 << 20;

/// Whether a layer gets a blob together with its diff ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlobWish {
    /// It stays where it is.
    None,
    /// It stays, but may be small enough that compressing it takes no time worth speaking of.
    IfSmall(BlobForm),
    /// It leaves the store.
    Always(BlobForm),
}

impl BlobWish {
    /// What satisfies both.
    pub(crate) fn or(self, other: BlobWish) -> BlobWish {
        match (self, other) {
            (BlobWish::Always(_), _) | (_, BlobWish::None) | (BlobWish::IfSmall(_), BlobWish::IfSmall(_)) => self,
            (BlobWish::None | BlobWish::IfSmall(_), _) => other,
        }
    }
}

/// A layer with its place in a stack: what is below it decides what its whiteouts mean.
#[derive(Clone)]
pub(crate) struct Place {
    below: Vec<LayerId>,
    layer: LayerId,
}

impl Place {
    /// The layer at `index` of `snapshot`.
    pub(crate) fn of(snapshot: &Snapshot, index: usize) -> Place {
        let layers = snapshot.layers();
        Place { below: layers[..index].to_vec(), layer: layers[index].clone() }
    }

    /// A layer that was made without looking at what is below it.
    pub(crate) fn on_nothing(layer: LayerId) -> Place {
        Place { below: Vec::new(), layer }
    }

    pub(crate) fn layer(&self) -> &LayerId {
        &self.layer
    }
}

/// A snapshot whose newest layer is to be made.
pub(crate) struct Unmade {
    /// What has made the snapshot.
    pub(crate) vertex: VertexId,
    pub(crate) snapshot: Snapshot,
    pub(crate) wish: BlobWish,
}

/// Takes layers.
type Queue = mpsc::Sender<Unmade>;

/// Makes layers on a thread of its own, in the order they are handed in.
pub(crate) struct LayerMaker<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    store: Store,
    cancel: &'scope Cancel,
    /// Is told of each snapshot whose newest layer is made.
    made: &'scope (dyn Fn(VertexId, &Snapshot) + Sync),
    /// Where the thread takes its work from; made with the first layer, since most builds have none.
    queue: Mutex<Option<Queue>>,
}

impl<'scope, 'env> LayerMaker<'scope, 'env> {
    /// A maker whose thread will live in `scope`; it ends when the maker is dropped. Failures are left to [`finish`],
    /// which tries again and reports them.
    pub(crate) fn new(
        scope: &'scope Scope<'scope, 'env>,
        store: Store,
        cancel: &'scope Cancel,
        made: &'scope (dyn Fn(VertexId, &Snapshot) + Sync),
    ) -> LayerMaker<'scope, 'env> {
        LayerMaker { scope, store, cancel, made, queue: Mutex::default() }
    }

    /// Hands in a layer to be made.
    pub(crate) fn hand_in(&self, unmade: Unmade) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        // A thread that has given up leaves the work to `finish`.
        let _ = queue.get_or_insert_with(|| self.start()).send(unmade);
    }

    fn start(&self) -> Queue {
        let (queue, all): (Queue, _) = mpsc::channel();
        let (store, cancel, made) = (self.store.clone(), self.cancel, self.made);
        self.scope.spawn(move || {
            let mut small_bytes_left = MAX_SMALL_BYTES;
            for Unmade { vertex, snapshot, wish } in all {
                let Some(top) = snapshot.layers().len().checked_sub(1) else { continue };
                let place = Place::of(&snapshot, top);
                let blob = match wish {
                    BlobWish::None => NewBlob::None,
                    BlobWish::IfSmall(form) => NewBlob::UpTo(small_bytes_left, form),
                    BlobWish::Always(form) => NewBlob::Whole(form),
                };
                let Ok((_, n_bytes)) = ensure(&store, &place, blob, cancel) else { return };
                small_bytes_left = small_bytes_left.saturating_sub(n_bytes);
                made(vertex, &snapshot);
            }
        });
        queue
    }
}

/// Makes sure that the layer has a diff ID, and returns it.
pub(crate) fn finish(store: &Store, place: &Place, cancel: &Cancel) -> Result<DiffId, LayerError> {
    Ok(ensure(store, place, NewBlob::None, cancel)?.0)
}

/// The blob of the layer in the given form, made if it is not there.
pub(crate) fn blob(store: &Store, place: &Place, form: BlobForm, cancel: &Cancel) -> Result<Descriptor, LayerError> {
    let known = || match store.diff_id(&place.layer)? {
        Some((diff_id, _)) => known_blob(store, &diff_id, form),
        None => Ok(None),
    };
    once(store, place.layer.as_str(), cancel, known, || {
        let Written { blob, .. } = make(store, place, NewBlob::Whole(form), cancel)?;
        blob.ok_or_else(|| LayerError::Compress(io::Error::other("no blob was asked for")))
    })
}

/// What is `known`, or else made by one who holds `name` alone: who held it before may have made it.
fn once<T>(
    store: &Store,
    name: &str,
    cancel: &Cancel,
    known: impl Fn() -> Result<Option<T>, LayerError>,
    make: impl FnOnce() -> Result<T, LayerError>,
) -> Result<T, LayerError> {
    if let Some(known) = known()? {
        return Ok(known);
    }
    let key = Digest::of(format!("layer {name}").as_bytes());
    let turn = store.lock_key(&key, || !cancel.is_canceled()).map_err(BlobError::from)?;
    let _turn = turn.ok_or_else(|| LayerError::Hash(io::Error::other("canceled")))?;
    match known()? {
        Some(known) => Ok(known),
        None => make(),
    }
}

/// A blob of the layer at `index` of `snapshot`, and its diff ID: one that is there, in the given form if there is
/// such a one or if that `is_forced`; else made in that form.
pub(crate) fn any_blob(
    store: &Store,
    snapshot: &Snapshot,
    index: usize,
    form: BlobForm,
    is_forced: bool,
    cancel: &Cancel,
) -> Result<(DiffId, Descriptor), LayerError> {
    if let Some((diff_id, _)) = store.diff_id(&snapshot.layers()[index])? {
        if let Some(known) = known_blob(store, &diff_id, form)? {
            return Ok((diff_id, known));
        }
        for known in store.layer_blobs(&diff_id)? {
            if store.has_blob(&known.digest)? {
                let blob = if is_forced { in_form(store, &diff_id, &known, form, cancel)? } else { known };
                return Ok((diff_id, blob));
            }
        }
    }
    let blob = blob(store, &Place::of(snapshot, index), form, cancel)?;
    let layer = &snapshot.layers()[index];
    let missing = || LayerError::Missing { digest: blob.digest.clone() };
    let (diff_id, _) = store.diff_id(layer)?.ok_or_else(missing)?;
    Ok((diff_id, blob))
}

/// The layer with the times of all entries no later than `latest` (seconds since 1970).
pub(crate) fn no_younger_than(
    store: &Store,
    place: &Place,
    latest: i64,
    form: BlobForm,
    cancel: &Cancel,
) -> Result<(DiffId, Descriptor), LayerError> {
    let made = write(store, place, NewBlob::Whole(form), Some(latest), cancel)?;
    let blob = made.blob.ok_or_else(|| LayerError::Compress(io::Error::other("no blob was asked for")))?;
    Ok((made.diff_id, blob))
}

/// The layer that `blob` is, compressed in another way.
pub(crate) fn in_form(
    store: &Store,
    diff_id: &DiffId,
    blob: &Descriptor,
    form: BlobForm,
    cancel: &Cancel,
) -> Result<Descriptor, LayerError> {
    let known = || known_blob(store, diff_id, form);
    once(store, diff_id.0.as_str(), cancel, known, || make_in_form(store, diff_id, blob, form, cancel))
}

fn make_in_form(
    store: &Store,
    diff_id: &DiffId,
    blob: &Descriptor,
    form: BlobForm,
    cancel: &Cancel,
) -> Result<Descriptor, LayerError> {
    let missing = || LayerError::Missing { digest: blob.digest.clone() };
    let (file, _) = store.open_blob(&blob.digest)?.ok_or_else(missing)?;
    let source = Compression::of_layer(&blob.media_type).ok_or_else(missing)?;
    let mut plain = source.reader(BufReader::with_capacity(1 << 20, file)).map_err(LayerError::Decompress)?;
    let tar_blob = TarBlob::Compressed(compressor(store, form)?, form);
    let mut sink = TarSink { hasher: BackgroundHash::new(), n_bytes: 0, blob: tar_blob, cancel };
    io::copy(&mut plain, &mut sink).map_err(LayerError::Decompress)?;
    let found = DiffId(sink.hasher.finish().map_err(LayerError::Hash)?);
    if found != *diff_id {
        return Err(LayerError::OtherContent { digest: blob.digest.clone(), expected: diff_id.clone(), found });
    }
    sink.blob.commit(store, diff_id)?.ok_or_else(missing)
}

/// Makes the diff ID of a layer known, and `blob` along with it; also gives the length of its tar in bytes.
fn ensure(store: &Store, place: &Place, blob: NewBlob, cancel: &Cancel) -> Result<(DiffId, u64), LayerError> {
    let known = || {
        let Some((diff_id, n_bytes)) = store.diff_id(&place.layer)? else { return Ok(None) };
        let is_complete = match blob {
            NewBlob::None | NewBlob::UpTo(..) => true,
            // What came with a base image is passed on as it came.
            NewBlob::Whole(form) => {
                known_blob(store, &diff_id, form)?.is_some() || !store.layer_blobs(&diff_id)?.is_empty()
            }
        };
        Ok(is_complete.then_some((diff_id, n_bytes)))
    };
    once(store, place.layer.as_str(), cancel, known, || {
        let made = make(store, place, blob, cancel)?;
        Ok((made.diff_id, made.n_bytes))
    })
}

fn known_blob(store: &Store, diff_id: &DiffId, form: BlobForm) -> Result<Option<Descriptor>, LayerError> {
    let media_type = layer_media_type(form.compression, true);
    for blob in store.layer_blobs(diff_id)? {
        if blob.media_type == media_type && store.has_blob(&blob.digest)? {
            return Ok(Some(blob));
        }
    }
    Ok(None)
}

fn make(store: &Store, place: &Place, blob: NewBlob, cancel: &Cancel) -> Result<Written, LayerError> {
    let written = write(store, place, blob, None, cancel)?;
    if let Some((known, _)) = store.diff_id(&place.layer)?
        && known != written.diff_id
    {
        // It was unpacked from a tar that is gone now, and that was written by other rules, or its files were changed.
        store.report_damage(Finding::LayerContent { layer: place.layer.to_string() });
        let (layer, found) = (place.layer.clone(), written.diff_id);
        return Err(LayerError::Repacked { layer, expected: known, found });
    }
    store.set_diff_id(&place.layer, &written.diff_id, written.n_bytes)?;
    Ok(written)
}

/// The blob that is made of a layer while its tar is hashed.
#[derive(Clone, Copy)]
enum NewBlob {
    None,
    /// Only of a tar of up to so many bytes.
    UpTo(u64, BlobForm),
    Whole(BlobForm),
}

/// A layer as a tar.
struct Written {
    diff_id: DiffId,
    n_bytes: u64,
    /// The compressed tar, if a form was asked for.
    blob: Option<Descriptor>,
}

fn write(
    store: &Store,
    place: &Place,
    blob: NewBlob,
    latest: Option<i64>,
    cancel: &Cancel,
) -> Result<Written, LayerError> {
    let (upper, lower) = opened(store, &place.below, &place.layer)?;
    let blob = match blob {
        NewBlob::None => TarBlob::None,
        NewBlob::UpTo(most_bytes, form) => TarBlob::Gathered { bytes: Vec::new(), most_bytes, form },
        NewBlob::Whole(form) => TarBlob::Compressed(compressor(store, form)?, form),
    };
    let tar = TarSink { hasher: BackgroundHash::new(), n_bytes: 0, blob, cancel };
    let tar = diff::write_layer(upper.as_fd(), lower.as_ref().map(AsFd::as_fd), latest, tar)?;
    let (diff_id, n_bytes) = (DiffId(tar.hasher.finish().map_err(LayerError::Hash)?), tar.n_bytes);
    let blob = tar.blob.commit(store, &diff_id)?;
    Ok(Written { diff_id, n_bytes, blob })
}

fn compressor(store: &Store, form: BlobForm) -> Result<Box<Compressor<BlobWriter>>, LayerError> {
    let compressor = Compressor::new(form.compression, form.level, store.blob_writer()?);
    compressor.map(Box::new).map_err(LayerError::Compress)
}

/// The folder of `layer`, and a view of the layers `below` it, if there are any.
fn opened(store: &Store, below: &[LayerId], layer: &LayerId) -> Result<(OwnedFd, Option<OwnedFd>), LayerError> {
    let upper = untar::open_host_dir(&store.layer_path(layer))
        .map_err(|errno| LayerError::Open { layer: layer.clone(), source: errno.into() })?;
    let lower = match below.is_empty() {
        true => None,
        false => Some(store.view_layers(below)?),
    };
    Ok((upper, lower))
}

/// Writes the tar of `layer`, which lies on the layers `below`, to `out`.
pub fn write_layer_tar(store: &Store, below: &[LayerId], layer: &LayerId, out: impl Write) -> io::Result<()> {
    let (upper, lower) = opened(store, below, layer).map_err(io::Error::other)?;
    diff::write_layer(upper.as_fd(), lower.as_ref().map(AsFd::as_fd), None, out).map(drop).map_err(io::Error::other)
}

/// Takes the tar: hashes it, counts it, and makes a blob of it if one is wanted.
struct TarSink<'a> {
    hasher: BackgroundHash,
    n_bytes: u64,
    blob: TarBlob,
    cancel: &'a Cancel,
}

impl Write for TarSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.cancel.is_canceled() {
            return Err(io::Error::other("canceled"));
        }
        self.hasher.update(bytes)?;
        self.n_bytes += bytes.len() as u64;
        self.blob.take(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What becomes of the bytes of a tar.
enum TarBlob {
    None,
    /// They are kept until it is known whether there are too many.
    Gathered {
        bytes: Vec<u8>,
        most_bytes: u64,
        form: BlobForm,
    },
    Compressed(Box<Compressor<BlobWriter>>, BlobForm),
}

impl TarBlob {
    fn take(&mut self, more: &[u8]) -> io::Result<()> {
        match self {
            TarBlob::None => {}
            TarBlob::Gathered { bytes, most_bytes, .. } if (bytes.len() + more.len()) as u64 > *most_bytes => {
                *self = TarBlob::None;
            }
            TarBlob::Gathered { bytes, .. } => bytes.extend_from_slice(more),
            TarBlob::Compressed(compressor, _) => compressor.write_all(more)?,
        }
        Ok(())
    }

    /// Keeps the blob as one of the layer `diff_id`, if there is one.
    fn commit(self, store: &Store, diff_id: &DiffId) -> Result<Option<Descriptor>, LayerError> {
        let (compressor, form) = match self {
            TarBlob::None => return Ok(None),
            TarBlob::Gathered { bytes, form, .. } => {
                let mut compressor = compressor(store, form)?;
                compressor.write_all(&bytes).map_err(LayerError::Compress)?;
                (compressor, form)
            }
            TarBlob::Compressed(compressor, form) => (compressor, form),
        };
        let blob = compressor.finish().map_err(LayerError::Compress)?.commit(None)?;
        let descriptor = Descriptor::new(layer_media_type(form.compression, true), blob.digest, blob.size_bytes);
        store.add_layer_blob(diff_id, &descriptor)?;
        Ok(Some(descriptor))
    }
}
