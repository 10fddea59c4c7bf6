//! What is in an archive that somebody gave to `load`? Its files become blobs of the store as they are read; their
//! paths are keys of a map and never paths of the host.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

use slipway_oci::Digest;
use slipway_store::{Blob, BlobError, Store};

use crate::layer::decompress::{Compression, MAGIC_BYTES};
use crate::layer::tar_reader::{TarError, TarReader};
use crate::layer::tar_writer::EntryKind;

/// More files than any image has layers and documents.
const MAX_ENTRIES: usize = 100_000;
/// A chain of links longer than this goes in circles.
const MAX_LINKS: usize = 16;
const BLOBS: &str = "blobs/sha256/";

/// Why an archive is no image archive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    #[error(transparent)]
    Tar(#[from] TarError),
    #[error("the archive holds more than {MAX_ENTRIES} files")]
    TooManyEntries,
    #[error("`{0}` leads out of the archive")]
    Outside(String),
    #[error("`{0}` is neither a file, a folder nor a link: image archives hold nothing else")]
    Special(String),
    #[error("`{0}` is a sparse file: image archives hold none")]
    Sparse(String),
    #[error("`{path}` is damaged")]
    Blob { path: String, source: BlobError },
    #[error("the archive lacks `{0}`")]
    Missing(String),
    #[error("`{0}` is larger than such a file can be")]
    TooLarge(String),
    #[error("`{path}` cannot be understood")]
    Document { path: String, source: serde_json::Error },
    #[error("neither index.json nor manifest.json of the archive lists an image: it is no image archive")]
    NoImages,
    #[error("the image name {0:?} in the archive cannot be read")]
    Name(String),
}

/// The files of an archive, all of them blobs of the store.
#[derive(Debug, Default)]
pub(super) struct Archive {
    files: BTreeMap<String, Blob>,
    links: BTreeMap<String, String>,
}

impl Archive {
    /// Reads an archive, compressed or not, to its end.
    pub(super) fn read(store: &Store, source: &mut dyn Read) -> Result<Archive, ArchiveError> {
        let mut source = io::BufReader::with_capacity(1 << 20, source);
        let mut magic = Vec::new();
        // A short read of a pipe must not hide what the stream is.
        (&mut source).take(MAGIC_BYTES as u64).read_to_end(&mut magic).map_err(ArchiveError::Read)?;
        let compression = Compression::detect(&magic);
        let whole: Box<dyn BufRead + '_> = Box::new(io::Cursor::new(magic).chain(source));
        let mut tar = TarReader::new(compression.reader(whole).map_err(ArchiveError::Read)?);
        let mut archive = Archive::default();
        while let Some(entry) = tar.next_entry()? {
            if archive.files.len() + archive.links.len() >= MAX_ENTRIES {
                return Err(ArchiveError::TooManyEntries);
            }
            let shown = String::from_utf8_lossy(&entry.path).into_owned();
            let path = inside("", &shown).ok_or_else(|| ArchiveError::Outside(shown.clone()))?;
            match entry.kind {
                EntryKind::Directory => {}
                EntryKind::File if tar.skip_hole() > 0 => return Err(ArchiveError::Sparse(shown)),
                EntryKind::File => {
                    let blob = keep(store, &path, &mut tar)?;
                    archive.files.insert(path, blob);
                }
                EntryKind::Symlink | EntryKind::HardLink => {
                    // The target of a symbolic link starts at its folder, that of a hard link at the top.
                    let folder = path.rsplit_once('/').filter(|_| entry.kind == EntryKind::Symlink);
                    let target = String::from_utf8_lossy(&entry.link);
                    let target = inside(folder.map_or("", |(folder, _)| folder), &target);
                    archive.links.insert(path, target.ok_or(ArchiveError::Outside(shown))?);
                }
                EntryKind::CharDevice | EntryKind::BlockDevice | EntryKind::Fifo => {
                    return Err(ArchiveError::Special(shown));
                }
            }
        }
        Ok(archive)
    }

    /// The blob that the file `path` is, links followed.
    pub(super) fn blob(&self, path: &str) -> Result<&Blob, ArchiveError> {
        let mut at = inside("", path).ok_or_else(|| ArchiveError::Outside(path.to_owned()))?;
        for _ in 0..MAX_LINKS {
            if let Some(blob) = self.files.get(&at) {
                return Ok(blob);
            }
            match self.links.get(&at) {
                Some(target) => at.clone_from(target),
                None => break,
            }
        }
        Err(ArchiveError::Missing(path.to_owned()))
    }

    /// Whether there is such a file.
    pub(super) fn has(&self, path: &str) -> bool {
        self.blob(path).is_ok()
    }

