//! Which system calls are supervised, and what their arguments mean.

use super::identity::{Kind, Wish};

/// A file as a system call names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    /// Descriptor of a folder, `AT_FDCWD`, or with `AT_EMPTY_PATH` the file itself.
    pub(super) dir: i32,
    /// Address of the path; 0 if there is none.
    pub(super) path: u64,
    /// `AT_SYMLINK_NOFOLLOW` and `AT_EMPTY_PATH`, other bits do not matter.
    pub(super) flags: i32,
}

/// What is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Make {
    /// `mkdir`, with its mode.
    Folder(u32),
    /// `mknod`, with its mode, which holds the kind, and the device.
    Node(u32, u64),
    /// `symlink`, with the address of its text.
    Link(u64),
}

/// A supervised system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Chown {
        at: At,
        uid: u32,
        gid: u32,
    },
    Stat {
        at: At,
        buffer: u64,
    },
    Statx {
        at: At,
        mask: u32,
        buffer: u64,
    },
    Access {
        at: At,
        mode: u32,
    },
    /// Only with `O_CREAT`.
    Open {
        at: At,
        flags: i32,
        mode: u32,
    },
    Make {
        at: At,
        what: Make,
    },
    Execute {
        at: At,
    },
    Become {
        kind: Kind,
        wish: Wish,
    },
    SetFileId {
        kind: Kind,
        id: u32,
    },
    SetGroups {
        count: usize,
        ids: u64,
    },
    RealId(Kind),
    EffectiveId(Kind),
    AllIds {
        kind: Kind,
        addresses: [u64; 3],
    },
    Groups {
        room: usize,
        ids: u64,
    },
    /// Whether another user keeps the rights of root, until the next `execve`.
    KeepCapabilities(bool),
    /// The limit that says who a process is, see [`super::CARRIER`].
    CarrierLimit {
        old: u64,
    },
    /// The next entries of a folder.
    List {
        descriptor: i32,
        buffer: u64,
        room: usize,
    },
}

/// A call, and when it is supervised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Supervised {
    pub(crate) number: libc::c_long,
    pub(crate) when: When,
}

/// What an argument, counted from 0, has to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    HasBits(u32, u32),
    Equals(u32, u32),
}

const fn always(number: libc::c_long) -> Supervised {
    Supervised { number, when: When::Always }
}

const fn creating(number: libc::c_long, flags: u32) -> Supervised {
    Supervised { number, when: When::HasBits(flags, libc::O_CREAT.cast_unsigned()) }
}

const fn carrier(number: libc::c_long, resource: u32) -> Supervised {
    Supervised { number, when: When::Equals(resource, super::CARRIER) }
}

/// The calls of every architecture.
const COMMON: &[Supervised] = &[
    always(libc::SYS_fchown),
    always(libc::SYS_fchownat),
    always(libc::SYS_fstat),
    always(libc::SYS_newfstatat),
    always(libc::SYS_statx),
    always(libc::SYS_faccessat),
    always(libc::SYS_faccessat2),
    creating(libc::SYS_openat, 2),
    always(libc::SYS_mkdirat),
    always(libc::SYS_mknodat),
    always(libc::SYS_symlinkat),
    always(libc::SYS_execve),
    always(libc::SYS_execveat),
    always(libc::SYS_setuid),
    always(libc::SYS_setgid),
    always(libc::SYS_setreuid),
    always(libc::SYS_setregid),
    always(libc::SYS_setresuid),
    always(libc::SYS_setresgid),
    always(libc::SYS_setfsuid),
    always(libc::SYS_setfsgid),
    always(libc::SYS_setgroups),
    always(libc::SYS_getuid),
    always(libc::SYS_geteuid),
    always(libc::SYS_getgid),
    always(libc::SYS_getegid),
    always(libc::SYS_getgroups),
    always(libc::SYS_getresuid),
    always(libc::SYS_getresgid),
    Supervised { number: libc::SYS_prctl, when: When::Equals(0, libc::PR_SET_KEEPCAPS.cast_unsigned()) },
    carrier(libc::SYS_prlimit64, 1),
    carrier(libc::SYS_setrlimit, 0),
];

