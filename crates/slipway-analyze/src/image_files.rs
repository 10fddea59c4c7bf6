//! Which layers does the image in an archive or folder have (`spec/analyze.md` section 2.1)?
//!
//! A `manifest.json` is Docker's: it names the config and the layers. Without one the files are an OCI layout, which
//! begins at `index.json`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use slipway_oci::{Descriptor, Digest, ImageConfig, Index, IndexOrManifest, Manifest, ManifestParseError, Platform};

use crate::files::{Files, FilesError};
use crate::layer::{LayerSource, StoredLayer, with_commands};

/// An index may point to another one; so deep nobody goes.
const MAX_INDEX_DEPTH: usize = 4;

/// Why files are not an image.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error("`{}` holds neither a manifest.json nor an index.json (expected a docker archive or an OCI layout)", path.display())]
    NoImage { path: PathBuf },
    #[error("`{name}`, which another document names, is not there")]
    Missing { name: String },
    #[error("`{name}` cannot be read")]
    Json { name: String, source: serde_json::Error },
    #[error("`{name}` cannot be read")]
    Manifest { name: String, source: ManifestParseError },
    #[error("there is no image for {platform}")]
    NoPlatform { platform: Platform },
}

/// An item of Docker's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifest {
    config: String,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// The layers of the image in the archive or folder `path`, bottom first; of several the one for `platform`.
pub fn open(path: &Path, platform: &Platform, ignores_errors: bool) -> Result<Vec<LayerSource<'static>>, OpenError> {
    let files = Arc::new(Files::at(path, ignores_errors)?);
    if let Some(bytes) = files.document("manifest.json")? {
        return docker_layers(&files, &bytes);
    }
    match files.document("index.json")? {
        Some(bytes) => oci_layers(&files, &bytes, platform),
        None => Err(OpenError::NoImage { path: path.to_owned() }),
    }
}

fn docker_layers(files: &Arc<Files>, manifest: &[u8]) -> Result<Vec<LayerSource<'static>>, OpenError> {
    let manifests: Vec<DockerManifest> = parsed("manifest.json", manifest)?;
    let missing = || OpenError::Missing { name: "image in manifest.json".to_owned() };
    let manifest = manifests.into_iter().next().ok_or_else(missing)?;
    let config: ImageConfig = document(files, &manifest.config)?;
    let layers = manifest.layers.unwrap_or_default().into_iter().map(|name| {
        let id = name.trim_start_matches("./").split('/').next().unwrap_or_default().to_owned();
        stored_layer(files, Some(id), None, name)
    });
    Ok(with_commands(&config, layers.collect()))
}

fn oci_layers(files: &Arc<Files>, index: &[u8], platform: &Platform) -> Result<Vec<LayerSource<'static>>, OpenError> {
    let mut index: Index = parsed("index.json", index)?;
    for _ in 0..MAX_INDEX_DEPTH {
        let chosen = chosen(&index, platform).ok_or_else(|| OpenError::NoPlatform { platform: platform.clone() })?;
        let name = blob(&chosen.digest);
        let bytes = files.document(&name)?.ok_or_else(|| OpenError::Missing { name: name.clone() })?;
        match IndexOrManifest::parse(&bytes, &chosen.media_type) {
            Ok(IndexOrManifest::Index(inner)) => index = inner,
            Ok(IndexOrManifest::Manifest(manifest)) => return manifest_layers(files, &manifest),
            Err(source) => return Err(OpenError::Manifest { name, source }),
        }
    }
    Err(OpenError::NoPlatform { platform: platform.clone() })
}

fn manifest_layers(files: &Arc<Files>, manifest: &Manifest) -> Result<Vec<LayerSource<'static>>, OpenError> {
    let config: ImageConfig = document(files, &blob(&manifest.config.digest))?;
    let layers = manifest.layers.iter().map(|layer| stored_layer(files, None, Some(layer.size), blob(&layer.digest)));
    Ok(with_commands(&config, layers.collect()))
}

