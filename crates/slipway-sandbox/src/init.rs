//! The first process of a sandbox: from this program to the step's program.
//!
//! It is the same executable, started again by [`crate::namespaces`] inside fresh namespaces, so it may allocate and
//! fail like any program: there is one thread, no lock is held, and nothing is shared with the parent but the
//! descriptors that it inherited. Its rules:
//!
//! - The order of the steps in [`become_step`] is the order in which rights are needed and given up.
//! - It executes the step's program itself, so that program is PID 1, as under BuildKit. No code of ours runs once
//!   code of the image does: `/proc/<pid>/exe` is never our binary there, and cannot be overwritten (CVE-2019-5736).
//!   A process that joins others ([`join`]) cannot have it so, and closes itself to them instead.
//!   Who asks for an init has ours as PID 1, closed to others in the same way ([`crate::reaper`]).
//! - Every descriptor but 0 to 2 is closed by the exec (CVE-2024-21626).
//! - It dies with the thread that spawned it. The wish is cleared by changes of user, so it is expressed again after
//!   them; a set-user-id program that is itself PID 1 escapes it, nothing else does.

use std::convert::Infallible;
use std::env;
use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Rlimit, Signal};
use rustix::thread::{
    LinkNameSpaceType, ThreadNameSpaceType, UnshareFlags, move_into_link_name_space, move_into_thread_name_spaces,
    unshare_unsafe,
};

use crate::call::{CallError, Named};
use crate::mounts::{self, Attributes};
use crate::spec::{Credentials, Network, Privilege, ResourceLimit, Spec, Special, Surroundings};
use crate::supervisor::Duties;
use crate::wire::{self, Failure};
use crate::{capabilities, filesystems, keeper, network, program, reaper, rooted, seccomp, signals, stubs, supervisor};

/// The name under which the first process is started; nobody types it.
pub(crate) const ARGV0: &CStr = c"slipway: first process of a sandbox";

/// Says behind the supervisor's descriptor that the step has a single id.
pub(crate) const SINGLE_ID: &CStr = c"single-id";

/// The way to the supervisor of a step.
struct Channel {
    channel: OwnedFd,
    /// Whether it answers questions about owners and ids.
    is_single_id: bool,
}

/// Exit code of a first process that failed; the caller never sees it, as the report comes before.
const FAILED: i32 = 127;

/// Has to be called first in `main`, before any thread or descriptor: this program may have been started as the first
/// process of a sandbox, or as one that keeps something for sandboxes. Then the call never returns.
pub fn init_if_requested() {
    let args: Vec<OsString> = env::args_os().collect();
    keeper::keep_if_requested(&args);
    let [name, spec, report, supervisor @ ..] = args.as_slice() else { return };
    if name.as_bytes() != ARGV0.to_bytes() {
        return;
    }
    let (Some(spec), Some(report)) = (inherited(spec), inherited(report)) else { return };
    let is_single_id = supervisor.get(1).is_some_and(|argument| argument.as_bytes() == SINGLE_ID.to_bytes());
    let supervisor = supervisor.first().and_then(|argument| inherited(argument));
    let supervisor = supervisor.map(|channel| Channel { channel, is_single_id });
    let failure = match start_step(spec, &report, supervisor) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    // If nobody reads the report any more there is nobody left to tell.
    let _ = File::from(report).write_all(&wire::encode_failure(&failure));
    // SAFETY: ends the process; no memory is involved.
    unsafe { libc::_exit(FAILED) }
}

/// The descriptor that an argument names.
pub(crate) fn inherited(argument: &OsStr) -> Option<OwnedFd> {
    let number: RawFd = argument.to_str()?.parse().ok()?;
    // SAFETY: at the start of `main` nobody owns a descriptor but 0 to 2, and the parent names each of these once.
    unsafe { adopt(number) }.ok()
}

/// Owns a descriptor that this process inherited, after making sure that it is open.
///
/// # Safety
/// Nobody else may own the descriptor.
unsafe fn adopt(number: RawFd) -> std::io::Result<OwnedFd> {
    // SAFETY: no memory is involved.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: it is open, and by the contract of this function nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn start_step(spec: OwnedFd, report: &OwnedFd, supervisor: Option<Channel>) -> Result<Infallible, Failure> {
    let spec = read_spec(spec).map_err(Failure::Call)?;
    become_step(spec, report, supervisor)
}

