//! Which agents can the steps of this build talk to? What `--ssh` names, opened before anything is built.
//!
//! ```text
//! key.rs       private key files: their formats, and signatures
//! protocol.rs  what a step may ask an agent, and how keys of files answer
//! ```
//!
//! `ops/ssh.rs` makes the socket that a step sees.

mod key;
mod protocol;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use slipway_graph::request::{Ssh, SshSource};

use key::{KeyError, PrivateKey};
pub(crate) use protocol::serve;

/// As much as is read of a key file; the reference reads no more either.
const MAX_KEY_BYTES: u64 = 100 * 1024;

/// Who answers a step.
#[derive(Debug)]
pub(crate) enum Agent {
    /// The agent of the user, at this socket.
    Socket(PathBuf),
    /// Keys of files, held by this process.
    Keys(Vec<PrivateKey>),
}

/// Why a file of `--ssh ID=FILE[,FILE…]` is of no use.
#[derive(Debug, thiserror::Error)]
#[error(
    "failed to convert agent config {{{id} [{}] false}}: failed to convert agent config for ID: \"{id}\"",
    .paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
)]
pub(crate) struct AgentError {
    id: String,
    paths: Vec<PathBuf>,
    source: KeyFileError,
}

/// Why programs that are no steps, such as git, cannot use an agent.
#[derive(Debug, thiserror::Error)]
#[error(
    "`--ssh {id}=` with key files is for steps alone; start an agent and pass its socket: `--ssh {id}=$SSH_AUTH_SOCK`"
)]
pub(crate) struct NoSocketError {
    id: String,
}

/// The socket of the user's own agent, for programs that are no steps.
pub(crate) fn socket(ssh: &Ssh) -> Result<&Path, NoSocketError> {
    match &ssh.source {
        SshSource::Agent(socket) => Ok(socket),
        SshSource::Keys(_) => Err(NoSocketError { id: ssh.id.clone() }),
    }
}

/// What is wrong with one file.
#[derive(Debug, thiserror::Error)]
enum KeyFileError {
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to parse {}", path.display())]
    Parse { path: PathBuf, source: KeyError },
}

/// The agents of a build by their ids.
#[derive(Debug, Default)]
pub(crate) struct Agents(Vec<(String, Arc<Agent>)>);

impl Agents {
    /// Reads the key files. Sockets are connected to when a step does.
    pub(crate) fn open(requested: &[Ssh]) -> Result<Agents, AgentError> {
        let open = |ssh: &Ssh| Ok((ssh.id.clone(), Arc::new(Agent::open(ssh)?)));
        requested.iter().map(open).collect::<Result<_, _>>().map(Agents)
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Agent>> {
        self.0.iter().find(|(known, _)| known == id).map(|(_, agent)| Arc::clone(agent))
    }
}

impl Agent {
    fn open(ssh: &Ssh) -> Result<Agent, AgentError> {
        match &ssh.source {
            SshSource::Agent(socket) => Ok(Agent::Socket(socket.clone())),
            SshSource::Keys(paths) => {
                let keys = paths.iter().map(|path| read_key(path)).collect::<Result<_, _>>();
                keys.map(Agent::Keys).map_err(|source| AgentError { id: ssh.id.clone(), paths: paths.clone(), source })
            }
        }
    }
}

fn read_key(path: &Path) -> Result<PrivateKey, KeyFileError> {
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_KEY_BYTES).read_to_end(&mut text))
        .map_err(|source| KeyFileError::Read { path: path.to_owned(), source })?;
    PrivateKey::parse(&text).map_err(|source| KeyFileError::Parse { path: path.to_owned(), source })
}
