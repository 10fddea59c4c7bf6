//! A control group for one step: what of the machine it may use, and whether the kernel ended it for using more.
//!
//! Kernels have up to two kinds of hierarchies at once, in any mixture: version 2 (one tree, all controllers in it) and
//! version 1 (a tree for each controller). The group is made in those trees whose controllers are needed, below the
//! group that this process is in, or below a parent that was asked for:
//!
//! ```text
//! /sys/fs/cgroup/memory/<own group>/slipway-<pid>-<n>/     version 1, and the same below cpu, pids, cpuset
//! /sys/fs/cgroup/<own group or its parent>/slipway-…/      version 2
//! ```
//!
//! A group is locked (`flock`) as long as its step runs, and removed afterwards. One that nobody holds locked is left
//! over from a build that was killed; the next build with limits removes it.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FlockOperation;

use crate::call::{CallError, Named};
use crate::mounts;

/// What a step may use; `None` leaves it unlimited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory, page cache included.
    pub memory_bytes: Option<u64>,
    /// Memory and swap together; `u64::MAX` is unlimited.
    pub memory_and_swap_bytes: Option<u64>,
    /// Weight against other groups; 1024 is the default.
    pub cpu_shares: Option<u64>,
    /// Length of a period in which [`Limits::cpu_quota_us`] counts; the kernel's default is 100 ms.
    pub cpu_period_us: Option<u64>,
    /// Processor time in each period, all processors together.
    pub cpu_quota_us: Option<u64>,
    /// Processors to run on, as in cpuset(7): `0-2,7`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes to allocate from.
    pub cpuset_mems: Option<String>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// Why a step cannot be limited.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    /// The kernel lacks it, or its hierarchy is not mounted.
    #[error("this machine has no control group for `{controller}`")]
    NoController {
        /// Such as `memory`.
        controller: &'static str,
    },
    /// The kernel cannot do that, such as swap accounting that is switched off.
    #[error("this machine cannot limit `{file}`")]
    NoSetting {
        /// The control file that is missing.
        file: &'static str,
    },
    /// The group cannot be made or changed.
    #[error("cannot limit steps: {}", .0.call)]
    Call(#[source] CallError),
}

impl From<CallError> for LimitError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl LimitError {
    /// What a person can do about it, as far as that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Call(error) if error.source.kind() == io::ErrorKind::PermissionDenied => Some(
                "limits take root, or a group of the user's own: `systemd-run --user --scope -p Delegate=yes slipway …`",
            ),
            Self::Call(_) | Self::NoController { .. } | Self::NoSetting { .. } => None,
        }
    }
}

/// A group with its limits set and nobody in it yet. It is removed when this is dropped.
#[derive(Debug)]
pub struct ControlGroup {
    folders: Vec<Folder>,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    hierarchy: Hierarchy,
    /// Held locked as long as the group is in use.
    _lock: File,
}

