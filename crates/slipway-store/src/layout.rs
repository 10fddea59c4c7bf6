//! What do other tools find here? `index.json` lists the images of which every blob is in the store, so that whoever
//! reads OCI layouts (skopeo, umoci, crane) reads them under their names.
//!
//! It is written anew when such an image comes or goes, as a whole, inside a transaction: of several writers the last
//! one has seen what the others did.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use slipway_oci::{Descriptor, Digest, Index, IndexOrManifest, Reference, media_type};

use crate::{FsError, ImageError, ImageRecord, Store, image};

const FILE: &str = "index.json";
/// More than any manifest or index has.
const MAX_DOCUMENT_BYTES: u64 = 4 << 20;
/// Annotation with the name that tools take after the path of a layout (image spec, `annotations.md`).
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Annotation with the full name.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// A layout that holds nothing, in `root`.
pub(crate) fn write_empty(root: &Path) -> Result<(), FsError> {
    let path = root.join(FILE);
    std::fs::write(&path, index_of(Vec::new())).map_err(FsError::on("write", &path))
}

impl Store {
    /// Writes the list of images anew.
    pub(crate) fn write_layout_index(&self) -> Result<(), ImageError> {
        self.database().write(|tx| {
            let images = image::parse_all(tx.run(image::rows)?)?;
            let entries = images.iter().filter_map(|(name, image)| self.layout_entry(name, image)).collect();
            let (path, new) = (self.root().join(FILE), self.root().join(format!("{FILE}.new")));
            std::fs::write(&new, index_of(entries)).map_err(FsError::on("write", &new))?;
            std::fs::rename(&new, &path).map_err(FsError::on("rename", &path))?;
            Ok(())
        })
    }

    /// The entry of an image, if all of it is here.
    fn layout_entry(&self, name: &Reference, image: &ImageRecord) -> Option<Descriptor> {
        let root = image.manifest.as_ref()?;
        let is_here = self.has_all_of(root, true);
        let texts = [(REF_NAME, name.familiar()), (IMAGE_NAME, name.to_string())];
        let annotations = texts.map(|(key, text)| (key.to_owned(), text)).into();
        is_here.then(|| Descriptor { annotations, ..root.clone() })
    }

    /// Whether the blobs of a manifest are files here, or those of all manifests that an index lists.
    fn has_all_of(&self, document: &Descriptor, may_be_index: bool) -> bool {
        let is_file = |digest: &Digest| self.blob_path(digest).exists();
        let read = || {
            let mut bytes = Vec::new();
            File::open(self.blob_path(&document.digest)).ok()?.take(MAX_DOCUMENT_BYTES).read_to_end(&mut bytes).ok()?;
            IndexOrManifest::parse(&bytes, &document.media_type).ok()
        };
        match read() {
            Some(IndexOrManifest::Manifest(manifest)) => {
                manifest.layers.iter().chain([&manifest.config]).all(|blob| is_file(&blob.digest))
            }
            Some(IndexOrManifest::Index(index)) if may_be_index => {
                index.manifests.iter().all(|entry| self.has_all_of(entry, false))
            }
            Some(IndexOrManifest::Index(_)) | None => false,
        }
    }
}

fn index_of(manifests: Vec<Descriptor>) -> Vec<u8> {
    let media_type = Some(media_type::OCI_INDEX.to_owned());
    let index = Index { schema_version: 2, media_type, manifests, annotations: BTreeMap::new() };
    slipway_oci::to_compact(&index).expect("because an index has only text keys")
}

#[cfg(test)]
mod tests {
    use slipway_oci::{DiffId, Manifest, Platform};

    use super::*;
    use crate::testing::{digest, empty_store};

    fn names(store: &Store) -> Vec<String> {
        let bytes = std::fs::read(store.root().join(FILE)).unwrap();
        let Ok(IndexOrManifest::Index(index)) = IndexOrManifest::parse(&bytes, media_type::OCI_INDEX) else {
            panic!("{}", String::from_utf8_lossy(&bytes))
        };
        index.manifests.iter().map(|entry| entry.annotations[REF_NAME].clone()).collect()
    }

    #[test]
    fn images_are_listed_while_all_of_them_is_here() {
        let (_folder, store) = empty_store();
        assert_eq!(names(&store), Vec::<String>::new());
        let descriptor = |kind: &str, text: &[u8]| {
            let blob = store.put_blob(text).unwrap();
            Descriptor::new(kind, blob.digest, blob.size_bytes)
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config: descriptor(media_type::OCI_CONFIG, b"{}"),
            layers: vec![descriptor(media_type::OCI_LAYER, b"layer")],
            subject: None,
            annotations: BTreeMap::new(),
        };
        let root = descriptor(media_type::OCI_MANIFEST, &slipway_oci::to_compact(&manifest).unwrap());
        let mut image = ImageRecord {
            manifest: Some(root),
            config: manifest.config.digest.clone(),
            layers: vec![DiffId(digest("layer"))],
            created: None,
            platform: Platform::host(),
            registry_digest: None,
            others: Vec::new(),
        };
        let [app, other] = ["app:1", "127.0.0.1:5000/other"].map(|name| name.parse().unwrap());
        store.name_image(&app, &image).unwrap();
        store.name_image(&other, &image).unwrap();
        assert_eq!(names(&store), ["127.0.0.1:5000/other:latest", "app:1"]);
        store.untag(&other).unwrap();
        assert_eq!(names(&store), ["app:1"]);
        std::fs::remove_file(store.blob_path(&manifest.layers[0].digest)).unwrap();
        store.name_image(&other, &image).unwrap();
        assert_eq!(names(&store), Vec::<String>::new());
        image.manifest = None;
        store.name_image(&app, &image).unwrap();
        assert_eq!(names(&store), Vec::<String>::new());
    }
}
