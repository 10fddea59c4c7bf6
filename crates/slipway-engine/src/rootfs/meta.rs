//! What does slipway know about a file without reading it?

use rustix::fs::{FileType, Statx, StatxFlags, Timespec, Timestamps};
use slipway_sandbox::owners::Owner;

/// What `statx` is asked for.
pub(crate) const WANTED: StatxFlags = StatxFlags::BASIC_STATS;

/// A point in time as file systems keep it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time {
    /// Since 1970; negative before.
    pub secs: i64,
    pub nanos: u32,
}

impl Time {
    /// As an argument of `utimensat`, access time included.
    pub(crate) fn timestamps(self) -> Timestamps {
        let time = Timespec { tv_sec: self.secs, tv_nsec: self.nanos.into() };
        Timestamps { last_access: time, last_modification: time }
    }
}

/// What the inode says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub kind: FileType,
    /// Permission bits with setuid, setgid and sticky: at most `0o7777`.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size_bytes: u64,
    pub n_links: u32,
    /// Major and minor number of the file system's device.
    pub dev: (u32, u32),
    pub ino: u64,
    /// Major and minor number of the device that this file is.
    pub rdev: (u32, u32),
    pub mtime: Time,
    pub ctime: Time,
}

impl Meta {
    pub(crate) fn new(stat: &Statx) -> Meta {
        Meta {
            kind: FileType::from_raw_mode(stat.stx_mode.into()),
            mode: u32::from(stat.stx_mode) & 0o7777,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            size_bytes: stat.stx_size,
            n_links: stat.stx_nlink,
            dev: (stat.stx_dev_major, stat.stx_dev_minor),
            ino: stat.stx_ino,
            rdev: (stat.stx_rdev_major, stat.stx_rdev_minor),
            mtime: Time { secs: stat.stx_mtime.tv_sec, nanos: stat.stx_mtime.tv_nsec },
            ctime: Time { secs: stat.stx_ctime.tv_sec, nanos: stat.stx_ctime.tv_nsec },
        }
    }

    /// The same, if the owner is recorded rather than real: that of the recorded one.
    pub(crate) fn of_owner(self, recorded: Option<Owner>) -> Meta {
        match recorded {
            Some(Owner { uid, gid }) => Meta { uid, gid, ..self },
            None => self,
        }
    }

    /// Whether it is a folder.
    pub(crate) fn is_dir(&self) -> bool {
        self.kind == FileType::Directory
    }

    /// Whether it is a regular file.
    pub(crate) fn is_file(&self) -> bool {
        self.kind == FileType::RegularFile
    }

    /// Whether it is a symbolic link.
    pub(crate) fn is_link(&self) -> bool {
        self.kind == FileType::Symlink
    }
}