impl ControlGroup {
    /// Makes a group below `parent` (absolute: from the top of the hierarchy), or below where this process is.
    pub fn create(parent: Option<&str>, limits: &Limits) -> Result<Self, LimitError> {
        let read = |path: &str| fs::read_to_string(path).named(|| format!("read({path})"));
        let hierarchies = hierarchies(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?);
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("{PREFIX}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut group = Self { folders: Vec::new() };
        for need in needs(limits) {
            let hierarchy = hierarchies
                .iter()
                .find(|hierarchy| hierarchy.has(need.controller))
                .ok_or(LimitError::NoController { controller: need.controller })?;
            let path = group.folder(hierarchy, parent, &name, need.controller)?;
            need.set(&path, hierarchy.version)?;
        }
        Ok(group)
    }

    /// The group's folder in `hierarchy`, made if it is not there yet.
    fn folder(
        &mut self,
        hierarchy: &Hierarchy,
        parent: Option<&str>,
        name: &str,
        controller: &str,
    ) -> Result<PathBuf, LimitError> {
        let known = self.folders.iter().find(|folder| folder.hierarchy.mount_point == hierarchy.mount_point);
        let path = known.map(|folder| folder.path.clone());
        if let Some(path) = &path
            && hierarchy.version == Version::One
        {
            return Ok(path.clone());
        }
        let mut refused = None;
        for parent in hierarchy.parents(parent) {
            if path.as_deref().is_some_and(|path| path.parent() != Some(&parent)) {
                continue;
            }
            match hierarchy.allow_below(&parent, controller).and_then(|()| make_locked(&parent, name)) {
                Ok(None) => return Ok(parent.join(name)),
                Ok(Some(lock)) => {
                    remove_abandoned(&parent);
                    let path = parent.join(name);
                    self.folders.push(Folder { path: path.clone(), hierarchy: hierarchy.clone(), _lock: lock });
                    return Ok(path);
                }
                // The first is the one that people would have expected.
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(refused.expect("because there is always one parent to try").into())
    }

    /// Files that a process enters the group by writing `0` into.
    pub fn entrances(&self) -> Result<Vec<OwnedFd>, CallError> {
        let open = |folder: &Folder| {
            let path = folder.path.join("cgroup.procs");
            File::options().write(true).open(&path).map(OwnedFd::from).named(|| format!("open({})", path.display()))
        };
        self.folders.iter().map(open).collect()
    }

    /// Detached mounts that show each version 1 hierarchy from this group downwards, with the name below
    /// `/sys/fs/cgroup` that it has on the host. Version 2 needs none: there a step mounts its own.
    pub fn views(&self) -> Result<Vec<(String, OwnedFd)>, CallError> {
        let old = self.folders.iter().filter(|folder| folder.hierarchy.version == Version::One);
        old.map(|folder| {
            let name = folder.hierarchy.mount_point.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok((name, mounts::bind_path(&folder.path, false)?))
        })
        .collect()
    }

    /// How many processes of the group the kernel ended for want of memory.
    pub fn n_killed_for_memory(&self) -> u64 {
        let (old, new) = ("memory.oom_control", "memory.events");
        let text = self.read_memory(old, new).unwrap_or_default();
        let field = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        field.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
    }

    /// The most memory that the group ever had at once, if the kernel counts that.
    pub fn peak_memory_bytes(&self) -> Option<u64> {
        self.read_memory("memory.max_usage_in_bytes", "memory.peak")?.trim().parse().ok()
    }

    fn read_memory(&self, old: &str, new: &str) -> Option<String> {
        let folder = self.folders.iter().find(|folder| folder.hierarchy.has("memory"))?;
        let name = match folder.hierarchy.version {
            Version::One => old,
            Version::Two => new,
        };
        fs::read_to_string(folder.path.join(name)).ok()
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        for folder in &self.folders {
            // Where it is still busy the next build removes it.
            let _ = fs::remove_dir(&folder.path);
        }
    }
}

/// How the names of our groups begin.
const PREFIX: &str = "slipway-";

/// Makes a group and locks it; `None` if it is there already.
fn make_locked(parent: &Path, name: &str) -> Result<Option<File>, CallError> {
    let path = parent.join(name);
    // Between making and locking, another build may take it for an abandoned one and remove it.
    for _ in 0..10 {
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            answer => answer.named(|| format!("mkdir({})", path.display()))?,
        }
        let Ok(lock) = File::open(&path) else { continue };
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() && path.exists() {
            return Ok(Some(lock));
        }
    }
    Err(io::Error::from(io::ErrorKind::ResourceBusy)).named(|| format!("flock({})", path.display()))
}

/// Removes groups of builds that were killed: those that nobody holds locked.
fn remove_abandoned(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let Some(group) = is_ours.then(|| File::open(entry.path()).ok()).flatten() else { continue };
        if rustix::fs::flock(&group, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // One that is busy or not ours to remove stays.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A mounted tree of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    version: Version,
    mount_point: PathBuf,
    /// Of version 1; version 2 says in `cgroup.controllers` of each group.
    controllers: Vec<String>,
    /// The group of this process.
    own: PathBuf,
}

impl Hierarchy {
    fn has(&self, controller: &str) -> bool {
        match self.version {
            Version::One => self.controllers.iter().any(|known| known == controller),
            Version::Two => lists(&self.mount_point.join("cgroup.controllers"), controller),
        }
    }

    /// The groups below which a new one may be made, the one to try first in front.
    fn parents(&self, asked: Option<&str>) -> Vec<PathBuf> {
        match asked {
            Some(asked) if asked.starts_with('/') => vec![self.mount_point.join(asked.trim_start_matches('/'))],
            Some(asked) => vec![self.own.join(asked)],
            // In version 2 a group with processes in it, such as our own, cannot have groups with limits below it.
            None if self.version == Version::Two && self.own != self.mount_point => {
                self.own.parent().map(Path::to_owned).into_iter().chain([self.own.clone()]).rev().collect()
            }
            None => vec![self.own.clone()],
        }
    }

    /// Makes `parent` if need be, and lets groups below it use `controller`.
    fn allow_below(&self, parent: &Path, controller: &str) -> Result<(), CallError> {
        fs::create_dir_all(parent).named(|| format!("mkdir({})", parent.display()))?;
        let control = parent.join("cgroup.subtree_control");
        if self.version == Version::One || lists(&control, controller) {
            return Ok(());
        }
        fs::write(&control, format!("+{controller}")).named(|| format!("write({}, +{controller})", control.display()))
    }
}

fn lists(file: &Path, word: &str) -> bool {
    fs::read_to_string(file).unwrap_or_default().split_whitespace().any(|listed| listed == word)
}

/// The hierarchies that are mounted, from `/proc/self/mountinfo` and `/proc/self/cgroup` (cgroups(7)).
fn hierarchies(mountinfo: &str, own_groups: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((mount, file_system)) = line.split_once(" - ") else { continue };
        let (mount, file_system) = (fields(mount), fields(file_system));
        let (&[_, _, _, root, mount_point, ..], &[kind, _, options]) = (&mount[..], &file_system[..]) else { continue };
        let (version, controllers) = match kind {
            "cgroup2" => (Version::Two, Vec::new()),
            "cgroup" => (Version::One, options.split(',').map(str::to_owned).collect()),
            _ => continue,
        };
        let Some(own) = own_group(own_groups, version, &controllers) else { continue };
        // In a container the mount may begin below the top; what lies above it cannot be named.
        let inside = own.strip_prefix(root.trim_end_matches('/')).unwrap_or(own);
        let mount_point = PathBuf::from(mount_point);
        // Joining an empty path would add a slash.
        let own: PathBuf = mount_point.join(inside.trim_start_matches('/')).components().collect();
        // The same hierarchy may be mounted more than once; the first is where programs look.
        if !found.iter().any(|known| known.version == version && known.controllers == controllers) {
            found.push(Hierarchy { version, mount_point, controllers, own });
        }
    }
    found
}

fn fields(text: &str) -> Vec<&str> {
    text.split(' ').collect()
}

/// The path of our group from a line `<id>:<controllers>:<path>`; version 2 names no controllers.
fn own_group<'a>(own_groups: &'a str, version: Version, controllers: &[String]) -> Option<&'a str> {
    own_groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (listed, path) = rest.split_once(':')?;
        let is_it = match version {
            Version::Two => listed.is_empty(),
            Version::One => listed.split(',').any(|name| controllers.iter().any(|controller| controller == name)),
        };
        is_it.then_some(path)
    })
}

