//! Which images are to be put together? What was typed, and where each of it is.

use std::fs;

use serde::Deserialize;
use slipway_oci::{Descriptor, Digest, IndexOrManifest, ManifestParseError, ReferenceParseError, media_type};
use slipway_registry::Registry;

use super::index::{Entry, EntryPlatform, Part, is_index};
use super::location::{Location, LocationError};

/// Manifests from before there were lists of them begin with this.
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+";

/// Why sources cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error("open {path}: {}", reason(error))]
    Open { path: String, error: std::io::Error },
    #[error("no sources specified")]
    None,
    #[error("failed to parse source {text:?}, valid sources are digests, references and descriptors: {source}")]
    Reference { text: String, source: ReferenceParseError },
    #[error("failed to parse source {text:?}, valid sources are digests, references and descriptors: {source}")]
    Descriptor { text: String, source: serde_json::Error },
    #[error("no repositories specified, please set a reference in tag or source")]
    NoRepository,
    #[error("multiple repositories specified, cannot infer repository for {text:?}")]
    ManyRepositories { text: String },
    #[error("schema1 manifests are not allowed in manifest lists")]
    Schema1,
    #[error("the manifest {0} cannot be understood")]
    Manifest(Location, #[source] ManifestParseError),
    #[error("the config of {0} cannot be understood")]
    Config(Location, #[source] serde_json::Error),
    #[error(transparent)]
    Location(#[from] LocationError),
}

/// The words of Go where they differ.
fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        _ => error.to_string(),
    }
}

/// One source as it was typed.
#[derive(Debug)]
enum Typed {
    Name(Location),
    /// A digest, or more, in a repository that something else names.
    Entry {
        text: String,
        entry: TypedEntry,
    },
}

/// A descriptor of which all but the digest may be left out.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypedEntry {
    digest: Digest,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    platform: Option<EntryPlatform>,
}

/// An image that is to be part of another, and where it is.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) location: Location,
    pub(crate) part: Part,
}

/// Reads what was typed: `files` hold descriptors and come first, in front of all the image that is appended to.
/// Digests alone belong to the one repository that anything else names, `tags` among that.
pub(crate) fn find(
    registry: &Registry,
    files: &[String],
    texts: &[String],
    appended_to: Option<&Location>,
    tags: &[Location],
) -> Result<Vec<Source>, SourceError> {
    if files.is_empty() && texts.is_empty() {
        return Err(SourceError::None);
    }
    let mut typed: Vec<Typed> = appended_to.map(|location| Typed::Name(location.clone())).into_iter().collect();
    for path in files {
        let text = fs::read_to_string(path).map_err(|error| SourceError::Open { path: path.clone(), error })?;
        typed.push(descriptor(text)?);
    }
    for text in texts {
        typed.push(parse(text)?);
    }
    let mut places: Vec<&Location> = Vec::new();
    let named = typed.iter().filter_map(|source| match source {
        Typed::Name(location) => Some(location),
        Typed::Entry { .. } => None,
    });
    for location in tags.iter().chain(named) {
        if !places.iter().any(|known| known.is_same_place(location)) {
            places.push(location);
        }
    }
    let place = |text: &str| match places.as_slice() {
        [] => Err(SourceError::NoRepository),
        [only] => Ok((*only).clone()),
        _ => Err(SourceError::ManyRepositories { text: text.to_owned() }),
    };
    typed.iter().map(|source| resolved(registry, source, place)).collect()
}

fn parse(text: &str) -> Result<Typed, SourceError> {
    if text.trim_start().starts_with('{') {
        return descriptor(text.to_owned());
    }
    if let Ok(digest) = text.parse() {
        let entry = TypedEntry { digest, annotations: Default::default(), platform: None };
        return Ok(Typed::Entry { text: text.to_owned(), entry });
    }
    let bad = |source| SourceError::Reference { text: text.to_owned(), source };
    Location::parse(text).map(Typed::Name).map_err(bad)
}

fn descriptor(text: String) -> Result<Typed, SourceError> {
    match serde_json::from_str(&text) {
        Ok(entry) => Ok(Typed::Entry { text, entry }),
        Err(source) => Err(SourceError::Descriptor { text, source }),
    }
}

fn resolved(
    registry: &Registry,
    typed: &Typed,
    place: impl Fn(&str) -> Result<Location, SourceError>,
) -> Result<Source, SourceError> {
    match typed {
        Typed::Name(location) => of_location(registry, location),
        Typed::Entry { text, entry } => found_at(registry, place(text)?.at_digest(&entry.digest), Some(entry)),
    }
}

/// The image that is at `location`.
pub(crate) fn of_location(registry: &Registry, location: &Location) -> Result<Source, SourceError> {
    found_at(registry, location.clone(), None)
}

fn found_at(registry: &Registry, location: Location, typed: Option<&TypedEntry>) -> Result<Source, SourceError> {
    let document = location.resolve(registry)?;
    if document.media_type.starts_with(SCHEMA_1) {
        return Err(SourceError::Schema1);
    }
    let mut found = Entry::of_document(&document);
    if let Some(typed) = typed {
        found.annotations.clone_from(&typed.annotations);
        found.platform.clone_from(&typed.platform);
    }
    if found.platform.is_none() && !is_index(&document.media_type) {
        let parsed = IndexOrManifest::parse(&document.bytes, &document.media_type);
        match parsed.map_err(|error| SourceError::Manifest(location.clone(), error))? {
            IndexOrManifest::Manifest(manifest) => {
                found.platform = platform_of(registry, &location, &manifest.config)?;
            }
            IndexOrManifest::Index(_) => {}
        }
    }
    Ok(Source { location, part: Part { entry: found, document } })
}

/// The platform that the config of an image says; other things have none.
fn platform_of(
    registry: &Registry,
    location: &Location,
    config: &Descriptor,
) -> Result<Option<EntryPlatform>, SourceError> {
    if !matches!(config.media_type.as_str(), media_type::OCI_CONFIG | media_type::DOCKER_CONFIG) {
        return Ok(None);
    }
    let bytes = location.small_blob(registry, config)?;
    let config: slipway_oci::ImageConfig =
        serde_json::from_slice(&bytes).map_err(|error| SourceError::Config(location.clone(), error))?;
    let platform = slipway_oci::Platform::new(&config.os, &config.architecture, config.variant.as_deref());
    Ok(Some(EntryPlatform {
        architecture: platform.architecture,
        os: platform.os,
        os_version: config.os_version,
        os_features: config.os_features,
        variant: platform.variant,
    }))
}
