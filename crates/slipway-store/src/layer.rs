//! Which tar is a layer, and in which compressed forms is that tar known?

use rusqlite::{Connection, OptionalExtension, params};
use slipway_oci::{Descriptor, DiffId, Digest};

use crate::{DbError, LayerId, SnapshotError, Store};

/// The bytes of some layers together, as far as all of them are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerSizes {
    /// Of the tars.
    pub plain_bytes: Option<u64>,
    /// Of the blobs that go to registries; of several forms the smallest.
    pub compressed_bytes: Option<u64>,
}

impl Store {
    /// A layer whose tar has this diff ID, if one is in the store.
    pub fn layer_by_diff_id(&self, diff_id: &DiffId) -> Result<Option<LayerId>, DbError> {
        self.layer_to_use(|c| find(c, diff_id))
    }

    /// The committed layer of this name, if it is in the store.
    pub fn layer(&self, name: &str) -> Result<Option<LayerId>, DbError> {
        self.layer_to_use(|c| {
            c.prepare_cached("SELECT id FROM layers WHERE id = ?1")?
                .query_row([name], |row| row.get(0).map(LayerId))
                .optional()
        })
    }

    fn layer_to_use(
        &self,
        find: impl FnMut(&Connection) -> rusqlite::Result<Option<LayerId>>,
    ) -> Result<Option<LayerId>, DbError> {
        let found: Result<_, SnapshotError> = self.find_to_use(
            || Ok(self.database().run(find)?),
            |found| found.iter().map(|layer| layer.as_str().to_owned()).collect(),
        );
        match found {
            Ok(found) => Ok(found),
            Err(SnapshotError::Db(error)) => Err(error),
            // What cannot be kept from being taken away counts as not found.
            Err(_) => Ok(None),
        }
    }

