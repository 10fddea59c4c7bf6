//! Makes the mount points that a root lacks, and removes them when the step is over (spec 11.4).
//!
//! The step in between is hostile: it may have replaced any of the stubs or their parents by links to places of the
//! host. So every path is kept in the form without links, and opened again inside the root without following any;
//! whatever is no longer what was made here stays.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use crate::call::{CallError, Named};
use crate::rooted;

/// As many links as the kernel itself follows in one path.
const MAX_LINKS: usize = 40;

/// What is to be mounted on a stub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// Anything but a directory.
    File,
}

/// A place that has to exist for a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Absolute path inside the root.
    pub path: PathBuf,
    /// What will be mounted there.
    pub kind: Kind,
    /// Whether it stays in the root afterwards, as `/proc`, `/sys` and `/dev` do.
    pub is_kept: bool,
}

impl Target {
    /// The mount points of the sandbox itself, which stay when they had to be made.
    pub fn built_in() -> [Self; 3] {
        ["/proc", "/sys", "/dev"].map(|path| Self { path: path.into(), kind: Kind::Directory, is_kept: true })
    }
}

/// The stubs that were made and will be removed.
#[derive(Debug, Default)]
#[must_use = "stubs that are not removed become a part of the layer"]
pub struct Stubs {
    /// In the order of creation: parents before children.
    made: Vec<Stub>,
}

/// One created entry: its parent, as a path without links below the root, and its name.
#[derive(Debug, PartialEq, Eq)]
struct Stub {
    parent: PathBuf,
    name: OsString,
}

/// Makes what is missing of `targets` inside `root`, with mode 0755, and leaves the times of directories as they were.
///
/// Links are followed inside the root, also those that lead nowhere yet: an image whose `/etc/resolv.conf` is a link
/// into the empty `/run` gets its stub there. Nobody else may change the root meanwhile.
pub fn make(root: BorrowedFd<'_>, targets: &[Target]) -> Result<Stubs, CallError> {
    let mut stubs = Stubs::default();
    for target in targets {
        let name_call = || format!("make mount point({})", target.path.display());
        let mut made = Vec::new();
        let result = Walk::new(root, &mut made).and_then(|walk| walk.make(target));
        if result.is_err() || !target.is_kept {
            stubs.made.extend(made);
        }
        if result.is_err() {
            stubs.remove(root)?;
            return result.named(name_call).map(|()| Stubs::default());
        }
    }
    Ok(stubs)
}

impl Stubs {
    /// Removes the stubs that are still empty directories or empty files, children first.
    ///
    /// The times of their directories stay as the step left them.
    pub fn remove(self, root: BorrowedFd<'_>) -> Result<(), CallError> {
        for Stub { parent, name } in self.made.iter().rev() {
            remove_if_untouched(root, parent, name)
                .named(|| format!("remove mount point({})", Path::new("/").join(parent).join(name).display()))?;
        }
        Ok(())
    }
}

fn remove_if_untouched(root: BorrowedFd<'_>, parent: &Path, name: &OsStr) -> Result<(), Errno> {
    let parent = match rooted::open_without_links(root, parent, OFlags::RDONLY | OFlags::DIRECTORY) {
        // The step has removed it, or put something else (a link, a file) in its place.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        answer => answer?,
    };
    let status = match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        answer => answer?,
    };
    let flags = match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory => AtFlags::REMOVEDIR,
        FileType::RegularFile if status.st_size == 0 => AtFlags::empty(),
        _ => return Ok(()),
    };
    let before = times(&parent)?;
    match rustix::fs::unlinkat(&parent, name, flags) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(()),
        answer => answer?,
    }
    rustix::fs::futimens(&parent, &before)
}

fn times(directory: impl AsFd) -> Result<Timestamps, Errno> {
    let status = rustix::fs::fstat(directory)?;
    Ok(Timestamps {
        last_access: Timespec { tv_sec: status.st_atime, tv_nsec: status.st_atime_nsec.cast_signed() },
        last_modification: Timespec { tv_sec: status.st_mtime, tv_nsec: status.st_mtime_nsec.cast_signed() },
    })
}

