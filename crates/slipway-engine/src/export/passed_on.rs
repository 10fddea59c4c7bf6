//! Layers of base images that leave as they came: who has those that the store lacks.

use slipway_oci::{Descriptor, Digest, Reference};
use slipway_store::Snapshot;

use super::documents::Documents;
use super::{Export, ExportError, Image};
use crate::images;
use crate::remote::{Fetching, RemoteLayers, RootFs};

impl Export<'_> {
    /// The layers of the base of `image` as those have them who were asked for it.
    pub(super) fn base_layers(&self, image: &Image) -> Result<Option<RemoteLayers>, ExportError> {
        let layers = image.base.as_ref().map(|base| images::remote_layers(base, self.store, self.registry));
        Ok(layers.transpose()?)
    }

    /// The files of `image`.
    pub(super) fn files_of(&self, image: &Image) -> Result<Snapshot, ExportError> {
        Ok(image.root_fs.snapshot(self.fetching()).map_err(Box::new)?)
    }

    /// Whether the files of all images are in the store.
    pub(super) fn has_all_files(&self) -> bool {
        self.images.iter().all(|image| matches!(image.root_fs, RootFs::Here(_)))
    }

    /// Gets all blobs into the store that `documents` name.
    pub(super) fn fetch_blobs(&self, documents: &Documents) -> Result<(), ExportError> {
        documents.blobs().into_iter().try_for_each(|blob| self.fetch_blob(&blob.digest))
    }

    /// Gets a blob into the store that a base image may have.
    pub(super) fn fetch_blob(&self, digest: &Digest) -> Result<(), ExportError> {
        if self.store.has_blob(digest)? {
            return Ok(());
        }
        for image in self.images {
            if let Some(layers) = self.base_layers(image)?
                && layers.fetch_blob(digest, self.fetching())?
            {
                return Ok(());
            }
        }
        Err(ExportError::BlobMissing(digest.clone()))
    }

    /// A repository on the registry of `target` that has the blob already, because a base image is there.
    pub(super) fn mount_source(&self, target: &Reference, blob: &Descriptor) -> Result<Option<Reference>, ExportError> {
        for image in self.images {
            if let Some(source) = self.base_layers(image)?.and_then(|l| l.mount_source(target, &blob.digest).cloned()) {
                return Ok(Some(source));
            }
        }
        Ok(None)
    }

    fn fetching(&self) -> Fetching<'_> {
        Fetching { store: self.store, flavor: self.flavor, events: self.events, cancel: self.cancel }
    }
}
