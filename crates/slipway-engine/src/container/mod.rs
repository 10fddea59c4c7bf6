//! Runs a program in an image: `slipway run`, and the services of a stack.
//!
//! ```text
//! image.rs      which image
//! process.rs    which program, with which variables
//! ports.rs      who may come in from outside
//! ```
//!
//! What a container has in common with a `RUN` step, which is nearly all, is in `ops/exec.rs`; what it has beyond that, in
//! `ops/exec/container.rs`; further programs in it: `ops/exec/guests.rs`.

mod image;
pub(crate) mod ports;
mod process;

use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};
use slipway_graph::op::{Exec, HostAddress, Network, Security, Ulimit};
use slipway_graph::request::StepLimits;
use slipway_graph::{Events, StepId};
use slipway_oci::{Digest, ImageConfig, Platform, RuntimeConfig};
use slipway_sandbox::{Capabilities, ExitStatus, Privilege, SpawnError};
use slipway_solver::Cancel;
use slipway_store::{ActiveSnapshot, Snapshot};

use crate::engine::Engine;
use crate::fetch::Progress;
use crate::images;
use crate::ops::exec::container::{Beyond, ContainerEnds, ContainerMount, Started};
use crate::ops::exec::{ExecError, HostFiles, Run};
use crate::ops::network::JoinedNetwork;
use crate::shared_cache::import::Imports;
use crate::ssh::Agents;
pub use image::PullPolicy;
use ports::{Doors, Protocol, PublishedPort};

/// What to run, and in what. What is not said here the image says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRequest {
    /// A name, or the beginning of an id.
    pub image: String,
    /// That of this machine if there is none.
    pub platform: Option<Platform>,
    pub pull: PullPolicy,
    /// In the place of the image's; empty for none at all.
    pub entrypoint: Option<Vec<String>>,
    pub command: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    pub cwd: Option<String>,
    pub user: Option<String>,
    /// Groups that the user is in as well: names or numbers.
    pub groups: Vec<String>,
    /// Twelve random digits if there is none; with the host's network, the host's.
    pub hostname: Option<String>,
    pub network: Network,
    pub extra_hosts: Vec<(String, HostAddress)>,
    pub resolver: Resolver,
    pub ports: Vec<PublishedPort>,
    /// Every port that the image exposes is published, on any port of the host.
    pub publishes_all: bool,
    pub mounts: Vec<ContainerMount>,
    pub is_root_readonly: bool,
    pub has_terminal: bool,
    pub rights: Rights,
    #[serde(default)]
    pub special: Special,
    pub shm_size_bytes: Option<u64>,
    pub ulimits: Vec<Ulimit>,
    pub limits: StepLimits,
}

/// What is in `/etc/resolv.conf`; where this says nothing, what the host has there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    pub servers: Vec<IpAddr>,
    pub search: Vec<String>,
    pub options: Vec<String>,
}

/// How much a container may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rights {
    /// At most these capabilities, with Docker's system call filter.
    Capabilities(u64),
    /// All that slipway itself may do.
    All,
}

impl Default for Rights {
    fn default() -> Rights {
        Rights::Capabilities(Capabilities::DOCKER.bits())
    }
}

/// What a container may have unlike others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Special {
    /// A process of slipway's is the first one, in the place of the program.
    pub has_init: bool,
    /// Nothing that it executes gives it more rights.
    pub forbids_new_privileges: bool,
    /// System calls are not filtered.
    pub is_unfiltered: bool,
    /// Its host name is the host's.
    pub shares_host_name: bool,
    /// Settings of the kernel that are the container's own, as `net.ipv4.ip_forward`, and their values.
    pub kernel_settings: Vec<(String, String)>,
}

