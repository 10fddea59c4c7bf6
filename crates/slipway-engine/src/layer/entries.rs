//! What is in the folder of a layer, in the order of its archive?
//!
//! Most of the time that a layer takes goes into finding and opening its files. So if there are many, a thread of its own
//! does that ahead of who reads them.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::{io, vec};

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::diff::{capability, open_dir, open_file, read_link, sorted_items, stat_at, stat_fd};

/// Fewer entries are through before a thread pays.
const MIN_FOR_THREAD: usize = 256;

/// How many entries the thread hands over at once.
const BATCH: usize = 32;

/// Batches that wait. Their files are open, and a process may have a thousand.
const MAX_WAITING: usize = 2;

/// One step of the way through a folder.
pub(super) enum Step {
    Entry(Found),
    /// The innermost folder that was not ended yet has no more entries.
    End,
    /// An entry of the innermost folder that could not be looked at, or that folder itself, if there is no name.
    Failed(CString, io::Error),
}

/// An entry, open.
pub(super) struct Found {
    pub(super) name: CString,
    pub(super) stat: Stat,
    pub(super) what: What,
}

/// What an entry is, beyond its [`Stat`].
pub(super) enum What {
    /// What is in it follows.
    Folder(Arc<OwnedFd>),
    File {
        file: File,
        capability: Option<Vec<u8>>,
    },
    /// A symbolic link with this text.
    Link(Vec<u8>),
    /// A device, FIFO or socket.
    Other,
}

/// All entries below a folder, folders before what is in them, the names in a folder sorted.
pub(super) struct Entries(Source);

enum Source {
    Here {
        way: Way,
        n_taken: usize,
    },
    OnThread {
        batches: Receiver<Vec<Step>>,
        batch: vec::IntoIter<Step>,
    },
    /// While it moves to its thread.
    Moving,
}

impl Entries {
    pub(super) fn below(folder: BorrowedFd<'_>) -> Result<Entries, Errno> {
        let folder = open_dir(folder, c".")?;
        Ok(Entries(Source::Here { way: Way { folders: vec![Folder::open(folder.into())?] }, n_taken: 0 }))
    }

    /// The next step. After the end of the first folder there is none.
    pub(super) fn next(&mut self) -> Step {
        if let Source::Here { n_taken: MIN_FOR_THREAD, .. } = self.0
            && let Source::Here { way, .. } = std::mem::replace(&mut self.0, Source::Moving)
        {
            self.0 = on_thread(way);
        }
        match &mut self.0 {
            Source::Here { way, n_taken } => {
                *n_taken += 1;
                way.next().unwrap_or(Step::End)
            }
            Source::OnThread { batches, batch } => loop {
                if let Some(step) = batch.next() {
                    return step;
                }
                match batches.recv() {
                    Ok(next) => *batch = next.into_iter(),
                    Err(_) => return lost(),
                }
            },
            Source::Moving => lost(),
        }
    }
}

fn lost() -> Step {
    Step::Failed(CString::default(), io::Error::other("the thread that lists it died"))
}

fn on_thread(way: Way) -> Source {
    let (to, batches) = sync_channel(MAX_WAITING);
    std::thread::spawn(move || hand_over(way, &to));
    Source::OnThread { batches, batch: Vec::new().into_iter() }
}

/// Goes all the way; ends early if nobody wants to know any more.
fn hand_over(mut way: Way, to: &SyncSender<Vec<Step>>) {
    loop {
        let batch: Vec<Step> = way.by_ref().take(BATCH).collect();
        if batch.is_empty() || to.send(batch).is_err() {
            return;
        }
    }
}

/// The folders that are not ended, the innermost last.
struct Way {
    folders: Vec<Folder>,
}

struct Folder {
    folder: Arc<OwnedFd>,
    left: vec::IntoIter<(CString, FileType)>,
}

impl Folder {
    fn open(folder: Arc<OwnedFd>) -> Result<Folder, Errno> {
        let left = sorted_items(folder.as_fd())?.into_iter();
        Ok(Folder { folder, left })
    }
}

