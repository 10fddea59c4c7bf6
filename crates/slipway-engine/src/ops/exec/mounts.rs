//! What does a step see beside its root? The mounts of the sandbox and of `RUN --mount`, made and put in order.

use std::any::Any;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use slipway_graph::op::{CacheMount, CacheOwner, CacheSharing, Mount, SecretMount, SshMount};
use slipway_sandbox::mounts::{self, Attributes};
use slipway_sandbox::owners::{self, Owner};
use slipway_sandbox::stubs::{self, Kind, Target};
use slipway_sandbox::{CallError, ControlGroup};
use slipway_store::{CacheMountError, Sharing, Snapshot};

use super::{ExecError, IN_ROOT, Run};
use crate::ops::begin::begin;
use crate::ops::emulators::{self, StepEmulation};
use crate::ops::network::StepNetwork;
use crate::ops::ssh::Proxy;
use crate::ops::{local, secret};
use crate::rootfs::Root;
use crate::shared_cache::mounts::travelling_identity;

/// Where nothing is covered, a tmpfs is for everybody, as `/tmp` is.
const TMPFS_MODE: u32 = 0o1777;

/// Mounts in the making, and what has to live as long as the step.
#[derive(Default)]
pub(super) struct Prepared {
    pub(super) mounts: Vec<PreparedMount>,
    pub(super) env: Vec<String>,
    /// The caches in use, by identity.
    caches: Vec<(String, PathBuf)>,
    pub(super) held: Vec<Box<dyn Any>>,
}

pub(in crate::ops) struct PreparedMount {
    target: String,
    kind: Kind,
    source: OwnedFd,
    attributes: Attributes,
    /// Put in place by the sandbox, not asked for by the step.
    is_of_sandbox: bool,
    /// A device of the host that somebody lent to it.
    is_device: bool,
}

impl PreparedMount {
    /// One that a container asked for.
    pub(super) fn new(target: &str, kind: Kind, source: OwnedFd, attributes: Attributes) -> PreparedMount {
        PreparedMount { target: target.to_owned(), kind, source, attributes, is_of_sandbox: false, is_device: false }
    }

    /// A device of the host, which the program may open.
    pub(super) fn device(target: &str, source: OwnedFd) -> PreparedMount {
        let attributes = Attributes { nosuid: true, noexec: true, ..Attributes::default() };
        PreparedMount { is_device: true, ..PreparedMount::new(target, Kind::File, source, attributes) }
    }

    /// A folder that the sandbox brings along, for looking only.
    pub(in crate::ops) fn toolbox(target: &str, source: OwnedFd) -> PreparedMount {
        let attributes = Attributes { readonly: true, nosuid: true, nodev: true, noexec: false };
        PreparedMount {
            target: target.to_owned(),
            kind: Kind::Directory,
            source,
            attributes,
            is_of_sandbox: true,
            is_device: false,
        }
    }
}

impl Prepared {
    /// Lets the program write to the files that the sandbox made for it, such as `/etc/hosts`: nothing else sees them.
    pub(super) fn let_be_written(&mut self) {
        for mount in self.mounts.iter_mut().filter(|mount| mount.is_of_sandbox) {
            mount.attributes = Attributes { readonly: false, ..mount.attributes };
        }
    }

    /// Shows a file of the sandbox's.
    pub(super) fn show_file(&mut self, target: &str, bytes: &[u8]) -> Result<(), ExecError> {
        let source = memory_file("file", bytes, 0o644, (0, 0))?;
        let attributes = Attributes { nosuid: true, nodev: true, noexec: true, ..Attributes::default() };
        let mount = PreparedMount::new(target, Kind::File, source, attributes);
        self.mounts.push(PreparedMount { is_of_sandbox: true, ..mount });
        Ok(())
    }

    /// The mode of the folder at `target`, which a tmpfs that covers it takes on.
    fn mode_of_folder(&self, root: &Root, target: &str) -> Option<u32> {
        let outer = self.mounts.iter().filter(|outer| is_below(target, &outer.target)).max_by_key(|o| o.target.len());
        let folder = match outer {
            Some(outer) => open_in(outer.source.as_fd(), &target[outer.target.trim_end_matches('/').len()..]).ok()?,
            None => open_in(root.as_fd(), target).ok()?,
        };
        let stat = rustix::fs::fstat(folder).ok()?;
        FileType::from_raw_mode(stat.st_mode).is_dir().then_some(stat.st_mode & 0o7777)
    }
}

