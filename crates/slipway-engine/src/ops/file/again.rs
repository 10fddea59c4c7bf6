//! Which files are in the layer that an earlier run of the same `COPY` made?
//!
//! Of a folder with many files mostly few have changed since it was copied last. The others are linked from the layer
//! of that time instead of being copied once more. What that layer holds is told by a list of short digests, one a
//! file, over everything that a new copy would be made of: neither has to be read. If nothing has changed at all, that
//! layer is what a new copy would be.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::AtFlags;
use slipway_graph::op::CopyAction;
use slipway_oci::{Digest, Sha256};

use super::content::LinkedInodes;
use super::copy::changes;
use super::entry::{Changes, Wanted};
use super::{Destination, FileOpError, Sharing};
use crate::context::{Digested, Forest, Selected, Top, What};
use crate::rootfs::{Meta, Root, TreePath, stat_at};

/// Stands for a file at a certain path, with its content, owner, mode and time.
pub(super) type FileName = [u8; NAME_BYTES];

/// Half of a SHA-256: enough to be without collisions, in half the space.
const NAME_BYTES: usize = 16;

/// Which files a layer has, as a list that can be kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileList {
    /// Sorted.
    names: Vec<FileName>,
}

impl FileList {
    /// Reads what [`FileList::to_bytes`] wrote. A list that is torn off lacks files, nothing else.
    pub(crate) fn parse(bytes: &[u8]) -> FileList {
        FileList { names: bytes.as_chunks().0.to_vec() }
    }

    pub(crate) fn to_bytes(&self) -> &[u8] {
        self.names.as_flattened()
    }

    fn has(&self, name: &FileName) -> bool {
        self.names.binary_search(name).is_ok()
    }
}

/// The layer of the earlier run.
pub(crate) struct EarlierLayer {
    pub(crate) root: Root,
    /// What may be linked from it. Its files may have further names in the layers before it.
    pub(crate) sharing: Sharing,
    pub(crate) files: FileList,
}

/// What is known before a folder with many files is copied, and what shall be known the next time.
pub(crate) struct Recopy {
    /// What is copied.
    files: Arc<Digested>,
    earlier: Option<EarlierLayer>,
    copied: Mutex<Vec<FileName>>,
    /// Whether a file may have changed between being digested and being copied.
    is_unsure: AtomicBool,
}

impl Recopy {
    /// For a copy of `files`, all of them to different places.
    pub(crate) fn new(files: Arc<Digested>, earlier: Option<EarlierLayer>) -> Recopy {
        Recopy { files, earlier, copied: Mutex::default(), is_unsure: AtomicBool::new(false) }
    }

    /// The digest of what was copied. `None` if a file may have changed meanwhile; those that were linked cannot have.
    pub(crate) fn digest(&self) -> Option<&Digest> {
        (!self.is_unsure.load(Ordering::Relaxed)).then_some(&self.files.digest)
    }

    /// Looks whether the file at this place of the forest, which was copied from the folder `from` to `to`, got the content
    /// that was digested.
    pub(super) fn check(&self, dir: usize, entry: usize, from: &OwnedFd, to: &OwnedFd) {
        let name = &self.files.forest.dirs[dir].entries[entry].name;
        if !self.files.is_unchanged(dir, entry, from) && !self.files.is_equal(dir, entry, to, name) {
            self.is_unsure.store(true, Ordering::Relaxed);
        }
    }

    /// The files that were copied or linked, but for those that are hard links of each other.
    pub(crate) fn into_list(self) -> FileList {
        let mut names = self.copied.into_inner().unwrap_or_else(PoisonError::into_inner);
        names.sort_unstable();
        FileList { names }
    }

    /// Whether `copy`, which has only these files to copy, would make just what the earlier layer holds. To be asked if
    /// contents and destination are known to be the same; what is left are owners, modes and times.
    pub(crate) fn is_all_there(&self, copy: &CopyAction, dest: &Destination<'_>) -> Result<bool, FileOpError> {
        let (Some(earlier), [Top::Dir(top)]) = (&self.earlier, self.files.forest.tops.as_slice()) else {
            return Ok(false);
        };
        let target = dest.resolve(copy.dest.as_bytes())?;
        let changes = changes(dest, copy.owner.as_ref(), copy.mode.as_ref())?;
        let Ok(made) = earlier.root.try_stat(&target) else { return Ok(false) };
        let is_dressed = dest.stat(&target)?.is_some() || Wanted::of(&made) == changes.new_dir();
        let is_dated = made.mtime == self.files.forest.dirs[*top].meta.mtime;
        Ok(is_dressed && is_dated && self.is_folder_there(earlier, *top, &target, &changes))
    }