/// The old ones, which newer architectures never had.
#[cfg(target_arch = "x86_64")]
const OLD: &[Supervised] = &[
    always(libc::SYS_chown),
    always(libc::SYS_lchown),
    always(libc::SYS_stat),
    always(libc::SYS_lstat),
    always(libc::SYS_access),
    creating(libc::SYS_open, 1),
    always(libc::SYS_creat),
    always(libc::SYS_mkdir),
    always(libc::SYS_mknod),
    always(libc::SYS_symlink),
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[Supervised] = &[];

/// Those that a step with another order of folders makes.
const LISTS: &[Supervised] = &[always(libc::SYS_getdents64)];

/// What a supervisor answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Duties {
    /// Questions about owners and ids, see [`crate::owners`].
    pub(crate) owners: bool,
    /// In which order folders have their entries, see [`super::folders`].
    pub(crate) order: bool,
}

/// All calls that are supervised.
pub(crate) fn supervised(duties: Duties) -> impl Iterator<Item = Supervised> {
    let when = |is_duty: bool, calls: &'static [Supervised]| if is_duty { calls } else { &[] };
    let owners = when(duties.owners, COMMON).iter().chain(when(duties.owners, OLD));
    owners.chain(when(duties.order, LISTS)).copied()
}

impl At {
    fn path(address: u64) -> Self {
        Self { dir: libc::AT_FDCWD, path: address, flags: 0 }
    }

    #[cfg(target_arch = "x86_64")]
    fn link(address: u64) -> Self {
        Self { flags: libc::AT_SYMLINK_NOFOLLOW, ..Self::path(address) }
    }

    fn descriptor(number: u64) -> Self {
        Self { dir: int(number), path: 0, flags: libc::AT_EMPTY_PATH }
    }

    fn below(dir: u64, path: u64, flags: i32) -> Self {
        Self { dir: int(dir), path, flags }
    }
}

/// The kernel takes the lower half of a register where it wants 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "this is what the kernel does")]
fn word(register: u64) -> u32 {
    register as u32
}

fn int(register: u64) -> i32 {
    word(register).cast_signed()
}

fn size(register: u64) -> usize {
    usize::try_from(word(register)).expect("because there are no 16-bit machines here")
}

