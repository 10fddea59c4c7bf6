//! Folders that a layer does not list, only what is in them.
//!
//! A layer with `tmp/x` but without `tmp/` means the `tmp/` of the layers below. As the folder had to be made, it would
//! hide that one, so it gets its owner, mode, attributes and time. If the layers below have a link to a folder there,
//! the new folder hides the link, as with the reference, and takes after the folder that the link leads to.

use std::collections::BTreeSet;

use rustix::fs::Mode;
use slipway_sandbox::owners::{self, Owner};

use crate::rootfs::{CallError, OnPath, Root, TreePath, read_xattrs, stat_fd, write_xattrs};

/// Makes `folders` of `upper` like those of `below`, the merged view of the layers below, as far as it has them.
pub(crate) fn adopt(upper: &Root, below: &Root, folders: &BTreeSet<Vec<u8>>) -> Result<(), CallError> {
    // Deepest first: nothing here changes the time of a folder, but its own comes last all the same.
    for folder in folders.iter().rev() {
        let path = TreePath::clean(folder);
        // Links that lead in a circle lead to no folder.
        let Ok(real) = below.resolve(folder) else { continue };
        if below.stat(&real).on("statx", &real)?.is_some_and(|meta| meta.is_dir()) {
            adopt_one(upper, &path, below, &real)?;
        }
    }
    Ok(())
}

fn adopt_one(upper: &Root, path: &TreePath, below: &Root, real: &TreePath) -> Result<(), CallError> {
    let model = below.open_dir(real).on("openat2", real)?;
    let folder = upper.open_dir(path).on("openat2", path)?;
    let meta = stat_fd(&model).on("statx", path)?;
    owners::give(&folder, Owner { uid: meta.uid, gid: meta.gid }).on("fchown", path)?;
    // After the owner, which clears set-id bits.
    rustix::fs::fchmod(&folder, Mode::from_raw_mode(meta.mode & 0o7777)).on("fchmod", path)?;
    write_xattrs(&folder, &read_xattrs(&model).on("flistxattr", path)?);
    rustix::fs::futimens(&folder, &meta.mtime.timestamps()).on("futimens", path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn folders_take_after_those_below_and_others_stay() {
        let (below, upper) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (top, folder, mode) in [(&below, "tmp", 0o1777), (&upper, "tmp", 0o755), (&upper, "new", 0o755)] {
            let path = top.path().join(folder);
            std::fs::create_dir(&path).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        }
        for link in ["link", "gone"] {
            std::os::unix::fs::symlink(if link == "link" { "/tmp" } else { "gone" }, below.path().join(link)).unwrap();
            std::fs::create_dir(upper.path().join(link)).unwrap();
        }
        let names: [&[u8]; 5] = [b"tmp", b"new", b"link", b"gone", b""];
        let folders = names.map(<[u8]>::to_vec).into();
        adopt(&Root::open(upper.path()).unwrap(), &Root::open(below.path()).unwrap(), &folders).unwrap();
        let mode = |folder: &str| std::fs::metadata(upper.path().join(folder)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("tmp"), mode("new"), mode("link")), (0o1777, 0o755, 0o1777));
        assert!(upper.path().join("gone").is_dir());
    }
}
