//! The distribution protocol: resolve, pull, push, log in; owns the one HTTP client, which `ADD <url>` borrows.
//!
//! ```text
//! Registry::resolve(reference)      resolve.rs      tag or digest  -> the manifest's bytes, checked
//! Registry::blob(descriptor)        pull.rs         digest         -> a stream that fails unless the bytes are right
//! Registry::push_blob, push_manifest  push.rs
//! Registry::referrers       referrers.rs    digest         -> what others say about it
//! Registry::check_login, LoginFile  login.rs    is this password good, and where is it kept?
//! Registry::fetch_url               http_source.rs  any URL, without credentials of registries
//! Registry::object                  objects.rs      the same for who signs requests: caches in S3 and the like
//!     each of them asks             mirror.rs       which servers, in which order
//!     through                       auth.rs         which `Authorization` header (challenge.rs, credentials.rs)
//!     through                       client.rs       redirects, retries, certificates, proxies (proxy.rs)
//! ```
//!
//! Blocking calls on `&self`; a [`Registry`] is cheap to clone and may be used by any number of threads. Nothing here
//! reads an environment variable: [`ClientConfig`] carries what the caller found there.

mod auth;
mod challenge;
mod client;
mod credentials;
mod failure;
mod http_source;
mod login;
mod mirror;
mod objects;
mod origin;
mod proxy;
mod pull;
mod push;
mod referrers;
mod resolve;

use std::sync::Arc;

use crate::auth::{Authenticator, Scope};
use crate::client::{HttpClient, Request, Response};
use crate::credentials::CredentialStore;
use crate::mirror::{DeadMirrors, Endpoint};

pub use client::ClientConfig;
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

/// A client of image registries: connections, credentials and tokens of one run of the program.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

struct Shared {
    config: ClientConfig,
    http: HttpClient,
    auth: Authenticator,
    dead_mirrors: DeadMirrors,
}

impl Registry {
    /// A client that has not contacted, read or run anything yet.
    pub fn new(config: ClientConfig) -> Registry {
        let credentials = CredentialStore::new(&config);
        Registry {
            shared: Arc::new(Shared {
                http: HttpClient::new(),
                auth: Authenticator::new(credentials),
                dead_mirrors: DeadMirrors::default(),
                config,
            }),
        }
    }

    /// Whether no connection is made.
    pub fn is_offline(&self) -> bool {
        self.shared.config.is_offline
    }

    /// What went wrong while looking for credentials so far: whole sentences for the user, who may have got along
    /// anonymously.
    pub fn warnings(&self) -> Vec<String> {
        self.shared.auth.credentials().warnings()
    }

    /// Sends `request` to `endpoint` with authorization for `scope`; any status is an answer.
    fn send(&self, endpoint: &Endpoint, scope: &Scope, request: Request<'_>) -> Result<Response, Failure> {
        self.shared.auth.send(&self.shared.http, &self.shared.config, endpoint, scope, request)
    }

    /// The failure that an unwanted answer from `endpoint` stands for.
    fn refusal(&self, endpoint: &Endpoint, scope: &Scope, response: Response) -> Failure {
        Failure::of_response(response, scope.operation())
            .with_note(self.shared.auth.note(&self.shared.config, endpoint))
    }
}
