//! `RUN`: prepare a snapshot, run a program in it, commit the snapshot.

mod advice;
pub(crate) mod container;
pub(crate) mod guest_files;
pub(crate) mod guests;
pub(crate) mod mounts;
mod output;

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use slipway_dockerfile::quoted;
use slipway_graph::op::{Exec, Network, Security};
use slipway_graph::request::{Secret, StepLimits};
use slipway_graph::{Events, StepId};
use slipway_oci::Platform;
use slipway_sandbox::owners::{self, Owner};
use slipway_sandbox::stubs;
use slipway_sandbox::{
    CallError, Capabilities, ControlGroup, Credentials, LimitError, Privilege, Resource, ResourceLimit, SpawnError,
    Spec, Special, Surroundings,
};
use slipway_solver::Cancel;
use slipway_store::{ActiveSnapshot, CacheMountError, MountedSnapshot, Snapshot, SnapshotError, Store};

use super::begin::begin;
use super::emulators::{self, Emulators, StepEmulation};
use super::limit;
use super::network::{JoinedNetwork, Networks, StepNetwork};
use super::secret::SecretError;
use super::shell::{Shell, ShellError, ShellSeat};
use crate::descriptors::OriginalLimit;
use crate::now_ns;
use crate::rootfs::{Accounts, AccountsError, ProcessUser, Root, UserError};
use crate::shared_cache::import::Imports;
use crate::ssh::Agents;
use crate::store_disk;
use mounts::{
    Prepared, PreparedMount, into_sandbox_mount, make_nested_mount_points, mount_error, show_control_groups,
    show_interpreter, sort_parents_first, stub_targets,
};
pub use output::WindowSize;
use output::{Ends, Output};

/// Why a `RUN` failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecError {
    #[error("process {} did not complete successfully: exit code: {code}", quoted(.command))]
    Exit {
        command: String,
        code: i32,
        /// What to do about it, if that is known.
        hint: Option<String>,
    },
    #[error("process {} did not complete successfully: exit code: {code}: {what}", quoted(.command))]
    OutOfMemory { command: String, code: i32, what: String },
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The code is that of the reference builder's runtime, which starts and then finds that it cannot go on.
    #[error("process {} did not complete successfully: exit code: {code}", quoted(.command))]
    Spawn {
        command: String,
        code: i32,
        source: SpawnError,
        /// What to do about it, if that is known.
        hint: Option<String>,
    },
    #[error("process {} did not complete successfully", quoted(.command))]
    User { command: String, source: UserError },
    #[error("cannot prepare the mount of `{target}`")]
    Mount { target: String, source: CallError },
    #[error("failed to compute cache key: \"{path}\": not found")]
    BindSource { path: String },
    #[error("process {} did not complete successfully: open {path}: no such file or directory", quoted(.command))]
    CacheSource { command: String, path: String },
    #[error("process {} did not complete successfully: exit code: 1: cannot make the working folder `{cwd}`", quoted(.command))]
    WorkingDirectory { command: String, cwd: String, source: io::Error },
    #[error("cannot make `{path}` for the step")]
    Prepare { path: String, source: io::Error },
    #[error("secret {id}: not found")]
    SecretMissing { id: String },
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("unset ssh forward key {id}")]
    SshMissing { id: String },
    #[error("cannot make the agent socket for `{id}`")]
    SshSocket { id: String, source: io::Error },
    #[error("unknown ulimit `{0}`")]
    Ulimit(String),
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    #[error("cannot mount `{path}` of the host", path = .path.display())]
    HostPath { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Volume(#[from] slipway_store::VolumeError),
    #[error(transparent)]
    CacheMount(#[from] CacheMountError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("cannot wait for the step")]
    Wait(#[source] CallError),
    #[error(transparent)]
    Shell(#[from] ShellError),
    #[error("canceled")]
    Canceled,
}

impl ExecError {
    /// What people can do about it, if that is known for sure.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            ExecError::OutOfMemory { .. } => Some("`--memory` says how much memory steps may use".to_owned()),
            ExecError::Spawn { hint, .. } | ExecError::Exit { hint, .. } => hint.clone(),
            ExecError::User { source, .. } => advice::on_user(source),
            ExecError::Shell(error) => error.hint(),
            ExecError::Limit(error) => error.hint().map(str::to_owned),
            _ => None,
        }
    }
}

const DEFAULT_SHM_BYTES: u64 = 64 << 20;

/// What the steps of one build share.
pub(crate) struct HostFiles {
    /// An existing directory where sandboxes attach their roots, each in its own mount table.
    attach_at: PathBuf,
    nofile: OriginalLimit,
    search_path: OsString,
    /// `None` if steps write to pipes.
    terminal: Option<WindowSize>,
    networks: Networks,
    emulators: Emulators,
    /// Whether folders have their entries in another order than the file system has them.
    shuffles_folders: bool,
}

impl HostFiles {
    /// `attach_at` is an empty directory that may be used by any number of builds at once; `search_path` is where
    /// helper programs are looked for; steps get a terminal if there is a size for it. `isolates`: steps that ask for no
    /// certain network get none. Nothing is read yet.
    pub(crate) fn new(
        attach_at: PathBuf,
        nofile: OriginalLimit,
        search_path: OsString,
        terminal: Option<WindowSize>,
        isolates: bool,
    ) -> HostFiles {
        let (networks, emulators) = (Networks::new(search_path.clone(), isolates), Emulators::new(search_path.clone()));
        HostFiles { attach_at, nofile, search_path, terminal, networks, emulators, shuffles_folders: false }
    }

    /// The same, where folders may have their entries in another order than the file system has them.
    pub(crate) fn with_folders_shuffled(self, shuffles_folders: bool) -> HostFiles {
        HostFiles { shuffles_folders, ..self }
    }

    /// What a single container has of that; see [`Networks::of_container`].
    pub(crate) fn of_container(
        attach_at: PathBuf,
        nofile: OriginalLimit,
        search_path: OsString,
        joined: Option<JoinedNetwork>,
        publishes: bool,
    ) -> HostFiles {
        let networks = Networks::of_container(search_path.clone(), joined, publishes);
        HostFiles { networks, ..HostFiles::new(attach_at, nofile, search_path, None, false) }
    }

    /// Begins to make what takes a while, as one of these is going to run. For a thread that lives as long as the
    /// build does.
    pub(crate) fn expect<'a>(&self, steps: impl Iterator<Item = &'a Exec>) {
        for exec in steps {
            self.networks.begin(exec.network);
        }
    }

    /// The same for the network that a container asks for.
    pub(crate) fn expect_network(&self, wanted: Network) {
        self.networks.begin(wanted);
    }

    pub(super) fn search_path(&self) -> &OsStr {
        &self.search_path
    }
}

/// One `RUN` with all it needs.
pub(crate) struct Run<'a> {
    pub(crate) exec: &'a Exec,
    /// What the step's programs are made for.
    pub(crate) platform: &'a Platform,
    pub(crate) inputs: &'a [Snapshot],
    pub(crate) store: &'a Store,
    /// Who may have files for fresh cache mounts.
    pub(crate) imports: &'a Imports<'a>,
    pub(crate) secrets: &'a [Secret],
    pub(crate) agents: &'a Agents,
    pub(crate) limits: &'a StepLimits,
    /// Who is asked in when the step fails.
    pub(crate) shell_seat: Option<&'a dyn ShellSeat>,
    pub(crate) host_files: &'a HostFiles,
    pub(crate) events: &'a dyn Events,
    pub(crate) step: StepId,
    pub(crate) cancel: &'a Cancel,
}

