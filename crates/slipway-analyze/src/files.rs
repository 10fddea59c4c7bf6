//! The files that an image is kept in: those of a folder, or the members of a tar.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use slipway_archive::tar_reader::{TarError, TarReader};
use slipway_archive::tar_writer::EntryKind;

use crate::tree::components;

/// A manifest, index or config beyond this is refused.
const MAX_DOCUMENT_BYTES: u64 = 64 << 20;
/// So many links from one member of an archive to the next are followed.
const MAX_LINKS: usize = 8;
const BUFFER_BYTES: usize = 1 << 20;

/// Why the files of an image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot read `{}`", path.display())]
    Tar { path: PathBuf, source: TarError },
    #[error("`{name}` in `{}` is larger than a document should be", path.display())]
    TooLarge { name: String, path: PathBuf },
}

/// Files by their names.
pub(crate) struct Files {
    path: PathBuf,
    place: Place,
}

enum Place {
    Folder,
    Archive { file: Arc<File>, members: HashMap<String, Member> },
}

#[derive(Clone)]
enum Member {
    Bytes {
        offset: u64,
        size: u64,
    },
    /// The name of another member.
    Link(String),
}

impl Files {
    /// The files of a folder or of a tar. With `ignores_errors` an archive that breaks off has what comes before.
    pub(crate) fn at(path: &Path, ignores_errors: bool) -> Result<Files, FilesError> {
        let error = |source| FilesError::Read { path: path.to_owned(), source };
        if path.is_dir() {
            return Ok(Files { path: path.to_owned(), place: Place::Folder });
        }
        let file = File::open(path).map_err(error)?;
        let mut members = HashMap::new();
        match read_members(&file, &mut members) {
            Err(source) if !ignores_errors => Err(FilesError::Tar { path: path.to_owned(), source }),
            _ => Ok(Files { path: path.to_owned(), place: Place::Archive { file: Arc::new(file), members } }),
        }
    }

    /// The whole of a document; `None` if it is not there.
    pub(crate) fn document(&self, name: &str) -> Result<Option<Vec<u8>>, FilesError> {
        let error = |source| FilesError::Read { path: self.path.join(name), source };
        let source = match self.reader(name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            source => source.map_err(error)?,
        };
        let mut bytes = Vec::new();
        source.take(MAX_DOCUMENT_BYTES + 1).read_to_end(&mut bytes).map_err(error)?;
        if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
            return Err(FilesError::TooLarge { name: name.to_owned(), path: self.path.clone() });
        }
        Ok(Some(bytes))
    }

    /// The bytes of a file from the start.
    pub(crate) fn reader(&self, name: &str) -> io::Result<Box<dyn Read>> {
        let mut name = normalized(name);
        let (file, members) = match &self.place {
            // Names come from the image: none of them leads out of the folder.
            Place::Folder => return Ok(Box::new(File::open(self.path.join(name))?)),
            Place::Archive { file, members } => (file, members),
        };
        for _ in 0..MAX_LINKS {
            match members.get(&name) {
                None => break,
                Some(Member::Link(target)) => name.clone_from(target),
                Some(Member::Bytes { offset, size }) => {
                    return Ok(Box::new(Section { file: Arc::clone(file), offset: *offset, n_left: *size }));
                }
            }
        }
        Err(io::Error::new(io::ErrorKind::NotFound, format!("the archive has no `{name}`")))
    }
}

fn read_members(file: &File, members: &mut HashMap<String, Member>) -> Result<(), TarError> {
    let mut tar = TarReader::new(BufReader::with_capacity(BUFFER_BYTES, file));
    while let Some(entry) = tar.next_entry()? {
        let name = String::from_utf8_lossy(&entry.path);
        let link = String::from_utf8_lossy(&entry.link);
        let member = match entry.kind {
            EntryKind::File => Member::Bytes { offset: tar.offset(), size: entry.size },
            EntryKind::HardLink => Member::Link(normalized(&link)),
            // Relative to the folder that the link is in.
            EntryKind::Symlink => Member::Link(normalized(&format!("{name}/../{link}"))),
            _ => continue,
        };
        members.insert(normalized(&name), member);
    }
    Ok(())
}

fn normalized(name: &str) -> String {
    let names = components(name.as_bytes());
    String::from_utf8_lossy(&names.join(&b'/')).into_owned()
}

/// A stretch of a file; many can be read at once.
struct Section {
    file: Arc<File>,
    offset: u64,
    n_left: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_wanted = usize::try_from(self.n_left).unwrap_or(usize::MAX).min(buffer.len());
        let n_read = self.file.read_at(&mut buffer[..n_wanted], self.offset)?;
        self.offset += n_read as u64;
        self.n_left -= n_read as u64;
        Ok(n_read)
    }
}
