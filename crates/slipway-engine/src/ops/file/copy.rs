//! Where does a source go, and how do many files get there quickly? (`spec/dockerfile.md` section 3.4)
//!
//! The whole source is looked at first ([`scan`]). Then folders are made from the top down and files copied in
//! pieces of a folder, by several threads; files that are hard links of each other come last, one after the other,
//! and folders get their times when nothing changes in them any more.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;

use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;
use slipway_graph::op::{self, CopyAction, Owner, OwnerId, Unpack};

use super::again::FileName;
use super::archive::open_archive;
use super::content::{LayerDirs, LinkedInodes, copy_bytes, create_file, link_origin};
use super::destination::make_dir_in;
use super::entry::{Changes, Wanted, dress, dress_at};
use super::{ArchiveError, Destination, FileOpError, ModeChange, NewDirs, Source, Unpacker};
use crate::context::workers::{Queue, work};
use crate::context::{Forest, ScannedDir, ScannedEntry, Selected, SourcePattern, Top, What, scan, select};
use crate::rootfs::{Accounts, OnPath, READ_FILE, Time, TreePath, read_xattrs, write_xattrs};

/// How many files one task copies.
const FILES_PER_TASK: usize = 128;

/// Carries out a copy.
pub(super) fn copy(
    action: &CopyAction,
    dest: &Destination<'_>,
    source: &Source<'_>,
    linked: &LinkedInodes,
    unpacker: &dyn Unpacker,
) -> Result<(), FileOpError> {
    let looked_at;
    let (tops, forest) = match source.recopy {
        Some(recopy) => recopy.source(),
        None => {
            let selection = select(source.tree, &SourcePattern::from(action))?;
            looked_at = (scan(&selection)?, selection.tops);
            (looked_at.1.as_slice(), &looked_at.0)
        }
    };
    let changes = changes(dest, action.owner.as_ref(), action.mode.as_ref())?;
    for (selected, top) in tops.iter().zip(&forest.tops) {
        let copier = Copier {
            dest,
            source,
            forest,
            changes: &changes,
            linked,
            replaces_metadata: action.parents_root.is_none(),
            hard_linked: hard_linked(forest, *top),
            late: Mutex::default(),
            dir_times: Mutex::default(),
        };
        match *top {
            Top::Dir(id) => copier.copy_folder(id, &action.dest)?,
            Top::Entry(dir, entry) => {
                let is_unpacked =
                    action.unpack == Unpack::IfArchive && copier.unpack(selected, &action.dest, unpacker)?;
                if !is_unpacked {
                    let name = selected.path.name().unwrap_or_default();
                    let target = place_of_file(dest, &action.dest, name, &changes)?;
                    copier.copy_single(dir, entry, &target)?;
                }
            }
        }
    }
    Ok(())
}

/// What `--chown` and `--chmod` mean in this file system.
pub(super) fn changes(
    dest: &Destination<'_>,
    owner: Option<&Owner>,
    mode: Option<&op::Mode>,
) -> Result<Changes, FileOpError> {
    let has_name = |owner: &Owner| {
        let is_name = |id: &OwnerId| matches!(id, OwnerId::Name(_));
        is_name(&owner.user) || owner.group.as_ref().is_some_and(is_name)
    };
    let owner = match owner {
        None => None,
        // The accounts are read only if they matter: they may be broken.
        Some(owner) if has_name(owner) => Some(dest.accounts()?.owner(owner)),
        Some(owner) => Some(Accounts::default().owner(owner)),
    };
    Ok(Changes { owner, mode: mode.map(ModeChange::of).transpose()? })
}

/// Where a file goes.
pub(super) struct FilePlace {
    /// A real path that exists.
    folder: TreePath,
    pub(super) name: Vec<u8>,
}

impl FilePlace {
    pub(super) fn path(&self) -> TreePath {
        self.folder.join(&self.name)
    }

    /// Opens the folder in the new layer, and removes what is in the file's place.
    pub(super) fn open(&self, dest: &Destination<'_>) -> Result<OwnedFd, FileOpError> {
        let dir = dest.upper_dir(&self.folder)?;
        make_room(dest, &dir, &self.path(), &self.name)?;
        Ok(dir)
    }
}

