//! What are a new file's owner and mode, and how are they set?

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;
use slipway_sandbox::owners::{self, Owner};

use super::ModeChange;
use crate::rootfs::Meta;

/// Owner and mode of a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Wanted {
    /// The same as a file that is there.
    pub(super) fn of(meta: &Meta) -> Wanted {
        Wanted { mode: meta.mode, uid: meta.uid, gid: meta.gid }
    }

    fn owner(self) -> Owner {
        Owner { uid: self.uid, gid: self.gid }
    }

    /// `EINVAL` is all that the kernel says about an id that the user namespace lacks.
    fn refused(self, errno: Errno) -> io::Error {
        match errno {
            Errno::INVAL => io::Error::other(format!(
                "owner {}:{} lies outside of the ids of this user namespace; longer ranges in /etc/subuid and \
                 /etc/subgid, or `--sandbox=single-id`, have it",
                self.uid, self.gid
            )),
            other => other.into(),
        }
    }
}

/// `--chown` and `--chmod` of an action, names looked up.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    pub(super) owner: Option<(u32, u32)>,
    pub(super) mode: Option<ModeChange>,
}

impl Changes {
    /// What a copy of a file with `meta` is like.
    pub(super) fn apply(&self, meta: &Meta) -> Wanted {
        let (uid, gid) = self.owner.unwrap_or((meta.uid, meta.gid));
        let mode = match &self.mode {
            // The mode of a link means nothing.
            Some(change) if !meta.is_link() => change.apply(meta.mode, meta.is_dir()),
            _ => meta.mode,
        };
        Wanted { mode, uid, gid }
    }

    /// What a folder is like that no source has.
    pub(super) fn new_dir(&self) -> Wanted {
        let (uid, gid) = self.owner.unwrap_or((0, 0));
        let mode = match &self.mode {
            // Less what the umask of any service takes away, and without special bits: it goes through mkdir(2).
            Some(ModeChange::Octal(mode)) => mode & 0o755,
            Some(ModeChange::Symbolic(_)) | None => 0o755,
        };
        Wanted { mode, uid, gid }
    }
}

/// Sets owner and mode of an open file.
pub(super) fn dress(file: impl AsFd, wanted: Wanted) -> io::Result<()> {
    let file = file.as_fd();
    owners::give(file, wanted.owner()).map_err(|errno| wanted.refused(errno))?;
    // Afterwards, because a change of the owner takes setuid away.
    Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(wanted.mode))?)
}

/// [`dress`] for what cannot be opened without side effects: links, devices, FIFOs.
pub(super) fn dress_at(dir: impl AsFd, name: &[u8], wanted: Wanted, is_link: bool) -> io::Result<()> {
    let dir = dir.as_fd();
    owners::give_at(dir, name, wanted.owner()).map_err(|errno| wanted.refused(errno))?;
    if !is_link {
        // Follows links, but this is the device that was made a moment ago in a folder that nobody else knows.
        rustix::fs::chmodat(dir, name, Mode::from_raw_mode(wanted.mode), AtFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_the_namespace_lacks_is_named() {
        let wanted = Wanted { mode: 0o644, uid: 70_000, gid: 5 };
        let text = wanted.refused(Errno::INVAL).to_string();
        assert!(text.starts_with("owner 70000:5 lies outside"), "{text}");
        assert_eq!(wanted.refused(Errno::ROFS).raw_os_error(), Some(Errno::ROFS.raw_os_error()));
    }
}
