//! Reads tar archives from outside: hostile until proven otherwise.
//!
//! Understands ustar, GNU long names, pax extended headers and sparse files. Sizes are taken from one place only (a pax
//! `size` replaces the header's, before anything is skipped), since readers that disagree on where the next header is
//! are how entries get smuggled (CVE-2025-62518). Where the format leaves room, the reference's reader decides: global
//! extended headers are ignored, a GNU long name wins over a pax path, and types without data have none, whatever
//! their size field says.
//!
//! What is held in memory has a limit: extended headers, long names and sparse maps ([`MAX_EXTENDED_BYTES`] each), and
//! paths ([`MAX_PATH_BYTES`]). The sum of all file sizes has none: how much a layer may unpack to is for the disk and
//! its quotas to say, as it is for what a `RUN` writes.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};

use super::sparse::{self, Described, Part, Segment};
use super::tar_writer::EntryKind;

const BLOCK: usize = 512;
/// An extended header, long name or sparse map beyond this is refused.
const MAX_EXTENDED_BYTES: u64 = 1 << 20;
/// `PATH_MAX`: what is longer cannot be made by one call, and no layer has it.
const MAX_PATH_BYTES: usize = 4096;
/// Sizes are signed in the kernel, and the sum of a size and its padding has to stay a number.
const MAX_SIZE: u64 = i64::MAX as u64;

/// One entry as the archive describes it. Nothing in it is to be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadEntry {
    pub kind: EntryKind,
    pub path: Vec<u8>,
    pub link: Vec<u8>,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: (i64, u32),
    /// Of the file as it will be: for a sparse one more than is stored.
    pub size: u64,
    pub device: (u32, u32),
    /// `SCHILY.xattr.*` records, without that prefix.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    #[error("not a tar archive: the header at byte {offset} has a wrong checksum")]
    Checksum { offset: u64 },
    #[error("the archive ends in the middle of an entry")]
    Truncated,
    #[error("the header at byte {offset} has a bad `{field}`")]
    Field { offset: u64, field: &'static str },
    #[error("the entry `{path}` is of type `{type_flag}`, which is not supported")]
    Unsupported { path: String, type_flag: char },
    #[error("an extended header of {bytes} bytes is more than is sensible")]
    TooLarge { bytes: u64 },
    #[error("the sparse map of `{path}` contradicts itself or its file")]
    SparseMap { path: String },
    #[error("something follows the end of the archive at byte {offset}")]
    LoneEndBlock { offset: u64 },
}

/// Iterates over entries; between two calls of [`TarReader::next_entry`] the data of the current one can be read.
pub struct TarReader<R: Read> {
    source: R,
    offset: u64,
    /// Stored data of the current entry not read yet, and the padding behind it.
    remaining: u64,
    padding: u64,
    /// What is still to come of the current file.
    parts: VecDeque<Part>,
}

impl<R: Read> TarReader<R> {
    pub fn new(source: R) -> Self {
        TarReader { source, offset: 0, remaining: 0, padding: 0, parts: VecDeque::new() }
    }

    /// Gives the source back, for reading what follows the end of the archive.
    pub fn into_inner(self) -> R {
        self.source
    }

    /// The next entry; `None` at the end of the archive.
    pub fn next_entry(&mut self) -> Result<Option<ReadEntry>, TarError> {
        let mut local: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut long_name: Option<Vec<u8>> = None;
        let mut long_link: Option<Vec<u8>> = None;
        loop {
            self.skip_data()?;
            let offset = self.offset;
            let Some(header) = self.header()? else {
                let is_complete = local.is_empty() && long_name.is_none() && long_link.is_none();
                return if is_complete { Ok(None) } else { Err(TarError::Truncated) };
            };
            match header[156] {
                b'x' => local = self.records(&header, offset)?,
                // To which entry would the local one belong, readers would not agree.
                b'g' if !local.is_empty() => return Err(TarError::Field { offset, field: "extended header" }),
                b'g' => drop(self.records(&header, offset)?),
                b'L' => long_name = Some(self.long_text(&header, offset)?),
                b'K' => long_link = Some(self.long_text(&header, offset)?),
                _ => return self.entry(&header, offset, &local, long_name, long_link).map(Some),
            }
        }
    }

