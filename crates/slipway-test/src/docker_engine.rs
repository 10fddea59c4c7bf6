//! The API of a container engine, as far as loading images goes, on loopback and on a Unix socket. In memory, gone when the
//! value is dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use serde_json::{Value, json};

use crate::registry::http::{self, Answer, Exchange};
use crate::tar;

/// A running engine.
pub struct DockerEngine {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    keeps_manifests: bool,
    /// Says no to every archive, in the middle of an answer that began well.
    refusal: Mutex<Option<String>>,
    /// Whether archives may lack what it has already.
    takes_parts: AtomicBool,
    /// Digests of the blobs that it has got.
    blobs: Mutex<BTreeSet<String>>,
    /// Diff IDs of the layers of its images, by id.
    layers: Mutex<BTreeMap<String, Value>>,
    /// Ids by name.
    names: Mutex<BTreeMap<String, String>>,
    archives: Mutex<Vec<Vec<u8>>>,
    requests: Mutex<Vec<String>>,
    is_stopped: AtomicBool,
}

impl DockerEngine {
    /// An engine without images that listens on a free port and on `socket`. Its ids are those of manifests and indexes, as
    /// with the store of containerd, or of configs.
    pub fn start(socket: &Path, keeps_manifests: bool) -> io::Result<DockerEngine> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            keeps_manifests,
            refusal: Mutex::default(),
            takes_parts: AtomicBool::new(true),
            blobs: Mutex::default(),
            layers: Mutex::default(),
            names: Mutex::default(),
            archives: Mutex::default(),
            requests: Mutex::default(),
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
        let listener = UnixListener::bind(socket)?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Without the server behind it the engine is gone.
                let Ok(server) = TcpStream::connect(address) else { return };
                drop(connect(stream, server));
            }
        });
        Ok(DockerEngine { address, shared })
    }

    /// `host:port`, as an alternative to the socket.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// From now on every archive is refused.
    pub fn refuse(&self, reason: &str) {
        *locked(&self.shared.refusal) = Some(reason.to_owned());
    }

    /// From now on archives have to be whole.
    pub fn refuse_parts(&self) {
        self.shared.takes_parts.store(false, Ordering::Relaxed);
    }

    /// The ids of its images by their full names.
    pub fn names(&self) -> BTreeMap<String, String> {
        locked(&self.shared.names).clone()
    }

    /// The archives that it was given, in their order.
    pub fn archives(&self) -> Vec<Vec<u8>> {
        locked(&self.shared.archives).clone()
    }

    /// Method and path of every request, in their order.
    pub fn requests(&self) -> Vec<String> {
        locked(&self.shared.requests).clone()
    }
}

impl Drop for DockerEngine {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection, which then sees the flag.
        drop(TcpStream::connect(self.address));
    }
}

/// Copies what comes from one end to the other, both ways.
fn connect(client: UnixStream, server: TcpStream) -> io::Result<()> {
    let (mut client_reader, mut server_writer) = (client.try_clone()?, server.try_clone()?);
    let (mut client_writer, mut server_reader) = (client, server);
    thread::spawn(move || {
        drop(io::copy(&mut client_reader, &mut server_writer));
        drop(server_writer.shutdown(Shutdown::Write));
    });
    thread::spawn(move || {
        drop(io::copy(&mut server_reader, &mut client_writer));
        drop(client_writer.shutdown(Shutdown::Both));
    });
    Ok(())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("because nothing panics while it is held")
}

fn message(status: u16, text: &str) -> Answer {
    Answer::json(status, &json!({ "message": text }).to_string())
}

impl Shared {
    fn answer(&self, exchange: &mut Exchange) -> io::Result<Answer> {
        let (method, path) = (exchange.method.clone(), exchange.path.clone());
        locked(&self.requests).push(format!("{method} {path}"));
        // The API's older version is in front of every path but that of the ping.
        let call = path.strip_prefix("/v1.44").unwrap_or_default();
        Ok(match (method.as_str(), call) {
            ("HEAD", _) if path == "/_ping" => Answer::new(200).header("Api-Version", "1.44"),
            ("GET", "/info") => {
                let store = if self.keeps_manifests { "io.containerd.snapshotter.v1" } else { "none" };
                Answer::json(200, &json!({ "DriverStatus": [["driver-type", store]] }).to_string())
            }
            ("GET", call) => match image_of(call, "/json").and_then(|name| self.find(name)) {
                Some(id) => {
                    let layers = locked(&self.layers).get(&id).cloned();
                    Answer::json(200, &json!({ "Id": id, "RootFS": { "Layers": layers } }).to_string())
                }
                None => message(404, "No such image"),
            },
            ("POST", "/images/load") => {
                let mut archive = Vec::new();
                exchange.body().read_to_end(&mut archive)?;
                self.load(archive)
            }
            ("POST", call) => match (image_of(call, "/tag"), exchange.query("repo"), exchange.query("tag")) {
                (Some(id), Some(repository), Some(tag)) if self.find(id).is_some() => {
                    locked(&self.names).insert(format!("{repository}:{tag}"), id.to_owned());
                    Answer::new(201)
                }
                _ => message(404, "No such image"),
            },
            _ => message(404, "page not found"),
        })
    }

