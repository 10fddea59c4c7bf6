//! A real image registry inside the test's process: pull and push as in the OCI distribution spec, and misbehave on
//! demand.
//!
//! ```text
//! http.rs      HTTP/1.1 on std::net, because a test must be able to break a connection at an exact byte
//! storage.rs   blobs, manifests and tags on disk; a temporary folder unless a folder is given
//! access.rs    who may do what: open, basic, or tokens with a token service of its own
//! faults.rs    what goes wrong on purpose
//! registry.rs  which request does what
//! ```
//!
//! It listens on loopback only, one thread a connection, and streams blobs of any size.

mod access;
mod faults;
pub(crate) mod http;
mod storage;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use slipway_oci::{Digest, Index, Manifest, Reference};

use self::access::Door;
use self::faults::Faults;
use self::http::{Answer, AnswerBody, Exchange};
use self::storage::{Storage, StorageError};

pub use access::Access;
pub use faults::Canned;

/// Manifests are small; a client that sends a larger one gets a 413.
const MAX_MANIFEST_BYTES: u64 = 4 << 20;

/// A running registry. It stops when the value is dropped.
pub struct TestRegistry {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// One request that arrived, for tests that ask who was told what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The `Range` header.
    pub range: Option<String>,
}

struct Shared {
    base_url: String,
    storage: Storage,
    access: Mutex<Access>,
    /// Part of every token; tokens of an earlier one are refused.
    token_generation: AtomicU32,
    faults: Mutex<Faults>,
    recorded: Mutex<Vec<Recorded>>,
    is_stopped: AtomicBool,
}

impl TestRegistry {
    /// An empty registry on a free port, its files in a temporary folder.
    pub fn start() -> io::Result<TestRegistry> {
        Self::listen("127.0.0.1:0", Storage::temporary()?)
    }

    /// A registry on `address` (loopback only) that keeps its files below `dir`.
    pub fn start_on(address: &str, dir: &Path) -> io::Result<TestRegistry> {
        Self::listen(address, Storage::at(dir)?)
    }

