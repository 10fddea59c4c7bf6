//! `type=local`: the files of the image in a folder of the host (`spec/dockerfile.md` section 8.4).
//!
//! The image decides names and link targets, so nothing here follows a link: every entry is made below a descriptor
//! of its folder, and what is in its place is removed first (GHSA-g2h8-426c-7976). Owners are not applied.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;
use slipway_graph::request::FilesOutput;

use super::split::{self, Part};
use super::{Export, ExportError};
use crate::layer::diff::{open_dir, open_file, read_link, sorted_names, stat_at};
use crate::layer::merged_links::MergedLinks;
use crate::layer::untar;
use crate::rootfs::{Root, TreePath};

/// Why the folder cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocalError {
    #[error("cannot write `{path}` below `{dest}`", dest = .dest.display())]
    Write { dest: PathBuf, path: String, source: io::Error },
}

/// `files`: as [`split::parts`].
pub(super) fn export(
    export: &Export<'_>,
    dest: &Path,
    deletes_others: bool,
    files: &FilesOutput,
) -> Result<(), ExportError> {
    let parts = split::parts(export, files)?;
    let folders: Vec<&str> = parts.iter().filter_map(|part| part.folder.as_deref()).collect();
    if deletes_others && !folders.is_empty() {
        keep_only(dest, &folders)?;
    }
    for Part { folder, view, links, epoch, is_first, .. } in parts {
        let dest = folder.as_ref().map_or_else(|| dest.to_owned(), |folder| dest.join(folder));
        let target = open_folder(&dest)?;
        copy_files(view.as_fd(), links, epoch, &dest, deletes_others && is_first)?;
        if let (Some(epoch), true) = (epoch, folder.is_some()) {
            let set = rustix::fs::futimens(&target, &both(Timespec { tv_sec: epoch, tv_nsec: 0 }));
            set.map_err(|errno| ExportError::Write { path: dest, source: errno.into() })?;
        }
    }
    Ok(())
}

fn copy_files(
    files: BorrowedFd<'_>,
    links: MergedLinks,
    epoch: Option<i64>,
    dest: &Path,
    deletes_others: bool,
) -> Result<(), ExportError> {
    let target = open_folder(dest)?;
    let create = |errno: Errno| ExportError::Write { path: dest.to_owned(), source: errno.into() };
    let source = open_dir(files, c".").map_err(create)?;
    let root = Root::open(dest).map_err(|source| ExportError::Write { path: dest.to_owned(), source })?;
    let mut copy = Copy { path: Vec::new(), dest: root, links, epoch, deletes_others };
    copy.folder(&source, &target).map_err(|errno| {
        let path = String::from_utf8_lossy(&copy.path).into_owned();
        LocalError::Write { dest: dest.to_owned(), path, source: errno.into() }
    })?;
    Ok(())
}

/// The folder at `dest`, made if it is not there.
fn open_folder(dest: &Path) -> Result<OwnedFd, ExportError> {
    let create = |source| ExportError::Write { path: dest.to_owned(), source };
    std::fs::create_dir_all(dest).map_err(create)?;
    untar::open_host_dir(dest).map_err(|errno| create(errno.into()))
}

/// Removes everything from `dest` that is not called one of `names`.
fn keep_only(dest: &Path, names: &[&str]) -> Result<(), ExportError> {
    let target = open_folder(dest)?;
    let error = |errno: Errno| ExportError::Write { path: dest.to_owned(), source: errno.into() };
    for name in sorted_names(target.as_fd()).map_err(error)? {
        if !names.iter().any(|kept| kept.as_bytes() == name.as_bytes()) {
            remove(&target, &name).map_err(error)?;
        }
    }
    Ok(())
}

struct Copy {
    /// What is being copied, for errors.
    path: Vec<u8>,
    /// The top of what is written.
    dest: Root,
    links: MergedLinks,
    /// The time of all entries, in seconds since 1970, if they do not keep theirs.
    epoch: Option<i64>,
    deletes_others: bool,
}

impl Copy {
    fn folder(&mut self, source: &OwnedFd, target: &OwnedFd) -> Result<(), Errno> {
        let names = sorted_names(source.as_fd())?;
        if self.deletes_others {
            for name in sorted_names(target.as_fd())?.iter().filter(|name| !names.contains(name)) {
                remove(target, name)?;
            }
        }
        let length = self.path.len();
        for name in names {
            self.path.push(b'/');
            self.path.extend_from_slice(name.as_bytes());
            self.entry(source, target, &name)?;
            self.path.truncate(length);
        }
        Ok(())
    }

