//! `slipway run`: a program in an image, as in a step, but connected to the user, with folders of the host and volumes,
//! and with nothing kept of what it writes elsewhere.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use slipway_sandbox::mounts::{self, Attributes};
use slipway_sandbox::owners::Owner;
use slipway_sandbox::stubs::{self, Kind};
use slipway_sandbox::{ExitStatus, Privilege, Running, SpawnError, Special};
use slipway_store::ActiveSnapshot;

use super::guests::GuestHost;
use super::mounts::{
    PreparedMount, make_nested_mount_points, memory_file, mount_error, open_in, show_control_groups, show_interpreter,
    sort_parents_first, stub_targets,
};
use super::output::{Ends, Output};
use super::{ExecError, Place, Program, Run, make_folders};
use crate::container::Resolver;
use crate::container::ports::{Doors, OpenPort, Porters};
use crate::ops::{limit, local};

const ROOT: Owner = Owner { uid: 0, gid: 0 };

/// What a container sees mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerMount {
    /// A file or folder of the host.
    Bind {
        source: PathBuf,
        target: String,
        is_readonly: bool,
        /// A folder that is missing is made.
        makes_source: bool,
    },
    /// A folder of the store. Without a name it is the container's own, and goes with it.
    Volume {
        name: Option<String>,
        target: String,
        is_readonly: bool,
        /// A new volume starts with what the image has there.
        starts_empty: bool,
    },
    /// A folder in memory.
    Tmpfs { target: String, size_bytes: Option<u64>, mode: u32, is_readonly: bool, allows_exec: bool },
    /// A device of the host.
    Device { source: PathBuf, target: String },
    /// A file in memory, for reading only: a secret, or a piece of configuration.
    File { target: String, content: Vec<u8>, mode: u32, uid: u32, gid: u32 },
}

impl ContainerMount {
    /// Where it is mounted: an absolute path.
    pub fn target(&self) -> &str {
        match self {
            ContainerMount::Bind { target, .. }
            | ContainerMount::Volume { target, .. }
            | ContainerMount::Tmpfs { target, .. }
            | ContainerMount::Device { target, .. }
            | ContainerMount::File { target, .. } => target,
        }
    }
}

/// What a container is connected to.
#[derive(Default)]
pub struct ContainerEnds {
    /// Its terminal: input and output. Without one, output goes to the log.
    pub terminal: Option<OwnedFd>,
    /// Its input; it is empty if there is neither this nor a terminal.
    pub stdin: Option<OwnedFd>,
}

/// What a container has beyond a step, whose surroundings are in the [`Run`].
pub(crate) struct Beyond<'a> {
    pub(crate) mounts: &'a [ContainerMount],
    pub(crate) is_root_readonly: bool,
    pub(crate) privilege: Privilege,
    pub(crate) special: Special,
    /// Groups that its user is in as well: names or numbers.
    pub(crate) groups: &'a [String],
    pub(crate) resolver: &'a Resolver,
    /// Where who comes to its ports goes to.
    pub(crate) doors: &'a Doors,
    /// Called as soon as its program runs.
    pub(crate) on_start: &'a dyn Fn(Started),
}

/// A container whose program has begun to run.
pub struct Started {
    pub running: Arc<Running>,
    /// For further programs in it.
    pub host: GuestHost,
    /// Its published ports.
    pub ports: Vec<OpenPort>,
}

