//! `type=oci` and `type=docker`: an image layout as a tar archive or a folder (`spec/dockerfile.md` section 8.3).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use slipway_graph::request::{Destination, ImageOutput};
use slipway_oci::{Descriptor, Digest, Index, IndexOrManifest, Manifest, Reference, media_type};
use slipway_store::Store;

use super::documents::Documents;
use super::{Export, ExportError, ExportedImage, write_to};
use crate::layer::tar_writer::{Entry, EntryKind, TarWriter};

/// Which reader it is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Oci,
    /// With the `manifest.json` of `docker save`.
    Docker,
}

const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Annotation with the full name of an image.
pub(crate) const IMAGE_NAME: &str = "io.containerd.image.name";

/// Annotation with its tag (image spec, `annotations.md`).
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DockerManifest {
    config: String,
    /// `null` instead of no items, as in the reference.
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

pub(super) fn export(
    export: &Export<'_>,
    dest: &Destination,
    options: &ImageOutput,
    kind: Kind,
) -> Result<ExportedImage, ExportError> {
    if kind == Kind::Docker && export.is_indexed(options) {
        return Err(ExportError::DockerIndex);
    }
    let documents = export.documents(options)?;
    export.fetch_blobs(&documents)?;
    let archive = Archive::of(&documents, &options.names, kind)?;
    match dest {
        Destination::Folder(path) => {
            let error = |source| ExportError::Write { path: path.clone(), source };
            archive.write_folder(export, path).map_err(error)?;
        }
        Destination::Stdout | Destination::File(_) => write_to(dest, |out| {
            let error = |source| match dest {
                Destination::File(path) => ExportError::Write { path: path.clone(), source },
                _ => ExportError::Stdout(source),
            };
            archive.write(export.store, out).map_err(error)
        })?,
    }
    let descriptor = archive.pointer;
    Ok(ExportedImage { descriptor, ..documents.exported(&options.names) })
}

/// A result as an image layout.
#[derive(Clone)]
pub(super) struct Archive<'a> {
    pointer: Descriptor,
    /// Those of `index.json`.
    entries: Vec<Descriptor>,
    /// `manifest.json`, if there is one.
    docker: Option<Vec<u8>>,
    digests: BTreeSet<&'a Digest>,
}

impl<'a> Archive<'a> {
    /// The layout of `documents` under `names`.
    pub(super) fn of(
        documents: &'a Documents,
        names: &[Reference],
        kind: Kind,
    ) -> Result<Archive<'a>, serde_json::Error> {
        let pointer = dated(documents);
        let entries = index_entries(&pointer, names);
        let docker = match (kind, documents.manifests.as_slice()) {
            (Kind::Docker, [manifest]) => Some(slipway_oci::to_compact(&[docker_entry(manifest, names)])?),
            _ => None,
        };
        Ok(Archive { pointer, entries, docker, digests: all_digests(documents) })
    }

    /// The same, but for blobs that whoever gets it has.
    pub(super) fn without(&self, known: &BTreeSet<Digest>) -> Self {
        let digests = self.digests.iter().filter(|digest| !known.contains(**digest)).copied().collect();
        Archive { digests, ..self.clone() }
    }

    /// The blobs that are in it.
    pub(super) fn digests(&self) -> impl Iterator<Item = &Digest> {
        self.digests.iter().copied()
    }

    /// Writes it as a tar.
    pub(super) fn write(&self, store: &Store, out: &mut dyn Write) -> io::Result<()> {
        let index = index_bytes(self.entries.clone()).map_err(io::Error::other)?;
        write_tar(store, out, &small_files(&index, self.docker.as_deref()), &self.digests)
    }

    /// Adds the image to a layout folder; other images in it stay, one with the same name is replaced.
    fn write_folder(&self, export: &Export<'_>, folder: &Path) -> io::Result<()> {
        let blobs = folder.join("blobs/sha256");
        std::fs::create_dir_all(&blobs)?;
        for digest in &self.digests {
            let (mut file, _) = export.blob_file(digest).map_err(io::Error::other)?;
            write_file(&blobs, digest.hex(), &mut file)?;
        }
        let mut entries = self.entries.clone();
        for entry in &mut entries {
            // Others may come to lie beside it.
            entry.annotations.entry(REF_NAME.to_owned()).or_insert_with(|| "latest".to_owned());
        }
        let mut all = other_entries(&folder.join("index.json"), &entries)?;
        all.extend(entries);
        let index = index_bytes(all).map_err(io::Error::other)?;
        if let Some(docker) = &self.docker {
            write_file(folder, "manifest.json", &mut docker.as_slice())?;
        }
        write_file(folder, "oci-layout", &mut &*OCI_LAYOUT)?;
        // Last: now everything that it names is there.
        write_file(folder, "index.json", &mut &*index)
    }
}

/// The pointer to the result, with the time that it was made.
fn dated(documents: &Documents) -> Descriptor {
    let mut pointer = documents.pointer.clone();
    // Times of the same form are in the order of their texts.
    if let Some(created) = documents.configs.iter().filter_map(|made| made.config.created.as_ref()).max() {
        pointer.annotations.insert("org.opencontainers.image.created".to_owned(), whole_seconds(created));
    }
    pointer
}

