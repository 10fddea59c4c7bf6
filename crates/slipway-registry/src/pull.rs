//! How do a blob's bytes get here? As a stream that ends well only if size and digest are right.
//!
//! A connection that breaks midway is taken up again where it broke, at the same server or at the next one. The hash
//! runs over everything handed out, so pieces from different servers are as safe as one piece from one. A large blob
//! comes over several connections from the beginning (`chunks.rs`), and after a break over one.

use std::io::{self, Read};
use std::thread;

use slipway_oci::{Descriptor, Digest, Reference, Sha256};
use ureq::http::Method;

use crate::Registry;
use crate::auth::Scope;
use crate::chunks::{CHUNK_BYTES, ChunkPermit, Chunks};
use crate::client::{Request, Response};
use crate::failure::{Attempt, ErrorKind, Failure, kind_of, listed};
use crate::mirror::{Endpoint, first_that_helps};
use crate::patience::BodyBytes;

/// How often in a row a blob is taken up again. A server that breaks every connection must not keep a build for ever.
const MAX_RESUMPTIONS: u32 = 5;
/// A connection that brought so much was a good one: breaks are counted anew after it.
const GOOD_CONNECTION_BYTES: u64 = 1 << 20;

/// A blob could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot pull blob `{digest}` of `{reference}`: {}", listed(.attempts))]
pub struct BlobError {
    pub reference: Box<Reference>,
    pub digest: Digest,
    /// What happened at each server, the registry itself last.
    pub attempts: Vec<Attempt>,
}

impl BlobError {
    /// What kind of trouble it is, by the registry's own answer.
    pub fn kind(&self) -> ErrorKind {
        kind_of(&self.attempts)
    }
}

impl Registry {
    /// Starts to read the blob that `descriptor` points to from the repository of `reference`.
    pub fn blob(&self, reference: &Reference, descriptor: &Descriptor) -> Result<BlobReader, BlobError> {
        let body = self.open_blob(reference, descriptor, 0)?;
        Ok(BlobReader {
            registry: self.clone(),
            reference: reference.clone(),
            descriptor: descriptor.clone(),
            body: Some(body),
            hasher: Some(Sha256::new()),
            n_received: 0,
            resumed_at: 0,
            n_resumptions: 0,
        })
    }

    /// The bytes of the blob from `start_bytes` on.
    fn open_blob(&self, reference: &Reference, descriptor: &Descriptor, start_bytes: u64) -> Result<Body, BlobError> {
        let Registry { shared } = self;
        first_that_helps(&shared.config, &shared.dead_mirrors, reference, |endpoint| {
            self.ask_for_blob(endpoint, reference, descriptor, start_bytes)
        })
        .map_err(|attempts| BlobError {
            reference: Box::new(reference.clone()),
            digest: descriptor.digest.clone(),
            attempts,
        })
    }

    fn ask_for_blob(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        descriptor: &Descriptor,
        start_bytes: u64,
    ) -> Result<Body, Failure> {
        if start_bytes == 0
            && let Some(permit) = ChunkPermit::take(self, descriptor)
        {
            let response = self.ask_for_part(endpoint, reference, descriptor, (0, CHUNK_BYTES))?;
            return match response.status {
                206 => Body::in_pieces(response, permit, endpoint, reference, descriptor),
                _ => Body::new(response, endpoint.origin.to_string(), 0, descriptor.size),
            };
        }
        let scope = Scope::pull(reference.repository());
        let uri = endpoint.url(reference.repository(), &format!("blobs/{}", descriptor.digest))?;
        let request = Request::new(Method::GET, uri);
        let request = if start_bytes == 0 { request } else { request.header("Range", format!("bytes={start_bytes}-")) };
        let response = self.send(endpoint, &scope, request)?;
        if !response.is_success() {
            return Err(self.refusal(endpoint, &scope, response));
        }
        Body::new(response, endpoint.origin.to_string(), start_bytes, descriptor.size)
    }
}

/// The rest of a blob, as one server sends it.
struct Body {
    host: String,
    reader: Box<dyn Read + Send>,
    /// Bytes at the start that were received before: the server did not honour the range.
    n_to_skip: u64,
}

impl Body {
    /// The answer to a request for a blob of `size_bytes` from `start_bytes` on.
    fn new(response: Response, host: String, start_bytes: u64, size_bytes: u64) -> Result<Body, Failure> {
        let n_to_skip = match response.status {
            200 => start_bytes,
            206 if starts_at(&response, start_bytes) => 0,
            206 => return Err(Failure::Protocol("the answer is another part of the blob".to_owned())),
            _ => return Err(Failure::of_response(response, crate::Operation::Pull)),
        };
        let wanted_bytes = size_bytes - start_bytes + n_to_skip;
        // Told before a byte is written to disk; without a length, whoever reads finds out.
        if let Some(found_bytes) = response.content_length().filter(|found| *found != wanted_bytes) {
            return Err(Failure::SizeMismatch { wanted_bytes, found_bytes });
        }
        Ok(Body { host, reader: Box::new(response.into_reader()), n_to_skip })
    }

