//! The log of a build: what its steps wrote, all of it, in the order in which it came.
//!
//! It is compressed while it is written and read piece by piece, so that neither takes more memory for a longer log. How
//! much is kept of builds that are over is up to the store ([`slipway_store::BuildLimits`]).
//!
//! Pieces follow each other: step (4 bytes), stream (1: 1 or 2), nanoseconds since 1970 (8), length (4), the bytes.
//! Numbers are little-endian.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};

use slipway_graph::LogStream;
use slipway_store::{BuildLogWriter, FsError, Store};

const LEVEL: i32 = 1;
/// Longer pieces are written by nobody.
const MAX_PIECE_BYTES: usize = 64 << 20;

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error("the log of the build is damaged")]
    Damaged(#[source] io::Error),
}

/// Something that a step wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPiece {
    /// The step's number in the record.
    pub step: u32,
    pub stream: LogStream,
    /// Nanoseconds since 1970.
    pub at_ns: i64,
    pub bytes: Vec<u8>,
}

/// Takes pieces.
pub(super) struct LogWriter {
    encoder: zstd::Encoder<'static, BuildLogWriter>,
}

impl LogWriter {
    /// A log in `store` that has nothing yet; `None` if the store cannot take one.
    pub(super) fn start(store: &Store) -> Option<LogWriter> {
        let encoder = zstd::Encoder::new(store.build_log_writer().ok()?, LEVEL).ok()?;
        Some(LogWriter { encoder })
    }

    pub(super) fn add(&mut self, step: u32, stream: LogStream, at_ns: i64, bytes: &[u8]) -> io::Result<()> {
        let stream: u8 = match stream {
            LogStream::Stdout => 1,
            LogStream::Stderr => 2,
        };
        let mut head = [0; 17];
        head[..4].copy_from_slice(&step.to_le_bytes());
        head[4] = stream;
        head[5..13].copy_from_slice(&at_ns.to_le_bytes());
        head[13..].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.encoder.write_all(&head)?;
        self.encoder.write_all(bytes)
    }

    pub(super) fn finish(self) -> io::Result<BuildLogWriter> {
        self.encoder.finish()
    }
}

/// The pieces of a log, one after the other. Nothing follows an error.
pub struct LogReader {
    /// `None` at the end.
    rest: Option<BufReader<zstd::Decoder<'static, BufReader<File>>>>,
}

/// What the steps of the build `id` wrote; nothing if the build is not known.
pub fn read_log(store: &Store, id: &str) -> Result<LogReader, LogError> {
    let Some(file) = store.build_log(id)? else { return Ok(LogReader { rest: None }) };
    let decoder = zstd::Decoder::new(file).map_err(LogError::Damaged)?;
    Ok(LogReader { rest: Some(BufReader::new(decoder)) })
}

impl Iterator for LogReader {
    type Item = Result<LogPiece, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let piece = read_piece(self.rest.as_mut()?).map_err(LogError::Damaged).transpose();
        if !matches!(piece, Some(Ok(_))) {
            self.rest = None;
        }
        piece
    }
}

fn read_piece(log: &mut impl Read) -> io::Result<Option<LogPiece>> {
    let mut first = [0; 1];
    if log.read(&mut first)? == 0 {
        return Ok(None);
    }
    let mut head = [0; 17];
    head[0] = first[0];
    log.read_exact(&mut head[1..])?;
    let (step, rest) = head.split_first_chunk().expect("because the head is longer than that");
    let (at_ns, length) = rest[1..].split_first_chunk().expect("because the head is longer than that");
    let length = u32::from_le_bytes(length.try_into().expect("because four bytes are left")) as usize;
    let stream = match rest[0] {
        1 => LogStream::Stdout,
        2 => LogStream::Stderr,
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    if length > MAX_PIECE_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length];
    log.read_exact(&mut bytes)?;
    Ok(Some(LogPiece { step: u32::from_le_bytes(*step), stream, at_ns: i64::from_le_bytes(*at_ns), bytes }))
}

#[cfg(test)]
mod tests {
    use slipway_store::{BuildLimits, NewBuild, OverlayFlavor};

    use super::*;

    #[test]
    fn pieces_come_back_and_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), OverlayFlavor::Root).unwrap();
        let mut writer = LogWriter::start(&store).unwrap();
        writer.add(7, LogStream::Stderr, -5, b"out\n").unwrap();
        writer.add(8, LogStream::Stdout, 6, b"").unwrap();
        keep(&store, "a", writer);
        let first = LogPiece { step: 7, stream: LogStream::Stderr, at_ns: -5, bytes: b"out\n".to_vec() };
        let second = LogPiece { step: 8, stream: LogStream::Stdout, at_ns: 6, bytes: Vec::new() };
        let pieces: Vec<LogPiece> = read_log(&store, "a").unwrap().map(Result::unwrap).collect();
        assert_eq!(pieces, [first, second]);
        assert_eq!(read_log(&store, "unknown").unwrap().count(), 0);
        std::fs::write(folder.path().join("builds/a.log"), "not compressed").unwrap();
        let told: Vec<_> = read_log(&store, "a").unwrap().collect();
        assert!(matches!(told.as_slice(), [Err(LogError::Damaged(_))]));
    }

    #[test]
    fn a_long_log_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), OverlayFlavor::Root).unwrap();
        let mut writer = LogWriter::start(&store).unwrap();
        let (piece, n_pieces) = (vec![b'x'; 1 << 20], 300);
        for number in 0..n_pieces {
            writer.add(number, LogStream::Stdout, 0, &piece).unwrap();
        }
        keep(&store, "long", writer);
        let (mut n_bytes, mut last) = (0, 0);
        for piece in read_log(&store, "long").unwrap().map(Result::unwrap) {
            (n_bytes, last) = (n_bytes + piece.bytes.len(), piece.step);
        }
        assert_eq!((n_bytes, last), (300 << 20, n_pieces - 1));
        let on_disk = std::fs::metadata(folder.path().join("builds/long.log")).unwrap().len();
        assert!(on_disk < 1 << 20, "{on_disk} bytes of a log that says one thing only");
    }

    fn keep(store: &Store, id: &str, writer: LogWriter) {
        let log = Some(writer.finish().unwrap());
        store
            .add_build(
                NewBuild { id, ended_ns: 1, record: b"", log, refers_to: &[], notes: &[] },
                BuildLimits::default(),
            )
            .unwrap();
    }
}
