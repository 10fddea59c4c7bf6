//! Which kind of sandbox does this machine allow to this user?
//!
//! | rung | who | what a step has |
//! |---|---|---|
//! | `root` | root of the machine, or of a namespace that is there already | all ids |
//! | `subids` | anybody with lines in `/etc/subuid` and `/etc/subgid`; root of a container without CAP_SYS_ADMIN | the ids of those lines |
//! | `single-id` | anybody who may make a user namespace | one id that passes for all (`supervisor/`) |
//!
//! The highest rung that works is taken, unless one is asked for. Whether a rung works is found out by trying a step on
//! it, which takes some milliseconds; so the answer is kept in a file, and holds for this boot, this user, what it may do, and these
//! lines. Root does without: no lower rung gives it what is refused to it on its own, so that only [`survey`] tries.

use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::str::FromStr;

use rustix::thread::CapabilitySet;

use crate::call::Named;
use crate::userns::{self, EnterError, Maps, Mode};

/// A rung of the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rung {
    /// As the process is: it has CAP_SYS_ADMIN where it is.
    Root,
    /// In a user namespace of its own with many ids.
    SubordinateIds,
    /// In a user namespace of its own with one id.
    SingleId,
}

impl Rung {
    /// All of them, the best first.
    pub const ALL: [Self; 3] = [Self::Root, Self::SubordinateIds, Self::SingleId];

    /// As `--sandbox` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::SubordinateIds => "subids",
            Self::SingleId => "single-id",
        }
    }

    /// What it is, for people.
    pub fn description(self) -> &'static str {
        match self {
            Self::Root => "all ids of root",
            Self::SubordinateIds => "a user namespace with many ids",
            Self::SingleId => "one id; other owners are recorded on the files",
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No rung has this name.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is none of root, subids and single-id")]
pub struct UnknownRung(String);

impl FromStr for Rung {
    type Err = UnknownRung;

    fn from_str(name: &str) -> Result<Self, UnknownRung> {
        Self::ALL.into_iter().find(|rung| rung.name() == name).ok_or_else(|| UnknownRung(name.to_owned()))
    }
}

/// Where a process stands that has found its rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On it: it may make sandboxes.
    There(Mode),
    /// Below it: [`userns::enter`] leads there.
    Outside(Rung),
}

impl Place {
    /// Whether files are going to have one owner only, see [`crate::owners`].
    pub fn has_single_id(self) -> bool {
        match self {
            Self::There(Mode::Root) => false,
            Self::There(Mode::UserNamespace { n_ids }) => n_ids == 1,
            Self::Outside(rung) => rung == Rung::SingleId,
        }
    }
}

/// Finds the rung of this process: `wanted`, or the highest that works.
///
/// `memory` is the file that keeps the answer; one that cannot be read or written does without.
pub fn find(wanted: Option<Rung>, memory: &Path) -> Result<Place, EnterError> {
    let here = current()?;
    match (wanted, here) {
        // The process that `enter` has started finds itself on its rung.
        (Some(Rung::SingleId), Some(mode @ Mode::UserNamespace { n_ids: 1 }))
        | (Some(Rung::SubordinateIds), Some(mode @ Mode::UserNamespace { n_ids: 2.. }))
        | (None | Some(Rung::Root), Some(mode)) => Ok(Place::There(mode)),
        (Some(Rung::Root), None) => Err(EnterError::NotRoot),
        (Some(rung), _) => try_rung(rung).map(|()| Place::Outside(rung)),
        (None, None) => below(memory).map(Place::Outside),
    }
}

/// What can be said about one rung on this machine.
#[derive(Debug)]
pub struct Finding {
    /// The rung.
    pub rung: Rung,
    /// Why it does not work, if it does not.
    pub obstacle: Option<EnterError>,
}

/// Tries all rungs, the best first.
pub fn survey() -> Result<Vec<Finding>, EnterError> {
    let here = current()?;
    let finding = |rung| Finding {
        rung,
        obstacle: match rung {
            Rung::Root if here.is_some() => userns::attempt_here().err(),
            Rung::Root if rustix::process::geteuid().is_root() => Some(EnterError::NoAdminCapability),
            Rung::Root => Some(EnterError::NotRoot),
            below => try_rung(below).err(),
        },
    };
    Ok(Rung::ALL.into_iter().map(finding).collect())
}

/// Forgets what [`find`] has kept, because it proved wrong.
pub fn forget(memory: &Path) {
    // Then it was not kept, or will be wrong once more and told again.
    let _ = fs::remove_file(memory);
}

/// What this process may rest its sandboxes on as it is, if it may at all.
fn current() -> Result<Option<Mode>, EnterError> {
    let held = rustix::thread::capabilities(None).named(|| "capget()".to_owned())?.effective;
    if !rustix::process::geteuid().is_root() || !held.contains(CapabilitySet::SYS_ADMIN) {
        return Ok(None);
    }
    userns::current_mode().map(Some).map_err(EnterError::Call)
}

fn below(memory: &Path) -> Result<Rung, EnterError> {
    let circumstances = circumstances();
    if let Some(rung) = fs::read_to_string(memory).ok().and_then(|text| recall(&text, &circumstances)) {
        return Ok(rung);
    }
    let rung = match try_rung(Rung::SubordinateIds) {
        Ok(()) => Rung::SubordinateIds,
        // What stops every namespace is told as it is; what stops many ids leaves one.
        Err(error @ EnterError::Namespace { .. }) => return Err(error),
        Err(_) => try_rung(Rung::SingleId).map(|()| Rung::SingleId)?,
    };
    // The next run finds out again.
    let _ = keep(memory, &format!("{circumstances}\n{rung}\n"));
    Ok(rung)
}

fn keep(memory: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = memory.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    fs::write(memory, text)
}

fn try_rung(rung: Rung) -> Result<(), EnterError> {
    userns::attempt(&Maps::of_current_user(rung)?)
}

fn recall(text: &str, circumstances: &str) -> Option<Rung> {
    text.strip_prefix(circumstances)?.trim().parse().ok()
}

/// What the answer depends on, as far as looking costs little.
fn circumstances() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/user").unwrap_or_default();
    let uid = rustix::process::getuid().as_raw();
    let capabilities = rustix::thread::capabilities(None).map(|sets| sets.effective.bits()).unwrap_or_default();
    let changed = |file: &str| fs::metadata(file).map(|m| (m.ino(), m.ctime(), m.ctime_nsec())).unwrap_or_default();
    format!(
        "boot {} {} user {uid} {capabilities:x} {:?} {:?}",
        boot.trim(),
        namespace.display(),
        changed("/etc/subuid"),
        changed("/etc/subgid")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_have_names() {
        for rung in Rung::ALL {
            assert_eq!(rung.name().parse::<Rung>().unwrap(), rung);
        }
        assert!("rootless".parse::<Rung>().is_err());
    }

    #[test]
    fn an_answer_holds_under_the_same_circumstances_only() {
        assert_eq!(recall("boot a user 1\nsubids\n", "boot a user 1"), Some(Rung::SubordinateIds));
        assert_eq!(recall("boot a user 1\nsubids\n", "boot b user 1"), None);
        assert_eq!(recall("boot a user 1\nwhat\n", "boot a user 1"), None);
    }

    #[test]
    fn one_id_means_recorded_owners() {
        assert!(Place::There(Mode::UserNamespace { n_ids: 1 }).has_single_id());
        assert!(Place::Outside(Rung::SingleId).has_single_id());
        assert!(!Place::There(Mode::Root).has_single_id());
        assert!(!Place::Outside(Rung::SubordinateIds).has_single_id());
    }
}
