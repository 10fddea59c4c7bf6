//! What is in `store.db`, and how do threads and processes share it?
//!
//! The schema below is the list of all rows. `boot` is the boot in which a row was made, or null once it is durable
//! (see [`crate::durability`]). Every `seq` only ever grows, so "the rows up to now" is one number a table.
//!
//! Write-ahead logging, so that readers never wait for writers. No checkpoint happens on close: it would sync, and a
//! build that had nothing to do should not; [`crate::Store::mark_durable`] makes it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

/// Changes with every change of [`SCHEMA`]; `migrate.rs` brings older databases here.
pub(crate) const SCHEMA_VERSION: i64 = 5;

/// The tables whose rows point at files and so may outlive them in a power loss, dependents last.
pub(crate) const TABLES_WITH_BOOT: [&str; 4] = ["blobs", "layers", "snapshots", "images"];

const SCHEMA: &str = "
    CREATE TABLE boots (
        id INTEGER PRIMARY KEY,
        boot_id TEXT NOT NULL UNIQUE
    );
    CREATE TABLE blobs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        digest TEXT NOT NULL UNIQUE,
        size_bytes INTEGER NOT NULL,
        boot INTEGER
    );
    -- `is_unpacked`: 1 if the files are what the tar held, 0 if the tar was made from the files; null if nobody knows.
    CREATE TABLE layers (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        diff_id TEXT,
        tar_size_bytes INTEGER,
        created_ns INTEGER NOT NULL,
        boot INTEGER,
        is_unpacked INTEGER
    );
    CREATE INDEX layers_by_diff_id ON layers (diff_id) WHERE diff_id IS NOT NULL;
    -- `layers` is the whole stack, bottom first, with spaces between: one row answers a lookup. `origin` is the key that
    -- the snapshot was first recorded under; null if another snapshot has that name already.
    CREATE TABLE snapshots (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        layers TEXT NOT NULL UNIQUE,
        top TEXT REFERENCES layers (id) ON DELETE CASCADE,
        created_ns INTEGER NOT NULL,
        boot INTEGER,
        origin TEXT
    );
    CREATE INDEX snapshots_by_top ON snapshots (top);
    CREATE UNIQUE INDEX snapshots_by_origin ON snapshots (origin);
    INSERT INTO snapshots (seq, layers, created_ns) VALUES (0, '', 0);
    CREATE TABLE records (
        key TEXT PRIMARY KEY,
        snapshot INTEGER NOT NULL REFERENCES snapshots (seq) ON DELETE CASCADE,
        extra TEXT
    ) WITHOUT ROWID;
    CREATE INDEX records_by_snapshot ON records (snapshot);
    -- Not every blob named here is in this store: some are known to be in a registry.
    CREATE TABLE layer_blobs (
        diff_id TEXT NOT NULL,
        digest TEXT NOT NULL,
        descriptor TEXT NOT NULL,
        PRIMARY KEY (diff_id, digest)
    ) WITHOUT ROWID;
    CREATE INDEX layer_blobs_by_digest ON layer_blobs (digest);
    CREATE TABLE images (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        config TEXT NOT NULL REFERENCES blobs (digest) ON DELETE CASCADE,
        record TEXT NOT NULL,
        boot INTEGER
    );
    CREATE INDEX images_by_config ON images (config);
    CREATE TABLE facts (
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (kind, key)
    );
    CREATE TABLE build_notes (
        digest TEXT PRIMARY KEY,
        note BLOB NOT NULL
    );
    -- When a layer, blob, cache mount or clone was used by builds whose records are gone, how large it is once somebody
    -- measured it, and what it is for people. A row may outlive what it is about.
    CREATE TABLE usage (
        name TEXT PRIMARY KEY,
        last_used_ns INTEGER,
        n_uses INTEGER NOT NULL DEFAULT 0,
        size_bytes INTEGER,
        type TEXT,
        description TEXT
    ) WITHOUT ROWID;
    CREATE INDEX blobs_by_boot ON blobs (boot) WHERE boot IS NOT NULL;
    CREATE INDEX layers_by_boot ON layers (boot) WHERE boot IS NOT NULL;
    CREATE INDEX snapshots_by_boot ON snapshots (boot) WHERE boot IS NOT NULL;
    CREATE INDEX images_by_boot ON images (boot) WHERE boot IS NOT NULL;
";

/// Empty pages that are no reason to write a database anew.
const FEW_PAGES: i64 = 256;

/// A statement that failed; the reason is its source.
#[derive(Debug, thiserror::Error)]
#[error("database {}", path.display())]
pub struct DbError {
    path: PathBuf,
    source: rusqlite::Error,
}

impl DbError {
    /// Whether the file is not, or no longer, what a database should be.
    pub fn is_damage(&self) -> bool {
        let code = self.source.sqlite_error_code();
        matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
    }

    /// What SQLite said.
    pub(crate) fn reason(&self) -> String {
        self.source.to_string()
    }
}