    /// The whole of a blob, of which `response` is the first piece.
    fn in_pieces(
        response: Response,
        permit: ChunkPermit,
        endpoint: &Endpoint,
        reference: &Reference,
        descriptor: &Descriptor,
    ) -> Result<Body, Failure> {
        if !starts_at(&response, 0) {
            return Err(Failure::Protocol("the answer is another part of the blob".to_owned()));
        }
        // Told before a byte is written to disk.
        if let Some(found_bytes) = total_size(&response).filter(|found| *found != descriptor.size) {
            return Err(Failure::SizeMismatch { wanted_bytes: descriptor.size, found_bytes });
        }
        let first = ExactPiece { reader: response.into_reader(), n_left: CHUNK_BYTES };
        let others = Chunks::begin(permit, endpoint, reference, descriptor);
        Ok(Body { host: endpoint.origin.to_string(), reader: Box::new(first.chain(others)), n_to_skip: 0 })
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.n_to_skip > 0 {
            let wanted = self.n_to_skip;
            self.n_to_skip = 0;
            let n_skipped = io::copy(&mut (&mut self.reader).take(wanted), &mut io::sink())?;
            if n_skipped < wanted {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.reader.read(buffer)
    }
}

/// A piece that ends well only if it is whole: what follows it must not take its place.
struct ExactPiece {
    reader: BodyBytes,
    n_left: u64,
}

impl Read for ExactPiece {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.n_left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let n_wanted = usize::try_from(self.n_left).map_or(buffer.len(), |n_left| n_left.min(buffer.len()));
        match self.reader.read(&mut buffer[..n_wanted])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.n_left -= n as u64;
                Ok(n)
            }
        }
    }
}

/// How long `Content-Range: bytes …/<size>` says that the whole is.
fn total_size(response: &Response) -> Option<u64> {
    response.header("content-range")?.rsplit_once('/')?.1.trim().parse().ok()
}

/// Whether `Content-Range: bytes <start>-…` says what was asked for.
pub(crate) fn starts_at(response: &Response, start_bytes: u64) -> bool {
    response
        .header("content-range")
        .and_then(|text| text.strip_prefix("bytes "))
        .and_then(|range| range.split('-').next())
        .and_then(|start| start.trim().parse::<u64>().ok())
        == Some(start_bytes)
}

/// The bytes of one blob.
///
/// Reading returns `Ok(0)` only after every byte came and the digest was right; otherwise the last read is an error
/// that holds a [`BlobError`]. Bytes handed out before that are unchecked: act on them, but do not commit to them. A
/// reader that stops before the end calls [`BlobReader::finish`].
pub struct BlobReader {
    registry: Registry,
    reference: Reference,
    descriptor: Descriptor,
    /// `None` between a broken connection and its resumption, and after the end.
    body: Option<Body>,
    /// `None` after the digest was found right.
    hasher: Option<Sha256>,
    n_received: u64,
    /// What had been received when the current connection was made.
    resumed_at: u64,
    n_resumptions: u32,
}

impl BlobReader {
    /// Reads what is left and checks the whole.
    pub fn finish(mut self) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink()).map(|_| ())
    }

    /// One read that either makes progress, or reports why this connection has no more to give.
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        let body = self.body.as_mut().expect("because `read` opens a body first");
        match body.read(buffer) {
            Ok(0) => Err(Failure::SizeMismatch { wanted_bytes: self.descriptor.size, found_bytes: self.n_received }),
            Ok(n) => Ok(n),
            Err(error) => Err(Failure::Unreachable { reason: error.to_string() }),
        }
    }

    /// The first time not at all, then longer and longer.
    fn wait_before_resuming(&self) {
        if let Some(n_doublings) = self.n_resumptions.checked_sub(1) {
            thread::sleep(self.registry.shared.config.first_wait * 2_u32.pow(n_doublings));
        }
    }

    /// Called when all bytes are here: there must not be one more, and the digest must be right.
    fn check_end(&mut self) -> io::Result<()> {
        let Some(hasher) = self.hasher.take() else { return Ok(()) };
        let Some(mut body) = self.body.take() else { return Ok(()) };
        // An error instead of the end is no harm: everything that was promised is here.
        if body.read(&mut [0]).is_ok_and(|n| n > 0) {
            let size = self.descriptor.size;
            return Err(self.error(body.host, Failure::SizeMismatch { wanted_bytes: size, found_bytes: size + 1 }));
        }
        let found = hasher.finish();
        if found != self.descriptor.digest {
            let wanted = self.descriptor.digest.clone();
            return Err(self.error(body.host, Failure::DigestMismatch { wanted, found }));
        }
        Ok(())
    }

    fn error(&self, host: String, failure: Failure) -> io::Error {
        let kind = match failure.kind() {
            ErrorKind::Invalid => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        };
        let attempts = vec![Attempt { host, failure }];
        let digest = self.descriptor.digest.clone();
        io::Error::new(kind, BlobError { reference: Box::new(self.reference.clone()), digest, attempts })
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_left = self.descriptor.size - self.n_received;
        if n_left == 0 {
            return self.check_end().map(|()| 0);
        }
        if buffer.is_empty() {
            return Ok(0);
        }
        let n_wanted = usize::try_from(n_left).map_or(buffer.len(), |n_left| n_left.min(buffer.len()));
        loop {
            if self.body.is_none() {
                self.resumed_at = self.n_received;
                let body = self.registry.open_blob(&self.reference, &self.descriptor, self.n_received);
                self.body = Some(body.map_err(io::Error::other)?);
            }
            match self.read_some(&mut buffer[..n_wanted]) {
                Ok(n) => {
                    self.n_received += n as u64;
                    if let Some(hasher) = &mut self.hasher {
                        hasher.update(&buffer[..n]);
                    }
                    return Ok(n);
                }
                Err(failure) => {
                    let host = self.body.take().map(|body| body.host).unwrap_or_default();
                    if self.n_received - self.resumed_at >= GOOD_CONNECTION_BYTES {
                        self.n_resumptions = 0;
                    }
                    if self.n_resumptions == MAX_RESUMPTIONS {
                        return Err(self.error(host, failure));
                    }
                    self.wait_before_resuming();
                    self.n_resumptions += 1;
                }
            }
        }
    }
}
