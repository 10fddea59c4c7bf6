//! What the caches on servers of objects have in common: one object a blob, one with the records of a cache.

use std::io::Read;
use std::time::Duration;

use slipway_registry::{ObjectAnswer, ObjectError};

use crate::{CacheError, FormatError, MAX_CONFIG_BYTES};

/// How much of an answer is read that is no object.
const MAX_ANSWER_BYTES: u64 = 64 << 10;

/// Why an object cannot be had or kept. The texts hold no URL: it may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum ObjectFailure {
    #[error(transparent)]
    NoAnswer(#[from] ObjectError),
    #[error("{what}: unexpected status {status}{detail}")]
    Status { what: String, status: u16, detail: String },
    #[error("{what}: the answer makes no sense")]
    Answer { what: String },
    #[error("{what}: it took longer than {limit:?}, which `timeout` allows")]
    TimedOut { what: String, limit: Duration },
}

/// The records of a cache.
pub(crate) fn read_records(answer: ObjectAnswer) -> Result<Vec<u8>, CacheError> {
    let mut bytes = Vec::new();
    answer.body.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes).map_err(CacheError::Read)?;
    match bytes.len() as u64 > MAX_CONFIG_BYTES {
        true => Err(FormatError::TooLarge { limit: MAX_CONFIG_BYTES }.into()),
        false => Ok(bytes),
    }
}

/// The answer, if the server did `what` it was asked to.
pub(crate) fn successful(answer: ObjectAnswer, what: impl Fn() -> String) -> Result<ObjectAnswer, ObjectFailure> {
    if answer.is_success() {
        return Ok(answer);
    }
    let status = answer.status;
    Err(ObjectFailure::Status { what: what(), status, detail: detail(&text(answer)) })
}

/// A short answer as text; empty if it is none.
pub(crate) fn text(answer: ObjectAnswer) -> String {
    let mut bytes = Vec::new();
    // Half an answer says as much as none.
    let _ = answer.body.take(MAX_ANSWER_BYTES).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What is between `start` and the next `end` in a document.
pub(crate) fn between<'a>(document: &'a str, start: &str, end: &str) -> Option<&'a str> {
    Some(document.split_once(start)?.1.split_once(end)?.0)
}

/// What an error document says: the `<Code>` of S3, the `"msg"` of the Actions service.
fn detail(document: &str) -> String {
    let found = between(document, "<Code>", "</Code>").or_else(|| between(document, "\"msg\":\"", "\""));
    let found = found.unwrap_or_default();
    let plain: String = found.chars().filter(|c| !c.is_control()).take(200).collect();
    if plain.is_empty() { plain } else { format!(": {plain}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_the_server_said() {
        assert_eq!(detail("<Error><Code>NoSuchBucket</Code></Error>"), ": NoSuchBucket");
        assert_eq!(detail(r#"{"code":"x","msg":"no\u001b"}"#), ": no\\u001b");
        assert_eq!(detail("<html>"), "");
    }
}