/// One connection that the threads of a process take turns with: a statement takes microseconds.
pub(crate) struct Database {
    path: PathBuf,
    connection: Mutex<Connection>,
    /// The row of `boots` for the running boot.
    boot: AtomicI64,
}

impl Database {
    /// Makes the file and its tables, or does nothing if they are there. One process at a time: the caller holds a lock.
    pub(crate) fn create(path: &Path) -> Result<(), DbError> {
        let in_file = |source| DbError { path: path.to_owned(), source };
        let mut connection = connect(path, OpenFlags::SQLITE_OPEN_CREATE).map_err(in_file)?;
        create_tables(&mut connection).map_err(in_file)
    }

    /// Opens an existing database, and brings it to this version of the schema if it is older. `Ok(Err(version))` if it
    /// is newer, or has no tables at all.
    pub(crate) fn open(path: &Path, boot_id: &str) -> Result<Result<Database, i64>, DbError> {
        let in_file = |source| DbError { path: path.to_owned(), source };
        let mut connection = connect(path, OpenFlags::empty()).map_err(in_file)?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(in_file)?;
        match version {
            SCHEMA_VERSION => {}
            0 | SCHEMA_VERSION.. => return Ok(Err(version)),
            _ => crate::migrate::migrate(&mut connection).map_err(in_file)?,
        }
        let boot = crate::durability::enter_boot(&mut connection, boot_id).map_err(in_file)?;
        Ok(Ok(Database { path: path.to_owned(), connection: Mutex::new(connection), boot: AtomicI64::new(boot) }))
    }

    /// Goes on with the file of `other`, which has taken the place of the one that was open.
    pub(crate) fn become_other(&self, other: Database) {
        self.boot.store(other.boot(), Ordering::Relaxed);
        *self.connection() = other.connection.into_inner().unwrap_or_else(PoisonError::into_inner);
    }

    /// What new rows have in their column `boot`.
    pub(crate) fn boot(&self) -> i64 {
        self.boot.load(Ordering::Relaxed)
    }

    /// Runs `query`, which changes nothing or is a single statement.
    pub(crate) fn run<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, DbError> {
        query(&self.connection()).map_err(|source| self.error(source))
    }

    /// Runs several queries that change nothing on one state of the database.
    pub(crate) fn read<T>(&self, queries: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, DbError> {
        // "Unchecked" is about nesting, which nothing here does.
        self.run(|connection| queries(&*connection.unchecked_transaction()?))
    }

    /// Runs `work` in one transaction, alone among all processes; rolls back if it fails.
    pub(crate) fn write<T, E>(&self, work: impl FnOnce(&Writing<'_>) -> Result<T, E>) -> Result<T, E>
    where
        E: From<DbError>,
    {
        let mut connection = self.connection();
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|source| self.error(source))?;
        let writing = Writing { transaction, database: self };
        let answer = work(&writing)?;
        writing.transaction.commit().map_err(|source| self.error(source))?;
        Ok(answer)
    }

    /// Brings what was written into the main file, and syncs it.
    pub(crate) fn checkpoint(&self) -> Result<(), DbError> {
        // Readers are done within microseconds; if not, the next one who asks does it.
        self.run(|c| c.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())))
    }

    /// Gives the file's empty pages back, if they are most of it.
    pub(crate) fn shrink(&self) -> Result<(), DbError> {
        let pages = |name: &str| self.run(|c| c.pragma_query_value(None, name, |row| row.get::<_, i64>(0)));
        let (n_pages, n_free) = (pages("page_count")?, pages("freelist_count")?);
        if n_free > FEW_PAGES && n_free > n_pages / 2 {
            self.run(|c| c.execute_batch("VACUUM"))?;
            self.checkpoint()?;
        }
        Ok(())
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic in the middle of a transaction rolls it back, so the connection is as good as before.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, source: rusqlite::Error) -> DbError {
        DbError { path: self.path.clone(), source }
    }
}

/// The texts that `query` finds, one a row.
pub(crate) fn texts(connection: &Connection, query: &str) -> rusqlite::Result<Vec<String>> {
    connection.prepare(query)?.query_map([], |row| row.get(0))?.collect()
}

/// A transaction that holds the only write lock.
pub(crate) struct Writing<'a> {
    transaction: Transaction<'a>,
    database: &'a Database,
}

impl Writing<'_> {
    pub(crate) fn run<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, DbError> {
        query(&self.transaction).map_err(|source| self.database.error(source))
    }
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let flags = flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // Writers hold the lock for microseconds; a wait as long as this means that a process was stopped in the middle.
    connection.busy_timeout(Duration::from_secs(60))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // `synchronous = NORMAL` syncs at checkpoints only. They are far apart: 16 MiB of pages.
    connection.execute_batch(
        "PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 4096;
         PRAGMA mmap_size = 268435456;",
    )?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn create_tables(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    transaction.commit()
}
