//! Turns a fresh checkout into files of an image: no repositories inside, modes that no umask shaped, wanted times.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, Timespec, Timestamps};
use rustix::io::Errno;

use crate::layer::diff::{open_dir, sorted_names, stat_at};
use crate::layer::untar;

/// Why a folder of a repository cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SubdirError {
    #[error("invalid subdir {subdir}: git subpath {subdir:?} contains non-directory {component:?}")]
    NotAFolder { subdir: String, component: String },
    #[error("invalid subdir {subdir}: there is no {component:?} in the repository")]
    NotThere { subdir: String, component: String },
    #[error("cannot open subdir {subdir}")]
    Open { subdir: String, source: std::io::Error },
}

/// The folder `subdir` of `top`, opened name by name: a link would lead wherever the repository wants
/// (CVE-2026-33748).
pub(super) fn subdir(top: OwnedFd, subdir: &str) -> Result<OwnedFd, SubdirError> {
    let names = components(subdir);
    let shown = format!("/{}", names.join("/"));
    let mut folder = top;
    for name in &names {
        let component = || (*name).to_owned();
        let failed = |errno: Errno| match errno {
            Errno::NOENT => SubdirError::NotThere { subdir: shown.clone(), component: component() },
            Errno::NOTDIR | Errno::LOOP => SubdirError::NotAFolder { subdir: shown.clone(), component: component() },
            errno => SubdirError::Open { subdir: shown.clone(), source: errno.into() },
        };
        let name = CString::new(*name).map_err(|_| failed(Errno::NOENT))?;
        folder = open_dir(folder.as_fd(), &name).map_err(failed)?;
    }
    Ok(folder)
}

/// The names on the way to `subdir`, in which `..` never leads above the top.
fn components(subdir: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for name in subdir.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names
}

/// Moves everything from one folder to another of the same file system.
pub(super) fn move_content(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    for name in sorted_names(from.as_fd())? {
        rustix::fs::renameat(from, &name, to, &name)?;
    }
    Ok(())
}

/// Removes every entry called `.git` in `folder` and below. Git keeps such names out of its trees, so that all of them
/// are its own.
pub(super) fn remove_repositories(folder: &OwnedFd) -> Result<(), Errno> {
    for name in sorted_names(folder.as_fd())? {
        let is_folder = FileType::from_raw_mode(stat_at(folder, &name)?.st_mode) == FileType::Directory;
        if name.as_bytes() == b".git" {
            untar::remove_tree(folder.as_fd(), &name, is_folder)?;
        } else if is_folder {
            remove_repositories(&open_dir(folder.as_fd(), &name)?)?;
        }
    }
    Ok(())
}

/// Gives everything below `folder` the permissions that a umask of 022 would have left, and the time `mtime` (seconds
/// since 1970) if there is one.
pub(super) fn set_metadata(folder: &OwnedFd, mtime: Option<i64>) -> Result<(), Errno> {
    for name in sorted_names(folder.as_fd())? {
        let stat = stat_at(folder, &name)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            set_metadata(&open_dir(folder.as_fd(), &name)?, mtime)?;
        }
        if kind != FileType::Symlink {
            let mode = Mode::from_raw_mode(as_with_usual_umask(stat.st_mode));
            rustix::fs::chmodat(folder, &name, mode, AtFlags::empty())?;
        }
        if let Some(time) = mtime {
            set_time(folder, &name, time)?;
        }
    }
    Ok(())
}

/// What the owner may read and run, all may; only the owner may write.
fn as_with_usual_umask(mode: u32) -> u32 {
    let owner = (mode >> 6) & 7;
    let others = owner & 0o5;
    owner << 6 | others << 3 | others
}

fn set_time(folder: &OwnedFd, name: &CStr, seconds: i64) -> Result<(), Errno> {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn opened(folder: &tempfile::TempDir) -> OwnedFd {
        untar::open_host_dir(folder.path()).unwrap()
    }

    #[test]
    fn a_subdir_never_goes_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        symlink("/etc", folder.path().join("evil")).unwrap();
        symlink("a", folder.path().join("near")).unwrap();
        std::fs::write(folder.path().join("f"), "").unwrap();
        for good in ["", "/", "a/b", "/a/./b/", "../../a"] {
            subdir(opened(&folder), good).unwrap();
        }
        for (bad, message) in [
            ("evil", "invalid subdir /evil: git subpath \"/evil\" contains non-directory \"evil\""),
            ("near/b", "invalid subdir /near/b: git subpath \"/near/b\" contains non-directory \"near\""),
            ("f", "invalid subdir /f: git subpath \"/f\" contains non-directory \"f\""),
            ("a/c", "invalid subdir /a/c: there is no \"c\" in the repository"),
        ] {
            assert_eq!(subdir(opened(&folder), bad).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn modes_do_not_depend_on_the_umask() {
        let modes = [0o600, 0o664, 0o700, 0o775, 0o400].map(as_with_usual_umask);
        assert_eq!(modes, [0o644, 0o644, 0o755, 0o755, 0o444]);
    }

    #[test]
    fn repositories_are_removed_at_any_depth_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        for path in [".git/objects", "m/n", ".github"] {
            std::fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        std::fs::write(folder.path().join("m/n/.git"), "gitdir: x").unwrap();
        std::fs::write(folder.path().join("m/.gitignore"), "").unwrap();
        std::fs::set_permissions(folder.path().join("m"), PermissionsExt::from_mode(0o700)).unwrap();
        let opened = opened(&folder);
        remove_repositories(&opened).unwrap();
        set_metadata(&opened, Some(5)).unwrap();
        let there = |path: &str| folder.path().join(path).exists();
        assert!(!there(".git") && !there("m/n/.git") && there("m/.gitignore") && there(".github"));
        let metadata = std::fs::metadata(folder.path().join("m")).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o755);
        assert_eq!(metadata.modified().unwrap(), std::time::UNIX_EPOCH + std::time::Duration::from_secs(5));
    }
}
