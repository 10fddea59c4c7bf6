//! Which snapshot did a key lead to before?

use rusqlite::{Connection, OptionalExtension, params};
use slipway_oci::Digest;

use crate::uses::names_of;
use crate::{DbError, FsError, Snapshot, SnapshotId, Store};

/// What a key led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub snapshot: Snapshot,
    /// What the recorder wanted to remember with it, in a form of its own.
    pub extra: Option<String>,
}

impl Store {
    /// What `key` led to, if the snapshot is still there.
    pub fn lookup(&self, key: &Digest) -> Result<Option<Record>, DbError> {
        let found = self.find_to_use(
            || Ok(self.database().run(|c| find(c, key))?),
            |found| found.iter().flat_map(|record| names_of(&record.snapshot)).collect(),
        );
        unless_fs(found, None)
    }

    /// [`Store::lookup`] for several keys; the answers are in their order.
    pub fn lookup_many(&self, keys: &[Digest]) -> Result<Vec<Option<Record>>, DbError> {
        let found = self.find_to_use(
            || Ok(self.database().read(|c| keys.iter().map(|key| find(c, key)).collect())?),
            |found: &Vec<Option<Record>>| {
                found.iter().flatten().flat_map(|record| names_of(&record.snapshot)).collect()
            },
        );
        unless_fs(found, vec![None; keys.len()])
    }

    /// Records that each of `keys` leads to the committed `snapshot`, whatever it led to before. The first of them
    /// becomes its origin, unless it has one or another snapshot has that one.
    ///
    /// Fails if the snapshot is not in this store.
    pub fn record(&self, keys: &[Digest], snapshot: SnapshotId, extra: Option<&str>) -> Result<(), DbError> {
        self.database().write(|tx| {
            tx.run(|c| {
                let mut insert =
                    c.prepare_cached("INSERT OR REPLACE INTO records (key, snapshot, extra) VALUES (?1, ?2, ?3)")?;
                keys.iter().try_for_each(|key| insert.execute(params![key.as_str(), snapshot.0, extra]).map(drop))?;
                c.prepare_cached("UPDATE OR IGNORE snapshots SET origin = ?2 WHERE seq = ?1 AND origin IS NULL")?
                    .execute(params![snapshot.0, keys.first().map(Digest::as_str)])
                    .map(drop)
            })
        })
    }

    /// The key that a snapshot was first recorded under: its name on all machines. `None` if it was never recorded, or
    /// if another snapshot has that name.
    pub fn origin(&self, snapshot: SnapshotId) -> Result<Option<Digest>, DbError> {
        let origin: Option<String> = self.database().run(|c| {
            c.prepare_cached("SELECT origin FROM snapshots WHERE seq = ?1 AND origin IS NOT NULL")?
                .query_row([snapshot.0], |row| row.get(0))
                .optional()
        })?;
        Ok(origin.and_then(|text| text.parse().ok()))
    }

    /// Keys that lead to `snapshot`, in the order of their digests; at most `limit`.
    pub fn keys_of(&self, snapshot: SnapshotId, limit: usize) -> Result<Vec<Digest>, DbError> {
        let keys: Vec<String> = self.database().run(|c| {
            c.prepare_cached("SELECT key FROM records WHERE snapshot = ?1 ORDER BY key LIMIT ?2")?
                .query_map(params![snapshot.0, limit as i64], |row| row.get(0))?
                .collect()
        })?;
        Ok(keys.iter().filter_map(|text| text.parse().ok()).collect())
    }
}

/// What cannot be kept from being taken away counts as not found.
fn unless_fs<T>(found: Result<T, FindError>, nothing: T) -> Result<T, DbError> {
    match found {
        Ok(found) => Ok(found),
        Err(FindError::Fs(_)) => Ok(nothing),
        Err(FindError::Db(error)) => Err(error),
    }
}

/// Why a record cannot be found and kept.
#[derive(Debug, thiserror::Error)]
enum FindError {
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error(transparent)]
    Db(#[from] DbError),
}

fn find(connection: &Connection, key: &Digest) -> rusqlite::Result<Option<Record>> {
    connection
        .prepare_cached(
            "SELECT records.extra, seq, layers, created_ns
             FROM records JOIN snapshots ON snapshots.seq = records.snapshot WHERE key = ?1",
        )?
        .query_row([key.as_str()], |row| Ok(Record { extra: row.get(0)?, snapshot: Snapshot::from_row(row, 1)? }))
        .optional()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{digest, empty_store};

    #[test]
    fn many_keys_lead_to_one_snapshot() {
        let (_folder, store) = empty_store();
        let scratch = Snapshot::scratch();
        store.record(&[digest("a"), digest("b")], scratch.id(), Some("from a test")).unwrap();
        let found = store.lookup_many(&[digest("b"), digest("c"), digest("a")]).unwrap();
        let record = Record { snapshot: scratch, extra: Some("from a test".to_owned()) };
        assert_eq!(found, [Some(record.clone()), None, Some(record)]);
    }

    #[test]
    fn a_snapshot_keeps_the_name_that_it_got_first_and_alone() {
        let (_folder, store) = empty_store();
        let [first, second] = [1, 2].map(|time| store.begin(None).unwrap().commit(time).unwrap());
        assert_eq!(store.origin(first.id()).unwrap(), None);
        store.record(&[digest("a"), digest("b")], first.id(), None).unwrap();
        store.record(&[digest("c")], first.id(), None).unwrap();
        store.record(&[digest("a")], second.id(), None).unwrap();
        assert_eq!(store.origin(first.id()).unwrap(), Some(digest("a")));
        assert_eq!(store.origin(second.id()).unwrap(), None, "one name for two states would mix them up");
        let mut keys = vec![digest("b"), digest("c")];
        keys.sort();
        assert_eq!(store.keys_of(first.id(), 9).unwrap(), keys);
        assert_eq!(store.keys_of(first.id(), 1).unwrap(), keys[..1]);
    }

    #[test]
    fn the_last_record_of_a_key_counts() {
        let (_folder, store) = empty_store();
        let key = digest("key");
        for extra in ["first", "second"] {
            store.record(std::slice::from_ref(&key), Snapshot::scratch().id(), Some(extra)).unwrap();
        }
        assert_eq!(store.lookup(&key).unwrap().unwrap().extra.as_deref(), Some("second"));
    }

    #[test]
    fn no_record_of_a_snapshot_that_is_not_there() {
        let (_folder, store) = empty_store();
        let key = digest("key");
        assert!(store.record(std::slice::from_ref(&key), SnapshotId(77), None).is_err());
        assert_eq!(store.lookup(&key).unwrap(), None);
    }
}
