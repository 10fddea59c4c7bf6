//! What is asked of the sandbox for a container of a service.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use slipway_compose::port_range;
use slipway_engine::{
    ContainerMount, ContainerRequest, Protocol, PublishedPort, PullPolicy, Resolver, Rights, Special,
};
use slipway_graph::op::{Network, Ulimit};
use slipway_graph::request::StepLimits;
use slipway_graph::request::flags::parse_extra_hosts;
use slipway_sandbox::Capabilities;

use super::document::{Device, FileEntry, Grant, Port, Service};
use super::{Model, PlanError};
use crate::commands::run::special::{SpecialError, devices, shares_host_name, with_options};
use crate::stack::protocol::NetworkPlace;

/// As with `--cpus`.
const CPU_PERIOD_US: u64 = 100_000;
const TMPFS_MODE: u32 = 0o1777;
const FILE_MODE: u32 = 0o444;

impl Model {
    pub(super) fn request(
        &self,
        name: &str,
        service: &Service,
        place: &NetworkPlace,
    ) -> Result<ContainerRequest, PlanError> {
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
            mounts: self.mounts(service).map_err(refused)?,
            is_root_readonly: service.read_only,
            has_terminal: service.tty,
            rights: rights(service).map_err(refused)?,
            special: special(service).map_err(|error| refused(error.to_string()))?,
            shm_size_bytes: service.shm_size.as_deref().and_then(|size| size.parse().ok()),
            ulimits: service.ulimits.iter().filter_map(|(kind, value)| ulimit(kind, value)).collect(),
            limits: StepLimits {
                memory_bytes: memory.and_then(|bytes| bytes.parse().ok()).filter(|bytes| *bytes > 0),
                cpu_period_us: cpus.map(|_| CPU_PERIOD_US),
                cpu_quota_us: cpus.map(|cpus| (cpus * CPU_PERIOD_US as f64) as u64),
                pids,
                ..StepLimits::default()
            },
            ..ContainerRequest::default()
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
        let lent: Vec<String> = service.devices.iter().map(device).collect();
        mounts.extend(devices(&lent).map_err(|error| error.to_string())?);
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

fn port(port: &Port) -> Result<PublishedPort, String> {
    let published = port.published.as_deref().filter(|text| !text.is_empty()).unwrap_or("0");
    let host_ports = port_range(published).ok_or_else(|| format!("invalid hostPort: {published}"))?;
    let host = port.host_ip.as_deref().filter(|address| !address.is_empty());
    Ok(PublishedPort {
        host: match host {
            Some(address) => Some(address.parse().map_err(|_| format!("invalid IP address: {address}"))?),
            None => None,
        },
        host_ports,
        container_port: port.target,
        protocol: match port.protocol.as_deref() {
            None | Some("tcp" | "") => Protocol::Tcp,
            Some("udp") => Protocol::Udp,
            Some(other) => return Err(format!("the protocol `{other}` is not known here: tcp or udp")),
        },
    })
}

fn special(service: &Service) -> Result<Special, SpecialError> {
    let shares_host_name = shares_host_name(service.uts.as_deref().unwrap_or_default(), service.hostname.is_some())?;
    let settings: Vec<String> = service.sysctls.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let special = with_options(&settings, &service.security_opt)?;
    Ok(Special { has_init: service.init, shares_host_name, ..special })
}

/// As `--device` of `run` spells it.
fn device(device: &Device) -> String {
    let Device { source, target, permissions } = device;
    let permissions = permissions.as_deref().filter(|text| !text.is_empty()).unwrap_or("rwm");
    format!("{source}:{}:{permissions}", target.as_deref().unwrap_or(source))
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
