//! From a project to the containers that it asks for (`spec/compose.md` section 6.1).

mod document;
mod request;
pub(super) mod volumes;
pub(super) mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::Timestamp;
use slipway_compose::Project;
use slipway_engine::ContainerRequest;
use slipway_graph::duration::duration_of;

use crate::commands::version;
use crate::containers::health::HealthTest;
use crate::containers::{self, Config};
use crate::stack::protocol::{Attachment, Dependency, NetworkPlace, Plan, Planned, PlannedNetwork};
use crate::stack::{CONFIG_FILES, DEPENDS_ON, HASH, NUMBER, ONE_OFF, PROJECT, SERVICE, VERSION, WORKING_DIR};
use document::{DependsOn, Document, Healthcheck, NetworkEntry, Service};

/// Why a project cannot be run.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlanError {
    #[error("service {service:?}: {reason}")]
    Service { service: String, reason: String },
    #[error("network {network:?}: {reason}")]
    Network { network: String, reason: String },
    #[error("no such service: {0}")]
    NoService(String),
    #[error("can't watch service {service:?} with action {action} without a build context")]
    NoContext { service: String, action: String },
    #[error("none of the selected services is configured for watch, consider setting a 'develop' section")]
    NothingWatched,
    #[error(transparent)]
    Id(#[from] std::io::Error),
    #[error("the project cannot be understood: {0}")]
    Model(#[from] serde_json::Error),
}

/// A project as it is carried out.
pub(super) struct Model {
    name: String,
    folder: String,
    /// Paths of the Compose files, with commas between them.
    files: String,
    separator: &'static str,
    document: Document,
    hashes: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
}

/// Attributes that change what runs so much that it is not run without them.
const REFUSED: [&str; 11] = [
    "links",
    "external_links",
    "pid",
    "ipc",
    "gpus",
    "device_cgroup_rules",
    "runtime",
    "provider",
    "credential_spec",
    "userns_mode",
    "cgroup_parent",
];

/// Attributes that mean nothing to a container here, or are looked at elsewhere.
const QUIET: [&str; 13] = [
    "expose",
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
];

impl Model {
    /// `separator` stands between the parts of names; `files` are the paths of the Compose files.
    pub(super) fn read(project: &Project, separator: &'static str, files: &[&str]) -> Result<Model, PlanError> {
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
            files: files.join(","),
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

    /// Adds the services that are to be restarted with one of these.
    pub(super) fn add_restarted_with(&self, services: &mut BTreeSet<String>) {
        loop {
            let is_due = |(name, service): &(&String, &Service)| {
                let mut restarting = service.depends_on.iter().filter(|(_, depends)| depends.restart);
                !services.contains(*name) && restarting.any(|(other, _)| services.contains(other))
            };
            let due: Vec<String> = self.services().filter(is_due).map(|(name, _)| name.clone()).collect();
            if due.is_empty() {
                return;
            }
            services.extend(due);
        }
    }

    /// Each service behind those that it depends on.
    pub(super) fn ordered(&self, services: &BTreeSet<String>) -> Vec<String> {
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
            (WORKING_DIR, &self.folder),
            (CONFIG_FILES, &self.files),
            (DEPENDS_ON, &depends_on_label(service)),
            (VERSION, version::COMPOSE),
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
}

/// `db:service_healthy:false,cache:service_started:true`
fn depends_on_label(service: &Service) -> String {
    let entry = |(other, depends): (&String, &DependsOn)| format!("{other}:{}:{}", depends.condition, depends.restart);
    service.depends_on.iter().map(entry).collect::<Vec<_>>().join(",")
}

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
