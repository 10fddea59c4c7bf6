//! Writes the layer of a snapshot: its upper directory, compared with what lies below.
//!
//! The upper directory of an overlay *is* the change, but it also holds what was only touched: folders that were
//! copied up because something below them changed, files that were opened for writing and left alone. As in the
//! reference, an entry that equals the one below is left out, and the folders above a changed entry are put in.
//!
//! Entries come sorted, because the order that a directory is read in differs between file systems and would change
//! the diff ID.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use slipway_sandbox::owners;

use super::entries::{Entries, Found, Step, What, if_there};
use super::merged_links::MergedLinks;
use super::tar_writer::{Entry, EntryKind, TarWriter};
use crate::rootfs::TreePath;

/// How a layer can fail to be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiffError {
    #[error("cannot read `/{path}` of the layer")]
    Read { path: String, source: io::Error },
    #[error("cannot write the layer")]
    Write(#[source] io::Error),
}

const BUFFER_BYTES: usize = 256 * 1024;

/// Writes the changes in `upper` as a tar to `out`. `lower` is the merged file system below; `None` is an empty one.
/// Later times than `latest` (seconds since 1970) are written as that.
pub(crate) fn write_layer<W: Write>(
    upper: BorrowedFd<'_>,
    lower: Option<BorrowedFd<'_>>,
    latest: Option<i64>,
    out: W,
) -> Result<W, DiffError> {
    let mut walk = Walk::new(TarWriter::no_later_than(latest, out), upper, b"", None)?;
    let lower = match lower {
        Some(lower) => Some(open_dir(lower, c".").map_err(|e| walk.read_error(e))?),
        None => None,
    };
    walk.directory(Below { folder: lower.as_ref(), is_replaced: false })?;
    walk.tar.finish().map_err(DiffError::Write)
}

/// A file system that becomes part of an archive.
pub(crate) struct Tree {
    /// The folder of the archive that it is put in; `None` is the archive's root.
    pub(crate) folder: Option<String>,
    pub(crate) root: OwnedFd,
    pub(crate) links: MergedLinks,
    /// The time of all its files, in seconds since 1970, if they do not keep theirs.
    pub(crate) epoch: Option<i64>,
}

/// Writes the entry `name` of the folder `parent`, with what is below it, as a tar to `out` in which it is at `path`.
pub(crate) fn write_one<W: Write>(parent: &OwnedFd, name: &CStr, path: &[u8], out: W) -> Result<W, DiffError> {
    let failed = |errno: Errno| read_error(path, errno.into());
    let mut tar = TarWriter::new(out);
    let stat = stat_at(parent, name).map_err(failed)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            tar.entry(&header(EntryKind::Directory, path, &stat, b"", 0, None)).map_err(DiffError::Write)?;
            let folder = open_dir(parent.as_fd(), name).map_err(failed)?;
            let mut walk = Walk::new(tar, folder.as_fd(), path, None)?;
            // Compared with nothing, every file is a change.
            walk.directory(Below { folder: None, is_replaced: false })?;
            tar = walk.tar;
        }
        FileType::RegularFile => {
            let mut file = File::from(open_file(parent, name).map_err(failed)?);
            let size = u64::try_from(stat.st_size).unwrap_or(0);
            tar.entry(&header(EntryKind::File, path, &stat, b"", size, None)).map_err(DiffError::Write)?;
            tar.data(&mut file, &mut vec![0; BUFFER_BYTES]).map_err(DiffError::Write)?;
        }
        FileType::Symlink => {
            let text = read_link(parent, name).map_err(failed)?;
            tar.entry(&header(EntryKind::Symlink, path, &stat, &text, 0, None)).map_err(DiffError::Write)?;
        }
        // Devices, pipes and sockets mean nothing elsewhere.
        _ => {}
    }
    tar.finish().map_err(DiffError::Write)
}

