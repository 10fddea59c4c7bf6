//! How do the files of `RUN --mount=type=cache` get from one machine to another? As a tar that is cut into pieces, each a
//! blob of the exported cache: a changed file costs the pieces that it is in.
//!
//! A mount that starts with files of another stage (`from=`) stays at home: what it holds belongs to that state.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::AsFd;
use std::path::Path;

use slipway_cache::{Backend, CachedMount};
use slipway_graph::op::{CacheMount, Mount, Op};
use slipway_graph::request::CacheMounts;
use slipway_graph::{Graph, VertexId};
use slipway_oci::{Descriptor, Digest};
use slipway_store::{BlobError, CacheMountError, DbError, Store};

use super::chunks::{Chunker, MAX_BYTES};
use super::import::fetch_blob;
use crate::layer::diff::{self, DiffError};
use crate::layer::untar::{self, Meaning, UntarError};

/// Facts of this kind lead from a piece to the blob that holds it, so that it is compressed once.
const PIECE: &str = "cache-mount-piece";

/// Why a cache mount stays at home, or empty.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MountTransferError {
    #[error("it holds more than {limit_bytes} bytes")]
    TooLarge { limit_bytes: u64 },
    #[error("cannot open it")]
    Open(#[source] io::Error),
    #[error("cannot compress it")]
    Compress(#[source] io::Error),
    #[error("cannot read it")]
    Read(#[from] DiffError),
    #[error("cannot unpack it")]
    Unpack(#[from] UntarError),
    #[error(transparent)]
    Mount(#[from] CacheMountError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// The cache mounts of `vertices` that are wanted and can travel, by the identity that the store knows them under.
pub(super) fn wanted(graph: &Graph, vertices: &BTreeSet<VertexId>, mounts: &CacheMounts) -> Vec<String> {
    let mut wanted: Vec<String> = Vec::new();
    for vertex in vertices {
        let Op::Exec(exec) = &graph.vertex(*vertex).op else { continue };
        for mount in &exec.mounts {
            let Mount::Cache(cache) = mount else { continue };
            let identity = travelling_identity(cache).filter(|_| is_wanted(cache, mounts));
            wanted.extend(identity.filter(|identity| !wanted.contains(identity)));
        }
    }
    wanted
}

fn is_wanted(cache: &CacheMount, mounts: &CacheMounts) -> bool {
    let id = id_of(&cache.id);
    match mounts {
        CacheMounts::None => false,
        CacheMounts::All => true,
        CacheMounts::Some(ids) => ids.iter().any(|wanted| wanted == id),
    }
}

/// The name that the store has for a mount, if it means the same on all machines.
pub(crate) fn travelling_identity(cache: &CacheMount) -> Option<String> {
    if cache.from.is_some() { None } else { Some(crate::ops::exec::mounts::cache_identity(cache, &[])) }
}

/// What people call a mount: what comes after the namespace, and before what makes it another one of the same id.
pub(super) fn id_of(identity: &str) -> &str {
    let id = identity.split_once('/').map_or(identity, |(_, id)| id);
    id.split('\0').next().unwrap_or(id)
}

/// What a cache calls a mount.
pub(crate) fn name_of(identity: &str) -> Digest {
    Digest::of(format!("cache mount {identity}").as_bytes())
}

/// The pieces of a mount, as blobs of the store; `None` if nobody has used it here.
pub(super) fn save(store: &Store, identity: &str, limit_bytes: u64) -> Result<Option<CachedMount>, MountTransferError> {
    let Some(mount) = store.known_cache_mount(identity)? else { return Ok(None) };
    let folder = File::open(mount.path()).map_err(MountTransferError::Open)?;
    let mut chunks = Vec::new();
    let n_bytes = Cell::new(0);
    let mut chunker = Chunker::new(|piece: &[u8]| {
        n_bytes.set(n_bytes.get() + piece.len() as u64);
        if n_bytes.get() > limit_bytes {
            return Err(io::Error::other("too large"));
        }
        chunks.push(blob_of(store, piece).map_err(io::Error::other)?);
        Ok(())
    });
    let written = diff::write_layer(folder.as_fd(), None, None, &mut chunker).map(drop);
    match written.and_then(|()| chunker.finish().map_err(DiffError::Write)) {
        Err(_) if n_bytes.get() > limit_bytes => Err(MountTransferError::TooLarge { limit_bytes }),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(Some(CachedMount { name: name_of(identity), chunks })),
    }
}

/// The blob of a piece, made unless it is there.
fn blob_of(store: &Store, piece: &[u8]) -> Result<Descriptor, MountTransferError> {
    let plain = Digest::of(piece);
    if let Some(fact) = store.fact(PIECE, plain.as_str())?
        && let Ok(blob) = serde_json::from_slice::<Descriptor>(&fact)
        && store.has_blob(&blob.digest)?
    {
        return Ok(blob);
    }
    let compressed = zstd::encode_all(piece, 0).map_err(MountTransferError::Compress)?;
    let blob = store.put_blob(&compressed)?;
    let blob = CachedMount::chunk(blob.digest, blob.size_bytes);
    let fact = serde_json::to_vec(&blob).expect("because a descriptor has only text keys");
    store.set_fact(PIECE, plain.as_str(), &fact)?;
    Ok(blob)
}

/// Unpacks the pieces of a mount into `folder`.
pub(super) fn restore(
    store: &Store,
    backend: &dyn Backend,
    mount: &CachedMount,
    folder: &Path,
) -> Result<(), MountTransferError> {
    let folder = untar::open_host_dir(folder).map_err(|errno| MountTransferError::Open(errno.into()))?;
    let pieces = Pieces { store, backend, chunks: mount.chunks.iter(), current: None };
    untar::unpack(pieces, folder.as_fd(), Meaning::Archive { owner: None })?;
    Ok(())
}

/// The plain bytes of pieces, one after the other.
struct Pieces<'a> {
    store: &'a Store,
    backend: &'a dyn Backend,
    chunks: std::slice::Iter<'a, Descriptor>,
    current: Option<Box<dyn Read>>,
}

impl Pieces<'_> {
    /// Opens the next piece; `false` at the end.
    fn advance(&mut self) -> io::Result<bool> {
        let Some(chunk) = self.chunks.next() else { return Ok(false) };
        if !self.store.has_blob(&chunk.digest).map_err(io::Error::other)? {
            fetch_blob(self.backend, self.store, chunk)?;
        }
        let opened = self.store.open_blob(&chunk.digest).map_err(io::Error::other)?;
        let (file, _) = opened.ok_or_else(|| io::Error::other("a piece is not in the store"))?;
        let plain = zstd::Decoder::with_buffer(BufReader::new(file))?;
        // Whatever a piece claims, it is no longer than any of ours.
        self.current = Some(Box::new(plain.take(MAX_BYTES as u64)));
        Ok(true)
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(current) = &mut self.current {
                match current.read(buffer)? {
                    0 if !buffer.is_empty() => {}
                    n => return Ok(n),
                }
            }
            if !self.advance()? {
                return Ok(0);
            }
        }
    }
}
