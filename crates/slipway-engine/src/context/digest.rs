//! Would copying this selection give the same files as before? (`spec/dockerfile.md` section 7.2)
//!
//! | in the digest                                            | not in it                       |
//! |----------------------------------------------------------|---------------------------------|
//! | type, mode, owner, size, link text, device numbers       | modification times              |
//! | attributes but `security.*` and `system.*` (capabilities are in) | inode numbers, hard links |
//! | content, and names below the selected path               | the selected path's own name    |
//! | the selected paths, if patterns selected them            | the mode of a tree's own top    |

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;

use rustix::fs::{FileType, Mode};
use slipway_graph::KeyWriter;
use slipway_oci::{Digest, Sha256};

use super::memory::{FileDigest, Remembered, Stamp, now, read_row, row_key, write_row};
use super::scan::{Forest, ScannedDir, ScannedEntry, Top, What, scan};
use super::select::{SourcePattern, select};
use super::workers::work;
use super::{DigestMemory, ScanError, SelectError, Selected, SourceTree};
use crate::rootfs::{CallError, Meta, OnPath, READ_FILE, Time, Xattrs, read_xattrs, stat_at, stat_fd};

/// How many files one task reads; small enough that two threads end at about the same time.
const FILES_PER_TASK: usize = 128;

const BUFFER_BYTES: usize = 128 << 10;