    /// A file that is a document, at most `max_bytes` long.
    pub(super) fn document(&self, store: &Store, path: &str, max_bytes: u64) -> Result<Vec<u8>, ArchiveError> {
        let blob = self.blob(path)?;
        if blob.size_bytes > max_bytes {
            return Err(ArchiveError::TooLarge(path.to_owned()));
        }
        let failed = |source| ArchiveError::Blob { path: path.to_owned(), source };
        let missing = || ArchiveError::Missing(path.to_owned());
        let (mut file, _) = store.open_blob(&blob.digest).map_err(failed)?.ok_or_else(missing)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(ArchiveError::Read)?;
        Ok(bytes)
    }
}

/// Stores the data of the current entry; what lies among the blobs must have the digest that its name says.
fn keep(store: &Store, path: &str, data: &mut impl Read) -> Result<Blob, ArchiveError> {
    let failed = |source| ArchiveError::Blob { path: path.to_owned(), source };
    let expected: Option<Digest> = path.strip_prefix(BLOBS).and_then(|hex| format!("sha256:{hex}").parse().ok());
    let mut writer = store.blob_writer().map_err(failed)?;
    io::copy(data, &mut writer).map_err(ArchiveError::Read)?;
    writer.commit(expected.as_ref()).map_err(failed)
}

/// `path`, seen from `folder`, as a path from the top of the archive; `None` if it leads out.
fn inside(folder: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use slipway_store::OverlayFlavor;

    use super::*;
    use crate::layer::tar_writer::{Entry, TarWriter};

    fn entry<'a>(kind: EntryKind, path: &'a str, link: &'a str, size: u64) -> Entry<'a> {
        let (path, link) = (path.as_bytes(), link.as_bytes());
        Entry { kind, path, link, mode: 0o644, uid: 0, gid: 0, mtime: 0, size, device: (0, 0), capability: None }
    }

    fn tar(entries: &[(EntryKind, &str, &str)]) -> Vec<u8> {
        let mut tar = TarWriter::new(Vec::new());
        for (kind, path, text) in entries {
            let is_file = *kind == EntryKind::File;
            let size = if is_file { text.len() as u64 } else { 0 };
            tar.entry(&entry(*kind, path, if is_file { "" } else { text }, size)).unwrap();
            if is_file {
                tar.data(&mut text.as_bytes(), &mut [0; 64]).unwrap();
            }
        }
        tar.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Archive, ArchiveError> {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), OverlayFlavor::Root).unwrap();
        Archive::read(&store, &mut &*bytes)
    }

    #[test]
    fn files_are_found_by_path_and_through_links() {
        use EntryKind::{Directory, File, HardLink, Symlink};
        let plain = tar(&[
            (Directory, "a", ""),
            (File, "./a/layer.tar", "layer"),
            (Symlink, "b/layer.tar", "../a/layer.tar"),
            (HardLink, "c/layer.tar", "a/layer.tar"),
            (Symlink, "round", "about"),
            (Symlink, "about", "round"),
        ]);
        for bytes in [plain.clone(), zstd::encode_all(&plain[..], 1).unwrap()] {
            let archive = read(&bytes).unwrap();
            for path in ["a/layer.tar", "b/layer.tar", "c/layer.tar", "b/../a/layer.tar"] {
                assert_eq!(archive.blob(path).unwrap().digest, Digest::of(b"layer"), "{path}");
            }
            assert!(matches!(archive.blob("round"), Err(ArchiveError::Missing(_))));
            assert!(matches!(archive.blob("../a/layer.tar"), Err(ArchiveError::Outside(_))));
        }
    }

    #[test]
    fn hostile_archives_are_refused() {
        use EntryKind::{CharDevice, Fifo, File, HardLink, Symlink};
        let hex = "0".repeat(64);
        for (entries, expected) in [
            (vec![(File, "../x", "x")], "`../x` leads out of the archive"),
            (vec![(File, "a/../../x", "x")], "leads out of the archive"),
            (vec![(File, "/etc/x", "x")], "leads out of the archive"),
            (vec![(Symlink, "a/b", "../../etc/passwd")], "`a/b` leads out of the archive"),
            (vec![(Symlink, "a", "/etc/passwd")], "leads out of the archive"),
            (vec![(HardLink, "a", "../x")], "leads out of the archive"),
            (vec![(CharDevice, "null", "")], "is neither a file, a folder nor a link"),
            (vec![(Fifo, "pipe", "")], "is neither a file, a folder nor a link"),
            (vec![(File, &format!("blobs/sha256/{hex}"), "x")], "is damaged"),
        ] {
            let error = read(&tar(&entries)).unwrap_err().to_string();
            assert!(error.contains(expected), "{entries:?}: {error}");
        }
        let cut = &tar(&[(File, "x", "some text")])[..600];
        assert!(read(cut).is_err());
        assert!(read(b"no archive at all").is_err());
    }
}
