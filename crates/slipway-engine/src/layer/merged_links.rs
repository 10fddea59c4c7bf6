//! Answers one question: which names of a merged tree are one file of the image?
//!
//! Hard links hold within a layer. COPY saves bytes by linking files of one layer into another, so that two names of one
//! inode may be two files of the image: they are one only if they come from the same layer.

use std::collections::HashMap;
use std::io;

use rustix::fs::Stat;
use slipway_store::{Snapshot, Store};

use crate::rootfs::{Root, TreePath};

/// The names that a walk over a snapshot's view has met.
pub(crate) struct MergedLinks {
    /// Top first.
    layers: Vec<Root>,
    /// By device and inode, the first name of every file that shares it.
    names: HashMap<(u64, u64), Vec<TreePath>>,
}

impl MergedLinks {
    /// For a walk over the view of `snapshot`.
    pub(crate) fn of(store: &Store, snapshot: &Snapshot) -> io::Result<MergedLinks> {
        let layers = snapshot.layers().iter().rev().map(|layer| Root::open(&store.layer_path(layer)));
        Ok(MergedLinks { layers: layers.collect::<Result<_, _>>()?, names: HashMap::new() })
    }

    /// For a walk over files of which no two names are one file.
    pub(crate) fn none() -> MergedLinks {
        MergedLinks { layers: Vec::new(), names: HashMap::new() }
    }

    /// The name met earlier that is the same file as `path`, which is no folder. Without one, `path` is the first.
    pub(crate) fn earlier(&mut self, path: &[u8], stat: &Stat) -> Option<TreePath> {
        if stat.st_nlink < 2 {
            return None;
        }
        let path = TreePath::clean(path);
        let names = self.names.entry((stat.st_dev, stat.st_ino)).or_default();
        // Most inodes have one name in the tree, and looking through the layers takes time.
        if !names.is_empty()
            && let Some(layer) = origin(&self.layers, &path)
            && let Some(first) = names.iter().find(|name| origin(&self.layers, name) == Some(layer))
        {
            return Some(first.clone());
        }
        names.push(path);
        None
    }
}

/// The layer that the visible `path` comes from: the topmost one that has it, or else a layer above would hide it.
fn origin(layers: &[Root], path: &TreePath) -> Option<usize> {
    layers.iter().position(|layer| layer.try_stat(path).is_ok())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn one_inode_in_two_layers_is_two_files() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir(at("top")).unwrap();
        fs::create_dir(at("bottom")).unwrap();
        fs::write(at("bottom/a"), "x").unwrap();
        for name in ["bottom/b", "top/c", "top/d"] {
            fs::hard_link(at("bottom/a"), at(name)).unwrap();
        }
        let layers = ["top", "bottom"].map(|layer| Root::open(&at(layer)).unwrap()).into();
        let mut links = MergedLinks { layers, names: HashMap::new() };
        let stat = rustix::fs::stat(at("bottom/a")).unwrap();
        let met = ["a", "b", "c", "d"].map(|name| links.earlier(name.as_bytes(), &stat));
        assert_eq!(met, [None, Some(TreePath::clean("a")), None, Some(TreePath::clean("c"))]);
    }
}
