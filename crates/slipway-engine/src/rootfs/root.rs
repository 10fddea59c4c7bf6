//! How are files below a directory descriptor reached without leaving it?
//!
//! Two kinds of calls: those that take any path let the kernel follow links inside the tree (`RESOLVE_IN_ROOT`);
//! those that take a real path refuse every link, so that a tree that changes meanwhile gives an error, not an escape.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;
use slipway_sandbox::owners;

use super::meta::WANTED;
use super::{Component, FollowError, Meta, TreePath, follow};

/// A call into the kernel that failed, with the path it was about.
#[derive(Debug, thiserror::Error)]
#[error("{call}(`{path}`)")]
pub(crate) struct CallError {
    pub call: &'static str,
    /// As seen from the top of its tree.
    pub path: TreePath,
    pub source: io::Error,
}

/// Adds call and path to a kernel's answer.
pub(crate) trait OnPath<T> {
    fn on(self, call: &'static str, path: &TreePath) -> Result<T, CallError>;
}

impl<T, E: Into<io::Error>> OnPath<T> for Result<T, E> {
    fn on(self, call: &'static str, path: &TreePath) -> Result<T, CallError> {
        self.map_err(|source| CallError { call, path: path.clone(), source: source.into() })
    }
}

/// One line of a folder's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DirItem {
    pub name: Vec<u8>,
    /// `Unknown` on file systems that do not keep types in folders.
    pub kind: FileType,
}

/// The top of a tree of files; nothing outside can be reached through it.
#[derive(Debug)]
pub(crate) struct Root(OwnedFd);

impl Root {
    /// Opens a folder of the host.
    pub(crate) fn open(folder: &Path) -> io::Result<Root> {
        Ok(Root(rustix::fs::openat(CWD, folder, DIR, Mode::empty())?))
    }

    /// Takes a descriptor of a directory (`O_PATH` will not do: the top is listed, too).
    pub(crate) fn new(dir: OwnedFd) -> Root {
        Root(dir)
    }

    /// The descriptor of the top.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Opens any path for reading, following links inside the tree. Never blocks: a FIFO opens at once.
    pub(crate) fn open_in(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat2(&self.0, path, flags, Mode::empty(), CONFINED)?)
    }

    /// Opens the folder at a real path.
    pub(crate) fn open_dir(&self, real: &TreePath) -> io::Result<OwnedFd> {
        Ok(rustix::fs::openat2(&self.0, real.for_kernel(), DIR, Mode::empty(), NO_LINKS)?)
    }

    /// Opens the file at a real path for reading.
    pub(crate) fn open_file(&self, real: &TreePath) -> io::Result<OwnedFd> {
        Ok(rustix::fs::openat2(&self.0, real.for_kernel(), READ_FILE, Mode::empty(), NO_LINKS)?)
    }

    /// What is at a real path, a link being a link. `None` if there is nothing, also because a parent is no folder.
    pub(crate) fn stat(&self, real: &TreePath) -> io::Result<Option<Meta>> {
        match self.try_stat(real) {
            Ok(meta) => Ok(Some(meta)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// [`Root::stat`] for those who want to know why there is nothing.
    pub(crate) fn try_stat(&self, real: &TreePath) -> Result<Meta, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat2(&self.0, real.for_kernel(), flags, Mode::empty(), NO_LINKS)?;
        stat_fd(&file)
    }

    /// The text of the link at a real path.
    pub(crate) fn read_link(&self, real: &TreePath) -> io::Result<Vec<u8>> {
        let dir = self.open_dir(&real.parent().unwrap_or_default())?;
        read_link_at(&dir, real.for_kernel_name())
    }

    /// What the folder at a real path holds, sorted by name.
    pub(crate) fn list(&self, real: &TreePath) -> io::Result<Vec<DirItem>> {
        list_dir(self.open_dir(real)?.as_fd())
    }

    /// What is at a real path, for [`follow`].
    pub(crate) fn look(&self, real: &TreePath) -> io::Result<Component> {
        match self.stat(real)? {
            None => Ok(Component::Missing),
            Some(meta) if meta.is_link() => Ok(Component::Link(self.read_link(real)?)),
            Some(_) => Ok(Component::Other),
        }
    }

    /// The real path that `path` leads to, all links followed; it need not exist.
    pub(crate) fn resolve(&self, path: &[u8]) -> Result<TreePath, FollowError> {
        follow(path, |real| self.look(real))
    }
}

const CONFINED: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
const NO_LINKS: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);
const DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Reads a regular file; neither waits for a FIFO's writer nor takes a terminal.
pub(crate) const READ_FILE: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

