//! `type=s3`: a bucket of Amazon's or of any server that speaks the same (version 4 of its signatures).
//!
//! ```text
//! <manifests_prefix><name>            the records, with all that has to be known of the layers
//! <blobs_prefix>sha256:<hex>          a layer; at most 5 GiB, as it is sent in one piece
//! ```

use std::io::Read;

use ring::hmac;
use slipway_oci::{Descriptor, Digest};
use slipway_registry::{ObjectAnswer, ObjectBody, ObjectMethod, ObjectRequest, Registry};

use crate::objects::{ObjectFailure, read_records, successful};
use crate::{Backend, BlobSource, Cache, CacheError};

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
            let answer = self.send(ObjectMethod::Get, &key, &Digest::of(b""), ObjectBody::Empty)?;
            if answer.status == 404 {
                continue;
            }
            let answer = successful(answer, || format!("cannot read the cache `{name}`"))?;
            caches.push(Cache::parse(&read_records(answer)?, &[])?);
        }
        if caches.is_empty() { Err(CacheError::NothingThere) } else { Ok(caches) }
    }

    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>, CacheError> {
        let answer = self.send(ObjectMethod::Get, &self.blob_key(blob), &Digest::of(b""), ObjectBody::Empty)?;
        Ok(successful(answer, || format!("cannot read the blob {}", blob.digest))?.body)
    }

    fn save(&self, cache: &Cache, blobs: &dyn BlobSource) -> Result<(), CacheError> {
        let records = cache.to_json()?;
        let name = self.config.names.first().map_or("buildkit", String::as_str);
        let key = format!("{}{name}", self.config.manifests_prefix);
        // What cannot be read now is replaced.
        let current = self.send(ObjectMethod::Get, &key, &Digest::of(b""), ObjectBody::Empty)?;
        let current = if current.is_success() { read_records(current).ok() } else { None };
        if current.as_ref() == Some(&records) {
            return Ok(());
        }
        let known = current.and_then(|json| Cache::parse(&json, &[]).ok()).unwrap_or_default().blobs();
        let all = cache.blobs();
        let missing: Vec<&Descriptor> =
            all.iter().filter(|blob| !known.iter().any(|other| other.digest == blob.digest)).collect();
        crate::in_parallel(self.config.n_parallel, &missing, &|blob| self.put_blob(blob, blobs))?;
        let body = ObjectBody::Bytes(&records);
        let answer = self.send(ObjectMethod::Put, &key, &Digest::of(&records), body)?;
        successful(answer, || format!("cannot write the cache `{name}`"))?;
        Ok(())
    }
}

impl S3Backend {
    fn blob_key(&self, blob: &Descriptor) -> String {
        format!("{}{}", self.config.blobs_prefix, blob.digest)
    }

    fn put_blob(&self, blob: &Descriptor, blobs: &dyn BlobSource) -> Result<(), CacheError> {
        let key = self.blob_key(blob);
        if self.send(ObjectMethod::Head, &key, &Digest::of(b""), ObjectBody::Empty)?.is_success() {
            return Ok(());
        }
        let mut source = blobs.open(blob).map_err(CacheError::Read)?;
        let body = ObjectBody::Stream(&mut source, blob.size);
        let answer = self.send(ObjectMethod::Put, &key, &blob.digest, body)?;
        successful(answer, || format!("cannot write the blob {}", blob.digest))?;
        Ok(())
    }

    /// Sends a request for the object `key`; `payload` is the digest of the body.
    fn send(
        &self,
        method: ObjectMethod,
        key: &str,
        payload: &Digest,
        body: ObjectBody<'_>,
    ) -> Result<ObjectAnswer, ObjectFailure> {
        let (base, host, path) = self.address(key);
        let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let mut headers = vec![("x-amz-content-sha256", payload.hex().to_owned()), ("x-amz-date", time.clone())];
        headers.extend(self.config.session_token.iter().map(|token| ("x-amz-security-token", token.clone())));
        let signed = Signed { config: &self.config, method, host: &host, path: &path, time: &time, payload };
        headers.push(("Authorization", signed.authorization(&headers)));
        Ok(self.registry.object(ObjectRequest { method, url: format!("{base}{path}"), headers, body })?)
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

/// What a signature speaks for.
struct Signed<'a> {
    config: &'a S3Config,
    method: ObjectMethod,
    host: &'a str,
    /// As it is sent.
    path: &'a str,
    /// `20130524T000000Z`.
    time: &'a str,
    payload: &'a Digest,
}

impl Signed<'_> {
    /// The `Authorization` header (AWS Signature Version 4), for a request with `headers` in the order of their names.
    fn authorization(&self, headers: &[(&'static str, String)]) -> String {
        let method = match self.method {
            ObjectMethod::Get => "GET",
            ObjectMethod::Head => "HEAD",
            ObjectMethod::Put => "PUT",
            ObjectMethod::Post => "POST",
        };
        let mut all = vec![("host", self.host)];
        all.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
        let lines: String = all.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let request = format!("{method}\n{}\n\n{lines}\n{names}\n{}", self.path, self.payload.hex());
        let day = self.time.split('T').next().unwrap_or_default();
        let scope = format!("{day}/{}/s3/aws4_request", self.config.region);
        let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", self.time, Digest::of(request.as_bytes()).hex());
        let mut key = [b"AWS4", self.config.secret_access_key.as_slice()].concat();
        for part in [day, &self.config.region, "s3", "aws4_request"] {
            key = hmac_of(&key, part);
        }
        let signature: String = hmac_of(&key, &text).iter().map(|byte| format!("{byte:02x}")).collect();
        let credential = format!("{}/{scope}", self.config.access_key_id);
        format!("AWS4-HMAC-SHA256 Credential={credential},SignedHeaders={names},Signature={signature}")
    }
}

fn hmac_of(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
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
mod tests {
    use slipway_registry::ClientConfig;

    use super::*;

    fn config() -> S3Config {
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
        }
    }

    /// The first example of Amazon's "Signature Calculations for the Authorization Header".
    #[test]
    fn requests_are_signed_as_amazon_wants_it() {
        let payload = Digest::of(b"");
        let signed = Signed {
            config: &config(),
            method: ObjectMethod::Get,
            host: "examplebucket.s3.amazonaws.com",
            path: "/test.txt",
            time: "20130524T000000Z",
            payload: &payload,
        };
        let headers = [
            ("range", "bytes=0-9".to_owned()),
            ("x-amz-content-sha256", payload.hex().to_owned()),
            ("x-amz-date", "20130524T000000Z".to_owned()),
        ];
        assert_eq!(
            signed.authorization(&headers),
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
             SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,\
             Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
    }

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
