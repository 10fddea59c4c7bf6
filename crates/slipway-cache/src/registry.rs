//! `type=registry`: a repository of a registry. Images there may hold a cache in their configs, too.

use std::io::Read;

use slipway_oci::{Descriptor, Reference};
use slipway_registry::{ErrorKind, Registry};

use crate::document::{self, Form};
use crate::{Backend, BlobSource, Cache, CacheError, Current, MAX_CONFIG_BYTES, read_checked};

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

    fn repository(&self) -> Option<&Reference> {
        Some(&self.reference)
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

    fn current(&self) -> Result<Current, CacheError> {
        let Ok(found) = self.registry.resolve(&self.reference) else { return Ok(Current::default()) };
        // A registry keeps the blobs that a manifest names.
        let blobs = document::named_blobs(&found.bytes).into_iter().collect();
        Ok(Current { document: Some(found.bytes.to_vec()), blobs, ..Current::default() })
    }

    fn send(&self, blob: &Descriptor, blobs: &dyn BlobSource) -> Result<(), CacheError> {
        let bare = Descriptor::new(&blob.media_type, blob.digest.clone(), blob.size);
        self.registry.push_blob(&self.reference, &bare, || blobs.open(blob), None).map_err(Box::new)?;
        Ok(())
    }

    fn save(
        &self,
        cache: &Cache,
        current: &Current,
        send_rest: &dyn Fn() -> Result<(), CacheError>,
    ) -> Result<(), CacheError> {
        let written = document::write(cache, self.form)?;
        if current.document.as_ref() == Some(&written.document) {
            return Ok(());
        }
        send_rest()?;
        let config =
            || -> std::io::Result<Box<dyn Read + Send>> { Ok(Box::new(std::io::Cursor::new(written.config.clone()))) };
        self.registry.push_blob(&self.reference, &written.config_blob, config, None).map_err(Box::new)?;
        let target = self.reference.with_default_tag();
        self.registry.push_manifest(&target, &written.descriptor.media_type, &written.document).map_err(Box::new)?;
        Ok(())
    }
}
