//! Which images are in an archive, and under which names? Archives of `docker save`, old and new, and OCI layouts.

use std::io::Read;

use serde::Deserialize;
use slipway_graph::Events;
use slipway_graph::op::ImageOrigin;
use slipway_oci::{Descriptor, Digest, ImageConfig, Index, IndexOrManifest, Manifest, Platform, Reference, media_type};
use slipway_solver::Cancel;

use super::archive::Archive;
use super::{ArchiveError, Reason, StoredImageError, parsed, stand_in};
use crate::Engine;
use crate::export::archive::{IMAGE_NAME, REF_NAME};
use crate::fetch::{Progress, check_layer_blob};
use crate::images::{ImageError, choose, is_image, known_image};
use crate::layer::decompress::{Compression, MAGIC_BYTES};

const MAX_DOCUMENT_BYTES: u64 = 4 << 20;
const MAX_CONFIG_BYTES: u64 = 8 << 20;
/// Indexes that list indexes, deeper than anybody writes them.
const MAX_NESTED: usize = 4;

/// One image of a `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// What an archive held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    Name(Reference),
    /// The id of an image without a name.
    Unnamed(Digest),
}

/// An image whose manifest is in the store, and its names.
struct Found {
    manifest: Digest,
    names: Vec<Reference>,
}

impl Engine {
    /// Brings the images of an archive into the store; the answer is what they are called, in the order of the archive.
    /// Of an image for several platforms, the one for `platform` is taken.
    ///
    /// # Errors
    /// The archive is none, is damaged, holds no image or leads out of itself. Then no name has changed.
    pub fn load_images(
        &self,
        archive: &mut dyn Read,
        platform: &Platform,
        events: &dyn Events,
        cancel: &Cancel,
    ) -> Result<Vec<Loaded>, StoredImageError> {
        let step = events.new_step();
        let mut load = || -> Result<Vec<Loaded>, Reason> {
            let archive = Archive::read(&self.store, archive)?;
            let found = self.find_images(&archive, platform)?;
            let mut records = Vec::new();
            for Found { manifest, names } in found {
                let name = names.first().cloned().unwrap_or_else(|| stand_in(&manifest));
                records.push((self.unpack_loaded(&name, &manifest, &Progress { events, step, cancel })?, names));
            }
            let mut loaded = Vec::new();
            for (record, names) in records {
                if names.is_empty() {
                    self.store.list_unnamed(&record)?;
                    loaded.push(Loaded::Unnamed(record.config.clone()));
                }
                for name in names {
                    self.store.name_image(&name, &record)?;
                    loaded.push(Loaded::Name(name.with_default_tag()));
                }
            }
            match loaded.is_empty() {
                true => Err(ArchiveError::NoImages.into()),
                false => Ok(loaded),
            }
        };
        Ok(load()?)
    }

    fn find_images(&self, archive: &Archive, platform: &Platform) -> Result<Vec<Found>, Reason> {
        let has_docker = archive.has("manifest.json");
        if !archive.has("index.json") {
            return if has_docker { self.docker_images(archive) } else { Err(ArchiveError::NoImages.into()) };
        }
        let bytes = archive.document(&self.store, "index.json", MAX_DOCUMENT_BYTES)?;
        let index: Index = document("index.json", &bytes)?;
        let mut found: Vec<Found> = Vec::new();
        for entry in index.manifests.iter().filter(is_image) {
            let name = name_of(entry)?;
            let manifest = self.manifest_of(archive, entry, platform)?;
            match found.iter_mut().find(|other| other.manifest == manifest) {
                Some(other) => other.names.extend(name),
                None => found.push(Found { manifest, names: name.into_iter().collect() }),
            }
        }
        let has_names = |found: &[Found]| found.iter().any(|image| !image.names.is_empty());
        if has_docker && !has_names(&found) {
            // Other tools write names into the one that they read themselves.
            let of_docker = self.docker_images(archive)?;
            return Ok(if found.is_empty() || has_names(&of_docker) { of_docker } else { found });
        }
        Ok(found)
    }

    /// The manifest for `platform` that an entry of `index.json` leads to.
    fn manifest_of(&self, archive: &Archive, entry: &Descriptor, platform: &Platform) -> Result<Digest, Reason> {
        let image = || "the archive".to_owned();
        let mut entry = entry.clone();
        for _ in 0..MAX_NESTED {
            let path = format!("blobs/sha256/{}", entry.digest.hex());
            let bytes = archive.document(&self.store, &path, MAX_DOCUMENT_BYTES)?;
            let parsed = IndexOrManifest::parse(&bytes, &entry.media_type)
                .map_err(|source| ImageError::Manifest { image: image(), source })?;
            match parsed {
                IndexOrManifest::Manifest(_) => return Ok(entry.digest),
                IndexOrManifest::Index(index) => {
                    let offered =
                        || index.manifests.iter().filter_map(|d| d.platform.as_ref()).map(Platform::to_string);
                    let none = || ImageError::NoPlatform {
                        image: image(),
                        wanted: platform.clone(),
                        offered: offered().collect(),
                    };
                    entry = choose(&index, platform).ok_or_else(none)?.clone();
                }
            }
        }
        Err(ArchiveError::Missing(format!("a manifest for {platform}")).into())
    }

