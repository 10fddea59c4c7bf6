//! How is a tree removed, however deep it is?
//!
//! What a RUN or a strange image left may be nested deeper than a path can be long or descriptors be open, which is
//! where the standard library gives up. Here one folder is open at a time, and the way back up is `..`. That is safe
//! because the trees removed here are in nobody's hands: no living process writes to them.

use std::ffi::CString;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat, unlinkat};
use rustix::io::Errno;
use rustix::path::Arg;

use crate::session::Temporary;

/// More do not make a disk faster.
const MAX_THREADS: usize = 8;

/// Removes a file or a whole tree, links not followed; nothing there is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if !metadata.is_dir() => std::fs::remove_file(path),
        Ok(_) => {
            empty_folder(open(CWD, path)?)?;
            std::fs::remove_dir(path)
        }
    }
}

/// Removes many files and trees, on all processors at once; what cannot be removed is left to a later sweep.
///
/// One folder takes one thread at a time, so trees are taken apart two levels deep.
pub(crate) fn remove_all(garbage: Vec<Temporary>) {
    let mut parts: Vec<PathBuf> = Vec::new();
    for top in garbage.iter().map(Temporary::path) {
        for folder in subfolders(top) {
            parts.extend(subfolders(&folder));
            parts.push(folder);
        }
    }
    let next = AtomicUsize::new(0);
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    std::thread::scope(|scope| {
        for _ in 0..n_threads.min(parts.len()) {
            scope.spawn(|| {
                while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // A folder that another thread is still emptying is finished with the whole.
                    let _ = remove(part);
                }
            });
        }
    });
    // Dropped, each removes what is left of itself.
    drop(garbage);
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// Removes everything in `top`, depth first.
fn empty_folder(top: OwnedFd) -> io::Result<()> {
    // For each folder on the way from `top` to the open one: its subfolders that are still there.
    let mut way = vec![unlink_files(&top)?];
    let mut folder = top;
    while let Some(subfolders) = way.last() {
        if let Some(next) = subfolders.last() {
            folder = open(&folder, next)?;
            way.push(unlink_files(&folder)?);
            continue;
        }
        way.pop();
        if let Some(emptied) = way.last_mut().and_then(Vec::pop) {
            folder = open(&folder, c"..")?;
            unlinkat(&folder, &emptied, AtFlags::REMOVEDIR)?;
        }
    }
    Ok(())
}

/// Removes all files in `folder`; its subfolders are the answer.
fn unlink_files(folder: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut subfolders = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let file_type = match entry.file_type() {
            // Not every file system says it in the listing.
            FileType::Unknown => FileType::from_raw_mode(statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode),
            known => known,
        };
        if file_type == FileType::Directory {
            subfolders.push(name.to_owned());
        } else {
            unlinkat(folder, name, AtFlags::empty())?;
        }
    }
    Ok(subfolders)
}

fn open(at: impl AsFd, path: impl Arg) -> Result<OwnedFd, Errno> {
    openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_tree_deeper_than_paths_and_descriptors_reach() {
        let root = tempfile::tempdir().unwrap();
        let tree = root.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        let mut folder = open(CWD, &tree).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&folder, "a", Mode::from(0o700)).unwrap();
            folder = open(&folder, "a").unwrap();
        }
        remove(&tree).unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let kept = root.path().join("kept");
        std::fs::create_dir(&kept).unwrap();
        std::fs::write(kept.join("file"), "").unwrap();
        let tree = root.path().join("tree");
        for folder in ["x/y", "x/z", "w"] {
            std::fs::create_dir_all(tree.join(folder)).unwrap();
            symlink(&kept, tree.join(folder).join("link")).unwrap();
            std::fs::write(tree.join(folder).join("file"), "").unwrap();
        }
        remove(&tree).unwrap();
        assert!(!tree.exists());
        assert!(kept.join("file").exists());

        let link = root.path().join("link");
        symlink(&kept, &link).unwrap();
        remove(&link).unwrap();
        assert!(!link.exists() && kept.join("file").exists());
        remove(&link).unwrap();
    }
}
