//! A root file system with nothing but busybox, steps that run in it, and what the machine must have for that.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;

use slipway_sandbox::userns::Mode;
use slipway_sandbox::{
    Capabilities, Credentials, ExitStatus, Network, Privilege, SpawnError, Spec, Special, Surroundings, mounts, spawn,
};
use tempfile::TempDir;

use crate::Need;

/// Where Debian's busybox-static and most other packages put it.
const BUSYBOX: &str = "/bin/busybox";

/// The first argument that makes this program run one step as its user and exit with the step's code.
const RUN_STEP: &str = "run-step";

/// The applets that the tests use.
const APPLETS: [&str; 26] = [
    "cat", "chmod", "cut", "echo", "false", "grep", "hostname", "id", "ip", "kill", "ln", "ls", "mkdir", "mknod", "mv",
    "pwd", "readlink", "rm", "sh", "sleep", "stat", "tee", "touch", "true", "umount", "yes",
];

/// What was found out about this machine.
pub(crate) struct Machine {
    lacking: Vec<(Need, String)>,
    required: String,
}

/// Why a test cannot run.
pub(crate) struct Lack {
    pub(crate) reason: String,
    pub(crate) is_required: bool,
}

impl Machine {
    pub(crate) fn probe(mode: Result<Mode, String>) -> Self {
        let mut lacking = Vec::new();
        if mode != Ok(Mode::Root) {
            lacking.push((Need::NewUser, "a new user takes real root".to_owned()));
        }
        if let Err(reason) = mode {
            lacking.push((Need::Sandbox, reason));
        }
        if !Path::new(BUSYBOX).exists() {
            lacking.push((Need::Busybox, format!("{BUSYBOX} is missing (package busybox-static)")));
        }
        for program in ["/usr/sbin/useradd", "/usr/sbin/userdel", "/usr/bin/setpriv", "/usr/bin/newuidmap"] {
            if !Path::new(program).exists() {
                lacking.push((Need::NewUser, format!("{program} is missing")));
            }
        }
        Self { lacking, required: env::var("SLIPWAY_TEST_REQUIRE").unwrap_or_default() }
    }

    pub(crate) fn lacks(&self, need: Need) -> Option<Lack> {
        let (_, reason) = self.lacking.iter().find(|(lacking, _)| *lacking == need)?;
        Some(Lack { reason: reason.clone(), is_required: self.required.split(',').any(|name| name == need.name()) })
    }
}

/// A root file system in a temporary directory, and a canary of the host beside it.
pub(crate) struct Root {
    directory: TempDir,
}

