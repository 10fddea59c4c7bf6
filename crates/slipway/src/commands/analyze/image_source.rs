//! Where is the image that a name stands for, and how are its layers had?

use std::io::{self, PipeReader, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, JoinHandle};

use slipway_analyze::{LayerSource, OpenError, OpenLayer, StoredLayer, chosen, open, with_commands};
use slipway_engine::write_layer_tar;
use slipway_oci::{
    Descriptor, DiffId, Digest, DigestParseError, ImageConfig, IndexOrManifest, ManifestParseError, Reference,
    ReferenceParseError,
};
use slipway_registry::Registry;
use slipway_store::{LayerId, OverlayFlavor, Store};

use super::settings::Settings;
use crate::report::CommandError;
use crate::{client_config, place};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Configs of images beyond this are refused.
const MAX_CONFIG_BYTES: u64 = 16 << 20;

/// Why there are no layers to look at.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot look into the store")]
    Store(#[source] AnyError),
    #[error("the store lacks a part of the image: {what}")]
    Missing { what: String },
    #[error("the image has a config that cannot be read")]
    Config(#[source] serde_json::Error),
    #[error("`{name}` is neither in the store nor a file nor the name of an image")]
    Name { name: String, source: ReferenceParseError },
    #[error(transparent)]
    Id(#[from] DigestParseError),
    #[error("cannot ask the registry")]
    Registry(#[source] AnyError),
    #[error("the registry has a manifest that cannot be read")]
    Manifest(#[from] ManifestParseError),
    #[error("cannot run `{engine} image save`")]
    Start { engine: &'static str, source: io::Error },
    #[error("`{engine} image save {name}` failed: {message}")]
    Save { engine: &'static str, name: String, message: String },
}

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// In the store, then on the disk, then in a registry.
    Anywhere,
    /// An engine's images, by its program.
    Engine(&'static str),
    /// An archive or a layout.
    File,
    Registry,
    /// In the store, by the id of the image.
    Built,
}

impl Scheme {
    fn named(name: &str) -> Option<Scheme> {
        match name {
            "docker" => Some(Scheme::Engine("docker")),
            "podman" => Some(Scheme::Engine("podman")),
            "docker-archive" | "docker-tar" | "oci-layout" => Some(Scheme::File),
            "registry" => Some(Scheme::Registry),
            _ => None,
        }
    }
}

/// An image, and where it is to be had.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ImageSource {
    pub(super) scheme: Scheme,
    pub(super) name: String,
}

pub(super) type Layers = Vec<LayerSource<'static>>;

impl ImageSource {
    /// What `text` stands for. A prefix wins over `--source`; unknown prefixes belong to the name.
    pub(super) fn of(text: &str, settings: &Settings) -> ImageSource {
        let prefixed = text.split_once("://").and_then(|(scheme, name)| Some((Scheme::named(scheme)?, name)));
        if let Some((scheme, name)) = prefixed {
            return ImageSource { scheme, name: name.to_owned() };
        }
        let scheme = settings.source.as_deref().map(|source| {
            Scheme::named(source).unwrap_or_else(|| {
                settings.tell(&format!(
                    "warning: invalid container engine: {source} (valid options: docker, podman, docker-archive), using default \"docker\""
                ));
                Scheme::Anywhere
            })
        });
        ImageSource { scheme: scheme.unwrap_or(Scheme::Anywhere), name: text.to_owned() }
    }

    /// Finds the layers. The outer error is about the place that this runs in.
    pub(super) fn load(&self, settings: &Settings) -> Result<Result<Layers, LoadError>, CommandError> {
        let of_file =
            |path: &Path| -> Result<Layers, LoadError> { Ok(open(path, &settings.platform, settings.ignores_errors)?) };
        Ok(match self.scheme {
            Scheme::Engine(engine) => saved(engine, &self.name, settings),
            Scheme::File => of_file(Path::new(&self.name)),
            Scheme::Registry => from_registry(&self.name, settings),
            Scheme::Built => {
                let store = own_store()?;
                self.name.parse().map_err(LoadError::Id).and_then(|id| from_store(&store, &id))
            }
            Scheme::Anywhere => {
                if let Some(outcome) = self.stored(settings)? {
                    return Ok(outcome);
                }
                match Path::new(&self.name) {
                    path if path.exists() => of_file(path),
                    _ => from_registry(&self.name, settings),
                }
            }
        })
    }

    /// The image from the store, if the store has the name.
    fn stored(&self, settings: &Settings) -> Result<Option<Result<Layers, LoadError>>, CommandError> {
        let root = place::store_root(place::find(None)?);
        let Ok(reference) = self.name.parse::<Reference>() else { return Ok(None) };
        // A store that is not there has no image, and need not be made.
        if !root.join("oci-layout").exists() {
            return Ok(None);
        }
        let store = Store::open(&root, OverlayFlavor::Outside).map_err(|error| CommandError::Options(error.into()))?;
        let image = match store.image(&reference) {
            Ok(Some(image)) => image,
            Ok(None) => return Ok(None),
            Err(error) => return Ok(Some(Err(LoadError::Store(error.into())))),
        };
        let Some(config) = image.for_platform(&settings.platform).map(|image| image.config.clone()) else {
            return Ok(Some(Err(OpenError::NoPlatform { platform: settings.platform.clone() }.into())));
        };
        drop(store);
        Ok(Some(from_store(&own_store()?, &config)))
    }
}

/// The store, from inside the namespace whose ids its files have.
fn own_store() -> Result<Store, CommandError> {
    let place = place::find(None)?;
    let flavor = place::enter(place)?;
    Store::open(&place::store_root(place), flavor).map_err(|error| CommandError::Options(error.into()))
}

/// The layers of the image with the config `id`: from their blobs, or else from their files.
fn from_store(store: &Store, id: &Digest) -> Result<Layers, LoadError> {
    let failed = |error: AnyError| LoadError::Store(error);
    let missing = |what: String| LoadError::Missing { what };
    let (config, _) =
        store.open_blob(id).map_err(|e| failed(e.into()))?.ok_or_else(|| missing(format!("the config {id}")))?;
    let config = read_config(config)?;
    let mut below: Vec<LayerId> = Vec::new();
    let mut layers = Vec::new();
    for diff_id in &config.rootfs.diff_ids {
        let layer = store.layer_by_diff_id(diff_id).map_err(|e| failed(e.into()))?;
        let blob = stored_blob(store, diff_id).map_err(failed)?;
        let compressed_bytes = blob.as_ref().map(|blob| blob.size);
        let open = match (blob, &layer) {
            (Some(blob), _) => blob_opener(store, blob),
            (None, Some(layer)) => files_opener(store, below.clone(), layer.clone()),
            (None, None) => return Err(missing(format!("the layer {diff_id}"))),
        };
        layers.push(StoredLayer { id: None, compressed_bytes, open });
        // A base image may list a layer several times; the stack holds it once.
        below.extend(layer.filter(|layer| !below.contains(layer)));
    }
    Ok(with_commands(&config, layers))
}

fn read_config(source: impl Read) -> Result<ImageConfig, LoadError> {
    serde_json::from_reader(source.take(MAX_CONFIG_BYTES)).map_err(LoadError::Config)
}

/// A blob with the layer, if one is in the store.
fn stored_blob(store: &Store, diff_id: &DiffId) -> Result<Option<Descriptor>, AnyError> {
    for blob in store.layer_blobs(diff_id)? {
        if store.has_blob(&blob.digest)? {
            return Ok(Some(blob));
        }
    }
    Ok(None)
}

fn blob_opener(store: &Store, blob: Descriptor) -> OpenLayer<'static> {
    let store = store.clone();
    Box::new(move || {
        let found = store.open_blob(&blob.digest).map_err(io::Error::other)?;
        let (file, _) = found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, blob.digest.to_string()))?;
        Ok(Box::new(file) as Box<dyn Read>)
    })
}

/// The tar is written by a thread of its own, which ends when nobody reads any more.
fn files_opener(store: &Store, below: Vec<LayerId>, layer: LayerId) -> OpenLayer<'static> {
    let store = store.clone();
    Box::new(move || {
        let (reader, writer) = io::pipe()?;
        let (store, below, layer) = (store.clone(), below.clone(), layer.clone());
        let writer = thread::spawn(move || write_layer_tar(&store, &below, &layer, writer));
        Ok(Box::new(WrittenTar { reader, writer: Some(writer) }) as Box<dyn Read>)
    })
}

/// A tar that a thread writes: it ends well only if the thread did.
struct WrittenTar {
    reader: PipeReader,
    writer: Option<JoinHandle<io::Result<()>>>,
}

impl Read for WrittenTar {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_read = self.reader.read(buffer)?;
        if n_read == 0
            && !buffer.is_empty()
            && let Some(writer) = self.writer.take()
        {
            writer.join().map_err(|_| io::Error::other("the writer of the layer panicked"))??;
        }
        Ok(n_read)
    }
}

