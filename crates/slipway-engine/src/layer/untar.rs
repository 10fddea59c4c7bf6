//! Unpacks a tar archive below a directory, without ever leaving it.
//!
//! Every path is resolved by the kernel with the directory as its root (`openat2(2)`, `RESOLVE_IN_ROOT`), the last
//! component is always created anew and never followed, and what is there already is removed first. A path that `..`
//! leads above the top is an error. A layer's whiteouts become overlay whiteouts; in a plain archive they are files like any other.
//!
//! Limited are the number of entries ([`MAX_ENTRIES`]), how deep a folder that an entry replaces may be
//! ([`MAX_REMOVE_DEPTH`]), and what the reader holds in memory. Not limited is the sum of all sizes: the disk is.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{CStr, CString};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use slipway_sandbox::owners::{self, Owner};

use super::tar_reader::{ReadEntry, TarError, TarReader};
use super::tar_writer::EntryKind;
use crate::rootfs::{Root, may_travel};

/// How unpacking can fail.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UntarError {
    #[error(transparent)]
    Tar(#[from] TarError),
    #[error("the entry `{path}` points outside of the folder that is unpacked into")]
    Escapes { path: String },
    #[error("cannot write `{path}`: {call}")]
    Write { path: String, call: &'static str, source: io::Error },
    #[error("cannot read the data of `{path}`")]
    Data { path: String, source: io::Error },
    #[error("`{path}` belongs to {uid}:{gid}, which has no place in this user namespace")]
    Unmapped { path: String, uid: u32, gid: u32 },
    #[error("the archive has more than {0} entries")]
    TooMany(u64),
}

/// What the archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// An image layer: `.wh.` names are whiteouts, written in the overlay form of `is_user_namespace`.
    Layer { is_user_namespace: bool },
    /// An archive that `ADD` unpacks; all entries get this owner if there is one.
    Archive { owner: Option<(u32, u32)> },
}

const MAX_ENTRIES: u64 = 10_000_000;
/// Each level takes a descriptor and some stack; the longest path there can be has no more levels.
const MAX_REMOVE_DEPTH: usize = 2048;
const BUFFER_BYTES: usize = 256 * 1024;

/// Unpacks all entries of `source` below `root`. Device nodes that may not be made here are left out.
///
/// Returns the folders that had to be made though the archive does not list them, `root` itself (the empty path)
/// included: 0755 and 0:0 for want of anything better. In a layer they mean the folders of the layers below.
pub(crate) fn unpack(
    source: impl Read,
    root: BorrowedFd<'_>,
    meaning: Meaning,
) -> Result<BTreeSet<Vec<u8>>, UntarError> {
    let mut reader = TarReader::new(source);
    let mut unpacker = Unpacker {
        root,
        meaning,
        folder_times: HashMap::new(),
        implied_folders: BTreeSet::from([Vec::new()]),
        last_parent: None,
        buffer: vec![0; BUFFER_BYTES],
    };
    let mut n_entries = 0;
    while let Some(entry) = reader.next_entry()? {
        n_entries += 1;
        if n_entries > MAX_ENTRIES {
            return Err(UntarError::TooMany(MAX_ENTRIES));
        }
        unpacker.entry(&entry, &mut reader)?;
    }
    unpacker.set_folder_times()?;
    // Some archives have more padding than two blocks; a pipe's writer must not be cut off.
    io::copy(&mut reader.into_inner(), &mut io::sink())
        .map_err(|source| UntarError::Data { path: "(end of archive)".to_owned(), source })?;
    Ok(unpacker.implied_folders)
}

/// Where an entry goes.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// The whole of it, below the root.
    path: &'a [u8],
    parent: &'a OwnedFd,
    /// The last part of the path.
    name: &'a CString,
}

/// What was in the place of an entry before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Was {
    Nothing,
    Folder,
    Whiteout,
}

struct Unpacker<'a> {
    root: BorrowedFd<'a>,
    meaning: Meaning,
    /// Set when all entries are there, since making entries changes them. By path, so that a folder that is listed over
    /// and over takes its place once.
    folder_times: HashMap<Vec<u8>, Timestamps>,
    /// Made on the way to an entry, and not listed so far.
    implied_folders: BTreeSet<Vec<u8>>,
    /// The folder of the last entry: archives list the entries of a folder one after the other.
    last_parent: Option<(Vec<u8>, Rc<OwnedFd>)>,
    buffer: Vec<u8>,
}