impl Root {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("slipway-sandbox-").tempdir().unwrap();
        let root = Self { directory };
        // The temporary directory itself is for its owner only; other users have to pass it.
        fs::set_permissions(root.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["root/bin", "root/tmp", "root/etc", "root/proc", "root/sys", "root/dev", "canary", "attach"] {
            fs::create_dir_all(root.directory.path().join(name)).unwrap();
        }
        fs::set_permissions(root.path().join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::copy(BUSYBOX, root.path().join("bin/busybox")).unwrap();
        for applet in APPLETS {
            symlink("busybox", root.path().join("bin").join(applet)).unwrap();
        }
        fs::write(root.canary().join("alive"), "alive").unwrap();
        root
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// A new directory of the host, outside of the root.
    pub(crate) fn directory_beside(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    }

    /// A directory of the host that no step may reach.
    pub(crate) fn canary(&self) -> PathBuf {
        self.directory.path().join("canary")
    }

    #[track_caller]
    pub(crate) fn assert_canary_is_alive(&self) {
        let names: Vec<OsString> =
            fs::read_dir(self.canary()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["alive"]);
        assert_eq!(fs::read_to_string(self.canary().join("alive")).unwrap(), "alive");
    }

    /// The root as a detached mount.
    pub(crate) fn mount(&self) -> OwnedFd {
        mounts::bind_path(&self.path(), false).unwrap()
    }

    /// What a build would say about a step that runs a shell script, with output going to `output`.
    pub(crate) fn spec(&self, script: &str, output: &OwnedFd) -> Spec {
        Spec {
            surroundings: Surroundings::Own { root: self.mount(), attach_at: self.directory.path().join("attach") },
            args: ["sh", "-c", script].map(OsString::from).to_vec(),
            env: vec!["PATH=/usr/bin:/bin".into()],
            cwd: "/".into(),
            credentials: Credentials { uid: 0, gid: 0, groups: Vec::new() },
            hostname: "buildkitsandbox".to_owned(),
            network: Network::None,
            user_namespace: None,
            privilege: Privilege::Sandboxed(Capabilities::DOCKER),
            mounts: Vec::new(),
            control_groups: Vec::new(),
            rlimits: Vec::new(),
            shm_size_bytes: 64 << 20,
            is_root_readonly: false,
            shuffles_folders: false,
            special: Special::default(),
            terminal: None,
            stdin: None,
            stdout: output.try_clone().unwrap(),
            stderr: output.try_clone().unwrap(),
        }
    }

    /// Runs a shell script and returns its status and all that it wrote.
    pub(crate) fn run(&self, script: &str) -> (ExitStatus, String) {
        self.run_with(script, |_| {})
    }

    /// As [`Root::run`], after `change` has seen the spec.
    pub(crate) fn run_with(&self, script: &str, change: impl FnOnce(&mut Spec)) -> (ExitStatus, String) {
        self.try_run_with(script, change).unwrap()
    }

    pub(crate) fn try_run_with(
        &self,
        script: &str,
        change: impl FnOnce(&mut Spec),
    ) -> Result<(ExitStatus, String), SpawnError> {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut spec = self.spec(script, &writer.into());
        change(&mut spec);
        let running = spawn(&spec)?;
        drop(spec);
        // Elsewhere, so that a full pipe does not stop the step.
        let text = thread::spawn(move || read_all(reader.into()));
        let status = running.wait().unwrap();
        Ok((status, text.join().unwrap()))
    }

    /// The standard output of a script that has to succeed, without the last line break.
    #[track_caller]
    pub(crate) fn output(&self, script: &str) -> String {
        self.output_with(script, |_| {})
    }

    #[track_caller]
    pub(crate) fn output_with(&self, script: &str, change: impl FnOnce(&mut Spec)) -> String {
        let (status, text) = self.run_with(script, change);
        assert_eq!(status, ExitStatus::Code(0), "{text}");
        text.trim_end().to_owned()
    }
}

pub(crate) fn read_all(from: OwnedFd) -> String {
    let mut text = String::new();
    File::from(from).read_to_string(&mut text).unwrap();
    text
}

/// A command that runs `script` in `root` as another process, which can be killed or be somebody else.
pub(crate) fn run_step_command(program: &Path, root: &Root, script: &str) -> Command {
    let mut command = Command::new(program);
    command.arg(RUN_STEP).arg(root.directory.path()).arg(script);
    command
}

/// The other side of [`run_step_command`].
pub(crate) fn run_step_if_requested() -> Option<ExitCode> {
    let args: Vec<OsString> = env::args_os().collect();
    let [_, mode, directory, script] = args.as_slice() else { return None };
    if mode != RUN_STEP {
        return None;
    }
    let directory = Path::new(directory);
    let output: OwnedFd = rustix::io::dup(std::io::stdout()).unwrap();
    let spec = Spec {
        surroundings: Surroundings::Own {
            root: mounts::bind_path(&directory.join("root"), false).unwrap(),
            attach_at: directory.join("attach"),
        },
        args: vec!["sh".into(), "-c".into(), script.clone()],
        env: vec!["PATH=/bin".into()],
        cwd: "/".into(),
        credentials: Credentials { uid: 0, gid: 0, groups: Vec::new() },
        hostname: "buildkitsandbox".to_owned(),
        network: Network::Host,
        user_namespace: None,
        privilege: Privilege::Sandboxed(Capabilities::DOCKER),
        mounts: Vec::new(),
        control_groups: Vec::new(),
        rlimits: Vec::new(),
        shm_size_bytes: 64 << 20,
        is_root_readonly: false,
        shuffles_folders: false,
        special: Special::default(),
        terminal: None,
        stdin: None,
        stdout: output.try_clone().unwrap(),
        stderr: output,
    };
    let status = spawn(&spec).unwrap().wait().unwrap();
    Some(ExitCode::from(u8::try_from(status.code()).unwrap()))
}
