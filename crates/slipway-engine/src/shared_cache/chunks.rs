//! Where to cut a stream so that a change costs the pieces it is in and no others: content-defined chunking with a gear
//! hash (Xia et al., "FastCDC", USENIX ATC 2016, without its normalization).
//!
//! A cut comes after any byte where the hash of the last 64 bytes has [`MASK`] all zero, so cuts move along with what is
//! inserted or removed before them.

use std::io::{self, Write};

/// No cut before so many bytes.
const MIN_BYTES: usize = 256 << 10;
/// A cut at the latest after so many bytes.
pub(super) const MAX_BYTES: usize = 4 << 20;
/// One byte in 2^20 is a place to cut. The upper bits depend on the most bytes.
const MASK: u64 = 0xFFFF_F000_0000_0000;

/// Random numbers, one a byte. They may not change: others have cut with them.
const GEAR: [u64; 256] = gear();

const fn gear() -> [u64; 256] {
    let mut table = [0; 256];
    let mut state: u64 = 0;
    let mut index = 0;
    while index < table.len() {
        // SplitMix64.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        table[index] = z ^ (z >> 31);
        index += 1;
    }
    table
}

/// Hands what is written to it on in pieces.
pub(super) struct Chunker<F: FnMut(&[u8]) -> io::Result<()>> {
    piece: Vec<u8>,
    hash: u64,
    take: F,
}

impl<F: FnMut(&[u8]) -> io::Result<()>> Chunker<F> {
    /// `take` gets the pieces in their order.
    pub(super) fn new(take: F) -> Self {
        Chunker { piece: Vec::with_capacity(MAX_BYTES), hash: 0, take }
    }

    /// Hands on what is left.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if self.piece.is_empty() { Ok(()) } else { (self.take)(&self.piece) }
    }

    fn is_cut(&mut self, byte: u8) -> bool {
        self.hash = (self.hash << 1).wrapping_add(GEAR[usize::from(byte)]);
        let is_place = self.piece.len() >= MIN_BYTES && self.hash & MASK == 0;
        is_place || self.piece.len() == MAX_BYTES
    }
}

impl<F: FnMut(&[u8]) -> io::Result<()>> Write for Chunker<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            self.piece.push(*byte);
            if self.is_cut(*byte) {
                (self.take)(&self.piece)?;
                self.piece.clear();
                self.hash = 0;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn pieces(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        let mut chunker = Chunker::new(|piece: &[u8]| {
            pieces.push(piece.to_vec());
            Ok(())
        });
        chunker.write_all(bytes).unwrap();
        chunker.finish().unwrap();
        pieces
    }

    fn noise(n_bytes: usize) -> Vec<u8> {
        let mut state: u64 = 7;
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        };
        (0..n_bytes).map(next).collect()
    }

    #[test]
    fn an_insertion_changes_the_pieces_around_it_only() {
        let plain = noise(24 << 20);
        let before = pieces(&plain);
        assert_eq!(before.concat(), plain);
        assert!(before.len() > 10, "{} pieces", before.len());
        assert!(before.iter().all(|piece| piece.len() <= MAX_BYTES));
        let mut changed = plain;
        changed.splice(12_000_000..12_000_000, *b"inserted");
        let known: BTreeSet<Vec<u8>> = before.into_iter().collect();
        let n_new = pieces(&changed).into_iter().filter(|piece| !known.contains(piece)).count();
        assert!((1..=2).contains(&n_new), "{n_new} pieces are new");
    }

    #[test]
    fn monotonous_bytes_are_cut_as_well() {
        let sizes: Vec<usize> = pieces(&vec![0; MAX_BYTES + 1]).iter().map(Vec::len).collect();
        assert_eq!(sizes.iter().sum::<usize>(), MAX_BYTES + 1);
        assert_eq!(pieces(b""), Vec::<Vec<u8>>::new());
    }
}