fn from_registry(name: &str, settings: &Settings) -> Result<Layers, LoadError> {
    let reference: Reference = name.parse().map_err(|source| LoadError::Name { name: name.to_owned(), source })?;
    let registry = Registry::new(client_config::registry_config(false));
    let asked = |error: AnyError| LoadError::Registry(error);
    let mut resolved = registry.resolve(&reference).map_err(|error| asked(error.into()))?;
    if let IndexOrManifest::Index(index) = resolved.parse()? {
        let no_platform = || OpenError::NoPlatform { platform: settings.platform.clone() };
        let digest = &chosen(&index, &settings.platform).ok_or_else(no_platform)?.digest;
        resolved = registry.manifest(&reference, digest).map_err(|error| asked(error.into()))?;
    }
    let IndexOrManifest::Manifest(manifest) = resolved.parse()? else {
        return Err(OpenError::NoPlatform { platform: settings.platform.clone() }.into());
    };
    let config = registry.blob(&reference, &manifest.config).map_err(|error| asked(error.into()))?;
    let config = read_config(config)?;
    let layers = manifest.layers.into_iter().map(|blob| {
        let (registry, reference, size) = (registry.clone(), reference.clone(), blob.size);
        let open: OpenLayer<'static> = Box::new(move || {
            let blob = registry.blob(&reference, &blob).map_err(io::Error::other)?;
            Ok(Box::new(blob) as Box<dyn Read>)
        });
        StoredLayer { id: None, compressed_bytes: Some(size), open }
    });
    Ok(with_commands(&config, layers.collect()))
}

/// Has an engine save its image.
fn saved(engine: &'static str, name: &str, settings: &Settings) -> Result<Layers, LoadError> {
    let start = |source| LoadError::Start { engine, source };
    let folder = tempfile::tempdir().map_err(start)?;
    let path = folder.path().join("image.tar");
    let outcome =
        Command::new(engine).args(["image", "save", "-o"]).arg(&path).arg("--").arg(name).output().map_err(start)?;
    if !outcome.status.success() {
        let message = String::from_utf8_lossy(&outcome.stderr).trim().to_owned();
        return Err(LoadError::Save { engine, name: name.to_owned(), message });
    }
    // The layers hold the archive open: its name, which goes with the folder, is not needed any more.
    Ok(open(&path, &settings.platform, settings.ignores_errors)?)
}