    /// How many bytes of the source come before what is read next; behind [`TarReader::next_entry`], before the data
    /// of that entry.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Passes over the hole that the current file has at this place and returns its length; 0 if there is none.
    pub fn skip_hole(&mut self) -> u64 {
        let mut n_skipped = 0;
        while let Some(part) = self.parts.front_mut() {
            n_skipped += std::mem::take(&mut part.hole);
            if part.data > 0 {
                break;
            }
            self.parts.pop_front();
        }
        n_skipped
    }

    fn entry(
        &mut self,
        header: &[u8; BLOCK],
        offset: u64,
        records: &BTreeMap<Vec<u8>, Vec<u8>>,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<ReadEntry, TarError> {
        let bad = |field| TarError::Field { offset, field };
        let record = |key: &str| records.get(key.as_bytes());
        let sparse_name = record("GNU.sparse.name").cloned();
        let path = sparse_name.or(long_name).or_else(|| record("path").cloned()).unwrap_or_else(|| header_path(header));
        let link = long_link.or_else(|| record("linkpath").cloned()).unwrap_or_else(|| text(&header[157..257]));
        if path.len() > MAX_PATH_BYTES || path.contains(&0) {
            return Err(bad("path"));
        }
        if link.len() > MAX_PATH_BYTES || link.contains(&0) {
            return Err(bad("linkpath"));
        }
        let kind = kind(header[156], &path)?;
        let size = match record("size") {
            Some(size) => decimal(size),
            None => number(&header[124..136]),
        };
        let size = size.filter(|size| *size <= MAX_SIZE).ok_or_else(|| bad("size"))?;
        let size = if kind == EntryKind::File { size } else { 0 };
        let id = |key: &str, field: &[u8], name| -> Result<u32, TarError> {
            let id = record(key).map_or_else(|| number(field), |text| decimal(text));
            // The highest number means "leave as it is" to chown(2).
            id.and_then(|id| u32::try_from(id).ok()).filter(|id| *id != u32::MAX).ok_or_else(|| bad(name))
        };
        let mtime = match record("mtime") {
            Some(text) => pax_time(text).ok_or_else(|| bad("mtime"))?,
            None => (signed_number(&header[136..148]).ok_or_else(|| bad("mtime"))?, 0),
        };
        let part = |field: &[u8]| number(field).and_then(|n| u32::try_from(n).ok());
        let is_device = matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice);
        let device = match is_device {
            true => (
                part(&header[329..337]).ok_or_else(|| bad("devmajor"))?,
                part(&header[337..345]).ok_or_else(|| bad("devminor"))?,
            ),
            false => (0, 0),
        };
        let xattr = |(key, value): (&Vec<u8>, &Vec<u8>)| {
            key.strip_prefix(b"SCHILY.xattr.").map(|name| (name.to_vec(), value.clone()))
        };
        self.set_data(size);
        let size = match kind {
            EntryKind::File => self.sparse(header, records, &path, size)?,
            _ => 0,
        };
        Ok(ReadEntry {
            kind,
            mode: part(&header[100..108]).ok_or_else(|| bad("mode"))? & 0o7777,
            uid: id("uid", &header[108..116], "uid")?,
            gid: id("gid", &header[116..124], "gid")?,
            mtime,
            size,
            device,
            xattrs: records.iter().filter_map(xattr).collect(),
            path,
            link,
        })
    }

    /// If the file is a sparse one, reads its map and says what size it will be; else `n_stored`, the bytes it has in
    /// the archive.
    fn sparse(
        &mut self,
        header: &[u8; BLOCK],
        records: &BTreeMap<Vec<u8>, Vec<u8>>,
        path: &[u8],
        n_stored: u64,
    ) -> Result<u64, TarError> {
        let bad = || TarError::SparseMap { path: String::from_utf8_lossy(path).into_owned() };
        let size_of = |key: &[u8]| records.get(key).and_then(|size| decimal(size));
        let (segments, size) = match (header[156], sparse::described(records).ok_or_else(bad)?) {
            (b'S', _) => (self.old_sparse_map(header).and_then(|map| map.ok_or_else(bad))?, number(&header[483..495])),
            (_, Described::No) => return Ok(n_stored),
            (_, Described::InRecords(segments)) => (segments, size_of(b"GNU.sparse.size")),
            (_, Described::InData) => {
                let segments = self.sparse_map_before_data()?.ok_or_else(bad)?;
                (segments, size_of(b"GNU.sparse.realsize"))
            }
        };
        let size = size.filter(|size| *size <= MAX_SIZE).ok_or_else(bad)?;
        self.parts = sparse::parts(&segments, size, self.remaining).ok_or_else(bad)?;
        Ok(size)
    }

