//! How does a credential helper answer, and how is it told? Programs named `docker-credential-…`, one word as argument,
//! one document on standard input (`spec/cli.md` section 10).

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::{Credential, TOKEN_USER};

/// More than any helper has to say.
const ANSWER_BYTES: u64 = 1 << 20;
/// What a helper says of a server that it has nothing for; that is no failure.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// A helper did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[error("error {action} credentials {place} `{program}`: {reason}")]
pub struct HelperError {
    action: &'static str,
    place: &'static str,
    program: String,
    reason: String,
}

/// One helper: what stands behind `docker-credential-` in the name of its program.
#[derive(Clone, Copy)]
pub(super) struct Helper<'a> {
    pub(super) name: &'a str,
    /// Where it is looked for, in `PATH`'s syntax; `None` for the `PATH` of this process.
    pub(super) search_path: Option<&'a OsStr>,
}

impl Helper<'_> {
    pub(super) fn program(&self) -> String {
        format!("docker-credential-{}", self.name)
    }

    /// What it has for `server`.
    pub(super) fn get(&self, server: &str) -> Result<Option<Credential>, HelperError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            #[serde(default)]
            username: String,
            #[serde(default)]
            secret: String,
        }
        let failed = |reason| self.failed("getting", "from", reason);
        let Some(answer) = self.run("get", server.as_bytes()).map_err(failed)? else { return Ok(None) };
        // The parser's message is left out: it may quote the secret.
        let answer: Answer = serde_json::from_slice(&answer).map_err(|_| failed("its answer is no JSON".to_owned()))?;
        Ok(match (answer.username.as_str(), answer.secret.is_empty()) {
            ("", true) => None,
            (TOKEN_USER, _) => Some(Credential::IdentityToken(answer.secret)),
            _ => Some(Credential::Basic { username: answer.username, password: answer.secret }),
        })
    }

    /// Gives it the login for `server`, in the place of one that it may have.
    pub(super) fn store(&self, server: &str, username: &str, password: &str) -> Result<(), HelperError> {
        let login = serde_json::json!({ "ServerURL": server, "Username": username, "Secret": password });
        let stored = self.run("store", login.to_string().as_bytes());
        stored.map(drop).map_err(|reason| self.failed("storing", "in", reason))
    }

    /// Has it forget `server`.
    pub(super) fn erase(&self, server: &str) -> Result<(), HelperError> {
        let erased = self.run("erase", server.as_bytes());
        erased.map(drop).map_err(|reason| self.failed("erasing", "in", reason))
    }

    fn failed(&self, action: &'static str, place: &'static str, reason: String) -> HelperError {
        HelperError { action, place, program: self.program(), reason }
    }

    /// Runs the program; `None` if it says that it has nothing.
    fn run(&self, action: &str, input: &[u8]) -> Result<Option<Vec<u8>>, String> {
        // The name is looked up in PATH; with a slash it would be a path from wherever the build was started.
        if self.name.contains('/') {
            return Err("its name is a path".to_owned());
        }
        let (is_success, answer) = self.spawn(action, input).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => "executable file not found in $PATH".to_owned(),
            _ => error.to_string(),
        })?;
        if is_success {
            return Ok(Some(answer));
        }
        let text = String::from_utf8_lossy(&answer);
        match text.trim() {
            NOT_FOUND => Ok(None),
            reason => Err(reason.chars().filter(|c| !c.is_control()).take(200).collect()),
        }
    }

    fn spawn(&self, action: &str, input: &[u8]) -> io::Result<(bool, Vec<u8>)> {
        let mut command = Command::new(self.program());
        command.arg(action).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        if let Some(search_path) = self.search_path {
            command.env("PATH", search_path);
        }
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that answers without reading is fine; what it says counts.
            let _ = stdin.write_all(input);
        }
        let mut answer = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(ANSWER_BYTES).read_to_end(&mut answer)?;
        }
        Ok((child.wait()?.success(), answer))
    }
}
