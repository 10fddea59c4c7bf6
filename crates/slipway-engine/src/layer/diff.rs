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
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::tar_writer::{Entry, EntryKind, TarWriter};

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
pub(crate) fn write_layer<W: Write>(
    upper: BorrowedFd<'_>,
    lower: Option<BorrowedFd<'_>>,
    out: W,
) -> Result<W, DiffError> {
    let mut walk = Walk {
        tar: TarWriter::new(out),
        buffer: vec![0; BUFFER_BYTES],
        path: Vec::new(),
        written_links: HashMap::new(),
        pending: Vec::new(),
    };
    let upper = open_dir(upper, c".").map_err(|e| walk.read_error(e))?;
    let lower = match lower {
        Some(lower) => Some(open_dir(lower, c".").map_err(|e| walk.read_error(e))?),
        None => None,
    };
    walk.directory(&upper, lower.as_ref())?;
    walk.tar.finish().map_err(DiffError::Write)
}

struct Walk<W: Write> {
    tar: TarWriter<W>,
    buffer: Vec<u8>,
    /// Of the entry that is looked at, relative to the root.
    path: Vec<u8>,
    /// First path of each inode with several names, by device and inode number.
    written_links: HashMap<(u64, u64), Vec<u8>>,
    /// Folders on the way to `path` that are not written yet: written when something below them is.
    pending: Vec<PendingFolder>,
}

struct PendingFolder {
    path: Vec<u8>,
    stat: Stat,
    capability: Option<Vec<u8>>,
}

