//! What do Docker's global flags mean to a program without a daemon? (`spec/cli.md` section 1)
//!
//! Those that name an engine of this machine are harmless: the build happens on this machine. Those that name another
//! machine are refused, because the user expects the result there.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use serde_json::Value;
use slipway_oci::Digest;

use crate::cli::docker::EngineFlags;
use crate::client_config;
use crate::commands::builder_names;
use crate::report::CommandError;

/// Why a flag is refused.
#[derive(Debug, thiserror::Error)]
enum EngineFlagError {
    #[error(
        "the engine at {0} is on another machine, and slipway builds on this one; leave the flag out, and push the result"
    )]
    Elsewhere(String),
    #[error("invalid address of an engine {0:?}: expected unix://PATH, tcp://HOST:PORT or ssh://HOST")]
    Address(String),
    #[error(
        "unable to resolve docker endpoint: context {name:?}: context not found: open {path}: no such file or directory"
    )]
    NoContext { name: String, path: String },
    #[error("Unable to parse logging level: {0}")]
    LogLevel(String),
}

/// Takes the flags in. The answer says for each that has no effect why that is so.
pub(crate) fn apply(flags: &EngineFlags) -> Result<Vec<String>, CommandError> {
    if let Some(folder) = &flags.config {
        client_config::use_docker_config(Path::new(folder));
    }
    check(flags).map_err(|error| CommandError::Options(error.into()))
}

/// Says on standard error what was typed without effect, if the user wants to know.
pub(crate) fn tell(notes: &[String], is_debug: bool) {
    for note in notes.iter().filter(|_| is_debug) {
        // Nobody is left to be told that the terminal is gone.
        let _ = writeln!(io::stderr(), "DEBUG: {note}");
    }
}

/// Warns of a builder that nobody has created: there is only one, and it builds.
pub(crate) fn warn_of_builder(name: &str) {
    if !name.is_empty() && !builder_names::is_known(name) {
        let _ = writeln!(io::stderr(), "WARNING: there is no builder {name:?}; slipway itself builds");
    }
}

fn check(flags: &EngineFlags) -> Result<Vec<String>, EngineFlagError> {
    let mut notes = Vec::new();
    for host in &flags.hosts {
        check_address(host)?;
        notes.push(format!("--host {host} is without effect: no engine is asked"));
    }
    if let Some(name) = flags.context.as_deref().filter(|name| !name.is_empty() && *name != "default") {
        check_address(&address_of_context(name)?)?;
        notes.push(format!("--context {name} is without effect: no engine is asked"));
    }
    match flags.log_level.as_deref() {
        None | Some("debug" | "info" | "warn" | "warning" | "error" | "fatal" | "panic" | "trace") => Ok(notes),
        Some(other) => Err(EngineFlagError::LogLevel(other.to_owned())),
    }
}

fn check_address(address: &str) -> Result<(), EngineFlagError> {
    match address.split_once("://") {
        Some(("unix" | "fd" | "npipe", _)) => Ok(()),
        Some(("tcp" | "http" | "https" | "ssh", _)) => Err(EngineFlagError::Elsewhere(address.to_owned())),
        // As with Docker, a path or a host and port without a scheme.
        None if address.starts_with('/') => Ok(()),
        None if address.contains(':') => Err(EngineFlagError::Elsewhere(address.to_owned())),
        _ => Err(EngineFlagError::Address(address.to_owned())),
    }
}

/// Where the engine of a context is, as Docker has written it down.
fn address_of_context(name: &str) -> Result<String, EngineFlagError> {
    let folder = client_config::docker_config_folder().unwrap_or_default();
    let path = folder.join("contexts/meta").join(Digest::of(name.as_bytes()).hex()).join("meta.json");
    let missing = || EngineFlagError::NoContext { name: name.to_owned(), path: path.display().to_string() };
    let bytes = fs::read(&path).map_err(|_| missing())?;
    let metadata: Value = serde_json::from_slice(&bytes).map_err(|_| missing())?;
    Ok(metadata["Endpoints"]["docker"]["Host"].as_str().unwrap_or("unix://").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(line: &str) -> EngineFlags {
        use clap::{Args as _, FromArgMatches as _};
        let command = EngineFlags::augment_args(clap::Command::new("docker"));
        EngineFlags::from_arg_matches(&command.get_matches_from(line.split(' '))).unwrap()
    }

    #[test]
    fn an_engine_of_this_machine_is_harmless() {
        for line in ["docker -H unix:///var/run/docker.sock", "docker --host=/run/docker.sock", "docker -H fd://"] {
            assert_eq!(check(&flags(line)).unwrap().len(), 1, "{line}");
        }
        assert_eq!(check(&flags("docker --context default -l info --tls")).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn another_machine_is_refused() {
        for line in ["docker -H tcp://10.0.0.1:2376", "docker -H ssh://me@host", "docker --host 10.0.0.1:2375"] {
            let text = check(&flags(line)).unwrap_err().to_string();
            assert!(text.contains("is on another machine"), "{line}: {text}");
        }
        let text = check(&flags("docker -l foo")).unwrap_err().to_string();
        assert_eq!(text, "Unable to parse logging level: foo");
    }
}
