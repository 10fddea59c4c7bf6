//! `type=gha`: the cache service of GitHub Actions, version 2.
//!
//! Entries never change once they are there, so each cache has a number: `index-<scope>-1-<branch>#7` is what a search
//! for `index-<scope>-1-<branch>#` finds if no later one is there. A blob is `buildkit-blob-1-<digest>`. Which branches a
//! job may read, and which one it may write, is in its token.

use std::io::Read;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use slipway_oci::{Descriptor, Digest};
use slipway_registry::{ObjectAnswer, ObjectBody, ObjectMethod, ObjectRequest, Registry};

use crate::objects::{ObjectFailure, read_records, successful, text};
use crate::{Backend, BlobSource, Cache, CacheError, Current};

/// How many numbers are tried that others take at the same moment.
const MAX_NUMBERS: u64 = 8;
/// The bit of a permission that allows to write.
const WRITE: u64 = 2;

/// A scope of a repository's cache, and who may use it.
pub struct GhaConfig {
    pub scope: String,
    /// Of the service, such as `https://results-receiver.actions.githubusercontent.com/`.
    pub url: String,
    pub token: String,
    /// How long it may take to read the list of a cache, to read or to send one blob ahead, and to send all that is left
    /// when a build is over.
    pub timeout: Duration,
}

/// A scope of a repository's cache.
pub struct GhaBackend {
    registry: Registry,
    config: GhaConfig,
    /// When all of a cache has to be there; set when what is left is sent.
    complete_by: OnceLock<Instant>,
}

/// What a question to the service holds.
#[derive(Serialize)]
struct Question<'a> {
    key: &'a str,
    version: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    restore_keys: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
}

/// What an answer may hold.
#[derive(Default, Deserialize)]
struct Reply {
    #[serde(default)]
    ok: bool,
    #[serde(default)]
    signed_upload_url: String,
    #[serde(default)]
    signed_download_url: String,
    #[serde(default)]
    matched_key: String,
}

/// A branch, as the token has it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Branch {
    scope: String,
    permission: u64,
}

impl Backend for GhaBackend {
    fn name(&self) -> String {
        self.config.scope.clone()
    }

    fn load(&self) -> Result<Vec<Cache>, CacheError> {
        let mut caches = Vec::new();
        let end = self.end();
        for branch in self.branches() {
            if let Some(found) = self.find(&self.index_key(&branch.scope), true, end)? {
                caches.push(Cache::parse(&read_records(self.download(&found, end)?)?, &[])?);
            }
        }
        if caches.is_empty() { Err(CacheError::NothingThere) } else { Ok(caches) }
    }

    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>, CacheError> {
        let end = self.end();
        let found = self.find(&blob_key(blob), false, end)?.ok_or(CacheError::NothingThere)?;
        Ok(self.download(&found, end)?.body)
    }

    fn current(&self) -> Result<Current, CacheError> {
        let end = self.end();
        let key = self.index_key_to_write();
        let Some(found) = self.find(&key, true, end)? else { return Ok(Current::default()) };
        let number = found.matched_key.strip_prefix(&key).and_then(|number| number.parse().ok()).unwrap_or(0);
        let document = self.download(&found, end).ok().and_then(|answer| read_records(answer).ok());
        // The service forgets blobs one by one, so those that the list names are asked for.
        Ok(Current { document, number, ..Current::default() })
    }

    fn send(&self, blob: &Descriptor, blobs: &dyn BlobSource) -> Result<(), CacheError> {
        let (key, end) = (blob_key(blob), self.end());
        if self.find(&key, false, end)?.is_none() {
            // If somebody else has begun to write it meanwhile, it will be there.
            self.create(&key, blob.size, &mut || blobs.open(blob), end)?;
        }
        Ok(())
    }

    fn save(
        &self,
        cache: &Cache,
        current: &Current,
        send_rest: &dyn Fn() -> Result<(), CacheError>,
    ) -> Result<(), CacheError> {
        let records = cache.to_json()?;
        if current.document.as_ref() == Some(&records) {
            return Ok(());
        }
        let end = *self.complete_by.get_or_init(|| Instant::now() + self.config.timeout);
        send_rest()?;
        let key = self.index_key_to_write();
        for number in (current.number + 1..).take(MAX_NUMBERS as usize) {
            let size = records.len() as u64;
            let mut open =
                || -> std::io::Result<Box<dyn Read + Send>> { Ok(Box::new(std::io::Cursor::new(records.clone()))) };
            if self.create(&format!("{key}{number}"), size, &mut open, end)? {
                return Ok(());
            }
        }
        Err(ObjectFailure::Answer { what: "cannot find a free number for the cache".to_owned() }.into())
    }
}

impl GhaBackend {
    /// Asks nobody yet.
    pub fn new(registry: Registry, config: GhaConfig) -> GhaBackend {
        GhaBackend { registry, config, complete_by: OnceLock::new() }
    }

    /// The branches that the token speaks of; one without a name if it speaks of none.
    fn branches(&self) -> Vec<Branch> {
        #[derive(Deserialize)]
        struct Claims {
            ac: String,
        }
        let claims = self.config.token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let claims: Option<Claims> = claims.and_then(|json| serde_json::from_slice(&json).ok());
        let branches: Option<Vec<Branch>> = claims.and_then(|claims| serde_json::from_str(&claims.ac).ok());
        branches.unwrap_or_else(|| vec![Branch { scope: String::new(), permission: WRITE }])
    }

    /// The key of a branch's cache, up to its number.
    fn index_key(&self, branch: &str) -> String {
        format!("index-{}-1-{}#", self.config.scope, &Digest::of(branch.as_bytes()).hex()[..8])
    }