    /// The images of a `manifest.json`, each of which gets a manifest.
    fn docker_images(&self, archive: &Archive) -> Result<Vec<Found>, Reason> {
        let bytes = archive.document(&self.store, "manifest.json", MAX_DOCUMENT_BYTES)?;
        let entries: Vec<DockerEntry> = document("manifest.json", &bytes)?;
        let mut found = Vec::new();
        for entry in entries {
            let names = entry.repo_tags.unwrap_or_default();
            let names = names.iter().map(|name| name.parse().map_err(|_| ArchiveError::Name(name.clone())));
            let names = names.collect::<Result<Vec<Reference>, _>>()?;
            let config = archive.blob(&entry.config)?;
            let mut layers = Vec::new();
            for path in entry.layers.unwrap_or_default() {
                let blob = archive.blob(&path)?;
                let media_type = self.layer_type(&blob.digest)?;
                layers.push(Descriptor::new(media_type, blob.digest.clone(), blob.size_bytes));
            }
            let manifest = Manifest {
                schema_version: 2,
                media_type: Some(media_type::OCI_MANIFEST.to_owned()),
                artifact_type: None,
                config: Descriptor::new(media_type::OCI_CONFIG, config.digest.clone(), config.size_bytes),
                layers,
                subject: None,
                annotations: Default::default(),
            };
            let manifest = self.store.put_blob(&slipway_oci::to_indented(&manifest)?)?.digest;
            found.push(Found { manifest, names });
        }
        Ok(found)
    }

    /// How a layer is compressed, which a `manifest.json` does not say.
    fn layer_type(&self, digest: &Digest) -> Result<&'static str, Reason> {
        let missing = || Reason::BlobMissing(digest.clone());
        let (file, _) = self.store.open_blob(digest)?.ok_or_else(missing)?;
        let mut magic = Vec::new();
        file.take(MAGIC_BYTES as u64).read_to_end(&mut magic).map_err(ArchiveError::Read)?;
        Ok(match Compression::detect(&magic) {
            Compression::Gzip => media_type::OCI_LAYER_GZIP,
            Compression::Zstd => media_type::OCI_LAYER_ZSTD,
            Compression::None | Compression::Bzip2 | Compression::Xz => media_type::OCI_LAYER,
        })
    }

    /// Unpacks an image, all of whose blobs have to be here already: nothing is fetched for an archive.
    fn unpack_loaded(
        &self,
        name: &Reference,
        manifest_digest: &Digest,
        progress: &Progress<'_>,
    ) -> Result<slipway_store::ImageRecord, Reason> {
        let bytes = self.document(manifest_digest)?;
        let IndexOrManifest::Manifest(manifest) = parsed(name, &bytes)? else {
            return Err(Reason::BlobMissing(manifest_digest.clone()));
        };
        let blobs = [manifest.layers.as_slice(), std::slice::from_ref(&manifest.config)].concat();
        if let Some(missing) = self.first_missing(&blobs)? {
            return Err(ArchiveError::Missing(format!("blobs/sha256/{}", missing.hex())).into());
        }
        if manifest.config.size > MAX_CONFIG_BYTES {
            return Err(ArchiveError::TooLarge(manifest.config.digest.to_string()).into());
        }
        let config = self.document(&manifest.config.digest)?;
        let origin = ImageOrigin::Registry;
        let known = known_image(name.familiar(), origin, manifest_digest.clone(), &manifest, &config)?;
        self.check_known_layers(&name.familiar(), &manifest, &known.config)?;
        self.unpack_known(name, &known, progress)
    }

    /// A layer that is in the store is not unpacked again, so that nobody would notice that its blob is another one.
    fn check_known_layers(&self, name: &str, manifest: &Manifest, config: &ImageConfig) -> Result<(), Reason> {
        for (diff_id, blob) in config.rootfs.diff_ids.iter().zip(&manifest.layers) {
            if self.store.layer_by_diff_id(diff_id)?.is_some() {
                check_layer_blob(&self.store, name, diff_id, blob)?;
            }
        }
        Ok(())
    }
}

fn document<'a, T: Deserialize<'a>>(path: &str, bytes: &'a [u8]) -> Result<T, ArchiveError> {
    serde_json::from_slice(bytes).map_err(|source| ArchiveError::Document { path: path.to_owned(), source })
}

/// The full name of an entry of `index.json`: the annotation for it, or a name in the one for tags.
fn name_of(entry: &Descriptor) -> Result<Option<Reference>, ArchiveError> {
    let is_name = |text: &&String| text.contains([':', '/']);
    let text = entry.annotations.get(IMAGE_NAME).or_else(|| entry.annotations.get(REF_NAME).filter(is_name));
    text.map(|text| text.parse().map_err(|_| ArchiveError::Name(text.clone()))).transpose()
}
