//! How are `COPY`, `ADD` of local files, heredoc files and `WORKDIR` carried out? (`spec/dockerfile.md` section 3.4)
//!
//! Nothing is mounted for writing. A [`Destination`] shows the new layer's directory laid over the layers below it,
//! and every change goes into that directory, which so becomes what an overlay mount would have made of it.
//!
//! ```text
//! run      one action after the other
//! copy     where a source goes; its files by several threads
//! content  the bytes of one file: linked, shared or copied
//! again    files that the layer of an earlier run has
//! archive  is this file unpacked instead?
//! make     new files and folders
//! ```

mod again;
mod archive;
mod chmod;
mod content;
mod copy;
mod destination;
mod entry;
mod error;
mod make;
#[cfg(test)]
mod tests;

use slipway_graph::op::{FileAction, FileOp};

pub(crate) use again::{EarlierLayer, FileList, Recopy};
pub(crate) use archive::{ArchiveError, Unpacker};
pub(crate) use chmod::{ModeChange, ModeError};
pub(crate) use destination::{Destination, NewDirs};
pub(crate) use error::FileOpError;

use crate::context::SourceTree;
use crate::rootfs::Root;
use content::LinkedInodes;
pub(crate) use content::Sharing;

/// An input that is copied from.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub tree: SourceTree<'a>,
    /// The directories of a snapshot's layers, top first, if they are on the file system of the new layer: then its
    /// files need not be copied but can be linked, as far as that is said. Empty if not, and for build contexts.
    pub layers: &'a [(Root, Sharing)],
    /// If there is only one action and it copies many files: which, and what is known of the last time.
    pub recopy: Option<&'a Recopy>,
}

/// Whether files were linked rather than copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Linked {
    /// None was.
    No,
    /// Some, and each had one name before.
    FirstHand,
    /// Some of those had several names.
    SecondHand,
}

/// Carries out the actions of `op`, in order. `sources` are the inputs of the vertex after the first one: an action's
/// `input` 1 is `sources[0]`. After an error the new layer's directory is of no use. Says whether files were linked.
pub(crate) fn run(
    op: &FileOp,
    dest: &Destination<'_>,
    sources: &[Source<'_>],
    unpacker: &dyn Unpacker,
) -> Result<Linked, FileOpError> {
    dest.adopt_top()?;
    // For all actions: two links to one inode in a layer would make them hard links in the image.
    let linked = LinkedInodes::default();
    for action in &op.actions {
        match action {
            FileAction::Copy(action) => {
                let index = action.input.checked_sub(1);
                let source = index
                    .and_then(|index| sources.get(index))
                    .ok_or(FileOpError::NoInput { input: action.input, n_inputs: sources.len() + 1 })?;
                copy::copy(action, dest, source, &linked, unpacker)?;
            }
            FileAction::Mkfile(action) => make::make_file(action, dest)?,
            FileAction::Mkdir(action) => make::make_dir(action, dest)?,
        }
    }
    Ok(linked.outcome())
}
