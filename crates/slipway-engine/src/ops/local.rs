//! A folder of the host that is used as a file system: the base of a stage, or a bind mount of the context.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::Mode;
use slipway_graph::KeyWriter;
use slipway_graph::op::{CopyAction, FileAction, FileOp, FolderId, Unpack};
use slipway_sandbox::owners::{self, Owner};
use slipway_store::{Snapshot, Store};

use super::file::{self, Destination, Source};
use super::files::FileError;
use crate::context::{SourcePattern, SourceTree};
use crate::contexts::Contexts;
use crate::now_ns;
use crate::rootfs::{Root, stat_fd};

/// The files of the folder `id`, ignore rules applied, as a snapshot. The same files give the same one,
/// unless they change while they are copied.
pub(crate) fn snapshot(id: FolderId, store: &Store, contexts: &Contexts) -> Result<Snapshot, FileError> {
    let everything = SourcePattern::literal("/");
    let digest = contexts.look_again(id, &everything)?;
    let mut key = KeyWriter::new("folder of the host");
    key.text(digest.as_str());
    let key = key.finish();
    if let Some(record) = store.lookup(&key)? {
        return Ok(record.snapshot);
    }
    let active = store.begin(None)?;
    let upper = Root::open(active.upper()).map_err(FileError::Upper)?;
    let source = Source { tree: SourceTree::Context(contexts.get(id)?), layers: &[], recopy: None };
    file::run(&whole("/"), &Destination::new(None, &upper), &[source], &super::files::NoArchives)?;
    let snapshot = active.commit(now_ns())?;
    // Of files that changed meanwhile nobody knows which they are.
    if contexts.look_again(id, &everything).is_ok_and(|now| now == digest) {
        store.record(&[key], snapshot.id(), None)?;
    }
    Ok(snapshot)
}

/// Makes an existing folder of the host equal to the folder at `source` of a merged view, for the first files of a
/// cache mount.
pub(crate) fn copy_folder(view: BorrowedFd<'_>, source: &str, folder: &Path) -> io::Result<()> {
    let view = Root::new(crate::layer::diff::open_dir(view, c".")?);
    let copied = stat_fd(view.open_in(source.as_bytes())?)?;
    if !copied.is_dir() {
        return Err(io::Error::other(format!("`{source}` is no folder")));
    }
    let target = Root::open(folder)?;
    owners::give(target.as_fd(), Owner { uid: copied.uid, gid: copied.gid })?;
    rustix::fs::fchmod(target.as_fd(), Mode::from_raw_mode(copied.mode & 0o7777))?;
    let source_tree = Source { tree: SourceTree::Snapshot(&view), layers: &[], recopy: None };
    file::run(&whole(source), &Destination::new(None, &target), &[source_tree], &super::files::NoArchives)
        .map_err(io::Error::other)?;
    Ok(())
}

fn whole(source: &str) -> FileOp {
    FileOp {
        actions: vec![FileAction::Copy(CopyAction {
            input: 1,
            source: source.to_owned(),
            dest: "/".to_owned(),
            has_wildcard: false,
            unpack: Unpack::Never,
            owner: None,
            mode: None,
            excludes: Vec::new(),
            parents_root: None,
        })],
    }
}