impl Run<'_> {
    /// Runs the program to its end. What it writes to the image's files goes to `active`.
    pub(crate) fn hold(
        &self,
        active: &ActiveSnapshot,
        container: &Beyond<'_>,
        ends: ContainerEnds,
    ) -> Result<ExitStatus, ExecError> {
        // Unlike a step's, the folder that `-w` names belongs to root.
        let mut place = self.arrive_as(active, |_| ROOT)?;
        let command = || self.exec.args.join(" ");
        let more = place.accounts.groups_named(container.groups);
        place.user.groups.extend(more.map_err(|source| ExecError::User { command: command(), source })?);
        let group = Arc::new(limit::group(self.limits)?);
        let mut prepared = self.prepare_mounts(&place.root, place.network)?;
        prepared.show_file("/etc/hostname", format!("{}\n", self.exec.hostname).as_bytes())?;
        let settings = String::from_utf8_lossy(self.host_files.networks.resolv_conf(place.network));
        if let Some(settings) = container.resolver.over(&settings) {
            prepared.show_file("/etc/resolv.conf", settings.as_bytes())?;
        }
        prepared.let_be_written();
        if let Some(group) = &*group {
            show_control_groups(&mut prepared, group)?;
        }
        show_interpreter(&mut prepared, &place.emulation)?;
        for mount in container.mounts {
            prepared.mounts.push(self.mount_of_container(&place, mount)?);
        }
        sort_parents_first(&mut prepared.mounts);
        let not_mounted = |source| self.not_started(SpawnError::Setup(source), &place.emulation);
        make_nested_mount_points(&prepared.mounts).map_err(not_mounted)?;
        // They go with everything else that is written here.
        let _stubs = stubs::make(place.root.as_fd(), &stub_targets(&prepared.mounts)).map_err(not_mounted)?;

        let (output, Ends { stdout, stderr }) =
            Output::pipes().map_err(|source| ExecError::Prepare { path: "output".to_owned(), source })?;
        let ContainerEnds { terminal, stdin } = ends;
        let is_root_readonly = container.is_root_readonly;
        let env = self.environment(prepared.env, &place.user, None);
        let (privilege, special, args) = (container.privilege, container.special.clone(), self.exec.args.clone());
        let program = Program { privilege, special, args, env, is_root_readonly, terminal, stdin, stdout, stderr };
        let spec = self.spec(&place, prepared.mounts, (*group).as_ref(), program)?;
        let spawned = slipway_sandbox::spawn(&spec);
        // Our ends of the pipes go with it: the reader sees the end when the program's do.
        drop(spec);
        let running = Arc::new(spawned.map_err(|source| self.not_started(source, &place.emulation))?);
        let network = |source| ExecError::Prepare { path: "network".to_owned(), source };
        let _porters = match place.network.door().map_err(network)? {
            Some((namespace, address)) => container.doors.lead_to(namespace, address).map_err(network)?,
            None => Porters::default(),
        };
        let to_kill = Arc::clone(&running);
        let _guard = self.cancel.on_cancel(move || {
            // It may have ended by itself in this moment, which is what was wanted.
            let _ = to_kill.kill();
        });
        let host =
            GuestHost::new(self, &place, &running, (container.privilege, &container.special), Arc::clone(&group))?;
        (container.on_start)(Started { running: Arc::clone(&running), host, ports: container.doors.ports() });
        std::thread::scope(|scope| {
            scope.spawn(move || output.forward(self.step, self.events));
            running.wait().map_err(ExecError::Wait)
        })
    }

    fn mount_of_container(&self, place: &Place<'_>, mount: &ContainerMount) -> Result<PreparedMount, ExecError> {
        let target = mount.target();
        match mount {
            ContainerMount::Bind { source, is_readonly, makes_source, .. } => {
                let on_host = |error| ExecError::HostPath { path: source.clone(), source: error };
                if *makes_source && !source.exists() {
                    std::fs::create_dir_all(source).map_err(on_host)?;
                }
                let kind = match std::fs::metadata(source).map_err(on_host)?.is_dir() {
                    true => Kind::Directory,
                    false => Kind::File,
                };
                // With what is mounted below it: a user namespace may not uncover what lies there.
                let mounted = mount_error(target, mounts::bind_path(source, true))?;
                let attributes = Attributes { readonly: *is_readonly, ..Attributes::default() };
                Ok(PreparedMount::new(target, kind, mounted, attributes))
            }
            ContainerMount::Volume { name: Some(name), is_readonly, starts_empty, .. } => {
                let folder = self.store.volume(name, |folder| match *starts_empty || !has_folder(place, target) {
                    true => Ok(()),
                    false => local::copy_folder(place.root.as_fd(), target, folder),
                })?;
                let mounted = mount_error(target, mounts::bind_path(&folder, false))?;
                let attributes = Attributes { readonly: *is_readonly, ..Attributes::default() };
                Ok(PreparedMount::new(target, Kind::Directory, mounted, attributes))
            }
            ContainerMount::Volume { name: None, is_readonly, .. } => {
                // All that the container writes is thrown away, so its own volumes may be folders of the root: mounted
                // onto themselves, they stay writable where the root is not.
                let root = place.root.as_fd();
                make_folders(root, target, ROOT)
                    .map_err(|errno| ExecError::Prepare { path: target.to_owned(), source: errno.into() })?;
                let mounted = mount_error(target, mounts::bind(open_in(root, target)?, false))?;
                let attributes = Attributes { readonly: *is_readonly, ..Attributes::default() };
                Ok(PreparedMount::new(target, Kind::Directory, mounted, attributes))
            }
            ContainerMount::Tmpfs { size_bytes, mode, is_readonly, allows_exec, .. } => {
                let attributes = Attributes { readonly: false, nosuid: true, nodev: true, noexec: !allows_exec };
                let mounted = mount_error(target, mounts::tmpfs(*size_bytes, *mode, attributes))?;
                let attributes = Attributes { readonly: *is_readonly, ..attributes };
                Ok(PreparedMount::new(target, Kind::Directory, mounted, attributes))
            }
            ContainerMount::Device { source, .. } => {
                let on_host = |error| ExecError::HostPath { path: source.clone(), source: error };
                // What is there now: it may have been taken away since somebody asked for it.
                if !is_device(source).map_err(on_host)? {
                    return Err(on_host(io::Error::other("not a device node")));
                }
                let mounted = mount_error(target, mounts::bind_path(source, false))?;
                Ok(PreparedMount::device(target, mounted))
            }
            ContainerMount::File { content, mode, uid, gid, .. } => {
                let mounted = memory_file("file", content, *mode, (*uid, *gid))?;
                let attributes = Attributes { readonly: true, nosuid: true, nodev: true, noexec: false };
                Ok(PreparedMount::new(target, Kind::File, mounted, attributes))
            }
        }
    }
}

/// Whether `path` is a device of the host.
///
/// # Errors
/// There is nothing at `path`, or nobody may look.
pub fn is_device(path: &Path) -> io::Result<bool> {
    let kind = std::fs::metadata(path)?.file_type();
    Ok(kind.is_char_device() || kind.is_block_device())
}

/// Whether the image has a folder at `target`.
fn has_folder(place: &Place<'_>, target: &str) -> bool {
    let root = place.root.as_fd();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat2(root, Path::new(target), flags, rustix::fs::Mode::empty(), super::IN_ROOT).is_ok()
}
