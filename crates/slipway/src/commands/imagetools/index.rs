//! Which index do several images make? Values only (`spec/cli.md` section 8.1).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use slipway_graph::request::{Annotated, Annotation};
use slipway_oci::{Descriptor, Digest, Platform, media_type};

use super::location::Document;

/// Says on an entry which manifest it is about: attestations lie beside the image that they are about.
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";
/// Says on an entry that it is an attestation, and no image.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// An entry of an index, with all that the image spec has for it, in the order that the reference writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    #[serde(default)]
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) urls: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    /// The bytes themselves, as base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<EntryPlatform>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
}

/// A platform with what tells Windows images apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntryPlatform {
    pub(crate) architecture: String,
    pub(crate) os: String,
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub(crate) os_version: Option<String>,
    #[serde(default, rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub(crate) os_features: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
}

impl EntryPlatform {
    pub(crate) fn platform(&self) -> Platform {
        Platform::new(&self.os, &self.architecture, self.variant.as_deref())
    }
}

impl Entry {
    /// What points to `document`.
    pub(crate) fn of_document(document: &Document) -> Entry {
        Entry {
            media_type: document.media_type.clone(),
            digest: document.digest.clone(),
            size: document.bytes.len() as u64,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: None,
            platform: None,
            artifact_type: None,
        }
    }

    pub(crate) fn is_index(&self) -> bool {
        is_index(&self.media_type)
    }

    /// Whether it is about an image instead of being one.
    pub(crate) fn is_attestation(&self) -> bool {
        self.annotations.contains_key(REFERENCE_TYPE)
    }

    /// The manifest that an attestation is about.
    pub(crate) fn subject(&self) -> Option<&str> {
        self.annotations.get(REFERENCE_DIGEST).map(String::as_str)
    }

    pub(crate) fn descriptor(&self) -> Descriptor {
        Descriptor::new(&self.media_type, self.digest.clone(), self.size)
    }

    /// Takes over what `other`, which points to the same, knows better.
    fn merge(&mut self, other: Entry) {
        if self.media_type.is_empty() {
            self.media_type = other.media_type;
        }
        self.platform = other.platform.or(self.platform.take());
        self.annotations.extend(other.annotations);
    }
}

/// An index, or the list of Docker that is one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IndexDocument {
    schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) media_type: String,
    pub(crate) manifests: Vec<Entry>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

impl IndexDocument {
    pub(crate) fn of(media_type: &str, manifests: Vec<Entry>) -> IndexDocument {
        IndexDocument { schema_version: 2, media_type: media_type.to_owned(), manifests, annotations: BTreeMap::new() }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        slipway_oci::to_indented(self).expect("because maps have texts as keys")
    }
}

/// An image that is to be part of another. `entry` has its platform already if it is a manifest.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) entry: Entry,
    pub(crate) document: Document,
}

/// What came of putting images together.
#[derive(Debug)]
pub(crate) struct Combined {
    pub(crate) document: Document,
    /// What has to be where the document goes, each with the number of the part that has it.
    pub(crate) entries: Vec<(Entry, usize)>,
}

/// None of the images is for a platform that was asked for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CombineError {
    #[error("none of the manifests match the provided platforms")]
    NoPlatform,
    #[error("input platform {0} does not match any of the provided platforms")]
    OtherPlatform(String),
    #[error("the index {digest} cannot be understood: {reason}")]
    Index { digest: Digest, reason: String },
}

/// Puts images together: manifests become entries, indexes give theirs, in order, each manifest once.
pub(crate) fn combine(
    parts: &[Part],
    annotations: &[Annotation],
    prefers_index: bool,
    platforms: &[Platform],
) -> Result<Combined, CombineError> {
    if let [only] = parts
        && annotations.is_empty()
        && !only.entry.is_index()
        && !prefers_index
    {
        if !platforms.is_empty() && !is_for(&only.entry, platforms) {
            let own = only.entry.platform.as_ref().map(|own| own.platform().to_string());
            return Err(CombineError::OtherPlatform(own.unwrap_or_default()));
        }
        return Ok(Combined { document: only.document.clone(), entries: vec![(only.entry.clone(), 0)] });
    }
    let mut entries: Vec<(Entry, usize)> = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let of_part = match part.entry.is_index() {
            true => index_of(&part.document)?.manifests,
            false => vec![part.entry.clone()],
        };
        for entry in of_part {
            match entries.iter_mut().find(|(known, _)| known.digest == entry.digest) {
                Some((known, _)) => known.merge(entry),
                None => entries.push((entry, number)),
            }
        }
    }
    let n_entries = entries.len();
    if !platforms.is_empty() {
        entries = filtered(entries, platforms)?;
    }
    if let [only] = parts
        && annotations.is_empty()
        && only.entry.is_index()
        && entries.len() == n_entries
    {
        return Ok(Combined { document: only.document.clone(), entries });
    }
    let is_docker = entries.iter().all(|(entry, _)| entry.media_type.starts_with("application/vnd.docker."));
    let media_type = if is_docker { media_type::DOCKER_INDEX } else { media_type::OCI_INDEX };
    let mut index = IndexDocument::of(media_type, Vec::new());
    // Docker's list has no place for annotations.
    if !is_docker {
        annotate(&mut index, &mut entries, annotations);
    }
    index.manifests = entries.iter().map(|(entry, _)| entry.clone()).collect();
    let bytes = index.to_bytes();
    let document = Document { digest: Digest::of(&bytes), media_type: media_type.to_owned(), bytes };
    Ok(Combined { document, entries })
}

