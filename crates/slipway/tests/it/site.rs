//! A place for one test: a context, a store and a home that nobody else uses, and ways to build there.
//!
//! ```text
//! <site>/ctx/      the context; builds run here
//! <site>/store/    SLIPWAY_ROOT
//! <site>/home/     HOME
//! <site>/          what builds write
//! ```

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use slipway_store::{OverlayFlavor, Store};
use slipway_test::base::{self, Base};
use slipway_test::capability::is_root;
use slipway_test::image::Image;
use slipway_test::progress::{self, Steps};
use tempfile::TempDir;

use crate::process::{self, Process, Running};

pub(crate) const SLIPWAY: &str = env!("CARGO_BIN_EXE_slipway");

pub(crate) struct Site {
    folder: TempDir,
    marker: String,
}

/// How a build ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// `None` if a signal ended it.
    pub(crate) exit_code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Outcome {
    /// The outcome, which must be a success.
    #[track_caller]
    pub(crate) fn success(self) -> Outcome {
        assert_eq!(self.exit_code, Some(0), "the build failed:\n{}", self.stderr);
        self
    }

    /// What a build that must fail wrote to standard error.
    #[track_caller]
    pub(crate) fn failure(self) -> String {
        assert_eq!(self.exit_code, Some(1), "the build did not fail as it should:\n{}", self.stderr);
        self.stderr
    }

    /// Which steps ran, and which were cached.
    pub(crate) fn steps(&self) -> Steps {
        progress::steps(&self.stderr)
    }
}

/// The base image of all tests, an OCI layout. Made once, in a folder that everybody may read.
struct Busybox {
    layout: TempDir,
    base: Base,
}

static BUSYBOX: OnceLock<Busybox> = OnceLock::new();

fn busybox() -> &'static Busybox {
    BUSYBOX.get_or_init(|| {
        let layout = tempfile::Builder::new().prefix("slipway-it-base").tempdir().unwrap();
        fs::set_permissions(layout.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let base = base::write_busybox(layout.path()).unwrap();
        Busybox { layout, base }
    })
}

/// The OCI layout of the base image.
pub(crate) fn busybox_layout() -> &'static Path {
    busybox().layout.path()
}

/// What of an image is the base image's own.
pub(crate) fn busybox_base() -> &'static Base {
    &busybox().base
}

/// Removes the base image, if it was made: values that live as long as the program are not dropped.
pub(crate) fn remove_busybox() {
    if let Some(busybox) = BUSYBOX.get() {
        fs::remove_dir_all(busybox.layout.path()).ok();
    }
}

impl Site {
    /// A place whose context holds `dockerfile`. `<marker>` in it becomes a number that no other process has in its
    /// command line: `sleep <marker>` is found again.
    pub(crate) fn new(dockerfile: &str) -> Site {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::Builder::new().prefix("slipway-it-").tempdir().unwrap();
        let marker = format!("1{:07}{:03}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let site = Site { folder, marker };
        for folder in ["ctx", "home"] {
            fs::create_dir(site.path(folder)).unwrap();
        }
        site.write("Dockerfile", dockerfile);
        site
    }

    /// A path beside the context.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as text, for flags.
    pub(crate) fn name(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes a file of the context, with the folders above it.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path("ctx").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace("<marker>", &self.marker)).unwrap();
    }

    /// The same as [`Site::write`], but nobody ever sees half of the file.
    pub(crate) fn replace(&self, path: &str, text: &str) {
        let new = self.path("new");
        fs::write(&new, text).unwrap();
        let path = self.path("ctx").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// `slipway`, in the context, with an environment that holds nothing of the tester's.
    pub(crate) fn slipway(&self) -> Command {
        self.with_own_environment(Command::new(SLIPWAY))
    }

    /// Gives `command` the environment of this place.
    pub(crate) fn with_own_environment(&self, mut command: Command) -> Command {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("SLIPWAY_ROOT", self.path("store"))
            .current_dir(self.path("ctx"))
            .stdin(Stdio::null());
        command
    }

    /// `slipway build …` with plain progress, and with `busybox` as a name of the base image.
    pub(crate) fn build_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.slipway();
        command.args(["build", "--progress=plain", &busybox_flag()]).args(arguments);
        command
    }