/// Why content could not be digested.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DigestError {
    #[error(transparent)]
    Scan(#[from] ScanError),
    #[error("cannot read a source")]
    Call(#[from] CallError),
}

impl From<SelectError> for DigestError {
    fn from(error: SelectError) -> Self {
        DigestError::Scan(error.into())
    }
}

/// The digest of everything that `wanted` selects in `tree`. With a `memory`, files that look as they did when their
/// digest was put there are not read.
pub(crate) fn content_digest(
    tree: SourceTree<'_>,
    wanted: &SourcePattern<'_>,
    memory: Option<&dyn DigestMemory>,
) -> Result<Digest, DigestError> {
    Ok(digest_files(tree, wanted, memory)?.digest)
}

/// A selection, and what its digest is made of.
pub(crate) struct Digested {
    pub(crate) digest: Digest,
    pub(crate) tops: Vec<Selected>,
    pub(crate) forest: Forest,
    pub(super) files: FileDigests,
    /// When that was begun.
    looked_at: Time,
}

impl Digested {
    /// Whether the file at this place of the forest, in the open `folder`, is as it was when it was digested: then nothing
    /// that was read of it in between was anything else.
    pub(crate) fn is_unchanged(&self, dir: usize, entry: usize, folder: &OwnedFd) -> bool {
        let ScannedEntry { name, meta, .. } = &self.forest.dirs[dir].entries[entry];
        let is_same = |now: Stamp| now == Stamp::of(meta) && now.is_settled(self.looked_at);
        stat_at(folder.as_fd(), name).is_ok_and(|now| is_same(Stamp::of(&now)))
    }

    /// Whether `name` in `folder` has the content and attributes that were digested at this place of the forest.
    pub(crate) fn is_equal(&self, dir: usize, entry: usize, folder: &OwnedFd, name: &[u8]) -> bool {
        let digest = open_file(folder, name).and_then(|mut file| digest_file(&mut file, &mut vec![0; BUFFER_BYTES]));
        digest.is_ok_and(|digest| digest == *self.of_file(dir, entry))
    }

    /// The digest of a regular file's content and attributes, by its place in the forest.
    pub(crate) fn of_file(&self, dir: usize, entry: usize) -> &[u8; 32] {
        &self.files[dir][entry]
    }

    /// How many entries all folders have together.
    pub(crate) fn n_entries(&self) -> usize {
        self.forest.dirs.iter().map(|dir| dir.entries.len()).sum()
    }
}

/// [`content_digest`] for who wants to know later which files that were.
pub(crate) fn digest_files(
    tree: SourceTree<'_>,
    wanted: &SourcePattern<'_>,
    memory: Option<&dyn DigestMemory>,
) -> Result<Digested, DigestError> {
    let looked_at = now();
    let selection = select(tree, wanted)?;
    let forest = scan(&selection)?;
    let files = file_digests(tree, &forest, memory)?;
    let dirs = dir_digests(&forest, &files);
    let mut key = KeyWriter::new("selection");
    key.flag(wanted.selects_by_name());
    for (selected, top) in selection.tops.iter().zip(&forest.tops) {
        if wanted.selects_by_name() {
            key.bytes(selected.path.as_bytes());
        }
        match *top {
            Top::Dir(id) => {
                let dir = &forest.dirs[id];
                // A tree's own top is a place, not something that was selected.
                if !dir.path.is_top() {
                    write_header(&mut key, &dir.meta, b"", &dir.xattrs);
                }
                key.text(dirs[id].as_str());
            }
            Top::Entry(dir, index) => write_entry(&mut key, &forest.dirs[dir].entries[index], &files[dir][index]),
        }
    }
    Ok(Digested { digest: key.finish(), tops: selection.tops, forest, files, looked_at })
}

/// For each folder and entry the digest of its content; zeros for all that is no regular file.
pub(super) type FileDigests = Vec<Vec<FileDigest>>;

const NO_CONTENT: FileDigest = [0; 32];

fn dir_digests(forest: &Forest, files: &FileDigests) -> Vec<Digest> {
    // What is in a folder comes after it: fill from the back.
    let mut digests: Vec<Digest> = Vec::with_capacity(forest.dirs.len());
    for (id, dir) in forest.dirs.iter().enumerate().rev() {
        let mut key = KeyWriter::new("folder");
        let deeper = |deeper: usize| &digests[forest.dirs.len() - 1 - deeper];
        for (entry, content) in dir.entries.iter().zip(&files[id]) {
            key.bytes(&entry.name);
            match entry.what {
                What::Dir(at) => {
                    write_header(&mut key, &forest.dirs[at].meta, b"", &forest.dirs[at].xattrs);
                    key.text(deeper(at).as_str());
                }
                What::Link(_) | What::Other => write_entry(&mut key, entry, content),
            }
        }
        digests.push(key.finish());
    }
    digests.reverse();
    digests
}

fn write_entry(key: &mut KeyWriter, entry: &ScannedEntry, content: &FileDigest) {
    let link: &[u8] = match &entry.what {
        What::Link(target) => target,
        What::Dir(_) | What::Other => b"",
    };
    // A file's attributes are part of its content digest.
    write_header(key, &entry.meta, link, &Vec::new());
    key.bytes(content);
}

fn write_header(key: &mut KeyWriter, meta: &Meta, link: &[u8], xattrs: &Xattrs) {
    let size_bytes = if meta.is_file() { meta.size_bytes } else { 0 };
    // The mode of a link means nothing and differs between file systems.
    let mode = if meta.is_link() { 0 } else { meta.mode };
    key.number(meta.kind.as_raw_mode().into()).number(mode.into()).number(meta.uid.into()).number(meta.gid.into());
    key.number(size_bytes).bytes(link);
    if matches!(meta.kind, FileType::BlockDevice | FileType::CharacterDevice) {
        key.number(meta.rdev.0.into()).number(meta.rdev.1.into());
    }
    let counted = xattrs.iter().filter(|(name, _)| is_counted(name));
    key.number(counted.clone().count() as u64);
    for (name, value) in counted {
        key.bytes(name.to_bytes()).bytes(value);
    }
}

/// Whether an attribute belongs to the content: labels of the host's security modules do not, capabilities do.
fn is_counted(name: &CStr) -> bool {
    let name = name.to_bytes();
    name == b"security.capability" || !(name.starts_with(b"security.") || name.starts_with(b"system."))
}

/// Digests of all regular files, remembered ones where they still hold.
fn file_digests(
    tree: SourceTree<'_>,
    forest: &Forest,
    memory: Option<&dyn DigestMemory>,
) -> Result<FileDigests, CallError> {
    let mut digests: FileDigests = forest.dirs.iter().map(|dir| vec![NO_CONTENT; dir.entries.len()]).collect();
    let keys: Vec<String> = forest.dirs.iter().map(|dir| row_key(&dir.meta)).collect();
    let rows = memory.map(|memory| memory.get(&keys)).unwrap_or_default();
    let mut tasks = Vec::new();
    for (id, dir) in forest.dirs.iter().enumerate() {
        let row = rows.get(id).and_then(Option::as_deref).unwrap_or_default();
        let unknown = recall(dir, row, &mut digests[id]);
        tasks.extend(unknown.chunks(FILES_PER_TASK).map(|chunk| Task { dir: id, entries: chunk.to_vec() }));
    }
    if tasks.is_empty() {
        return Ok(digests);
    }
    let read = read_files(tree, forest, tasks)?;
    for file in &read {
        digests[file.dir][file.entry] = file.digest;
    }
    if let Some(memory) = memory {
        memory.put(&new_rows(forest, &keys, &rows, &read));
    }
    Ok(digests)
}

/// Fills in what `row` knows of the files of `dir`; gives the entries that have to be read.
fn recall(dir: &ScannedDir, row: &[u8], digests: &mut [FileDigest]) -> Vec<usize> {
    let row = read_row(row);
    let mut unknown = Vec::new();
    for (index, entry) in dir.entries.iter().enumerate().filter(|(_, entry)| entry.meta.is_file()) {
        // Rows are written in the order of names; of one that is not, files are read again.
        match row.binary_search_by(|file| file.name.as_slice().cmp(&entry.name)).map(|at| &row[at]) {
            Ok(file) if file.stamp == Stamp::of(&entry.meta) => digests[index] = file.digest,
            _ => unknown.push(index),
        }
    }
    unknown
}

/// Some files of one folder that have to be read.
struct Task {
    /// Index into [`Forest::dirs`].
    dir: usize,
    entries: Vec<usize>,
}

/// A file that was read.
struct FileRead {
    dir: usize,
    entry: usize,
    digest: FileDigest,
    /// `None` if the file may change, or did, without its times showing it.
    stamp: Option<Stamp>,
}

fn read_files(tree: SourceTree<'_>, forest: &Forest, tasks: Vec<Task>) -> Result<Vec<FileRead>, CallError> {
    let started = now();
    let read = Mutex::new(Vec::new());
    work(tasks, |Task { dir: id, entries }, _| {
        let dir = &forest.dirs[id];
        let open = tree.root().open_dir(&dir.path).on("openat2", &dir.path)?;
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut batch = Vec::with_capacity(entries.len());
        for index in entries {
            let entry = &dir.entries[index];
            let (digest, stamp) =
                read_file(&open, entry, started, &mut buffer).on("read", &dir.path.join(&entry.name))?;
            batch.push(FileRead { dir: id, entry: index, digest, stamp });
        }
        read.lock().expect("because nothing panics while the lock is held").extend(batch);
        Ok(())
    })?;
    Ok(read.into_inner().expect("because nothing panics while the lock is held"))
}

fn read_file(
    dir: &OwnedFd,
    entry: &ScannedEntry,
    started: Time,
    buffer: &mut [u8],
) -> io::Result<(FileDigest, Option<Stamp>)> {
    let mut file = open_file(dir, &entry.name)?;
    let digest = digest_file(&mut file, buffer)?;
    let stamp = Stamp::of(&stat_fd(&file)?);
    let is_known = stamp == Stamp::of(&entry.meta) && stamp.is_settled(started);
    Ok((digest, is_known.then_some(stamp)))
}

fn open_file(dir: &OwnedFd, name: &[u8]) -> io::Result<File> {
    Ok(File::from(rustix::fs::openat(dir, name, READ_FILE, Mode::empty())?))
}

/// The digest of a file's content and attributes.
fn digest_file(file: &mut File, buffer: &mut [u8]) -> io::Result<FileDigest> {
    let mut hash = Sha256::new();
    write_xattrs(&mut hash, &read_xattrs(&*file)?);
    loop {
        let n_bytes = file.read(buffer)?;
        hash.update(&buffer[..n_bytes]);
        if n_bytes == 0 {
            return Ok(hash.finish_bytes());
        }
    }
}

/// Attributes are part of a file's digest, so that a remembered one costs no look at them: they change `ctime`.
fn write_xattrs(hash: &mut Sha256, xattrs: &Xattrs) {
    let counted: Vec<_> = xattrs.iter().filter(|(name, _)| is_counted(name)).collect();
    hash.update(&(counted.len() as u64).to_le_bytes());
    for (name, value) in counted {
        for bytes in [name.to_bytes(), value] {
            hash.update(&(bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        }
    }
}

/// The rows of all folders of which something new is known.
fn new_rows(
    forest: &Forest,
    keys: &[String],
    old_rows: &[Option<Vec<u8>>],
    read: &[FileRead],
) -> Vec<(String, Vec<u8>)> {
    // By key, because a folder can be in the forest twice: as a folder, and as the place of a single file.
    let mut rows: BTreeMap<&str, BTreeMap<Vec<u8>, Remembered>> = BTreeMap::new();
    for FileRead { dir: id, entry, digest, stamp } in read {
        let Some(stamp) = *stamp else { continue };
        let dir = &forest.dirs[*id];
        let row = rows.entry(&keys[*id]).or_insert_with(|| {
            let old = read_row(old_rows[*id].as_deref().unwrap_or_default());
            old.into_iter().filter(|file| is_there(dir, &file.name)).map(|file| (file.name.clone(), file)).collect()
        });
        let name = dir.entries[*entry].name.clone();
        row.insert(name.clone(), Remembered { name, stamp, digest: *digest });
    }
    rows.into_iter().map(|(key, row)| (key.to_owned(), write_row(&row.into_values().collect::<Vec<_>>()))).collect()
}

/// Whether a file that was there once may still be there.
fn is_there(dir: &ScannedDir, name: &[u8]) -> bool {
    let Some(others) = &dir.others else { return true };
    dir.entries.binary_search_by(|entry| entry.name.as_slice().cmp(name)).is_ok()
        || others.binary_search_by(|other| other.as_slice().cmp(name)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, SystemTime};

    use slipway_dockerfile::IgnoreRules;

    use super::*;
    use crate::context::{BuildContext, IgnoreFile};
    use crate::rootfs::Root;

    /// Rows in a map, and how many were put in it.
    #[derive(Default)]
    struct Rows {
        rows: Mutex<BTreeMap<String, Vec<u8>>>,
        n_put: AtomicUsize,
    }

    impl DigestMemory for Rows {
        fn get(&self, keys: &[String]) -> Vec<Option<Vec<u8>>> {
            let rows = self.rows.lock().unwrap();
            keys.iter().map(|key| rows.get(key).cloned()).collect()
        }

        fn put(&self, rows: &[(String, Vec<u8>)]) {
            self.n_put.fetch_add(rows.len(), Ordering::Relaxed);
            self.rows.lock().unwrap().extend(rows.iter().cloned());
        }
    }

    fn sample() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        std::fs::create_dir_all(path.join("d/deep")).unwrap();
        std::fs::write(path.join("a"), "1").unwrap();
        std::fs::write(path.join("a2"), "1").unwrap();
        std::fs::write(path.join("d/x"), "2").unwrap();
        std::fs::write(path.join("d/deep/y"), "3").unwrap();
        symlink("x", path.join("d/link")).unwrap();
        symlink("a", path.join("to-a")).unwrap();
        folder
    }

    fn digest_with(folder: &Path, wanted: &SourcePattern<'_>, rules: &[&str], memory: Option<&Rows>) -> Digest {
        let rules = IgnoreRules::parse(rules.join("\n").as_bytes()).unwrap();
        let ignore = IgnoreFile { name: ".dockerignore".to_owned(), rules };
        let context = BuildContext::new(Root::open(folder).unwrap(), Some(ignore));
        let memory = memory.map(|rows| rows as &dyn DigestMemory);
        content_digest(SourceTree::Context(&context), wanted, memory).unwrap()
    }

    fn digest(folder: &Path, source: &str) -> Digest {
        let has_wildcard = source.contains('*');
        digest_with(folder, &SourcePattern { has_wildcard, ..SourcePattern::literal(source) }, &[], None)
    }

    #[test]
    fn what_counts() {
        let set_mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        type Change<'a> = &'a dyn Fn(&Path);
        let set_attribute = |path: &Path| rustix::fs::setxattr(path, "user.a", b"1", rustix::fs::XattrFlags::empty());
        let table: [(&str, &str, bool, Change); 15] = [
            ("content", "/d", true, &|p| std::fs::write(p.join("d/deep/y"), "4").unwrap()),
            ("mode", "/d", true, &|p| set_mode(&p.join("d/x"), 0o711)),
            ("extended attribute", "/d", true, &|p| set_attribute(&p.join("d/x")).unwrap()),
            ("mode of a folder", "/d", true, &|p| set_mode(&p.join("d/deep"), 0o711)),
            ("mode of the top", "/", false, &|p| set_mode(p, 0o711)),
            ("name below", "/d", true, &|p| std::fs::rename(p.join("d/x"), p.join("d/z")).unwrap()),
            ("link", "/d", true, &|p| {
                std::fs::remove_file(p.join("d/link")).unwrap();
                symlink("y", p.join("d/link")).unwrap();
            }),
            ("new empty folder", "/d", true, &|p| std::fs::create_dir(p.join("d/new")).unwrap()),
            ("beside", "/d", false, &|p| std::fs::write(p.join("a"), "9").unwrap()),
            ("time", "/d", false, &|p| {
                let time = SystemTime::now() - Duration::from_secs(1_000_000);
                std::fs::File::open(p.join("d/x")).unwrap().set_modified(time).unwrap();
            }),
            ("owner", "/d", false, &|p| drop(std::os::unix::fs::chown(p.join("d/x"), Some(7), Some(7)))),
            ("target of a link", "/to-a", true, &|p| std::fs::write(p.join("a"), "9").unwrap()),
            ("matched by wildcard", "/a*", true, &|p| std::fs::rename(p.join("a2"), p.join("a3")).unwrap()),
            ("not matched", "/a*", false, &|p| std::fs::write(p.join("b"), "").unwrap()),
            ("hard link", "/d", false, &|p| std::fs::hard_link(p.join("d/x"), p.join("other")).unwrap()),
        ];
        for (what, source, counts, change) in table {
            let folder = sample();
            let before = digest(folder.path(), source);
            change(folder.path());
            assert_eq!(digest(folder.path(), source) != before, counts, "{what}");
        }
    }

    #[test]
    fn a_literal_source_has_no_name() {
        let folder = sample();
        assert_eq!(digest(folder.path(), "/a"), digest(folder.path(), "/a2"));
        assert_eq!(digest(folder.path(), "/a"), digest(folder.path(), "/to-a"));
        assert_ne!(digest(folder.path(), "/a"), digest(folder.path(), "/d/x"));
    }

    #[test]
    fn ignored_and_excluded_files_do_not_count() {
        let folder = sample();
        let excludes = ["**/y".to_owned()];
        let wanted = SourcePattern { excludes: &excludes, ..SourcePattern::literal("/d") };
        let digests = || {
            let ignored = digest_with(folder.path(), &SourcePattern::literal("/d"), &["d/deep/y"], None);
            (ignored, digest_with(folder.path(), &wanted, &[], None))
        };
        let before = digests();
        std::fs::write(folder.path().join("d/deep/y"), "4").unwrap();
        assert_eq!(digests(), before);
        std::fs::write(folder.path().join("d/x"), "4").unwrap();
        assert_ne!(digests().0, before.0);
        assert_ne!(digests().1, before.1);
    }

    #[test]
    fn settled_files_are_read_once() {
        let folder = sample();
        let rows = Rows::default();
        let look = || digest_with(folder.path(), &SourcePattern::literal("/"), &[], Some(&rows));
        let plain = digest(folder.path(), "/");
        // Within the tick of the clock in which they were written, files are not remembered.
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(look(), plain);
        let n_put = rows.n_put.load(Ordering::Relaxed);
        assert_eq!(n_put, 3, "one row for each folder with files");
        assert_eq!(look(), plain);
        assert_eq!(rows.n_put.load(Ordering::Relaxed), n_put, "nothing new was learnt");
        // A remembered digest is used, not found again: a false one shows.
        rows.rows.lock().unwrap().values_mut().for_each(|row| *row.last_mut().unwrap() ^= 1);
        assert_ne!(look(), plain);
        // Same size, same modification time: the change still shows.
        let modified = folder.path().join("d/x").metadata().unwrap().modified().unwrap();
        rows.rows.lock().unwrap().clear();
        assert_eq!(look(), plain);
        std::fs::write(folder.path().join("d/x"), "9").unwrap();
        std::fs::File::open(folder.path().join("d/x")).unwrap().set_modified(modified).unwrap();
        assert_eq!(look(), digest(folder.path(), "/"));
        assert_ne!(look(), plain);
    }

    #[test]
    fn looking_at_one_file_forgets_no_other() {
        let folder = sample();
        let rows = Rows::default();
        let look = |source| digest_with(folder.path(), &SourcePattern::literal(source), &[], Some(&rows));
        std::thread::sleep(Duration::from_millis(30));
        look("/");
        std::fs::write(folder.path().join("a"), "changed").unwrap();
        std::thread::sleep(Duration::from_millis(30));
        look("/a");
        let names = || {
            let key = row_key(&stat_fd(Root::open(folder.path()).unwrap().as_fd()).unwrap());
            let row = read_row(&rows.rows.lock().unwrap()[&key]);
            row.iter().map(|file| String::from_utf8(file.name.clone()).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(names(), ["a", "a2"]);
        std::fs::remove_file(folder.path().join("a2")).unwrap();
        std::fs::write(folder.path().join("a3"), "new").unwrap();
        std::thread::sleep(Duration::from_millis(30));
        look("/");
        assert_eq!(names(), ["a", "a3"]);
    }
}
