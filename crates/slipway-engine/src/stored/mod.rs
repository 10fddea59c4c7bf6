//! Images of the local store without a build: into it from registries and archives, out of it to the same.
//!
//! ```text
//! mod.rs      pull; which blobs an image of the store consists of, made where it has none yet
//! save.rs     push, and archives as `docker save` writes them
//! load.rs     which images an archive holds, once its files are in the store
//! archive.rs  the files of an archive become blobs
//! ```

mod archive;
mod load;
mod save;

use std::collections::BTreeSet;
use std::io;

use slipway_dockerfile::{ImageKey, ImagePlace, KnownImage};
use slipway_graph::op::{ImageOrigin, ImageSource};
use slipway_graph::request::Compression;
use slipway_graph::{Events, Pins};
use slipway_oci::{Descriptor, DiffId, Digest, IndexOrManifest, Manifest, Platform, Reference, media_type};
use slipway_registry::PushError;
use slipway_solver::Cancel;
use slipway_store::{BlobError, DbError, ImageRecord, Snapshot};

use crate::Engine;
use crate::build::internal_step;
use crate::export::pack::in_family;
use crate::fetch::Progress;
use crate::images::{self, ImageDigests, ImageError, Images};
use crate::layers::{self, BlobForm, LayerError, Place};
use crate::remote::Fetching;
use crate::store_disk;

pub(crate) use archive::ArchiveError;
pub use load::Loaded;

/// Why an image does not get into the store or out of it.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StoredImageError(#[from] Reason);

impl StoredImageError {
    /// Whether there was no room for it.
    pub fn is_about_full_disk(&self) -> bool {
        store_disk::is_about_full_disk(self)
    }
}

#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Push(#[from] PushError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("the blob {0} of the image is not in the store any more: pull or build it again")]
    BlobMissing(Digest),
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
    #[error("cannot make the manifest")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Names(#[from] slipway_store::ImageError),
}

/// What came of a pull.
#[derive(Debug)]
pub struct Pulled {
    /// What the registry has under the name: the manifest, or the index that lists it.
    pub digest: Digest,
    /// Whether the name stood for something else before, or for nothing.
    pub is_new: bool,
}

/// An image all of whose blobs are in the store.
struct Complete {
    /// What names of the image point to.
    root: Descriptor,
    root_bytes: Vec<u8>,
    /// Manifests that the root lists, with their bytes; none if it is a manifest itself.
    below: Vec<(Descriptor, Vec<u8>)>,
    /// The manifest of the image that this machine can run, or else the first.
    manifest: Manifest,
    /// Configs and layers, each once.
    blobs: Vec<Descriptor>,
}

impl Complete {
    /// Everything that it consists of.
    fn digests(&self) -> BTreeSet<&Digest> {
        let documents = self.below.iter().map(|(descriptor, _)| &descriptor.digest);
        documents.chain([&self.root.digest]).chain(self.blobs.iter().map(|blob| &blob.digest)).collect()
    }
}

impl Engine {
    /// Brings the image that the registry has under `name` for `platform` into the store, under that name.
    ///
    /// # Errors
    /// The registry does not have it, or what it sends is not what it says.
    pub fn pull_image(
        &self,
        name: &Reference,
        platform: &Platform,
        events: &dyn Events,
        cancel: &Cancel,
    ) -> Result<Pulled, StoredImageError> {
        let step = events.new_step();
        let pull = || self.pull_named(name, platform, &Progress { events, step, cancel });
        Ok(internal_step(events, step, &format!("pulling {}", name.with_default_tag().familiar()), pull)?)
    }

    fn pull_named(&self, name: &Reference, platform: &Platform, progress: &Progress<'_>) -> Result<Pulled, Reason> {
        let digests = ImageDigests::default();
        let images = Images {
            store: &self.store,
            registry: &self.registry,
            pulls_always: true,
            lock: None,
            pins: &Pins::default(),
            digests: &digests,
        };
        let key = ImageKey { place: ImagePlace::Reference(name.clone()), platform: platform.clone() };
        let known = images.look_up(&key)?;
        let digest = digests.of(name).unwrap_or_else(|| known.manifest.clone());
        let unpacked = self.unpack_known(name, &known, progress)?;
        let record = ImageRecord { registry_digest: Some(digest.clone()), ..unpacked };
        let is_new = self.store.image(name)?.is_none_or(|before| before.config != record.config);
        self.store.name_image(name, &record)?;
        Ok(Pulled { digest, is_new })
    }