    /// Builds the context.
    pub(crate) fn build(&self, arguments: &[&str]) -> Outcome {
        run(self.build_command(arguments).arg("."))
    }

    /// Starts to build the context.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        Running::start(self.build_command(arguments).arg("."))
    }

    /// Builds an image, which must succeed, and gives the summary that images are compared by.
    #[track_caller]
    pub(crate) fn summary(&self, arguments: &[&str]) -> String {
        let file = self.path("summary.tar");
        let output = format!("--output=type=oci,dest={}", file.display());
        self.build(&[arguments, &[&output]].concat()).success();
        summary_of(&file)
    }

    /// Forgets everything that was built. The old store stays until the end, under another name.
    pub(crate) fn renew_store(&self) {
        let mut names = (0..).map(|n| self.path(&format!("old-store-{n}")));
        let free = names.find(|path| !path.exists()).unwrap();
        fs::rename(self.path("store"), free).unwrap();
    }

    /// Makes `name` beside the store the same as the store, or removes it if there is no store.
    pub(crate) fn copy_store(&self, name: &str) {
        let (store, copy) = (self.path("store"), self.path(name));
        run(as_owner(&["rm", "-rf"]).arg(&copy)).success();
        if store.exists() {
            run(as_owner(&["cp", "-a"]).arg(store).arg(copy)).success();
        }
    }

    /// The store, opened by this process.
    pub(crate) fn store(&self) -> Store {
        let flavor = if is_root() { OverlayFlavor::Root } else { OverlayFlavor::UserNamespace };
        Store::open(&self.path("store"), flavor).unwrap()
    }

    /// What must be true whenever no build runs: no process, no mount, and a store that keeps its promises.
    #[track_caller]
    pub(crate) fn assert_tidy(&self) {
        self.wait_until_no_process();
        assert_eq!(self.mounts(), Vec::<String>::new());
        assert_eq!(self.store().fsck().unwrap(), []);
    }

    #[track_caller]
    pub(crate) fn wait_until_no_process(&self) {
        process::wait_until("all processes of the build are gone", || self.own_processes().is_empty());
    }

    /// What is below `active/` of the store: the folders of builds that write.
    pub(crate) fn active(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("store/active")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// Processes of slipway that use this place, and processes of steps that have the marker in their command line.
    fn own_processes(&self) -> Vec<Process> {
        let root = format!("SLIPWAY_ROOT={}", self.path("store").display());
        let mut processes = process::all();
        processes.retain(|p| p.command_line.contains(&self.marker) || p.environment.contains(&root));
        processes
    }

    /// Waits until `n` builds hold a lock on a step or wait for one: a build opens the lock's file for both.
    #[track_caller]
    pub(crate) fn wait_for_lock_holders(&self, n: usize) {
        let locks = self.path("store/locks");
        process::wait_until("enough builds have a lock open", || {
            self.own_processes().iter().filter(|process| process.has_open_below(&locks)).count() == n
        });
    }

    /// Mounts of this process's namespace that belong to this place.
    pub(crate) fn mounts(&self) -> Vec<String> {
        let folder = self.folder.path().display().to_string();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        mounts.lines().filter(|line| line.contains(&folder)).map(str::to_owned).collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if !is_root() {
            as_owner(&["rm", "-rf", "--"]).arg(self.folder.path()).status().ok();
        }
    }
}

/// A command that may do everything with the files of a store. Those of steps belong to subordinate ids, which are at the
/// disposal of root of their namespace only.
fn as_owner(words: &[&str]) -> Command {
    let namespace: &[&str] = if is_root() { &[] } else { &["unshare", "-U", "--map-auto", "--map-root-user"] };
    let words = [namespace, words].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

/// The flag that gives the base image the name `busybox`.
pub(crate) fn busybox_flag() -> String {
    format!("--build-context=busybox=oci-layout://{}", busybox_layout().display())
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let output = command.output().unwrap();
    Outcome {
        exit_code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The summary of an OCI layout, a folder or an archive.
#[track_caller]
pub(crate) fn summary_of(path: &Path) -> String {
    Image::read(path).unwrap().summary(&busybox().base).unwrap()
}

/// Every file below `folder`, links not followed.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                pending.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files
}
