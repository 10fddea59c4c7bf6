//! Finds the files that a process of the step means, and reads and writes their recorded owners.
//!
//! A path is resolved by the kernel, from the root and the working directory of the process, which the supervising
//! thread takes over for the moment: so `..`, links and mounts mean to it what they mean to the process. Magic links
//! of `/proc` are refused, because they would lead the thread where the process itself may not go. The result is a
//! descriptor, and everything that follows is done to that descriptor.

use std::ffi::CString;
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::calls::At;
use super::listener::Request;
use super::memory::Memory;
use crate::owners::{self, Owner};

/// What the thread needs of `/proc`, opened before it ever leaves the root it started in.
pub(super) struct Tree {
    proc: OwnedFd,
    /// Our own descriptors: a name in it is a way to the inode of a descriptor that is good for paths only.
    descriptors: OwnedFd,
}

/// What is known about a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    /// Kind and permission bits.
    pub(super) mode: u32,
    pub(super) owner: Owner,
    /// Whether the owner is a recorded one.
    pub(super) is_recorded: bool,
    /// Whether the file is one of those that have a recorded owner if it is not 0:0. Those that belong to users of the
    /// host whom the namespace does not know are not.
    pub(super) is_ours: bool,
}

impl Facts {
    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }
}

impl Tree {
    /// To be called by the thread that will use it: that gets a root, a working directory and a umask of its own.
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: only this thread's root, working directory and umask are unshared; no memory is involved.
        if unsafe { libc::unshare(libc::CLONE_FS) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let open = |path: &str| rustix::fs::open(path, PATH_ONLY.union(OFlags::DIRECTORY), Mode::empty());
        Ok(Self { proc: open("/proc")?, descriptors: open("/proc/self/fd")? })
    }

    /// The file that the call means. Follows the last link unless the flags say no.
    pub(super) fn open(&self, request: &Request, at: At) -> Result<OwnedFd, Errno> {
        let path = self.path_of(request, at)?;
        if path.is_empty() {
            return match at.flags & libc::AT_EMPTY_PATH {
                0 => Err(Errno::NOENT),
                _ => self.start(request, at.dir),
            };
        }
        self.go_to(request, at.dir, &path)?;
        let flags =
            if at.flags & libc::AT_SYMLINK_NOFOLLOW == 0 { PATH_ONLY } else { PATH_ONLY.union(OFlags::NOFOLLOW) };
        open_here(&path, flags)
    }

    /// The folder in which the call means to make something, and the name in it.
    pub(super) fn open_parent(&self, request: &Request, at: At) -> Result<(OwnedFd, CString), Errno> {
        let mut path = self.path_of(request, at)?;
        while path.len() > 1 && path.ends_with(b"/") {
            path.pop();
        }
        let cut = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let name = path.split_off(cut);
        if matches!(name.as_slice(), b"" | b"." | b"..") {
            return Err(Errno::NOENT);
        }
        self.go_to(request, at.dir, &path)?;
        let parent = if path.is_empty() { b"." } else { path.as_slice() };
        let parent = open_here(parent, PATH_ONLY.union(OFlags::DIRECTORY))?;
        Ok((parent, CString::new(name).map_err(|_| Errno::INVAL)?))
    }

    fn path_of(&self, request: &Request, at: At) -> Result<Vec<u8>, Errno> {
        match at.path {
            0 => Ok(Vec::new()),
            address => Memory { thread: request.thread }.path(address),
        }
    }

    /// Takes over root and working directory, or the folder that stands for it.
    fn go_to(&self, request: &Request, dir: i32, path: &[u8]) -> Result<(), Errno> {
        let root = self.open_of(request, "root")?;
        rustix::process::fchdir(root)?;
        rustix::process::chroot(".")?;
        if !path.starts_with(b"/") {
            rustix::process::fchdir(self.start(request, dir)?)?;
        }
        Ok(())
    }

    /// Where a relative path starts.
    fn start(&self, request: &Request, dir: i32) -> Result<OwnedFd, Errno> {
        match dir {
            libc::AT_FDCWD => self.open_of(request, "cwd"),
            number => self.open_of(request, &format!("fd/{number}")).map_err(|_| Errno::BADF),
        }
    }

    fn open_of(&self, request: &Request, what: &str) -> Result<OwnedFd, Errno> {
        rustix::fs::openat(&self.proc, format!("{}/{what}", request.thread), PATH_ONLY, Mode::empty())
    }

    /// The umask of a process.
    pub(super) fn umask(&self, request: &Request) -> Mode {
        let bits = self.status(request, "Umask:").and_then(|text| u32::from_str_radix(&text, 8).ok());
        Mode::from_raw_mode(bits.unwrap_or(0o022))
    }

    /// The process that the thread is part of.
    pub(super) fn process(&self, request: &Request) -> u32 {
        self.status(request, "Tgid:").and_then(|text| text.parse().ok()).unwrap_or(request.thread)
    }

