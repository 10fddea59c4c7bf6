//! How do records of builds get to another machine? In one file, a tar compressed with gzip, which holds an OCI layout as
//! BuildKit's client writes one (`.dockerbuild`):
//!
//! ```text
//! index.json ─▶ a manifest a build ─▶ config   the record, JSON
//!                                  └▶ layers   its log, and the notes that its steps refer to
//! ```
//!
//! Only what a record says itself goes along: neither images nor files, and, as in the store, no secret. Records are
//! slipway's own: those of BuildKit say other things, and are told apart by their media type.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use slipway_archive::tar_reader::{TarError, TarReader};
use slipway_archive::tar_writer::{Entry, EntryKind, TarWriter};
use slipway_oci::{Descriptor, Digest, Index, IndexOrManifest, Manifest, ManifestParseError, media_type, to_indented};
use slipway_store::{BuildLimits, BuildRecordError, DbError, FsError, NewBuild, Store};

use super::BuildRecord;

const RECORD_TYPE: &str = "application/vnd.slipway.build.record.v1+json";
const LOG_TYPE: &str = "application/vnd.slipway.build.log.v1+zstd";
const NOTE_TYPE: &str = "application/vnd.slipway.build.note.v1+zstd";
/// What BuildKit's records are called.
const FOREIGN_TYPE: &str = "application/vnd.buildkit.historyrecord.v0";
/// The name of a note: the definition key of its step, or the digest of a list of files.
const NOTE_NAME: &str = "org.slipway.build.note";
const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// Nobody keeps more of a build.
const MAX_BUNDLE_BYTES: u64 = 512 << 20;
/// An index may point to another one; so deep nobody goes.
const MAX_INDEX_DEPTH: usize = 4;
/// Ids are names of files.
const MAX_ID_LENGTH: usize = 64;

