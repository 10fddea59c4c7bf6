//! The document that names a cache: an image manifest whose config is the list of records, or an index that lists the
//! records among the blobs. An image may hold a cache in its own config.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use slipway_oci::{Descriptor, Digest, Index, IndexOrManifest, Manifest, Rootfs, media_type};

use crate::{Cache, CacheError, FormatError};

/// Media type of the list of records.
const CACHE_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";

/// How many images of an index are asked for the cache inside them.
const MAX_IMAGES: usize = 64;

/// How the document of a cache is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// An image manifest; otherwise an index.
    pub is_image: bool,
    pub uses_oci_types: bool,
}

/// A cache ready to be written: two documents and the blobs that they name.
pub(crate) struct Written {
    pub(crate) config: Vec<u8>,
    pub(crate) config_blob: Descriptor,
    pub(crate) document: Vec<u8>,
    pub(crate) descriptor: Descriptor,
}

pub(crate) fn write(cache: &Cache, form: Form) -> Result<Written, CacheError> {
    let config = cache.to_json()?;
    let config_blob = Descriptor::new(CACHE_CONFIG, Digest::of(&config), config.len() as u64);
    let blobs = cache.blobs();
    let (document, kind) = match form.is_image {
        true => {
            let kind = if form.uses_oci_types { media_type::OCI_MANIFEST } else { media_type::DOCKER_MANIFEST };
            let manifest = Manifest {
                schema_version: 2,
                media_type: Some(kind.to_owned()),
                artifact_type: None,
                config: config_blob.clone(),
                layers: blobs,
                subject: None,
                annotations: BTreeMap::new(),
            };
            (slipway_oci::to_indented(&manifest)?, kind)
        }
        false => {
            let kind = if form.uses_oci_types { media_type::OCI_INDEX } else { media_type::DOCKER_INDEX };
            let manifests = blobs.into_iter().chain([config_blob.clone()]).collect();
            let media_type = Some(kind.to_owned());
            let index = Index { schema_version: 2, media_type, manifests, annotations: BTreeMap::new() };
            (slipway_oci::to_indented(&index)?, kind)
        }
    };
    let descriptor = Descriptor::new(kind, Digest::of(&document), document.len() as u64);
    Ok(Written { config, config_blob, document, descriptor })
}

/// The blobs that a document names; none if it is not one of a cache.
pub(crate) fn named_blobs(document: &[u8]) -> Vec<Digest> {
    let descriptors = match IndexOrManifest::parse(document, "") {
        Ok(IndexOrManifest::Manifest(manifest)) => manifest.layers,
        Ok(IndexOrManifest::Index(index)) => index.manifests,
        Err(_) => Vec::new(),
    };
    descriptors.into_iter().map(|descriptor| descriptor.digest).collect()
}

/// Reads the bytes of a blob or document, checked.
type Fetch<'a> = &'a dyn Fn(&Descriptor) -> Result<Vec<u8>, CacheError>;

/// The caches that `document` leads to: `blob` gets lists of records and configs, `manifest` manifests that an index
/// names.
pub(crate) fn read(document: &[u8], blob: Fetch<'_>, manifest: Fetch<'_>) -> Result<Vec<Cache>, CacheError> {
    match IndexOrManifest::parse(document, "")? {
        IndexOrManifest::Manifest(found) => Ok(vec![read_manifest(&found, blob)?]),
        IndexOrManifest::Index(index) => {
            if let Some(config) = index.manifests.iter().find(|entry| entry.media_type == CACHE_CONFIG) {
                return Ok(vec![Cache::parse(&blob(config)?, &index.manifests)?]);
            }
            let mut caches = Vec::new();
            for entry in index.manifests.iter().take(MAX_IMAGES) {
                if let IndexOrManifest::Manifest(found) = IndexOrManifest::parse(&manifest(entry)?, "")? {
                    // An image without a cache beside one that has it, an attestation: no reason to give up.
                    match read_manifest(&found, blob) {
                        Err(CacheError::Format(FormatError::NotACache)) => {}
                        read => caches.push(read?),
                    }
                }
            }
            if caches.is_empty() { Err(FormatError::NotACache.into()) } else { Ok(caches) }
        }
    }
}

