//! Statements about an image as a manifest of their own, which the index lists beside the image's
//! (`spec/dockerfile.md` section 8.7).

use std::collections::BTreeMap;

use serde_json::json;
use slipway_graph::request::ImageOutput;
use slipway_oci::{Descriptor, Manifest, Platform, media_type};

use super::documents::Document;
use super::pack::Packed;
use super::{Export, ExportError, Image};
use crate::attest::Attestation;
use crate::attest::statement::{Statement, Subject};

const ARTIFACT: &str = "application/vnd.docker.attestation.manifest.v1+json";
const STATEMENT: &str = "application/vnd.in-toto+json";
const EMPTY_CONFIG: &[u8] = b"{}";

/// The statements about one image.
pub(super) struct AttestationManifest {
    pub(super) document: Document,
    pub(super) manifest: Manifest,
    /// As the index lists it.
    pub(super) entry: Descriptor,
}

impl Export<'_> {
    /// Whether something is said about the images of an output with `options`.
    pub(super) fn attests(&self, options: &ImageOutput) -> bool {
        self.images.iter().any(|image| said(image, options).next().is_some())
    }

    /// What is said about `image`, which an output with `options` has as `packed`.
    pub(super) fn attestation_manifest(
        &self,
        image: &Image,
        packed: &Packed,
        options: &ImageOutput,
    ) -> Result<Option<AttestationManifest>, ExportError> {
        let subject = Subject::of_image(&options.names, &image.platform(), &packed.descriptor.digest);
        let mut layers = Vec::new();
        for attestation in said(image, options) {
            let statement = Statement::of(attestation, subject.clone(), &packed.manifest.layers);
            let blob = self.store.put_blob(&slipway_oci::to_compact(&statement)?)?;
            let mut layer = Descriptor::new(STATEMENT, blob.digest, blob.size_bytes);
            let kind = attestation.predicate_type().to_owned();
            layer.annotations = BTreeMap::from([("in-toto.io/predicate-type".to_owned(), kind)]);
            layers.push(layer);
        }
        if layers.is_empty() {
            return Ok(None);
        }
        let manifest = match options.attests_by_artifact {
            true => self.artifact(layers, &packed.descriptor)?,
            false => self.image_like(layers, options.uses_oci_types)?,
        };
        let bytes = slipway_oci::to_indented(&manifest)?;
        let blob = self.store.put_blob(&bytes)?;
        let stated = manifest.media_type.as_deref().unwrap_or(media_type::OCI_MANIFEST);
        let descriptor = Descriptor::new(stated, blob.digest, blob.size_bytes);
        let annotations = BTreeMap::from([
            ("vnd.docker.reference.digest".to_owned(), packed.descriptor.digest.to_string()),
            ("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned()),
        ]);
        let platform = Some(Platform::new("unknown", "unknown", None));
        let entry = Descriptor { annotations, platform, ..descriptor.clone() };
        Ok(Some(AttestationManifest { document: Document { descriptor, bytes }, manifest, entry }))
    }

    /// An OCI artifact that refers to the image.
    fn artifact(&self, layers: Vec<Descriptor>, subject: &Descriptor) -> Result<Manifest, ExportError> {
        let blob = self.store.put_blob(EMPTY_CONFIG)?;
        let mut config = Descriptor::new(media_type::OCI_EMPTY, blob.digest, blob.size_bytes);
        config.data = Some("e30=".to_owned());
        Ok(Manifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            artifact_type: Some(ARTIFACT.to_owned()),
            config,
            layers,
            subject: Some(subject.clone()),
            annotations: BTreeMap::new(),
        })
    }

    /// What looks like an image for no platform, for registries that know nothing else.
    fn image_like(&self, layers: Vec<Descriptor>, uses_oci_types: bool) -> Result<Manifest, ExportError> {
        let (manifest_type, config_type) = match uses_oci_types {
            true => (media_type::OCI_MANIFEST, media_type::OCI_CONFIG),
            false => (media_type::DOCKER_MANIFEST, media_type::DOCKER_CONFIG),
        };
        let diff_ids: Vec<String> = layers.iter().map(|layer| layer.digest.to_string()).collect();
        let rootfs = json!({"type": "layers", "diff_ids": diff_ids});
        let config = json!({"architecture": "unknown", "os": "unknown", "config": {}, "rootfs": rootfs});
        let blob = self.store.put_blob(&slipway_oci::to_compact(&config)?)?;
        Ok(Manifest {
            schema_version: 2,
            media_type: Some(manifest_type.to_owned()),
            artifact_type: None,
            config: Descriptor::new(config_type, blob.digest, blob.size_bytes),
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        })
    }
}

/// The statements about `image` that an output with `options` has.
fn said<'a>(image: &'a Image, options: &ImageOutput) -> impl Iterator<Item = &'a Attestation> {
    let keeps_inline_only = options.keeps_inline_only;
    image.attestations.iter().filter(move |attestation| keeps_inline_only || !attestation.is_inline_only)
}
