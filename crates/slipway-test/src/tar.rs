//! Answers one question: what does a tar archive hold?
//!
//! A second reader and writer, independent of slipway's own, so that a mistake in one does not hide in the other.
//! Reads POSIX ustar with pax headers and GNU long names, as the layers of an image use them; formats that no
//! layer uses (sparse files, multiple volumes) are errors. Writes plain ustar.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};

const BLOCK: usize = 512;

/// What an archive says about one path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// As stored: usually without a leading slash; folders end in `/`.
    pub path: String,
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    /// Whole seconds since 1970.
    pub mtime: i64,
    /// Where a link points.
    pub link: String,
    /// Extended attributes, by name.
    pub xattrs: BTreeMap<String, Vec<u8>>,
    pub data: Vec<u8>,
}

/// The type of an entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    File,
    Hardlink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
}

impl Kind {
    const FLAGS: [(u8, Self); 8] = [
        (b'0', Self::File),
        (0, Self::File),
        (b'1', Self::Hardlink),
        (b'2', Self::Symlink),
        (b'3', Self::CharDevice),
        (b'4', Self::BlockDevice),
        (b'5', Self::Directory),
        (b'6', Self::Fifo),
    ];

    fn from_flag(flag: u8) -> Option<Self> {
        Self::FLAGS.iter().find(|(f, _)| *f == flag).map(|(_, kind)| *kind)
    }

    fn flag(self) -> u8 {
        Self::FLAGS.iter().find(|(_, kind)| *kind == self).map_or(b'0', |(flag, _)| *flag)
    }
}

/// What a pax header or a GNU long name says about the entry that follows it.
#[derive(Default)]
struct Overrides {
    pax: BTreeMap<String, Vec<u8>>,
    long_name: Option<String>,
    long_link: Option<String>,
}

impl Overrides {
    fn text(&self, key: &str) -> Option<String> {
        self.pax.get(key).map(|v| String::from_utf8_lossy(v).into_owned())
    }
}

/// Reads every entry of `archive`, in order.
pub fn read(archive: &[u8]) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut overrides = Overrides::default();
    let mut at = 0;
    while let Some(header) = archive.get(at..at + BLOCK) {
        if header.iter().all(|b| *b == 0) {
            break;
        }
        verify_checksum(header).with_context(|| format!("header at byte {at}"))?;
        let declared = number(&header[124..136])?;
        let size = match overrides.text("size") {
            Some(text) => text.parse()?,
            None => usize::try_from(declared)?,
        };
        let data = archive.get(at + BLOCK..at + BLOCK + size).context("the archive ends inside an entry")?;
        at += BLOCK + size.next_multiple_of(BLOCK);
        match header[156] {
            b'x' => overrides.pax = pax_records(data)?,
            b'g' => {}
            b'L' => overrides.long_name = Some(text(data)),
            b'K' => overrides.long_link = Some(text(data)),
            flag => {
                let kind = Kind::from_flag(flag).with_context(|| format!("entry type {:?}", char::from(flag)))?;
                entries.push(entry(header, kind, data, &std::mem::take(&mut overrides))?);
            }
        }
    }
    Ok(entries)
}

fn entry(header: &[u8], kind: Kind, data: &[u8], overrides: &Overrides) -> Result<Entry> {
    let id = |key: &str, field: &[u8]| match overrides.text(key) {
        Some(text) => Ok(text.parse()?),
        None => number(field),
    };
    let mtime = match overrides.text("mtime") {
        Some(text) => text.split('.').next().unwrap_or_default().parse()?,
        None => i64::try_from(number(&header[136..148])?)?,
    };
    let name = match text(&header[345..500]) {
        prefix if prefix.is_empty() || &header[257..262] != b"ustar" || header[263] == b' ' => text(&header[..100]),
        prefix => format!("{prefix}/{}", text(&header[..100])),
    };
    let path = overrides.text("path").or_else(|| overrides.long_name.clone()).unwrap_or(name);
    let link = overrides.text("linkpath").or_else(|| overrides.long_link.clone());
    let xattrs = overrides.pax.iter();
    let xattrs = xattrs.filter_map(|(k, v)| Some((k.strip_prefix("SCHILY.xattr.")?.to_owned(), v.clone())));
    Ok(Entry {
        path,
        kind,
        mode: u32::try_from(number(&header[100..108])?)? & 0o7777,
        uid: id("uid", &header[108..116])?,
        gid: id("gid", &header[116..124])?,
        mtime,
        link: link.unwrap_or_else(|| text(&header[157..257])),
        xattrs: xattrs.collect(),
        data: data.to_vec(),
    })
}

fn verify_checksum(header: &[u8]) -> Result<()> {
    let stored = number(&header[148..156])?;
    ensure!(stored == checksum(header), "the checksum is wrong");
    Ok(())
}

