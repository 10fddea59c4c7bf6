//! How is a long stream hashed while the next of its bytes are got?
//!
//! On a thread of its own, which is only begun when the stream turns out to be long: most layers are smaller than a
//! thread is worth.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use slipway_oci::{Digest, Sha256};

/// Waking a thread takes as long as hashing some ten kilobytes.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks that wait for the thread.
const MAX_WAITING: usize = 2;

/// A SHA-256 that is computed in the background.
pub(crate) struct BackgroundHash {
    chunk: Vec<u8>,
    hasher: Hasher,
}

enum Hasher {
    Here(Sha256),
    OnThread {
        chunks: SyncSender<Vec<u8>>,
        /// Chunks that were hashed, to be filled again.
        used: Receiver<Vec<u8>>,
        thread: JoinHandle<Sha256>,
    },
    /// The thread has panicked.
    Lost,
}

impl BackgroundHash {
    pub(crate) fn new() -> BackgroundHash {
        BackgroundHash { chunk: Vec::new(), hasher: Hasher::Here(Sha256::new()) }
    }

    /// Adds bytes to what is hashed.
    pub(crate) fn update(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let n_taken = bytes.len().min(CHUNK_BYTES - self.chunk.len());
            self.chunk.extend_from_slice(&bytes[..n_taken]);
            bytes = &bytes[n_taken..];
            if self.chunk.len() == CHUNK_BYTES {
                self.hand_over()?;
            }
        }
        Ok(())
    }

    /// Waits until all is hashed.
    pub(crate) fn finish(mut self) -> io::Result<Digest> {
        let mut hasher = match self.hasher {
            Hasher::Here(hasher) => hasher,
            Hasher::OnThread { chunks, thread, .. } => {
                drop(chunks);
                thread.join().map_err(|_| lost())?
            }
            Hasher::Lost => return Err(lost()),
        };
        hasher.update(&std::mem::take(&mut self.chunk));
        Ok(hasher.finish())
    }

    fn hand_over(&mut self) -> io::Result<()> {
        self.hasher = match std::mem::replace(&mut self.hasher, Hasher::Lost) {
            Hasher::Here(hasher) => on_thread(hasher),
            other => other,
        };
        let Hasher::OnThread { chunks, used, .. } = &self.hasher else { return Err(lost()) };
        let mut empty = used.try_recv().unwrap_or_else(|_| Vec::with_capacity(CHUNK_BYTES));
        empty.clear();
        chunks.send(std::mem::replace(&mut self.chunk, empty)).map_err(|_| lost())
    }
}

fn on_thread(mut hasher: Sha256) -> Hasher {
    let (chunks, to_hash) = sync_channel::<Vec<u8>>(MAX_WAITING);
    let (back, used) = channel();
    let thread = std::thread::spawn(move || {
        for chunk in to_hash {
            hasher.update(&chunk);
            // Nobody takes it back at the end of the stream.
            let _ = back.send(chunk);
        }
        hasher
    });
    Hasher::OnThread { chunks, used, thread }
}

fn lost() -> io::Error {
    io::Error::other("a hashing thread died")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_hash_of_all_bytes() {
        let bytes: Vec<u8> = (0..3 * CHUNK_BYTES + 5).map(|i| (i % 251 + (i >> 16)).to_le_bytes()[0]).collect();
        for length in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, bytes.len()] {
            let mut hash = BackgroundHash::new();
            for piece in bytes[..length].chunks(100_000) {
                hash.update(piece).unwrap();
            }
            assert_eq!(hash.finish().unwrap(), Digest::of(&bytes[..length]), "{length}");
        }
    }
}
