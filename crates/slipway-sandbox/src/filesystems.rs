//! What a step finds mounted: its root, `/proc`, `/dev`, `/sys`, and the caller's mounts on top.
//!
//! An image decides what its paths are: `/proc` may be a link to `/etc`, or to `/../../etc`. So nothing here is
//! mounted by path. A target is opened once, inside the root, and the mount goes onto that descriptor; what lies
//! inside a fresh mount (`/proc/kcore`, `/dev/pts`) is opened below that very mount, without following links.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use crate::call::{CallError, Named};
use crate::devices;
use crate::mounts::{self, Attributes};
use crate::rooted;
use crate::spec::{Mount, Privilege};
use crate::stubs;

/// Covered, because they tell about or change the host (spec 11.1): paths below `/proc`.
const MASKED_IN_PROC: [&str; 9] =
    ["acpi", "asound", "kcore", "keys", "latency_stats", "timer_list", "timer_stats", "sched_debug", "scsi"];

/// The same below `/sys`.
const MASKED_IN_SYS: [&str; 2] = ["firmware", "devices/virtual/powercap"];

/// Visible below `/proc` but not to be written.
const READONLY_IN_PROC: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// The group of terminals in every distribution.
const TTY_GROUP: &str = "5";

/// Everything that has to be made while the host's mounts can still be seen.
pub(crate) struct Prepared {
    root: OwnedFd,
    proc: OwnedFd,
    devices: devices::Devices,
    sys: OwnedFd,
    cgroup: Option<OwnedFd>,
}

/// Makes the built-in mounts, detached. The umask has to be empty.
pub(crate) fn prepare(root: OwnedFd, privilege: Privilege) -> Result<Prepared, CallError> {
    Ok(Prepared {
        root,
        proc: fresh_or_bound("proc", "/proc", Attributes::NOSUID_NODEV_NOEXEC)?,
        devices: devices::prepare()?,
        sys: fresh_or_bound("sysfs", "/sys", system_attributes(privilege))?,
        cgroup: cgroup(privilege),
    })
}

/// `/sys` and the control groups are for looking only, unless the step may do anything.
fn system_attributes(privilege: Privilege) -> Attributes {
    match privilege {
        Privilege::Sandboxed(_) => Attributes::READONLY_NOSUID_NODEV_NOEXEC,
        Privilege::Insecure => Attributes::NOSUID_NODEV_NOEXEC,
    }
}

/// A new instance of a kernel file system, or where that is not allowed the one that is there.
///
/// A new sysfs takes a network namespace of our own, a new procfs takes that nothing covers the outer one.
fn fresh_or_bound(kind: &str, outer: &str, attributes: Attributes) -> Result<OwnedFd, CallError> {
    let refused = match mounts::fresh(kind, kind, &[], attributes) {
        Ok(mount) => return Ok(mount),
        Err(error) => error,
    };
    if refused.source.raw_os_error() != Some(libc::EPERM) {
        return Err(refused);
    }
    let mount = mounts::bind_path(Path::new(outer), true)?;
    mounts::set_attributes(&mount, attributes, true)?;
    Ok(mount)
}

/// The control groups of version 2, if the host has them and lets us; a step does without them otherwise.
fn cgroup(privilege: Privilege) -> Option<OwnedFd> {
    let host = rustix::fs::statfs("/sys/fs/cgroup").ok()?;
    if host.f_type != libc::CGROUP2_SUPER_MAGIC {
        return None;
    }
    mounts::fresh("cgroup2", "cgroup", &[], system_attributes(privilege)).ok()
}

/// Makes `root` the root directory and lets go of the host's mounts.
fn pivot(root: &OwnedFd, attach_at: &Path) -> Result<OwnedFd, CallError> {
    // By path as the caller means it, before the way out of a chroot.
    let attach_point =
        rustix::fs::openat(CWD, attach_at, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .named(|| format!("open({})", attach_at.display()))?;
    // Before anything is attached, so that nothing ever shows up in the host's mount table.
    mounts::cut_off()?;
    mounts::attach(root, attach_point, &attach_at.display().to_string())?;
    rustix::process::fchdir(root).named(|| "fchdir(root)".to_owned())?;
    // With both arguments equal the old root lies on top of the new one, and no directory is needed for it
    // (pivot_root(2), "pivot_root(\".\", \".\")").
    rustix::process::pivot_root(".", ".").named(|| "pivot_root(., .)".to_owned())?;
    unmount(".", UnmountFlags::DETACH).named(|| "umount(old root)".to_owned())?;
    rustix::process::chdir("/").named(|| "chdir(/)".to_owned())?;
    rustix::fs::openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).named(|| "open(/)".to_owned())
}