impl Special {
    fn to_sandbox(&self) -> slipway_sandbox::Special {
        let settings = self.kernel_settings.iter().map(|(name, value)| (name.replace('.', "/"), value.clone()));
        slipway_sandbox::Special {
            has_init: self.has_init,
            forbids_new_privileges: self.forbids_new_privileges,
            is_unfiltered: self.is_unfiltered,
            shares_host_name: self.shares_host_name,
            kernel_settings: settings.collect(),
        }
    }
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

/// A container with its own files, which may be run several times, one after the other. They go when it is dropped.
pub struct Container<'a> {
    engine: &'a Engine,
    request: ContainerRequest,
    image_id: Digest,
    config: ImageConfig,
    exec: Exec,
    mounts: Vec<ContainerMount>,
    image: Snapshot,
    active: ActiveSnapshot,
    host_files: HostFiles,
    doors: Doors,
    step: StepId,
}

impl Engine {
    /// Finds the image of a container, and opens its published ports. `network` is where it is in the place of what the
    /// request asks for. The calling thread has to live as long as the container.
    ///
    /// # Errors
    /// There is no such image, nothing to run in it, or a port is taken.
    pub fn container(
        &self,
        request: ContainerRequest,
        network: Option<JoinedNetwork>,
        events: &dyn Events,
        cancel: &Cancel,
    ) -> Result<Container<'_>, ContainerError> {
        let publishes = request.publishes_all || !request.ports.is_empty();
        let empty = self.store.root().join("empty");
        let host_files = HostFiles::of_container(empty, self.nofile, self.search_path.clone(), network, publishes);
        // It gets ready while the image is looked for.
        host_files.expect_network(request.network);
        let platform = request.platform.clone().unwrap_or_else(Platform::host);
        let found = self.image_to_run(&request.image, &platform, request.pull, events).map_err(other)?;
        let exec = to_exec(&request, &found.config.config)?;
        let step = events.new_step();
        let progress = Progress { events, step, cancel };
        let image = images::pull(&found.source, &self.store, &self.registry, self.flavor, &progress).map_err(other)?;
        let image_id = images::config_digest(&found.source, &self.store).map_err(other)?;
        let active = self.store.begin(Some(&image)).map_err(other)?;
        let doors = Doors::open(&ports(&request, &found.config.config)).map_err(other)?;
        let mounts = mounts(&request, &found.config.config);
        let config = found.config;
        Ok(Container { engine: self, request, image_id, config, exec, mounts, image, active, host_files, doors, step })
    }
}

impl Container<'_> {
    /// Which image it is made from: the digest of the config.
    pub fn image_id(&self) -> &Digest {
        &self.image_id
    }

    /// What its image says.
    pub fn image(&self) -> &RuntimeConfig {
        &self.config.config
    }

    /// The program and its arguments.
    pub fn command(&self) -> &[String] {
        &self.exec.args
    }

    /// Runs the program to its end. What it writes is told as the log of a step; `on_start` is called as soon as it
    /// runs. What it wrote to its own files is there when it runs again.
    ///
    /// It is killed when `cancel` says so, and when the calling thread ends.
    ///
    /// # Errors
    /// Everything that keeps the program from running.
    pub fn run(
        &self,
        ends: ContainerEnds,
        on_start: &dyn Fn(Started),
        events: &dyn Events,
        cancel: &Cancel,
    ) -> Result<ExitStatus, ContainerError> {
        let run = Run {
            exec: &self.exec,
            platform: &self.config.platform(),
            inputs: std::slice::from_ref(&self.image),
            store: &self.engine.store,
            imports: &Imports::new(Vec::new(), &self.engine.registry, events),
            secrets: &[],
            agents: &Agents::default(),
            limits: &self.request.limits,
            shell_seat: None,
            host_files: &self.host_files,
            events,
            step: self.step,
            cancel,
        };
        let beyond = Beyond {
            mounts: &self.mounts,
            is_root_readonly: self.request.is_root_readonly,
            privilege: match self.request.rights {
                Rights::Capabilities(bits) => Privilege::Sandboxed(Capabilities::from_bits(bits)),
                Rights::All => Privilege::Insecure,
            },
            special: self.request.special.to_sandbox(),
            groups: &self.request.groups,
            resolver: &self.request.resolver,
            doors: &self.doors,
            on_start,
        };
        run.hold(&self.active, &beyond, ends).map_err(|error| match error {
            ExecError::Spawn { source, hint, .. } => {
                let code = exit_code(&source);
                ContainerError::Start { code, source, hint }
            }
            ExecError::Canceled => ContainerError::Canceled,
            error => other(error),
        })
    }
}

