//! What is in a cache, and how BuildKit writes that down (`application/vnd.buildkit.cacheconfig.v0`).
//!
//! BuildKit's records form a graph: a record has a digest of its own and links to the records of its inputs, and leads
//! to layers. slipway's keys hold their inputs' keys already, so its records have no links: one a key. Records with
//! links are BuildKit's; they mean nothing to slipway and are skipped.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use slipway_oci::{Descriptor, DiffId, Digest, media_type};

/// More layers or records than any build has.
const MAX_ENTRIES: usize = 200_000;
/// More layers than the kernel stacks.
const MAX_DEPTH: usize = 1000;

/// Media type of a piece of a cache mount.
const CHUNK: &str = "application/vnd.slipway.cache-mount.chunk.v1+zstd";

/// Annotation of a layer's descriptor with the digest of its tar.
const UNCOMPRESSED: &str = "containerd.io/uncompressed";
/// Annotation of a layer's descriptor with the time that it was made.
const CREATED_AT: &str = "buildkit/createdat";

/// Results of steps, and the layers that they consist of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cache {
    /// Parents before their children.
    pub layers: Vec<Layer>,
    pub results: Vec<CachedResult>,
    pub mounts: Vec<CachedMount>,
}

/// The files of a `RUN --mount=type=cache`: a tar, cut into pieces that are compressed each by itself. BuildKit does not
/// know of them and passes them over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedMount {
    /// Made of what the mount is known by.
    pub name: Digest,
    /// The pieces in their order.
    pub chunks: Vec<Descriptor>,
}

impl CachedMount {
    /// The descriptor of a piece.
    pub fn chunk(digest: Digest, size_bytes: u64) -> Descriptor {
        Descriptor::new(CHUNK, digest, size_bytes)
    }
}

/// A layer on its place in a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Without annotations.
    pub blob: Descriptor,
    pub diff_id: DiffId,
    /// The layer below, as an index; always smaller than the layer's own.
    pub parent: Option<usize>,
    /// RFC 3339.
    pub created: Option<String>,
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedResult {
    /// Each of them leads to it. The first is the one that it was made under.
    pub keys: Vec<Digest>,
    /// Its topmost layer, as an index.
    pub layer: usize,
}

/// Why a text is no cache.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error("its records cannot be read")]
    Json(#[from] serde_json::Error),
    #[error("it has more than {limit} bytes of records")]
    TooLarge { limit: u64 },
    #[error("it has {n_entries} layers and records; {MAX_ENTRIES} are the most that are read")]
    TooMany { n_entries: usize },
    #[error("the blob {expected} has the digest {found}")]
    Digest { expected: Digest, found: Digest },
    #[error("it is neither a cache nor an image that holds one")]
    NotACache,
}

#[derive(Serialize, Deserialize)]
struct ConfigJson {
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    layers: Vec<LayerJson>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    records: Vec<RecordJson>,
    #[serde(default, rename = "slipway.mounts", skip_serializing_if = "Vec::is_empty")]
    mounts: Vec<MountJson>,
}

#[derive(Serialize, Deserialize)]
struct MountJson {
    name: Digest,
    chunks: Vec<ChunkJson>,
}

#[derive(Serialize, Deserialize)]
struct ChunkJson {
    blob: Digest,
    size: u64,
}