impl Unpacker<'_> {
    fn entry<R: Read>(&mut self, entry: &ReadEntry, reader: &mut TarReader<R>) -> Result<(), UntarError> {
        let path = clean(&entry.path).ok_or_else(|| UntarError::Escapes { path: lossy(&entry.path) })?;
        if path.is_empty() {
            return if entry.kind == EntryKind::Directory { self.root_metadata(entry) } else { Ok(()) };
        }
        let cut = path.iter().rposition(|b| *b == b'/');
        let (parent_path, name) = match cut {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&path[..0], &path[..]),
        };
        let parent = self.parent(parent_path)?;
        if let Meaning::Layer { is_user_namespace } = self.meaning {
            if name == b".wh..wh..opq" {
                return set_opaque(&parent, is_user_namespace).map_err(|e| write_error(&path, "setxattr(opaque)", e));
            }
            if let Some(gone) = name.strip_prefix(b".wh.") {
                return whiteout(&parent, gone, is_user_namespace)
                    .map_err(|e| write_error(&path, "mknod(whiteout)", e));
            }
        }
        let name = CString::new(name).map_err(|_| UntarError::Escapes { path: lossy(&path) })?;
        self.make(entry, Place { path: &path, parent: &parent, name: &name }, reader)
    }

    fn make<R: Read>(
        &mut self,
        entry: &ReadEntry,
        place: Place<'_>,
        reader: &mut TarReader<R>,
    ) -> Result<(), UntarError> {
        let Place { path, parent, name } = place;
        let error = |call| move |e: Errno| write_error(path, call, e);
        let mode = Mode::from_raw_mode(entry.mode);
        match entry.kind {
            EntryKind::File => return self.file(entry, place, reader),
            EntryKind::HardLink => return self.hard_link(entry, place),
            EntryKind::Directory => return self.folder(entry, place),
            EntryKind::Symlink => {
                let target = CString::new(entry.link.clone()).map_err(|_| UntarError::Escapes { path: lossy(path) })?;
                self.put(place, "symlink", || rustix::fs::symlinkat(&target, parent, name))?;
            }
            EntryKind::CharDevice | EntryKind::BlockDevice | EntryKind::Fifo => {
                let (kind, device) = match entry.kind {
                    EntryKind::CharDevice => (FileType::CharacterDevice, makedev(entry.device)),
                    EntryKind::BlockDevice => (FileType::BlockDevice, makedev(entry.device)),
                    _ => (FileType::Fifo, 0),
                };
                let make = || match rustix::fs::mknodat(parent, name, kind, mode, device) {
                    // A user namespace may not make devices; the blob that is pushed on still has them.
                    Err(Errno::PERM) if kind != FileType::Fifo => Ok(false),
                    made => made.map(|()| true),
                };
                if !self.put(place, "mknod", make)? {
                    return Ok(());
                }
            }
        }
        let (uid, gid) = self.owner(entry);
        give_at(parent, name, uid, gid).map_err(|e| owner_error(path, uid, gid, e))?;
        if entry.kind != EntryKind::Symlink {
            // Follows links, but what was made a moment ago is none.
            rustix::fs::chmodat(parent, name, mode, AtFlags::empty()).map_err(error("chmod"))?;
        }
        rustix::fs::utimensat(parent, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW).map_err(error("utimensat"))
    }

    /// Makes an entry that is no folder. If something is in its place already, that is removed first.
    fn put<T>(
        &mut self,
        place: Place<'_>,
        call: &'static str,
        make: impl Fn() -> Result<T, Errno>,
    ) -> Result<T, UntarError> {
        let made = match make() {
            Err(Errno::EXIST) => {
                self.clear_the_way(place, false)?;
                make()
            }
            made => made,
        };
        made.map_err(|errno| write_error(place.path, call, errno))
    }

    fn folder(&mut self, entry: &ReadEntry, place: Place<'_>) -> Result<(), UntarError> {
        let Place { path, parent, name } = place;
        let error = |call| move |e: Errno| write_error(path, call, e);
        let make = || rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755));
        let was = match make() {
            Err(Errno::EXIST) => {
                let was = self.clear_the_way(place, true)?;
                if was != Was::Folder {
                    make().map_err(error("mkdir"))?;
                }
                was
            }
            made => made.map(|()| Was::Nothing).map_err(error("mkdir"))?,
        };
        let dir = super::diff::open_dir(parent.as_fd(), name).map_err(error("open"))?;
        self.folder_metadata(&dir, entry, path)?;
        if let (Meaning::Layer { is_user_namespace }, Was::Whiteout) = (self.meaning, was) {
            // The layer both removes the folder and makes it: what is below it must not show through.
            set_opaque(&dir, is_user_namespace).map_err(error("setxattr(opaque)"))?;
        }
        Ok(())
    }

    fn folder_metadata(&mut self, dir: &OwnedFd, entry: &ReadEntry, path: &[u8]) -> Result<(), UntarError> {
        let error = |call| move |e: Errno| write_error(path, call, e);
        let (uid, gid) = self.owner(entry);
        owners::give(dir, Owner { uid, gid }).map_err(|e| owner_error(path, uid, gid, e))?;
        rustix::fs::fchmod(dir, Mode::from_raw_mode(entry.mode)).map_err(error("chmod"))?;
        set_xattrs(dir, entry);
        self.folder_times.insert(path.to_vec(), times(entry));
        self.implied_folders.remove(path);
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        entry: &ReadEntry,
        place: Place<'_>,
        reader: &mut TarReader<R>,
    ) -> Result<(), UntarError> {
        let Place { path, parent, name } = place;
        let error = |call| move |e: Errno| write_error(path, call, e);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600));
        let file = self.put(place, "open", open)?;
        let (mut offset, mut end) = (0, 0);
        while offset < entry.size {
            // Holes of sparse files stay holes.
            offset += reader.skip_hole();
            let n_read =
                reader.read(&mut self.buffer).map_err(|source| UntarError::Data { path: lossy(path), source })?;
            let mut bytes = &self.buffer[..n_read];
            while !bytes.is_empty() {
                let n_written = rustix::io::pwrite(&file, bytes, offset).map_err(error("write"))?;
                bytes = &bytes[n_written..];
                offset += n_written as u64;
                end = offset;
            }
        }
        // A hole at the end has not been written.
        if end < entry.size {
            rustix::fs::ftruncate(&file, entry.size).map_err(error("ftruncate"))?;
        }
        let (uid, gid) = self.owner(entry);
        owners::give(&file, Owner { uid, gid }).map_err(|e| owner_error(path, uid, gid, e))?;
        // After chown, which clears set-id bits and capabilities.
        rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode)).map_err(error("chmod"))?;
        set_xattrs(&file, entry);
        rustix::fs::futimens(&file, &times(entry)).map_err(error("futimens"))
    }

    fn hard_link(&mut self, entry: &ReadEntry, place: Place<'_>) -> Result<(), UntarError> {
        let Place { path, parent, name } = place;
        let escapes = || UntarError::Escapes { path: lossy(path) };
        let target = clean(&entry.link).filter(|t| !t.is_empty()).ok_or_else(escapes)?;
        let cut = target.iter().rposition(|b| *b == b'/');
        let (dir, base) = match cut {
            Some(slash) => (&target[..slash], &target[slash + 1..]),
            None => (&target[..0], &target[..]),
        };
        let dir = open_below(self.root, dir).map_err(|errno| write_error(path, "link", errno))?;
        let base = CString::new(base).map_err(|_| escapes())?;
        self.put(place, "link", || rustix::fs::linkat(&dir, &base, parent, name, AtFlags::empty()))?;
        self.apply_to_link(entry, place)
    }

    /// The header of a hard link says again what its file is like, and as in the reference the last word counts.
    fn apply_to_link(&self, entry: &ReadEntry, Place { path, parent, name }: Place<'_>) -> Result<(), UntarError> {
        let error = |call| move |e: Errno| write_error(path, call, e);
        let stat = super::diff::stat_at(parent, name).map_err(error("stat"))?;
        let (uid, gid) = self.owner(entry);
        // Only if it changes: changing the owner clears set-id bits and capabilities.
        if (stat.st_uid, stat.st_gid) != (uid, gid) {
            give_at(parent, name, uid, gid).map_err(|e| owner_error(path, uid, gid, e))?;
        }
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            let mode = Mode::from_raw_mode(entry.mode);
            rustix::fs::chmodat(parent, name, mode, AtFlags::empty()).map_err(error("chmod"))?;
        }
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && !entry.xattrs.is_empty() {
            set_xattrs(&super::diff::open_file(parent, name).map_err(error("open"))?, entry);
        }
        rustix::fs::utimensat(parent, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW).map_err(error("utimensat"))
    }

    /// Removes what is in the place of a new entry and says what it was. Folders stay if a folder comes.
    fn clear_the_way(&mut self, place: Place<'_>, is_for_folder: bool) -> Result<Was, UntarError> {
        let Place { path, parent, name } = place;
        let stat = match super::diff::stat_at(parent, name) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(Was::Nothing),
            Err(e) => return Err(write_error(path, "stat", e)),
        };
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_folder && is_for_folder {
            return Ok(Was::Folder);
        }
        self.last_parent = None;
        remove_tree(parent.as_fd(), name, is_folder).map_err(|e| write_error(path, "unlink", e))?;
        Ok(if super::diff::is_whiteout(&stat) { Was::Whiteout } else { Was::Nothing })
    }

    fn parent(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, UntarError> {
        if let Some((last, fd)) = &self.last_parent
            && last == path
        {
            return Ok(Rc::clone(fd));
        }
        let fd = match open_below(self.root, path) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => {
                let implied = &mut self.implied_folders;
                make_folders(self.root, path, implied).map_err(|e| write_error(path, "mkdir", e))?
            }
            Err(e) => return Err(write_error(path, "open", e)),
        };
        let fd = Rc::new(fd);
        self.last_parent = Some((path.to_vec(), Rc::clone(&fd)));
        Ok(fd)
    }

    fn root_metadata(&mut self, entry: &ReadEntry) -> Result<(), UntarError> {
        if matches!(self.meaning, Meaning::Archive { .. }) {
            return Ok(());
        }
        let dir = super::diff::open_dir(self.root, c".").map_err(|e| write_error(b"/", "open", e))?;
        self.folder_metadata(&dir, entry, b"")
    }

    fn owner(&self, entry: &ReadEntry) -> (u32, u32) {
        match self.meaning {
            Meaning::Archive { owner: Some(owner) } => owner,
            _ => (entry.uid, entry.gid),
        }
    }

    fn set_folder_times(&mut self) -> Result<(), UntarError> {
        for (path, times) in &self.folder_times {
            match open_folder(self.root, path, OFlags::NOFOLLOW) {
                Ok(dir) => rustix::fs::futimens(&dir, times).map_err(|e| write_error(path, "futimens", e))?,
                // A later entry may have replaced the folder.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(e) => return Err(write_error(path, "open", e)),
            }
        }
        Ok(())
    }
}