    fn listen(address: &str, storage: Storage) -> io::Result<TestRegistry> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        if !address.ip().is_loopback() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the test registry listens on loopback only"));
        }
        let shared = Arc::new(Shared {
            base_url: format!("http://{address}"),
            storage,
            access: Mutex::new(Access::Open),
            token_generation: AtomicU32::new(0),
            faults: Mutex::default(),
            recorded: Mutex::default(),
            is_stopped: false.into(),
        });
        let server = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &server));
        Ok(TestRegistry { address, shared })
    }

    /// `127.0.0.1:<port>`, the host of references to this registry.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        &self.shared.base_url
    }

    /// Waits until the process ends, for a registry that is run by hand.
    pub fn serve_forever(&self) -> ! {
        loop {
            thread::park();
        }
    }

    /// Stores a blob in `repository`.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> io::Result<Digest> {
        let digest = Digest::of(bytes);
        self.shared.storage.put_blob(repository, &digest, bytes)?;
        Ok(digest)
    }

    /// Stores a manifest in `repository`, and under `tag` if there is one.
    pub fn put_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        bytes: &[u8],
    ) -> io::Result<Digest> {
        let digest = Digest::of(bytes);
        self.shared.storage.put_manifest(repository, tag, &digest, media_type, bytes)?;
        Ok(digest)
    }

    /// Stores the first image of an OCI layout as `repository:tag`.
    pub fn put_layout(&self, layout: &Path, repository: &str, tag: &str) -> io::Result<Digest> {
        let read = |digest: &Digest| std::fs::read(layout.join("blobs/sha256").join(digest.hex()));
        let index: Index = serde_json::from_slice(&std::fs::read(layout.join("index.json"))?)?;
        let first = index.manifests.first().ok_or_else(|| io::Error::other("the layout has no image"))?;
        let bytes = read(&first.digest)?;
        let manifest: Manifest = serde_json::from_slice(&bytes)?;
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            self.put_blob(repository, &read(&blob.digest)?)?;
        }
        self.put_manifest(repository, Some(tag), &first.media_type, &bytes)
    }

    /// The file of a stored blob, for a test that damages it.
    pub fn blob_path(&self, digest: &Digest) -> std::path::PathBuf {
        self.shared.storage.blob_path(digest)
    }

    /// The bytes of a stored blob, whatever repository it is in.
    pub fn blob(&self, digest: &Digest) -> io::Result<Vec<u8>> {
        std::fs::read(self.shared.storage.blob_path(digest))
    }

    /// Who may do what from now on.
    pub fn set_access(&self, access: Access) {
        *locked(&self.shared.access) = access;
    }

    /// Refuses every token that was given out so far.
    pub fn revoke_tokens(&self) {
        self.shared.token_generation.fetch_add(1, Ordering::Relaxed);
    }

    /// Answers the next `n` requests whose `METHOD /path` contains `part` with `status`.
    pub fn fail_next(&self, n: usize, part: &str, status: u16) {
        locked(&self.shared.faults).fail_next(n, part, status);
    }

    /// Breaks the connection after `after_bytes` of the body, for the next `n` blobs.
    pub fn cut_next_blobs(&self, n: usize, after_bytes: u64) {
        locked(&self.shared.faults).cut_next_blobs(n, after_bytes);
    }

    /// Waits before each answer from now on.
    pub fn set_delay(&self, delay: Duration) {
        locked(&self.shared.faults).delay = delay;
    }

    /// Ignores `Range` headers from now on, as a registry may.
    pub fn ignore_ranges(&self) {
        locked(&self.shared.faults).ignores_ranges = true;
    }

    /// Redirects blob downloads to the same path below `base_url`.
    pub fn redirect_blobs_to(&self, base_url: &str) {
        locked(&self.shared.faults).blob_redirect = Some(base_url.to_owned());
    }

    /// Sends uploads to the same path below `base_url`.
    pub fn send_uploads_to(&self, base_url: &str) {
        locked(&self.shared.faults).upload_base = Some(base_url.to_owned());
    }

    /// Answers GET and HEAD of exactly `path` with `canned`.
    pub fn set_canned(&self, path: &str, canned: Canned) {
        locked(&self.shared.faults).canned.insert(path.to_owned(), canned);
    }

    /// Takes back everything that was to go wrong; who may do what stays as it is.
    pub fn behave(&self) {
        *locked(&self.shared.faults) = Faults::default();
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Recorded> {
        locked(&self.shared.recorded).clone()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        locked(&self.shared.recorded).clear();
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection, which then sees the flag.
        drop(std::net::TcpStream::connect(self.address));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("because nothing panics while it is held")
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming().flatten() {
        if shared.is_stopped.load(Ordering::Relaxed) {
            return;
        }
        let shared = Arc::clone(shared);
        // A connection that ends in an error was broken by the client or on purpose.
        thread::spawn(move || http::serve(stream, |exchange| shared.answer(exchange)));
    }
}

/// What a path below `/v2/` names.
enum Route<'a> {
    Root,
    Catalog,
    Tags(&'a str),
    Manifest(&'a str, &'a str),
    Blob(&'a str, &'a str),
    StartUpload(&'a str),
    Upload(&'a str, &'a str),
    Unknown,
}

impl Route<'_> {
    fn of(path: &str) -> Route<'_> {
        let Some(rest) = path.strip_prefix("/v2") else { return Route::Unknown };
        let rest = rest.trim_start_matches('/');
        match rest {
            "" => return Route::Root,
            "_catalog" => return Route::Catalog,
            _ => {}
        }
        let route = if let Some(repository) = rest.strip_suffix("/tags/list") {
            (repository, Route::Tags(repository))
        } else if let Some((repository, id)) = rest.rsplit_once("/blobs/uploads/") {
            (repository, if id.is_empty() { Route::StartUpload(repository) } else { Route::Upload(repository, id) })
        } else if let Some((repository, digest)) = rest.rsplit_once("/blobs/") {
            (repository, Route::Blob(repository, digest))
        } else if let Some((repository, name)) = rest.rsplit_once("/manifests/") {
            (repository, Route::Manifest(repository, name))
        } else {
            return Route::Unknown;
        };
        // The name becomes a path on disk, so it has to be what it claims to be.
        let (repository, route) = route;
        if format!("localhost/{repository}").parse::<Reference>().is_ok() { route } else { Route::Unknown }
    }

    fn repository(&self) -> Option<&str> {
        match self {
            Route::Root | Route::Catalog | Route::Unknown => None,
            Route::Tags(repository)
            | Route::Manifest(repository, _)
            | Route::Blob(repository, _)
            | Route::StartUpload(repository)
            | Route::Upload(repository, _) => Some(repository),
        }
    }
}