#[derive(Serialize, Deserialize)]
struct LayerJson {
    #[serde(default)]
    blob: String,
    /// -1 where there is none.
    #[serde(default)]
    parent: i64,
    /// Only where no descriptors are kept beside: S3, GitHub Actions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotations: Option<AnnotationsJson>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnnotationsJson {
    #[serde(default)]
    media_type: String,
    #[serde(default, rename = "diffID")]
    diff_id: String,
    #[serde(default)]
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct RecordJson {
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    layers: Vec<ResultJson>,
    #[serde(default)]
    digest: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    inputs: Vec<serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResultJson {
    layer: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
}

fn null_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Cache {
    /// Reads BuildKit's JSON. `blobs` are the descriptors that came with it; without them the layers' own notes count.
    /// What leads nowhere is left out.
    pub fn parse(json: &[u8], blobs: &[Descriptor]) -> Result<Cache, FormatError> {
        let config: ConfigJson = serde_json::from_slice(json)?;
        let n_chunks: usize = config.mounts.iter().map(|mount| mount.chunks.len() + 1).sum();
        let n_entries = config.layers.len() + config.records.len() + n_chunks;
        if n_entries > MAX_ENTRIES {
            return Err(FormatError::TooMany { n_entries });
        }
        let blobs: HashMap<&str, &Descriptor> = blobs.iter().map(|blob| (blob.digest.as_str(), blob)).collect();
        let layers: Vec<Option<Layer>> = config.layers.iter().map(|layer| layer.resolve(&blobs)).collect();
        let parents: Vec<i64> = config.layers.iter().map(|layer| layer.parent).collect();
        let mounts = config.mounts.into_iter().map(MountJson::resolve).collect();
        Ok(Cache { mounts, ..Cache::sorted(layers, &parents, &config.records) })
    }

    /// Reads the records inside the config of an image whose layers are `blobs`, bottom first.
    pub fn parse_inline(json: &[u8], blobs: &[Descriptor], diff_ids: &[DiffId]) -> Result<Cache, FormatError> {
        let records: Vec<RecordJson> = serde_json::from_slice(json)?;
        if records.len() > MAX_ENTRIES || blobs.len() != diff_ids.len() {
            return Err(FormatError::TooMany { n_entries: records.len() });
        }
        let layer = |(blob, diff_id): (&Descriptor, &DiffId)| {
            let blob = Descriptor::new(&blob.media_type, blob.digest.clone(), blob.size);
            Some(Layer { blob, diff_id: diff_id.clone(), parent: None, created: None })
        };
        let layers: Vec<Option<Layer>> = blobs.iter().zip(diff_ids).map(layer).collect();
        let parents: Vec<i64> = (-1_i64..).take(layers.len()).collect();
        Ok(Cache::sorted(layers, &parents, &records))
    }

    /// Puts parents first, and leaves out what has no end, or no blob somewhere below.
    fn sorted(layers: Vec<Option<Layer>>, parents: &[i64], records: &[RecordJson]) -> Cache {
        let mut order: Vec<(usize, usize)> =
            (0..layers.len()).filter_map(|index| Some((depth(index, &layers, parents)?, index))).collect();
        order.sort_unstable();
        let mut places = HashMap::new();
        let mut cache = Cache::default();
        for (place, (_, index)) in order.iter().enumerate() {
            places.insert(*index as i64, place);
            let parent = places.get(&parents[*index]).copied();
            cache.layers.extend(layers[*index].clone().map(|layer| Layer { parent, ..layer }));
        }
        let mut by_layer: HashMap<usize, usize> = HashMap::new();
        for record in records.iter().filter(|record| record.inputs.is_empty()) {
            let Ok(key) = record.digest.parse::<Digest>() else { continue };
            let Some(layer) = record.layers.iter().find_map(|result| places.get(&result.layer)) else { continue };
            let place = *by_layer.entry(*layer).or_insert_with(|| {
                cache.results.push(CachedResult { keys: Vec::new(), layer: *layer });
                cache.results.len() - 1
            });
            cache.results[place].keys.push(key);
        }
        cache
    }

    /// BuildKit's JSON; the same for equal caches.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let layer = |layer: &Layer| LayerJson {
            blob: layer.blob.digest.to_string(),
            parent: layer.parent.map_or(-1, |parent| parent as i64),
            annotations: Some(AnnotationsJson {
                media_type: layer.blob.media_type.clone(),
                diff_id: layer.diff_id.0.to_string(),
                size: layer.blob.size,
                created_at: layer.created.clone(),
            }),
        };
        let records = self.results.iter().flat_map(|result| {
            let created = self.layers[result.layer].created.as_ref();
            records(&result.keys, result.layer, created)
        });
        let config = ConfigJson {
            layers: self.layers.iter().map(layer).collect(),
            records: records.collect(),
            mounts: self.mounts.iter().map(MountJson::of).collect(),
        };
        serde_json::to_vec(&config)
    }

    /// The layers of a result, bottom first.
    pub fn stack(&self, result: &CachedResult) -> Vec<&Layer> {
        let mut stack = Vec::new();
        let mut next = Some(result.layer);
        while let Some(index) = next {
            stack.push(&self.layers[index]);
            next = self.layers[index].parent;
        }
        stack.reverse();
        stack
    }

    /// The blobs, each once, as a manifest lists them: with the notes that BuildKit wants to find.
    pub(crate) fn blobs(&self) -> Vec<Descriptor> {
        let mut blobs: Vec<Descriptor> = self.layers.iter().map(Layer::annotated).collect();
        blobs.extend(self.mounts.iter().flat_map(|mount| mount.chunks.iter().cloned()));
        blobs.sort_by(|a, b| a.digest.cmp(&b.digest));
        blobs.dedup_by(|a, b| a.digest == b.digest);
        blobs
    }
}

