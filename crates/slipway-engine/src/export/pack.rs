//! What do the layers and the config of an image look like for one output?
//!
//! Outputs differ in compression, in times, and in whether files may be younger than the epoch; the last changes diff
//! IDs, and so the config.

use std::collections::BTreeMap;

use slipway_graph::request::{Annotated, Compression, ImageOutput};
use slipway_oci::{Descriptor, DiffId, Manifest, media_type};

use super::{Export, ExportError, Image, ImageLayer, LayerOrigin};
use crate::assemble::Assembled;
use crate::layer::compress::layer_media_type;
use crate::layers::{self, BlobForm, Place};

/// An image whose blobs are all in the store, but for those of base layers that are elsewhere.
pub(super) struct Packed {
    pub(super) assembled: Assembled,
    pub(super) descriptor: Descriptor,
    pub(super) manifest: Manifest,
    pub(super) manifest_bytes: Vec<u8>,
}

impl Export<'_> {
    /// `image` as an output with `options` wants it.
    pub(super) fn pack(&self, image: &Image, options: &ImageOutput) -> Result<Packed, ExportError> {
        let (assembled, layers) = self.contents(image, options)?;
        self.store.put_blob(&assembled.bytes)?;
        let (manifest_type, config_type) = match options.uses_oci_types {
            true => (media_type::OCI_MANIFEST, media_type::OCI_CONFIG),
            false => (media_type::DOCKER_MANIFEST, media_type::DOCKER_CONFIG),
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(manifest_type.to_owned()),
            artifact_type: None,
            config: Descriptor::new(config_type, assembled.digest.clone(), assembled.bytes.len() as u64),
            layers,
            subject: None,
            annotations: options.annotations_on(Annotated::Manifest, self.annotated_platform(image, options).as_ref()),
        };
        let manifest_bytes = slipway_oci::to_indented(&manifest)?;
        let blob = self.store.put_blob(&manifest_bytes)?;
        let descriptor = Descriptor::new(manifest_type, blob.digest, blob.size_bytes);
        Ok(Packed { assembled, descriptor, manifest, manifest_bytes })
    }

    fn contents(&self, image: &Image, options: &ImageOutput) -> Result<(Assembled, Vec<Descriptor>), ExportError> {
        let of_build = image.draft.epoch;
        let epoch = options.epoch.or(of_build);
        // What came with the base image stays as it is.
        let latest = epoch.filter(|_| options.rewrites_times);
        let (mut diff_ids, mut blobs) = (Vec::new(), Vec::new());
        for layer in &image.layers {
            let (diff_id, blob) = match (latest, layer.place()) {
                (Some(latest), Some(place)) => {
                    let form = BlobForm::of(options);
                    let made = layers::no_younger_than(self.store, place, latest, form, self.cancel);
                    made.map(|(diff_id, blob)| (diff_id, in_family(blob, options.uses_oci_types)))?
                }
                _ => (layer.diff_id.clone(), self.layer_blob(image, layer, options)?),
            };
            diff_ids.push(diff_id);
            blobs.push(blob);
        }
        let assembled = match epoch != of_build || latest.is_some() {
            true => image.draft.finish(diff_ids, epoch.or(of_build))?,
            false => image.assembled.clone(),
        };
        Ok((assembled, blobs))
    }

    fn layer_blob(&self, image: &Image, layer: &ImageLayer, options: &ImageOutput) -> Result<Descriptor, ExportError> {
        let form = BlobForm::of(options);
        let blob = match &layer.origin {
            LayerOrigin::Step(place) => layers::blob(self.store, place, form, self.cancel)?,
            LayerOrigin::Base => self.given_blob(image, &layer.diff_id, form, options.forces_compression)?,
            // The same as if the step had run here.
            LayerOrigin::Cache => self.given_blob(image, &layer.diff_id, form, true)?,
        };
        Ok(in_family(blob, options.uses_oci_types))
    }

    /// The blob that a base image or a cache has. Made of the same tar in another form if that is forced: written anew from
    /// the files, the tar need not be the same. It need not be in the store, unless it is written anew.
    fn given_blob(
        &self,
        image: &Image,
        diff_id: &DiffId,
        form: BlobForm,
        is_forced: bool,
    ) -> Result<Descriptor, ExportError> {
        let wanted = layer_media_type(form.compression, true);
        let is_wanted = |blob: &&Descriptor| in_family((*blob).clone(), true).media_type == wanted;
        let mut known = self.store.layer_blobs(diff_id)?;
        let mut is_there = Vec::new();
        for blob in &known {
            is_there.push(self.store.has_blob(&blob.digest)?);
        }
        let mut is_there = is_there.into_iter();
        known.retain(|_| is_there.next().unwrap_or(false));
        // Whatever other forms of it were made meanwhile: the result may not depend on that.
        let original = self.holders(image)?.iter().find_map(|layers| layers.blob_of(diff_id).cloned());
        let is_at_hand = |blob: &Descriptor| known.iter().any(|other| other.digest == blob.digest);
        let original = original.filter(|blob| is_at_hand(blob) || !self.registry.is_offline());
        match original.as_ref().or(known.first()) {
            Some(blob) if !is_forced || is_wanted(&blob) => Ok(blob.clone()),
            Some(blob) => match known.iter().find(is_wanted) {
                Some(other) => Ok(other.clone()),
                None => {
                    self.fetch_blob(&blob.digest)?;
                    Ok(layers::in_form(self.store, diff_id, blob, form, self.cancel)?)
                }
            },
            // An image of this store that was never written anywhere: its layers are there as files only.
            None => Ok(layers::blob(self.store, &self.place_of(image, diff_id)?, form, self.cancel)?),
        }
    }

    /// Where on the stack the layer with this diff ID is.
    fn place_of(&self, image: &Image, diff_id: &DiffId) -> Result<Place, ExportError> {
        let files = self.files_of(image)?;
        for (index, layer) in files.layers().iter().enumerate() {
            if self.store.diff_id(layer)?.is_some_and(|(known, _)| known == *diff_id) {
                return Ok(Place::of(&files, index));
            }
        }
        Err(ExportError::BlobMissing(diff_id.0.clone()))
    }
}

