//! `ADD <url>`: one file, fetched once and asked for again only if it may have changed
//! (`spec/dockerfile.md` sections 3.5 and 7.5).

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Mode, OFlags, Timespec, Timestamps};
use serde::{Deserialize, Serialize};
use slipway_graph::git::redacted;
use slipway_graph::op::HttpSource;
use slipway_graph::request::Secret;
use slipway_graph::{KeyWriter, Pins};
use slipway_oci::{Checksum, ChecksumHasher, Digest};
use slipway_registry::{FetchError, Registry, UrlRequest};
use slipway_solver::Cancel;
use slipway_store::{BlobError, BlobReader, DbError, Snapshot, SnapshotError, Store};

use super::secret::{self, SecretError};
use crate::layer::decompress::Compression;
use crate::layer::tar_reader::TarReader;
use crate::layer::tar_writer::EntryKind;
use crate::layer::untar;
use crate::now_ns;

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("cannot read `{url}`")]
    Read { url: String, source: io::Error },
    #[error("digest mismatch for {url}: {found} (expected: {expected})")]
    Checksum { url: String, found: Checksum, expected: Checksum },
    #[error("`{url}` is pinned to {pinned} by slipway.lock, and is {found} now")]
    Moved { url: String, found: Checksum, pinned: Checksum },
    #[error("the store does not have `{url}`, and nothing is fetched (--offline)")]
    NotInStore { url: String },
    #[error("cannot write the file of `{url}`")]
    Write { url: String, source: io::Error },
    #[error("canceled")]
    Canceled,
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// What http sources work with.
#[derive(Clone, Copy)]
pub(crate) struct HttpInputs<'a> {
    pub(crate) store: &'a Store,
    pub(crate) registry: &'a Registry,
    pub(crate) secrets: &'a [Secret],
    pub(crate) pins: &'a Pins,
}

/// What is at a URL; the bytes are a blob of the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Found {
    digest: Digest,
    etag: Option<String>,
    /// Seconds since 1970, where the server says it.
    last_modified: Option<i64>,
}

const FACTS: &str = "http";
/// Which blob has a checksum that is no digest.
const CHECKSUMS: &str = "http checksum";

/// The URLs of one build: each is asked for once.
#[derive(Default)]
pub(crate) struct HttpSources {
    found: Mutex<HashMap<HttpSource, Found>>,
}

impl HttpSources {
    /// The key of what is at the URL now. A file with another date is another file, since the date becomes its time.
    pub(crate) fn key(&self, http: &HttpSource, inputs: HttpInputs<'_>) -> Result<Digest, HttpError> {
        let found = self.find(http, inputs)?;
        let mut key = KeyWriter::new("http 1");
        key.text(file_name(http)).text(found.digest.as_str());
        key.optional_text(found.last_modified.map(|time| time.to_string()).as_deref());
        Ok(key.finish())
    }

    /// The digest of what is at the URL.
    pub(crate) fn digest(&self, http: &HttpSource, inputs: HttpInputs<'_>) -> Result<Digest, HttpError> {
        Ok(self.find(http, inputs)?.digest)
    }

    /// What was found at the URLs that can be pinned, by the names of their pins.
    pub(crate) fn pins(&self) -> BTreeMap<String, Digest> {
        let known = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().filter_map(|(http, found)| Some((Pins::name_of_url(http)?, found.digest.clone()))).collect()
    }

    /// The bytes of the file.
    pub(crate) fn open(&self, http: &HttpSource, inputs: HttpInputs<'_>) -> Result<BlobReader, HttpError> {
        open(http, &self.find(http, inputs)?, inputs.store)
    }

    /// The file, alone in a file system: mode 0600, its time that of the server, else 1970.
    pub(crate) fn snapshot(
        &self,
        http: &HttpSource,
        inputs: HttpInputs<'_>,
        cancel: &Cancel,
    ) -> Result<Snapshot, HttpError> {
        let found = self.find(http, inputs)?;
        if cancel.is_canceled() {
            return Err(HttpError::Canceled);
        }
        let write = |source| HttpError::Write { url: redacted(&http.url), source };
        let mut blob = open(http, &found, inputs.store)?;
        let active = inputs.store.begin(None)?;
        {
            let folder = untar::open_host_dir(active.upper()).map_err(|errno| write(errno.into()))?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(folder.as_fd(), file_name(http), flags, Mode::from_raw_mode(0o600));
            let mut file = std::fs::File::from(file.map_err(|errno| write(errno.into()))?);
            io::copy(&mut blob, &mut file).map_err(write)?;
            let time = Timespec { tv_sec: found.last_modified.unwrap_or(0), tv_nsec: 0 };
            let times = Timestamps { last_access: time, last_modification: time };
            rustix::fs::futimens(&file, &times).map_err(|errno| write(errno.into()))?;
        }
        Ok(active.commit(now_ns())?)
    }

