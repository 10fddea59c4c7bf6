//! Which image of the local store is meant: by its name, or by the beginning of its id.

use std::collections::BTreeSet;
use std::io::{self, Read as _, Write as _};

use slipway_oci::{Digest, ImageConfig, Platform, Reference, ReferenceParseError};
use slipway_store::{BlobError, DbError, ImageError, ImageRecord, OpenError, OverlayFlavor, Store};

use crate::containers::ContainersError;
use crate::place;
use crate::report::CommandError;

/// More than any image config holds.
const MAX_CONFIG_BYTES: u64 = 8 << 20;

/// Why an image of the store cannot be worked with. The texts are those that Docker's users know.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocalImageError {
    #[error("No such image: {0}")]
    Unknown(String),
    #[error(transparent)]
    Name(#[from] ReferenceParseError),
    #[error("image with reference {name} was found but does not provide the specified platform ({platform})")]
    NoPlatform { name: String, platform: Platform },
    #[error("invalid platform: {0:?}: unknown operating system or architecture: invalid argument")]
    Platform(String),
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
    Containers(#[from] ContainersError),
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
    /// `repository@digest`, sorted; a repository has several digests if its tags came by different indexes.
    pub(crate) repository_digests: BTreeSet<String>,
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
    let asked: Result<Reference, ReferenceParseError> = text.parse();
    let by_name = match &asked {
        Ok(name) => store.image(name)?,
        Err(_) => None,
    };
    let (record, asked) = match (by_name, asked) {
        (Some(record), Ok(name)) => (record, Some(name.with_default_tag())),
        (_, asked) => {
            let mut known: Vec<ImageRecord> = all.iter().map(|(_, image)| image.clone()).collect();
            known.extend(store.unnamed_images()?);
            let found = by_id(&known, text)?;
            // An id need be no name, but what is neither is a mistake.
            (found.ok_or_else(|| unknown(asked, text))?, None)
        }
    };
    let (mut names, mut repository_digests) = (Vec::new(), BTreeSet::new());
    for (name, image) in all.into_iter().filter(|(_, other)| other.config == record.config) {
        let digest = image.digest().map(|digest| format!("{}@{digest}", repository_and_tag(&name).0));
        repository_digests.extend(digest);
        names.push(name);
    }
    Ok(LocalImage { record, names, repository_digests, asked })
}

/// The platform of a flag; `None` if it is empty.
pub(crate) fn platform_of(text: &str) -> Result<Option<Platform>, LocalImageError> {
    match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| LocalImageError::Platform(text.to_owned())),
    }
}

impl LocalImage {
    /// The image for `platform`, if that is asked for; `text` is what the image was found by.
    pub(crate) fn for_platform(self, platform: Option<&Platform>, text: &str) -> Result<LocalImage, LocalImageError> {
        let Some(platform) = platform else { return Ok(self) };
        let name = self.asked.as_ref().map_or_else(|| text.to_owned(), Reference::familiar);
        let missing = || LocalImageError::NoPlatform { name, platform: platform.clone() };
        let record = self.record.for_platform(platform).ok_or_else(missing)?.clone();
        Ok(LocalImage { record, ..self })
    }
}

/// The image whose id, or the digest of whose manifest, begins with `text`.
fn by_id(known: &[ImageRecord], text: &str) -> Result<Option<ImageRecord>, LocalImageError> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let is_meant = |image: &&ImageRecord| {
        std::iter::once(&image.config).chain(image.digest()).any(|digest| digest.hex().starts_with(hex))
    };
    let is_hex = !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let found: Vec<&ImageRecord> = known.iter().filter(|_| is_hex).filter(is_meant).collect();
    match found.iter().all(|other| other.config == found[0].config) {
        true => Ok(found.first().map(|image| (*image).clone())),
        false => Err(LocalImageError::Ambiguous(text.to_owned())),
    }
}

/// What to say of a text that means no image of the store; `asked` is how it reads as a name.
fn unknown(asked: Result<Reference, ReferenceParseError>, text: &str) -> LocalImageError {
    match asked {
        Ok(name) => LocalImageError::Unknown(name.with_default_tag().familiar()),
        Err(_) if text.is_empty() => LocalImageError::Unknown(String::new()),
        Err(error) => error.into(),
    }
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

/// The error as Docker's client says it before it asks its engine: with nothing in front.
pub(crate) fn said(error: &(dyn std::error::Error + 'static)) -> CommandError {
    CommandError::Told(format!("{}\n", slipway_engine::chain(error)))
}

/// The error as commands of Docker's engine are answered: with nothing in front but a word.
pub(crate) fn told(error: &(dyn std::error::Error + 'static)) -> CommandError {
    CommandError::Told(format!("Error: {}\n", slipway_engine::chain(error)))
}

/// Writes `text` to standard output.
pub(crate) fn print(text: &str) -> Result<(), CommandError> {
    io::stdout().write_all(text.as_bytes()).map_err(|error| told(&error))
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
            registry_digest: None,
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
    fn an_image_without_a_name_is_found_by_its_id() {
        let (_folder, store, [first, second]) = store();
        store.name_image(&"other".parse().unwrap(), &first).unwrap();
        let found = find(&store, &second.config.hex()[..12]).unwrap();
        assert_eq!((found.record, found.names, found.asked), (second, vec![], None));
    }

    #[test]
    fn what_is_not_there_is_told_with_its_tag() {
        let (_folder, store, _) = store();
        for (text, expected) in [
            ("nosuch", "No such image: nosuch:latest"),
            ("app", "No such image: app:latest"),
            ("", "No such image: "),
            ("0123abcd", "No such image: 0123abcd:latest"),
            ("sha256:", "invalid reference format"),
            ("Upper", "invalid reference format: repository name (library/Upper) must be lowercase"),
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
