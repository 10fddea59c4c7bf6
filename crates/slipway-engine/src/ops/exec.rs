//! `RUN`: prepare a snapshot, run a program in it, commit the snapshot.

use std::any::Any;
use std::ffi::{CString, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use slipway_dockerfile::quoted;
use slipway_graph::op::{CacheMount, CacheSharing, Exec, Mount, SecretMount, Security, SshMount};
use slipway_graph::request::{Secret, Ssh, StepLimits};
use slipway_graph::{Event, Events, LogStream, StepId};
use slipway_oci::Platform;
use slipway_sandbox::mounts::{self, Attributes};
use slipway_sandbox::owners::{self, Owner};
use slipway_sandbox::stubs::{self, Kind, Target};
use slipway_sandbox::{
    CallError, ControlGroup, Credentials, LimitError, Privilege, Resource, ResourceLimit, SpawnError, Spec,
};
use slipway_solver::Cancel;
use slipway_store::{ActiveSnapshot, CacheMountError, Sharing, Snapshot, SnapshotError, Store};

use super::emulators::{self, Emulators, StepEmulation};
use super::limit;
use super::network::{Networks, StepNetwork};
use super::secret::{self, SecretError};
use super::ssh::{self, SshError};
use crate::descriptors::OriginalLimit;
use crate::now_ns;
use crate::rootfs::{Accounts, AccountsError, ProcessUser, Root, UserError};

/// Why a `RUN` failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecError {
    #[error("process {} did not complete successfully: exit code: {code}", quoted(.command))]
    Exit { command: String, code: i32 },
    #[error("process {} did not complete successfully: exit code: {code}: {what}", quoted(.command))]
    OutOfMemory { command: String, code: i32, what: String },
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The code is that of the reference builder's runtime, which starts and then finds that there is nothing to run.
    #[error("process {} did not complete successfully: exit code: 1", quoted(.command))]
    NoProgram {
        command: String,
        source: SpawnError,
        /// What to do about it, if that is known.
        hint: Option<String>,
    },
    #[error("cannot start {}", quoted(.command))]
    Spawn { command: String, source: SpawnError },
    #[error("process {} did not complete successfully", quoted(.command))]
    User { command: String, source: UserError },
    #[error("cannot prepare the mount of `{target}`")]
    Mount { target: String, source: CallError },
    #[error("failed to compute cache key: \"{path}\": not found")]
    BindSource { path: String },
    #[error("cannot make `{path}` for the step")]
    Prepare { path: String, source: io::Error },
    #[error("secret {id}: not found")]
    SecretMissing { id: String },
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("unset ssh forward key {id}")]
    SshMissing { id: String },
    #[error(transparent)]
    Ssh(#[from] SshError),
    #[error("unknown ulimit `{0}`")]
    Ulimit(String),
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    #[error(transparent)]
    CacheMount(#[from] CacheMountError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("cannot wait for the step")]
    Wait(#[source] CallError),
    #[error("canceled")]
    Canceled,
}

impl ExecError {
    /// What people can do about it, if that is known for sure.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            ExecError::OutOfMemory { .. } => Some("`--memory` says how much memory steps may use".to_owned()),
            ExecError::NoProgram { hint, .. } => hint.clone(),
            ExecError::Limit(error) => error.hint().map(str::to_owned),
            _ => None,
        }
    }
}

const DEFAULT_SHM_BYTES: u64 = 64 << 20;
/// Pieces of log from one end before the other one is looked at.
const MOST_IN_A_ROW: usize = 16;

/// What the steps of one build share.
pub(crate) struct HostFiles {
    /// An existing directory where sandboxes attach their roots, each in its own mount table.
    attach_at: PathBuf,
    nofile: OriginalLimit,
    networks: Networks,
    emulators: Emulators,
}

