//! How does a large blob come over several connections? In pieces that are fetched ahead of who reads, into a bounded
//! number of buffers, and handed out in order.
//!
//! Whatever goes wrong with a piece ends the whole: who reads takes the blob up again over one connection, where it
//! broke (`pull.rs`). The bytes are unchecked here as they are there.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use slipway_oci::{Descriptor, Reference};
use ureq::http::Method;

use crate::Registry;
use crate::auth::Scope;
use crate::client::{Request, Response};
use crate::failure::Failure;
use crate::mirror::Endpoint;
use crate::pull::starts_at;

/// How much one request asks for.
pub(crate) const CHUNK_BYTES: u64 = 2 << 20;
/// How many pieces of one blob are on their way, or wait to be read, at the same time.
const N_CONNECTIONS: usize = 4;
/// Smaller blobs come over one connection.
pub(crate) const MIN_BLOB_BYTES: u64 = 8 * CHUNK_BYTES;
/// How many blobs come in pieces at the same time. With the number of pieces and their size, that bounds the memory.
const MAX_BLOBS: usize = 2;
/// How often a piece is asked for before it counts as missing.
const MAX_ATTEMPTS: usize = 3;

/// Counts the blobs that come in pieces.
#[derive(Default)]
pub(crate) struct ChunkBuffers(Mutex<usize>);

impl ChunkBuffers {
    fn take(&self) -> bool {
        let mut n_blobs = self.0.lock().expect("because nothing panics while it is held");
        let is_free = *n_blobs < MAX_BLOBS;
        *n_blobs += usize::from(is_free);
        is_free
    }

    fn give_back(&self) {
        *self.0.lock().expect("because nothing panics while it is held") -= 1;
    }
}

/// The right to the buffers of one blob.
pub(crate) struct ChunkPermit(Registry);

impl ChunkPermit {
    /// The right, if the blob is large and not too many others come in pieces.
    pub(crate) fn take(registry: &Registry, blob: &Descriptor) -> Option<ChunkPermit> {
        let is_granted = blob.size >= MIN_BLOB_BYTES && registry.shared.chunk_buffers.take();
        is_granted.then(|| ChunkPermit(registry.clone()))
    }
}

impl Drop for ChunkPermit {
    fn drop(&mut self) {
        self.0.shared.chunk_buffers.give_back();
    }
}

/// The bytes of a blob from the second piece on; the first is the answer that told that the server sends pieces.
pub(crate) struct Chunks {
    fetching: Arc<Fetching>,
    /// What is left of the piece that is read.
    current: io::Cursor<Vec<u8>>,
}

/// What the threads that fetch share with the one that reads.
struct Fetching {
    permit: ChunkPermit,
    endpoint: Endpoint,
    reference: Reference,
    blob: Descriptor,
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Default)]
struct Progress {
    /// Where the next piece to be asked for begins.
    next_to_fetch: u64,
    /// Where the next piece to be read begins.
    next_to_read: u64,
    ready: BTreeMap<u64, Vec<u8>>,
    failure: Option<Failure>,
    /// Nobody reads any more.
    is_abandoned: bool,
}

impl Chunks {
    /// Begins to fetch what follows the first piece from `endpoint`.
    pub(crate) fn begin(permit: ChunkPermit, endpoint: &Endpoint, reference: &Reference, blob: &Descriptor) -> Chunks {
        let progress = Progress { next_to_fetch: CHUNK_BYTES, next_to_read: CHUNK_BYTES, ..Progress::default() };
        let fetching = Arc::new(Fetching {
            permit,
            endpoint: endpoint.clone(),
            reference: reference.clone(),
            blob: blob.clone(),
            progress: Mutex::new(progress),
            changed: Condvar::new(),
        });
        for _ in 0..N_CONNECTIONS {
            let fetching = Arc::clone(&fetching);
            thread::spawn(move || fetching.run());
        }
        Chunks { fetching, current: io::Cursor::default() }
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        self.fetching.lock().is_abandoned = true;
        self.fetching.changed.notify_all();
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.current.read(buffer)?;
            if n > 0 || buffer.is_empty() {
                return Ok(n);
            }
            match self.fetching.next_piece()? {
                Some(piece) => self.current = io::Cursor::new(piece),
                None => return Ok(0),
            }
        }
    }
}

impl Fetching {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().expect("because nothing panics while it is held")
    }

    /// The next piece in order, as soon as it is there; `None` at the end.
    fn next_piece(&self) -> io::Result<Option<Vec<u8>>> {
        let mut progress = self.lock();
        loop {
            if progress.next_to_read >= self.blob.size {
                return Ok(None);
            }
            let start = progress.next_to_read;
            if let Some(piece) = progress.ready.remove(&start) {
                progress.next_to_read += piece.len() as u64;
                self.changed.notify_all();
                return Ok(Some(piece));
            }
            if let Some(failure) = &progress.failure {
                return Err(io::Error::other(failure.clone()));
            }
            progress = self.changed.wait(progress).expect("because nothing panics while it is held");
        }
    }

    /// Fetches one piece after the other until there is none left.
    fn run(&self) {
        while let Some((start, end)) = self.claim() {
            let fetched = self.fetch(start, end);
            let mut progress = self.lock();
            match fetched {
                Ok(piece) => drop(progress.ready.insert(start, piece)),
                Err(failure) => progress.failure = Some(failure),
            }
            self.changed.notify_all();
        }
    }

    /// The next piece that nobody fetches yet, once there is a buffer for it.
    fn claim(&self) -> Option<(u64, u64)> {
        let mut progress = self.lock();
        loop {
            let start = progress.next_to_fetch;
            if progress.is_abandoned || progress.failure.is_some() || start >= self.blob.size {
                return None;
            }
            if start < progress.next_to_read + N_CONNECTIONS as u64 * CHUNK_BYTES {
                let end = (start + CHUNK_BYTES).min(self.blob.size);
                progress.next_to_fetch = end;
                return Some((start, end));
            }
            progress = self.changed.wait(progress).expect("because nothing panics while it is held");
        }
    }

    fn fetch(&self, start: u64, end: u64) -> Result<Vec<u8>, Failure> {
        let n_wanted = end - start;
        let mut piece = Vec::with_capacity(usize::try_from(n_wanted).unwrap_or_default());
        let mut reason = String::new();
        for _ in 0..MAX_ATTEMPTS {
            let at = start + piece.len() as u64;
            let response = self.permit.0.ask_for_part(&self.endpoint, &self.reference, &self.blob, (at, end))?;
            if response.status != 206 || !starts_at(&response, at) {
                return Err(Failure::Protocol("the answer is another part of the blob".to_owned()));
            }
            let read = response.into_reader().take(n_wanted - piece.len() as u64).read_to_end(&mut piece);
            if piece.len() as u64 == n_wanted {
                return Ok(piece);
            }
            reason = read.map_or_else(|error| error.to_string(), |_| "the answer is too short".to_owned());
        }
        Err(Failure::Unreachable { reason })
    }
}

impl Registry {
    /// Asks for the bytes from the first to before the second number; the answer may be anything.
    pub(crate) fn ask_for_part(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        blob: &Descriptor,
        (start, end): (u64, u64),
    ) -> Result<Response, Failure> {
        let scope = Scope::pull(reference.repository());
        let uri = endpoint.url(reference.repository(), &format!("blobs/{}", blob.digest))?;
        let request = Request::new(Method::GET, uri).header("Range", format!("bytes={start}-{}", end - 1));
        let response = self.send(endpoint, &scope, request)?;
        if response.is_success() { Ok(response) } else { Err(self.refusal(endpoint, &scope, response)) }
    }
}