impl Resolver {
    /// `settings`, a resolv.conf(5), with what is said here in the place of lines of the same kind; `None` if nothing is.
    pub(crate) fn over(&self, settings: &str) -> Option<String> {
        let servers: Vec<String> = self.servers.iter().map(IpAddr::to_string).collect();
        let joined = |words: &[String]| (!words.is_empty()).then(|| words.join(" ")).into_iter().collect();
        let asked: [(&str, Vec<String>); 3] =
            [("nameserver", servers), ("search", joined(&self.search)), ("options", joined(&self.options))];
        if asked.iter().all(|(_, values)| values.is_empty()) {
            return None;
        }
        let is_replaced = |line: &str| {
            let word = line.split_whitespace().next();
            asked.iter().any(|(kind, values)| word == Some(*kind) && !values.is_empty())
        };
        let mut text: String =
            settings.lines().filter(|line| !is_replaced(line)).map(|line| format!("{line}\n")).collect();
        for (kind, values) in &asked {
            values.iter().for_each(|value| text.push_str(&format!("{kind} {value}\n")));
        }
        Some(text)
    }
}

/// Docker's code for containers that could not be made.
const CANNOT_RUN: u8 = 125;

/// A step that does not start has the reference builder's codes, a container Docker's.
pub(crate) fn exit_code(error: &SpawnError) -> u8 {
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

fn to_exec(request: &ContainerRequest, image: &RuntimeConfig) -> Result<Exec, ContainerError> {
    let args = process::arguments(image, request.entrypoint.as_deref(), &request.command);
    if args.is_empty() {
        return Err(ContainerError::NoCommand);
    }
    let hostname = match (&request.hostname, request.network) {
        (Some(name), _) => name.clone(),
        (None, network) if network == Network::Host || request.special.shares_host_name => {
            rustix::system::uname().nodename().to_string_lossy().into_owned()
        }
        (None, _) => random_name(),
    };
    let cwd = [request.cwd.as_deref(), Some(&image.working_dir)];
    let cwd = cwd.into_iter().flatten().find(|path| !path.is_empty()).unwrap_or("/");
    Ok(Exec {
        args,
        env: process::environment(image, &request.env, &hostname, request.has_terminal),
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

/// What is asked for, and where everything is, what the image exposes.
fn ports(request: &ContainerRequest, image: &RuntimeConfig) -> Vec<PublishedPort> {
    let mut ports = request.ports.clone();
    if !request.publishes_all {
        return ports;
    }
    for exposed in image.exposed_ports.keys() {
        let (number, protocol) = exposed.split_once('/').unwrap_or((exposed, "tcp"));
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => continue,
        };
        let Ok(container_port) = number.parse() else { continue };
        if !ports.iter().any(|port| (port.container_port, port.protocol) == (container_port, protocol)) {
            ports.push(PublishedPort { host: None, host_ports: (0, 0), container_port, protocol });
        }
    }
    ports
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_names_replaces_what_the_host_says() {
        let host = "search a.example\nnameserver 192.0.2.1\noptions ndots:2\n";
        let texts = |words: &str| words.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(Resolver::default().over(host), None);
        let search = Resolver { search: texts("b.example c.example"), ..Resolver::default() };
        assert_eq!(search.over(host).unwrap(), "nameserver 192.0.2.1\noptions ndots:2\nsearch b.example c.example\n");
        let servers = Resolver { servers: vec!["192.0.2.7".parse().unwrap()], ..Resolver::default() };
        assert_eq!(servers.over(host).unwrap(), "search a.example\noptions ndots:2\nnameserver 192.0.2.7\n");
    }
}
