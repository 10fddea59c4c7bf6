//! Answers some system calls of a step in the place of the kernel: lets a step that has a single id believe that there are
//! many, and a step that is run to see whether it is reproducible see folders in another order ([`folders`]).
//!
//! In a user namespace with one id the kernel knows one user and one owner. There a filter stops the system calls that
//! ask about owners and ids, or make files while the process believes to be somebody else, and a thread of ours
//! answers them: from the marks on the files ([`crate::owners`]), and from what the process was told it is
//! ([`identity`]). `chown`, `stat`, `su`, `dpkg`, `tar` and set-user-id programs then behave as on a machine with all
//! ids, and the layer holds the owners that it would hold there.
//!
//! # Why this is safe
//!
//! The calls that are answered are no border: what a step may do to the host is settled by its namespaces, its
//! capabilities and the other filter, all in force at the same time, and a refusal there wins over a question to us.
//! What could go wrong is that a step leads *our* thread, which has more rights, astray:
//!
//! - **Arguments change after they were looked at.** Registers come as a copy. Memory is read once, and the copy is
//!   what counts. A path becomes a descriptor, and everything after that is done to the descriptor.
//! - **The process is gone and its number is somebody else's.** After all descriptors were taken and before anything
//!   is changed, the kernel is asked whether the call still waits; while it does, its thread has not ended.
//! - **A path that leads out.** It is resolved from the process's own root in its own mount table; magic links are
//!   refused. What the thread then does to the file is to read its metadata and to set the two attributes of
//!   [`crate::owners`], or to make an empty file, folder or link there, which the step could do itself.
//! - **A call that is passed on** ([`Answer::Kernel`]) is carried out with all checks that the kernel makes for the
//!   process itself. Whatever its memory holds by then, it gains nothing that it could not do without us.
//! - **Blocking.** The thread opens files for paths only, makes new ones, or lists folders: nothing of that waits for
//!   anybody.
//!
//! # What cannot be had
//!
//! Files that are there are opened by the kernel, which sees one user who owns everything: a step's user may read a
//! file of another one, and removes, renames and changes the mode of others' files. Capabilities are those of root,
//! whoever a process believes to be. `/proc/<pid>/status` and the sender of a message on a socket show the real ids.
//! 32-bit programs are not answered.

mod calls;
mod folders;
mod identity;
mod listener;
mod memory;
mod tree;

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

pub(crate) use calls::{Duties, When, supervised};

use crate::call::{CallError, Named};
use crate::owners::Owner;
use crate::spec::Credentials;
use calls::{At, Call, Make};
use identity::Identity;
use listener::{Answer, Listener, Request};
use memory::Memory;
use tree::Tree;

/// A thread that answers for one step. It ends when the last process of the step has.
#[derive(Debug)]
pub(crate) struct Supervisor {
    thread: JoinHandle<()>,
}

impl Supervisor {
    /// Starts the thread; the step sends its listener through the returned descriptor, see [`hand_over`].
    pub(crate) fn start(credentials: &Credentials) -> Result<(Self, OwnedFd), CallError> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .named(|| "socketpair(supervisor)".to_owned())?;
        let identity = Identity::new(credentials);
        let (ready, is_ready) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("supervisor".to_owned())
            .spawn(move || run(&ours, identity, &ready))
            .named(|| "clone(supervisor)".to_owned())?;
        is_ready.recv().unwrap_or_else(|_| Err(Errno::SRCH.into())).named(|| "unshare(CLONE_FS)".to_owned())?;
        Ok((Self { thread }, theirs))
    }

    /// Waits until the thread has let go of all files. The step's processes have to be gone.
    pub(crate) fn join(self) {
        // A thread that panicked has told so, and its step has failed with `ENOSYS`.
        let _ = self.thread.join();
    }
}

/// Sends the listener of a filter that was installed a moment ago to the supervisor.
pub(crate) fn hand_over(channel: &OwnedFd, listener: &OwnedFd) -> Result<(), Errno> {
    let descriptors = [listener.as_fd()];
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut room);
    rights.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(channel, &[IoSlice::new(b"L")], &mut rights, SendFlags::NOSIGNAL).map(drop)
}

/// Waits for the listener; nothing comes from a step that failed before it had one.
fn receive(channel: &OwnedFd) -> Option<OwnedFd> {
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut room);
    let mut byte = [0];
    recvmsg(channel, &mut [IoSliceMut::new(&mut byte)], &mut rights, RecvFlags::CMSG_CLOEXEC).ok()?;
    rights.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    })
}