/// A walk from the root to a target, one name at a time, never through a link.
struct Walk<'a> {
    root: BorrowedFd<'a>,
    /// The directory that has been reached.
    directory: OwnedFd,
    /// Its path below the root, without links.
    path: PathBuf,
    links_followed: usize,
    made: &'a mut Vec<Stub>,
}

impl<'a> Walk<'a> {
    fn new(root: BorrowedFd<'a>, made: &'a mut Vec<Stub>) -> Result<Self, Errno> {
        let directory = open_directory(root, Path::new(""))?;
        Ok(Self { root, directory, path: PathBuf::new(), links_followed: 0, made })
    }

    fn make(mut self, target: &Target) -> Result<(), Errno> {
        let mut rest = names(&target.path);
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                self.path.pop();
                self.directory = open_directory(self.root, &self.path)?;
                continue;
            }
            match self.look_up(&name)? {
                Entry::Link(to) => self.follow(&to, &mut rest)?,
                Entry::Directory => self.descend(&name)?,
                Entry::Other if rest.is_empty() => {}
                Entry::Other => return Err(Errno::NOTDIR),
                Entry::Missing if rest.is_empty() && target.kind == Kind::File => self.make_file(name)?,
                Entry::Missing => self.make_directory(name)?,
            }
        }
        Ok(())
    }

    fn look_up(&self, name: &OsStr) -> Result<Entry, Errno> {
        let entry = match rooted::open_entry(&self.directory, name) {
            Err(Errno::NOENT) => return Ok(Entry::Missing),
            answer => answer?,
        };
        Ok(match FileType::from_raw_mode(rustix::fs::fstat(&entry)?.st_mode) {
            FileType::Symlink => {
                let to = rustix::fs::readlinkat(&entry, "", Vec::new())?;
                Entry::Link(OsString::from_vec(to.into_bytes()).into())
            }
            FileType::Directory => Entry::Directory,
            _ => Entry::Other,
        })
    }

    /// Puts the names of the link's target in front of the names that are left.
    fn follow(&mut self, to: &Path, rest: &mut VecDeque<OsString>) -> Result<(), Errno> {
        self.links_followed += 1;
        if self.links_followed > MAX_LINKS {
            return Err(Errno::LOOP);
        }
        if to.is_absolute() {
            self.path.clear();
            self.directory = open_directory(self.root, &self.path)?;
        }
        names(to).into_iter().rev().for_each(|name| rest.push_front(name));
        Ok(())
    }

    fn descend(&mut self, name: &OsStr) -> Result<(), Errno> {
        self.directory = open_directory(self.directory.as_fd(), Path::new(name))?;
        self.path.push(name);
        Ok(())
    }

    fn make_directory(&mut self, name: OsString) -> Result<(), Errno> {
        let before = times(&self.directory)?;
        rustix::fs::mkdirat(&self.directory, &name, Mode::from(0o755))?;
        rustix::fs::futimens(&self.directory, &before)?;
        self.made.push(Stub { parent: self.path.clone(), name: name.clone() });
        self.descend(&name)?;
        // Whatever the umask of the caller is.
        rustix::fs::fchmod(&self.directory, Mode::from(0o755))
    }

    fn make_file(&mut self, name: OsString) -> Result<(), Errno> {
        let before = times(&self.directory)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.directory, &name, flags, Mode::from(0o644))?;
        rustix::fs::futimens(&self.directory, &before)?;
        self.made.push(Stub { parent: self.path.clone(), name });
        Ok(())
    }
}

/// What a name stands for.
enum Entry {
    Missing,
    Directory,
    Link(PathBuf),
    Other,
}

fn open_directory(from: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    rooted::open_without_links(from, path, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// The names of a path, without the `/` and `.` in it.
fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|component| matches!(component, Component::Normal(_) | Component::ParentDir))
        .map(|component| component.as_os_str().to_owned())
        .collect()
}
