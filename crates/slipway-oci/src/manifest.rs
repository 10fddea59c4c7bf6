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
}