/// A program in the place of a step, and what it is connected to.
struct Program {
    privilege: Privilege,
    special: Special,
    args: Vec<String>,
    env: Vec<OsString>,
    is_root_readonly: bool,
    /// In place of the three below.
    terminal: Option<OwnedFd>,
    stdin: Option<OwnedFd>,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

/// Where programs of a step start: the file system and what goes with the step.
pub(super) struct Place<'a> {
    mounted: MountedSnapshot,
    pub(super) root: Root,
    accounts: Accounts,
    user: ProcessUser,
    network: StepNetwork<'a>,
    emulation: StepEmulation,
}

impl Run<'_> {
    pub(crate) fn carry_out(&self) -> Result<Snapshot, ExecError> {
        let active = begin(self.store, &self.inputs[0])?;
        self.run_in(&active)?;
        Ok(active.commit(now_ns())?)
    }

    /// Everything that is opened in the file system is closed again when this returns.
    fn run_in(&self, active: &ActiveSnapshot) -> Result<(), ExecError> {
        let place = self.arrive(active)?;
        let result = self.run_at(&place, None);
        if let (Err(error), Some(seat)) = (&result, self.shell_seat) {
            self.offer_shell(&place, seat, error);
        }
        result
    }

    /// Finds or makes what the step's programs start from.
    pub(super) fn arrive(&self, active: &ActiveSnapshot) -> Result<Place<'_>, ExecError> {
        self.arrive_as(active, |user| Owner { uid: user.uid, gid: user.gid })
    }

    /// As [`Run::arrive`]; a working folder that is missing gets the owner that is named for the user.
    fn arrive_as(
        &self,
        active: &ActiveSnapshot,
        folder_owner: impl FnOnce(&ProcessUser) -> Owner,
    ) -> Result<Place<'_>, ExecError> {
        let mounted = active.mount()?;
        let root = open_root(mounted.as_fd())?;
        let accounts = Accounts::read(&root)?;
        let user = accounts
            .process_user(&self.exec.user)
            .map_err(|source| ExecError::User { command: self.exec.args.join(" "), source })?;
        let command = || self.exec.args.join(" ");
        make_folders(root.as_fd(), &self.exec.cwd, folder_owner(&user)).map_err(|errno| {
            ExecError::WorkingDirectory { command: command(), cwd: self.exec.cwd.clone(), source: errno.into() }
        })?;
        let network = self.host_files.networks.for_step(self.exec.network, self.events);
        let emulation = self.host_files.emulators.for_step(self.platform);
        Ok(Place { mounted, root, accounts, user, network, emulation })
    }

    /// Runs the step's program, or a shell in its place.
    pub(super) fn run_at(&self, place: &Place<'_>, shell: Option<Shell>) -> Result<(), ExecError> {
        let group = limit::group(self.limits)?;
        let mut prepared = self.prepare_mounts(&place.root, place.network)?;
        if let Some(group) = &group {
            show_control_groups(&mut prepared, group)?;
        }
        show_interpreter(&mut prepared, &place.emulation)?;
        if let Some(toolbox) = shell.as_ref().and_then(|shell| shell.toolbox.as_ref()) {
            prepared.mounts.push(toolbox.to_mount()?);
        }
        sort_parents_first(&mut prepared.mounts);
        let not_mounted = |source| self.not_started(SpawnError::Setup(source), &place.emulation);
        make_nested_mount_points(&prepared.mounts).map_err(not_mounted)?;
        let root = place.root.as_fd();
        let stubs = stubs::make(root, &stub_targets(&prepared.mounts)).map_err(not_mounted)?;
        let result = self.spawn_and_wait(place, prepared, group.as_ref(), shell);
        let removed = stubs.remove(root).map_err(|source| ExecError::Mount { target: "/".to_owned(), source });
        result.and(removed)
    }

    fn spawn_and_wait(
        &self,
        place: &Place<'_>,
        prepared: Prepared,
        group: Option<&ControlGroup>,
        shell: Option<Shell>,
    ) -> Result<(), ExecError> {
        let command = || self.exec.args.join(" ");
        let (output, Ends { stdout, stderr }) = match self.host_files.terminal {
            Some(size) if shell.is_none() => Output::terminal(size(), place.user.uid),
            _ => Output::pipes(),
        }
        .map_err(|source| ExecError::Prepare { path: "output".to_owned(), source })?;
        let Prepared { mounts, env, held, .. } = prepared;
        let program = Program {
            privilege: match self.exec.security {
                Security::Sandbox => Privilege::Sandboxed(Capabilities::DOCKER),
                Security::Insecure => Privilege::Insecure,
            },
            special: Special::default(),
            args: shell.as_ref().map_or(&self.exec.args, |shell| &shell.args).clone(),
            env: self.environment(env, &place.user, shell.as_ref()),
            is_root_readonly: false,
            terminal: shell.map(|shell| shell.terminal),
            stdin: None,
            stdout,
            stderr,
        };
        let spec = self.spec(place, mounts, group, program)?;
        let spawned = slipway_sandbox::spawn(&spec);
        // The step's ends go with it: what reads the others sees the end when the step is gone.
        drop(spec);
        let running = Arc::new(spawned.map_err(|source| self.not_started(source, &place.emulation))?);
        let to_kill = Arc::clone(&running);
        let guard = self.cancel.on_cancel(move || {
            // It may have ended by itself in this moment, which is what was wanted.
            let _ = to_kill.kill();
        });
        let status = std::thread::scope(|scope| {
            scope.spawn(move || output.forward(self.step, self.events));
            running.wait().map_err(ExecError::Wait)
        })?;
        drop((guard, held));
        let code = status.code();
        match (self.cancel.is_canceled(), status.is_success()) {
            (true, _) => Err(ExecError::Canceled),
            (false, true) => Ok(()),
            (false, false) => Err(match limit::out_of_memory(group) {
                Some(what) => ExecError::OutOfMemory { command: command(), code, what },
                None => ExecError::Exit { command: command(), code, hint: store_disk::hint_if_full(self.store.root()) },
            }),
        }
    }

    /// What the sandbox is told.
    fn spec(
        &self,
        place: &Place<'_>,
        mounts: Vec<PreparedMount>,
        group: Option<&ControlGroup>,
        program: Program,
    ) -> Result<Spec, ExecError> {
        let Place { mounted, user, network, emulation, .. } = place;
        let Program { privilege, special, args, env, is_root_readonly, terminal, stdin, stdout, stderr } = program;
        let root = slipway_sandbox::mounts::bind(mounted, false)
            .map_err(|source| ExecError::Mount { target: "/".to_owned(), source })?;
        Ok(Spec {
            surroundings: Surroundings::Own { root, attach_at: self.host_files.attach_at.clone() },
            args: args.into_iter().map(OsString::from).collect(),
            env,
            cwd: PathBuf::from(&self.exec.cwd),
            credentials: Credentials { uid: user.uid, gid: user.gid, groups: user.groups.clone() },
            hostname: self.exec.hostname.clone(),
            network: network
                .to_sandbox()
                .map_err(|source| ExecError::Prepare { path: "network".to_owned(), source })?,
            user_namespace: emulators::namespace(emulation)
                .map_err(|source| ExecError::Prepare { path: "user namespace".to_owned(), source })?,
            privilege,
            mounts: mounts.into_iter().map(into_sandbox_mount).collect(),
            control_groups: mount_error("/sys/fs/cgroup", limit::entrances(group))?,
            rlimits: self.resource_limits()?,
            shm_size_bytes: self.exec.shm_size_bytes.unwrap_or(DEFAULT_SHM_BYTES),
            is_root_readonly,
            shuffles_folders: self.host_files.shuffles_folders,
            special,
            terminal,
            stdin,
            stdout,
            stderr,
        })
    }

    fn not_started(&self, source: SpawnError, emulation: &StepEmulation) -> ExecError {
        let (code, missing_emulator) = match &source {
            SpawnError::Exec(error) => (error.exit_code(), emulators::hint(emulation, self.platform)),
            SpawnError::Setup(_) | SpawnError::InvalidId(_) | SpawnError::Nul(_) => (1, None),
        };
        let hint = missing_emulator.or_else(|| advice::on_start(&source, self.platform));
        ExecError::Spawn { command: self.exec.args.join(" "), code, source, hint }
    }

    fn environment(&self, from_mounts: Vec<String>, user: &ProcessUser, shell: Option<&Shell>) -> Vec<OsString> {
        let exec = self.exec;
        let mut env: Vec<String> = exec.env.iter().chain(&exec.proxy_env).cloned().chain(from_mounts).collect();
        if !env.iter().any(|pair| pair.starts_with("HOME=")) {
            env.push(format!("HOME={}", user.home));
        }
        if let Some(shell) = shell {
            shell.add_to_environment(&mut env);
        }
        env.into_iter().map(OsString::from).collect()
    }

    fn resource_limits(&self) -> Result<Vec<ResourceLimit>, ExecError> {
        // -1 is "unlimited", which the kernel writes as the largest number.
        let value = |limit: i64| u64::try_from(limit).unwrap_or(u64::MAX);
        let limit = |ulimit: &slipway_graph::op::Ulimit| {
            let resource = Resource::from_name(&ulimit.kind).ok_or_else(|| ExecError::Ulimit(ulimit.kind.clone()))?;
            Ok(ResourceLimit { resource, soft: value(ulimit.soft), hard: value(ulimit.hard) })
        };
        let mut limits = self.exec.ulimits.iter().map(limit).collect::<Result<Vec<_>, ExecError>>()?;
        if !limits.iter().any(|limit| limit.resource == Resource::Nofile) {
            let OriginalLimit { soft, hard } = self.host_files.nofile;
            limits.push(ResourceLimit { resource: Resource::Nofile, soft, hard });
        }
        Ok(limits)
    }
}

