//! What a project says about its services, as far as it matters to who runs them (`spec/compose.md` section 6.1).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::stack::protocol::Condition;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Document {
    pub(super) services: BTreeMap<String, Service>,
    pub(super) networks: BTreeMap<String, Option<NetworkEntry>>,
    pub(super) volumes: BTreeMap<String, Option<Named>>,
    pub(super) secrets: BTreeMap<String, FileEntry>,
    pub(super) configs: BTreeMap<String, FileEntry>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Named {
    pub(super) name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct NetworkEntry {
    pub(super) internal: bool,
    pub(super) external: bool,
    pub(super) ipam: Ipam,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Ipam {
    pub(super) config: Vec<Subnet>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Subnet {
    pub(super) subnet: String,
}

/// A secret, or a piece of configuration.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct FileEntry {
    pub(super) file: Option<String>,
    pub(super) environment: Option<String>,
    pub(super) content: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct Service {
    pub(super) image: Option<String>,
    pub(super) build: Option<Build>,
    pub(super) command: Option<Vec<String>>,
    pub(super) entrypoint: Option<Vec<String>>,
    pub(super) environment: BTreeMap<String, Option<String>>,
    pub(super) ports: Vec<Port>,
    pub(super) volumes: Vec<Volume>,
    /// `service`, `container:name`, either with `:ro` or `:rw` behind it.
    pub(super) volumes_from: Vec<String>,
    pub(super) develop: Develop,
    pub(super) tmpfs: Vec<String>,
    pub(super) networks: Option<BTreeMap<String, Option<ServiceNetwork>>>,
    pub(super) network_mode: Option<String>,
    pub(super) hostname: Option<String>,
    pub(super) container_name: Option<String>,
    pub(super) user: Option<String>,
    pub(super) working_dir: Option<String>,
    pub(super) depends_on: BTreeMap<String, DependsOn>,
    pub(super) healthcheck: Option<Healthcheck>,
    pub(super) restart: Option<String>,
    pub(super) stop_signal: Option<String>,
    pub(super) stop_grace_period: Option<String>,
    pub(super) tty: bool,
    pub(super) stdin_open: bool,
    pub(super) read_only: bool,
    pub(super) privileged: bool,
    pub(super) init: bool,
    pub(super) uts: Option<String>,
    pub(super) devices: Vec<Device>,
    pub(super) sysctls: BTreeMap<String, String>,
    pub(super) security_opt: Vec<String>,
    pub(super) cap_add: Vec<String>,
    pub(super) cap_drop: Vec<String>,
    pub(super) group_add: Vec<String>,
    pub(super) shm_size: Option<String>,
    pub(super) ulimits: BTreeMap<String, Value>,
    pub(super) extra_hosts: Vec<String>,
    pub(super) dns: Vec<String>,
    pub(super) dns_search: Vec<String>,
    pub(super) dns_opt: Vec<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) scale: Option<u32>,
    pub(super) deploy: Deploy,
    pub(super) mem_limit: Option<String>,
    pub(super) cpus: Option<f64>,
    pub(super) pids_limit: Option<i64>,
    pub(super) secrets: Vec<Grant>,
    pub(super) configs: Vec<Grant>,
    pub(super) platform: Option<String>,
    pub(super) pull_policy: Option<String>,
    /// Everything else, for what is said about it.
    #[serde(flatten)]
    pub(super) others: Map<String, Value>,
}

#[derive(Deserialize)]
pub(super) struct Device {
    pub(super) source: String,
    pub(super) target: Option<String>,
    pub(super) permissions: Option<String>,
}

/// Of the build, what decides which files it reads.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Build {
    pub(super) context: String,
    pub(super) dockerfile: Option<String>,
    pub(super) dockerfile_inline: Option<String>,
    pub(super) additional_contexts: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Develop {
    pub(super) watch: Vec<Trigger>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Trigger {
    pub(super) path: String,
    pub(super) action: String,
    pub(super) target: Option<String>,
    pub(super) ignore: Vec<String>,
    pub(super) include: Vec<String>,
    pub(super) initial_sync: bool,
    pub(super) exec: Hook,
}

/// A program to run in a container.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Hook {
    pub(super) command: Option<Vec<String>>,
    pub(super) user: Option<String>,
    pub(super) privileged: bool,
    pub(super) working_dir: Option<String>,
    pub(super) environment: BTreeMap<String, Option<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Port {
    pub(super) host_ip: Option<String>,
    pub(super) target: u16,
    pub(super) published: Option<String>,
    pub(super) protocol: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Volume {
    pub(super) r#type: String,
    pub(super) source: Option<String>,
    pub(super) target: String,
    pub(super) read_only: bool,
    pub(super) bind: BindOptions,
    pub(super) volume: VolumeOptions,
    pub(super) tmpfs: TmpfsOptions,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct BindOptions {
    pub(super) create_host_path: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct VolumeOptions {
    pub(super) nocopy: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TmpfsOptions {
    pub(super) size: Option<String>,
    pub(super) mode: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ServiceNetwork {
    pub(super) aliases: Vec<String>,
    pub(super) ipv4_address: Option<Ipv4Addr>,
}

#[derive(Deserialize)]
pub(super) struct DependsOn {
    #[serde(default)]
    pub(super) condition: Condition,
    #[serde(default)]
    pub(super) restart: bool,
    #[serde(default = "yes")]
    pub(super) required: bool,
}

fn yes() -> bool {
    true
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Healthcheck {
    pub(super) test: Vec<String>,
    pub(super) interval: Option<String>,
    pub(super) timeout: Option<String>,
    pub(super) start_period: Option<String>,
    pub(super) start_interval: Option<String>,
    pub(super) retries: Option<u32>,
    pub(super) disable: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Deploy {
    pub(super) replicas: Option<u32>,
    pub(super) resources: Resources,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Resources {
    pub(super) limits: Limits,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Limits {
    pub(super) cpus: Option<f64>,
    pub(super) memory: Option<String>,
    pub(super) pids: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Grant {
    pub(super) source: String,
    pub(super) target: Option<String>,
    pub(super) uid: Option<String>,
    pub(super) gid: Option<String>,
    pub(super) mode: Option<String>,
}

impl Service {
    pub(in super::super) fn is_built(&self) -> bool {
        self.build.is_some()
    }

    pub(in super::super) fn has_image(&self) -> bool {
        self.image.is_some()
    }

    pub(in super::super) fn pull_policy(&self) -> &str {
        self.pull_policy.as_deref().unwrap_or("missing")
    }
}
