//! What may be taken away, in which order, and how is it done so that a crash in the middle does no harm?
//!
//! Rows go first, in one transaction, and are on the disk before any file goes; files without rows are what
//! [`Store::sweep`] removes, by renaming them away first. So a crash leaves garbage, never a row without its file.
//!
//! Nothing goes that a living process uses ([`crate::uses`]), nor a layer that one lies on which stays.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::path::Path;

use rusqlite::params;
use slipway_oci::Digest;

use crate::remove::{remove, remove_all};
use crate::session::Temporary;
use crate::{
    BuildRecordError, DbError, FACTS_OF_LAYERS, FsError, ImageError, Store, SweepError, Usage, UsageError, UsageKind,
    lock,
};

/// How much is to go; without any bound, all that may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// So much stays in any case.
    pub reserved_bytes: Option<u64>,
    /// No more than this stays, if it may go.
    pub max_used_bytes: Option<u64>,
    /// So much is to be free on the disk.
    pub min_free_bytes: Option<u64>,
}

/// Why not everything could be taken away.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    #[error(transparent)]
    Usage(#[from] UsageError),
    #[error("cannot take things out of the store")]
    Fs(#[from] FsError),
    #[error("cannot take things out of the store")]
    Db(#[from] DbError),
    #[error(transparent)]
    Sweep(#[from] SweepError),
    #[error(transparent)]
    Images(#[from] ImageError),
}

/// What a prune is about.
#[derive(Clone, Copy)]
struct Choice {
    keeps_images: bool,
    bounds: Bounds,
    /// What the store takes beside the things that may go.
    other_bytes: u64,
}

impl Bounds {
    /// How many bytes have to go, of `total_bytes`.
    fn excess_bytes(&self, total_bytes: u64, free_bytes: u64) -> u64 {
        if *self == Bounds::default() {
            return u64::MAX;
        }
        let above_max = self.max_used_bytes.map_or(0, |max| total_bytes.saturating_sub(max));
        let not_free = self.min_free_bytes.map_or(0, |min| min.saturating_sub(free_bytes));
        let above_reserved = total_bytes.saturating_sub(self.reserved_bytes.unwrap_or(0));
        match (self.max_used_bytes, self.min_free_bytes) {
            (None, None) => above_reserved,
            _ => above_max.max(not_free).min(above_reserved),
        }
    }
}

impl Store {
    /// Takes away what `is_wanted` picks and nobody needs, least recently used first, until `bounds` are kept; what went.
    ///
    /// With `keeps_images` nothing of the images that have names here goes; without, their layers may, as long as
    /// there are blobs to unpack them from again. Other processes may be building meanwhile.
    ///
    /// Needs the root of the user namespace in which the files were made.
    pub fn prune(
        &self,
        keeps_images: bool,
        bounds: Bounds,
        is_wanted: impl Fn(&Usage) -> bool,
    ) -> Result<Vec<Usage>, PruneError> {
        let choice = Choice { keeps_images, bounds, other_bytes: 0 };
        Ok(self.take_away(choice, is_wanted, || true)?.unwrap_or_default())
    }

    /// Takes away what is used least recently until the whole store, the database and the records of builds included,
    /// keeps `bounds`. What living processes use and images that have names stay, however much that is.
    ///
    /// Gives up, for a later call to succeed, as soon as `keep_waiting` answers `false` while others look for things.
    ///
    /// Needs the root of the user namespace in which the files were made.
    pub fn keep_within(&self, bounds: Bounds, keep_waiting: impl FnMut() -> bool) -> Result<Vec<Usage>, PruneError> {
        let metadata_bytes = self.metadata_bytes()?;
        // Facts are a part of the database.
        let things = self.usage()?.into_iter().filter(|usage| usage.kind != UsageKind::Facts);
        let total_bytes = metadata_bytes + things.map(|usage| usage.size_bytes).sum::<u64>();
        let excess_bytes = bounds.excess_bytes(total_bytes, free_bytes(self.root())?);
        if excess_bytes == 0 {
            return Ok(Vec::new());
        }
        let choice = Choice { keeps_images: true, bounds, other_bytes: metadata_bytes };
        let Some(gone) = self.take_away(choice, |_| true, keep_waiting)? else { return Ok(Vec::new()) };
        let gone_bytes: u64 = gone.iter().map(|usage| usage.size_bytes).sum();
        if gone_bytes < excess_bytes {
            self.forget_builds_but_one().map_err(|error| match error {
                BuildRecordError::Fs(error) => PruneError::Fs(error),
                BuildRecordError::Db(error) => PruneError::Db(error),
            })?;
        }
        self.database().shrink()?;
        Ok(gone)
    }

    /// `None` if `keep_waiting` gave up.
    fn take_away(
        &self,
        choice: Choice,
        is_wanted: impl Fn(&Usage) -> bool,
        keep_waiting: impl FnMut() -> bool,
    ) -> Result<Option<Vec<Usage>>, PruneError> {
        // Measures what is new, which takes long, while others may go on finding.
        self.usage()?;
        let Some(mut gone) = self.take_rows(choice, is_wanted, keep_waiting)? else { return Ok(None) };
        // What follows cannot be taken back, so the rows must not come back after a power loss.
        self.database().checkpoint()?;
        let mut folders = Vec::new();
        let mut busy = HashSet::new();
        for usage in &gone {
            let folder = match usage.kind {
                UsageKind::CacheMount => self.take_cache_mount(&usage.name)?,
                UsageKind::Clone => self.take_clone(&usage.name)?,
                UsageKind::Layer | UsageKind::Blob | UsageKind::Facts => continue,
            };
            match folder {
                Some(folder) => folders.push(folder),
                // Somebody has begun to use it.
                None => _ = busy.insert(usage.name.clone()),
            }
        }
        gone.retain(|usage| !busy.contains(&usage.name));
        remove_all(folders);
        // Somebody had the time to look at it.
        let _ = remove(&self.root().join("quarantine"));
        self.write_layout_index()?;
        self.sweep()?;
        Ok(Some(gone))
    }

    /// Decides, and removes the rows.
    fn take_rows(
        &self,
        choice: Choice,
        is_wanted: impl Fn(&Usage) -> bool,
        keep_waiting: impl FnMut() -> bool,
    ) -> Result<Option<Vec<Usage>>, PruneError> {
        let Choice { keeps_images, bounds, other_bytes } = choice;
        let Some(taking) = self.take(keep_waiting)? else { return Ok(None) };
        let all = self.usage_given(&taking.used)?;
        let unpackable = self.unpackable_layers()?;
        let may_go = |usage: &Usage| {
            let is_kept = usage.is_of_image && (keeps_images || !unpackable.contains(&usage.name));
            !usage.is_in_use && !is_kept && is_wanted(usage)
        };
        let total_bytes = other_bytes + all.iter().map(|usage| usage.size_bytes).sum::<u64>();
        let excess_bytes = bounds.excess_bytes(total_bytes, free_bytes(self.root())?);
        let gone = choose(&all, may_go, excess_bytes);
        let names: HashSet<&str> = gone.iter().map(|usage| usage.name.as_str()).collect();
        let snapshots: Vec<i64> = self
            .stacks()?
            .into_iter()
            .filter(|(_, layers)| layers.iter().any(|layer| names.contains(layer.as_str())))
            .map(|(row, _)| row)
            .collect();
        self.database()
            .write(|tx| {
                tx.run(|c| {
                    for row in &snapshots {
                        c.prepare_cached("DELETE FROM snapshots WHERE seq = ?1")?.execute([row])?;
                    }
                    for Usage { name, kind, .. } in &gone {
                        let query = match kind {
                            UsageKind::Layer => "DELETE FROM layers WHERE id = ?1",
                            UsageKind::Blob => "DELETE FROM blobs WHERE digest = ?1",
                            UsageKind::Facts => "DELETE FROM facts WHERE 'facts/' || kind = ?1",
                            UsageKind::CacheMount | UsageKind::Clone => continue,
                        };
                        c.prepare_cached(query)?.execute(params![name])?;
                        c.prepare_cached("DELETE FROM facts WHERE kind = ?1 AND key = ?2")?
                            .execute(params![FACTS_OF_LAYERS, name])?;
                        c.prepare_cached("DELETE FROM usage WHERE name = ?1")?.execute(params![name])?;
                    }
                    Ok(())
                })
            })
            .map_err(|error: DbError| error)?;
        Ok(Some(gone))
    }

    /// What the database and the records of builds take.
    fn metadata_bytes(&self) -> Result<u64, FsError> {
        let length = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
        let database: u64 = ["store.db", "store.db-wal"].iter().map(|name| length(&self.root().join(name))).sum();
        let builds = self.root().join("builds");
        let records = std::fs::read_dir(&builds).map_err(FsError::on("open", &builds))?;
        Ok(database + records.flatten().map(|entry| length(&entry.path())).sum::<u64>())
    }

    /// Layers of which there is a blob.
    fn unpackable_layers(&self) -> Result<HashSet<String>, DbError> {
        self.database().run(|c| {
            c.prepare(
                "SELECT id FROM layers WHERE diff_id IN (SELECT diff_id FROM layer_blobs JOIN blobs USING (digest))",
            )?
            .query_map([], |row| row.get(0))?
            .collect()
        })
    }

    /// Renames a cache mount's folder away, unless somebody uses it. Its next user seeds it anew.
    fn take_cache_mount(&self, name: &str) -> Result<Option<Temporary>, FsError> {
        let path = self.root().join(name);
        let lock_path = path.with_extension("lock");
        let lock_file = File::options().write(true).open(&lock_path).map_err(FsError::on("open", &lock_path))?;
        if !lock::try_alone(&lock_file).map_err(FsError::on("flock", &lock_path))? {
            return Ok(None);
        }
        // From here on it is not seeded: who seeds it removes the folder first if we do not come to it.
        lock_file.set_len(0).map_err(FsError::on("ftruncate", &lock_path))?;
        self.rename_away(&path).map(Some)
    }

    /// Renames a clone away, unless somebody uses it.
    fn take_clone(&self, name: &str) -> Result<Option<Temporary>, FsError> {
        let key = name.trim_start_matches("git/");
        let Ok(key) = format!("sha256:{key}").parse::<Digest>() else { return Ok(None) };
        let Some(_lock) = self.try_lock_key(&key)? else { return Ok(None) };
        self.rename_away(&self.root().join(name)).map(Some)
    }

    fn rename_away(&self, path: &Path) -> Result<Temporary, FsError> {
        let session = self.session()?;
        let temporary = session.temporary(&format!("{}.garbage", session.unique_name()));
        std::fs::rename(path, temporary.path()).map_err(FsError::on("rename", path))?;
        Ok(temporary)
    }
}

/// What goes of `all`: least recently used first, what lies on a layer before it, until it is `excess_bytes` together.
fn choose(all: &[Usage], may_go: impl Fn(&Usage) -> bool, excess_bytes: u64) -> Vec<Usage> {
    let mut children: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, usage) in all.iter().enumerate() {
        for parent in &usage.parents {
            children.entry(parent.as_str()).or_default().push(index);
        }
    }
    let on = |index: usize| children.get(all[index].name.as_str()).map(Vec::as_slice).unwrap_or_default();
    let mut may_go: Vec<bool> = all.iter().map(may_go).collect();
    let mut staying: Vec<usize> = (0..all.len()).filter(|index| !may_go[*index]).collect();
    let position: BTreeMap<&str, usize> = all.iter().enumerate().map(|(index, u)| (u.name.as_str(), index)).collect();
    // What lies below something that stays, stays.
    while let Some(index) = staying.pop() {
        for parent in all[index].parents.iter().filter_map(|parent| position.get(parent.as_str())) {
            if std::mem::replace(&mut may_go[*parent], false) {
                staying.push(*parent);
            }
        }
    }
    let mut order: Vec<usize> = (0..all.len()).filter(|index| may_go[*index]).collect();
    // Facts are small and dear: last.
    order.sort_by_key(|index| {
        let usage = &all[*index];
        (usage.kind == UsageKind::Facts, usage.last_used_ns.or(usage.created_ns), Reverse(usage.created_ns))
    });
    let (mut gone, mut gone_bytes) = (BTreeSet::new(), 0_u64);
    for index in order {
        if gone_bytes >= excess_bytes {
            break;
        }
        let mut pending = vec![index];
        while let Some(index) = pending.pop() {
            if gone.insert(index) {
                gone_bytes += all[index].size_bytes;
                pending.extend(on(index));
            }
        }
    }
    gone.into_iter().map(|index| all[index].clone()).collect()
}

fn free_bytes(root: &Path) -> Result<u64, FsError> {
    let found = rustix::fs::statvfs(root).map_err(FsError::on("statvfs", root))?;
    Ok(found.f_bavail * found.f_frsize)
}

#[cfg(test)]
mod tests {
    use slipway_oci::{DiffId, Platform};

    use super::*;
    use crate::testing::{digest, empty_store};
    use crate::{BuildLimits, ImageRecord, NewBuild, OverlayFlavor, Sharing, Snapshot};

    fn all(_: &Usage) -> bool {
        true
    }

    fn step(store: &Store, below: Option<&Snapshot>, key: &str, bytes: usize) -> Snapshot {
        let active = store.begin(below).unwrap();
        std::fs::write(active.upper().join("file"), vec![1; bytes]).unwrap();
        let snapshot = active.commit(1).unwrap();
        store.record(&[digest(key)], snapshot.id(), None).unwrap();
        snapshot
    }

    /// The same store as another process sees it.
    fn other(store: &Store) -> Store {
        Store::open(store.root(), OverlayFlavor::Root).unwrap()
    }

    fn name_of(snapshot: &Snapshot) -> String {
        snapshot.layers().last().unwrap().as_str().to_owned()
    }

    #[test]
    fn what_a_living_process_uses_stays() {
        let (_folder, store) = empty_store();
        let (old, unused) = {
            let earlier = other(&store);
            (step(&earlier, None, "old", 1), step(&earlier, None, "unused", 1))
        };
        let builder = other(&store);
        assert_eq!(builder.lookup(&digest("old")).unwrap().unwrap().snapshot, old);
        let made = step(&builder, Some(&old), "made", 1);
        let blob = builder.put_blob(b"made").unwrap().digest;

        let gone = store.prune(false, Bounds::default(), all).unwrap();
        assert_eq!(gone.iter().map(|usage| &usage.name).collect::<Vec<_>>(), [&name_of(&unused)]);
        assert!(builder.lookup(&digest("made")).unwrap().is_some());
        assert!(store.layer_path(&made.layers()[1]).exists() && builder.has_blob(&blob).unwrap());
        assert!(!store.layer_path(&unused.layers()[0]).exists());
        assert_eq!(store.fsck().unwrap(), []);

        drop(builder);
        assert_eq!(store.prune(false, Bounds::default(), all).unwrap().len(), 3);
        assert_eq!(store.usage().unwrap(), []);
        assert_eq!(store.fsck().unwrap(), []);
    }

    #[test]
    fn what_others_lie_on_stays_with_them() {
        let (_folder, store) = empty_store();
        let (lower, upper) = {
            let builder = other(&store);
            let lower = step(&builder, None, "lower", 1);
            (lower.clone(), step(&builder, Some(&lower), "upper", 1))
        };
        let only_lower = |usage: &Usage| usage.name == name_of(&lower);
        assert_eq!(store.prune(false, Bounds::default(), only_lower).unwrap(), []);
        let only_upper = |usage: &Usage| usage.name == name_of(&upper);
        assert_eq!(store.prune(false, Bounds::default(), only_upper).unwrap().len(), 1);
        assert_eq!(store.prune(false, Bounds::default(), only_lower).unwrap().len(), 1);
        assert_eq!(store.fsck().unwrap(), []);
    }

    #[test]
    fn bounds_take_the_least_recently_used_first() {
        let (_folder, store) = empty_store();
        let builder = other(&store);
        let snapshots = ["a", "b", "c"].map(|key| step(&builder, None, key, 1 << 20));
        drop(builder);
        // In another order than they were made in.
        for (key, time) in [("c", 10), ("a", 20), ("b", 30)] {
            let user = other(&store);
            user.lookup(&digest(key)).unwrap().unwrap();
            let build = NewBuild { id: key, ended_ns: time, record: b"", log: None, refers_to: &[], notes: &[] };
            user.add_build(build, BuildLimits::default()).unwrap();
        }
        let bounds = Bounds { max_used_bytes: Some(5 << 19), ..Bounds::default() };
        let gone = store.prune(false, bounds, all).unwrap();
        assert_eq!(gone.iter().map(|usage| &usage.name).collect::<Vec<_>>(), [&name_of(&snapshots[2])]);
        let reserved = Bounds { reserved_bytes: Some(3 << 20), ..bounds };
        assert_eq!(store.prune(false, reserved, all).unwrap(), []);
        let left = store.usage().unwrap();
        let mut uses: Vec<_> = left.iter().map(|usage| (usage.last_used_ns, usage.n_uses)).collect();
        uses.sort();
        assert_eq!(uses, [(Some(20), 1), (Some(30), 1)]);
    }

    #[test]
    fn a_cap_counts_the_records_of_builds_and_the_database() {
        let (_folder, store) = empty_store();
        let builder = other(&store);
        let record = vec![b'r'; 3 << 20];
        for id in ["a", "b"] {
            let build = NewBuild { id, ended_ns: 1, record: &record, log: None, refers_to: &[], notes: &[] };
            builder.add_build(build, BuildLimits::default()).unwrap();
        }
        builder.set_fact("kind", "key", &vec![1; 3 << 20]).unwrap();
        step(&builder, None, "step", 1 << 20);
        drop(builder);
        let within = |mib: u64| {
            let bounds = Bounds { max_used_bytes: Some(mib << 20), ..Bounds::default() };
            let gone = store.keep_within(bounds, || true).unwrap();
            (gone.len(), store.builds().unwrap().count(), store.metadata_bytes().unwrap())
        };
        assert_eq!(within(20).0, 0);
        let (n_gone, n_builds, _) = within(9);
        assert_eq!((n_gone, n_builds), (2, 2), "the layer, then the facts");
        let (n_gone, n_builds, left_bytes) = within(4);
        assert_eq!((n_gone, n_builds), (0, 1));
        assert!(left_bytes < 4 << 20, "{left_bytes} bytes are left");
        assert_eq!(store.fsck().unwrap(), []);
    }

    #[test]
    fn facts_of_layers_go_with_them() {
        let (_folder, store) = empty_store();
        let builder = other(&store);
        let layer = step(&builder, None, "step", 1).layers()[0].clone();
        builder.set_fact(FACTS_OF_LAYERS, layer.as_str(), b"from others").unwrap();
        assert_eq!(store.prune(false, Bounds::default(), all).unwrap(), [], "the builder uses the layer");
        assert!(store.fact(FACTS_OF_LAYERS, layer.as_str()).unwrap().is_some());
        drop(builder);
        assert_eq!(store.prune(false, Bounds::default(), all).unwrap().len(), 1);
        assert_eq!(store.fact(FACTS_OF_LAYERS, layer.as_str()).unwrap(), None);
    }

    #[test]
    fn a_cap_waits_only_as_long_as_it_is_told_to() {
        let (_folder, store) = empty_store();
        step(&other(&store), None, "old", 1 << 20);
        let looks = other(&store);
        assert!(looks.lookup(&digest("old")).unwrap().is_some());
        let bounds = Bounds { max_used_bytes: Some(1), ..Bounds::default() };
        assert_eq!(store.keep_within(bounds, || false).unwrap(), [], "somebody has a share in the lock");
        drop(looks);
        assert_eq!(store.keep_within(bounds, || false).unwrap().len(), 1);
    }

    #[test]
    fn an_image_with_a_name_can_always_be_had() {
        let (_folder, store) = empty_store();
        let builder = other(&store);
        let [packed, bare] = ["packed", "bare"].map(|key| {
            let snapshot = step(&builder, None, key, 1);
            builder.set_diff_id(&snapshot.layers()[0], &DiffId(digest(key)), 1).unwrap();
            snapshot
        });
        let blob = builder.put_blob(b"blob").unwrap();
        let blob = slipway_oci::Descriptor::new("application/x", blob.digest, blob.size_bytes);
        builder.add_layer_blob(&DiffId(digest("packed")), &blob).unwrap();
        let image = ImageRecord {
            manifest: None,
            config: builder.put_blob(b"{}").unwrap().digest,
            layers: vec![DiffId(digest("packed")), DiffId(digest("bare"))],
            created: None,
            platform: Platform::new("linux", "amd64", None),
            others: Vec::new(),
        };
        builder.name_image(&"app".parse().unwrap(), &image).unwrap();
        drop(builder);
        assert_eq!(store.prune(true, Bounds::default(), all).unwrap(), []);
        let gone = store.prune(false, Bounds::default(), all).unwrap();
        assert_eq!(gone.iter().map(|usage| &usage.name).collect::<Vec<_>>(), [&name_of(&packed)]);
        assert!(store.layer_path(&bare.layers()[0]).exists());
        assert_eq!(store.fsck().unwrap(), []);
    }

    #[test]
    fn a_cache_mount_that_went_is_seeded_anew() {
        let (_folder, store) = empty_store();
        let seed = |path: &Path| std::fs::write(path.join("seed"), "");
        let mount = |store: &Store| store.cache_mount("id", Sharing::Locked, seed, || true).unwrap().unwrap();
        let builder = other(&store);
        let held = mount(&builder);
        std::fs::write(held.path().join("more"), "").unwrap();
        assert_eq!(store.prune(false, Bounds::default(), all).unwrap(), []);
        drop(held);
        drop(builder);
        let gone = store.prune(false, Bounds::default(), all).unwrap();
        assert_eq!(gone[0].record_type, "exec.cachemount");
        let again = mount(&store);
        assert!(again.path().join("seed").exists() && !again.path().join("more").exists());
    }

    #[test]
    fn excess_is_what_is_above_the_bounds() {
        let bounds =
            |reserved, max, free| Bounds { reserved_bytes: reserved, max_used_bytes: max, min_free_bytes: free };
        for (bounds, expected) in [
            (bounds(None, None, None), u64::MAX),
            (bounds(Some(30), None, None), 70),
            (bounds(Some(200), None, None), 0),
            (bounds(None, Some(60), None), 40),
            (bounds(Some(80), Some(60), None), 20),
            (bounds(None, None, Some(15)), 5),
            (bounds(None, Some(60), Some(60)), 50),
        ] {
            assert_eq!(bounds.excess_bytes(100, 10), expected, "{bounds:?}");
        }
    }
}
