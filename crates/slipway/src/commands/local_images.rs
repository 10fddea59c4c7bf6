//! Which image of the local store is meant: by its name, or by the beginning of its id.

use std::io::Read as _;

use slipway_oci::{Digest, ImageConfig, Reference};
use slipway_store::{BlobError, DbError, ImageError, ImageRecord, OpenError, OverlayFlavor, Store};

use crate::place;
use crate::report::CommandError;

/// More than any image config holds.
const MAX_CONFIG_BYTES: u64 = 8 << 20;

/// Why an image of the store cannot be worked with. The texts are those that Docker's users know.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocalImageError {
    #[error("No such image: {0}")]
    Unknown(String),
    #[error("invalid reference format: {0:?} is the beginning of several image ids")]
    Ambiguous(String),
    #[error("the config {0} of the image is not in the store any more")]
    NoConfig(Digest),
    #[error("the config of the image cannot be read")]
    Config(#[from] serde_json::Error),
    #[error("cannot read the config of the image")]
    Read(#[from] std::io::Error),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Names(#[from] ImageError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// An image, and all of its names.
#[derive(Clone, Debug)]
pub(crate) struct LocalImage {
    pub(crate) record: ImageRecord,
    /// Sorted.
    pub(crate) names: Vec<Reference>,
    /// The name that it was asked for by; `None` if it was by its id.
    pub(crate) asked: Option<Reference>,
}

/// The store, for those who look at names and documents and mount nothing.
pub(crate) fn open_store() -> Result<Store, CommandError> {
    let root = place::store_root(place::find(None)?);
    Store::open(&root, OverlayFlavor::UserNamespace).map_err(|error| told(&LocalImageError::from(error)))
}

/// The image that `text` means.
pub(crate) fn find(store: &Store, text: &str) -> Result<LocalImage, LocalImageError> {
    let all = store.images()?;
    let asked: Option<Reference> = text.parse().ok();
    let by_name = match &asked {
        Some(name) => store.image(name)?,
        None => None,
    };
    let (record, asked) = match by_name {
        Some(record) => (record, asked.map(|name| name.with_default_tag())),
        None => (by_id(&all, text)?, None),
    };
    let names = all.into_iter().filter(|(_, other)| other.config == record.config).map(|(name, _)| name).collect();
    Ok(LocalImage { record, names, asked })
}

/// The image whose id, or the digest of whose manifest, begins with `text`.
fn by_id(all: &[(Reference, ImageRecord)], text: &str) -> Result<ImageRecord, LocalImageError> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let is_meant = |image: &ImageRecord| {
        let manifest = image.manifest.as_ref().map(|manifest| &manifest.digest);
        std::iter::once(&image.config).chain(manifest).any(|digest| digest.hex().starts_with(hex))
    };
    let is_hex = !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut found: Vec<&ImageRecord> = all.iter().map(|(_, image)| image).filter(|i| is_hex && is_meant(i)).collect();
    found.dedup_by(|a, b| a.config == b.config);
    let first = found.first().ok_or_else(|| LocalImageError::Unknown(full(text)))?;
    match found.iter().all(|other| other.config == first.config) {
        true => Ok((*first).clone()),
        false => Err(LocalImageError::Ambiguous(text.to_owned())),
    }
}

/// `text` with the tag that stands in for a missing one.
fn full(text: &str) -> String {
    text.parse::<Reference>().map_or_else(|_| text.to_owned(), |name| name.with_default_tag().familiar())
}

/// The config of an image of the store.
pub(crate) fn config_of(store: &Store, image: &ImageRecord) -> Result<ImageConfig, LocalImageError> {
    let missing = || LocalImageError::NoConfig(image.config.clone());
    let (file, _) = store.open_blob(&image.config)?.ok_or_else(missing)?;
    let mut bytes = Vec::new();
    file.take(MAX_CONFIG_BYTES).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// How long the tars of the layers are, in bytes, bottom first; for one that was never unpacked here, its blob.
pub(crate) fn layer_sizes(store: &Store, image: &ImageRecord) -> Result<Vec<u64>, LocalImageError> {
    let size_of = |diff_id| -> Result<u64, LocalImageError> {
        let unpacked = store.layer_by_diff_id(diff_id)?.map(|layer| store.diff_id(&layer)).transpose()?.flatten();
        match unpacked {
            Some((_, size_bytes)) => Ok(size_bytes),
            None => Ok(store.layer_blobs(diff_id)?.first().map_or(0, |blob| blob.size)),
        }
    };
    image.layers.iter().map(size_of).collect()
}

/// The first twelve digits of an id, or all of it.
pub(crate) fn id(digest: &Digest, is_long: bool) -> String {
    if is_long { digest.to_string() } else { digest.hex()[..12].to_owned() }
}

/// The repository as people type it, and the tag.
pub(crate) fn repository_and_tag(name: &Reference) -> (String, Option<String>) {
    let familiar = name.familiar();
    let without_digest = familiar.split('@').next().unwrap_or(&familiar);
    match name.tag_or_latest() {
        Some(tag) => {
            let repository = without_digest.strip_suffix(&format!(":{tag}")).unwrap_or(without_digest);
            (repository.to_owned(), Some(tag.to_owned()))
        }
        None => (without_digest.to_owned(), None),
    }
}

/// The error as commands of Docker's engine are answered: with nothing in front but a word.
pub(crate) fn told(error: &(dyn std::error::Error + 'static)) -> CommandError {
    CommandError::Told(format!("Error: {}\n", slipway_engine::chain(error)))
}

#[cfg(test)]
mod tests {
    use slipway_oci::Platform;

    use super::*;

    fn store() -> (tempfile::TempDir, Store, [ImageRecord; 2]) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), OverlayFlavor::Root).unwrap();
        let image = |config: &str| ImageRecord {
            manifest: None,
            config: store.put_blob(config.as_bytes()).unwrap().digest,
            layers: Vec::new(),
            created: None,
            platform: Platform::new("linux", "amd64", None),
            others: Vec::new(),
        };
        let images = [image("{}"), image("{ }")];
        for (name, image) in [("app:1", &images[0]), ("team/app:2", &images[0]), ("other", &images[1])] {
            store.name_image(&name.parse().unwrap(), image).unwrap();
        }
        (folder, store, images)
    }

    #[test]
    fn an_image_is_found_by_name_and_by_the_beginning_of_its_id() {
        let (_folder, store, [first, second]) = store();
        let by_name = find(&store, "app:1").unwrap();
        assert_eq!((by_name.record, by_name.names.len()), (first.clone(), 2));
        assert_eq!(by_name.asked.unwrap().familiar(), "app:1");
        assert_eq!(find(&store, "other").unwrap().record, second);
        for id in [first.config.as_str(), first.config.hex(), &first.config.hex()[..12]] {
            let found = find(&store, id).unwrap();
            assert!(found.record == first && found.asked.is_none(), "{id}");
        }
    }

    #[test]
    fn what_is_not_there_is_told_with_its_tag() {
        let (_folder, store, _) = store();
        for (text, expected) in [
            ("nosuch", "No such image: nosuch:latest"),
            ("app", "No such image: app:latest"),
            ("", "No such image: "),
            ("sha256:", "No such image: sha256:"),
        ] {
            assert_eq!(find(&store, text).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn names_come_apart() {
        for (name, repository, tag) in [
            ("app", "app", Some("latest")),
            ("app:1", "app", Some("1")),
            ("127.0.0.1:5000/a/b:x", "127.0.0.1:5000/a/b", Some("x")),
        ] {
            let parts = repository_and_tag(&name.parse().unwrap());
            assert_eq!(parts, (repository.to_owned(), tag.map(str::to_owned)));
        }
        let digest = format!("app@{}", Digest::of(b""));
        assert_eq!(repository_and_tag(&digest.parse().unwrap()), ("app".to_owned(), None));
    }
}