    /// The map in an old GNU header and the blocks that continue it, which the size does not count.
    fn old_sparse_map(&mut self, header: &[u8; BLOCK]) -> Result<Option<Vec<Segment>>, TarError> {
        let mut segments = Vec::new();
        let mut add = |fields: &[u8]| -> Option<()> {
            for field in fields.as_chunks::<24>().0.iter().take_while(|field| field[0] != 0) {
                segments.push(Segment { offset: number(&field[..12])?, length: number(&field[12..])? });
            }
            Some(())
        };
        let mut is_good = add(&header[386..482]).is_some();
        let mut continues = header[482] != 0;
        let mut n_bytes = 0;
        while continues && is_good {
            n_bytes += BLOCK as u64;
            if n_bytes > MAX_EXTENDED_BYTES {
                return Err(TarError::TooLarge { bytes: n_bytes });
            }
            let mut block = [0; BLOCK];
            if !self.read_block(&mut block)? {
                return Err(TarError::Truncated);
            }
            is_good = add(&block[..504]).is_some();
            continues = block[504] != 0;
        }
        Ok(is_good.then_some(segments))
    }

    /// Version 1.0: lines of numbers at the start of the data, the first one being the number of segments; then zeros
    /// up to the next block.
    fn sparse_map_before_data(&mut self) -> Result<Option<Vec<Segment>>, TarError> {
        let mut text = Vec::new();
        let (mut n_lines, mut n_wanted) = (0, None);
        loop {
            if text.len() as u64 >= MAX_EXTENDED_BYTES {
                return Err(TarError::TooLarge { bytes: text.len() as u64 });
            }
            if self.remaining < BLOCK as u64 {
                return Ok(None);
            }
            let mut block = [0; BLOCK];
            self.read_exact(&mut block).map_err(read_error)?;
            text.extend_from_slice(&block);
            n_lines += block.iter().filter(|b| **b == b'\n').count();
            if n_wanted.is_none() && n_lines > 0 {
                let first = text.split(|b| *b == b'\n').next().and_then(decimal);
                let n_segments = first.and_then(|n| usize::try_from(n).ok());
                let Some(n) = n_segments.and_then(|n| n.checked_mul(2)?.checked_add(1)) else { return Ok(None) };
                n_wanted = Some(n);
            }
            if let Some(n_wanted) = n_wanted
                && n_lines >= n_wanted
            {
                return Ok(sparse::segments(text.split(|b| *b == b'\n').take(n_wanted).skip(1)));
            }
        }
    }

    fn set_data(&mut self, size: u64) {
        self.remaining = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        self.parts = VecDeque::from([Part { hole: 0, data: size }]);
    }

    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        if !self.read_block(&mut block)? {
            return Ok(None);
        }
        if block.iter().all(|b| *b == 0) {
            // Two empty blocks, or one and nothing more, end an archive; readers disagree on anything else.
            let offset = self.offset;
            let is_end = !self.read_block(&mut block)? || block.iter().all(|b| *b == 0);
            return if is_end { Ok(None) } else { Err(TarError::LoneEndBlock { offset }) };
        }
        let stored = number(&block[148..156]);
        let sum = |signed: bool| -> i64 {
            let value = |(i, b): (usize, &u8)| match (i, signed) {
                (148..156, _) => 32,
                (_, false) => i64::from(*b),
                (_, true) => i64::from(b.cast_signed()),
            };
            block.iter().enumerate().map(value).sum()
        };
        let is_right = stored.and_then(|s| i64::try_from(s).ok()).is_some_and(|s| s == sum(false) || s == sum(true));
        if is_right { Ok(Some(block)) } else { Err(TarError::Checksum { offset: self.offset - BLOCK as u64 }) }
    }

    /// `false` at a clean end of the source.
    fn read_block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, TarError> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.source.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(TarError::Truncated),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(TarError::Read(e)),
            }
        }
        self.offset += BLOCK as u64;
        Ok(true)
    }

    fn skip_data(&mut self) -> Result<(), TarError> {
        let n_bytes = self.remaining + self.padding;
        let n_skipped = io::copy(&mut self.source.by_ref().take(n_bytes), &mut io::sink()).map_err(TarError::Read)?;
        self.offset += n_skipped;
        (self.remaining, self.padding) = (0, 0);
        self.parts.clear();
        if n_skipped == n_bytes { Ok(()) } else { Err(TarError::Truncated) }
    }

    fn extended_data(&mut self, header: &[u8; BLOCK], offset: u64) -> Result<Vec<u8>, TarError> {
        let size = number(&header[124..136]).ok_or(TarError::Field { offset, field: "size" })?;
        if size > MAX_EXTENDED_BYTES {
            return Err(TarError::TooLarge { bytes: size });
        }
        self.set_data(size);
        let mut data = Vec::new();
        self.read_to_end(&mut data).map_err(read_error)?;
        Ok(data)
    }

    fn long_text(&mut self, header: &[u8; BLOCK], offset: u64) -> Result<Vec<u8>, TarError> {
        Ok(text(&self.extended_data(header, offset)?))
    }

    fn records(&mut self, header: &[u8; BLOCK], offset: u64) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, TarError> {
        let data = self.extended_data(header, offset)?;
        parse_records(&data).ok_or(TarError::Field { offset, field: "extended header" })
    }
}

