//! Containers that can be asked about and spoken to: what is known of each, and where.
//!
//! There is no daemon. Each container has an owner, the process that started it and waits for its end: `slipway run`
//! itself, a slipway in the background for `run -d`, or the one that keeps a whole stack of Compose. Whatever ends the
//! owner ends its containers. In the container's folder the owner says how it is, and listens.
//!
//! ```text
//! <store>/containers/<id>/
//!   config.json   what it was made from; written once
//!   state.json    how it is
//!   log           what it wrote, see log.rs
//!   control       the socket that the owner listens on, see control.rs
//!   lock          held by the owner
//! ```
//!
//! ```text
//! owner.rs      runs a container, again if need be, and does what is asked of it
//! health.rs     finds out whether it is well
//! detached.rs   an owner in the background
//! ```

pub(crate) mod control;
pub(crate) mod detached;
pub(crate) mod health;
pub(crate) mod log;
pub(crate) mod owner;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use slipway_engine::{ContainerRequest, OpenPort};
use slipway_oci::{Digest, Reference};
use slipway_store::{ContainerFolder, Containers, FsError};

use crate::client_config;
use health::{Health, HealthTest};

const CONFIG: &str = "config.json";
const STATE: &str = "state.json";

/// What a container is made from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) request: ContainerRequest,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) restart: Restart,
    /// `None` is what the image says, else SIGTERM.
    pub(crate) stop_signal: Option<String>,
    pub(crate) stop_timeout_s: Option<u64>,
    /// Nothing is left of it when it has ended.
    pub(crate) removes_itself: bool,
    /// Its input stays open, although nobody types.
    pub(crate) is_interactive: bool,
    /// `None` is what the image says.
    pub(crate) health: Option<HealthTest>,
}

/// When a container that has ended is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Restart {
    #[default]
    No,
    Always,
    UnlessStopped,
    /// If it failed, at most so many times.
    OnFailure(Option<u32>),
}

/// A policy that there is not.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RestartError {
    #[error(
        "invalid restart policy: unknown policy '{0}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
    )]
    Unknown(String),
    #[error("invalid restart policy format: maximum retry count must be an integer")]
    Count,
    #[error("invalid restart policy: maximum retry count can only be used with 'on-failure'")]
    Misplaced,
}

impl FromStr for Restart {
    type Err = RestartError;

    fn from_str(text: &str) -> Result<Restart, RestartError> {
        let (word, count) = text.split_once(':').map_or((text, None), |(word, count)| (word, Some(count)));
        let policy = match word {
            "" | "no" => Restart::No,
            "always" => Restart::Always,
            "unless-stopped" => Restart::UnlessStopped,
            "on-failure" => {
                let count = count.map(|count| count.parse().map_err(|_| RestartError::Count)).transpose()?;
                // Zero is no limit, as with Docker.
                return Ok(Restart::OnFailure(count.filter(|count| *count > 0)));
            }
            _ => return Err(RestartError::Unknown(word.to_owned())),
        };
        if count.is_some() { Err(RestartError::Misplaced) } else { Ok(policy) }
    }
}

impl Restart {
    /// Whether a container that ended with `code` and was started again `n_restarts` times is started once more.
    fn applies(self, code: u8, n_restarts: u32) -> bool {
        match self {
            Restart::No => false,
            Restart::Always | Restart::UnlessStopped => true,
            Restart::OnFailure(most) => code != 0 && most.is_none_or(|most| n_restarts < most),
        }
    }
}

/// How a container is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) status: Status,
    /// The number of its first process, as the host sees it.
    pub(crate) pid: Option<u32>,
    pub(crate) exit_code: u8,
    /// Why it did not start.
    pub(crate) error: Option<String>,
    pub(crate) started: Option<Timestamp>,
    pub(crate) finished: Option<Timestamp>,
    pub(crate) health: Option<Health>,
    pub(crate) ports: Vec<OpenPort>,
    pub(crate) n_restarts: u32,
    /// What it runs: what was asked for, and where nothing was, what the image says.
    pub(crate) command: Vec<String>,
    /// The id of its image, once it has started.
    #[serde(default)]
    pub(crate) image: Option<Digest>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Created,
    Running,
    /// It has ended, and will be started again.
    Restarting,
    Exited,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Restarting => "restarting",
            Status::Exited => "exited",
        })
    }
}

impl State {
    fn new() -> State {
        State {
            status: Status::Created,
            pid: None,
            exit_code: 0,
            error: None,
            started: None,
            finished: None,
            health: None,
            ports: Vec::new(),
            n_restarts: 0,
            command: Vec::new(),
            image: None,
        }
    }

    /// Whether its program runs, or will again.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.status, Status::Running | Status::Restarting)
    }
}

/// A container of which something is known.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) folder: ContainerFolder,
    pub(crate) config: Config,
    pub(crate) state: State,
}

/// Why a container cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContainersError {
    #[error("No such container: {0}")]
    None(String),
    #[error("multiple containers found with provided prefix: {0}")]
    Several(String),
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameTaken { name: String, id: String },
    #[error("Invalid container name ({0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
    Name(String),
    #[error("somebody looks after the container {0} already")]
    Owned(String),
    #[error("cannot listen for what is asked of the container")]
    Listen(#[source] io::Error),
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error("cannot write what is known of a container")]
    Json(#[from] serde_json::Error),
}

fn containers() -> Containers {
    Containers::of_store(&client_config::store_root())
}

