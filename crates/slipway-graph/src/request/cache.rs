//! Where a build's cache comes from and goes to (`spec/cli.md` section 4.4, `spec/dockerfile.md` section 7.6).

use std::path::PathBuf;
use std::time::Duration;

use slipway_oci::{Digest, Reference};

use super::{Compression, SecretValue};

/// One `--cache-from`.
#[expect(clippy::large_enum_variant, reason = "a build holds a handful of them")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheSource {
    Place(CachePlace),
    /// It cannot be used, for this reason. A build goes on without.
    Unusable(String),
}

/// One `--cache-to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheTarget {
    pub place: CachePlace,
    pub extent: CacheExtent,
    pub compression: Compression,
    /// `None` is the default of the kind.
    pub compression_level: Option<u32>,
    /// Also compress layers anew that are there in another form.
    pub forces_compression: bool,
    /// Whether a failure is a warning (the default) or the build's.
    pub ignores_error: bool,
    pub mounts: CacheMounts,
    /// Cache mounts with more bytes than that are left out.
    pub max_mount_bytes: u64,
}

/// Which steps a cache holds (`mode=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheExtent {
    /// Those whose layers are part of the result.
    #[default]
    Min,
    /// All of them.
    Max,
}

/// Whose files of `RUN --mount=type=cache` go along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CacheMounts {
    #[default]
    None,
    All,
    /// Those with these ids.
    Some(Vec<String>),
}

/// Where a cache is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CachePlace {
    /// In the config of the image itself; only a target.
    Inline,
    Registry {
        reference: Reference,
        document: CacheDocument,
        /// For how long the registry may say nothing.
        silence_limit: Duration,
    },
    /// A folder in OCI layout.
    Local {
        path: PathBuf,
        tag: String,
        /// Which manifest, whatever its tag is; only for sources.
        digest: Option<Digest>,
        document: CacheDocument,
        /// Whether blobs that no manifest of the folder leads to are removed; only for targets.
        is_reset: bool,
        /// For how long the folder may say nothing about what is in it.
        silence_limit: Duration,
    },
    S3(S3Place),
    Gha(GhaPlace),
}

/// How the document looks that lists the blobs of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheDocument {
    /// An image manifest; otherwise an index.
    pub is_image: bool,
    pub uses_oci_types: bool,
}

impl Default for CacheDocument {
    fn default() -> Self {
        CacheDocument { is_image: true, uses_oci_types: true }
    }
}

/// A bucket of an S3 server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Place {
    pub bucket: String,
    pub region: String,
    /// Caches in it, `buildkit` by default.
    pub names: Vec<String>,
    /// Before the two other prefixes.
    pub prefix: String,
    pub blobs_prefix: String,
    pub manifests_prefix: String,
    /// `None` is Amazon's own server.
    pub endpoint_url: Option<String>,
    /// The bucket is part of the path instead of the host's name.
    pub uses_path_style: bool,
    pub access_key_id: String,
    pub secret_access_key: SecretValue,
    pub session_token: Option<SecretValue>,
    /// How many blobs are sent at the same time; at least one.
    pub n_parallel: usize,
    /// Objects that are older than this are written anew when a cache is exported.
    pub touch_refresh: Duration,
    /// For how long the server may say nothing.
    pub silence_limit: Duration,
}

/// The cache service of GitHub Actions (version 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GhaPlace {
    pub scope: String,
    pub url: String,
    pub token: SecretValue,
    /// How long reading the cache's list may take, and sending what is left when the build is over.
    pub timeout: Duration,
    /// For how long the service may say nothing.
    pub silence_limit: Duration,
}
