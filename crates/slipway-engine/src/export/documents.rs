//! The JSON documents of a result: a manifest for each image, and an index where there may be several
//! (`spec/dockerfile.md` sections 4.5 and 8.5).

use std::collections::BTreeMap;

use slipway_graph::request::ImageOutput;
use slipway_oci::{Descriptor, Index, Manifest, media_type};

use super::{Export, ExportError};

/// What an image output consists of; all of it is in the store.
pub(super) struct Documents {
    /// What the names of the result point to: the index, else the only manifest.
    pub(super) root: Descriptor,
    /// Manifests and index; what another one names comes first, the root last.
    pub(super) documents: Vec<Document>,
    /// One an image, in the order of the request.
    pub(super) manifests: Vec<Manifest>,
}

/// A document as it is stored.
pub(super) struct Document {
    pub(super) descriptor: Descriptor,
    pub(super) bytes: Vec<u8>,
}

impl Documents {
    /// Layers and configs, sorted by digest, each once.
    pub(super) fn blobs(&self) -> Vec<&Descriptor> {
        let layers = self.manifests.iter().flat_map(|manifest| &manifest.layers);
        let mut blobs: Vec<&Descriptor> =
            layers.chain(self.manifests.iter().map(|manifest| &manifest.config)).collect();
        blobs.sort_by(|a, b| a.digest.cmp(&b.digest));
        blobs.dedup_by(|a, b| a.digest == b.digest);
        blobs
    }

    /// The documents that the root names.
    pub(super) fn below_root(&self) -> &[Document] {
        self.documents.split_last().map_or(&[], |(_, below)| below)
    }

    /// The document that the names point to.
    pub(super) fn root_bytes(&self) -> &[u8] {
        self.documents.last().map_or(&[], |document| &document.bytes)
    }
}

impl Export<'_> {
    /// Everything that an output with `options` consists of.
    pub(super) fn documents(&self, options: &ImageOutput) -> Result<Documents, ExportError> {
        let (mut documents, mut manifests, mut entries) = (Vec::new(), Vec::new(), Vec::new());
        for image in self.images {
            let (descriptor, bytes, manifest) = self.manifest(image, options)?;
            entries.push(Descriptor { platform: Some(image.platform()), ..descriptor.clone() });
            documents.push(Document { descriptor, bytes });
            manifests.push(manifest);
        }
        if self.is_multi {
            documents.push(self.index(entries, options)?);
        }
        let root = documents.last().expect("because a build makes at least one image").descriptor.clone();
        Ok(Documents { root, documents, manifests })
    }

    fn index(&self, manifests: Vec<Descriptor>, options: &ImageOutput) -> Result<Document, ExportError> {
        let media_type = match options.uses_oci_types {
            true => media_type::OCI_INDEX,
            false => media_type::DOCKER_INDEX,
        };
        let stated = Some(media_type.to_owned());
        let index = Index { schema_version: 2, media_type: stated, manifests, annotations: BTreeMap::new() };
        let bytes = slipway_oci::to_indented(&index)?;
        let blob = self.store.put_blob(&bytes)?;
        Ok(Document { descriptor: Descriptor::new(media_type, blob.digest, blob.size_bytes), bytes })
    }
}
