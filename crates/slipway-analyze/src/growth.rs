//! What did an image grow by, and which of its layers did it?

use std::collections::BTreeMap;

use crate::Analysis;
use crate::layer::Layer;
use crate::stack::stacked;

/// Two images compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growth {
    /// Files whose visible size differs, and those that are in one image only; those that grew most first.
    pub files: Vec<GrownFile>,
}

/// A file that has another size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrownFile {
    /// With a leading `/`.
    pub path: Vec<u8>,
    pub before_bytes: u64,
    pub after_bytes: u64,
    /// The layer it comes from: of the later image, or, if it is not in that, of the earlier one.
    pub layer: usize,
}

impl GrownFile {
    /// By how much it grew; negative if it shrank.
    pub fn bytes(&self) -> i128 {
        i128::from(self.after_bytes) - i128::from(self.before_bytes)
    }
}

impl Growth {
    /// From `before` to `after`.
    pub fn between(before: &Analysis, after: &Analysis) -> Growth {
        let mut sizes: BTreeMap<Vec<u8>, GrownFile> = BTreeMap::new();
        for (image, is_after) in [(before, false), (after, true)] {
            for (path, (bytes, layer)) in visible_files(&image.layers) {
                let made = || GrownFile { path: path.clone(), before_bytes: 0, after_bytes: 0, layer };
                let file = sizes.entry(path.clone()).or_insert_with(made);
                file.layer = layer;
                *(if is_after { &mut file.after_bytes } else { &mut file.before_bytes }) = bytes;
            }
        }
        let mut files: Vec<_> = sizes.into_values().filter(|file| file.bytes() != 0).collect();
        files.sort_by(|a, b| b.bytes().cmp(&a.bytes()).then_with(|| a.path.cmp(&b.path)));
        Growth { files }
    }
}

/// Sizes of all visible files, and the layers they come from.
fn visible_files(layers: &[Layer]) -> BTreeMap<Vec<u8>, (u64, usize)> {
    let mut files = BTreeMap::new();
    stacked(layers).visit(&mut |path, node| {
        if node.size_bytes() > 0 {
            let is_there = |layer: &Layer| layer.root.get(path).is_some_and(|node| node.entry.is_some());
            let layer = layers.iter().rposition(is_there).unwrap_or_default();
            files.insert([b"/", path].concat(), (node.size_bytes(), layer));
        }
        true
    });
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Compat;
    use crate::testing::layers;

    #[test]
    fn grown_files_come_with_their_layers() {
        let of = |text: &str| Analysis::of(&layers(text), Compat::Corrected, false).unwrap();
        let growth = Growth::between(&of("a:10 b:5 | c:7"), &of("a:10 | b:9 d:100 | e:0 -a"));
        let found: Vec<(&[u8], i128, usize)> =
            growth.files.iter().map(|file| (&file.path[..], file.bytes(), file.layer)).collect();
        let expected: [(&[u8], i128, usize); 4] = [(b"/d", 100, 1), (b"/b", 4, 1), (b"/c", -7, 1), (b"/a", -10, 0)];
        assert_eq!(found, expected);
    }
}
