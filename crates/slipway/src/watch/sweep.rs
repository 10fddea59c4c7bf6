//! What do files look like now, and which look different?

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use slipway_dockerfile::{IgnoreRules, Verdict};

use super::is_within;
use super::sources::{Folder, Sources};

/// What is seen of a file without reading it.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    mode: u32,
    size_bytes: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// A folder changes when something is written into it that may be left out, so only its mode counts.
    fn of(metadata: &Metadata) -> Stamp {
        match metadata.is_dir() {
            true => Stamp { inode: 0, mode: metadata.mode(), size_bytes: 0, modified: (0, 0) },
            false => Stamp {
                inode: metadata.ino(),
                mode: metadata.mode(),
                size_bytes: metadata.len(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
            },
        }
    }
}

/// What all files looked like at one time. What is not there has no stamp.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sweep {
    stamps: BTreeMap<PathBuf, Stamp>,
}

impl Sweep {
    /// Looks at the files of all `sources`.
    pub(crate) fn of<'a>(sources: impl IntoIterator<Item = &'a Sources>) -> Sweep {
        let mut sweep = Sweep::default();
        sources.into_iter().for_each(|sources| sweep.add(sources));
        sweep
    }

    /// What was there.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.stamps.keys()
    }

    /// Looks at the files of `sources`. One that cannot be looked at counts as gone.
    pub(super) fn add(&mut self, sources: &Sources) {
        for folder in &sources.folders {
            self.add_folder(folder, &folder.rules(), "", &Verdict::default());
        }
        for path in &sources.files {
            // What a link leads to is what is read.
            if let Ok(metadata) = fs::metadata(path) {
                self.stamps.insert(path.clone(), Stamp::of(&metadata));
            }
        }
    }

    /// `below` is the path of a folder in the one that the rules are for.
    fn add_folder(&mut self, folder: &Folder, rules: &IgnoreRules, below: &str, verdict: &Verdict) {
        let Ok(entries) = fs::read_dir(folder.path.join(below)) else { return };
        for entry in entries.flatten() {
            // A name that is no text is in no Dockerfile, and a copy of its folder is made with the others.
            let name = entry.file_name().to_string_lossy().into_owned();
            let relative = if below.is_empty() { name } else { format!("{below}/{name}") };
            let verdict = rules.verdict(&relative, verdict);
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() && rules.must_walk(&relative, &verdict) {
                self.add_folder(folder, rules, &relative, &verdict);
            }
            if !verdict.is_excluded() {
                self.stamps.insert(folder.path.join(&relative), Stamp::of(&metadata));
            }
        }
    }

    /// Forgets what is at `path` and below it.
    pub(super) fn leave_out(&mut self, path: &Path) {
        self.stamps.retain(|seen, _| !is_within(seen, path));
    }

    /// Paths that are new, gone or different.
    pub(super) fn differences(&self, before: &Sweep) -> BTreeSet<PathBuf> {
        let new = self.stamps.iter().filter(|(path, stamp)| before.stamps.get(*path) != Some(stamp));
        let gone = before.stamps.keys().filter(|path| !self.stamps.contains_key(*path));
        new.map(|(path, _)| path).chain(gone).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_makes_no_difference() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("out/deep")).unwrap();
        fs::create_dir_all(path("src")).unwrap();
        fs::write(path("Dockerfile.dockerignore"), "out\n!out/keep\n*.log\n").unwrap();
        let request_sources = |context: &Path| {
            use slipway_graph::request::flags::BuildFlags;
            let flags = BuildFlags { context: context.display().to_string(), ..BuildFlags::default() };
            Sources::of_request(
                &slipway_graph::request::BuildRequest::from_flags(&flags, &crate::surroundings::ThisMachine).unwrap(),
            )
        };
        let sources = request_sources(folder.path());
        let look = || {
            let mut sweep = Sweep::default();
            sweep.add(&sources);
            sweep
        };
        let changed_by = |write: &dyn Fn()| -> Vec<PathBuf> {
            let before = look();
            write();
            let changed = look().differences(&before);
            changed.into_iter().inspect(|path| assert!(sources.has(path), "{}", path.display())).collect()
        };
        assert_eq!(changed_by(&|| fs::write(path("src/a"), "1").unwrap()), [path("src/a")]);
        assert_eq!(changed_by(&|| fs::write(path("src/a"), "longer").unwrap()), [path("src/a")]);
        assert_eq!(changed_by(&|| fs::write(path("out/keep"), "x").unwrap()), [path("out/keep")]);
        for ignored in ["out/deep/x", "out/y", "a.log"] {
            assert_eq!(changed_by(&|| fs::write(path(ignored), "x").unwrap()), [""; 0].map(PathBuf::from), "{ignored}");
        }
        assert_eq!(changed_by(&|| fs::rename(path("src/a"), path("src/b")).unwrap()), [path("src/a"), path("src/b")]);
        let before = look();
        fs::write(path("Dockerfile.dockerignore"), "*.log\n").unwrap();
        let changed = look().differences(&before);
        for path in [path("Dockerfile.dockerignore"), path("out/y")] {
            assert!(changed.contains(&path) && sources.has(&path), "{}", path.display());
        }
    }
}