impl Run<'_> {
    /// `root` is the step's root as it is before anything is mounted.
    pub(super) fn prepare_mounts(&self, root: &Root, network: StepNetwork<'_>) -> Result<Prepared, ExecError> {
        let mut prepared = Prepared::default();
        let hosts = network.hosts(&self.exec.hostname, &self.exec.extra_hosts);
        let hosts = memory_file("hosts", hosts.as_bytes(), 0o644, (0, 0))?;
        let resolv_conf = self.host_files.networks.resolv_conf(network);
        let resolv_conf = memory_file("resolv.conf", resolv_conf, 0o644, (0, 0))?;
        for (target, source) in [("/etc/resolv.conf", resolv_conf), ("/etc/hosts", hosts)] {
            let attributes = Attributes { readonly: true, nosuid: true, nodev: true, noexec: true };
            prepared.mounts.push(PreparedMount {
                target: target.to_owned(),
                kind: Kind::File,
                source,
                attributes,
                is_of_sandbox: true,
                is_device: false,
            });
        }
        for mount in &self.exec.mounts {
            match mount {
                Mount::Bind { input, source, target, is_readonly } => {
                    self.bind(&mut prepared, *input, source, target, *is_readonly)?;
                }
                Mount::Cache(cache) => self.cache(&mut prepared, cache)?,
                Mount::Tmpfs { target, size_bytes, is_readonly } => {
                    let mode = prepared.mode_of_folder(root, target).unwrap_or(TMPFS_MODE);
                    let attributes = Attributes { readonly: *is_readonly, nosuid: true, ..Attributes::default() };
                    let source = mount_error(
                        target,
                        mounts::tmpfs(*size_bytes, mode, Attributes { readonly: false, ..attributes }),
                    )?;
                    let target = target.clone();
                    prepared.mounts.push(PreparedMount {
                        target,
                        kind: Kind::Directory,
                        source,
                        attributes,
                        is_of_sandbox: false,
                        is_device: false,
                    });
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
                let scratch = begin(self.store, snapshot)?;
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
        prepared.mounts.push(PreparedMount {
            target: target.to_owned(),
            kind,
            source,
            attributes,
            is_of_sandbox: false,
            is_device: false,
        });
        Ok(())
    }

    fn cache(&self, prepared: &mut Prepared, cache: &CacheMount) -> Result<(), ExecError> {
        let id = cache_identity(cache, self.inputs);
        // A step that mounts a cache twice uses it once: it would wait for itself otherwise.
        let known = prepared.caches.iter().find(|(known, _)| *known == id).map(|(_, folder)| folder.clone());
        let folder = match known {
            Some(folder) => folder,
            None => {
                let sharing = match cache.sharing {
                    CacheSharing::Shared => Sharing::Shared,
                    CacheSharing::Private => Sharing::Private,
                    CacheSharing::Locked => Sharing::Locked,
                };
                let seed = |folder: &Path| self.seed_cache(cache, folder);
                let mount = self.store.cache_mount(&id, sharing, seed, || !self.cancel.is_canceled());
                let mount = mount.map_err(|error| match error {
                    CacheMountError::Seed { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                        self.no_cache_source(&cache.source)
                    }
                    error => error.into(),
                })?;
                let mount = mount.ok_or(ExecError::Canceled)?;
                let description = format!("cached mount {} from exec {}", cache.target, self.exec.args.join(" "));
                // Only people read it.
                let _ = self.store.describe(mount.name(), "exec.cachemount", &description);
                let folder = mount.path().to_owned();
                prepared.held.push(Box::new(mount));
                prepared.caches.push((id, folder.clone()));
                folder
            }
        };
        let prepare = |source: io::Error| ExecError::Prepare { path: cache.target.clone(), source };
        let folder = Root::open(&folder).map_err(prepare)?;
        // What a cache starts from was copied from there; a path in a cache of its own is looked up anew each time, by
        // descriptor, whatever another step makes of it meanwhile (CVE-2024-23651).
        let source = if cache.from.is_some() { "/" } else { &cache.source };
        let opened = open_in(folder.as_fd(), source).map_err(|_| self.no_cache_source(source))?;
        let kind = kind_of(&opened, source)?;
        let source = mount_error(&cache.target, mounts::bind(&opened, false))?;
        let attributes = Attributes { readonly: cache.is_readonly, ..Attributes::default() };
        prepared.mounts.push(PreparedMount {
            target: cache.target.clone(),
            kind,
            source,
            attributes,
            is_of_sandbox: false,
            is_device: false,
        });
        Ok(())
    }

    fn no_cache_source(&self, path: &str) -> ExecError {
        ExecError::CacheSource { command: self.exec.args.join(" "), path: path.to_owned() }
    }

    fn seed_cache(&self, cache: &CacheMount, folder: &Path) -> io::Result<()> {
        if let Some(identity) = travelling_identity(cache) {
            self.imports.fill_mount(self.store, &identity, folder)?;
        }
        match (cache.owner, cache.from) {
            (Some(owner), _) => {
                owners::give(std::fs::File::open(folder)?, Owner { uid: owner.uid, gid: owner.gid })?;
                std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(owner.mode))
            }
            (None, Some(input)) => {
                let view = self.store.view(&self.inputs[input]).map_err(io::Error::other)?;
                local::copy_folder(view.as_fd(), &cache.source, folder)
            }
            (None, None) => Ok(()),
        }
    }

    fn secret(&self, prepared: &mut Prepared, mount: &SecretMount) -> Result<(), ExecError> {
        let value = match self.secrets.iter().find(|known| known.id == mount.id) {
            Some(known) => Some(secret::value(known)?),
            None if mount.is_required => return Err(ExecError::SecretMissing { id: mount.id.clone() }),
            None => None,
        };
        // A variable without a name cannot be had, and nobody misses it.
        if let Some(name) = mount.env.as_ref().filter(|name| !name.is_empty()) {
            let text = String::from_utf8_lossy(value.as_deref().unwrap_or_default()).into_owned();
            prepared.env.push(format!("{name}={text}"));
        }
        if let (Some(target), Some(value)) = (&mount.target, value) {
            let source = memory_file("secret", &value, mount.mode, (mount.uid, mount.gid))?;
            let attributes = Attributes { readonly: true, nosuid: true, nodev: true, noexec: true };
            prepared.mounts.push(PreparedMount {
                target: target.clone(),
                kind: Kind::File,
                source,
                attributes,
                is_of_sandbox: false,
                is_device: false,
            });
        }
        Ok(())
    }

    fn ssh(&self, prepared: &mut Prepared, mount: &SshMount) -> Result<(), ExecError> {
        let Some(agent) = self.agents.get(&mount.id) else {
            if mount.is_required {
                return Err(ExecError::SshMissing { id: mount.id.clone() });
            }
            return Ok(());
        };
        let folder = mount_error(&mount.target, mounts::tmpfs(Some(1 << 20), 0o700, Attributes::default()))?;
        let proxy = Proxy::start(agent, folder.as_fd(), mount.mode, (mount.uid, mount.gid))
            .map_err(|source| ExecError::SshSocket { id: mount.id.clone(), source })?;
        let source = mount_error(&mount.target, mounts::bind(proxy.socket(), false))?;
        let attributes = Attributes { nosuid: true, nodev: true, noexec: true, ..Attributes::default() };
        let is_first = !prepared.env.iter().any(|pair| pair.starts_with("SSH_AUTH_SOCK="));
        if is_first && !self.exec.env.iter().any(|pair| pair.starts_with("SSH_AUTH_SOCK=")) {
            prepared.env.push(format!("SSH_AUTH_SOCK={}", mount.target));
        }
        prepared.mounts.push(PreparedMount {
            target: mount.target.clone(),
            kind: Kind::File,
            source,
            attributes,
            is_of_sandbox: false,
            is_device: false,
        });
        prepared.held.push(Box::new(proxy));
        prepared.held.push(Box::new(folder));
        Ok(())
    }
}

/// Shows a step its own control groups of version 1, for looking only, as the host shows them all. Of version 2 the
/// sandbox makes its own view.
pub(super) fn show_control_groups(prepared: &mut Prepared, group: &ControlGroup) -> Result<(), ExecError> {
    let views = mount_error("/sys/fs/cgroup", group.views())?;
    if views.is_empty() {
        return Ok(());
    }
    let attributes = Attributes { readonly: false, nosuid: true, nodev: true, noexec: true };
    let source = mount_error("/sys/fs/cgroup", mounts::tmpfs(Some(1 << 20), 0o755, attributes))?;
    let mount = |target, source, attributes| PreparedMount {
        target,
        kind: Kind::Directory,
        source,
        attributes,
        is_of_sandbox: true,
        is_device: false,
    };
    prepared.mounts.push(mount("/sys/fs/cgroup".to_owned(), source, attributes));
    for (name, source) in views {
        let attributes = Attributes { readonly: true, ..attributes };
        prepared.mounts.push(mount(format!("/sys/fs/cgroup/{name}"), source, attributes));
    }
    Ok(())
}

/// Mounts the emulator that the kernel will look for inside the root.
pub(super) fn show_interpreter(prepared: &mut Prepared, emulation: &StepEmulation) -> Result<(), ExecError> {
    if let Some((target, source)) = mount_error("/", emulators::interpreter(emulation))? {
        let attributes = Attributes { readonly: true, nosuid: true, nodev: true, noexec: false };
        prepared.mounts.push(PreparedMount {
            target,
            kind: Kind::File,
            source,
            attributes,
            is_of_sandbox: true,
            is_device: false,
        });
    }
    Ok(())
}

/// The content of a cache mount belongs to its id, and to what it starts with.
pub(crate) fn cache_identity(cache: &CacheMount, inputs: &[Snapshot]) -> String {
    let mut identity = cache.id.clone();
    if let Some(input) = cache.from {
        identity.push_str(&format!("\0{}\0{}", inputs[input].id(), cache.source));
    }
    if let Some(CacheOwner { mode, uid, gid }) = cache.owner {
        identity.push_str(&format!("\0{mode:o} {uid}:{gid}"));
    }
    identity
}

/// A detached mount of a file that exists in memory only.
pub(super) fn memory_file(name: &str, bytes: &[u8], mode: u32, owner: (u32, u32)) -> Result<OwnedFd, ExecError> {
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

pub(super) fn into_sandbox_mount(mount: PreparedMount) -> slipway_sandbox::Mount {
    let PreparedMount { target, source, attributes, is_device, .. } = mount;
    slipway_sandbox::Mount { target: target.into(), source, attributes, is_device }
}

pub(super) fn mount_error<T>(target: &str, result: Result<T, CallError>) -> Result<T, ExecError> {
    result.map_err(|source| ExecError::Mount { target: target.to_owned(), source })
}

pub(super) fn open_in(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, ExecError> {
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

/// What the sandbox puts in place, then parents before children; of several mounts on one target the last wins.
///
/// A mount on `/etc` hides the `/etc/hosts` of the sandbox, as with the reference.
pub(super) fn sort_parents_first(mounts: &mut Vec<PreparedMount>) {
    let clean = |target: &str| target.split('/').filter(|p| !p.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let mut last_wins: Vec<PreparedMount> = Vec::new();
    for mount in mounts.drain(..) {
        last_wins.retain(|earlier| clean(&earlier.target) != clean(&mount.target));
        last_wins.push(mount);
    }
    last_wins.sort_by_key(|mount| (!mount.is_of_sandbox, clean(&mount.target).len()));
    *mounts = last_wins;
}

/// A mount below another one needs its place inside that one, not in the root file system.
pub(super) fn make_nested_mount_points(mounts: &[PreparedMount]) -> Result<(), CallError> {
    for (index, mount) in mounts.iter().enumerate() {
        let above = mounts[..index].iter().rev().find(|outer| is_below(&mount.target, &outer.target));
        let Some(outer) = above.filter(|outer| outer.kind == Kind::Directory && !outer.attributes.readonly) else {
            continue;
        };
        let inside = &mount.target[outer.target.trim_end_matches('/').len()..];
        let target = Target { path: PathBuf::from(inside), kind: mount.kind, is_kept: true };
        // Kept: it is a folder in a cache or tmpfs, which no layer ever sees.
        let _ = stubs::make(outer.source.as_fd(), &[target])?;
    }
    Ok(())
}

fn is_below(target: &str, outer: &str) -> bool {
    let outer = outer.trim_end_matches('/');
    target.len() > outer.len() + 1 && target.starts_with(outer) && target.as_bytes()[outer.len()] == b'/'
}

pub(super) fn stub_targets(mounts: &[PreparedMount]) -> Vec<Target> {
    let mut targets: Vec<Target> = Target::built_in().into();
    let is_nested = |mount: &PreparedMount| {
        !mount.is_of_sandbox && mounts.iter().any(|outer| is_below(&mount.target, &outer.target))
    };
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