    /// When the file was changed last, by the server or else by the newest file of the archive that it is.
    pub(crate) fn time_of(&self, http: &HttpSource, inputs: HttpInputs<'_>) -> Result<Option<i64>, HttpError> {
        let found = self.find(http, inputs)?;
        match found.last_modified {
            Some(time) => Ok(Some(time)),
            None => Ok(newest_member(open(http, &found, inputs.store)?)),
        }
    }

    fn find(&self, http: &HttpSource, inputs: HttpInputs<'_>) -> Result<Found, HttpError> {
        let mut known = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(http) {
            return Ok(found.clone());
        }
        let found = ask(http, inputs)?;
        known.insert(http.clone(), found.clone());
        Ok(found)
    }
}

fn ask(http: &HttpSource, inputs: HttpInputs<'_>) -> Result<Found, HttpError> {
    let HttpInputs { store, registry, secrets, pins } = inputs;
    let pinned = Pins::name_of_url(http).and_then(|name| pins.urls.get(&name)?.as_str().parse::<Checksum>().ok());
    let wanted = http.checksum.as_ref().or(pinned.as_ref());
    let remembered = remembered(http, store)?;
    // Whoever names the checksum wants these bytes, whatever is at the URL by now.
    if let Some(checksum) = wanted
        && let Some(digest) = blob_with(checksum, store)?
    {
        let same = remembered.filter(|found| found.digest == digest);
        return Ok(same.unwrap_or(Found { digest, etag: None, last_modified: None }));
    }
    // What is here has another checksum, or an unknown one: the bytes are needed to tell.
    let remembered = remembered.filter(|_| wanted.is_none());
    if registry.is_offline() {
        return remembered.ok_or_else(|| HttpError::NotInStore { url: redacted(&http.url) });
    }
    let known_etags = remembered.iter().filter_map(|found| found.etag.clone()).collect();
    let authorization = authorization(&http.url, secrets)?;
    let request = UrlRequest { url: http.url.clone(), known_etags, authorization, ..UrlRequest::default() };
    let mut response = registry.fetch_url(&request)?;
    if let (true, Some(found)) = (response.is_unchanged(), remembered) {
        return Ok(found);
    }
    let mut writer = store.blob_writer()?;
    let read = |source| HttpError::Read { url: redacted(&http.url), source };
    let blob = match wanted {
        None => {
            io::copy(&mut response.body, &mut writer).map_err(read)?;
            writer.commit(None)?
        }
        Some(expected) => {
            let mut body = Hashing { inner: response.body, hasher: expected.hasher() };
            io::copy(&mut body, &mut writer).map_err(read)?;
            let found = body.hasher.finish();
            if found != *expected {
                let (url, expected) = (redacted(&http.url), expected.clone());
                return Err(match pinned {
                    Some(_) => HttpError::Moved { url, found, pinned: expected },
                    None => HttpError::Checksum { url, found, expected },
                });
            }
            let blob = writer.commit(None)?;
            if expected.digest().is_none() {
                store.set_fact(CHECKSUMS, expected.as_str(), blob.digest.as_str().as_bytes())?;
            }
            blob
        }
    };
    let last_modified = response.last_modified.as_deref().and_then(http_date);
    let found = Found { digest: blob.digest, etag: response.etag, last_modified };
    if let Ok(fact) = serde_json::to_vec(&found) {
        store.set_fact(FACTS, &redacted(&http.url), &fact)?;
    }
    Ok(found)
}

/// The time of the newest file of an archive; `None` if `file` is none that can be read to its end.
fn newest_member(file: BlobReader) -> Option<i64> {
    let mut file = BufReader::new(file);
    let compression = Compression::detect(file.fill_buf().ok()?);
    let mut archive = TarReader::new(compression.reader(file).ok()?);
    let mut newest = None;
    while let Some(entry) = archive.next_entry().ok()? {
        if entry.kind == EntryKind::File {
            newest = newest.max(Some(entry.mtime.0));
        }
    }
    newest
}

