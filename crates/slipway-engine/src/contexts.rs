//! The folders that a build may read: the main context and the named ones, each with its ignore rules.
//!
//! Opened when something first asks for them: a named context that nobody uses is never looked at.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use slipway_dockerfile::{IgnoreError, IgnoreRules};
use slipway_graph::op::FolderId;
use slipway_graph::request::ContextModes;
use slipway_oci::Digest;
use slipway_store::Store;

use crate::context::{
    BuildContext, DigestError, DigestMemory, Digested, IgnoreFile, Manifest, Owners, SourcePattern, SourceTree,
    digest_files,
};
use crate::rootfs::Root;

/// Why a folder cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContextsError {
    #[error("cannot open the build context `{path}`", path = .path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("cannot read `{path}`", path = .path.display())]
    IgnoreFile { path: PathBuf, source: io::Error },
    #[error("`{path}`", path = .path.display())]
    IgnoreRules { path: PathBuf, source: IgnoreError },
    #[error(transparent)]
    Digest(#[from] DigestError),
}

const MAX_IGNORE_BYTES: u64 = 1 << 20;

/// All folders that builds of one graph may read.
pub(crate) struct Contexts {
    /// By their ids.
    folders: Vec<Folder>,
    memory: StoreMemory,
    /// The latest look, by [`place`].
    looked_at: Mutex<HashMap<Place, LookedAt>>,
    /// The files of the latest look that found many, until they are copied.
    many: Mutex<Option<(Place, Arc<Digested>)>>,
}

/// See [`place`].
type Place = (FolderId, String);

/// What was found in a folder.
#[derive(Clone)]
struct LookedAt {
    digest: Digest,
    /// Not kept here if they are many.
    files: Option<Arc<Digested>>,
}

struct Folder {
    path: PathBuf,
    /// Where ignore files may be; the first that is there counts.
    ignore_files: Vec<PathBuf>,
    owners: Owners,
    modes: ContextModes,
    opened: OnceLock<BuildContext>,
}

impl Contexts {
    /// Without a store file digests are not remembered.
    pub(crate) fn new(store: Option<Store>) -> Contexts {
        Contexts {
            folders: Vec::new(),
            memory: StoreMemory(store),
            looked_at: Mutex::default(),
            many: Mutex::default(),
        }
    }

    /// Adds a folder of the user's. `own_ignore_file` is the one that belongs to the Dockerfile; it goes before
    /// `.dockerignore` in the folder. A folder that is there already, with the same ignore file and modes, keeps its id.
    pub(crate) fn add(&mut self, path: PathBuf, own_ignore_file: Option<PathBuf>, modes: ContextModes) -> FolderId {
        // One that is not there decides nothing, and must not keep builds from sharing the folder.
        let own_ignore_file = own_ignore_file.filter(|file| !matches!(file.try_exists(), Ok(false)));
        let ignore_files = own_ignore_file.into_iter().chain([path.join(".dockerignore")]).collect();
        self.insert(Folder { path, ignore_files, owners: Owners::Root, modes, opened: OnceLock::new() })
    }

    /// Adds a folder that an archive was unpacked to: all of it, with the owners of the archive
    /// (`spec/dockerfile.md` section 6).
    pub(crate) fn add_unpacked(&mut self, path: PathBuf, modes: ContextModes) -> FolderId {
        self.insert(Folder { path, ignore_files: Vec::new(), owners: Owners::Kept, modes, opened: OnceLock::new() })
    }

    fn insert(&mut self, folder: Folder) -> FolderId {
        let is_same = |other: &Folder| {
            other.path == folder.path && other.ignore_files == folder.ignore_files && other.modes == folder.modes
        };
        let known = self.folders.iter().position(is_same);
        FolderId(known.unwrap_or_else(|| {
            self.folders.push(folder);
            self.folders.len() - 1
        }))
    }

    /// The folder, opened.
    pub(crate) fn get(&self, id: FolderId) -> Result<&BuildContext, ContextsError> {
        let folder = &self.folders[id.0];
        if let Some(opened) = folder.opened.get() {
            return Ok(opened);
        }
        let opened = folder.open()?;
        Ok(folder.opened.get_or_init(|| opened))
    }

    /// Where the folder is.
    pub(crate) fn path(&self, id: FolderId) -> &Path {
        &self.folders[id.0].path
    }

    /// The digest of what `wanted` selects in the folder, as it was when it was last looked at.
    pub(crate) fn digest(&self, id: FolderId, wanted: &SourcePattern<'_>) -> Result<Digest, ContextsError> {
        Ok(self.look_at(id, wanted)?.digest)
    }

    /// The digest of what `wanted` selects now.
    pub(crate) fn look_again(&self, id: FolderId, wanted: &SourcePattern<'_>) -> Result<Digest, ContextsError> {
        let looked_at = self.look_now(id, wanted)?;
        self.many().take();
        Ok(looked_at.digest)
    }