/// Writes all files of `trees` as one tar to `out`; those for one folder come after each other.
pub(crate) fn write_trees<W: Write>(trees: Vec<Tree>, out: W) -> Result<W, DiffError> {
    let mut tar = TarWriter::new(out);
    let mut last_folder = String::new();
    for tree in trees {
        tar.set_times(tree.epoch);
        let is_new = tree.folder.as_deref().unwrap_or_default() != last_folder;
        last_folder = tree.folder.unwrap_or_default();
        let folder = last_folder.as_bytes();
        if is_new {
            tar.entry(&made_folder(folder)).map_err(DiffError::Write)?;
        }
        let mut walk = Walk::new(tar, tree.root.as_fd(), folder, Some(tree.links))?;
        // Compared with nothing, every file is a change.
        walk.directory(Below { folder: None, is_replaced: false })?;
        tar = walk.tar;
    }
    tar.finish().map_err(DiffError::Write)
}

/// A folder that no image has.
fn made_folder(path: &[u8]) -> Entry<'_> {
    Entry {
        kind: EntryKind::Directory,
        path,
        link: b"",
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: 0,
        size: 0,
        device: (0, 0),
        capability: None,
    }
}

struct Walk<W: Write> {
    entries: Entries,
    tar: TarWriter<W>,
    buffer: Vec<u8>,
    /// Of the entry that is looked at, relative to the root.
    path: Vec<u8>,
    /// How much of `path` is a folder of the archive that the tree does not have.
    prefix_length: usize,
    /// Inodes with several names that were met, by device and inode number.
    links: HashMap<(u64, u64), Links>,
    /// Takes the place of `links` if the walk is over a whole stack.
    merged: Option<MergedLinks>,
    /// Folders on the way to `path` that are not written yet: written when something below them is.
    pending: Vec<PendingFolder>,
}

struct PendingFolder {
    path: Vec<u8>,
    stat: Stat,
}

/// Names of one inode.
enum Links {
    /// The first one is in the archive; all that follow are links to it.
    Written(Vec<u8>),
    /// All so far are as they are below.
    Unchanged(Vec<Vec<u8>>),
}

/// What a folder of the upper directory is compared with.
#[derive(Clone, Copy)]
struct Below<'a> {
    folder: Option<&'a OwnedFd>,
    /// The folder above it, or one further up, was removed and made anew: names that are only below are gone.
    is_replaced: bool,
}

impl<W: Write> Walk<W> {
    /// What is found in `upper` is written with `path` in front of its name.
    fn new(
        tar: TarWriter<W>,
        upper: BorrowedFd<'_>,
        path: &[u8],
        merged: Option<MergedLinks>,
    ) -> Result<Self, DiffError> {
        Ok(Walk {
            entries: Entries::below(upper).map_err(|errno| read_error(path, errno.into()))?,
            tar,
            buffer: vec![0; BUFFER_BYTES],
            path: path.to_vec(),
            prefix_length: path.len(),
            links: HashMap::new(),
            merged,
            pending: Vec::new(),
        })
    }

    /// Goes on to the end of the folder at `path`.
    fn directory(&mut self, below: Below<'_>) -> Result<(), DiffError> {
        let mut only_below = match below {
            Below { folder: Some(folder), is_replaced: true } => {
                sorted_names(folder.as_fd()).map_err(|e| self.read_error(e))?
            }
            _ => Vec::new(),
        }
        .into_iter()
        .peekable();
        loop {
            let found = match self.entries.next() {
                Step::Entry(found) => Some(found),
                Step::End => None,
                Step::Failed(name, error) => return self.at(&name, |walk| Err(walk.io_error(error))),
            };
            let is_passed = |name: &CString| found.as_ref().is_none_or(|found| *name < found.name);
            while let Some(name) = only_below.next_if(is_passed) {
                self.at(&name, Self::whiteout)?;
            }
            let Some(found) = found else { return Ok(()) };
            only_below.next_if_eq(&found.name);
            let name = found.name.clone();
            self.at(&name, |walk| walk.entry(below, found))?;
        }
    }

