//! What is kept about builds that are over?
//!
//! A row a build with a record that the store does not look into, a file with its log if anything was logged, and
//! notes: values that several records refer to by digest, kept as long as one of them does. All of it is bounded, the
//! oldest builds go first. A power loss may leave a log empty; who reads one has to expect that.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension, params};
use slipway_oci::Digest;

use crate::session::Temporary;
use crate::{DbError, FsError, Store};

/// Why the record of a build cannot be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum BuildRecordError {
    #[error("cannot reach the log of the build")]
    Fs(#[from] FsError),
    #[error("cannot look up the build")]
    Db(#[from] DbError),
}

/// How much is kept. What is beyond it goes in one stroke, down to half, so that most builds remove nothing.
#[derive(Clone, Copy, Debug)]
pub struct BuildLimits {
    pub n_builds: usize,
    /// Records, logs and notes together.
    pub n_bytes: u64,
}

impl Default for BuildLimits {
    fn default() -> Self {
        BuildLimits { n_builds: 200, n_bytes: 128 << 20 }
    }
}

/// A build that is over.
pub struct NewBuild<'a> {
    /// Unique, and good as a file name.
    pub id: &'a str,
    pub record: &'a [u8],
    pub log: Option<BuildLogWriter>,
    /// The notes that the record refers to, known already or new.
    pub refers_to: &'a [Digest],
    /// Notes by name. One that is known already stays as it is.
    pub notes: &'a [(Digest, Vec<u8>)],
}

/// A build that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptBuild {
    pub id: String,
    pub record: Vec<u8>,
}

/// Takes the log of a build that goes on; dropped without [`Store::add_build`] it is gone.
pub struct BuildLogWriter {
    temporary: Temporary,
    file: BufWriter<File>,
    n_bytes: u64,
}

impl Store {
    /// Starts the log of a build.
    pub fn build_log_writer(&self) -> Result<BuildLogWriter, FsError> {
        let session = self.session()?;
        let temporary = session.temporary(&format!("{}.log", session.unique_name()));
        let file = File::create_new(temporary.path()).map_err(FsError::on("open", temporary.path()))?;
        Ok(BuildLogWriter { temporary, file: BufWriter::new(file), n_bytes: 0 })
    }

    /// Keeps a build, and forgets old ones if that is more than `limits` allow. The newest one always stays.
    pub fn add_build(&self, mut build: NewBuild<'_>, limits: BuildLimits) -> Result<(), BuildRecordError> {
        let n_note_bytes: usize = build.notes.iter().map(|(_, note)| note.len()).sum();
        let n_log_bytes = build.log.as_ref().map_or(0, |log| log.n_bytes);
        let n_bytes = n_log_bytes + (build.record.len() + n_note_bytes) as u64;
        if let Some(log) = &mut build.log {
            log.file.flush().map_err(FsError::on("write", log.temporary.path()))?;
        }
        let refers_to: Vec<&str> = build.refers_to.iter().map(Digest::as_str).collect();
        let forgotten = self.database().write(|tx| {
            tx.run(|c| {
                let mut insert =
                    c.prepare_cached("INSERT OR IGNORE INTO build_notes (digest, note) VALUES (?1, ?2)")?;
                build
                    .notes
                    .iter()
                    .try_for_each(|(name, note)| insert.execute(params![name.as_str(), note]).map(drop))?;
                c.prepare_cached("INSERT INTO builds (id, n_bytes, notes, record) VALUES (?1, ?2, ?3, ?4)")?
                    .execute(params![build.id, n_bytes as i64, refers_to.join(" "), build.record])
            })?;
            if let Some(log) = &build.log {
                let path = self.build_log_path(build.id);
                std::fs::rename(log.temporary.path(), &path).map_err(FsError::on("rename", &path))?;
            }
            Ok::<_, BuildRecordError>(tx.run(|c| forget_old(c, limits))?)
        })?;
        self.remove_logs(&forgotten);
        Ok(())
    }

    /// All builds, the newest first.
    pub fn builds(&self) -> Result<Vec<KeptBuild>, DbError> {
        self.database().run(|c| {
            c.prepare_cached("SELECT id, record FROM builds ORDER BY seq DESC")?
                .query_map([], |row| Ok(KeptBuild { id: row.get(0)?, record: row.get(1)? }))?
                .collect()
        })
    }

    /// The log of a build, as it was written; `None` if nothing was.
    pub fn build_log(&self, id: &str) -> Result<Option<File>, FsError> {
        let path = self.build_log_path(id);
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FsError::on("open", &path)(error)),
        }
    }

    /// The note called `name`.
    pub fn build_note(&self, name: &Digest) -> Result<Option<Vec<u8>>, DbError> {
        self.database().run(|c| {
            c.prepare_cached("SELECT note FROM build_notes WHERE digest = ?1")?
                .query_row([name.as_str()], |row| row.get(0))
                .optional()
        })
    }

    /// Forgets builds; ids that are not known are fine.
    pub fn remove_builds(&self, ids: &[String]) -> Result<(), DbError> {
        self.database().write(|tx| tx.run(|c| forget(c, ids)))?;
        self.remove_logs(ids);
        Ok(())
    }

    fn build_log_path(&self, id: &str) -> PathBuf {
        self.root().join("builds").join(format!("{id}.log"))
    }

    fn remove_logs(&self, ids: &[String]) {
        for id in ids {
            // Most have none, and what cannot be removed is left to a sweep.
            let _ = std::fs::remove_file(self.build_log_path(id));
        }
    }
}

