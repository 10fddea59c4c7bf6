//! Which image does a name stand for?
//!
//! [`Images::look_up`] answers the questions of lowering: what was built here under that name, else what the name was
//! found to be earlier, else what the registry says now. [`pull`] gets its layers into the store.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use slipway_cache::{CacheError, Layer};
use slipway_dockerfile::{ImageKey, ImagePlace, KnownImage};
use slipway_graph::Pins;
use slipway_graph::op::{ImageOrigin, ImageSource};
use slipway_graph::request::LockUse;
use slipway_oci::{
    ChainId, Descriptor, DiffId, Digest, ImageConfig, Index, IndexOrManifest, Manifest, ManifestParseError, Platform,
    Reference,
};
use slipway_registry::{BlobError, Registry, ResolveError};
use slipway_store::{DbError, OverlayFlavor, Snapshot, SnapshotError, Store};

use crate::fetch::{BlobPlace, LayerFetcher, Progress, WantedLayer};
use crate::layer::untar::UntarError;
use crate::now_ns;
use crate::remote::{Holder, RemoteLayers};
use crate::rootfs::CallError;

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    #[error(transparent)]
    Resolve(#[from] Box<ResolveError>),
    #[error("`{image}` has no manifest for {wanted}; there are: {}", .offered.join(", "))]
    NoPlatform { image: String, wanted: Platform, offered: Vec<String> },
    #[error("the manifest of `{image}` cannot be read")]
    Manifest { image: String, source: ManifestParseError },
    #[error("the config of `{image}` cannot be read")]
    Config { image: String, source: serde_json::Error },
    #[error("the config of `{image}` has {n_bytes} bytes, which is more than is sensible")]
    ConfigSize { image: String, n_bytes: u64 },
    #[error("`{image}` lists {n_layers} layers, but its config {n_diff_ids} diff IDs")]
    LayerCount { image: String, n_layers: usize, n_diff_ids: usize },
    #[error("`{path}` is no OCI layout", path = .path.display())]
    NoLayout { path: PathBuf, source: io::Error },
    #[error("the OCI layout `{path}` has no image {wanted}", path = .path.display())]
    NotInLayout { path: PathBuf, wanted: String },
    #[error("the blob {digest} of `{image}` is missing")]
    BlobMissing { image: String, digest: Digest },
    #[error("the blob of `{image}` has the digest {found}, not {expected}")]
    BlobDigest { image: String, expected: Digest, found: Digest },
    #[error("cannot fetch a layer of `{image}`")]
    Fetch { image: String, source: Box<BlobError> },
    #[error("cannot fetch a layer of `{image}`")]
    FromCache { image: String, source: Box<CacheError> },
    #[error("cannot read a layer of `{image}`")]
    Read { image: String, source: io::Error },
    #[error("cannot unpack a layer of `{image}`")]
    Unpack { image: String, source: UntarError },
    #[error("layer {layer} of `{image}` unpacks to {found}, but the config says {expected}")]
    DiffId { image: String, layer: Digest, expected: DiffId, found: DiffId },
    #[error(
        "{layer} of `{image}` is a foreign layer: not its registry is to have it, but whom the image names, and these \
         are not asked; use an image without such layers"
    )]
    Foreign { image: String, layer: Digest },
    #[error("`{media_type}` is no kind of layer that can be unpacked")]
    MediaType { media_type: String },
    #[error("cannot complete a layer of `{image}`")]
    Adopt { image: String, source: CallError },
    #[error("slipway.lock has no digest of `{image}`")]
    NotPinned { image: String },
    #[error("`{image}` was built here, where nobody else can have it from: no digest of it can be pinned")]
    Unpinnable { image: String },
    #[error("the store does not have `{image}`, and nothing is fetched (--offline)")]
    NotInStore { image: String },
    #[error("canceled")]
    Canceled,
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Blob(#[from] slipway_store::BlobError),
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Names(#[from] slipway_store::ImageError),
}

/// What a name was found to be, remembered as a fact of the store.
#[derive(Serialize, Deserialize)]
struct Resolution {
    /// The manifest for one platform; it and the config it names are blobs of the store.
    manifest: Descriptor,
    /// What the name itself stands for: the manifest, or an index that lists it.
    #[serde(default)]
    named: Option<Digest>,
}

/// What the names of images that can be pinned were found to stand for, by the names of their pins.
#[derive(Default)]
pub(crate) struct ImageDigests(Mutex<BTreeMap<String, Digest>>);

impl ImageDigests {
    pub(crate) fn pins(&self) -> BTreeMap<String, Digest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What `reference` was found to stand for: its own digest if it has one.
    pub(crate) fn of(&self, reference: &Reference) -> Option<Digest> {
        let noted = || self.pins().remove(&Pins::name_of_image(reference)?);
        reference.digest().cloned().or_else(noted)
    }

    fn note(&self, reference: &Reference, digest: &Digest) {
        if let Some(name) = Pins::name_of_image(reference) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, digest.clone());
        }
    }
}