fn run(channel: &OwnedFd, identity: Identity, ready: &mpsc::SyncSender<io::Result<()>>) {
    let tree = match Tree::new() {
        Ok(tree) => tree,
        Err(error) => {
            // The receiver waits for exactly this.
            let _ = ready.send(Err(error));
            return;
        }
    };
    let _ = ready.send(Ok(()));
    let Some(listener) = receive(channel) else { return };
    let mut supervision = Supervision { listener: Listener::new(listener), tree, identities: vec![identity] };
    while let Some(request) = supervision.listener.next() {
        let answer = supervision.answer(&request).unwrap_or_else(Answer::Error);
        supervision.listener.send(&request, &answer);
    }
}

struct Supervision {
    listener: Listener,
    tree: Tree,
    /// All who ever were in this step. The first is who the step started as.
    identities: Vec<Identity>,
}

/// Where a process carries who it is: a limit that the kernel has not looked at since Linux 2.4, but hands down to
/// children and through `execve` like the ids that it stands for. Programs that set all limits (PAM does) believe that
/// they have set this one.
const CARRIER: u32 = libc::RLIMIT_LOCKS;

impl Supervision {
    fn answer(&mut self, request: &Request) -> Result<Answer, Errno> {
        let Some(call) = calls::decode(request.number, request.arguments) else { return Ok(Answer::Kernel) };
        let memory = Memory { thread: request.thread };
        // Asked for where it matters: `stat`, by far the most frequent call, does without.
        let me = || self.identity(request.thread);
        match call {
            Call::Chown { at, uid, gid } => self.chown(request, &me(), at, uid, gid),
            Call::Stat { at, buffer } => self.stat(request, at, buffer, None),
            Call::Statx { at, mask, buffer } => self.stat(request, at, buffer, Some(mask)),
            Call::Access { at, mode } => self.access(request, &me(), at, mode),
            Call::Open { at, flags, mode } => self.open(request, &me(), at, flags, mode),
            Call::Make { at, what } => self.make(request, &me(), at, what),
            Call::Execute { at } => self.execute(request, &me(), at),
            Call::Become { kind, wish } => self.become_(request, me().after(kind, wish)?, 0),
            Call::SetFileId { kind, id } => {
                let me = me();
                let old = me.ids(kind).file;
                self.become_(request, me.with_file_id(kind, id), old.into())
            }
            Call::SetGroups { count, ids } => {
                // NGROUPS_MAX
                let groups = if count > 65536 { Err(Errno::INVAL) } else { memory.ids(ids, count) }?;
                self.become_(request, me().with_groups(groups)?, 0)
            }
            Call::KeepCapabilities(keeps) => self.become_(request, me().keeping_capabilities(keeps), 0),
            Call::CarrierLimit { old } => {
                if old != 0 {
                    memory.write(old, &[0xff; size_of::<libc::rlimit>()])?;
                }
                Ok(Answer::Value(0))
            }
            Call::RealId(kind) => Ok(Answer::Value(me().ids(kind).real.into())),
            Call::EffectiveId(kind) => Ok(Answer::Value(me().ids(kind).effective.into())),
            Call::AllIds { kind, addresses } => {
                let ids = me().ids(kind);
                for (address, id) in addresses.into_iter().zip([ids.real, ids.effective, ids.saved]) {
                    memory.write_ids(address, &[id])?;
                }
                Ok(Answer::Value(0))
            }
            Call::Groups { room, ids } => {
                let me = me();
                match room {
                    0 => {}
                    room if room < me.groups.len() => return Err(Errno::INVAL),
                    _ => memory.write_ids(ids, &me.groups)?,
                }
                Ok(Answer::Value(i64::try_from(me.groups.len()).expect("because they are at most 65536")))
            }
            Call::List { descriptor, buffer, room } => {
                let process = self.tree.process(request);
                folders::list(&self.listener, request, process, (descriptor, buffer, room))
            }
        }
    }

    /// Who the process of this thread is.
    fn identity(&self, thread: u32) -> Identity {
        let mut carried = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the kernel writes one structure, which lives through the call; nothing is set.
        let answer = unsafe { libc::prlimit(thread.cast_signed(), CARRIER, std::ptr::null(), &raw mut carried) };
        let index = if answer == 0 { usize::try_from(carried.rlim_cur).unwrap_or(usize::MAX) } else { 0 };
        // Without a limit, as all start: the first.
        self.identities.get(index).unwrap_or(&self.identities[0]).clone()
    }

