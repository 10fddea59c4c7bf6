//! A predicate about certain subjects: the statement of in-toto (<https://in-toto.io/Statement/v1>).

use serde::Serialize;
use serde_json::Value;
use slipway_oci::{Descriptor, Digest, Platform, Reference};

use super::{Attestation, purl};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Statement {
    #[serde(rename = "_type")]
    kind: &'static str,
    predicate_type: &'static str,
    subject: Vec<Subject>,
    predicate: Value,
}

/// What a statement is about.
#[derive(Clone, Serialize)]
pub(crate) struct Subject {
    name: String,
    digest: DigestSet,
}

/// Digests of one thing by their algorithms.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DigestSet {
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// Of a git commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha1: Option<String>,
}

impl DigestSet {
    pub(crate) fn of(digest: &Digest) -> DigestSet {
        DigestSet { sha256: Some(digest.hex().to_owned()), sha1: None }
    }

    pub(crate) fn of_commit(commit: &str) -> DigestSet {
        DigestSet { sha256: None, sha1: Some(commit.to_owned()) }
    }

    /// With the algorithm in front.
    pub(crate) fn spelled(&self) -> Option<String> {
        let sha256 = self.sha256.as_ref().map(|hex| format!("sha256:{hex}"));
        sha256.or_else(|| self.sha1.as_ref().map(|hex| format!("sha1:{hex}")))
    }
}

impl Statement {
    /// `attestation` about `subject`, whose layers are these.
    pub(crate) fn of(attestation: &Attestation, subject: Vec<Subject>, layers: &[Descriptor]) -> Statement {
        Statement {
            kind: "https://in-toto.io/Statement/v1",
            predicate_type: attestation.predicate_type(),
            subject,
            predicate: attestation.predicate(layers),
        }
    }
}

impl Subject {
    /// The image `manifest` for `platform` under each of its names.
    pub(crate) fn of_image(names: &[Reference], platform: &Platform, manifest: &Digest) -> Vec<Subject> {
        let subject =
            |name: &Reference| Subject { name: purl::of_image(name, Some(platform)), digest: DigestSet::of(manifest) };
        names.iter().map(subject).collect()
    }

    pub(crate) fn of_file(path: &str, digest: &Digest) -> Subject {
        Subject { name: path.to_owned(), digest: DigestSet::of(digest) }
    }
}
