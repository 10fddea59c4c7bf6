//! `type=image` (the default) and `type=registry`: into the local image store, and on to a registry if asked.

use slipway_graph::request::ImageOutput;
use slipway_oci::{Descriptor, Platform};
use slipway_store::ImageRecord;

use super::documents::Documents;
use super::{Export, ExportError, Image, registry};

/// Gives what the names point to, if that is in a form that can leave the store: one image is stored without.
pub(super) fn export(export: &Export<'_>, options: &ImageOutput) -> Result<Option<Descriptor>, ExportError> {
    let documents = match options.push {
        Some(push) => Some(registry::push(export, options, push)?),
        None if export.is_multi => Some(export.documents(options)?),
        None => {
            for image in export.images {
                export.store.put_blob(&image.assembled.bytes)?;
            }
            None
        }
    };
    let record = record(export, documents.as_ref());
    for name in &options.names {
        export.store.name_image(name, &record)?;
    }
    Ok(documents.map(|documents| documents.root))
}

/// What the names stand for: the image for this machine, or else the first, with all others beside it.
fn record(export: &Export<'_>, documents: Option<&Documents>) -> ImageRecord {
    let manifest = |index: usize| Some(documents?.documents.get(index)?.descriptor.clone());
    let mut records: Vec<ImageRecord> =
        export.images.iter().enumerate().map(|(index, image)| record_of(image, manifest(index))).collect();
    let host = Platform::host();
    let main = records.iter().position(|record| record.platform.matches(&host)).unwrap_or(0);
    let main = records.remove(main);
    ImageRecord { manifest: documents.map(|documents| documents.root.clone()), others: records, ..main }
}

fn record_of(image: &Image, manifest: Option<Descriptor>) -> ImageRecord {
    let assembled = &image.assembled;
    ImageRecord {
        manifest,
        config: assembled.digest.clone(),
        layers: assembled.config.rootfs.diff_ids.clone(),
        created: assembled.config.created.clone(),
        platform: image.platform(),
        others: Vec::new(),
    }
}
