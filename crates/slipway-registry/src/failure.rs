//! Why did one host not do what it was asked? The reasons that all operations share, and what a caller makes of them.

use std::fmt;
use std::time::Duration;

use slipway_oci::Digest;

use crate::client::Response;

/// How much of an error body is read; the rest could be anything.
const ERROR_BODY_BYTES: u64 = 64 << 10;

/// What kind of trouble an error is, for exit codes and for deciding whether another source may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The registry answered: there is no such thing.
    NotFound,
    /// The registry wants other credentials, or does not tell strangers what exists.
    Denied,
    /// Network, disk, certificates or a server in trouble: the same request may work later.
    Environment,
    /// The server's bytes are not what they claim to be, or break the protocol.
    Invalid,
}

/// The reason why one host failed. The text does not name the host: the error around it does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("not found")]
    NotFound,
    #[error("{operation} access denied, repository does not exist or may require authorization{}", suffix(.detail))]
    Denied {
        operation: Operation,
        /// What the server said, and why credentials were not used if they were not; empty where unknown.
        detail: String,
    },
    #[error("unexpected status {status}{}", suffix(.detail))]
    Status { status: u16, detail: String },
    /// The caller wants no connection.
    #[error("not asked, because of `--offline`")]
    Offline,
    #[error("cannot be reached: {reason}")]
    Unreachable { reason: String },
    /// It is not asked again.
    #[error("it said nothing for {limit:?}")]
    Silent { limit: Duration },
    #[error("the answer is longer than {limit_bytes} bytes")]
    TooLarge { limit_bytes: u64 },
    #[error("wanted `{wanted}`, got bytes with digest `{found}`")]
    DigestMismatch { wanted: Digest, found: Digest },
    #[error("wanted {wanted_bytes} bytes, got {found_bytes}")]
    SizeMismatch { wanted_bytes: u64, found_bytes: u64 },
    /// The server said something that the distribution spec does not allow.
    #[error("{0}")]
    Protocol(String),
    /// Bytes to send could not be read on this side.
    #[error("cannot read the blob to push: {reason}")]
    Source { reason: String },
    /// Certificates or proxies in the configuration cannot be used.
    #[error("{0}")]
    Configuration(String),
}

/// What was asked of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Pull,
    Push,
    LogIn,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operation::Pull => "pull",
            Operation::Push => "push",
            Operation::LogIn => "login",
        })
    }
}

impl Failure {
    /// What kind of trouble this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Failure::NotFound => ErrorKind::NotFound,
            Failure::Denied { .. } => ErrorKind::Denied,
            Failure::Status { .. }
            | Failure::Offline
            | Failure::Unreachable { .. }
            | Failure::Silent { .. }
            | Failure::Source { .. }
            | Failure::Configuration(_) => ErrorKind::Environment,
            Failure::TooLarge { .. }
            | Failure::DigestMismatch { .. }
            | Failure::SizeMismatch { .. }
            | Failure::Protocol(_) => ErrorKind::Invalid,
        }
    }

    /// The failure that an unwanted answer to `operation` stands for.
    pub(crate) fn of_response(response: Response, operation: Operation) -> Failure {
        let status = response.status;
        if status == 404 {
            return Failure::NotFound;
        }
        let detail = error_detail(&response.read_at_most(ERROR_BODY_BYTES).unwrap_or_default());
        match status {
            401 | 403 => Failure::Denied { operation, detail },
            _ => Failure::Status { status, detail },
        }
    }

    /// Adds `note` to what a denied access says; other failures stay as they are.
    pub(crate) fn with_note(self, note: Option<String>) -> Failure {
        match (self, note) {
            (Failure::Denied { operation, detail }, Some(note)) => {
                let detail = if detail.is_empty() { note } else { format!("{detail}; {note}") };
                Failure::Denied { operation, detail }
            }
            (other, _) => other,
        }
    }
}

/// One host that was asked, and why it did not help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// `host[:port]` of the server, a mirror's or the registry's own.
    pub host: String,
    pub failure: Failure,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.host, self.failure)
    }
}

/// Every attempt, mirrors first, in one line.
pub(crate) fn listed(attempts: &[Attempt]) -> String {
    attempts.iter().map(Attempt::to_string).collect::<Vec<_>>().join("; ")
}

/// The kind of the last attempt: the registry itself, which knows better than its mirrors.
pub(crate) fn kind_of(attempts: &[Attempt]) -> ErrorKind {
    attempts.last().map_or(ErrorKind::Environment, |attempt| attempt.failure.kind())
}

fn suffix(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(": {detail}") }
}

/// The readable part of a registry's error document (distribution spec, "Error Codes"), in one line.
fn error_detail(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Errors {
        #[serde(default)]
        errors: Vec<OneError>,
        #[serde(default)]
        details: Option<String>,
    }
    #[derive(serde::Deserialize)]
    struct OneError {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(document) = serde_json::from_slice::<Errors>(body) else { return String::new() };
    let mut details: Vec<String> = document
        .errors
        .into_iter()
        .map(|error| match (error.code.to_lowercase(), error.message) {
            (code, message) if message.is_empty() => code,
            (code, message) if code.is_empty() => message,
            (code, message) => format!("{code}: {message}"),
        })
        .collect();
    details.extend(document.details);
    // Control characters would let a server write to the terminal.
    details.join(", ").chars().filter(|c| !c.is_control()).take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_documents_are_read() {
        let body = br#"{"errors":[{"code":"DENIED","message":"no \u001b[31mred","detail":[1]}]}"#;
        assert_eq!(error_detail(body), "denied: no [31mred");
        assert_eq!(error_detail(b"<html>"), "");
        assert_eq!(error_detail(br#"{"details":"incorrect username or password"}"#), "incorrect username or password");
    }

    #[test]
    fn the_note_explains_a_denial_only() {
        let denied = Failure::Denied { operation: Operation::Pull, detail: String::new() };
        assert_eq!(
            denied.with_note(Some("because".into())).to_string(),
            "pull access denied, repository does not exist or may require authorization: because"
        );
        assert_eq!(Failure::NotFound.with_note(Some("because".into())), Failure::NotFound);
    }
}
