//! Pushes an image: layers and config first, all at the same time, then the manifest under each name; an index when
//! all its manifests are there.

use std::io::{self, Read};

use slipway_graph::request::{ImageOutput, Push, part_tag};
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
    let fetch = |blob: &Descriptor| export.fetch_blob(&blob.digest).map_err(io::Error::other);
    for name in &options.names {
        let mount_source = |blob: &Descriptor| export.mount_source(name, blob).ok().flatten();
        let origin = BlobOrigin { store: export.store, fetch: &fetch, mount_source: &mount_source };
        push_blobs(export.registry, name, &blobs, &origin).map_err(Box::new)?;
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
        if let Some(run) = &options.part_of {
            for image in export.images {
                let target = name.at_tag(&part_tag(run, &image.platform()));
                put(&target, &documents.root.media_type, documents.root_bytes())?;
            }
        }
    }
    Ok(documents)
}

/// Where the blobs come from that are pushed.
pub(crate) struct BlobOrigin<'a> {
    pub(crate) store: &'a Store,
    /// Gets a blob into the store that is not there.
    pub(crate) fetch: &'a (dyn Fn(&Descriptor) -> io::Result<()> + Sync),
    /// Names another repository of the registry that has the blob.
    pub(crate) mount_source: &'a (dyn Fn(&Descriptor) -> Option<Reference> + Sync),
}

impl BlobOrigin<'_> {
    fn open(&self, blob: &Descriptor) -> io::Result<Box<dyn Read + Send>> {
        (self.fetch)(blob)?;
        let missing = || io::Error::other(ExportError::BlobMissing(blob.digest.clone()));
        let (file, _) = self.store.open_blob(&blob.digest).map_err(io::Error::other)?.ok_or_else(missing)?;
        Ok(Box::new(file))
    }
}

/// Makes sure that the repository of `name` has all `blobs`. Only those that it lacks are read, or fetched.
pub(crate) fn push_blobs(
    registry: &Registry,
    name: &Reference,
    blobs: &[&Descriptor],
    origin: &BlobOrigin<'_>,
) -> Result<(), PushError> {
    std::thread::scope(|scope| {
        let push = |blob: &&'_ Descriptor| {
            let bare = Descriptor::new(&blob.media_type, blob.digest.clone(), blob.size);
            scope.spawn(move || {
                let mount_source = (origin.mount_source)(&bare);
                registry.push_blob(name, &bare, || origin.open(&bare), mount_source.as_ref())
            })
        };
        let threads: Vec<_> = blobs.iter().map(push).collect();
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(())
    })
}