/// The image for `platform`, or one whose programs run there as well, or the only one that there is.
pub fn chosen<'a>(index: &'a Index, platform: &Platform) -> Option<&'a Descriptor> {
    let is_image =
        |d: &&Descriptor| d.annotations.get("vnd.docker.reference.type").is_none_or(|t| t != "attestation-manifest");
    let images: Vec<&Descriptor> = index.manifests.iter().filter(is_image).collect();
    if let [only] = &images[..] {
        return Some(only);
    }
    let of = |wanted: &Platform| images.iter().find(|d| d.platform.as_ref().is_some_and(|p| p.matches(wanted)));
    // Layouts of engines may say no platform in the outer index.
    let unnamed = || images.iter().find(|image| image.platform.is_none());
    platform.and_older_variants().iter().find_map(of).or_else(unnamed).copied()
}

fn stored_layer(
    files: &Arc<Files>,
    id: Option<String>,
    compressed_bytes: Option<u64>,
    name: String,
) -> StoredLayer<'static> {
    let files = Arc::clone(files);
    StoredLayer { id, compressed_bytes, open: Box::new(move || files.reader(&name)) }
}

fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn document<T: DeserializeOwned>(files: &Files, name: &str) -> Result<T, OpenError> {
    let bytes = files.document(name)?.ok_or_else(|| OpenError::Missing { name: name.to_owned() })?;
    parsed(name, &bytes)
}

