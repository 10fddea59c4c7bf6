//! What takes how much space, since when, and who needs it?
//!
//! | name | what it is |
//! |---|---|
//! | a layer's id | a folder below `layers/`; its parents are the layers that it lies on in any stack |
//! | `sha256:…` | a blob |
//! | `cache-mounts/<hash>/<n>` | a folder of `RUN --mount=type=cache` |
//! | `git/<hash>` | a clone of a remote repository |
//! | `facts/<kind>` | all facts of one kind |

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};

use crate::database::texts;
use crate::shared_files::{BLOCK_BYTES, INODES_OF_LAYERS, SharedFiles};
use crate::{DbError, FACTS_OF_LAYERS, FsError, LayerId, Store};

/// Larger blobs are no manifests.
const MAX_MANIFEST_BYTES: u64 = 4 << 20;

/// Something in the store that takes space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// See the module's table.
    pub name: String,
    pub kind: UsageKind,
    /// The type that users filter by, such as `regular` or `exec.cachemount`.
    pub record_type: String,
    /// What people know it by; may be empty.
    pub description: String,
    /// The layers that this one lies on.
    pub parents: BTreeSet<String>,
    /// Nanoseconds since 1970, where that is known.
    pub created_ns: Option<i64>,
    /// When a build that used it ended, in nanoseconds since 1970.
    pub last_used_ns: Option<i64>,
    /// How many builds used it.
    pub n_uses: u64,
    /// What it takes. A file that layers share is counted at one of them: the one that would go last.
    pub size_bytes: u64,
    /// A living process uses it.
    pub is_in_use: bool,
    /// An image that has a name here needs it.
    pub is_of_image: bool,
}

/// Which sort of thing takes space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UsageKind {
    Layer,
    Blob,
    CacheMount,
    Clone,
    Facts,
}

impl Usage {
    /// Whether steps may change it.
    pub fn is_mutable(&self) -> bool {
        matches!(self.kind, UsageKind::CacheMount | UsageKind::Clone | UsageKind::Facts)
    }

    /// What goes first comes first. Facts are small and dear: last.
    pub(crate) fn order_of_going(&self) -> impl Ord + use<> {
        (self.kind == UsageKind::Facts, self.last_used_ns.or(self.created_ns), Reverse(self.created_ns))
    }
}

