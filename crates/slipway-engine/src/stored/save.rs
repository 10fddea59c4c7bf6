//! How does an image of the store get to a registry, or into an archive?

use std::collections::BTreeSet;
use std::io::Write;

use slipway_graph::Events;
use slipway_oci::{Descriptor, Digest, Reference};
use slipway_solver::Cancel;
use slipway_store::ImageRecord;

use super::{Reason, StoredImageError, stand_in};
use crate::Engine;
use crate::build::internal_step;
use crate::export::archive::{docker_entry, index_bytes, index_entries, small_files, write_tar};
use crate::export::registry::{BlobOrigin, push_blobs};

impl Engine {
    /// Pushes `image` under `name`, and returns what the registry now has there. What the registry has already is not
    /// sent.
    ///
    /// # Errors
    /// The registry refuses it, or a blob of the image has been pruned.
    pub fn push_image(
        &self,
        name: &Reference,
        image: &ImageRecord,
        events: &dyn Events,
        cancel: &Cancel,
    ) -> Result<Descriptor, StoredImageError> {
        let step = events.new_step();
        let push = || -> Result<Descriptor, Reason> {
            let complete = self.complete(name, image, events, cancel)?;
            let origin = BlobOrigin { store: &self.store, fetch: &|_| Ok(()), mount_source: &|_| None };
            push_blobs(&self.registry, name, &complete.blobs.iter().collect::<Vec<_>>(), &origin)?;
            for (descriptor, bytes) in &complete.below {
                let target = name.at_digest(descriptor.digest.clone());
                self.registry.push_manifest(&target, &descriptor.media_type, bytes)?;
            }
            let target = name.with_default_tag();
            let digest = self.registry.push_manifest(&target, &complete.root.media_type, &complete.root_bytes)?;
            if let Some(record) = self.store.image(name)?.filter(|record| record.config == image.config) {
                let registry_digest = Some(digest.clone());
                self.store.name_image(name, &ImageRecord { registry_digest, ..record })?;
            }
            Ok(Descriptor { digest, ..complete.root })
        };
        Ok(internal_step(events, step, &format!("pushing {}", name.with_default_tag().familiar()), push)?)
    }

    /// Writes `images`, each under its names if it has any, as an archive that is an OCI layout and that older readers of `docker save`
    /// understand too.
    ///
    /// # Errors
    /// A blob of an image has been pruned, or the archive cannot be written.
    pub fn save_images(
        &self,
        images: &[(ImageRecord, Vec<Reference>)],
        out: &mut dyn Write,
        events: &dyn Events,
        cancel: &Cancel,
    ) -> Result<(), StoredImageError> {
        let mut save = || -> Result<(), Reason> {
            let mut all = Vec::new();
            for (image, names) in images {
                let name = names.first().cloned().unwrap_or_else(|| stand_in(&image.config));
                all.push((self.complete(&name, image, events, cancel)?, names));
            }
            let entries = all.iter().flat_map(|(image, names)| index_entries(&image.root, names)).collect();
            let docker: Vec<_> = all.iter().map(|(image, names)| docker_entry(&image.manifest, names)).collect();
            let (index, docker) = (index_bytes(entries)?, slipway_oci::to_compact(&docker)?);
            let digests: BTreeSet<&Digest> = all.iter().flat_map(|(image, _)| image.digests()).collect();
            write_tar(&self.store, out, &small_files(&index, Some(&docker)), &digests).map_err(Reason::Write)
        };
        Ok(save()?)
    }
}
