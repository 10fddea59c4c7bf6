//! From a project to the containers that it asks for (`spec/compose.md` section 6.1).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use slipway_compose::Project;
use slipway_engine::{
    ContainerMount, ContainerRequest, Protocol, PublishedPort, PullPolicy, Resolver, Rights, Special,
};
use slipway_graph::duration::duration_of;
use slipway_graph::op::{Network, Ulimit};
use slipway_graph::request::StepLimits;
use slipway_graph::request::flags::parse_extra_hosts;
use slipway_sandbox::Capabilities;

use crate::containers::health::HealthTest;
use crate::containers::{self, Config};
use crate::stack::protocol::{Attachment, Condition, Dependency, NetworkPlace, Plan, Planned, PlannedNetwork};
use crate::stack::{HASH, NUMBER, ONE_OFF, PROJECT, SERVICE};

/// Why a project cannot be run.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlanError {
    #[error("service {service:?}: {reason}")]
    Service { service: String, reason: String },
    #[error("network {network:?}: {reason}")]
    Network { network: String, reason: String },
    #[error("no such service: {0}")]
    NoService(String),
    #[error(transparent)]
    Id(#[from] std::io::Error),
    #[error("the project cannot be understood: {0}")]
    Model(#[from] serde_json::Error),
}

/// A project as it is carried out.
pub(super) struct Model {
    name: String,
    folder: String,
    separator: &'static str,
    document: Document,
    hashes: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    services: BTreeMap<String, Service>,
    networks: BTreeMap<String, Option<NetworkEntry>>,
    volumes: BTreeMap<String, Option<Named>>,
    secrets: BTreeMap<String, FileEntry>,
    configs: BTreeMap<String, FileEntry>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NetworkEntry {
    internal: bool,
    external: bool,
    ipam: Ipam,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ipam {
    config: Vec<Subnet>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Subnet {
    subnet: String,
}

/// A secret, or a piece of configuration.
#[derive(Default, Deserialize)]
#[serde(default)]
struct FileEntry {
    file: Option<String>,
    environment: Option<String>,
    content: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Service {
    image: Option<String>,
    build: Option<Value>,
    command: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    environment: BTreeMap<String, Option<String>>,
    ports: Vec<Port>,
    volumes: Vec<Volume>,
    tmpfs: Vec<String>,
    networks: Option<BTreeMap<String, Option<ServiceNetwork>>>,
    network_mode: Option<String>,
    hostname: Option<String>,
    container_name: Option<String>,
    user: Option<String>,
    working_dir: Option<String>,
    depends_on: BTreeMap<String, DependsOn>,
    healthcheck: Option<Healthcheck>,
    restart: Option<String>,
    stop_signal: Option<String>,
    stop_grace_period: Option<String>,
    tty: bool,
    stdin_open: bool,
    read_only: bool,
    privileged: bool,
    cap_add: Vec<String>,
    cap_drop: Vec<String>,
    group_add: Vec<String>,
    shm_size: Option<String>,
    ulimits: BTreeMap<String, Value>,
    extra_hosts: Vec<String>,
    dns: Vec<String>,
    dns_search: Vec<String>,
    dns_opt: Vec<String>,
    labels: BTreeMap<String, String>,
    scale: Option<u32>,
    deploy: Deploy,
    mem_limit: Option<String>,
    cpus: Option<f64>,
    pids_limit: Option<i64>,
    secrets: Vec<Grant>,
    configs: Vec<Grant>,
    platform: Option<String>,
    pull_policy: Option<String>,
    /// Everything else, for what is said about it.
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Port {
    host_ip: Option<String>,
    target: u16,
    published: Option<String>,
    protocol: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Volume {
    r#type: String,
    source: Option<String>,
    target: String,
    read_only: bool,
    bind: BindOptions,
    volume: VolumeOptions,
    tmpfs: TmpfsOptions,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct BindOptions {
    create_host_path: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct VolumeOptions {
    nocopy: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TmpfsOptions {
    size: Option<String>,
    mode: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ServiceNetwork {
    aliases: Vec<String>,
    ipv4_address: Option<Ipv4Addr>,
}

#[derive(Deserialize)]
struct DependsOn {
    #[serde(default)]
    condition: Condition,
    #[serde(default)]
    restart: bool,
    #[serde(default = "yes")]
    required: bool,
}

fn yes() -> bool {
    true
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Healthcheck {
    test: Vec<String>,
    interval: Option<String>,
    timeout: Option<String>,
    start_period: Option<String>,
    start_interval: Option<String>,
    retries: Option<u32>,
    disable: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Deploy {
    replicas: Option<u32>,
    resources: Resources,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Resources {
    limits: Limits,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Limits {
    cpus: Option<f64>,
    memory: Option<String>,
    pids: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Grant {
    source: String,
    target: Option<String>,
    uid: Option<String>,
    gid: Option<String>,
    mode: Option<String>,
}

/// Attributes that change what runs so much that it is not run without them.
const REFUSED: [&str; 13] = [
    "volumes_from",
    "links",
    "external_links",
    "pid",
    "ipc",
    "devices",
    "gpus",
    "device_cgroup_rules",
    "runtime",
    "provider",
    "credential_spec",
    "userns_mode",
    "cgroup_parent",
];

/// Attributes that mean nothing to a container here, or are looked at elsewhere.
const QUIET: [&str; 16] = [
    "expose",
    "develop",
    "profiles",
    "env_file",
    "label_file",
    "annotations",
    "logging",
    "extends",
    "attach",
    "isolation",
    "build",
    "models",
    "domainname",
    "pull_refresh_after",
    "post_start",
    "pre_stop",
];

impl Model {
    /// `separator` stands between the parts of names.
    pub(super) fn read(project: &Project, separator: &'static str) -> Result<Model, PlanError> {
        let model = |reason: slipway_compose::ComposeError| PlanError::Service {
            service: project.name.clone(),
            reason: reason.reason,
        };
        let text = project.to_model().map_err(model)?;
        let mut hashes = BTreeMap::new();
        for service in project.services().keys() {
            hashes.insert(service.clone(), project.hash_of(service).map_err(model)?.unwrap_or_default());
        }
        Ok(Model {
            name: project.name.clone(),
            folder: project.folder.clone(),
            separator,
            document: serde_json::from_str(&text)?,
            hashes,
            environment: project.environment.clone().into_iter().collect(),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn services(&self) -> impl Iterator<Item = (&String, &Service)> {
        self.document.services.iter()
    }

    pub(super) fn service(&self, name: &str) -> Result<&Service, PlanError> {
        self.document.services.get(name).ok_or_else(|| PlanError::NoService(name.to_owned()))
    }

    /// The names of volumes that are the project's own.
    pub(super) fn own_volumes(&self) -> Vec<&str> {
        let volumes = self.document.volumes.values().flatten().map(|volume| volume.name.as_str());
        volumes.filter(|name| name.starts_with(&format!("{}_", self.name))).collect()
    }

    /// The image that a service runs.
    pub(super) fn image(&self, name: &str, service: &Service) -> String {
        service.image.clone().unwrap_or_else(|| format!("{}{}{name}", self.name, self.separator))
    }

    /// The services of these names, and what they depend on; all if none is named.
    pub(super) fn with_dependencies(&self, names: &[String]) -> Result<BTreeSet<String>, PlanError> {
        let mut left: Vec<String> = match names {
            [] => self.document.services.keys().cloned().collect(),
            names => names.to_vec(),
        };
        let mut found = BTreeSet::new();
        while let Some(name) = left.pop() {
            let service = self.service(&name)?;
            if found.insert(name) {
                let known = service.depends_on.keys().filter(|name| self.document.services.contains_key(*name));
                left.extend(known.cloned());
            }
        }
        Ok(found)
    }

    /// What is to be said about attributes that have no effect.
    pub(super) fn remarks(&self, services: &BTreeSet<String>) -> Vec<String> {
        let mut remarks = Vec::new();
        for name in services {
            let Some(service) = self.document.services.get(name) else { continue };
            let is_said = |key: &&String| {
                let key = key.as_str();
                !QUIET.contains(&key) && !REFUSED.contains(&key) && !key.starts_with("x-")
            };
            let unknown = service.others.keys().filter(is_said);
            remarks.extend(unknown.map(|key| format!("services.{name}.{key} has no effect here")));
        }
        remarks
    }

    /// The networks, with those that the project does not name itself.
    pub(super) fn networks(&self) -> Result<BTreeMap<String, PlannedNetwork>, PlanError> {
        let mut networks = BTreeMap::new();
        for (key, entry) in &self.document.networks {
            let none = NetworkEntry::default();
            let entry = entry.as_ref().unwrap_or(&none);
            let refused = |reason: &str| PlanError::Network { network: key.clone(), reason: reason.to_owned() };
            if entry.external {
                return Err(refused("networks of others are not known here; every stack has its own"));
            }
            let subnets = entry.ipam.config.iter().map(|config| config.subnet.as_str());
            let mut subnets = subnets.filter(|subnet| !subnet.is_empty() && !subnet.contains(':'));
            let subnet = match subnets.next() {
                None => None,
                Some(text) => Some(subnet(text).ok_or_else(|| refused(&format!("invalid subnet {text:?}")))?),
            };
            networks.insert(key.clone(), PlannedNetwork { subnet, is_internal: entry.internal });
        }
        Ok(networks)
    }

    /// What makes `services` run, in the order of what they depend on. `scale` says how many containers a service has.
    pub(super) fn plan(&self, services: &BTreeSet<String>, scale: &BTreeMap<String, u32>) -> Result<Plan, PlanError> {
        let mut containers = Vec::new();
        for name in self.ordered(services) {
            let service = self.service(&name)?;
            let n_containers = scale.get(&name).copied().or(service.scale).or(service.deploy.replicas).unwrap_or(1);
            if n_containers > 1 && service.container_name.is_some() {
                let reason = "a service with a container_name has one container only".to_owned();
                return Err(PlanError::Service { service: name, reason });
            }
            for number in 1..=n_containers {
                containers.push(self.planned(&name, service, number)?);
            }
        }
        Ok(Plan { networks: self.networks()?, containers })
    }

    /// Each service behind those that it depends on.
    fn ordered(&self, services: &BTreeSet<String>) -> Vec<String> {
        let mut ordered: Vec<String> = Vec::new();
        while ordered.len() < services.len() {
            let is_ready = |name: &&String| {
                let needs = self.document.services.get(*name).map(|service| service.depends_on.keys());
                !ordered.contains(name)
                    && needs.into_iter().flatten().all(|other| !services.contains(other) || ordered.contains(other))
            };
            // The project has been checked for circles.
            let Some(next) = services.iter().find(is_ready) else { break };
            ordered.push(next.clone());
        }
        ordered
    }

    fn planned(&self, name: &str, service: &Service, number: u32) -> Result<Planned, PlanError> {
        let refused = |reason: String| PlanError::Service { service: name.to_owned(), reason };
        if let Some(key) = REFUSED.iter().find(|key| service.others.contains_key(**key)) {
            return Err(refused(format!("`{key}` is not known here")));
        }
        let separator = self.separator;
        let container = match &service.container_name {
            Some(container) => container.clone(),
            None => format!("{}{separator}{name}{separator}{number}", self.name),
        };
        let place = self.place(name, service, &container)?;
        let request = self.request(name, service, &place)?;
        let id = containers::new_id()?;
        let hash = self.hashes.get(name).cloned().unwrap_or_default();
        let mut labels = service.labels.clone();
        for (key, value) in [
            (PROJECT, self.name.as_str()),
            (SERVICE, name),
            (NUMBER, &number.to_string()),
            (ONE_OFF, "False"),
            (HASH, &hash),
            ("com.docker.compose.project.working_dir", &self.folder),
        ] {
            labels.insert(key.to_owned(), value.to_owned());
        }
        let request = ContainerRequest { hostname: request.hostname.or_else(|| own_hostname(&place, &id)), ..request };
        let config = Config {
            name: container,
            id,
            created: Timestamp::now(),
            request,
            labels,
            restart: service.restart.as_deref().unwrap_or("no").parse().map_err(|error| refused(format!("{error}")))?,
            stop_signal: service.stop_signal.clone(),
            stop_timeout_s: time(service.stop_grace_period.as_deref()).map(|time| time.as_secs()),
            removes_itself: false,
            is_interactive: service.stdin_open,
            health: service.healthcheck.as_ref().map(health),
        };
        let depends_on = service.depends_on.iter().map(|(other, depends)| Dependency {
            service: other.clone(),
            condition: depends.condition,
            is_required: depends.required,
            restarts: depends.restart,
        });
        Ok(Planned { service: name.to_owned(), config, hash, place, depends_on: depends_on.collect() })
    }

    fn place(&self, name: &str, service: &Service, container: &str) -> Result<NetworkPlace, PlanError> {
        let refused = |reason: String| PlanError::Service { service: name.to_owned(), reason };
        match service.network_mode.as_deref() {
            None | Some("") => {}
            Some("none" | "host") => return Ok(NetworkPlace::AsAsked),
            Some(mode) => match mode.strip_prefix("service:") {
                Some(other) => return Ok(NetworkPlace::Of(other.to_owned())),
                None => return Err(refused(format!("the network mode `{mode}` is not known here"))),
            },
        }
        let attachments = service.networks.iter().flatten().map(|(network, settings)| {
            let (aliases, address) = match settings {
                Some(settings) => (settings.aliases.clone(), settings.ipv4_address),
                None => (Vec::new(), None),
            };
            let mut names = vec![name.to_owned(), container.to_owned()];
            names.extend(aliases);
            Attachment { network: network.clone(), names, address }
        });
        let attachments: Vec<Attachment> = attachments.collect();
        match attachments.is_empty() {
            true => Ok(NetworkPlace::AsAsked),
            false => Ok(NetworkPlace::In(attachments)),
        }
    }

    fn request(&self, name: &str, service: &Service, place: &NetworkPlace) -> Result<ContainerRequest, PlanError> {
        let refused = |reason: String| PlanError::Service { service: name.to_owned(), reason };
        let limits = &service.deploy.resources.limits;
        let memory = service.mem_limit.as_deref().or(limits.memory.as_deref());
        let cpus = service.cpus.or(limits.cpus).filter(|cpus| *cpus > 0.0);
        let pids = service.pids_limit.or(limits.pids).and_then(|pids| u64::try_from(pids).ok());
        let env = service.environment.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)));
        let addresses =
            service.dns.iter().map(|text| text.parse().map_err(|_| refused(format!("invalid dns {text:?}"))));
        Ok(ContainerRequest {
            image: self.image(name, service),
            platform: match service.platform.as_deref().filter(|platform| !platform.is_empty()) {
                Some(platform) => Some(platform.parse().map_err(|error| refused(format!("{error}")))?),
                None => None,
            },
            pull: match service.pull_policy.as_deref() {
                _ if service.build.is_some() => PullPolicy::Never,
                Some("always") => PullPolicy::Always,
                Some("never") => PullPolicy::Never,
                _ => PullPolicy::Missing,
            },
            entrypoint: service.entrypoint.clone(),
            command: service.command.clone().unwrap_or_default(),
            env: env.collect(),
            cwd: service.working_dir.clone(),
            user: service.user.clone(),
            groups: service.group_add.clone(),
            hostname: service.hostname.clone(),
            network: match (place, service.network_mode.as_deref()) {
                (NetworkPlace::AsAsked, Some("host")) => Network::Host,
                (NetworkPlace::AsAsked, _) => Network::None,
                (NetworkPlace::In(_) | NetworkPlace::Of(_), _) => Network::Default,
            },
            extra_hosts: parse_extra_hosts(&service.extra_hosts).map_err(|error| refused(error.to_string()))?,
            resolver: Resolver {
                servers: addresses.collect::<Result<_, _>>()?,
                search: service.dns_search.clone(),
                options: service.dns_opt.clone(),
            },
            ports: match place {
                NetworkPlace::AsAsked => Vec::new(),
                NetworkPlace::In(_) | NetworkPlace::Of(_) => {
                    service.ports.iter().map(port).collect::<Result<_, _>>().map_err(refused)?
                }
            },
            publishes_all: false,
            mounts: self.mounts(service).map_err(refused)?,
            is_root_readonly: service.read_only,
            has_terminal: service.tty,
            rights: rights(service).map_err(refused)?,
            special: Special::default(),
            shm_size_bytes: service.shm_size.as_deref().and_then(|size| size.parse().ok()),
            ulimits: service.ulimits.iter().filter_map(|(kind, value)| ulimit(kind, value)).collect(),
            limits: StepLimits {
                memory_bytes: memory.and_then(|bytes| bytes.parse().ok()).filter(|bytes| *bytes > 0),
                cpu_period_us: cpus.map(|_| CPU_PERIOD_US),
                cpu_quota_us: cpus.map(|cpus| (cpus * CPU_PERIOD_US as f64) as u64),
                pids,
                ..StepLimits::default()
            },
        })
    }

    fn mounts(&self, service: &Service) -> Result<Vec<ContainerMount>, String> {
        let mut mounts = Vec::new();
        for volume in &service.volumes {
            let (target, is_readonly) = (volume.target.clone(), volume.read_only);
            mounts.push(match (volume.r#type.as_str(), &volume.source) {
                ("bind", Some(source)) => ContainerMount::Bind {
                    source: PathBuf::from(source),
                    target,
                    is_readonly,
                    makes_source: volume.bind.create_host_path,
                },
                ("volume", source) => {
                    let entry = source.as_ref().map(|source| (source, self.document.volumes.get(source)));
                    let name = entry.map(|(source, entry)| match entry {
                        Some(Some(entry)) if !entry.name.is_empty() => entry.name.clone(),
                        _ => format!("{}_{source}", self.name),
                    });
                    ContainerMount::Volume { name, target, is_readonly, starts_empty: volume.volume.nocopy }
                }
                ("tmpfs", _) => ContainerMount::Tmpfs {
                    target,
                    size_bytes: volume.tmpfs.size.as_deref().and_then(|size| size.parse().ok()),
                    mode: volume.tmpfs.mode.unwrap_or(TMPFS_MODE),
                    is_readonly,
                    allows_exec: false,
                },
                (other, _) => return Err(format!("volumes of type `{other}` are not known here")),
            });
        }
        for text in &service.tmpfs {
            mounts.push(crate::commands::run::tmpfs(text).map_err(|error| error.to_string())?);
        }
        for grant in &service.secrets {
            mounts.push(self.file(grant, &self.document.secrets, "/run/secrets/")?);
        }
        for grant in &service.configs {
            mounts.push(self.file(grant, &self.document.configs, "/")?);
        }
        Ok(mounts)
    }

    /// A secret or a piece of configuration, which is read now.
    fn file(
        &self,
        grant: &Grant,
        entries: &BTreeMap<String, FileEntry>,
        folder: &str,
    ) -> Result<ContainerMount, String> {
        let source = &grant.source;
        let entry = entries.get(source).ok_or_else(|| format!("there is no secret or config {source:?}"))?;
        let content = match (&entry.content, &entry.file, &entry.environment) {
            (Some(content), _, _) => content.clone().into_bytes(),
            (None, Some(path), _) => fs::read(path).map_err(|error| format!("cannot read {path}: {error}"))?,
            (None, None, Some(name)) => {
                let value = self.environment.get(name);
                value.ok_or_else(|| format!("the variable {name:?} of {source:?} is not set"))?.clone().into_bytes()
            }
            (None, None, None) => return Err(format!("{source:?} is kept by others, who are not known here")),
        };
        let target = match grant.target.as_deref() {
            Some(target) if target.starts_with('/') => target.to_owned(),
            Some(target) => format!("{folder}{target}"),
            None => format!("{folder}{source}"),
        };
        let number = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0);
        let mode = grant.mode.as_deref().and_then(|mode| u32::from_str_radix(mode, 8).ok()).unwrap_or(FILE_MODE);
        Ok(ContainerMount::File { target, content, mode, uid: number(&grant.uid), gid: number(&grant.gid) })
    }
}

impl Service {
    pub(super) fn is_built(&self) -> bool {
        self.build.is_some()
    }

    pub(super) fn has_image(&self) -> bool {
        self.image.is_some()
    }

    pub(super) fn pull_policy(&self) -> &str {
        self.pull_policy.as_deref().unwrap_or("missing")
    }
}

/// As with `--cpus`.
const CPU_PERIOD_US: u64 = 100_000;
const TMPFS_MODE: u32 = 0o1777;
const FILE_MODE: u32 = 0o444;

/// The beginning of the id, unless the container shares the host's name with its network.
fn own_hostname(place: &NetworkPlace, id: &str) -> Option<String> {
    matches!(place, NetworkPlace::In(_) | NetworkPlace::Of(_)).then(|| id[..12].to_owned())
}

fn time(text: Option<&str>) -> Option<Duration> {
    text.and_then(duration_of)
}

fn subnet(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (base, prefix) = text.split_once('/')?;
    let (base, prefix) = (base.parse().ok()?, prefix.parse().ok()?);
    (8..=30).contains(&prefix).then_some((base, prefix))
}

fn port(port: &Port) -> Result<PublishedPort, String> {
    let published = port.published.as_deref().filter(|text| !text.is_empty()).unwrap_or("0");
    let (first, last) = published.split_once('-').unwrap_or((published, published));
    let number = |text: &str| text.parse().map_err(|_| format!("invalid hostPort: {published}"));
    let host = port.host_ip.as_deref().filter(|address| !address.is_empty());
    Ok(PublishedPort {
        host: match host {
            Some(address) => Some(address.parse().map_err(|_| format!("invalid IP address: {address}"))?),
            None => None,
        },
        host_ports: (number(first)?, number(last)?),
        container_port: port.target,
        protocol: match port.protocol.as_deref() {
            None | Some("tcp" | "") => Protocol::Tcp,
            Some("udp") => Protocol::Udp,
            Some(other) => return Err(format!("the protocol `{other}` is not known here: tcp or udp")),
        },
    })
}

fn rights(service: &Service) -> Result<Rights, String> {
    if service.privileged {
        return Ok(Rights::All);
    }
    crate::commands::run::capabilities(&service.cap_add, &service.cap_drop)
        .map(Capabilities::bits)
        .map(Rights::Capabilities)
}

fn ulimit(kind: &str, value: &Value) -> Option<Ulimit> {
    let (soft, hard) = match value {
        Value::Object(ends) => (ends.get("soft")?.as_i64()?, ends.get("hard")?.as_i64()?),
        value => (value.as_i64()?, value.as_i64()?),
    };
    Some(Ulimit { kind: kind.to_owned(), soft, hard })
}

fn health(check: &Healthcheck) -> HealthTest {
    HealthTest {
        test: if check.disable { vec!["NONE".to_owned()] } else { check.test.clone() },
        interval: time(check.interval.as_deref()),
        timeout: time(check.timeout.as_deref()),
        start_period: time(check.start_period.as_deref()),
        start_interval: time(check.start_interval.as_deref()),
        retries: check.retries,
    }
}
