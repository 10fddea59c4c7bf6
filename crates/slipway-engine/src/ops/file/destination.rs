//! What is in the file system that is being changed, and how does a change get into the new layer?
//!
//! The layers below are only read. A folder of theirs that gets a new entry is first made anew in the new layer with
//! the same owner, mode, attributes and times, as overlayfs does ("copy up").

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use slipway_graph::KeyWriter;
use slipway_oci::Digest;

use super::FileOpError;
use super::entry::{Wanted, dress};
use crate::rootfs::{
    Accounts, AccountsError, CallError, Component, FollowError, Meta, OnPath, Root, Time, TreePath, follow,
    read_xattrs, stat_fd, write_xattrs,
};

/// The new layer's directory laid over a read-only view of the layers below.
pub(crate) struct Destination<'a> {
    /// The merged view of the layers below; `None` if there are none.
    base: Option<&'a Root>,
    /// The directory that becomes the layer: an overlay upper directory, without whiteouts.
    upper: &'a Root,
}

/// What folders made on the way are like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewDirs {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// `None` is now.
    pub mtime: Option<Time>,
}

impl<'a> Destination<'a> {
    /// `upper` laid over `base`.
    pub(crate) fn new(base: Option<&'a Root>, upper: &'a Root) -> Destination<'a> {
        Destination { base, upper }
    }

    /// What is at a real path.
    pub(crate) fn stat(&self, real: &TreePath) -> Result<Option<Meta>, CallError> {
        match self.upper.try_stat(real) {
            Ok(meta) => Ok(Some(meta)),
            Err(Errno::NOENT) => match self.base.map(|base| base.try_stat(real)) {
                Some(Ok(meta)) => Ok(Some(meta)),
                // A parent was a link or a file, and is a folder now, in the new layer.
                None | Some(Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => Ok(None),
                Some(Err(errno)) => Err(errno).on("statx", real),
            },
            // A file of the new layer hides the folder that was there.
            Err(Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno).on("statx", real),
        }
    }

    /// The real path that `path` leads to, all links followed; it need not exist.
    pub(crate) fn resolve(&self, path: &[u8]) -> Result<TreePath, FollowError> {
        follow(path, |real| match self.stat(real).map_err(|error| error.source)? {
            None => Ok(Component::Missing),
            Some(meta) if meta.is_link() => Ok(Component::Link(self.read_link(real)?)),
            Some(_) => Ok(Component::Other),
        })
    }

    fn read_link(&self, real: &TreePath) -> io::Result<Vec<u8>> {
        match (self.upper.read_link(real), self.base) {
            (Err(e), Some(base)) if Errno::from_io_error(&e) == Some(Errno::NOENT) => base.read_link(real),
            (answer, _) => answer,
        }
    }

    /// Stands for all that a new layer with files only below `path` takes over from the layers below: what the folders
    /// on the way are like. `None` if there are files already, or a link is on the way.
    pub(crate) fn digest_of_way(&self, path: &[u8]) -> Result<Option<Digest>, FileOpError> {
        let target = self.resolve(path)?;
        if target != TreePath::clean(path) {
            return Ok(None);
        }
        let mut way = Vec::new();
        let mut folder = TreePath::top();
        let mut names = target.components();
        while let Some(meta) = self.stat(&folder)? {
            let deeper = names.next();
            let is_taken =
                deeper.is_none() && self.base.is_some_and(|base| !base.list(&folder).is_ok_and(|l| l.is_empty()));
            if !meta.is_dir() || is_taken {
                return Ok(None);
            }
            way.push((folder.clone(), meta));
            let Some(name) = deeper else { break };
            folder = folder.join(name);
        }
        let mut key = KeyWriter::new("way");
        for (place, (folder, meta)) in way.iter().enumerate() {
            key.number(meta.mode.into()).number(meta.uid.into()).number(meta.gid.into());
            // The time of the last one changes with what is put there, and that of the top is in no layer.
            if place > 0 && place + 1 < way.len() {
                key.number(meta.mtime.secs.cast_unsigned()).number(meta.mtime.nanos.into());
            }
            let xattrs = match self.base {
                Some(base) => base.open_dir(folder).and_then(read_xattrs).on("flistxattr", folder)?,
                None => Vec::new(),
            };
            key.number(xattrs.len() as u64);
            for (name, value) in xattrs {
                key.bytes(name.to_bytes()).bytes(&value);
            }
        }
        Ok(Some(key.finish()))
    }

    /// The users and groups of this file system.
    pub(crate) fn accounts(&self) -> Result<Accounts, AccountsError> {
        Accounts::read_with(|path| {
            let real = self.resolve(path.as_bytes()).map_err(io::Error::other)?;
            match (self.upper.open_file(&real), self.base) {
                (Err(e), Some(base)) if Errno::from_io_error(&e) == Some(Errno::NOENT) => base.open_file(&real),
                (answer, _) => answer,
            }
        })
    }

    /// Makes the folder at a real path, and its parents, unless they are there. Gives the new ones, outermost first.
    pub(crate) fn make_dirs(&self, real: &TreePath, like: &NewDirs) -> Result<Vec<TreePath>, FileOpError> {
        let mut made = Vec::new();
        let mut path = TreePath::top();
        for name in real.components() {
            let parent = path;
            path = parent.join(name);
            match self.stat(&path)? {
                Some(meta) if meta.is_dir() => continue,
                Some(_) => return Err(FileOpError::MkdirOverFile { path }),
                None => {}
            }
            let parent_dir = self.upper_dir(&parent)?;
            let wanted = Wanted { mode: like.mode, uid: like.uid, gid: like.gid };
            make_dir_in(&parent_dir, name, wanted).on("mkdirat", &path)?;
            made.push(path.clone());
        }
        // Only now: making a folder changes the time of its parent.
        if let Some(mtime) = like.mtime {
            for path in &made {
                self.set_dir_time(path, mtime)?;
            }
        }
        Ok(made)
    }

    /// Opens the folder at a real path in the new layer, copying it up if only the layers below have it.
    pub(crate) fn upper_dir(&self, real: &TreePath) -> Result<OwnedFd, CallError> {
        match self.upper.open_dir(real) {
            Err(e) if Errno::from_io_error(&e) == Some(Errno::NOENT) => {}
            answer => return answer.on("openat2", real),
        }
        let (Some(base), Some(parent), Some(name)) = (self.base, real.parent(), real.name()) else {
            return Err(Errno::NOENT).on("openat2", real);
        };
        let below = base.open_dir(real).on("openat2", real)?;
        let meta = stat_fd(&below).on("statx", real)?;
        let parent_dir = self.upper_dir(&parent)?;
        let parent_mtime = stat_fd(&parent_dir).on("statx", &parent)?.mtime;
        let dir = make_dir_in(&parent_dir, name, Wanted::of(&meta)).on("mkdirat", real)?;
        write_xattrs(&dir, &read_xattrs(&below).on("flistxattr", real)?);
        rustix::fs::futimens(&dir, &meta.mtime.timestamps()).on("futimens", real)?;
        // For those who look at the result nothing happened to the parent.
        rustix::fs::futimens(&parent_dir, &parent_mtime.timestamps()).on("futimens", &parent)?;
        Ok(dir)
    }

    /// Gives the folder at a real path a modification time.
    pub(crate) fn set_dir_time(&self, real: &TreePath, mtime: Time) -> Result<(), CallError> {
        rustix::fs::futimens(self.upper_dir(real)?, &mtime.timestamps()).on("futimens", real)
    }

    /// Makes the top of the new layer look like the one below: it hides that one as soon as it is mounted.
    pub(super) fn adopt_top(&self) -> Result<(), CallError> {
        let Some(base) = self.base else { return Ok(()) };
        let top = TreePath::top();
        let meta = stat_fd(base.as_fd()).on("statx", &top)?;
        dress(self.upper.as_fd(), Wanted::of(&meta)).on("fchown", &top)?;
        write_xattrs(self.upper.as_fd(), &read_xattrs(base.as_fd()).on("flistxattr", &top)?);
        rustix::fs::futimens(self.upper.as_fd(), &meta.mtime.timestamps()).on("futimens", &top)
    }
}

/// Makes the folder `name` and opens it.
pub(super) fn make_dir_in(parent: impl AsFd, name: &[u8], wanted: Wanted) -> io::Result<OwnedFd> {
    rustix::fs::mkdirat(&parent, name, Mode::RWXU)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(&parent, name, flags, Mode::empty())?;
    dress(&dir, wanted)?;
    Ok(dir)
}
