//! `slipway tag`: another name for an image of the store.

use slipway_oci::{Reference, ReferenceParseError};

use crate::cli::images::TagArgs;
use crate::commands::local_images::{find, open_store, said, told};
use crate::report::CommandError;

/// Why a text is no name, or none that can be given.
#[derive(Debug, thiserror::Error)]
enum TagError {
    #[error("Error parsing reference: {name:?} is not a valid repository/tag")]
    Format { name: String, source: ReferenceParseError },
    #[error("refusing to create a tag with a digest reference")]
    Digest,
}

/// Names the image.
pub(crate) fn run(args: &TagArgs) -> Result<(), CommandError> {
    // An id may be no name, and then is looked for as one.
    if !is_id(&args.source) {
        name(&args.source).map_err(|error| said(&error))?;
    }
    let target = target(&args.target).map_err(|error| said(&error))?;
    let store = open_store()?;
    let image = find(&store, &args.source).map_err(|error| told(&error))?;
    store.name_image(&target, &image.record).map_err(|error| told(&error))
}

fn is_id(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn name(text: &str) -> Result<Reference, TagError> {
    text.parse().map_err(|source| TagError::Format { name: text.to_owned(), source })
}

fn target(text: &str) -> Result<Reference, TagError> {
    let name = name(text)?;
    if name.digest().is_some() { Err(TagError::Digest) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_digests_are_no_targets() {
        assert_eq!(target("a/b:1").unwrap().familiar(), "a/b:1");
        let digest = slipway_oci::Digest::of(b"");
        assert!(matches!(target(&format!("a@{digest}")), Err(TagError::Digest)));
        assert!(target("X").unwrap_err().to_string().starts_with("Error parsing reference: \"X\" is not a valid"));
    }
}
