//! Does `ADD` unpack this file? Its bytes decide, never its name (`spec/dockerfile.md` section 3.5).

use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};

use super::Destination;
use crate::layer::decompress::{Compression, MAGIC_BYTES};
use crate::rootfs::TreePath;

/// Unpacks a tar stream.
pub(crate) trait Unpacker: Sync {
    /// Unpacks `archive` (plain tar bytes) into the existing folder at the real path `folder`, giving all entries to
    /// `owner` if there is one.
    fn unpack(
        &self,
        archive: &mut dyn Read,
        dest: &Destination<'_>,
        folder: &TreePath,
        owner: Option<(u32, u32)>,
    ) -> Result<(), Box<dyn Error + Send + Sync>>;
}

/// Why an archive could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    #[error("cannot read `{path}`")]
    Read { path: TreePath, source: io::Error },
    #[error("cannot unpack `{path}`")]
    Unpack { path: TreePath, source: Box<dyn Error + Send + Sync> },
}

/// The tar stream in `file`, decompressed; `None` if it holds none. `path` is for messages.
pub(super) fn open_archive(file: &mut File, path: &TreePath) -> Result<Option<Box<dyn Read>>, ArchiveError> {
    let error = |source| ArchiveError::Read { path: path.clone(), source };
    let mut magic = [0; MAGIC_BYTES];
    let n_magic = read_up_to(file, &mut magic).map_err(error)?;
    file.rewind().map_err(error)?;
    let compression = Compression::detect(&magic[..n_magic]);
    let mut block = [0; 512];
    // Bytes that do not decode are no archive.
    let is_tar = compression
        .reader(BufReader::new(file.try_clone().map_err(error)?))
        .and_then(|mut reader| read_up_to(&mut reader, &mut block))
        .is_ok_and(|n_bytes| n_bytes == block.len() && is_tar_header(&block));
    // The clone shares the position.
    file.rewind().map_err(error)?;
    if !is_tar {
        return Ok(None);
    }
    compression.reader(BufReader::new(file.try_clone().map_err(error)?)).map(Some).map_err(error)
}

fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut n_bytes = 0;
    while n_bytes < buffer.len() {
        match reader.read(&mut buffer[n_bytes..]) {
            Ok(0) => break,
            Ok(n) => n_bytes += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n_bytes)
}

/// Whether the checksum of a header block is right (POSIX.1, pax, "ustar Interchange Format"). Zeros, the end of an
/// archive, are none.
fn is_tar_header(block: &[u8; 512]) -> bool {
    const CHECKSUM: std::ops::Range<usize> = 148..156;
    let text = String::from_utf8_lossy(&block[CHECKSUM]);
    let Ok(stated) = i64::from_str_radix(text.trim_matches([' ', '\0']), 8) else { return false };
    let bytes = || block.iter().enumerate().map(|(i, b)| if CHECKSUM.contains(&i) { b' ' } else { *b });
    // Old programs added signed bytes.
    let unsigned: i64 = bytes().map(i64::from).sum();
    let signed: i64 = bytes().map(|b| i64::from(b.cast_signed())).sum();
    stated == unsigned || stated == signed
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use super::*;

    /// A header for an empty file called `f`.
    pub(in super::super) fn tar_bytes() -> Vec<u8> {
        let mut block = [0_u8; 512];
        block[0] = b'f';
        block[100..108].copy_from_slice(b"0000644\0");
        block[124..136].copy_from_slice(b"00000000000\0");
        block[148..156].copy_from_slice(b"        ");
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        [&block[..], &[0; 1024]].concat()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn bzip2(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn kind_of(bytes: &[u8]) -> String {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        match open_archive(&mut file, &TreePath::clean("x")) {
            Ok(Some(mut reader)) => {
                let mut plain = Vec::new();
                reader.read_to_end(&mut plain).unwrap();
                format!("tar of {} bytes", plain.len())
            }
            Ok(None) => "file".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn bytes_decide() {
        let tar = tar_bytes();
        let mut damaged = tar.clone();
        damaged[0] = b'g';
        for (bytes, kind) in [
            (tar.clone(), "tar of 1536 bytes"),
            (gzip(&tar), "tar of 1536 bytes"),
            (zstd::encode_all(&tar[..], 1).unwrap(), "tar of 1536 bytes"),
            (bzip2(&tar), "tar of 1536 bytes"),
            (gzip(b"just text"), "file"),
            (gzip(&tar)[..40].to_vec(), "file"),
            (damaged, "file"),
            (vec![0; 1024], "file"),
            (b"#!/bin/sh".to_vec(), "file"),
            (Vec::new(), "file"),
            (b"BZh91AY".to_vec(), "file"),
            (b"\xFD7zXZ\0\0".to_vec(), "file"),
        ] {
            assert_eq!(kind_of(&bytes), kind);
        }
    }
}
