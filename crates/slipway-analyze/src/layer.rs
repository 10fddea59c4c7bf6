//! Which entries does a layer have?

use std::io::{self, BufReader, Cursor, Read};
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread::{self, Scope, ScopedJoinHandle};

use slipway_archive::decompress::{Compression, MAGIC_BYTES};
use slipway_archive::tar_reader::{ReadEntry, TarError, TarReader};
use slipway_archive::tar_writer::EntryKind;
use slipway_oci::ImageConfig;

use crate::content_hash::ContentHash;
use crate::origin::Origin;
use crate::tree::{self, Entry, Node};

/// What a layer has for a command that the history does not tell of.
const NO_COMMAND: &str = "(missing)";
/// The shell that stands in front of the command of a `RUN`.
const SHELL: &str = "/bin/sh -c ";
const BUFFER_BYTES: usize = 256 << 10;
/// Trees are walked by functions that call themselves, up to 2048 deep.
const STACK_BYTES: usize = 64 << 20;

/// Gives a layer's tar, compressed in whatever way.
pub type OpenLayer<'a> = Box<dyn Fn() -> io::Result<Box<dyn Read + 'a>> + Send + Sync + 'a>;

/// A layer whose bytes can be had.
pub struct LayerSource<'a> {
    pub id: String,
    /// The diff ID.
    pub digest: String,
    /// What made it, as in the history.
    pub command: String,
    /// Which line made it; `None` until somebody says so who knows.
    pub origin: Option<Origin>,
    /// As the manifest has it.
    pub compressed_bytes: Option<u64>,
    pub open: OpenLayer<'a>,
}

/// A layer that was read.
#[derive(Debug)]
pub struct Layer {
    pub id: String,
    pub digest: String,
    pub command: String,
    pub origin: Option<Origin>,
    pub compressed_bytes: Option<u64>,
    /// The sum of the sizes of its entries.
    pub size_bytes: u64,
    pub n_entries: usize,
    pub root: Node,
}

/// Why a layer cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    #[error("cannot open layer {index} ({digest})")]
    Open { index: usize, digest: String, source: io::Error },
    #[error("cannot read layer {index} ({digest})")]
    Read { index: usize, digest: String, source: TarError },
}

/// The bytes of a layer, before anything else is known of it.
pub struct StoredLayer<'a> {
    /// What the place it is kept in calls it; by default the diff ID without `sha256:`.
    pub id: Option<String>,
    pub compressed_bytes: Option<u64>,
    pub open: OpenLayer<'a>,
}

/// The layers with what the config says of them: diff IDs, and the commands of those steps that made one.
pub fn with_commands<'a>(config: &ImageConfig, layers: Vec<StoredLayer<'a>>) -> Vec<LayerSource<'a>> {
    let mut history = config.history.iter().filter(|step| !step.empty_layer);
    let mut diff_ids = config.rootfs.diff_ids.iter();
    let source = |layer: StoredLayer<'a>| {
        let diff_id = diff_ids.next();
        let command = history.next().map_or(NO_COMMAND, |step| step.created_by.as_deref().unwrap_or_default());
        let id = || diff_id.map(|id| id.0.hex().to_owned()).unwrap_or_default();
        LayerSource {
            id: layer.id.unwrap_or_else(id),
            digest: diff_id.map(ToString::to_string).unwrap_or_default(),
            command: command.strip_prefix(SHELL).unwrap_or(command).to_owned(),
            origin: None,
            compressed_bytes: layer.compressed_bytes,
            open: layer.open,
        }
    };
    layers.into_iter().map(source).collect()
}

/// How far reading is, for those who look on.
#[derive(Debug)]
pub struct Reading(Vec<OnceLock<u64>>);

impl Reading {
    /// Of so many layers none is read.
    pub fn of(n_layers: usize) -> Reading {
        Reading((0..n_layers).map(|_| OnceLock::new()).collect())
    }

    /// What each layer holds, in bytes; `None` as long as it is not read.
    pub fn sizes(&self) -> impl Iterator<Item = Option<u64>> {
        self.0.iter().map(|size| size.get().copied())
    }
}

/// Reads layers side by side, and says of each when it is read.
pub(crate) fn read_all(
    sources: &[LayerSource<'_>],
    ignores_errors: bool,
    reading: &Reading,
) -> Result<Vec<Layer>, LayerError> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<Layer, LayerError>)>> = Mutex::new(Vec::with_capacity(sources.len()));
    let n_threads = thread::available_parallelism().map_or(1, usize::from).min(sources.len());
    thread::scope(|scope| {
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(source) = sources.get(index) else { return };
                let layer = read(source, index, ignores_errors);
                if let (Ok(layer), Some(size)) = (&layer, reading.0.get(index)) {
                    size.get_or_init(|| layer.size_bytes);
                }
                done.lock().expect("because nothing panics while it is locked").push((index, layer));
            }
        };
        let threads: Vec<_> = (0..n_threads).map(|_| spawn(scope, work)).collect();
        threads.into_iter().for_each(joined);
    });
    let mut done = done.into_inner().expect("because nothing panics while it is locked");
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, layer)| layer).collect()
}

