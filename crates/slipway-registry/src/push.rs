//! How do blobs and manifests get to a registry?
//!
//! A blob that is there already is not sent, one that another repository of the registry has is mounted from there,
//! and everything else goes up in one PUT (distribution spec, "POST then PUT"), which every registry understands.
//! Mirrors are for reading only: pushes go to the registry itself.

use std::io::{self, Read};
use std::thread;

use slipway_oci::{Descriptor, Digest, Reference};
use ureq::http::{Method, Uri};

use crate::Registry;
use crate::auth::Scope;
use crate::client::{Request, RequestBody, Response, may_pass};
use crate::failure::{ErrorKind, Failure};
use crate::mirror::Endpoint;
use crate::origin::{Origin, query_escaped, resolve_location};

/// How often an upload is started anew after a failure that may pass.
const MAX_UPLOADS: u32 = 4;

/// How a blob came to be in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobPush {
    /// It was there before.
    Existed,
    /// The registry took it from another of its repositories.
    Mounted,
    /// Its bytes were sent.
    Uploaded,
}

/// A blob or manifest could not be pushed.
#[derive(Debug, thiserror::Error)]
#[error("cannot push {what} to `{reference}`: {host}: {failure}")]
pub struct PushError {
    /// ``blob `sha256:…` `` or `the manifest`.
    pub what: String,
    pub reference: Box<Reference>,
    /// `host[:port]` of the server.
    pub host: String,
    pub failure: Failure,
}

impl PushError {
    /// What kind of trouble it is.
    pub fn kind(&self) -> ErrorKind {
        self.failure.kind()
    }
}

impl Registry {
    /// Makes sure that the repository of `reference` has the blob that `descriptor` points to.
    ///
    /// `source` opens the blob's bytes from the start; it is called once for each time that they have to be sent.
    /// `mount_from` is another reference known to have the blob, of use if it is on the same registry host.
    pub fn push_blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        source: impl Fn() -> io::Result<Box<dyn Read + Send>>,
        mount_from: Option<&Reference>,
    ) -> Result<BlobPush, PushError> {
        self.at_registry(
            reference,
            || format!("blob `{}`", descriptor.digest),
            |endpoint| {
                let mount_from = mount_from
                    .filter(|from| from.host() == reference.host() && from.repository() != reference.repository())
                    .map(Reference::repository);
                let scope = Scope::push(reference.repository(), mount_from);
                let upload = Upload { registry: self, endpoint, scope, repository: reference.repository(), descriptor };
                upload.run(&source, mount_from)
            },
        )
    }

    /// Stores a manifest or index under the tag of `reference`, or under its digest alone if there is no tag.
    ///
    /// Everything that it points to has to be in the repository already.
    pub fn push_manifest(&self, reference: &Reference, media_type: &str, bytes: &[u8]) -> Result<Digest, PushError> {
        self.put_manifest(reference, media_type, bytes).map(|(digest, _)| digest)
    }

    /// [`Self::push_manifest`], and whether the registry has added it to the list of what refers to its subject.
    pub(crate) fn put_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(Digest, bool), PushError> {
        let digest = Digest::of(bytes);
        self.at_registry(
            reference,
            || "the manifest".to_owned(),
            |endpoint| {
                if let Some(wanted) = reference.digest().filter(|wanted| **wanted != digest) {
                    return Err(Failure::DigestMismatch { wanted: wanted.clone(), found: digest.clone() });
                }
                let scope = Scope::push(reference.repository(), None);
                let name = reference.tag().unwrap_or(digest.as_str());
                let uri = endpoint.url(reference.repository(), &format!("manifests/{name}"))?;
                let request = Request {
                    body: RequestBody::Bytes(bytes),
                    ..Request::new(Method::PUT, uri).header("Content-Type", media_type)
                };
                let response = self.send(endpoint, &scope, request)?;
                if !response.is_success() {
                    return Err(self.refusal(endpoint, &scope, response));
                }
                match response.header("docker-content-digest").and_then(|text| text.parse::<Digest>().ok()) {
                    Some(found) if found != digest => Err(Failure::DigestMismatch { wanted: digest.clone(), found }),
                    _ => Ok((digest.clone(), response.header("oci-subject").is_some())),
                }
            },
        )
    }

    /// Calls `push` with the server of `reference`, and says in errors what was pushed where.
    fn at_registry<T>(
        &self,
        reference: &Reference,
        what: impl Fn() -> String,
        push: impl FnOnce(&Endpoint) -> Result<T, Failure>,
    ) -> Result<T, PushError> {
        let endpoint = Endpoint::of_host(&self.shared.config, reference.host());
        let host = endpoint.as_ref().map_or(reference.host().to_owned(), |endpoint| endpoint.origin.to_string());
        endpoint.and_then(|endpoint| push(&endpoint)).map_err(|failure| PushError {
            what: what(),
            reference: Box::new(reference.clone()),
            host,
            failure,
        })
    }
}

/// One blob on its way to one server.
struct Upload<'a> {
    registry: &'a Registry,
    endpoint: &'a Endpoint,
    scope: Scope,
    repository: &'a str,
    descriptor: &'a Descriptor,
}

/// What a registry answers to the start of an upload.
enum Start {
    Mounted,
    SendTo(Uri),
}

