//! Which bytes would a flat image not have (`spec/analyze.md` section 3.1)?

use std::collections::HashMap;

use crate::layer::Layer;
use crate::stack::stacked;
use crate::tree::{FILE, Node, removed_by};

/// What is stored and not seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    pub stored_bytes: u64,
    /// Of what is left when the layers lie on each other.
    pub visible_bytes: u64,
    /// Copies of visible files that have the content of another one.
    pub duplicate_bytes: u64,
    /// Paths (with a leading `/`) of hidden copies and their bytes, those with most first.
    pub paths: Vec<(Vec<u8>, u64)>,
}

impl Hidden {
    pub fn reclaimable_bytes(&self) -> u64 {
        self.stored_bytes - self.visible_bytes
    }

    pub(crate) fn of(layers: &[Layer]) -> Hidden {
        let visible = stacked(layers);
        let mut stored: HashMap<Vec<u8>, u64> = HashMap::new();
        for layer in layers {
            each_file(&layer.root, |path, node| *stored.entry(path).or_default() += node.size_bytes());
        }
        let mut contents: HashMap<(u64, u64), u64> = HashMap::new();
        each_file(&visible, |path, node| {
            if let Some(bytes) = stored.get_mut(&path) {
                *bytes -= node.size_bytes();
            }
            if let Some(entry) = node.entry.as_ref().filter(|entry| entry.type_flag == FILE) {
                *contents.entry((entry.content, entry.size_bytes)).or_default() += 1;
            }
        });
        let mut paths: Vec<_> = stored.into_iter().filter(|(_, bytes)| *bytes > 0).collect();
        paths.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Hidden {
            stored_bytes: layers.iter().map(|layer| layer.size_bytes).sum(),
            visible_bytes: visible.total_bytes(),
            duplicate_bytes: contents.iter().map(|((_, size_bytes), n)| size_bytes * (n - 1)).sum(),
            paths,
        }
    }
}

/// Calls `visit` for all that takes space.
fn each_file(root: &Node, mut visit: impl FnMut(Vec<u8>, &Node)) {
    root.visit(&mut |path, node| {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if node.size_bytes() > 0 && removed_by(name).is_none() {
            visit([b"/", path].concat(), node);
        }
        true
    });
}

#[cfg(test)]
mod tests {
    use crate::testing::layers;
    use crate::{Analysis, Compat};

    #[test]
    fn copies_are_told_by_path() {
        let image = Analysis::of(&layers("a:9 d/ d/b:5 c:7 | a:9 -d | c:8"), Compat::Corrected, false).unwrap();
        let expected: [(&[u8], u64); 3] = [(b"/a", 9), (b"/c", 7), (b"/d/b", 5)];
        let found: Vec<(&[u8], u64)> = image.hidden.paths.iter().map(|(path, bytes)| (&path[..], *bytes)).collect();
        assert_eq!(found, expected);
        assert_eq!((image.hidden.visible_bytes, image.hidden.reclaimable_bytes()), (17, 21));
    }

    #[test]
    fn equal_files_at_several_places() {
        // Contents of the test's layers depend on the size only.
        let image = Analysis::of(&layers("a:9 b:9 | c:9 d:8 | -b"), Compat::Corrected, false).unwrap();
        assert_eq!(image.hidden.duplicate_bytes, 9);
    }
}
