//! Where the test registry keeps what it was given.
//!
//! ```text
//! DIR/blobs/sha256/<hex>                          every blob and manifest once
//! DIR/repositories/<repository>/_blobs/<hex>      empty; the repository has this blob
//! DIR/repositories/<repository>/_manifests/<hex>  the media type of a manifest
//! DIR/repositories/<repository>/_tags/<tag>       the digest that the tag names
//! DIR/uploads/<id>                                a blob on its way
//! ```
//!
//! Names of repositories cannot start with `_`, so the folders cannot be mistaken for repositories.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use slipway_oci::{Descriptor, Digest, IndexOrManifest, Sha256};
use tempfile::TempDir;

/// Why a request cannot be served.
#[derive(Debug)]
pub(super) enum StorageError {
    /// There is no such thing; the error code says what.
    Unknown(&'static str),
    /// What was sent is wrong; the error code says how.
    Invalid(&'static str),
    Io(io::Error),
}

impl From<io::Error> for StorageError {
    fn from(error: io::Error) -> Self {
        StorageError::Io(error)
    }
}

pub(super) struct Storage {
    dir: PathBuf,
    uploads: Mutex<HashMap<String, Upload>>,
    /// Keeps the temporary folder for as long as the storage.
    _temporary: Option<TempDir>,
}

/// A blob on its way. Its hash runs along, so that the end of a large upload is not a second pass over it.
struct Upload {
    file: File,
    hasher: Sha256,
    length: u64,
}

pub(super) struct StoredManifest {
    pub(super) digest: Digest,
    pub(super) media_type: String,
    pub(super) bytes: Vec<u8>,
}

impl Storage {
    pub(super) fn temporary() -> io::Result<Storage> {
        let temporary = tempfile::tempdir()?;
        let mut storage = Storage::at(temporary.path())?;
        storage._temporary = Some(temporary);
        Ok(storage)
    }

    pub(super) fn at(dir: &Path) -> io::Result<Storage> {
        for folder in ["blobs/sha256", "repositories", "uploads"] {
            fs::create_dir_all(dir.join(folder))?;
        }
        Ok(Storage { dir: dir.to_owned(), uploads: Mutex::default(), _temporary: None })
    }

    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs/sha256").join(digest.hex())
    }

    fn repository_path(&self, repository: &str, kind: &str, name: &str) -> PathBuf {
        self.dir.join("repositories").join(repository).join(kind).join(name)
    }

    pub(super) fn put_blob(&self, repository: &str, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        write_whole(&self.blob_path(digest), bytes)?;
        write_whole(&self.repository_path(repository, "_blobs", digest.hex()), b"")
    }

    pub(super) fn put_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        digest: &Digest,
        media_type: &str,
        bytes: &[u8],
    ) -> io::Result<()> {
        write_whole(&self.blob_path(digest), bytes)?;
        write_whole(&self.repository_path(repository, "_manifests", digest.hex()), media_type.as_bytes())?;
        match tag {
            Some(tag) => write_whole(&self.repository_path(repository, "_tags", tag), digest.as_str().as_bytes()),
            None => Ok(()),
        }
    }

    /// The manifest that a tag or digest names.
    pub(super) fn manifest(&self, repository: &str, name: &str) -> Result<StoredManifest, StorageError> {
        let unknown = |_| StorageError::Unknown("MANIFEST_UNKNOWN");
        let digest = match name.parse::<Digest>() {
            Ok(digest) => digest,
            Err(_) if name.contains(['/', ':']) => return Err(StorageError::Unknown("MANIFEST_UNKNOWN")),
            Err(_) => {
                let text = fs::read_to_string(self.repository_path(repository, "_tags", name)).map_err(unknown)?;
                text.parse().map_err(|_| StorageError::Unknown("MANIFEST_UNKNOWN"))?
            }
        };
        let media_type =
            fs::read_to_string(self.repository_path(repository, "_manifests", digest.hex())).map_err(unknown)?;
        let bytes = fs::read(self.blob_path(&digest)).map_err(unknown)?;
        Ok(StoredManifest { digest, media_type, bytes })
    }

    /// Refuses a manifest that points to what the repository does not have.
    pub(super) fn check_manifest(&self, repository: &str, bytes: &[u8], media_type: &str) -> Result<(), StorageError> {
        let parsed =
            IndexOrManifest::parse(bytes, media_type).map_err(|_| StorageError::Invalid("MANIFEST_INVALID"))?;
        let has = |kind: &str, descriptor: &Descriptor| {
            !descriptor.urls.is_empty() || self.repository_path(repository, kind, descriptor.digest.hex()).exists()
        };
        let is_whole = match &parsed {
            // Caches list their blobs in an index, which registries take as well.
            IndexOrManifest::Index(index) => {
                index.manifests.iter().all(|entry| has("_manifests", entry) || has("_blobs", entry))
            }
            IndexOrManifest::Manifest(manifest) => {
                std::iter::once(&manifest.config).chain(&manifest.layers).all(|blob| has("_blobs", blob))
            }
        };
        if is_whole { Ok(()) } else { Err(StorageError::Invalid("MANIFEST_BLOB_UNKNOWN")) }
    }

