//! Does every row point at something that is there?

use std::fmt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use slipway_oci::{DiffId, Digest};

use crate::database::texts;
use crate::{DbError, LayerId, Store};

/// Something that a row promises and that is missing or wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A layer's folder is not there.
    MissingLayer { layer: String },
    /// A blob's file is not there.
    MissingBlob { digest: String },
    /// A blob's file has another length than its row says.
    BlobSize { digest: String, expected_bytes: u64, found_bytes: u64 },
    /// A blob's file has other bytes than its name says; `found` is their digest, or why they cannot be read.
    BlobContent { digest: String, found: String },
    /// The files of a layer are not what they were when it was unpacked or packed first.
    LayerContent { layer: String },
    /// A cache mount that should have its first files has no folder.
    CacheMount { name: String },
    /// The record of a build cannot be read.
    Build { id: String },
    /// A snapshot has a layer that is not known.
    UnknownLayer { snapshot: i64, layer: String },
    /// An image has a layer of which there is neither a folder nor a blob.
    ImageLayer { image: String, diff_id: String },
    /// A row refers to a row that is not there.
    DanglingRow { table: String, refers_to: String },
    /// What SQLite found wrong with its file.
    Database { message: String },
}

/// A layer of which it is known what its tar is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownLayer {
    pub layer: LayerId,
    pub diff_id: DiffId,
    /// The layers that it was made on, bottom first; `None` if it is on no stack.
    pub below: Option<Vec<LayerId>>,
    /// Whether the tar was made from the files, by slipway; else they came from a tar that may be anybody's.
    pub is_packed_here: bool,
}

impl Finding {
    /// The digest of the blob that it is about, if it is about one.
    pub fn blob(&self) -> Option<&str> {
        match self {
            Finding::MissingBlob { digest }
            | Finding::BlobSize { digest, .. }
            | Finding::BlobContent { digest, .. } => Some(digest),
            Finding::MissingLayer { .. }
            | Finding::UnknownLayer { .. }
            | Finding::LayerContent { .. }
            | Finding::CacheMount { .. }
            | Finding::Build { .. }
            | Finding::ImageLayer { .. }
            | Finding::DanglingRow { .. }
            | Finding::Database { .. } => None,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::MissingLayer { layer } => write!(f, "the folder of layer `{layer}` is missing"),
            Finding::MissingBlob { digest } => write!(f, "the file of blob `{digest}` is missing"),
            Finding::BlobSize { digest, expected_bytes, found_bytes } => {
                write!(f, "blob `{digest}` has {found_bytes} bytes instead of {expected_bytes}")
            }
            Finding::BlobContent { digest, found } => write!(f, "blob `{digest}` has other content: {found}"),
            Finding::LayerContent { layer } => write!(f, "the files of layer `{layer}` are not what they were"),
            Finding::CacheMount { name } => write!(f, "the folder of the cache mount `{name}` is missing"),
            Finding::Build { id } => write!(f, "the record of build `{id}` is damaged"),
            Finding::UnknownLayer { snapshot, layer } => {
                write!(f, "snapshot {snapshot} has the layer `{layer}`, which is not known")
            }
            Finding::ImageLayer { image, diff_id } => {
                write!(f, "image `{image}` has the layer `{diff_id}`, which is neither unpacked nor a blob here")
            }
            Finding::DanglingRow { table, refers_to } => {
                write!(f, "a row of table `{table}` refers to a row of `{refers_to}` that is missing")
            }
            Finding::Database { message } => write!(f, "database: {message}"),
        }
    }
}

impl Store {
    /// Checks every row against what it points at; no findings means that the store keeps its promises.
    ///
    /// Looks at names and sizes; for content see [`Store::fsck_contents`] and [`Store::known_layers`]. Files without rows are no finding: [`Store::sweep`] removes them.
    pub fn fsck(&self) -> Result<Vec<Finding>, DbError> {
        let mut findings = self.database().run(dangling_rows)?;
        findings.extend(self.check_blobs()?);
        findings.extend(self.check_layers()?);
        findings.extend(self.check_images()?);
        findings.extend(self.check_cache_mounts());
        findings.extend(self.damaged_builds().into_iter().map(|id| Finding::Build { id }));
        Ok(findings)
    }

