//! Who a step is: user, groups and capability sets.
//!
//! | set | root | other users |
//! |---|---|---|
//! | bounding | what it may have | what it may have |
//! | permitted, effective | what it may have | none; the kernel clears them when the user changes |
//! | inheritable, ambient | none | none |
//!
//! What it may have is Docker's default, if nobody asked for anything else.
//!
//! `no_new_privs` is not set, so set-user-id programs (`sudo`, `ping`) work within the bounding set (spec 11.1).

use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::call::{CallError, Named};
use crate::spec::{Credentials, Privilege};

/// Capabilities that a process may have at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities(CapabilitySet);

/// The names of capabilities(7), without `CAP_`, by number.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

impl Capabilities {
    /// Docker's default.
    pub const DOCKER: Self = Self(DEFAULT);
    /// None at all.
    pub const NONE: Self = Self(CapabilitySet::empty());
    /// All that this program knows of. The kernel keeps to those that the caller has.
    pub const ALL: Self = Self(CapabilitySet::from_bits_retain((1 << NAMES.len()) - 1));

    /// The capability of this name, in any case and with or without `CAP_`; `ALL` is all of them.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.to_ascii_uppercase();
        let name = name.strip_prefix("CAP_").unwrap_or(&name);
        if name == "ALL" {
            return Some(Self::ALL);
        }
        let number = NAMES.iter().position(|known| *known == name)?;
        Some(Self(CapabilitySet::from_bits_retain(1 << number)))
    }

    /// These and `others`.
    #[must_use]
    pub fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// These but for `others`.
    #[must_use]
    pub fn without(self, others: Self) -> Self {
        Self(self.0 - others.0)
    }

    /// As in `/proc/<pid>/status`.
    pub fn bits(self) -> u64 {
        self.0.bits()
    }

    /// The set with these bits.
    pub fn from_bits(bits: u64) -> Self {
        Self(CapabilitySet::from_bits_retain(bits))
    }
}

/// Docker's default: `CapBnd: 00000000a80425fb`.
const DEFAULT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Room for capabilities that the kernel may get; the numbers above its last one are refused and end the loop.
const MAX_CAPABILITIES: u32 = 64;

/// Gives up for good what the step must never have, even through a set-user-id program.
pub(crate) fn limit_bounding_set(privilege: Privilege) -> Result<(), CallError> {
    let Privilege::Sandboxed(Capabilities(kept)) = privilege else { return Ok(()) };
    for number in 0..MAX_CAPABILITIES {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if kept.contains(capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno).named(|| format!("prctl(PR_CAPBSET_DROP, {number})")),
        }
    }
    Ok(())
}

/// Becomes the user of the step. The order is fixed: each call needs a right that the next one gives up.
pub(crate) fn assume(credentials: &Credentials, privilege: Privilege) -> Result<(), CallError> {
    let Credentials { uid, gid, groups } = credentials;
    set_groups(*gid, groups)?;
    let gid = Gid::from_raw(*gid);
    set_thread_res_gid(gid, gid, gid).named(|| format!("setresgid({})", gid.as_raw()))?;
    let user = Uid::from_raw(*uid);
    set_thread_res_uid(user, user, user).named(|| format!("setresuid({uid})"))?;
    limit_own_sets(privilege)
}

fn set_groups(gid: u32, groups: &[u32]) -> Result<(), CallError> {
    let mut all = vec![Gid::from_raw(gid)];
    all.extend(groups.iter().filter(|group| **group != gid).map(|group| Gid::from_raw(*group)));
    match set_thread_groups(&all) {
        // A user namespace with a single id forbids the call. Then there is no other group to have, either.
        Err(Errno::PERM) if all.len() == 1 => Ok(()),
        answer => answer.named(|| format!("setgroups({all:?})")),
    }
}

/// Nothing inheritable (CVE-2022-24769), nothing ambient, and of the rest what the step may have.
pub(crate) fn limit_own_sets(privilege: Privilege) -> Result<(), CallError> {
    clear_ambient_capability_set().named(|| "prctl(PR_CAP_AMBIENT_CLEAR_ALL)".to_owned())?;
    let held = capabilities(None).named(|| "capget()".to_owned())?.permitted;
    let kept = match privilege {
        Privilege::Sandboxed(Capabilities(kept)) => held & kept,
        Privilege::Insecure => held,
    };
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).named(|| "capset()".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_known_by_name() {
        let named = |name| Capabilities::named(name).map(Capabilities::bits);
        assert_eq!(named("CAP_NET_ADMIN"), Some(1 << 12));
        assert_eq!(named("checkpoint_restore"), Some(CapabilitySet::CHECKPOINT_RESTORE.bits()));
        assert_eq!(named("all"), Some(0x1ff_ffff_ffff));
        assert_eq!(named("NET"), None);
        let changed = Capabilities::DOCKER.without(Capabilities::ALL).with(Capabilities(CapabilitySet::KILL));
        assert_eq!(changed.bits(), CapabilitySet::KILL.bits());
    }

    #[test]
    fn the_default_set_is_that_of_docker() {
        assert_eq!(DEFAULT.bits(), 0xa804_25fb);
    }
}
