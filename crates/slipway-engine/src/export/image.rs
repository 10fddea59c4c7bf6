//! `type=image` (the default) and `type=registry`: into the local image store, and on to a registry if asked.

use slipway_graph::request::ImageOutput;
use slipway_store::ImageRecord;

use super::{Export, ExportError, registry};

pub(super) fn export(export: &Export<'_>, options: &ImageOutput) -> Result<(), ExportError> {
    let assembled = &export.image.assembled;
    let manifest = match options.push {
        Some(push) => Some(registry::push(export, options, push)?),
        None => {
            export.store.put_blob(&assembled.bytes)?;
            None
        }
    };
    let record = ImageRecord {
        manifest,
        config: assembled.digest.clone(),
        layers: assembled.config.rootfs.diff_ids.clone(),
        created: assembled.config.created.clone(),
        platform: assembled.config.platform(),
    };
    for name in &options.names {
        export.store.name_image(name, &record)?;
    }
    Ok(())
}