impl<R: Read> Read for TarReader<R> {
    /// Reads the data of the current entry; holes of a sparse file are zeros.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.parts.front().is_some_and(|part| part.hole == 0 && part.data == 0) {
            self.parts.pop_front();
        }
        let Some(part) = self.parts.front_mut() else { return Ok(0) };
        let up_to = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(buffer.len());
        if part.hole > 0 {
            let n_zeros = up_to(part.hole);
            buffer[..n_zeros].fill(0);
            part.hole -= n_zeros as u64;
            return Ok(n_zeros);
        }
        let want = up_to(part.data);
        if want == 0 {
            return Ok(0);
        }
        let n_read = self.source.read(&mut buffer[..want])?;
        if n_read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, TarError::Truncated));
        }
        part.data -= n_read as u64;
        self.remaining -= n_read as u64;
        self.offset += n_read as u64;
        Ok(n_read)
    }
}

fn kind(flag: u8, path: &[u8]) -> Result<EntryKind, TarError> {
    Ok(match flag {
        // Before ustar there was no flag for folders.
        0 if path.ends_with(b"/") => EntryKind::Directory,
        b'0' | 0 | b'7' | b'S' => EntryKind::File,
        b'1' => EntryKind::HardLink,
        b'2' => EntryKind::Symlink,
        b'3' => EntryKind::CharDevice,
        b'4' => EntryKind::BlockDevice,
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        _ => {
            let path = String::from_utf8_lossy(path).into_owned();
            return Err(TarError::Unsupported { path, type_flag: char::from(flag) });
        }
    })
}

/// The end of the source in the middle of something has a name of its own.
fn read_error(error: io::Error) -> TarError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => TarError::Truncated,
        _ => TarError::Read(error),
    }
}

fn header_path(header: &[u8; BLOCK]) -> Vec<u8> {
    let name = text(&header[0..100]);
    let prefix = text(&header[345..500]);
    if &header[257..263] != b"ustar\0" || prefix.is_empty() {
        return name;
    }
    [prefix, name].join(&b'/')
}

fn text(field: &[u8]) -> Vec<u8> {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    field[..end].to_vec()
}

/// Octal digits with blanks or NULs around, or GNU's base-256 form; not negative.
fn number(field: &[u8]) -> Option<u64> {
    signed_number(field).and_then(|n| u64::try_from(n).ok())
}

fn signed_number(field: &[u8]) -> Option<i64> {
    if field[0] & 0x80 != 0 {
        let is_negative = field[0] & 0x40 != 0;
        let first = if is_negative { i128::from(field[0]) - 256 } else { i128::from(field[0] & 0x7f) };
        let value =
            field[1..].iter().try_fold(first, |value, byte| value.checked_mul(256)?.checked_add((*byte).into()));
        return value.and_then(|v| i64::try_from(v).ok());
    }
    let digits: &[u8] = field.split(|b| *b == 0).next().unwrap_or_default();
    let digits = std::str::from_utf8(digits).ok()?.trim_matches(' ');
    if digits.is_empty() { Some(0) } else { i64::from_str_radix(digits, 8).ok() }
}

pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Seconds with an optional fraction, possibly negative.
fn pax_time(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_negative = seconds.starts_with('-');
    let seconds: i64 = seconds.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9.9}").parse().ok()?;
    match (is_negative, nanos) {
        (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos)),
        _ => Some((seconds, nanos)),
    }
}

fn parse_records(mut data: &[u8]) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut records = BTreeMap::new();
    while !data.is_empty() && data[0] != 0 {
        let blank = data.iter().position(|b| *b == b' ')?;
        let length = usize::try_from(decimal(&data[..blank])?).ok()?;
        if length <= blank + 1 || length > data.len() || data[length - 1] != b'\n' {
            return None;
        }
        let record = &data[blank + 1..length - 1];
        let equals = record.iter().position(|b| *b == b'=')?;
        let (key, value) = (record[..equals].to_vec(), record[equals + 1..].to_vec());
        data = &data[length..];
        if sparse::collect_repeated(&key, &value, &mut records)? {
            continue;
        }
        // An empty value takes an earlier record back (pax, "Extended header keywords").
        match value.is_empty() && !key.starts_with(b"SCHILY.xattr.") {
            true => records.remove(&key),
            false => records.insert(key, value),
        };
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use super::super::tar_writer::{Entry, TarWriter};
    use super::*;

    fn archive(entries: &[(Entry<'_>, &[u8])]) -> Vec<u8> {
        let mut writer = TarWriter::new(Vec::new());
        for (entry, data) in entries {
            writer.entry(entry).unwrap();
            writer.data(&mut &data[..], &mut [0; 64]).unwrap();
        }
        writer.finish().unwrap()
    }

    fn entry(kind: EntryKind, path: &[u8]) -> Entry<'_> {
        Entry {
            kind,
            path,
            link: b"",
            mode: 0o755,
            uid: 3_000_000,
            gid: 20,
            mtime: -5,
            size: 0,
            device: (0, 0),
            capability: None,
        }
    }

    #[test]
    fn what_the_writer_wrote_is_read_back() {
        let long = vec![b'n'; 300];
        let bytes = archive(&[
            (Entry { size: 3, capability: Some(b"cap\0x"), ..entry(EntryKind::File, &long) }, b"abc"),
            (Entry { link: "zwö".as_bytes(), ..entry(EntryKind::Symlink, "größe".as_bytes()) }, b""),
            (entry(EntryKind::Directory, b"d"), b""),
        ]);
        let mut reader = TarReader::new(&bytes[..]);
        let first = reader.next_entry().unwrap().unwrap();
        assert_eq!((first.path, first.size, first.uid, first.mtime), (long, 3, 3_000_000, (-5, 0)));
        assert_eq!(first.xattrs[&b"security.capability"[..]], b"cap\0x");
        let mut data = Vec::new();
        reader.read_to_end(&mut data).unwrap();
        assert_eq!(data, b"abc");
        let second = reader.next_entry().unwrap().unwrap();
        assert_eq!((second.path.as_slice(), second.link.as_slice()), ("größe".as_bytes(), "zwö".as_bytes()));
        assert_eq!(reader.next_entry().unwrap().unwrap().path, b"d/");
        assert!(reader.next_entry().unwrap().is_none());
    }

    #[test]
    fn damage_is_an_error() {
        let good = archive(&[(Entry { size: 3, ..entry(EntryKind::File, b"f") }, b"abc")]);
        let read_all = |bytes: &[u8]| -> Result<usize, TarError> {
            let mut reader = TarReader::new(bytes);
            let mut n_entries = 0;
            while reader.next_entry()?.is_some() {
                n_entries += 1;
            }
            Ok(n_entries)
        };
        assert_eq!(read_all(&good).unwrap(), 1);
        assert!(matches!(read_all(&good[..700]), Err(TarError::Truncated)));
        let mut wrong = good.clone();
        wrong[0] ^= 1;
        assert!(read_all(&wrong).is_err());
        assert!(read_all(&[b'x'; 2000]).is_err());
    }

    #[test]
    fn times_before_1970_keep_their_fraction() {
        assert_eq!(pax_time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(pax_time(b"12.5"), Some((12, 500_000_000)));
        assert_eq!(pax_time(b"1.x"), None);
    }
}