/// The same bytes under the media type of the wanted family. What the base image noted on the layer is left out, as the
/// reference does.
pub(crate) fn in_family(blob: Descriptor, uses_oci_types: bool) -> Descriptor {
    let compression = match blob.media_type.as_str() {
        media_type::OCI_LAYER_GZIP | media_type::DOCKER_LAYER_GZIP => Compression::Gzip,
        media_type::OCI_LAYER_ZSTD | media_type::DOCKER_LAYER_ZSTD => Compression::Zstd,
        media_type::OCI_LAYER | media_type::DOCKER_LAYER => Compression::Uncompressed,
        _ => return blob,
    };
    let media_type = layer_media_type(compression, uses_oci_types).to_owned();
    Descriptor { media_type, annotations: BTreeMap::new(), ..blob }
}

#[cfg(test)]
mod tests {
    use slipway_oci::Digest;

    use super::*;

    /// As recorded of the reference, for base images that other tools made.
    #[test]
    fn layers_of_other_tools_get_the_types_of_the_output() {
        for (found, oci, docker) in [
            (media_type::DOCKER_LAYER_GZIP, media_type::OCI_LAYER_GZIP, media_type::DOCKER_LAYER_GZIP),
            (media_type::DOCKER_LAYER_ZSTD, media_type::OCI_LAYER_ZSTD, media_type::DOCKER_LAYER_ZSTD),
            (media_type::OCI_LAYER_ZSTD, media_type::OCI_LAYER_ZSTD, media_type::DOCKER_LAYER_ZSTD),
            (media_type::OCI_LAYER, media_type::OCI_LAYER, media_type::DOCKER_LAYER),
            ("application/x.other", "application/x.other", "application/x.other"),
        ] {
            let blob = Descriptor::new(found, Digest::of(b""), 1);
            assert_eq!(in_family(blob.clone(), true).media_type, oci, "{found}");
            assert_eq!(in_family(blob, false).media_type, docker, "{found}");
        }
        let mut noted = Descriptor::new(media_type::OCI_LAYER, Digest::of(b""), 1);
        noted.annotations.insert("layer.note".to_owned(), "n".to_owned());
        assert!(in_family(noted, true).annotations.is_empty());
    }
}
