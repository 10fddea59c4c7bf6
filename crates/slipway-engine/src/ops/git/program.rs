//! Runs the `git` program so that nothing but what is meant decides what it does.
//!
//! | kept from it | how |
//! |---|---|
//! | settings of the host, hooks, templates | an empty environment, no global or system configuration |
//! | transports other than http(s), ssh, git | `GIT_ALLOW_PROTOCOL`, which submodules inherit |
//! | questions to the user | no terminal, no askpass program |
//! | credentials in command lines | they travel as configuration in the environment, bound to one URL |
//! | credentials for other hosts | redirects are not followed once there are any |

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use slipway_solver::Cancel;

/// Why git did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitError {
    #[error("git is needed for `{remote}` and is not installed: no `git` in PATH")]
    NotInstalled { remote: String },
    #[error("the store does not have all of `{remote}`, and git may not ask for it (--offline)")]
    Offline { remote: String },
    #[error("cannot run git")]
    Spawn(#[source] io::Error),
    #[error("git {command} failed for `{remote}`: {message}")]
    Failed { command: String, remote: String, message: String },
    #[error("canceled")]
    Canceled,
}

/// How long to sleep between two looks at a running git.
const PAUSE: Duration = Duration::from_millis(5);
/// More of git's output than this is a remote that wants to fill the memory.
const MAX_OUTPUT_BYTES: u64 = 64 << 20;

/// The `git` program, prepared for one remote.
pub(super) struct Git<'a> {
    /// Variables of the host that git may see: where programs are, proxies, certificates.
    pub(super) host_variables: &'a [(String, OsString)],
    /// Shown in messages.
    pub(super) remote: String,
    /// `Authorization: …` for URLs that begin with the text.
    pub(super) authorization: Option<(String, String)>,
    pub(super) ssh_agent: Option<PathBuf>,
    pub(super) is_offline: bool,
    /// Keys of ssh hosts, remembered from the first connection.
    pub(super) known_hosts: PathBuf,
    pub(super) cancel: &'a Cancel,
}

/// Which repositories a command may talk to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those of the network.
    Remote,
    /// Those of the store.
    Store,
}

impl Git<'_> {
    /// Runs git with `args` in `folder` and gives what it printed.
    pub(super) fn run(&self, folder: &Path, reach: Reach, args: &[&str]) -> Result<String, GitError> {
        if self.is_offline && reach == Reach::Remote {
            return Err(GitError::Offline { remote: self.remote.clone() });
        }
        let mut command = self.command(folder, reach);
        command.args(args);
        let mut child = command.spawn().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => GitError::NotInstalled { remote: self.remote.clone() },
            _ => GitError::Spawn(source),
        })?;
        let (stdout, stderr) = (reader(child.stdout.take()), reader(child.stderr.take()));
        let status = self.wait(&mut child);
        let (stdout, stderr) = (text_of(stdout), text_of(stderr));
        if status?.success() {
            return Ok(stdout);
        }
        Err(GitError::Failed {
            command: args.iter().find(|arg| !arg.starts_with('-')).copied().unwrap_or_default().to_owned(),
            remote: self.remote.clone(),
            message: stderr.trim().to_owned(),
        })
    }

    fn wait(&self, child: &mut Child) -> Result<std::process::ExitStatus, GitError> {
        loop {
            if let Some(status) = child.try_wait().map_err(GitError::Spawn)? {
                return Ok(status);
            }
            if self.cancel.is_canceled() {
                // The group: git's own children do the transfer.
                if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                    let _ = kill_process_group(group, Signal::KILL);
                }
                child.wait().map_err(GitError::Spawn)?;
                return Err(GitError::Canceled);
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn command(&self, folder: &Path, reach: Reach) -> Command {
        let mut command = Command::new("git");
        command
            .current_dir(folder)
            .env_clear()
            .envs(self.host_variables.iter().map(|(name, value)| (name, value)))
            .env("LC_ALL", "C")
            .env("HOME", "/nonexistent")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "/bin/false")
            .env("SSH_ASKPASS", "/bin/false")
            .env(
                "GIT_ALLOW_PROTOCOL",
                match reach {
                    Reach::Remote => "http:https:ssh:git",
                    Reach::Store => "file",
                },
            )
            .env("GIT_SSH_COMMAND", self.ssh_command())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if let Some(agent) = &self.ssh_agent {
            command.env("SSH_AUTH_SOCK", agent);
        }
        let settings = self.settings(reach);
        command.env("GIT_CONFIG_COUNT", settings.len().to_string());
        for (index, (key, value)) in settings.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{index}"), key).env(format!("GIT_CONFIG_VALUE_{index}"), value);
        }
        command
    }

    /// Settings for git and the gits that it starts. No file holds them, and no command line shows them.
    fn settings(&self, reach: Reach) -> Vec<(String, String)> {
        let setting = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let mut settings = vec![
            setting("core.hooksPath", "/dev/null"),
            setting("core.fsmonitor", "false"),
            setting("core.logAllRefUpdates", "false"),
            setting("core.symlinks", "true"),
            setting("core.fileMode", "true"),
            setting("init.defaultBranch", "master"),
            setting("init.templateDir", ""),
            setting("gc.auto", "0"),
            setting("maintenance.auto", "false"),
            setting("credential.helper", ""),
            setting("advice.detachedHead", "false"),
            setting("fetch.fsckObjects", "false"),
        ];
        if let (Reach::Remote, Some((url, header))) = (reach, &self.authorization) {
            settings.push((format!("http.{url}.extraHeader"), header.clone()));
            // git goes on with the header at whatever host a redirect names.
            settings.push(setting("http.followRedirects", "false"));
        }
        settings
    }

    fn ssh_command(&self) -> String {
        let quoted = self.known_hosts.display().to_string().replace('\'', "'\\''");
        format!(
            "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o 'UserKnownHostsFile=\"{quoted}\"'"
        )
    }
}

type Reading = Option<std::thread::JoinHandle<Vec<u8>>>;

/// Reads a pipe to its end on a thread of its own, so that git never waits for us.
fn reader(pipe: Option<impl Read + Send + 'static>) -> Reading {
    let mut pipe = pipe?;
    Some(std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What could be read is what there is.
        let _ = (&mut pipe).take(MAX_OUTPUT_BYTES).read_to_end(&mut bytes);
        let _ = io::copy(&mut pipe, &mut io::sink());
        bytes
    }))
}

fn text_of(reading: Reading) -> String {
    let bytes = reading.and_then(|thread| thread.join().ok()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
