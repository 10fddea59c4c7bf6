//! Writes tar archives whose every byte is decided here, since digests are made of them.
//!
//! POSIX.1-2001 (pax) with the choices that the reference's writer makes, so that equal files give equal diff IDs: a
//! ustar header, preceded by an extended header only for what ustar cannot hold; a long path is divided between the two
//! fields of ustar if that is all it takes; owner names empty; whole seconds.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

const BLOCK: usize = 512;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
}

impl EntryKind {
    /// The byte that stands for it in headers.
    pub fn type_flag(self) -> u8 {
        match self {
            EntryKind::File => b'0',
            EntryKind::HardLink => b'1',
            EntryKind::Symlink => b'2',
            EntryKind::CharDevice => b'3',
            EntryKind::BlockDevice => b'4',
            EntryKind::Directory => b'5',
            EntryKind::Fifo => b'6',
        }
    }
}

/// The header of one entry.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    pub kind: EntryKind,
    /// Without a leading `/`, and without the trailing one of directories.
    pub path: &'a [u8],
    /// Target of links.
    pub link: &'a [u8],
    /// Permission bits, set-id and sticky bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Bytes of data that follow; zero for all but files.
    pub size: u64,
    /// Major and minor number of devices.
    pub device: (u32, u32),
    /// Value of `security.capability`.
    pub capability: Option<&'a [u8]>,
}

/// Writes entries one after the other to `out`.
pub struct TarWriter<W: Write> {
    out: W,
    /// No entry is dated later, and none earlier.
    latest: i64,
    earliest: i64,
    /// Data bytes of the current entry that are still to come.
    missing: u64,
    padding: usize,
}

impl<W: Write> TarWriter<W> {
    pub fn new(out: W) -> Self {
        TarWriter::no_later_than(None, out)
    }

    /// Later times than `latest` (seconds since 1970) are written as that.
    pub fn no_later_than(latest: Option<i64>, out: W) -> Self {
        TarWriter { out, latest: latest.unwrap_or(i64::MAX), earliest: i64::MIN, missing: 0, padding: 0 }
    }

    /// From now on all entries have the time `time` (seconds since 1970), or, without one, their own.
    pub fn set_times(&mut self, time: Option<i64>) {
        (self.earliest, self.latest) = (time.unwrap_or(i64::MIN), time.unwrap_or(i64::MAX));
    }

    /// Writes the header of `entry`; exactly `entry.size` bytes of [`TarWriter::data`] have to follow.
    pub fn entry(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        self.end_entry()?;
        let entry = &Entry { mtime: entry.mtime.clamp(self.earliest, self.latest), ..*entry };
        let mut name = entry.path.to_vec();
        if entry.kind == EntryKind::Directory {
            name.push(b'/');
        }
        let records = extended_records(entry, &name);
        let mut block = [0; BLOCK];
        match divided(&name).filter(|_| records.keys().eq(["path"].iter())) {
            Some((prefix, rest)) => {
                put_text(&mut block[345..500], prefix);
                put_text(&mut block[0..100], rest);
            }
            None => {
                if !records.is_empty() {
                    self.extended_header(&name, &records)?;
                }
                put_path(&mut block[0..100], &ascii(&name));
            }
        }
        put_octal(&mut block[100..108], u64::from(entry.mode));
        put_octal(&mut block[108..116], u64::from(entry.uid));
        put_octal(&mut block[116..124], u64::from(entry.gid));
        put_octal(&mut block[124..136], entry.size);
        put_octal(&mut block[136..148], u64::try_from(entry.mtime).unwrap_or(0));
        block[156] = entry.kind.type_flag();
        put_path(&mut block[157..257], &ascii(entry.link));
        put_octal(&mut block[329..337], u64::from(entry.device.0));
        put_octal(&mut block[337..345], u64::from(entry.device.1));
        self.header_block(&mut block)?;
        self.missing = entry.size;
        self.padding = padding(entry.size);
        Ok(())
    }

