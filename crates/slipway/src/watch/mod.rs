//! `--watch`: builds again whenever a file changes that a build reads, until somebody says that it is enough.
//!
//! Each build is a process of its own, this program with the same words: so it is in every way the build that would have
//! been typed again, with the namespace, the signals and the screen that go with one. Between builds, the files are
//! looked at again and again (`sweep`): that costs a little more than to be told by the kernel, and works for every file
//! system, for any number of folders, and for files that editors replace.

mod sources;
mod sweep;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use slipway_graph::request::BuildRequest;

pub(crate) use sources::Sources;
pub(crate) use sweep::Sweep;

use crate::exit_code;
use crate::report::CommandError;

/// The shortest time between two looks at the files; the more there are, the longer it is.
const MIN_PAUSE: Duration = Duration::from_millis(100);
/// How many times as long as a look itself the pause before it is, so that looking takes little of a processor.
const PAUSE_FACTOR: u32 = 10;
/// How often somebody who waits for a build or a change looks whether it is enough.
const TICK: Duration = Duration::from_millis(20);
/// More paths than that are only counted.
const MAX_SHOWN_PATHS: usize = 3;

/// Why nothing can be watched.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error("--watch needs a context, a Dockerfile or a definition in a file of this machine")]
    NoFiles,
    #[error("cannot watch for Ctrl-C")]
    Signals(#[source] io::Error),
    #[error("cannot start slipway again")]
    Start(#[source] io::Error),
}

/// What is built, and from which files.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) targets: Vec<WatchedTarget>,
    /// Files that decide what is built: if one of them changes, everything is built.
    pub(crate) definition: Sources,
}

/// A target, or the one build that has no name.
#[derive(Debug)]
pub(crate) struct WatchedTarget {
    pub(crate) name: String,
    pub(crate) sources: Sources,
    /// Names of the targets that it is made from.
    pub(crate) uses: Vec<String>,
    /// Whether it is built for itself, and not for one that uses it.
    pub(crate) is_selected: bool,
}

/// Builds, waits for a change and builds what it touches, until a signal. `words` are those that were typed; `plan` finds
/// out, before each build, what there is to watch. If that fails the first time, so does this.
pub(crate) fn run(
    words: &[OsString],
    mut plan: impl FnMut() -> Result<Plan, CommandError>,
) -> Result<(), CommandError> {
    let failed = |error: WatchError| CommandError::Options(error.into());
    let mut watched = plan()?;
    if watched.is_empty() {
        return Err(failed(WatchError::NoFiles));
    }
    let stop = Stop::new().map_err(|error| failed(WatchError::Signals(error)))?;
    let mut due = Vec::new();
    for number in 1.. {
        // Before the build: what changes while it runs is a change.
        let before = watched.sweep();
        let status = stop.wait_for(start(words, &due).map_err(|error| failed(WatchError::Start(error)))?);
        let status = status.map_err(|error| failed(WatchError::Start(error)))?;
        if stop.is_due() {
            break;
        }
        let outcome = if status.success() { "is done" } else { "failed" };
        tell(&format!("build {number} {outcome}; waiting for changes (Ctrl-C ends)"));
        let Some((changed, _)) = stop.wait_for_change(&before, || watched.sweep()) else { break };
        if changed.iter().any(|path| watched.definition.has(path)) {
            // What was wrong with the definition is told by the build.
            watched = plan().unwrap_or(watched);
            due.clear();
        } else {
            due = watched.affected(&changed);
        }
        let names = if due.is_empty() { String::new() } else { format!(" {}", due.join(", ")) };
        tell(&format!("{} changed; building{names}", shown(&changed)));
    }
    Err(CommandError::Container { text: String::new(), exit_code: exit_code::INTERRUPTED })
}

/// Says what happens while files are watched.
pub(crate) fn tell(text: &str) {
    // Nobody is left to be told that the terminal is gone.
    let _ = writeln!(io::stderr(), "watch: {text}");
}

/// Paths as seen from here, a few of them.
pub(crate) fn shown(changed: &BTreeSet<PathBuf>) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let shown = |path: &PathBuf| path.strip_prefix(&here).unwrap_or(path).display().to_string();
    let first: Vec<String> = changed.iter().take(MAX_SHOWN_PATHS).map(shown).collect();
    match changed.len().saturating_sub(MAX_SHOWN_PATHS) {
        0 => first.join(", "),
        n => format!("{} and {n} more", first.join(", ")),
    }
}

/// Starts the build that `words` ask for; of several targets only those of `due`, if it names any.
fn start(words: &[OsString], due: &[String]) -> io::Result<Child> {
    let mut flags: Vec<OsString> = vec!["--watch=false".into()];
    flags.extend(due.iter().map(|name| format!("--only={name}").into()));
    // Of a flag that is typed twice the last counts; behind `--` there are no flags.
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let (before, after) = words.split_at(end);
    let mut command = Command::new(std::env::current_exe()?);
    if let Some(name) = words.first() {
        command.arg0(name);
    }
    command.args(before.iter().skip(1)).args(flags).args(after).spawn()
}

/// Whether it is enough.
pub(crate) struct Stop {
    /// Ctrl-C, which the terminal sends to the build as well.
    is_interrupted: Arc<AtomicBool>,
    /// Signals to this process alone.
    is_terminated: Arc<AtomicBool>,
}

