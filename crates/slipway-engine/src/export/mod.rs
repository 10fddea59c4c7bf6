//! Writes results: one file an exporter, one line here.
//!
//! Nothing half-made is ever visible: archives are written beside their place and renamed, names are given last.

mod archive;
mod documents;
mod image;
mod local;
mod registry;
mod split;
mod tar;

use std::io;
use std::path::PathBuf;

use slipway_graph::request::{BuildRequest, Compression, Destination, ImageOutput, Output};
use slipway_graph::{Event, Events};
use slipway_oci::{Descriptor, DiffId, Digest, Manifest, Platform, media_type};
use slipway_registry::{PushError, Registry};
use slipway_solver::Cancel;
use slipway_store::{Snapshot, Store};

use crate::assemble::Assembled;
use crate::layer::compress::layer_media_type;
use crate::layer::diff::DiffError;
use crate::layers::{self, BlobForm, LayerError};

/// Why a result cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    #[error("cannot write `{path}`", path = .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot write to standard output")]
    Stdout(#[source] io::Error),
    #[error("the blob {0} is not in the store any more")]
    BlobMissing(Digest),
    #[error("cannot make the manifest")]
    Json(#[from] serde_json::Error),
    #[error("tag is needed when pushing to registry")]
    NoName,
    #[error("docker exporter does not currently support exporting manifest lists")]
    DockerIndex,
    #[error("cannot overwrite {path} from {first} with {second} when split option is disabled")]
    Overwrite { path: String, first: String, second: String },
    #[error("cannot compare the files of the platforms")]
    Compare(#[source] io::Error),
    #[error("cannot open the layers of the image")]
    Layers(#[source] io::Error),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Files(#[from] DiffError),
    #[error(transparent)]
    Local(#[from] local::LocalError),
    #[error(transparent)]
    Push(#[from] Box<PushError>),
    #[error(transparent)]
    Blob(#[from] slipway_store::BlobError),
    #[error(transparent)]
    Names(#[from] slipway_store::ImageError),
    #[error(transparent)]
    Snapshot(#[from] slipway_store::SnapshotError),
    #[error(transparent)]
    Db(#[from] slipway_store::DbError),
}

/// A finished image, its layers still as snapshots.
pub(crate) struct Image {
    pub(crate) assembled: Assembled,
    pub(crate) snapshot: Snapshot,
    /// Bottom first, as in the config.
    pub(crate) layers: Vec<ImageLayer>,
}

impl Image {
    /// The platform that its config says it is for.
    pub(crate) fn platform(&self) -> Platform {
        self.assembled.config.platform()
    }
}

/// One layer of an image.
pub(crate) struct ImageLayer {
    pub(crate) diff_id: DiffId,
    /// Its place on the snapshot's stack; `None` for layers of a base image, whose blobs are passed on as they came.
    pub(crate) place: Option<usize>,
}

/// What exporters work with.
pub(crate) struct Export<'a> {
    pub(crate) store: &'a Store,
    pub(crate) registry: &'a Registry,
    /// One a platform, in the order of the request; at least one.
    pub(crate) images: &'a [Image],
    /// Whether names stand for an index, be it of one image.
    pub(crate) is_multi: bool,
    pub(crate) events: &'a dyn Events,
    pub(crate) cancel: &'a Cancel,
}

/// Writes all outputs of `request`; without any, the image goes into the local store under its tags.
///
/// Gives the id of the result: the digest of the config, or of the index of several images if one is made.
pub(crate) fn export(export: &Export<'_>, request: &BuildRequest) -> Result<Option<Digest>, ExportError> {
    let mut index = None;
    let default = [Output::Image(default_output(request))];
    let outputs = if request.outputs.is_empty() { default.as_slice() } else { request.outputs.as_slice() };
    for output in outputs {
        let root = match output {
            Output::Image(options) => export.step("exporting to image", || image::export(export, options))?,
            Output::Oci { dest, image } => {
                let kind = archive::Kind::Oci;
                Some(export.step("exporting to oci image format", || archive::export(export, dest, image, kind))?)
            }
            Output::Docker { dest, image } => {
                let kind = archive::Kind::Docker;
                Some(export.step("exporting to docker image format", || archive::export(export, dest, image, kind))?)
            }
            Output::Local { dest, deletes_others, splits } => {
                let write = || local::export(export, dest, *deletes_others, *splits);
                export.step("exporting to client directory", write)?;
                None
            }
            Output::Tar { dest, splits } => {
                export.step("exporting to client tarball", || tar::export(export, dest, *splits))?;
                None
            }
            Output::CacheOnly => None,
        };
        index = root.or(index);
    }
    match export.images {
        [only] if !export.is_multi => Ok(Some(only.assembled.digest.clone())),
        _ => Ok(index.map(|index| index.digest)),
    }
}

/// The compressed form that the outputs of `request` want, if any does: made while the build goes on. An index
/// (`is_multi`) names compressed blobs wherever it is kept.
pub(crate) fn wanted_form(request: &BuildRequest, is_multi: bool) -> Option<BlobForm> {
    if request.outputs.is_empty() && is_multi {
        return Some(BlobForm::of(&default_output(request)));
    }
    request.outputs.iter().find_map(|output| match output {
        Output::Image(image) => (is_multi || image.push.is_some()).then(|| BlobForm::of(image)),
        Output::Oci { image, .. } | Output::Docker { image, .. } => Some(BlobForm::of(image)),
        Output::Local { .. } | Output::Tar { .. } | Output::CacheOnly => None,
    })
}

fn default_output(request: &BuildRequest) -> ImageOutput {
    ImageOutput {
        names: request.tags.clone(),
        push: None,
        uses_oci_types: true,
        compression: Compression::Gzip,
        compression_level: None,
        forces_compression: false,
        annotations: std::collections::BTreeMap::new(),
    }
}

impl Export<'_> {
    fn step<T>(&self, name: &str, work: impl FnOnce() -> Result<T, ExportError>) -> Result<T, ExportError> {
        let step = self.events.new_step();
        self.events.emit(Event::StepPlanned { step, name: name.to_owned() });
        self.events.emit(Event::StepStarted { step, at: std::time::SystemTime::now() });
        let result = work();
        let at = std::time::SystemTime::now();
        self.events.emit(match &result {
            Ok(_) => Event::StepDone { step, at },
            Err(error) => Event::StepFailed { step, message: error.to_string(), at },
        });
        result
    }

    /// The manifest of `image` for `options`, every blob that it names being in the store afterwards.
    fn manifest(&self, image: &Image, options: &ImageOutput) -> Result<(Descriptor, Vec<u8>, Manifest), ExportError> {
        self.store.put_blob(&image.assembled.bytes)?;
        let (manifest_type, config_type) = match options.uses_oci_types {
            true => (media_type::OCI_MANIFEST, media_type::OCI_CONFIG),
            false => (media_type::DOCKER_MANIFEST, media_type::DOCKER_CONFIG),
        };
        let layers = image.layers.iter().map(|layer| self.layer_blob(image, layer, options));
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(manifest_type.to_owned()),
            artifact_type: None,
            config: Descriptor::new(config_type, image.assembled.digest.clone(), image.assembled.bytes.len() as u64),
            layers: layers.collect::<Result<Vec<Descriptor>, ExportError>>()?,
            subject: None,
            annotations: options.annotations.clone(),
        };
        let bytes = slipway_oci::to_indented(&manifest)?;
        let blob = self.store.put_blob(&bytes)?;
        Ok((Descriptor::new(manifest_type, blob.digest, blob.size_bytes), bytes, manifest))
    }

    fn layer_blob(&self, image: &Image, layer: &ImageLayer, options: &ImageOutput) -> Result<Descriptor, ExportError> {
        let is_kept = layer.place.is_none() && !options.forces_compression;
        let mut known = self.store.layer_blobs(&layer.diff_id)?;
        known.retain(|blob| is_kept || blob.media_type == layer_media_type(options.compression, true));
        for blob in known {
            if self.store.has_blob(&blob.digest)? {
                return Ok(in_family(blob, options.uses_oci_types));
            }
        }
        let place = match layer.place {
            Some(place) => place,
            None => self.place_of(image, &layer.diff_id)?,
        };
        let blob = layers::blob(self.store, &image.snapshot, place, BlobForm::of(options), self.cancel)?;
        Ok(in_family(blob, options.uses_oci_types))
    }

    /// Where on the stack of `image` the layer with this diff ID is.
    fn place_of(&self, image: &Image, diff_id: &DiffId) -> Result<usize, ExportError> {
        for (place, layer) in image.snapshot.layers().iter().enumerate() {
            if self.store.diff_id(layer)?.is_some_and(|(known, _)| known == *diff_id) {
                return Ok(place);
            }
        }
        Err(ExportError::BlobMissing(diff_id.0.clone()))
    }

    fn blob_file(&self, digest: &Digest) -> Result<(std::fs::File, u64), ExportError> {
        self.store.open_blob(digest)?.ok_or_else(|| ExportError::BlobMissing(digest.clone()))
    }
}

/// The same bytes under the media type of the wanted family.
fn in_family(blob: Descriptor, uses_oci_types: bool) -> Descriptor {
    let compression = match blob.media_type.as_str() {
        media_type::OCI_LAYER_GZIP | media_type::DOCKER_LAYER_GZIP => Compression::Gzip,
        media_type::OCI_LAYER | media_type::DOCKER_LAYER => Compression::Uncompressed,
        _ => return blob,
    };
    Descriptor { media_type: layer_media_type(compression, uses_oci_types).to_owned(), ..blob }
}

/// Runs `write` on a new file beside `dest`, which then takes its place; or on standard output.
fn write_to(
    dest: &Destination,
    write: impl FnOnce(&mut dyn io::Write) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let (Destination::File(path) | Destination::Folder(path)) = dest else {
        let mut out = io::BufWriter::with_capacity(1 << 20, io::stdout().lock());
        write(&mut out)?;
        return io::Write::flush(&mut out).map_err(ExportError::Stdout);
    };
    let error = |source| ExportError::Write { path: path.clone(), source };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => std::path::Path::new("."),
    };
    std::fs::create_dir_all(folder).map_err(error)?;
    let temporary = tempfile::Builder::new().prefix(".slipway-").tempfile_in(folder).map_err(error)?;
    let mut out = io::BufWriter::with_capacity(1 << 20, temporary);
    write(&mut out)?;
    let temporary = out.into_inner().map_err(|e| error(e.into_error()))?;
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    temporary.as_file().set_permissions(permissions).map_err(error)?;
    temporary.persist(path).map_err(|e| error(e.error))?;
    Ok(())
}
