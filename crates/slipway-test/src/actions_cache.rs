//! The cache service of GitHub Actions, as far as a build uses it: version 2 of its protocol, and the server of blobs that
//! it sends clients to. In memory, on loopback, gone when the value is dropped.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::registry::http::{self, Answer, AnswerBody, Exchange};

const SERVICE: &str = "/twirp/github.actions.results.api.v1.CacheService/";

/// A running service.
pub struct ActionsCache {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    base_url: String,
    token: String,
    entries: Mutex<Vec<Entry>>,
    /// Requests that came without the token, or to the blobs with it.
    misused: Mutex<Vec<String>>,
    says_nothing: AtomicBool,
    is_stopped: AtomicBool,
}

struct Entry {
    key: String,
    version: String,
    bytes: Vec<u8>,
    is_complete: bool,
}

impl ActionsCache {
    /// An empty service that answers only who has `token`.
    pub fn start(token: &str) -> io::Result<ActionsCache> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            base_url: format!("http://{address}"),
            token: token.to_owned(),
            entries: Mutex::default(),
            misused: Mutex::default(),
            says_nothing: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
        });
        let server = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if server.is_stopped.load(Ordering::Relaxed) {
                    return;
                }
                let server = Arc::clone(&server);
                // A connection that breaks is the client's affair.
                thread::spawn(move || drop(http::serve(stream, |exchange| server.answer(exchange))));
            }
        });
        Ok(ActionsCache { address, shared })
    }

    /// What `ACTIONS_RESULTS_URL` would be.
    pub fn url(&self) -> String {
        format!("{}/", self.shared.base_url)
    }

    /// The keys of complete entries and their sizes in bytes.
    pub fn entries(&self) -> BTreeMap<String, usize> {
        let entries = locked(&self.shared.entries);
        entries.iter().filter(|entry| entry.is_complete).map(|e| (e.key.clone(), e.bytes.len())).collect()
    }

    /// From now on requests are taken, and never answered.
    pub fn say_nothing(&self) {
        self.shared.says_nothing.store(true, Ordering::Relaxed);
    }

    /// Requests that had the token where it does not belong, or lacked it where it does.
    pub fn misused(&self) -> Vec<String> {
        locked(&self.shared.misused).clone()
    }
}

impl Drop for ActionsCache {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection, which then sees the flag.
        drop(TcpStream::connect(self.address));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("because nothing panics while it is held")
}

impl Shared {
    fn answer(&self, exchange: &mut Exchange) -> io::Result<Answer> {
        while self.says_nothing.load(Ordering::Relaxed) && !self.is_stopped.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(10));
        }
        let is_known = exchange.header("authorization") == Some(&format!("Bearer {}", self.token));
        let (method, path) = (exchange.method.clone(), exchange.path.clone());
        if is_known != path.starts_with(SERVICE) {
            locked(&self.misused).push(format!("{method} {path}"));
            return Ok(Answer::new(401));
        }
        let mut body = Vec::new();
        exchange.body().read_to_end(&mut body)?;
        if let Some(call) = path.strip_prefix(SERVICE) {
            let Ok(question) = serde_json::from_slice::<Value>(&body) else { return Ok(Answer::new(400)) };
            return Ok(self.call(call, &question));
        }
        let number = path.strip_prefix("/blob/").and_then(|text| text.parse::<usize>().ok());
        let is_block = exchange.header("x-ms-blob-type") == Some("BlockBlob");
        let mut entries = locked(&self.entries);
        let Some(entry) = number.and_then(|number| entries.get_mut(number)) else { return Ok(Answer::new(404)) };
        match method.as_str() {
            "PUT" if is_block && !entry.is_complete => {
                entry.bytes = body;
                Ok(Answer::new(201))
            }
            "GET" if entry.is_complete => Ok(Answer::new(200).body(AnswerBody::Bytes(entry.bytes.clone()))),
            _ => Ok(Answer::new(400)),
        }
    }

    fn call(&self, call: &str, question: &Value) -> Answer {
        let text = |name: &str| question[name].as_str().unwrap_or_default().to_owned();
        let (key, version) = (text("key"), text("version"));
        let mut entries = locked(&self.entries);
        let found = entries.iter().position(|entry| entry.key == key && entry.version == version);
        match call {
            "CreateCacheEntry" if found.is_some() => {
                Answer::json(409, &json!({ "code": "already_exists", "msg": "cache entry already exists" }).to_string())
            }
            "CreateCacheEntry" => {
                entries.push(Entry { key, version, bytes: Vec::new(), is_complete: false });
                let url = format!("{}/blob/{}?sig=secret", self.base_url, entries.len() - 1);
                Answer::json(200, &json!({ "ok": true, "signed_upload_url": url }).to_string())
            }
            "FinalizeCacheEntryUpload" => {
                let size = question["size_bytes"].as_u64();
                let entry = found.map(|place| &mut entries[place]);
                let whole = entry.filter(|entry| Some(entry.bytes.len() as u64) == size);
                let is_ok = whole.is_some();
                whole.into_iter().for_each(|entry| entry.is_complete = true);
                Answer::json(200, &json!({ "ok": is_ok, "entry_id": "1" }).to_string())
            }
            "GetCacheEntryDownloadURL" => {
                let prefixes: Vec<&str> =
                    question["restore_keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let fits = |entry: &&Entry| {
                    let is_meant = entry.key == key || prefixes.iter().any(|prefix| entry.key.starts_with(prefix));
                    entry.is_complete && entry.version == version && is_meant
                };
                // The newest comes last.
                let found = entries.iter().rposition(|entry| fits(&entry));
                let reply = found.map(|place| {
                    let url = format!("{}/blob/{place}?sig=secret", self.base_url);
                    json!({ "ok": true, "signed_download_url": url, "matched_key": entries[place].key })
                });
                Answer::json(200, &reply.unwrap_or_else(|| json!({ "ok": false })).to_string())
            }
            _ => Answer::new(404),
        }
    }
}
