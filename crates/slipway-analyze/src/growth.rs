//! What did an image grow by, and which of its layers did it?

use std::collections::BTreeMap;

use crate::Analysis;
use crate::visible::each_visible;

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

    /// Whether the later image has it.
    pub fn is_there(&self) -> bool {
        self.after_bytes > 0
    }
}

impl Growth {
    /// From `before` to `after`.
    pub fn between(before: &Analysis, after: &Analysis) -> Growth {
        let mut sizes: BTreeMap<Vec<u8>, GrownFile> = BTreeMap::new();
        for (image, is_after) in [(before, false), (after, true)] {
            each_visible(&image.layers, |path, node, layer| {
                let path = [b"/", path].concat();
                let made = || GrownFile { path: path.clone(), before_bytes: 0, after_bytes: 0, layer };
                let file = sizes.entry(path.clone()).or_insert_with(made);
                file.layer = layer;
                *(if is_after { &mut file.after_bytes } else { &mut file.before_bytes }) = node.size_bytes();
            });
        }
        let mut files: Vec<_> = sizes.into_values().filter(|file| file.bytes() != 0).collect();
        files.sort_by(|a, b| b.bytes().cmp(&a.bytes()).then_with(|| a.path.cmp(&b.path)));
        Growth { files }
    }

    /// What each layer has to do with it, in bytes, those that changed most first. A layer is of the later image, or, for
    /// what is not in that, of the earlier one.
    pub fn by_layer(&self) -> Vec<GrownLayer> {
        let mut layers: BTreeMap<(bool, usize), i128> = BTreeMap::new();
        for file in &self.files {
            *layers.entry((file.is_there(), file.layer)).or_default() += file.bytes();
        }
        let layer = |((is_of_later, layer), bytes)| GrownLayer { is_of_later, layer, bytes };
        let mut layers: Vec<GrownLayer> = layers.into_iter().map(layer).collect();
        layers.sort_by_key(|layer| std::cmp::Reverse(layer.bytes.unsigned_abs()));
        layers
    }
}

/// A layer with files that have another size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrownLayer {
    /// Whether it is a layer of the later image.
    pub is_of_later: bool,
    pub layer: usize,
    /// By how much its files grew, all together; negative if they shrank.
    pub bytes: i128,
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
        let layers: Vec<(bool, usize, i128)> =
            growth.by_layer().iter().map(|layer| (layer.is_of_later, layer.layer, layer.bytes)).collect();
        assert_eq!(layers, [(true, 1, 104), (false, 0, -10), (false, 1, -7)]);
    }
}
