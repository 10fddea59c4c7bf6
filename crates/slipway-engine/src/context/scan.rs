//! What is below the selected paths? Looks at every file once, reads none.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::select::{Fate, Filter, Verdicts, not_found};
use super::workers::{Queue, work};
use super::{SelectError, Selected, Selection, SourceTree};
use crate::rootfs::{
    CallError, DirItem, Meta, OnPath, TreePath, Xattrs, list_dir, read_link_at, read_xattrs, stat_at, stat_fd,
};

/// All that a selection holds.
#[derive(Debug)]
pub(crate) struct Forest {
    /// Folders come before what is in them.
    pub dirs: Vec<ScannedDir>,
    /// For each selected path its place in `dirs`.
    pub tops: Vec<Top>,
}

/// Where a selected path is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Top {
    /// A folder: an index into [`Forest::dirs`].
    Dir(usize),
    /// Anything else: the folder that holds it, and its index there.
    Entry(usize, usize),
}

/// A folder with those of its entries that are selected.
#[derive(Debug)]
pub(crate) struct ScannedDir {
    /// Real path from the top of the tree.
    pub path: TreePath,
    pub meta: Meta,
    pub xattrs: Xattrs,
    /// Sorted by name.
    pub entries: Vec<ScannedEntry>,
    /// Files that are there but not selected; `None` if nobody looked.
    pub(super) others: Option<Vec<Vec<u8>>>,
    /// Whether it is selected even if nothing in it is.
    is_taken: bool,
}

/// An entry of a folder.
#[derive(Debug)]
pub(crate) struct ScannedEntry {
    pub name: Vec<u8>,
    /// As [`SourceTree::in_image`] says.
    pub meta: Meta,
    pub what: What,
}

/// What an entry is, beyond its [`Meta`].
#[derive(Debug)]
pub(crate) enum What {
    /// An index into [`Forest::dirs`].
    Dir(usize),
    /// A symbolic link with this text.
    Link(Vec<u8>),
    /// A regular file, device, FIFO or socket.
    Other,
}

/// Why a tree could not be looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScanError {
    #[error(transparent)]
    Select(#[from] SelectError),
    #[error("cannot look at a source")]
    Call(#[from] CallError),
}

/// Looks at everything that `selection` selects.
///
/// # Errors
/// With `--parents` and without a wildcard, finding nothing is an error, as for any literal source.
pub(crate) fn scan(selection: &Selection<'_>) -> Result<Forest, ScanError> {
    let dirs: Dirs = Mutex::default();
    let mut tops = Vec::new();
    let mut tasks = Vec::new();
    for top in &selection.tops {
        if top.meta.is_dir() {
            let id = reserve(&dirs, 1);
            tops.push(Top::Dir(id));
            let (is_taken, verdicts) = selection.filter.judge_top(&top.real);
            tasks.push(Task { id, path: top.real.clone(), below: TreePath::top(), is_taken, verdicts });
        } else {
            tops.push(scan_single(selection.tree, &dirs, top)?);
        }
    }
    work(tasks, |task, queue| scan_dir(selection.tree, &selection.filter, &dirs, task, queue))?;
    let dirs = dirs.into_inner().expect("because a panic of a scanning thread has ended this one, too");
    let mut dirs: Vec<ScannedDir> =
        dirs.into_iter().map(|dir| dir.expect("because every reserved place has a task that fills it")).collect();
    prune(&mut dirs);
    let forest = Forest { dirs, tops };
    require_something(selection, &forest)?;
    Ok(forest)
}

fn require_something(selection: &Selection<'_>, forest: &Forest) -> Result<(), SelectError> {
    let Some(literal) = &selection.must_exist else { return Ok(()) };
    let is_empty = |top: &Top| match top {
        Top::Dir(id) => forest.dirs[*id].entries.is_empty() && !forest.dirs[*id].is_taken,
        Top::Entry(..) => false,
    };
    if forest.tops.iter().all(is_empty) {
        return Err(not_found(selection.tree, literal, literal));
    }
    Ok(())
}

/// A place for each folder; filled when the folder has been looked at.
type Dirs = Mutex<Vec<Option<ScannedDir>>>;

struct Task {
    id: usize,
    path: TreePath,
    below: TreePath,
    is_taken: bool,
    verdicts: Verdicts,
}

fn lock(dirs: &Dirs) -> MutexGuard<'_, Vec<Option<ScannedDir>>> {
    dirs.lock().expect("because nothing panics while the lock is held")
}

/// Makes `n` places; gives the first one.
fn reserve(dirs: &Dirs, n: usize) -> usize {
    let mut dirs = lock(dirs);
    let first = dirs.len();
    dirs.resize_with(first + n, || None);
    first
}

