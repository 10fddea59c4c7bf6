//! Compresses what leaves the store, on all cores.
//!
//! gzip is written as members of 1 MiB each: every reader takes them for one stream, and they can be made in parallel.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use slipway_graph::request::Compression;
use slipway_oci::media_type;
use zstd::zstd_safe::CParameter;

const MEMBER_BYTES: usize = 1 << 20;
/// Of libdeflate. 168 MB of Python and GCC came to 0.997 of the reference's size with the thorough one, and to 1.036 with
/// the quick one in four fifths of the time; 503 MB of made-up text to 1.011 and 1.019.
const THOROUGH_LEVEL: u32 = 2;
const QUICK_LEVEL: u32 = 1;
/// Members that are compressed alike; the start of the first is compressed in both ways to see how.
const MEMBERS_ALIKE: u64 = 8;
const SAMPLE_BYTES: usize = 64 << 10;
/// What the quick level may cost in size.
const MOST_LOSS_PERCENT: usize = 1;
const ZSTD_LEVEL: u32 = 3;
/// What a thread compresses at once. Like [`MEMBER_BYTES`] it says what the blob is, and the number of threads does not.
const ZSTD_JOB_BYTES: u32 = 2 << 20;
/// More would have to wait for the walk over the files and its hash, and each takes some megabytes.
const MAX_WORKERS: usize = 8;

/// A writer that compresses into `W`.
pub(crate) enum Compressor<W: Write> {
    Gzip(ParallelGzip<W>),
    Zstd(Box<zstd::Encoder<'static, W>>),
    Uncompressed(W),
}

impl<W: Write> Compressor<W> {
    /// `level` as `--output compression-level` gives it; `None` is the default of the kind.
    pub(crate) fn new(kind: Compression, level: Option<u32>, out: W) -> io::Result<Self> {
        let n_workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(MAX_WORKERS);
        Ok(match kind {
            Compression::Gzip => Compressor::Gzip(ParallelGzip::new(level, n_workers, out)),
            Compression::Zstd => {
                let level = i32::try_from(level.unwrap_or(ZSTD_LEVEL)).unwrap_or(i32::MAX);
                let mut encoder = zstd::Encoder::new(out, level)?;
                encoder.multithread(u32::try_from(n_workers).unwrap_or(1))?;
                encoder.set_parameter(CParameter::JobSize(ZSTD_JOB_BYTES))?;
                Compressor::Zstd(Box::new(encoder))
            }
            Compression::Uncompressed => Compressor::Uncompressed(out),
        })
    }

