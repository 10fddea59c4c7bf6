//! Which files need not be read again?
//!
//! One row for each folder: for every file in it the inode data it had when it was read, and its digest. A file whose
//! data is still the same has the same content, with one exception that git calls "racily clean": a file written
//! within the same tick of the file system's clock as it was read could change once more without its times showing
//! it. Such a file is not remembered.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::rootfs::{Meta, Time};

/// Keeps rows between builds. Losing rows costs time, nothing else.
pub(crate) trait DigestMemory: Sync {
    /// The rows of `keys`, in their order.
    fn get(&self, keys: &[String]) -> Vec<Option<Vec<u8>>>;

    /// Keeps rows in place of what was known under their keys.
    fn put(&self, rows: &[(String, Vec<u8>)]);
}

/// The name of a folder's row.
pub(super) fn row_key(dir: &Meta) -> String {
    format!("{}:{}:{}", dir.dev.0, dir.dev.1, dir.ino)
}

/// SHA-256 of a file's content and attributes.
pub(super) type FileDigest = [u8; 32];

/// What is remembered of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) name: Vec<u8>,
    pub(super) stamp: Stamp,
    pub(super) digest: FileDigest,
}

/// What of the inode changes when the file does. Owner and mode are not in it, but changing them changes `ctime`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    ino: u64,
    size_bytes: u64,
    mtime: Time,
    ctime: Time,
}

impl Stamp {
    pub(super) fn of(meta: &Meta) -> Stamp {
        Stamp { ino: meta.ino, size_bytes: meta.size_bytes, mtime: meta.mtime, ctime: meta.ctime }
    }

    /// Whether the times are so old that any change made from `now` on shows in them.
    pub(super) fn is_settled(&self, now: Time) -> bool {
        // Times without a fraction come from file systems that keep whole seconds, FAT even two of them. The others
        // use the kernel's tick, 10 ms at most.
        let coarsest_nanos = if self.ctime.nanos == 0 { 2_000_000_000 } else { 20_000_000 };
        let age_nanos = |t: Time| {
            (i128::from(now.secs) - i128::from(t.secs)) * 1_000_000_000 + i128::from(now.nanos) - i128::from(t.nanos)
        };
        // Only `ctime` cannot be set by programs; a file with a modification time in the future is settled, too.
        age_nanos(self.ctime) > coarsest_nanos
    }
}

/// The time, as file systems write it.
pub(super) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { secs: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanos: since.subsec_nanos() }
}

/// The first byte of a row; another number is another layout, which is forgotten.
const LAYOUT: u8 = 1;

/// Numbers are little-endian: name length (4 bytes), name, inode, size, mtime and ctime (8 + 4 each), digest.
pub(super) fn write_row(files: &[Remembered]) -> Vec<u8> {
    let mut row = vec![LAYOUT];
    for file in files {
        row.extend((file.name.len() as u32).to_le_bytes());
        row.extend(&file.name);
        row.extend(file.stamp.ino.to_le_bytes());
        row.extend(file.stamp.size_bytes.to_le_bytes());
        for time in [file.stamp.mtime, file.stamp.ctime] {
            row.extend(time.secs.to_le_bytes());
            row.extend(time.nanos.to_le_bytes());
        }
        row.extend(file.digest);
    }
    row
}

/// Reads a row; one that is damaged or of another layout has no files.
pub(super) fn read_row(row: &[u8]) -> Vec<Remembered> {
    let Some((&LAYOUT, mut rest)) = row.split_first() else { return Vec::new() };
    let mut files = Vec::new();
    while !rest.is_empty() {
        match read_file(&mut rest) {
            Some(file) => files.push(file),
            None => return Vec::new(),
        }
    }
    files
}

fn read_file(rest: &mut &[u8]) -> Option<Remembered> {
    let name_length = u32::from_le_bytes(take(rest)?) as usize;
    let (name, after) = rest.split_at_checked(name_length)?;
    *rest = after;
    let stamp = Stamp {
        ino: u64::from_le_bytes(take(rest)?),
        size_bytes: u64::from_le_bytes(take(rest)?),
        mtime: read_time(rest)?,
        ctime: read_time(rest)?,
    };
    Some(Remembered { name: name.to_vec(), stamp, digest: take(rest)? })
}

fn read_time(rest: &mut &[u8]) -> Option<Time> {
    Some(Time { secs: i64::from_le_bytes(take(rest)?), nanos: u32::from_le_bytes(take(rest)?) })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(ctime: (i64, u32)) -> Stamp {
        let ctime = Time { secs: ctime.0, nanos: ctime.1 };
        Stamp { ino: 7, size_bytes: 1 << 40, mtime: Time { secs: -5, nanos: 9 }, ctime }
    }

    #[test]
    fn rows_come_back() {
        let files: Vec<Remembered> = [&b"a"[..], b"\xff name"]
            .map(|name| Remembered { name: name.to_vec(), stamp: stamp((3, 4)), digest: [9; 32] })
            .into();
        let row = write_row(&files);
        assert_eq!(read_row(&row), files);
        for end in 1..row.len() {
            assert!(read_row(&row[..end]).len() < 2, "{end}");
        }
        assert_eq!(read_row(&[]), []);
        assert_eq!(read_row(&[LAYOUT + 1, 0]), []);
    }

    #[test]
    fn fresh_files_are_not_settled() {
        let now = Time { secs: 100, nanos: 500 };
        for (ctime, is_settled) in
            [((99, 1), true), ((100, 400), false), ((99, 0), false), ((97, 0), true), ((101, 7), false)]
        {
            assert_eq!(stamp(ctime).is_settled(now), is_settled, "{ctime:?}");
        }
    }
}