    /// The diff ID of a layer and the length of its tar in bytes, once somebody has made the tar.
    pub fn diff_id(&self, layer: &LayerId) -> Result<Option<(DiffId, u64)>, DbError> {
        let row: Option<(String, i64)> = self.database().run(|c| {
            c.prepare_cached("SELECT diff_id, tar_size_bytes FROM layers WHERE id = ?1 AND diff_id IS NOT NULL")?
                .query_row([layer.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })?;
        Ok(row.and_then(|(diff_id, size_bytes)| Some((DiffId(diff_id.parse().ok()?), size_bytes as u64))))
    }

    /// When a layer was committed, in nanoseconds since 1970; `None` if it is not there.
    pub fn layer_created_ns(&self, layer: &LayerId) -> Result<Option<i64>, DbError> {
        self.database().run(|c| {
            c.prepare_cached("SELECT created_ns FROM layers WHERE id = ?1")?
                .query_row([layer.as_str()], |row| row.get(0))
                .optional()
        })
    }

    /// How large layers are together: one that is there twice counts twice.
    pub fn layer_sizes(&self, diff_ids: &[DiffId]) -> Result<LayerSizes, DbError> {
        let tars = self.database().read(|c| diff_ids.iter().map(|diff_id| tar_bytes(c, diff_id)).collect())?;
        let tars: Vec<Option<u64>> = tars;
        let mut compressed = Vec::with_capacity(diff_ids.len());
        for diff_id in diff_ids {
            let blobs = self.layer_blobs(diff_id)?;
            compressed.push(blobs.iter().map(|blob| blob.size).min());
        }
        Ok(LayerSizes { plain_bytes: tars.into_iter().sum(), compressed_bytes: compressed.into_iter().sum() })
    }

    /// Remembers what the tar of a layer was found to be.
    pub fn set_diff_id(&self, layer: &LayerId, diff_id: &DiffId, tar_size_bytes: u64) -> Result<(), DbError> {
        self.database().run(|c| {
            c.prepare_cached("UPDATE layers SET diff_id = ?2, tar_size_bytes = ?3 WHERE id = ?1")?.execute(params![
                layer.as_str(),
                diff_id.0.as_str(),
                tar_size_bytes as i64
            ])
        })?;
        Ok(())
    }

    /// Remembers that `blob` holds the tar with this diff ID. The blob need not be in this store.
    pub fn add_layer_blob(&self, diff_id: &DiffId, blob: &Descriptor) -> Result<(), DbError> {
        let descriptor = serde_json::to_string(blob).expect("because a descriptor has only text keys");
        self.database().run(|c| {
            c.prepare_cached("INSERT OR REPLACE INTO layer_blobs (diff_id, digest, descriptor) VALUES (?1, ?2, ?3)")?
                .execute(params![diff_id.0.as_str(), blob.digest.as_str(), descriptor])
        })?;
        Ok(())
    }

    /// The blobs known to hold the tar with this diff ID, in no meaningful order.
    pub fn layer_blobs(&self, diff_id: &DiffId) -> Result<Vec<Descriptor>, DbError> {
        let descriptors: Vec<String> = self.database().run(|c| {
            c.prepare_cached("SELECT descriptor FROM layer_blobs WHERE diff_id = ?1 ORDER BY digest")?
                .query_map([diff_id.0.as_str()], |row| row.get(0))?
                .collect()
        })?;
        Ok(descriptors.iter().filter_map(|text| serde_json::from_str(text).ok()).collect())
    }

    /// The diff ID of the tar that a blob holds, if that is known: such a blob need not be fetched and unpacked again.
    pub fn diff_id_of_blob(&self, blob: &Digest) -> Result<Option<DiffId>, DbError> {
        let diff_id: Option<String> = self.database().run(|c| {
            c.prepare_cached("SELECT diff_id FROM layer_blobs WHERE digest = ?1")?
                .query_row([blob.as_str()], |row| row.get(0))
                .optional()
        })?;
        Ok(diff_id.and_then(|text| text.parse().ok()).map(DiffId))
    }
}

/// The oldest layer with this diff ID.
fn tar_bytes(connection: &Connection, diff_id: &DiffId) -> rusqlite::Result<Option<u64>> {
    let n_bytes: Option<i64> = connection
        .prepare_cached("SELECT max(tar_size_bytes) FROM layers WHERE diff_id = ?1")?
        .query_row([diff_id.0.as_str()], |row| row.get(0))?;
    Ok(n_bytes.map(|n_bytes| n_bytes as u64))
}

pub(crate) fn find(connection: &Connection, diff_id: &DiffId) -> rusqlite::Result<Option<LayerId>> {
    connection
        .prepare_cached("SELECT id FROM layers WHERE diff_id = ?1 ORDER BY seq LIMIT 1")?
        .query_row([diff_id.0.as_str()], |row| row.get(0).map(LayerId))
        .optional()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{digest, empty_store};

    #[test]
    fn two_unpackings_of_one_tar_are_one_layer() {
        let (_folder, store) = empty_store();
        let diff_id = DiffId(digest("tar"));
        let [first, second] = [store.begin(None).unwrap(), store.begin(None).unwrap()];
        let first = first.commit_unpacked(&diff_id, 2048, 1).unwrap();
        assert_eq!(second.commit_unpacked(&diff_id, 2048, 2).unwrap(), first);
        assert_eq!(store.layer_by_diff_id(&diff_id).unwrap(), Some(first.clone()));
        assert_eq!(store.diff_id(&first).unwrap(), Some((diff_id, 2048)));
        assert_eq!(std::fs::read_dir(store.root().join("layers")).unwrap().count(), 1);
    }

    #[test]
    fn a_diff_id_may_come_later() {
        let (_folder, store) = empty_store();
        let layer = store.begin(None).unwrap().commit_layer(1).unwrap();
        assert_eq!(store.diff_id(&layer).unwrap(), None);
        let diff_id = DiffId(digest("tar"));
        store.set_diff_id(&layer, &diff_id, 1024).unwrap();
        assert_eq!(store.diff_id(&layer).unwrap(), Some((diff_id.clone(), 1024)));
        assert_eq!(store.layer_by_diff_id(&diff_id).unwrap(), Some(layer));
    }

    #[test]
    fn a_tar_may_have_several_blobs() {
        let (_folder, store) = empty_store();
        let diff_id = DiffId(digest("tar"));
        let mut blobs = ["gzip", "zstd"].map(|form| Descriptor::new(form, digest(form), 7));
        for blob in &blobs {
            store.add_layer_blob(&diff_id, blob).unwrap();
        }
        blobs.sort_by(|a, b| a.digest.cmp(&b.digest));
        assert_eq!(store.layer_blobs(&diff_id).unwrap(), blobs);
        assert_eq!(store.diff_id_of_blob(&digest("zstd")).unwrap(), Some(diff_id));
        assert_eq!(store.diff_id_of_blob(&digest("other")).unwrap(), None);
    }
}
