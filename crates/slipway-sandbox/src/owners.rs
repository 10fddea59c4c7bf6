//! Whose is a file, where the kernel cannot say it?
//!
//! A user namespace with a single id has one owner for everything: `chown` to another id is `EINVAL`. There the owner
//! that a file would have is recorded on the inode itself, so that it goes wherever the file goes: hard links,
//! renames, and the copies that overlay makes of a file of a lower layer all keep it. What has no mark belongs to 0:0.
//!
//! | kind of file | mark | why |
//! |---|---|---|
//! | regular, directory | `user.slipway.owner` = `uid:gid` | readable by people |
//! | others (links, FIFOs, sockets) | `security.capability`, permitted = uid, inheritable = gid | the kernel has no `user.` attributes for them, and cannot execute them |
//!
//! A mark decides what an image says and what a step sees, never what a process may do on the host. So it is no harm
//! that a step can write one itself: it could as well have called `chown`.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{AtFlags, FileType, Gid, Uid, XattrFlags};
use rustix::io::Errno;

use crate::idmap;

/// The attribute of regular files and directories. It must neither enter a layer nor be copied with a file's other
/// attributes: a copy gets its owner like any new file.
pub const MARK: &str = "user.slipway.owner";

/// The attribute of all other files.
const MARK_OF_SPECIAL: &str = "security.capability";

/// `VFS_CAP_REVISION_2`, without the "effective" flag (`linux/capability.h`).
const CAPABILITY_REVISION: u32 = 0x0200_0000;

/// User and group of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// Whether this process lives in a user namespace with a single id, so that owners are recorded, not set.
pub fn are_recorded() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        // Without /proc nothing can be sandboxed; that gets a message of its own.
        fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| idmap::count_mapped(&map) == 1)
    })
}

/// Sets the owner of an open file. As `chown` does, it may clear set-id bits and capabilities.
pub fn give(file: impl AsFd, owner: Owner) -> Result<(), Errno> {
    let file = file.as_fd();
    if !are_recorded() {
        return rustix::fs::fchown(file, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)));
    }
    let stat = rustix::fs::fstat(file)?;
    record(&proc_path(file), FileType::from_raw_mode(stat.st_mode), owner)
}

/// As [`give`] for the entry `name` of `dir`, a link being a link.
pub fn give_at(dir: impl AsFd, name: &[u8], owner: Owner) -> Result<(), Errno> {
    let dir = dir.as_fd();
    if !are_recorded() {
        let (uid, gid) = (Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)));
        return rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW);
    }
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    record(&proc_path(dir).join(OsStr::from_bytes(name)), FileType::from_raw_mode(stat.st_mode), owner)
}

/// The recorded owner of an open file of this kind; nothing where owners are not recorded, or none is.
pub fn recorded(file: impl AsFd, kind: FileType) -> Option<Owner> {
    if are_recorded() { read(&proc_path(file.as_fd()), kind) } else { None }
}

/// As [`recorded`] for the entry `name` of `dir`.
pub fn recorded_at(dir: impl AsFd, name: &[u8], kind: FileType) -> Option<Owner> {
    if are_recorded() { read(&proc_path(dir.as_fd()).join(OsStr::from_bytes(name)), kind) } else { None }
}

/// The name in `/proc` works for descriptors that are good for nothing but paths (`O_PATH`), too.
fn proc_path(file: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Reads the mark at `path`: a name in `/proc/self/fd`, or one below such a name.
pub(crate) fn read(path: &Path, kind: FileType) -> Option<Owner> {
    // As long as `4294967295:4294967295`, or the 20 bytes of a capability.
    let mut buffer = [0_u8; 32];
    let length = get(path, mark_of(kind), &mut buffer)?;
    let bytes = buffer.get(..length)?;
    if is_plain(kind) { decode_plain(bytes) } else { decode_special(bytes) }
}

/// Writes the mark at `path`, or removes it if it would say what is true without it.
pub(crate) fn record(path: &Path, kind: FileType, owner: Owner) -> Result<(), Errno> {
    let name = mark_of(kind);
    let answer = match owner {
        Owner { uid: 0, gid: 0 } if is_magic(path) => rustix::fs::removexattr(path, name),
        Owner { uid: 0, gid: 0 } => rustix::fs::lremovexattr(path, name),
        owner => set(path, name, &if is_plain(kind) { encode_plain(owner) } else { encode_special(owner) }),
    };
    match answer {
        Err(Errno::NODATA) => Ok(()),
        answer => answer,
    }
}

/// Whether the last part of `path` is a descriptor: then it leads to the file itself, be it a link, and has to be
/// followed. Otherwise it is an entry of a directory, and must not be.
fn is_magic(path: &Path) -> bool {
    match path.parent() {
        Some(parent) => parent == Path::new("/proc/self/fd") || parent.as_os_str().is_empty(),
        None => false,
    }
}

fn get(path: &Path, name: &str, buffer: &mut [u8]) -> Option<usize> {
    let answer = match is_magic(path) {
        true => rustix::fs::getxattr(path, name, buffer),
        false => rustix::fs::lgetxattr(path, name, buffer),
    };
    answer.ok()
}

fn set(path: &Path, name: &str, value: &[u8]) -> Result<(), Errno> {
    match is_magic(path) {
        true => rustix::fs::setxattr(path, name, value, XattrFlags::empty()),
        false => rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()),
    }
}

fn is_plain(kind: FileType) -> bool {
    matches!(kind, FileType::RegularFile | FileType::Directory)
}

fn mark_of(kind: FileType) -> &'static str {
    if is_plain(kind) { MARK } else { MARK_OF_SPECIAL }
}

fn encode_plain(Owner { uid, gid }: Owner) -> Vec<u8> {
    format!("{uid}:{gid}").into_bytes()
}

fn decode_plain(bytes: &[u8]) -> Option<Owner> {
    let (uid, gid) = std::str::from_utf8(bytes).ok()?.split_once(':')?;
    Some(Owner { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
}

/// `struct vfs_cap_data`: revision, then permitted and inheritable for the lower and for the upper 32 capabilities.
fn encode_special(Owner { uid, gid }: Owner) -> Vec<u8> {
    [CAPABILITY_REVISION, uid, gid, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn decode_special(bytes: &[u8]) -> Option<Owner> {
    let word = |index: usize| {
        let bytes = bytes.get(index * 4..index * 4 + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    (word(0)? == CAPABILITY_REVISION && bytes.len() == 20).then_some(())?;
    Some(Owner { uid: word(1)?, gid: word(2)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_read_as_they_were_written() {
        for owner in [Owner { uid: 1000, gid: 50 }, Owner { uid: u32::MAX - 1, gid: 0 }] {
            assert_eq!(decode_plain(&encode_plain(owner)), Some(owner));
            assert_eq!(decode_special(&encode_special(owner)), Some(owner));
        }
    }

    #[test]
    fn what_others_wrote_there_is_no_mark() {
        assert_eq!(decode_plain(b"root"), None);
        assert_eq!(decode_plain(b"1:2:3"), None);
        assert_eq!(decode_special(&[0; 20]), None);
        assert_eq!(decode_special(&encode_special(Owner { uid: 1, gid: 2 })[..12]), None);
    }

    #[test]
    fn descriptors_are_followed_and_entries_are_not() {
        assert!(is_magic(Path::new("/proc/self/fd/7")) && is_magic(Path::new("7")));
        assert!(!is_magic(Path::new("/proc/self/fd/7/link")));
    }
}
