//! `type=registry`: a repository of a registry. Images there may hold a cache in their configs, too.

use std::collections::HashSet;
use std::io::Read;

use slipway_oci::{Descriptor, Reference};
use slipway_registry::{ErrorKind, Registry};

use crate::document::{self, Form};
use crate::{Backend, BlobSource, Cache, CacheError, MAX_CONFIG_BYTES, read_checked};

/// How many blobs are sent at the same time.
const N_PARALLEL: usize = 4;

/// A tag of a registry.
pub struct RegistryBackend {
    pub registry: Registry,
    pub reference: Reference,
    pub form: Form,
}

impl Backend for RegistryBackend {
    fn name(&self) -> String {
        self.reference.familiar()
    }

    fn load(&self) -> Result<Vec<Cache>, CacheError> {
        let resolved = match self.registry.resolve(&self.reference) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(CacheError::NothingThere),
            resolved => resolved.map_err(Box::new)?,
        };
        let blob = |blob: &Descriptor| read_checked(self.open(blob)?, blob, MAX_CONFIG_BYTES);
        let manifest = |entry: &Descriptor| {
            let found = self.registry.manifest(&self.reference, &entry.digest).map_err(Box::new)?;
            Ok(found.bytes.to_vec())
        };
        document::read(&resolved.bytes, &blob, &manifest)
    }

    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>, CacheError> {
        Ok(Box::new(self.registry.blob(&self.reference, blob).map_err(Box::new)?))
    }

    fn save(&self, cache: &Cache, blobs: &dyn BlobSource) -> Result<(), CacheError> {
        let written = document::write(cache, self.form)?;
        // What cannot be read now is replaced.
        let current = self.registry.resolve(&self.reference).ok();
        if current.as_ref().is_some_and(|current| current.digest == written.descriptor.digest) {
            return Ok(());
        }
        let known: HashSet<_> =
            current.map(|current| document::named_blobs(&current.bytes)).unwrap_or_default().into_iter().collect();
        let missing: Vec<&Descriptor> = written.blobs.iter().filter(|blob| !known.contains(&blob.digest)).collect();
        let push = |blob: &Descriptor| {
            let bare = Descriptor::new(&blob.media_type, blob.digest.clone(), blob.size);
            let pushed = self.registry.push_blob(&self.reference, &bare, || blobs.open(blob), None);
            pushed.map(drop).map_err(|error| CacheError::from(Box::new(error)))
        };
        crate::in_parallel(N_PARALLEL, &missing, &push)?;
        let config =
            || -> std::io::Result<Box<dyn Read + Send>> { Ok(Box::new(std::io::Cursor::new(written.config.clone()))) };
        self.registry.push_blob(&self.reference, &written.config_blob, config, None).map_err(Box::new)?;
        let target = self.reference.with_default_tag();
        self.registry.push_manifest(&target, &written.descriptor.media_type, &written.document).map_err(Box::new)?;
        Ok(())
    }
}