/// Starts a thread that may walk trees.
pub(crate) fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    let builder = thread::Builder::new().stack_size(STACK_BYTES);
    builder.spawn_scoped(scope, work).expect("because a process may have a few threads")
}

/// What a thread came to; a panic goes on here.
pub(crate) fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
}

fn read(source: &LayerSource<'_>, index: usize, ignores_errors: bool) -> Result<Layer, LayerError> {
    let mut layer = Layer {
        id: source.id.clone(),
        digest: source.digest.clone(),
        command: source.command.clone(),
        origin: source.origin.clone(),
        compressed_bytes: source.compressed_bytes,
        size_bytes: 0,
        n_entries: 0,
        root: Node::default(),
    };
    let plain = (source.open)().and_then(plain);
    let plain = plain.map_err(|error| LayerError::Open { index, digest: source.digest.clone(), source: error })?;
    match layer.fill(plain) {
        Err(error) if !ignores_errors => Err(LayerError::Read { index, digest: source.digest.clone(), source: error }),
        _ => Ok(layer),
    }
}

/// The tar in `stored`, whatever it is compressed with.
fn plain<'a>(mut stored: Box<dyn Read + 'a>) -> io::Result<Box<dyn Read + 'a>> {
    let mut start = Vec::with_capacity(MAGIC_BYTES);
    stored.by_ref().take(MAGIC_BYTES as u64).read_to_end(&mut start)?;
    let compression = Compression::detect(&start);
    compression.reader(BufReader::with_capacity(BUFFER_BYTES, Cursor::new(start).chain(stored)))
}

impl LayerSource<'_> {
    /// Writes the content of the file at `path`, without a leading `/`, to `target`: that of its last entry, as it is
    /// the one that counts. Says whether the layer has such a file.
    ///
    /// # Errors
    /// The layer cannot be read, or `target` cannot be written to; then some of the content may be in it.
    pub fn extract(&self, path: &[u8], target: &mut dyn io::Write) -> Result<bool, TarError> {
        let is_wanted =
            |entry: &ReadEntry| entry.kind == EntryKind::File && tree::components(&entry.path).join(&b'/') == path;
        let open = || (self.open)().and_then(plain).map_err(TarError::Read);
        let (mut tar, mut n_matches) = (TarReader::new(open()?), 0_usize);
        while let Some(entry) = tar.next_entry()? {
            n_matches += usize::from(is_wanted(&entry));
        }
        let mut tar = TarReader::new(open()?);
        while let Some(entry) = tar.next_entry()? {
            n_matches -= usize::from(is_wanted(&entry));
            if n_matches == 0 && is_wanted(&entry) {
                io::copy(&mut tar, target).map_err(TarError::Read)?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Layer {
    fn fill(&mut self, plain: impl Read) -> Result<(), TarError> {
        let mut tar = TarReader::new(BufReader::with_capacity(BUFFER_BYTES, plain));
        let mut buffer = vec![0; BUFFER_BYTES];
        while let Some(entry) = tar.next_entry()? {
            let content = match entry.kind {
                EntryKind::Directory => 0,
                _ => content_of(&mut tar, &mut buffer).map_err(TarError::Read)?,
            };
            self.size_bytes += entry.size;
            self.n_entries += 1;
            self.add(entry, content);
        }
        Ok(())
    }

    fn add(&mut self, entry: ReadEntry, content: u64) {
        let names = tree::components(&entry.path);
        let mut node = &mut self.root;
        for name in &names {
            if name.starts_with(tree::META) {
                node.is_opaque |= *name == tree::OPAQUE;
                return;
            }
            // Looked up first, so that the name is copied once only.
            if !node.children.contains_key(*name) {
                node.children.insert((*name).into(), Node::default());
            }
            node = node.children.get_mut(*name).expect("because it was put there");
        }
        if names.is_empty() {
            return;
        }
        node.entry = Some(Entry {
            type_flag: entry.kind.type_flag(),
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            size_bytes: entry.size,
            link: entry.link.into(),
            content,
        });
    }
}

fn content_of(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<u64> {
    let mut hash = ContentHash::new();
    loop {
        match source.read(buffer) {
            Ok(0) => return Ok(hash.finish()),
            Ok(n_read) => hash.update(&buffer[..n_read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::layers;

    #[test]
    fn who_looks_on_sees_layers_come() {
        let mut sources = layers("a:3 | b:5");
        let reading = Reading::of(2);
        assert_eq!(reading.sizes().collect::<Vec<_>>(), [None, None]);
        sources[1].open = Box::new(|| Err(io::Error::other("not here")));
        read_all(&sources, false, &reading).unwrap_err();
        assert_eq!(reading.sizes().collect::<Vec<_>>(), [Some(3), None]);
    }

    #[test]
    fn the_last_entry_of_a_file_is_the_one_that_counts() {
        let source = &layers("d/ d/a:3 d/a:5 b:1")[0];
        let extracted = |path: &[u8]| {
            let mut content = Vec::new();
            source.extract(path, &mut content).unwrap().then_some(content)
        };
        assert_eq!(extracted(b"d/a"), Some(b"xxxxx".to_vec()));
        assert_eq!(extracted(b"b"), Some(b"x".to_vec()));
        assert_eq!((extracted(b"d"), extracted(b"c")), (None, None));
    }
}