impl Prepared {
    /// Changes settings of the kernel that are those of our own namespaces: `net/…` is the caller's business.
    pub(crate) fn set(&self, settings: &[(String, String)]) -> Result<(), CallError> {
        for (name, value) in settings {
            let file = rooted::open_without_links(&self.proc, &Path::new("sys").join(name), OFlags::WRONLY);
            let file = file.named(|| format!("open(/proc/sys/{name})"))?;
            rustix::io::write(&file, value.as_bytes()).named(|| format!("write(/proc/sys/{name}, {value:?})"))?;
        }
        Ok(())
    }

    /// Enters the root, attaches the built-in mounts and then the caller's. Returns the root directory.
    pub(crate) fn enter(
        self,
        attach_at: &Path,
        shm_size_bytes: u64,
        privilege: Privilege,
        callers: &[Mount],
    ) -> Result<OwnedFd, CallError> {
        let Self { root, proc, devices, sys, cgroup } = self;
        let root = pivot(&root, attach_at)?;
        attach_in_root(&root, &proc, Path::new("/proc"))?;
        attach_in_root(&root, &devices.mount, Path::new("/dev"))?;
        devices.bind_borrowed()?;
        let is_sandboxed = privilege != Privilege::Insecure;
        if is_sandboxed {
            devices.close_to_others()?;
            mounts::set_attributes(&root, Attributes::NODEV, false)?;
        }
        attach_in_dev(&devices.mount, shm_size_bytes)?;
        attach_in_root(&root, &sys, Path::new("/sys"))?;
        if let Some(cgroup) = cgroup {
            attach_below(&sys, &cgroup, "/sys", "fs/cgroup")?;
        }
        if is_sandboxed {
            restrict(&proc, &sys, &devices.mount)?;
        }
        for Mount { target, source, attributes, is_device } in callers {
            let nodev = attributes.nodev || (is_sandboxed && !is_device);
            mounts::set_attributes(source, Attributes { nodev, ..*attributes }, true)?;
            make_place_in_dev(&devices.mount, source, target)?;
            attach_in_root(&root, source, target)?;
        }
        Ok(root)
    }
}

/// The caller makes mount points in the root, but cannot reach into the `/dev` that exists only here.
fn make_place_in_dev(dev: &OwnedFd, source: &OwnedFd, target: &Path) -> Result<(), CallError> {
    let Ok(inside) = target.strip_prefix("/dev") else { return Ok(()) };
    if inside.as_os_str().is_empty() {
        return Ok(());
    }
    let stat = rustix::fs::fstat(source).named(|| format!("fstat(mount of {})", target.display()))?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => stubs::Kind::Directory,
        _ => stubs::Kind::File,
    };
    // Kept: it goes with the `/dev` it is in.
    let _ = stubs::make(dev.as_fd(), &[stubs::Target { path: Path::new("/").join(inside), kind, is_kept: true }])?;
    Ok(())
}

fn attach_in_dev(dev: &OwnedFd, shm_size_bytes: u64) -> Result<(), CallError> {
    attach_below(dev, &devpts()?, "/dev", "pts")?;
    let size = shm_size_bytes.to_string();
    let shm = mounts::fresh("tmpfs", "shm", &[("mode", "1777"), ("size", &size)], Attributes::NOSUID_NODEV_NOEXEC)?;
    attach_below(dev, &shm, "/dev", "shm")?;
    let mqueue = mounts::fresh("mqueue", "mqueue", &[], Attributes::NOSUID_NODEV_NOEXEC)?;
    attach_below(dev, &mqueue, "/dev", "mqueue")
}