impl HostFiles {
    /// `attach_at` is an empty directory that may be used by any number of builds at once; `search_path` is where
    /// helper programs are looked for. Nothing is read yet.
    pub(crate) fn new(attach_at: PathBuf, nofile: OriginalLimit, search_path: OsString) -> HostFiles {
        let (networks, emulators) = (Networks::new(search_path.clone()), Emulators::new(search_path));
        HostFiles { attach_at, nofile, networks, emulators }
    }
}

/// One `RUN` with all it needs.
pub(crate) struct Run<'a> {
    pub(crate) exec: &'a Exec,
    /// What the step's programs are made for.
    pub(crate) platform: &'a Platform,
    pub(crate) inputs: &'a [Snapshot],
    pub(crate) store: &'a Store,
    pub(crate) secrets: &'a [Secret],
    pub(crate) ssh: &'a [Ssh],
    pub(crate) limits: &'a StepLimits,
    pub(crate) host_files: &'a HostFiles,
    pub(crate) events: &'a dyn Events,
    pub(crate) step: StepId,
    pub(crate) cancel: &'a Cancel,
}

/// Mounts in the making, and what has to live as long as the step.
#[derive(Default)]
struct Prepared {
    mounts: Vec<PreparedMount>,
    env: Vec<String>,
    held: Vec<Box<dyn Any>>,
}

struct PreparedMount {
    target: String,
    kind: Kind,
    source: OwnedFd,
    attributes: Attributes,
}

