//! What of the store can be believed after a power loss?
//!
//! A process that crashes loses nothing that it committed: the kernel has it. A machine that loses power loses what was
//! not synced, and files may come back empty under their final names. So each row that points at files carries the
//! boot in which it was made. At the end of a build one `syncfs` covers everything, and then the rows are marked. The
//! first process of the next boot drops the rows that were never marked.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use crate::database::TABLES_WITH_BOOT;
use crate::{DbError, FsError, Store};

/// Read in less than half a millisecond.
const LONG_LOG_BYTES: u64 = 1 << 20;

/// Why what was built may not survive a power loss.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the results of this build durable")]
pub enum SyncError {
    Fs(#[from] FsError),
    Db(#[from] DbError),
}

impl Store {
    /// Syncs the file system and marks every row made until now as durable. For the end of a build.
    ///
    /// Does nothing, and quickly, if nothing was written since the last time.
    pub fn mark_durable(&self) -> Result<(), SyncError> {
        // Read before the sync: a row that another process adds meanwhile points at bytes that the sync may have missed.
        let pending = self.database().run(pending_rows)?;
        if pending.iter().all(Option::is_none) {
            return Ok(());
        }
        let root = std::fs::File::open(self.root()).map_err(FsError::on("open", self.root()))?;
        rustix::fs::syncfs(&root).map_err(FsError::on("syncfs", self.root()))?;
        self.database().write(|tx| tx.run(|c| mark(c, pending)))?;
        // The marks themselves.
        Ok(self.database().checkpoint()?)
    }

    /// Shortens the database's log if it is long: the first process that opens a store reads all of it. Syncs then.
    pub fn shorten_log(&self) -> Result<(), DbError> {
        let log = std::fs::metadata(self.root().join("store.db-wal"));
        match log.is_ok_and(|log| log.len() > LONG_LOG_BYTES) {
            true => self.database().checkpoint(),
            false => Ok(()),
        }
    }
}

/// For each table the newest row that is not durable.
fn pending_rows(connection: &Connection) -> rusqlite::Result<[Option<i64>; TABLES_WITH_BOOT.len()]> {
    let mut pending = [None; TABLES_WITH_BOOT.len()];
    // Dependents first, outside a transaction: what a row points at was inserted before it, so it is covered too.
    for (newest, table) in pending.iter_mut().zip(TABLES_WITH_BOOT).rev() {
        let query = format!("SELECT max(seq) FROM {table} WHERE boot IS NOT NULL");
        *newest = connection.prepare_cached(&query)?.query_row([], |row| row.get(0))?;
    }
    Ok(pending)
}

fn mark(connection: &Connection, pending: [Option<i64>; TABLES_WITH_BOOT.len()]) -> rusqlite::Result<()> {
    for (newest, table) in pending.into_iter().zip(TABLES_WITH_BOOT) {
        let query = format!("UPDATE {table} SET boot = NULL WHERE boot IS NOT NULL AND seq <= ?1");
        connection.prepare_cached(&query)?.execute([newest])?;
    }
    Ok(())
}

/// The row of the boot `boot_id`; when it is new, drops what earlier boots left unmarked.
pub(crate) fn enter_boot(connection: &mut Connection, boot_id: &str) -> rusqlite::Result<i64> {
    if let Some(boot) = find_boot(connection, boot_id)? {
        return Ok(boot);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been first.
    if let Some(boot) = find_boot(&transaction, boot_id)? {
        return Ok(boot);
    }
    for table in TABLES_WITH_BOOT {
        transaction.execute(&format!("DELETE FROM {table} WHERE boot IS NOT NULL"), [])?;
    }
    transaction.execute("DELETE FROM boots", [])?;
    transaction.execute("INSERT INTO boots (boot_id) VALUES (?1)", [boot_id])?;
    let boot = transaction.last_insert_rowid();
    transaction.commit()?;
    Ok(boot)
}

fn find_boot(connection: &Connection, boot_id: &str) -> rusqlite::Result<Option<i64>> {
    connection.query_row("SELECT id FROM boots WHERE boot_id = ?1", [boot_id], |row| row.get(0)).optional()
}

#[cfg(test)]
mod tests {
    use crate::testing::{digest, empty_store};
    use crate::{OverlayFlavor, Store};

    #[test]
    fn another_boot_keeps_only_what_was_marked() {
        let (_folder, store) = empty_store();
        let marked = commit_step(&store, "marked");
        store.mark_durable().unwrap();
        let lost = commit_step(&store, "lost");
        assert_eq!(store.fsck().unwrap(), []);

        let same_boot = Store::open(store.root(), OverlayFlavor::Root).unwrap();
        assert!(same_boot.lookup(&lost).unwrap().is_some());

        let next_boot = Store::open_in_boot(store.root(), OverlayFlavor::Root, "the next boot").unwrap();
        assert!(next_boot.lookup(&marked).unwrap().is_some());
        assert!(next_boot.has_blob(&marked).unwrap());
        assert!(next_boot.lookup(&lost).unwrap().is_none());
        assert!(!next_boot.has_blob(&lost).unwrap());
        assert_eq!(next_boot.fsck().unwrap(), []);

        let swept = next_boot.sweep().unwrap();
        assert_eq!((swept.n_layers, swept.n_blobs), (1, 1));
        assert_eq!(next_boot.fsck().unwrap(), []);
        assert!(next_boot.has_blob(&marked).unwrap());
    }

    #[test]
    fn the_second_process_of_a_boot_drops_nothing() {
        let (_folder, store) = empty_store();
        let boots = ["b", "b"].map(|boot| Store::open_in_boot(store.root(), OverlayFlavor::Root, boot).unwrap());
        let key = commit_step(&boots[0], "step");
        assert!(boots[1].lookup(&key).unwrap().is_some());
        let third = Store::open_in_boot(store.root(), OverlayFlavor::Root, "b").unwrap();
        assert!(third.lookup(&key).unwrap().is_some());
    }

    /// A layer with a blob and a record under the blob's digest.
    fn commit_step(store: &Store, text: &str) -> slipway_oci::Digest {
        let active = store.begin(None).unwrap();
        std::fs::write(active.upper().join("file"), text).unwrap();
        let snapshot = active.commit(1).unwrap();
        store.put_blob(text.as_bytes()).unwrap();
        store.record(&[digest(text)], snapshot.id(), None).unwrap();
        digest(text)
    }
}
