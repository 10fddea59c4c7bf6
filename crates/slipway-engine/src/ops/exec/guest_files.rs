//! Files that are put into a container that runs, or taken out of it.
//!
//! They are reached as the container sees them, by way of its first process (`/proc/<pid>/root`, proc(5)): its volumes
//! are there too. Every path is resolved with the container's root as the top, so no link in it leads elsewhere. What
//! goes in or out is a tar archive.

use std::collections::BTreeSet;
use std::error::Error;
use std::ffi::CString;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::guests::GuestHost;
use crate::layer::diff;
use crate::layer::untar::{self, Meaning};
use crate::rootfs::Root;

/// What is put somewhere belongs to root there, as with `docker cp`.
const OWNER: Option<(u32, u32)> = Some((0, 0));

/// Why files could not be put into a container, or taken out of it.
#[derive(Debug, thiserror::Error)]
pub enum GuestFileError {
    #[error("the container has ended")]
    Ended,
    #[error("cannot reach the files of the container")]
    Root(#[source] std::io::Error),
    #[error("there is no `{0}`")]
    Missing(String),
    #[error("`{path}`")]
    Path { path: String, source: std::io::Error },
    #[error("cannot read the files")]
    Pack(#[source] Box<dyn Error + Send + Sync>),
    #[error("cannot write the files")]
    Unpack(#[source] Box<dyn Error + Send + Sync>),
}

impl GuestHost {
    /// The container's root as it sees it.
    fn root(&self) -> Result<Root, GuestFileError> {
        let root = Root::open(Path::new(&format!("/proc/{}/root", self.id))).map_err(GuestFileError::Root)?;
        // The number may be that of another process by now, unless this one was there after it was looked up.
        let mut process = [PollFd::new(&self.process, PollFlags::IN)];
        match poll(&mut process, Some(&Timespec::default())) {
            Ok(0) => Ok(root),
            _ => Err(GuestFileError::Ended),
        }
    }

    /// Unpacks an archive in the folder at `path`, which is made with those above it if it is not there.
    ///
    /// # Errors
    /// The container has ended, something that is no folder is in the way, or the archive is broken.
    pub fn unpack(&self, path: &str, archive: impl Read) -> Result<(), GuestFileError> {
        let root = self.root()?;
        let folder = untar::make_folders(root.as_fd(), path.as_bytes(), &mut BTreeSet::new());
        let folder = folder.map_err(|errno| GuestFileError::Path { path: path.to_owned(), source: errno.into() })?;
        unpack_into(&folder, archive)
    }

    /// Removes files, and folders with what is in them. That they are not there is fine.
    ///
    /// # Errors
    /// The container has ended, or something cannot be removed.
    pub fn remove(&self, paths: &[String]) -> Result<(), GuestFileError> {
        if paths.is_empty() {
            return Ok(());
        }
        let root = self.root()?;
        for path in paths {
            let failed = |errno: Errno| GuestFileError::Path { path: path.clone(), source: errno.into() };
            let Some((parent, name)) = place_of(&root, path)? else { continue };
            let is_folder = match diff::stat_at(&parent, &name) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(failed(errno)),
            };
            untar::remove_tree(parent.as_fd(), &name, is_folder).map_err(failed)?;
        }
        Ok(())
    }

    /// Whether what is at `path`, links followed, is a folder; `None` if there is nothing.
    ///
    /// # Errors
    /// The container has ended, or somebody in it makes links that lead in circles.
    pub fn is_folder(&self, path: &str) -> Result<Option<bool>, GuestFileError> {
        let root = self.root()?;
        let failed = |source| GuestFileError::Path { path: path.to_owned(), source };
        let real = root.resolve(path.as_bytes()).map_err(|error| failed(std::io::Error::other(error)))?;
        Ok(root.stat(&real).map_err(failed)?.map(|meta| meta.is_dir()))
    }

    /// Writes what is at `path` as an archive in which it is called `name`.
    ///
    /// # Errors
    /// The container has ended, there is nothing, or it cannot be read.
    pub fn pack(&self, path: &str, name: &str, out: impl Write) -> Result<(), GuestFileError> {
        let root = self.root()?;
        let place = place_of(&root, path)?.ok_or_else(|| GuestFileError::Missing(path.to_owned()))?;
        pack_at(&place, path, name.as_bytes(), out)
    }
}

/// Writes what is at `path` on this machine as an archive in which it is called `name`.
///
/// # Errors
/// There is nothing, or it cannot be read.
pub fn pack_host_files(path: &Path, name: &str, out: impl Write) -> Result<(), GuestFileError> {
    let shown = path.display().to_string();
    let failed = |source| GuestFileError::Path { path: shown.clone(), source };
    let path = path.canonicalize().map_err(failed)?;
    let root = Root::open(Path::new("/")).map_err(failed)?;
    let place = place_of(&root, &path.to_string_lossy())?.ok_or_else(|| GuestFileError::Missing(shown.clone()))?;
    pack_at(&place, &shown, name.as_bytes(), out)
}

/// Unpacks an archive in a folder of this machine. What it makes belongs to who calls.
///
/// # Errors
/// The archive is broken, or the folder cannot be written to.
pub fn unpack_on_host(folder: &Path, archive: impl Read) -> Result<(), GuestFileError> {
    let failed = |source| GuestFileError::Path { path: folder.display().to_string(), source };
    let root = Root::open(folder).map_err(failed)?;
    unpack_into(root.as_fd(), archive)
}

fn unpack_into(folder: impl AsFd, archive: impl Read) -> Result<(), GuestFileError> {
    let unpacked = untar::unpack(archive, folder.as_fd(), Meaning::Archive { owner: OWNER });
    unpacked.map(drop).map_err(|error| GuestFileError::Unpack(error.into()))
}

fn pack_at(
    (parent, entry): &(OwnedFd, CString),
    path: &str,
    name: &[u8],
    out: impl Write,
) -> Result<(), GuestFileError> {
    match diff::stat_at(parent, entry) {
        Ok(_) => {}
        Err(Errno::NOENT) => return Err(GuestFileError::Missing(path.to_owned())),
        Err(errno) => return Err(GuestFileError::Path { path: path.to_owned(), source: errno.into() }),
    }
    diff::write_one(parent, entry, name, out).map(drop).map_err(|error| GuestFileError::Pack(error.into()))
}

/// The folder that `path` is in, links on the way followed, and its name there. `None` if there is no such folder. The
/// top itself is `.` in itself.
fn place_of(root: &Root, path: &str) -> Result<Option<(OwnedFd, CString)>, GuestFileError> {
    let path = path.trim_matches('/');
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let failed = |source| GuestFileError::Path { path: path.to_owned(), source };
    let real = root.resolve(folder.as_bytes()).map_err(|error| failed(std::io::Error::other(error)))?;
    let name = if name.is_empty() { "." } else { name };
    let name = CString::new(name).map_err(|error| failed(error.into()))?;
    let parent = match root.open_dir(&real) {
        Ok(parent) => parent,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    Ok(Some((parent, name)))
}