    /// Writes what is left and gives `W` back.
    pub(crate) fn finish(self) -> io::Result<W> {
        match self {
            Compressor::Gzip(gzip) => gzip.finish(),
            Compressor::Zstd(encoder) => encoder.finish(),
            Compressor::Uncompressed(out) => Ok(out),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Compressor::Gzip(gzip) => gzip.write(bytes),
            Compressor::Zstd(encoder) => encoder.write(bytes),
            Compressor::Uncompressed(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Compressor::Gzip(gzip) => gzip.flush(),
            Compressor::Zstd(encoder) => encoder.flush(),
            Compressor::Uncompressed(out) => out.flush(),
        }
    }
}

/// The media type of a layer that is compressed by `kind`.
pub(crate) fn layer_media_type(kind: Compression, uses_oci_types: bool) -> &'static str {
    match (kind, uses_oci_types) {
        (Compression::Gzip, true) => media_type::OCI_LAYER_GZIP,
        (Compression::Gzip, false) => media_type::DOCKER_LAYER_GZIP,
        (Compression::Zstd, true) => media_type::OCI_LAYER_ZSTD,
        (Compression::Zstd, false) => media_type::DOCKER_LAYER_ZSTD,
        (Compression::Uncompressed, true) => media_type::OCI_LAYER,
        (Compression::Uncompressed, false) => media_type::DOCKER_LAYER,
    }
}

struct Member {
    plain: Vec<u8>,
    level: u32,
    result: SyncSender<io::Result<Vec<u8>>>,
}

/// Cuts its input into members, compresses them on worker threads and writes them in order. What is no longer than one
/// member needs no threads.
pub(crate) struct ParallelGzip<W: Write> {
    out: W,
    plain: Vec<u8>,
    n_workers: usize,
    workers: Option<Workers>,
    level: Level,
    n_members: u64,
}

/// Threads that compress members.
struct Workers {
    members: SyncSender<Member>,
    threads: Vec<JoinHandle<()>>,
    in_flight: VecDeque<Receiver<io::Result<Vec<u8>>>>,
}

impl Workers {
    fn start(n_workers: usize) -> Workers {
        let (to_workers, members) = sync_channel::<Member>(n_workers);
        let members = Arc::new(Mutex::new(members));
        let work = move |members: Arc<Mutex<Receiver<Member>>>| {
            let mut compressors = Compressors::default();
            loop {
                let next = members.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(member) = next else { return };
                // Nobody waits for it any more if the export was given up.
                let _ = member.result.send(compressors.compress(member.level, &member.plain));
            }
        };
        let threads = (0..n_workers).map(|_| {
            let members = Arc::clone(&members);
            std::thread::spawn(move || work(members))
        });
        Workers { threads: threads.collect(), members: to_workers, in_flight: VecDeque::new() }
    }

    fn send(&mut self, plain: Vec<u8>, level: u32) -> io::Result<()> {
        let (result, receiver) = sync_channel(1);
        self.members.send(Member { plain, level, result }).map_err(|_| lost())?;
        self.in_flight.push_back(receiver);
        Ok(())
    }

    /// The oldest member that was not asked for yet, once it is compressed.
    fn oldest(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(receiver) = self.in_flight.pop_front() else { return Ok(None) };
        receiver.recv().map_err(|_| lost())?.map(Some)
    }

    fn end(self) -> io::Result<()> {
        drop(self.members);
        self.threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| lost()))
    }
}

fn lost() -> io::Error {
    io::Error::other("a compression thread died")
}

impl<W: Write> ParallelGzip<W> {
    fn new(level: Option<u32>, n_workers: usize, out: W) -> Self {
        let level = match level {
            Some(level) => Level::Given(level),
            None => Level::Chosen { current: THOROUGH_LEVEL, compressors: Compressors::default() },
        };
        ParallelGzip { out, plain: Vec::new(), n_workers, workers: None, level, n_members: 0 }
    }

