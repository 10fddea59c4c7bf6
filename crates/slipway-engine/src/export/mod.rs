//! Writes results: one file an exporter, one line here.
//!
//! Nothing half-made is ever visible: archives are written beside their place and renamed, names are given last.

pub(crate) mod archive;
mod attestation;
mod documents;
mod image;
mod load;
mod local;
pub(crate) mod pack;
mod passed_on;
pub(crate) mod registry;
mod split;
mod statement_files;
mod tar;

use std::error::Error;
use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use slipway_graph::op::ImageSource;
use slipway_graph::request::{BuildRequest, Destination, ImageOutput, Output};
use slipway_graph::{Event, Events};
use slipway_oci::{Descriptor, DiffId, Digest, Platform};
use slipway_registry::{PushError, Registry};
use slipway_solver::Cancel;
use slipway_store::{BlobReader, OverlayFlavor, Store};

pub(crate) use pack::in_family;

use crate::assemble::{Assembled, Draft};
use crate::attest::{self, Attestation};
use crate::docker_api::DockerApiError;
use crate::engine::FindDockerEngines;
use crate::images::ImageError;
use crate::layer::diff::DiffError;
use crate::layers::{BlobForm, BlobWish, LayerError, Place};
use crate::ops::OpError;
use crate::remote::RootFs;
use crate::shared_cache::import::LostCache;