/// The path without `.`, `..`, empty components and slashes at either end; `None` if it leads above its start. It is
/// made so by its letters alone, whatever links there are.
fn clean(path: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

/// Opens a folder below `root`; links inside are followed, but never out.
fn open_below(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    open_folder(root, path, OFlags::empty())
}

/// [`open_below`] with more flags.
fn open_folder(root: BorrowedFd<'_>, path: &[u8], more: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | more;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)
}

/// Makes `path` and the folders above it that are missing (0755, owned by the caller).
///
/// A link that leads nowhere gets the folder it leads to; a file in the way is an error.
pub(crate) fn make_folders(root: BorrowedFd<'_>, path: &[u8], made: &mut BTreeSet<Vec<u8>>) -> Result<OwnedFd, Errno> {
    let mut dir = open_below(root, b"")?;
    let path = Root::new(open_below(root, b"")?).resolve(path).map_err(|_| Errno::LOOP)?;
    let path = path.as_bytes();
    let mut so_far: Vec<u8> = Vec::new();
    for part in path.split(|b| *b == b'/').filter(|p| !p.is_empty()) {
        if !so_far.is_empty() {
            so_far.push(b'/');
        }
        so_far.extend_from_slice(part);
        dir = match open_below(root, &so_far) {
            Ok(next) => next,
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(&dir, part, Mode::from_raw_mode(0o755))?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let folder = rustix::fs::openat(&dir, part, flags, Mode::empty())?;
                // Whatever the umask is.
                rustix::fs::fchmod(&folder, Mode::from_raw_mode(0o755))?;
                made.insert(so_far.clone());
                folder
            }
            Err(e) => return Err(e),
        };
    }
    Ok(dir)
}