impl Iterator for Way {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            let folder = self.folders.last_mut()?;
            let Some((name, kind)) = folder.left.next() else {
                self.folders.pop();
                return Some(Step::End);
            };
            match look(&folder.folder, &name, kind) {
                // A folder of an overlay that a single layer has lists the whiteouts in it.
                Ok(None) => {}
                Ok(Some((stat, what))) => {
                    if let What::Folder(folder) = &what {
                        match Folder::open(Arc::clone(folder)) {
                            Ok(deeper) => self.folders.push(deeper),
                            Err(errno) => return Some(Step::Failed(name, errno.into())),
                        }
                    }
                    return Some(Step::Entry(Found { name, stat, what }));
                }
                Err(errno) => return Some(Step::Failed(name, errno.into())),
            }
        }
    }
}

/// Opens an entry of a folder whose list says that it is of that kind.
fn look(folder: &OwnedFd, name: &CStr, kind: FileType) -> Result<Option<(Stat, What)>, Errno> {
    // Asking the open file saves the kernel a search.
    let file = match kind {
        FileType::RegularFile => if_there(open_file(folder, name))?,
        _ => None,
    };
    let stat = match &file {
        Some(file) => Some(stat_fd(file)?),
        None => if_there(stat_at(folder, name))?,
    };
    let Some(stat) = stat else { return Ok(None) };
    let what = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => What::Folder(Arc::new(open_dir(folder.as_fd(), name)?)),
        FileType::RegularFile => {
            let file = file.map_or_else(|| open_file(folder, name), Ok)?;
            let capability = capability(file.as_fd())?;
            What::File { file: file.into(), capability }
        }
        FileType::Symlink => What::Link(read_link(folder, name)?),
        _ => What::Other,
    };
    Ok(Some((stat, what)))
}

/// What was found, if anything was there.
pub(super) fn if_there<T>(answer: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Every entry as `path` or, at the end of a folder, `path/.`.
    fn all(folder: &std::path::Path) -> Vec<String> {
        let top = File::open(folder).unwrap();
        let mut entries = Entries::below(top.as_fd()).unwrap();
        let (mut path, mut all) = (Vec::new(), Vec::new());
        loop {
            match entries.next() {
                Step::Entry(found) => {
                    let name = found.name.into_string().unwrap();
                    all.push([path.clone(), vec![name.clone()]].concat().join("/"));
                    if matches!(found.what, What::Folder(_)) {
                        path.push(name);
                    }
                }
                Step::End => {
                    all.push([path.clone(), vec![".".to_owned()]].concat().join("/"));
                    if path.pop().is_none() {
                        return all;
                    }
                }
                Step::Failed(name, error) => panic!("{name:?}: {error}"),
            }
        }
    }

    #[test]
    fn it_is_the_same_with_a_thread_and_without() {
        for n_files in [1, 3, MIN_FOR_THREAD, 3 * MIN_FOR_THREAD + 1] {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir_all(folder.path().join("b/c")).unwrap();
            let mut expected = Vec::new();
            let names: Vec<String> = (0..n_files).map(|n| format!("b/{n:05}")).collect();
            for name in &names {
                fs::write(folder.path().join(name), "").unwrap();
            }
            fs::write(folder.path().join("a"), "").unwrap();
            fs::write(folder.path().join("z"), "").unwrap();
            expected.extend(["a".to_owned(), "b".to_owned()]);
            expected.extend(names);
            expected.extend(["b/c", "b/c/.", "b/.", "z", "."].map(str::to_owned));
            assert_eq!(all(folder.path()), expected);
        }
    }

    #[test]
    fn the_thread_ends_when_nobody_listens() {
        let folder = tempfile::tempdir().unwrap();
        let top = Folder::open(Arc::new(File::open(folder.path()).unwrap().into())).unwrap();
        let (to, batches) = sync_channel(0);
        drop(batches);
        hand_over(Way { folders: vec![top] }, &to);
    }
}