    /// Makes the caller, all its threads and whatever they start somebody else.
    fn become_(&mut self, request: &Request, identity: Identity, value: i64) -> Result<Answer, Errno> {
        let known = self.identities.iter().position(|known| *known == identity);
        let index = known.unwrap_or_else(|| {
            self.identities.push(identity);
            self.identities.len() - 1
        });
        let carried = libc::rlimit { rlim_cur: index as libc::rlim_t, rlim_max: libc::RLIM_INFINITY };
        if !self.listener.still_waits(request) {
            return Err(Errno::SRCH);
        }
        // SAFETY: the kernel reads one structure, which lives through the call; the old limit is not asked for.
        let answer =
            unsafe { libc::prlimit(request.thread.cast_signed(), CARRIER, &raw const carried, std::ptr::null_mut()) };
        if answer < 0 { Err(Errno::PERM) } else { Ok(Answer::Value(value)) }
    }

    fn chown(&self, request: &Request, me: &Identity, at: At, uid: u32, gid: u32) -> Result<Answer, Errno> {
        let file = self.tree.open(request, at)?;
        let facts = self.tree.facts(&file)?;
        if !facts.is_ours {
            return Ok(Answer::Kernel);
        }
        let owner = me.chown(facts.owner, uid, gid)?;
        self.make_sure_it_waits(request)?;
        self.tree.give(&file, &facts, owner)?;
        Ok(Answer::Value(0))
    }

    /// Only what a mark changes is answered; all else the kernel knows better.
    fn stat(&self, request: &Request, at: At, buffer: u64, statx_mask: Option<u32>) -> Result<Answer, Errno> {
        let Ok(file) = self.tree.open(request, at) else { return Ok(Answer::Kernel) };
        let facts = self.tree.facts(&file)?;
        if !facts.is_recorded {
            return Ok(Answer::Kernel);
        }
        let bytes = match statx_mask {
            Some(mask) => tree::statx_with(&file, at.flags, mask, facts.owner)?,
            None => tree::stat_with(&file, facts.owner)?,
        };
        self.make_sure_it_waits(request)?;
        Memory { thread: request.thread }.write(buffer, &bytes)?;
        Ok(Answer::Value(0))
    }

    /// The kernel's word on files that root may use; its mode decides for the others.
    fn access(&self, request: &Request, me: &Identity, at: At, mode: u32) -> Result<Answer, Errno> {
        let as_real = at.flags & libc::AT_EACCESS == 0;
        let uid = if as_real { me.user.real } else { me.user.file };
        if uid == 0 || mode == 0 {
            return Ok(Answer::Kernel);
        }
        let Ok(file) = self.tree.open(request, at) else { return Ok(Answer::Kernel) };
        let facts = self.tree.facts(&file)?;
        Ok(if me.may(mode & 7, facts.mode, facts.owner, as_real) {
            Answer::Kernel
        } else {
            Answer::Error(Errno::ACCESS)
        })
    }

    /// A file that is there is opened by the kernel, if its mode lets the process do that. A new one is made here, so
    /// that it has its owner from the start.
    fn open(&self, request: &Request, me: &Identity, at: At, flags: i32, mode: u32) -> Result<Answer, Errno> {
        let Some(new) = self.new_file(request, me, at)? else { return Ok(Answer::Kernel) };
        // The folder's default access list or the umask cuts the mode, as for the process itself.
        let wanted = OFlags::from_bits_retain(flags.cast_unsigned());
        let exclusive = wanted | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if !new.is_allowed {
            return Ok(match tree::open_entry(&new.parent, &new.name) {
                Ok(_) if !wanted.contains(OFlags::EXCL) => self.open_existing(me, &new, flags)?,
                Ok(_) => Answer::Error(Errno::EXIST),
                Err(_) => Answer::Error(Errno::ACCESS),
            });
        }
        self.make_sure_it_waits(request)?;
        let umask = rustix::process::umask(self.tree.umask(request));
        let made = rustix::fs::openat(&new.parent, &new.name, exclusive, Mode::from_raw_mode(mode & 0o7777));
        rustix::process::umask(umask);
        match made {
            Ok(file) => {
                self.tree.give_new(&file, new.owner)?;
                Ok(Answer::File { file, close_on_exec: wanted.contains(OFlags::CLOEXEC) })
            }
            Err(Errno::EXIST) if !wanted.contains(OFlags::EXCL) => self.open_existing(me, &new, flags),
            // The kernel finds the same reason, in the right order.
            Err(_) => Ok(Answer::Kernel),
        }
    }