impl Upload<'_> {
    fn run(
        &self,
        source: &dyn Fn() -> io::Result<Box<dyn Read + Send>>,
        mount_from: Option<&str>,
    ) -> Result<BlobPush, Failure> {
        if self.exists()? {
            return Ok(BlobPush::Existed);
        }
        let mut wait = self.registry.shared.config.first_wait;
        for n_uploads in 1.. {
            let failure = match self.start(mount_from)? {
                Start::Mounted => return Ok(BlobPush::Mounted),
                Start::SendTo(location) => match self.send(&location, source) {
                    Ok(()) => return Ok(BlobPush::Uploaded),
                    Err(failure) => failure,
                },
            };
            if n_uploads == MAX_UPLOADS || !is_worth_another_upload(&failure) {
                return Err(failure);
            }
            thread::sleep(wait);
            wait *= 2;
        }
        unreachable!("because the loop ends by returning")
    }

    fn exists(&self) -> Result<bool, Failure> {
        let uri = self.endpoint.url(self.repository, &format!("blobs/{}", self.descriptor.digest))?;
        let response = self.registry.send(self.endpoint, &self.scope, Request::new(Method::HEAD, uri))?;
        match response.status {
            200..300 => Ok(true),
            404 => Ok(false),
            _ => Err(self.registry.refusal(self.endpoint, &self.scope, response)),
        }
    }

    /// Asks for a place to send the blob to, or for it to be mounted.
    fn start(&self, mount_from: Option<&str>) -> Result<Start, Failure> {
        let query = mount_from.map_or(String::new(), |from| {
            format!("?mount={}&from={}", query_escaped(self.descriptor.digest.as_str()), query_escaped(from))
        });
        let uri = self.endpoint.url(self.repository, &format!("blobs/uploads/{query}"))?;
        let request = Request { body: RequestBody::Bytes(&[]), ..Request::new(Method::POST, uri) };
        let response = self.registry.send(self.endpoint, &self.scope, request)?;
        match response.status {
            201 => Ok(Start::Mounted),
            202 => self.upload_location(&response).map(Start::SendTo),
            // A registry that may not read the other repository refuses the mount, but may well take the bytes.
            401 | 403 if mount_from.is_some() => self.start(None),
            _ => Err(self.registry.refusal(self.endpoint, &self.scope, response)),
        }
    }

    /// Where the bytes are to be sent to: the `Location` with the digest added to its query.
    fn upload_location(&self, response: &Response) -> Result<Uri, Failure> {
        let location = response
            .header("location")
            .ok_or_else(|| Failure::Protocol("an upload without a `Location`".to_owned()))?;
        let separator = if location.contains('?') { '&' } else { '?' };
        let digest = query_escaped(self.descriptor.digest.as_str());
        resolve_location(&response.uri, &format!("{location}{separator}digest={digest}"))
            .and_then(|uri| self.with_own_scheme(uri))
            .ok_or_else(|| Failure::Protocol("an upload `Location` that is no URL".to_owned()))
    }

    /// Registries behind a TLS proxy may think that they speak plain HTTP and say so in `Location`. On their own host
    /// that means https.
    fn with_own_scheme(&self, uri: Uri) -> Option<Uri> {
        let origin = Origin::of(&uri)?;
        let own = &self.endpoint.origin;
        let is_downgrade = own.is_https() && !origin.is_https() && origin.host() == own.host();
        match uri.path_and_query() {
            Some(path) if is_downgrade => format!("{}{path}", own.base_url()).parse().ok(),
            _ => Some(uri),
        }
    }

    fn send(&self, location: &Uri, source: &dyn Fn() -> io::Result<Box<dyn Read + Send>>) -> Result<(), Failure> {
        let reader = source().map_err(|error| Failure::Source { reason: error.to_string() })?;
        let mut reader = ExactReader { reader, n_left: self.descriptor.size, failure: None };
        let request = Request {
            body: RequestBody::Stream(&mut reader, self.descriptor.size),
            ..Request::new(Method::PUT, location.clone()).header("Content-Type", "application/octet-stream")
        };
        let outcome = self.registry.send(self.endpoint, &self.scope, request);
        if let Some(reason) = reader.failure {
            return Err(Failure::Source { reason });
        }
        let response = outcome?;
        if response.is_success() {
            return Ok(());
        }
        // What is missing is the upload, which registries forget after a while or after a restart.
        if response.status == 404 {
            return Err(Failure::Status { status: 404, detail: "the upload is unknown".to_owned() });
        }
        Err(self.registry.refusal(self.endpoint, &self.scope, response))
    }
}

/// Whether sending the same bytes again may work: a token may have ended midway, a server restarted.
fn is_worth_another_upload(failure: &Failure) -> bool {
    match failure {
        Failure::Unreachable { .. } | Failure::Denied { .. } => true,
        Failure::Status { status, .. } => may_pass(*status) || *status == 404,
        _ => false,
    }
}

/// Hands out exactly the promised number of bytes, and remembers why it could not.
struct ExactReader {
    reader: Box<dyn Read + Send>,
    n_left: u64,
    failure: Option<String>,
}

impl Read for ExactReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.n_left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let n_wanted = usize::try_from(self.n_left).map_or(buffer.len(), |n_left| n_left.min(buffer.len()));
        let outcome = match self.reader.read(&mut buffer[..n_wanted]) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{} bytes are missing", self.n_left))),
            other => other,
        };
        match outcome {
            Ok(n) => {
                self.n_left -= n as u64;
                Ok(n)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.failure = Some(error.to_string());
                Err(error)
            }
        }
    }
}
