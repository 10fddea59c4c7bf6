//! How does a stack of layers become one file system?
//!
//! By an overlay mount made with the new mount API: every folder is handed over as a descriptor, so neither the length
//! nor the characters of its path matter, and the result is *detached*. It is in no mount table, is reached through its
//! descriptor alone, and vanishes with it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_fd, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

/// The most lower layers that the kernel takes (`OVL_MAX_STACK`).
pub(crate) const MAX_LOWERS: usize = 500;

/// Who mounts: it decides where overlay keeps its marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverlayFlavor {
    /// The real root: marks are `trusted.overlay.*`.
    Root,
    /// The root of a user namespace, who may not set `trusted.*`: marks are `user.overlay.*`.
    UserNamespace,
    /// Nobody: the files belong to ids of a user namespace that this process has not entered. Rows and blobs can be
    /// read, snapshots cannot.
    Outside,
}

impl OverlayFlavor {
    /// The extended attribute that marks a folder as opaque (hiding what lower layers have in it) with the value `y`.
    pub fn opaque_xattr(self) -> &'static str {
        match self {
            OverlayFlavor::Root => "trusted.overlay.opaque",
            OverlayFlavor::UserNamespace | OverlayFlavor::Outside => "user.overlay.opaque",
        }
    }

    /// What keeps the upper folder a plain layer: no metadata-only copies, no redirected folders, no index.
    ///
    /// All are spelt out because distributions change the defaults. With `userxattr`, `redirect_dir` may only be
    /// `nofollow`.
    fn options(self) -> &'static [(&'static str, &'static str)] {
        match self {
            OverlayFlavor::Root => &[("redirect_dir", "off"), ("metacopy", "off"), ("index", "off"), ("xino", "off")],
            OverlayFlavor::UserNamespace | OverlayFlavor::Outside => {
                &[("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off"), ("xino", "off")]
            }
        }
    }
}

/// Why an overlay could not be mounted; the reason is its source.
#[derive(Debug, thiserror::Error)]
#[error("mount(overlay): {call}{message}")]
pub struct MountError {
    call: String,
    /// What the kernel wrote about it, if anything, after `: `.
    message: String,
    source: io::Error,
}

impl MountError {
    /// Whether the kernel takes no folder of that file system for what is written.
    pub fn is_about_disk(&self) -> bool {
        self.call == UPPER_REFUSED && self.source.kind() == io::ErrorKind::InvalidInput
    }
}

/// The call that hands over the folder that takes what is written.
const UPPER_REFUSED: &str = "fsconfig(upperdir)";

/// Where an overlay keeps what is written to it.
pub(crate) struct Writable<'a> {
    pub(crate) upper: BorrowedFd<'a>,
    pub(crate) work: BorrowedFd<'a>,
}

/// Mounts `lowers` (top first, at least one, or two if nothing is `writable`) and gives the root of the result.
pub(crate) fn mount(
    flavor: OverlayFlavor,
    lowers: &[OwnedFd],
    writable: Option<Writable<'_>>,
) -> Result<OwnedFd, MountError> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed("fsopen(overlay)", None))?;
    let set = |key: &str, value: &str| {
        fsconfig_set_string(&context, key, value).map_err(failed(&format!("fsconfig({key}={value})"), Some(&context)))
    };
    set("source", "slipway")?;
    for (key, value) in flavor.options() {
        set(key, value)?;
    }
    if flavor == OverlayFlavor::UserNamespace {
        fsconfig_set_flag(&context, "userxattr").map_err(failed("fsconfig(userxattr)", Some(&context)))?;
    }
    // Keeps `overlay.uuid` off the upper folder. Kernels that do not know the value do not write the mark either.
    let _ = fsconfig_set_string(&context, "uuid", "null");
    for lower in lowers {
        set_folder(&context, "lowerdir+", lower.as_fd())?;
    }
    let is_read_only = writable.is_none();
    if let Some(Writable { upper, work }) = writable {
        set_folder(&context, "upperdir", upper)?;
        set_folder(&context, "workdir", work)?;
        // Turns every `fsync` of a RUN into nothing, and the sync that comes with an unmount: the store syncs once,
        // when the build ends.
        fsconfig_set_flag(&context, "volatile").map_err(failed("fsconfig(volatile)", Some(&context)))?;
    }
    fsconfig_create(&context).map_err(failed("fsconfig(create)", Some(&context)))?;
    let attributes = if is_read_only { MountAttrFlags::MOUNT_ATTR_RDONLY } else { MountAttrFlags::empty() };
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(failed("fsmount(overlay)", Some(&context)))
}

/// By descriptor where the kernel can (6.13), else by the descriptor's name in `/proc`, which is short enough (6.7).
fn set_folder(context: &OwnedFd, key: &str, folder: BorrowedFd<'_>) -> Result<(), MountError> {
    match fsconfig_set_fd(context, key, folder) {
        Err(Errno::INVAL) => set_folder_by_name(context, key, folder),
        done => done,
    }
    .map_err(failed(&format!("fsconfig({key})"), Some(context)))
}

fn set_folder_by_name(context: &OwnedFd, key: &str, folder: BorrowedFd<'_>) -> rustix::io::Result<()> {
    fsconfig_set_string(context, key, format!("/proc/self/fd/{}", folder.as_raw_fd()))
}

/// For `map_err`: says that `call` is what failed, with the kernel's own words from the mount's log.
fn failed<'a>(call: &'a str, context: Option<&'a OwnedFd>) -> impl FnOnce(Errno) -> MountError + 'a {
    move |errno| MountError {
        call: call.to_owned(),
        message: context.map(kernel_log).unwrap_or_default(),
        source: errno.into(),
    }
}

/// The messages of a file system context (`fsopen(2)`): lines that start with `e `, `w ` or `i `.
fn kernel_log(context: &OwnedFd) -> String {
    let mut log = String::new();
    let mut line = [0; 1024];
    while let Ok(n @ 1..) = rustix::io::read(context, &mut line) {
        log += ": ";
        log += String::from_utf8_lossy(&line[..n]).trim_end();
    }
    log
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn folders_can_be_given_by_name_to_kernels_that_take_no_descriptors() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        for (folder, name) in folders.iter().zip(["a", "b"]) {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
        for folder in &folders {
            let folder = File::open(folder.path()).unwrap();
            set_folder_by_name(&context, "lowerdir+", folder.as_fd()).unwrap();
        }
        fsconfig_create(&context).unwrap();
        let root = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).unwrap();
        for name in ["a", "b"] {
            assert!(rustix::fs::statat(&root, name, rustix::fs::AtFlags::empty()).is_ok(), "{name} is missing");
        }
    }

    #[test]
    fn a_refusal_says_what_the_kernel_says() {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
        let refusal = fsconfig_set_string(&context, "xino", "perhaps").unwrap_err();
        let error = failed("fsconfig(xino=perhaps)", Some(&context))(refusal);
        assert_eq!(error.to_string(), "mount(overlay): fsconfig(xino=perhaps): e overlay: Bad value for 'xino'");
    }
}