    /// What `wanted` selects, as it was when it was last looked at. Many files are handed out once: they take much memory.
    pub(crate) fn files(&self, id: FolderId, wanted: &SourcePattern<'_>) -> Result<Arc<Digested>, ContextsError> {
        if let Some(files) = self.look_at(id, wanted)?.files {
            return Ok(files);
        }
        match self.many().take() {
            Some((of, files)) if of == place(id, wanted) => Ok(files),
            _ => Ok(Arc::new(self.digested(id, wanted)?)),
        }
    }

    /// Which files [`Contexts::digest`] speaks of; `None` if they are too many to be listed.
    pub(crate) fn manifest(&self, id: FolderId, wanted: &SourcePattern<'_>) -> Result<Option<Manifest>, ContextsError> {
        Ok(self.look_at(id, wanted)?.files.map(|files| Manifest::of(&files)))
    }

    fn look_at(&self, id: FolderId, wanted: &SourcePattern<'_>) -> Result<LookedAt, ContextsError> {
        let known = self.looked_at.lock().unwrap_or_else(PoisonError::into_inner).get(&place(id, wanted)).cloned();
        known.map_or_else(|| self.look_now(id, wanted), Ok)
    }

    fn look_now(&self, id: FolderId, wanted: &SourcePattern<'_>) -> Result<LookedAt, ContextsError> {
        // Not two of them at a time.
        self.many().take();
        let digested = Arc::new(self.digested(id, wanted)?);
        let (digest, place) = (digested.digest.clone(), place(id, wanted));
        let looked_at = match Manifest::can_list(&digested) {
            true => LookedAt { digest, files: Some(digested) },
            false => {
                *self.many() = Some((place.clone(), digested));
                LookedAt { digest, files: None }
            }
        };
        self.looked_at.lock().unwrap_or_else(PoisonError::into_inner).insert(place, looked_at.clone());
        Ok(looked_at)
    }

    fn digested(&self, id: FolderId, wanted: &SourcePattern<'_>) -> Result<Digested, ContextsError> {
        Ok(digest_files(SourceTree::Context(self.get(id)?), wanted, Some(&self.memory))?)
    }

    fn many(&self) -> MutexGuard<'_, Option<(Place, Arc<Digested>)>> {
        self.many.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is remembered of a folder. The whole pattern in writing: it borrows from the graph and cannot be
/// kept.
fn place(id: FolderId, wanted: &SourcePattern<'_>) -> Place {
    (id, format!("{wanted:?}"))
}

impl Folder {
    fn open(&self) -> Result<BuildContext, ContextsError> {
        let root = Root::open(&self.path).map_err(|source| ContextsError::Open { path: self.path.clone(), source })?;
        let context = |ignore| BuildContext::new(root, ignore).with_owners(self.owners).with_modes(self.modes);
        for path in &self.ignore_files {
            if let Some(text) = read_if_there(path)? {
                return Ok(context(ignore_file(path, &text)?));
            }
        }
        Ok(context(None))
    }
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, ContextsError> {
    let error = |source| ContextsError::IgnoreFile { path: path.to_owned(), source };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        Err(e) => return Err(error(e)),
    };
    // A folder of that name is like any other.
    if file.metadata().map_err(error)?.is_dir() {
        return Ok(None);
    }
    let mut text = Vec::new();
    file.take(MAX_IGNORE_BYTES + 1).read_to_end(&mut text).map_err(error)?;
    match text.len() as u64 > MAX_IGNORE_BYTES {
        true => Err(error(io::Error::other(format!("longer than {MAX_IGNORE_BYTES} bytes")))),
        false => Ok(Some(text)),
    }
}

fn ignore_file(path: &Path, text: &[u8]) -> Result<Option<IgnoreFile>, ContextsError> {
    let rules =
        IgnoreRules::parse(text).map_err(|source| ContextsError::IgnoreRules { path: path.to_owned(), source })?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok((!rules.is_empty()).then_some(IgnoreFile { name, rules }))
}

/// File digests as facts of the store. What cannot be read or kept is computed again.
struct StoreMemory(Option<Store>);

const DIGESTS: &str = "folder-digests";

impl DigestMemory for StoreMemory {
    fn get(&self, keys: &[String]) -> Vec<Option<Vec<u8>>> {
        let names: Vec<&str> = keys.iter().map(String::as_str).collect();
        let known = self.0.as_ref().and_then(|store| store.facts(DIGESTS, &names).ok());
        known.unwrap_or_else(|| vec![None; keys.len()])
    }

    fn put(&self, rows: &[(String, Vec<u8>)]) {
        let Some(store) = &self.0 else { return };
        let rows: Vec<(&str, &[u8])> = rows.iter().map(|(key, row)| (key.as_str(), row.as_slice())).collect();
        let _ = store.set_facts(DIGESTS, &rows);
    }
}
