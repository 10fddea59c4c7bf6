//! Gives an unprivileged user the rights that sandboxes take, once a run.
//!
//! Real root stays where it is. Everybody else gets this very program once more, as root of a new user namespace (the
//! user's own id is 0 there, the subordinate ids, if any, are 1 and up) with a mount table of its own, and waits for it.
//! With subordinate ids that costs about 4 ms, most of it in `newuidmap` and `newgidmap`, which only root's setuid bit
//! lets write such a map; so it is done once and not for every step.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use rustix::thread::{CapabilitySet, UnshareFlags, unshare_unsafe};

use crate::call::{CallError, Named};
use crate::idmap::{self, SubordinateIds};
use crate::ladder::{Place, Rung};
use crate::running::ExitStatus;
use crate::wire::{self, Failure};
use crate::{confinement, mounts, signals, trial};

/// The number of the user namespace that the kernel starts with (`PROC_USER_INIT_INO`).
const INITIAL_NAMESPACE: u64 = 0xEFFF_FFFD;

/// What the sandboxes of this process rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Root of the machine.
    Root,
    /// Root of a user namespace with this many ids.
    UserNamespace {
        /// Number of mapped user ids; with one, no step can change its user.
        n_ids: u64,
    },
}

/// Which of the two processes came back from [`enter`].
#[derive(Debug)]
pub enum Entered {
    /// The one that may make sandboxes.
    Inside(Mode),
    /// The one that the user started. Its other self has done everything and ended like this; there is nothing
    /// left but to end alike, see [`end_like`].
    Finished(ExitStatus),
}

/// Why no user namespace could be entered.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// The user has no subordinate ids.
    #[error("user `{user}` has no subordinate ids in {file}")]
    NoSubordinateIds {
        /// Login name, or the number if it has no name.
        user: String,
        /// The file without an entry.
        file: &'static str,
    },
    /// The program that writes the map is not installed.
    #[error("`{tool}` is not installed")]
    NoMappingTool {
        /// `newuidmap` or `newgidmap`.
        tool: &'static str,
        /// Why it could not be started.
        source: io::Error,
    },
    /// The program that writes the map refused to.
    #[error("`{command}` failed: {message}")]
    MapRefused {
        /// The whole command.
        command: String,
        /// What it said.
        message: String,
    },
    /// The kernel does not let this user have a user namespace.
    #[error("cannot create a user namespace")]
    Namespace {
        /// The call that failed.
        source: CallError,
        /// A setting of this machine that forbids it, if one was found.
        setting: Option<&'static Setting>,
    },
    /// The kernel does not let this process map its own id.
    #[error("cannot map an id of a user namespace")]
    Map {
        /// The write that was refused.
        source: CallError,
    },
    /// Namespaces can be had, but no sandbox can be set up in them.
    #[error("a step cannot be set up")]
    Step {
        /// What was refused.
        source: CallError,
    },
    /// Root without the rights of root, as in a plain container.
    #[error("this process is root but lacks CAP_SYS_ADMIN")]
    NoAdminCapability,
    /// Not root at all.
    #[error("this process is not root")]
    NotRoot,
    /// Another call failed.
    #[error("cannot enter a user namespace")]
    Call(#[from] CallError),
}

impl EnterError {
    /// What a person can do about it, as far as that was checked.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoSubordinateIds { user, file } => {
                Some(format!("as root, add the line `{user}:100000:65536` to {file}"))
            }
            Self::NoMappingTool { .. } => {
                Some("install the package `uidmap` (Debian, Ubuntu) or `shadow-utils` (Fedora)".to_owned())
            }
            Self::Namespace { setting: Some(setting), .. } => Some(format!(
                "`{} = {}` forbids it; as root, run `sysctl -w {}={}`",
                setting.name, setting.forbids, setting.name, setting.allows
            )),
            Self::Namespace { setting: None, .. } => Some(confinement::advice()),
            Self::Step { source } => source.hint(),
            Self::Map { .. } if rustix::process::getuid().is_root() => Some(
                "root may map itself with CAP_SETFCAP only (user_namespaces(7)): run the container with `--cap-add \
                 SETFCAP`, or this program as another user"
                    .to_owned(),
            ),
            Self::NoAdminCapability => Some(
                "run the container with `--privileged`, or with `--cap-add SYS_ADMIN --security-opt seccomp=unconfined \
                 --security-opt apparmor=unconfined`"
                    .to_owned(),
            ),
            Self::NotRoot => Some("run it as root, with `sudo`".to_owned()),
            Self::MapRefused { .. } => {
                Some("as root, run `chmod u+s /usr/bin/newuidmap /usr/bin/newgidmap`".to_owned())
            }
            Self::Map { .. } | Self::Call(_) => None,
        }
    }
}

