//! Unpacks a tar archive below a directory, without ever leaving it.
//!
//! Every path is resolved by the kernel with the directory as its root (`openat2(2)`, `RESOLVE_IN_ROOT`), the last
//! component is always created anew and never followed, and what is there already is removed first. `..` in a path is
//! an error. A layer's whiteouts become overlay whiteouts; in a plain archive they are files like any other.

use std::ffi::CString;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::tar_reader::{ReadEntry, TarError, TarReader};
use super::tar_writer::EntryKind;

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
const BUFFER_BYTES: usize = 256 * 1024;

/// Unpacks all entries of `source` into the existing folder `prefix` below `root`; links in the way are followed below
/// `root`. Device nodes that may not be made here are left out.
pub(crate) fn unpack(
    source: impl Read,
    root: BorrowedFd<'_>,
    prefix: &[u8],
    meaning: Meaning,
) -> Result<(), UntarError> {
    let mut reader = TarReader::new(source);
    let prefix = clean(prefix).ok_or_else(|| UntarError::Escapes { path: lossy(prefix) })?;
    let mut unpacker =
        Unpacker { root, prefix, meaning, folder_times: Vec::new(), last_parent: None, buffer: vec![0; BUFFER_BYTES] };
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
    Ok(())
}

struct Unpacker<'a> {
    root: BorrowedFd<'a>,
    /// Clean; put before every path of the archive.
    prefix: Vec<u8>,
    meaning: Meaning,
    /// Set when all entries are there, since making entries changes them.
    folder_times: Vec<(Vec<u8>, Timestamps)>,
    /// The folder of the last entry: archives list the entries of a folder one after the other.
    last_parent: Option<(Vec<u8>, OwnedFd)>,
    buffer: Vec<u8>,
}