/// Why the space cannot be found out.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    #[error("cannot find out what takes space in the store")]
    Fs(#[from] FsError),
    #[error("cannot find out what takes space in the store")]
    Db(#[from] DbError),
    #[error("measuring what is in the store takes longer than allowed")]
    GaveUp,
}

/// What the table `usage` knows about a thing.
#[derive(Default)]
struct Known {
    last_used_ns: Option<i64>,
    n_uses: u64,
    size_bytes: Option<u64>,
    record_type: Option<String>,
    description: Option<String>,
}

/// What some images need.
#[derive(Default)]
struct Needed {
    blobs: HashSet<String>,
    diff_ids: HashSet<String>,
}

/// Which blobs are here, and which of them hold a layer.
struct Held {
    blobs: HashSet<String>,
    of_layers: HashMap<String, Vec<String>>,
}

impl Store {
    /// Everything that takes space, in the order of kind and name. Measures what nobody has measured yet, which takes
    /// time where there are many files.
    ///
    /// Needs the root of the user namespace in which the files were made.
    pub fn usage(&self) -> Result<Vec<Usage>, UsageError> {
        self.usage_while(|| true)
    }

    /// As [`Store::usage`], as long as `keep_measuring` answers `true`, which is asked before each folder. What was measured
    /// of layers by then is remembered.
    pub fn usage_while(&self, mut keep_measuring: impl FnMut() -> bool) -> Result<Vec<Usage>, UsageError> {
        let used = self.used_by_living()?;
        let (mut found, shared) = self.usage_given(&used, &mut keep_measuring)?;
        shared.count_once(&mut found, Usage::order_of_going);
        Ok(found)
    }

    /// As [`Store::usage`], where it is known what living processes use; but each layer takes as much as if it were alone,
    /// and beside it is what layers share.
    pub(crate) fn usage_given(
        &self,
        used: &HashSet<String>,
        keep_measuring: &mut dyn FnMut() -> bool,
    ) -> Result<(Vec<Usage>, SharedFiles), UsageError> {
        let known = self.database().run(known)?;
        let named = self.database().run(|c| texts(c, "SELECT record FROM images WHERE name <> config"))?;
        let images = self.needed_by(&named, &self.held()?);
        let mut found = self.layers_in_use(&known, &images, keep_measuring)?;
        found.extend(self.blobs(&images)?);
        found.extend(self.folders("cache-mounts", UsageKind::CacheMount, keep_measuring)?);
        found.extend(self.folders("git", UsageKind::Clone, keep_measuring)?);
        found.extend(self.database().run(facts)?);
        let recorded = self.recorded_uses()?;
        for usage in &mut found {
            usage.is_in_use = used.contains(&usage.name);
            if let Some((last_used_ns, n_uses)) = recorded.of_thing(&usage.name) {
                (usage.last_used_ns, usage.n_uses) = (Some(last_used_ns), n_uses);
            }
            let Some(known) = known.get(&usage.name) else { continue };
            usage.last_used_ns = usage.last_used_ns.max(known.last_used_ns);
            usage.n_uses += known.n_uses;
            usage.record_type = known.record_type.clone().unwrap_or_else(|| usage.record_type.clone());
            usage.description = known.description.clone().unwrap_or_else(|| usage.description.clone());
        }
        found.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        let layers = found.iter().filter(|usage| usage.kind == UsageKind::Layer);
        let shared = self.shared_files(&layers.map(|usage| usage.name.as_str()).collect())?;
        Ok((found, shared))
    }

    fn layers_in_use(
        &self,
        known: &HashMap<String, Known>,
        images: &Needed,
        keep_measuring: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Usage>, UsageError> {
        let mut parents = parents(&self.stacks()?);
        let rows: Vec<(String, Option<String>, i64)> = self.database().run(|c| {
            c.prepare("SELECT id, diff_id, created_ns FROM layers")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        })?;
        let mut found = Vec::new();
        let mut measured = Vec::new();
        for (name, diff_id, created_ns) in rows {
            let size_bytes = match known.get(&name).and_then(|known| known.size_bytes) {
                Some(known) => known,
                None if !keep_measuring() => {
                    self.remember_sizes(&measured)?;
                    return Err(UsageError::GaveUp);
                }
                None => {
                    let n_bytes = disk_bytes(&self.root().join("layers").join(&name));
                    measured.push((name.clone(), n_bytes));
                    n_bytes
                }
            };
            found.push(Usage {
                parents: parents.remove(&name).unwrap_or_default(),
                created_ns: Some(created_ns),
                size_bytes,
                is_of_image: diff_id.is_some_and(|id| images.diff_ids.contains(&id)),
                ..plain(UsageKind::Layer, name, "regular", "")
            });
        }
        self.remember_sizes(&measured)?;
        Ok(found)
    }

    /// How large a layer is in bytes: its tar, if somebody has made that, else what it takes on the disk.
    ///
    /// Needs the root of the user namespace in which the files were made.
    pub fn layer_bytes(&self, layer: &LayerId) -> Result<u64, DbError> {
        let known: Option<i64> = self.database().run(|c| {
            c.prepare_cached(
                "SELECT coalesce(tar_size_bytes, size_bytes) FROM layers LEFT JOIN usage ON usage.name = layers.id
                 WHERE id = ?1",
            )?
            .query_row([layer.as_str()], |row| row.get(0))
            .optional()
            .map(Option::flatten)
        })?;
        if let Some(n_bytes) = known {
            return Ok(n_bytes as u64);
        }
        let n_bytes = disk_bytes(&self.layer_path(layer));
        self.remember_sizes(&[(layer.as_str().to_owned(), n_bytes)])?;
        Ok(n_bytes)
    }

    fn remember_sizes(&self, measured: &[(String, u64)]) -> Result<(), DbError> {
        if measured.is_empty() {
            return Ok(());
        }
        self.database().write(|tx| {
            tx.run(|c| {
                let mut update = c.prepare_cached(
                    "INSERT INTO usage (name, size_bytes) VALUES (?1, ?2)
                     ON CONFLICT (name) DO UPDATE SET size_bytes = ?2",
                )?;
                measured.iter().try_for_each(|(name, bytes)| update.execute(params![name, *bytes as i64]).map(drop))
            })
        })
    }

    fn blobs(&self, images: &Needed) -> Result<Vec<Usage>, UsageError> {
        let rows: Vec<(String, i64, bool)> = self.database().run(|c| {
            c.prepare("SELECT digest, size_bytes, digest IN (SELECT digest FROM layer_blobs) FROM blobs")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        })?;
        let usage = |(name, size_bytes, is_layer): (String, i64, bool)| {
            let description = if is_layer { "compressed layer" } else { "manifest, config or downloaded file" };
            let created = std::fs::metadata(self.root().join("blobs/sha256").join(name.trim_start_matches("sha256:")));
            Usage {
                created_ns: created.ok().map(|file| modified_ns(&file)),
                size_bytes: size_bytes as u64,
                is_of_image: images.blobs.contains(&name),
                ..plain(UsageKind::Blob, name, "regular", description)
            }
        };
        Ok(rows.into_iter().map(usage).collect())
    }

    /// Cache mounts (`<folder>/<hash>/<n>`) or clones (`<folder>/<hash>`).
    fn folders(
        &self,
        folder: &str,
        kind: UsageKind,
        keep_measuring: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Usage>, UsageError> {
        let mut found = Vec::new();
        for hash in subfolders(&self.root().join(folder))? {
            let paths = match kind {
                UsageKind::CacheMount => subfolders(&hash)?,
                _ => vec![hash],
            };
            for path in paths {
                let Ok(metadata) = std::fs::symlink_metadata(&path) else { continue };
                if !keep_measuring() {
                    return Err(UsageError::GaveUp);
                }
                let name = path.strip_prefix(self.root()).unwrap_or(&path).display().to_string();
                let record_type = match kind {
                    UsageKind::CacheMount => "exec.cachemount",
                    _ => "source.git.checkout",
                };
                found.push(Usage {
                    created_ns: Some(modified_ns(&metadata)),
                    size_bytes: disk_bytes(&path),
                    ..plain(kind, name, record_type, "")
                });
            }
        }
        Ok(found)
    }

    /// All snapshots: their rows, and their layers from the bottom.
    pub(crate) fn stacks(&self) -> Result<Vec<(i64, Vec<String>)>, DbError> {
        self.database().run(|c| {
            c.prepare("SELECT seq, layers FROM snapshots")?
                .query_map([], |row| {
                    let layers: String = row.get(1)?;
                    Ok((row.get(0)?, layers.split_ascii_whitespace().map(str::to_owned).collect()))
                })?
                .collect()
        })
    }

    /// The images without a name that need one of `things`, by the digests of their configs.
    pub(crate) fn unnamed_that_need(&self, things: &HashSet<&str>) -> Result<Vec<String>, DbError> {
        let unnamed: Vec<(String, String)> = self.database().run(|c| {
            c.prepare("SELECT config, record FROM images WHERE name = config")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        if unnamed.is_empty() {
            return Ok(Vec::new());
        }
        let held = self.held()?;
        let layers: Vec<(String, String)> = self.database().run(|c| {
            c.prepare("SELECT id, diff_id FROM layers WHERE diff_id IS NOT NULL")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        let lost = layers.into_iter().filter(|(id, _)| things.contains(id.as_str())).map(|(_, diff_id)| diff_id);
        let lost: HashSet<String> = lost.collect();
        let needs_one = |record: String| {
            let needed = self.needed_by(&[record], &held);
            needed.blobs.iter().any(|blob| things.contains(blob.as_str())) || !needed.diff_ids.is_disjoint(&lost)
        };
        Ok(unnamed.into_iter().filter_map(|(config, record)| needs_one(record).then_some(config)).collect())
    }

    fn held(&self) -> Result<Held, DbError> {
        let blobs = self.database().run(|c| texts(c, "SELECT digest FROM blobs"))?.into_iter().collect();
        let mut of_layers: HashMap<String, Vec<String>> = HashMap::new();
        let pairs: Vec<(String, String)> = self.database().run(|c| {
            c.prepare("SELECT diff_id, digest FROM layer_blobs")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        for (diff_id, digest) in pairs {
            of_layers.entry(diff_id).or_default().push(digest);
        }
        Ok(Held { blobs, of_layers })
    }

    /// What the images with these records need of what is here.
    fn needed_by(&self, records: &[String], held: &Held) -> Needed {
        let mut needed = Needed::default();
        let mut pending: Vec<String> = Vec::new();
        for record in records {
            let mut named = Vec::new();
            digests_in(&serde_json::from_str(record).unwrap_or_default(), &mut named);
            for digest in named {
                pending.extend(held.of_layers.get(&digest).into_iter().flatten().cloned());
                needed.diff_ids.insert(digest.clone());
                pending.push(digest);
            }
        }
        // An index names manifests, a manifest names a config and layers.
        while let Some(digest) = pending.pop() {
            if held.blobs.contains(&digest) && needed.blobs.insert(digest.clone()) {
                pending.extend(self.named_in_blob(&digest));
            }
        }
        needed
    }

    /// The digests that a blob names, if it is a JSON document.
    fn named_in_blob(&self, digest: &str) -> Vec<String> {
        let path = self.root().join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
        let is_small = std::fs::metadata(&path).is_ok_and(|file| file.len() <= MAX_MANIFEST_BYTES);
        let mut named = Vec::new();
        if let Some(bytes) = is_small.then(|| std::fs::read(&path).ok()).flatten().filter(|b| b.starts_with(b"{")) {
            digests_in(&serde_json::from_slice(&bytes).unwrap_or_default(), &mut named);
        }
        named
    }
}

fn plain(kind: UsageKind, name: String, record_type: &str, description: &str) -> Usage {
    Usage {
        name,
        kind,
        record_type: record_type.to_owned(),
        description: description.to_owned(),
        parents: BTreeSet::new(),
        created_ns: None,
        last_used_ns: None,
        n_uses: 0,
        size_bytes: 0,
        is_in_use: false,
        is_of_image: false,
    }
}

fn known(connection: &Connection) -> rusqlite::Result<HashMap<String, Known>> {
    connection
        .prepare("SELECT name, last_used_ns, n_uses, size_bytes, type, description FROM usage")?
        .query_map([], |row| {
            let known = Known {
                last_used_ns: row.get(1)?,
                n_uses: row.get::<_, i64>(2)? as u64,
                size_bytes: row.get::<_, Option<i64>>(3)?.map(|bytes| bytes as u64),
                record_type: row.get(4)?,
                description: row.get(5)?,
            };
            Ok((row.get(0)?, known))
        })?
        .collect()
}

fn facts(connection: &Connection) -> rusqlite::Result<Vec<Usage>> {
    connection
        .prepare(
            "SELECT kind, sum(length(CAST(key AS BLOB)) + length(value)) FROM facts WHERE kind NOT IN (?1, ?2)
             GROUP BY kind",
        )?
        .query_map([FACTS_OF_LAYERS, INODES_OF_LAYERS], |row| {
            let kind: String = row.get(0)?;
            let description = format!("remembered between builds: {kind}");
            let size_bytes = row.get::<_, i64>(1)? as u64;
            Ok(Usage { size_bytes, ..plain(UsageKind::Facts, format!("facts/{kind}"), "internal", &description) })
        })?
        .collect()
}

/// For each layer those that it lies on directly in any stack.
pub(crate) fn parents(stacks: &[(i64, Vec<String>)]) -> BTreeMap<String, BTreeSet<String>> {
    let mut parents: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for pair in stacks.iter().flat_map(|(_, layers)| layers.windows(2)) {
        parents.entry(pair[1].clone()).or_default().insert(pair[0].clone());
    }
    parents
}

/// All texts in `value` that look like digests.
fn digests_in(value: &serde_json::Value, digests: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) if text.starts_with("sha256:") => digests.push(text.clone()),
        serde_json::Value::Array(items) => items.iter().for_each(|item| digests_in(item, digests)),
        serde_json::Value::Object(members) => members.values().for_each(|member| digests_in(member, digests)),
        _ => {}
    }
}

/// How much of the disk a file or tree takes; what cannot be read counts as nothing.
fn disk_bytes(path: &Path) -> u64 {
    let mut n_bytes = 0;
    let mut linked = HashSet::new();
    walk(path, |file| {
        // A file with several names counts once.
        if file.is_dir() || file.nlink() == 1 || linked.insert((file.dev(), file.ino())) {
            n_bytes += file.blocks() * BLOCK_BYTES;
        }
    });
    n_bytes
}

/// Calls `see` with each file and folder of a tree; what cannot be read is passed over.
pub(crate) fn walk(path: &Path, mut see: impl FnMut(&Metadata)) {
    let mut pending = vec![path.to_owned()];
    while let Some(path) = pending.pop() {
        let Ok(metadata) = std::fs::symlink_metadata(&path) else { continue };
        see(&metadata);
        if metadata.is_dir() {
            pending.extend(std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
    }
}

/// The folders in `folder`; none if it is not there.
fn subfolders(folder: &Path) -> Result<Vec<PathBuf>, FsError> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(FsError::on("open", folder))?,
    };
    Ok(entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir()))
        .map(|entry| entry.path())
        .collect())
}

fn modified_ns(metadata: &Metadata) -> i64 {
    metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec()
}