const RESOLUTION: &str = "image-resolution";
const MAX_MANIFEST_BYTES: u64 = 4 << 20;
const MAX_CONFIG_BYTES: u64 = 8 << 20;

/// What looking images up needs.
pub(crate) struct Images<'a> {
    pub(crate) store: &'a Store,
    pub(crate) registry: &'a Registry,
    /// Ask the registry even if the name is known (`--pull`).
    pub(crate) pulls_always: bool,
    pub(crate) lock: Option<LockUse>,
    pub(crate) pins: &'a Pins,
    pub(crate) digests: &'a ImageDigests,
}

impl Images<'_> {
    /// Answers a question of lowering.
    pub(crate) fn look_up(&self, key: &ImageKey) -> Result<KnownImage, ImageError> {
        match &key.place {
            ImagePlace::Reference(reference) => self.by_reference(reference, &key.platform),
            ImagePlace::OciLayout { name, path, tag, digest } => {
                self.in_layout(name, path, tag.as_deref(), digest.as_ref(), &key.platform)
            }
        }
    }

    /// The digest that the lock file has for `reference`, as part of it.
    fn pinned(&self, reference: &Reference) -> Result<Reference, ImageError> {
        let Some(name) = Pins::name_of_image(reference).filter(|_| self.lock.is_some()) else {
            return Ok(reference.clone());
        };
        let image = || reference.with_default_tag().familiar();
        match self.pins.images.get(&name) {
            Some(digest) => Ok(reference.with_default_tag().with_digest(digest.clone())),
            None if self.lock == Some(LockUse::Require) => Err(ImageError::NotPinned { image: image() }),
            None if self.store.image(reference)?.is_some() => Err(ImageError::Unpinnable { image: image() }),
            None => Ok(reference.clone()),
        }
    }

    fn by_reference(&self, reference: &Reference, platform: &Platform) -> Result<KnownImage, ImageError> {
        let reference = &self.pinned(reference)?;
        if !self.pulls_always
            && let Some(known) = self.known(reference, platform)?
        {
            return Ok(known);
        }
        self.ask_registry(reference, platform)
    }

    /// What the store says: that it was built here, or what it was found to be earlier.
    pub(crate) fn known(&self, reference: &Reference, platform: &Platform) -> Result<Option<KnownImage>, ImageError> {
        if let Some(named) = self.store.image(reference)?
            && let Some(image) = named.for_platform(platform)
            && let Some(config) = store_config(self.store, &image.config, reference)?
        {
            let chain_id = ChainId::of_stack(&image.layers);
            let manifest = image.config.clone();
            return Ok(Some(KnownImage { origin: ImageOrigin::Store, manifest, chain_id, config }));
        }
        self.remembered(reference, platform)
    }

    fn remembered(&self, reference: &Reference, platform: &Platform) -> Result<Option<KnownImage>, ImageError> {
        let Some(fact) = self.store.fact(RESOLUTION, &resolution_key(reference, platform))? else { return Ok(None) };
        // A fact or blob that cannot be read any more is the same as none: the registry is asked again.
        let Ok(resolution) = serde_json::from_slice::<Resolution>(&fact) else { return Ok(None) };
        match &resolution.named {
            Some(named) => self.digests.note(reference, named),
            // Who writes a lock file has to know.
            None if self.lock == Some(LockUse::Extend) => return Ok(None),
            None => {}
        }
        let Some(manifest) = stored_blob(self.store, &resolution.manifest.digest)? else { return Ok(None) };
        let Ok(IndexOrManifest::Manifest(manifest)) = IndexOrManifest::parse(&manifest, "") else { return Ok(None) };
        let Some(config) = stored_blob(self.store, &manifest.config.digest)? else { return Ok(None) };
        let known =
            known_image(reference.familiar(), ImageOrigin::Registry, resolution.manifest.digest, &manifest, &config);
        known.map(Some)
    }

    fn ask_registry(&self, reference: &Reference, platform: &Platform) -> Result<KnownImage, ImageError> {
        let name = reference.familiar();
        if self.registry.is_offline() {
            return Err(ImageError::NotInStore { image: name });
        }
        let bad_manifest = |source| ImageError::Manifest { image: name.clone(), source };
        let resolved = self.registry.resolve(reference).map_err(Box::new)?;
        let named = resolved.digest.clone();
        let resolved = match resolved.parse().map_err(bad_manifest)? {
            IndexOrManifest::Manifest(_) => resolved,
            IndexOrManifest::Index(index) => {
                let chosen = choose(&index, platform).ok_or_else(|| no_platform(&name, &index, platform))?;
                self.registry.manifest(reference, &chosen.digest).map_err(Box::new)?
            }
        };
        let IndexOrManifest::Manifest(manifest) = resolved.parse().map_err(bad_manifest)? else {
            return Err(bad_manifest(ManifestParseError::Unsupported("an index inside an index".to_owned())));
        };
        let fetch = |source| ImageError::Fetch { image: name.clone(), source: Box::new(source) };
        let n_bytes = manifest.config.size;
        if n_bytes > MAX_CONFIG_BYTES {
            return Err(ImageError::ConfigSize { image: name, n_bytes });
        }
        let mut config = Vec::new();
        let mut reader = self.registry.blob(reference, &manifest.config).map_err(fetch)?;
        reader.read_to_end(&mut config).map_err(|source| ImageError::Read { image: name.clone(), source })?;
        let known = known_image(name.clone(), ImageOrigin::Registry, resolved.digest.clone(), &manifest, &config)?;
        self.store.put_blob(&config)?;
        self.store.put_blob(&resolved.bytes)?;
        self.digests.note(reference, &named);
        let fact = Resolution { manifest: resolved.descriptor(), named: Some(named.clone()) };
        let fact = serde_json::to_vec(&fact).map_err(|source| ImageError::Config { image: name, source })?;
        self.store.set_fact(RESOLUTION, &resolution_key(reference, platform), &fact)?;
        // Who has it pinned asks by digest.
        let with_digest = reference.with_default_tag().with_digest(named);
        self.store.set_fact(RESOLUTION, &resolution_key(&with_digest, platform), &fact)?;
        Ok(known)
    }

    fn in_layout(
        &self,
        name: &str,
        path: &Path,
        tag: Option<&str>,
        digest: Option<&Digest>,
        platform: &Platform,
    ) -> Result<KnownImage, ImageError> {
        let image = format!("oci-layout://{}", path.display());
        let bad_manifest = |source| ImageError::Manifest { image: image.clone(), source };
        let index = read_limited(&path.join("index.json"), MAX_MANIFEST_BYTES)
            .map_err(|source| ImageError::NoLayout { path: path.to_owned(), source })?;
        let IndexOrManifest::Index(index) =
            IndexOrManifest::parse(&index, slipway_oci::media_type::OCI_INDEX).map_err(bad_manifest)?
        else {
            return Err(bad_manifest(ManifestParseError::Unsupported("index.json is no index".to_owned())));
        };
        let mut descriptor = layout_entry(&index, tag, digest, platform)
            .ok_or_else(|| ImageError::NotInLayout { path: path.to_owned(), wanted: wanted(name, tag, digest) })?;
        // An entry may be an index again: one image for several platforms.
        for _ in 0..4 {
            let bytes = read_layout_blob(&image, path, &descriptor.digest, MAX_MANIFEST_BYTES)?;
            match IndexOrManifest::parse(&bytes, &descriptor.media_type).map_err(bad_manifest)? {
                IndexOrManifest::Manifest(manifest) => {
                    let config = read_layout_blob(&image, path, &manifest.config.digest, MAX_CONFIG_BYTES)?;
                    self.store.put_blob(&bytes)?;
                    self.store.put_blob(&config)?;
                    let origin = ImageOrigin::OciLayout(path.to_owned());
                    return known_image(image, origin, descriptor.digest, &manifest, &config);
                }
                IndexOrManifest::Index(inner) => {
                    descriptor = choose(&inner, platform).ok_or_else(|| no_platform(&image, &inner, platform))?.clone();
                }
            }
        }
        Err(bad_manifest(ManifestParseError::Unsupported("indexes nested too deeply".to_owned())))
    }
}

