//! Pushes an image: layers and config first, all at the same time, then the manifest under each name; an index when
//! all its manifests are there.

use std::io::{self, Read};

use slipway_graph::request::{ImageOutput, Push};
use slipway_oci::{Descriptor, Reference};
use slipway_registry::{PushError, Registry};
use slipway_store::Store;

use super::documents::{Document, Documents};
use super::{Export, ExportError};

pub(super) fn push(export: &Export<'_>, options: &ImageOutput, push: Push) -> Result<Documents, ExportError> {
    if options.names.is_empty() {
        return Err(ExportError::NoName);
    }
    let documents = export.documents(options)?;
    let blobs = documents.blobs();
    for name in &options.names {
        push_blobs(export.store, export.registry, name, &blobs).map_err(Box::new)?;
        let put = |target: &Reference, media_type: &str, bytes: &[u8]| {
            export.registry.push_manifest(target, media_type, bytes).map_err(Box::new)
        };
        for Document { descriptor, bytes } in documents.below_root() {
            put(&name.at_digest(descriptor.digest.clone()), &descriptor.media_type, bytes)?;
        }
        let target = match push.by_digest {
            true => name.at_digest(documents.root.digest.clone()),
            false => name.with_default_tag(),
        };
        put(&target, &documents.root.media_type, documents.root_bytes())?;
    }
    Ok(documents)
}

/// Makes sure that the repository of `name` has all `blobs`, which are in the store.
pub(crate) fn push_blobs(
    store: &Store,
    registry: &Registry,
    name: &Reference,
    blobs: &[&Descriptor],
) -> Result<(), PushError> {
    std::thread::scope(|scope| {
        let push = |blob: &&'_ Descriptor| {
            let blob: &Descriptor = blob;
            let (digest, size) = (blob.digest.clone(), blob.size);
            let descriptor = Descriptor::new(&blob.media_type, digest.clone(), size);
            scope.spawn(move || {
                let open = || -> io::Result<Box<dyn Read + Send>> {
                    let missing = || io::Error::other(ExportError::BlobMissing(digest.clone()));
                    let (file, _) = store.open_blob(&digest).map_err(io::Error::other)?.ok_or_else(missing)?;
                    Ok(Box::new(file))
                };
                registry.push_blob(name, &descriptor, open, None)
            })
        };
        let threads: Vec<_> = blobs.iter().map(push).collect();
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(())
    })
}
