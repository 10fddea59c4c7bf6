//! `type=docker` without a destination (`--load`): into a container engine, as well as into the local image store.
//!
//! What the engine has already is not sent. An image that it knows by its id just gets its names. Of another one those
//! layers stay away that are in the image which had the name until now, where the engine puts up with that: Docker does,
//! Podman wants archives whole.

use std::collections::BTreeSet;

use slipway_graph::Event;
use slipway_graph::request::ImageOutput;
use slipway_oci::{Digest, IndexOrManifest, Manifest};

use super::documents::Documents;
use super::{Export, ExportError, ExportedImage, archive, image};
use crate::build::internal_step;
use crate::docker_api::{DockerApi, DockerApiError, KnownImage};
use crate::images::{ImageError, stored_blob};

pub(super) fn load(
    export: &Export<'_>,
    options: &ImageOutput,
    context: Option<&str>,
) -> Result<Option<ExportedImage>, ExportError> {
    let stored = image::export(export, options)?;
    let Some(mut engine) = find(export, context)? else { return Ok(stored) };
    if export.is_indexed(options) && !engine.keeps_manifests() {
        return Err(ExportError::DockerIndex);
    }
    let documents = export.documents(options)?;
    let id = match (engine.keeps_manifests(), documents.configs.as_slice()) {
        (false, [only]) => &only.digest,
        _ => &documents.root.digest,
    };
    if !options.names.is_empty() && engine.image(id.as_str())?.is_some_and(|known| known.id == *id) {
        options.names.iter().try_for_each(|name| engine.tag(id, name))?;
    } else {
        send(export, options, &documents, &mut engine)?;
    }
    Ok(Some(documents.exported(&options.names)))
}

/// Sends what the engine lacks, or everything if it wants that after all.
fn send(
    export: &Export<'_>,
    options: &ImageOutput,
    documents: &Documents,
    engine: &mut DockerApi,
) -> Result<(), ExportError> {
    let whole = archive::Archive::of(documents, &options.names, archive::Kind::Docker)?;
    let known = known_blobs(export, options, documents, engine)?;
    let import = |engine: &mut DockerApi, archive: &archive::Archive<'_>| {
        archive.digests().try_for_each(|digest| export.fetch_blob(digest))?;
        internal_step(export.events, export.events.new_step(), "importing to docker", || {
            Ok::<_, ExportError>(engine.load(&mut |out| archive.write(export.store, out))?)
        })
    };
    match import(engine, &whole.without(&known)) {
        Err(ExportError::Engine(DockerApiError::Refused { .. })) if !known.is_empty() => import(engine, &whole),
        outcome => outcome,
    }
}

/// The blobs of layers that the engine has, because they are in images which it has under the same names.
fn known_blobs(
    export: &Export<'_>,
    options: &ImageOutput,
    documents: &Documents,
    engine: &mut DockerApi,
) -> Result<BTreeSet<Digest>, ExportError> {
    let mut known = BTreeSet::new();
    if !engine.takes_parts() {
        return Ok(known);
    }
    for name in &options.names {
        match engine.image(&name.to_string())? {
            Some(before) if engine.keeps_manifests() => known.extend(blobs_of(export, &before.id)?),
            Some(before) => known.extend(shared_bottom(documents, &before)),
            None => {}
        }
    }
    Ok(known)
}

/// The layers that a manifest of the local store lists, or the manifests of an index. Nobody knows what is in others.
fn blobs_of(export: &Export<'_>, root: &Digest) -> Result<Vec<Digest>, ImageError> {
    let layers = |manifest: Manifest| manifest.layers.into_iter().map(|layer| layer.digest);
    let parsed = |digest: &Digest| -> Result<Option<IndexOrManifest>, ImageError> {
        Ok(stored_blob(export.store, digest)?.and_then(|bytes| IndexOrManifest::parse(&bytes, "").ok()))
    };
    let mut blobs = Vec::new();
    match parsed(root)? {
        Some(IndexOrManifest::Manifest(manifest)) => blobs.extend(layers(manifest)),
        Some(IndexOrManifest::Index(index)) => {
            for entry in index.manifests {
                if let Some(IndexOrManifest::Manifest(manifest)) = parsed(&entry.digest)? {
                    blobs.extend(layers(manifest));
                }
            }
        }
        None => {}
    }
    Ok(blobs)
}

/// The blobs of the layers at the bottom that both images have: an engine without manifests knows layers by their stack.
fn shared_bottom(documents: &Documents, before: &KnownImage) -> Vec<Digest> {
    let (Some(config), Some(manifest)) = (documents.configs.first(), documents.manifests.first()) else {
        return Vec::new();
    };
    let stacks = config.config.rootfs.diff_ids.iter().zip(before.layers());
    let n_shared = stacks.take_while(|(ours, theirs)| ours == theirs).count();
    manifest.layers.iter().take(n_shared).map(|layer| layer.digest.clone()).collect()
}

/// The first engine that answers. If none does the image is in the local store, which is enough unless the user named
/// the engine.
fn find(export: &Export<'_>, context: Option<&str>) -> Result<Option<DockerApi>, ExportError> {
    let engines = (export.docker_engines)(context).map_err(ExportError::NoEngine)?;
    let mut failures: Vec<DockerApiError> = Vec::new();
    for address in &engines.addresses {
        match DockerApi::connect(address, engines.api_version.as_deref(), export.search_path) {
            Ok(api) => return Ok(Some(api)),
            Err(failure @ DockerApiError::Unreachable { .. }) => failures.push(failure),
            Err(refusal) => return Err(refusal.into()),
        }
    }
    match failures.pop() {
        Some(failure) if context.is_some() => Err(failure.into()),
        _ => {
            let tried: Vec<String> = engines.addresses.iter().map(ToString::to_string).collect();
            let message =
                format!("no container engine answers ({}): the image is in slipway's own store only", tried.join(", "));
            export.events.emit(Event::Remark { message });
            Ok(None)
        }
    }
}