    /// Checks the bytes of every blob against its digest. Reads all of them.
    pub fn fsck_contents(&self) -> Result<Vec<Finding>, DbError> {
        let digests = self.database().run(|c| texts(c, "SELECT digest FROM blobs ORDER BY digest"))?;
        let digests = digests.iter().filter_map(|digest| digest.parse::<Digest>().ok());
        Ok(digests.filter_map(|digest| self.check_content(&digest)).collect())
    }

    /// The layers whose content can be checked, by somebody who knows how layers are packed.
    pub fn known_layers(&self) -> Result<Vec<KnownLayer>, DbError> {
        // The oldest stack is the one that the layer was made on.
        let query = "
            SELECT id, diff_id, is_unpacked = 0,
                (SELECT layers FROM snapshots WHERE top = id ORDER BY seq LIMIT 1)
            FROM layers WHERE diff_id IS NOT NULL ORDER BY seq";
        type Row = (String, String, Option<bool>, Option<String>);
        let rows: Vec<Row> = self.database().run(|c| {
            let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
            c.prepare(query)?.query_map([], row)?.collect()
        })?;
        let known = |(id, diff_id, is_packed_here, stack): Row| {
            let below = stack.map(|stack| {
                let mut layers: Vec<LayerId> =
                    stack.split_ascii_whitespace().map(|layer| LayerId(layer.to_owned())).collect();
                layers.pop();
                layers
            });
            let (layer, diff_id) = (LayerId(id), DiffId(diff_id.parse().ok()?));
            Some(KnownLayer { layer, diff_id, below, is_packed_here: is_packed_here.unwrap_or(false) })
        };
        Ok(rows.into_iter().filter_map(known).collect())
    }

    /// A lock file that is not empty says that the folder beside it has its first files.
    fn check_cache_mounts(&self) -> Vec<Finding> {
        let entries = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten();
        let files = entries(&self.root().join("cache-mounts")).flat_map(|id| entries(&id.path()));
        let is_lost = |path: &Path| {
            let is_lock = path.extension().is_some_and(|extension| extension == "lock");
            is_lock && std::fs::metadata(path).is_ok_and(|file| file.len() > 0) && !path.with_extension("").is_dir()
        };
        let lost = files.map(|file| file.path()).filter(|path| is_lost(path));
        let name = |path: PathBuf| path.strip_prefix(self.root()).unwrap_or(&path).with_extension("");
        lost.map(|path| Finding::CacheMount { name: name(path).display().to_string() }).collect()
    }