    /// What the kernel says of a thread under `key`.
    fn status(&self, request: &Request, key: &str) -> Option<String> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let path = format!("{}/status", request.thread);
        let file = rustix::fs::openat(&self.proc, path, flags, Mode::empty()).ok()?;
        let status = io::read_to_string(std::fs::File::from(file)).ok()?;
        status.lines().find_map(|line| line.strip_prefix(key)).map(|value| value.trim().to_owned())
    }

    /// What the inode of an open file says, and whom it is recorded to belong to.
    pub(super) fn facts(&self, file: &OwnedFd) -> Result<Facts, Errno> {
        let stat = rustix::fs::fstat(file)?;
        let real = Owner { uid: stat.st_uid, gid: stat.st_gid };
        let is_ours = real.uid == 0;
        let recorded = if is_ours { self.recorded(file, FileType::from_raw_mode(stat.st_mode)) } else { None };
        let owner = recorded.unwrap_or(if is_ours { Owner::default() } else { real });
        Ok(Facts { mode: stat.st_mode, owner, is_recorded: recorded.is_some(), is_ours })
    }

    fn recorded(&self, file: &OwnedFd, kind: FileType) -> Option<Owner> {
        owners::read(&self.name(file).ok()?, kind)
    }

    /// Records the owner, and takes from a regular file what `chown` takes from it: set-id bits and capabilities.
    pub(super) fn give(&self, file: &OwnedFd, facts: &Facts, owner: Owner) -> Result<(), Errno> {
        let name = self.name(file)?;
        match owners::record(&name, facts.kind(), owner) {
            // A file of the kernel's (a pipe, a terminal, `/proc`) has no room for a mark, and enters no layer.
            Err(Errno::OPNOTSUPP | Errno::PERM) => return Ok(()),
            answer => answer?,
        }
        if facts.kind() != FileType::RegularFile {
            return Ok(());
        }
        let lost = if facts.mode & 0o010 == 0 { 0o4000 } else { 0o6000 };
        if facts.mode & lost != 0 {
            rustix::fs::chmod(&name, Mode::from_raw_mode(facts.mode & 0o7777 & !lost))?;
        }
        match rustix::fs::removexattr(&name, "security.capability") {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            answer => answer,
        }
    }

    /// Records the owner of what was made a moment ago.
    pub(super) fn give_new(&self, file: &OwnedFd, owner: Owner) -> Result<(), Errno> {
        let stat = rustix::fs::fstat(file)?;
        match owners::record(&self.name(file)?, FileType::from_raw_mode(stat.st_mode), owner) {
            Err(Errno::OPNOTSUPP | Errno::PERM) => Ok(()),
            answer => answer,
        }
    }

    /// A path to the inode of a descriptor, whatever root the thread has taken over.
    fn name(&self, file: &OwnedFd) -> Result<PathBuf, Errno> {
        rustix::process::fchdir(&self.descriptors)?;
        Ok(PathBuf::from(file.as_fd().as_raw_fd().to_string()))
    }
}

const PATH_ONLY: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Opens a path from the root and the working directory that the thread has at the moment.
fn open_here(path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)
}

/// Opens an entry of a folder, be it a link.
pub(super) fn open_entry(dir: &OwnedFd, name: &CString) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(dir, name, PATH_ONLY | OFlags::NOFOLLOW, Mode::empty())
}

/// The answer of `newfstatat` about an open file with another owner in it, as the kernel writes it.
pub(super) fn stat_with(file: &OwnedFd, owner: Owner) -> Result<Vec<u8>, Errno> {
    // The C library's structure is the kernel's on both architectures, which the sizes bear witness to.
    const SIZE: usize = size_of::<libc::stat>();
    const { assert!(SIZE == if cfg!(target_arch = "x86_64") { 144 } else { 128 }) };
    let mut bytes = vec![0; SIZE];
    let (into, flags) = (bytes.as_mut_ptr(), libc::AT_EMPTY_PATH);
    // SAFETY: the path is a C string, and the kernel writes one structure of the size just stated.
    let answer = unsafe { libc::syscall(libc::SYS_newfstatat, file.as_raw_fd(), c"".as_ptr(), into, flags) };
    if answer < 0 {
        return Err(last_errno());
    }
    put(&mut bytes, offset_of!(libc::stat, st_uid), owner.uid);
    put(&mut bytes, offset_of!(libc::stat, st_gid), owner.gid);
    Ok(bytes)
}

/// As [`stat_with`] for `statx`.
pub(super) fn statx_with(file: &OwnedFd, flags: i32, mask: u32, owner: Owner) -> Result<Vec<u8>, Errno> {
    const SIZE: usize = size_of::<libc::statx>();
    const { assert!(SIZE == 256) };
    let mut bytes = vec![0; SIZE];
    let into = bytes.as_mut_ptr();
    let flags = flags & (libc::AT_STATX_FORCE_SYNC | libc::AT_STATX_DONT_SYNC) | libc::AT_EMPTY_PATH;
    // SAFETY: the path is a C string, and the kernel writes one structure of 256 bytes.
    let answer = unsafe { libc::syscall(libc::SYS_statx, file.as_raw_fd(), c"".as_ptr(), flags, mask, into) };
    if answer < 0 {
        return Err(last_errno());
    }
    put(&mut bytes, offset_of!(libc::statx, stx_uid), owner.uid);
    put(&mut bytes, offset_of!(libc::statx, stx_gid), owner.gid);
    Ok(bytes)
}

fn put(bytes: &mut [u8], offset: usize, id: u32) {
    bytes[offset..offset + size_of::<u32>()].copy_from_slice(&id.to_ne_bytes());
}

fn last_errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}