pub(crate) fn store_config(
    store: &Store,
    digest: &Digest,
    reference: &Reference,
) -> Result<Option<ImageConfig>, ImageError> {
    let Some(bytes) = stored_blob(store, digest)? else { return Ok(None) };
    let bad = |source| ImageError::Config { image: reference.familiar(), source };
    serde_json::from_slice(&bytes).map(Some).map_err(bad)
}

pub(crate) fn stored_blob(store: &Store, digest: &Digest) -> Result<Option<Vec<u8>>, ImageError> {
    let Some((file, _)) = store.open_blob(digest)? else { return Ok(None) };
    let mut bytes = Vec::new();
    let read = file.take(MAX_CONFIG_BYTES).read_to_end(&mut bytes);
    Ok(read.is_ok().then_some(bytes).filter(|bytes| Digest::of(bytes) == *digest))
}

/// What stands for an image that cannot be looked up, so that reading the Dockerfile can go on: it is known then what
/// else is missing. Nothing is ever built on it.
pub(crate) fn unknown_image() -> KnownImage {
    let manifest = Digest::of(UNKNOWN);
    KnownImage { origin: ImageOrigin::Registry, manifest, chain_id: None, config: ImageConfig::default() }
}

const UNKNOWN: &[u8] = b"nothing is known of the image";

