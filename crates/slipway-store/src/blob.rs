//! How do bytes known by digest get in and out?

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension, params};
use slipway_oci::{Digest, Sha256};

use crate::database::texts;
use crate::session::Temporary;
use crate::{DbError, FsError, Store};

/// Large enough that a tar writer's 512-byte headers cost no system calls.
const BUFFER_BYTES: usize = 128 * 1024;

/// A blob that is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    pub digest: Digest,
    pub size_bytes: u64,
}

/// Why a blob cannot be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("cannot reach the blob")]
    Fs(#[from] FsError),
    #[error("cannot look up the blob")]
    Db(#[from] DbError),
    #[error("the bytes have digest `{found}`, expected `{expected}`")]
    WrongDigest { expected: Digest, found: Digest },
}

/// Takes the bytes of a blob whose digest need not be known yet. Dropped without [`BlobWriter::commit`]: gone.
pub struct BlobWriter {
    store: Store,
    temporary: Temporary,
    file: BufWriter<File>,
    hasher: Sha256,
    size_bytes: u64,
}

/// The bytes of a blob, checked against its digest as they are read.
pub struct BlobReader {
    file: File,
    n_left: u64,
    /// `None` once the end was reached.
    hasher: Option<Sha256>,
    expected: Digest,
}

/// The bytes of a blob in the store are not those that its name says.
#[derive(Debug, thiserror::Error)]
#[error("the blob `{expected}` of the store is damaged: its bytes have digest `{found}`")]
struct DamagedBlob {
    expected: Digest,
    found: Digest,
}

impl Read for BlobReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let n_read = self.file.read(bytes)?;
        self.n_left = self.n_left.saturating_sub(n_read as u64);
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes[..n_read]);
        }
        let is_end = self.n_left == 0 || (n_read == 0 && !bytes.is_empty());
        // Before the last bytes are handed on: who knows the size may not ask for more.
        if let Some(hasher) = self.hasher.take_if(|_| is_end) {
            let found = hasher.finish();
            if found != self.expected {
                let damaged = DamagedBlob { expected: self.expected.clone(), found };
                return Err(io::Error::new(io::ErrorKind::InvalidData, damaged));
            }
        }
        Ok(n_read)
    }
}

impl Store {
    /// Starts a blob.
    pub fn blob_writer(&self) -> Result<BlobWriter, BlobError> {
        let session = self.session()?;
        let temporary = session.temporary(&format!("{}.blob", session.unique_name()));
        let file = File::create_new(temporary.path()).map_err(FsError::on("open", temporary.path()))?;
        Ok(BlobWriter {
            store: self.clone(),
            temporary,
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            hasher: Sha256::new(),
            size_bytes: 0,
        })
    }

    /// Stores `bytes`; cheap if they are there already.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Blob, BlobError> {
        let digest = Digest::of(bytes);
        if self.has_blob(&digest)? {
            return Ok(Blob { digest, size_bytes: bytes.len() as u64 });
        }
        let mut writer = self.blob_writer()?;
        writer.write_all(bytes).map_err(FsError::on("write", writer.temporary.path()))?;
        writer.commit(Some(&digest))
    }

    /// The digests of all blobs.
    pub fn blob_names(&self) -> Result<HashSet<String>, DbError> {
        Ok(self.database().run(|c| texts(c, "SELECT digest FROM blobs"))?.into_iter().collect())
    }

    /// Whether the blob is here, file and row.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool, BlobError> {
        let is_here = || {
            let is_known = self.database().run(|c| find(c, digest))?.is_some();
            Ok::<_, BlobError>(is_known && self.blob_path(digest).exists())
        };
        self.find_to_use(is_here, |is_here| is_here.then(|| digest.to_string()).into_iter().collect())
    }

    /// The blob opened for reading, and its size in bytes; `None` if it is not here. Its last read fails if the bytes
    /// are not those that the digest says.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<(BlobReader, u64)>, BlobError> {
        if !self.has_blob(digest)? {
            return Ok(None);
        }
        let Some(size_bytes) = self.database().run(|c| find(c, digest))? else { return Ok(None) };
        let path = self.blob_path(digest);
        match File::open(&path) {
            Ok(file) => {
                self.opened_blobs().insert(digest.clone());
                let expected = digest.clone();
                Ok(Some((BlobReader { file, n_left: size_bytes, hasher: Some(Sha256::new()), expected }, size_bytes)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FsError::on("open", &path)(error).into()),
        }
    }

    /// Where the blob is, or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root().join("blobs/sha256").join(digest.hex())
    }
}

