//! What is on standard input when the context is `-`: an archive with the context, or a Dockerfile?

use std::io::{self, BufReader, Read};
use std::os::fd::AsFd;

use tempfile::TempDir;

use crate::inputs::read_text;
use crate::layer::decompress::Compression;
use crate::layer::untar::{self, Meaning, UntarError};

/// Why standard input is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StdinError {
    #[error("cannot read standard input")]
    Read(#[source] io::Error),
    #[error("cannot make a folder for the context")]
    Folder(#[source] io::Error),
    #[error("cannot unpack the context")]
    Unpack(#[from] UntarError),
    #[error("cannot read the Dockerfile on standard input")]
    Dockerfile(#[source] io::Error),
}

/// What was found.
pub(crate) enum StdinContext {
    Dockerfile(Vec<u8>),
    /// Unpacked; removed when dropped.
    Folder(TempDir),
}

/// Reads standard input to its end (`spec/cli.md` section 3.2, case 1).
pub(crate) fn read(stdin: &mut dyn Read) -> Result<StdinContext, StdinError> {
    let mut head = Vec::new();
    (&mut *stdin).take(512).read_to_end(&mut head).map_err(StdinError::Read)?;
    let whole = head.as_slice().chain(stdin);
    match Compression::detect(&head) {
        Compression::None if head.get(257..262) == Some(b"ustar") => unpack(whole),
        Compression::None => read_text(whole).map(StdinContext::Dockerfile).map_err(StdinError::Dockerfile),
        compression => unpack(compression.reader(BufReader::new(whole)).map_err(StdinError::Read)?),
    }
}

fn unpack(archive: impl Read) -> Result<StdinContext, StdinError> {
    let folder = tempfile::Builder::new().prefix("slipway-context-").tempdir().map_err(StdinError::Folder)?;
    let root = untar::open_host_dir(folder.path()).map_err(|errno| StdinError::Folder(errno.into()))?;
    untar::unpack(archive, root.as_fd(), Meaning::Archive { owner: None })?;
    Ok(StdinContext::Folder(folder))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::layer::tar_writer::{Entry, EntryKind, TarWriter};

    fn archive() -> Vec<u8> {
        let entry = Entry {
            kind: EntryKind::File,
            path: b"Dockerfile",
            link: b"",
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 1,
            size: 4,
            device: (0, 0),
            capability: None,
        };
        let mut writer = TarWriter::new(Vec::new());
        writer.entry(&entry).unwrap();
        writer.data(&mut &b"FROM"[..], &mut [0; 16]).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn archives_are_unpacked_and_text_is_a_dockerfile() {
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(&archive()).unwrap();
        let zstd = zstd::encode_all(&archive()[..], 1).unwrap();
        for bytes in [archive(), bzip2.finish().unwrap(), zstd] {
            let StdinContext::Folder(folder) = read(&mut &bytes[..]).unwrap() else { panic!("an archive") };
            assert_eq!(std::fs::read(folder.path().join("Dockerfile")).unwrap(), b"FROM");
        }
        let StdinContext::Dockerfile(text) = read(&mut &b"FROM scratch"[..]).unwrap() else { panic!("a text") };
        assert_eq!(text, b"FROM scratch");
    }

    #[test]
    fn what_cannot_be_used_is_an_error() {
        let damaged = [b"\x1F\x8B\x08", &[0xFF; 100][..]].concat();
        assert!(matches!(read(&mut &damaged[..]), Err(StdinError::Unpack(_))));
        let mut endless = std::io::repeat(b'#');
        assert!(matches!(read(&mut endless), Err(StdinError::Dockerfile(_))));
    }
}