    fn send_member(&mut self) -> io::Result<()> {
        let plain = std::mem::take(&mut self.plain);
        let level = self.level.of_member(self.n_members, &plain)?;
        self.n_members += 1;
        let workers = self.workers.get_or_insert_with(|| Workers::start(self.n_workers));
        workers.send(plain, level)?;
        if workers.in_flight.len() > 2 * workers.threads.len()
            && let Some(compressed) = workers.oldest()?
        {
            self.out.write_all(&compressed)?;
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<W> {
        if self.n_members == 0 {
            let level = self.level.of_member(0, &self.plain)?;
            self.out.write_all(&Compressors::default().compress(level, &self.plain)?)?;
            return Ok(self.out);
        }
        if !self.plain.is_empty() {
            self.send_member()?;
        }
        if let Some(mut workers) = self.workers.take() {
            while let Some(compressed) = workers.oldest()? {
                self.out.write_all(&compressed)?;
            }
            workers.end()?;
        }
        Ok(self.out)
    }
}

impl<W: Write> Write for ParallelGzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Only when there is more: then it is not the last member.
        if self.plain.len() == MEMBER_BYTES && !bytes.is_empty() {
            self.send_member()?;
        }
        if self.n_members > 0 && self.plain.capacity() == 0 {
            self.plain.reserve_exact(MEMBER_BYTES);
        }
        let taken = bytes.len().min(MEMBER_BYTES - self.plain.len());
        self.plain.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// How hard members are compressed. Only the bytes decide, so that the blob of a layer is the same everywhere.
enum Level {
    Given(u32),
    Chosen { current: u32, compressors: Compressors },
}

impl Level {
    fn of_member(&mut self, index: u64, plain: &[u8]) -> io::Result<u32> {
        match self {
            Level::Given(level) => Ok(*level),
            Level::Chosen { current, compressors } => {
                if index.is_multiple_of(MEMBERS_ALIKE) {
                    let sample = &plain[..plain.len().min(SAMPLE_BYTES)];
                    let mut size = |level| compressors.compress(level, sample).map(|compressed| compressed.len());
                    let (quick, thorough) = (size(QUICK_LEVEL)?, size(THOROUGH_LEVEL)?);
                    let is_enough = quick * 100 <= thorough * (100 + MOST_LOSS_PERCENT);
                    *current = if is_enough { QUICK_LEVEL } else { THOROUGH_LEVEL };
                }
                Ok(*current)
            }
        }
    }
}

/// One for each level that was wanted, since they take a while to make.
#[derive(Default)]
struct Compressors(BTreeMap<u32, libdeflater::Compressor>);

impl Compressors {
    /// A member of a gzip file.
    fn compress(&mut self, level: u32, plain: &[u8]) -> io::Result<Vec<u8>> {
        let known = i32::try_from(level).ok().and_then(|l| libdeflater::CompressionLvl::new(l).ok());
        let compressor = || libdeflater::Compressor::new(known.unwrap_or_default());
        let compressor = self.0.entry(level).or_insert_with(compressor);
        let mut out = vec![0; compressor.gzip_compress_bound(plain.len())];
        let length = compressor.gzip_compress(plain, &mut out).map_err(|e| io::Error::other(format!("{e:?}")))?;
        out.truncate(length);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn round_trip(kind: Compression, plain: &[u8]) -> Vec<u8> {
        let mut compressor = Compressor::new(kind, None, Vec::new()).unwrap();
        compressor.write_all(plain).unwrap();
        let bytes = compressor.finish().unwrap();
        let mut back = Vec::new();
        match kind {
            Compression::Gzip => flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut back).unwrap(),
            Compression::Zstd => zstd::Decoder::new(&bytes[..]).unwrap().read_to_end(&mut back).unwrap(),
            Compression::Uncompressed => (&bytes[..]).read_to_end(&mut back).unwrap(),
        };
        back
    }

    #[test]
    fn what_comes_out_is_what_went_in() {
        let long: Vec<u8> = (0..5_000_000_u32).map(|i| (i % 251 * (i >> 12)).to_le_bytes()[0]).collect();
        for plain in [&b""[..], b"a", &long] {
            for kind in [Compression::Gzip, Compression::Zstd, Compression::Uncompressed] {
                assert!(round_trip(kind, plain) == plain, "{kind:?}, {} bytes", plain.len());
            }
        }
    }

    fn gzip(level: Option<u32>, plain: &[u8]) -> Vec<u8> {
        let mut compressor = Compressor::new(Compression::Gzip, level, Vec::new()).unwrap();
        compressor.write_all(plain).unwrap();
        compressor.finish().unwrap()
    }

    #[test]
    fn no_more_time_is_taken_than_the_bytes_are_worth() {
        let text = include_bytes!("untar.rs");
        let noise: Vec<u8> = (0..750_000_u32).flat_map(|i| i.wrapping_mul(0x9E37_79B1).to_be_bytes()).collect();
        assert!(gzip(None, &noise) == gzip(Some(QUICK_LEVEL), &noise));
        assert!(gzip(None, text) == gzip(Some(THOROUGH_LEVEL), text));
        assert!(gzip(None, text).len() < gzip(Some(QUICK_LEVEL), text).len());
    }
}