impl BlobWriter {
    /// Files the blob under its digest. If it is there already, ours is dropped: the bytes are the same.
    ///
    /// Fails with [`BlobError::WrongDigest`], storing nothing, if `expected` is given and is not the digest.
    pub fn commit(mut self, expected: Option<&Digest>) -> Result<Blob, BlobError> {
        self.file.flush().map_err(FsError::on("write", self.temporary.path()))?;
        let (digest, size_bytes) = (self.hasher.finish(), self.size_bytes);
        if let Some(expected) = expected.filter(|expected| **expected != digest) {
            return Err(BlobError::WrongDigest { expected: expected.clone(), found: digest });
        }
        // Before it can be found, so that nobody takes it away once it is there.
        self.store.use_name(digest.as_str())?;
        let path = self.store.blob_path(&digest);
        let boot = self.store.database().boot();
        self.store.database().write(|tx| {
            if tx.run(|c| find(c, &digest))?.is_some() && path.exists() {
                return Ok(());
            }
            // A file of this name without a row is what a power loss or a crash left: replaced.
            std::fs::rename(self.temporary.path(), &path).map_err(FsError::on("rename", &path))?;
            tx.run(|c| {
                c.prepare_cached(
                    "INSERT INTO blobs (digest, size_bytes, boot) VALUES (?1, ?2, ?3)
                     ON CONFLICT (digest) DO UPDATE SET size_bytes = ?2, boot = ?3",
                )?
                .execute(params![digest.as_str(), size_bytes as i64, boot])
            })?;
            Ok::<_, BlobError>(())
        })?;
        Ok(Blob { digest, size_bytes })
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n_written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..n_written]);
        self.size_bytes += n_written as u64;
        Ok(n_written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The size in bytes of the blob's row.
fn find(connection: &Connection, digest: &Digest) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached("SELECT size_bytes FROM blobs WHERE digest = ?1")?
        .query_row([digest.as_str()], |row| row.get::<_, i64>(0))
        .map(|size_bytes| size_bytes as u64)
        .optional()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{digest, empty_store};

    #[test]
    fn what_was_written_is_read_under_its_digest() {
        let (_folder, store) = empty_store();
        let mut writer = store.blob_writer().unwrap();
        writer.write_all(b"hello ").unwrap();
        writer.write_all(b"world").unwrap();
        let blob = writer.commit(None).unwrap();
        assert_eq!(blob, Blob { digest: digest("hello world"), size_bytes: 11 });

        let (mut file, size_bytes) = store.open_blob(&blob.digest).unwrap().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), size_bytes), ("hello world", 11));
        assert!(store.open_blob(&digest("something else")).unwrap().is_none());
    }

    #[test]
    fn a_blob_that_was_changed_cannot_be_read_to_its_end() {
        let (_folder, store) = empty_store();
        let digest = store.put_blob(b"whole").unwrap().digest;
        std::fs::write(store.blob_path(&digest), "other").unwrap();
        let error = store.open_blob(&digest).unwrap().unwrap().0.read_to_end(&mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains(digest.as_str()), "{error}");
        let found = store.repair_after_failure().unwrap();
        assert!(matches!(&found[..], [crate::Finding::BlobContent { .. }]), "{found:?}");
        assert!(!store.has_blob(&digest).unwrap());
        store.put_blob(b"whole").unwrap();
        assert_eq!(store.repair_after_failure().unwrap(), []);
    }

    #[test]
    fn a_wrong_digest_stores_nothing() {
        let (_folder, store) = empty_store();
        let mut writer = store.blob_writer().unwrap();
        writer.write_all(b"evil").unwrap();
        let error = writer.commit(Some(&digest("good"))).unwrap_err();
        assert!(matches!(error, BlobError::WrongDigest { found, .. } if found == digest("evil")));
        assert!(!store.has_blob(&digest("evil")).unwrap());
        assert!(!store.has_blob(&digest("good")).unwrap());
        assert_eq!(n_entries(&store, "blobs/sha256"), 0);
    }

    #[test]
    fn a_second_writer_of_the_same_bytes_is_dropped() {
        let (_folder, store) = empty_store();
        let mut writers = [store.blob_writer().unwrap(), store.blob_writer().unwrap()];
        for writer in &mut writers {
            writer.write_all(b"same").unwrap();
        }
        let blobs = writers.map(|writer| writer.commit(None).unwrap());
        assert_eq!(blobs[0], blobs[1]);
        assert_eq!(n_entries(&store, "blobs/sha256"), 1);
        drop(store.blob_writer().unwrap());
        let session = std::fs::read_dir(store.root().join("active")).unwrap().next().unwrap().unwrap().path();
        let files = std::fs::read_dir(session).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(files.collect::<Vec<_>>(), ["uses"], "dropped writers leave files");
    }

    #[test]
    fn a_file_without_a_row_is_not_believed() {
        let (_folder, store) = empty_store();
        let digest = digest("whole");
        std::fs::write(store.blob_path(&digest), "half").unwrap();
        assert!(!store.has_blob(&digest).unwrap());
        store.put_blob(b"whole").unwrap();
        assert_eq!(std::fs::read(store.blob_path(&digest)).unwrap(), b"whole");
    }

    fn n_entries(store: &Store, folder: &str) -> usize {
        std::fs::read_dir(store.root().join(folder)).unwrap().count()
    }
}
