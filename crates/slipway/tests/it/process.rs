//! Builds that run in the background, and what the machine knows about processes.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::site::Outcome;

/// How long anything may take before a test gives up: long enough for a machine that does much else. No test passes
/// because of it.
const PATIENCE: Duration = Duration::from_secs(600);

/// Waits until `is_true`.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A build in the background, in a process group of its own as if started from a shell. It is killed when dropped.
pub(crate) struct Running {
    child: Child,
    stderr: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Running {
        let mut child = command.process_group(0).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let pipe = child.stderr.take().unwrap();
        let stderr = Arc::new(Mutex::new(String::new()));
        let shared = Arc::clone(&stderr);
        let reader = thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let mut text = shared.lock().unwrap_or_else(PoisonError::into_inner);
                text.push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Running { child, stderr, reader: Some(reader) }
    }

    /// What it wrote to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it wrote `text`.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        let start = Instant::now();
        while !self.stderr().contains(text) {
            let is_over = self.is_over();
            let has_waited_long = start.elapsed() > PATIENCE;
            // The reader may lag behind the end of the process.
            if is_over && self.reader.as_ref().is_none_or(JoinHandle::is_finished) || has_waited_long {
                let stderr = self.stderr();
                assert!(stderr.contains(text), "`{text}` was not written:\n{stderr}");
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal to the process that was started, as `kill` does.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).unwrap();
    }

    /// Sends a signal to the whole group, as a terminal does.
    pub(crate) fn signal_group(&self, signal: Signal) {
        kill_process_group(self.id(), signal).unwrap();
    }

    /// `kill -9` of the process that was started, and of nothing else; whether that ended it.
    pub(crate) fn kill(mut self) -> bool {
        self.signal(Signal::KILL);
        self.child.wait().unwrap().signal() == Some(Signal::KILL.as_raw())
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Outcome {
        let status = self.wait();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        Outcome { exit_code: status.code(), stdout: Vec::new(), stderr: self.stderr() }
    }

    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the build ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Its process number.
    pub(crate) fn number(&self) -> u32 {
        self.child.id()
    }

    fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A process of this machine.
pub(crate) struct Process {
    pub(crate) id: u32,
    pub(crate) command_line: String,
    /// Empty if it is not ours to read.
    pub(crate) environment: String,
}

impl Process {
    /// Whether it keeps something for the steps of the build `parent`.
    pub(crate) fn is_keeper_of(&self, parent: u32) -> bool {
        self.command_line.starts_with("slipway: keeper ") && self.parent() == parent
    }

    /// The number of the process that started it; 0 if it has ended.
    pub(crate) fn parent(&self) -> u32 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id)).unwrap_or_default();
        status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok()).unwrap_or(0)
    }

    /// Whether it has a file below `folder` open.
    pub(crate) fn has_open_below(&self, folder: &Path) -> bool {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.id)).into_iter().flatten().flatten();
        descriptors.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|path| path.starts_with(folder))
    }
}

/// All processes that have not ended.
pub(crate) fn all() -> Vec<Process> {
    let text = |path: String| {
        let bytes = fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    };
    let ids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.map(|id: u32| Process {
        id,
        command_line: text(format!("/proc/{id}/cmdline")),
        environment: text(format!("/proc/{id}/environ")),
    })
    .collect()
}