    /// Unpacks an image whose manifest and config are in the store, and says what its name is to stand for.
    fn unpack_known(
        &self,
        name: &Reference,
        known: &KnownImage,
        progress: &Progress<'_>,
    ) -> Result<ImageRecord, Reason> {
        let source = ImageSource {
            written: name.clone(),
            reference: name.clone(),
            origin: known.origin.clone(),
            manifest: known.manifest.clone(),
            platform: known.config.platform(),
            chain_id: known.chain_id.clone(),
        };
        images::pull(&source, &self.store, &self.registry, self.flavor, progress)?;
        // Layers that were known already have come without their blobs.
        let Progress { events, cancel, .. } = *progress;
        let fetching = Fetching { store: &self.store, flavor: self.flavor, events, cancel };
        let layers = images::remote_layers(&source, &self.store, &self.registry)?;
        for layer in &layers.layers {
            if !self.store.has_blob(&layer.blob.digest)? {
                layers.fetch_blob(&layer.blob.digest, fetching)?;
            }
        }
        let bytes = self.document(&known.manifest)?;
        let IndexOrManifest::Manifest(manifest) = parsed(name, &bytes)? else {
            return Err(Reason::BlobMissing(known.manifest.clone()));
        };
        let stated = manifest.media_type.as_deref().unwrap_or(media_type::OCI_MANIFEST);
        Ok(ImageRecord {
            manifest: Some(Descriptor::new(stated, known.manifest.clone(), bytes.len() as u64)),
            config: manifest.config.digest,
            layers: known.config.rootfs.diff_ids.clone(),
            created: known.config.created.clone(),
            platform: known.config.platform(),
            registry_digest: None,
            others: Vec::new(),
        })
    }

    /// Makes the blobs that images with names lack, so that whoever reads the store as an OCI layout finds all of them.
    ///
    /// # Errors
    /// An image is damaged, or the disk is full.
    pub fn complete_images(&self, events: &dyn Events, cancel: &Cancel) -> Result<(), StoredImageError> {
        let complete = || -> Result<(), Reason> {
            for (name, image) in self.store.images()?.iter().filter(|(_, image)| image.manifest.is_none()) {
                self.complete(name, image, events, cancel)?;
            }
            Ok(())
        };
        Ok(complete()?)
    }

    /// All that `image` consists of. Layers that are only there as files are compressed now.
    fn complete(
        &self,
        name: &Reference,
        image: &ImageRecord,
        events: &dyn Events,
        cancel: &Cancel,
    ) -> Result<Complete, Reason> {
        let Some(root) = &image.manifest else {
            let complete = self.packed(name, image, events, cancel)?;
            if self.store.image(name)?.as_ref() == Some(image) {
                // Others can read it now, too.
                let manifest = Some(complete.root.clone());
                self.store.name_image(name, &ImageRecord { manifest, ..image.clone() })?;
            }
            return Ok(complete);
        };
        let root_bytes = self.document(&root.digest)?;
        let (mut below, mut manifests) = (Vec::new(), Vec::new());
        match parsed(name, &root_bytes)? {
            IndexOrManifest::Manifest(manifest) => manifests.push(manifest),
            IndexOrManifest::Index(index) => {
                for entry in index.manifests {
                    let bytes = self.document(&entry.digest)?;
                    if let IndexOrManifest::Manifest(manifest) = parsed(name, &bytes)? {
                        manifests.push(manifest);
                    }
                    below.push((entry, bytes));
                }
            }
        }
        let mut blobs: Vec<Descriptor> =
            manifests.iter().flat_map(|manifest| manifest.layers.iter().chain([&manifest.config]).cloned()).collect();
        blobs.sort_by(|a, b| a.digest.cmp(&b.digest));
        blobs.dedup_by(|a, b| a.digest == b.digest);
        if let Some(missing) = self.first_missing(&blobs)? {
            return Err(Reason::BlobMissing(missing));
        }
        let main = manifests.iter().position(|manifest| manifest.config.digest == image.config).unwrap_or(0);
        if manifests.is_empty() {
            return Err(Reason::BlobMissing(root.digest.clone()));
        }
        Ok(Complete { root: root.clone(), root_bytes, below, manifest: manifests.swap_remove(main), blobs })
    }

