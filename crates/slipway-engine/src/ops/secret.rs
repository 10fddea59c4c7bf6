//! The values of secrets, read when something asks for them and never kept.

use std::io::{self, Read};

use ring::hmac;
use slipway_graph::request::{Secret, SecretSource};
use slipway_store::{FsError, Store};

/// Why a secret has no value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("cannot read secret {id}")]
    Read { id: String, source: io::Error },
    #[error("secret {id} too big. max size 500KiB")]
    TooBig { id: String },
    #[error("cannot make a fingerprint of secret {id}")]
    Fingerprint { id: String, source: FsError },
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

/// What stands for the value in keys: an HMAC, the same for the same value, from which nobody without the store's own
/// key finds out anything, not even by trying values.
pub(super) fn fingerprint(secret: &Secret, store: &Store) -> Result<String, SecretError> {
    let value = value(secret)?;
    let key = store.private_key();
    let key = key.map_err(|source| SecretError::Fingerprint { id: secret.id.clone(), source })?;
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &key));
    for part in [b"secret 1", secret.id.as_bytes(), &value] {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    Ok(context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
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