    fn is_folder_there(&self, earlier: &EarlierLayer, id: usize, target: &TreePath, changes: &Changes) -> bool {
        let Ok(there) = earlier.root.open_dir(target) else { return false };
        self.files.forest.dirs[id].entries.iter().enumerate().all(|(index, entry)| {
            let path = target.join(&entry.name);
            if entry.meta.is_file() {
                return earlier.files.has(&self.name(id, index, &path, changes.apply(&entry.meta)));
            }
            let Ok(made) = stat_at(there.as_fd(), &entry.name) else { return false };
            let is_same = |meta: &Meta| {
                let wanted = changes.apply(meta);
                // The mode of a link means nothing.
                let mode = if meta.is_link() { wanted.mode } else { made.mode };
                Wanted { mode, ..Wanted::of(&made) } == wanted && made.mtime == meta.mtime
            };
            match entry.what {
                What::Dir(deeper) => {
                    is_same(&self.files.forest.dirs[deeper].meta)
                        && self.is_folder_there(earlier, deeper, &path, changes)
                }
                What::Link(_) | What::Other => is_same(&entry.meta),
            }
        })
    }

    pub(super) fn source(&self) -> (&[Selected], &Forest) {
        (&self.files.tops, &self.files.forest)
    }

    /// The folder `target` of the earlier layer, if it has one.
    pub(super) fn open(&self, target: &TreePath) -> Option<OwnedFd> {
        self.earlier.as_ref()?.root.open_dir(target).ok()
    }

    /// Notes files that are now in the new layer.
    pub(super) fn note(&self, names: Vec<FileName>) {
        self.copied.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
    }

    /// The name of the regular file at this place of the forest, copied to `target`.
    pub(super) fn name(&self, dir: usize, entry: usize, target: &TreePath, wanted: Wanted) -> FileName {
        let meta = &self.files.forest.dirs[dir].entries[entry].meta;
        let mut hash = Sha256::new();
        hash.update(self.files.of_file(dir, entry));
        for number in [wanted.mode, wanted.uid, wanted.gid, meta.mtime.nanos] {
            hash.update(&number.to_le_bytes());
        }
        hash.update(&meta.mtime.secs.to_le_bytes());
        hash.update(target.as_bytes());
        *hash.finish_bytes().first_chunk().expect("because a SHA-256 is longer")
    }

    /// Makes `file` of the folder `dir` a link to the same file of the earlier layer, whose same folder is `earlier_dir`.
    /// Says whether that could be done.
    pub(super) fn link(
        &self,
        name: &FileName,
        earlier_dir: &OwnedFd,
        file: &[u8],
        dir: &OwnedFd,
        linked: &LinkedInodes,
    ) -> bool {
        let Some(earlier) = self.earlier.as_ref().filter(|earlier| earlier.files.has(name)) else { return false };
        let may_link = match earlier.sharing {
            Sharing::Nothing => false,
            Sharing::OnlyNames => stat_at(earlier_dir.as_fd(), file).is_ok_and(|meta| meta.n_links == 1),
            Sharing::Everything => true,
        };
        // Files of the list are at different places of one layer and no hard links: each inode is met once.
        let is_linked = may_link && rustix::fs::linkat(earlier_dir, file, dir, file, AtFlags::empty()).is_ok();
        if is_linked {
            linked.note_earlier(earlier.sharing);
        }
        is_linked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_torn_off_lacks_files() {
        let list = FileList { names: vec![[1; NAME_BYTES], [7; NAME_BYTES]] };
        let bytes = list.to_bytes();
        assert_eq!(FileList::parse(bytes), list);
        let torn = FileList::parse(&bytes[..bytes.len() - 1]);
        assert!(torn.has(&[1; NAME_BYTES]) && !torn.has(&[7; NAME_BYTES]));
        assert_eq!(FileList::parse(b""), FileList::default());
    }
}
