//! Which files are seen when the layers lie on each other, and which layer is each of them from?

use std::collections::BTreeMap;

use crate::layer::Layer;
use crate::tree::{Node, removed_by};

/// Calls `visit` with the path (without a leading `/`), the node and the index of its layer, for all that is visible and
/// takes space.
pub(crate) fn each_visible<'a>(layers: &'a [Layer], mut visit: impl FnMut(&[u8], &'a Node, usize)) {
    let roots: Vec<(usize, &Node)> = layers.iter().enumerate().map(|(index, layer)| (index, &layer.root)).collect();
    walk(&roots, &mut Vec::new(), &mut visit);
}

/// What the folders `stack`, one upon the other, have below them. As [`crate::stack::put_upon`] puts it together.
fn walk<'a>(stack: &[(usize, &'a Node)], path: &mut Vec<u8>, visit: &mut impl FnMut(&[u8], &'a Node, usize)) {
    let mut children: BTreeMap<&'a [u8], Vec<(usize, &'a Node)>> = BTreeMap::new();
    for (layer, node) in stack {
        if node.is_opaque {
            children.clear();
        }
        for removed in node.children.keys().filter_map(|name| removed_by(name)) {
            children.remove(removed);
        }
        for (name, child) in node.children.iter().filter(|(name, _)| removed_by(name).is_none()) {
            let below = children.entry(name).or_default();
            if child.entry.as_ref().is_some_and(|entry| !entry.is_dir()) {
                below.clear();
            }
            below.push((*layer, child));
        }
    }
    let length = path.len();
    for (name, nodes) in children {
        if length > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        // A folder that no entry of a layer is about is as those below say.
        let top = nodes.iter().rfind(|(_, node)| node.entry.is_some());
        if let Some((layer, node)) = top.filter(|(_, node)| node.size_bytes() > 0) {
            visit(path, node, *layer);
        }
        walk(&nodes, path, visit);
        path.truncate(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::stacked;
    use crate::testing::layers;
    use crate::{Analysis, Compat};

    #[test]
    fn what_is_visible_is_what_the_stack_has() {
        for (text, expected) in [
            ("a:1 d/ d/b:2 | a:3 d/c:4 | -a", "d/b@0 d/c@1"),
            ("d/ d/a:1 | d/ d! d/b:2 | d/c:3", "d/b@1 d/c@2"),
            ("d/ d/a:1 | d:5", "d@1"),
            ("d:5 | d/ d/a:1", "d/a@1"),
            ("a:1 | -a | a:2", "a@2"),
            ("d/a:1 | d/ | d/b:1", "d/a@0 d/b@2"),
            ("d/ d/e/ d/e/a:7 | -d d/b:1", "d/b@1"),
        ] {
            let image = Analysis::of(&layers(text), Compat::Corrected, false).unwrap();
            let (mut found, mut bytes) = (Vec::new(), 0);
            each_visible(&image.layers, |path, node, layer| {
                found.push(format!("{}@{layer}", String::from_utf8_lossy(path)));
                bytes += node.size_bytes();
            });
            assert_eq!(found.join(" "), expected, "{text}");
            assert_eq!(bytes, stacked(&image.layers).total_bytes(), "{text}");
        }
    }
}
