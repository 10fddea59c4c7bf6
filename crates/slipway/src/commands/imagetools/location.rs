//! Where is an image, and how are its documents and blobs read and written there? In a registry, or in an OCI layout,
//! a folder.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use slipway_oci::{Descriptor, Digest, Reference, ReferenceParseError, media_type};
use slipway_registry::{BlobError, ErrorKind, PushError, Registry, ResolveError};

use super::index::{Entry, IndexDocument};

/// More than any config, or document of a layout, holds.
const MAX_DOCUMENT_BYTES: u64 = 16 << 20;
const LAYOUT: &str = "oci-layout://";
/// Under which name an entry of `index.json` is found (image spec, `annotations.md`).
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Why a place cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocationError {
    #[error("{0}: not found")]
    NotFound(Box<Location>),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Push(#[from] PushError),
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("`{}` is no OCI layout", path.display())]
    NoLayout { path: PathBuf, source: serde_json::Error },
    #[error("`{}` holds other bytes than its name says", path.display())]
    Damaged { path: PathBuf },
    #[error("the blob `{0}` is larger than such a document can be")]
    TooLarge(Digest),
    #[error("cannot read the blob `{digest}`")]
    Stream { digest: Digest, source: io::Error },
}

/// A name of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    Registry(Reference),
    Layout(Layout),
}

/// An image of an OCI layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    path: PathBuf,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A manifest or index.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) bytes: Vec<u8>,
}

impl Document {
    /// The media type is what it was served as, or else what it says itself, or looks like.
    pub(crate) fn new(digest: Digest, served_as: &str, bytes: Vec<u8>) -> Document {
        #[derive(Default, serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Looks {
            #[serde(default)]
            media_type: String,
            #[serde(default)]
            manifests: Option<serde::de::IgnoredAny>,
        }
        let media_type = match served_as {
            "" => {
                let looks: Looks = serde_json::from_slice(&bytes).unwrap_or_default();
                match (looks.media_type, looks.manifests) {
                    (stated, _) if !stated.is_empty() => stated,
                    (_, Some(_)) => media_type::OCI_INDEX.to_owned(),
                    (_, None) => media_type::OCI_MANIFEST.to_owned(),
                }
            }
            served => served.to_owned(),
        };
        Document { digest, media_type, bytes }
    }
}

/// With the tag that stands in for a missing one.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Registry(reference) => write!(f, "{}", reference.with_default_tag()),
            Location::Layout(Layout { path, tag, digest }) => {
                write!(f, "{LAYOUT}{}", path.display())?;
                match (tag, digest) {
                    (Some(tag), None) => write!(f, ":{tag}"),
                    (None, None) => f.write_str(":latest"),
                    (Some(tag), Some(digest)) => write!(f, ":{tag}@{digest}"),
                    (None, Some(digest)) => write!(f, "@{digest}"),
                }
            }
        }
    }
}

impl Location {
    pub(crate) fn parse(text: &str) -> Result<Location, ReferenceParseError> {
        let Some(rest) = text.strip_prefix(LAYOUT) else { return text.parse().map(Location::Registry) };
        let (rest, digest) = match rest.rsplit_once('@') {
            Some((rest, digest)) => {
                (rest, Some(digest.parse().map_err(|_| ReferenceParseError::Digest(digest.to_owned()))?))
            }
            None => (rest, None),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
            _ => (rest, None),
        };
        if path.is_empty() || tag.as_deref() == Some("") {
            return Err(ReferenceParseError::Format);
        }
        Ok(Location::Layout(Layout { path: path.into(), tag, digest }))
    }

    /// The same place, whichever of its images is meant.
    pub(crate) fn is_same_place(&self, other: &Location) -> bool {
        match (self, other) {
            (Location::Registry(a), Location::Registry(b)) => (a.host(), a.repository()) == (b.host(), b.repository()),
            (Location::Layout(a), Location::Layout(b)) => a.path == b.path,
            _ => false,
        }
    }