fn parsed<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, OpenError> {
    serde_json::from_slice(bytes).map_err(|source| OpenError::Json { name: name.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use slipway_archive::tar_writer::{Entry, EntryKind, TarWriter};

    use super::*;
    use crate::testing::tar;
    use crate::{Analysis, Compat};

    const CONFIG: &str = r#"{"architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [
            "sha256:1111111111111111111111111111111111111111111111111111111111111111",
            "sha256:2222222222222222222222222222222222222222222222222222222222222222",
            "sha256:3333333333333333333333333333333333333333333333333333333333333333"]},
        "history": [{"created_by": "/bin/sh -c #(nop) ADD file:1 in / "},
            {"created_by": "/bin/sh -c #(nop) CMD x", "empty_layer": true}, {"created_by": "RUN make"}]}"#;

    /// An archive of members: a name, and bytes or, behind `->`, the target of a link.
    fn archive(members: &[(&str, &[u8])]) -> tempfile::NamedTempFile {
        let mut tar = TarWriter::new(Vec::new());
        for (name, bytes) in members {
            let target = bytes.strip_prefix(b"->");
            let entry = Entry {
                kind: if target.is_some() { EntryKind::Symlink } else { EntryKind::File },
                path: name.as_bytes(),
                link: target.unwrap_or_default(),
                mode: 0o644,
                uid: 0,
                gid: 0,
                mtime: 0,
                size: if target.is_some() { 0 } else { bytes.len() as u64 },
                device: (0, 0),
                capability: None,
            };
            tar.entry(&entry).unwrap();
            if target.is_none() {
                tar.data(&mut &bytes[..], &mut [0; 512]).unwrap();
            }
        }
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&tar.finish().unwrap()).unwrap();
        file
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn platform() -> Platform {
        Platform::new("linux", "amd64", None)
    }

    fn analysis(path: &Path) -> Analysis {
        Analysis::of(&open(path, &platform(), false).unwrap(), Compat::Corrected, false).unwrap()
    }

    #[test]
    fn docker_archives_with_all_compressions_and_links() {
        let manifest = br#"[{"Config": "c.json", "RepoTags": null,
            "Layers": ["one/layer.tar", "two/layer.tar", "three/layer.tar", "four/layer.tar"]}]"#;
        let file = archive(&[
            ("one/layer.tar", &gzip(&tar("a:100"))),
            ("two/layer.tar", &zstd::encode_all(&tar("a:100")[..], 1).unwrap()),
            ("three/layer.tar", &tar("b:7")),
            ("four/layer.tar", b"->../three/layer.tar"),
            ("c.json", CONFIG.as_bytes()),
            ("manifest.json", manifest),
        ]);
        let image = analysis(file.path());
        let layers: Vec<_> = image.layers.iter().map(|l| (&l.id[..], &l.command[..], l.size_bytes)).collect();
        let expected = [
            ("one", "#(nop) ADD file:1 in / ", 100),
            ("two", "RUN make", 100),
            ("three", "(missing)", 7),
            ("four", "(missing)", 7),
        ];
        assert_eq!(layers, expected);
        assert!(image.layers[0].digest.starts_with("sha256:11"));
        assert_eq!(image.layers[3].digest, "");
        assert_eq!(image.efficiency.wasted_bytes(), 214);
    }

    /// The documents of a layout whose image has the layer `a:5`, with the names they go by.
    fn layout() -> Vec<(String, Vec<u8>)> {
        let config = CONFIG.as_bytes().to_vec();
        let layer = gzip(&tar("a:5"));
        let named = |bytes: &[u8]| blob(&Digest::of(bytes));
        let manifest = format!(
            r#"{{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "{}", "size": {}}},
            "layers": [{{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "{}", "size": {}}}]}}"#,
            Digest::of(&config).as_str(),
            config.len(),
            Digest::of(&layer).as_str(),
            layer.len()
        )
        .into_bytes();
        let descriptor = |architecture: &str, digest: &str| {
            format!(
                r#"{{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "{digest}",
                "size": {}, "platform": {{"architecture": "{architecture}", "os": "linux"}}}}"#,
                manifest.len()
            )
        };
        let other = descriptor("arm64", &format!("sha256:{:064}", 0));
        let mine = descriptor("amd64", Digest::of(&manifest).as_str());
        let index = format!(r#"{{"schemaVersion": 2, "manifests": [{other}, {mine}]}}"#).into_bytes();
        vec![
            (named(&config), config),
            (named(&layer), layer),
            (named(&manifest), manifest),
            ("index.json".to_owned(), index),
        ]
    }

    #[test]
    fn layouts_as_folder_and_as_tar() {
        let layout = layout();
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
        for (name, bytes) in &layout {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let members: Vec<_> = layout.iter().map(|(name, bytes)| (&name[..], &bytes[..])).collect();
        let file = archive(&members);
        for path in [folder.path(), file.path()] {
            let image = analysis(path);
            assert_eq!((image.layers.len(), image.size_bytes()), (1, 5));
            assert_eq!(image.layers[0].compressed_bytes, Some(layout[1].1.len() as u64));
            assert_eq!(image.layers[0].id, "1".repeat(64));
        }
        let arm = Platform::new("linux", "arm64", None);
        assert!(matches!(open(file.path(), &arm, false), Err(OpenError::Missing { .. })));
        let riscv = Platform::new("linux", "riscv64", None);
        assert!(matches!(open(file.path(), &riscv, false), Err(OpenError::NoPlatform { .. })));
    }

    #[test]
    fn what_is_broken_is_told_or_taken_as_far_as_it_goes() {
        let manifest = br#"[{"Config": "c.json", "Layers": ["l/layer.tar"]}]"#;
        let layer = tar("a:5 b:600");
        let file = archive(&[
            ("c.json", CONFIG.as_bytes()),
            ("manifest.json", manifest),
            ("l/layer.tar", &layer[..layer.len() - 2048]),
        ]);
        let sources = open(file.path(), &platform(), false).unwrap();
        let error = Analysis::of(&sources, Compat::Corrected, false).unwrap_err();
        assert!(error.to_string().starts_with("cannot read layer 0 (sha256:11"), "{error}");
        assert_eq!(Analysis::of(&sources, Compat::Corrected, true).unwrap().size_bytes(), 5);
        let nothing = archive(&[("x", b"y")]);
        assert!(matches!(open(nothing.path(), &platform(), false), Err(OpenError::NoImage { .. })));
        let dangling = archive(&[("manifest.json", manifest), ("c.json", b"->c.json")]);
        assert!(matches!(open(dangling.path(), &platform(), false), Err(OpenError::Missing { .. })));
    }
}
