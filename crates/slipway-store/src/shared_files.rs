//! Which files do layers share, and how much space do they take together?
//!
//! A COPY may link files from layers of earlier ones, which a fact of its layer says ([`FACTS_OF_LAYERS`]). Such a file
//! takes its space once, and gives it back when the last of its layers goes. What a layer consists of never changes, so
//! its inodes are written down the first time that somebody asks, and compared from then on without a look at the files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt as _;

use crate::usage::walk;
use crate::{DbError, FACTS_OF_LAYERS, Store, Usage};

/// Facts of this kind have layers as keys, and go with them: the inodes of a layer, and what they take.
pub(crate) const INODES_OF_LAYERS: &str = "inodes";

/// The unit of `st_blocks`, in bytes (stat(3type)).
pub(crate) const BLOCK_BYTES: u64 = 512;

/// What layers share, in groups of files that are in exactly the same layers.
#[derive(Debug, Default)]
pub(crate) struct SharedFiles {
    groups: Vec<Group>,
}

/// Files that are in each of several layers.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    layers: BTreeSet<String>,
    n_bytes: u64,
}

impl Store {
    /// What `layers` share. Looks at the files of those that have come to share since somebody asked last.
    pub(crate) fn shared_files(&self, layers: &BTreeSet<&str>) -> Result<SharedFiles, DbError> {
        let facts = self.facts_under(FACTS_OF_LAYERS, "")?;
        let mut groups = Vec::new();
        for relatives in relatives(&facts, layers) {
            groups.extend(grouped(&relatives, |layer| self.inodes(layer))?);
        }
        Ok(SharedFiles { groups })
    }

    /// The inodes of a layer, and how many blocks each takes.
    fn inodes(&self, layer: &str) -> Result<BTreeMap<u64, u64>, DbError> {
        if let Some(known) = self.fact(INODES_OF_LAYERS, layer)? {
            return Ok(decoded(&known));
        }
        let mut inodes = BTreeMap::new();
        walk(&self.root().join("layers").join(layer), |file| {
            if !file.is_dir() && file.blocks() > 0 {
                inodes.insert(file.ino(), file.blocks());
            }
        });
        self.set_fact(INODES_OF_LAYERS, layer, &encoded(&inodes))?;
        Ok(inodes)
    }
}

impl SharedFiles {
    /// Makes the sizes of `all` add up to what is taken: what several layers have is counted at the one of them that
    /// `rank` puts last.
    pub(crate) fn count_once<K: Ord>(&self, all: &mut [Usage], rank: impl Fn(&Usage) -> K) {
        let position: HashMap<String, usize> =
            all.iter().enumerate().map(|(index, usage)| (usage.name.clone(), index)).collect();
        for group in &self.groups {
            let mut holders: Vec<usize> =
                group.layers.iter().filter_map(|layer| position.get(layer.as_str()).copied()).collect();
            holders.sort_by_key(|index| rank(&all[*index]));
            holders.pop();
            for index in holders {
                all[index].size_bytes = all[index].size_bytes.saturating_sub(group.n_bytes);
            }
        }
    }

    /// By how much the layers on their own are more than all of them together.
    pub(crate) fn counted_again_bytes(&self) -> u64 {
        self.groups.iter().map(|group| group.n_bytes * (group.layers.len() as u64 - 1)).sum()
    }

    /// How much of the space of `layer` is free when it goes after those in `gone`, if it takes `n_bytes` on its own.
    pub(crate) fn freed_bytes(&self, layer: &str, n_bytes: u64, gone: &BTreeSet<&str>) -> u64 {
        let groups = self.groups.iter().filter(|group| group.layers.contains(layer));
        let is_kept =
            |group: &&Group| group.layers.iter().any(|other| other != layer && !gone.contains(other.as_str()));
        n_bytes.saturating_sub(groups.filter(is_kept).map(|group| group.n_bytes).sum())
    }
}

