//! Opens paths inside a root, whatever its links say.
//!
//! Links are read as the process inside would read them (absolute ones start at the root, `..` stops there), magic
//! links of `/proc` are refused, and what comes back is a descriptor: nothing is resolved twice (spec 11.3).

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

/// How often the kernel may find that somebody renamed a directory meanwhile, before that becomes an error.
const MAX_RACES: usize = 100;

/// Opens `path` inside `root`, following links as the root's own processes would.
pub(crate) fn open(root: impl AsFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    resolve(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// Opens `path` below `dir` without following any link.
pub(crate) fn open_without_links(dir: impl AsFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    resolve(dir, path, flags, how)
}

/// Opens one directory entry, be it a link, for looking at it only.
pub(crate) fn open_entry(dir: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn resolve(root: impl AsFd, path: &Path, flags: OFlags, how: ResolveFlags) -> Result<OwnedFd, Errno> {
    // With IN_ROOT the kernel reads an absolute path from the root; the empty path would be refused.
    let path = if path.as_os_str().is_empty() { Path::new("/") } else { path };
    for _ in 0..MAX_RACES {
        match openat2(root.as_fd(), path, flags | OFlags::CLOEXEC, Mode::empty(), how) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            answer => return answer,
        }
    }
    Err(Errno::AGAIN)
}