    /// Does something with `path` being that of the entry `name`.
    fn at<T>(&mut self, name: &CStr, run: impl FnOnce(&mut Self) -> Result<T, DiffError>) -> Result<T, DiffError> {
        let parent_length = self.path.len();
        if parent_length > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name.to_bytes());
        let result = run(self);
        self.path.truncate(parent_length);
        result
    }

    fn entry(&mut self, parent: Below<'_>, found: Found) -> Result<(), DiffError> {
        let Found { name, stat, what } = found;
        let below = match parent.folder {
            Some(folder) => stat_if_there(folder, &name).map_err(|e| self.read_error(e))?,
            None => None,
        };
        if is_whiteout(&stat) {
            return if below.is_some() { self.whiteout() } else { Ok(()) };
        }
        match what {
            What::Folder(here) => self.folder(parent, &name, &here, &stat, below.as_ref()),
            What::File { file, capability } => {
                self.file(parent, &name, file, capability.as_deref(), &stat, below.as_ref())
            }
            What::Link(text) => self.special(parent, &name, EntryKind::Symlink, &text, &stat, below.as_ref()),
            What::Other => {
                let kind = match FileType::from_raw_mode(stat.st_mode) {
                    FileType::CharacterDevice => EntryKind::CharDevice,
                    FileType::BlockDevice => EntryKind::BlockDevice,
                    FileType::Fifo => EntryKind::Fifo,
                    // The format has no word for sockets, and they mean nothing without the process behind.
                    _ => return Ok(()),
                };
                self.special(parent, &name, kind, b"", &stat, below.as_ref())
            }
        }
    }

    fn folder(
        &mut self,
        parent: Below<'_>,
        name: &CStr,
        here: &OwnedFd,
        stat: &Stat,
        below: Option<&Stat>,
    ) -> Result<(), DiffError> {
        let below_is_folder = below.is_some_and(|b| FileType::from_raw_mode(b.st_mode) == FileType::Directory);
        let beneath = match parent.folder {
            Some(lower) if below_is_folder => Some(open_dir(lower.as_fd(), name).map_err(|e| self.read_error(e))?),
            _ => None,
        };
        let is_replaced = parent.is_replaced || beneath.is_some() && is_opaque(here).map_err(|e| self.read_error(e))?;
        let is_unchanged = below.is_some_and(|b| same_metadata(stat, b));
        self.pending.push(PendingFolder { path: self.path.clone(), stat: *stat });
        let depth = self.pending.len();
        if !is_unchanged {
            self.write_pending()?;
        }
        self.directory(Below { folder: beneath.as_ref(), is_replaced })?;
        // Written folders have left the list; this one goes if it is still there.
        self.pending.truncate(depth - 1);
        Ok(())
    }

    fn file(
        &mut self,
        parent: Below<'_>,
        name: &CStr,
        mut source: File,
        capability: Option<&[u8]>,
        stat: &Stat,
        below: Option<&Stat>,
    ) -> Result<(), DiffError> {
        if let (Some(lower), Some(below)) = (parent.folder, below)
            && same_metadata(stat, below)
            && same_size_and_time(stat, below)
        {
            let old = File::from(open_file(lower, name).map_err(|e| self.read_error(e))?);
            let old_capability = self::capability(old.as_fd()).map_err(|e| self.read_error(e))?;
            let is_same = capability == old_capability.as_deref();
            if is_same && same_content(&source, old).map_err(|e| self.io_error(e))? {
                return self.unchanged(parent, stat, capability);
            }
            source.rewind().map_err(|e| self.io_error(e))?;
        }
        if let Some(first) = self.first_link(stat) {
            return self.put(EntryKind::HardLink, stat, &first, 0, capability);
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.put(EntryKind::File, stat, b"", size, capability)?;
        self.tar.data(&mut source, &mut self.buffer).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => self.io_error(e),
            _ => DiffError::Write(e),
        })?;
        self.relist_links(stat, capability)
    }

    /// Leaves an entry out that equals the one below. In a folder that was made anew it is another inode than below: if
    /// a name of it is in the archive, this one has to be as well, or the two would no longer be one file. (In other
    /// folders the reference leaves it out regardless.)
    fn unchanged(&mut self, parent: Below<'_>, stat: &Stat, capability: Option<&[u8]>) -> Result<(), DiffError> {
        if !parent.is_replaced || stat.st_nlink < 2 {
            return Ok(());
        }
        let unchanged = Links::Unchanged(Vec::new());
        match self.links.entry((stat.st_dev, stat.st_ino)).or_insert(unchanged) {
            Links::Unchanged(paths) => {
                paths.push(self.path.clone());
                Ok(())
            }
            Links::Written(first) => {
                let first = first.clone();
                self.put(EntryKind::HardLink, stat, &first, 0, capability)
            }
        }
    }

    /// Of an inode with several names, the one that is in the archive; none if the current entry has to be the first.
    fn first_link(&mut self, stat: &Stat) -> Option<Vec<u8>> {
        if let Some(merged) = &mut self.merged {
            let (prefix, path) = self.path.split_at(self.prefix_length);
            let first = merged.earlier(path, stat)?;
            return Some(TreePath::clean(prefix).join_path(&first).as_bytes().to_vec());
        }
        match self.links.get(&(stat.st_dev, stat.st_ino)) {
            Some(Links::Written(first)) if stat.st_nlink > 1 => Some(first.clone()),
            _ => None,
        }
    }

    /// Remembers the current entry as the first name of its inode, and adds the names that were left out until now.
    fn relist_links(&mut self, stat: &Stat, capability: Option<&[u8]>) -> Result<(), DiffError> {
        if stat.st_nlink < 2 {
            return Ok(());
        }
        let written = Links::Written(self.path.clone());
        let Some(Links::Unchanged(paths)) = self.links.insert((stat.st_dev, stat.st_ino), written) else {
            return Ok(());
        };
        for path in paths {
            let entry = header(EntryKind::HardLink, &path, stat, &self.path, 0, capability);
            self.tar.entry(&entry).map_err(DiffError::Write)?;
        }
        Ok(())
    }

    fn special(
        &mut self,
        parent: Below<'_>,
        name: &CStr,
        kind: EntryKind,
        link: &[u8],
        stat: &Stat,
        below: Option<&Stat>,
    ) -> Result<(), DiffError> {
        if let (Some(lower), Some(below)) = (parent.folder, below)
            && same_metadata(stat, below)
            && same_size_and_time(stat, below)
        {
            let is_same = kind != EntryKind::Symlink || read_link(lower, name).map_err(|e| self.read_error(e))? == link;
            if is_same {
                return self.unchanged(parent, stat, None);
            }
        }
        if let Some(first) = self.first_link(stat) {
            return self.put(EntryKind::HardLink, stat, &first, 0, None);
        }
        self.put(kind, stat, link, 0, None)?;
        self.relist_links(stat, None)
    }

    /// `.wh.<name>`, dated 1970-01-01, for the entry at `path`.
    fn whiteout(&mut self) -> Result<(), DiffError> {
        self.write_pending()?;
        let cut = self.path.iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
        let mut path = self.path[..cut].to_vec();
        path.extend_from_slice(b".wh.");
        path.extend_from_slice(&self.path[cut..]);
        let entry = Entry {
            kind: EntryKind::File,
            path: &path,
            link: b"",
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: 0,
            size: 0,
            device: (0, 0),
            capability: None,
        };
        self.tar.entry(&entry).map_err(DiffError::Write)
    }

    fn put(
        &mut self,
        kind: EntryKind,
        stat: &Stat,
        link: &[u8],
        size: u64,
        capability: Option<&[u8]>,
    ) -> Result<(), DiffError> {
        self.write_pending()?;
        let path = &self.path;
        self.tar.entry(&header(kind, path, stat, link, size, capability)).map_err(DiffError::Write)
    }

    fn write_pending(&mut self) -> Result<(), DiffError> {
        for folder in self.pending.drain(..) {
            let entry = header(EntryKind::Directory, &folder.path, &folder.stat, b"", 0, None);
            self.tar.entry(&entry).map_err(DiffError::Write)?;
        }
        Ok(())
    }

    fn read_error(&self, errno: Errno) -> DiffError {
        self.io_error(errno.into())
    }

    fn io_error(&self, source: io::Error) -> DiffError {
        read_error(&self.path, source)
    }
}

