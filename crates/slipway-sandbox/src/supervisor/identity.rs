//! Who a process of the step believes to be, and what the kernel would answer to its wish to be somebody else.
//!
//! Values only. The rules are those of `credentials(7)` and `setresuid(2)`; user 0 has all rights, nobody else has any.

use rustix::io::Errno;

use crate::owners::Owner;
use crate::spec::Credentials;

/// Real, effective and saved id, and the one that counts for files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) real: u32,
    pub(super) effective: u32,
    pub(super) saved: u32,
    pub(super) file: u32,
}

/// User, group and supplementary groups of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) user: Ids,
    pub(super) group: Ids,
    pub(super) groups: Vec<u32>,
    /// `PR_SET_KEEPCAPS`: the rights of root stay when the user changes.
    keeps_capabilities: bool,
}

/// Which of a process's two kinds of ids a call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    User,
    Group,
}

/// A wish for other ids; `u32::MAX` means "as it is".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// `setuid(2)`, `setgid(2)`.
    Id(u32),
    /// `setreuid(2)`, `setregid(2)`.
    RealEffective(u32, u32),
    /// `setresuid(2)`, `setresgid(2)`.
    All(u32, u32, u32),
}

/// "No id", and in most calls "as it is".
pub(super) const NO_ID: u32 = u32::MAX;

impl Ids {
    fn same(id: u32) -> Self {
        Self { real: id, effective: id, saved: id, file: id }
    }

    /// The ids after the wish, if it is allowed.
    fn after(self, wish: Wish, is_privileged: bool) -> Result<Self, Errno> {
        let or_old = |id: u32, old: u32| if id == NO_ID { old } else { id };
        match wish {
            Wish::Id(NO_ID) => Err(Errno::INVAL),
            Wish::Id(id) if is_privileged => Ok(Self::same(id)),
            Wish::Id(id) if [self.real, self.saved].contains(&id) => Ok(Self { effective: id, file: id, ..self }),
            Wish::Id(_) => Err(Errno::PERM),
            Wish::RealEffective(real, effective) => {
                let allowed = is_privileged
                    || [NO_ID, self.real, self.effective].contains(&real)
                        && [NO_ID, self.real, self.effective, self.saved].contains(&effective);
                if !allowed {
                    return Err(Errno::PERM);
                }
                let new_effective = or_old(effective, self.effective);
                let saves = real != NO_ID || effective != NO_ID && effective != self.real;
                Ok(Self {
                    real: or_old(real, self.real),
                    effective: new_effective,
                    saved: if saves { new_effective } else { self.saved },
                    file: new_effective,
                })
            }
            Wish::All(real, effective, saved) => {
                let known = [NO_ID, self.real, self.effective, self.saved];
                if !is_privileged && ![real, effective, saved].iter().all(|id| known.contains(id)) {
                    return Err(Errno::PERM);
                }
                let effective = or_old(effective, self.effective);
                Ok(Self { real: or_old(real, self.real), effective, saved: or_old(saved, self.saved), file: effective })
            }
        }
    }
}

impl Identity {
    /// Who the step starts as. The primary group is always one of the groups (CVE-2023-25173).
    pub(super) fn new(credentials: &Credentials) -> Self {
        let mut groups = vec![credentials.gid];
        groups.extend(credentials.groups.iter().filter(|group| **group != credentials.gid));
        Self { user: Ids::same(credentials.uid), group: Ids::same(credentials.gid), groups, keeps_capabilities: false }
    }

    /// Whether it has the rights that come with user 0.
    pub(super) fn is_privileged(&self) -> bool {
        self.user.effective == 0 || self.keeps_capabilities
    }

    /// Whose a new file is.
    pub(super) fn file_owner(&self) -> Owner {
        Owner { uid: self.user.file, gid: self.group.file }
    }

    pub(super) fn ids(&self, kind: Kind) -> Ids {
        match kind {
            Kind::User => self.user,
            Kind::Group => self.group,
        }
    }

    /// Who it is after the wish, if that is allowed.
    pub(super) fn after(&self, kind: Kind, wish: Wish) -> Result<Self, Errno> {
        let ids = self.ids(kind).after(wish, self.is_privileged())?;
        Ok(self.with(kind, ids))
    }

    /// `setfsuid(2)` and `setfsgid(2)`, which leave everything as it is rather than fail.
    pub(super) fn with_file_id(&self, kind: Kind, id: u32) -> Self {
        let ids = self.ids(kind);
        let allowed = self.is_privileged() || [ids.real, ids.effective, ids.saved, ids.file].contains(&id);
        if id == NO_ID || !allowed { self.clone() } else { self.with(kind, Ids { file: id, ..ids }) }
    }

    /// `setgroups(2)`.
    pub(super) fn with_groups(&self, groups: Vec<u32>) -> Result<Self, Errno> {
        if !self.is_privileged() {
            return Err(Errno::PERM);
        }
        Ok(Self { groups, ..self.clone() })
    }

    /// The same, with or without the rights of root once it is somebody else; nobody else can ask for them.
    pub(super) fn keeping_capabilities(&self, keeps: bool) -> Self {
        Self { keeps_capabilities: keeps && self.is_privileged(), ..self.clone() }
    }

    /// Who it is once it executes a file with these owners, if any, from its set-id bits.
    pub(super) fn executing(&self, set_uid: Option<u32>, set_gid: Option<u32>) -> Self {
        let become_ = |ids: Ids, id: Option<u32>| {
            let effective = id.unwrap_or(ids.effective);
            Ids { real: ids.real, effective, saved: effective, file: effective }
        };
        Self {
            user: become_(self.user, set_uid),
            group: become_(self.group, set_gid),
            groups: self.groups.clone(),
            keeps_capabilities: false,
        }
    }