    /// What has this digest in the same place.
    pub(crate) fn at_digest(&self, digest: &Digest) -> Location {
        match self {
            Location::Registry(reference) => Location::Registry(reference.at_digest(digest.clone())),
            Location::Layout(Layout { path, .. }) => {
                Location::Layout(Layout { path: path.clone(), tag: None, digest: Some(digest.clone()) })
            }
        }
    }

    /// This name, and the digest that stands behind it.
    pub(crate) fn with_digest(&self, digest: &Digest) -> Location {
        match self {
            Location::Registry(reference) => {
                Location::Registry(reference.with_default_tag().with_digest(digest.clone()))
            }
            Location::Layout(layout) => {
                let tag = layout.tag.clone().or_else(|| layout.digest.is_none().then(|| "latest".to_owned()));
                Location::Layout(Layout { path: layout.path.clone(), tag, digest: Some(digest.clone()) })
            }
        }
    }

    /// The manifest or index that the name stands for.
    pub(crate) fn resolve(&self, registry: &Registry) -> Result<Document, LocationError> {
        match self {
            Location::Registry(reference) => match registry.resolve(reference) {
                Ok(found) => Ok(Document::new(found.digest, &found.media_type, found.bytes)),
                Err(error) if error.kind() == ErrorKind::NotFound && error.attempts.len() == 1 => {
                    Err(LocationError::NotFound(Box::new(self.clone())))
                }
                Err(error) => Err(error.into()),
            },
            Location::Layout(layout) => {
                layout.resolve().and_then(|found| found.ok_or_else(|| LocationError::NotFound(Box::new(self.clone()))))
            }
        }
    }

    /// A blob that is a document, such as a config.
    pub(crate) fn small_blob(&self, registry: &Registry, blob: &Descriptor) -> Result<Vec<u8>, LocationError> {
        if blob.size > MAX_DOCUMENT_BYTES {
            return Err(LocationError::TooLarge(blob.digest.clone()));
        }
        let mut bytes = Vec::new();
        let read = self.open_blob(registry, blob)?.read_to_end(&mut bytes);
        read.map_err(|source| LocationError::Stream { digest: blob.digest.clone(), source })?;
        Ok(bytes)
    }

    fn open_blob(&self, registry: &Registry, blob: &Descriptor) -> Result<Box<dyn Read + Send>, LocationError> {
        match self {
            Location::Registry(reference) => Ok(Box::new(registry.blob(reference, blob)?)),
            Location::Layout(layout) => {
                let path = layout.blob_path(&blob.digest);
                let file = File::open(&path).map_err(|source| LocationError::Read { path, source })?;
                Ok(Box::new(file.take(blob.size)))
            }
        }
    }

    /// Makes sure that the blob is here too; it is `from` there.
    pub(crate) fn copy_blob(
        &self,
        registry: &Registry,
        blob: &Descriptor,
        from: &Location,
    ) -> Result<(), LocationError> {
        match self {
            Location::Registry(reference) => {
                let mount_from = match from {
                    Location::Registry(other) => Some(other),
                    Location::Layout(_) => None,
                };
                let open = || from.open_blob(registry, blob).map_err(io::Error::other);
                Ok(registry.push_blob(reference, blob, open, mount_from).map(drop)?)
            }
            Location::Layout(layout) if layout.blob_path(&blob.digest).exists() => Ok(()),
            Location::Layout(layout) => {
                let mut source = from.open_blob(registry, blob)?;
                layout.write_blob(&blob.digest, &mut source)
            }
        }
    }

    /// Stores a manifest or index; under the tag if there is one.
    pub(crate) fn put(&self, registry: &Registry, document: &Document) -> Result<(), LocationError> {
        match self {
            Location::Registry(reference) => {
                registry.push_manifest(reference, &document.media_type, &document.bytes).map(drop)?;
                Ok(())
            }
            Location::Layout(layout) => layout.put(document),
        }
    }