    /// Writes the data of the current entry from `source`. A source that is shorter than was announced (a file that
    /// is being changed) is an error.
    pub fn data(&mut self, source: &mut impl Read, buffer: &mut [u8]) -> io::Result<()> {
        while self.missing > 0 {
            let want = usize::try_from(self.missing).unwrap_or(usize::MAX).min(buffer.len());
            let n_read = source.read(&mut buffer[..want])?;
            if n_read == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was read"));
            }
            self.out.write_all(&buffer[..n_read])?;
            self.missing -= n_read as u64;
        }
        Ok(())
    }

    /// Writes the end of the archive and gives `out` back.
    pub fn finish(mut self) -> io::Result<W> {
        self.end_entry()?;
        self.out.write_all(&[0; 2 * BLOCK])?;
        Ok(self.out)
    }

    fn end_entry(&mut self) -> io::Result<()> {
        debug_assert_eq!(self.missing, 0, "all announced data was written");
        self.out.write_all(&[0; BLOCK][..self.padding])?;
        self.padding = 0;
        Ok(())
    }

    fn extended_header(&mut self, name: &[u8], records: &BTreeMap<&str, Vec<u8>>) -> io::Result<()> {
        let mut data = Vec::new();
        for (key, value) in records {
            data.extend(record(key, value));
        }
        let mut block = [0; BLOCK];
        let mut header_name = ascii(&extended_name(name));
        header_name.truncate(100);
        while header_name.ends_with(b"/") {
            header_name.pop();
        }
        put_text(&mut block[0..100], &header_name);
        put_octal(&mut block[100..108], 0);
        put_octal(&mut block[108..116], 0);
        put_octal(&mut block[116..124], 0);
        put_octal(&mut block[124..136], data.len() as u64);
        put_octal(&mut block[136..148], 0);
        block[156] = b'x';
        self.header_block(&mut block)?;
        self.out.write_all(&data)?;
        self.out.write_all(&[0; BLOCK][..padding(data.len() as u64)])
    }

    fn header_block(&mut self, block: &mut [u8; BLOCK]) -> io::Result<()> {
        block[257..263].copy_from_slice(b"ustar\0");
        block[263..265].copy_from_slice(b"00");
        block[148..156].copy_from_slice(b"        ");
        let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
        put_octal(&mut block[148..155], sum);
        block[155] = b' ';
        self.out.write_all(block)
    }
}

/// What a ustar header cannot say. The keys come out sorted, as they are written.
fn extended_records<'a>(entry: &Entry<'_>, name: &[u8]) -> BTreeMap<&'a str, Vec<u8>> {
    let mut records = BTreeMap::new();
    let too_much_for_ustar = |text: &[u8]| text.len() > 100 || !text.is_ascii();
    if too_much_for_ustar(name) {
        records.insert("path", name.to_vec());
    }
    if too_much_for_ustar(entry.link) {
        records.insert("linkpath", entry.link.to_vec());
    }
    for (key, id) in [("uid", entry.uid), ("gid", entry.gid)] {
        if id > 0o7_777_777 {
            records.insert(key, id.to_string().into_bytes());
        }
    }
    if entry.size > 0o77_777_777_777 {
        records.insert("size", entry.size.to_string().into_bytes());
    }
    if !(0..=0o77_777_777_777).contains(&entry.mtime) {
        records.insert("mtime", entry.mtime.to_string().into_bytes());
    }
    if let Some(value) = entry.capability {
        records.insert("SCHILY.xattr.security.capability", value.to_vec());
    }
    records
}

/// A long name cut at a slash, which is left out, so that both parts fit into ustar's fields.
fn divided(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= 100 || !name.is_ascii() {
        return None;
    }
    // The prefix is made as long as it can be; a slash at the end of a folder's name is no place to cut.
    let end = if name.len() > 156 { 156 } else { name.len() - usize::from(name.ends_with(b"/")) };
    let slash = name[..end].iter().rposition(|b| *b == b'/').filter(|slash| *slash > 0)?;
    let (prefix, rest) = (&name[..slash], &name[slash + 1..]);
    (1..=100).contains(&rest.len()).then_some((prefix, rest))
}

/// `<length> <key>=<value>\n`, where the length counts itself.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = 3 + key.len() + value.len();
    let mut length = rest;
    while length.to_string().len() + rest != length {
        length = length.to_string().len() + rest;
    }
    let mut record = format!("{length} {key}=").into_bytes();
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

/// `dir/PaxHeaders.0/file` for `dir/file`.
fn extended_name(name: &[u8]) -> Vec<u8> {
    let cut = name.iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
    let (dir, file) = name.split_at(cut);
    let mut out = dir.to_vec();
    out.extend_from_slice(b"PaxHeaders.0");
    if !file.is_empty() {
        out.push(b'/');
        out.extend_from_slice(file);
    }
    out
}

fn ascii(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|b| b.is_ascii() && *b != 0).collect()
}