impl Unpacker<'_> {
    fn entry<R: Read>(&mut self, entry: &ReadEntry, reader: &mut TarReader<R>) -> Result<(), UntarError> {
        let path = clean(&entry.path).ok_or_else(|| UntarError::Escapes { path: lossy(&entry.path) })?;
        if path.is_empty() {
            return if entry.kind == EntryKind::Directory { self.root_metadata(entry) } else { Ok(()) };
        }
        let path = self.prefixed(path);
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
                return whiteout(&parent, gone).map_err(|e| write_error(&path, "mknod(whiteout)", e));
            }
        }
        let name = CString::new(name).map_err(|_| UntarError::Escapes { path: lossy(&path) })?;
        self.make(entry, &path, &parent, &name, reader)
    }

    fn make<R: Read>(
        &mut self,
        entry: &ReadEntry,
        path: &[u8],
        parent: &OwnedFd,
        name: &CString,
        reader: &mut TarReader<R>,
    ) -> Result<(), UntarError> {
        self.clear_the_way(entry.kind, path, parent, name)?;
        let error = |call| move |e: Errno| write_error(path, call, e);
        let mode = Mode::from_raw_mode(entry.mode);
        match entry.kind {
            EntryKind::File => return self.file(entry, path, parent, name, reader),
            EntryKind::HardLink => return self.hard_link(entry, path, parent, name),
            EntryKind::Directory => match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(write_error(path, "mkdir", e)),
            },
            EntryKind::Symlink => {
                let target = CString::new(entry.link.clone()).map_err(|_| UntarError::Escapes { path: lossy(path) })?;
                rustix::fs::symlinkat(&target, parent, name).map_err(error("symlink"))?;
            }
            EntryKind::CharDevice | EntryKind::BlockDevice | EntryKind::Fifo => {
                let (kind, device) = match entry.kind {
                    EntryKind::CharDevice => (FileType::CharacterDevice, makedev(entry.device)),
                    EntryKind::BlockDevice => (FileType::BlockDevice, makedev(entry.device)),
                    _ => (FileType::Fifo, 0),
                };
                match rustix::fs::mknodat(parent, name, kind, mode, device) {
                    Ok(()) => {}
                    // A user namespace may not make devices; the blob that is pushed on still has them.
                    Err(Errno::PERM) if kind != FileType::Fifo => return Ok(()),
                    Err(e) => return Err(write_error(path, "mknod", e)),
                }
            }
        }
        let (uid, gid) = self.owner(entry);
        chown_at(parent, name, uid, gid).map_err(|e| owner_error(path, uid, gid, e))?;
        if entry.kind != EntryKind::Symlink {
            rustix::fs::chmodat(parent, name, mode, AtFlags::empty()).map_err(error("chmod"))?;
        }
        if entry.kind == EntryKind::Directory {
            if !entry.xattrs.is_empty() {
                let dir = super::diff::open_dir(parent.as_fd(), name).map_err(error("open"))?;
                set_xattrs(&dir, entry);
            }
            self.folder_times.push((path.to_vec(), times(entry)));
            return Ok(());
        }
        rustix::fs::utimensat(parent, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW).map_err(error("utimensat"))
    }

    fn file<R: Read>(
        &mut self,
        entry: &ReadEntry,
        path: &[u8],
        parent: &OwnedFd,
        name: &CString,
        reader: &mut TarReader<R>,
    ) -> Result<(), UntarError> {
        let error = |call| move |e: Errno| write_error(path, call, e);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600)).map_err(error("open"))?;
        let mut remaining = entry.size;
        while remaining > 0 {
            let n_read =
                reader.read(&mut self.buffer).map_err(|source| UntarError::Data { path: lossy(path), source })?;
            let mut bytes = &self.buffer[..n_read];
            while !bytes.is_empty() {
                let n_written = rustix::io::write(&file, bytes).map_err(error("write"))?;
                bytes = &bytes[n_written..];
            }
            remaining -= n_read as u64;
        }
        let (uid, gid) = self.owner(entry);
        rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .map_err(|e| owner_error(path, uid, gid, e))?;
        // After chown, which clears set-id bits and capabilities.
        rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode)).map_err(error("chmod"))?;
        set_xattrs(&file, entry);
        rustix::fs::futimens(&file, &times(entry)).map_err(error("futimens"))
    }

    fn hard_link(&self, entry: &ReadEntry, path: &[u8], parent: &OwnedFd, name: &CString) -> Result<(), UntarError> {
        let escapes = || UntarError::Escapes { path: lossy(path) };
        let target = clean(&entry.link).filter(|t| !t.is_empty()).ok_or_else(escapes)?;
        let target = self.prefixed(target);
        let cut = target.iter().rposition(|b| *b == b'/');
        let (dir, base) = match cut {
            Some(slash) => (&target[..slash], &target[slash + 1..]),
            None => (&target[..0], &target[..]),
        };
        let error = |e| write_error(path, "link", e);
        let dir = open_below(self.root, dir).map_err(error)?;
        let base = CString::new(base).map_err(|_| escapes())?;
        rustix::fs::linkat(&dir, &base, parent, name, AtFlags::empty()).map_err(error)
    }

    /// Removes what is in the place of a new entry; folders stay if a folder comes.
    fn clear_the_way(
        &mut self,
        kind: EntryKind,
        path: &[u8],
        parent: &OwnedFd,
        name: &CString,
    ) -> Result<(), UntarError> {
        let stat = match super::diff::stat_at(parent, name) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(e) => return Err(write_error(path, "stat", e)),
        };
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_folder && kind == EntryKind::Directory {
            return Ok(());
        }
        self.last_parent = None;
        remove_tree(parent.as_fd(), name, is_folder).map_err(|e| write_error(path, "unlink", e))
    }

    fn parent(&mut self, path: &[u8]) -> Result<OwnedFd, UntarError> {
        let again = |fd: &OwnedFd| {
            fd.try_clone().map_err(|source| UntarError::Write { path: lossy(path), call: "dup", source })
        };
        if let Some((last, fd)) = &self.last_parent
            && last == path
        {
            return again(fd);
        }
        let fd = match open_below(self.root, path) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => make_folders(self.root, path).map_err(|e| write_error(path, "mkdir", e))?,
            Err(e) => return Err(write_error(path, "open", e)),
        };
        let copy = again(&fd)?;
        self.last_parent = Some((path.to_vec(), copy));
        Ok(fd)
    }

    fn root_metadata(&mut self, entry: &ReadEntry) -> Result<(), UntarError> {
        if matches!(self.meaning, Meaning::Archive { .. }) {
            return Ok(());
        }
        let error = |call| move |e: Errno| write_error(b"/", call, e);
        let dir = super::diff::open_dir(self.root, c".").map_err(error("open"))?;
        let (uid, gid) = self.owner(entry);
        rustix::fs::fchown(&dir, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .map_err(|e| owner_error(b"/", uid, gid, e))?;
        rustix::fs::fchmod(&dir, Mode::from_raw_mode(entry.mode)).map_err(error("chmod"))?;
        self.folder_times.push((Vec::new(), times(entry)));
        Ok(())
    }

    fn prefixed(&self, path: Vec<u8>) -> Vec<u8> {
        match self.prefix.is_empty() {
            true => path,
            false => [self.prefix.as_slice(), &path].join(&b'/'),
        }
    }

    fn owner(&self, entry: &ReadEntry) -> (u32, u32) {
        match self.meaning {
            Meaning::Archive { owner: Some(owner) } => owner,
            _ => (entry.uid, entry.gid),
        }
    }

    fn set_folder_times(&mut self) -> Result<(), UntarError> {
        for (path, times) in self.folder_times.iter().rev() {
            match open_below(self.root, path) {
                Ok(dir) => rustix::fs::futimens(&dir, times).map_err(|e| write_error(path, "futimens", e))?,
                // A later entry may have replaced the folder.
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(e) => return Err(write_error(path, "open", e)),
            }
        }
        Ok(())
    }
}