    /// The name with a tag, if it has neither tag nor digest.
    pub(crate) fn with_default_tag(&self) -> Location {
        match self {
            Location::Registry(reference) => Location::Registry(reference.with_default_tag()),
            Location::Layout(layout) => {
                let tag = layout.tag.clone().or_else(|| layout.digest.is_none().then(|| "latest".to_owned()));
                Location::Layout(Layout { tag, ..layout.clone() })
            }
        }
    }
}

impl Layout {
    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path.join("blobs/sha256").join(digest.hex())
    }

    fn index_path(&self) -> PathBuf {
        self.path.join("index.json")
    }

    fn index(&self) -> Result<IndexDocument, LocationError> {
        let path = self.index_path();
        let bytes = fs::read(&path).map_err(|source| LocationError::Read { path: path.clone(), source })?;
        serde_json::from_slice(&bytes).map_err(|source| LocationError::NoLayout { path, source })
    }

    fn resolve(&self) -> Result<Option<Document>, LocationError> {
        let (digest, media_type) = match &self.digest {
            // Anything that is there may be meant, be it in the index or below it.
            Some(digest) => (digest.clone(), String::new()),
            None => {
                let wanted = self.tag.as_deref().unwrap_or("latest");
                let has_name = |entry: &Entry| entry.annotations.get(REF_NAME).is_some_and(|name| name == wanted);
                let Some(entry) = self.index()?.manifests.into_iter().find(has_name) else { return Ok(None) };
                (entry.digest, entry.media_type)
            }
        };
        let path = self.blob_path(&digest);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LocationError::Read { path, source }),
        };
        if Digest::of(&bytes) != digest {
            return Err(LocationError::Damaged { path });
        }
        Ok(Some(Document::new(digest, &media_type, bytes)))
    }

    fn put(&self, document: &Document) -> Result<(), LocationError> {
        self.write_blob(&document.digest, &mut document.bytes.as_slice())?;
        let Some(tag) = &self.tag else { return Ok(()) };
        let mut index = match self.index() {
            Err(LocationError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                IndexDocument::of(media_type::OCI_INDEX, Vec::new())
            }
            other => other?,
        };
        index.manifests.retain(|entry| entry.annotations.get(REF_NAME) != Some(tag));
        let mut entry = Entry::of_document(document);
        entry.annotations.insert(REF_NAME.to_owned(), tag.clone());
        index.manifests.push(entry);
        self.replace(&self.path.join("oci-layout"), &mut &br#"{"imageLayoutVersion":"1.0.0"}"#[..])?;
        self.replace(&self.index_path(), &mut index.to_bytes().as_slice())
    }

    fn write_blob(&self, digest: &Digest, source: &mut dyn Read) -> Result<(), LocationError> {
        self.replace(&self.blob_path(digest), source)
    }

    /// Nobody sees half a file.
    fn replace(&self, path: &Path, source: &mut dyn Read) -> Result<(), LocationError> {
        let failed = |source| LocationError::Write { path: path.to_owned(), source };
        let folder = path.parent().unwrap_or(&self.path);
        fs::create_dir_all(folder).map_err(failed)?;
        let mut temporary = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        io::copy(source, &mut temporary).map_err(failed)?;
        rustix::fs::fchmod(temporary.as_file(), rustix::fs::Mode::from_raw_mode(0o644))
            .map_err(|error| failed(error.into()))?;
        temporary.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        let digest = Digest::of(b"");
        for (text, shown) in [
            ("busybox", "docker.io/library/busybox:latest".to_owned()),
            ("oci-layout://a/b", "oci-layout://a/b:latest".to_owned()),
            ("oci-layout:///a:1/b:2", "oci-layout:///a:1/b:2".to_owned()),
            (&format!("oci-layout://a:1@{digest}"), format!("oci-layout://a:1@{digest}")),
            (&format!("oci-layout://a@{digest}"), format!("oci-layout://a@{digest}")),
        ] {
            assert_eq!(Location::parse(text).unwrap().to_string(), shown, "{text}");
        }
        for text in ["oci-layout://", "oci-layout://a:", "oci-layout://a@sha256:00", "A"] {
            assert!(Location::parse(text).is_err(), "{text}");
        }
    }
}