/// Makes sure that this process may make sandboxes, starting this program again inside a user namespace if it must.
///
/// Has to be called at the start of `main`, before any thread; arguments, environment, working directory and
/// descriptors are those of the caller in both processes. The outer one passes on SIGINT, SIGTERM, SIGHUP and
/// SIGQUIT, and the inner one dies with it.
pub fn enter(place: Place) -> Result<Entered, EnterError> {
    // A parent that ignores it (some cron daemons do) hands that down, and then no child can be waited for.
    signals::use_default(libc::SIGCHLD);
    match place {
        // The inner process finds itself root, so it needs no mark to tell that it is the inner one.
        Place::There(mode) => {
            take_mount_table()?;
            Ok(Entered::Inside(mode))
        }
        Place::Outside(rung) => start_inside(&Maps::of_current_user(rung)?).map(Entered::Finished),
    }
}

/// What the sandboxes of this process rest on, for a process that is root.
pub(crate) fn current_mode() -> Result<Mode, CallError> {
    let namespace = fs::metadata("/proc/self/ns/user").named(|| "stat(/proc/self/ns/user)".to_owned())?;
    // Any other namespace may have as many ids, but is not allowed what that one is.
    if namespace.ino() == INITIAL_NAMESPACE {
        return Ok(Mode::Root);
    }
    let map = fs::read_to_string("/proc/self/uid_map").named(|| "read(/proc/self/uid_map)".to_owned())?;
    Ok(Mode::UserNamespace { n_ids: idmap::count_mapped(&map) })
}

/// Gives this process a mount table of its own if it may not mount in the one it is in, although it is root: after
/// `unshare --user` the table still belongs to those outside. What is mounted in the new one does not reach them.
fn take_mount_table() -> Result<(), CallError> {
    if mounts::are_allowed() {
        return Ok(());
    }
    // SAFETY: by the contract of `enter` there is one thread, and tables are shared with nobody.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.named(|| "unshare(CLONE_NEWNS)".to_owned())
}

/// Ends this process as the given one ended, by the same signal if it was one.
pub fn end_like(status: ExitStatus) -> ! {
    if let ExitStatus::Signal(signal) = status {
        // The core is that of the other process, if anybody's.
        let no_core = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
        let _ = rustix::process::setrlimit(rustix::process::Resource::Core, no_core);
        signals::raise_default(signal);
    }
    #[expect(clippy::exit, reason = "ending is what this function is for; the binary decides when to call it")]
    std::process::exit(status.code())
}

/// How the ids of a new namespace are mapped.
pub(crate) enum Maps {
    /// By set-user-id programs with these arguments, which look up what the user may have.
    ByTools { users: Vec<String>, groups: Vec<String> },
    /// By writing the files of `/proc` ourselves.
    Written {
        users: String,
        groups: String,
        /// The kernel lets nobody map groups who could thereby get rid of one (user_namespaces(7)).
        denies_setgroups: bool,
    },
}

impl Maps {
    /// What the current user can have on this rung.
    pub(crate) fn of_current_user(rung: Rung) -> Result<Self, EnterError> {
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        match rung {
            Rung::Root => Err(EnterError::NotRoot),
            Rung::SingleId => Ok(Self::Written {
                users: format!("0 {uid} 1\n"),
                groups: format!("0 {gid} 1\n"),
                denies_setgroups: true,
            }),
            Rung::SubordinateIds if may_map_all()? => {
                let same = |file: &'static str| {
                    let map = fs::read_to_string(file).named(|| format!("read({file})"))?;
                    Ok::<_, CallError>(idmap::identity_map(&map))
                };
                let (users, groups) = (same("/proc/self/uid_map")?, same("/proc/self/gid_map")?);
                Ok(Self::Written { users, groups, denies_setgroups: false })
            }
            Rung::SubordinateIds => {
                let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
                let user = idmap::login_name(&passwd, uid).map_or_else(|| uid.to_string(), str::to_owned);
                let users = subordinate_ids("/etc/subuid", &user, uid)?;
                let groups = subordinate_ids("/etc/subgid", &user, uid)?;
                Ok(Self::ByTools {
                    users: idmap::map_arguments(uid, &users),
                    groups: idmap::map_arguments(gid, &groups),
                })
            }
        }
    }

    fn write(&self, child: Pid) -> Result<(), EnterError> {
        match self {
            Self::ByTools { users, groups } => {
                run_mapping_tool("newuidmap", child, users)?;
                run_mapping_tool("newgidmap", child, groups)
            }
            Self::Written { users, groups, denies_setgroups } => {
                let write = |name: &str, text: &str| {
                    let path = format!("/proc/{}/{name}", child.as_raw_nonzero());
                    fs::write(&path, text).named(|| format!("write({path})"))
                };
                if *denies_setgroups {
                    write("setgroups", "deny")?;
                }
                write("uid_map", users)
                    .and_then(|()| write("gid_map", groups))
                    .map_err(|source| EnterError::Map { source })
            }
        }
    }
}