fn read_spec(file: OwnedFd) -> Result<Spec, CallError> {
    let mut bytes = Vec::new();
    File::from(file).read_to_end(&mut bytes).named(|| "read(spec)".to_owned())?;
    wire::decode(&bytes, &mut |number| {
        // SAFETY: the parent kept exactly these descriptors open for us, and the spec names each of them once.
        unsafe { adopt(number) }.expect("because the parent kept the descriptors of the spec open")
    })
    .named(|| "read(spec)".to_owned())
}

/// The whole way, in order; see the module's rules.
fn become_step(spec: Spec, report: &OwnedFd, supervisor: Option<Channel>) -> Result<Infallible, Failure> {
    let Spec {
        surroundings,
        args,
        env,
        cwd,
        credentials,
        hostname,
        network,
        user_namespace,
        privilege,
        mounts,
        control_groups,
        rlimits,
        shm_size_bytes,
        is_root_readonly,
        shuffles_folders,
        special,
        terminal,
        stdin,
        stdout,
        stderr,
    } = spec;
    prepare_process(report)?;
    enter_control_groups(control_groups)?;
    set_limits(&rlimits)?;
    let root = match surroundings {
        Surroundings::Own { root, attach_at } => {
            furnish(Some(&hostname).filter(|_| !special.shares_host_name), &network)?;
            rustix::process::umask(Mode::empty());
            let prepared = filesystems::prepare(root, privilege)?;
            refuse_settings_of_host(&special, &network)?;
            prepared.set(&special.kernel_settings)?;
            let root = prepared.enter(&attach_at, shm_size_bytes, privilege, &mounts)?;
            rustix::process::umask(Mode::from(0o022));
            root
        }
        Surroundings::Of(process) => join(&process)?,
    };

    match terminal {
        Some(terminal) => take_terminal(&terminal, credentials.uid)?,
        None => connect(&root, stdin.as_ref(), &stdout, &stderr, credentials.uid)?,
    }
    make_if_covered(&root, &cwd)?;
    if is_root_readonly {
        mounts::set_attributes(&root, Attributes { readonly: true, ..Attributes::default() }, false)?;
    }
    let is_inside = change_directory(&root, &cwd)?;
    close_others_on_exec().named(|| "close_range(3, CLOEXEC)".to_owned())?;
    signals::reset().named(|| "sigprocmask(none)".to_owned())?;
    if let Some(namespace) = user_namespace {
        // After all that takes rights in the namespace that owns the mounts. It gives all capabilities inside.
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::User))
            .named(|| "setns(CLONE_NEWUSER)".to_owned())?;
    }
    let is_filtered = privilege != Privilege::Insecure && !special.is_unfiltered;
    drop_rights(&credentials, privilege, is_filtered, supervisor.map(|channel| (channel, shuffles_folders)))?;
    if is_inside == Inside::NotYet && change_directory(&root, &cwd)? == Inside::NotYet {
        return Err(Errno::ACCESS).named(|| format!("chdir({})", cwd.display())).map_err(Failure::Call);
    }
    die_with_parent(report)?;
    if special.forbids_new_privileges {
        rustix::thread::set_no_new_privs(true).named(|| "prctl(PR_SET_NO_NEW_PRIVS)".to_owned())?;
    }
    if special.has_init {
        reaper::continue_in_child()?;
    }
    Err(Failure::Exec(program::become_program(args, env)))
}

/// What is written below `net` is the host's if the network is.
fn refuse_settings_of_host(special: &Special, network: &Network) -> Result<(), CallError> {
    let is_of_network = |(name, _): &&(String, String)| name.starts_with("net/");
    match special.kernel_settings.iter().find(is_of_network) {
        Some((name, _)) if matches!(network, Network::Host) => {
            Err(Errno::PERM).named(|| format!("write(/proc/sys/{name}) of the host's network"))
        }
        _ => Ok(()),
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

fn prepare_process(report: &OwnedFd) -> Result<(), CallError> {
    die_with_parent(report)?;
    // A session of its own: Ctrl-C reaches slipway, which ends the step itself.
    rustix::process::setsid().named(|| "setsid()".to_owned()).map(drop)
}

/// Enters the namespaces of another sandboxed process; who started this one has seen to it that they have the same
/// processes. Returns the root directory.
///
/// From here on code of the image runs beside this process, and it still is our program with our rights. So nobody
/// without `CAP_SYS_PTRACE` may look at its memory or at `/proc/<pid>/exe` (CVE-2019-5736, CVE-2016-9962) until it has
/// become another one.
fn join(process: &OwnedFd) -> Result<OwnedFd, CallError> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .named(|| "prctl(PR_SET_DUMPABLE, 0)".to_owned())?;
    let namespaces = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::NETWORK
        | ThreadNameSpaceType::CONTROL_GROUP;
    // The first of them brings its root along, in which paths are looked up from now on.
    move_into_thread_name_spaces(process.as_fd(), namespaces).named(|| "setns(container)".to_owned())?;
    rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).named(|| "open(/)".to_owned())
}