impl TreePath {
    /// The last component as the kernel wants it: `.` for the top.
    fn for_kernel_name(&self) -> &[u8] {
        self.name().unwrap_or(b".")
    }
}

/// What a descriptor refers to.
pub(crate) fn stat_fd(file: impl AsFd) -> Result<Meta, Errno> {
    let file = file.as_fd();
    let meta = Meta::new(&rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, WANTED)?);
    Ok(meta.of_owner(owners::recorded(file, meta.kind)))
}

/// What `name` in `dir` is, a link being a link. `name` is one component.
pub(crate) fn stat_at(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Meta, Errno> {
    // No automount: looking at a file must not change the machine.
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let meta = Meta::new(&rustix::fs::statx(dir, name, flags, WANTED)?);
    Ok(meta.of_owner(owners::recorded_at(dir, name, meta.kind)))
}

/// The text of the link `name` in `dir`.
pub(crate) fn read_link_at(dir: impl AsFd, name: &[u8]) -> io::Result<Vec<u8>> {
    Ok(rustix::fs::readlinkat(dir, name, Vec::new())?.into_bytes())
}

/// What `dir` holds, sorted by name: the order a folder is read in differs between file systems.
pub(crate) fn list_dir(dir: BorrowedFd<'_>) -> io::Result<Vec<DirItem>> {
    let mut buffer = [MaybeUninit::uninit(); 32 << 10];
    let mut items = Vec::new();
    let mut raw = RawDir::new(dir, &mut buffer);
    while let Some(entry) = raw.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            items.push(DirItem { name: name.to_vec(), kind: entry.file_type() });
        }
    }
    items.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(items)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_outside_can_be_reached() {
        let host = tempfile::tempdir().unwrap();
        let tree = host.path().join("tree");
        std::fs::create_dir_all(tree.join("etc")).unwrap();
        std::fs::write(host.path().join("secret"), "outside").unwrap();
        symlink("../../secret", tree.join("up")).unwrap();
        symlink(host.path().join("secret"), tree.join("absolute")).unwrap();
        symlink("..", tree.join("etc/parent")).unwrap();
        let root = Root::open(&tree).unwrap();
        for path in ["up", "absolute", "../secret", "etc/parent/../secret"] {
            assert!(root.open_in(path.as_bytes()).is_err(), "{path}");
            assert!(root.stat(&root.resolve(path.as_bytes()).unwrap()).unwrap().is_none(), "{path}");
        }
        // A real path has no links on the way, whatever the tree says by now.
        assert!(root.open_dir(&TreePath::clean("etc/parent/etc")).is_err());
        assert!(root.stat(&TreePath::clean("etc/parent/etc")).is_err());
    }

    #[test]
    fn links_are_seen_as_links() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("d")).unwrap();
        symlink("/d", folder.path().join("l")).unwrap();
        let root = Root::open(folder.path()).unwrap();
        assert!(root.stat(&TreePath::clean("l")).unwrap().unwrap().is_link());
        assert_eq!(root.read_link(&TreePath::clean("l")).unwrap(), b"/d");
        assert_eq!(root.resolve(b"l/new").unwrap(), TreePath::clean("d/new"));
        assert_eq!(root.stat(&TreePath::clean("d/x/y")).unwrap(), None);
        let names: Vec<Vec<u8>> = root.list(&TreePath::top()).unwrap().into_iter().map(|item| item.name).collect();
        assert_eq!(names, [b"d".to_vec(), b"l".to_vec()]);
    }
}