    /// The key of the cache that is written, up to its number.
    fn index_key_to_write(&self) -> String {
        let branch = self.branches().into_iter().find(|branch| branch.permission & WRITE != 0);
        self.index_key(&branch.map(|branch| branch.scope).unwrap_or_default())
    }

    /// When what begins now has to be done.
    fn end(&self) -> Instant {
        self.complete_by.get().copied().unwrap_or_else(|| Instant::now() + self.config.timeout)
    }

    /// Where the entry `key` is, or the newest one that begins like this.
    fn find(&self, key: &str, is_prefix: bool, end: Instant) -> Result<Option<Reply>, ObjectFailure> {
        let restore_keys = if is_prefix { vec![key] } else { Vec::new() };
        let question = Question { key, version: version(), restore_keys, size_bytes: None };
        Ok(self.ask("GetCacheEntryDownloadURL", &question, end)?.filter(|reply| !reply.signed_download_url.is_empty()))
    }

    fn download(&self, found: &Reply, end: Instant) -> Result<ObjectAnswer, ObjectFailure> {
        let url = found.signed_download_url.clone();
        let what = || format!("cannot read `{}`", found.matched_key);
        successful(self.request(ObjectMethod::Get, url, Vec::new(), ObjectBody::Empty, end, what)?, what)
    }

    /// Makes the entry `key`; `false` if somebody else has.
    fn create(
        &self,
        key: &str,
        size_bytes: u64,
        open: &mut dyn FnMut() -> std::io::Result<Box<dyn Read + Send>>,
        end: Instant,
    ) -> Result<bool, CacheError> {
        let question = Question { key, version: version(), restore_keys: Vec::new(), size_bytes: None };
        let Some(reserved) = self.ask("CreateCacheEntry", &question, end)? else { return Ok(false) };
        let mut source = open().map_err(CacheError::Read)?;
        let headers = vec![("x-ms-blob-type", "BlockBlob".to_owned())];
        let body = ObjectBody::Stream(&mut source, size_bytes);
        let what = || format!("cannot write `{key}`");
        let url = reserved.signed_upload_url;
        successful(self.request(ObjectMethod::Put, url, headers, body, end, what)?, what)?;
        let question = Question { size_bytes: Some(size_bytes), ..question };
        match self.ask("FinalizeCacheEntryUpload", &question, end)? {
            Some(_) => Ok(true),
            None => Err(ObjectFailure::Answer { what: format!("cannot complete `{key}`") }.into()),
        }
    }

    /// Asks the service; `None` if it says no.
    fn ask(&self, method: &str, question: &Question<'_>, end: Instant) -> Result<Option<Reply>, ObjectFailure> {
        let what = || format!("{method} of `{}`", question.key);
        let unreadable = |_| ObjectFailure::Answer { what: what() };
        let body = serde_json::to_vec(question).map_err(unreadable)?;
        let service = "twirp/github.actions.results.api.v1.CacheService";
        let url = format!("{}/{service}/{method}", self.config.url.trim_end_matches('/'));
        let headers = vec![
            ("Authorization", format!("Bearer {}", self.config.token)),
            ("Content-Type", "application/json".to_owned()),
        ];
        let answer = self.request(ObjectMethod::Post, url, headers, ObjectBody::Bytes(&body), end, what)?;
        // What is there already, and what is not.
        if matches!(answer.status, 404 | 409) {
            return Ok(None);
        }
        let reply: Reply = serde_json::from_str(&text(successful(answer, what)?)).map_err(unreadable)?;
        Ok(Some(reply).filter(|reply| reply.ok))
    }

    /// Sends a request for `what`, whose answer has to be there at `end`.
    fn request(
        &self,
        method: ObjectMethod,
        url: String,
        headers: Vec<(&'static str, String)>,
        body: ObjectBody<'_>,
        end: Instant,
        what: impl Fn() -> String,
    ) -> Result<ObjectAnswer, ObjectFailure> {
        let timed_out = || ObjectFailure::TimedOut { what: what(), limit: self.config.timeout };
        let left = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()).ok_or_else(timed_out)?;
        let request = ObjectRequest { method, url, headers, body, timeout: Some(left) };
        self.registry.object(request).map_err(|error| match Instant::now() < end {
            true => error.into(),
            false => timed_out(),
        })
    }
}

fn blob_key(blob: &Descriptor) -> String {
    format!("buildkit-blob-1-{}", blob.digest)
}

/// What tells entries of this kind from those of other tools with the same key; BuildKit's is the same.
fn version() -> String {
    Digest::of(b"|go-actionscache-1.0").hex().to_owned()
}

#[cfg(test)]
mod tests {
    use slipway_registry::ClientConfig;

    use super::*;

    #[test]
    fn branches_are_read_from_the_token() {
        let config = |token| GhaConfig {
            scope: "buildkit".to_owned(),
            url: "http://127.0.0.1:1/".to_owned(),
            token,
            timeout: Duration::from_secs(1),
        };
        let backend = |token: String| GhaBackend::new(Registry::new(ClientConfig::default()), config(token));
        let claims = r#"{"ac":"[{\"Scope\":\"refs/heads/pr\",\"Permission\":3},{\"Scope\":\"refs/heads/main\",\"Permission\":1}]"}"#;
        let branches = backend(format!("x.{}.y", URL_SAFE_NO_PAD.encode(claims))).branches();
        let names: Vec<(&str, bool)> = branches.iter().map(|b| (b.scope.as_str(), b.permission & WRITE != 0)).collect();
        assert_eq!(names, [("refs/heads/pr", true), ("refs/heads/main", false)]);
        for token in ["", "opaque", "a.!.c"] {
            assert_eq!(backend(token.to_owned()).branches().len(), 1, "{token}");
        }
    }
}