impl Shared {
    fn answer(&self, exchange: &mut Exchange) -> io::Result<Answer> {
        self.record(exchange);
        let planned = locked(&self.faults).plan(exchange);
        thread::sleep(planned.delay);
        if let Some(answer) = planned.answer {
            return Ok(answer);
        }
        let path = exchange.path.clone();
        if path == "/token" {
            return locked(&self.access).token(exchange, self.token_generation.load(Ordering::Relaxed));
        }
        let route = Route::of(&path);
        let is_read = matches!(exchange.method.as_str(), "GET" | "HEAD");
        let door = Door { base_url: &self.base_url, token_generation: self.token_generation.load(Ordering::Relaxed) };
        let authorization = exchange.header("authorization");
        if let Err(refusal) = locked(&self.access).judge(&door, authorization, route.repository(), is_read) {
            return Ok(refusal);
        }
        match self.route(exchange, &route) {
            Ok(answer) => Ok(answer),
            Err(StorageError::Unknown(code)) => Ok(Answer::error(404, code)),
            Err(StorageError::Invalid(code)) => Ok(Answer::error(400, code)),
            Err(StorageError::Io(error)) => Err(error),
        }
    }

    fn record(&self, exchange: &Exchange) {
        locked(&self.recorded).push(Recorded {
            method: exchange.method.clone(),
            target: exchange.target.clone(),
            authorization: exchange.header("authorization").map(str::to_owned),
            range: exchange.header("range").map(str::to_owned),
        });
    }

    fn route(&self, exchange: &mut Exchange, route: &Route<'_>) -> Result<Answer, StorageError> {
        match (exchange.method.as_str(), route) {
            ("GET" | "HEAD", Route::Root) => Ok(Answer::json(200, "{}")),
            ("GET", Route::Catalog) => {
                let names = serde_json::json!({ "repositories": self.storage.repositories()? });
                Ok(Answer::json(200, &names.to_string()))
            }
            ("GET", Route::Tags(repository)) => {
                let tags = serde_json::json!({ "name": repository, "tags": self.storage.tags(repository)? });
                Ok(Answer::json(200, &tags.to_string()))
            }
            ("GET" | "HEAD", Route::Manifest(repository, name)) => {
                let manifest = self.storage.manifest(repository, name)?;
                Ok(Answer::new(200)
                    .header("Content-Type", &manifest.media_type)
                    .header("Docker-Content-Digest", manifest.digest.as_str())
                    .body(AnswerBody::Bytes(manifest.bytes)))
            }
            ("PUT", Route::Manifest(repository, name)) => self.store_manifest(exchange, repository, name),
            ("GET" | "HEAD", Route::Blob(repository, digest)) => self.serve_blob(exchange, repository, digest),
            ("POST", Route::StartUpload(repository)) => self.start_upload(exchange, repository),
            ("GET", Route::Upload(repository, id)) => self.upload_answer(204, repository, id),
            ("PATCH", Route::Upload(repository, id)) => {
                self.storage.append_to_upload(id, &mut exchange.body())?;
                self.upload_answer(202, repository, id)
            }
            ("PUT", Route::Upload(repository, id)) => {
                self.storage.append_to_upload(id, &mut exchange.body())?;
                self.finish_upload(exchange, repository, id)
            }
            (_, Route::Unknown) => Ok(Answer::error(404, "NAME_UNKNOWN")),
            _ => Ok(Answer::error(405, "UNSUPPORTED")),
        }
    }