    /// A blob's file and its size.
    pub(super) fn open_blob(&self, repository: &str, digest: &Digest) -> Result<(File, u64), StorageError> {
        let is_here =
            ["_blobs", "_manifests"].iter().any(|kind| self.repository_path(repository, kind, digest.hex()).exists());
        if !is_here {
            return Err(StorageError::Unknown("BLOB_UNKNOWN"));
        }
        let file = File::open(self.blob_path(digest))?;
        let size_bytes = file.metadata()?.len();
        Ok((file, size_bytes))
    }

    /// Gives `repository` a blob that `from` has; returns whether it has it.
    pub(super) fn mount(&self, repository: &str, digest: &Digest, from: &str) -> io::Result<bool> {
        let is_name = format!("localhost/{from}").parse::<slipway_oci::Reference>().is_ok();
        if !is_name || !self.repository_path(from, "_blobs", digest.hex()).exists() {
            return Ok(false);
        }
        write_whole(&self.repository_path(repository, "_blobs", digest.hex()), b"")?;
        Ok(true)
    }

    pub(super) fn start_upload(&self) -> io::Result<String> {
        let file = tempfile::Builder::new().prefix("").rand_bytes(16).tempfile_in(self.dir.join("uploads"))?;
        let id = file.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (file, _) = file.keep().map_err(|error| error.error)?;
        self.uploads().insert(id.clone(), Upload { file, hasher: Sha256::new(), length: 0 });
        Ok(id)
    }

    pub(super) fn append_to_upload(&self, id: &str, body: &mut impl Read) -> Result<(), StorageError> {
        // Taken out while it grows: two requests must not write to one upload at once.
        let mut upload = self.uploads().remove(id).ok_or(StorageError::Unknown("BLOB_UPLOAD_UNKNOWN"))?;
        let outcome = upload.append(body);
        self.uploads().insert(id.to_owned(), upload);
        outcome.map_err(StorageError::Io)
    }

    pub(super) fn upload_length(&self, id: &str) -> Result<u64, StorageError> {
        self.uploads().get(id).map(|upload| upload.length).ok_or(StorageError::Unknown("BLOB_UPLOAD_UNKNOWN"))
    }

    /// Makes a blob of an upload, if it has the digest that the client says.
    pub(super) fn finish_upload(&self, repository: &str, id: &str, digest: &Digest) -> Result<(), StorageError> {
        let upload = self.uploads().remove(id).ok_or(StorageError::Unknown("BLOB_UPLOAD_UNKNOWN"))?;
        let path = self.dir.join("uploads").join(id);
        if upload.hasher.finish() != *digest {
            fs::remove_file(path)?;
            return Err(StorageError::Invalid("DIGEST_INVALID"));
        }
        fs::rename(path, self.blob_path(digest))?;
        write_whole(&self.repository_path(repository, "_blobs", digest.hex()), b"")?;
        Ok(())
    }

    fn uploads(&self) -> std::sync::MutexGuard<'_, HashMap<String, Upload>> {
        self.uploads.lock().expect("because nothing panics while it is held")
    }

    /// The tags of a repository, sorted.
    pub(super) fn tags(&self, repository: &str) -> Result<Vec<String>, StorageError> {
        let folder = self.repository_path(repository, "_tags", "");
        let entries = folder.read_dir().map_err(|_| StorageError::Unknown("NAME_UNKNOWN"))?;
        let mut tags: Vec<String> = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        // Manifests are renamed into place; what is on its way there is no tag.
        tags.retain(|tag| !tag.starts_with('.'));
        tags.sort();
        Ok(tags)
    }

    /// Every repository that has a manifest, sorted.
    pub(super) fn repositories(&self) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        let mut open = vec![String::new()];
        while let Some(name) = open.pop() {
            for entry in self.dir.join("repositories").join(&name).read_dir()?.flatten() {
                match entry.file_name().to_string_lossy().as_ref() {
                    "_manifests" => found.push(name.clone()),
                    child if child.starts_with('_') => {}
                    child if name.is_empty() => open.push(child.to_owned()),
                    child => open.push(format!("{name}/{child}")),
                }
            }
        }
        found.sort();
        Ok(found)
    }
}

impl Upload {
    fn append(&mut self, body: &mut impl Read) -> io::Result<()> {
        let mut buffer = vec![0; 256 << 10];
        loop {
            let n = body.read(&mut buffer)?;
            if n == 0 {
                return Ok(());
            }
            self.file.write_all(&buffer[..n])?;
            self.hasher.update(&buffer[..n]);
            self.length += n as u64;
        }
    }
}

/// Writes a file so that no reader sees a part of it.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
