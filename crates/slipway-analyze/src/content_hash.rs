//! xxhash64 with seed 0: tells contents apart, and is never shown.
//!
//! Not a cryptographic hash: who makes a file to have the hash of another one fools themselves.
//! Algorithm: <https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>, "XXH64".

const PRIME_1: u64 = 0x9E37_79B1_85EB_CA87;
const PRIME_2: u64 = 0xC2B2_AE3D_27D4_EB4F;
const PRIME_3: u64 = 0x1656_67B1_9E37_79F9;
const PRIME_4: u64 = 0x85EB_CA77_C2B2_AE63;
const PRIME_5: u64 = 0x27D4_EB2F_1656_67C5;
const STRIPE: usize = 32;

/// Takes a content piece by piece.
pub(crate) struct ContentHash {
    lanes: [u64; 4],
    n_bytes: u64,
    /// The beginning of a stripe that is not complete yet.
    pending: [u8; STRIPE],
    n_pending: usize,
}

impl ContentHash {
    pub(crate) fn new() -> ContentHash {
        let lanes = [PRIME_1.wrapping_add(PRIME_2), PRIME_2, 0, PRIME_1.wrapping_neg()];
        ContentHash { lanes, n_bytes: 0, pending: [0; STRIPE], n_pending: 0 }
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        self.n_bytes += bytes.len() as u64;
        if self.n_pending > 0 {
            let n_taken = bytes.len().min(STRIPE - self.n_pending);
            self.pending[self.n_pending..self.n_pending + n_taken].copy_from_slice(&bytes[..n_taken]);
            self.n_pending += n_taken;
            bytes = &bytes[n_taken..];
            if self.n_pending < STRIPE {
                return;
            }
            let stripe = self.pending;
            self.stripe(&stripe);
        }
        let (stripes, rest) = bytes.as_chunks::<STRIPE>();
        for stripe in stripes {
            self.stripe(stripe);
        }
        self.pending[..rest.len()].copy_from_slice(rest);
        self.n_pending = rest.len();
    }

    fn stripe(&mut self, stripe: &[u8; STRIPE]) {
        for (lane, word) in self.lanes.iter_mut().zip(stripe.as_chunks::<8>().0) {
            *lane = round(*lane, u64::from_le_bytes(*word));
        }
    }

    pub(crate) fn finish(&self) -> u64 {
        let mut hash = match self.n_bytes < STRIPE as u64 {
            true => PRIME_5,
            false => self.merged_lanes(),
        };
        hash = hash.wrapping_add(self.n_bytes);
        let (words, rest) = self.pending[..self.n_pending].as_chunks::<8>();
        for word in words {
            hash = (hash ^ round(0, u64::from_le_bytes(*word)))
                .rotate_left(27)
                .wrapping_mul(PRIME_1)
                .wrapping_add(PRIME_4);
        }
        let (halves, rest) = rest.as_chunks::<4>();
        for half in halves {
            let half = u64::from(u32::from_le_bytes(*half));
            hash = (hash ^ half.wrapping_mul(PRIME_1)).rotate_left(23).wrapping_mul(PRIME_2).wrapping_add(PRIME_3);
        }
        for byte in rest {
            hash = (hash ^ u64::from(*byte).wrapping_mul(PRIME_5)).rotate_left(11).wrapping_mul(PRIME_1);
        }
        hash = (hash ^ (hash >> 33)).wrapping_mul(PRIME_2);
        hash = (hash ^ (hash >> 29)).wrapping_mul(PRIME_3);
        hash ^ (hash >> 32)
    }

    fn merged_lanes(&self) -> u64 {
        let turns = [1, 7, 12, 18];
        let sum =
            self.lanes.iter().zip(turns).fold(0_u64, |sum, (lane, turn)| sum.wrapping_add(lane.rotate_left(turn)));
        let merge = |hash: u64, lane: &u64| (hash ^ round(0, *lane)).wrapping_mul(PRIME_1).wrapping_add(PRIME_4);
        self.lanes.iter().fold(sum, merge)
    }
}

fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(PRIME_2)).rotate_left(31).wrapping_mul(PRIME_1)
}

#[cfg(test)]
mod tests {
    use super::ContentHash;

    fn hash(pieces: &[&[u8]]) -> u64 {
        let mut hash = ContentHash::new();
        pieces.iter().for_each(|piece| hash.update(piece));
        hash.finish()
    }

    #[test]
    fn published_values() {
        assert_eq!(hash(&[]), 0xEF46_DB37_51D8_E999);
        assert_eq!(hash(&[b"a"]), 0xD24E_C4F1_A98C_6E5B);
        assert_eq!(hash(&[b"abc"]), 0x44BC_2CF5_AD77_0999);
        assert_eq!(hash(&[b"Nobody inspects the spammish repetition"]), 0xFBCE_A83C_8A37_8BF1);
    }

    #[test]
    fn pieces_make_no_difference() {
        let bytes: Vec<u8> = (0..=255).collect();
        for n in [1, 7, 31, 32, 33, 100] {
            let pieces: Vec<&[u8]> = bytes.chunks(n).collect();
            assert_eq!(hash(&pieces), hash(&[&bytes]), "{n}");
        }
    }
}
