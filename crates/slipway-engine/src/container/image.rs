//! Which image is a container made from? A name or an id of the local store, else what the registry has.

use serde::{Deserialize, Serialize};
use slipway_dockerfile::{ImageKey, ImagePlace, KnownImage};
use slipway_graph::op::{ImageOrigin, ImageSource};

use slipway_graph::{Event, Events, Pins};
use slipway_oci::{ChainId, Digest, ImageConfig, Platform, Reference, ReferenceParseError};
use slipway_store::ImageRecord;

use crate::engine::Engine;
use crate::images::{ImageDigests, ImageError, Images, store_config};

/// When the registry is asked for an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PullPolicy {
    #[default]
    Missing,
    Always,
    Never,
}

/// Why there is no image to run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageToRunError {
    #[error(transparent)]
    Name(#[from] ReferenceParseError),
    #[error("No such image: {0}")]
    NotHere(String),
    #[error("cannot get the image `{name}`")]
    Get { name: String, source: ImageError },
}

/// An image that was found, and its config.
pub(super) struct Found {
    pub(super) source: ImageSource,
    pub(super) config: ImageConfig,
}

impl Engine {
    pub(super) fn image_to_run(
        &self,
        name: &str,
        platform: &Platform,
        policy: PullPolicy,
        events: &dyn Events,
    ) -> Result<Found, ImageToRunError> {
        let failed = |source| ImageToRunError::Get { name: name.to_owned(), source };
        // Pins belong to builds.
        let (pins, digests) = (Pins::default(), ImageDigests::default());
        let images = Images {
            store: &self.store,
            registry: &self.registry,
            pulls_always: false,
            lock: None,
            pins: &pins,
            digests: &digests,
        };
        let parsed = name.parse::<Reference>();
        if policy != PullPolicy::Always {
            if let Ok(reference) = &parsed
                && let Some(known) = images.known(&reference.with_default_tag(), platform).map_err(failed)?
                && (policy == PullPolicy::Missing || self.has_layers(&known).map_err(failed)?)
            {
                return Ok(found(reference.clone(), platform, known));
            }
            if let Some((reference, known)) = self.image_by_id(name).map_err(failed)? {
                return Ok(found(reference, platform, known));
            }
        }
        let reference = parsed?;
        if policy == PullPolicy::Never {
            return Err(ImageToRunError::NotHere(reference.with_default_tag().familiar()));
        }
        if policy == PullPolicy::Missing {
            let message = format!("Unable to find image '{}' locally", reference.with_default_tag().familiar());
            events.emit(Event::Remark { message });
        }
        let key = ImageKey { place: ImagePlace::Reference(reference.with_default_tag()), platform: platform.clone() };
        let known = Images { pulls_always: true, ..images }.look_up(&key).map_err(failed)?;
        Ok(found(reference, platform, known))
    }

    fn has_layers(&self, image: &KnownImage) -> Result<bool, ImageError> {
        for diff_id in &image.config.rootfs.diff_ids {
            if self.store.layer_by_diff_id(diff_id)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The image whose id is or begins with `text`; one that is cut short is looked for among the images that are listed.
    fn image_by_id(&self, text: &str) -> Result<Option<(Reference, KnownImage)>, ImageError> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if hex.is_empty() || !hex.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')) {
            return Ok(None);
        }
        let whole = (hex.len() == 64).then(|| format!("sha256:{hex}").parse::<Digest>().ok()).flatten();
        let digest = match whole {
            Some(digest) => digest,
            None => {
                let named = self.store.images()?.into_iter().map(|(_, image)| image);
                let images: Vec<ImageRecord> = named.chain(self.store.unnamed_images()?).collect();
                let all = images.iter().flat_map(|image| std::iter::once(image).chain(&image.others));
                match all.map(|image| &image.config).find(|config| config.hex().starts_with(hex)) {
                    Some(digest) => digest.clone(),
                    None => return Ok(None),
                }
            }
        };
        let reference = "image".parse::<Reference>().expect("because it is a name").at_digest(digest.clone());
        let Some(config) = store_config(&self.store, &digest, &reference)? else { return Ok(None) };
        let chain_id = ChainId::of_stack(&config.rootfs.diff_ids);
        Ok(Some((reference, KnownImage { origin: ImageOrigin::Store, manifest: digest, chain_id, config })))
    }
}

fn found(reference: Reference, platform: &Platform, known: KnownImage) -> Found {
    let KnownImage { origin, manifest, chain_id, config } = known;
    let written = reference.clone();
    Found { source: ImageSource { written, reference, origin, manifest, platform: platform.clone(), chain_id }, config }
}
