//! How is a long stream hashed while the next of its bytes are got?
//!
//! On a thread of its own, which is only begun when the stream turns out to be long: most layers are smaller than a
//! thread is worth.

use std::io::{self, Write};
use std::thread::JoinHandle;

use slipway_oci::{Digest, Sha256};

use super::pipe::{PipeWriter, pipe};

/// What is hashed at once.
const SHORT_BYTES: usize = 256 * 1024;

/// A SHA-256 that is computed in the background.
pub(crate) struct BackgroundHash {
    /// Of the start of the stream, which is all of a short one.
    start: Sha256,
    n_start_bytes: usize,
    rest: Option<Rest>,
}

/// A thread that goes on where the start ends.
struct Rest {
    bytes: PipeWriter,
    thread: JoinHandle<io::Result<Digest>>,
}

impl BackgroundHash {
    pub(crate) fn new() -> BackgroundHash {
        BackgroundHash { start: Sha256::new(), n_start_bytes: 0, rest: None }
    }

    /// Adds bytes to what is hashed.
    pub(crate) fn update(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.rest.is_none() && self.n_start_bytes + bytes.len() <= SHORT_BYTES {
            self.start.update(bytes);
            self.n_start_bytes += bytes.len();
            return Ok(());
        }
        self.rest.get_or_insert_with(|| Rest::begin(self.start.clone())).bytes.write_all(bytes).map_err(|_| lost())
    }

    /// Waits until all is hashed.
    pub(crate) fn finish(self) -> io::Result<Digest> {
        let Some(Rest { mut bytes, thread }) = self.rest else { return Ok(self.start.finish()) };
        bytes.flush().map_err(|_| lost())?;
        drop(bytes);
        thread.join().map_err(|_| lost())?
    }
}

impl Rest {
    fn begin(mut hasher: Sha256) -> Rest {
        let (bytes, mut rest) = pipe();
        let thread = std::thread::spawn(move || {
            io::copy(&mut rest, &mut hasher)?;
            Ok(hasher.finish())
        });
        Rest { bytes, thread }
    }
}

fn lost() -> io::Error {
    io::Error::other("a hashing thread died")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_hash_of_all_bytes() {
        let bytes: Vec<u8> = (0..3 * SHORT_BYTES + 5).map(|i| (i % 251 + (i >> 16)).to_le_bytes()[0]).collect();
        for length in [0, 1, SHORT_BYTES - 1, SHORT_BYTES, SHORT_BYTES + 1, bytes.len()] {
            let mut hash = BackgroundHash::new();
            for piece in bytes[..length].chunks(100_000) {
                hash.update(piece).unwrap();
            }
            assert_eq!(hash.finish().unwrap(), Digest::of(&bytes[..length]), "{length}");
        }
    }
}