/// A path that is cut off must not end with a slash by chance: readers that know only ustar would take it for a folder.
fn put_path(field: &mut [u8], path: &[u8]) {
    put_text(field, path);
    if path.len() > field.len() && field.ends_with(b"/") {
        let end = field.iter().rposition(|b| *b != b'/').map_or(0, |last| last + 1);
        field[end] = 0;
    }
}

fn put_text(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

/// Zero-padded octal digits and a NUL; zero if the number does not fit (then an extended record has it).
fn put_octal(field: &mut [u8], number: u64) {
    let Some((end, digits)) = field.split_last_mut() else { return };
    *end = 0;
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest & 7) as u8;
        rest >>= 3;
    }
    if rest > 0 {
        digits.fill(b'0');
    }
}

fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).expect("a remainder below 512 fits");
    if over == 0 { 0 } else { BLOCK - over }
}

#[cfg(test)]
mod tests {
    use super::super::tar_reader::TarReader;
    use super::*;

    fn file(path: &[u8]) -> Entry<'_> {
        Entry {
            kind: EntryKind::File,
            path,
            link: b"",
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 1,
            size: 0,
            device: (0, 0),
            capability: None,
        }
    }

    #[test]
    fn no_entries_are_two_empty_blocks() {
        assert_eq!(TarWriter::new(Vec::new()).finish().unwrap(), vec![0; 1024]);
    }

    #[test]
    fn a_record_counts_its_own_length() {
        assert_eq!(record("a", b"b"), b"6 a=b\n");
        assert_eq!(record("path", &[b'x'; 90]).len(), 99);
        assert_eq!(record("path", &[b'x'; 91]).len(), 101);
    }

    #[test]
    fn short_names_need_one_block_and_long_ones_an_extended_header() {
        for (length, blocks) in [(100, 3), (101, 5)] {
            let mut writer = TarWriter::new(Vec::new());
            let path = vec![b'p'; length];
            writer.entry(&file(&path)).unwrap();
            assert_eq!(writer.finish().unwrap().len(), blocks * BLOCK);
        }
    }

    #[test]
    fn long_names_are_divided_where_both_parts_fit() {
        let (a, b) = ("a".repeat(90), "b".repeat(90));
        for (name, parts) in [
            (format!("{a}/x"), None),
            (format!("{a}/{b}"), Some((a.clone(), b.clone()))),
            (format!("{a}/{b}/"), Some((a.clone(), format!("{b}/")))),
            (format!("{a}/{b}/{b}"), None),
            (format!("{a}/short/{b}"), Some((format!("{a}/short"), b.clone()))),
            (format!("{a}{b}"), None),
            (format!("{a}/{b}/é"), None),
        ] {
            let parts = parts.as_ref().map(|(prefix, rest)| (prefix.as_bytes(), rest.as_bytes()));
            assert_eq!(divided(name.as_bytes()), parts, "{name}");
        }
    }

    /// `testdata/reference.tar.gz` is a layer that the reference (BuildKit of Docker 28.5.2) made of names around all
    /// limits, large ids, far-away times, devices, links and capabilities.
    #[test]
    fn the_bytes_are_those_of_the_reference() {
        let mut expected = Vec::new();
        let fixture = &include_bytes!("testdata/reference.tar.gz")[..];
        flate2::read::GzDecoder::new(fixture).read_to_end(&mut expected).unwrap();
        let mut reader = TarReader::new(&expected[..]);
        let mut writer = TarWriter::new(Vec::new());
        let mut n_entries = 0;
        while let Some(read) = reader.next_entry().unwrap() {
            let entry = Entry {
                kind: read.kind,
                path: read.path.strip_suffix(b"/").unwrap_or(&read.path),
                link: &read.link,
                mode: read.mode,
                uid: read.uid,
                gid: read.gid,
                mtime: read.mtime.0,
                size: read.size,
                device: read.device,
                capability: read.xattrs.get(&b"security.capability"[..]).map(Vec::as_slice),
            };
            writer.entry(&entry).unwrap();
            writer.data(&mut reader, &mut [0; 512]).unwrap();
            n_entries += 1;
            let written = &writer.out;
            assert!(*written == expected[..written.len()], "{}", String::from_utf8_lossy(&read.path));
        }
        assert_eq!(n_entries, 24);
        assert!(writer.finish().unwrap() == expected);
    }

    #[test]
    fn a_file_that_shrinks_is_an_error() {
        let mut writer = TarWriter::new(Vec::new());
        writer.entry(&Entry { size: 5, ..file(b"f") }).unwrap();
        assert!(writer.data(&mut &b"1234"[..], &mut [0; 16]).is_err());
    }
}
