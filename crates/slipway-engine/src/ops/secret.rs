//! The values of secrets, read when something asks for them and never kept.

use std::io::{self, Read};

use slipway_graph::request::{Secret, SecretSource};

/// Why a secret has no value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("cannot read secret {id}")]
    Read { id: String, source: io::Error },
    #[error("secret {id} too big. max size 500KiB")]
    TooBig { id: String },
}

const MAX_SECRET_BYTES: u64 = 500 * 1024;

/// The value of `secret`.
pub(super) fn value(secret: &Secret) -> Result<Vec<u8>, SecretError> {
    let value = match &secret.source {
        SecretSource::Value(value) => value.0.clone(),
        SecretSource::File(path) => {
            let error = |source| SecretError::Read { id: secret.id.clone(), source };
            let mut value = Vec::new();
            let file = std::fs::File::open(path).map_err(error)?;
            file.take(MAX_SECRET_BYTES + 1).read_to_end(&mut value).map_err(error)?;
            value
        }
    };
    match value.len() as u64 > MAX_SECRET_BYTES {
        true => Err(SecretError::TooBig { id: secret.id.clone() }),
        false => Ok(value),
    }
}

/// The value of the first of `ids` that the user gave, and which one it is.
pub(super) fn first<'a>(
    secrets: &[Secret],
    ids: impl IntoIterator<Item = (String, &'a str)>,
) -> Result<Option<(&'a str, Vec<u8>)>, SecretError> {
    for (id, meaning) in ids {
        if let Some(secret) = secrets.iter().find(|secret| secret.id == id) {
            return Ok(Some((meaning, value(secret)?)));
        }
    }
    Ok(None)
}
