//! What does an image look like when its layers lie on each other?

use std::collections::BTreeMap;

use crate::layer::Layer;
use crate::tree::{Node, removed_by};

/// What becomes of a layer's odder marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stacking {
    /// An opaque folder hides what lower layers have in it.
    pub(crate) honours_opaque: bool,
    /// What is in a directory is gone when a file takes its place.
    pub(crate) drops_below_files: bool,
}

impl Stacking {
    /// As a file system does it.
    pub(crate) const TRUE: Stacking = Stacking { honours_opaque: true, drops_below_files: true };
}

/// The tree that `layers` form together.
pub(crate) fn stacked(layers: &[Layer]) -> Node {
    let mut stack = Node::default();
    layers.iter().for_each(|layer| put_upon(&mut stack, &layer.root, Stacking::TRUE));
    stack
}

/// Puts the tree `upper` of a layer upon `lower`.
pub(crate) fn put_upon(lower: &mut Node, upper: &Node, stacking: Stacking) {
    if upper.is_opaque && stacking.honours_opaque {
        lower.children = BTreeMap::new();
    }
    // First what is removed: the same layer may put something else in its place.
    for removed in upper.children.keys().filter_map(|name| removed_by(name)) {
        lower.children.remove(removed);
    }
    for (name, node) in upper.children.iter().filter(|(name, _)| removed_by(name).is_none()) {
        if !lower.children.contains_key(name) {
            lower.children.insert(name.clone(), Node::default());
        }
        let below = lower.children.get_mut(name).expect("because it was put there");
        if let Some(entry) = &node.entry {
            if !entry.is_dir() && stacking.drops_below_files {
                below.children = BTreeMap::new();
            }
            below.entry = Some(entry.clone());
        }
        put_upon(below, node, stacking);
    }
}
