//! Who a step is: user, groups and capability sets.
//!
//! | set | root | other users |
//! |---|---|---|
//! | bounding | Docker's default | Docker's default |
//! | permitted, effective | Docker's default | none; the kernel clears them when the user changes |
//! | inheritable, ambient | none | none |
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
    if privilege == Privilege::Insecure {
        return Ok(());
    }
    for number in 0..MAX_CAPABILITIES {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if DEFAULT.contains(capability) {
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
        Privilege::Sandboxed => held & DEFAULT,
        Privilege::Insecure => held,
    };
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).named(|| "capset()".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_set_is_that_of_docker() {
        assert_eq!(DEFAULT.bits(), 0xa804_25fb);
    }
}