/// The place of a file copied to `dest_path`: in it if it is a folder or written like one, else it itself.
pub(super) fn place_of_file(
    dest: &Destination<'_>,
    dest_path: &str,
    name: &[u8],
    changes: &Changes,
) -> Result<FilePlace, FileOpError> {
    let real = dest.resolve(dest_path.as_bytes())?;
    let is_folder = is_written_as_folder(dest_path) || dest.stat(&real)?.is_some_and(|meta| meta.is_dir());
    let (folder, name) = match (is_folder, real.parent(), real.name()) {
        (false, Some(parent), Some(own_name)) => (parent, own_name.to_vec()),
        _ => (real, name.to_vec()),
    };
    dest.make_dirs(&folder, &new_dirs(changes))?;
    Ok(FilePlace { folder, name })
}

fn is_written_as_folder(path: &str) -> bool {
    path.ends_with('/') || path.ends_with("/.")
}

fn new_dirs(changes: &Changes) -> NewDirs {
    let wanted = changes.new_dir();
    NewDirs { mode: wanted.mode, uid: wanted.uid, gid: wanted.gid, mtime: None }
}

/// Removes the file that is about to be replaced from the new layer; one of the layers below gets hidden.
fn make_room(dest: &Destination<'_>, dir: impl AsFd, path: &TreePath, name: &[u8]) -> Result<(), FileOpError> {
    match dest.stat(path)? {
        None => return Ok(()),
        Some(meta) if meta.is_dir() => return Err(FileOpError::ReplacesFolder { path: path.clone() }),
        Some(_) => {}
    }
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Ok(Err(errno).on("unlinkat", path)?),
    }
}

/// Device and inode number.
type InodeId = ((u32, u32), u64);

/// Inodes that are met more than once below `top`.
fn hard_linked(forest: &Forest, top: Top) -> HashSet<InodeId> {
    let mut seen = HashSet::new();
    let mut twice = HashSet::new();
    let mut pending = match top {
        Top::Dir(id) => vec![id],
        Top::Entry(..) => Vec::new(),
    };
    while let Some(id) = pending.pop() {
        for entry in &forest.dirs[id].entries {
            match entry.what {
                What::Dir(deeper) => pending.push(deeper),
                What::Other if entry.meta.is_file() && entry.meta.n_links > 1 => {
                    let inode = (entry.meta.dev, entry.meta.ino);
                    if !seen.insert(inode) {
                        twice.insert(inode);
                    }
                }
                What::Link(_) | What::Other => {}
            }
        }
    }
    twice
}

/// One selected path on its way.
struct Copier<'a> {
    dest: &'a Destination<'a>,
    source: &'a Source<'a>,
    forest: &'a Forest,
    changes: &'a Changes,
    linked: &'a LinkedInodes,
    /// Whether a folder that is there already gets the mode and owner of its source.
    replaces_metadata: bool,
    /// Files with these inodes are hard links of each other.
    hard_linked: HashSet<InodeId>,
    /// Such files, for the end.
    late: Mutex<Vec<LateFile>>,
    /// Folders whose times are set at the end.
    dir_times: Mutex<Vec<(TreePath, Time)>>,
}

/// A file that is a hard link of another one. Sorted by target, so that every build makes the same one the first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct LateFile {
    target: TreePath,
    /// Index into [`Forest::dirs`].
    dir: usize,
    entry: usize,
}

/// A piece of the work.
enum Task {
    /// Makes the folders in a folder. `is_new`: nothing can be in its place.
    Folder { id: usize, target: TreePath, is_new: bool },
    /// Copies some of its files.
    Files { id: usize, target: TreePath, is_new: bool, entries: Range<usize> },
}

/// Where files of one folder come from and go to.
struct OpenFolders {
    from: OwnedFd,
    /// The same folder in the source's layers.
    layers: LayerDirs,
    /// What `to` was in the layer of an earlier run.
    earlier: Option<OwnedFd>,
    to: OwnedFd,
    target: TreePath,
}