/// Layers that are there and may share files, those that may share any with each other together.
fn relatives(facts: &[(String, Vec<u8>)], layers: &BTreeSet<&str>) -> Vec<Vec<String>> {
    // Also by way of a layer that has gone.
    let mut families: Vec<BTreeSet<String>> = Vec::new();
    for (layer, fact) in facts {
        let text = String::from_utf8_lossy(fact);
        let mut family: BTreeSet<String> = text.split_ascii_whitespace().skip(1).map(str::to_owned).collect();
        family.insert(layer.clone());
        let is_same = |other: &BTreeSet<String>| !other.is_disjoint(&family);
        let (same, others): (Vec<_>, Vec<_>) = families.into_iter().partition(is_same);
        families = others;
        family.extend(same.into_iter().flatten());
        families.push(family);
    }
    let there = |family: BTreeSet<String>| -> Vec<String> {
        family.into_iter().filter(|layer| layers.contains(layer.as_str())).collect()
    };
    families.into_iter().map(there).filter(|family| family.len() > 1).collect()
}

/// What several of `layers` have; `inodes` gives those of one, and how many blocks each takes.
fn grouped(
    layers: &[String],
    inodes: impl Fn(&str) -> Result<BTreeMap<u64, u64>, DbError>,
) -> Result<Vec<Group>, DbError> {
    // The first group is that of the files that were not seen yet.
    let mut groups = vec![Group { layers: BTreeSet::new(), n_bytes: 0 }];
    let mut group_of: HashMap<u64, usize> = HashMap::new();
    for layer in layers {
        // Where the files of a group come to that this layer has as well.
        let mut moved: HashMap<usize, usize> = HashMap::new();
        for (inode, n_blocks) in inodes(layer)? {
            let group = group_of.entry(inode).or_default();
            let next = *moved.entry(*group).or_insert_with(|| {
                let mut layers = groups[*group].layers.clone();
                layers.insert(layer.clone());
                groups.push(Group { layers, n_bytes: 0 });
                groups.len() - 1
            });
            let n_bytes = n_blocks * BLOCK_BYTES;
            if *group != 0 {
                groups[*group].n_bytes -= n_bytes;
            }
            groups[next].n_bytes += n_bytes;
            *group = next;
        }
    }
    groups.retain(|group| group.layers.len() > 1 && group.n_bytes > 0);
    Ok(groups)
}

/// Numbers of seven bits a byte, the lowest first: the way from one inode to the next, and its blocks.
fn encoded(inodes: &BTreeMap<u64, u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut last = 0;
    for (inode, n_blocks) in inodes {
        for mut number in [inode - last, *n_blocks] {
            while number > 0x7F {
                bytes.push(number as u8 | 0x80);
                number >>= 7;
            }
            bytes.push(number as u8);
        }
        last = *inode;
    }
    bytes
}