impl Layer {
    fn annotated(&self) -> Descriptor {
        let mut blob = self.blob.clone();
        blob.annotations.insert(UNCOMPRESSED.to_owned(), self.diff_id.0.to_string());
        if let Some(created) = &self.created {
            blob.annotations.insert(CREATED_AT.to_owned(), created.clone());
        }
        blob
    }
}

impl MountJson {
    fn of(mount: &CachedMount) -> MountJson {
        let chunk = |chunk: &Descriptor| ChunkJson { blob: chunk.digest.clone(), size: chunk.size };
        MountJson { name: mount.name.clone(), chunks: mount.chunks.iter().map(chunk).collect() }
    }

    fn resolve(self) -> CachedMount {
        let chunk = |chunk: ChunkJson| CachedMount::chunk(chunk.blob, chunk.size);
        CachedMount { name: self.name, chunks: self.chunks.into_iter().map(chunk).collect() }
    }
}

impl LayerJson {
    /// The layer without its parent, if everything is known about it.
    fn resolve(&self, blobs: &HashMap<&str, &Descriptor>) -> Option<Layer> {
        if let Some(blob) = blobs.get(self.blob.as_str()) {
            return Some(Layer {
                blob: Descriptor::new(&blob.media_type, blob.digest.clone(), blob.size),
                diff_id: DiffId(blob.annotations.get(UNCOMPRESSED)?.parse().ok()?),
                parent: None,
                created: blob.annotations.get(CREATED_AT).cloned(),
            });
        }
        let notes = self.annotations.as_ref().filter(|_| blobs.is_empty())?;
        let media_type = if notes.media_type.is_empty() { media_type::OCI_LAYER_GZIP } else { &notes.media_type };
        Some(Layer {
            blob: Descriptor::new(media_type, self.blob.parse().ok()?, notes.size),
            diff_id: DiffId(notes.diff_id.parse().ok()?),
            parent: None,
            created: notes.created_at.clone(),
        })
    }
}

/// How many layers are below `index`; `None` if one of them is not usable, or there is no end.
fn depth(index: usize, layers: &[Option<Layer>], parents: &[i64]) -> Option<usize> {
    let mut index = index;
    for depth in 0..MAX_DEPTH {
        layers.get(index)?.as_ref()?;
        match parents[index] {
            parent if parent < 0 => return Some(depth),
            parent => index = usize::try_from(parent).ok()?,
        }
    }
    None
}

fn records<'a>(
    keys: &'a [Digest],
    layer: usize,
    created: Option<&'a String>,
) -> impl Iterator<Item = RecordJson> + use<'a> {
    keys.iter().map(move |key| RecordJson {
        layers: vec![ResultJson { layer: layer as i64, created_at: created.cloned() }],
        digest: key.to_string(),
        inputs: Vec::new(),
    })
}

/// A result whose layers are those of an image up to one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineRecord {
    pub keys: Vec<Digest>,
    /// The topmost layer, as an index into those of the image.
    pub layer: usize,
}

