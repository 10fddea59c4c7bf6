//! Pushes an image: layers and config first, all at the same time, then the manifest under each name.

use std::io::Read;

use slipway_graph::request::{ImageOutput, Push};
use slipway_oci::{Descriptor, Reference};

use super::{Export, ExportError};

pub(super) fn push(export: &Export<'_>, options: &ImageOutput, push: Push) -> Result<Descriptor, ExportError> {
    if options.names.is_empty() {
        return Err(ExportError::NoName);
    }
    let (descriptor, bytes, manifest) = export.manifest(options)?;
    let mut blobs: Vec<&Descriptor> = manifest.layers.iter().chain([&manifest.config]).collect();
    blobs.sort_by(|a, b| a.digest.cmp(&b.digest));
    blobs.dedup_by(|a, b| a.digest == b.digest);
    for name in &options.names {
        push_blobs(export, name, &blobs)?;
        let target = match push.by_digest {
            true => name.with_digest(descriptor.digest.clone()),
            false => name.with_default_tag(),
        };
        export.registry.push_manifest(&target, &descriptor.media_type, &bytes).map_err(Box::new)?;
    }
    Ok(descriptor)
}

fn push_blobs(export: &Export<'_>, name: &Reference, blobs: &[&Descriptor]) -> Result<(), ExportError> {
    std::thread::scope(|scope| {
        let push = |blob: &&'_ Descriptor| {
            let blob: &Descriptor = blob;
            let (digest, size) = (blob.digest.clone(), blob.size);
            let descriptor = Descriptor::new(&blob.media_type, digest.clone(), size);
            scope.spawn(move || {
                let open = || -> std::io::Result<Box<dyn Read + Send>> {
                    let (file, _) = export.blob_file(&digest).map_err(std::io::Error::other)?;
                    Ok(Box::new(file))
                };
                export.registry.push_blob(name, &descriptor, open, None).map_err(Box::new)
            })
        };
        let threads: Vec<_> = blobs.iter().map(push).collect();
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(())
    })
}