/// The blobs of `image` that a registry would have to be asked for.
pub(crate) fn missing_layers(image: &ImageSource, store: &Store) -> Result<Vec<Digest>, ImageError> {
    if image.origin != ImageOrigin::Registry || image.manifest == Digest::of(UNKNOWN) {
        return Ok(Vec::new());
    }
    let (diff_ids, blobs) = layers_of(image, store)?;
    let mut missing = Vec::new();
    for (diff_id, blob) in diff_ids.iter().zip(blobs) {
        if store.layer_by_diff_id(diff_id)?.is_none() && !store.has_blob(&blob.digest)? {
            missing.push(blob.digest);
        }
    }
    Ok(missing)
}

/// The layers of an image that was looked up; without blobs if only the store has it.
fn layers_of(image: &ImageSource, store: &Store) -> Result<(Vec<DiffId>, Vec<Descriptor>), ImageError> {
    let missing =
        |digest: &Digest| ImageError::BlobMissing { image: image.reference.familiar(), digest: digest.clone() };
    match &image.origin {
        ImageOrigin::Store => {
            let config =
                store_config(store, &image.manifest, &image.reference)?.ok_or_else(|| missing(&image.manifest))?;
            Ok((config.rootfs.diff_ids, Vec::new()))
        }
        ImageOrigin::Registry | ImageOrigin::OciLayout(_) => {
            let bytes = stored_blob(store, &image.manifest)?.ok_or_else(|| missing(&image.manifest))?;
            let parsed = IndexOrManifest::parse(&bytes, "");
            let Ok(IndexOrManifest::Manifest(manifest)) = parsed else { return Err(missing(&image.manifest)) };
            let digest = &manifest.config.digest;
            let config = store_config(store, digest, &image.reference)?.ok_or_else(|| missing(digest))?;
            Ok((config.rootfs.diff_ids, manifest.layers))
        }
    }
}

/// The digest of the config of an image that was looked up: its id.
pub(crate) fn config_digest(image: &ImageSource, store: &Store) -> Result<Digest, ImageError> {
    if image.origin == ImageOrigin::Store {
        return Ok(image.manifest.clone());
    }
    let missing = || ImageError::BlobMissing { image: image.reference.familiar(), digest: image.manifest.clone() };
    let bytes = stored_blob(store, &image.manifest)?.ok_or_else(missing)?;
    match IndexOrManifest::parse(&bytes, "") {
        Ok(IndexOrManifest::Manifest(manifest)) => Ok(manifest.config.digest),
        Ok(IndexOrManifest::Index(_)) | Err(_) => Err(missing()),
    }
}

/// Who has the layers of `image`, if anybody beside the store has.
pub(crate) fn remote_layers(
    image: &ImageSource,
    store: &Store,
    registry: &Registry,
) -> Result<RemoteLayers, ImageError> {
    let (diff_ids, blobs) = layers_of(image, store)?;
    let layer = |(index, (diff_id, blob)): (usize, (DiffId, Descriptor))| Layer {
        blob,
        diff_id,
        parent: index.checked_sub(1),
        created: None,
    };
    let layers = diff_ids.into_iter().zip(blobs).enumerate().map(layer).collect();
    Ok(RemoteLayers { holder: Holder::Image { image: Box::new(image.clone()), registry: registry.clone() }, layers })
}

/// Unpacks the layers of `image` that are not in the store yet and returns the stack of all of them.
pub(crate) fn pull(
    image: &ImageSource,
    store: &Store,
    registry: &Registry,
    flavor: OverlayFlavor,
    progress: &Progress<'_>,
) -> Result<Snapshot, ImageError> {
    let (diff_ids, blobs) = layers_of(image, store)?;
    let layer = |(index, diff_id)| WantedLayer { diff_id, blob: blobs.get(index).cloned(), created_ns: now_ns() };
    let layers: Vec<WantedLayer> = diff_ids.into_iter().enumerate().map(layer).collect();
    let name = image.reference.familiar();
    let place = BlobPlace::of_image(image, registry);
    LayerFetcher { name: &name, place, store, flavor, progress }.stack(&layers)
}

