//! Which config and layers make an image, and which images make a multi-platform one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::go_json::{empty_is_null, null_is_default};
use crate::{Descriptor, media_type};

/// An image manifest (image spec, `manifest.md`), in the field order that the reference writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    pub config: Descriptor,
    /// Bottom first. No layers are written as `null`, as the reference does.
    #[serde(default, deserialize_with = "null_is_default", serialize_with = "empty_is_null")]
    pub layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A list of images (image spec, `image-index.md`; Docker's "manifest list").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    pub manifests: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What a reference may point to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a build holds a handful of them")]
pub enum IndexOrManifest {
    Index(Index),
    Manifest(Manifest),
}

/// Why bytes are neither an index nor a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestParseError {
    #[error("not a JSON manifest")]
    Json(#[source] serde_json::Error),
    /// A document that could be read as both is an attack (CVE-2021-41190), never a convenience.
    #[error("the document has both `layers` and `manifests`")]
    Ambiguous,
    #[error("the document says media type `{found}`, but it was served as `{served}`")]
    MediaTypeMismatch { found: String, served: String },
    #[error("media type `{0}` is not supported")]
    Unsupported(String),
}

impl IndexOrManifest {
    /// Reads `bytes`, which were served as `served_as` (empty where unknown).
    pub fn parse(bytes: &[u8], served_as: &str) -> Result<IndexOrManifest, ManifestParseError> {
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(ManifestParseError::Json)?;
        let has = |key: &str| value.get(key).is_some_and(|v| !v.is_null());
        if has("manifests") && (has("layers") || has("config")) {
            return Err(ManifestParseError::Ambiguous);
        }
        let stated = value.get("mediaType").and_then(|v| v.as_str()).unwrap_or_default();
        if !stated.is_empty() && served_as.starts_with("application/vnd.") && stated != served_as {
            return Err(ManifestParseError::MediaTypeMismatch {
                found: stated.to_owned(),
                served: served_as.to_owned(),
            });
        }
        let kind = if stated.is_empty() { served_as } else { stated };
        match kind {
            media_type::OCI_INDEX | media_type::DOCKER_INDEX => Self::index(value),
            media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST => Self::manifest(value),
            _ if has("manifests") => Self::index(value),
            _ if has("layers") => Self::manifest(value),
            other => Err(ManifestParseError::Unsupported(other.to_owned())),
        }
    }

    fn index(value: serde_json::Value) -> Result<IndexOrManifest, ManifestParseError> {
        serde_json::from_value(value).map(IndexOrManifest::Index).map_err(ManifestParseError::Json)
    }

    fn manifest(value: serde_json::Value) -> Result<IndexOrManifest, ManifestParseError> {
        serde_json::from_value(value).map(IndexOrManifest::Manifest).map_err(ManifestParseError::Json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_with_layers_and_manifests_is_refused() {
        let text = br#"{"schemaVersion":2,"layers":[],"manifests":[]}"#;
        assert!(matches!(IndexOrManifest::parse(text, ""), Err(ManifestParseError::Ambiguous)));
    }

    #[test]
    fn the_stated_media_type_must_be_the_served_one() {
        let text = format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#, media_type::OCI_INDEX);
        assert!(IndexOrManifest::parse(text.as_bytes(), media_type::OCI_INDEX).is_ok());
        assert!(IndexOrManifest::parse(text.as_bytes(), media_type::OCI_MANIFEST).is_err());
    }
    /// Documents come from strangers: whatever they hold is an answer or an error.
    #[test]
    fn no_mutation_of_a_document_panics() {
        let digest = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
        let descriptor = format!(r#"{{"mediaType":"{}","digest":"{digest}","size":7}}"#, media_type::OCI_MANIFEST);
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{descriptor}]}}"#);
        let manifest = format!(r#"{{"schemaVersion":2,"config":{descriptor},"layers":[{descriptor}]}}"#);
        let config = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"history":[]}"#;
        let mut random: u64 = 1;
        let mut below = |limit: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(random >> 33).unwrap() % limit
        };
        let mut n_refused = 0;
        for _ in 0..20_000 {
            let mut text = [index.as_str(), &manifest, config][below(3)].as_bytes().to_vec();
            for _ in 0..=below(3) {
                let place = below(text.len());
                match below(3) {
                    0 => text[place] = b"\0\"{}[],:-19e\xff"[below(13)],
                    1 => drop(text.splice(place..place, b"[{\"a\":".repeat(below(4)))),
                    _ => text.truncate(place.max(1)),
                }
            }
            let is_refused = IndexOrManifest::parse(&text, "").is_err();
            let _ = serde_json::from_slice::<crate::ImageConfig>(&text);
            n_refused += usize::from(is_refused);
        }
        assert!(n_refused > 10_000, "most of them are damaged, but only {n_refused} were refused");
    }
}