/// One limit: the control file of each version and what to write into it.
struct Need {
    controller: &'static str,
    old: (&'static str, String),
    new: (&'static str, String),
}

impl Need {
    fn set(&self, group: &Path, version: Version) -> Result<(), LimitError> {
        let (file, value) = match version {
            Version::One => &self.old,
            Version::Two => &self.new,
        };
        let path = group.join(file);
        if !path.exists() {
            return Err(LimitError::NoSetting { file });
        }
        if self.controller == "cpuset" && version == Version::One {
            inherit_cpuset(group)?;
        }
        fs::write(&path, value).named(|| format!("write({}, {value})", path.display()))?;
        Ok(())
    }
}

/// A fresh version 1 cpuset is empty and lets nobody in.
fn inherit_cpuset(group: &Path) -> Result<(), CallError> {
    let Some(parent) = group.parent() else { return Ok(()) };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let path = group.join(file);
        if fs::read_to_string(&path).is_ok_and(|text| text.trim().is_empty()) {
            let value =
                fs::read_to_string(parent.join(file)).named(|| format!("read({})", parent.join(file).display()))?;
            fs::write(&path, value.trim()).named(|| format!("write({}, {})", path.display(), value.trim()))?;
        }
    }
    Ok(())
}

/// In the order in which the kernel accepts them.
fn needs(limits: &Limits) -> Vec<Need> {
    let Limits {
        memory_bytes,
        memory_and_swap_bytes,
        cpu_shares,
        cpu_period_us,
        cpu_quota_us,
        cpuset_cpus,
        cpuset_mems,
        pids,
    } = limits;
    let mut needs = Vec::new();
    let mut need = |controller, old, old_value: String, new, new_value: String| {
        needs.push(Need { controller, old: (old, old_value), new: (new, new_value) });
    };
    if let Some(bytes) = memory_bytes {
        need("memory", "memory.limit_in_bytes", bytes.to_string(), "memory.max", bytes.to_string());
    }
    if let Some(total) = memory_and_swap_bytes {
        let swap = total.saturating_sub(memory_bytes.unwrap_or(0));
        let (old, new) = match *total {
            u64::MAX => ("-1".to_owned(), "max".to_owned()),
            total => (total.to_string(), swap.to_string()),
        };
        need("memory", "memory.memsw.limit_in_bytes", old, "memory.swap.max", new);
    }
    if let Some(shares) = cpu_shares {
        need("cpu", "cpu.shares", shares.to_string(), "cpu.weight", weight_of_shares(*shares).to_string());
    }
    if let Some(period) = cpu_period_us {
        // Version 2 has both in one file; what is left out keeps its value only if it comes second.
        let quota = cpu_quota_us.map_or("max".to_owned(), |quota| quota.to_string());
        need("cpu", "cpu.cfs_period_us", period.to_string(), "cpu.max", format!("{quota} {period}"));
    }
    if let Some(quota) = cpu_quota_us {
        let period = cpu_period_us.map_or(String::new(), |period| format!(" {period}"));
        need("cpu", "cpu.cfs_quota_us", quota.to_string(), "cpu.max", format!("{quota}{period}"));
    }
    if let Some(cpus) = cpuset_cpus {
        need("cpuset", "cpuset.cpus", cpus.clone(), "cpuset.cpus", cpus.clone());
    }
    if let Some(mems) = cpuset_mems {
        need("cpuset", "cpuset.mems", mems.clone(), "cpuset.mems", mems.clone());
    }
    if let Some(pids) = pids {
        need("pids", "pids.max", pids.to_string(), "pids.max", pids.to_string());
    }
    needs
}

/// Shares of version 1 (2 to 262144, usually 1024) as the weight of version 2 (1 to 10000), as container runtimes
/// convert them.
fn weight_of_shares(shares: u64) -> u64 {
    let shares = shares.clamp(2, 262_144);
    1 + (shares - 2) * 9999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(found: &[Hierarchy]) -> Vec<String> {
        found.iter().map(|h| format!("{:?} {} {}", h.version, h.controllers.join(","), h.own.display())).collect()
    }

    #[test]
    fn both_versions_are_found_at_once() {
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                      35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw shared:1 - cgroup2 cgroup2 rw\n\
                      50 46 0:32 / /elsewhere/memory rw - cgroup cgroup rw,memory\n";
        let groups = "8:pids:/\n4:memory:/a/b\n0::/c\n";
        let expected = ["One rw,memory /sys/fs/cgroup/memory/a/b", "Two  /sys/fs/cgroup/unified/c"];
        assert_eq!(own(&hierarchies(mounts, groups)), expected);
    }

    #[test]
    fn the_mount_of_a_container_begins_below_the_top() {
        let mounts = "1 2 0:32 /docker/x /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(own(&hierarchies(mounts, "0::/docker/x/y\n")), ["Two  /sys/fs/cgroup/y"]);
        assert_eq!(own(&hierarchies(mounts, "0::/\n")), ["Two  /sys/fs/cgroup"]);
    }

    #[test]
    fn each_version_has_its_own_files() {
        let limits = Limits {
            memory_bytes: Some(100),
            memory_and_swap_bytes: Some(150),
            cpu_shares: Some(1024),
            cpu_period_us: Some(10),
            cpu_quota_us: Some(5),
            ..Limits::default()
        };
        let lines = |old: bool| -> Vec<String> {
            needs(&limits)
                .iter()
                .map(|need| if old { &need.old } else { &need.new })
                .map(|(file, value)| format!("{file}={value}"))
                .collect()
        };
        let old = ["memory.limit_in_bytes=100", "memory.memsw.limit_in_bytes=150", "cpu.shares=1024"];
        assert_eq!(lines(true), [&old[..], &["cpu.cfs_period_us=10", "cpu.cfs_quota_us=5"]].concat());
        let new = ["memory.max=100", "memory.swap.max=50", "cpu.weight=39", "cpu.max=5 10", "cpu.max=5 10"];
        assert_eq!(lines(false), new);
    }

    #[test]
    fn a_group_of_version_two_is_made_where_its_limits_are_allowed() {
        let top = tempfile::tempdir().unwrap();
        let session = top.path().join("session");
        fs::create_dir_all(session.join("own")).unwrap();
        fs::write(session.join("cgroup.subtree_control"), "pids memory\n").unwrap();
        let hierarchy = Hierarchy {
            version: Version::Two,
            mount_point: top.path().to_owned(),
            controllers: Vec::new(),
            own: session.join("own"),
        };
        assert_eq!(hierarchy.parents(None), [session.join("own"), session.clone()]);
        assert_eq!(hierarchy.parents(Some("/a")), [top.path().join("a")]);
        assert_eq!(hierarchy.parents(Some("a")), [session.join("own/a")]);
        assert!(hierarchy.allow_below(&session, "memory").is_ok());
        assert_eq!(fs::read_to_string(session.join("cgroup.subtree_control")).unwrap(), "pids memory\n");
    }

    #[test]
    fn abandoned_groups_are_removed_and_others_stay() {
        let parent = tempfile::tempdir().unwrap();
        let held = make_locked(parent.path(), "slipway-1-0").unwrap();
        assert!(held.is_some() && make_locked(parent.path(), "slipway-1-0").unwrap().is_none());
        for name in ["slipway-2-0", "other"] {
            fs::create_dir(parent.path().join(name)).unwrap();
        }
        remove_abandoned(parent.path());
        let mut left: Vec<_> = fs::read_dir(parent.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["other", "slipway-1-0"]);
        drop(held);
        remove_abandoned(parent.path());
        assert!(!parent.path().join("slipway-1-0").exists());
    }
}