/// One descriptor for each name, so that readers find the image under all of them.
pub(crate) fn index_entries(pointer: &Descriptor, names: &[Reference]) -> Vec<Descriptor> {
    if names.is_empty() {
        return vec![pointer.clone()];
    }
    let named = |name: &Reference| {
        let mut annotations = pointer.annotations.clone();
        annotations.insert(IMAGE_NAME.to_owned(), name.with_default_tag().to_string());
        if let Some(tag) = name.tag_or_latest() {
            annotations.insert(REF_NAME.to_owned(), tag.to_owned());
        }
        Descriptor { annotations, ..pointer.clone() }
    };
    names.iter().map(named).collect()
}

/// `2020-01-02T03:04:05.6Z` without the fraction, as the reference writes times of annotations.
fn whole_seconds(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => time.to_owned(),
    }
}

pub(crate) fn index_bytes(manifests: Vec<Descriptor>) -> Result<Vec<u8>, serde_json::Error> {
    let media_type = Some(media_type::OCI_INDEX.to_owned());
    slipway_oci::to_compact(&Index { schema_version: 2, media_type, manifests, annotations: BTreeMap::new() })
}

/// The entry for one image in the `manifest.json` of an archive.
pub(crate) fn docker_entry(manifest: &Manifest, names: &[Reference]) -> DockerManifest {
    let path = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    let some = |items: Vec<String>| Some(items).filter(|items| !items.is_empty());
    DockerManifest {
        config: path(&manifest.config.digest),
        repo_tags: some(names.iter().map(|name| name.with_default_tag().familiar()).collect()),
        layers: some(manifest.layers.iter().map(|layer| path(&layer.digest)).collect()),
    }
}

/// What lies beside `blobs/`, in the order of names.
pub(crate) fn small_files<'a>(index: &'a [u8], docker: Option<&'a [u8]>) -> Vec<(&'static str, &'a [u8])> {
    let mut files = vec![("index.json", index)];
    files.extend(docker.map(|docker| ("manifest.json", docker)));
    files.push(("oci-layout", OCI_LAYOUT));
    files
}

/// Writes an archive of an image layout with the blobs `digests` of the store.
pub(crate) fn write_tar(
    store: &Store,
    out: &mut dyn Write,
    files: &[(&str, &[u8])],
    digests: &BTreeSet<&Digest>,
) -> io::Result<()> {
    let mut tar = TarWriter::new(out);
    let mut buffer = vec![0; 1 << 20];
    for folder in ["blobs", "blobs/sha256"] {
        tar.entry(&header(EntryKind::Directory, folder, 0))?;
    }
    for digest in digests {
        let path = format!("blobs/sha256/{}", digest.hex());
        let missing = || io::Error::other(ExportError::BlobMissing((*digest).clone()));
        let (mut file, size) = store.open_blob(digest).map_err(io::Error::other)?.ok_or_else(missing)?;
        tar.entry(&header(EntryKind::File, &path, size))?;
        tar.data(&mut file, &mut buffer)?;
    }
    for (name, bytes) in files {
        tar.entry(&header(EntryKind::File, name, bytes.len() as u64))?;
        tar.data(&mut &**bytes, &mut buffer)?;
    }
    tar.finish()?.flush()
}

/// Digests of all blobs and documents, sorted, each once.
fn all_digests(documents: &Documents) -> BTreeSet<&Digest> {
    let blobs = documents.blobs().into_iter().map(|blob| &blob.digest);
    blobs.chain(documents.documents.iter().map(|document| &document.descriptor.digest)).collect()
}

fn header(kind: EntryKind, path: &str, size: u64) -> Entry<'_> {
    let mode = if kind == EntryKind::Directory { 0o755 } else { 0o644 };
    let path = path.as_bytes();
    Entry { kind, path, link: b"", mode, uid: 0, gid: 0, mtime: 0, size, device: (0, 0), capability: None }
}

fn other_entries(index: &Path, new: &[Descriptor]) -> io::Result<Vec<Descriptor>> {
    let bytes = match std::fs::read(index) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let parsed = IndexOrManifest::parse(&bytes, media_type::OCI_INDEX).map_err(io::Error::other)?;
    let IndexOrManifest::Index(parsed) = parsed else { return Ok(Vec::new()) };
    let name = |d: &Descriptor| [IMAGE_NAME, REF_NAME].map(|key| d.annotations.get(key).cloned());
    let replaced: Vec<[Option<String>; 2]> = new.iter().map(name).collect();
    Ok(parsed.manifests.into_iter().filter(|old| !replaced.contains(&name(old))).collect())
}

fn write_file(folder: &Path, name: &str, source: &mut dyn io::Read) -> io::Result<()> {
    let mut temporary = tempfile::Builder::new().prefix(".slipway-").tempfile_in(folder)?;
    io::copy(source, &mut temporary)?;
    temporary.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    temporary.persist(folder.join(name)).map_err(|e| e.error)?;
    Ok(())
}
