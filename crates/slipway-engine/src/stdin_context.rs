//! What is on standard input when the context is `-`: an archive with the context, or a Dockerfile?

use std::io::{self, Read};
use std::os::fd::AsFd;

use tempfile::TempDir;

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
    #[error("the context is compressed with {0}, which is not supported yet")]
    Compression(&'static str),
    #[error("the Dockerfile on standard input is longer than {MAX_DOCKERFILE_BYTES} bytes")]
    TooLong,
}

const MAX_DOCKERFILE_BYTES: u64 = 16 << 20;

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
    match head.as_slice() {
        [0x1f, 0x8b, ..] => unpack(flate2::read::MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => unpack(zstd::Decoder::new(whole).map_err(StdinError::Read)?),
        [b'B', b'Z', b'h', ..] => Err(StdinError::Compression("bzip2")),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Err(StdinError::Compression("xz")),
        _ if head.get(257..262) == Some(b"ustar") => unpack(whole),
        _ => {
            let mut text = Vec::new();
            whole.take(MAX_DOCKERFILE_BYTES + 1).read_to_end(&mut text).map_err(StdinError::Read)?;
            match text.len() as u64 > MAX_DOCKERFILE_BYTES {
                true => Err(StdinError::TooLong),
                false => Ok(StdinContext::Dockerfile(text)),
            }
        }
    }
}

fn unpack(archive: impl Read) -> Result<StdinContext, StdinError> {
    let folder = tempfile::Builder::new().prefix("slipway-context-").tempdir().map_err(StdinError::Folder)?;
    let root = untar::open_host_dir(folder.path()).map_err(|errno| StdinError::Folder(errno.into()))?;
    // Files of a context belong to nobody in particular, so its owners are not applied.
    untar::unpack(archive, root.as_fd(), b"", Meaning::Archive { owner: Some((0, 0)) })?;
    Ok(StdinContext::Folder(folder))
}
