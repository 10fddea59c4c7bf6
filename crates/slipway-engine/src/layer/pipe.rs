//! How do bytes get to another thread that works on them while more of them come?
//!
//! In pieces, a few of which may wait: who writes is held up until who reads has caught up, so that a pipe takes the same
//! memory however much goes through it. Pieces that were read go back to be filled again.

use std::io::{self, BufRead, Read, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

/// Waking a thread takes as long as hashing some ten kilobytes.
const PIECE_BYTES: usize = 512 * 1024;
/// Pieces that wait to be read.
const MAX_WAITING: usize = 3;

/// Both ends of a new pipe.
pub(crate) fn pipe() -> (PipeWriter, PipeReader) {
    let (pieces, to_read) = sync_channel(MAX_WAITING);
    let (back, used) = channel();
    let writer = PipeWriter { piece: Vec::new(), pieces, used };
    let reader = PipeReader { piece: Vec::new(), n_read: 0, pieces: to_read, back };
    (writer, reader)
}

/// The end that bytes are put into. Fails with [`io::ErrorKind::BrokenPipe`] when nobody reads any more. What was written
/// arrives at the latest with [`Write::flush`]; dropped without, the last piece is lost.
pub(crate) struct PipeWriter {
    piece: Vec<u8>,
    pieces: SyncSender<Vec<u8>>,
    used: Receiver<Vec<u8>>,
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.len() == PIECE_BYTES {
            self.flush()?;
        }
        let n_taken = bytes.len().min(PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..n_taken]);
        Ok(n_taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let mut empty = self.used.try_recv().unwrap_or_else(|_| Vec::with_capacity(PIECE_BYTES));
        empty.clear();
        let full = std::mem::replace(&mut self.piece, empty);
        self.pieces.send(full).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// The end that bytes come out of. They end when the writer is dropped.
pub(crate) struct PipeReader {
    piece: Vec<u8>,
    /// How much of the piece was read.
    n_read: usize,
    pieces: Receiver<Vec<u8>>,
    back: Sender<Vec<u8>>,
}

impl BufRead for PipeReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.n_read == self.piece.len() {
            self.n_read = 0;
            let next = self.pieces.recv().unwrap_or_default();
            // Nobody takes it back when the writer is gone.
            let _ = self.back.send(std::mem::replace(&mut self.piece, next));
        }
        Ok(&self.piece[self.n_read..])
    }

    fn consume(&mut self, n_bytes: usize) {
        self.n_read += n_bytes;
    }
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_read = self.fill_buf()?.read(buffer)?;
        self.consume(n_read);
        Ok(n_read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let bytes: Vec<u8> = (0..3 * PIECE_BYTES + 5).map(|i| (i % 251 + (i >> 16)).to_le_bytes()[0]).collect();
        for length in [0, 1, PIECE_BYTES, PIECE_BYTES + 1, bytes.len()] {
            let (mut writer, mut reader) = pipe();
            let sent = bytes[..length].to_vec();
            let thread = std::thread::spawn(move || {
                sent.chunks(100_000).for_each(|part| writer.write_all(part).unwrap());
                writer.flush().unwrap();
            });
            let mut received = Vec::new();
            reader.read_to_end(&mut received).unwrap();
            thread.join().unwrap();
            assert!(received == bytes[..length], "{length}");
        }
    }

    #[test]
    fn who_writes_hears_that_nobody_reads() {
        let (mut writer, reader) = pipe();
        drop(reader);
        let error = writer.write_all(&vec![0; PIECE_BYTES + 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
