//! `type=local`: a folder in OCI layout, with one manifest a tag.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use slipway_oci::{Descriptor, Digest, Index, IndexOrManifest, media_type};

use crate::document::{self, Form};
use crate::{Backend, BlobSource, Cache, CacheError, Current, MAX_CONFIG_BYTES, MAX_DOCUMENT_BYTES, read_checked};

const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Annotation with the tag of a manifest (image spec, `annotations.md`).
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Which folder, and what of it.
#[derive(Debug)]
pub struct LocalConfig {
    pub folder: PathBuf,
    pub tag: String,
    /// Which manifest is read, whatever its tag is.
    pub digest: Option<Digest>,
    pub form: Form,
    /// Whether blobs that no manifest of the folder leads to any more are removed when a cache is written.
    pub is_reset: bool,
    /// After so long without a word about what is in it, the folder is given up.
    pub silence_limit: Duration,
}

/// A folder that holds caches.
#[derive(Debug)]
pub struct LocalBackend {
    config: LocalConfig,
    /// It has been asked, and did not answer.
    is_silent: AtomicBool,
}

impl Backend for LocalBackend {
    fn name(&self) -> String {
        self.config.folder.display().to_string()
    }

    fn load(&self) -> Result<Vec<Cache>, CacheError> {
        self.answers()?;
        let entry = match &self.config.digest {
            // It need not have a tag any more.
            Some(digest) => Descriptor::new("", digest.clone(), 0),
            None => self.entry()?.ok_or(CacheError::NothingThere)?,
        };
        let blob = |blob: &Descriptor| read_checked(self.open(blob)?, blob, MAX_CONFIG_BYTES);
        let manifest = |blob: &Descriptor| read_checked(self.open(blob)?, blob, MAX_DOCUMENT_BYTES);
        document::read(&manifest(&entry)?, &blob, &manifest)
    }

    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>, CacheError> {
        let path = self.blob_path(&blob.digest);
        let file = File::open(&path).map_err(|source| CacheError::File { path, source })?;
        Ok(Box::new(file))
    }

    fn current(&self) -> Result<Current, CacheError> {
        self.answers()?;
        Ok(Current::default())
    }

    fn send(&self, blob: &Descriptor, blobs: &dyn BlobSource) -> Result<(), CacheError> {
        let path = self.blob_path(&blob.digest);
        if fs::metadata(&path).is_ok_and(|found| found.len() == blob.size) {
            return Ok(());
        }
        self.make_folder()?;
        let mut source = blobs.open(blob).map_err(CacheError::Read)?;
        write_beside(&path, &mut source).map_err(|source| CacheError::File { path, source })
    }

    fn save(
        &self,
        cache: &Cache,
        _: &Current,
        send_rest: &dyn Fn() -> Result<(), CacheError>,
    ) -> Result<(), CacheError> {
        let written = document::write(cache, self.config.form)?;
        self.make_folder()?;
        send_rest()?;
        for (blob, bytes) in [(&written.config_blob, &written.config), (&written.descriptor, &written.document)] {
            self.put(&format!("blobs/sha256/{}", blob.digest.hex()), &mut bytes.as_slice())?;
        }
        self.put("oci-layout", &mut &*OCI_LAYOUT)?;
        let mut entry = written.descriptor;
        entry.annotations.insert(REF_NAME.to_owned(), self.config.tag.clone());
        let mut manifests = self.index()?.map(|index| index.manifests).unwrap_or_default();
        manifests.retain(|other| other.annotations.get(REF_NAME) != Some(&self.config.tag));
        manifests.push(entry);
        let media_type = Some(media_type::OCI_INDEX.to_owned());
        let index = Index { schema_version: 2, media_type, manifests, annotations: Default::default() };
        // Last: now everything that it names is there.
        self.put("index.json", &mut slipway_oci::to_compact(&index)?.as_slice())?;
        if self.config.is_reset { self.remove_all_but(&index.manifests) } else { Ok(()) }
    }
}

impl LocalBackend {
    /// Nothing is asked or written yet.
    pub fn new(config: LocalConfig) -> LocalBackend {
        LocalBackend { config, is_silent: AtomicBool::new(false) }
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.config.folder.join("blobs/sha256").join(digest.hex())
    }