    /// The owner of a file that belongs to `now` after `chown` to `uid` and `gid`, if this process may do that.
    pub(super) fn chown(&self, now: Owner, uid: u32, gid: u32) -> Result<Owner, Errno> {
        let new =
            Owner { uid: if uid == NO_ID { now.uid } else { uid }, gid: if gid == NO_ID { now.gid } else { gid } };
        let keeps_user = new.uid == now.uid && now.uid == self.user.file;
        let is_own_group = new.gid == now.gid || self.is_in_group(new.gid);
        match self.is_privileged() || (uid, gid) == (NO_ID, NO_ID) || keeps_user && is_own_group {
            true => Ok(new),
            false => Err(Errno::PERM),
        }
    }

    /// Whether the mode of a file grants all of `wanted` (4 read, 2 write, 1 execute) to this process.
    ///
    /// `as_real` asks for the real ids, as `access(2)` does, not for those that count for files.
    pub(super) fn may(&self, wanted: u32, mode: u32, owner: Owner, as_real: bool) -> bool {
        let (uid, gid) = match as_real {
            true => (self.user.real, self.group.real),
            false => (self.user.file, self.group.file),
        };
        if uid == 0 {
            return wanted & 1 == 0 || mode & 0o111 != 0 || mode & 0o170_000 == 0o040_000;
        }
        let granted = match () {
            () if uid == owner.uid => mode >> 6,
            () if gid == owner.gid || self.groups.contains(&owner.gid) => mode >> 3,
            () => mode,
        };
        granted & wanted == wanted
    }

    fn is_in_group(&self, gid: u32) -> bool {
        self.group.file == gid || self.groups.contains(&gid)
    }

    fn with(&self, kind: Kind, ids: Ids) -> Self {
        match kind {
            Kind::User => Self { user: ids, ..self.clone() },
            Kind::Group => Self { group: ids, ..self.clone() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(uid: u32, gid: u32, groups: &[u32]) -> Identity {
        Identity::new(&Credentials { uid, gid, groups: groups.to_vec() })
    }

    #[test]
    fn root_becomes_anybody_and_cannot_go_back() {
        let user = identity(0, 0, &[]).after(Kind::User, Wish::Id(1000)).unwrap();
        assert_eq!(user.user, Ids::same(1000));
        assert_eq!(user.after(Kind::User, Wish::Id(0)), Err(Errno::PERM));
        assert_eq!(user.with_groups(vec![0]), Err(Errno::PERM));
        assert_eq!(user.after(Kind::Group, Wish::Id(5)), Err(Errno::PERM));
    }

    #[test]
    fn the_saved_id_is_a_way_back() {
        let root = identity(0, 0, &[]);
        let lowered = root.after(Kind::User, Wish::All(NO_ID, 33, NO_ID)).unwrap();
        assert_eq!(lowered.user, Ids { real: 0, effective: 33, saved: 0, file: 33 });
        assert_eq!(lowered.after(Kind::User, Wish::All(NO_ID, 0, NO_ID)).unwrap(), root);
        // `setreuid(33, 33)` saves the new id, so there is none.
        let gone = root.after(Kind::User, Wish::RealEffective(33, 33)).unwrap();
        assert_eq!(gone.after(Kind::User, Wish::RealEffective(NO_ID, 0)), Err(Errno::PERM));
    }

    #[test]
    fn rights_can_be_kept_until_the_next_program() {
        let root = identity(0, 0, &[]).keeping_capabilities(true);
        let user = root.after(Kind::User, Wish::Id(1000)).unwrap();
        assert!(user.after(Kind::Group, Wish::Id(1000)).is_ok());
        assert!(!user.executing(None, None).is_privileged());
        assert!(!identity(1000, 1000, &[]).keeping_capabilities(true).is_privileged());
    }

    #[test]
    fn nobody_becomes_no_id() {
        assert_eq!(identity(0, 0, &[]).after(Kind::User, Wish::Id(NO_ID)), Err(Errno::INVAL));
    }

    #[test]
    fn set_id_programs_give_their_owner() {
        let user = identity(1000, 1000, &[]);
        let sudo = user.executing(Some(0), None);
        assert_eq!((sudo.user.real, sudo.user.effective, sudo.user.saved), (1000, 0, 0));
        assert!(sudo.is_privileged() && !user.executing(None, Some(0)).is_privileged());
    }

    #[test]
    fn only_root_gives_files_away() {
        let user = identity(1000, 1000, &[50]);
        let own = Owner { uid: 1000, gid: 1000 };
        assert_eq!(user.chown(own, 1000, 50), Ok(Owner { uid: 1000, gid: 50 }));
        assert_eq!(user.chown(own, 1000, 51), Err(Errno::PERM));
        assert_eq!(user.chown(own, 0, NO_ID), Err(Errno::PERM));
        assert_eq!(user.chown(Owner::default(), NO_ID, 1000), Err(Errno::PERM));
        assert_eq!(identity(0, 0, &[]).chown(own, 5, NO_ID), Ok(Owner { uid: 5, gid: 1000 }));
    }

    #[test]
    fn modes_grant_by_owner_then_group_then_others() {
        let user = identity(1000, 1000, &[50]);
        let may = |wanted, mode, uid, gid| user.may(wanted, mode, Owner { uid, gid }, false);
        assert!(may(6, 0o600, 1000, 0) && may(4, 0o640, 0, 50) && may(4, 0o604, 0, 0));
        assert!(!may(4, 0o077, 1000, 0) && !may(2, 0o604, 0, 50) && !may(2, 0o644, 0, 0));
        let root = identity(0, 0, &[]);
        assert!(root.may(6, 0o100_000, Owner::default(), false) && !root.may(1, 0o100_644, Owner::default(), false));
    }
}
