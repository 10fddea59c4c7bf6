//! How long a step of `/bin/true` takes, from `spawn` to its exit status.
//!
//! `cargo bench -p slipway-sandbox`. Takes `/bin/busybox` (static) and the rights that sandboxes take.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark talks to the person who runs it")]

use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use slipway_sandbox::ladder;
use slipway_sandbox::userns::{self, Entered, Mode};
use slipway_sandbox::{
    Capabilities, Credentials, ExitStatus, Network, PrivateNetwork, Privilege, Spec, Special, StartingNetwork,
    Surroundings, mounts, spawn,
};
use tempfile::TempDir;

const RUNS: usize = 100;

fn main() {
    slipway_sandbox::init_if_requested();
    let mode = match userns::enter(ladder::find(None, Path::new("")).unwrap()).unwrap() {
        Entered::Finished(status) => userns::end_like(status),
        Entered::Inside(mode) => mode,
    };
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    for name in ["bin", "proc", "sys", "dev"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/true")).unwrap();
    report(&mode, "the host's", &root, &directory, || Network::Host);
    report(&mode, "none", &root, &directory, || Network::None);
    let start = Instant::now();
    match PrivateNetwork::begin(OsStr::new("/usr/bin:/bin")).and_then(StartingNetwork::finish) {
        Ok(private) => {
            println!("{mode:?}, making a private network: {:?}", start.elapsed());
            report(&mode, "private", &root, &directory, || {
                Network::Joined(private.namespace().try_clone_to_owned().unwrap())
            });
        }
        Err(error) => println!("{mode:?}, network private: not measured, because {error}"),
    }
}

fn report(mode: &Mode, name: &str, root: &Path, directory: &TempDir, network: impl Fn() -> Network) {
    let mut times: Vec<Duration> = (0..RUNS).map(|_| time_one(root, directory.path(), network())).collect();
    times.sort();
    println!("{mode:?}, network {name}: median {:?}, minimum {:?}", times[RUNS / 2], times[0]);
}

fn time_one(root: &Path, attach_at: &Path, network: Network) -> Duration {
    let output: OwnedFd = fs::File::options().write(true).open("/dev/null").unwrap().into();
    let spec = Spec {
        surroundings: Surroundings::Own {
            root: mounts::bind_path(root, false).unwrap(),
            attach_at: attach_at.to_owned(),
        },
        args: vec!["/bin/true".into()],
        env: Vec::new(),
        cwd: "/".into(),
        credentials: Credentials { uid: 0, gid: 0, groups: Vec::new() },
        hostname: "buildkitsandbox".to_owned(),
        network,
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
    let start = Instant::now();
    let status = spawn(&spec).unwrap().wait().unwrap();
    let elapsed = start.elapsed();
    assert_eq!(status, ExitStatus::Code(0));
    elapsed
}