/// The blob with this checksum, if it is here.
fn blob_with(checksum: &Checksum, store: &Store) -> Result<Option<Digest>, HttpError> {
    let digest = match checksum.digest() {
        Some(digest) => Some(digest),
        None => {
            let fact = store.fact(CHECKSUMS, checksum.as_str())?;
            fact.and_then(|digest| String::from_utf8(digest).ok()?.parse().ok())
        }
    };
    match digest {
        Some(digest) if store.has_blob(&digest)? => Ok(Some(digest)),
        Some(_) | None => Ok(None),
    }
}

/// Finds out the checksum of what is read.
struct Hashing<R> {
    inner: R,
    hasher: ChecksumHasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}

fn open(http: &HttpSource, found: &Found, store: &Store) -> Result<BlobReader, HttpError> {
    let missing = || HttpError::Write { url: redacted(&http.url), source: io::ErrorKind::NotFound.into() };
    Ok(store.open_blob(&found.digest)?.ok_or_else(missing)?.0)
}

/// The `Authorization` that the user gave for the host of `url` as a secret.
fn authorization(url: &str, secrets: &[Secret]) -> Result<Option<String>, SecretError> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let ids = [(format!("HTTP_AUTH_HEADER_{host}"), "header"), (format!("HTTP_AUTH_TOKEN_{host}"), "token")];
    Ok(secret::first(secrets, ids)?.map(|(kind, value)| {
        let value = String::from_utf8_lossy(value.trim_ascii_end()).into_owned();
        if kind == "token" { format!("Bearer {value}") } else { value }
    }))
}

/// What was at the URL the last time, if its bytes are still here.
fn remembered(http: &HttpSource, store: &Store) -> Result<Option<Found>, HttpError> {
    let Some(fact) = store.fact(FACTS, &redacted(&http.url))? else { return Ok(None) };
    let Ok(found) = serde_json::from_slice::<Found>(&fact) else { return Ok(None) };
    Ok(store.has_blob(&found.digest)?.then_some(found))
}

/// The name comes from a URL: it must be one component and no way out (CVE-2026-33747).
fn file_name(http: &HttpSource) -> &str {
    match http.filename.as_str() {
        "" | "." | ".." => "__unnamed__",
        name if name.contains(['/', '\0']) || name.len() > 255 => "__unnamed__",
        name => name,
    }
}

/// Seconds since 1970 of a date as HTTP writes it (RFC 9110 section 5.6.7): in the preferred form, or in one of the two
/// that old servers send. Whether the day of the week is that of the date is not looked at.
fn http_date(text: &str) -> Option<i64> {
    let preferred = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text).ok();
    let old = || {
        let parse = |form: &str| jiff::civil::DateTime::strptime(form, text).ok();
        let time = parse("%A, %d-%b-%y %H:%M:%S GMT").or_else(|| parse("%a %b %e %H:%M:%S %Y"))?;
        time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|time| time.timestamp())
    };
    preferred.or_else(old).map(|time| time.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(filename: &str) -> HttpSource {
        HttpSource { url: "http://h/x".to_owned(), filename: filename.to_owned(), checksum: None }
    }

    #[test]
    fn names_cannot_lead_anywhere() {
        for bad in ["", ".", "..", "a/b", "../x", &"x".repeat(300)] {
            assert_eq!(file_name(&source(bad)), "__unnamed__", "{bad}");
        }
        assert_eq!(file_name(&source("f.tar")), "f.tar");
    }

    #[test]
    fn dates_are_read_in_every_form_that_http_has() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sat, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(http_date(text), Some(784_111_777), "{text}");
        }
        assert_eq!(http_date("yesterday"), None);
    }

    #[test]
    fn a_token_belongs_to_one_host() {
        let secret = |id: &str| Secret {
            id: id.to_owned(),
            source: slipway_graph::request::SecretSource::Value(slipway_graph::request::SecretValue(b"t\n".to_vec())),
            is_keyed: false,
        };
        let of = |url: &str, id: &str| authorization(url, &[secret(id)]).unwrap();
        assert_eq!(of("http://u:p@h:1/x", "HTTP_AUTH_TOKEN_h:1"), Some("Bearer t".to_owned()));
        assert_eq!(of("http://h/x", "HTTP_AUTH_HEADER_h"), Some("t".to_owned()));
        assert_eq!(of("http://h/x@g", "HTTP_AUTH_TOKEN_g"), None);
        assert_eq!(of("http://h:1/x", "HTTP_AUTH_TOKEN_h"), None);
    }

    #[test]
    fn dates_are_those_of_http() {
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(http_date("yesterday"), None);
    }
}
