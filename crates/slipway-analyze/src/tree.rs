//! The tree that the entries of a layer form, or those of layers on top of each other.
//!
//! A path is at most 4096 bytes long (the tar reader sees to that), so trees are at most 2048 deep and everything here
//! may call itself.

use std::collections::BTreeMap;

/// In front of the name of what is removed.
pub(crate) const WHITEOUT: &[u8] = b".wh.";
/// In front of names that are not about one file.
pub(crate) const META: &[u8] = b".wh..wh.";
/// What lies below in this folder is gone.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";

pub(crate) const FILE: u8 = b'0';
pub(crate) const SYMLINK: u8 = b'2';
pub(crate) const DIRECTORY: u8 = b'5';

/// What an archive says about one path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The type byte of tar.
    pub type_flag: u8,
    /// Permission, set-id and sticky bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Of regular files; everything else, hard links too, has 0.
    pub size_bytes: u64,
    pub link: Box<[u8]>,
    /// xxhash64 of the content; 0 for directories.
    pub content: u64,
}

impl Entry {
    pub fn is_dir(&self) -> bool {
        self.type_flag == DIRECTORY
    }
}

/// A path, and what lies below it.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// `None` for a folder that no entry is about, and for the root.
    pub entry: Option<Entry>,
    /// Hides what lower layers have in this folder.
    pub(crate) is_opaque: bool,
    pub children: BTreeMap<Box<[u8]>, Node>,
}

impl Node {
    pub fn size_bytes(&self) -> u64 {
        self.entry.as_ref().map_or(0, |entry| entry.size_bytes)
    }

    /// Whether an entry says that this is a directory.
    pub fn is_dir(&self) -> bool {
        self.entry.as_ref().is_some_and(Entry::is_dir)
    }

    /// The sizes of everything below, and its own.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.size_bytes() + self.children.values().map(Node::total_bytes).sum::<u64>()
    }

    /// The node at `path`, whose components are separated by `/`.
    pub(crate) fn get(&self, path: &[u8]) -> Option<&Node> {
        path.split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
            .try_fold(self, |node, name| node.children.get(name))
    }

    /// Calls `visit` with each node below this one and its path (without a leading `/`), children before parents,
    /// siblings by name. Stops as soon as `visit` says `false`.
    pub(crate) fn visit<'a>(&'a self, visit: &mut impl FnMut(&[u8], &'a Node) -> bool) -> bool {
        self.visit_below(&mut Vec::new(), visit)
    }

    fn visit_below<'a>(&'a self, path: &mut Vec<u8>, visit: &mut impl FnMut(&[u8], &'a Node) -> bool) -> bool {
        let length = path.len();
        for (name, child) in &self.children {
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            let goes_on = child.visit_below(path, visit) && visit(path, child);
            path.truncate(length);
            if !goes_on {
                return false;
            }
        }
        true
    }
}

/// The name of what an entry of that name removes.
pub(crate) fn removed_by(name: &[u8]) -> Option<&[u8]> {
    name.strip_prefix(WHITEOUT)
}

/// The components of a path, with `.`, `..` and empty ones resolved.
pub(crate) fn components(path: &[u8]) -> Vec<&[u8]> {
    let mut components = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            // Above the root there is nothing.
            b".." => drop(components.pop()),
            name => components.push(name),
        }
    }
    components
}
