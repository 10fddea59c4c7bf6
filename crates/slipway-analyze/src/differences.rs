//! What do layers change of those below them (`spec/analyze.md` section 5.1)?

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use crate::layer::Layer;
use crate::stack::{Stacking, put_upon, stacked};
use crate::tree::{Entry, Node, WHITEOUT, removed_by};

/// What became of a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change {
    #[default]
    Unmodified,
    Modified,
    Added,
    Removed,
}

/// Which layers are looked at, and what they are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// One layer with those below it.
    Layer,
    /// All layers up to that one with the first.
    Aggregated,
}

/// A path of either side, with what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// `None` for a folder that no entry is about, and for the root.
    pub entry: Option<Entry>,
    pub change: Change,
    pub children: BTreeMap<Box<[u8]>, Difference>,
}

/// How many paths a layer adds, modifies and removes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) added: usize,
    pub(crate) modified: usize,
    pub(crate) removed: usize,
}

impl Difference {
    /// What the layer at `index` shows. The first layer is compared with itself.
    pub fn at(layers: &[Layer], index: usize, compared: Compared) -> Difference {
        let n_below = match compared {
            Compared::Layer => index.max(1),
            Compared::Aggregated => 1,
        };
        let (below, above) = layers.split_at(n_below.min(layers.len()));
        let mut tree = Difference::of(&stacked(below), Change::Unmodified);
        let n_above = (index + 1).saturating_sub(below.len());
        above.iter().take(n_above).for_each(|layer| _ = tree.put_upon(&layer.root, false));
        tree
    }

    /// A tree all of which has undergone the same.
    fn of(node: &Node, change: Change) -> Difference {
        let children = node.children.iter().filter(|(name, _)| removed_by(name).is_none());
        Difference {
            entry: node.entry.clone(),
            change,
            children: children.map(|(name, child)| (name.clone(), Difference::of(child, change))).collect(),
        }
    }

    /// Puts a layer's folder upon this one, and says whether that changes anything in it. If it `replaces` the folder,
    /// nothing stays that the layer does not have.
    fn put_upon(&mut self, upper: &Node, replaces: bool) -> bool {
        let hides_all = replaces || upper.is_opaque;
        let is_removed = |name: &[u8]| upper.children.contains_key(&[WHITEOUT, name].concat()[..]);
        let mut is_changed = false;
        for (name, child) in &mut self.children {
            if !upper.children.contains_key(name) && (hides_all || is_removed(name)) {
                is_changed |= child.remove();
            }
        }
        for (name, node) in upper.children.iter().filter(|(name, _)| removed_by(name).is_none()) {
            is_changed |= match self.children.entry(name.clone()) {
                Slot::Vacant(slot) => {
                    slot.insert(Difference::of(node, Change::Added));
                    true
                }
                Slot::Occupied(slot) => slot.into_mut().meet(node, hides_all || is_removed(name)),
            };
        }
        is_changed
    }

    /// A layer has the same path.
    fn meet(&mut self, node: &Node, replaces: bool) -> bool {
        let is_own = node.entry.as_ref().is_some_and(|entry| !is_same(self.entry.as_ref(), entry));
        let is_below = match &node.entry {
            // What takes the place of a folder leaves nothing of it.
            Some(entry) if !entry.is_dir() => {
                self.children.values_mut().map(Difference::remove).filter(|was_there| *was_there).count() > 0
            }
            _ => self.put_upon(node, replaces),
        };
        if node.entry.is_some() {
            self.entry.clone_from(&node.entry);
        }
        let is_changed = is_own || is_below;
        self.change = match self.change {
            // What layers add and change in turn is new to what they are compared with.
            Change::Added | Change::Modified => self.change,
            Change::Unmodified | Change::Removed if is_changed => Change::Modified,
            Change::Unmodified | Change::Removed => Change::Unmodified,
        };
        is_changed
    }

    /// Says whether there was anything left to remove.
    fn remove(&mut self) -> bool {
        let was_there = self.change != Change::Removed;
        self.change = Change::Removed;
        self.children.values_mut().for_each(|child| _ = child.remove());
        was_there
    }

    pub fn is_dir(&self) -> bool {
        self.entry.as_ref().map_or(!self.children.is_empty(), Entry::is_dir)
    }

    /// Of a file its own size, of a folder what it holds and was not removed; all of it if the folder itself was.
    pub fn size_bytes(&self) -> u64 {
        let is_counted = |child: &&Difference| self.change == Change::Removed || child.change != Change::Removed;
        let own = self.entry.as_ref().map_or(0, |entry| entry.size_bytes);
        own + self.children.values().filter(is_counted).map(Difference::size_bytes).sum::<u64>()
    }

