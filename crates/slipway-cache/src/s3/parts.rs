//! How does an object get into a bucket that is too large to be sent in one request, or copied in one? In parts, which
//! become one object when all of them are there; until then nobody sees any of it.

use std::io::{self, Read};
use std::ops::Range;

use slipway_oci::{Descriptor, Digest, Sha256};
use slipway_registry::{ObjectBody, ObjectMethod};

use super::{Call, S3Backend, escaped};
use crate::objects::{ObjectFailure, between, successful, text};
use crate::{BlobSource, CacheError};

/// Objects above this size are sent in parts of at least this size. (The least that Amazon takes is 5 MiB.)
pub(super) const PART_BYTES: u64 = 16 << 20;
/// The largest object that can be copied in one request.
const MAX_COPY_BYTES: u64 = 5 << 30;
/// So many parts an object can have.
const MAX_PARTS: u64 = 10_000;

impl S3Backend {
    /// Sends a blob in parts. It is read twice, side by side: a request is signed with the digest of what it sends.
    pub(super) fn put_in_parts(&self, blob: &Descriptor, blobs: &dyn BlobSource) -> Result<(), CacheError> {
        let mut hashed = blobs.open(blob).map_err(CacheError::Read)?;
        let mut sent = blobs.open(blob).map_err(CacheError::Read)?;
        let key = self.blob_key(blob);
        self.in_parts(&key, blob.size, PART_BYTES, &mut |part, query| {
            let size_bytes = part.end - part.start;
            let mut hasher = Sha256::new();
            let n_read = io::copy(&mut (&mut hashed).take(size_bytes), &mut HashOnly(&mut hasher));
            let is_whole = n_read.map_err(CacheError::Read)? == size_bytes;
            if !is_whole {
                return Err(CacheError::Read(io::ErrorKind::UnexpectedEof.into()));
            }
            let body = ObjectBody::Stream(&mut sent, size_bytes);
            let call = Call { method: ObjectMethod::Put, query, body, ..Call::get(&key) };
            let answer = self.request_signed(call, &hasher.finish())?;
            let answer = successful(answer, || format!("cannot write a part of the blob {}", blob.digest))?;
            Ok(answer.header("etag").unwrap_or_default().to_owned())
        })
    }

    /// Gives a blob that is there the time of now, by copying it onto itself.
    pub(super) fn touch(&self, blob: &Descriptor) -> Result<(), CacheError> {
        let key = self.blob_key(blob);
        let source = ("x-amz-copy-source", format!("/{}/{}", self.config.bucket, escaped(&key)));
        let what = || format!("cannot renew the blob {}", blob.digest);
        if blob.size <= MAX_COPY_BYTES {
            // The server refuses a copy onto itself that changes nothing at all.
            let headers = vec![source, ("x-amz-metadata-directive", "REPLACE".to_owned())];
            let call = Call { method: ObjectMethod::Put, headers, ..Call::get(&key) };
            let answer = text(successful(self.request(call)?, what)?);
            return done(&answer, what);
        }
        self.in_parts(&key, blob.size, MAX_COPY_BYTES, &mut |part, query| {
            let range = ("x-amz-copy-source-range", format!("bytes={}-{}", part.start, part.end - 1));
            let headers = vec![source.clone(), range];
            let call = Call { method: ObjectMethod::Put, query, headers, ..Call::get(&key) };
            let answer = text(successful(self.request(call)?, what)?);
            done(&answer, what)?;
            Ok(between(&answer, "<ETag>", "</ETag>").unwrap_or_default().to_owned())
        })
    }

    /// Makes the object `key` of parts: `put` makes one, with a query that says which, and answers with its tag.
    fn in_parts(
        &self,
        key: &str,
        size_bytes: u64,
        least_bytes: u64,
        put: &mut dyn FnMut(Range<u64>, String) -> Result<String, CacheError>,
    ) -> Result<(), CacheError> {
        let what = || format!("cannot write `{key}` in parts");
        let post = |query: String| Call { method: ObjectMethod::Post, query, ..Call::get(key) };
        let begun = text(successful(self.request(post("uploads=".to_owned()))?, what)?);
        let upload = between(&begun, "<UploadId>", "</UploadId>");
        let upload = upload.ok_or_else(|| ObjectFailure::Answer { what: what() })?;
        let upload = escaped(upload).replace('/', "%2F");
        let mut put_all = || {
            let mut list = String::from("<CompleteMultipartUpload>");
            for (part, number) in parts(size_bytes, least_bytes).zip(1..) {
                let tag = put(part, format!("partNumber={number}&uploadId={upload}"))?;
                list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>");
            }
            list += "</CompleteMultipartUpload>";
            let call = Call { body: ObjectBody::Bytes(list.as_bytes()), ..post(format!("uploadId={upload}")) };
            let answer = text(successful(self.request_signed(call, &Digest::of(list.as_bytes()))?, what)?);
            // A server that has said "200 OK" to keep the connection open may find out later that it failed.
            done(&answer, what)
        };
        put_all().inspect_err(|_| {
            // What was sent takes space, and costs, until somebody gives it up. Who cannot has done what they can.
            let query = format!("uploadId={upload}");
            let _ = self.request(Call { method: ObjectMethod::Delete, query, ..Call::get(key) });
        })
    }
}

/// The parts of an object, each but the last of the same size.
fn parts(size_bytes: u64, least_bytes: u64) -> impl Iterator<Item = Range<u64>> {
    let part_bytes = least_bytes.max(size_bytes.div_ceil(MAX_PARTS));
    (0..size_bytes.div_ceil(part_bytes)).map(move |index| index * part_bytes..size_bytes.min((index + 1) * part_bytes))
}

/// Whether the document says that it worked: then it has the tag of what was made.
fn done(document: &str, what: impl Fn() -> String) -> Result<(), CacheError> {
    match between(document, "<ETag>", "</ETag>") {
        Some(_) => Ok(()),
        None => Err(ObjectFailure::Answer { what: what() }.into()),
    }
}

/// A writer that keeps nothing.
struct HashOnly<'a>(&'a mut Sha256);

impl io::Write for HashOnly<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_many_as_servers_allow() {
        let all = |size, least| parts(size, least).collect::<Vec<_>>();
        assert_eq!(all(10, 4), [0..4, 4..8, 8..10]);
        assert_eq!(all(8, 4), [0..4, 4..8]);
        let huge = all(5 << 40, PART_BYTES);
        assert_eq!(huge.len() as u64, MAX_PARTS);
        assert_eq!(huge.last().unwrap().end, 5 << 40);
        assert_eq!(all(12 << 30, MAX_COPY_BYTES).len(), 3);
    }
}
