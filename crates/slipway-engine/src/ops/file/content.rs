//! How do the bytes of a file get into the new layer at the least cost?
//!
//! 1. a link to the inode that a layer of the source has, if nothing about the inode changes;
//! 2. `copy_file_range` for all but small files: it shares blocks on file systems that can;
//! 3. reading and writing.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::Linked;
use super::entry::Wanted;
use crate::rootfs::{Meta, Root, TreePath, stat_at};

/// Up to this size reading and writing is as fast as anything (`dependencies.md` section 9.3).
const SMALL_BYTES: u64 = 64 << 10;

/// Inodes of other layers that this layer has a link to.
///
/// A second link to one of them would be a hard link in the image, which the files are not: it has to be a copy.
#[derive(Default)]
pub(super) struct LinkedInodes {
    claimed: Mutex<HashSet<InodeId>>,
    is_second_hand: AtomicBool,
    /// Some are of a layer in which no inode can be met twice.
    has_earlier: AtomicBool,
}

/// What may be linked from a layer into the new one, see [`crate::ops::shared_inodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Nothing: both are going to be in one stack.
    Nothing,
    /// Files that have one name: no other layer can have them.
    OnlyNames,
    /// All files.
    Everything,
}

/// An inode of a layer's directory: device and number.
type InodeId = ((u32, u32), u64);

impl LinkedInodes {
    /// Whether this is the first time that `inode` is claimed.
    fn claim(&self, inode: InodeId) -> bool {
        self.claimed.lock().expect("because nothing panics while the lock is held").insert(inode)
    }

    /// Notes a link to a file of the layer of an earlier run, which shares that much.
    pub(super) fn note_earlier(&self, sharing: Sharing) {
        self.has_earlier.store(true, Ordering::Relaxed);
        // Nobody looked whether it had further names.
        self.is_second_hand.fetch_or(sharing == Sharing::Everything, Ordering::Relaxed);
    }

    /// What has become of all files.
    pub(super) fn outcome(&self) -> Linked {
        let is_empty = self.claimed.lock().expect("because nothing panics while the lock is held").is_empty();
        let has_any = !is_empty || self.has_earlier.load(Ordering::Relaxed);
        match (has_any, self.is_second_hand.load(Ordering::Relaxed)) {
            (false, _) => Linked::No,
            (true, false) => Linked::FirstHand,
            (true, true) => Linked::SecondHand,
        }
    }
}

/// One folder in those layers that have it, top first.
pub(super) struct LayerDirs {
    dirs: Vec<(usize, OwnedFd)>,
}

/// A file of a snapshot, as one of its layers holds it.
pub(super) struct Origin<'a> {
    /// Place of the layer in the list, top first.
    pub(super) layer: usize,
    pub(super) meta: Meta,
    dir: &'a OwnedFd,
}

impl LayerDirs {
    /// Opens the folder at `path` in every layer that has it.
    pub(super) fn open(layers: &[(Root, Sharing)], path: &TreePath) -> LayerDirs {
        // A layer where it cannot be opened is one where nothing can be linked from: the files get copied.
        let dirs = layers.iter().enumerate().filter_map(|(i, (layer, _))| Some((i, layer.open_dir(path).ok()?)));
        LayerDirs { dirs: dirs.collect() }
    }

    /// The layer that the visible file `name` comes from: the topmost one that has it, or else a layer above would
    /// have hidden it.
    pub(super) fn origin(&self, name: &[u8], seen: &Meta) -> Option<Origin<'_>> {
        let (layer, dir, meta) =
            self.dirs.iter().find_map(|(layer, dir)| Some((*layer, dir, stat_at(dir.as_fd(), name).ok()?)))?;
        let is_same = meta.is_file()
            && meta.size_bytes == seen.size_bytes
            && meta.mtime == seen.mtime
            && Wanted::of(&meta) == Wanted::of(seen);
        is_same.then_some(Origin { layer, meta, dir })
    }
}

/// Makes `target` in `dir` a link to the file that `origin` is, unless its layer does not share it, this layer has one
/// already, or the file system refuses.
pub(super) fn link_origin(
    origin: &Origin<'_>,
    sharing: Sharing,
    name: &[u8],
    dir: impl AsFd,
    target: &[u8],
    linked: &LinkedInodes,
) -> bool {
    let is_second_hand = origin.meta.n_links > 1;
    let is_shared = match sharing {
        Sharing::Nothing => false,
        Sharing::OnlyNames => !is_second_hand,
        Sharing::Everything => true,
    };
    if !is_shared || !linked.claim((origin.meta.dev, origin.meta.ino)) {
        return false;
    }
    linked.is_second_hand.fetch_or(is_second_hand, Ordering::Relaxed);
    rustix::fs::linkat(origin.dir, name, dir, target, AtFlags::empty()).is_ok()
}

/// A new file, only for its owner yet.
pub(super) fn create_file(dir: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?)
}

/// Copies all bytes from `source` to `target`. `buffer` is working space.
pub(super) fn copy_bytes(source: &OwnedFd, target: &OwnedFd, size_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
    if size_bytes > SMALL_BYTES {
        copy_in_kernel(source, target)?;
    }
    // What is left; after a complete copy in the kernel one read that says so.
    loop {
        let n_bytes = match rustix::io::read(source, &mut *buffer) {
            Err(Errno::INTR) => continue,
            answer => answer?,
        };
        if n_bytes == 0 {
            return Ok(());
        }
        let mut rest = &buffer[..n_bytes];
        while !rest.is_empty() {
            match rustix::io::write(target, rest) {
                Err(Errno::INTR) => {}
                answer => rest = &rest[answer?..],
            }
        }
    }
}

/// Copies as much as the file systems can do between them, perhaps nothing.
fn copy_in_kernel(source: &OwnedFd, target: &OwnedFd) -> io::Result<()> {
    const AT_ONCE: usize = 1 << 30;
    loop {
        match rustix::fs::copy_file_range(source, None, target, None, AT_ONCE) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::IO | Errno::FBIG)) => return Err(errno.into()),
            // Different file systems, or one that cannot do it.
            Err(_) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn all_sizes_are_copied() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        for size in [0, 1, 1000, SMALL_BYTES as usize, SMALL_BYTES as usize + 1, 300_000] {
            let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            std::fs::write(folder.path().join("from"), &bytes).unwrap();
            let source = OwnedFd::from(File::open(folder.path().join("from")).unwrap());
            let target = create_file(root.as_fd(), b"to").unwrap();
            copy_bytes(&source, &target, size as u64, &mut [0; 4096]).unwrap();
            assert!(std::fs::read(folder.path().join("to")).unwrap() == bytes, "{size}");
            std::fs::remove_file(folder.path().join("to")).unwrap();
        }
    }
}
