//! `slipway tag`: another name for an image of the store.

use slipway_oci::{Reference, ReferenceParseError};

use crate::cli::images::TagArgs;
use crate::commands::local_images::{find, open_store, told};
use crate::report::CommandError;

/// Why a text cannot become a name.
#[derive(Debug, thiserror::Error)]
enum TargetError {
    #[error("parsing reference: {name:?} is not a valid repository/tag")]
    Format { name: String, source: ReferenceParseError },
    #[error("refusing to create a tag with a digest reference")]
    Digest,
}

/// Names the image.
pub(crate) fn run(args: &TagArgs) -> Result<(), CommandError> {
    let target = target(&args.target).map_err(|error| told(&error))?;
    let store = open_store()?;
    let image = find(&store, &args.source).map_err(|error| told(&error))?;
    store.name_image(&target, &image.record).map_err(|error| told(&error))
}

fn target(text: &str) -> Result<Reference, TargetError> {
    let name: Reference = text.parse().map_err(|source| TargetError::Format { name: text.to_owned(), source })?;
    if name.digest().is_some() { Err(TargetError::Digest) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_digests_are_no_targets() {
        assert_eq!(target("a/b:1").unwrap().familiar(), "a/b:1");
        let digest = slipway_oci::Digest::of(b"");
        assert!(matches!(target(&format!("a@{digest}")), Err(TargetError::Digest)));
        assert!(target("X").unwrap_err().to_string().starts_with("parsing reference: \"X\" is not a valid"));
    }
}
