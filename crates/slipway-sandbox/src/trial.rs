//! Does a step work here? It is tried, not guessed: a sandbox is made of which all has to work but its program, which is
//! not there.
//!
//! Rights alone do not tell. The filter of a container may refuse `pivot_root` to somebody who has all capabilities, and
//! a kernel may refuse an overlay in a user namespace.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode as FileMode, OFlags, mkdirat};
use rustix::mount::{UnmountFlags, unmount};

use crate::call::{CallError, Named};
use crate::capabilities::Capabilities;
use crate::mounts::{self, Attributes};
use crate::running::{SpawnError, spawn};
use crate::spec::{Credentials, Network, Privilege, Spec, Special, Surroundings};

/// A directory that every machine has, and that is not needed any more when the root is attached.
const ATTACH_AT: &str = "/dev";

/// No image has it, this root has nothing.
const NO_PROGRAM: &str = "/there is no such program";

/// Tries. The calling process needs a mount table of its own, and has one thread.
pub(crate) fn step() -> Result<(), CallError> {
    let root = overlay()?;
    let null = File::options().write(true).open("/dev/null").named(|| "open(/dev/null)".to_owned())?;
    let copy = || null.try_clone().named(|| "dup(/dev/null)".to_owned());
    let spec = Spec {
        surroundings: Surroundings::Own { root, attach_at: ATTACH_AT.into() },
        args: vec![NO_PROGRAM.into()],
        env: Vec::new(),
        cwd: "/".into(),
        credentials: Credentials { uid: 0, gid: 0, groups: Vec::new() },
        hostname: "trial".to_owned(),
        network: Network::Host,
        user_namespace: None,
        privilege: Privilege::Sandboxed(Capabilities::DOCKER),
        mounts: Vec::new(),
        control_groups: Vec::new(),
        rlimits: Vec::new(),
        shm_size_bytes: 1 << 20,
        is_root_readonly: false,
        shuffles_folders: false,
        special: Special::default(),
        terminal: None,
        stdin: None,
        stdout: copy()?.into(),
        stderr: copy()?.into(),
    };
    match spawn(&spec) {
        Err(SpawnError::Setup(error)) => Err(error),
        // Looking for the program is the last thing that happens.
        Ok(_) | Err(SpawnError::Exec(_) | SpawnError::InvalidId(_) | SpawnError::Nul(_)) => Ok(()),
    }
}

/// An overlay of two folders of a file system of our own, as far as that is possible without knowing a disk: a root
/// with nothing but mount points.
fn overlay() -> Result<OwnedFd, CallError> {
    let disk = mounts::tmpfs(Some(1 << 20), 0o755, Attributes::default())?;
    for folder in ["upper", "lower", "lower/proc", "lower/sys", "lower/dev"] {
        mkdirat(&disk, folder, FileMode::from(0o755)).named(|| format!("mkdir({folder})"))?;
    }
    let open = |path: &Path| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&disk, path, flags, FileMode::empty()).named(|| format!("open({})", path.display()))
    };
    let [upper, lower] = [open(Path::new("upper"))?, open(Path::new("lower"))?];
    // Layers have to lie in the mount table of who makes the overlay. Afterwards the overlay has mounts of its own.
    let place = rustix::fs::openat(CWD, ATTACH_AT, OFlags::PATH | OFlags::CLOEXEC, FileMode::empty())
        .named(|| format!("open({ATTACH_AT})"))?;
    mounts::attach(&disk, place, ATTACH_AT)?;
    let layers = format!("/proc/self/fd/{}:/proc/self/fd/{}", upper.as_raw_fd(), lower.as_raw_fd());
    let overlay = mounts::fresh("overlay", "trial", &[("lowerdir", &layers)], Attributes::default());
    let gone = unmount(ATTACH_AT, UnmountFlags::DETACH).map_err(io::Error::from);
    let overlay = overlay?;
    gone.named(|| format!("umount({ATTACH_AT})"))?;
    Ok(overlay)
}
