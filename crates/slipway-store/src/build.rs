//! What is kept about builds that are over?
//!
//! A file a build with a record that the store does not look into, a file with its log if anything was logged, and
//! notes: values that several records refer to by digest, kept as long as one of them does. All of it is bounded, the
//! oldest builds go first. Records are no rows because a build that has nothing to do should not make the database's
//! log longer, which every process reads when it opens the store.
//!
//! A record also names what of the store the build used, and so says when that was used last. Before a record is
//! forgotten, its part of that becomes rows.
//!
//! A record is there whole or not at all, whatever ends the process. A crash may leave a log or a part of a record
//! without a record, which goes with the next builds that are forgotten; a power loss may cut one short.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::{OptionalExtension, params};
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
    /// Nanoseconds since 1970.
    pub ended_ns: i64,
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

    /// Keeps a build with what this process has used so far, and forgets old ones if that is more than `limits` allow. The newest one always stays.
    pub fn add_build(&self, mut build: NewBuild<'_>, limits: BuildLimits) -> Result<(), BuildRecordError> {
        if !build.notes.is_empty() {
            self.database().write(|tx| {
                tx.run(|c| {
                    let mut insert =
                        c.prepare_cached("INSERT OR IGNORE INTO build_notes (digest, note) VALUES (?1, ?2)")?;
                    build
                        .notes
                        .iter()
                        .try_for_each(|(name, note)| insert.execute(params![name.as_str(), note]).map(drop))
                })
            })?;
        }
        let is_large = build.log.is_some() || !build.notes.is_empty();
        if let Some(log) = &mut build.log {
            let path = self.build_path(build.id, LOG);
            log.file.flush().map_err(FsError::on("write", log.temporary.path()))?;
            std::fs::rename(log.temporary.path(), &path).map_err(FsError::on("rename", &path))?;
        }
        let n_note_bytes: usize = build.notes.iter().map(|(_, note)| note.len()).sum();
        let refers_to: Vec<&str> = build.refers_to.iter().map(Digest::as_str).collect();
        let uses = self.0.uses.names();
        let head = format!("{n_note_bytes} {}\n{} {}\n", refers_to.join(" "), build.ended_ns, uses.join(" "));
        let body = [head.as_bytes(), build.record].concat();
        let part = self.build_path(build.id, PART);
        if let Err(error) = std::fs::write(&part, [Digest::of(&body).hex().as_bytes(), b" ", &body].concat()) {
            // The disk is full, mostly.
            let _ = std::fs::remove_file(&part);
            return Err(FsError::on("write", &part)(error).into());
        }
        let path = self.build_path(build.id, RECORD);
        std::fs::rename(&part, &path).map_err(FsError::on("rename", &path))?;
        // Small records are only counted: looking at all of them takes longer than a build that has nothing to do.
        match is_large || self.count_builds()? > limits.n_builds {
            true => self.forget_old(limits),
            false => Ok(()),
        }
    }

    /// All builds, the newest first; each is read when it is asked for.
    pub fn builds(&self) -> Result<impl Iterator<Item = KeptBuild> + use<>, FsError> {
        let read = |found: Found| Some(KeptBuild { record: read_record(&found.path)?.record, id: found.id });
        Ok(self.find_builds()?.into_iter().filter_map(read))
    }

    /// The log of a build, as it was written; `None` if nothing was.
    pub fn build_log(&self, id: &str) -> Result<Option<File>, FsError> {
        let path = self.build_path(id, LOG);
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FsError::on("open", &path)(error)),
        }
    }

    /// Keeps a build that is not of today, as [`Store::add_build`] does, at its place among the others.
    pub fn add_past_build(&self, build: NewBuild<'_>, limits: BuildLimits) -> Result<(), BuildRecordError> {
        let path = self.build_path(build.id, RECORD);
        let ended = SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(build.ended_ns).unwrap_or(0));
        self.add_build(build, limits)?;
        match File::open(&path).and_then(|file| file.set_modified(ended)) {
            // It was more than what is kept.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => Ok(outcome.map_err(FsError::on("utimensat", &path))?),
        }
    }

    /// The notes that the record of a build refers to, as far as they are known.
    pub fn notes_of_build(&self, id: &str) -> Result<Vec<(Digest, Vec<u8>)>, DbError> {
        let record = read_record(&self.build_path(id, RECORD));
        let names = record.into_iter().flat_map(|record| record.refers_to).filter_map(|name| name.parse().ok());
        let note = |name: Digest| Some(self.build_note(&name).transpose()?.map(|note| (name, note)));
        names.filter_map(note).collect()
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
    pub fn remove_builds(&self, ids: &[String]) -> Result<(), BuildRecordError> {
        let records = ids.iter().filter_map(|id| read_record(&self.build_path(id, RECORD)));
        self.keep_uses(&LastUses::of(records))?;
        for id in ids {
            for kind in [LOG, RECORD] {
                let path = self.build_path(id, kind);
                match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(FsError::on("unlink", &path)(error).into());
                    }
                    _ => {}
                }
            }
        }
        self.forget_notes()
    }

    /// Builds whose records cannot be read.
    pub(crate) fn damaged_builds(&self) -> Vec<String> {
        let found = self.find_builds().unwrap_or_default();
        let is_damaged = |found: &Found| found.path.exists() && read_record(&found.path).is_none();
        found.into_iter().filter(is_damaged).map(|build| build.id).collect()
    }

    /// Forgets all builds but the newest.
    pub(crate) fn forget_builds_but_one(&self) -> Result<(), BuildRecordError> {
        let old: Vec<String> = self.find_builds()?.into_iter().skip(1).map(|build| build.id).collect();
        self.remove_builds(&old)
    }

    /// What the builds that are remembered used, and when.
    pub(crate) fn recorded_uses(&self) -> Result<LastUses, FsError> {
        Ok(LastUses::of(self.find_builds()?.iter().filter_map(|found| read_record(&found.path))))
    }

    /// Makes rows of what records said.
    fn keep_uses(&self, uses: &LastUses) -> Result<(), DbError> {
        if uses.0.is_empty() {
            return Ok(());
        }
        self.database().write(|tx| {
            tx.run(|c| {
                let mut update = c.prepare_cached(
                    "INSERT INTO usage (name, last_used_ns, n_uses) VALUES (?1, ?2, ?3) ON CONFLICT (name) DO UPDATE
                     SET last_used_ns = max(coalesce(last_used_ns, 0), ?2), n_uses = n_uses + ?3",
                )?;
                uses.0.iter().try_for_each(|(name, (at_ns, n))| update.execute(params![name, at_ns, n]).map(drop))
            })
        })
    }

    fn build_path(&self, id: &str, kind: &str) -> PathBuf {
        self.root().join("builds").join(format!("{id}{kind}"))
    }

    /// The records on disk, the newest first.
    fn find_builds(&self) -> Result<Vec<Found>, FsError> {
        let folder = self.root().join("builds");
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(FsError::on("open", &folder))? {
            let entry = entry.map_err(FsError::on("readdir", &folder))?;
            let name = entry.file_name();
            let Some(id) = name.to_str().and_then(|name| name.strip_suffix(RECORD)) else { continue };
            // Another process may have removed it meanwhile.
            let Ok(modified) = entry.metadata().and_then(|meta| meta.modified()) else { continue };
            found.push(Found { id: id.to_owned(), path: entry.path(), modified });
        }
        found.sort_by(|a, b| (b.modified, &b.id).cmp(&(a.modified, &a.id)));
        Ok(found)
    }

    fn count_builds(&self) -> Result<usize, FsError> {
        let folder = self.root().join("builds");
        let entries = std::fs::read_dir(&folder).map_err(FsError::on("open", &folder))?;
        let is_record = |name: &std::ffi::OsStr| name.as_encoded_bytes().ends_with(RECORD.as_bytes());
        Ok(entries.flatten().filter(|entry| is_record(&entry.file_name())).count())
    }

    fn forget_old(&self, limits: BuildLimits) -> Result<(), BuildRecordError> {
        let found = self.find_builds()?;
        self.forget_strays(&found)?;
        let sizes: Vec<u64> = found.iter().map(|build| self.size(build)).collect();
        let is_over = |n_builds: usize, n_bytes: u64, share: usize| {
            n_builds > limits.n_builds / share || n_bytes > limits.n_bytes / share as u64
        };
        if !is_over(sizes.len(), sizes.iter().sum(), 1) {
            return Ok(());
        }
        let mut n_bytes = 0;
        let is_kept = |(place, size): (usize, &u64)| {
            n_bytes += size;
            place == 0 || !is_over(place + 1, n_bytes, 2)
        };
        let n_kept = sizes.iter().enumerate().map(is_kept).take_while(|is_kept| *is_kept).count();
        let old: Vec<String> = found.into_iter().skip(n_kept).map(|build| build.id).collect();
        self.remove_builds(&old)
    }

    /// Removes what belongs to none of the builds `found`, and is too old to belong to one that is just being kept.
    fn forget_strays(&self, found: &[Found]) -> Result<(), FsError> {
        let folder = self.root().join("builds");
        let known: HashSet<&str> = found.iter().map(|build| build.id.as_str()).collect();
        for entry in std::fs::read_dir(&folder).map_err(FsError::on("open", &folder))?.flatten() {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.split('.').next()).unwrap_or_default();
            let age = entry.metadata().and_then(|meta| meta.modified()).map(|modified| modified.elapsed());
            let is_old = matches!(age, Ok(Ok(age)) if age > STRAY_AGE);
            if is_old && !known.contains(id) {
                // Another process may have removed it meanwhile.
                let _ = std::fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// How much a build takes, with the notes that it brought.
    fn size(&self, build: &Found) -> u64 {
        let length = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
        let n_note_bytes = read_record(&build.path).map_or(0, |record| record.n_note_bytes);
        length(&build.path) + length(&self.build_path(&build.id, LOG)) + n_note_bytes
    }

    /// Removes the notes that no build refers to.
    fn forget_notes(&self) -> Result<(), BuildRecordError> {
        let kept = self.find_builds()?.into_iter().filter_map(|found| read_record(&found.path));
        let kept: HashSet<String> = kept.flat_map(|record| record.refers_to).collect();
        Ok(self.database().write(|tx| {
            tx.run(|c| {
                let known: Vec<String> = c
                    .prepare_cached("SELECT digest FROM build_notes")?
                    .query_map([], |row| row.get(0))?
                    .collect::<Result<_, _>>()?;
                let mut delete = c.prepare_cached("DELETE FROM build_notes WHERE digest = ?1")?;
                known.iter().filter(|name| !kept.contains(*name)).try_for_each(|name| delete.execute([name]).map(drop))
            })
        })?)
    }
}

const RECORD: &str = ".record";
const LOG: &str = ".log";
/// A record that is being written.
const PART: &str = ".part";
/// Nobody takes longer than that to keep a build.
const STRAY_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// A record on disk.
struct Found {
    id: String,
    path: PathBuf,
    modified: SystemTime,
}

/// When each thing was used last, in nanoseconds since 1970, and how often.
pub(crate) struct LastUses(HashMap<String, (i64, i64)>);

impl LastUses {
    fn of(records: impl Iterator<Item = RecordFile>) -> LastUses {
        let mut uses = HashMap::new();
        for RecordFile { ended_ns, uses: names, .. } in records {
            for name in names {
                let (last_ns, n_uses) = uses.entry(name).or_insert((ended_ns, 0));
                *last_ns = ended_ns.max(*last_ns);
                *n_uses += 1;
            }
        }
        LastUses(uses)
    }

    /// When the thing `name` was used last, and how often; `None` if no record has it.
    pub(crate) fn of_thing(&self, name: &str) -> Option<(i64, u64)> {
        self.0.get(name).map(|(last_ns, n_uses)| (*last_ns, *n_uses as u64))
    }
}

/// What is in the file of a record.
struct RecordFile {
    n_note_bytes: u64,
    refers_to: Vec<String>,
    ended_ns: i64,
    uses: Vec<String>,
    record: Vec<u8>,
}

/// Reads the file of a record: the digest of what follows; a line with the size of the notes that it brought and the names of
/// those that it refers to; one with the time when the build ended and the names of what it used; then the record. `None` if
/// it is damaged or gone.
fn read_record(path: &Path) -> Option<RecordFile> {
    let bytes = std::fs::read(path).ok()?;
    let mut parts = sound(&bytes)?.splitn(3, |byte| *byte == b'\n');
    let mut line = || Some(std::str::from_utf8(parts.next()?).ok()?.split(' '));
    let (mut notes, mut used) = (line()?, line()?);
    let n_note_bytes = notes.next()?.parse().ok()?;
    let ended_ns = used.next()?.parse().ok()?;
    let names = |words: std::str::Split<'_, char>| words.filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let (refers_to, uses) = (names(notes), names(used));
    Some(RecordFile { n_note_bytes, refers_to, ended_ns, uses, record: parts.next()?.to_vec() })
}

/// What follows the digest in front of it, if it is what that says. Older versions wrote none.
fn sound(bytes: &[u8]) -> Option<&[u8]> {
    let (word, rest) = bytes.split_at(bytes.iter().position(|byte| *byte == b' ')?);
    if word.len() != Digest::of(b"").hex().len() {
        return Some(bytes);
    }
    let rest = &rest[1..];
    (Digest::of(rest).hex().as_bytes() == word).then_some(rest)
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
            .add_build(
                NewBuild { id, ended_ns: 1, record: record.as_bytes(), log, refers_to: &refers_to, notes: &notes },
                limits,
            )
            .unwrap();
    }

    fn ids(store: &Store) -> Vec<String> {
        store.builds().unwrap().map(|build| build.id).collect()
    }

    #[test]
    fn what_a_crash_left_goes_when_it_is_old() {
        let (_folder, store) = empty_store();
        let [old, new] = [store.build_path("old", PART), store.build_path("new", LOG)];
        for path in [&old, &new] {
            std::fs::write(path, "half").unwrap();
        }
        File::open(&old).unwrap().set_modified(SystemTime::now() - 2 * STRAY_AGE).unwrap();
        add(&store, "a", "record", None, "note", BuildLimits::default());
        assert_eq!((ids(&store), old.exists(), new.exists()), (vec!["a".to_owned()], false, true));
    }

    #[test]
    fn a_build_comes_back_with_its_log_and_notes() {
        let (_folder, store) = empty_store();
        add(&store, "a", "record", Some("log"), "note", BuildLimits::default());
        add(&store, "b", "second", None, "note", BuildLimits::default());
        assert_eq!(ids(&store), ["b", "a"]);
        let mut log = String::new();
        store.build_log("a").unwrap().unwrap().read_to_string(&mut log).unwrap();
        assert_eq!(
            (log.as_str(), store.builds().unwrap().nth(1).unwrap().record.as_slice()),
            ("log", b"record".as_slice())
        );
        assert!(store.build_log("b").unwrap().is_none());
        store.remove_builds(&["a".to_owned(), "unknown".to_owned()]).unwrap();
        assert!(store.build_log("a").unwrap().is_none());
        assert_eq!(store.build_note(&digest("note")).unwrap().as_deref(), Some(b"note".as_slice()), "`b` refers to it");
        store.remove_builds(&["b".to_owned()]).unwrap();
        assert_eq!(store.build_note(&digest("note")).unwrap(), None);
        assert_eq!(store.fsck().unwrap(), []);
    }

    #[test]
    fn a_build_of_another_day_has_its_place() {
        let (_folder, store) = empty_store();
        add(&store, "new", "record", None, "note", BuildLimits::default());
        let (refers_to, notes) = ([digest("n")], [(digest("n"), b"n".to_vec())]);
        let past = NewBuild { id: "old", ended_ns: 1, record: b"r", log: None, refers_to: &refers_to, notes: &notes };
        store.add_past_build(past, BuildLimits::default()).unwrap();
        assert_eq!(ids(&store), ["new", "old"]);
        assert_eq!(store.notes_of_build("old").unwrap(), notes);
        assert_eq!(store.notes_of_build("unknown").unwrap(), []);
    }

    #[test]
    fn the_number_of_builds_is_bounded() {
        let (_folder, store) = empty_store();
        let limits = BuildLimits { n_builds: 4, n_bytes: 1 << 20 };
        for number in 0..5 {
            add(&store, &number.to_string(), "r", Some("l"), &format!("note {number}"), limits);
        }
        assert_eq!(ids(&store), ["4", "3"]);
        assert_eq!(std::fs::read_dir(store.root().join("builds")).unwrap().count(), 4, "a record and a log each");
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
    fn what_was_used_outlives_the_records() {
        let (_folder, store) = empty_store();
        let layer = store.begin(None).unwrap().commit_layer(1).unwrap();
        for id in ["a", "b"] {
            add(&store, id, "r", None, "n", BuildLimits::default());
        }
        let uses = |store: &Store| {
            let usage = store.usage().unwrap().into_iter().find(|usage| usage.name == layer.as_str()).unwrap();
            (usage.last_used_ns, usage.n_uses)
        };
        assert_eq!(uses(&store), (Some(1), 2));
        store.remove_builds(&["a".to_owned()]).unwrap();
        assert_eq!(uses(&store), (Some(1), 2), "one as a row, one in a record");
        store.remove_builds(&["b".to_owned()]).unwrap();
        assert_eq!(uses(&store), (Some(1), 2));
    }

    #[test]
    fn a_damaged_record_is_skipped() {
        let (_folder, store) = empty_store();
        for id in ["good", "changed"] {
            add(&store, id, "record", None, "n", BuildLimits::default());
        }
        let path = |id: &str| store.root().join("builds").join(format!("{id}.record"));
        std::fs::write(path("bad"), "torn").unwrap();
        let text = std::fs::read_to_string(path("changed")).unwrap();
        std::fs::write(path("changed"), text.replace("record", "recorD")).unwrap();
        assert_eq!(ids(&store), ["good"]);
        let mut damaged = store.damaged_builds();
        damaged.sort();
        assert_eq!(damaged, ["bad", "changed"]);
        store.remove_builds(&damaged).unwrap();
        assert_eq!(std::fs::read_dir(store.root().join("builds")).unwrap().count(), 1);
        std::fs::write(path("old"), format!("0 {}\n1 \nr", digest("n"))).unwrap();
        assert!(ids(&store).contains(&"old".to_owned()), "of a version that wrote no digest");
    }
}