impl Run<'_> {
    pub(crate) fn carry_out(&self) -> Result<Snapshot, ExecError> {
        let active = self.store.begin(Some(&self.inputs[0]))?;
        self.run_in(&active)?;
        Ok(active.commit(now_ns())?)
    }

    /// Everything that is opened in the file system is closed again when this returns.
    fn run_in(&self, active: &ActiveSnapshot) -> Result<(), ExecError> {
        let mounted = active.mount()?;
        let root = open_root(mounted.as_fd())?;
        let user = Accounts::read(&root)?
            .process_user(&self.exec.user)
            .map_err(|source| ExecError::User { command: self.exec.args.join(" "), source })?;
        make_working_directory(root.as_fd(), &self.exec.cwd, &user)?;
        let network = self.host_files.networks.for_step(self.exec.network, self.events);
        let emulation = self.host_files.emulators.for_step(self.platform);
        let group = limit::group(self.limits)?;
        let mut prepared = self.prepare(network)?;
        if let Some(group) = &group {
            show_control_groups(&mut prepared, group)?;
        }
        show_interpreter(&mut prepared, &emulation)?;
        sort_parents_first(&mut prepared.mounts);
        make_nested_mount_points(&prepared.mounts)?;
        let stubs = stubs::make(root.as_fd(), &stub_targets(&prepared.mounts))
            .map_err(|source| ExecError::Mount { target: "/".to_owned(), source })?;
        let result = self.spawn_and_wait(mounted.as_fd(), prepared, &user, network, group.as_ref(), &emulation);
        let removed = stubs.remove(root.as_fd()).map_err(|source| ExecError::Mount { target: "/".to_owned(), source });
        result.and(removed)
    }

    fn spawn_and_wait(
        &self,
        mounted: BorrowedFd<'_>,
        prepared: Prepared,
        user: &ProcessUser,
        network: StepNetwork<'_>,
        group: Option<&ControlGroup>,
        emulation: &StepEmulation,
    ) -> Result<(), ExecError> {
        let command = || self.exec.args.join(" ");
        let pipe = || {
            let made = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
            made.map_err(|errno| ExecError::Prepare { path: "pipe".to_owned(), source: errno.into() })
        };
        let ((out_reader, stdout), (err_reader, stderr)) = (pipe()?, pipe()?);
        let root =
            mounts::bind(mounted, false).map_err(|source| ExecError::Mount { target: "/".to_owned(), source })?;
        let Prepared { mounts, env, held } = prepared;
        let spec = Spec {
            root,
            attach_at: self.host_files.attach_at.clone(),
            args: self.exec.args.iter().map(OsString::from).collect(),
            env: self.environment(env, user),
            cwd: PathBuf::from(&self.exec.cwd),
            credentials: Credentials { uid: user.uid, gid: user.gid, groups: user.groups.clone() },
            hostname: self.exec.hostname.clone(),
            network: network
                .to_sandbox()
                .map_err(|source| ExecError::Prepare { path: "network".to_owned(), source })?,
            user_namespace: emulators::namespace(emulation)
                .map_err(|source| ExecError::Prepare { path: "user namespace".to_owned(), source })?,
            privilege: match self.exec.security {
                Security::Sandbox => Privilege::Sandboxed,
                Security::Insecure => Privilege::Insecure,
            },
            mounts: mounts.into_iter().map(into_sandbox_mount).collect(),
            control_groups: mount_error("/sys/fs/cgroup", limit::entrances(group))?,
            rlimits: self.resource_limits()?,
            shm_size_bytes: self.exec.shm_size_bytes.unwrap_or(DEFAULT_SHM_BYTES),
            stdout,
            stderr,
        };
        let spawned = slipway_sandbox::spawn(&spec);
        // Our ends of the pipes go with it: the readers below see the end when the step's do.
        drop(spec);
        let running = Arc::new(
            spawned.map_err(|source| not_started(command(), source, emulators::hint(emulation, self.platform)))?,
        );
        let to_kill = Arc::clone(&running);
        let guard = self.cancel.on_cancel(move || {
            // It may have ended by itself in this moment, which is what was wanted.
            let _ = to_kill.kill();
        });
        let status = std::thread::scope(|scope| {
            scope.spawn(|| self.forward(out_reader, err_reader));
            running.wait().map_err(ExecError::Wait)
        })?;
        drop((guard, held));
        let code = status.code();
        match (self.cancel.is_canceled(), status.is_success()) {
            (true, _) => Err(ExecError::Canceled),
            (false, true) => Ok(()),
            (false, false) => Err(match limit::out_of_memory(group) {
                Some(what) => ExecError::OutOfMemory { command: command(), code, what },
                None => ExecError::Exit { command: command(), code },
            }),
        }
    }

    /// Passes on what the step writes until both of its ends are closed. Where both have something, standard output
    /// goes first: programs say why they gave up last, and on standard error.
    fn forward(&self, stdout: OwnedFd, stderr: OwnedFd) {
        let mut open = vec![(LogStream::Stdout, std::fs::File::from(stdout)), (LogStream::Stderr, stderr.into())];
        let mut buffer = vec![0; 16 << 10];
        let mut n_in_a_row = 0;
        while !open.is_empty() {
            let mut waiting: Vec<PollFd<'_>> = open.iter().map(|(_, file)| PollFd::new(file, PollFlags::IN)).collect();
            if let Err(errno) = poll(&mut waiting, None)
                && errno != Errno::INTR
            {
                return;
            }
            let ready: Vec<usize> = (0..open.len()).filter(|index| !waiting[*index].revents().is_empty()).collect();
            // Now and then the other one gets its turn, so that a step that never stops talking cannot block itself.
            let turn = if n_in_a_row < MOST_IN_A_ROW { ready.first() } else { ready.last() };
            let Some(index) = turn.copied() else { continue };
            n_in_a_row = if index == 0 { n_in_a_row + 1 } else { 0 };
            let (stream, file) = &mut open[index];
            match file.read(&mut buffer) {
                Ok(n_read @ 1..) => {
                    let (stream, bytes) = (*stream, buffer[..n_read].to_vec());
                    self.events.emit(Event::StepLog { step: self.step, stream, bytes, at: SystemTime::now() });
                }
                // An error ends the log, not the step: the exit code tells how it went.
                Ok(0) | Err(_) => drop(open.remove(index)),
            }
        }
    }

    fn environment(&self, from_mounts: Vec<String>, user: &ProcessUser) -> Vec<OsString> {
        let exec = self.exec;
        let mut env: Vec<String> = exec.env.iter().chain(&exec.proxy_env).cloned().chain(from_mounts).collect();
        if !env.iter().any(|pair| pair.starts_with("HOME=")) {
            env.push(format!("HOME={}", user.home));
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

    fn prepare(&self, network: StepNetwork<'_>) -> Result<Prepared, ExecError> {
        let mut prepared = Prepared::default();
        let hosts = network.hosts(&self.exec.hostname, &self.exec.extra_hosts);
        let hosts = memory_file("hosts", hosts.as_bytes(), 0o644, (0, 0))?;
        let resolv_conf = self.host_files.networks.resolv_conf(network);
        let resolv_conf = memory_file("resolv.conf", resolv_conf, 0o644, (0, 0))?;
        for (target, source) in [("/etc/resolv.conf", resolv_conf), ("/etc/hosts", hosts)] {
            let attributes = Attributes { readonly: true, nosuid: true, nodev: true, noexec: true };
            prepared.mounts.push(PreparedMount { target: target.to_owned(), kind: Kind::File, source, attributes });
        }
        for mount in &self.exec.mounts {
            match mount {
                Mount::Bind { input, source, target, is_readonly } => {
                    self.bind(&mut prepared, *input, source, target, *is_readonly)?;
                }
                Mount::Cache(cache) => self.cache(&mut prepared, cache)?,
                Mount::Tmpfs { target, size_bytes } => {
                    let attributes = Attributes { nosuid: true, ..Attributes::default() };
                    let source = mount_error(target, mounts::tmpfs(*size_bytes, 0o1777, attributes))?;
                    let target = target.clone();
                    prepared.mounts.push(PreparedMount { target, kind: Kind::Directory, source, attributes });
                }
                Mount::Secret(secret) => self.secret(&mut prepared, secret)?,
                Mount::Ssh(ssh) => self.ssh(&mut prepared, ssh)?,
            }
        }
        Ok(prepared)
    }

    fn bind(
        &self,
        prepared: &mut Prepared,
        input: usize,
        source: &str,
        target: &str,
        is_readonly: bool,
    ) -> Result<(), ExecError> {
        let snapshot = &self.inputs[input];
        let opened = match is_readonly {
            true => {
                // A mount that is attached nowhere is gone when its last descriptor closes.
                let view = self.store.view(snapshot)?;
                let opened = open_in(view.as_fd(), source)?;
                prepared.held.push(Box::new(view));
                opened
            }
            false => {
                // Writes go to a layer that nobody ever commits.
                let scratch = self.store.begin(Some(snapshot))?;
                let mounted = scratch.mount()?;
                let opened = open_in(mounted.as_fd(), source)?;
                prepared.held.push(Box::new(mounted));
                prepared.held.push(Box::new(scratch));
                opened
            }
        };
        let kind = kind_of(&opened, source)?;
        let source = mount_error(target, mounts::bind(&opened, false))?;
        let attributes = Attributes { readonly: is_readonly, ..Attributes::default() };
        prepared.mounts.push(PreparedMount { target: target.to_owned(), kind, source, attributes });
        Ok(())
    }

    fn cache(&self, prepared: &mut Prepared, cache: &CacheMount) -> Result<(), ExecError> {
        let sharing = match cache.sharing {
            CacheSharing::Shared => Sharing::Shared,
            CacheSharing::Private => Sharing::Private,
            CacheSharing::Locked => Sharing::Locked,
        };
        let id = cache_identity(cache, self.inputs);
        let seed = |folder: &Path| self.seed_cache(cache, folder);
        let mount =
            self.store.cache_mount(&id, sharing, seed, || !self.cancel.is_canceled())?.ok_or(ExecError::Canceled)?;
        let source = mount_error(&cache.target, mounts::bind_path(mount.path(), false))?;
        let attributes = Attributes { readonly: cache.is_readonly, ..Attributes::default() };
        let target = cache.target.clone();
        prepared.mounts.push(PreparedMount { target, kind: Kind::Directory, source, attributes });
        prepared.held.push(Box::new(mount));
        Ok(())
    }

    fn seed_cache(&self, cache: &CacheMount, folder: &Path) -> io::Result<()> {
        if let Some((input, source)) = &cache.seed {
            let view = self.store.view(&self.inputs[*input]).map_err(io::Error::other)?;
            return super::local::copy_tree(view.as_fd(), source, folder);
        }
        owners::give(std::fs::File::open(folder)?, Owner { uid: cache.uid, gid: cache.gid })?;
        std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(cache.mode))
    }

    fn secret(&self, prepared: &mut Prepared, secret: &SecretMount) -> Result<(), ExecError> {
        let value = match self.secrets.iter().find(|known| known.id == secret.id) {
            Some(known) => Some(secret::value(known)?),
            None if secret.is_required => return Err(ExecError::SecretMissing { id: secret.id.clone() }),
            None => None,
        };
        if let Some(name) = &secret.env {
            let text = String::from_utf8_lossy(value.as_deref().unwrap_or_default()).into_owned();
            prepared.env.push(format!("{name}={text}"));
        }
        if let (Some(target), Some(value)) = (&secret.target, value) {
            let source = memory_file("secret", &value, secret.mode, (secret.uid, secret.gid))?;
            let attributes = Attributes { readonly: true, nosuid: true, nodev: true, noexec: true };
            prepared.mounts.push(PreparedMount { target: target.clone(), kind: Kind::File, source, attributes });
        }
        Ok(())
    }

    fn ssh(&self, prepared: &mut Prepared, mount: &SshMount) -> Result<(), ExecError> {
        let Some(known) = self.ssh.iter().find(|known| known.id == mount.id) else {
            if mount.is_required {
                return Err(ExecError::SshMissing { id: mount.id.clone() });
            }
            return Ok(());
        };
        let folder = mount_error(&mount.target, mounts::tmpfs(Some(1 << 20), 0o700, Attributes::default()))?;
        let proxy = ssh::Proxy::start(known, folder.as_fd(), mount.mode, (mount.uid, mount.gid))?;
        let source = mount_error(&mount.target, mounts::bind(proxy.socket(), false))?;
        let attributes = Attributes { nosuid: true, nodev: true, noexec: true, ..Attributes::default() };
        let is_first = !prepared.env.iter().any(|pair| pair.starts_with("SSH_AUTH_SOCK="));
        if is_first && !self.exec.env.iter().any(|pair| pair.starts_with("SSH_AUTH_SOCK=")) {
            prepared.env.push(format!("SSH_AUTH_SOCK={}", mount.target));
        }
        prepared.mounts.push(PreparedMount { target: mount.target.clone(), kind: Kind::File, source, attributes });
        prepared.held.push(Box::new(proxy));
        prepared.held.push(Box::new(folder));
        Ok(())
    }
}

