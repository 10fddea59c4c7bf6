//! What may be taken away, in which order, and how is it done so that a crash in the middle does no harm?
//!
//! Rows go first, in one transaction, and are on the disk before any file goes; files without rows are what
//! [`Store::sweep`] removes, by renaming them away first. So a crash leaves garbage, never a row without its file.
//!
//! Nothing goes that a living process uses ([`crate::uses`]), nor a layer that one lies on which stays. Images without a
//! name keep nothing: one that loses a part is listed no longer.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::path::Path;

use rusqlite::params;
use slipway_oci::Digest;

use crate::remove::{remove, remove_all};
use crate::session::Temporary;
use crate::shared_files::{INODES_OF_LAYERS, SharedFiles};
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
    #[error("builds have been using the store for longer than allowed; nothing was taken away")]
    Busy,
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
        self.prune_while(keeps_images, bounds, is_wanted, || true)
    }

    /// As [`Store::prune`]; nothing goes if `keep_waiting` answers `false` before it is known what is to go.
    pub fn prune_while(
        &self,
        keeps_images: bool,
        bounds: Bounds,
        is_wanted: impl Fn(&Usage) -> bool,
        mut keep_waiting: impl FnMut() -> bool,
    ) -> Result<Vec<Usage>, PruneError> {
        // Measures what is new, which takes long, while others may go on finding.
        self.usage_while(&mut keep_waiting)?;
        let choice = Choice { keeps_images, bounds, other_bytes: 0 };
        self.take_away(choice, is_wanted, keep_waiting)?.ok_or(PruneError::Busy)
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
        let (all, shared) = self.usage_given(&taking.used, &mut || true)?;
        let unpackable = self.unpackable_layers()?;
        let may_go = |usage: &Usage| {
            let is_kept = usage.is_of_image && (keeps_images || !unpackable.contains(&usage.name));
            !usage.is_in_use && !is_kept && is_wanted(usage)
        };
        let things_bytes: u64 = all.iter().map(|usage| usage.size_bytes).sum();
        let total_bytes = (other_bytes + things_bytes).saturating_sub(shared.counted_again_bytes());
        let excess_bytes = bounds.excess_bytes(total_bytes, free_bytes(self.root())?);
        let gone = choose(&all, &shared, may_go, excess_bytes);
        let names: HashSet<&str> = gone.iter().map(|usage| usage.name.as_str()).collect();
        let snapshots: Vec<i64> = self
            .stacks()?
            .into_iter()
            .filter(|(_, layers)| layers.iter().any(|layer| names.contains(layer.as_str())))
            .map(|(row, _)| row)
            .collect();
        let unnamed = self.unnamed_that_need(&names)?;
        self.database()
            .write(|tx| {
                tx.run(|c| {
                    for config in &unnamed {
                        c.prepare_cached("DELETE FROM images WHERE name = ?1")?.execute([config])?;
                    }
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
                        c.prepare_cached("DELETE FROM facts WHERE kind IN (?1, ?2) AND key = ?3")?.execute(params![
                            FACTS_OF_LAYERS,
                            INODES_OF_LAYERS,
                            name
                        ])?;
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

/// What goes of `all`: least recently used first, what lies on a layer before it, until that frees `excess_bytes`. The
/// answer has the sizes that are freed.
fn choose(all: &[Usage], shared: &SharedFiles, may_go: impl Fn(&Usage) -> bool, excess_bytes: u64) -> Vec<Usage> {
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
    order.sort_by_key(|index| all[*index].order_of_going());
    let (mut gone, mut names, mut gone_bytes) = (BTreeMap::new(), BTreeSet::new(), 0_u64);
    for index in order {
        if gone_bytes >= excess_bytes {
            break;
        }
        let mut pending = vec![index];
        while let Some(index) = pending.pop() {
            let Usage { name, size_bytes, .. } = &all[index];
            if names.insert(name.as_str()) {
                let freed_bytes = shared.freed_bytes(name, *size_bytes, &names);
                gone.insert(index, Usage { size_bytes: freed_bytes, ..all[index].clone() });
                gone_bytes += freed_bytes;
                pending.extend(on(index));
            }
        }
    }
    gone.into_values().collect()
}

fn free_bytes(root: &Path) -> Result<u64, FsError> {
    let found = rustix::fs::statvfs(root).map_err(FsError::on("statvfs", root))?;
    Ok(found.f_bavail * found.f_frsize)
}

#[cfg(test)]
mod tests;
