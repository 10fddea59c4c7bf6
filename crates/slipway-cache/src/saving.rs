//! How does a cache get to its place? Blob by blob, each as soon as it is made; what leads to them comes last.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use slipway_oci::{Descriptor, Digest};

use crate::{Backend, BlobSource, Cache, CacheError, Current};

/// A cache on its way to the place that will keep it. Threads may send blobs at once.
pub struct Saving {
    backend: Arc<dyn Backend>,
    /// What was there before; asked for with the first blob.
    current: Mutex<Option<Arc<Current>>>,
    /// Blobs that were sent, or are being sent.
    begun: Mutex<HashSet<Digest>>,
}

impl Saving {
    /// Nothing is asked or sent yet.
    pub fn new(backend: Arc<dyn Backend>) -> Saving {
        Saving { backend, current: Mutex::default(), begun: Mutex::default() }
    }

    /// Where the cache is going.
    pub fn backend(&self) -> &dyn Backend {
        self.backend.as_ref()
    }

    /// Sends a blob that the cache will have, unless it is there.
    pub fn send(&self, blob: &Descriptor, blobs: &dyn BlobSource) -> Result<(), CacheError> {
        let begun = || self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if self.current()?.blobs.contains(&blob.digest) || !begun().insert(blob.digest.clone()) {
            return Ok(());
        }
        let sent = self.backend.send(blob, blobs);
        if sent.is_err() {
            begun().remove(&blob.digest);
        }
        sent
    }

    /// Sends what is left of the blobs of `cache`, then makes it the one that is there. Nobody sends meanwhile.
    pub fn finish(&self, cache: &Cache, blobs: &dyn BlobSource) -> Result<(), CacheError> {
        let all = cache.blobs();
        let send_rest = || in_parallel(self.backend.n_parallel(), &all, &|blob| self.send(blob, blobs));
        self.backend.save(cache, self.current()?.as_ref(), &send_rest)
    }

    fn current(&self) -> Result<Arc<Current>, CacheError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = &*current {
            return Ok(Arc::clone(current));
        }
        Ok(Arc::clone(current.insert(Arc::new(self.backend.current()?))))
    }
}

/// Sends `blobs`, at most `n_parallel` at the same time; the first failure ends it.
fn in_parallel(
    n_parallel: usize,
    blobs: &[Descriptor],
    send: &(dyn Fn(&Descriptor) -> Result<(), CacheError> + Sync),
) -> Result<(), CacheError> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let work = || {
        while let Some(blob) = blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = send(blob) {
                next.store(blobs.len(), Ordering::Relaxed);
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    };
    std::thread::scope(|scope| (0..n_parallel.min(blobs.len())).for_each(|_| drop(scope.spawn(work))));
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};

    use slipway_oci::DiffId;

    use super::*;
    use crate::{CachedResult, Layer};

    /// A place that writes down what happens to it.
    #[derive(Default)]
    struct Diary {
        there: HashSet<Digest>,
        /// Failures that are left, for blobs.
        n_failures: AtomicUsize,
        lines: Mutex<Vec<String>>,
    }

    impl Diary {
        fn write(&self, line: &str) {
            self.lines.lock().unwrap().push(line.to_owned());
        }

        fn lines(&self) -> Vec<String> {
            std::mem::take(&mut self.lines.lock().unwrap())
        }
    }

    impl Backend for Diary {
        fn name(&self) -> String {
            "diary".to_owned()
        }

        fn load(&self) -> Result<Vec<Cache>, CacheError> {
            Err(CacheError::NothingThere)
        }

        fn open(&self, _: &Descriptor) -> Result<Box<dyn Read + Send>, CacheError> {
            Err(CacheError::NothingThere)
        }

        fn current(&self) -> Result<Current, CacheError> {
            self.write("current");
            Ok(Current { blobs: self.there.clone(), ..Current::default() })
        }

        fn send(&self, blob: &Descriptor, _: &dyn BlobSource) -> Result<(), CacheError> {
            self.write(&blob.media_type);
            let fails = self.n_failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
            if fails.is_ok() { Err(CacheError::NothingThere) } else { Ok(()) }
        }

        fn save(
            &self,
            _: &Cache,
            _: &Current,
            send_rest: &dyn Fn() -> Result<(), CacheError>,
        ) -> Result<(), CacheError> {
            send_rest()?;
            self.write("documents");
            Ok(())
        }

        fn n_parallel(&self) -> usize {
            1
        }
    }

    struct NoBlobs;

    impl BlobSource for NoBlobs {
        fn open(&self, _: &Descriptor) -> io::Result<Box<dyn Read + Send>> {
            Ok(Box::new(io::empty()))
        }
    }

    /// Its name stands where the media type would.
    fn blob(name: &str) -> Descriptor {
        Descriptor::new(name, Digest::of(name.as_bytes()), 1)
    }

    fn cache(names: &[&str]) -> Cache {
        let layer =
            |name: &&str| Layer { blob: blob(name), diff_id: DiffId(Digest::of(b"tar")), parent: None, created: None };
        let result = |layer| CachedResult { keys: vec![Digest::of(b"key")], layer };
        Cache {
            layers: names.iter().map(layer).collect(),
            results: (0..names.len()).map(result).collect(),
            mounts: Vec::new(),
        }
    }

    #[test]
    fn each_blob_is_sent_once_and_the_documents_last() {
        let diary = Arc::new(Diary { there: HashSet::from([blob("there").digest]), ..Diary::default() });
        let saving = Saving::new(Arc::clone(&diary) as Arc<dyn Backend>);
        saving.send(&blob("early"), &NoBlobs).unwrap();
        saving.send(&blob("there"), &NoBlobs).unwrap();
        assert_eq!(diary.lines(), ["current", "early"]);
        saving.finish(&cache(&["early", "there", "late"]), &NoBlobs).unwrap();
        assert_eq!(diary.lines(), ["late", "documents"]);
    }

    #[test]
    fn a_blob_that_could_not_be_sent_is_sent_again_and_no_document_leads_to_it_before() {
        let diary = Arc::new(Diary { n_failures: 2.into(), ..Diary::default() });
        let saving = Saving::new(Arc::clone(&diary) as Arc<dyn Backend>);
        saving.send(&blob("a"), &NoBlobs).unwrap_err();
        saving.finish(&cache(&["a"]), &NoBlobs).unwrap_err();
        saving.finish(&cache(&["a"]), &NoBlobs).unwrap();
        assert_eq!(diary.lines(), ["current", "a", "a", "a", "documents"]);
    }
}