/// Reads an index.
pub(crate) fn index_of(document: &Document) -> Result<IndexDocument, CombineError> {
    serde_json::from_slice(&document.bytes)
        .map_err(|error| CombineError::Index { digest: document.digest.clone(), reason: error.to_string() })
}

pub(crate) fn is_index(media_type: &str) -> bool {
    matches!(media_type, media_type::OCI_INDEX | media_type::DOCKER_INDEX)
}

fn is_for(entry: &Entry, platforms: &[Platform]) -> bool {
    entry.platform.as_ref().is_some_and(|own| platforms.iter().any(|wanted| own.platform() == *wanted))
}

/// The entries for `platforms`, and the attestations of these.
fn filtered(entries: Vec<(Entry, usize)>, platforms: &[Platform]) -> Result<Vec<(Entry, usize)>, CombineError> {
    let is_image = |entry: &Entry| !entry.is_attestation() && is_for(entry, platforms);
    let images: Vec<String> =
        entries.iter().filter(|(entry, _)| is_image(entry)).map(|(entry, _)| entry.digest.to_string()).collect();
    if images.is_empty() {
        return Err(CombineError::NoPlatform);
    }
    let is_about_one = |entry: &Entry| entry.subject().is_some_and(|subject| images.iter().any(|one| one == subject));
    Ok(entries.into_iter().filter(|(entry, _)| is_image(entry) || is_about_one(entry)).collect())
}

