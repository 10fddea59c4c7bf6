//! `type=s3`: a bucket of Amazon's or of any server that speaks the same (version 4 of its signatures).
//!
//! ```text
//! <manifests_prefix><name>            the records, with all that has to be known of the layers
//! <blobs_prefix>sha256:<hex>          a layer
//! ```
//!
//! Buckets may be told to remove what nobody has written for some days. So that they take only what no cache needs any
//! more, blobs that are there are written anew once they are older than `touch_refresh`, and with them the records: as
//! long as a cache is exported, nothing of it gets older than twice that.

mod parts;
mod signature;

use std::io::Read;
use std::time::Duration;

use slipway_oci::{Descriptor, Digest};
use slipway_registry::{ObjectAnswer, ObjectBody, ObjectMethod, ObjectRequest, Registry};

use crate::objects::{ObjectFailure, read_records, successful};
use crate::{Backend, BlobSource, Cache, CacheError, Current};
use signature::Signed;

/// Where a cache is kept, and who may write there.
pub struct S3Config {
    pub bucket: String,
    pub region: String,
    /// Caches that are read; the first one is written.
    pub names: Vec<String>,
    /// Before the digest of a blob.
    pub blobs_prefix: String,
    /// Before the name of a cache.
    pub manifests_prefix: String,
    /// `None` is Amazon's own server.
    pub endpoint_url: Option<String>,
    /// The bucket is part of the path instead of the host's name.
    pub uses_path_style: bool,
    pub access_key_id: String,
    pub secret_access_key: Vec<u8>,
    pub session_token: Option<String>,
    /// How many blobs are sent at the same time.
    pub n_parallel: usize,
    /// Objects that are older are written anew.
    pub touch_refresh: Duration,
}

/// A bucket.
pub struct S3Backend {
    pub registry: Registry,
    pub config: S3Config,
}

impl Backend for S3Backend {
    fn name(&self) -> String {
        format!("{}/{}{}", self.config.bucket, self.config.manifests_prefix, self.config.names.join(";"))
    }

    fn load(&self) -> Result<Vec<Cache>, CacheError> {
        let mut caches = Vec::new();
        for name in &self.config.names {
            let key = format!("{}{name}", self.config.manifests_prefix);
            let answer = self.request(Call::get(&key))?;
            if answer.status == 404 {
                continue;
            }
            let answer = successful(answer, || format!("cannot read the cache `{name}`"))?;
            caches.push(Cache::parse(&read_records(answer)?, &[])?);
        }
        if caches.is_empty() { Err(CacheError::NothingThere) } else { Ok(caches) }
    }

    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>, CacheError> {
        let answer = self.request(Call::get(&self.blob_key(blob)))?;
        Ok(successful(answer, || format!("cannot read the blob {}", blob.digest))?.body)
    }

    fn current(&self) -> Result<Current, CacheError> {
        let answer = self.request(Call::get(&self.records_key()))?;
        let is_fresh = answer.is_success() && !self.is_old(&answer);
        let document = if is_fresh { read_records(answer).ok() } else { None };
        // Blobs may have been removed, and may be old: each is asked for.
        Ok(Current { document, ..Current::default() })
    }

    fn send(&self, blob: &Descriptor, blobs: &dyn BlobSource) -> Result<(), CacheError> {
        let key = self.blob_key(blob);
        let found = self.request(Call { method: ObjectMethod::Head, ..Call::get(&key) })?;
        if found.is_success() {
            return if self.is_old(&found) { self.touch(blob) } else { Ok(()) };
        }
        if blob.size > parts::PART_BYTES {
            return self.put_in_parts(blob, blobs);
        }
        let mut source = blobs.open(blob).map_err(CacheError::Read)?;
        let body = ObjectBody::Stream(&mut source, blob.size);
        let answer = self.request_signed(Call { method: ObjectMethod::Put, body, ..Call::get(&key) }, &blob.digest)?;
        successful(answer, || format!("cannot write the blob {}", blob.digest))?;
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
        send_rest()?;
        let key = self.records_key();
        let call = Call { method: ObjectMethod::Put, body: ObjectBody::Bytes(&records), ..Call::get(&key) };
        successful(self.request_signed(call, &Digest::of(&records))?, || format!("cannot write the cache `{key}`"))?;
        Ok(())
    }

    fn n_parallel(&self) -> usize {
        self.config.n_parallel
    }
}

/// A request for an object.
struct Call<'a> {
    method: ObjectMethod,
    key: &'a str,
    /// Escaped, in the order of names, each with a value; mostly empty.
    query: String,
    /// Besides those that every request has.
    headers: Vec<(&'static str, String)>,
    body: ObjectBody<'a>,
}