/// Whether this is root of a container that may do little but change ids: then all ids that it has can be mapped.
fn may_map_all() -> Result<bool, CallError> {
    let held = rustix::thread::capabilities(None).named(|| "capget()".to_owned())?.effective;
    let wanted = CapabilitySet::SETUID | CapabilitySet::SETGID;
    Ok(rustix::process::geteuid().is_root() && held.contains(wanted) && !held.contains(CapabilitySet::SYS_ADMIN))
}

fn subordinate_ids(file: &'static str, user: &str, uid: u32) -> Result<Vec<SubordinateIds>, EnterError> {
    // A file that is not there and one that says nothing about the user come to the same.
    let text = fs::read_to_string(file).unwrap_or_default();
    let ids = idmap::subordinate_ids(&text, user, uid);
    if ids.is_empty() {
        return Err(EnterError::NoSubordinateIds { user: user.to_owned(), file });
    }
    Ok(ids)
}

fn run_mapping_tool(tool: &'static str, child: Pid, map: &[String]) -> Result<(), EnterError> {
    let child = child.as_raw_nonzero().to_string();
    let output = match Command::new(tool).arg(&child).args(map).output() {
        Ok(output) => output,
        Err(source) => return Err(EnterError::NoMappingTool { tool, source }),
    };
    if output.status.success() {
        return Ok(());
    }
    Err(EnterError::MapRefused {
        command: format!("{tool} {child} {}", map.join(" ")),
        message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// Forks, maps the child's ids, lets it go on and waits for it.
fn start_inside(maps: &Maps) -> Result<ExitStatus, EnterError> {
    let child = start_mapped(maps, execute_again)?;
    wait_and_forward(child).map_err(EnterError::Call)
}

/// Makes a namespace with these ids, tries a step in it, and leaves nothing. As [`enter`] it has to be called before
/// any thread.
pub(crate) fn attempt(maps: &Maps) -> Result<(), EnterError> {
    signals::use_default(libc::SIGCHLD);
    let (found, finding) = pipe()?;
    let child = start_mapped(maps, || tell_and_end(trial::step(), &finding))?;
    drop(finding);
    told_by(child, found)
}

/// Tries a step with the rights that this process has. As [`enter`] it has to be called before any thread.
pub(crate) fn attempt_here() -> Result<(), EnterError> {
    signals::use_default(libc::SIGCHLD);
    let (found, finding) = pipe()?;
    // SAFETY: by the contract of this function there is one thread, so the child's copy of the memory is consistent.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(io::Error::last_os_error()).named(|| "fork()".to_owned()).map_err(EnterError::Call);
    }
    let Some(child) = Pid::from_raw(pid) else {
        // SAFETY: the child of a fork has one thread and tables of its own.
        let apart = unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.named(|| "unshare(CLONE_NEWNS)".to_owned());
        tell_and_end(apart.and_then(|()| mounts::cut_off()).and_then(|()| trial::step()), &finding)
    };
    drop(finding);
    told_by(child, found)
}

/// Asks a question that only a process on this rung can answer: `None`, or a text. As [`enter`] it has to be called
/// before any thread.
pub(crate) fn ask_inside(rung: Rung, question: impl Fn() -> Option<String>) -> Result<Option<String>, EnterError> {
    signals::use_default(libc::SIGCHLD);
    let (answered, answering) = pipe()?;
    let child = start_mapped(&Maps::of_current_user(rung)?, || {
        // If nobody reads it there is nobody left to tell.
        let _ = rustix::io::write(&answering, question().unwrap_or_default().as_bytes());
        // SAFETY: ends the process; no memory is involved.
        unsafe { libc::_exit(0) }
    })?;
    drop(answering);
    let answer = words_of(child, answered)?;
    Ok((!answer.is_empty()).then(|| String::from_utf8_lossy(&answer).into_owned()))
}

/// In a child: ends it, after telling what went wrong if something did.
fn tell_and_end(outcome: Result<(), CallError>, to: &OwnedFd) -> ! {
    if let Err(error) = outcome {
        // If nobody reads it there is nobody left to tell.
        let _ = rustix::io::write(to, &wire::encode_failure(&Failure::Call(error)));
    }
    // SAFETY: ends the process; no memory is involved.
    unsafe { libc::_exit(0) }
}

/// Waits for the end of a child, and gives what it wrote.
fn words_of(child: Pid, from: OwnedFd) -> Result<Vec<u8>, CallError> {
    let mut bytes = Vec::new();
    File::from(from).read_to_end(&mut bytes).named(|| "read(trial)".to_owned())?;
    // It has said all that it had to say.
    let _ = rustix::process::waitid(WaitId::Pid(child), WaitIdOptions::EXITED);
    Ok(bytes)
}

/// Waits for a child that ends by [`tell_and_end`].
fn told_by(child: Pid, found: OwnedFd) -> Result<(), EnterError> {
    let bytes = words_of(child, found)?;
    if bytes.is_empty() {
        return Ok(());
    }
    match wire::decode_failure(&bytes).named(|| "read(trial)".to_owned())? {
        Failure::Call(source) => Err(EnterError::Step { source }),
        Failure::Exec(_) => Ok(()),
    }
}

/// Forks and maps the child's ids; the child then goes on with `then`, which returns only if it fails.
fn start_mapped(maps: &Maps, then: impl FnOnce() -> CallError) -> Result<Pid, EnterError> {
    let outer = rustix::process::getpid();
    let (unshared, unshared_writer) = pipe()?;
    let (mapped, mapped_writer) = pipe()?;
    // SAFETY: by the contract of `enter` there is one thread, so the child's copy of the memory is consistent.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(io::Error::last_os_error()).named(|| "fork()".to_owned()).map_err(EnterError::Call);
    }
    let Some(child) = Pid::from_raw(pid) else {
        drop((unshared, mapped_writer));
        become_inner(outer, unshared_writer, mapped, then)
    };
    drop((unshared_writer, mapped));
    if let Err(error) = map_and_release(maps, child, unshared, mapped_writer) {
        // It waits for the map that will not come, sees the end of its pipe and ends.
        let _ = rustix::process::waitid(WaitId::Pid(child), WaitIdOptions::EXITED);
        return Err(error);
    }
    Ok(child)
}

fn pipe() -> Result<(OwnedFd, OwnedFd), CallError> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).named(|| "pipe2()".to_owned())
}