fn read_error(path: &[u8], source: io::Error) -> DiffError {
    DiffError::Read { path: String::from_utf8_lossy(path).into_owned(), source }
}

/// The header for a file with `stat`; sub-second times are cut off.
pub(crate) fn header<'a>(
    kind: EntryKind,
    path: &'a [u8],
    stat: &Stat,
    link: &'a [u8],
    size: u64,
    capability: Option<&'a [u8]>,
) -> Entry<'a> {
    let is_device = matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice);
    let device = match is_device {
        true => (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)),
        false => (0, 0),
    };
    Entry {
        kind,
        path,
        link,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: stat.st_mtime,
        size,
        device,
        capability,
    }
}

/// A character device 0:0 is how overlayfs says "removed" (kernel documentation, `filesystems/overlayfs`).
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn same_metadata(a: &Stat, b: &Stat) -> bool {
    a.st_mode == b.st_mode && a.st_uid == b.st_uid && a.st_gid == b.st_gid && a.st_rdev == b.st_rdev
}

fn same_size_and_time(a: &Stat, b: &Stat) -> bool {
    a.st_size == b.st_size && a.st_mtime == b.st_mtime && a.st_mtime_nsec == b.st_mtime_nsec
}

/// Times may have been cut to whole seconds on the way, so that equal times prove nothing: compares the bytes.
fn same_content(mut a: &File, mut b: File) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
    loop {
        let n_left = read_full(&mut a, &mut left)?;
        let n_right = read_full(&mut b, &mut right)?;
        if left[..n_left] != right[..n_right] {
            return Ok(false);
        }
        if n_left < BUFFER_BYTES {
            return Ok(true);
        }
    }
}

