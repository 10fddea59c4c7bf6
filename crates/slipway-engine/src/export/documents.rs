//! The JSON documents of a result: a manifest for each image, and an index where there may be several
//! (`spec/dockerfile.md` sections 4.5 and 8.5).

use slipway_graph::request::{Annotated, Annotation, ImageOutput};
use slipway_oci::{Descriptor, Index, Manifest, Platform, Reference, media_type};

use super::attestation::AttestationManifest;
use super::pack::Packed;
use super::{Export, ExportError, ExportedImage};
use crate::assemble::Assembled;

/// What an image output consists of; all of it is in the store, but for blobs of base layers that are elsewhere.
pub(super) struct Documents {
    /// What the names of the result point to: the index, else the only manifest.
    pub(super) root: Descriptor,
    /// The same with annotations and platform, as an index that lists it has it.
    pub(super) pointer: Descriptor,
    /// Manifests and index; what another one names comes first, the root last.
    pub(super) documents: Vec<Document>,
    /// One an image, in the order of the request.
    pub(super) manifests: Vec<Manifest>,
    /// What is said about images beside them.
    attestations: Vec<Manifest>,
    /// One an image.
    pub(super) configs: Vec<Assembled>,
}

/// A document as it is stored.
pub(super) struct Document {
    pub(super) descriptor: Descriptor,
    pub(super) bytes: Vec<u8>,
}

impl Documents {
    /// Layers, configs and statements, sorted by digest, each once.
    pub(super) fn blobs(&self) -> Vec<&Descriptor> {
        let manifests = || self.manifests.iter().chain(&self.attestations);
        let layers = manifests().flat_map(|manifest| &manifest.layers);
        let mut blobs: Vec<&Descriptor> = layers.chain(manifests().map(|manifest| &manifest.config)).collect();
        blobs.sort_by(|a, b| a.digest.cmp(&b.digest));
        blobs.dedup_by(|a, b| a.digest == b.digest);
        blobs
    }

    /// What people are told about the result, which got `names`.
    pub(super) fn exported(&self, names: &[Reference]) -> ExportedImage {
        let config = match self.configs.as_slice() {
            [only] if self.documents.len() == 1 => Some(only.digest.clone()),
            _ => None,
        };
        let names = names.iter().map(Reference::to_string).collect();
        ExportedImage { descriptor: self.pointer.clone(), config, names }
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
        self.check_annotations(options)?;
        let (mut documents, mut manifests, mut configs) = (Vec::new(), Vec::new(), Vec::new());
        let (mut entries, mut said) = (Vec::new(), Vec::new());
        for image in self.images {
            let packed = self.pack(image, options)?;
            said.extend(self.attestation_manifest(image, &packed, options)?);
            let Packed { assembled, descriptor, manifest, manifest_bytes } = packed;
            let platform = self.annotated_platform(image, options);
            let annotations = options.annotations_on(Annotated::ManifestDescriptor, platform.as_ref());
            entries.push(Descriptor { platform: Some(image.platform()), annotations, ..descriptor.clone() });
            documents.push(Document { descriptor, bytes: manifest_bytes });
            manifests.push(manifest);
            configs.push(assembled);
        }
        let mut attestations = Vec::new();
        for AttestationManifest { document, manifest, entry } in said {
            documents.push(document);
            attestations.push(manifest);
            entries.push(entry);
        }
        let pointer = match (self.is_multi, entries.as_slice()) {
            (false, [only]) => only.clone(),
            _ => {
                let index = self.index(entries, options)?;
                let annotations = options.annotations_on(Annotated::IndexDescriptor, None);
                let pointer = Descriptor { annotations, ..index.descriptor.clone() };
                documents.push(index);
                pointer
            }
        };
        let root = documents.last().expect("because a build makes at least one image").descriptor.clone();
        Ok(Documents { root, pointer, documents, manifests, attestations, configs })
    }

    /// Annotations that there is no place for.
    fn check_annotations(&self, options: &ImageOutput) -> Result<(), ExportError> {
        let on_index = |a: &Annotation| matches!(a.on, Annotated::Index | Annotated::IndexDescriptor);
        if !self.is_indexed(options) {
            let is_lost = options.annotations.iter().any(on_index);
            return if is_lost { Err(ExportError::IndexAnnotations) } else { Ok(()) };
        }
        if !options.annotations.is_empty() && !options.uses_oci_types {
            return Err(ExportError::AnnotationsNeedOci);
        }
        let is_there = |platform: &Platform| self.images.iter().any(|image| image.platform() == *platform);
        let mut platforms = options.annotations.iter().filter_map(|annotation| annotation.platform.as_ref());
        match platforms.find(|platform| !is_there(platform)) {
            Some(missing) => Err(ExportError::AnnotatedPlatform(missing.clone())),
            None => Ok(()),
        }
    }

    fn index(&self, manifests: Vec<Descriptor>, options: &ImageOutput) -> Result<Document, ExportError> {
        let media_type = match options.uses_oci_types {
            true => media_type::OCI_INDEX,
            false => media_type::DOCKER_INDEX,
        };
        let stated = Some(media_type.to_owned());
        let annotations = options.annotations_on(Annotated::Index, None);
        let index = Index { schema_version: 2, media_type: stated, manifests, annotations };
        let bytes = slipway_oci::to_indented(&index)?;
        let blob = self.store.put_blob(&bytes)?;
        Ok(Document { descriptor: Descriptor::new(media_type, blob.digest, blob.size_bytes), bytes })
    }
}