impl Call<'_> {
    fn get(key: &str) -> Call<'_> {
        Call { method: ObjectMethod::Get, key, query: String::new(), headers: Vec::new(), body: ObjectBody::Empty }
    }
}

impl S3Backend {
    fn blob_key(&self, blob: &Descriptor) -> String {
        format!("{}{}", self.config.blobs_prefix, blob.digest)
    }

    /// The key of the records that are written.
    fn records_key(&self) -> String {
        let name = self.config.names.first().map_or("buildkit", String::as_str);
        format!("{}{name}", self.config.manifests_prefix)
    }

    /// Whether the object was written so long ago that it is time to do so again, by the server's own clock.
    fn is_old(&self, answer: &ObjectAnswer) -> bool {
        let time = |header| {
            let text: &str = answer.header(header)?;
            jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
        };
        let (Some(now), Some(written)) = (time("date"), time("last-modified")) else { return false };
        Duration::try_from(now.duration_since(written)).is_ok_and(|age| age > self.config.touch_refresh)
    }

    /// Sends a request without a body.
    fn request(&self, call: Call<'_>) -> Result<ObjectAnswer, ObjectFailure> {
        self.request_signed(call, &Digest::of(b""))
    }

    /// Sends a request; `payload` is the digest of its body.
    fn request_signed(&self, call: Call<'_>, payload: &Digest) -> Result<ObjectAnswer, ObjectFailure> {
        let Call { method, key, query, mut headers, body } = call;
        let (base, host, path) = self.address(key);
        let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        headers.extend([("x-amz-content-sha256", payload.hex().to_owned()), ("x-amz-date", time.clone())]);
        headers.extend(self.config.session_token.iter().map(|token| ("x-amz-security-token", token.clone())));
        headers.sort_by_key(|(name, _)| *name);
        let signed =
            Signed { config: &self.config, method, host: &host, path: &path, query: &query, time: &time, payload };
        headers.push(("Authorization", signed.authorization(&headers)));
        let url = if query.is_empty() { format!("{base}{path}") } else { format!("{base}{path}?{query}") };
        Ok(self.registry.object(ObjectRequest { method, url, headers, body, timeout: None })?)
    }

    /// Scheme and host, the host alone, and the path of an object.
    fn address(&self, key: &str) -> (String, String, String) {
        let default = || format!("https://s3.{}.amazonaws.com", self.config.region);
        let endpoint = self.config.endpoint_url.clone().unwrap_or_else(default);
        let (scheme, rest) = endpoint.split_once("://").unwrap_or(("https", &endpoint));
        let (host, folder) = rest.split_once('/').map_or((rest, ""), |(host, folder)| (host, folder.trim_matches('/')));
        let folder = if folder.is_empty() { String::new() } else { format!("/{folder}") };
        let (host, folder) = match self.config.uses_path_style {
            true => (host.to_owned(), format!("{folder}/{}", self.config.bucket)),
            false => (format!("{}.{host}", self.config.bucket), folder),
        };
        (format!("{scheme}://{host}"), host, escaped(&format!("{folder}/{key}")))
    }
}

/// A path with everything escaped but letters, digits, `-._~` and `/`.
fn escaped(path: &str) -> String {
    let mut escaped = String::new();
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => escaped.push(byte.into()),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod testing {
    use super::*;

    pub(super) fn config() -> S3Config {
        S3Config {
            bucket: "examplebucket".to_owned(),
            region: "us-east-1".to_owned(),
            names: vec!["buildkit".to_owned()],
            blobs_prefix: "blobs/".to_owned(),
            manifests_prefix: "manifests/".to_owned(),
            endpoint_url: None,
            uses_path_style: false,
            access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_access_key: b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_vec(),
            session_token: None,
            n_parallel: 1,
            touch_refresh: Duration::from_secs(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use slipway_registry::ClientConfig;

    use super::testing::config;
    use super::*;

    #[test]
    fn buckets_are_hosts_or_folders() {
        let address = |change: fn(&mut S3Config)| {
            let mut config = config();
            change(&mut config);
            let backend = S3Backend { registry: Registry::new(ClientConfig::default()), config };
            let (base, _, path) = backend.address("blobs/sha256:0a");
            format!("{base}{path}")
        };
        assert_eq!(address(|_| {}), "https://examplebucket.s3.us-east-1.amazonaws.com/blobs/sha256%3A0a");
        let own_server = |config: &mut S3Config| {
            config.endpoint_url = Some("http://127.0.0.1:9000/".to_owned());
            config.uses_path_style = true;
        };
        assert_eq!(address(own_server), "http://127.0.0.1:9000/examplebucket/blobs/sha256%3A0a");
    }
}