fn read_full(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

/// The names in a directory, sorted by bytes.
pub(crate) fn sorted_names(dir: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    Ok(sorted_items(dir)?.into_iter().map(|(name, _)| name).collect())
}

/// As [`sorted_names`], with what they are as far as the file system tells that in the list.
pub(super) fn sorted_items(dir: BorrowedFd<'_>) -> Result<Vec<(CString, FileType)>, Errno> {
    let mut items = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            items.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    items.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(items)
}

pub(crate) fn open_dir(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Opens a regular file for reading. `NONBLOCK`, so that something else put in its place cannot make us wait.
pub(crate) fn open_file(parent: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// What an entry is, a link being a link.
pub(crate) fn stat_at(parent: &OwnedFd, name: &CStr) -> Result<Stat, Errno> {
    let mut stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if let Some(owner) = owners::recorded_at(parent, name.to_bytes(), FileType::from_raw_mode(stat.st_mode)) {
        (stat.st_uid, stat.st_gid) = (owner.uid, owner.gid);
    }
    Ok(stat)
}

/// As [`stat_at`], of an open file.
pub(super) fn stat_fd(file: &OwnedFd) -> Result<Stat, Errno> {
    let mut stat = rustix::fs::fstat(file)?;
    if let Some(owner) = owners::recorded(file, FileType::from_raw_mode(stat.st_mode)) {
        (stat.st_uid, stat.st_gid) = (owner.uid, owner.gid);
    }
    Ok(stat)
}

fn stat_if_there(parent: &OwnedFd, name: &CStr) -> Result<Option<Stat>, Errno> {
    if_there(stat_at(parent, name))
}

pub(crate) fn read_link(parent: &OwnedFd, name: &CStr) -> Result<Vec<u8>, Errno> {
    rustix::fs::readlinkat(parent, name, Vec::new()).map(CString::into_bytes)
}

/// The file capabilities, if there are any.
pub(crate) fn capability(file: BorrowedFd<'_>) -> Result<Option<Vec<u8>>, Errno> {
    let mut value = [0; 64];
    match rustix::fs::fgetxattr(file, c"security.capability", &mut value[..]) {
        Ok(length) => Ok(Some(value[..length].to_vec())),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn is_opaque(dir: &OwnedFd) -> Result<bool, Errno> {
    let mut value = [0; 8];
    for name in [c"trusted.overlay.opaque", c"user.overlay.opaque"] {
        match rustix::fs::fgetxattr(dir, name, &mut value[..]) {
            Ok(length) if &value[..length] == b"y" => return Ok(true),
            Ok(_) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM | Errno::RANGE) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{FileExt, PermissionsExt, symlink};

    use rustix::fs::{CWD, Timespec, Timestamps, XattrFlags};

    use super::super::testing::{listing, open, require_root};
    use super::*;

    /// Two trees to compare.
    struct Trees {
        folder: tempfile::TempDir,
    }

    impl Trees {
        fn new() -> Trees {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("upper")).unwrap();
            fs::create_dir(folder.path().join("lower")).unwrap();
            Trees { folder }
        }

        fn path(&self, path: &str) -> std::path::PathBuf {
            self.folder.path().join(path)
        }

        fn dir(&self, path: &str) -> &Trees {
            fs::create_dir_all(self.path(path)).unwrap();
            self
        }

        fn file(&self, path: &str, text: &str) -> &Trees {
            fs::write(self.path(path), text).unwrap();
            self.dated(path, 5, 0)
        }

        fn dated(&self, path: &str, seconds: i64, nanos: i64) -> &Trees {
            let time = Timespec { tv_sec: seconds, tv_nsec: nanos };
            let times = Timestamps { last_access: time, last_modification: time };
            rustix::fs::utimensat(CWD, self.path(path), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
            self
        }

        fn link(&self, path: &str, target: &str) -> &Trees {
            symlink(target, self.path(path)).unwrap();
            self.dated(path, 5, 0)
        }

        fn hard_link(&self, from: &str, to: &str) -> &Trees {
            fs::hard_link(self.path(from), self.path(to)).unwrap();
            self
        }

        fn mode(&self, path: &str, mode: u32) -> &Trees {
            fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
            self
        }

        fn node(&self, path: &str, kind: FileType, device: u64) -> &Trees {
            rustix::fs::mknodat(CWD, self.path(path), kind, Mode::from_raw_mode(0o600), device).unwrap();
            self.dated(path, 5, 0)
        }

        fn whiteout(&self, path: &str) -> &Trees {
            self.node(path, FileType::CharacterDevice, 0)
        }

        fn xattr(&self, path: &str, name: &CStr, value: &[u8]) -> &Trees {
            rustix::fs::fsetxattr(fs::File::open(self.path(path)).unwrap(), name, value, XattrFlags::empty()).unwrap();
            self
        }

        fn opaque(&self, path: &str) -> &Trees {
            self.dir(path).xattr(path, c"trusted.overlay.opaque", b"y")
        }

        /// The layer, one `<kind> <path> …` for each entry.
        fn diff(&self) -> Vec<String> {
            listing(&self.layer()).iter().map(|line| short(line)).collect()
        }

        fn layer(&self) -> Vec<u8> {
            let (upper, lower) = (open(&self.path("upper")), open(&self.path("lower")));
            write_layer(upper.as_fd(), Some(lower.as_fd()), None, Vec::new()).unwrap()
        }
    }

    /// Leaves mode, owner and time out.
    fn short(line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        [&words[..1], &words[4..]].concat().join(" ")
    }

    #[test]
    fn nothing_changed_is_an_empty_archive() {
        let trees = Trees::new();
        trees.dir("upper/d").dir("lower/d").file("upper/d/f", "same").file("lower/d/f", "same");
        trees.link("upper/l", "x").link("lower/l", "x");
        assert_eq!(trees.layer(), vec![0; 1024]);
    }

    #[test]
    fn new_and_changed_entries_come_with_the_folders_above() {
        let trees = Trees::new();
        trees.dir("upper/a/b/c").dir("lower/a/b").dir("upper/untouched").dir("lower/untouched");
        trees.file("upper/a/b/new", "1");
        trees.file("upper/a/content", "new").file("lower/a/content", "old");
        trees.file("upper/a/mode", "x").file("lower/a/mode", "x").mode("upper/a/mode", 0o600);
        trees.file("upper/a/same", "x").file("lower/a/same", "x");
        trees.file("upper/a/time", "x").file("lower/a/time", "x").dated("upper/a/time", 6, 0);
        trees.link("upper/a/link", "new").link("lower/a/link", "old");
        trees.dir("upper/z").dir("lower/z").mode("upper/z", 0o700);
        assert_eq!(
            trees.diff(),
            [
                "dir a/",
                "dir a/b/",
                "dir a/b/c/",
                "file a/b/new =1",
                "file a/content =3",
                "link a/link -> new",
                "file a/mode =1",
                "file a/time =1",
                "dir z/",
            ]
        );
    }

    #[test]
    fn without_anything_below_all_is_new() {
        let trees = Trees::new();
        trees.dir("upper/a").file("upper/a/f", "1");
        let layer = write_layer(open(&trees.path("upper")).as_fd(), None, None, Vec::new()).unwrap();
        assert_eq!(listing(&layer).len(), 2);
    }

    #[test]
    fn modes_owners_and_whole_seconds() {
        let trees = Trees::new();
        trees.file("upper/f", "x").mode("upper/f", 0o4751).dated("upper/f", 1_600_000_000, 999_999_999);
        trees.dir("upper/t").mode("upper/t", 0o1777).dated("upper/t", -2, 500_000_000);
        require_root();
        std::os::unix::fs::lchown(trees.path("upper/t"), Some(3_000_000), Some(7)).unwrap();
        assert_eq!(listing(&trees.layer()), ["file 4751 0:0 1600000000 f =1", "dir 1777 3000000:7 -2 t/"]);
    }

    #[test]
    fn whiteouts_only_for_what_is_there() {
        require_root();
        let trees = Trees::new();
        trees.dir("upper/d").dir("lower/d/gone").file("lower/d/gone/f", "x");
        trees.whiteout("upper/d/gone").whiteout("upper/d/never");
        trees.dated("upper/d", 5, 0);
        assert_eq!(listing(&trees.layer()), ["dir 0755 0:0 5 d/", "file 0000 0:0 0 d/.wh.gone =0"]);
    }

    #[test]
    fn another_type_in_the_same_place() {
        let trees = Trees::new();
        trees.file("upper/a", "x").dir("lower/a").file("lower/a/f", "x");
        trees.dir("upper/b").file("upper/b/f", "x").file("lower/b", "x");
        trees.link("upper/c", "x").dir("lower/c");
        assert_eq!(trees.diff(), ["file a =1", "dir b/", "file b/f =1", "link c -> x"]);
    }

    /// As recorded of the reference: whiteouts stand where their names are in order, and what was made again as it was
    /// is left out.
    #[test]
    fn a_folder_made_anew_becomes_single_whiteouts() {
        require_root();
        let trees = Trees::new();
        trees.dir("lower/o/sub").dir("lower/o/kept").file("lower/o/kept/gone", "x").file("lower/o/kept/same", "x");
        trees.file("lower/o/a", "a").file("lower/o/b", "b").file("lower/o/c", "c").file("lower/o/sub/s", "s");
        trees.opaque("upper/o").dir("upper/o/kept").file("upper/o/kept/same", "x");
        trees.file("upper/o/a", "a").file("upper/o/b", "new").file("upper/o/d", "d");
        assert_eq!(
            trees.diff(),
            [
                "dir o/",
                "file o/b =3",
                "file o/.wh.c =0",
                "file o/d =1",
                "dir o/kept/",
                "file o/kept/.wh.gone =0",
                "file o/.wh.sub =0",
            ]
        );
    }

    #[test]
    fn names_of_one_file_stay_one_file() {
        let trees = Trees::new();
        trees.file("upper/a", "x").hard_link("upper/a", "upper/b").dir("upper/c").hard_link("upper/a", "upper/c/d");
        trees.link("upper/s", "x").hard_link("upper/s", "upper/t");
        trees.node("upper/p", FileType::Fifo, 0).hard_link("upper/p", "upper/q");
        assert_eq!(
            trees.diff(),
            [
                "file a =1",
                "hard b -> a",
                "dir c/",
                "hard c/d -> a",
                "fifo p",
                "hard q -> p",
                "link s -> x",
                "hard t -> s",
            ]
        );
    }

    /// As recorded of the reference: a new name for a file from below does not bring the old name along.
    #[test]
    fn a_link_to_an_unchanged_file() {
        let trees = Trees::new();
        trees.file("lower/two", "x").file("upper/two", "x").hard_link("upper/two", "upper/zwei");
        assert_eq!(trees.diff(), ["file zwei =1"]);
    }

    /// As recorded of the reference, for names before and after the first one that is new.
    #[test]
    fn links_in_a_folder_made_anew_are_listed_again() {
        require_root();
        let trees = Trees::new();
        trees.dir("lower/o").opaque("upper/o");
        for tree in ["lower", "upper"] {
            trees.file(&format!("{tree}/o/a"), "x").file(&format!("{tree}/o/z"), "y").file(&format!("{tree}/o/m"), "m");
        }
        trees.hard_link("upper/o/a", "upper/o/b").hard_link("upper/o/z", "upper/o/y");
        assert_eq!(
            trees.diff(),
            ["dir o/", "file o/b =1", "hard o/a -> o/b", "file o/y =1", "hard o/z -> o/y"].map(str::to_owned).to_vec()
        );
    }

    #[test]
    fn what_a_layer_holds_besides_files() {
        require_root();
        let trees = Trees::new();
        trees.node("upper/block", FileType::BlockDevice, rustix::fs::makedev(7, 300));
        trees.node("upper/char", FileType::CharacterDevice, rustix::fs::makedev(10, 200));
        trees.node("upper/fifo", FileType::Fifo, 0).node("upper/socket", FileType::Socket, 0);
        assert_eq!(trees.diff(), ["block block =7,300", "char char =10,200", "fifo fifo"]);
    }

    #[test]
    fn of_the_attributes_only_capabilities() {
        require_root();
        let trees = Trees::new();
        // Version 2 of the structure, effective, CAP_NET_BIND_SERVICE (`linux/capability.h`, `vfs_cap_data`).
        let net_bind = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        trees.file("upper/capable", "x").file("lower/capable", "x").xattr(
            "upper/capable",
            c"security.capability",
            &net_bind,
        );
        trees.hard_link("upper/capable", "upper/too");
        trees.file("upper/user", "x").xattr("upper/user", c"user.a", b"b");
        assert_eq!(trees.diff(), ["file capable =1 +xattr", "hard too -> capable +xattr", "file user =1"]);
    }

    #[test]
    fn bytes_are_compared_if_times_say_nothing() {
        let trees = Trees::new();
        let long = "x".repeat(BUFFER_BYTES + 10);
        trees.file("upper/f", &long).file("lower/f", &long);
        assert!(trees.diff().is_empty());
        fs::OpenOptions::new().write(true).open(trees.path("upper/f")).unwrap().write_at(b"y", 262_150).unwrap();
        trees.dated("upper/f", 5, 0);
        assert_eq!(trees.diff(), [format!("file f ={}", long.len())]);
    }
}
