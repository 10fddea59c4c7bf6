//! Caches that machines share: what is in them ([`Cache`]), and the places that keep them ([`Backend`]).
//!
//! ```text
//! format.rs     Cache, and BuildKit's JSON for it; values only
//! document.rs   the manifest or index that lists a cache's blobs, and what is inside images
//! local.rs      a folder in OCI layout
//! registry.rs   a registry
//! s3.rs         a bucket of an S3 server (s3/signature.rs: who asks; s3/parts.rs: large objects;
//!               objects.rs: what servers of objects have in common)
//! gha.rs        the cache service of GitHub Actions
//! saving.rs     how a cache gets to its place: blob by blob while it is made, what leads to them last
//! ```
//!
//! A key is a digest that means something to whoever computes it, and nothing here: BuildKit and slipway find each
//! other's caches readable, but compute other keys. Everything that comes from a place is hostile until checked: sizes
//! are bounded, digests are parsed, chains of layers end. The bytes of blobs are checked by whoever asked for them.

mod document;
mod format;
mod gha;
mod local;
mod objects;
mod registry;
mod s3;
mod saving;

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use slipway_oci::{Descriptor, Digest, Reference};
use slipway_registry::{BlobError, PushError, ResolveError};

pub use document::Form;
pub use format::{Cache, CachedMount, CachedResult, FormatError, InlineRecord, Layer, inline_records};
pub use gha::{GhaBackend, GhaConfig};
pub use local::{LocalBackend, LocalConfig};
pub use objects::ObjectFailure;
pub use registry::RegistryBackend;
pub use s3::{S3Backend, S3Config};
pub use saving::Saving;

/// A place that keeps a cache.
pub trait Backend: Send + Sync {
    /// What people call it, without secrets.
    fn name(&self) -> String;

    /// The repository that has the blobs, if it is one of a registry.
    fn repository(&self) -> Option<&Reference> {
        None
    }

    /// The caches that are there now, the ones to be preferred first.
    ///
    /// # Errors
    /// [`CacheError::NothingThere`] if nobody has put one there yet.
    fn load(&self) -> Result<Vec<Cache>, CacheError>;

    /// The bytes of a blob of the cache; they may be any bytes.
    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>, CacheError>;

    /// What is there before a cache is written.
    fn current(&self) -> Result<Current, CacheError>;

    /// Sends a blob, unless it is there.
    fn send(&self, blob: &Descriptor, blobs: &dyn BlobSource) -> Result<(), CacheError>;

    /// Makes `cache` the one that is there, unless it is what [`Backend::current`] found. `send_rest` sends those of its
    /// blobs that are not there yet; what leads to them follows, so that who loads meanwhile finds the old cache or the
    /// new one, whole.
    fn save(
        &self,
        cache: &Cache,
        current: &Current,
        send_rest: &dyn Fn() -> Result<(), CacheError>,
    ) -> Result<(), CacheError>;

    /// How many blobs are sent at the same time.
    fn n_parallel(&self) -> usize {
        4
    }
}

/// What a place holds where a cache is about to be written. What cannot be read of it counts as nothing: it is replaced.
#[derive(Debug, Default)]
pub struct Current {
    /// The document that leads to the rest, if it need not be written again as long as it says the same.
    document: Option<Vec<u8>>,
    /// Blobs that are there for sure.
    blobs: HashSet<Digest>,
    /// The number of the newest cache, in places that count them.
    number: u64,
}

/// Has the blobs that a cache consists of.
pub trait BlobSource: Sync {
    /// Opens a blob from its start.
    fn open(&self, blob: &Descriptor) -> io::Result<Box<dyn Read + Send>>;
}

/// Why a cache cannot be had or kept.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error("there is no cache yet")]
    NothingThere,
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error("the document that lists the cache's blobs cannot be read")]
    Document(#[from] slipway_oci::ManifestParseError),
    #[error("the documents of the cache cannot be written")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Resolve(#[from] Box<ResolveError>),
    #[error(transparent)]
    Blob(#[from] Box<BlobError>),
    #[error(transparent)]
    Push(#[from] Box<PushError>),
    #[error(transparent)]
    Object(#[from] ObjectFailure),
    #[error("cannot read a blob of the cache")]
    Read(#[source] io::Error),
    #[error("cannot reach `{path}`", path = .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("cannot reach `{path}`: it said nothing for {limit:?}", path = .path.display())]
    Silent { path: PathBuf, limit: Duration },
}

/// The largest manifest or index that is read, in bytes.
const MAX_DOCUMENT_BYTES: u64 = 16 << 20;
/// The largest list of records that is read, in bytes.
const MAX_CONFIG_BYTES: u64 = 64 << 20;

/// All bytes of `reader`, which must not be more than `limit` and must have the digest of `blob`.
fn read_checked(reader: impl Read, blob: &Descriptor, limit: u64) -> Result<Vec<u8>, CacheError> {
    let mut bytes = Vec::new();
    reader.take(limit + 1).read_to_end(&mut bytes).map_err(CacheError::Read)?;
    if bytes.len() as u64 > limit {
        return Err(FormatError::TooLarge { limit }.into());
    }
    let found = Digest::of(&bytes);
    if found != blob.digest {
        return Err(FormatError::Digest { expected: blob.digest.clone(), found }.into());
    }
    Ok(bytes)
}