/// Terminals of the step's own. They belong to group 5, where the user namespace has such a group.
fn devpts() -> Result<OwnedFd, CallError> {
    let attributes = Attributes { nodev: false, ..Attributes::NOSUID_NODEV_NOEXEC };
    // Every new devpts is an instance of its own since Linux 4.7; the option is no longer needed.
    let with_group = [("ptmxmode", "0666"), ("mode", "0620"), ("gid", TTY_GROUP)];
    match mounts::fresh("devpts", "devpts", &with_group, attributes) {
        Err(error) if error.source.raw_os_error() == Some(libc::EINVAL) => {
            mounts::fresh("devpts", "devpts", &with_group[..2], attributes)
        }
        answer => answer,
    }
}

fn attach_in_root(root: &OwnedFd, mount: &OwnedFd, target: &Path) -> Result<(), CallError> {
    let at = rooted::open(root, target, OFlags::PATH).named(|| format!("open({})", target.display()))?;
    mounts::attach(mount, at, &target.display().to_string())
}

/// Attaches a mount inside another one whose content is ours.
fn attach_below(parent: &OwnedFd, mount: &OwnedFd, parent_name: &str, name: &str) -> Result<(), CallError> {
    let at = rooted::open_without_links(parent, Path::new(name), OFlags::PATH)
        .named(|| format!("open({parent_name}/{name})"))?;
    mounts::attach(mount, at, &format!("{parent_name}/{name}"))
}

/// Covers what tells about the host and protects what changes it.
fn restrict(proc: &OwnedFd, sys: &OwnedFd, dev: &OwnedFd) -> Result<(), CallError> {
    let null =
        rooted::open_without_links(dev, Path::new("null"), OFlags::PATH).named(|| "open(/dev/null)".to_owned())?;
    let mut covers = Covers { null, empty_directory: None };
    for name in READONLY_IN_PROC {
        make_readonly(proc, name)?;
    }
    for name in MASKED_IN_PROC {
        covers.mask(proc, "/proc", name)?;
    }
    for name in MASKED_IN_SYS {
        covers.mask(sys, "/sys", name)?;
    }
    Ok(())
}

/// Opens an entry of a kernel file system, or says that this kernel does not have it.
fn open_if_there(parent: &OwnedFd, parent_name: &str, name: &str) -> Result<Option<OwnedFd>, CallError> {
    match rooted::open_without_links(parent, Path::new(name), OFlags::PATH) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        answer => answer.map(Some).named(|| format!("open({parent_name}/{name})")),
    }
}

fn make_readonly(proc: &OwnedFd, name: &str) -> Result<(), CallError> {
    let Some(entry) = open_if_there(proc, "/proc", name)? else { return Ok(()) };
    let copy = mounts::bind(&entry, true)?;
    mounts::set_attributes(&copy, Attributes::READONLY_NOSUID_NODEV_NOEXEC, true)?;
    mounts::attach(copy, entry, &format!("/proc/{name}"))
}

/// What goes on top of masked entries: `/dev/null` on files, one empty read-only directory on directories.
struct Covers {
    null: OwnedFd,
    /// Attached where it was needed first; only then it can be bound elsewhere.
    empty_directory: Option<OwnedFd>,
}

impl Covers {
    fn mask(&mut self, parent: &OwnedFd, parent_name: &str, name: &str) -> Result<(), CallError> {
        let Some(entry) = open_if_there(parent, parent_name, name)? else { return Ok(()) };
        let what = format!("{parent_name}/{name}");
        let status = rustix::fs::fstat(&entry).named(|| format!("stat({what})"))?;
        if FileType::from_raw_mode(status.st_mode) != FileType::Directory {
            return mounts::attach(mounts::bind(&self.null, false)?, entry, &what);
        }
        if let Some(empty) = &self.empty_directory {
            return mounts::attach(mounts::bind(empty, false)?, entry, &what);
        }
        let options = [("size", "4k"), ("nr_inodes", "1"), ("mode", "755")];
        let empty = mounts::fresh("tmpfs", "tmpfs", &options, Attributes { readonly: true, ..Attributes::default() })?;
        mounts::attach(empty.as_fd(), entry, &what)?;
        self.empty_directory = Some(empty);
        Ok(())
    }
}
