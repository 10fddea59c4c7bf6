//! `COPY`, `ADD`, heredoc files and `WORKDIR`: gives [`super::file`] the layer to write and the trees to read.

use std::error::Error;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use slipway_graph::op::FileOp;
use slipway_oci::Digest;
use slipway_store::{ActiveSnapshot, DbError, LayerId, Snapshot, SnapshotError, Store};

use super::begin::begin;
use super::earlier_copy::EarlierCopy;
use super::file::{self, Destination, FileOpError, Linked, Recopy, Sharing, Source, Unpacker};
use super::{Input, local, shared_inodes};
use crate::context::SourceTree;
use crate::contexts::{Contexts, ContextsError};
use crate::layer::diff::open_dir;
use crate::layer::untar::{self, Meaning};
use crate::now_ns;
use crate::rootfs::{Root, TreePath};

/// Why files could not be changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error(transparent)]
    Op(#[from] FileOpError),
    #[error(transparent)]
    Context(#[from] ContextsError),
    #[error(transparent)]
    Digest(#[from] crate::context::DigestError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("cannot open the new layer")]
    Upper(#[source] io::Error),
    #[error("cannot open a layer")]
    Layer(#[source] io::Error),
    #[error("cannot use the cache")]
    Cache(#[from] DbError),
}

/// What carries ops out needs to know of the build.
pub(super) struct Setting<'a> {
    pub(super) store: &'a Store,
    pub(super) contexts: &'a Contexts,
    /// Nothing of earlier builds is made use of.
    pub(super) ignores_cache: bool,
}

/// What came of an op.
pub(super) struct Made {
    pub(super) snapshot: Snapshot,
    /// The digest of the only thing that was read of folders of the host. `None` if there are more or it is not known for
    /// sure, because files may have changed meanwhile.
    pub(super) read: Option<Digest>,
}

/// Carries out `op` on top of `base` and commits the layer.
pub(super) fn run(op: &FileOp, base: &Snapshot, inputs: &[Input], setting: &Setting<'_>) -> Result<Made, FileError> {
    let Setting { store, contexts, ignores_cache } = *setting;
    let active = begin(store, base)?;
    let (linked, earlier) = {
        let upper = Root::open(active.upper()).map_err(FileError::Upper)?;
        let base_view = match base.layers().is_empty() {
            true => None,
            false => Some(readable(store.view(base)?)?),
        };
        let dest = Destination::new(base_view.as_ref(), &upper);
        let earlier = match ignores_cache {
            true => None,
            false => EarlierCopy::find(op, base, &dest, inputs, store, contexts)?,
        };
        if let Some(earlier) = &earlier
            && let Some(layer) = earlier.whole_layer(&dest, base, store)?
        {
            return Ok(Made { snapshot: store.stack(Some(base), layer, now_ns())?, read: earlier.digest() });
        }
        let trees = inputs.iter().skip(1).map(|input| Tree::open(input, base, store, contexts));
        let trees = trees.collect::<Result<Vec<Tree<'_>>, FileError>>()?;
        let recopy = earlier.as_ref().map(EarlierCopy::recopy);
        let sources: Vec<Source<'_>> = trees.iter().map(|tree| tree.source(recopy)).collect();
        let unpacker = MountedUnpacker { active: &active, one_at_a_time: Mutex::new(()) };
        (file::run(op, &dest, &sources, &unpacker)?, earlier)
    };
    let made = active.commit(now_ns())?;
    if linked != Linked::No {
        let snapshots = inputs.iter().skip(1).filter_map(Input::snapshot);
        let layers = snapshots.flat_map(Snapshot::layers).chain(earlier.iter().filter_map(EarlierCopy::layer));
        let layers: Vec<LayerId> = layers.cloned().collect();
        shared_inodes::remember(store, &made, &layers, linked == Linked::SecondHand)?;
    }
    let read = earlier.as_ref().and_then(EarlierCopy::digest);
    if let Some(earlier) = earlier {
        earlier.remember(store, &made)?;
    }
    Ok(Made { snapshot: made, read })
}

/// Puts `layer`, which was made on nothing, on top of `base`: as it is, or as a copy if the two may share inodes.
pub(crate) fn stack(base: &Snapshot, layer: &LayerId, store: &Store) -> Result<Snapshot, FileError> {
    if !shared_inodes::may_meet(store, base, layer)? {
        return Ok(store.stack(Some(base), layer, now_ns())?);
    }
    let copy = store.begin(None)?;
    local::copy_folder(Root::open(&store.layer_path(layer)).map_err(FileError::Layer)?.as_fd(), "/", copy.upper())
        .map_err(FileError::Upper)?;
    Ok(store.stack(Some(base), &copy.commit_layer(now_ns())?, now_ns())?)
}

/// An input that is copied from, opened.
enum Tree<'a> {
    Context(&'a crate::context::BuildContext),
    Snapshot { view: Root, layers: Vec<(Root, Sharing)> },
}

impl<'a> Tree<'a> {
    fn open(input: &Input, base: &Snapshot, store: &Store, contexts: &'a Contexts) -> Result<Tree<'a>, FileError> {
        match input {
            Input::Context(folder) => Ok(Tree::Context(contexts.get(*folder)?)),
            Input::Snapshot(snapshot) => {
                let view = readable(store.view(snapshot)?)?;
                let layers = snapshot.layers().iter().rev();
                let layers = layers.map(|layer| Root::open(&store.layer_path(layer)).map_err(FileError::Layer));
                let layers = layers.collect::<Result<Vec<_>, _>>()?;
                let sharing = shared_inodes::sharing(store, base, snapshot.layers())?.into_iter().rev();
                Ok(Tree::Snapshot { view, layers: layers.into_iter().zip(sharing).collect() })
            }
        }
    }

    fn source<'s>(&'s self, recopy: Option<&'s Recopy>) -> Source<'s> {
        match self {
            Tree::Context(context) => Source { tree: SourceTree::Context(context), layers: &[], recopy },
            Tree::Snapshot { view, layers } => Source { tree: SourceTree::Snapshot(view), layers, recopy: None },
        }
    }
}

/// Views are descriptors for paths only; listing needs one that is open for reading.
pub(super) fn readable(view: OwnedFd) -> Result<Root, FileError> {
    open_dir(view.as_fd(), c".").map(Root::new).map_err(|errno| FileError::Layer(errno.into()))
}

/// Unpacks archives through a mount of the whole file system, so that folders of the layers below are changed the way
/// the kernel does it. Mounted anew for each archive: what was written to the layer meanwhile need not show in an older
/// mount.
struct MountedUnpacker<'a> {
    active: &'a ActiveSnapshot,
    one_at_a_time: Mutex<()>,
}

impl Unpacker for MountedUnpacker<'_> {
    fn unpack(
        &self,
        archive: &mut dyn Read,
        _dest: &Destination<'_>,
        folder: &TreePath,
        owner: Option<(u32, u32)>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        // Archives of one instruction may overwrite each other's files, and a layer is mounted once at a time.
        let _turn = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        let mounted = self.active.mount()?;
        let root = Root::new(open_dir(mounted.as_fd(), c".")?);
        // The folder is the archive's root: its own links lead nowhere else.
        let folder = root.open_dir(folder)?;
        untar::unpack(archive, folder.as_fd(), Meaning::Archive { owner })?;
        Ok(())
    }
}

/// For copies in which nothing is ever unpacked.
pub(super) struct NoArchives;

impl Unpacker for NoArchives {
    fn unpack(
        &self,
        _archive: &mut dyn Read,
        _dest: &Destination<'_>,
        folder: &TreePath,
        _owner: Option<(u32, u32)>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        Err(format!("`{folder}` is not a place for archives").into())
    }
}
