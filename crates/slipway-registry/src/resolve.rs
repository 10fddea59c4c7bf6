//! Which manifest does a reference name right now?
//!
//! The bytes are what counts: their digest is computed here, and whatever the reference or the server claims has to
//! agree with it.

use slipway_oci::{Descriptor, Digest, IndexOrManifest, ManifestParseError, Reference, media_type};
use ureq::http::Method;

use crate::Registry;
use crate::auth::Scope;
use crate::client::{Request, Response};
use crate::failure::{Attempt, ErrorKind, Failure, kind_of, listed};
use crate::mirror::{Endpoint, first_that_helps};

/// The largest manifest that is read. Registries accept no larger ones (distribution spec, "Pushing Manifests").
const MAX_MANIFEST_BYTES: u64 = 4 << 20;

/// The kinds of manifest that this program understands.
const ACCEPTED: [&str; 4] =
    [media_type::OCI_INDEX, media_type::OCI_MANIFEST, media_type::DOCKER_INDEX, media_type::DOCKER_MANIFEST];

/// A manifest or index as a registry served it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedManifest {
    /// The digest of `bytes`.
    pub digest: Digest,
    /// As served; empty if the server did not say.
    pub media_type: String,
    pub bytes: Vec<u8>,
    /// `host[:port]` of the server that had it, a mirror's or the registry's own.
    pub served_by: String,
}

impl ResolvedManifest {
    /// Reads the bytes. Documents that could be taken for both an index and a manifest are refused.
    pub fn parse(&self) -> Result<IndexOrManifest, ManifestParseError> {
        IndexOrManifest::parse(&self.bytes, &self.media_type)
    }

    /// What points to this manifest.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(&self.media_type, self.digest.clone(), self.bytes.len() as u64)
    }
}

/// No server had the manifest.
#[derive(Debug, thiserror::Error)]
#[error("failed to resolve source metadata for {reference}: {}", outcome(.reference, .attempts))]
pub struct ResolveError {
    pub reference: Box<Reference>,
    /// What happened at each server, the registry itself last.
    pub attempts: Vec<Attempt>,
}

impl ResolveError {
    /// What kind of trouble it is, by the registry's own answer.
    pub fn kind(&self) -> ErrorKind {
        kind_of(&self.attempts)
    }
}

/// What all attempts come to, in the words of the reference builder where it is an image that is not there. A mirror's
/// word counts for that if the registry itself cannot be asked.
fn outcome(reference: &Reference, attempts: &[Attempt]) -> String {
    let is_missing = |attempt: &Attempt| matches!(attempt.failure, Failure::NotFound);
    let is_missing = match attempts {
        [only] if is_missing(only) => return format!("{reference}: not found"),
        [.., last] if matches!(last.failure, Failure::Unreachable { .. }) => attempts.iter().any(is_missing),
        [.., last] => is_missing(last),
        [] => false,
    };
    let listed = listed(attempts);
    if is_missing { format!("{reference}: not found ({listed})") } else { listed }
}

impl Registry {
    /// The manifest that `reference` names: by its digest if it has one, else by its tag, else `latest`.
    pub fn resolve(&self, reference: &Reference) -> Result<ResolvedManifest, ResolveError> {
        self.at_each_server(reference, |endpoint| self.fetch_manifest(endpoint, reference))
    }

    /// The manifest with this digest in the repository of `reference`, such as one that an index lists.
    pub fn manifest(&self, reference: &Reference, digest: &Digest) -> Result<ResolvedManifest, ResolveError> {
        self.resolve(&reference.with_digest(digest.clone()))
    }

    /// The descriptor of what `reference` names, without its bytes where the server allows that.
    ///
    /// Cheaper than [`Registry::resolve`] in time and in the rate limits of public registries. The digest is the
    /// server's word: whoever then fetches the bytes gets them checked against it.
    pub fn resolve_descriptor(&self, reference: &Reference) -> Result<Descriptor, ResolveError> {
        self.at_each_server(reference, |endpoint| {
            let response = self.ask_for_manifest(endpoint, reference, Method::HEAD)?;
            let stated = stated_digest(&response)?;
            match (stated, response.content_length()) {
                (Some(digest), Some(size_bytes)) => {
                    check_digest(reference.digest(), &digest)?;
                    Ok(Descriptor::new(&content_type(&response), digest, size_bytes))
                }
                _ => Ok(self.fetch_manifest(endpoint, reference)?.descriptor()),
            }
        })
    }

    fn at_each_server<T>(
        &self,
        reference: &Reference,
        ask: impl FnMut(&Endpoint) -> Result<T, Failure>,
    ) -> Result<T, ResolveError> {
        first_that_helps(&self.shared.config, &self.shared.dead_mirrors, reference, ask)
            .map_err(|attempts| ResolveError { reference: Box::new(reference.with_default_tag()), attempts })
    }

    /// The manifest, asked for a second time if the connection breaks in the middle of it.
    fn fetch_manifest(&self, endpoint: &Endpoint, reference: &Reference) -> Result<ResolvedManifest, Failure> {
        let ask = || self.ask_for_manifest(endpoint, reference, Method::GET);
        match read_manifest(endpoint, reference.digest(), ask()?) {
            Err(Failure::Unreachable { .. }) => read_manifest(endpoint, reference.digest(), ask()?),
            outcome => outcome,
        }
    }

    fn ask_for_manifest(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        method: Method,
    ) -> Result<Response, Failure> {
        let name = match reference.digest() {
            Some(digest) => digest.as_str(),
            None => reference.tag_or_latest().expect("because a reference without a digest has a tag or `latest`"),
        };
        let scope = Scope::pull(reference.repository());
        let uri = endpoint.url(reference.repository(), &format!("manifests/{name}"))?;
        let request = Request::new(method, uri).header("Accept", ACCEPTED.join(", "));
        let response = self.send(endpoint, &scope, request)?;
        if response.is_success() { Ok(response) } else { Err(self.refusal(endpoint, &scope, response)) }
    }
}

fn read_manifest(
    endpoint: &Endpoint,
    wanted: Option<&Digest>,
    response: Response,
) -> Result<ResolvedManifest, Failure> {
    let stated = stated_digest(&response)?;
    let media_type = content_type(&response);
    let bytes = response.read_at_most(MAX_MANIFEST_BYTES)?;
    let digest = Digest::of(&bytes);
    check_digest(wanted, &digest)?;
    check_digest(stated.as_ref(), &digest)?;
    Ok(ResolvedManifest { digest, media_type, bytes, served_by: endpoint.origin.to_string() })
}

fn check_digest(wanted: Option<&Digest>, found: &Digest) -> Result<(), Failure> {
    match wanted {
        Some(wanted) if wanted != found => {
            Err(Failure::DigestMismatch { wanted: wanted.clone(), found: found.clone() })
        }
        _ => Ok(()),
    }
}

/// The `Docker-Content-Digest` header, which registries may leave out.
fn stated_digest(response: &Response) -> Result<Option<Digest>, Failure> {
    match response.header("docker-content-digest").map(str::parse) {
        None => Ok(None),
        Some(Ok(digest)) => Ok(Some(digest)),
        Some(Err(error)) => Err(Failure::Protocol(format!("in `Docker-Content-Digest`: {error}"))),
    }
}

/// The media type without parameters such as `; charset=utf-8`.
fn content_type(response: &Response) -> String {
    let text = response.header("content-type").unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_owned()
}
