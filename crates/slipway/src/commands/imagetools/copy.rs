//! How does an image get from one place to another? Blobs first, then what points to them; what the other place has
//! is not sent, and one registry takes blobs from its own other repositories.

use std::thread;

use slipway_oci::{Descriptor, IndexOrManifest, ManifestParseError};
use slipway_registry::{ReferrersError, Registry};

use super::index::Entry;
use super::location::{Document, Location, LocationError};

/// Indexes that list indexes, deeper than anybody writes them.
const MAX_NESTED: usize = 4;
/// How many blobs of one image are on their way at the same time.
const N_TRANSFERS: usize = 4;
/// What is said about images by others, and goes with them: signatures and attestations.
const KNOWN_REFERRERS: [&str; 5] = [
    "application/vnd.dev.sigstore.bundle",
    "application/vnd.dev.cosign.artifact.",
    "application/vnd.cncf.notary.signature",
    "application/vnd.docker.attestation.manifest.",
    "application/vnd.in-toto+json",
];

/// Why an image cannot be copied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error(transparent)]
    Location(#[from] LocationError),
    #[error("the manifest {0} cannot be understood")]
    Manifest(Location, #[source] ManifestParseError),
    #[error("{0}: indexes are nested too deeply")]
    Nested(Location),
    #[error(transparent)]
    Referrers(#[from] ReferrersError),
}

/// From where to where.
#[derive(Clone, Copy)]
pub(crate) struct Route<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) from: &'a Location,
    pub(crate) to: &'a Location,
}

impl Route<'_> {
    /// Copies what `entry` points to, without a tag.
    pub(crate) fn copy(&self, entry: &Entry) -> Result<(), CopyError> {
        let Route { registry, from, to } = *self;
        if from.is_same_place(to) {
            return Ok(());
        }
        self.copy_tree(&entry.descriptor(), MAX_NESTED)?;
        if let (Location::Registry(from), Location::Registry(to)) = (from, to) {
            let is_known = |found: &str| KNOWN_REFERRERS.iter().any(|known| found.starts_with(known));
            for referrer in registry.referrers(from, &entry.digest)? {
                if referrer.artifact_type.as_deref().is_some_and(is_known) {
                    let bytes = self.copy_below(&referrer.descriptor, MAX_NESTED)?.bytes;
                    registry.push_referrer(to, &referrer.descriptor.media_type, &bytes)?;
                }
            }
        }
        Ok(())
    }

    fn copy_tree(&self, descriptor: &Descriptor, n_levels: usize) -> Result<(), CopyError> {
        let document = self.copy_below(descriptor, n_levels)?;
        Ok(self.to.at_digest(&document.digest).put(self.registry, &document)?)
    }

    /// Copies what the manifest or index at `descriptor` points to, and returns it.
    fn copy_below(&self, descriptor: &Descriptor, n_levels: usize) -> Result<Document, CopyError> {
        let at = self.from.at_digest(&descriptor.digest);
        let document = at.resolve(self.registry)?;
        match IndexOrManifest::parse(&document.bytes, "").map_err(|error| CopyError::Manifest(at.clone(), error))? {
            IndexOrManifest::Index(index) => {
                let n_levels = n_levels.checked_sub(1).ok_or(CopyError::Nested(at))?;
                index.manifests.iter().try_for_each(|entry| self.copy_tree(entry, n_levels))?;
            }
            IndexOrManifest::Manifest(manifest) => {
                // Layers that others serve are left where they are.
                let layers = manifest.layers.iter().filter(|layer| layer.urls.is_empty());
                self.copy_blobs(&layers.chain([&manifest.config]).collect::<Vec<_>>())?;
            }
        }
        Ok(document)
    }

    fn copy_blobs(&self, blobs: &[&Descriptor]) -> Result<(), LocationError> {
        for group in blobs.chunks(N_TRANSFERS) {
            thread::scope(|scope| {
                let copy = |blob| scope.spawn(move || self.to.copy_blob(self.registry, blob, self.from));
                let threads: Vec<_> = group.iter().map(|blob| copy(*blob)).collect();
                threads
                    .into_iter()
                    .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            })?;
        }
        Ok(())
    }
}