    fn packed(
        &self,
        name: &Reference,
        image: &ImageRecord,
        events: &dyn Events,
        cancel: &Cancel,
    ) -> Result<Complete, Reason> {
        let config_bytes = self.document(&image.config)?;
        let source = ImageSource {
            written: name.clone(),
            reference: name.clone(),
            origin: ImageOrigin::Store,
            manifest: image.config.clone(),
            platform: image.platform.clone(),
            chain_id: None,
        };
        let progress = Progress { events, step: events.new_step(), cancel };
        let snapshot = images::pull(&source, &self.store, &self.registry, self.flavor, &progress)?;
        let layers = image.layers.iter().map(|diff_id| self.layer_blob(&snapshot, diff_id, cancel));
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config: Descriptor::new(media_type::OCI_CONFIG, image.config.clone(), config_bytes.len() as u64),
            layers: layers.collect::<Result<_, _>>()?,
            subject: None,
            annotations: Default::default(),
        };
        let root_bytes = slipway_oci::to_indented(&manifest)?;
        let blob = self.store.put_blob(&root_bytes)?;
        let root = Descriptor::new(media_type::OCI_MANIFEST, blob.digest, blob.size_bytes);
        let mut blobs = [manifest.layers.as_slice(), std::slice::from_ref(&manifest.config)].concat();
        blobs.sort_by(|a, b| a.digest.cmp(&b.digest));
        blobs.dedup_by(|a, b| a.digest == b.digest);
        Ok(Complete { root, root_bytes, below: Vec::new(), manifest, blobs })
    }

    /// The blob that came with the image, or one made of the files of the layer.
    fn layer_blob(&self, snapshot: &Snapshot, diff_id: &DiffId, cancel: &Cancel) -> Result<Descriptor, Reason> {
        let mut known = self.store.layer_blobs(diff_id)?;
        // Most readers expect it, and it is what new layers get.
        known.sort_by_key(|blob| in_family(blob.clone(), true).media_type != media_type::OCI_LAYER_GZIP);
        for blob in known {
            if self.store.has_blob(&blob.digest)? {
                return Ok(in_family(blob, true));
            }
        }
        let form = BlobForm { compression: Compression::Gzip, level: None };
        for (place, layer) in snapshot.layers().iter().enumerate() {
            if self.store.diff_id(layer)?.is_some_and(|(known, _)| known == *diff_id) {
                return Ok(layers::blob(&self.store, &Place::of(snapshot, place), form, cancel)?);
            }
        }
        Err(Reason::BlobMissing(diff_id.0.clone()))
    }

    fn first_missing(&self, blobs: &[Descriptor]) -> Result<Option<Digest>, BlobError> {
        for blob in blobs {
            if !self.store.has_blob(&blob.digest)? {
                return Ok(Some(blob.digest.clone()));
            }
        }
        Ok(None)
    }

    /// A manifest, index or config of the store.
    fn document(&self, digest: &Digest) -> Result<Vec<u8>, Reason> {
        images::stored_blob(&self.store, digest)?.ok_or_else(|| Reason::BlobMissing(digest.clone()))
    }
}

/// What an image that has no name is called in messages.
fn stand_in(digest: &Digest) -> Reference {
    "image".parse::<Reference>().expect("because it is a name").at_digest(digest.clone())
}

fn parsed(name: &Reference, bytes: &[u8]) -> Result<IndexOrManifest, ImageError> {
    IndexOrManifest::parse(bytes, "").map_err(|source| ImageError::Manifest { image: name.familiar(), source })
}