/// The outer process: waits for the namespace, maps its ids, then says go, or by dropping the pipe says stop.
fn map_and_release(maps: &Maps, child: Pid, unshared: OwnedFd, go: OwnedFd) -> Result<(), EnterError> {
    let mut errno = [0; 4];
    File::from(unshared).read_exact(&mut errno).named(|| "read(namespace process)".to_owned())?;
    match i32::from_le_bytes(errno) {
        0 => {}
        errno => {
            return Err(EnterError::Namespace {
                source: CallError {
                    call: "unshare(CLONE_NEWUSER|CLONE_NEWNS)".to_owned(),
                    source: io::Error::from_raw_os_error(errno),
                },
                setting: forbidding_setting(),
            });
        }
    }
    maps.write(child)?;
    File::from(go).write_all(&[1]).named(|| "write(namespace process)".to_owned())?;
    Ok(())
}

/// A setting of the kernel that can forbid user namespaces.
#[derive(Debug)]
pub struct Setting {
    /// As `sysctl` spells it.
    pub name: &'static str,
    /// The value that forbids.
    pub forbids: &'static str,
    /// One that does not.
    pub allows: &'static str,
}

/// Those of the kernel and of distributions (Debian's and Ubuntu's patches).
static SETTINGS: [Setting; 3] = [
    Setting { name: "kernel.unprivileged_userns_clone", forbids: "0", allows: "1" },
    Setting { name: "user.max_user_namespaces", forbids: "0", allows: "10000" },
    Setting { name: "kernel.apparmor_restrict_unprivileged_userns", forbids: "1", allows: "0" },
];