/// What goes into the config of an image as its cache.
pub fn inline_records(results: &[InlineRecord]) -> Result<Vec<u8>, serde_json::Error> {
    let records = results.iter().flat_map(|result| records(&result.keys, result.layer, None));
    serde_json::to_vec(&records.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn layer(name: &str, parent: Option<usize>) -> Layer {
        Layer {
            blob: Descriptor::new(media_type::OCI_LAYER_GZIP, digest(name), 7),
            diff_id: DiffId(digest(&format!("{name} tar"))),
            parent,
            created: Some("2020-01-01T00:00:00Z".to_owned()),
        }
    }

    fn cache() -> Cache {
        Cache {
            layers: vec![layer("base", None), layer("left", Some(0)), layer("right", Some(0))],
            results: vec![
                CachedResult { keys: vec![digest("l1"), digest("l2")], layer: 1 },
                CachedResult { keys: vec![digest("r")], layer: 2 },
            ],
            mounts: vec![CachedMount {
                name: digest("mount"),
                chunks: ["p", "q", "p"].map(|piece| CachedMount::chunk(digest(piece), 3)).to_vec(),
            }],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let json = cache().to_json().unwrap();
        assert_eq!(Cache::parse(&json, &cache().blobs()).unwrap(), cache());
        assert_eq!(Cache::parse(&json, &[]).unwrap(), cache(), "the notes in the records are enough");
        let names: Vec<Digest> = cache().stack(&cache().results[1]).iter().map(|l| l.blob.digest.clone()).collect();
        assert_eq!(names, [digest("base"), digest("right")]);
    }

    #[test]
    fn layers_of_an_image_carry_its_records() {
        let records =
            [InlineRecord { keys: vec![digest("a")], layer: 0 }, InlineRecord { keys: vec![digest("b")], layer: 1 }];
        let json = inline_records(&records).unwrap();
        let (layers, diff_ids): (Vec<_>, Vec<_>) =
            [layer("x", None), layer("y", None)].map(|l| (l.blob, l.diff_id)).into_iter().unzip();
        let cache = Cache::parse_inline(&json, &layers, &diff_ids).unwrap();
        assert_eq!(cache.stack(&cache.results[1]).len(), 2);
        assert_eq!(cache.results[0].keys, [digest("a")]);
        assert!(Cache::parse_inline(&json, &layers, &diff_ids[1..]).is_err());
    }

    /// As recorded of the reference, shortened.
    #[test]
    fn a_cache_of_buildkit_is_read_and_has_nothing_for_us() {
        let (a, b) = (layer("a", None), layer("b", None));
        let json = format!(
            r#"{{"layers":[{{"blob":"{}","parent":1}},{{"blob":"{}","parent":-1}}],
                "records":[{{"digest":"{}"}},
                {{"layers":[{{"layer":0,"createdAt":"2026-11-22T06:58:43.582214051Z"}}],"digest":"{}",
                  "inputs":[[{{"link":0}}],[{{"selector":"{}","link":0}}]]}}]}}"#,
            b.blob.digest,
            a.blob.digest,
            digest("source"),
            digest("step"),
            digest("selector"),
        );
        let cache = Cache::parse(json.as_bytes(), &[a.annotated(), b.annotated()]).unwrap();
        assert_eq!(cache.layers.len(), 2);
        assert_eq!((cache.layers[0].parent, cache.layers[1].parent), (None, Some(0)));
        assert_eq!(cache.results, []);
    }

    #[test]
    fn hostile_caches_are_survived() {
        let blob = layer("a", None).annotated();
        let (name, key) = (&blob.digest, digest("key"));
        let record = |layer: i64| format!(r#"{{"digest":"{key}","layers":[{{"layer":{layer}}}]}}"#);
        for (what, layers, record) in [
            ("a layer below itself", format!(r#"{{"blob":"{name}","parent":0}}"#), record(0)),
            ("two below each other", format!(r#"{{"blob":"{name}","parent":1}},{{"blob":"{name}"}}"#), record(1)),
            ("no such parent", format!(r#"{{"blob":"{name}","parent":9}}"#), record(0)),
            ("no such layer", format!(r#"{{"blob":"{name}","parent":-1}}"#), record(-5)),
            ("a path for a digest", r#"{"blob":"sha256:../../etc/passwd","parent":-1}"#.to_owned(), record(0)),
            ("a blob that is not listed", format!(r#"{{"blob":"{key}","parent":-1}}"#), record(0)),
        ] {
            let json = format!(r#"{{"layers":[{layers}],"records":[{record}]}}"#);
            let cache = Cache::parse(json.as_bytes(), std::slice::from_ref(&blob)).unwrap();
            assert_eq!(cache.results, [], "{what}");
        }
        for json in ["", r#"{"layers":7}"#, r#"{"records":[{"layers":[{}]}]}"#] {
            assert!(Cache::parse(json.as_bytes(), &[]).is_err(), "{json}");
        }
        assert_eq!(Cache::parse(b"{\"layers\":null,\"records\":null}", &[]).unwrap(), Cache::default());
        let many = format!(r#"{{"records":[{}{{}}]}}"#, "{},".repeat(MAX_ENTRIES));
        assert!(matches!(Cache::parse(many.as_bytes(), &[]), Err(FormatError::TooMany { .. })));
    }

    #[test]
    fn a_deep_stack_ends() {
        let layers: Vec<String> =
            (0..50_000_i64).map(|index| format!(r#"{{"blob":"{}","parent":{}}}"#, digest("a"), index - 1)).collect();
        let json = format!(r#"{{"layers":[{}]}}"#, layers.join(","));
        let cache = Cache::parse(json.as_bytes(), &[layer("a", None).annotated()]).unwrap();
        assert_eq!(cache.layers.len(), MAX_DEPTH);
    }
}