/// All containers, the newest first. What cannot be read is in the making or on its way out.
pub(crate) fn all() -> Result<Vec<Known>, ContainersError> {
    let mut all: Vec<Known> = containers().all()?.into_iter().filter_map(Known::read).collect();
    all.sort_by_key(|known| std::cmp::Reverse(known.config.created));
    Ok(all)
}

/// The containers that are made from the image with this id; one that has not started yet counts if it asks for one of
/// `names`.
pub(crate) fn of_image(id: &Digest, names: &[Reference]) -> Result<Vec<Known>, ContainersError> {
    let mut all = all()?;
    all.retain(|known| match &known.state.image {
        Some(image) => image == id,
        None => {
            let asked = known.config.request.image.parse::<Reference>();
            asked.is_ok_and(|asked| names.contains(&asked.with_default_tag()))
        }
    });
    Ok(all)
}

/// The container of this name, or whose id begins so.
pub(crate) fn find(name: &str) -> Result<Known, ContainersError> {
    let all = all()?;
    if let Some(known) = all.iter().find(|known| known.config.name == name || known.config.id == name) {
        return Ok(known.clone());
    }
    let mut found = all.into_iter().filter(|known| !name.is_empty() && known.config.id.starts_with(name));
    match (found.next(), found.next()) {
        (Some(known), None) => Ok(known),
        (Some(_), Some(_)) => Err(ContainersError::Several(name.to_owned())),
        (None, _) => Err(ContainersError::None(name.to_owned())),
    }
}

/// Makes the folder of a new container. Its id is in the config, as its name is, which nobody else may have.
pub(crate) fn create(config: &Config) -> Result<ContainerFolder, ContainersError> {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if config.name.len() < 2
        || !config.name.starts_with(|c: char| c.is_ascii_alphanumeric())
        || !config.name.chars().all(is_valid)
    {
        return Err(ContainersError::Name(config.name.clone()));
    }
    let containers = containers();
    let naming = containers.naming()?;
    if let Some(taken) = all()?.into_iter().find(|known| known.config.name == config.name) {
        return Err(ContainersError::NameTaken { name: taken.config.name, id: taken.config.id });
    }
    let folder = containers.create(&config.id, &naming)?;
    folder.replace(CONFIG, &serde_json::to_vec(config)?)?;
    Ok(folder)
}

impl Known {
    fn read(folder: ContainerFolder) -> Option<Known> {
        let config = serde_json::from_slice(&folder.read(CONFIG).ok()??).ok()?;
        let mut known = Known { folder, config, state: State::new() };
        known.refresh();
        Some(known)
    }

    /// Reads again how it is. What its owner did not live to say is added: that it was killed.
    pub(crate) fn refresh(&mut self) {
        // In this order: an owner says how it ended before it goes.
        let is_owned = self.folder.is_owned();
        let state = self.folder.read(STATE).ok().flatten().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        self.state = state.unwrap_or_else(State::new);
        if !is_owned && self.state.is_live() {
            self.state =
                State { status: Status::Exited, exit_code: KILLED, pid: None, ports: Vec::new(), ..self.state.clone() };
        }
    }

    pub(crate) fn label(&self, name: &str) -> &str {
        self.config.labels.get(name).map_or("", String::as_str)
    }

    /// As much of the id as people read.
    pub(crate) fn short_id(&self) -> &str {
        &self.config.id[..SHORT_ID.min(self.config.id.len())]
    }
}

const SHORT_ID: usize = 12;

/// The exit code of what SIGKILL ended.
const KILLED: u8 = 128 + 9;

/// A random id of 64 hexadecimal digits.
pub(crate) fn new_id() -> io::Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A name for a container that was given none.
pub(crate) fn name_of(id: &str) -> String {
    const MANNERS: [&str; 16] = [
        "agile", "brave", "calm", "dapper", "eager", "fair", "gentle", "hardy", "jolly", "keen", "lucid", "merry",
        "nimble", "proud", "quiet", "sturdy",
    ];
    const VESSELS: [&str; 16] = [
        "barge", "bark", "brig", "canoe", "clipper", "cutter", "dinghy", "dory", "ferry", "frigate", "galley", "kayak",
        "ketch", "schooner", "sloop", "yawl",
    ];
    let digit = |index: usize| id.chars().nth(index).and_then(|c| c.to_digit(16)).unwrap_or_default() as usize;
    format!("{}_{}_{}", MANNERS[digit(0)], VESSELS[digit(1)], &id[2..8.min(id.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_policies_are_dockers() {
        for (text, expected) in [
            ("no", Ok(Restart::No)),
            ("always", Ok(Restart::Always)),
            ("on-failure", Ok(Restart::OnFailure(None))),
            ("on-failure:3", Ok(Restart::OnFailure(Some(3)))),
            ("on-failure:x", Err(RestartError::Count)),
            ("always:3", Err(RestartError::Misplaced)),
            ("maybe", Err(RestartError::Unknown("maybe".to_owned()))),
        ] {
            assert_eq!(text.parse::<Restart>(), expected, "{text}");
        }
        assert!(Restart::OnFailure(Some(2)).applies(1, 1) && !Restart::OnFailure(Some(2)).applies(1, 2));
        assert!(!Restart::OnFailure(None).applies(0, 0) && Restart::Always.applies(0, 100));
    }

    #[test]
    fn ids_give_names() {
        let id = new_id().unwrap();
        assert_eq!(id.len(), 64);
        assert_ne!(id, new_id().unwrap());
        assert_eq!(name_of("3fabcdef0123"), "dapper_yawl_abcdef");
    }
}
