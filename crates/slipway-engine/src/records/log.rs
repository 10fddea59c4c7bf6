//! The log of a build: what its steps wrote, compressed, in the order in which it came.
//!
//! Pieces follow each other: step (4 bytes), stream (1: 1 or 2), nanoseconds since 1970 (8), length (4), the bytes.
//! Numbers are little-endian.

use std::io::{self, BufReader, Read, Write};

use slipway_graph::LogStream;
use slipway_store::{BuildLogWriter, FsError, Store};

/// Beyond that a log is cut.
const MAX_BYTES: u64 = 256 << 20;
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
    n_bytes: u64,
}

impl LogWriter {
    /// A log in `store` that has nothing yet; `None` if the store cannot take one.
    pub(super) fn start(store: &Store) -> Option<LogWriter> {
        let encoder = zstd::Encoder::new(store.build_log_writer().ok()?, LEVEL).ok()?;
        Some(LogWriter { encoder, n_bytes: 0 })
    }

    pub(super) fn add(&mut self, step: u32, stream: LogStream, at_ns: i64, bytes: &[u8]) -> io::Result<()> {
        self.n_bytes += bytes.len() as u64;
        if self.n_bytes > MAX_BYTES {
            return Ok(());
        }
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

/// What the steps of the build `id` wrote; nothing if the build is not known.
pub fn read_log(store: &Store, id: &str) -> Result<Vec<LogPiece>, LogError> {
    let Some(file) = store.build_log(id)? else { return Ok(Vec::new()) };
    let mut log = BufReader::new(zstd::Decoder::new(file).map_err(LogError::Damaged)?);
    let mut pieces = Vec::new();
    while let Some(piece) = read_piece(&mut log).map_err(LogError::Damaged)? {
        pieces.push(piece);
    }
    Ok(pieces)
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
        let log = Some(writer.finish().unwrap());
        store
            .add_build(
                NewBuild { id: "a", ended_ns: 1, record: b"", log, refers_to: &[], notes: &[] },
                BuildLimits::default(),
            )
            .unwrap();
        let first = LogPiece { step: 7, stream: LogStream::Stderr, at_ns: -5, bytes: b"out\n".to_vec() };
        let second = LogPiece { step: 8, stream: LogStream::Stdout, at_ns: 6, bytes: Vec::new() };
        assert_eq!(read_log(&store, "a").unwrap(), [first, second]);
        assert_eq!(read_log(&store, "unknown").unwrap(), []);
        std::fs::write(folder.path().join("builds/a.log"), "not compressed").unwrap();
        assert!(matches!(read_log(&store, "a"), Err(LogError::Damaged(_))));
    }
}