fn scan_dir(
    tree: SourceTree<'_>,
    filter: &Filter<'_>,
    dirs: &Dirs,
    task: Task,
    queue: &Queue<Task, CallError>,
) -> Result<(), CallError> {
    let Task { id, path, below, is_taken, verdicts } = task;
    let dir = tree.root().open_dir(&path).on("openat2", &path)?;
    let items = list_dir(dir.as_fd()).on("getdents64", &path)?;
    // Grown step by step they would take up to twice the memory, and folders with many files are kept as long as a copy.
    let mut entries = Vec::with_capacity(items.len());
    let mut others = Vec::new();
    let mut folders = Vec::new();
    for item in items {
        let (fate, verdicts) = judge(filter, &path, &below, &item, dir.as_fd(), &verdicts)?;
        if fate == Fate::Skip {
            others.push(item.name);
            continue;
        }
        let Some(meta) = stat_if_there(dir.as_fd(), &item.name).on("statx", &path)? else { continue };
        let meta = tree.in_image(meta);
        let what = match meta.kind {
            FileType::Directory => {
                let deeper = (path.join(&item.name), below.join(&item.name), fate == Fate::Take, verdicts);
                folders.push(deeper);
                // Counted from this folder's first place; made absolute below.
                What::Dir(folders.len() - 1)
            }
            FileType::Symlink => What::Link(read_link_at(&dir, &item.name).on("readlinkat", &path)?),
            _ => What::Other,
        };
        entries.push(ScannedEntry { name: item.name, meta, what });
    }
    let meta = tree.in_image(stat_fd(&dir).on("statx", &path)?);
    let xattrs = read_xattrs(&dir).on("flistxattr", &path)?;
    let first = reserve(dirs, folders.len());
    for entry in &mut entries {
        if let What::Dir(id) = &mut entry.what {
            *id += first;
        }
    }
    lock(dirs)[id] = Some(ScannedDir { path, meta, xattrs, entries, others: Some(others), is_taken });
    queue.extend(folders.into_iter().enumerate().map(|(i, (path, below, is_taken, verdicts))| Task {
        id: first + i,
        path,
        below,
        is_taken,
        verdicts,
    }));
    Ok(())
}

fn judge(
    filter: &Filter<'_>,
    path: &TreePath,
    below: &TreePath,
    item: &DirItem,
    dir: BorrowedFd<'_>,
    verdicts: &Verdicts,
) -> Result<(Fate, Verdicts), CallError> {
    if filter.takes_everything() {
        return Ok((Fate::Take, Verdicts::default()));
    }
    let kind = match item.kind {
        FileType::Unknown => match stat_if_there(dir, &item.name).on("statx", path)? {
            Some(meta) => meta.kind,
            None => return Ok((Fate::Skip, Verdicts::default())),
        },
        kind => kind,
    };
    Ok(filter.judge(&path.join(&item.name), &below.join(&item.name), kind == FileType::Directory, verdicts))
}

/// A file may vanish between the list and the look; then it was never there.
fn stat_if_there(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<Meta>> {
    match stat_at(dir, name) {
        Ok(meta) => Ok(Some(meta)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Files that are selected themselves share one place for the folder that holds them.
fn scan_single(tree: SourceTree<'_>, dirs: &Dirs, top: &Selected) -> Result<Top, CallError> {
    let parent = top.real.parent().unwrap_or_default();
    let entry = ScannedEntry {
        name: top.real.name().unwrap_or_default().to_vec(),
        meta: tree.in_image(top.meta),
        what: What::Other,
    };
    let is_same = |dir: &Option<ScannedDir>| dir.as_ref().is_some_and(|d| d.others.is_none() && d.path == parent);
    let known = lock(dirs).iter().rposition(is_same);
    let id = match known {
        Some(id) => id,
        None => {
            let dir = tree.root().open_dir(&parent).on("openat2", &parent)?;
            let meta = tree.in_image(stat_fd(&dir).on("statx", &parent)?);
            let id = reserve(dirs, 1);
            lock(dirs)[id] = Some(ScannedDir {
                path: parent,
                meta,
                xattrs: Vec::new(),
                entries: Vec::new(),
                others: None,
                is_taken: true,
            });
            id
        }
    };
    let mut dirs = lock(dirs);
    let entries = &mut dirs[id].as_mut().expect("because it was filled when its place was made").entries;
    entries.push(entry);
    Ok(Top::Entry(id, entries.len() - 1))
}

/// Takes out folders that are only there for what they might have held.
fn prune(dirs: &mut [ScannedDir]) {
    // From the back: what is in a folder comes after it.
    let mut is_kept = vec![true; dirs.len()];
    for id in (0..dirs.len()).rev() {
        dirs[id].entries.retain(|entry| !matches!(entry.what, What::Dir(deeper) if !is_kept[deeper]));
        is_kept[id] = dirs[id].is_taken || !dirs[id].entries.is_empty();
    }
}