/// Why a result cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    #[error("cannot write `{path}`", path = .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot write to standard output")]
    Stdout(#[source] io::Error),
    #[error("the blob {0} is not in the store any more")]
    BlobMissing(Digest),
    #[error("the cache `{0}` lacks a layer that it promised")]
    LostCache(String),
    #[error("cannot make the manifest")]
    Json(#[from] serde_json::Error),
    #[error("tag is needed when pushing to registry")]
    NoName,
    #[error("docker exporter does not currently support exporting manifest lists")]
    DockerIndex,
    #[error("index annotations not supported for single platform export")]
    IndexAnnotations,
    #[error("cannot export annotations with \"oci-mediatypes=false\"")]
    AnnotationsNeedOci,
    #[error("invalid annotation: no platform {0} found in source")]
    AnnotatedPlatform(Platform),
    #[error("cannot overwrite {path} from {first} with {second} when split option is disabled")]
    Overwrite { path: String, first: String, second: String },
    #[error("cannot compare the files of the platforms")]
    Compare(#[source] io::Error),
    #[error("duplicate attestation path name {0}")]
    SameStatementName(String),
    #[error("cannot read the files that an attestation is about")]
    Subjects(#[source] io::Error),
    #[error("cannot write attestations")]
    Statements(#[source] io::Error),
    #[error("cannot open the layers of the image")]
    Layers(#[source] io::Error),
    #[error(transparent)]
    Base(#[from] ImageError),
    #[error(transparent)]
    RootFs(#[from] Box<OpError>),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Files(#[from] DiffError),
    #[error(transparent)]
    Local(#[from] local::LocalError),
    #[error("{0}")]
    NoEngine(String),
    #[error(transparent)]
    Engine(#[from] DockerApiError),
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
    /// What `assembled` was made of, for outputs with other layers or times.
    pub(crate) draft: Draft,
    pub(crate) assembled: Assembled,
    pub(crate) root_fs: RootFs,
    /// The image that it is based on, if it is based on one.
    pub(crate) base: Option<ImageSource>,
    /// Bottom first, as in the config.
    pub(crate) layers: Vec<ImageLayer>,
    /// What is said about it beside it.
    pub(crate) attestations: Vec<Attestation>,
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
    pub(crate) origin: LayerOrigin,
}

/// Where a layer of an image is from.
pub(crate) enum LayerOrigin {
    /// The base image. Its blob is passed on as it came.
    Base,
    /// An imported cache; no step has needed its files.
    Cache,
    /// A step of the build. Its files are here.
    Step(Place),
}

impl ImageLayer {
    /// Where its files are, if a step has made it.
    pub(crate) fn place(&self) -> Option<&Place> {
        match &self.origin {
            LayerOrigin::Step(place) => Some(place),
            LayerOrigin::Base | LayerOrigin::Cache => None,
        }
    }
}

/// What exporters work with.
pub(crate) struct Export<'a> {
    pub(crate) store: &'a Store,
    pub(crate) registry: &'a Registry,
    pub(crate) flavor: OverlayFlavor,
    /// Says where container engines are, or the one that the user names.
    pub(crate) docker_engines: FindDockerEngines,
    /// Where helper programs are looked for.
    pub(crate) search_path: &'a OsStr,
    /// One a platform, in the order of the request; at least one.
    pub(crate) images: &'a [Image],
    /// Whether names stand for an index of images, be it of one.
    pub(crate) is_multi: bool,
    /// Whether somebody asks for the digest of the manifest even if nothing else needs one.
    pub(crate) wants_manifest: bool,
    pub(crate) events: &'a dyn Events,
    pub(crate) cancel: &'a Cancel,
    /// The imported cache that turned out to lack what it promised, if an export failed for that.
    pub(crate) lost_cache: Mutex<Option<LostCache>>,
}

/// What was written.
#[derive(Debug, Default)]
pub(crate) struct Exported {
    /// The digest of the config, or of the index of several images if one is made.
    pub(crate) id: Option<Digest>,
    /// The last output that is an image with a manifest.
    pub(crate) image: Option<ExportedImage>,
}

/// An image that was given to somebody.
#[derive(Clone, Debug)]
pub struct ExportedImage {
    /// What its names point to, with the annotations and the platform that are written beside the pointer.
    pub descriptor: Descriptor,
    /// `None` if there are several.
    pub config: Option<Digest>,
    /// Full names.
    pub names: Vec<String>,
}

/// Writes all outputs of `request`; without any, the image goes into the local store under its tags.
pub(crate) fn export(export: &Export<'_>, request: &BuildRequest) -> Result<Exported, ExportError> {
    let mut exported = Exported::default();
    let default = [Output::Image(ImageOutput::stored(request.tags.clone()))];
    let outputs = if request.outputs.is_empty() { default.as_slice() } else { request.outputs.as_slice() };
    for output in outputs {
        let image = match output {
            Output::Image(options) => export.step("exporting to image", || image::export(export, options))?,
            Output::Oci { dest, image } => {
                let kind = archive::Kind::Oci;
                Some(export.step("exporting to oci image format", || archive::export(export, dest, image, kind))?)
            }
            Output::Docker { dest, image } => {
                let kind = archive::Kind::Docker;
                Some(export.step("exporting to docker image format", || archive::export(export, dest, image, kind))?)
            }
            Output::Load { context, image } => {
                export.step("exporting to docker image format", || load::load(export, image, context.as_deref()))?
            }
            Output::Local { dest, deletes_others, files } => {
                let write = || local::export(export, dest, *deletes_others, files);
                export.step("exporting to client directory", write)?;
                None
            }
            Output::Tar { dest, files } => {
                export.step("exporting to client tarball", || tar::export(export, dest, files))?;
                None
            }
            Output::CacheOnly => None,
        };
        exported.image = image.or(exported.image);
    }
    exported.id = match (&exported.image, export.images) {
        (Some(image), _) => Some(image.config.clone().unwrap_or_else(|| image.descriptor.digest.clone())),
        (None, [only])
            if !export.is_multi && outputs.iter().any(|o| matches!(o, Output::Image(_) | Output::Load { .. })) =>
        {
            Some(only.assembled.digest.clone())
        }
        (None, _) => None,
    };
    Ok(exported)
}

/// Whether the outputs of `request` are made of files, and not of the blobs of layers alone. What has a name in the store
/// is there whole: it can be run and saved when no registry answers.
pub(crate) fn reads_files(request: &BuildRequest) -> bool {
    let is_made_of_files = |output: &Output| match output {
        Output::Image(image) => image.push.is_none(),
        Output::Load { .. } | Output::Local { .. } | Output::Tar { .. } => true,
        Output::Oci { .. } | Output::Docker { .. } | Output::CacheOnly => false,
    };
    attest::lists_packages(request) || request.outputs.is_empty() || request.outputs.iter().any(is_made_of_files)
}

/// Whether an output of `request` has other times in its layers than the steps gave them.
pub(crate) fn rewrites_times(request: &BuildRequest) -> bool {
    request.outputs.iter().any(|output| match output {
        Output::Image(image)
        | Output::Oci { image, .. }
        | Output::Docker { image, .. }
        | Output::Load { image, .. } => image.rewrites_times,
        Output::Local { .. } | Output::Tar { .. } | Output::CacheOnly => false,
    })
}

/// Whether an output of `request` is made of images; otherwise all that is wanted is that the steps succeed.
pub(crate) fn makes_image(request: &BuildRequest) -> bool {
    request.outputs.is_empty() || request.outputs.iter().any(|output| *output != Output::CacheOnly)
}

/// The blobs of layers that the outputs of `request` want: made while the build goes on. An index, of
/// several platforms (`is_multi`) or of an image and what is said about it, names compressed blobs wherever it is kept.
pub(crate) fn wanted_blobs(request: &BuildRequest, is_multi: bool) -> BlobWish {
    let is_indexed = is_multi || attest::is_wanted(request);
    let of_image = |image: &ImageOutput| {
        if is_indexed || image.push.is_some() {
            return BlobWish::Always(BlobForm::of(image));
        }
        // Only what has a name is complete at once, see `image::is_small`.
        let is_named = image.is_stored && !image.names.is_empty();
        if is_named { BlobWish::IfSmall(BlobForm::of(image)) } else { BlobWish::None }
    };
    if request.outputs.is_empty() {
        return of_image(&ImageOutput::stored(request.tags.clone()));
    }
    let wishes = request.outputs.iter().map(|output| match output {
        Output::Image(image) => of_image(image),
        Output::Oci { image, .. } | Output::Docker { image, .. } | Output::Load { image, .. } => {
            BlobWish::Always(BlobForm::of(image))
        }
        Output::Local { .. } | Output::Tar { .. } | Output::CacheOnly => BlobWish::None,
    });
    wishes.fold(BlobWish::None, BlobWish::or)
}

impl Export<'_> {
    /// What made the export fail: a cache that was lost, if there is one, and else `error`.
    pub(crate) fn failure(&self, error: ExportError) -> Box<dyn Error + Send + Sync> {
        let mut lost = self.lost_cache.lock().unwrap_or_else(PoisonError::into_inner);
        match lost.take() {
            Some(lost) => Box::new(lost),
            None => Box::new(error),
        }
    }

    fn step<T>(&self, name: &str, work: impl FnOnce() -> Result<T, ExportError>) -> Result<T, ExportError> {
        let step = self.events.new_step();
        self.events.emit(Event::StepPlanned { step, name: name.to_owned(), inputs: Vec::new() });
        self.events.emit(Event::StepStarted { step, at: std::time::SystemTime::now() });
        let result = work();
        let at = std::time::SystemTime::now();
        self.events.emit(match &result {
            Ok(_) => Event::StepDone { step, at },
            Err(error) => Event::StepFailed { step, message: error.to_string(), at },
        });
        result
    }

    /// Whether names of an output with `options` stand for an index.
    fn is_indexed(&self, options: &ImageOutput) -> bool {
        self.is_multi || self.attests(options)
    }

    /// The platform whose annotations count for `image`.
    fn annotated_platform(&self, image: &Image, options: &ImageOutput) -> Option<Platform> {
        self.is_indexed(options).then(|| image.platform())
    }

    fn blob_file(&self, digest: &Digest) -> Result<(BlobReader, u64), ExportError> {
        self.store.open_blob(digest)?.ok_or_else(|| ExportError::BlobMissing(digest.clone()))
    }
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
