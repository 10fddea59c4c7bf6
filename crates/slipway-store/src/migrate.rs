//! How does the database of an older slipway become one of this? By adding what it lacks: nothing that it holds is lost.
//!
//! Another process of the older slipway may have it open meanwhile. What that one writes is complete without the new
//! columns; it refuses to open the store again afterwards.

use rusqlite::{Connection, TransactionBehavior};

use crate::database::SCHEMA_VERSION;

/// What leads from each version to the next, the first from version 1 to 2.
const STEPS: [&str; SCHEMA_VERSION as usize - 1] = [
    "CREATE TABLE IF NOT EXISTS build_notes (digest TEXT PRIMARY KEY, note BLOB NOT NULL);",
    "CREATE TABLE IF NOT EXISTS usage (
         name TEXT PRIMARY KEY,
         last_used_ns INTEGER,
         n_uses INTEGER NOT NULL DEFAULT 0,
         size_bytes INTEGER,
         type TEXT,
         description TEXT
     ) WITHOUT ROWID;
     -- Records of builds have become files.
     DROP TABLE IF EXISTS builds;",
    "DROP TABLE IF EXISTS builds;
     ALTER TABLE snapshots ADD COLUMN origin TEXT;
     CREATE UNIQUE INDEX snapshots_by_origin ON snapshots (origin);",
    "ALTER TABLE layers ADD COLUMN is_unpacked INTEGER;",
];

/// Brings the database, which has an older version, to this one; all of it or nothing.
pub(crate) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been first.
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let n_done = usize::try_from(version - 1).unwrap_or_default();
    for step in STEPS.iter().skip(n_done) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION.max(version))?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use slipway_oci::Platform;

    use crate::testing::{digest, empty_store};
    use crate::{ImageRecord, OverlayFlavor, Store};

    /// What leads from each version back to the one before, the first from version 2.
    const BACK: [&str; super::STEPS.len()] = [
        "DROP TABLE build_notes;",
        "DROP TABLE usage;
         CREATE TABLE builds (seq INTEGER PRIMARY KEY, id TEXT, n_bytes INTEGER, notes TEXT, record BLOB);",
        "DROP INDEX snapshots_by_origin; ALTER TABLE snapshots DROP COLUMN origin;",
        "ALTER TABLE layers DROP COLUMN is_unpacked;",
    ];

    #[test]
    fn a_store_of_each_older_version_keeps_all_that_it_has() {
        for version in 1..=super::STEPS.len() {
            let (_folder, store) = empty_store();
            let snapshot = store.begin(None).unwrap().commit(1).unwrap();
            store.record(&[digest("key")], snapshot.id(), None).unwrap();
            store.set_fact("kind", "key", b"value").unwrap();
            let config = store.put_blob(b"{}").unwrap().digest;
            let image = ImageRecord {
                manifest: None,
                config,
                layers: Vec::new(),
                created: None,
                platform: Platform::new("linux", "amd64", None),
                registry_digest: None,
                others: Vec::new(),
            };
            let name = "app".parse().unwrap();
            store.name_image(&name, &image).unwrap();
            let root = store.root().to_owned();
            drop(store);
            let connection = rusqlite::Connection::open(root.join("store.db")).unwrap();
            BACK[version - 1..].iter().rev().for_each(|step| connection.execute_batch(step).unwrap());
            connection.pragma_update(None, "user_version", version as i64).unwrap();
            drop(connection);

            let store = Store::open(&root, OverlayFlavor::Root).unwrap();
            assert_eq!(store.take_remarks(), Vec::<String>::new());
            assert_eq!(store.lookup(&digest("key")).unwrap().unwrap().snapshot, snapshot, "version {version}");
            assert_eq!(store.fact("kind", "key").unwrap().as_deref(), Some(b"value".as_slice()));
            assert!(store.image(&name).unwrap().is_some());
            assert_eq!(store.fsck().unwrap(), []);
            // And it is as good as a new one.
            let other = store.begin(Some(&snapshot)).unwrap().commit(2).unwrap();
            store.record(&[digest("other")], other.id(), None).unwrap();
            assert_eq!(store.origin(other.id()).unwrap(), Some(digest("other")));
            store.describe(other.layers()[1].as_str(), "regular", "a step").unwrap();
            assert_eq!(store.usage().unwrap().iter().filter(|usage| usage.description == "a step").count(), 1);
        }
    }

    #[test]
    fn several_may_bring_a_store_up_to_date_at_once() {
        let (_folder, store) = empty_store();
        let root = store.root().to_owned();
        drop(store);
        let connection = rusqlite::Connection::open(root.join("store.db")).unwrap();
        BACK.iter().rev().for_each(|step| connection.execute_batch(step).unwrap());
        connection.pragma_update(None, "user_version", 1).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| Store::open(&root, OverlayFlavor::Root).unwrap().put_blob(b"x").unwrap());
            }
        });
        assert_eq!(Store::open(&root, OverlayFlavor::Root).unwrap().fsck().unwrap(), []);
    }
}