/// Shows a step its own control groups of version 1, for looking only, as the host shows them all. Of version 2 the
/// sandbox makes its own view.
fn show_control_groups(prepared: &mut Prepared, group: &ControlGroup) -> Result<(), ExecError> {
    let views = mount_error("/sys/fs/cgroup", group.views())?;
    if views.is_empty() {
        return Ok(());
    }
    let attributes = Attributes { readonly: false, nosuid: true, nodev: true, noexec: true };
    let source = mount_error("/sys/fs/cgroup", mounts::tmpfs(Some(1 << 20), 0o755, attributes))?;
    let mount = |target, source, attributes| PreparedMount { target, kind: Kind::Directory, source, attributes };
    prepared.mounts.push(mount("/sys/fs/cgroup".to_owned(), source, attributes));
    for (name, source) in views {
        let attributes = Attributes { readonly: true, ..attributes };
        prepared.mounts.push(mount(format!("/sys/fs/cgroup/{name}"), source, attributes));
    }
    Ok(())
}

/// Mounts the emulator that the kernel will look for inside the root.
fn show_interpreter(prepared: &mut Prepared, emulation: &StepEmulation) -> Result<(), ExecError> {
    if let Some((target, source)) = mount_error("/", emulators::interpreter(emulation))? {
        let attributes = Attributes { readonly: true, nosuid: true, nodev: true, noexec: false };
        prepared.mounts.push(PreparedMount { target, kind: Kind::File, source, attributes });
    }
    Ok(())
}

