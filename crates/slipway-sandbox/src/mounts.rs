//! Detached mounts: file systems that are mounted, but nowhere.
//!
//! A detached mount is a descriptor. Nobody's mount table shows it, and it goes away with its last descriptor, so a
//! build that is killed leaves no mount behind. Only the first process of a sandbox attaches one, in its own table.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string,
    fsmount, fsopen, move_mount, open_tree,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::call::{CallError, Named};

/// Restrictions of a mount; `false` leaves a restriction as it is, it never lifts one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// No writes through this mount.
    pub readonly: bool,
    /// Set-user-id bits and file capabilities have no effect.
    pub nosuid: bool,
    /// Device nodes cannot be opened.
    pub nodev: bool,
    /// Nothing can be executed.
    pub noexec: bool,
}

impl Attributes {
    pub(crate) const NODEV: Self = Self { readonly: false, nosuid: false, nodev: true, noexec: false };
    pub(crate) const NOSUID: Self = Self { readonly: false, nosuid: true, nodev: false, noexec: false };
    pub(crate) const NOSUID_NODEV_NOEXEC: Self = Self { readonly: false, nosuid: true, nodev: true, noexec: true };
    pub(crate) const READONLY_NOSUID_NODEV_NOEXEC: Self = Self { readonly: true, ..Self::NOSUID_NODEV_NOEXEC };

    fn flags(self) -> MountAttrFlags {
        let mut flags = MountAttrFlags::empty();
        flags.set(MountAttrFlags::MOUNT_ATTR_RDONLY, self.readonly);
        flags.set(MountAttrFlags::MOUNT_ATTR_NOSUID, self.nosuid);
        flags.set(MountAttrFlags::MOUNT_ATTR_NODEV, self.nodev);
        flags.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, self.noexec);
        flags
    }
}

/// A detached mount of the directory or file behind `source`, as `mount --bind` would show it.
///
/// `recursive` brings along what is mounted below. In a user namespace the kernel refuses (`EINVAL`) to leave out
/// mounts that came with the namespace: there a directory with mounts below it has to be bound recursively.
pub fn bind(source: impl AsFd, recursive: bool) -> Result<OwnedFd, CallError> {
    open_tree(source, "", clone_flags(recursive) | OpenTreeFlags::AT_EMPTY_PATH)
        .named(|| "open_tree(<descriptor>)".to_owned())
}

/// As [`bind`], for a path of the host. Links are followed.
pub fn bind_path(source: &Path, recursive: bool) -> Result<OwnedFd, CallError> {
    open_tree(CWD, source, clone_flags(recursive)).named(|| format!("open_tree({})", source.display()))
}

fn clone_flags(recursive: bool) -> OpenTreeFlags {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    flags
}

/// A new empty tmpfs whose top directory has the given mode. Without a size the kernel allows half of the memory.
pub fn tmpfs(size_bytes: Option<u64>, mode: u32, attributes: Attributes) -> Result<OwnedFd, CallError> {
    let size = size_bytes.map(|bytes| bytes.to_string());
    let mode = format!("{mode:o}");
    let mut options = vec![("mode", mode.as_str())];
    options.extend(size.as_deref().map(|size| ("size", size)));
    fresh("tmpfs", "tmpfs", &options, attributes)
}

/// Adds restrictions to a mount, and with `recursive` to all that is mounted below it.
pub fn set_attributes(mount: impl AsFd, attributes: Attributes, recursive: bool) -> Result<(), CallError> {
    if attributes == Attributes::default() {
        return Ok(());
    }
    let change = MountAttr { attr_set: attributes.flags().bits().into(), ..MountAttr::default() };
    mount_setattr(mount, &change, recursive).named(|| format!("mount_setattr({attributes:?})"))
}

/// Whether this process may mount at all in the mount table that it is in.
pub(crate) fn are_allowed() -> bool {
    !matches!(fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC), Err(Errno::PERM))
}

/// Cuts the mount table of this process, which has to be its own, off from the one it was copied from: what is attached
/// afterwards shows up nowhere else.
///
/// A process in a chroot, where no mount need be at `/`, finds itself at the top of the table, outside of the chroot.
pub(crate) fn cut_off() -> Result<(), CallError> {
    match make_private() {
        Err(error) if error.source.raw_os_error() == Some(libc::EINVAL) => {
            let own = rustix::fs::open("/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .named(|| "open(/proc/self/ns/mnt)".to_owned())?;
            // Joining the namespace that one is in leads to its root.
            move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::Mount))
                .named(|| "setns(CLONE_NEWNS)".to_owned())?;
            make_private()
        }
        answer => answer,
    }
}

fn make_private() -> Result<(), CallError> {
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).named(|| "open(/)".to_owned())?;
    let change = MountAttr { propagation: libc::MS_PRIVATE, ..MountAttr::default() };
    mount_setattr(root, &change, true).named(|| "mount_setattr(/, MS_PRIVATE)".to_owned())
}

/// Mounts a new file system; `source` is what the mount table shows as its device.
pub(crate) fn fresh(
    kind: &str,
    source: &str,
    options: &[(&str, &str)],
    attributes: Attributes,
) -> Result<OwnedFd, CallError> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).named(|| format!("fsopen({kind})"))?;
    for (key, value) in [("source", source)].iter().chain(options) {
        fsconfig_set_string(context.as_fd(), *key, *value).named(|| format!("fsconfig({kind}, {key}={value})"))?;
    }
    fsconfig_create(context.as_fd()).named(|| format!("fsconfig({kind}, create)"))?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes.flags()).named(|| format!("fsmount({kind})"))
}

/// Attaches a detached mount on top of the file or directory behind `at`; `name` is for the error.
pub(crate) fn attach(mount: impl AsFd, at: impl AsFd, name: &str) -> Result<(), CallError> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", at, "", flags).named(|| format!("move_mount({name})"))
}

/// `struct mount_attr` of `mount_setattr(2)`.
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

fn mount_setattr(mount: impl AsFd, change: &MountAttr, recursive: bool) -> std::io::Result<()> {
    use std::os::fd::AsRawFd;
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the descriptor is open for the whole call, the path is a constant C string, and `change` is a live
    // `struct mount_attr` of the size that is passed; the kernel only reads it.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(change),
            size_of::<MountAttr>(),
        )
    };
    if answer == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attribute_is_its_own_flag() {
        assert_eq!(Attributes::default().flags(), MountAttrFlags::empty());
        assert_eq!(
            Attributes::READONLY_NOSUID_NODEV_NOEXEC.flags(),
            MountAttrFlags::MOUNT_ATTR_RDONLY
                | MountAttrFlags::MOUNT_ATTR_NOSUID
                | MountAttrFlags::MOUNT_ATTR_NODEV
                | MountAttrFlags::MOUNT_ATTR_NOEXEC
        );
        assert_eq!(Attributes::NOSUID.flags(), MountAttrFlags::MOUNT_ATTR_NOSUID);
    }
}
