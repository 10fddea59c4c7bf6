//! What a step finds in `/dev`: six harmless devices, the links that programs expect, and empty mount points.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mkdirat, mknodat, symlinkat};
use rustix::io::Errno;

use crate::call::{CallError, Named};
use crate::mounts::{self, Attributes};
use crate::rooted;

/// Name, major and minor number (the kernel's `admin-guide/devices.txt`).
const NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

const MOUNT_POINTS: [&str; 3] = ["pts", "shm", "mqueue"];

/// A filled but still detached `/dev`.
pub(crate) struct Devices {
    pub(crate) mount: OwnedFd,
    /// Nodes of the host, to be bound once `/dev` is attached: without the right to make device nodes.
    borrowed: Vec<(&'static str, OwnedFd)>,
}

/// Makes and fills a `/dev`. Has to run while the host's `/dev` can still be seen, and with an empty umask.
pub(crate) fn prepare() -> Result<Devices, CallError> {
    let mount = mounts::fresh("tmpfs", "tmpfs", &[("size", "65536k"), ("mode", "755")], Attributes::NOSUID)?;
    for (name, target) in LINKS {
        symlinkat(target, &mount, name).named(|| format!("symlink(/dev/{name})"))?;
    }
    for name in MOUNT_POINTS {
        mkdirat(&mount, name, Mode::from(0o755)).named(|| format!("mkdir(/dev/{name})"))?;
    }
    let mut borrowed = Vec::new();
    for (name, major, minor) in NODES {
        match mknodat(&mount, name, FileType::CharacterDevice, Mode::from(0o666), makedev(major, minor)) {
            Ok(()) => {}
            Err(Errno::PERM) => borrowed.push((name, borrow(&mount, name)?)),
            Err(errno) => return Err(errno).named(|| format!("mknod(/dev/{name})")),
        }
    }
    Ok(Devices { mount, borrowed })
}

/// Takes the host's node, and makes an empty file for it to be bound on.
fn borrow(mount: &OwnedFd, name: &'static str) -> Result<OwnedFd, CallError> {
    mknodat(mount, name, FileType::RegularFile, Mode::from(0o666), 0).named(|| format!("mknod(/dev/{name})"))?;
    let host = Path::new("/dev").join(name);
    let node = rustix::fs::openat(CWD, &host, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        .named(|| format!("open({})", host.display()))?;
    mounts::bind(node, false)
}

impl Devices {
    /// Leaves these nodes as the only ones of `/dev` that can be opened, after `mount` has been attached: each becomes a
    /// mount of its own, and the file system around them loses the right to have any. A step with `CAP_MKNOD` would
    /// reach the disks of the host otherwise.
    pub(crate) fn close_to_others(&self) -> Result<(), CallError> {
        let own = NODES.iter().filter(|(name, ..)| !self.borrowed.iter().any(|(borrowed, _)| borrowed == name));
        for (name, ..) in own {
            let node = rooted::open_without_links(self.mount.as_fd(), Path::new(name), OFlags::PATH)
                .named(|| format!("open(/dev/{name})"))?;
            mounts::attach(mounts::bind(&node, false)?, &node, &format!("/dev/{name}"))?;
        }
        mounts::set_attributes(&self.mount, Attributes::NODEV, false)
    }

    /// Completes the nodes, after `mount` has been attached.
    pub(crate) fn bind_borrowed(&self) -> Result<(), CallError> {
        for (name, node) in &self.borrowed {
            let at = rooted::open_without_links(self.mount.as_fd(), Path::new(name), OFlags::PATH)
                .named(|| format!("open(/dev/{name})"))?;
            mounts::attach(node, at, &format!("/dev/{name}"))?;
        }
        Ok(())
    }
}