/// The content of a cache mount belongs to its id, and to what it was seeded from.
fn cache_identity(cache: &CacheMount, inputs: &[Snapshot]) -> String {
    match &cache.seed {
        None => cache.id.clone(),
        Some((input, source)) => format!("{}\0{}\0{source}", cache.id, inputs[*input].id()),
    }
}

/// A detached mount of a file that exists in memory only.
fn memory_file(name: &str, bytes: &[u8], mode: u32, owner: (u32, u32)) -> Result<OwnedFd, ExecError> {
    let folder = mount_error(name, mounts::tmpfs(Some(1 << 20), 0o700, Attributes::default()))?;
    let prepare = |source: io::Error| ExecError::Prepare { path: name.to_owned(), source };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&folder, name, flags, Mode::from_raw_mode(0o600)).map_err(|e| prepare(e.into()))?;
    let mut file = std::fs::File::from(file);
    file.write_all(bytes).map_err(prepare)?;
    owners::give(&file, Owner { uid: owner.0, gid: owner.1 }).map_err(|e| prepare(e.into()))?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(|e| prepare(e.into()))?;
    // Bound after it is closed for writing, so that programs in it could be executed.
    drop(file);
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&folder, name, flags, Mode::empty()).map_err(|e| prepare(e.into()))?;
    mount_error(name, mounts::bind(&file, false))
}

