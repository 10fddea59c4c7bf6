//! A shell in the place of a step: the same file system, user, variables, mounts and limits. What it writes is thrown
//! away with the step's own writes.
//!
//! Images without a shell get a static busybox of the host, in a folder of `/dev` that no layer ever sees.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use slipway_graph::Event;
use slipway_sandbox::mounts::{self, Attributes};
use slipway_sandbox::{CallError, SpawnError, find_program, is_static_program};

use super::begin::begin;
use super::exec::mounts::PreparedMount;
use super::exec::{ExecError, Place, Run};

/// Somebody who can sit down at a terminal inside a step.
pub trait ShellSeat: Send + Sync {
    /// A terminal for a shell; waits while another shell has it. `intro` says where the shell is.
    ///
    /// # Errors
    /// The machine gives no terminal.
    fn open(&self, intro: &str) -> io::Result<OwnedFd>;

    /// The shell has ended.
    fn close(&self);

    /// What kind of terminal it is (`TERM`), if that is known.
    fn kind(&self) -> Option<String>;
}

/// Why there is no shell.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShellError {
    #[error("the image has no shell that runs, and no static `busybox` is installed here")]
    None,
    #[error("nobody is there to use a shell")]
    NoSeat,
    #[error("cannot open a terminal")]
    Terminal(#[source] io::Error),
    #[error("cannot prepare `{TOOLBOX}`")]
    Toolbox(#[source] io::Error),
    #[error("cannot mount `{TOOLBOX}`")]
    Mount(#[source] CallError),
}

impl ShellError {
    pub(crate) fn hint(&self) -> Option<String> {
        matches!(self, ShellError::None).then(|| "install the package `busybox-static`".to_owned())
    }
}

/// A shell that is about to start.
pub(crate) struct Shell {
    pub(crate) args: Vec<String>,
    pub(crate) terminal: OwnedFd,
    /// The kind of terminal.
    kind: Option<String>,
    pub(crate) toolbox: Option<Toolbox>,
}

/// A shell that may be there and run.
struct Candidate {
    program: String,
    toolbox: Option<Toolbox>,
}

/// Where images usually have one, the most comfortable first.
const SHELLS: [&str; 6] = ["/bin/bash", "/usr/bin/bash", "/bin/sh", "/usr/bin/sh", "/bin/ash", "/busybox/sh"];

/// Where the toolbox is mounted: `/dev` is never part of an image.
const TOOLBOX: &str = "/dev/toolbox";

/// What the toolbox offers by name; `busybox NAME` knows more.
const APPLETS: [&str; 40] = [
    "cat", "chmod", "chown", "cp", "cut", "date", "df", "diff", "du", "echo", "env", "find", "grep", "head", "hexdump",
    "id", "ip", "less", "ln", "ls", "mkdir", "mount", "mv", "nc", "nslookup", "ping", "printf", "ps", "pwd",
    "readlink", "rm", "sed", "sh", "sort", "stat", "tail", "tar", "top", "vi", "wget",
];

impl Run<'_> {
    /// Lets somebody work in the step instead of running it. There is no result; the build ends here.
    pub(crate) fn sit_down(&self) -> Result<ExecError, ExecError> {
        let seat = self.shell_seat.ok_or(ShellError::NoSeat)?;
        let active = begin(self.store, &self.inputs[0])?;
        let place = self.arrive(&active)?;
        self.converse(&place, seat, "nothing of this step has run")?;
        self.cancel.cancel();
        Ok(ExecError::Canceled)
    }

    /// After the step has failed: lets somebody look around in what it left.
    pub(super) fn offer_shell(&self, place: &Place<'_>, seat: &dyn ShellSeat, failure: &ExecError) {
        if !matches!(failure, ExecError::Exit { .. } | ExecError::OutOfMemory { .. } | ExecError::Spawn { .. }) {
            return;
        }
        if let Err(error) = self.converse(place, seat, &failure.to_string()) {
            let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            let message = format!("no shell in the failed step: {}{hint}", crate::chain(&error));
            self.events.emit(Event::Remark { message });
        }
    }

    /// Starts the first shell that runs, and waits for its end.
    fn converse(&self, place: &Place<'_>, seat: &dyn ShellSeat, why: &str) -> Result<(), ExecError> {
        let candidates = self.candidates(place)?;
        let intro =
            format!("{why}\nA shell in its place, as user {}; what it writes is thrown away.", self.user_name());
        let terminal = seat.open(&intro).map_err(ShellError::Terminal)?;
        let result = self.first_that_runs(place, seat, candidates, &terminal);
        drop(terminal);
        seat.close();
        result
    }

    fn first_that_runs(
        &self,
        place: &Place<'_>,
        seat: &dyn ShellSeat,
        candidates: Vec<Candidate>,
        terminal: &OwnedFd,
    ) -> Result<(), ExecError> {
        for Candidate { program, toolbox } in candidates {
            let args = vec![program];
            let terminal = terminal.try_clone().map_err(ShellError::Terminal)?;
            match self.run_at(place, Some(Shell { args, terminal, kind: seat.kind(), toolbox })) {
                Err(ExecError::Spawn { source: SpawnError::Exec(_), .. }) => {}
                // How a shell ends says how its last command went.
                Ok(()) | Err(ExecError::Exit { .. } | ExecError::OutOfMemory { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Err(ShellError::None.into())
    }

    /// The shells to try: the step's own, those that the image has, the host's in a toolbox.
    fn candidates(&self, place: &Place<'_>) -> Result<Vec<Candidate>, ExecError> {
        let own = self.exec.args.first().filter(|program| is_shell(program));
        let paths = own.map(String::as_str).into_iter().chain(SHELLS);
        let there =
            paths.filter(|path| is_in(place, path)).map(|path| Candidate { program: path.to_owned(), toolbox: None });
        let mut candidates: Vec<_> = there.collect();
        if let Some(toolbox) = Toolbox::of_host(self.host_files.search_path())? {
            candidates.push(Candidate { program: format!("{TOOLBOX}/sh"), toolbox: Some(toolbox) });
        }
        if candidates.is_empty() { Err(ShellError::None.into()) } else { Ok(candidates) }
    }

    fn user_name(&self) -> &str {
        if self.exec.user.is_empty() { "root" } else { &self.exec.user }
    }
}

impl Shell {
    pub(crate) fn add_to_environment(&self, env: &mut Vec<String>) {
        if let Some(kind) = &self.kind
            && !env.iter().any(|pair| pair.starts_with("TERM="))
        {
            env.push(format!("TERM={kind}"));
        }
        if self.toolbox.is_some() {
            match env.iter_mut().rev().find(|pair| pair.starts_with("PATH=")) {
                Some(path) => path.push_str(&format!(":{TOOLBOX}")),
                None => env.push(format!("PATH={TOOLBOX}")),
            }
        }
    }
}

/// Whether a program is one that people can type commands into.
fn is_shell(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or_default();
    program.starts_with('/') && ["sh", "bash", "ash", "dash", "zsh", "ksh", "fish"].contains(&name)
}

/// Whether the file system of the step has a file at `path`, links followed inside of it.
fn is_in(place: &Place<'_>, path: &str) -> bool {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(place.root.as_fd(), path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve).is_ok()
}

/// Programs of the host for images without any: a folder in memory with one static program and its other names.
pub(crate) struct Toolbox {
    folder: OwnedFd,
}

impl Toolbox {
    /// `None` if the host has no static busybox.
    fn of_host(search_path: &std::ffi::OsStr) -> Result<Option<Toolbox>, ShellError> {
        let Some(busybox) = find_program(search_path, "busybox").filter(|path| is_static_program(path)) else {
            return Ok(None);
        };
        let folder = mounts::tmpfs(Some(16 << 20), 0o755, Attributes::default()).map_err(ShellError::Mount)?;
        Toolbox { folder }.filled(&busybox).map(Some).map_err(ShellError::Toolbox)
    }

    fn filled(self, busybox: &Path) -> io::Result<Toolbox> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let program = rustix::fs::openat(&self.folder, "busybox", flags, Mode::from_raw_mode(0o700))?;
        rustix::fs::fchmod(&program, Mode::from_raw_mode(0o755))?;
        io::copy(&mut File::open(busybox)?, &mut File::from(program))?;
        for applet in APPLETS {
            rustix::fs::symlinkat("busybox", &self.folder, applet)?;
        }
        Ok(self)
    }

    pub(super) fn to_mount(&self) -> Result<PreparedMount, ShellError> {
        let source = mounts::bind(&self.folder, false).map_err(ShellError::Mount)?;
        Ok(PreparedMount::toolbox(TOOLBOX, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_of_the_step_is_known_by_its_name() {
        assert!(is_shell("/bin/bash") && is_shell("/usr/local/bin/zsh"));
        assert!(!is_shell("/hello") && !is_shell("sh") && !is_shell("/bin/bashful"));
    }
}
