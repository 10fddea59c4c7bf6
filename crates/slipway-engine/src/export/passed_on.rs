//! Layers of base images and imported caches that leave as they came: who has those that the store lacks.

use std::sync::{Arc, PoisonError};

use slipway_oci::{Descriptor, Digest, Reference};
use slipway_store::Snapshot;

use super::documents::Documents;
use super::{Export, ExportError, Image};
use crate::images::{self, ImageError};
use crate::remote::{Fetching, RemoteLayers, RootFs};

impl Export<'_> {
    /// Who has layers of `image` that need not be in the store: whoever was asked for its base, and an imported cache.
    pub(super) fn holders(&self, image: &Image) -> Result<Vec<Arc<RemoteLayers>>, ExportError> {
        let base = image.base.as_ref().map(|base| images::remote_layers(base, self.store, self.registry));
        let rest = match &image.root_fs {
            RootFs::Remote(remote) if !remote.is_of_image() => Some(Arc::clone(remote.bottom())),
            RootFs::Remote(_) | RootFs::Here(_) => None,
        };
        Ok(base.transpose()?.map(Arc::new).into_iter().chain(rest).collect())
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

    /// Gets a blob into the store that a base image or a cache may have.
    pub(super) fn fetch_blob(&self, digest: &Digest) -> Result<(), ExportError> {
        if self.store.has_blob(digest)? {
            return Ok(());
        }
        for image in self.images {
            for layers in self.holders(image)? {
                if layers.fetch_blob(digest, self.fetching()).map_err(|source| self.not_had(&layers, source))? {
                    return Ok(());
                }
            }
        }
        Err(ExportError::BlobMissing(digest.clone()))
    }

    fn not_had(&self, layers: &RemoteLayers, source: ImageError) -> ExportError {
        match layers.lost(source) {
            Ok(lost) => {
                let message = ExportError::LostCache(lost.name.clone());
                *self.lost_cache.lock().unwrap_or_else(PoisonError::into_inner) = Some(lost);
                message
            }
            Err(source) => source.into(),
        }
    }

    /// A repository on the registry of `target` that has the blob already, because a base image or a cache is there.
    pub(super) fn mount_source(&self, target: &Reference, blob: &Descriptor) -> Result<Option<Reference>, ExportError> {
        for image in self.images {
            let source = |layers: &Arc<RemoteLayers>| layers.mount_source(target, &blob.digest).cloned();
            if let Some(source) = self.holders(image)?.iter().find_map(source) {
                return Ok(Some(source));
            }
        }
        Ok(None)
    }

    fn fetching(&self) -> Fetching<'_> {
        Fetching { store: self.store, flavor: self.flavor, events: self.events, cancel: self.cancel }
    }
}
