//! `Packages.db`: slots of 16 bytes at the front say where headers are (rpm's `lib/backend/ndb/rpmpkg.c`).

use super::MAX_HEADERS;
use crate::input::le32;

const HEADER_MAGIC: u32 = u32::from_le_bytes(*b"RpmP");
const SLOT_MAGIC: u32 = u32::from_le_bytes(*b"Slot");
const BLOB_MAGIC: u32 = u32::from_le_bytes(*b"BlbS");
const SLOT_BYTES: usize = 16;
/// Slots are in pages; the first two slots are the header of the file.
const PAGE_BYTES: usize = 4096;
const BLOCK_BYTES: usize = 16;

/// The headers in the database.
pub(super) fn blobs(bytes: &[u8]) -> Vec<&[u8]> {
    if le32(bytes, 0) != Some(HEADER_MAGIC) {
        return Vec::new();
    }
    let n_pages = le32(bytes, 12).unwrap_or(0) as usize;
    let n_slots = n_pages.saturating_mul(PAGE_BYTES / SLOT_BYTES).min(bytes.len() / SLOT_BYTES);
    (2..n_slots).filter_map(|slot| blob(bytes, slot * SLOT_BYTES)).take(MAX_HEADERS).collect()
}

/// The header that the slot at `at` points to: its magic, package, generation and length come first.
fn blob(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let (magic, package) = (le32(bytes, at)?, le32(bytes, at + 4)?);
    let start = (le32(bytes, at + 8)? as usize).checked_mul(BLOCK_BYTES)?;
    if magic != SLOT_MAGIC || package == 0 || le32(bytes, start)? != BLOB_MAGIC || le32(bytes, start + 4)? != package {
        return None;
    }
    let length = le32(bytes, start.checked_add(12)?)? as usize;
    let data = start.checked_add(16)?;
    bytes.get(data..data.checked_add(length)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpm::testing::bash;

    #[test]
    fn slots_point_to_headers() {
        let header = bash();
        let mut bytes = vec![0; PAGE_BYTES];
        for (at, number) in
            [(0, HEADER_MAGIC), (12, 1), (32, SLOT_MAGIC), (36, 7), (40, 256), (44, 8), (48, SLOT_MAGIC)]
        {
            bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        for number in [BLOB_MAGIC, 7, 1, u32::try_from(header.len()).unwrap()] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(&header);
        assert_eq!(blobs(&bytes), [&header[..]]);
        assert_eq!(crate::rpm::of_ndb(&bytes)[0].name, "bash");
        bytes.truncate(PAGE_BYTES + 20);
        assert!(blobs(&bytes).is_empty());
    }
}
