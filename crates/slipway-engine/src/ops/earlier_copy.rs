//! Where is the layer that the same `COPY` made the last time?
//!
//! A fact for each `COPY` of many files and folder of the host: the layer, and what it holds. See [`super::file`] for
//! what that is good for.

use slipway_graph::KeyWriter;
use slipway_graph::op::{CopyAction, FileAction, FileOp, FolderId, Op, Unpack};
use slipway_store::{DbError, LayerId, Snapshot, Store};

use super::Input;
use super::file::{EarlierLayer, FileList, Recopy, Sharing};
use super::files::FileError;
use super::shared_inodes;
use crate::context::SourcePattern;
use crate::contexts::Contexts;
use crate::rootfs::Root;

/// Facts by digest of the op and the folder: the layer, a newline, the list of files.
const KIND: &str = "copied before";

/// Fewer files are copied in the time that it takes to look for the layer and to remember it.
const MIN_FILES: usize = 500;

/// A `COPY` of many files, of which each comes from a place of its own and goes to one.
pub(super) struct EarlierCopy {
    key: String,
    /// The layer of the last time, if files may be linked from it.
    layer: Option<LayerId>,
}

/// Looks for the layer of the last time; `None` if `op` is not the kind of copy for which that pays.
pub(super) fn find(
    op: &FileOp,
    base: &Snapshot,
    inputs: &[Input],
    store: &Store,
    contexts: &Contexts,
) -> Result<Option<(EarlierCopy, Recopy)>, FileError> {
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
    let found = layer(&key, base, store)?;
    let (layer, earlier) = found.unzip();
    Ok(Some((EarlierCopy { key, layer }, Recopy::new(files, earlier))))
}

fn layer(key: &str, base: &Snapshot, store: &Store) -> Result<Option<(LayerId, EarlierLayer)>, FileError> {
    let Some(fact) = store.fact(KIND, key)? else { return Ok(None) };
    let Some(end) = fact.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    // One that is gone, or was never safe on disk, is unknown to the store.
    let Some(layer) = store.layer(&String::from_utf8_lossy(&fact[..end]))? else { return Ok(None) };
    let [sharing] = shared_inodes::sharing(store, base, std::slice::from_ref(&layer))?[..] else { return Ok(None) };
    // It may be taken away meanwhile: then there is nothing to link, and files are copied.
    let Ok(root) = Root::open(&store.layer_path(&layer)) else { return Ok(None) };
    let files = FileList::parse(&fact[end + 1..]);
    Ok((sharing != Sharing::Nothing).then_some((layer, EarlierLayer { root, sharing, files })))
}

/// The only action of `op`, if it copies from a folder of the host.
fn single_copy<'a>(op: &'a FileOp, inputs: &[Input]) -> Option<(&'a CopyAction, FolderId)> {
    let [FileAction::Copy(copy)] = op.actions.as_slice() else { return None };
    match inputs.get(copy.input) {
        Some(Input::Context(folder)) if copy.unpack == Unpack::Never => Some((copy, *folder)),
        _ => None,
    }
}

impl EarlierCopy {
    /// The layer that files were linked from, if they were.
    pub(super) fn layer(&self) -> Option<&LayerId> {
        self.layer.as_ref()
    }

    /// Remembers the top layer of `made`, which has these files, for the next time.
    pub(super) fn remember(&self, store: &Store, made: &Snapshot, files: &FileList) -> Result<(), DbError> {
        let Some(layer) = made.layers().last() else { return Ok(()) };
        let fact = [layer.as_str().as_bytes(), b"\n", files.to_bytes()].concat();
        store.set_fact(KIND, &self.key, &fact)
    }
}