    /// A folder that a single layer has lists the whiteouts in it, though overlay says that there is nothing.
    fn nothing(&self, target: &OwnedFd, name: &CStr) -> Result<(), Errno> {
        match self.deletes_others.then(|| remove(target, name)) {
            None | Some(Err(Errno::NOENT)) => Ok(()),
            Some(removed) => removed,
        }
    }

    fn entry(&mut self, source: &OwnedFd, target: &OwnedFd, name: &CStr) -> Result<(), Errno> {
        let stat = match stat_at(source, name) {
            Err(Errno::NOENT) => return self.nothing(target, name),
            stat => stat?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let there = match stat_at(target, name) {
            Ok(there) => Some(FileType::from_raw_mode(there.st_mode)),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(errno),
        };
        if there.is_some() && !(kind == FileType::Directory && there == Some(FileType::Directory)) {
            remove(target, name)?;
        }
        if kind != FileType::Directory
            && let Some(first) = self.links.earlier(&self.path, &stat)
            && self.link(&first, target, name)?
        {
            return Ok(());
        }
        match kind {
            FileType::Directory => {
                if there != Some(FileType::Directory) {
                    rustix::fs::mkdirat(target, name, Mode::from_raw_mode(0o700))?;
                }
                let (from, to) = (open_dir(source.as_fd(), name)?, open_dir(target.as_fd(), name)?);
                self.folder(&from, &to)?;
                rustix::fs::fchmod(&to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
                rustix::fs::futimens(&to, &self.times(&stat))
            }
            FileType::RegularFile => self.file(source, target, name, &stat),
            FileType::Symlink => {
                let link = CString::new(read_link(source, name)?).map_err(|_| Errno::INVAL)?;
                rustix::fs::symlinkat(&link, target, name)?;
                rustix::fs::utimensat(target, name, &self.times(&stat), AtFlags::SYMLINK_NOFOLLOW)
            }
            FileType::Fifo => rustix::fs::mknodat(target, name, kind, Mode::from_raw_mode(stat.st_mode & 0o7777), 0),
            // Devices and sockets of an image have no meaning in a folder of the host.
            _ => Ok(()),
        }
    }
}

impl Copy {
    /// Whether `name` in `target` could be made another name of what was written at `first`: not every file system
    /// knows hard links, and there is a limit to their number.
    fn link(&self, first: &TreePath, target: &OwnedFd, name: &CStr) -> Result<bool, Errno> {
        let folder = self.dest.open_dir(&first.parent().unwrap_or_default());
        let folder = folder.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        match rustix::fs::linkat(&folder, first.name().unwrap_or_default(), target, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::MLINK | Errno::PERM | Errno::OPNOTSUPP | Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    fn file(&self, source: &OwnedFd, target: &OwnedFd, name: &CStr, stat: &Stat) -> Result<(), Errno> {
        let mut from = std::fs::File::from(open_file(source, name)?);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = rustix::fs::openat(target, name, flags, Mode::from_raw_mode(0o600))?;
        let mut to = std::fs::File::from(to);
        // Uses `copy_file_range`, which shares blocks where the file system can.
        io::copy(&mut from, &mut to).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        rustix::fs::fchmod(&to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        rustix::fs::futimens(&to, &self.times(stat))
    }

    fn times(&self, stat: &Stat) -> Timestamps {
        let own = Timespec { tv_sec: stat.st_mtime, tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0) };
        both(self.epoch.map_or(own, |epoch| Timespec { tv_sec: epoch, tv_nsec: 0 }))
    }
}

/// `time` as that of the last change and of the last look.
fn both(time: Timespec) -> Timestamps {
    Timestamps { last_access: time, last_modification: time }
}

/// Removes an entry with everything below it, following no link.
fn remove(parent: &OwnedFd, name: &CStr) -> Result<(), Errno> {
    let is_folder = FileType::from_raw_mode(stat_at(parent, name)?.st_mode) == FileType::Directory;
    untar::remove_tree(parent.as_fd(), name, is_folder)
}