/// `fsmount` gives a descriptor for paths only; listing needs one that is open for reading.
fn open_root(mounted: BorrowedFd<'_>) -> Result<Root, ExecError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(mounted, c".", flags, Mode::empty());
    opened.map(Root::new).map_err(|errno| ExecError::Prepare { path: "/".to_owned(), source: errno.into() })
}

const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// Makes a folder and those above it where they are missing, with mode 0755.
fn make_folders(root: BorrowedFd<'_>, path: &str, owner: Owner) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut so_far = String::new();
    let mut parent = rustix::fs::openat(root, c".", flags, Mode::empty())?;
    for part in path.split('/').filter(|part| !part.is_empty()) {
        so_far.push('/');
        so_far.push_str(part);
        parent = match rustix::fs::openat2(root, so_far.as_str(), flags, Mode::empty(), IN_ROOT) {
            Ok(next) => next,
            Err(Errno::NOENT) => {
                let name = CString::new(part).map_err(|_| Errno::INVAL)?;
                rustix::fs::mkdirat(&parent, &name, Mode::from_raw_mode(0o755))?;
                owners::give_at(&parent, name.to_bytes(), owner)?;
                rustix::fs::openat(&parent, &name, flags | OFlags::NOFOLLOW, Mode::empty())?
            }
            Err(errno) => return Err(errno),
        };
    }
    Ok(())
}