/// The path without `.`, empty components and slashes at either end; `None` if it has `..`.
fn clean(path: &[u8]) -> Option<Vec<u8>> {
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|p| !matches!(*p, b"" | b".")).collect();
    if parts.contains(&&b".."[..]) { None } else { Some(parts.join(&b'/')) }
}

/// Opens a folder below `root`; links inside are followed, but never out.
fn open_below(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)
}

/// Makes `path` and the folders above it that are missing (0755, owned by the caller).
fn make_folders(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut dir = open_below(root, b"")?;
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
                rustix::fs::openat(
                    &dir,
                    part,
                    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                    Mode::empty(),
                )?
            }
            Err(e) => return Err(e),
        };
    }
    Ok(dir)
}

/// Removes `name` in `parent` with everything below it, following no link.
pub(crate) fn remove_tree(parent: BorrowedFd<'_>, name: &std::ffi::CStr, is_folder: bool) -> Result<(), Errno> {
    if !is_folder {
        return rustix::fs::unlinkat(parent, name, AtFlags::empty());
    }
    let dir = super::diff::open_dir(parent, name)?;
    for child in super::diff::sorted_names(dir.as_fd())? {
        let stat = super::diff::stat_at(&dir, &child)?;
        remove_tree(dir.as_fd(), &child, FileType::from_raw_mode(stat.st_mode) == FileType::Directory)?;
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

fn whiteout(parent: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    let name = CString::new(name).map_err(|_| Errno::INVAL)?;
    if matches!(name.as_bytes(), b"" | b"." | b"..") {
        return Err(Errno::INVAL);
    }
    match rustix::fs::mknodat(parent, &name, FileType::CharacterDevice, Mode::empty(), 0) {
        // The layer both removes and makes the name: what is made wins.
        Err(Errno::EXIST) => Ok(()),
        result => result,
    }
}

fn set_opaque(dir: &OwnedFd, is_user_namespace: bool) -> Result<(), Errno> {
    let name = if is_user_namespace { c"user.overlay.opaque" } else { c"trusted.overlay.opaque" };
    rustix::fs::fsetxattr(dir, name, b"y", XattrFlags::empty())
}

/// Best effort, as in the reference: a file system may refuse some. Never the overlay's own marks, which would steer
/// the mount.
fn set_xattrs(file: &OwnedFd, entry: &ReadEntry) {
    for (name, value) in &entry.xattrs {
        let is_mark = name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
        if let (false, Ok(name)) = (is_mark, CString::new(name.clone())) {
            let _ = rustix::fs::fsetxattr(file, &name, value, XattrFlags::empty());
        }
    }
}

fn chown_at(parent: &OwnedFd, name: &CString, uid: u32, gid: u32) -> Result<(), Errno> {
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
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