impl Stop {
    /// Ctrl-C and other signals that end programs.
    pub(crate) fn new() -> io::Result<Stop> {
        let stop = Stop { is_interrupted: Arc::default(), is_terminated: Arc::default() };
        signal_hook::flag::register(SIGINT, Arc::clone(&stop.is_interrupted))?;
        for signal in [SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&stop.is_terminated))?;
        }
        Ok(stop)
    }

    /// Somebody else hears the signals, and sets `is_interrupted`.
    pub(crate) fn when(is_interrupted: Arc<AtomicBool>) -> Stop {
        Stop { is_interrupted, is_terminated: Arc::default() }
    }

    /// It is enough.
    pub(crate) fn end(&self) {
        self.is_terminated.store(true, Ordering::Relaxed);
    }

    fn is_due(&self) -> bool {
        self.is_interrupted.load(Ordering::Relaxed) || self.is_terminated.load(Ordering::Relaxed)
    }

    /// Waits for the end of a build, and hands on to it that it is enough.
    fn wait_for(&self, mut child: Child) -> io::Result<ExitStatus> {
        let mut was_told = false;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if self.is_terminated.load(Ordering::Relaxed) && !was_told {
                was_told = true;
                // It may be gone by now.
                let _ = kill_process(Pid::from_child(&child), Signal::TERM);
            }
            thread::sleep(TICK);
        }
    }

    /// Waits until files are different from `before` and stay as they are for one more look: an editor, or a checkout,
    /// is through with them. What is different comes back with that look; nothing if it is enough.
    pub(crate) fn wait_for_change(
        &self,
        before: &Sweep,
        look: impl Fn() -> Sweep,
    ) -> Option<(BTreeSet<PathBuf>, Sweep)> {
        let mut last: Option<Sweep> = None;
        let mut pause = MIN_PAUSE;
        loop {
            let start = Instant::now();
            let now = look();
            pause = pause.max(start.elapsed() * PAUSE_FACTOR);
            let changed = now.differences(before);
            if !changed.is_empty() && last.as_ref() == Some(&now) {
                return Some((changed, now));
            }
            last = Some(now);
            if !self.sleep(pause) {
                return None;
            }
        }
    }

    /// Sleeps, or says that it is enough.
    fn sleep(&self, duration: Duration) -> bool {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            if self.is_due() {
                return false;
            }
            thread::sleep(TICK.min(duration));
        }
        !self.is_due()
    }
}

impl Plan {
    /// One build without a name.
    pub(crate) fn of_one(request: &BuildRequest) -> Plan {
        let sources = Sources::of_request(request);
        let target = WatchedTarget { name: String::new(), sources, uses: Vec::new(), is_selected: true };
        Plan { targets: vec![target], definition: Sources::default() }
    }

    fn is_empty(&self) -> bool {
        self.definition.is_empty() && self.targets.iter().all(|target| target.sources.is_empty())
    }

    fn sweep(&self) -> Sweep {
        let all = self.targets.iter().map(|target| &target.sources).chain([&self.definition]);
        let mut sweep = Sweep::of(all);
        // What one target writes into the context of another is no change.
        for written in self.targets.iter().flat_map(|target| &target.sources.written) {
            sweep.leave_out(written);
        }
        sweep
    }

    /// The selected targets that read a changed file, or are made from one that does.
    fn affected(&self, changed: &BTreeSet<PathBuf>) -> Vec<String> {
        let reads = |target: &&WatchedTarget| changed.iter().any(|path| target.sources.has(path));
        let mut affected: BTreeSet<&str> =
            self.targets.iter().filter(reads).map(|target| target.name.as_str()).collect();
        loop {
            let uses = |target: &&WatchedTarget| target.uses.iter().any(|name| affected.contains(name.as_str()));
            let users: Vec<&str> = self.targets.iter().filter(uses).map(|target| target.name.as_str()).collect();
            let n_before = affected.len();
            affected.extend(users);
            if affected.len() == n_before {
                break;
            }
        }
        let is_due = |target: &&WatchedTarget| target.is_selected && affected.contains(target.name.as_str());
        let due = self.targets.iter().filter(is_due).map(|target| target.name.clone());
        due.filter(|name| !name.is_empty()).collect()
    }
}

/// Whether `path` is `folder` or below it.
fn is_within(path: &Path, folder: &Path) -> bool {
    path.starts_with(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str, uses: &[&str], is_selected: bool) -> WatchedTarget {
        WatchedTarget {
            name: name.to_owned(),
            sources: Sources::of_files([PathBuf::from(format!("/{name}/file"))]),
            uses: uses.iter().map(|name| (*name).to_owned()).collect(),
            is_selected,
        }
    }

    #[test]
    fn what_uses_a_changed_target_is_affected_too() {
        let targets = vec![
            target("base", &[], false),
            target("middle", &["base"], true),
            target("app", &["middle"], true),
            target("other", &[], true),
        ];
        let plan = Plan { targets, ..Plan::default() };
        let affected = |name: &str| plan.affected(&BTreeSet::from([PathBuf::from(format!("/{name}/file"))]));
        assert_eq!(affected("base"), ["middle", "app"]);
        assert_eq!(affected("app"), ["app"]);
        assert_eq!(affected("other"), ["other"]);
        assert_eq!(affected("nobody"), [""; 0]);
    }

    #[test]
    fn only_a_few_paths_are_shown() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect();
        assert_eq!(shown(&paths(&["/x/a", "/x/b"])), "/x/a, /x/b");
        assert_eq!(shown(&paths(&["/1", "/2", "/3", "/4", "/5"])), "/1, /2, /3 and 2 more");
    }
}
