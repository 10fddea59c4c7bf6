//! The distribution protocol: resolve, pull, push, log in; owns the one HTTP client, which `ADD <url>` borrows.
//!
//! ```text
//! Registry::resolve(reference)      resolve.rs      tag or digest  -> the manifest's bytes, checked
//! Registry::blob(descriptor)        pull.rs         digest         -> a stream that fails unless the bytes are right
//!                                   chunks.rs       a large one over several connections
//! Registry::push_blob, push_manifest  push.rs
//! Registry::referrers       referrers.rs    digest         -> what others say about it
//! Registry::check_login, LoginFile  login.rs    is this password good, and where is it kept?
//! Registry::fetch_url               http_source.rs  any URL, without credentials of registries
//! Registry::object                  objects.rs      the same for who signs requests: caches in S3 and the like
//!     each of them asks             mirror.rs       which servers, in which order
//!     through                       auth.rs         which `Authorization` header (challenge.rs, credentials.rs)
//!     through                       client.rs       redirects, retries, certificates.rs, proxies (proxy.rs), patience.rs
//! ```
//!
//! Blocking calls on `&self`; a [`Registry`] is cheap to clone and may be used by any number of threads. Nothing here
//! reads an environment variable: [`ClientConfig`] carries what the caller found there.

mod auth;
mod certificates;
mod challenge;
mod chunks;
mod client;
mod credentials;
mod failure;
mod http_source;
mod login;
mod mirror;
mod objects;
mod origin;
mod patience;
mod proxy;
mod pull;
mod push;
mod referrers;
mod resolve;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::auth::{Authenticator, Scope};
use crate::chunks::ChunkBuffers;
use crate::client::{HttpClient, Request, Response};
use crate::credentials::CredentialStore;
use crate::mirror::{DeadMirrors, Endpoint};
use crate::patience::Patience;

pub use client::{ClientConfig, HostTls};
pub use credentials::{ConfigFileError, CredentialError, HelperError, KeptLogin};
pub use failure::{Attempt, ErrorKind, Failure, Operation};
pub use http_source::{FetchError, UrlBody, UrlRequest, UrlResponse};
pub use login::{KnownLogin, LoginError, LoginFile, LoginServer};
pub use objects::{ObjectAnswer, ObjectBody, ObjectError, ObjectMethod, ObjectRequest};
pub use origin::query_escaped;
pub use pull::{BlobError, BlobReader};
pub use push::{BlobPush, PushError};
pub use referrers::{Referrer, ReferrersError};
pub use resolve::{ResolveError, ResolvedManifest};

/// More than any registry has to say.
const MAX_NOTICES: usize = 20;
const MAX_NOTICE_CHARACTERS: usize = 500;

/// A client of image registries: connections, credentials and tokens of one run of the program.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

#[derive(Clone)]
struct Shared {
    config: ClientConfig,
    http: HttpClient,
    auth: Arc<Authenticator>,
    dead_mirrors: Arc<DeadMirrors>,
    chunk_buffers: Arc<ChunkBuffers>,
    /// What registries want to be told to the user, each once.
    notices: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    /// A client that has not contacted, read or run anything yet.
    pub fn new(config: ClientConfig) -> Registry {
        let credentials = CredentialStore::new(&config);
        Registry::with_credentials(config, credentials)
    }

    fn with_credentials(config: ClientConfig, credentials: CredentialStore) -> Registry {
        Registry {
            shared: Arc::new(Shared {
                http: HttpClient::new(),
                auth: Arc::new(Authenticator::new(credentials)),
                dead_mirrors: Arc::default(),
                chunk_buffers: Arc::default(),
                notices: Arc::default(),
                config,
            }),
        }
    }

    /// The same client for what can be done without: a server that says nothing for as long as `limit` is given up.
    pub fn with_silence_limit(&self, limit: Duration) -> Registry {
        let http = self.shared.http.with_patience(Patience::new(limit));
        Registry { shared: Arc::new(Shared { http, ..Shared::clone(&self.shared) }) }
    }

    /// Whether no connection is made.
    pub fn is_offline(&self) -> bool {
        self.shared.config.is_offline
    }

    /// What went wrong while looking for credentials so far, and what registries have to say: whole sentences for the
    /// user, who may have got along anonymously.
    pub fn warnings(&self) -> Vec<String> {
        let notices = self.shared.notices.lock().expect("because nothing panics while it is held");
        [self.shared.auth.credentials().warnings(), notices.clone()].concat()
    }

    /// Sends `request` to `endpoint` with authorization for `scope`; any status is an answer.
    fn send(&self, endpoint: &Endpoint, scope: &Scope, request: Request<'_>) -> Result<Response, Failure> {
        let response = self.shared.auth.send(&self.shared.http, &self.shared.config, endpoint, scope, request)?;
        self.note_warnings(endpoint, &response);
        Ok(response)
    }

    /// Keeps what a registry wants people to know (distribution spec, "Warnings").
    fn note_warnings(&self, endpoint: &Endpoint, response: &Response) {
        let texts = response.headers.get_all("warning").iter().filter_map(|value| value.to_str().ok());
        for text in texts.filter_map(warning_text) {
            let notice = format!("{} says: {text}", endpoint.origin);
            let mut notices = self.shared.notices.lock().expect("because nothing panics while it is held");
            if notices.len() < MAX_NOTICES && !notices.contains(&notice) {
                notices.push(notice);
            }
        }
    }

    /// The failure that an unwanted answer from `endpoint` stands for.
    fn refusal(&self, endpoint: &Endpoint, scope: &Scope, response: Response) -> Failure {
        Failure::of_response(response, scope.operation())
            .with_note(self.shared.auth.note(&self.shared.config, endpoint))
    }
}

/// The text of a header such as `299 - "the image will be removed"`. Nothing in it writes to a terminal.
fn warning_text(header: &str) -> Option<String> {
    let quoted = header.trim().strip_prefix("299 - \"")?.strip_suffix('"')?;
    let text = quoted.replace("\\\"", "\"").replace("\\\\", "\\");
    Some(text.chars().filter(|c| !c.is_control()).take(MAX_NOTICE_CHARACTERS).collect())
}

#[cfg(test)]
mod tests {
    use super::warning_text;

    #[test]
    fn warnings_are_read() {
        assert_eq!(warning_text(r#"299 - "it \"goes\"""#).as_deref(), Some("it \"goes\""));
        assert_eq!(warning_text("299 - \"a\u{1b}[31mb\"").as_deref(), Some("a[31mb"));
        for other in ["", "199 - \"x\"", "299 - x", "299 host \"x\""] {
            assert_eq!(warning_text(other), None, "{other}");
        }
    }
}