/// What was [`encoded`]; of what was not, some numbers.
fn decoded(bytes: &[u8]) -> BTreeMap<u64, u64> {
    let ends = bytes.split_inclusive(|byte| byte & 0x80 == 0);
    let numbers = ends.map(|number| {
        let bits = number.iter().zip((0..64).step_by(7)).map(|(byte, shift)| u64::from(byte & 0x7F) << shift);
        bits.fold(0, |all, bits| all | bits)
    });
    let numbers: Vec<u64> = numbers.collect();
    let mut inode = 0_u64;
    let pairs = numbers.chunks_exact(2).map(|pair| {
        inode = inode.wrapping_add(pair[0]);
        (inode, pair[1])
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prune::Bounds;
    use crate::testing::empty_store;
    use crate::{OverlayFlavor, Snapshot};

    #[test]
    fn lists_come_back_as_they_were_written() {
        let inodes = BTreeMap::from([(0, 8), (1, 0), (300, 127), (301, 128), (u64::MAX, u64::MAX)]);
        assert_eq!(decoded(&encoded(&inodes)), inodes);
        assert_eq!(decoded(b""), BTreeMap::new());
    }

    #[test]
    fn layers_are_related_by_way_of_others() {
        let fact = |layer: &str, origins: &str| (layer.to_owned(), format!("first {origins}").into_bytes());
        let facts = [fact("b", "gone"), fact("x", "y"), fact("d", "c"), fact("c", "gone b"), fact("first", "alone")];
        let layers = BTreeSet::from(["b", "c", "d", "x", "y", "alone"]);
        let mut related = relatives(&facts, &layers);
        related.sort();
        assert_eq!(related, [vec!["b", "c", "d"], vec!["x", "y"]]);
    }

    const MIB: usize = 1 << 20;

    /// A layer with a file of its own for each of `own`, and links to the files of another.
    fn layer(store: &Store, own: &[&str], linked: Option<(&Snapshot, &[&str])>) -> Snapshot {
        let active = store.begin(None).unwrap();
        own.iter().for_each(|name| std::fs::write(active.upper().join(name), vec![1; MIB]).unwrap());
        if let Some((source, names)) = linked {
            let folder = store.layer_path(&source.layers()[0]);
            names.iter().for_each(|name| std::fs::hard_link(folder.join(name), active.upper().join(name)).unwrap());
        }
        let snapshot = active.commit(1).unwrap();
        if let Some((source, _)) = linked {
            let source = &source.layers()[0];
            let origins = store.fact(FACTS_OF_LAYERS, source.as_str()).unwrap().unwrap_or_else(|| b"first".to_vec());
            let fact = format!("{} {source}", String::from_utf8(origins).unwrap());
            store.set_fact(FACTS_OF_LAYERS, snapshot.layers()[0].as_str(), fact.as_bytes()).unwrap();
        }
        snapshot
    }

    /// What the layers take on the disk, each inode once.
    fn taken_bytes(store: &Store) -> u64 {
        let mut inodes = BTreeMap::new();
        walk(&store.root().join("layers"), |file| _ = inodes.insert(file.ino(), file.blocks() * BLOCK_BYTES));
        inodes.values().sum()
    }

    #[test]
    fn sizes_add_up_and_what_went_is_what_was_freed() {
        let (_folder, store) = empty_store();
        let builder = Store::open(store.root(), OverlayFlavor::Root).unwrap();
        let first = layer(&builder, &["a", "b"], None);
        assert!(store.usage().unwrap()[0].size_bytes >= 2 * MIB as u64, "measured before anything is shared");
        let second = layer(&builder, &["c"], Some((&first, &["a", "b"])));
        layer(&builder, &["d"], Some((&second, &["b", "c"])));
        drop(builder);
        let folder_bytes = std::fs::metadata(store.root().join("layers")).unwrap().blocks() * BLOCK_BYTES;
        let sum = || store.usage().unwrap().iter().map(|usage| usage.size_bytes).sum::<u64>();
        assert_eq!(sum() + folder_bytes, taken_bytes(&store));

        // In both orders: who goes first gives back what nobody else has.
        for goes in [second.layers()[0].as_str(), first.layers()[0].as_str()] {
            let before = taken_bytes(&store);
            let gone = store.prune(false, Bounds::default(), |usage| usage.name == goes).unwrap();
            assert_eq!(gone.len(), 1);
            assert_eq!(gone[0].size_bytes, before - taken_bytes(&store), "{goes}");
            assert_eq!(sum() + folder_bytes, taken_bytes(&store));
        }
        let before = taken_bytes(&store);
        let gone = store.prune(false, Bounds::default(), |_| true).unwrap();
        assert_eq!(gone.iter().map(|usage| usage.size_bytes).sum::<u64>(), before - taken_bytes(&store));
        assert_eq!(store.facts_under(INODES_OF_LAYERS, "").unwrap(), []);
    }

    #[test]
    fn bounds_count_what_is_shared_once() {
        let (_folder, store) = empty_store();
        let builder = Store::open(store.root(), OverlayFlavor::Root).unwrap();
        let mut last = layer(&builder, &["a", "b", "c", "d"], None);
        for own in ["e", "f", "g"] {
            last = layer(&builder, &[own], Some((&last, &["a", "b", "c", "d"])));
        }
        drop(builder);
        let bounds = |mib: u64| Bounds { max_used_bytes: Some(mib << 20), ..Bounds::default() };
        assert_eq!(store.prune(false, bounds(8), |_| true).unwrap(), [], "seven files and a few folders");
        let before = taken_bytes(&store);
        let gone = store.prune(false, bounds(6), |_| true).unwrap();
        assert!(taken_bytes(&store) < 6 << 20, "{gone:?}");
        assert_eq!(gone.iter().map(|usage| usage.size_bytes).sum::<u64>(), before - taken_bytes(&store));
        assert_eq!(gone.len(), 3, "the first gave nothing back, as others had its files");
    }
}
