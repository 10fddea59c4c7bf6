//! What are compressed bytes compressed with, and how are they read?
//!
//! One place for all that comes in: layers (by media type), archives for `ADD` and contexts on standard input (by their
//! first bytes). All formats may consist of several streams in a row. Decoders that need memory in proportion to what
//! the stream claims are limited ([`MAX_XZ_KIB`]; zstd's own limit for its window is 128 MiB); how much comes out in the
//! end is not limited here.
//!
//! bzip2 and xz, which few use and whose C has had its share of trouble, are read by decoders without C.

use std::io::{self, BufRead, Read};

/// Enough bytes of the start for [`Compression::detect`].
pub const MAGIC_BYTES: usize = 6;
/// Memory for an xz dictionary: `xz -9` needs 65 MiB, and nobody has to write more than a few hundred.
const MAX_XZ_KIB: u32 = 512 << 10;

/// How bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

impl Compression {
    /// What the first bytes say; [`Compression::None`] if they belong to no format.
    pub fn detect(magic: &[u8]) -> Compression {
        match magic {
            [0x1F, 0x8B, 0x08, ..] => Compression::Gzip,
            // The second one is a frame to be skipped (RFC 8878, 3.1.2), which may come first.
            [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Compression::Zstd,
            [b'B', b'Z', b'h', ..] => Compression::Bzip2,
            [0xFD, b'7', b'z', b'X', b'Z', 0x00, ..] => Compression::Xz,
            _ => Compression::None,
        }
    }

    /// What the media type of a layer says; `None` if it is no layer's.
    pub fn of_layer(media_type: &str) -> Option<Compression> {
        if !media_type.contains(".layer.") && !media_type.contains(".rootfs.") {
            return None;
        }
        match media_type {
            m if m.ends_with("gzip") => Some(Compression::Gzip),
            m if m.ends_with("zstd") => Some(Compression::Zstd),
            m if m.ends_with("tar") => Some(Compression::None),
            _ => None,
        }
    }

    /// The plain bytes of `source`.
    pub fn reader<'a>(self, source: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Compression::None => Box::new(source),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
            Compression::Zstd => Box::new(zstd::Decoder::with_buffer(source)?),
            Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(source)),
            Compression::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(source, true, MAX_XZ_KIB)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// `printf 'plain text\n' | xz`, which these tests have no writer for.
    const XZ: &[u8] = b"\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F\x02\x00!\x01\x16\x00\x00\x00t/\xe5\xa3\x01\x00\x0aplain\x20text\x0a\x00\x00!\x90\xc7%\xbfs\xc4\xda\x00\x01#\x0b\xc2\x1b\xfd\x09\x1f\xb6\xf3}\x01\x00\x00\x00\x00\x04YZ";

    fn bzip2(plain: &[u8]) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn plain(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        Compression::detect(bytes).reader(bytes)?.read_to_end(&mut plain)?;
        Ok(plain)
    }

    #[test]
    fn all_formats_are_known_by_their_first_bytes() {
        let text = b"plain text\n";
        let zstd = zstd::encode_all(&text[..], 1).unwrap();
        for bytes in [gzip(text), zstd, bzip2(text), XZ.to_vec()] {
            assert_ne!(Compression::detect(&bytes), Compression::None);
            assert_eq!(plain(&bytes).unwrap(), text);
            let twice = [&bytes[..], &bytes].concat();
            assert_eq!(plain(&twice).unwrap(), [text, &text[..]].concat(), "{:?}", Compression::detect(&bytes));
            let cut = &bytes[..bytes.len() - 5];
            assert!(plain(cut).is_err(), "{:?}", Compression::detect(&bytes));
        }
        assert_eq!(plain(text).unwrap(), text);
    }

    #[test]
    fn media_types_of_layers() {
        for (media_type, compression) in [
            ("application/vnd.oci.image.layer.v1.tar+gzip", Some(Compression::Gzip)),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Some(Compression::Zstd)),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Some(Compression::Gzip)),
            ("application/vnd.docker.image.rootfs.diff.tar", Some(Compression::None)),
            ("application/vnd.oci.image.layer.v1.tar+encrypted", None),
            ("application/vnd.oci.image.config.v1+json", None),
        ] {
            assert_eq!(Compression::of_layer(media_type), compression, "{media_type}");
        }
    }

    #[test]
    fn an_xz_stream_cannot_ask_for_gigabytes() {
        let mut greedy = XZ.to_vec();
        // The dictionary of the block's LZMA2 filter (xz file format 5.3.1), and the header's checksum behind it.
        assert_eq!(greedy[14..16], [0x21, 0x01]);
        greedy[16] = 40;
        let crc = crc32(&greedy[12..20]);
        greedy[20..24].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(plain(&greedy).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
    }

    fn crc32(bytes: &[u8]) -> u32 {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum()
    }
}
