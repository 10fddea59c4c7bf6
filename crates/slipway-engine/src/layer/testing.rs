//! Archives and folders for the tests of this module.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

pub(super) use slipway_test::raw_tar::{Raw, archive};

use super::tar_reader::TarReader;
use super::tar_writer::EntryKind;
use super::untar::{self, Meaning, UntarError};

/// `dir 0755 0:0 5 a/`, with ` -> target` for links, `=size` for files and `=major,minor` for devices, for each entry.
pub(super) fn listing(archive: &[u8]) -> Vec<String> {
    let mut reader = TarReader::new(archive);
    let mut lines = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let path = String::from_utf8_lossy(&entry.path).into_owned();
        let (major, minor) = entry.device;
        let link = String::from_utf8_lossy(&entry.link).into_owned();
        let (kind, more) = match entry.kind {
            EntryKind::File => ("file", format!(" ={}", entry.size)),
            EntryKind::HardLink => ("hard", format!(" -> {link}")),
            EntryKind::Symlink => ("link", format!(" -> {link}")),
            EntryKind::CharDevice => ("char", format!(" ={major},{minor}")),
            EntryKind::BlockDevice => ("block", format!(" ={major},{minor}")),
            EntryKind::Directory => ("dir", String::new()),
            EntryKind::Fifo => ("fifo", String::new()),
        };
        let (uid, gid, mtime) = (entry.uid, entry.gid, entry.mtime.0);
        let xattrs = if entry.xattrs.is_empty() { "" } else { " +xattr" };
        lines.push(format!("{kind} {:04o} {uid}:{gid} {mtime} {path}{more}{xattrs}", entry.mode));
    }
    lines
}

/// Opens a folder that a test made.
pub(super) fn open(path: &Path) -> OwnedFd {
    untar::open_host_dir(path).unwrap()
}

/// Unpacks into the folder `path`.
pub(super) fn unpack(archive: &[u8], path: &Path, meaning: Meaning) -> Result<(), UntarError> {
    untar::unpack(archive, open(path).as_fd(), meaning).map(drop)
}

/// Without root neither devices nor foreign owners can be made, and the tests that call this would show nothing.
pub(super) fn require_root() {
    assert!(rustix::process::geteuid().is_root(), "this test makes devices and foreign owners: run it as root");
}

/// A folder to unpack into, and files beside it that must never change.
pub(super) struct Cage {
    parent: tempfile::TempDir,
}

impl Cage {
    pub(super) fn new() -> Cage {
        let parent = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(parent.path().join("target")).unwrap();
        std::fs::create_dir_all(parent.path().join("canary/folder")).unwrap();
        std::fs::write(parent.path().join("canary/file"), "untouched").unwrap();
        Cage { parent }
    }

    pub(super) fn target(&self) -> PathBuf {
        self.parent.path().join("target")
    }

    pub(super) fn canary(&self) -> PathBuf {
        self.parent.path().join("canary")
    }

    /// All that is outside of the target: names, metadata and content.
    pub(super) fn outside(&self) -> Vec<String> {
        use std::os::unix::fs::MetadataExt;
        let describe = |path: &Path| {
            let meta = path.symlink_metadata().unwrap();
            let content = if meta.is_file() { std::fs::read(path).unwrap() } else { Vec::new() };
            let (mode, owner, links) = (meta.mode(), (meta.uid(), meta.gid()), meta.nlink());
            format!("{} {mode:o} {owner:?} {links} {} {content:?}", path.display(), meta.mtime_nsec())
        };
        let mut lines = Vec::new();
        for folder in [self.parent.path().to_owned(), self.canary(), self.canary().join("folder")] {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path != self.target() {
                    lines.push(describe(&path));
                }
            }
        }
        lines.sort();
        lines
    }
}