/// Sets up the namespaces that are this process's own.
fn furnish(hostname: Option<&String>, network: &Network) -> Result<(), CallError> {
    if let Some(name) = hostname {
        rustix::system::sethostname(name.as_bytes()).named(|| format!("sethostname({name})"))?;
    }
    match network {
        Network::Host => Ok(()),
        Network::None => network::bring_up_loopback(),
        Network::Joined(namespace) => network::enter(namespace),
    }
}

/// Asks to be killed with the parent, and ends if it was too late for that.
///
/// The parent lies outside of our process namespace, where `getppid` tells nothing. But it alone holds the other end
/// of the report.
fn die_with_parent(report: &OwnedFd) -> Result<(), CallError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .named(|| "prctl(PR_SET_PDEATHSIG)".to_owned())?;
    let mut ends = [PollFd::new(report, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut ends, Some(&at_once)).named(|| "poll(report)".to_owned())?;
    match ends[0].revents().contains(PollFlags::ERR) {
        true => Err(Errno::PIPE).named(|| "poll(report)".to_owned()),
        false => Ok(()),
    }
}

/// Moves this process, and takes where it is then for the top of what it sees of control groups.
fn enter_control_groups(entrances: Vec<OwnedFd>) -> Result<(), CallError> {
    if entrances.is_empty() {
        return Ok(());
    }
    for entrance in entrances {
        File::from(entrance).write_all(b"0").named(|| "write(cgroup.procs, 0)".to_owned())?;
    }
    // SAFETY: this process has one thread and shares its tables with nobody.
    unsafe { unshare_unsafe(UnshareFlags::NEWCGROUP) }.named(|| "unshare(CLONE_NEWCGROUP)".to_owned())
}

fn set_limits(limits: &[ResourceLimit]) -> Result<(), CallError> {
    let value = |limit: u64| (limit != u64::MAX).then_some(limit);
    for ResourceLimit { resource, soft, hard } in limits {
        let limit = Rlimit { current: value(*soft), maximum: value(*hard) };
        rustix::process::setrlimit(resource.kernel_name(), limit).named(|| format!("setrlimit({resource:?})"))?;
    }
    Ok(())
}

/// Input and output come and go where the caller says.
fn connect(
    root: &OwnedFd,
    stdin: Option<&OwnedFd>,
    stdout: &OwnedFd,
    stderr: &OwnedFd,
    uid: u32,
) -> Result<(), CallError> {
    match stdin {
        Some(stdin) => {
            rustix::stdio::dup2_stdin(stdin).named(|| "dup2(stdin)".to_owned())?;
            own_pipe(stdin, uid)?;
        }
        None => {
            // From inside the root: a descriptor of the host's `/dev` would be a way out.
            let null = rooted::open(root, Path::new("/dev/null"), OFlags::RDONLY);
            rustix::stdio::dup2_stdin(null.named(|| "open(/dev/null)".to_owned())?)
                .named(|| "dup2(stdin)".to_owned())?;
        }
    }
    rustix::stdio::dup2_stdout(stdout).named(|| "dup2(stdout)".to_owned())?;
    rustix::stdio::dup2_stderr(stderr).named(|| "dup2(stderr)".to_owned())?;
    own_pipe(stdout, uid)?;
    own_pipe(stderr, uid)
}

/// Makes `terminal` the one of this session, so that Ctrl-C and job control work in it.
fn take_terminal(terminal: &OwnedFd, uid: u32) -> Result<(), CallError> {
    rustix::stdio::dup2_stdin(terminal).named(|| "dup2(stdin)".to_owned())?;
    rustix::stdio::dup2_stdout(terminal).named(|| "dup2(stdout)".to_owned())?;
    rustix::stdio::dup2_stderr(terminal).named(|| "dup2(stderr)".to_owned())?;
    // Only for those who open it again by name; where it may not be given away they cannot.
    let _ = rustix::fs::fchown(terminal, Some(Uid::from_raw(uid)), None::<Gid>);
    rustix::process::ioctl_tiocsctty(terminal).named(|| "ioctl(TIOCSCTTY)".to_owned())
}

