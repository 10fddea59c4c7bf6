//! What does a layer change of those below it (`spec/analyze.md` section 5.1)?

use std::collections::BTreeMap;

use crate::layer::Layer;
use crate::stack::{Stacking, put_upon};
use crate::tree::{Entry, Node, removed_by};

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Unmodified,
    Modified,
    Added,
    Removed,
}

/// How many paths each layer adds, modifies and removes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) added: usize,
    pub(crate) modified: usize,
    pub(crate) removed: usize,
}

/// What of the tree `lower` is different in `upper`, a layer or layers: each path of either with what became of it.
pub(crate) fn changes_of(lower: &Node, upper: &Node) -> BTreeMap<Vec<u8>, Change> {
    let mut changes = BTreeMap::new();
    compare(Some(lower), upper, &mut Vec::new(), &mut changes);
    changes
}

/// Counts for all layers; the first one has nothing to be compared with.
pub(crate) fn counts(layers: &[Layer]) -> Vec<Counts> {
    let mut below = Node::default();
    let mut all = Vec::with_capacity(layers.len());
    for (index, layer) in layers.iter().enumerate() {
        let mut counts = Counts::default();
        if index > 0 {
            for change in changes_of(&below, &layer.root).values() {
                match change {
                    Change::Unmodified => {}
                    Change::Modified => counts.modified += 1,
                    Change::Added => counts.added += 1,
                    Change::Removed => counts.removed += 1,
                }
            }
        }
        all.push(counts);
        put_upon(&mut below, &layer.root, Stacking::TRUE);
    }
    all
}

/// Notes the changes below a folder, and says whether there are any.
fn compare(lower: Option<&Node>, upper: &Node, path: &mut Vec<u8>, changes: &mut BTreeMap<Vec<u8>, Change>) -> bool {
    let mut is_changed = false;
    let is_removed = |name: &[u8]| {
        let is_replaced = || !upper.children.contains_key(name);
        let whiteout = [crate::tree::WHITEOUT, name].concat();
        (upper.is_opaque || upper.children.contains_key(&whiteout[..])) && is_replaced()
    };
    for (name, node) in lower.iter().flat_map(|lower| &lower.children) {
        let length = enter(path, name);
        if is_removed(name) {
            note_all(node, Change::Removed, path, changes);
            is_changed = true;
        } else if !upper.children.contains_key(name) {
            note_all(node, Change::Unmodified, path, changes);
        }
        path.truncate(length);
    }
    for (name, node) in upper.children.iter().filter(|(name, _)| removed_by(name).is_none()) {
        let length = enter(path, name);
        let before = lower.and_then(|lower| lower.children.get(name));
        let change = match before {
            None => {
                note_all(node, Change::Added, path, changes);
                Change::Added
            }
            Some(before) => {
                let is_own = node.entry.as_ref().is_some_and(|entry| !is_same(before.entry.as_ref(), entry));
                // What takes the place of a folder leaves nothing of it.
                let is_below = match &node.entry {
                    Some(entry) if !entry.is_dir() => {
                        let mut is_below = false;
                        for (name, child) in &before.children {
                            let length = enter(path, name);
                            note_all(child, Change::Removed, path, changes);
                            path.truncate(length);
                            is_below = true;
                        }
                        is_below
                    }
                    _ => compare(Some(before), node, path, changes),
                };
                if is_own || is_below { Change::Modified } else { Change::Unmodified }
            }
        };
        changes.insert(path.clone(), change);
        is_changed |= change != Change::Unmodified;
        path.truncate(length);
    }
    is_changed
}

/// Adds a component to `path`, and returns its length before.
fn enter(path: &mut Vec<u8>, name: &[u8]) -> usize {
    let length = path.len();
    if length > 0 {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    length
}

fn note_all(node: &Node, change: Change, path: &mut Vec<u8>, changes: &mut BTreeMap<Vec<u8>, Change>) {
    changes.insert(path.clone(), change);
    for (name, child) in &node.children {
        let length = enter(path, name);
        note_all(child, change, path, changes);
        path.truncate(length);
    }
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

    /// One letter and path for each change.
    fn changes(text: &str) -> String {
        let image = Analysis::of(&layers(text), Compat::Corrected, false).unwrap();
        let (last, below) = image.layers.split_last().unwrap();
        let letter = |change: &Change| match change {
            Change::Unmodified => '=',
            Change::Modified => '~',
            Change::Added => '+',
            Change::Removed => '-',
        };
        let changes = changes_of(&crate::stack::stacked(below), &last.root);
        let item = |(path, change): (&Vec<u8>, &Change)| format!("{}{}", letter(change), String::from_utf8_lossy(path));
        changes.iter().map(item).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn states() {
        for (layers, expected) in [
            ("a:1 b:1 | c:1", "=a =b +c"),
            ("a:1 b:1 | a:1 b:2", "=a ~b"),
            ("d/ d/a:1 d/b:1 | d/ d/a:2", "~d ~d/a =d/b"),
            ("d/ d/a:1 | d/-a", "~d -d/a"),
            ("d/ d/a:1 e:1 | -d", "-d -d/a =e"),
            ("d/ d/a:1 | d/ d! d/b:1", "~d -d/a +d/b"),
            ("d/ d/a:1 | d:1", "~d -d/a"),
            ("a:1 | n/ n/m/ n/m/x:1", "=a +n +n/m +n/m/x"),
            ("a:1 | -a a:1", "=a"),
            ("d/ d/a:1 | d/", "=d =d/a"),
        ] {
            assert_eq!(changes(layers), expected, "{layers}");
        }
    }
}
