//! `type=image` (the default) and `type=registry`: into the local image store, and on to a registry if asked.

use slipway_graph::request::{ImageOutput, OutputEpoch};
use slipway_oci::{Descriptor, Platform, Reference};
use slipway_store::ImageRecord;

use super::documents::Documents;
use super::{Export, ExportError, ExportedImage, Image, ImageLayer, registry};
use crate::assemble::Assembled;
use crate::layers::MAX_SMALL_BYTES;

/// Gives what the names point to, if that is in a form that can leave the store: one image is stored without.
pub(super) fn export(export: &Export<'_>, options: &ImageOutput) -> Result<Option<ExportedImage>, ExportError> {
    if is_unchanged(export, options)? {
        return Ok(None);
    }
    let documents = match options.push {
        Some(push) => Some(registry::push(export, options, push)?),
        None if export.is_indexed(options) || needs_manifest(export, options) || is_small(export, options)? => {
            Some(export.documents(options)?)
        }
        None => {
            for image in export.images {
                export.store.put_blob(&image.assembled.bytes)?;
            }
            None
        }
    };
    let names = names(options, documents.as_ref());
    if options.is_stored {
        let canonical = canonical_names(options, documents.as_ref());
        let all: Vec<&Reference> = names.iter().chain(&canonical).collect();
        name_in_store(export, &all, documents.as_ref())?;
    }
    Ok(documents.map(|documents| documents.exported(&names)))
}

/// Gives the image its names in the store, or lists it there without any, if it is there whole. A pushed one whose layers nobody needed here is not: then
/// its names stand for what the registry has, and no longer for an older image of the store.
fn name_in_store(export: &Export<'_>, names: &[&Reference], documents: Option<&Documents>) -> Result<(), ExportError> {
    if !export.has_all_files() {
        for name in names {
            export.store.untag(name)?;
        }
        return Ok(());
    }
    if let Some(documents) = documents {
        export.fetch_blobs(documents)?;
    }
    let record = record(export, documents);
    if names.is_empty() {
        export.store.list_unnamed(&record)?;
    }
    for name in names {
        export.store.name_image(name, &record)?;
    }
    Ok(())
}

/// Whether all names stand for this image already, and other tools read it: then there is nothing to do.
fn is_unchanged(export: &Export<'_>, options: &ImageOutput) -> Result<bool, ExportError> {
    let [image] = export.images else { return Ok(false) };
    let usual = ImageOutput::stored(options.names.clone());
    if export.is_indexed(options) || export.wants_manifest || options.names.is_empty() || *options != usual {
        return Ok(false);
    }
    for name in &options.names {
        let known = export.store.image(name)?;
        if !known.is_some_and(|known| known.manifest.is_some() && known.config == image.assembled.digest) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the new layers of an image that gets names are so small that compressing them takes no time worth speaking of:
/// then other tools find the image in the store at once, which is an OCI layout. That of a larger one is made when it
/// leaves the store.
fn is_small(export: &Export<'_>, options: &ImageOutput) -> Result<bool, ExportError> {
    let [image] = export.images else { return Ok(false) };
    if options.names.is_empty() || !options.is_stored {
        return Ok(false);
    }
    let mut n_bytes = 0;
    for place in image.layers.iter().filter_map(ImageLayer::place) {
        n_bytes = export.store.diff_id(place.layer())?.map_or(u64::MAX, |(_, more)| more.saturating_add(n_bytes));
        if n_bytes > MAX_SMALL_BYTES {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the image has to be more than its config and the snapshots of its layers.
fn needs_manifest(export: &Export<'_>, options: &ImageOutput) -> bool {
    export.wants_manifest
        || options.dangling_prefix.is_some()
        || options.is_named_by_digest
        || options.rewrites_times
        || options.epoch != OutputEpoch::OfBuild
        || !options.annotations.is_empty()
}

/// Its names, and the one by digest for images that have no other.
fn names(options: &ImageOutput, documents: Option<&Documents>) -> Vec<Reference> {
    let mut names = options.names.clone();
    if let (Some(prefix), Some(documents)) = (&options.dangling_prefix, documents) {
        names.push(prefix.with_digest(documents.root.digest.clone()));
    }
    names
}

/// `name@digest` for each name, if that is wanted.
fn canonical_names(options: &ImageOutput, documents: Option<&Documents>) -> Vec<Reference> {
    match documents {
        Some(documents) if options.is_named_by_digest => {
            options.names.iter().map(|name| name.with_digest(documents.root.digest.clone())).collect()
        }
        _ => Vec::new(),
    }
}

/// What the names stand for: the image for this machine, or else the first, with all others beside it.
fn record(export: &Export<'_>, documents: Option<&Documents>) -> ImageRecord {
    let one = |(index, image): (usize, &Image)| match documents {
        Some(documents) => record_of(&documents.configs[index], Some(documents.documents[index].descriptor.clone())),
        None => record_of(&image.assembled, None),
    };
    let mut records: Vec<ImageRecord> = export.images.iter().enumerate().map(one).collect();
    let host = Platform::host();
    let main = records.iter().position(|record| record.platform.matches(&host)).unwrap_or(0);
    let main = records.remove(main);
    ImageRecord { manifest: documents.map(|documents| documents.root.clone()), others: records, ..main }
}

fn record_of(assembled: &Assembled, manifest: Option<Descriptor>) -> ImageRecord {
    ImageRecord {
        manifest,
        config: assembled.digest.clone(),
        layers: assembled.config.rootfs.diff_ids.clone(),
        created: assembled.config.created.clone(),
        platform: assembled.config.platform(),
        registry_digest: None,
        others: Vec::new(),
    }
}