    fn store_manifest(&self, exchange: &mut Exchange, repository: &str, name: &str) -> Result<Answer, StorageError> {
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(exchange.body(), MAX_MANIFEST_BYTES + 1), &mut bytes)?;
        if bytes.len() as u64 > MAX_MANIFEST_BYTES {
            return Ok(Answer::error(413, "MANIFEST_INVALID"));
        }
        let digest = Digest::of(&bytes);
        let tag = match name.parse::<Digest>() {
            Ok(stated) if stated != digest => return Err(StorageError::Invalid("DIGEST_INVALID")),
            Ok(_) => None,
            Err(_) if format!("localhost/x:{name}").parse::<Reference>().is_ok() => Some(name),
            Err(_) => return Err(StorageError::Invalid("TAG_INVALID")),
        };
        let media_type = exchange.header("content-type").unwrap_or_default().to_owned();
        self.storage.check_manifest(repository, &bytes, &media_type)?;
        self.storage.put_manifest(repository, tag, &digest, &media_type, &bytes)?;
        Ok(Answer::new(201)
            .header("Location", &format!("/v2/{repository}/manifests/{digest}"))
            .header("Docker-Content-Digest", digest.as_str()))
    }

    fn serve_blob(&self, exchange: &Exchange, repository: &str, digest: &str) -> Result<Answer, StorageError> {
        let digest: Digest = digest.parse().map_err(|_| StorageError::Invalid("DIGEST_INVALID"))?;
        let (file, size_bytes) = self.storage.open_blob(repository, &digest)?;
        let (ignores_ranges, cut_after_bytes) = {
            let mut faults = locked(&self.faults);
            let cut = if exchange.method == "GET" { faults.next_cut() } else { None };
            (faults.ignores_ranges, cut)
        };
        let range = exchange.header("range").filter(|_| !ignores_ranges).map(|text| http::byte_range(text, size_bytes));
        let answer = match range {
            None => Answer::new(200).body(AnswerBody::File { file, start: 0, length: size_bytes }),
            Some(Some((start, end))) => Answer::new(206)
                .header("Content-Range", &format!("bytes {start}-{}/{size_bytes}", end - 1))
                .body(AnswerBody::File { file, start, length: end - start }),
            Some(None) => return Ok(Answer::error(416, "RANGE_INVALID")),
        };
        Ok(answer
            .header("Content-Type", "application/octet-stream")
            .header("Docker-Content-Digest", digest.as_str())
            .cut_after(cut_after_bytes))
    }

    fn start_upload(&self, exchange: &mut Exchange, repository: &str) -> Result<Answer, StorageError> {
        if let (Some(digest), Some(from)) = (exchange.query("mount"), exchange.query("from"))
            && let Ok(digest) = digest.parse::<Digest>()
            && self.storage.mount(repository, &digest, &from)?
        {
            return Ok(blob_stored(repository, &digest));
        }
        let id = self.storage.start_upload()?;
        if exchange.query("digest").is_some() {
            self.storage.append_to_upload(&id, &mut exchange.body())?;
            return self.finish_upload(exchange, repository, &id);
        }
        self.upload_answer(202, repository, &id)
    }

    fn finish_upload(&self, exchange: &Exchange, repository: &str, id: &str) -> Result<Answer, StorageError> {
        let digest = exchange.query("digest").and_then(|text| text.parse::<Digest>().ok());
        let digest = digest.ok_or(StorageError::Invalid("DIGEST_INVALID"))?;
        self.storage.finish_upload(repository, id, &digest)?;
        Ok(blob_stored(repository, &digest))
    }

    fn upload_answer(&self, status: u16, repository: &str, id: &str) -> Result<Answer, StorageError> {
        let length = self.storage.upload_length(id)?;
        let base_url = locked(&self.faults).upload_base.clone().unwrap_or_default();
        Ok(Answer::new(status)
            .header("Location", &format!("{base_url}/v2/{repository}/blobs/uploads/{id}"))
            .header("Range", &format!("0-{}", length.saturating_sub(1)))
            .header("Docker-Upload-UUID", id))
    }
}

fn blob_stored(repository: &str, digest: &Digest) -> Answer {
    Answer::new(201)
        .header("Location", &format!("/v2/{repository}/blobs/{digest}"))
        .header("Docker-Content-Digest", digest.as_str())
}