/// The sum of all header bytes, with blanks in place of the checksum itself.
fn checksum(header: &[u8]) -> u64 {
    let field = 148..156;
    header.iter().enumerate().map(|(i, b)| u64::from(if field.contains(&i) { b' ' } else { *b })).sum()
}

/// A numeric field: octal digits, or big-endian bytes after a first byte of 0x80 (GNU).
fn number(field: &[u8]) -> Result<u64> {
    if field[0] & 0x80 != 0 {
        return Ok(field[1..].iter().fold(0, |value, byte| value << 8 | u64::from(*byte)));
    }
    let digits = text(field);
    let digits = digits.trim();
    if digits.is_empty() {
        return Ok(0);
    }
    u64::from_str_radix(digits, 8).with_context(|| format!("`{digits}` is no octal number"))
}

/// A text field, up to its first zero byte.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

/// The records `length key=value\n` of a pax header.
fn pax_records(mut data: &[u8]) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut records = BTreeMap::new();
    while !data.is_empty() {
        let blank = data.iter().position(|b| *b == b' ').context("a pax record has no length")?;
        let length: usize = std::str::from_utf8(&data[..blank])?.parse()?;
        let record = data.get(blank + 1..length.saturating_sub(1)).context("a pax record is cut short")?;
        let equals = record.iter().position(|b| *b == b'=').context("a pax record has no `=`")?;
        let key = std::str::from_utf8(&record[..equals])?;
        records.insert(key.to_owned(), record[equals + 1..].to_vec());
        data = &data[length..];
    }
    Ok(records)
}

/// Writes `entries` as a ustar archive. Names longer than 100 bytes are errors: nothing here needs them.
pub fn write(entries: &[Entry]) -> Result<Vec<u8>> {
    let mut archive = Vec::new();
    for entry in entries {
        if entry.path.len() > 100 || entry.link.len() > 100 {
            bail!("`{}` is too long for this writer", entry.path);
        }
        let mut header = [0; BLOCK];
        header[..entry.path.len()].copy_from_slice(entry.path.as_bytes());
        put_octal(&mut header[100..108], u64::from(entry.mode));
        put_octal(&mut header[108..116], entry.uid);
        put_octal(&mut header[116..124], entry.gid);
        put_octal(&mut header[124..136], entry.data.len() as u64);
        put_octal(&mut header[136..148], u64::try_from(entry.mtime)?);
        header[156] = entry.kind.flag();
        header[157..157 + entry.link.len()].copy_from_slice(entry.link.as_bytes());
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum = checksum(&header);
        put_octal(&mut header[148..156], sum);
        archive.extend_from_slice(&header);
        archive.extend_from_slice(&entry.data);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    Ok(archive)
}

fn put_octal(field: &mut [u8], value: u64) {
    let digits = format!("{value:0width$o}", width = field.len() - 1);
    field[..digits.len()].copy_from_slice(digits.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let entries = vec![
            Entry { path: "d/".into(), kind: Kind::Directory, mode: 0o1777, ..Entry::default() },
            Entry {
                path: "d/f".into(),
                mode: 0o4755,
                uid: 5,
                gid: 6,
                mtime: 7,
                data: vec![1; 600],
                ..Entry::default()
            },
            Entry { path: "l".into(), kind: Kind::Symlink, link: "d/f".into(), ..Entry::default() },
        ];
        let archive = write(&entries).expect("the entries fit");
        assert_eq!(read(&archive).expect("the archive is sound"), entries);
    }

    #[test]
    fn a_pax_header_overrides_the_next_entry_only() {
        let records = "18 path=long/name\n13 mtime=9.5\n25 SCHILY.xattr.user.a=x\n";
        let pax = Entry { path: "pax".into(), data: records.into(), ..Entry::default() };
        let plain = Entry { path: "b".into(), ..Entry::default() };
        let mut archive = write(&[pax, plain.clone(), plain]).expect("the entries fit");
        archive[156] = b'x';
        let sum = checksum(&archive[..BLOCK]);
        put_octal(&mut archive[148..156], sum);
        let entries = read(&archive).expect("the archive is sound");
        assert_eq!((entries[0].path.as_str(), entries[0].mtime), ("long/name", 9));
        assert_eq!(entries[0].xattrs["user.a"], b"x");
        assert_eq!((entries[1].path.as_str(), entries[1].mtime), ("b", 0));
    }

    #[test]
    fn a_broken_header_is_an_error() {
        let mut archive = write(&[Entry { path: "a".into(), ..Entry::default() }]).expect("the entry fits");
        archive[0] = b'b';
        assert!(read(&archive).is_err());
    }
}