fn forbidding_setting() -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| {
        let file = format!("/proc/sys/{}", setting.name.replace('.', "/"));
        fs::read_to_string(file).is_ok_and(|value| value.trim() == setting.forbids)
    })
}

/// The inner process: makes the namespaces, waits for the map, and goes on. Never returns.
fn become_inner(outer: Pid, unshared: OwnedFd, mapped: OwnedFd, then: impl FnOnce() -> CallError) -> ! {
    let error = match enter_namespaces(outer, unshared, mapped) {
        Ok(()) => then(),
        Err(error) => error,
    };
    // The outer process reports what it knows; what fails after the map was written is only known here.
    let message = format!("cannot enter a user namespace: {}: {}\n", error.call, error.source);
    let _ = rustix::io::write(rustix::stdio::stderr(), message.as_bytes());
    // SAFETY: ends the process; no memory is involved.
    unsafe { libc::_exit(1) }
}

fn enter_namespaces(outer: Pid, unshared: OwnedFd, mapped: OwnedFd) -> Result<(), CallError> {
    // SAFETY: this process has one thread and shares its tables with nobody.
    let answer = unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) };
    let errno = if answer == 0 { 0 } else { io::Error::last_os_error().raw_os_error().unwrap_or(libc::EPERM) };
    File::from(unshared).write_all(&errno.to_le_bytes()).named(|| "write(outer process)".to_owned())?;
    let mut go = [0];
    if File::from(mapped).read(&mut go).named(|| "read(outer process)".to_owned())? == 0 {
        // The outer process knows why and tells.
        // SAFETY: ends the process; no memory is involved.
        unsafe { libc::_exit(1) };
    }
    let root = rustix::process::Gid::ROOT;
    rustix::thread::set_thread_res_gid(root, root, root).named(|| "setresgid(0)".to_owned())?;
    let root = rustix::process::Uid::ROOT;
    rustix::thread::set_thread_res_uid(root, root, root).named(|| "setresuid(0)".to_owned())?;
    // The supplementary groups stay: they may be what lets the user read the build context.
    mounts::cut_off()?;
    die_with(outer)
}

/// Asks to be killed with the outer process, after the change of user, which clears the wish.
fn die_with(outer: Pid) -> Result<(), CallError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .named(|| "prctl(PR_SET_PDEATHSIG)".to_owned())?;
    if rustix::process::getppid() != Some(outer) {
        return Err(Errno::SRCH).named(|| "getppid()".to_owned());
    }
    Ok(())
}

/// Returns only if it fails.
fn execute_again() -> CallError {
    let mut args: Vec<OsString> = env::args_os().collect();
    let name = if args.is_empty() { OsString::new() } else { args.remove(0) };
    let source = Command::new("/proc/self/exe").arg0(name).args(args).exec();
    CallError { call: "execve(/proc/self/exe)".to_owned(), source }
}

/// Waits for the inner process, and passes on what others ask of it.
fn wait_and_forward(child: Pid) -> Result<ExitStatus, CallError> {
    let forwarded = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];
    let mut awaited = forwarded.to_vec();
    awaited.push(libc::SIGCHLD);
    let set = signals::block_only(&awaited).named(|| "sigprocmask()".to_owned())?;
    loop {
        // First, as it may have ended before its signal was blocked.
        if let Some(status) = rustix::process::waitid(WaitId::Pid(child), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
            .named(|| "waitid(inner process)".to_owned())?
        {
            return Ok(ExitStatus::from_wait(&status));
        }
        let info = match signals::wait_for(&set) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            answer => answer.named(|| "sigwaitinfo()".to_owned())?,
        };
        // A terminal (`SI_KERNEL`) has told the whole process group, the inner process included; a second Ctrl-C
        // would mean something else to it than the first.
        let sent_by_process = info.si_code <= 0;
        if sent_by_process
            && forwarded.contains(&info.si_signo)
            && let Some(signal) = Signal::from_named_raw(info.si_signo)
        {
            // It may have ended meanwhile, which the next turn finds out.
            let _ = rustix::process::kill_process(child, signal);
        }
    }
}