    fn count(&self, counts: &mut Counts) {
        for child in self.children.values() {
            match child.change {
                Change::Unmodified => {}
                Change::Modified => counts.modified += 1,
                Change::Added => counts.added += 1,
                Change::Removed => counts.removed += 1,
            }
            child.count(counts);
        }
    }
}

/// Counts for all layers; the first one has nothing to be compared with.
pub(crate) fn counts(layers: &[Layer]) -> Vec<Counts> {
    let mut below = Node::default();
    let mut all = Vec::with_capacity(layers.len());
    for (index, layer) in layers.iter().enumerate() {
        let mut counts = Counts::default();
        if index > 0 {
            let mut tree = Difference::of(&below, Change::Unmodified);
            tree.put_upon(&layer.root, false);
            tree.count(&mut counts);
        }
        all.push(counts);
        put_upon(&mut below, &layer.root, Stacking::TRUE);
    }
    all
}

/// Sizes and times are not looked at: what has the same content has the same size.
fn is_same(lower: Option<&Entry>, upper: &Entry) -> bool {
    let Some(lower) = lower else { return false };
    let of = |entry: &Entry| (entry.type_flag, entry.content, entry.mode, entry.uid, entry.gid);
    of(lower) == of(upper)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::layers;
    use crate::{Analysis, Compat};

    fn list(tree: &Difference, path: &str, found: &mut Vec<String>) {
        for (name, child) in &tree.children {
            let path = format!("{path}{}", String::from_utf8_lossy(name));
            let letter = match child.change {
                Change::Unmodified => '=',
                Change::Modified => '~',
                Change::Added => '+',
                Change::Removed => '-',
            };
            found.push(format!("{letter}{path}"));
            list(child, &format!("{path}/"), found);
        }
    }

    /// One letter and path for each change that the last layer shows.
    fn check(compared: Compared, text: &str, expected: &str) {
        let image = Analysis::of(&layers(text), Compat::Corrected, false).unwrap();
        let mut found = Vec::new();
        list(&Difference::at(&image.layers, image.layers.len() - 1, compared), "", &mut found);
        assert_eq!(found.join(" "), expected, "{text}");
    }

    #[test]
    fn a_layer_is_compared_with_those_below() {
        for (layers, expected) in [
            ("a:1 d/ d/b:1", "=a =d =d/b"),
            ("a:1 b:1 | c:1", "=a =b +c"),
            ("a:1 b:1 | a:1 b:2", "=a ~b"),
            ("d/ d/a:1 d/b:1 | d/ d/a:2", "~d ~d/a =d/b"),
            ("d/ d/a:1 | d/-a", "~d -d/a"),
            ("d/ d/a:1 e:1 | -d", "-d -d/a =e"),
            ("d/ d/a:1 | d/ d! d/b:1", "~d -d/a +d/b"),
            ("d/ d/a:1 d/b:1 | -d d/ d/b:1", "~d -d/a =d/b"),
            ("d/ d/a:1 | d:1", "~d -d/a"),
            ("a:1 | n/ n/m/ n/m/x:1", "=a +n +n/m +n/m/x"),
            ("a:1 | -a a:1", "=a"),
            ("a:1 | -b", "=a"),
            ("d/ d/a:1 | d/", "=d =d/a"),
            ("a:1 | b:1 | c:1", "=a =b +c"),
            ("a:1 b:1 | -a | c:1", "=b +c"),
        ] {
            check(Compared::Layer, layers, expected);
        }
    }

    #[test]
    fn layers_together_are_compared_with_the_first() {
        for (layers, expected) in [
            ("a:1", "=a"),
            ("a:1 | b:1 | c:1", "=a +b +c"),
            ("a:1 | b:1 | b:2", "=a +b"),
            ("a:1 | b:1 | -b", "=a -b"),
            ("a:1 | -a | a:1", "=a"),
            ("a:1 | -a | a:2", "~a"),
            ("d/ d/a:1 | d/b:1 | d/-b", "~d =d/a -d/b"),
        ] {
            check(Compared::Aggregated, layers, expected);
        }
    }

    #[test]
    fn a_folder_is_as_large_as_what_is_left_in_it() {
        let image = Analysis::of(&layers("d/ d/a:5 d/b:7 e/ e/f:3 | d/-a -e"), Compat::Corrected, false).unwrap();
        let tree = Difference::at(&image.layers, 1, Compared::Layer);
        let size = |name: &[u8]| tree.children[name].size_bytes();
        assert_eq!((size(b"d"), size(b"e"), tree.size_bytes()), (7, 3, 7));
    }
}
