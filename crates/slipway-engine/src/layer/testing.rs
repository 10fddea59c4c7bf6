//! Archives and folders for the tests of this module.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::tar_reader::TarReader;
use super::tar_writer::EntryKind;
use super::untar::{self, Meaning, UntarError};

/// One header block and its data, every field of which may be nonsense.
pub(super) struct Raw(pub(super) [u8; 512], pub(super) Vec<u8>);

impl Raw {
    /// A well-formed entry of type `flag`.
    pub(super) fn new(flag: u8, path: &[u8]) -> Raw {
        let mut raw = Raw([0; 512], Vec::new());
        raw.0[257..265].copy_from_slice(b"ustar\x0000");
        raw.0[156] = flag;
        raw.field(0, &path[..path.len().min(100)])
            .field(100, b"0000755\0")
            .field(108, b"0000000\0")
            .field(116, b"0000000\0")
            .field(124, b"00000000000\0")
            .field(136, b"00000000005\0")
    }

    pub(super) fn file(path: &[u8], data: &[u8]) -> Raw {
        Raw::new(b'0', path).data(data)
    }

    pub(super) fn symlink(path: &[u8], target: &[u8]) -> Raw {
        Raw::new(b'2', path).field(157, target)
    }

    pub(super) fn hard_link(path: &[u8], target: &[u8]) -> Raw {
        Raw::new(b'1', path).field(157, target)
    }

    /// An extended header with these records, their lengths being right.
    pub(super) fn records(records: &[(&str, &[u8])]) -> Raw {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (rest..).find(|length| length.to_string().len() + rest == *length).unwrap();
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        Raw::new(b'x', b"PaxHeaders.0/x").data(&data)
    }

    /// Sets bytes of the header.
    pub(super) fn field(mut self, at: usize, bytes: &[u8]) -> Raw {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Sets data and size.
    pub(super) fn data(self, data: &[u8]) -> Raw {
        let size = format!("{:011o}\0", data.len());
        let mut raw = self.field(124, size.as_bytes());
        raw.1 = data.to_vec();
        raw
    }
}

/// An archive of `entries` with right checksums, and two empty blocks.
pub(super) fn archive(entries: Vec<Raw>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Raw(mut header, data) in entries {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(&data);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

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
