//! What do others say about an image? Signatures and the like point to it by their `subject` (distribution spec,
//! "Listing Referrers"). Registries that do not keep lists of them have an index under a tag that is made of the digest.

use slipway_oci::{Descriptor, Digest, IndexOrManifest, Reference, media_type};
use ureq::http::{Method, Uri};

use crate::auth::Scope;
use crate::client::Request;
use crate::failure::{ErrorKind, Failure};
use crate::mirror::Endpoint;
use crate::origin::resolve_location;
use crate::{PushError, Registry, ResolveError};

/// The largest page of a list.
const MAX_LIST_BYTES: u64 = 4 << 20;
/// More pages than anybody has signatures for.
const MAX_PAGES: usize = 100;

/// Something that is about an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    pub descriptor: Descriptor,
    /// What kind of thing it is.
    pub artifact_type: Option<String>,
}

/// The list cannot be had, or not be changed.
#[derive(Debug, thiserror::Error)]
pub enum ReferrersError {
    #[error("cannot list what refers to `{reference}`: {host}: {failure}")]
    List { reference: Box<Reference>, host: String, failure: Failure },
    #[error("cannot read the list of what refers to `{0}`")]
    Index(Box<Reference>, #[source] serde_json::Error),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Push(#[from] PushError),
}

impl Registry {
    /// What refers to the manifest with this digest in the repository of `reference`.
    pub fn referrers(&self, reference: &Reference, digest: &Digest) -> Result<Vec<Referrer>, ReferrersError> {
        let listed = Endpoint::of_host(&self.shared.config, reference.host())
            .and_then(|endpoint| self.listed_referrers(&endpoint, reference, digest));
        let list = match listed {
            Ok(Some(pages)) => pages,
            Ok(None) => match self.resolve(&fallback(reference, digest)) {
                Ok(found) => vec![found.bytes],
                Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
                Err(error) => return Err(error.into()),
            },
            Err(failure) => {
                let host = reference.host().to_owned();
                return Err(ReferrersError::List { reference: Box::new(reference.clone()), host, failure });
            }
        };
        let mut found = Vec::new();
        for page in list {
            let page: List = serde_json::from_slice(&page)
                .map_err(|error| ReferrersError::Index(Box::new(reference.clone()), error))?;
            found.extend(
                page.manifests
                    .into_iter()
                    .map(|entry| Referrer { artifact_type: entry.artifact_type, descriptor: entry.descriptor }),
            );
        }
        Ok(found)
    }

    /// The pages of the registry's own list; `None` if it keeps none.
    fn listed_referrers(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        digest: &Digest,
    ) -> Result<Option<Vec<Vec<u8>>>, Failure> {
        let scope = Scope::pull(reference.repository());
        let mut next = Some(endpoint.url(reference.repository(), &format!("referrers/{digest}"))?);
        let mut pages = Vec::new();
        while let Some(uri) = next.take().filter(|_| pages.len() < MAX_PAGES) {
            let request = Request::new(Method::GET, uri.clone()).header("Accept", media_type::OCI_INDEX);
            let response = self.send(endpoint, &scope, request)?;
            match response.status {
                200 => {}
                // Registries from before the list was invented; some take `referrers` for a part of a name.
                400 | 404 | 405 if pages.is_empty() => return Ok(None),
                _ => return Err(self.refusal(endpoint, &scope, response)),
            }
            next = response.header("link").and_then(|link| next_page(&uri, link));
            pages.push(response.read_at_most(MAX_LIST_BYTES)?);
        }
        Ok(Some(pages))
    }

    /// Stores a manifest that has a `subject` in the repository of `reference`, and makes sure that it is found from there.
    pub fn push_referrer(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, ReferrersError> {
        let digest = Digest::of(bytes);
        let (_, is_listed) = self.put_manifest(&reference.at_digest(digest.clone()), media_type, bytes)?;
        let Ok(IndexOrManifest::Manifest(manifest)) = IndexOrManifest::parse(bytes, "") else { return Ok(digest) };
        let Some(subject) = manifest.subject.filter(|_| !is_listed) else { return Ok(digest) };
        let tag = fallback(reference, &subject.digest);
        let bad_index = |error| ReferrersError::Index(Box::new(tag.clone()), error);
        let mut index: serde_json::Value = match self.resolve(&tag) {
            Ok(found) => serde_json::from_slice(&found.bytes).map_err(bad_index)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                serde_json::json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [] })
            }
            Err(error) => return Err(error.into()),
        };
        let mut entry = serde_json::json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() });
        entry["artifactType"] = manifest.artifact_type.unwrap_or(manifest.config.media_type).into();
        if !manifest.annotations.is_empty() {
            entry["annotations"] = serde_json::json!(manifest.annotations);
        }
        if let Some(entries) = index["manifests"].as_array_mut().filter(|entries| !entries.contains(&entry)) {
            entries.push(entry);
            let bytes = slipway_oci::to_compact(&index).map_err(bad_index)?;
            self.push_manifest(&tag, media_type::OCI_INDEX, &bytes)?;
        }
        Ok(digest)
    }
}

/// A page of the list. Descriptors say more here than elsewhere.
#[derive(serde::Deserialize)]
struct List {
    manifests: Vec<ListEntry>,
}

#[derive(serde::Deserialize)]
struct ListEntry {
    #[serde(rename = "artifactType")]
    artifact_type: Option<String>,
    #[serde(flatten)]
    descriptor: Descriptor,
}

/// The tag that stands for the list in registries that keep none.
fn fallback(reference: &Reference, digest: &Digest) -> Reference {
    reference.at_tag(&format!("sha256-{}", digest.hex()))
}

/// The URL of the next page in a header such as `</v2/…>; rel="next"`. It stays on the server.
fn next_page(asked: &Uri, link: &str) -> Option<Uri> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.replace(' ', "").contains("rel=\"next\"");
    let next = resolve_location(asked, target).filter(|_| is_next)?;
    (next.authority() == asked.authority() && next.scheme() == asked.scheme()).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_on_the_same_server() {
        let asked: Uri = "https://a.example/v2/x/referrers/d".parse().unwrap();
        let next = |link: &str| next_page(&asked, link).map(|uri| uri.to_string());
        assert_eq!(
            next("</v2/x/referrers/d?n=2>; rel=\"next\""),
            Some("https://a.example/v2/x/referrers/d?n=2".into())
        );
        for link in ["<https://b.example/>; rel=\"next\"", "</x>; rel=\"prev\"", "</x", ""] {
            assert_eq!(next(link), None, "{link}");
        }
    }
}