pub(crate) fn known_image(
    name: String,
    origin: ImageOrigin,
    manifest_digest: Digest,
    manifest: &Manifest,
    config: &[u8],
) -> Result<KnownImage, ImageError> {
    let parsed: ImageConfig =
        serde_json::from_slice(config).map_err(|source| ImageError::Config { image: name.clone(), source })?;
    let (n_layers, n_diff_ids) = (manifest.layers.len(), parsed.rootfs.diff_ids.len());
    if n_layers != n_diff_ids {
        return Err(ImageError::LayerCount { image: name, n_layers, n_diff_ids });
    }
    let chain_id = ChainId::of_stack(&parsed.rootfs.diff_ids);
    Ok(KnownImage { origin, manifest: manifest_digest, chain_id, config: parsed })
}

fn resolution_key(reference: &Reference, platform: &Platform) -> String {
    format!("{}|{platform}", reference.with_default_tag())
}

/// Whether an entry of an index is an image, and not what somebody says about one.
pub(crate) fn is_image(entry: &&Descriptor) -> bool {
    entry.annotations.get("vnd.docker.reference.type").is_none_or(|kind| kind != "attestation-manifest")
}

/// The entry of an index for `platform`; a list of one is taken as it is.
pub(crate) fn choose<'a>(index: &'a Index, platform: &Platform) -> Option<&'a Descriptor> {
    let images: Vec<&Descriptor> = index.manifests.iter().filter(is_image).collect();
    let has = |wanted: &Platform| images.iter().find(|d| d.platform.as_ref().is_some_and(|p| p.matches(wanted)));
    let matching = platform.and_older_variants().iter().find_map(has);
    match (matching, &images[..]) {
        (Some(found), _) => Some(found),
        (None, [only]) => Some(only),
        (None, _) => None,
    }
}

fn no_platform(image: &str, index: &Index, wanted: &Platform) -> ImageError {
    let offered = index.manifests.iter().filter_map(|d| d.platform.as_ref()).map(Platform::to_string).collect();
    ImageError::NoPlatform { image: image.to_owned(), wanted: wanted.clone(), offered }
}

fn layout_entry(index: &Index, tag: Option<&str>, digest: Option<&Digest>, platform: &Platform) -> Option<Descriptor> {
    if let Some(digest) = digest {
        // The digest may also name something that only a nested index lists; the blob itself is the proof.
        let listed = index.manifests.iter().find(|d| d.digest == *digest).cloned();
        return Some(listed.unwrap_or_else(|| Descriptor::new("", digest.clone(), 0)));
    }
    let named = |d: &&Descriptor| {
        let name = d.annotations.get("org.opencontainers.image.ref.name");
        name.is_some_and(|n| Some(n.as_str()) == tag || Some(n.rsplit(':').next().unwrap_or_default()) == tag)
    };
    match tag {
        Some(_) => index.manifests.iter().find(named).cloned(),
        None => choose(index, platform).cloned(),
    }
}

fn wanted(name: &str, tag: Option<&str>, digest: Option<&Digest>) -> String {
    match (digest, tag) {
        (Some(digest), _) => format!("with the digest {digest}"),
        (None, Some(tag)) => format!("with the tag `{tag}`"),
        (None, None) => format!("for the named context `{name}`: it holds none, or several"),
    }
}

pub(crate) fn layout_blob_path(layout: &Path, digest: &Digest) -> PathBuf {
    layout.join("blobs/sha256").join(digest.hex())
}

fn read_layout_blob(image: &str, layout: &Path, digest: &Digest, limit: u64) -> Result<Vec<u8>, ImageError> {
    let bytes = read_limited(&layout_blob_path(layout, digest), limit)
        .map_err(|source| ImageError::Read { image: image.to_owned(), source })?;
    check_digest(image, digest, &bytes)?;
    Ok(bytes)
}

fn check_digest(image: &str, expected: &Digest, bytes: &[u8]) -> Result<(), ImageError> {
    let found = Digest::of(bytes);
    if found == *expected {
        return Ok(());
    }
    Err(ImageError::BlobDigest { image: image.to_owned(), expected: expected.clone(), found })
}

/// Reads a whole file of at most `limit` bytes.
fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err(io::Error::other(format!("longer than {limit} bytes"))),
        false => Ok(bytes),
    }
}
