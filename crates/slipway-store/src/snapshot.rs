//! What is a file system state, and how does a new one come to be?
//!
//! A *layer* is a folder with what one step changed. A *snapshot* is a stack of layers; stacks share them freely. An
//! *active snapshot* is a layer in the making on top of a stack:
//!
//! ```text
//! begin(parent) ─▶ ActiveSnapshot ─ write to upper(), or mount() and run ─▶ commit()        ─▶ Snapshot
//!                       │                                                 └▶ commit_layer() ─▶ LayerId ─ stack() ─▶ Snapshot
//!                       └ dropped: nothing is left of it
//! ```

use std::collections::HashSet;
use std::fmt;
use std::fs::DirBuilder;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};
use rustix::fs::{Mode, OFlags};
use slipway_oci::DiffId;

use crate::database::Writing;
use crate::overlay::{self, MAX_LOWERS, Writable};
use crate::session::{Session, Temporary};
use crate::{DbError, FsError, MountError, OverlayFlavor, Store};

/// Names a layer: the name of its folder. Random, so it says nothing about the content.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayerId(pub(crate) String);

impl LayerId {
    /// The name of the layer's folder.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names a snapshot within one store. Never given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SnapshotId(pub(crate) i64);

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A committed file system state: a stack of layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    id: SnapshotId,
    layers: Vec<LayerId>,
    created_ns: i64,
}

impl Snapshot {
    /// The state without any file, `FROM scratch`. Every store has it.
    pub fn scratch() -> Snapshot {
        Snapshot { id: SnapshotId(0), layers: Vec::new(), created_ns: 0 }
    }

    pub fn id(&self) -> SnapshotId {
        self.id
    }

    /// The layers, bottom first.
    pub fn layers(&self) -> &[LayerId] {
        &self.layers
    }

    /// When it was committed, in nanoseconds since 1970.
    pub fn created_ns(&self) -> i64 {
        self.created_ns
    }

    /// Reads the columns `seq, layers, created_ns`, which start at `first`.
    pub(crate) fn from_row(row: &Row<'_>, first: usize) -> rusqlite::Result<Snapshot> {
        let layers = row.get_ref(first + 1)?.as_str()?;
        Ok(Snapshot {
            id: SnapshotId(row.get(first)?),
            layers: layers.split_ascii_whitespace().map(|id| LayerId(id.to_owned())).collect(),
            created_ns: row.get(first + 2)?,
        })
    }
}