fn into_sandbox_mount(mount: PreparedMount) -> slipway_sandbox::Mount {
    slipway_sandbox::Mount { target: mount.target.into(), source: mount.source, attributes: mount.attributes }
}

fn mount_error<T>(target: &str, result: Result<T, CallError>) -> Result<T, ExecError> {
    result.map_err(|source| ExecError::Mount { target: target.to_owned(), source })
}

/// `fsmount` gives a descriptor for paths only; listing needs one that is open for reading.
fn open_root(mounted: BorrowedFd<'_>) -> Result<Root, ExecError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(mounted, c".", flags, Mode::empty());
    opened.map(Root::new).map_err(|errno| ExecError::Prepare { path: "/".to_owned(), source: errno.into() })
}

const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

fn open_in(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, ExecError> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    rustix::fs::openat2(root, path, flags, Mode::empty(), IN_ROOT)
        .map_err(|_| ExecError::BindSource { path: path.to_owned() })
}

fn kind_of(file: &OwnedFd, path: &str) -> Result<Kind, ExecError> {
    let stat =
        rustix::fs::fstat(file).map_err(|errno| ExecError::Prepare { path: path.to_owned(), source: errno.into() })?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Directory,
        _ => Kind::File,
    })
}

/// `hint` is why there is no emulator, where one may have been needed.
fn not_started(command: String, source: SpawnError, hint: Option<String>) -> ExecError {
    match source {
        SpawnError::Exec(_) => ExecError::NoProgram { command, source, hint },
        SpawnError::Setup(_) | SpawnError::InvalidId(_) | SpawnError::Nul(_) => ExecError::Spawn { command, source },
    }
}

