//! Where is the layer that the same `COPY` made the last time, and is it what this one would make?
//!
//! A fact for each `COPY` of many files and folder of the host: the layer, and what it holds. Files that have not changed
//! are linked from it (see [`super::file`]). If none has, and the files go to a place where nothing is, the layer itself
//! is put on the new base: it keeps its diff ID and its compressed blobs.

use slipway_graph::KeyWriter;
use slipway_graph::op::{CopyAction, FileAction, FileOp, FolderId, Op, Unpack};
use slipway_oci::Digest;
use slipway_store::{DbError, LayerId, Snapshot, Store};

use super::file::{Destination, EarlierLayer, FileList, Recopy, Sharing};
use super::files::FileError;
use super::{Input, shared_inodes};
use crate::context::SourcePattern;
use crate::contexts::Contexts;
use crate::rootfs::Root;

/// Facts by digest of the op and the folder: the layer, what [`EarlierCopy::identity`] was, a newline, the list of files.
const KIND: &str = "copied before";

/// Fewer files are copied in the time that it takes to look for the layer and to remember it.
const MIN_FILES: usize = 500;

/// A `COPY` of many files, of which each comes from a place of its own and goes to one.
pub(super) struct EarlierCopy<'a> {
    copy: &'a CopyAction,
    key: String,
    /// Stands for the contents of the files and for what is at their destination; without it no other copy is the same.
    identity: Option<String>,
    last: Option<LastTime>,
    recopy: Recopy,
}

/// What the fact says.
struct LastTime {
    layer: LayerId,
    identity: String,
    may_be_linked: bool,
}

impl<'a> EarlierCopy<'a> {
    /// Looks for the layer of the last time; `None` if `op` is not the kind of copy for which that pays.
    pub(super) fn find(
        op: &'a FileOp,
        base: &Snapshot,
        dest: &Destination<'_>,
        inputs: &[Input],
        store: &Store,
        contexts: &Contexts,
    ) -> Result<Option<Self>, FileError> {
        let Some((copy, folder)) = single_copy(op, inputs) else { return Ok(None) };
        let files = contexts.files(folder, &SourcePattern::from(copy))?;
        // With several tops one file may replace another.
        if files.tops.len() != 1 || files.n_entries() < MIN_FILES {
            return Ok(None);
        }
        let mut key = KeyWriter::new(KIND);
        key.bytes(contexts.path(folder).as_os_str().as_encoded_bytes());
        Op::File(op.clone()).write_key(&mut key);
        let key = key.finish().as_str().to_owned();
        let way = dest.digest_of_way(copy.dest.as_bytes())?;
        let identity = way.map(|way| format!("{}+{}", files.digest.hex(), way.hex()));
        let (last, earlier) = last_time(&key, base, store)?.unzip();
        Ok(Some(EarlierCopy { copy, key, identity, last, recopy: Recopy::new(files, earlier) }))
    }

    /// The layer of the last time, if it is what this copy would make on top of `base`.
    pub(super) fn whole_layer(
        &self,
        dest: &Destination<'_>,
        base: &Snapshot,
        store: &Store,
    ) -> Result<Option<&LayerId>, FileError> {
        let Some(last) = self.last.as_ref().filter(|last| Some(&last.identity) == self.identity.as_ref()) else {
            return Ok(None);
        };
        let is_same = self.recopy.is_all_there(self.copy, dest)?
            && !base.layers().contains(&last.layer)
            && !shared_inodes::may_meet(store, base, &last.layer)?;
        Ok(is_same.then_some(&last.layer))
    }

    pub(super) fn recopy(&self) -> &Recopy {
        &self.recopy
    }

    /// The digest of what was copied, if it is known for sure.
    pub(super) fn digest(&self) -> Option<Digest> {
        self.recopy.digest().cloned()
    }

    /// The layer that files may have been linked from.
    pub(super) fn layer(&self) -> Option<&LayerId> {
        self.last.as_ref().filter(|last| last.may_be_linked).map(|last| &last.layer)
    }

    /// Remembers the top layer of `made`, which this copy is, for the next time.
    pub(super) fn remember(self, store: &Store, made: &Snapshot) -> Result<(), DbError> {
        let Some(layer) = made.layers().last() else { return Ok(()) };
        let mut fact = format!("{layer} {}\n", self.identity.as_deref().unwrap_or_default()).into_bytes();
        fact.extend_from_slice(self.recopy.into_list().to_bytes());
        store.set_fact(KIND, &self.key, &fact)
    }
}

fn last_time(key: &str, base: &Snapshot, store: &Store) -> Result<Option<(LastTime, EarlierLayer)>, FileError> {
    let Some(fact) = store.fact(KIND, key)? else { return Ok(None) };
    let Some(end) = fact.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let line = String::from_utf8_lossy(&fact[..end]);
    let Some((name, identity)) = line.split_once(' ') else { return Ok(None) };
    // One that is gone, or was never safe on disk, is unknown to the store.
    let Some(layer) = store.layer(name)? else { return Ok(None) };
    let [sharing] = shared_inodes::sharing(store, base, std::slice::from_ref(&layer))?[..] else { return Ok(None) };
    // It may be damaged: then there is nothing to link, and files are copied.
    let Ok(root) = Root::open(&store.layer_path(&layer)) else { return Ok(None) };
    let files = FileList::parse(&fact[end + 1..]);
    let last = LastTime { layer, identity: identity.to_owned(), may_be_linked: sharing != Sharing::Nothing };
    Ok(Some((last, EarlierLayer { root, sharing, files })))
}

/// The only action of `op`, if it copies from a folder of the host.
fn single_copy<'a>(op: &'a FileOp, inputs: &[Input]) -> Option<(&'a CopyAction, FolderId)> {
    let [FileAction::Copy(copy)] = op.actions.as_slice() else { return None };
    match inputs.get(copy.input) {
        Some(Input::Context(folder)) if copy.unpack == Unpack::Never => Some((copy, *folder)),
        _ => None,
    }
}