fn read_manifest(manifest: &Manifest, blob: Fetch<'_>) -> Result<Cache, CacheError> {
    if manifest.config.media_type == CACHE_CONFIG {
        return Ok(Cache::parse(&blob(&manifest.config)?, &manifest.layers)?);
    }
    read_inline(&blob(&manifest.config)?, &manifest.layers)
}

/// The part of an image config that holds a cache.
#[derive(Deserialize)]
struct InlineConfig {
    #[serde(rename = "moby.buildkit.cache.v0", default)]
    records: Option<String>,
    #[serde(default)]
    rootfs: Option<Rootfs>,
}

fn read_inline(config: &[u8], layers: &[Descriptor]) -> Result<Cache, CacheError> {
    let Ok(InlineConfig { records: Some(records), rootfs: Some(rootfs) }) = serde_json::from_slice(config) else {
        return Err(FormatError::NotACache.into());
    };
    let records = STANDARD.decode(records).map_err(|_| FormatError::NotACache)?;
    Ok(Cache::parse_inline(&records, layers, &rootfs.diff_ids)?)
}

#[cfg(test)]
mod tests {
    use slipway_oci::DiffId;

    use super::*;
    use crate::{CachedResult, InlineRecord, Layer, inline_records};

    fn cache() -> Cache {
        let blob = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(b"blob"), 4);
        let layer = Layer { blob, diff_id: DiffId(Digest::of(b"tar")), parent: None, created: None };
        let results = vec![CachedResult { keys: vec![Digest::of(b"key")], layer: 0 }];
        Cache { layers: vec![layer], results, mounts: Vec::new() }
    }

    #[test]
    fn every_form_is_read_back() {
        for (is_image, uses_oci_types) in [(true, true), (true, false), (false, true), (false, false)] {
            let written = write(&cache(), Form { is_image, uses_oci_types }).unwrap();
            let blob = |wanted: &Descriptor| {
                assert_eq!(wanted.digest, written.config_blob.digest);
                Ok(written.config.clone())
            };
            let none = |_: &Descriptor| panic!("no further document is needed");
            assert_eq!(read(&written.document, &blob, &none).unwrap(), [cache()]);
            assert!(named_blobs(&written.document).contains(&Digest::of(b"blob")));
        }
    }

    #[test]
    fn images_of_an_index_may_hold_caches() {
        let records = inline_records(&[InlineRecord { keys: vec![Digest::of(b"key")], layer: 0 }]).unwrap();
        let config = format!(
            r#"{{"moby.buildkit.cache.v0":"{}","rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            STANDARD.encode(records),
            Digest::of(b"tar"),
        );
        let image = |config: &str| {
            let config = Descriptor::new(media_type::OCI_CONFIG, Digest::of(config.as_bytes()), config.len() as u64);
            let layer = cache().layers[0].blob.clone();
            format!(
                r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}]}}"#,
                media_type::OCI_MANIFEST,
                serde_json::to_string(&config).unwrap(),
                serde_json::to_string(&layer).unwrap()
            )
        };
        let documents = [image(&config), image("{}")];
        let entries: Vec<Descriptor> = documents
            .iter()
            .map(|text| Descriptor::new(media_type::OCI_MANIFEST, Digest::of(text.as_bytes()), text.len() as u64))
            .collect();
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","manifests":{}}}"#,
            media_type::OCI_INDEX,
            serde_json::to_string(&entries).unwrap()
        );
        let all = [config.as_str(), "{}", &documents[0], &documents[1]];
        let find = |wanted: &Descriptor| {
            let found = all.iter().find(|text| Digest::of(text.as_bytes()) == wanted.digest).unwrap();
            Ok(found.as_bytes().to_vec())
        };
        assert_eq!(read(index.as_bytes(), &find, &find).unwrap(), [cache()]);
        let without = read(documents[1].as_bytes(), &find, &find);
        assert!(matches!(without, Err(CacheError::Format(FormatError::NotACache))));
    }
}