/// Makes the working directory and the folders above it where they are missing: 0755, owned by the step's user.
fn make_working_directory(root: BorrowedFd<'_>, cwd: &str, user: &ProcessUser) -> Result<(), ExecError> {
    let error = |errno: Errno| ExecError::Prepare { path: cwd.to_owned(), source: errno.into() };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut so_far = String::new();
    let mut parent = rustix::fs::openat(root, c".", flags, Mode::empty()).map_err(error)?;
    for part in cwd.split('/').filter(|part| !part.is_empty()) {
        so_far.push('/');
        so_far.push_str(part);
        parent = match rustix::fs::openat2(root, so_far.as_str(), flags, Mode::empty(), IN_ROOT) {
            Ok(next) => next,
            Err(Errno::NOENT) => {
                let name = CString::new(part).map_err(|_| error(Errno::INVAL))?;
                rustix::fs::mkdirat(&parent, &name, Mode::from_raw_mode(0o755)).map_err(error)?;
                let owner = Owner { uid: user.uid, gid: user.gid };
                owners::give_at(&parent, name.to_bytes(), owner).map_err(error)?;
                rustix::fs::openat(&parent, &name, flags | OFlags::NOFOLLOW, Mode::empty()).map_err(error)?
            }
            Err(errno) => return Err(error(errno)),
        };
    }
    Ok(())
}

/// Parents before children; of several mounts on one target the last wins.
fn sort_parents_first(mounts: &mut Vec<PreparedMount>) {
    let clean = |target: &str| target.split('/').filter(|p| !p.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let mut last_wins: Vec<PreparedMount> = Vec::new();
    for mount in mounts.drain(..) {
        last_wins.retain(|earlier| clean(&earlier.target) != clean(&mount.target));
        last_wins.push(mount);
    }
    last_wins.sort_by_key(|mount| clean(&mount.target).len());
    *mounts = last_wins;
}

/// A mount below another one needs its place inside that one, not in the root file system.
fn make_nested_mount_points(mounts: &[PreparedMount]) -> Result<(), ExecError> {
    for (index, mount) in mounts.iter().enumerate() {
        let above = mounts[..index].iter().rev().find(|outer| is_below(&mount.target, &outer.target));
        let Some(outer) = above.filter(|outer| outer.kind == Kind::Directory && !outer.attributes.readonly) else {
            continue;
        };
        let inside = &mount.target[outer.target.trim_end_matches('/').len()..];
        let target = Target { path: PathBuf::from(inside), kind: mount.kind, is_kept: true };
        // Kept: it is a folder in a cache or tmpfs, which no layer ever sees.
        let _ = mount_error(&mount.target, stubs::make(outer.source.as_fd(), &[target]))?;
    }
    Ok(())
}

fn is_below(target: &str, outer: &str) -> bool {
    let outer = outer.trim_end_matches('/');
    target.len() > outer.len() + 1 && target.starts_with(outer) && target.as_bytes()[outer.len()] == b'/'
}

fn stub_targets(mounts: &[PreparedMount]) -> Vec<Target> {
    let mut targets: Vec<Target> = Target::built_in().into();
    let is_nested = |mount: &PreparedMount| mounts.iter().any(|outer| is_below(&mount.target, &outer.target));
    let built_in = ["/proc", "/sys", "/dev"];
    let is_in_built_in = |mount: &PreparedMount| built_in.iter().any(|outer| is_below(&mount.target, outer));
    for mount in mounts.iter().filter(|mount| !is_nested(mount) && !is_in_built_in(mount)) {
        targets.push(Target { path: PathBuf::from(&mount.target), kind: mount.kind, is_kept: false });
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::is_below;

    #[test]
    fn below_means_a_longer_path_through_the_same_folder() {
        assert!(is_below("/a/b", "/a") && is_below("/a/b", "/a/") && is_below("/a", "/"));
        assert!(!is_below("/a", "/a") && !is_below("/ab", "/a") && !is_below("/a", "/a/b"));
    }
}
