//! Which files did a step read, in a form that can be kept and compared with that of a later build?
//!
//! Holds what the digest of a selection is made of (see [`super::digest`]), a line a file, in few bytes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rustix::fs::FileType;
use slipway_oci::Digest;

use super::digest::{Digested, FileDigests};
use super::scan::{Forest, ScannedEntry, What};
use crate::rootfs::Meta;

/// Longer lists are not kept.
const MAX_FILES: usize = 20_000;

/// What is known of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileState {
    /// `file`, `folder`, `link`, `other`.
    pub(crate) kind: String,
    /// Permission bits, octal.
    pub(crate) mode: String,
    /// `uid:gid`.
    pub(crate) owner: String,
    /// Tells contents apart: of a file its digest, of a link its text.
    pub(crate) content: String,
}

/// Files by path from the top of their tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest(pub(crate) BTreeMap<String, FileState>);

impl Manifest {
    /// Whether the files of a selection are few enough to be listed.
    pub(crate) fn can_list(digested: &Digested) -> bool {
        digested.n_entries() <= MAX_FILES
    }

    /// The files of a selection.
    pub(crate) fn of(digested: &Digested) -> Manifest {
        Manifest(file_states(&digested.forest, &digested.files))
    }

    /// A line a file: kind, mode, owner, content, path.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        for (path, FileState { kind, mode, owner, content }) in &self.0 {
            // A name may hold newlines, but no zero; blanks only matter before the path.
            let path = path.replace('\n', "\0");
            let _ = writeln!(text, "{kind} {mode} {owner} {content} {path}");
        }
        text
    }

    /// Reads what [`Manifest::to_text`] wrote; `None` if it is something else.
    pub(crate) fn from_text(text: &str) -> Option<Manifest> {
        let read = |line: &str| {
            let mut words = line.splitn(5, ' ').map(str::to_owned);
            let state =
                FileState { kind: words.next()?, mode: words.next()?, owner: words.next()?, content: words.next()? };
            Some((words.next()?.replace('\0', "\n"), state))
        };
        text.lines().map(read).collect::<Option<_>>().map(Manifest)
    }
}

fn file_states(forest: &Forest, files: &FileDigests) -> BTreeMap<String, FileState> {
    let mut states = BTreeMap::new();
    for (dir, contents) in forest.dirs.iter().zip(files) {
        for (entry, content) in dir.entries.iter().zip(contents) {
            let path = dir.path.join(&entry.name);
            // A folder's own owner and mode are kept with the folder, not where it is listed.
            let meta = match entry.what {
                What::Dir(id) => &forest.dirs[id].meta,
                What::Link(_) | What::Other => &entry.meta,
            };
            let path = String::from_utf8_lossy(path.as_bytes()).trim_start_matches('/').to_owned();
            states.insert(path, state(entry, meta, content));
        }
    }
    states
}

fn state(entry: &ScannedEntry, meta: &Meta, content: &[u8; 32]) -> FileState {
    let content = match &entry.what {
        What::Dir(_) => "-".to_owned(),
        What::Link(target) => Digest::of(target).hex()[..16].to_owned(),
        What::Other => content[..8].iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    let kind = match meta.kind {
        FileType::RegularFile => "file",
        FileType::Directory => "folder",
        FileType::Symlink => "link",
        _ => "other",
    };
    let mode = if meta.is_link() { 0 } else { meta.mode };
    FileState {
        kind: kind.to_owned(),
        mode: format!("{mode:04o}"),
        owner: format!("{}:{}", meta.uid, meta.gid),
        content,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_can_be_kept() {
        let state = |content: &str| FileState {
            kind: "file".to_owned(),
            mode: "0644".to_owned(),
            owner: "0:0".to_owned(),
            content: content.to_owned(),
        };
        let names = ["a", "with blank", "two\nlines", "back\\slash"];
        let manifest = Manifest(names.into_iter().map(|name| (name.to_owned(), state("ab"))).collect());
        assert_eq!(Manifest::from_text(&manifest.to_text()), Some(manifest));
        assert_eq!(Manifest::from_text("torn off"), None);
    }
}