/// The call of this number, if it is a supervised one.
pub(super) fn decode(number: i32, arguments: [u64; 6]) -> Option<Call> {
    let [a, b, c, d, e, _] = arguments;
    let chown = |at, uid, gid| Call::Chown { at, uid: word(uid), gid: word(gid) };
    let nofollow = |flags: u64| At::below(a, b, int(flags));
    Some(match libc::c_long::from(number) {
        libc::SYS_fchown => chown(At::descriptor(a), b, c),
        libc::SYS_fchownat => chown(nofollow(e), c, d),
        libc::SYS_fstat => Call::Stat { at: At::descriptor(a), buffer: b },
        libc::SYS_newfstatat => Call::Stat { at: nofollow(d), buffer: c },
        libc::SYS_statx => Call::Statx { at: nofollow(c), mask: word(d), buffer: e },
        libc::SYS_faccessat => Call::Access { at: At::below(a, b, 0), mode: word(c) },
        libc::SYS_faccessat2 => Call::Access { at: nofollow(d), mode: word(c) },
        libc::SYS_openat => Call::Open { at: At::below(a, b, 0), flags: int(c), mode: word(d) },
        libc::SYS_mkdirat => Call::Make { at: At::below(a, b, 0), what: Make::Folder(word(c)) },
        libc::SYS_mknodat => Call::Make { at: At::below(a, b, 0), what: Make::Node(word(c), d) },
        libc::SYS_symlinkat => Call::Make { at: At::below(b, c, 0), what: Make::Link(a) },
        libc::SYS_execve => Call::Execute { at: At::path(a) },
        libc::SYS_execveat => Call::Execute { at: nofollow(e) },
        libc::SYS_setuid => Call::Become { kind: Kind::User, wish: Wish::Id(word(a)) },
        libc::SYS_setgid => Call::Become { kind: Kind::Group, wish: Wish::Id(word(a)) },
        libc::SYS_setreuid => Call::Become { kind: Kind::User, wish: Wish::RealEffective(word(a), word(b)) },
        libc::SYS_setregid => Call::Become { kind: Kind::Group, wish: Wish::RealEffective(word(a), word(b)) },
        libc::SYS_setresuid => Call::Become { kind: Kind::User, wish: Wish::All(word(a), word(b), word(c)) },
        libc::SYS_setresgid => Call::Become { kind: Kind::Group, wish: Wish::All(word(a), word(b), word(c)) },
        libc::SYS_setfsuid => Call::SetFileId { kind: Kind::User, id: word(a) },
        libc::SYS_setfsgid => Call::SetFileId { kind: Kind::Group, id: word(a) },
        libc::SYS_setgroups => Call::SetGroups { count: size(a), ids: b },
        libc::SYS_getuid => Call::RealId(Kind::User),
        libc::SYS_geteuid => Call::EffectiveId(Kind::User),
        libc::SYS_getgid => Call::RealId(Kind::Group),
        libc::SYS_getegid => Call::EffectiveId(Kind::Group),
        libc::SYS_getgroups => Call::Groups { room: size(a), ids: b },
        libc::SYS_getresuid => Call::AllIds { kind: Kind::User, addresses: [a, b, c] },
        libc::SYS_getresgid => Call::AllIds { kind: Kind::Group, addresses: [a, b, c] },
        libc::SYS_prctl => Call::KeepCapabilities(b != 0),
        libc::SYS_prlimit64 => Call::CarrierLimit { old: d },
        libc::SYS_setrlimit => Call::CarrierLimit { old: 0 },
        libc::SYS_getdents64 => Call::List { descriptor: int(a), buffer: b, room: size(c) },
        other => return decode_old(other, arguments),
    })
}

#[cfg(target_arch = "x86_64")]
fn decode_old(number: libc::c_long, [a, b, c, ..]: [u64; 6]) -> Option<Call> {
    Some(match number {
        libc::SYS_chown => Call::Chown { at: At::path(a), uid: word(b), gid: word(c) },
        libc::SYS_lchown => Call::Chown { at: At::link(a), uid: word(b), gid: word(c) },
        libc::SYS_stat => Call::Stat { at: At::path(a), buffer: b },
        libc::SYS_lstat => Call::Stat { at: At::link(a), buffer: b },
        libc::SYS_access => Call::Access { at: At::path(a), mode: word(b) },
        libc::SYS_open => Call::Open { at: At::path(a), flags: int(b), mode: word(c) },
        libc::SYS_creat => {
            let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
            Call::Open { at: At::path(a), flags, mode: word(b) }
        }
        libc::SYS_mkdir => Call::Make { at: At::path(a), what: Make::Folder(word(b)) },
        libc::SYS_mknod => Call::Make { at: At::path(a), what: Make::Node(word(b), c) },
        libc::SYS_symlink => Call::Make { at: At::path(b), what: Make::Link(a) },
        _ => return None,
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn decode_old(_number: libc::c_long, _arguments: [u64; 6]) -> Option<Call> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_supervised_call_is_understood() {
        for Supervised { number, .. } in supervised(Duties { owners: true, order: true }) {
            let number = i32::try_from(number).expect("because numbers are small");
            assert!(decode(number, [0; 6]).is_some(), "{number}");
        }
        assert_eq!(decode(i32::try_from(libc::SYS_read).unwrap(), [0; 6]), None);
    }

    #[test]
    fn only_the_lower_half_of_a_register_counts() {
        let number = i32::try_from(libc::SYS_setuid).unwrap();
        let call = decode(number, [0xffff_ffff_0000_0005, 0, 0, 0, 0, 0]);
        assert_eq!(call, Some(Call::Become { kind: Kind::User, wish: Wish::Id(5) }));
    }
}