    fn make_folder(&self) -> Result<(), CacheError> {
        let path = self.config.folder.join("blobs/sha256");
        fs::create_dir_all(&path).map_err(|source| CacheError::File { path, source })
    }

    /// Removes the blobs that `manifests` do not lead to. If one of those cannot be read, nothing is removed.
    fn remove_all_but(&self, manifests: &[Descriptor]) -> Result<(), CacheError> {
        let mut kept = HashSet::new();
        let mut open = manifests.to_vec();
        while let Some(entry) = open.pop() {
            let is_document = [
                media_type::OCI_MANIFEST,
                media_type::DOCKER_MANIFEST,
                media_type::OCI_INDEX,
                media_type::DOCKER_INDEX,
            ]
            .contains(&entry.media_type.as_str());
            if kept.insert(entry.digest.clone()) && is_document {
                let bytes = read_checked(self.open(&entry)?, &entry, MAX_DOCUMENT_BYTES)?;
                match IndexOrManifest::parse(&bytes, &entry.media_type)? {
                    IndexOrManifest::Index(index) => open.extend(index.manifests),
                    IndexOrManifest::Manifest(manifest) => {
                        open.extend(manifest.layers.into_iter().chain([manifest.config]))
                    }
                }
            }
        }
        let folder = self.config.folder.join("blobs/sha256");
        let entries = fs::read_dir(&folder).map_err(|source| CacheError::File { path: folder, source })?;
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let Ok(digest) = format!("sha256:{name}").parse::<Digest>() else { continue };
            if !kept.contains(&digest) {
                fs::remove_file(&path).map_err(|source| CacheError::File { path, source })?;
            }
        }
        Ok(())
    }

    /// Whether it says anything, however wrong that is.
    fn answers(&self) -> Result<(), CacheError> {
        match self.index() {
            Err(silent @ CacheError::Silent { .. }) => Err(silent),
            _ => Ok(()),
        }
    }

    /// What the tag stands for.
    fn entry(&self) -> Result<Option<Descriptor>, CacheError> {
        let manifests = self.index()?.map(|index| index.manifests).unwrap_or_default();
        Ok(manifests.into_iter().find(|entry| entry.annotations.get(REF_NAME) == Some(&self.config.tag)))
    }

    /// What the folder holds; `None` if it is none, or empty.
    ///
    /// It may be on another machine that is gone. Who waits for that cannot be interrupted, and so is a thread that is left
    /// behind.
    fn index(&self) -> Result<Option<Index>, CacheError> {
        let path = self.config.folder.join("index.json");
        let limit = self.config.silence_limit;
        let silent = || CacheError::Silent { path: path.clone(), limit };
        if self.is_silent.load(Ordering::Relaxed) {
            return Err(silent());
        }
        let (sender, receiver) = mpsc::channel();
        let asked = path.clone();
        // Nobody may be waiting any more.
        thread::spawn(move || drop(sender.send(read_index(&asked))));
        let Ok(answer) = receiver.recv_timeout(limit) else {
            self.is_silent.store(true, Ordering::Relaxed);
            return Err(silent());
        };
        let Some(bytes) = answer.map_err(|source| CacheError::File { path, source })? else { return Ok(None) };
        match IndexOrManifest::parse(&bytes, media_type::OCI_INDEX)? {
            IndexOrManifest::Index(index) => Ok(Some(index)),
            IndexOrManifest::Manifest(_) => Ok(None),
        }
    }

    /// Writes the file `name`, or leaves the old one.
    fn put(&self, name: &str, source: &mut dyn Read) -> Result<(), CacheError> {
        let path = self.config.folder.join(name);
        write_beside(&path, source).map_err(|source| CacheError::File { path, source })
    }
}

/// The bytes of a file, if it is there.
fn read_index(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_DOCUMENT_BYTES).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn write_beside(path: &Path, source: &mut dyn Read) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::Builder::new().prefix(".slipway-").tempfile_in(folder)?;
    io::copy(source, &mut temporary)?;
    temporary.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(())
}