    fn open_existing(&self, me: &Identity, new: &NewFile, flags: i32) -> Result<Answer, Errno> {
        let facts = self.tree.facts(&tree::open_entry(&new.parent, &new.name)?)?;
        let wanted = match flags & libc::O_ACCMODE {
            libc::O_RDONLY => 4,
            libc::O_WRONLY => 2,
            _ => 6,
        };
        // A link has no mode of its own, and a device answers for itself.
        let decides = matches!(facts.kind(), FileType::RegularFile);
        let is_refused = decides && !me.may(wanted, facts.mode, facts.owner, false);
        Ok(if is_refused { Answer::Error(Errno::ACCESS) } else { Answer::Kernel })
    }

    fn make(&self, request: &Request, me: &Identity, at: At, what: Make) -> Result<Answer, Errno> {
        let Some(new) = self.new_file(request, me, at)? else { return Ok(Answer::Kernel) };
        if !new.is_allowed {
            let is_there = tree::open_entry(&new.parent, &new.name).is_ok();
            return Err(if is_there { Errno::EXIST } else { Errno::ACCESS });
        }
        let text = match what {
            Make::Link(address) => Memory { thread: request.thread }.path(address)?,
            Make::Folder(_) | Make::Node(..) => Vec::new(),
        };
        self.make_sure_it_waits(request)?;
        let umask = rustix::process::umask(self.tree.umask(request));
        let made = match what {
            Make::Folder(mode) => rustix::fs::mkdirat(&new.parent, &new.name, Mode::from_raw_mode(mode & 0o7777)),
            Make::Link(_) => rustix::fs::symlinkat(text, &new.parent, &new.name),
            Make::Node(mode, device) => {
                let kind = match FileType::from_raw_mode(mode) {
                    FileType::Unknown => FileType::RegularFile,
                    kind => kind,
                };
                rustix::fs::mknodat(&new.parent, &new.name, kind, Mode::from_raw_mode(mode & 0o7777), device)
            }
        };
        rustix::process::umask(umask);
        made?;
        self.tree.give_new(&tree::open_entry(&new.parent, &new.name)?, new.owner)?;
        Ok(Answer::Value(0))
    }

    /// Where the call would make a file and whose it would be; nothing if the kernel can do all of that itself.
    fn new_file(&self, request: &Request, me: &Identity, at: At) -> Result<Option<NewFile>, Errno> {
        let Ok((parent, name)) = self.tree.open_parent(request, at) else { return Ok(None) };
        let facts = self.tree.facts(&parent)?;
        let mut owner = me.file_owner();
        let hands_group_down = facts.mode & 0o2000 != 0;
        if hands_group_down {
            owner.gid = facts.owner.gid;
        }
        if owner == Owner::default() && me.user.file == 0 {
            return Ok(None);
        }
        let is_allowed = me.may(3, facts.mode, facts.owner, false);
        Ok(Some(NewFile { parent, name, owner, is_allowed }))
    }

    fn execute(&mut self, request: &Request, me: &Identity, at: At) -> Result<Answer, Errno> {
        let facts = self.tree.open(request, at).and_then(|file| self.tree.facts(&file));
        let Ok(facts) = facts else { return Ok(Answer::Kernel) };
        if facts.kind() == FileType::RegularFile && !me.may(1, facts.mode, facts.owner, false) {
            return Err(Errno::ACCESS);
        }
        let set_uid = (facts.mode & 0o4000 != 0).then_some(facts.owner.uid);
        let set_gid = (facts.mode & 0o2010 == 0o2010).then_some(facts.owner.gid);
        let next = me.executing(set_uid, set_gid);
        if next != *me {
            self.become_(request, next, 0)?;
        }
        Ok(Answer::Kernel)
    }

    /// From here on things are done in the name of the caller, so it has to be still the one that we looked at.
    fn make_sure_it_waits(&self, request: &Request) -> Result<(), Errno> {
        if self.listener.still_waits(request) { Ok(()) } else { Err(Errno::SRCH) }
    }
}

/// A file that is about to be made.
struct NewFile {
    parent: OwnedFd,
    name: std::ffi::CString,
    owner: Owner,
    /// Whether the mode of the folder lets the process make something in it.
    is_allowed: bool,
}