/// Lets the step's user open `/dev/stdout` and the like again, which programs do (`tee /dev/stderr`).
fn own_pipe(end: &OwnedFd, uid: u32) -> Result<(), CallError> {
    let status = rustix::fs::fstat(end).named(|| "fstat(pipe)".to_owned())?;
    if FileType::from_raw_mode(status.st_mode) != FileType::Fifo || status.st_uid == uid {
        return Ok(());
    }
    match rustix::fs::fchown(end, Some(Uid::from_raw(uid)), None::<Gid>) {
        // A pipe of somebody else, such as the user's own in front of slipway: then it cannot be opened again.
        Err(Errno::PERM | Errno::INVAL) => Ok(()),
        answer => answer.named(|| format!("fchown(pipe, {uid})")),
    }
}

/// Whether the working directory could be entered.
#[derive(PartialEq)]
enum Inside {
    Yes,
    /// Only somebody else than the current user may.
    NotYet,
}

/// Enters the working directory, and makes sure that it is inside the root (CVE-2024-21626).
///
/// It is tried before and, if need be, after the user changes, as container runtimes do: either may be the one
/// who has the right.
fn change_directory(root: &OwnedFd, cwd: &Path) -> Result<Inside, CallError> {
    let directory = match rooted::open(root, cwd, OFlags::PATH | OFlags::DIRECTORY) {
        Err(Errno::ACCESS | Errno::PERM) => return Ok(Inside::NotYet),
        answer => answer.named(|| format!("open({})", cwd.display()))?,
    };
    match rustix::process::fchdir(directory) {
        Err(Errno::ACCESS | Errno::PERM) => return Ok(Inside::NotYet),
        answer => answer.named(|| format!("chdir({})", cwd.display()))?,
    }
    // The kernel writes `(unreachable)/…` for a directory that does not lie below the root.
    let name = rustix::process::getcwd(Vec::new()).named(|| "getcwd()".to_owned())?;
    match name.to_bytes().first() {
        Some(b'/') => Ok(Inside::Yes),
        _ => Err(Errno::XDEV).named(|| format!("chdir({})", cwd.display())),
    }
}

/// Makes the working directory inside a mount that covers the one in the root, as container runtimes do.
fn make_if_covered(root: &OwnedFd, cwd: &Path) -> Result<(), CallError> {
    if !matches!(rooted::open(root, cwd, OFlags::PATH | OFlags::DIRECTORY), Err(Errno::NOENT)) {
        return Ok(());
    }
    let target = stubs::Target { path: cwd.to_owned(), kind: stubs::Kind::Directory, is_kept: true };
    // Kept: it goes with the mount, or belongs to a cache.
    stubs::make(root.as_fd(), &[target]).map(drop)
}

/// Marks all descriptors but 0 to 2, including those that nobody knows of.
pub(crate) fn close_others_on_exec() -> std::io::Result<()> {
    // SAFETY: no memory is involved.
    let answer = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if answer == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// With a single id there is nobody else to become: the step only believes to be somebody else. The supervisor comes with
/// whether it lists folders in another order.
fn drop_rights(
    credentials: &Credentials,
    privilege: Privilege,
    is_filtered: bool,
    supervisor: Option<(Channel, bool)>,
) -> Result<(), CallError> {
    let is_single_id = supervisor.as_ref().is_some_and(|(supervisor, _)| supervisor.is_single_id);
    capabilities::limit_bounding_set(privilege)?;
    // Without no_new_privs filters take CAP_SYS_ADMIN, so they come before the capabilities go.
    if let Some((Channel { channel, .. }, shuffles_folders)) = supervisor {
        let duties = Duties { owners: is_single_id, order: shuffles_folders };
        let listener =
            seccomp::supervised::install(duties).named(|| "seccomp(SECCOMP_FILTER_FLAG_NEW_LISTENER)".to_owned())?;
        supervisor::hand_over(&channel, &listener).named(|| "sendmsg(listener)".to_owned())?;
    }
    if is_filtered {
        seccomp::install().named(|| "seccomp(SECCOMP_SET_MODE_FILTER)".to_owned())?;
    }
    match is_single_id {
        true => capabilities::limit_own_sets(privilege),
        false => capabilities::assume(credentials, privilege),
    }
}
