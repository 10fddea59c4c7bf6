//! Which snapshot did a key lead to before?

use rusqlite::{Connection, OptionalExtension, params};
use slipway_oci::Digest;

use crate::{DbError, Snapshot, SnapshotId, Store};

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
        self.database().run(|c| find(c, key))
    }

    /// [`Store::lookup`] for several keys; the answers are in their order.
    pub fn lookup_many(&self, keys: &[Digest]) -> Result<Vec<Option<Record>>, DbError> {
        self.database().read(|c| keys.iter().map(|key| find(c, key)).collect())
    }

    /// Records that each of `keys` leads to the committed `snapshot`, whatever it led to before.
    ///
    /// Fails if the snapshot is not in this store.
    pub fn record(&self, keys: &[Digest], snapshot: SnapshotId, extra: Option<&str>) -> Result<(), DbError> {
        self.database().write(|tx| {
            tx.run(|c| {
                let mut insert =
                    c.prepare_cached("INSERT OR REPLACE INTO records (key, snapshot, extra) VALUES (?1, ?2, ?3)")?;
                keys.iter().try_for_each(|key| insert.execute(params![key.as_str(), snapshot.0, extra]).map(drop))
            })
        })
    }
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
