//! Caches that other machines read and write: `--cache-from` and `--cache-to`.
//!
//! ```text
//! import.rs   what others have recorded, looked up by key; layers are fetched when somebody needs their files
//! export.rs   what this build has, written for others
//! outbox.rs   blobs that go there while the build still runs
//! mounts.rs   the files of cache mounts, which go along if asked (chunks.rs: where they are cut)
//! ```
//!
//! The keys in such a cache are the solver's own. Neither the solver nor the store knows where a record came from.

mod chunks;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod mounts;
pub(crate) mod outbox;

use std::sync::Arc;

use slipway_cache::{
    Backend, Form, GhaBackend, GhaConfig, LocalBackend, LocalConfig, RegistryBackend, S3Backend, S3Config,
};
use slipway_graph::request::{CacheDocument, CachePlace, GhaPlace, S3Place, SecretValue};
use slipway_registry::Registry;

/// What reads and writes caches at `place`; `None` for the cache inside an image, which is no place of its own.
fn backend(place: &CachePlace, registry: &Registry) -> Option<Arc<dyn Backend>> {
    let form = |document: &CacheDocument| Form { is_image: document.is_image, uses_oci_types: document.uses_oci_types };
    Some(match place {
        CachePlace::Inline => return None,
        CachePlace::Registry { reference, document, silence_limit } => Arc::new(RegistryBackend {
            registry: registry.with_silence_limit(*silence_limit),
            reference: reference.clone(),
            form: form(document),
        }),
        CachePlace::Local { path, tag, digest, document, is_reset, silence_limit } => {
            Arc::new(LocalBackend::new(LocalConfig {
                folder: path.clone(),
                tag: tag.clone(),
                digest: digest.clone(),
                form: form(document),
                is_reset: *is_reset,
                silence_limit: *silence_limit,
            }))
        }
        CachePlace::S3(place) => {
            Arc::new(S3Backend { registry: registry.with_silence_limit(place.silence_limit), config: s3_config(place) })
        }
        CachePlace::Gha(place) => {
            Arc::new(GhaBackend::new(registry.with_silence_limit(place.silence_limit), gha_config(place)))
        }
    })
}

fn s3_config(place: &S3Place) -> S3Config {
    S3Config {
        bucket: place.bucket.clone(),
        region: place.region.clone(),
        names: place.names.clone(),
        blobs_prefix: format!("{}{}", place.prefix, place.blobs_prefix),
        manifests_prefix: format!("{}{}", place.prefix, place.manifests_prefix),
        endpoint_url: place.endpoint_url.clone(),
        uses_path_style: place.uses_path_style,
        access_key_id: place.access_key_id.clone(),
        secret_access_key: place.secret_access_key.0.clone(),
        session_token: place.session_token.as_ref().map(text),
        n_parallel: place.n_parallel,
        touch_refresh: place.touch_refresh,
    }
}

fn gha_config(place: &GhaPlace) -> GhaConfig {
    let GhaPlace { scope, url, token, timeout, .. } = place;
    GhaConfig { scope: scope.clone(), url: url.clone(), token: text(token), timeout: *timeout }
}

fn text(secret: &SecretValue) -> String {
    String::from_utf8_lossy(&secret.0).into_owned()
}

/// How people know the kind of a place.
fn kind(place: &CachePlace) -> &'static str {
    match place {
        CachePlace::Inline => "inline",
        CachePlace::Registry { .. } => "registry",
        CachePlace::Local { .. } => "local",
        CachePlace::S3(_) => "s3",
        CachePlace::Gha(_) => "gha",
    }
}
