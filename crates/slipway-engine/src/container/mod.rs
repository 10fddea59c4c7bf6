//! Runs a program in an image: `slipway run`.
//!
//! ```text
//! image.rs      which image
//! process.rs    which program, with which variables
//! ```
//!
//! What a container has in common with a `RUN` step, which is nearly all, is in `ops/exec.rs`; what it has beyond that, in
//! `ops/exec/container.rs`.

mod image;
mod process;

use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::Arc;

use slipway_graph::Events;
use slipway_graph::op::{Exec, HostAddress, Network, Security, Ulimit};
use slipway_graph::request::StepLimits;
use slipway_oci::{Platform, RuntimeConfig};
use slipway_sandbox::{ExitStatus, Running, SpawnError};
use slipway_solver::Cancel;

use crate::engine::Engine;
use crate::fetch::Progress;
use crate::images;
use crate::ops::exec::container::{Container, ContainerEnds, ContainerMount};
use crate::ops::exec::{ExecError, HostFiles, Run};
use crate::shared_cache::import::Imports;
use crate::ssh::Agents;
pub use image::PullPolicy;

/// What to run, and in what. What is not said here the image says.
#[derive(Clone, Debug, Default)]
pub struct ContainerRequest {
    /// A name, or the beginning of an id.
    pub image: String,
    /// That of this machine if there is none.
    pub platform: Option<Platform>,
    pub pull: PullPolicy,
    /// In the place of the image's; empty for none at all.
    pub entrypoint: Option<String>,
    pub command: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    pub cwd: Option<String>,
    pub user: Option<String>,
    /// Twelve random digits if there is none; with the host's network, the host's.
    pub hostname: Option<String>,
    pub network: Network,
    pub extra_hosts: Vec<(String, HostAddress)>,
    pub mounts: Vec<ContainerMount>,
    pub is_root_readonly: bool,
    pub shm_size_bytes: Option<u64>,
    pub ulimits: Vec<Ulimit>,
    pub limits: StepLimits,
}

/// Why a program did not run.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    #[error("no command specified")]
    NoCommand,
    /// `code` is what shells and Docker say of it: 127 if it is not there, 126 if it cannot be executed.
    #[error("{source}")]
    Start { code: u8, source: SpawnError, hint: Option<String> },
    #[error("canceled")]
    Canceled,
    #[error(transparent)]
    Other(Box<dyn Error + Send + Sync>),
}

impl Engine {
    /// Runs a container to its end. What it writes is told as the log of a step; `on_start` is called as soon as its
    /// program runs. Nothing is kept but what it wrote to named volumes and folders of the host.
    ///
    /// The container is killed when `cancel` says so, and when the calling thread ends.
    ///
    /// # Errors
    /// Everything that keeps the program from running.
    pub fn run_container(
        &self,
        request: &ContainerRequest,
        ends: ContainerEnds,
        on_start: &dyn Fn(Arc<Running>),
        events: &dyn Events,
        cancel: &Cancel,
    ) -> Result<ExitStatus, ContainerError> {
        let empty = self.store.root().join("empty");
        let host_files = HostFiles::new(empty, self.nofile, self.search_path.clone(), None, false);
        // It gets ready while the image is looked for.
        host_files.expect_network(request.network);
        let platform = request.platform.clone().unwrap_or_else(Platform::host);
        let found = self.image_to_run(&request.image, &platform, request.pull, events).map_err(other)?;
        let exec = to_exec(request, &found.config.config, ends.terminal.is_some())?;
        let step = events.new_step();
        let progress = Progress { events, step, cancel };
        let image = images::pull(&found.source, &self.store, &self.registry, self.flavor, &progress).map_err(other)?;
        let imports = Imports::new(Vec::new(), &self.registry, events);
        let run = Run {
            exec: &exec,
            platform: &found.config.platform(),
            inputs: &[image],
            store: &self.store,
            imports: &imports,
            secrets: &[],
            agents: &Agents::default(),
            limits: &request.limits,
            shell_seat: None,
            host_files: &host_files,
            events,
            step,
            cancel,
        };
        let mounts = mounts(request, &found.config.config);
        let container = Container { mounts: &mounts, is_root_readonly: request.is_root_readonly, on_start };
        run.hold(&container, ends).map_err(|error| match error {
            ExecError::Spawn { source, hint, .. } => {
                let code = exit_code(&source);
                ContainerError::Start { code, source, hint }
            }
            ExecError::Canceled => ContainerError::Canceled,
            error => other(error),
        })
    }
}

/// Docker's code for containers that could not be made.
const CANNOT_RUN: u8 = 125;

/// A step that does not start has the reference builder's codes, a container Docker's.
fn exit_code(error: &SpawnError) -> u8 {
    match error {
        SpawnError::Exec(slipway_sandbox::ExecError::NotInPath { .. }) => 127,
        SpawnError::Exec(slipway_sandbox::ExecError::Unusable { answer, .. }) => match answer.kind() {
            io::ErrorKind::NotFound => 127,
            _ => 126,
        },
        SpawnError::Setup(_) | SpawnError::InvalidId(_) | SpawnError::Nul(_) => CANNOT_RUN,
    }
}

fn other(error: impl Error + Send + Sync + 'static) -> ContainerError {
    ContainerError::Other(Box::new(error))
}

fn to_exec(request: &ContainerRequest, image: &RuntimeConfig, has_terminal: bool) -> Result<Exec, ContainerError> {
    let args = process::arguments(image, request.entrypoint.as_deref(), &request.command);
    if args.is_empty() {
        return Err(ContainerError::NoCommand);
    }
    let hostname = match (&request.hostname, request.network) {
        (Some(name), _) => name.clone(),
        (None, Network::Host) => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        (None, Network::Default | Network::None) => random_name(),
    };
    let cwd = [request.cwd.as_deref(), Some(&image.working_dir)];
    let cwd = cwd.into_iter().flatten().find(|path| !path.is_empty()).unwrap_or("/");
    Ok(Exec {
        args,
        env: process::environment(image, &request.env, &hostname, has_terminal),
        proxy_env: Vec::new(),
        cwd: cwd.to_owned(),
        user: request.user.clone().unwrap_or_else(|| image.user.clone()),
        hostname,
        network: request.network,
        security: Security::Sandbox,
        mounts: Vec::new(),
        extra_hosts: request.extra_hosts.clone(),
        shm_size_bytes: request.shm_size_bytes,
        ulimits: request.ulimits.clone(),
    })
}

/// The volumes that the image wants, unless something else is mounted there, and then what was asked for.
fn mounts(request: &ContainerRequest, image: &RuntimeConfig) -> Vec<ContainerMount> {
    let is_free = |target: &&String| {
        let same = |mount: &ContainerMount| Path::new(mount.target()) == Path::new(target.as_str());
        !request.mounts.iter().any(same)
    };
    let volume = |target: &String| ContainerMount::Volume {
        name: None,
        target: target.clone(),
        is_readonly: false,
        starts_empty: false,
    };
    image.volumes.keys().filter(is_free).map(volume).chain(request.mounts.iter().cloned()).collect()
}

/// Twelve random hexadecimal digits, as the ids that Docker names containers by.
fn random_name() -> String {
    let random = RandomState::new().build_hasher().finish();
    format!("{:012x}", random & 0xffff_ffff_ffff)
}