    fn check_blobs(&self) -> Result<Vec<Finding>, DbError> {
        let blobs: Vec<(String, i64)> = self.database().run(|c| {
            c.prepare("SELECT digest, size_bytes FROM blobs")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        let check = |(digest, expected): (String, i64)| {
            let expected_bytes = expected as u64;
            let hex = digest.trim_start_matches("sha256:");
            match std::fs::metadata(self.root().join("blobs/sha256").join(hex)) {
                Ok(file) if file.len() == expected_bytes => None,
                Ok(file) => Some(Finding::BlobSize { digest, expected_bytes, found_bytes: file.len() }),
                Err(_) => Some(Finding::MissingBlob { digest }),
            }
        };
        Ok(blobs.into_iter().filter_map(check).collect())
    }

    fn check_layers(&self) -> Result<Vec<Finding>, DbError> {
        let layers = self.database().run(|c| texts(c, "SELECT id FROM layers"))?;
        let missing = layers.into_iter().filter(|layer| !self.root().join("layers").join(layer).is_dir());
        Ok(missing.map(|layer| Finding::MissingLayer { layer }).collect())
    }

    fn check_images(&self) -> Result<Vec<Finding>, DbError> {
        let query = "
            SELECT images.name, diff_ids.value
            FROM images, json_tree(images.record) AS lists, json_each(lists.value) AS diff_ids
            WHERE lists.key = 'layers' AND NOT EXISTS (SELECT 1 FROM layers WHERE layers.diff_id = diff_ids.value)
            AND NOT EXISTS (
                SELECT 1 FROM layer_blobs JOIN blobs USING (digest) WHERE layer_blobs.diff_id = diff_ids.value
            )";
        self.database().run(|c| {
            c.prepare(query)?
                .query_map([], |row| Ok(Finding::ImageLayer { image: row.get(0)?, diff_id: row.get(1)? }))?
                .collect()
        })
    }
}

fn dangling_rows(connection: &Connection) -> rusqlite::Result<Vec<Finding>> {
    let mut findings: Vec<Finding> = connection
        .prepare("PRAGMA foreign_key_check")?
        .query_map([], |row| Ok(Finding::DanglingRow { table: row.get(0)?, refers_to: row.get(2)? }))?
        .collect::<Result<_, _>>()?;
    let messages = texts(connection, "PRAGMA quick_check")?;
    findings.extend(messages.into_iter().filter(|m| m != "ok").map(|message| Finding::Database { message }));
    // The stack is one text with spaces between the ids, which JSON functions take apart.
    let unknown = "
        SELECT snapshots.seq, stack.value
        FROM snapshots, json_each('[\"' || replace(snapshots.layers, ' ', '\",\"') || '\"]') AS stack
        WHERE snapshots.layers <> '' AND NOT EXISTS (SELECT 1 FROM layers WHERE layers.id = stack.value)";
    let unknown: Vec<Finding> = connection
        .prepare(unknown)?
        .query_map([], |row| Ok(Finding::UnknownLayer { snapshot: row.get(0)?, layer: row.get(1)? }))?
        .collect::<Result<_, _>>()?;
    findings.extend(unknown);
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use slipway_oci::{DiffId, Platform};

    use super::*;
    use crate::testing::{digest, empty_store};
    use crate::{ImageRecord, LayerId};

    #[test]
    fn missing_files_are_found() {
        let (_folder, store) = empty_store();
        let [gone, cut] = [b"gone", b"cut "].map(|bytes| store.put_blob(bytes).unwrap().digest);
        let layer = store.begin(None).unwrap().commit_layer(1).unwrap();
        assert_eq!(store.fsck().unwrap(), []);

        std::fs::remove_file(store.blob_path(&gone)).unwrap();
        std::fs::write(store.blob_path(&cut), "c").unwrap();
        std::fs::remove_dir(store.layer_path(&layer)).unwrap();
        let expected = [
            Finding::MissingBlob { digest: gone.to_string() },
            Finding::BlobSize { digest: cut.to_string(), expected_bytes: 4, found_bytes: 1 },
            Finding::MissingLayer { layer: layer.to_string() },
        ];
        assert_eq!(store.fsck().unwrap(), expected);
    }

    #[test]
    fn rows_that_point_nowhere_are_found() {
        let (_folder, store) = empty_store();
        let lower = store.begin(None).unwrap().commit(1).unwrap();
        let upper = store.begin(Some(&lower)).unwrap().commit(2).unwrap();
        let LayerId(missing) = lower.layers()[0].clone();
        store.database().run(|c| c.execute("DELETE FROM layers WHERE id = ?1", [&missing])).unwrap();
        assert_eq!(store.snapshot(lower.id()).unwrap(), None, "a snapshot goes with its top layer");
        let expected = [Finding::UnknownLayer { snapshot: upper.id().0, layer: missing }];
        assert_eq!(store.fsck().unwrap(), expected);
    }

    #[test]
    fn an_image_needs_its_layers_unpacked_or_as_blobs() {
        let (_folder, store) = empty_store();
        let [unpacked, packed, missing] = ["unpacked", "packed", "missing"].map(|text| DiffId(digest(text)));
        store.begin(None).unwrap().commit_unpacked(&unpacked, 1024, 1).unwrap();
        let blob = store.put_blob(b"packed").unwrap();
        let blob = slipway_oci::Descriptor::new("application/x", blob.digest, blob.size_bytes);
        store.add_layer_blob(&packed, &blob).unwrap();
        let image = ImageRecord {
            manifest: None,
            config: store.put_blob(b"{}").unwrap().digest,
            layers: vec![unpacked, packed, missing.clone()],
            created: None,
            platform: Platform::new("linux", "amd64", None),
            registry_digest: None,
            others: Vec::new(),
        };
        store.name_image(&"app".parse().unwrap(), &image).unwrap();
        let image = "docker.io/library/app:latest".to_owned();
        assert_eq!(store.fsck().unwrap(), [Finding::ImageLayer { image, diff_id: missing.to_string() }]);
    }
}