/// Why a snapshot cannot be made or seen.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("cannot reach the snapshot's files")]
    Fs(#[from] FsError),
    #[error("the snapshot's files belong to a user namespace that was not entered")]
    Outside,
    #[error("cannot look up the snapshot")]
    Db(#[from] DbError),
    #[error("cannot present the snapshot as a file system")]
    Mount(#[from] MountError),
    #[error("the snapshot has {n_layers} layers; the kernel stacks at most {max}", max = MAX_LOWERS)]
    TooManyLayers { n_layers: usize },
}

/// A layer in the making. Dropped without a commit: removed.
pub struct ActiveSnapshot {
    store: Store,
    session: Arc<Session>,
    id: LayerId,
    /// The layers below, bottom first.
    below: Vec<LayerId>,
    upper: Temporary,
}

impl Store {
    /// Starts a layer on top of `parent`.
    ///
    /// Its root folder has the mode 0755 and the parent's owner; without a parent, 0:0.
    pub fn begin(&self, parent: Option<&Snapshot>) -> Result<ActiveSnapshot, SnapshotError> {
        self.refuse_outside()?;
        let below = parent.map(|parent| parent.layers.clone()).unwrap_or_default();
        distinct_from_top(&below)?;
        let session = self.session()?;
        let id = session.unique_name();
        // Before it can be found, so that nobody takes it away once it is there.
        self.use_name(&id)?;
        let upper = session.temporary(&format!("{id}.upper"));
        make_root_folder(upper.path(), below.last().map(|top| self.layer_path(top)))?;
        Ok(ActiveSnapshot { store: self.clone(), session, id: LayerId(id), below, upper })
    }

    /// The snapshot with this id, if it is still there.
    pub fn snapshot(&self, id: SnapshotId) -> Result<Option<Snapshot>, DbError> {
        self.database().run(|c| {
            c.prepare_cached("SELECT seq, layers, created_ns FROM snapshots WHERE seq = ?1")?
                .query_row([id.0], |row| Snapshot::from_row(row, 0))
                .optional()
        })
    }

    /// The snapshot that has the committed `layer` on top of `below`.
    ///
    /// If that stack is known already, it is the snapshot from then, with its time.
    pub fn stack(&self, below: Option<&Snapshot>, layer: &LayerId, created_ns: i64) -> Result<Snapshot, SnapshotError> {
        let below = below.map(Snapshot::layers).unwrap_or_default();
        self.database().write(|tx| Ok(insert_snapshot(tx, below, layer, created_ns, self.database().boot())?))
    }

    /// The root of `snapshot` for reading: a descriptor of a file system that is mounted nowhere and cannot be written.
    pub fn view(&self, snapshot: &Snapshot) -> Result<OwnedFd, SnapshotError> {
        self.view_layers(&snapshot.layers)
    }

    /// As [`Store::view`], for any stack of committed layers, bottom first.
    pub fn view_layers(&self, layers: &[LayerId]) -> Result<OwnedFd, SnapshotError> {
        self.refuse_outside()?;
        let mut lowers = self.open_layers(layers)?;
        if lowers.is_empty() {
            return Ok(self.open_empty()?);
        }
        if lowers.len() == 1 {
            // Overlay takes no single folder. The folder itself would not do: it may hold whiteouts, if it was the
            // upper layer of another stack first.
            lowers.push(self.open_empty()?);
        }
        Ok(overlay::mount(self.0.flavor, &lowers, None)?)
    }

    /// Seen from outside of their namespace, files have other owners: nothing may be read or made there.
    fn refuse_outside(&self) -> Result<(), SnapshotError> {
        match self.0.flavor {
            OverlayFlavor::Outside => Err(SnapshotError::Outside),
            OverlayFlavor::Root | OverlayFlavor::UserNamespace => Ok(()),
        }
    }

    /// The folder of a committed layer, in overlay form. Not to be written to.
    pub fn layer_path(&self, layer: &LayerId) -> PathBuf {
        self.root().join("layers").join(&layer.0)
    }

    /// Descriptors of `layers` as overlay takes them, top first.
    fn open_layers(&self, layers: &[LayerId]) -> Result<Vec<OwnedFd>, SnapshotError> {
        let layers = distinct_from_top(layers)?;
        Ok(layers.into_iter().map(|layer| open_folder(&self.layer_path(layer))).collect::<Result<_, _>>()?)
    }

    fn open_empty(&self) -> Result<OwnedFd, FsError> {
        open_folder(&self.root().join("empty"))
    }
}

impl ActiveSnapshot {
    /// The folder of the layer itself, in overlay form. Writing here needs no mount; changes made here while
    /// [`ActiveSnapshot::mount`]'s result lives need not be seen there.
    pub fn upper(&self) -> &Path {
        self.upper.path()
    }

    /// The whole file system, parent and changes, writable: a descriptor of a mount that is attached nowhere.
    ///
    /// One at a time. Everything in it has to be closed before a commit.
    pub fn mount(&self) -> Result<MountedSnapshot, SnapshotError> {
        let mut lowers = self.store.open_layers(&self.below)?;
        if lowers.is_empty() {
            lowers.push(self.store.open_empty()?);
        }
        // A new one for each mount: after a `volatile` mount the kernel refuses a work folder for good.
        let work = self.session.temporary(&format!("{}.work", self.session.unique_name()));
        DirBuilder::new().mode(0o700).create(work.path()).map_err(FsError::on("mkdir", work.path()))?;
        let (upper, work_fd) = (open_folder(self.upper.path())?, open_folder(work.path())?);
        let writable = Writable { upper: upper.as_fd(), work: work_fd.as_fd() };
        let root = overlay::mount(self.store.0.flavor, &lowers, Some(writable))?;
        Ok(MountedSnapshot { root, _work: work })
    }

    /// Freezes the layer; the snapshot is the parent's stack with it on top.
    pub fn commit(self, created_ns: i64) -> Result<Snapshot, SnapshotError> {
        let database = self.store.database();
        database.write(|tx| {
            self.insert_layer(tx, None, created_ns)?;
            Ok(insert_snapshot(tx, &self.below, &self.id, created_ns, database.boot())?)
        })
    }

    /// Freezes the layer on its own, to be put on stacks by [`Store::stack`].
    pub fn commit_layer(self, created_ns: i64) -> Result<LayerId, SnapshotError> {
        self.store.database().write(|tx| self.insert_layer(tx, None, created_ns))?;
        Ok(self.id)
    }

    /// Freezes a layer that was unpacked from a tar with `diff_id`, `tar_size_bytes` long.
    ///
    /// If a layer of that diff ID is there already, it is that one and ours is dropped: two builds may unpack the same
    /// layer, and both are right.
    pub fn commit_unpacked(
        self,
        diff_id: &DiffId,
        tar_size_bytes: u64,
        created_ns: i64,
    ) -> Result<LayerId, SnapshotError> {
        let commit = || {
            self.store.database().write(|tx| {
                if let Some(layer) = tx.run(|c| crate::layer::find(c, diff_id))? {
                    return Ok(layer);
                }
                self.insert_layer(tx, Some((diff_id, tar_size_bytes)), created_ns)?;
                Ok::<_, SnapshotError>(self.id.clone())
            })
        };
        self.store.find_to_use(commit, |layer| vec![layer.as_str().to_owned()])
    }

    fn insert_layer(
        &self,
        tx: &Writing<'_>,
        tar: Option<(&DiffId, u64)>,
        created_ns: i64,
    ) -> Result<(), SnapshotError> {
        let path = self.store.layer_path(&self.id);
        std::fs::rename(self.upper.path(), &path).map_err(FsError::on("rename", &path))?;
        tx.run(|c| {
            c.prepare_cached(
                "INSERT INTO layers (id, diff_id, tar_size_bytes, created_ns, boot, is_unpacked)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                self.id.0,
                tar.map(|(diff_id, _)| diff_id.0.as_str()),
                tar.map(|(_, size_bytes)| size_bytes as i64),
                created_ns,
                self.store.database().boot(),
                tar.is_some(),
            ])
        })?;
        Ok(())
    }
}

/// The writable file system of an [`ActiveSnapshot`].
///
/// Overlay's work folder is removed when the value is dropped; the mount itself lives as long as any descriptor into it.
pub struct MountedSnapshot {
    root: OwnedFd,
    _work: Temporary,
}

impl AsFd for MountedSnapshot {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// The layers of a stack, top first, each once: overlay takes no folder twice.
///
/// Images do repeat layers, most of all the empty one. Everything in a layer is covered by the same layer further up,
/// its whiteouts included, so the topmost place is the only one that counts.
fn distinct_from_top(layers: &[LayerId]) -> Result<Vec<&LayerId>, SnapshotError> {
    let mut seen = HashSet::new();
    let distinct: Vec<&LayerId> = layers.iter().rev().filter(|layer| seen.insert(*layer)).collect();
    match distinct.len() {
        n_layers if n_layers > MAX_LOWERS => Err(SnapshotError::TooManyLayers { n_layers }),
        _ => Ok(distinct),
    }
}

fn insert_snapshot(
    tx: &Writing<'_>,
    below: &[LayerId],
    top: &LayerId,
    created_ns: i64,
    boot: i64,
) -> Result<Snapshot, DbError> {
    let layers: Vec<&str> = below.iter().chain([top]).map(LayerId::as_str).collect();
    let layers = layers.join(" ");
    tx.run(|c| {
        if let Some(known) = find_stack(c, &layers)? {
            return Ok(known);
        }
        c.prepare_cached("INSERT INTO snapshots (layers, top, created_ns, boot) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![layers, top.0, created_ns, boot])?;
        let layers = below.iter().chain([top]).cloned().collect();
        Ok(Snapshot { id: SnapshotId(c.last_insert_rowid()), layers, created_ns })
    })
}

fn find_stack(connection: &Connection, layers: &str) -> rusqlite::Result<Option<Snapshot>> {
    connection
        .prepare_cached("SELECT seq, layers, created_ns FROM snapshots WHERE layers = ?1")?
        .query_row([layers], |row| Snapshot::from_row(row, 0))
        .optional()
}

/// Makes the root folder of a layer, owned like the root folder `model` if there is one.
///
/// Its mode is always the same: layers do not tell that of the root, so a step that changes it does so for itself alone,
/// whether the next one stands on its snapshot or on an image made from it.
fn make_root_folder(path: &Path, model: Option<PathBuf>) -> Result<(), FsError> {
    let (uid, gid) = match &model {
        Some(model) => {
            let metadata = std::fs::symlink_metadata(model).map_err(FsError::on("lstat", model))?;
            (metadata.uid(), metadata.gid())
        }
        None => (0, 0),
    };
    DirBuilder::new().mode(0o700).create(path).map_err(FsError::on("mkdir", path))?;
    std::os::unix::fs::lchown(path, Some(uid), Some(gid)).map_err(FsError::on("lchown", path))?;
    // Explicit, because the mode of `mkdir` is cut by the umask.
    let permissions = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(path, permissions).map_err(FsError::on("chmod", path))
}

fn open_folder(path: &Path) -> Result<OwnedFd, FsError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(FsError::on("open", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{digest, empty_store};

    #[test]
    fn one_layer_may_be_in_several_stacks() {
        let (_folder, store) = empty_store();
        let [a, b] = [1, 2].map(|time| store.begin(None).unwrap().commit(time).unwrap());
        let layer = store.begin(None).unwrap().commit_layer(3).unwrap();
        let on_a = store.stack(Some(&a), &layer, 4).unwrap();
        let on_b = store.stack(Some(&b), &layer, 5).unwrap();
        assert_eq!(on_a.layers(), [a.layers()[0].clone(), layer.clone()]);
        assert_eq!(on_b.layers(), [b.layers()[0].clone(), layer.clone()]);
        assert_eq!(store.stack(Some(&a), &layer, 6).unwrap(), on_a);
        assert_eq!(store.snapshot(on_b.id()).unwrap(), Some(on_b));
        assert_eq!(store.stack(Some(&Snapshot::scratch()), &layer, 7).unwrap().layers(), [layer]);
        assert_eq!(store.fsck().unwrap(), []);
    }

    #[test]
    fn scratch_is_in_every_store() {
        let (_folder, store) = empty_store();
        let scratch = Snapshot::scratch();
        assert_eq!(store.snapshot(scratch.id()).unwrap(), Some(scratch));
    }

    #[test]
    fn a_dropped_layer_leaves_nothing() {
        let (_folder, store) = empty_store();
        let active = store.begin(None).unwrap();
        let upper = active.upper().to_owned();
        std::fs::create_dir_all(upper.join("a/b")).unwrap();
        drop(active);
        assert!(!upper.exists());
        assert_eq!(store.sweep().unwrap(), crate::Swept::default());
    }

    #[test]
    fn a_root_folder_has_the_owner_of_that_below_and_a_mode_of_its_own() {
        let (_folder, store) = empty_store();
        let fresh = store.begin(None).unwrap();
        let attributes = |path: &Path| {
            let metadata = std::fs::metadata(path).unwrap();
            (metadata.mode() & 0o7777, metadata.uid(), metadata.gid())
        };
        assert_eq!(attributes(fresh.upper()), (0o755, 0, 0));
        std::os::unix::fs::chown(fresh.upper(), Some(7), Some(8)).unwrap();
        std::fs::set_permissions(fresh.upper(), std::fs::Permissions::from_mode(0o1770)).unwrap();
        let parent = fresh.commit(1).unwrap();
        let child = store.begin(Some(&parent)).unwrap();
        assert_eq!(attributes(child.upper()), (0o755, 7, 8));
    }

    #[test]
    fn stores_on_one_folder_work_side_by_side() {
        let (_folder, store) = empty_store();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let store = Store::open(store.root(), crate::OverlayFlavor::Root).unwrap();
                scope.spawn(move || (0..40).for_each(|step| race_for_step(&store, step)));
            }
        });
        for step in 0..40 {
            let record = store.lookup(&digest(&step.to_string())).unwrap().unwrap();
            let file = store.layer_path(&record.snapshot.layers()[0]).join("step");
            assert_eq!(std::fs::read_to_string(file).unwrap(), step.to_string());
        }
        assert_eq!(std::fs::read_dir(store.root().join("layers")).unwrap().count(), 40, "a step was done twice");
        assert_eq!(store.fsck().unwrap(), []);
    }

    /// What a build does for a step that other builds need as well.
    fn race_for_step(store: &Store, step: u32) {
        let key = digest(&step.to_string());
        let _lock = store.lock_key(&key, || true).unwrap().unwrap();
        if store.lookup(&key).unwrap().is_some() {
            return;
        }
        let active = store.begin(None).unwrap();
        std::fs::write(active.upper().join("step"), step.to_string()).unwrap();
        let snapshot = active.commit(1).unwrap();
        store.record(&[key], snapshot.id(), None).unwrap();
    }
}
