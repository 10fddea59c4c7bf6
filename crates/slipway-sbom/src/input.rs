//! Files of which parts are read.

use std::io;

use crate::MAX_BYTES;

/// The bytes of a file.
pub trait Input {
    fn size_bytes(&self) -> u64;

    /// The bytes from `offset` on, at most `n`; fewer only at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    fn read_at(&self, offset: u64, n: usize) -> io::Result<Vec<u8>>;
}

impl dyn Input + '_ {
    /// All of it, unless it is too long.
    pub(crate) fn whole(&self) -> Option<Vec<u8>> {
        let size = self.size_bytes();
        if size > MAX_BYTES {
            return None;
        }
        self.read_at(0, usize::try_from(size).ok()?).ok()
    }

    /// Exactly `n` bytes.
    pub(crate) fn exact(&self, offset: u64, n: usize) -> Option<Vec<u8>> {
        let end = offset.checked_add(n as u64)?;
        if end > self.size_bytes() {
            return None;
        }
        self.read_at(offset, n).ok().filter(|bytes| bytes.len() == n)
    }
}

/// Bytes that are in memory already.
pub struct SliceInput<'a>(pub &'a [u8]);

impl Input for SliceInput<'_> {
    fn size_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, n: usize) -> io::Result<Vec<u8>> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let end = start.saturating_add(n).min(self.0.len());
        Ok(self.0[start..end].to_vec())
    }
}

/// A part of another input.
pub(crate) struct PartInput<'a> {
    pub(crate) whole: &'a dyn Input,
    pub(crate) offset: u64,
    pub(crate) size_bytes: u64,
}

impl Input for PartInput<'_> {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, n: usize) -> io::Result<Vec<u8>> {
        let left = self.size_bytes.saturating_sub(offset);
        let n = n.min(usize::try_from(left).unwrap_or(usize::MAX));
        self.whole.read_at(self.offset.saturating_add(offset), n)
    }
}

/// The number at `offset`, low byte first.
pub(crate) fn le32(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(offset..offset.checked_add(4)?)?.try_into().ok()?))
}

/// The number at `offset`, low byte first.
pub(crate) fn le16(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(offset..offset.checked_add(2)?)?.try_into().ok()?))
}

/// The number at `offset`, high byte first.
pub(crate) fn be32(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(offset..offset.checked_add(4)?)?.try_into().ok()?))
}