impl<W: Write> Walk<W> {
    fn directory(&mut self, upper: &OwnedFd, lower: Option<&OwnedFd>) -> Result<(), DiffError> {
        let names = sorted_names(upper.as_fd()).map_err(|e| self.read_error(e))?;
        let parent_length = self.path.len();
        for name in names {
            if parent_length > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name.as_bytes());
            self.entry(upper, lower, &name)?;
            self.path.truncate(parent_length);
        }
        Ok(())
    }

    fn entry(&mut self, upper: &OwnedFd, lower: Option<&OwnedFd>, name: &CStr) -> Result<(), DiffError> {
        let stat = stat_at(upper, name).map_err(|e| self.read_error(e))?;
        let below = match lower {
            Some(lower) => stat_if_there(lower, name).map_err(|e| self.read_error(e))?,
            None => None,
        };
        if is_whiteout(&stat) {
            return if below.is_some() { self.whiteout() } else { Ok(()) };
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.folder(upper, lower, name, &stat, below.as_ref()),
            // The format has no word for them, and they mean nothing without the process behind.
            FileType::Socket => Ok(()),
            FileType::RegularFile => self.file(upper, lower, name, &stat, below.as_ref()),
            kind => self.special(upper, lower, name, &stat, below.as_ref(), kind),
        }
    }

    fn folder(
        &mut self,
        upper: &OwnedFd,
        lower: Option<&OwnedFd>,
        name: &CStr,
        stat: &Stat,
        below: Option<&Stat>,
    ) -> Result<(), DiffError> {
        let here = open_dir(upper.as_fd(), name).map_err(|e| self.read_error(e))?;
        let below_is_folder = below.is_some_and(|b| FileType::from_raw_mode(b.st_mode) == FileType::Directory);
        let beneath = match lower {
            Some(lower) if below_is_folder => Some(open_dir(lower.as_fd(), name).map_err(|e| self.read_error(e))?),
            _ => None,
        };
        let capability = None;
        let is_unchanged = below.is_some_and(|b| same_metadata(stat, b));
        self.pending.push(PendingFolder { path: self.path.clone(), stat: *stat, capability });
        let depth = self.pending.len();
        if !is_unchanged {
            self.write_pending()?;
        }
        match beneath {
            Some(beneath) if is_opaque(&here).map_err(|e| self.read_error(e))? => {
                self.replaced_entries(&here, &beneath)?;
                self.directory(&here, None)?;
            }
            beneath => self.directory(&here, beneath.as_ref())?,
        }
        // Written folders have left the list; this one goes if it is still there.
        self.pending.truncate(depth - 1);
        Ok(())
    }

    /// A folder that was removed and made anew hides all that was below: one whiteout for each name that is gone.
    fn replaced_entries(&mut self, here: &OwnedFd, beneath: &OwnedFd) -> Result<(), DiffError> {
        let parent_length = self.path.len();
        for name in sorted_names(beneath.as_fd()).map_err(|e| self.read_error(e))? {
            if stat_if_there(here, &name).map_err(|e| self.read_error(e))?.is_none() {
                self.path.push(b'/');
                self.path.extend_from_slice(name.as_bytes());
                self.whiteout()?;
                self.path.truncate(parent_length);
            }
        }
        Ok(())
    }

    fn file(
        &mut self,
        upper: &OwnedFd,
        lower: Option<&OwnedFd>,
        name: &CStr,
        stat: &Stat,
        below: Option<&Stat>,
    ) -> Result<(), DiffError> {
        let mut source = std::fs::File::from(open_file(upper, name).map_err(|e| self.read_error(e))?);
        let capability = capability(source.as_fd()).map_err(|e| self.read_error(e))?;
        if let (Some(lower), Some(below)) = (lower, below)
            && same_metadata(stat, below)
            && same_size_and_time(stat, below)
        {
            let old = std::fs::File::from(open_file(lower, name).map_err(|e| self.read_error(e))?);
            let old_capability = self::capability(old.as_fd()).map_err(|e| self.read_error(e))?;
            if capability == old_capability && same_content(&source, old).map_err(|e| self.io_error(e))? {
                return Ok(());
            }
            source = std::fs::File::from(open_file(upper, name).map_err(|e| self.read_error(e))?);
        }
        if stat.st_nlink > 1 {
            let inode = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.written_links.get(&inode).cloned() {
                return self.put(EntryKind::HardLink, stat, &first, 0, None);
            }
            self.written_links.insert(inode, self.path.clone());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.put(EntryKind::File, stat, b"", size, capability.as_deref())?;
        self.tar.data(&mut source, &mut self.buffer).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => self.io_error(e),
            _ => DiffError::Write(e),
        })
    }

    fn special(
        &mut self,
        upper: &OwnedFd,
        lower: Option<&OwnedFd>,
        name: &CStr,
        stat: &Stat,
        below: Option<&Stat>,
        kind: FileType,
    ) -> Result<(), DiffError> {
        let link = match kind {
            FileType::Symlink => read_link(upper, name).map_err(|e| self.read_error(e))?,
            _ => Vec::new(),
        };
        if let (Some(lower), Some(below)) = (lower, below)
            && same_metadata(stat, below)
            && same_size_and_time(stat, below)
        {
            let is_same = kind != FileType::Symlink || read_link(lower, name).map_err(|e| self.read_error(e))? == link;
            if is_same {
                return Ok(());
            }
        }
        let kind = match kind {
            FileType::Symlink => EntryKind::Symlink,
            FileType::CharacterDevice => EntryKind::CharDevice,
            FileType::BlockDevice => EntryKind::BlockDevice,
            FileType::Fifo => EntryKind::Fifo,
            _ => return Ok(()),
        };
        self.put(kind, stat, &link, 0, None)
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
            let capability = folder.capability.as_deref();
            let entry = header(EntryKind::Directory, &folder.path, &folder.stat, b"", 0, capability);
            self.tar.entry(&entry).map_err(DiffError::Write)?;
        }
        Ok(())
    }

    fn read_error(&self, errno: Errno) -> DiffError {
        self.io_error(errno.into())
    }

    fn io_error(&self, source: io::Error) -> DiffError {
        DiffError::Read { path: String::from_utf8_lossy(&self.path).into_owned(), source }
    }
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
fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn same_metadata(a: &Stat, b: &Stat) -> bool {
    a.st_mode == b.st_mode && a.st_uid == b.st_uid && a.st_gid == b.st_gid && a.st_rdev == b.st_rdev
}

fn same_size_and_time(a: &Stat, b: &Stat) -> bool {
    a.st_size == b.st_size && a.st_mtime == b.st_mtime && a.st_mtime_nsec == b.st_mtime_nsec
}

/// Times may have been cut to whole seconds on the way, so that equal times prove nothing: compares the bytes.
fn same_content(a: &std::fs::File, mut b: std::fs::File) -> io::Result<bool> {
    let mut a = a;
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
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort();
    Ok(names)
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

pub(crate) fn stat_at(parent: &OwnedFd, name: &CStr) -> Result<Stat, Errno> {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
}

fn stat_if_there(parent: &OwnedFd, name: &CStr) -> Result<Option<Stat>, Errno> {
    match stat_at(parent, name) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
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