impl Write for BuildLogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n_written = self.file.write(bytes)?;
        self.n_bytes += n_written as u64;
        Ok(n_written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The ids of the builds that had to go.
fn forget_old(connection: &Connection, limits: BuildLimits) -> rusqlite::Result<Vec<String>> {
    let is_over = |n_builds: usize, n_bytes: u64, share: u64| {
        n_builds as u64 > limits.n_builds as u64 / share || n_bytes > limits.n_bytes / share
    };
    let (n_builds, n_bytes): (i64, i64) = connection
        .prepare_cached("SELECT count(*), sum(n_bytes) FROM builds")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if !is_over(n_builds as usize, n_bytes as u64, 1) {
        return Ok(Vec::new());
    }
    let sizes: Vec<(String, i64)> = connection
        .prepare_cached("SELECT id, n_bytes FROM builds ORDER BY seq DESC")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut n_bytes = 0;
    let mut n_kept = 0;
    for (_, size) in &sizes {
        n_bytes += *size as u64;
        if n_kept > 0 && is_over(n_kept + 1, n_bytes, 2) {
            break;
        }
        n_kept += 1;
    }
    let old: Vec<String> = sizes.into_iter().skip(n_kept).map(|(id, _)| id).collect();
    forget(connection, &old)?;
    Ok(old)
}

/// Removes builds, and the notes that no other build refers to.
fn forget(connection: &Connection, ids: &[String]) -> rusqlite::Result<()> {
    let mut delete = connection.prepare_cached("DELETE FROM builds WHERE id = ?1")?;
    ids.iter().try_for_each(|id| delete.execute([id]).map(drop))?;
    let kept: Vec<String> = connection
        .prepare_cached("SELECT notes FROM builds")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let kept: HashSet<&str> = kept.iter().flat_map(|names| names.split(' ')).collect();
    let known: Vec<String> = connection
        .prepare_cached("SELECT digest FROM build_notes")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut delete = connection.prepare_cached("DELETE FROM build_notes WHERE digest = ?1")?;
    known.iter().filter(|name| !kept.contains(name.as_str())).try_for_each(|name| delete.execute([name]).map(drop))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::testing::{digest, empty_store};

    fn add(store: &Store, id: &str, record: &str, log: Option<&str>, note: &str, limits: BuildLimits) {
        let log = log.map(|text| {
            let mut writer = store.build_log_writer().unwrap();
            writer.write_all(text.as_bytes()).unwrap();
            writer
        });
        let (refers_to, notes) = ([digest(note)], [(digest(note), note.as_bytes().to_vec())]);
        store
            .add_build(NewBuild { id, record: record.as_bytes(), log, refers_to: &refers_to, notes: &notes }, limits)
            .unwrap();
    }

    fn ids(store: &Store) -> Vec<String> {
        store.builds().unwrap().into_iter().map(|build| build.id).collect()
    }

    #[test]
    fn a_build_comes_back_with_its_log_and_notes() {
        let (_folder, store) = empty_store();
        add(&store, "a", "record", Some("log"), "note", BuildLimits::default());
        add(&store, "b", "second", None, "note", BuildLimits::default());
        assert_eq!(ids(&store), ["b", "a"]);
        let mut log = String::new();
        store.build_log("a").unwrap().unwrap().read_to_string(&mut log).unwrap();
        assert_eq!((log.as_str(), store.builds().unwrap()[1].record.as_slice()), ("log", b"record".as_slice()));
        assert!(store.build_log("b").unwrap().is_none());
        store.remove_builds(&["a".to_owned(), "unknown".to_owned()]).unwrap();
        assert!(store.build_log("a").unwrap().is_none());
        assert_eq!(store.build_note(&digest("note")).unwrap().as_deref(), Some(b"note".as_slice()), "`b` refers to it");
        store.remove_builds(&["b".to_owned()]).unwrap();
        assert_eq!(store.build_note(&digest("note")).unwrap(), None);
        assert_eq!(store.fsck().unwrap(), []);
    }

    #[test]
    fn the_number_of_builds_is_bounded() {
        let (_folder, store) = empty_store();
        let limits = BuildLimits { n_builds: 4, n_bytes: 1 << 20 };
        for number in 0..5 {
            add(&store, &number.to_string(), "r", Some("l"), &format!("note {number}"), limits);
        }
        assert_eq!(ids(&store), ["4", "3"]);
        assert_eq!(std::fs::read_dir(store.root().join("builds")).unwrap().count(), 2);
        let has_note = |number: usize| store.build_note(&digest(&format!("note {number}"))).unwrap().is_some();
        assert_eq!([0, 1, 2, 3, 4].map(has_note), [false, false, false, true, true]);
    }

    #[test]
    fn their_bytes_are_bounded_and_the_newest_stays() {
        let (_folder, store) = empty_store();
        let limits = BuildLimits { n_builds: 100, n_bytes: 100 };
        for id in ["a", "b", "c"] {
            add(&store, id, &"r".repeat(20), Some(&"l".repeat(20)), "n", limits);
        }
        assert_eq!(ids(&store), ["c"]);
        add(&store, "huge", "r", Some(&"l".repeat(1000)), "n", limits);
        assert_eq!(ids(&store), ["huge"]);
    }

    #[test]
    fn a_log_without_a_build_is_swept() {
        let (_folder, store) = empty_store();
        add(&store, "kept", "r", Some("l"), "n", BuildLimits::default());
        std::fs::write(store.root().join("builds/garbage.log"), "").unwrap();
        assert_eq!(store.sweep().unwrap().n_logs, 1);
        assert!(store.build_log("kept").unwrap().is_some());
    }
}