    /// The id of the image that has this name or id.
    fn find(&self, name: &str) -> Option<String> {
        let names = locked(&self.names);
        let is_id = |id: &&String| id.as_str() == name;
        names.get(name).or_else(|| names.values().find(is_id)).cloned()
    }

    fn load(&self, archive: Vec<u8>) -> Answer {
        let refused = |reason: &str| {
            let failure = json!({ "errorDetail": { "message": reason }, "error": reason });
            Answer::json(200, &format!("{{\"stream\":\"reading\"}}\n{failure}\n"))
        };
        if let Some(reason) = &*locked(&self.refusal) {
            return refused(reason);
        }
        let Some(sent) = Sent::read(&archive) else { return message(400, "no image archive") };
        let Some(images) = sent.images(self.keeps_manifests) else { return message(400, "no image archive") };
        let mut blobs = locked(&self.blobs);
        let is_there = |blob: &String| {
            sent.blobs.contains_key(blob) || self.takes_parts.load(Ordering::Relaxed) && blobs.contains(blob)
        };
        if let Some(missing) = sent.layers().iter().find(|layer| !is_there(layer)) {
            return refused(&format!("{missing} is missing"));
        }
        blobs.extend(sent.blobs.keys().cloned());
        for (name, id, layers) in images {
            locked(&self.layers).insert(id.clone(), layers);
            locked(&self.names).insert(name, id);
        }
        locked(&self.archives).push(archive);
        Answer::json(200, "{\"stream\":\"Loaded image\"}\n")
    }
}

/// An archive.
struct Sent {
    blobs: BTreeMap<String, Vec<u8>>,
    index: Value,
}

impl Sent {
    fn read(archive: &[u8]) -> Option<Sent> {
        let entries = tar::read(archive).ok()?;
        let index = entries.iter().find(|entry| entry.path == "index.json")?;
        let index = serde_json::from_slice(&index.data).ok()?;
        let blob =
            |entry: tar::Entry| Some((format!("sha256:{}", entry.path.strip_prefix("blobs/sha256/")?), entry.data));
        Some(Sent { blobs: entries.into_iter().filter_map(blob).collect(), index })
    }

    /// Name, id and diff IDs of each image.
    fn images(&self, keeps_manifests: bool) -> Option<Vec<(String, String, Value)>> {
        let image = |entry: &Value| {
            let name = entry["annotations"]["io.containerd.image.name"].as_str()?.to_owned();
            let manifest = self.manifests(entry).into_iter().next()?;
            let config = self.document(&manifest["config"])?;
            let id = if keeps_manifests { &entry["digest"] } else { &manifest["config"]["digest"] };
            Some((name, id.as_str()?.to_owned(), config["rootfs"]["diff_ids"].clone()))
        };
        self.index["manifests"].as_array()?.iter().map(image).collect()
    }

    /// The digests of all layers that manifests name.
    fn layers(&self) -> Vec<String> {
        let entries = self.index["manifests"].as_array().into_iter().flatten();
        let manifests: Vec<Value> = entries.flat_map(|entry| self.manifests(entry)).collect();
        let layers = manifests.iter().flat_map(|manifest| manifest["layers"].as_array().into_iter().flatten());
        layers.filter_map(|layer| Some(layer["digest"].as_str()?.to_owned())).collect()
    }

    /// The manifest that an entry names, or those of the index that it names.
    fn manifests(&self, entry: &Value) -> Vec<Value> {
        match self.document(entry) {
            Some(document) => match document["manifests"].as_array() {
                Some(entries) => entries.iter().filter_map(|entry| self.document(entry)).collect(),
                None => vec![document],
            },
            None => Vec::new(),
        }
    }

    fn document(&self, descriptor: &Value) -> Option<Value> {
        serde_json::from_slice(self.blobs.get(descriptor["digest"].as_str()?)?).ok()
    }
}

/// The image that a call is about.
fn image_of<'a>(call: &'a str, end: &str) -> Option<&'a str> {
    call.strip_prefix("/images/")?.strip_suffix(end)
}
