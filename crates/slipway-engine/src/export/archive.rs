//! `type=oci` and `type=docker`: an image layout as a tar archive or a folder (`spec/dockerfile.md` section 8.3).

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use slipway_graph::request::{Destination, ImageOutput};
use slipway_oci::{Descriptor, Digest, ImageConfig, Index, IndexOrManifest, Manifest, Reference, media_type};

use super::{Export, ExportError, write_to};
use crate::layer::tar_writer::{Entry, EntryKind, TarWriter};

/// Which reader it is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Oci,
    /// With the `manifest.json` of `docker save`.
    Docker,
}

const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifest {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

pub(super) fn export(
    export: &Export<'_>,
    dest: &Destination,
    options: &ImageOutput,
    kind: Kind,
) -> Result<(), ExportError> {
    let (descriptor, manifest_bytes, manifest) = export.manifest(options)?;
    let index = index_entries(&descriptor, &options.names, &export.image.assembled.config);
    let docker = match kind {
        Kind::Oci => None,
        Kind::Docker => Some(docker_manifest(&manifest, &options.names)?),
    };
    match dest {
        Destination::Folder(path) => {
            let error = |source| ExportError::Write { path: path.clone(), source };
            write_folder(export, path, index, &manifest_bytes, &manifest, docker.as_deref()).map_err(error)
        }
        Destination::Stdout | Destination::File(_) => write_to(dest, |out| {
            let index = index_bytes(index)?;
            let error = |source| match dest {
                Destination::File(path) => ExportError::Write { path: path.clone(), source },
                _ => ExportError::Stdout(source),
            };
            let files = small_files(&index, docker.as_deref());
            write_tar(export, out, &files, &manifest_bytes, &manifest).map_err(error)
        }),
    }
}

/// One descriptor for each name, so that readers find the image under all of them.
fn index_entries(descriptor: &Descriptor, names: &[Reference], config: &ImageConfig) -> Vec<Descriptor> {
    let platform = config.platform();
    let mut base = BTreeMap::new();
    if let Some(created) = &config.created {
        base.insert("org.opencontainers.image.created".to_owned(), whole_seconds(created));
    }
    let entry = |annotations| Descriptor { annotations, platform: Some(platform.clone()), ..descriptor.clone() };
    if names.is_empty() {
        return vec![entry(base)];
    }
    let named = |name: &Reference| {
        let mut annotations = base.clone();
        annotations.insert("io.containerd.image.name".to_owned(), name.with_default_tag().to_string());
        if let Some(tag) = name.tag_or_latest() {
            annotations.insert("org.opencontainers.image.ref.name".to_owned(), tag.to_owned());
        }
        entry(annotations)
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

fn index_bytes(manifests: Vec<Descriptor>) -> Result<Vec<u8>, serde_json::Error> {
    let media_type = Some(media_type::OCI_INDEX.to_owned());
    slipway_oci::to_compact(&Index { schema_version: 2, media_type, manifests, annotations: BTreeMap::new() })
}

fn docker_manifest(manifest: &Manifest, names: &[Reference]) -> Result<Vec<u8>, serde_json::Error> {
    let path = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    slipway_oci::to_compact(&[DockerManifest {
        config: path(&manifest.config.digest),
        repo_tags: names.iter().map(|name| name.with_default_tag().familiar()).collect(),
        layers: manifest.layers.iter().map(|layer| path(&layer.digest)).collect(),
    }])
}

/// What lies beside `blobs/`, in the order of names.
fn small_files<'a>(index: &'a [u8], docker: Option<&'a [u8]>) -> Vec<(&'static str, &'a [u8])> {
    let mut files = vec![("index.json", index)];
    files.extend(docker.map(|docker| ("manifest.json", docker)));
    files.push(("oci-layout", OCI_LAYOUT));
    files
}

/// Digests of all blobs but the manifest, sorted, each once.
fn blob_digests(manifest: &Manifest) -> Vec<Digest> {
    let all = manifest.layers.iter().chain([&manifest.config]).map(|blob| blob.digest.clone());
    let mut digests: Vec<Digest> = all.collect();
    digests.sort();
    digests.dedup();
    digests
}

fn write_tar(
    export: &Export<'_>,
    out: &mut dyn Write,
    files: &[(&str, &[u8])],
    manifest_bytes: &[u8],
    manifest: &Manifest,
) -> io::Result<()> {
    let mut tar = TarWriter::new(out);
    let mut buffer = vec![0; 1 << 20];
    for folder in ["blobs", "blobs/sha256"] {
        tar.entry(&header(EntryKind::Directory, folder, 0))?;
    }
    let mut digests = blob_digests(manifest);
    let manifest_digest = Digest::of(manifest_bytes);
    digests.push(manifest_digest.clone());
    digests.sort();
    for digest in digests {
        let path = format!("blobs/sha256/{}", digest.hex());
        if digest == manifest_digest {
            tar.entry(&header(EntryKind::File, &path, manifest_bytes.len() as u64))?;
            tar.data(&mut &*manifest_bytes, &mut buffer)?;
            continue;
        }
        let (mut file, size) = export.blob_file(&digest).map_err(io::Error::other)?;
        tar.entry(&header(EntryKind::File, &path, size))?;
        tar.data(&mut file, &mut buffer)?;
    }
    for (name, bytes) in files {
        tar.entry(&header(EntryKind::File, name, bytes.len() as u64))?;
        tar.data(&mut &**bytes, &mut buffer)?;
    }
    tar.finish()?.flush()
}

fn header(kind: EntryKind, path: &str, size: u64) -> Entry<'_> {
    let mode = if kind == EntryKind::Directory { 0o755 } else { 0o644 };
    let path = path.as_bytes();
    Entry { kind, path, link: b"", mode, uid: 0, gid: 0, mtime: 0, size, device: (0, 0), capability: None }
}

/// Adds the image to a layout folder; other images in it stay, one with the same name is replaced.
fn write_folder(
    export: &Export<'_>,
    folder: &Path,
    entries: Vec<Descriptor>,
    manifest_bytes: &[u8],
    manifest: &Manifest,
    docker: Option<&[u8]>,
) -> io::Result<()> {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs)?;
    for digest in blob_digests(manifest) {
        let (mut file, _) = export.blob_file(&digest).map_err(io::Error::other)?;
        write_file(&blobs, digest.hex(), &mut file)?;
    }
    write_file(&blobs, Digest::of(manifest_bytes).hex(), &mut &*manifest_bytes)?;
    let mut all = other_entries(&folder.join("index.json"), &entries)?;
    all.extend(entries);
    let index = index_bytes(all).map_err(io::Error::other)?;
    if let Some(docker) = docker {
        write_file(folder, "manifest.json", &mut &*docker)?;
    }
    write_file(folder, "oci-layout", &mut &*OCI_LAYOUT)?;
    // Last: now everything that it names is there.
    write_file(folder, "index.json", &mut &*index)
}

fn other_entries(index: &Path, new: &[Descriptor]) -> io::Result<Vec<Descriptor>> {
    let bytes = match std::fs::read(index) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let parsed = IndexOrManifest::parse(&bytes, media_type::OCI_INDEX).map_err(io::Error::other)?;
    let IndexOrManifest::Index(parsed) = parsed else { return Ok(Vec::new()) };
    let name = |d: &Descriptor| d.annotations.get("org.opencontainers.image.ref.name").cloned();
    let replaced: Vec<Option<String>> = new.iter().map(name).collect();
    Ok(parsed.manifests.into_iter().filter(|old| !replaced.contains(&name(old))).collect())
}

fn write_file(folder: &Path, name: &str, source: &mut dyn io::Read) -> io::Result<()> {
    let mut temporary = tempfile::Builder::new().prefix(".slipway-").tempfile_in(folder)?;
    io::copy(source, &mut temporary)?;
    temporary.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    temporary.persist(folder.join(name)).map_err(|e| e.error)?;
    Ok(())
}