/// Why records cannot be taken along or in.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error("cannot write the bundle")]
    Write(#[source] io::Error),
    #[error("cannot read the records of builds")]
    Fs(#[from] FsError),
    #[error("cannot look up what the steps were made of")]
    Db(#[from] DbError),
    #[error("cannot keep the build")]
    Keep(#[from] BuildRecordError),
    #[error("the bundle is no tar that is compressed with gzip")]
    Archive(#[from] TarError),
    #[error("the bundle holds more than {} MiB", MAX_BUNDLE_BYTES >> 20)]
    TooLarge,
    #[error("the bundle lacks `{0}`, which another part of it names, or has it damaged")]
    Missing(String),
    #[error("the bundle has a document that cannot be read")]
    Document(#[from] ManifestParseError),
    #[error("the bundle has a record that cannot be read (written by another version?)")]
    Record(#[source] serde_json::Error),
    #[error("the bundle has a record with the id {0:?}, which no build has")]
    Id(String),
    #[error("the bundle has a record of BuildKit, which slipway cannot read")]
    Foreign,
    #[error("no build records found in the bundle")]
    Empty,
}

/// Writes `builds`, which `store` remembers, to `out`.
pub fn write_bundle(store: &Store, builds: &[&BuildRecord], out: impl Write) -> Result<(), BundleError> {
    let tar = TarWriter::new(GzEncoder::new(out, Compression::default()));
    let mut layout = LayoutWriter { tar, written: BTreeSet::new() };
    layout.file("oci-layout", LAYOUT)?;
    let mut manifests = Vec::new();
    for build in builds {
        let record = serde_json::to_vec_pretty(build).map_err(BundleError::Record)?;
        let config = layout.blob(RECORD_TYPE, &record)?;
        let mut layers = Vec::new();
        if let Some(mut log) = store.build_log(&build.id)? {
            let mut bytes = Vec::new();
            log.read_to_end(&mut bytes).map_err(BundleError::Write)?;
            layers.push(layout.blob(LOG_TYPE, &bytes)?);
        }
        for (name, note) in store.notes_of_build(&build.id)? {
            let mut blob = layout.blob(NOTE_TYPE, &note)?;
            blob.annotations.insert(NOTE_NAME.to_owned(), name.as_str().to_owned());
            layers.push(blob);
        }
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        };
        let manifest = to_indented(&manifest).map_err(BundleError::Record)?;
        manifests.push(layout.blob(media_type::OCI_MANIFEST, &manifest)?);
    }
    let index = Index {
        schema_version: 2,
        media_type: Some(media_type::OCI_INDEX.to_owned()),
        manifests,
        annotations: BTreeMap::new(),
    };
    layout.file("index.json", &to_indented(&index).map_err(BundleError::Record)?)?;
    let encoder = layout.tar.finish().map_err(BundleError::Write)?;
    encoder.finish().and_then(|mut out| out.flush()).map_err(BundleError::Write)
}

/// Takes the records of a bundle into `store`, and returns them. What is known there already stays as it is.
pub fn read_bundle(store: &Store, bundle: impl Read) -> Result<Vec<BuildRecord>, BundleError> {
    let files = read_files(bundle)?;
    let index = files.get("index.json").ok_or(BundleError::Empty)?;
    let mut found = Vec::new();
    for manifest in manifests(&files, index, 0)? {
        found.push(keep(store, &files, &manifest)?);
    }
    if found.is_empty() { Err(BundleError::Empty) } else { Ok(found) }
}

struct LayoutWriter<W: Write> {
    tar: TarWriter<W>,
    written: BTreeSet<String>,
}

impl<W: Write> LayoutWriter<W> {
    fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Result<Descriptor, BundleError> {
        let digest = Digest::of(bytes);
        self.file(&blob_path(&digest), bytes)?;
        Ok(Descriptor::new(media_type, digest, bytes.len() as u64))
    }

    fn file(&mut self, path: &str, bytes: &[u8]) -> Result<(), BundleError> {
        // Builds share notes.
        if !self.written.insert(path.to_owned()) {
            return Ok(());
        }
        let entry = Entry {
            kind: EntryKind::File,
            path: path.as_bytes(),
            link: b"",
            mode: 0o444,
            uid: 0,
            gid: 0,
            mtime: 0,
            size: bytes.len() as u64,
            device: (0, 0),
            capability: None,
        };
        let written = self.tar.entry(&entry).and_then(|()| self.tar.data(&mut &*bytes, &mut [0; 8192]));
        written.map_err(BundleError::Write)
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

type BundleFiles = BTreeMap<String, Vec<u8>>;

fn read_files(bundle: impl Read) -> Result<BundleFiles, BundleError> {
    let mut tar = TarReader::new(BufReader::new(MultiGzDecoder::new(bundle)));
    let (mut files, mut n_bytes) = (BundleFiles::new(), 0_u64);
    while let Some(entry) = tar.next_entry()? {
        n_bytes = n_bytes.saturating_add(entry.size).saturating_add(512);
        if n_bytes > MAX_BUNDLE_BYTES {
            return Err(BundleError::TooLarge);
        }
        if entry.kind == EntryKind::File {
            let mut bytes = Vec::new();
            tar.read_to_end(&mut bytes).map_err(TarError::Read)?;
            files.insert(String::from_utf8_lossy(&entry.path).into_owned(), bytes);
        }
    }
    Ok(files)
}

/// All manifests that a document leads to.
fn manifests(files: &BundleFiles, document: &[u8], depth: usize) -> Result<Vec<Manifest>, BundleError> {
    match IndexOrManifest::parse(document, "")? {
        IndexOrManifest::Manifest(manifest) => Ok(vec![manifest]),
        IndexOrManifest::Index(index) if depth < MAX_INDEX_DEPTH => {
            let parts = index.manifests.iter().map(|part| manifests(files, blob(files, part)?, depth + 1));
            Ok(parts.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        }
        IndexOrManifest::Index(_) => Ok(Vec::new()),
    }
}

/// The bytes that `descriptor` names, if they are what it says.
fn blob<'a>(files: &'a BundleFiles, descriptor: &Descriptor) -> Result<&'a [u8], BundleError> {
    let bytes = files.get(&blob_path(&descriptor.digest)).filter(|bytes| Digest::of(bytes) == descriptor.digest);
    bytes.map(Vec::as_slice).ok_or_else(|| BundleError::Missing(descriptor.digest.as_str().to_owned()))
}

fn keep(store: &Store, files: &BundleFiles, manifest: &Manifest) -> Result<BuildRecord, BundleError> {
    match manifest.config.media_type.as_str() {
        RECORD_TYPE => {}
        FOREIGN_TYPE => return Err(BundleError::Foreign),
        _ => return Err(BundleError::Empty),
    }
    let record_bytes = blob(files, &manifest.config)?;
    let record: BuildRecord = serde_json::from_slice(record_bytes).map_err(BundleError::Record)?;
    let is_name =
        |id: &str| !id.is_empty() && id.len() <= MAX_ID_LENGTH && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !is_name(&record.id) {
        return Err(BundleError::Id(record.id));
    }
    if BuildRecord::newest_first(store)?.any(|known| known.id == record.id) {
        return Ok(record);
    }
    let (mut log, mut notes) = (None, Vec::new());
    for layer in &manifest.layers {
        let bytes = blob(files, layer)?;
        match (layer.media_type.as_str(), layer.annotations.get(NOTE_NAME).and_then(|name| name.parse::<Digest>().ok()))
        {
            (LOG_TYPE, _) => {
                let mut writer = store.build_log_writer()?;
                writer.write_all(bytes).map_err(BundleError::Write)?;
                log = Some(writer);
            }
            (NOTE_TYPE, Some(name)) => notes.push((name, bytes.to_vec())),
            _ => {}
        }
    }
    let refers_to: Vec<Digest> = notes.iter().map(|(name, _)| name.clone()).collect();
    let build = NewBuild {
        id: &record.id,
        ended_ns: record.completed_ns,
        // As the store has it: the bundle's is for people, too.
        record: &serde_json::to_vec(&record).map_err(BundleError::Record)?,
        log,
        refers_to: &refers_to,
        notes: &notes,
    };
    store.add_past_build(build, BuildLimits::default())?;
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), slipway_store::OverlayFlavor::UserNamespace).unwrap();
        (folder, store)
    }

    /// A bundle with the manifest of `config` and nothing else.
    fn bundle(media_type: &str, config: &[u8]) -> Vec<u8> {
        let mut layout = LayoutWriter {
            tar: TarWriter::new(GzEncoder::new(Vec::new(), Compression::fast())),
            written: BTreeSet::new(),
        };
        let config = layout.blob(media_type, config).unwrap();
        let manifest = format!(
            r#"{{"schemaVersion": 2, "mediaType": "{}", "config": {}, "layers": []}}"#,
            media_type::OCI_MANIFEST,
            serde_json::to_string(&config).unwrap()
        );
        let manifest = layout.blob(media_type::OCI_MANIFEST, manifest.as_bytes()).unwrap();
        let index =
            Index { schema_version: 2, media_type: None, manifests: vec![manifest], annotations: BTreeMap::new() };
        layout.file("index.json", &to_indented(&index).unwrap()).unwrap();
        layout.tar.finish().unwrap().finish().unwrap()
    }

    #[test]
    fn what_is_no_bundle_of_ours_is_refused() {
        let (_folder, store) = store();
        let told = |bytes: &[u8]| read_bundle(&store, bytes).unwrap_err().to_string();
        assert_eq!(told(b"text"), "the bundle is no tar that is compressed with gzip");
        assert_eq!(
            told(&bundle(FOREIGN_TYPE, b"{}")),
            "the bundle has a record of BuildKit, which slipway cannot read"
        );
        assert_eq!(told(&bundle("x/y", b"{}")), "no build records found in the bundle");
        assert!(told(&bundle(RECORD_TYPE, b"{}")).starts_with("the bundle has a record that cannot be read"));
        assert_eq!(BuildRecord::all(&store).unwrap(), []);
    }

    #[test]
    fn an_id_is_no_path() {
        let (_folder, store) = store();
        let record = serde_json::json!({
            "id": "../x", "started_ns": 1, "completed_ns": 2, "status": "completed", "error": null, "image_id": null,
            "steps": [], "request": {
                "context": "/c", "dockerfile": "Dockerfile", "target": null, "platforms": [], "build_args": [], "labels": [],
                "tags": [], "secrets": [],
            },
        });
        let told =
            |record: &serde_json::Value| read_bundle(&store, &bundle(RECORD_TYPE, record.to_string().as_bytes())[..]);
        assert!(told(&record).unwrap_err().to_string().contains("with the id \"../x\""));
        let mut good = record;
        good["id"] = "x1".into();
        assert_eq!(told(&good).unwrap()[0].id, "x1");
        assert_eq!(BuildRecord::all(&store).unwrap().len(), 1);
        // Once more changes nothing.
        assert_eq!(told(&good).unwrap().len(), 1);
        assert_eq!(BuildRecord::all(&store).unwrap().len(), 1);
    }
}