impl Copier<'_> {
    /// Copies what is in a folder. The target keeps its own mode and owner, even if it is made for this.
    fn copy_folder(&self, id: usize, dest_path: &str) -> Result<(), FileOpError> {
        let target = self.dest.resolve(dest_path.as_bytes())?;
        if !is_written_as_folder(dest_path) && self.dest.stat(&target)?.is_some_and(|meta| !meta.is_dir()) {
            return Err(FileOpError::NotAFolder { path: target });
        }
        let made = self.dest.make_dirs(&target, &new_dirs(self.changes))?;
        let first = Task::Folder { id, target: target.clone(), is_new: made.contains(&target) };
        self.note_time(&target, self.forest.dirs[id].meta.mtime);
        work(vec![first], |task, queue| self.run(task, queue))?;
        self.copy_late_files()?;
        for (path, mtime) in lock(&self.dir_times).iter() {
            self.dest.set_dir_time(path, *mtime)?;
        }
        Ok(())
    }

    fn run(&self, task: Task, queue: &Queue<Task, FileOpError>) -> Result<(), FileOpError> {
        match task {
            Task::Folder { id, target, is_new } => self.make_folders(id, target, is_new, queue),
            Task::Files { id, target, is_new, entries } => {
                let folders = self.open(id, target)?;
                let mut buffer = vec![0; 128 << 10];
                let mut names = Vec::new();
                for index in entries {
                    names.extend(self.copy_unless_late(id, index, &folders, is_new, &mut buffer)?);
                }
                if let Some(recopy) = self.source.recopy {
                    recopy.note(names);
                }
                Ok(())
            }
        }
    }

    fn make_folders(
        &self,
        id: usize,
        target: TreePath,
        is_new: bool,
        queue: &Queue<Task, FileOpError>,
    ) -> Result<(), FileOpError> {
        let entries = &self.forest.dirs[id].entries;
        let dir = self.dest.upper_dir(&target)?;
        let mut tasks = Vec::new();
        for entry in entries {
            let What::Dir(deeper) = entry.what else { continue };
            let path = target.join(&entry.name);
            let is_new = self.make_folder(&dir, entry, &self.forest.dirs[deeper], &path, is_new)?;
            tasks.push(Task::Folder { id: deeper, target: path, is_new });
        }
        for start in (0..entries.len()).step_by(FILES_PER_TASK) {
            let range = start..entries.len().min(start + FILES_PER_TASK);
            tasks.push(Task::Files { id, target: target.clone(), is_new, entries: range });
        }
        queue.extend(tasks);
        Ok(())
    }

    /// Makes one folder or gives the existing one its source's metadata; says whether it is new.
    fn make_folder(
        &self,
        parent: &OwnedFd,
        entry: &ScannedEntry,
        scanned: &ScannedDir,
        path: &TreePath,
        is_parent_new: bool,
    ) -> Result<bool, FileOpError> {
        let wanted = self.changes.apply(&scanned.meta);
        let existing = if is_parent_new { None } else { self.dest.stat(path)? };
        self.note_time(path, scanned.meta.mtime);
        let dir = match existing {
            Some(meta) if !meta.is_dir() => return Err(FileOpError::NotAFolder { path: path.clone() }),
            Some(_) => {
                let dir = self.dest.upper_dir(path)?;
                if self.replaces_metadata {
                    dress(&dir, wanted).on("fchown", path)?;
                    write_xattrs(&dir, &scanned.xattrs);
                }
                return Ok(false);
            }
            None => make_dir_in(parent, &entry.name, wanted).on("mkdirat", path)?,
        };
        write_xattrs(&dir, &scanned.xattrs);
        Ok(true)
    }

    fn note_time(&self, path: &TreePath, mtime: Time) {
        lock(&self.dir_times).push((path.clone(), mtime));
    }

    fn open(&self, id: usize, target: TreePath) -> Result<OpenFolders, FileOpError> {
        let path = &self.forest.dirs[id].path;
        Ok(OpenFolders {
            from: self.source.tree.root().open_dir(path).on("openat2", path)?,
            layers: LayerDirs::open(self.source.layers, path),
            earlier: self.source.recopy.and_then(|recopy| recopy.open(&target)),
            to: self.dest.upper_dir(&target)?,
            target,
        })
    }

    /// Copies a file, unless it has to wait. Gives the name that tells the next run of the same copy what it is.
    fn copy_unless_late(
        &self,
        id: usize,
        index: usize,
        folders: &OpenFolders,
        is_new: bool,
        buffer: &mut [u8],
    ) -> Result<Option<FileName>, FileOpError> {
        let entry = &self.forest.dirs[id].entries[index];
        if matches!(entry.what, What::Dir(_)) {
            return Ok(None);
        }
        let target = folders.target.join(&entry.name);
        if !is_new {
            make_room(self.dest, &folders.to, &target, &entry.name)?;
        }
        if entry.meta.is_file() && self.hard_linked.contains(&(entry.meta.dev, entry.meta.ino)) {
            lock(&self.late).push(LateFile { target, dir: id, entry: index });
            return Ok(None);
        }
        let recopy = self.source.recopy.filter(|_| entry.meta.is_file());
        let name = recopy.map(|recopy| recopy.name(id, index, &target, self.changes.apply(&entry.meta)));
        let is_linked = match (recopy, &name, &folders.earlier) {
            (Some(recopy), Some(name), Some(earlier)) => {
                recopy.link(name, earlier, &entry.name, &folders.to, self.linked)
            }
            _ => false,
        };
        if !is_linked {
            self.copy_entry(entry, folders, &entry.name, &target, buffer)?;
            self.check(id, index, folders);
        }
        Ok(name)
    }

    /// Looks whether what was copied is what the key says.
    fn check(&self, id: usize, index: usize, folders: &OpenFolders) {
        if let Some(recopy) = self.source.recopy
            && self.forest.dirs[id].entries[index].meta.is_file()
        {
            recopy.check(id, index, &folders.from, &folders.to);
        }
    }

    /// Copies the first file of each group of hard links, and links the others to it.
    fn copy_late_files(&self) -> Result<(), FileOpError> {
        let mut late = std::mem::take(&mut *lock(&self.late));
        late.sort();
        let mut buffer = vec![0; 128 << 10];
        let mut copied: HashMap<(Option<usize>, InodeId), TreePath> = HashMap::new();
        for LateFile { target, dir: id, entry: index } in late {
            let entry = &self.forest.dirs[id].entries[index];
            let folders = self.open(id, target.parent().unwrap_or_default())?;
            // Files of different layers can share an inode without being hard links: a link saved a copy.
            let layer = folders.layers.origin(&entry.name, &entry.meta).map(|origin| origin.layer);
            let identity = (layer, (entry.meta.dev, entry.meta.ino));
            let is_linked = match copied.get(&identity) {
                Some(first) => self.link_to(first, &folders.to, &entry.name)?,
                None => false,
            };
            if !is_linked {
                self.copy_entry(entry, &folders, &entry.name, &target, &mut buffer)?;
                self.check(id, index, &folders);
                copied.insert(identity, target);
            }
        }
        Ok(())
    }

    /// Whether the file system made another link to the new file at `first`; there is a limit to their number.
    fn link_to(&self, first: &TreePath, dir: &OwnedFd, name: &[u8]) -> Result<bool, FileOpError> {
        let from = self.dest.upper_dir(&first.parent().unwrap_or_default())?;
        match rustix::fs::linkat(from, first.name().unwrap_or_default(), dir, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::MLINK) => Ok(false),
            Err(errno) => Ok(Err(errno).on("linkat", first)?),
        }
    }

    /// Copies a file that was selected itself.
    fn copy_single(&self, dir: usize, entry: usize, place: &FilePlace) -> Result<(), FileOpError> {
        place.open(self.dest)?;
        let folders = self.open(dir, place.folder.clone())?;
        let entry = &self.forest.dirs[dir].entries[entry];
        self.copy_entry(entry, &folders, &place.name, &place.path(), &mut vec![0; 128 << 10])
    }

    /// Copies anything but a folder to a place where nothing is.
    fn copy_entry(
        &self,
        entry: &ScannedEntry,
        folders: &OpenFolders,
        name: &[u8],
        target: &TreePath,
        buffer: &mut [u8],
    ) -> Result<(), FileOpError> {
        let meta = &entry.meta;
        match (&entry.what, meta.kind) {
            (What::Link(text), _) => {
                rustix::fs::symlinkat(text.as_slice(), &folders.to, name).on("symlinkat", target)?;
                self.finish_at(entry, &folders.to, name).on("fchownat", target)?;
            }
            (_, FileType::RegularFile) => self.copy_file(entry, folders, name, buffer).on("copy", target)?,
            // A socket without its program is of no use; the reference leaves an empty file.
            (_, FileType::Socket) => {
                let file = create_file(&folders.to, name).on("openat", target)?;
                dress(&file, self.changes.apply(meta)).on("fchown", target)?;
                rustix::fs::futimens(&file, &meta.mtime.timestamps()).on("futimens", target)?;
            }
            (_, FileType::CharacterDevice) if meta.rdev == (0, 0) => {
                return Err(FileOpError::WhiteoutDevice { path: target.clone() });
            }
            (_, kind) => {
                let device = rustix::fs::makedev(meta.rdev.0, meta.rdev.1);
                rustix::fs::mknodat(&folders.to, name, kind, Mode::RUSR | Mode::WUSR, device).on("mknodat", target)?;
                self.finish_at(entry, &folders.to, name).on("fchownat", target)?;
            }
        }
        Ok(())
    }

    fn finish_at(&self, entry: &ScannedEntry, dir: &OwnedFd, name: &[u8]) -> io::Result<()> {
        dress_at(dir, name, self.changes.apply(&entry.meta), entry.meta.is_link())?;
        Ok(rustix::fs::utimensat(dir, name, &entry.meta.mtime.timestamps(), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn copy_file(&self, entry: &ScannedEntry, folders: &OpenFolders, name: &[u8], buffer: &mut [u8]) -> io::Result<()> {
        let meta = &entry.meta;
        let wanted = self.changes.apply(meta);
        if wanted == Wanted::of(meta)
            && let Some(origin) = folders.layers.origin(&entry.name, meta)
            && link_origin(&origin, self.source.layers[origin.layer].1, &entry.name, &folders.to, name, self.linked)
        {
            return Ok(());
        }
        let source = rustix::fs::openat(&folders.from, entry.name.as_slice(), READ_FILE, Mode::empty())?;
        let target = create_file(&folders.to, name)?;
        copy_bytes(&source, &target, meta.size_bytes, buffer)?;
        dress(&target, wanted)?;
        let mut xattrs = read_xattrs(&source)?;
        if !self.source.tree.keeps_capabilities() {
            xattrs.retain(|(name, _)| name.as_c_str() != c"security.capability");
        }
        // After the owner, whose change takes capabilities away.
        write_xattrs(&target, &xattrs);
        Ok(rustix::fs::futimens(&target, &meta.mtime.timestamps())?)
    }

    /// Unpacks the selected file if it is an archive; the destination is a folder then. Says whether it was one.
    fn unpack(&self, selected: &Selected, dest_path: &str, unpacker: &dyn Unpacker) -> Result<bool, FileOpError> {
        if !selected.meta.is_file() {
            return Ok(false);
        }
        let path = &selected.real;
        let mut file = File::from(self.source.tree.root().open_file(path).on("openat2", path)?);
        let Some(mut archive) = open_archive(&mut file, path)? else { return Ok(false) };
        let folder = self.dest.resolve(dest_path.as_bytes())?;
        let (uid, gid) = self.changes.owner.unwrap_or((0, 0));
        // `--chmod` is not for archives.
        self.dest.make_dirs(&folder, &NewDirs { mode: 0o755, uid, gid, mtime: None })?;
        let result = unpacker.unpack(&mut archive, self.dest, &folder, self.changes.owner);
        result.map_err(|source| ArchiveError::Unpack { path: path.clone(), source })?;
        Ok(true)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("because nothing panics while the lock is held")
}