fn annotate(index: &mut IndexDocument, entries: &mut [(Entry, usize)], annotations: &[Annotation]) {
    for Annotation { on, platform, key, value } in annotations {
        match on {
            Annotated::Index => drop(index.annotations.insert(key.clone(), value.clone())),
            Annotated::ManifestDescriptor => {
                let wanted = platform.as_ref().map(std::slice::from_ref);
                for (entry, _) in entries.iter_mut().filter(|(entry, _)| wanted.is_none_or(|one| is_for(entry, one))) {
                    entry.annotations.insert(key.clone(), value.clone());
                }
            }
            // Those who ask for these are refused before.
            Annotated::Manifest | Annotated::IndexDescriptor => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(media_type: &str, text: &str) -> Document {
        Document::new(Digest::of(text.as_bytes()), media_type, text.as_bytes().to_vec())
    }

    fn image(media_type: &str, text: &str, platform: &str) -> Part {
        let document = document(media_type, text);
        let platform: Platform = platform.parse().unwrap();
        let Platform { architecture, os, variant } = platform;
        let platform = EntryPlatform { architecture, os, variant, os_version: None, os_features: Vec::new() };
        Part { entry: Entry { platform: Some(platform), ..Entry::of_document(&document) }, document }
    }

    fn index(entries: &[&Entry]) -> Part {
        let index = IndexDocument::of(media_type::OCI_INDEX, entries.iter().map(|entry| (*entry).clone()).collect());
        let document = document(media_type::OCI_INDEX, &String::from_utf8(index.to_bytes()).unwrap());
        Part { entry: Entry::of_document(&document), document }
    }

    fn attestation_of(part: &Part) -> Part {
        let mut about = image(media_type::OCI_MANIFEST, &format!("about {}", part.entry.digest), "unknown/unknown");
        about.entry.annotations.insert(REFERENCE_TYPE.to_owned(), "attestation-manifest".to_owned());
        about.entry.annotations.insert(REFERENCE_DIGEST.to_owned(), part.entry.digest.to_string());
        about
    }

    fn annotation(text: &str) -> Annotation {
        slipway_graph::request::flags::parse_annotations(&[text.to_owned()]).unwrap().remove(0)
    }

    fn text(combined: &Combined) -> &str {
        std::str::from_utf8(&combined.document.bytes).unwrap()
    }

    /// What the reference prints for `create --dry-run` of one manifest with two annotations.
    const ANNOTATED: &str = r#"{
  "schemaVersion": 2,
  "mediaType": "application/vnd.oci.image.index.v1+json",
  "manifests": [
    {
      "mediaType": "application/vnd.oci.image.manifest.v1+json",
      "digest": "<digest>",
      "size": 4,
      "annotations": {
        "a": "b"
      },
      "platform": {
        "architecture": "amd64",
        "os": "linux"
      }
    }
  ],
  "annotations": {
    "k": "v"
  }
}"#;

    #[test]
    fn a_manifest_becomes_an_index_with_annotations() {
        let part = image(media_type::OCI_MANIFEST, "amd\n", "linux/amd64");
        let annotations = [
            annotation("index:k=v"),
            annotation("manifest-descriptor:a=other"),
            annotation("manifest-descriptor[linux/amd64]:a=b"),
            annotation("manifest-descriptor[linux/arm64]:c=d"),
        ];
        let expected = ANNOTATED.replace("<digest>", part.entry.digest.as_str());
        assert_eq!(text(&combine(&[part], &annotations, true, &[]).unwrap()), expected);

        // Docker's list has no place for them.
        let docker = image(media_type::DOCKER_MANIFEST, "amd\n", "linux/amd64");
        let combined = combine(&[docker], &annotations, true, &[]).unwrap();
        assert_eq!(combined.document.media_type, media_type::DOCKER_INDEX);
        assert!(!text(&combined).contains("annotations"));
    }

    #[test]
    fn what_is_one_already_stays_as_it_is() {
        let part = image(media_type::OCI_MANIFEST, "amd", "linux/amd64");
        let digest = part.entry.digest.clone();
        assert_eq!(combine(&[part], &[], false, &[]).unwrap().document.digest, digest);
        let part = index(&[&image(media_type::OCI_MANIFEST, "amd", "linux/amd64").entry]);
        let digest = part.entry.digest.clone();
        let amd64: Platform = "linux/amd64".parse().unwrap();
        assert_eq!(combine(&[part], &[], true, &[amd64]).unwrap().document.digest, digest);
    }

    #[test]
    fn indexes_give_their_entries_and_each_manifest_is_there_once() {
        let amd = image(media_type::OCI_MANIFEST, "amd", "linux/amd64");
        let arm = image(media_type::DOCKER_MANIFEST, "arm", "linux/arm/v6");
        let mut annotated = amd.entry.clone();
        annotated.annotations.insert("late".to_owned(), "1".to_owned());
        let parts = [index(&[&arm.entry, &amd.entry]), index(&[&annotated])];
        let combined = combine(&parts, &[], true, &[]).unwrap();
        let found: Vec<_> = combined.entries.iter().map(|(entry, part)| (entry.digest.clone(), *part)).collect();
        assert_eq!(found, [(arm.entry.digest, 0), (amd.entry.digest, 0)]);
        assert_eq!(combined.entries[1].0.annotations, annotated.annotations);
        assert_eq!(combined.document.media_type, media_type::OCI_INDEX);
    }

    #[test]
    fn attestations_stay_with_their_image() {
        let amd = image(media_type::OCI_MANIFEST, "amd", "linux/amd64");
        let arm = image(media_type::OCI_MANIFEST, "arm", "linux/arm64");
        let (about_amd, about_arm) = (attestation_of(&amd), attestation_of(&arm));
        let parts = [index(&[&amd.entry, &arm.entry, &about_amd.entry, &about_arm.entry])];
        let kept = combine(&parts, &[], true, &["linux/arm64".parse().unwrap()]).unwrap();
        let digests: Vec<_> = kept.entries.iter().map(|(entry, _)| entry.digest.clone()).collect();
        assert_eq!(digests, [arm.entry.digest, about_arm.entry.digest]);
        let none = combine(&parts, &[], true, &["linux/s390x".parse().unwrap()]).unwrap_err();
        assert_eq!(none.to_string(), "none of the manifests match the provided platforms");
    }

    #[test]
    fn nothing_of_an_entry_is_lost() {
        let digest = Digest::of(b"x");
        let entry = format!(
            r#"{{"mediaType":"m","digest":"{digest}","size":1,"urls":["u"],"annotations":{{"a":"b"}},"data":"eA==","platform":{{"architecture":"amd64","os":"windows","os.version":"10","os.features":["win32k"],"variant":"v1"}},"artifactType":"t"}}"#
        );
        let read: Entry = serde_json::from_str(&entry).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), entry);
    }
}