/// Removes `name` in `parent` with everything below it, following no link.
pub(crate) fn remove_tree(parent: BorrowedFd<'_>, name: &CStr, is_folder: bool) -> Result<(), Errno> {
    remove_levels(parent, name, is_folder, MAX_REMOVE_DEPTH)
}

fn remove_levels(parent: BorrowedFd<'_>, name: &CStr, is_folder: bool, n_levels: usize) -> Result<(), Errno> {
    if !is_folder {
        return rustix::fs::unlinkat(parent, name, AtFlags::empty());
    }
    let n_levels = n_levels.checked_sub(1).ok_or(Errno::NAMETOOLONG)?;
    let dir = super::diff::open_dir(parent, name)?;
    for child in super::diff::sorted_names(dir.as_fd())? {
        let stat = super::diff::stat_at(&dir, &child)?;
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        remove_levels(dir.as_fd(), &child, is_folder, n_levels)?;
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

fn whiteout(parent: &OwnedFd, name: &[u8], is_user_namespace: bool) -> Result<(), Errno> {
    let name = CString::new(name).map_err(|_| Errno::INVAL)?;
    if matches!(name.as_bytes(), b"" | b"." | b"..") {
        return Err(Errno::INVAL);
    }
    match rustix::fs::mknodat(parent, &name, FileType::CharacterDevice, Mode::empty(), 0) {
        // The layer both removes and makes the name. What is made wins, but of a folder only this layer's part is left.
        Err(Errno::EXIST) => match super::diff::open_dir(parent.as_fd(), &name) {
            Ok(dir) => set_opaque(&dir, is_user_namespace),
            Err(Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(errno) => Err(errno),
        },
        result => result,
    }
}

fn set_opaque(dir: &OwnedFd, is_user_namespace: bool) -> Result<(), Errno> {
    let name = if is_user_namespace { c"user.overlay.opaque" } else { c"trusted.overlay.opaque" };
    rustix::fs::fsetxattr(dir, name, b"y", XattrFlags::empty())
}

/// Best effort, as in the reference: a file system may refuse some. Never marks, which would steer the overlay mount
/// or say who the owner is.
fn set_xattrs(file: &OwnedFd, entry: &ReadEntry) {
    for (name, value) in &entry.xattrs {
        if let (true, Ok(name)) = (may_travel(name), CString::new(name.clone())) {
            let _ = rustix::fs::fsetxattr(file, &name, value, XattrFlags::empty());
        }
    }
}

fn give_at(parent: &OwnedFd, name: &CString, uid: u32, gid: u32) -> Result<(), Errno> {
    owners::give_at(parent, name.to_bytes(), Owner { uid, gid })
}

fn times(entry: &ReadEntry) -> Timestamps {
    let time = Timespec { tv_sec: entry.mtime.0, tv_nsec: i64::from(entry.mtime.1) };
    Timestamps { last_access: time, last_modification: time }
}

fn makedev((major, minor): (u32, u32)) -> u64 {
    rustix::fs::makedev(major, minor)
}

fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

fn write_error(path: &[u8], call: &'static str, errno: Errno) -> UntarError {
    UntarError::Write { path: lossy(path), call, source: errno.into() }
}

fn owner_error(path: &[u8], uid: u32, gid: u32, errno: Errno) -> UntarError {
    match errno {
        Errno::INVAL => UntarError::Unmapped { path: lossy(path), uid, gid },
        other => write_error(path, "chown", other),
    }
}

/// Opens a folder of the host by its path.
pub(crate) fn open_host_dir(path: &std::path::Path) -> Result<OwnedFd, Errno> {
    super::diff::open_dir(CWD, &CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| Errno::INVAL)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
    use std::path::Path;
    use std::process::Command;

    use super::super::diff::write_layer;
    use super::super::testing::{Cage, Raw, archive, listing, open, require_root, unpack};
    use super::*;

    const LAYER: Meaning = Meaning::Layer { is_user_namespace: false };
    /// All entries belong to whoever runs the test, who may thus be anybody.
    fn own() -> Meaning {
        let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Meaning::Archive { owner: Some(owner) }
    }

    fn diff(folder: &Path) -> Vec<u8> {
        write_layer(open(folder).as_fd(), None, None, Vec::new()).unwrap()
    }

    fn has_mark(folder: &Path, name: &CStr) -> bool {
        let mut value = [0; 8];
        rustix::fs::fgetxattr(open(folder), name, &mut value[..]).is_ok_and(|length| &value[..length] == b"y")
    }

    fn is_whiteout(path: &Path) -> bool {
        path.symlink_metadata().is_ok_and(|meta| meta.file_type().is_char_device() && meta.rdev() == 0)
    }

    /// The layer of the reference with names around all limits, owners, devices, links, capabilities.
    fn fixture() -> Vec<u8> {
        let mut layer = Vec::new();
        let compressed = &include_bytes!("../../../slipway-archive/src/testdata/reference.tar.gz")[..];
        flate2::read::GzDecoder::new(compressed).read_to_end(&mut layer).unwrap();
        layer
    }

    #[test]
    fn what_is_unpacked_packs_to_the_same_bytes() {
        require_root();
        let layer = fixture();
        let cage = Cage::new();
        unpack(&layer, &cage.target(), LAYER).unwrap();
        let again = diff(&cage.target());
        assert_eq!(listing(&again), listing(&layer));
        assert!(again == layer);
    }

    #[test]
    fn owner_mode_and_time() {
        require_root();
        let cage = Cage::new();
        let entries = || {
            vec![
                Raw::records(&[("uid", b"3000000"), ("mtime", b"-7.25")]),
                Raw::new(b'5', b"d").field(100, b"0001770\0"),
                Raw::file(b"d/f", b"x").field(100, b"0004711\0").field(116, b"0000012\0"),
                Raw::symlink(b"d/l", b"f").field(108, b"0000003\0"),
            ]
        };
        let meta = |path: &str| cage.target().join(path).symlink_metadata().unwrap();
        unpack(&archive(entries()), &cage.target(), LAYER).unwrap();
        let (d, f, l) = (meta("d"), meta("d/f"), meta("d/l"));
        assert_eq!((d.mode() & 0o7777, d.uid(), d.mtime(), d.mtime_nsec()), (0o1770, 3_000_000, -8, 750_000_000));
        assert_eq!((f.mode() & 0o7777, f.uid(), f.gid(), f.mtime()), (0o4711, 0, 10, 5));
        assert_eq!((l.uid(), l.mtime()), (3, 5));
        let owned = Meaning::Archive { owner: Some((11, 12)) };
        unpack(&archive(entries()), &cage.target(), owned).unwrap();
        for path in ["d", "d/f", "d/l"] {
            assert_eq!((meta(path).uid(), meta(path).gid()), (11, 12), "{path}");
        }
    }

    #[test]
    fn the_last_word_on_a_folder_counts() {
        let cage = Cage::new();
        let entries = vec![
            Raw::new(b'5', b"d").field(136, b"00000000011\0"),
            Raw::file(b"d/f", b""),
            Raw::new(b'5', b"d/").field(136, b"00000000012\0").field(100, b"0000700\0"),
            Raw::file(b"d/g", b""),
        ];
        unpack(&archive(entries), &cage.target(), own()).unwrap();
        let meta = cage.target().join("d").metadata().unwrap();
        assert_eq!((meta.mtime(), meta.mode() & 0o7777), (10, 0o700));
        assert!(cage.target().join("d/f").exists() && cage.target().join("d/g").exists());
    }

    #[test]
    fn whiteouts_of_layers_and_files_of_archives() {
        require_root();
        let entries = || archive(vec![Raw::file(b"d/.wh.gone", b""), Raw::file(b"e/.wh..wh..opq", b"")]);
        for (is_user_namespace, mark) in [(false, c"trusted.overlay.opaque"), (true, c"user.overlay.opaque")] {
            let cage = Cage::new();
            unpack(&entries(), &cage.target(), Meaning::Layer { is_user_namespace }).unwrap();
            assert!(is_whiteout(&cage.target().join("d/gone")));
            assert!(has_mark(&cage.target().join("e"), mark));
            assert!(!has_mark(&cage.target().join("d"), mark));
            assert_eq!(fs::read_dir(cage.target().join("e")).unwrap().count(), 0);
        }
        let cage = Cage::new();
        unpack(&entries(), &cage.target(), own()).unwrap();
        assert!(cage.target().join("d/.wh.gone").is_file() && cage.target().join("e/.wh..wh..opq").is_file());
    }

    /// A whiteout is about the layers below, wherever it stands.
    #[test]
    fn what_is_removed_and_made_hides_what_is_below() {
        require_root();
        let removed = || vec![Raw::file(b".wh.d", b""), Raw::file(b".wh.f", b"")];
        let made = || vec![Raw::new(b'5', b"d"), Raw::file(b"d/new", b""), Raw::file(b"f", b"x")];
        for entries in [removed().into_iter().chain(made()), made().into_iter().chain(removed())] {
            let cage = Cage::new();
            unpack(&archive(entries.collect()), &cage.target(), LAYER).unwrap();
            assert!(has_mark(&cage.target().join("d"), c"trusted.overlay.opaque"));
            assert!(cage.target().join("d/new").is_file());
            assert_eq!(fs::read(cage.target().join("f")).unwrap(), b"x");
        }
    }

    #[test]
    fn an_entry_takes_the_place_of_another_type() {
        let cage = Cage::new();
        let target = cage.target();
        fs::create_dir_all(target.join("folder/full/of")).unwrap();
        fs::write(target.join("file"), "old").unwrap();
        fs::create_dir(target.join("elsewhere")).unwrap();
        symlink("elsewhere", target.join("link")).unwrap();
        symlink("elsewhere", target.join("way")).unwrap();
        let entries = vec![
            Raw::file(b"folder", b"now a file"),
            Raw::new(b'5', b"file"),
            Raw::new(b'5', b"link"),
            Raw::file(b"link/f", b""),
            Raw::file(b"way/g", b""),
        ];
        unpack(&archive(entries), &target, own()).unwrap();
        assert_eq!(fs::read(target.join("folder")).unwrap(), b"now a file");
        assert!(target.join("file").is_dir());
        assert!(target.join("link").symlink_metadata().unwrap().is_dir());
        assert!(target.join("link/f").is_file());
        // A link on the way is a way.
        assert!(target.join("elsewhere/g").is_file() && !target.join("elsewhere/f").exists());
    }

    #[test]
    fn links_are_one_file() {
        let cage = Cage::new();
        let entries = vec![Raw::file(b"a/f", b"x"), Raw::hard_link(b"b/g", b"./a/f"), Raw::hard_link(b"b/h", b"/b/g")];
        unpack(&archive(entries), &cage.target(), own()).unwrap();
        assert_eq!(cage.target().join("a/f").metadata().unwrap().nlink(), 3);
    }

    /// Runs GNU tar, which these tests need.
    fn gnu_tar(folder: &Path, args: &[&str]) -> Vec<u8> {
        let output = Command::new("tar").current_dir(folder).env("TZ", "UTC").args(args).output().unwrap();
        assert!(output.status.success(), "tar {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    #[test]
    fn sparse_files_of_all_formats() {
        let cage = Cage::new();
        let source = cage.canary();
        // More segments than a header of the old format has room for, a hole at either end, a hole only, and nothing.
        let file = fs::File::create(source.join("many")).unwrap();
        for index in 1..=40_u64 {
            std::os::unix::fs::FileExt::write_at(&file, format!("data {index}").as_bytes(), index * 1_000_000).unwrap();
        }
        file.set_len(50_000_000).unwrap();
        fs::File::create(source.join("hole")).unwrap().set_len(3_000_000).unwrap();
        fs::File::create(source.join("empty")).unwrap();
        fs::write(source.join("plain"), "no hole").unwrap();
        let names = ["many", "hole", "empty", "plain"];
        let formats: [&[&str]; 5] = [
            &["--format=gnu"],
            &["--format=oldgnu"],
            &["--format=pax", "--sparse-version=0.0"],
            &["--format=pax", "--sparse-version=0.1"],
            &["--format=pax", "--sparse-version=1.0"],
        ];
        for format in formats {
            let args = [&["-c", "--sparse"], format, &names[..]].concat();
            let bytes = gnu_tar(&source, &args);
            assert!(bytes.len() < 1_000_000, "{format:?}: GNU tar found no holes");
            let target = tempfile::tempdir().unwrap();
            unpack(&bytes, target.path(), own()).unwrap();
            for name in names {
                let path = target.path().join(name);
                assert!(fs::read(&path).unwrap() == fs::read(source.join(name)).unwrap(), "{format:?}: {name}");
                assert!(path.metadata().unwrap().blocks() * 512 < 1_000_000, "{format:?}: {name} lost its holes");
            }
            assert_eq!(fs::read_dir(target.path()).unwrap().count(), names.len(), "{format:?}");
            // Without a look at holes, they are zeros.
            let mut reader = TarReader::new(&bytes[..]);
            let mut n_bytes = 0;
            while reader.next_entry().unwrap().is_some() {
                n_bytes += io::copy(&mut reader, &mut io::sink()).unwrap();
            }
            assert_eq!(n_bytes, 53_000_007, "{format:?}");
        }
    }

    /// Names, modes, owners, sizes and times as GNU tar lists them, of archives that it wrote and that we wrote.
    #[test]
    fn gnu_tar_sees_the_same() {
        let cage = Cage::new();
        let source = cage.canary();
        let long = "n".repeat(120);
        fs::create_dir_all(source.join(&long).join(&long)).unwrap();
        fs::write(source.join(&long).join(&long).join("größe"), "x").unwrap();
        fs::hard_link(source.join("file"), source.join("hard")).unwrap();
        symlink(&long, source.join("link")).unwrap();
        let mut archives = Vec::new();
        for format in ["--format=gnu", "--format=pax", "--format=oldgnu"] {
            let bytes = gnu_tar(&source, &["-c", format, "--owner=3000000", "--group=9", "."]);
            archives.push((format, bytes));
        }
        let ustar = gnu_tar(&source, &["-c", "--format=ustar", "file", "hard", "folder"]);
        archives.push(("--format=ustar", ustar));
        archives.push(("ours", diff(&source)));
        archives.push(("the fixture, whose bytes we write as well", fixture()));
        for (format, bytes) in archives {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), &bytes).unwrap();
            let args = ["-t", "-v", "--numeric-owner", "--full-time", "--quoting-style=literal", "-f"];
            let args = [&args[..], &[file.path().to_str().unwrap()]].concat();
            let listed = String::from_utf8(gnu_tar(&source, &args)).unwrap();
            let listed: Vec<String> = listed.lines().map(gnu_line).collect();
            let ours: Vec<String> = listing(&bytes).iter().map(|line| our_line(line)).collect();
            assert_eq!(ours, listed, "{format}");
            assert!(ours.len() >= 3, "{format}");
        }
    }

    /// `<first letter of the type> <owner> <name, and where a link leads>` of GNU tar's long list.
    fn gnu_line(line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let owner = words[1].replace('/', ":");
        let name = words[5..].join(" ").replace(" link to ", " -> ");
        format!("{} {owner} {name}", &line[..1])
    }

    fn our_line(line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        let letter = match words[0] {
            "file" => "-",
            "fifo" => "p",
            kind => &kind[..1],
        };
        let name: Vec<&str> = words[4..].iter().copied().filter(|word| !word.starts_with(['=', '+'])).collect();
        format!("{letter} {} {}", words[2], name.join(" "))
    }
}
