//! What a service can say.

use super::*;

macro_rules! object {
    ($(#[$about:meta])* $name:ident, [$($required:literal),*], $others:ident, $($attribute:expr),+ $(,)?) => {
        $(#[$about])*
        pub(crate) static $name: Object =
            Object { attributes: &[$($attribute),+], required: &[$($required),*], others: Others::$others };
    };
}

macro_rules! list {
    ($items:expr) => {
        Accepts::List { items: &$items, is_unique: false }
    };
}

macro_rules! unique_list {
    ($items:expr) => {
        Accepts::List { items: &$items, is_unique: true }
    };
}

const HOSTS: Accepts = Accepts::Either(&[
    Accepts::Entries { names: Names::All, values: &Accepts::Either(&[TEXT, TEXTS]), is_closed: true },
    UNIQUE_TEXTS,
]);

const ULIMITS: Accepts = Accepts::Entries {
    names: Names::Letters,
    values: &Accepts::Either(&[INTEGER, Accepts::Object(&ULIMIT)]),
    is_closed: false,
};

/// Secrets and configs of a service, and secrets of its build.
const GRANTS: Accepts = list!(Accepts::Either(&[TEXT, Accepts::Object(&GRANT)]));

object! {
    ULIMIT, ["soft", "hard"], Extensions,
    attribute("soft", INTEGER, Shows::Integer),
    attribute("hard", INTEGER, Shows::Integer),
}

object! {
    GRANT, [], Extensions,
    attribute("source", TEXT, Shows::Text),
    attribute("target", TEXT, Shows::Text),
    attribute("uid", TEXT, Shows::Text),
    attribute("gid", TEXT, Shows::Text),
    attribute("mode", NUMBER, Shows::FileMode),
}

object! {
    /// How a service's image is made.
    BUILD, [], Extensions,
    attribute("context", TEXT, Shows::Text),
    attribute("dockerfile", TEXT, Shows::Text),
    attribute("dockerfile_inline", TEXT, Shows::Text),
    attribute("entitlements", TEXTS, Shows::Texts),
    attribute("args", KEY_VALUES, Shows::MappingWithNull),
    attribute("provenance", Accepts::Kinds(&[Kind::Boolean, Kind::String]), Shows::Text),
    attribute("sbom", Accepts::Kinds(&[Kind::Boolean, Kind::String]), Shows::Text),
    attribute("ssh", KEY_VALUES, Shows::SshKeys),
    attribute("labels", KEY_VALUES, Shows::Mapping),
    attribute("cache_from", TEXTS, Shows::Texts),
    attribute("cache_to", TEXTS, Shows::Texts),
    attribute("no_cache", FLAG, Shows::Flag),
    attribute("no_cache_filter", TEXT_OR_TEXTS, Shows::Texts),
    attribute("additional_contexts", KEY_VALUES, Shows::Mapping),
    attribute("pull", FLAG, Shows::Flag),
    attribute("extra_hosts", HOSTS, Shows::Hosts),
    attribute("isolation", TEXT, Shows::Text),
    attribute("network", TEXT, Shows::Text),
    attribute("target", TEXT, Shows::Text),
    attribute("secrets", GRANTS, Shows::Objects(&GRANT)),
    attribute("shm_size", INTEGER, Shows::Bytes),
    attribute("tags", TEXTS, Shows::Texts),
    attribute("ulimits", ULIMITS, Shows::Ulimits),
    attribute("platforms", TEXTS, Shows::Texts),
    attribute("privileged", FLAG, Shows::Flag),
}

object! {
    HOOK, ["command"], Extensions,
    attribute("command", COMMAND, Shows::Command),
    attribute("user", TEXT, Shows::Text),
    attribute("privileged", FLAG, Shows::Flag),
    attribute("working_dir", TEXT, Shows::Text),
    attribute("environment", KEY_VALUES, Shows::MappingWithNull),
}

object! {
    WATCH, ["path", "action"], Extensions,
    attribute("path", TEXT, Shows::Text),
    attribute("action", Accepts::Words(&["rebuild", "sync", "restart", "sync+restart", "sync+exec"]), Shows::Text),
    attribute("target", TEXT, Shows::Text),
    attribute("exec", Accepts::Object(&HOOK), Shows::Part(&HOOK)),
    attribute("include", TEXT_OR_TEXTS, Shows::Texts),
    attribute("ignore", TEXT_OR_TEXTS, Shows::Texts),
    attribute("initial_sync", BOOLEAN, Shows::Flag),
}

object! {
    DEVELOP, [], Extensions,
    attribute("watch", list!(Accepts::Object(&WATCH)), Shows::Objects(&WATCH)),
}

object! {
    WEIGHTED_DEVICE, [], Nothing,
    attribute("path", TEXT, Shows::Titled(&Shows::TextIfSet)),
    attribute("weight", INTEGER, Shows::Titled(&Shows::IntegerIfSet)),
}

object! {
    THROTTLED_DEVICE, [], Nothing,
    attribute("path", TEXT, Shows::Titled(&Shows::TextIfSet)),
    attribute("rate", INTEGER, Shows::Titled(&Shows::Bytes)),
}

const THROTTLED: Accepts = list!(Accepts::Object(&THROTTLED_DEVICE));

object! {
    BLOCK_IO, [], Nothing,
    attribute("weight", INTEGER, Shows::Integer),
    attribute("weight_device", list!(Accepts::Object(&WEIGHTED_DEVICE)), Shows::Objects(&WEIGHTED_DEVICE)),
    attribute("device_read_bps", THROTTLED, Shows::Objects(&THROTTLED_DEVICE)),
    attribute("device_read_iops", THROTTLED, Shows::Objects(&THROTTLED_DEVICE)),
    attribute("device_write_bps", THROTTLED, Shows::Objects(&THROTTLED_DEVICE)),
    attribute("device_write_iops", THROTTLED, Shows::Objects(&THROTTLED_DEVICE)),
}

object! {
    CREDENTIAL_SPEC, [], Extensions,
    attribute("config", TEXT, Shows::Text),
    attribute("file", TEXT, Shows::Text),
    attribute("registry", TEXT, Shows::Text),
}

object! {
    /// How one service depends on another.
    DEPENDENCY, ["condition"], Extensions,
    attribute(
        "condition",
        Accepts::Words(&["service_started", "service_healthy", "service_completed_successfully"]),
        Shows::Text,
    ),
    attribute("restart", FLAG, Shows::Flag),
    attribute("required", BOOLEAN, Shows::FlagOrTrue),
}

object! {
    ROLLOUT, [], Extensions,
    attribute("parallelism", INTEGER, Shows::IntegerIfSet),
    attribute("delay", TEXT, Shows::Duration),
    attribute("failure_action", TEXT, Shows::Text),
    attribute("monitor", TEXT, Shows::Duration),
    attribute("max_failure_ratio", NUMBER, Shows::Float),
    attribute("order", Accepts::Words(&["start-first", "stop-first"]), Shows::Text),
}

object! {
    DISCRETE_RESOURCE, [], Extensions,
    attribute("kind", TEXT, Shows::TextIfSet),
    attribute("value", NUMBER, Shows::IntegerIfSet),
}

object! {
    GENERIC_RESOURCE, [], Extensions,
    attribute("discrete_resource_spec", Accepts::Object(&DISCRETE_RESOURCE), Shows::Object(&DISCRETE_RESOURCE)),
}

object! {
    /// Devices that a service asks for by what they can do.
    DEVICE_REQUEST, ["capabilities"], Extensions,
    attribute("capabilities", UNIQUE_TEXTS, Shows::Texts),
    attribute("driver", TEXT, Shows::Text),
    attribute("count", INTEGER, Shows::DeviceCount),
    attribute("device_ids", UNIQUE_TEXTS, Shows::Texts),
    attribute("options", KEY_VALUES, Shows::Mapping),
}

object! {
    GPU_REQUEST, [], Anything,
    attribute("capabilities", UNIQUE_TEXTS, Shows::Texts),
    attribute("driver", TEXT, Shows::Text),
    attribute("count", INTEGER, Shows::DeviceCount),
    attribute("device_ids", UNIQUE_TEXTS, Shows::Texts),
    attribute("options", KEY_VALUES, Shows::Mapping),
}

object! {
    LIMITS, [], Extensions,
    attribute("cpus", NUMBER, Shows::Float),
    attribute("memory", TEXT, Shows::Bytes),
    attribute("pids", INTEGER, Shows::Integer),
}

object! {
    RESERVATIONS, [], Extensions,
    attribute("cpus", NUMBER, Shows::Float),
    attribute("memory", TEXT, Shows::Bytes),
    attribute("devices", list!(Accepts::Object(&DEVICE_REQUEST)), Shows::Objects(&DEVICE_REQUEST)),
    attribute("generic_resources", list!(Accepts::Object(&GENERIC_RESOURCE)), Shows::Objects(&GENERIC_RESOURCE)),
}

object! {
    RESOURCES, [], Extensions,
    attribute("limits", Accepts::Object(&LIMITS), Shows::Object(&LIMITS)),
    attribute("reservations", Accepts::Object(&RESERVATIONS), Shows::Object(&RESERVATIONS)),
}

object! {
    RESTART_POLICY, [], Extensions,
    attribute("condition", TEXT, Shows::Text),
    attribute("delay", TEXT, Shows::DurationIfSet),
    attribute("max_attempts", INTEGER, Shows::IntegerIfSet),
    attribute("window", TEXT, Shows::DurationIfSet),
}

object! {
    PREFERENCE, [], Extensions,
    attribute("spread", TEXT, Shows::Text),
}

object! {
    PLACEMENT, [], Extensions,
    attribute("constraints", TEXTS, Shows::Texts),
    attribute("preferences", list!(Accepts::Object(&PREFERENCE)), Shows::Objects(&PREFERENCE)),
    attribute("max_replicas_per_node", INTEGER, Shows::Integer),
}

object! {
    DEPLOY, [], Extensions,
    attribute("mode", TEXT, Shows::Text),
    attribute("replicas", INTEGER, Shows::IntegerIfSet),
    attribute("labels", KEY_VALUES, Shows::Mapping),
    attribute("update_config", Accepts::Object(&ROLLOUT), Shows::Object(&ROLLOUT)),
    attribute("rollback_config", Accepts::Object(&ROLLOUT), Shows::Object(&ROLLOUT)),
    attribute("resources", Accepts::Object(&RESOURCES), Shows::Part(&RESOURCES)),
    attribute("restart_policy", Accepts::Object(&RESTART_POLICY), Shows::Object(&RESTART_POLICY)),
    attribute("placement", Accepts::Object(&PLACEMENT), Shows::Part(&PLACEMENT)),
    attribute("endpoint_mode", TEXT, Shows::Text),
}

object! {
    DEVICE, ["source"], Extensions,
    attribute("source", TEXT, Shows::Text),
    attribute("target", TEXT, Shows::Text),
    attribute("permissions", TEXT, Shows::Text),
}

object! {
    PROVIDER, ["type"], Extensions,
    attribute("type", TEXT, Shows::Text),
    attribute(
        "options",
        Accepts::Entries {
            names: Names::All,
            values: &Accepts::Either(&[
                Accepts::Kinds(&[Kind::Boolean, Kind::Number, Kind::String]),
                list!(Accepts::Kinds(&[Kind::Boolean, Kind::Number, Kind::String])),
            ]),
            is_closed: false,
        },
        Shows::ListMapping,
    ),
}

object! {
    ENV_FILE, ["path"], Nothing,
    attribute("path", TEXT, Shows::Text),
    attribute("format", TEXT, Shows::Text),
    attribute("required", FLAG, Shows::Flag),
}

object! {
    EXTENDS, ["service"], Nothing,
    attribute("service", TEXT, Shows::Nothing),
    attribute("file", TEXT, Shows::Nothing),
}

object! {
    HEALTHCHECK, [], Extensions,
    attribute("test", Accepts::Either(&[TEXT, TEXTS]), Shows::HealthTest),
    attribute("timeout", TEXT, Shows::DurationIfSet),
    attribute("interval", TEXT, Shows::DurationIfSet),
    attribute("retries", NUMBER, Shows::IntegerIfSet),
    attribute("start_period", TEXT, Shows::DurationIfSet),
    attribute("start_interval", TEXT, Shows::DurationIfSet),
    attribute("disable", FLAG, Shows::Flag),
}

object! {
    LOGGING, [], Extensions,
    attribute("driver", TEXT, Shows::Text),
    attribute(
        "options",
        Accepts::Entries {
            names: Names::All,
            values: &Accepts::Kinds(&[Kind::Null, Kind::Number, Kind::String]),
            is_closed: false,
        },
        Shows::Mapping,
    ),
}

object! {
    SERVICE_MODEL, [], Extensions,
    attribute("endpoint_var", TEXT, Shows::Text),
    attribute("model_var", TEXT, Shows::Text),
}

object! {
    SERVICE_NETWORK, [], Extensions,
    attribute("aliases", UNIQUE_TEXTS, Shows::Texts),
    attribute("driver_opts", TEXT_OR_NUMBER_MAP, Shows::Mapping),
    attribute("gw_priority", Accepts::Kinds(&[Kind::Number]), Shows::Integer),
    attribute("interface_name", TEXT, Shows::Text),
    attribute("ipv4_address", TEXT, Shows::Text),
    attribute("ipv6_address", TEXT, Shows::Text),
    attribute("link_local_ips", UNIQUE_TEXTS, Shows::Texts),
    attribute("mac_address", TEXT, Shows::Text),
    attribute("priority", Accepts::Kinds(&[Kind::Number]), Shows::Integer),
}

object! {
    /// A port that is reached from outside.
    PORT, [], Extensions,
    attribute("name", TEXT, Shows::Text),
    attribute("mode", TEXT, Shows::Text),
    attribute("host_ip", TEXT, Shows::Text),
    attribute("target", INTEGER, Shows::Integer),
    attribute("published", INTEGER, Shows::Text),
    attribute("protocol", TEXT, Shows::Text),
    attribute("app_protocol", TEXT, Shows::Text),
}

object! {
    BIND, [], Extensions,
    attribute("selinux", Accepts::Words(&["z", "Z"]), Shows::Text),
    attribute("propagation", TEXT, Shows::Text),
    attribute("create_host_path", FLAG, Shows::Flag),
    attribute("recursive", Accepts::Words(&["enabled", "disabled", "writable", "readonly"]), Shows::Text),
}

object! {
    NAMED_VOLUME, [], Extensions,
    attribute("labels", KEY_VALUES, Shows::Mapping),
    attribute("nocopy", FLAG, Shows::Flag),
    attribute("subpath", TEXT, Shows::Text),
}

object! {
    TMPFS, [], Extensions,
    attribute("size", Accepts::Either(&[Accepts::IntegerIn(0, i64::MAX), TEXT]), Shows::Bytes),
    attribute("mode", NUMBER, Shows::Integer),
}

object! {
    IMAGE_VOLUME, [], Extensions,
    attribute("subpath", TEXT, Shows::Text),
}

object! {
    MOUNT, ["type"], Extensions,
    attribute("type", Accepts::Words(&["bind", "volume", "tmpfs", "cluster", "npipe", "image"]), Shows::Text),
    attribute("source", TEXT, Shows::Text),
    attribute("target", TEXT, Shows::Text),
    attribute("read_only", FLAG, Shows::Flag),
    attribute("consistency", TEXT, Shows::Text),
    attribute("bind", Accepts::Object(&BIND), Shows::Object(&BIND)),
    attribute("volume", Accepts::Object(&NAMED_VOLUME), Shows::Object(&NAMED_VOLUME)),
    attribute("tmpfs", Accepts::Object(&TMPFS), Shows::Object(&TMPFS)),
    attribute("image", Accepts::Object(&IMAGE_VOLUME), Shows::Object(&IMAGE_VOLUME)),
}

const DEPENDS_ON: Accepts = Accepts::Either(&[
    UNIQUE_TEXTS,
    Accepts::Entries { names: Names::Resources, values: &Accepts::Object(&DEPENDENCY), is_closed: true },
]);

const SERVICE_NETWORKS: Accepts = Accepts::Either(&[
    UNIQUE_TEXTS,
    Accepts::Entries { names: Names::Resources, values: &Accepts::MaybeObject(&SERVICE_NETWORK), is_closed: true },
]);

const SERVICE_MODELS: Accepts = Accepts::Either(&[
    UNIQUE_TEXTS,
    Accepts::Entries { names: Names::Resources, values: &Accepts::MaybeObject(&SERVICE_MODEL), is_closed: false },
]);

const PORTS: Accepts = unique_list!(Accepts::Either(&[Accepts::Kinds(&[Kind::Number]), TEXT, Accepts::Object(&PORT),]));

const ENV_FILES: Accepts = Accepts::Either(&[TEXT, list!(Accepts::Either(&[TEXT, Accepts::Object(&ENV_FILE)]))]);

const TEXTS_OR_NUMBERS: Accepts = unique_list!(Accepts::Kinds(&[Kind::Number, Kind::String]));

object! {
    /// A service.
    SERVICE, [], Extensions,
    attribute("profiles", UNIQUE_TEXTS, Shows::Texts),
    attribute("annotations", KEY_VALUES, Shows::Mapping),
    attribute("attach", FLAG, Shows::FlagIfSet),
    attribute("build", Accepts::Either(&[TEXT, Accepts::Object(&BUILD)]), Shows::Object(&BUILD)),
    attribute("develop", Accepts::MaybeObject(&DEVELOP), Shows::Object(&DEVELOP)),
    attribute("blkio_config", Accepts::Object(&BLOCK_IO), Shows::Object(&BLOCK_IO)),
    attribute("cap_add", UNIQUE_TEXTS, Shows::Texts),
    attribute("cap_drop", UNIQUE_TEXTS, Shows::Texts),
    attribute("cgroup_parent", TEXT, Shows::Text),
    attribute("cgroup", Accepts::Words(&["host", "private"]), Shows::Text),
    attribute("cpu_count", Accepts::Either(&[TEXT, Accepts::IntegerIn(0, i64::MAX)]), Shows::Integer),
    attribute("cpu_percent", Accepts::Either(&[TEXT, Accepts::IntegerIn(0, 100)]), Shows::Float),
    attribute("cpu_period", NUMBER, Shows::Integer),
    attribute("cpu_quota", NUMBER, Shows::Integer),
    attribute("cpu_rt_period", NUMBER, Shows::Integer),
    attribute("cpu_rt_runtime", NUMBER, Shows::Integer),
    attribute("cpus", NUMBER, Shows::Float),
    attribute("cpuset", TEXT, Shows::Text),
    attribute("cpu_shares", NUMBER, Shows::Integer),
    attribute("command", COMMAND, Shows::Command),
    attribute("configs", GRANTS, Shows::Objects(&GRANT)),
    attribute("container_name", CONTAINER_NAME, Shows::Text),
    attribute("credential_spec", Accepts::Object(&CREDENTIAL_SPEC), Shows::Object(&CREDENTIAL_SPEC)),
    attribute("depends_on", DEPENDS_ON, Shows::ObjectMap(&DEPENDENCY)),
    attribute("deploy", Accepts::MaybeObject(&DEPLOY), Shows::Object(&DEPLOY)),
    attribute("device_cgroup_rules", UNIQUE_TEXTS, Shows::Texts),
    attribute("devices", list!(Accepts::Either(&[TEXT, Accepts::Object(&DEVICE)])), Shows::Objects(&DEVICE)),
    attribute("dns", TEXT_OR_TEXTS, Shows::Texts),
    attribute("dns_opt", UNIQUE_TEXTS, Shows::Texts),
    attribute("dns_search", TEXT_OR_TEXTS, Shows::Texts),
    attribute("domainname", TEXT, Shows::Text),
    attribute("entrypoint", COMMAND, Shows::Command),
    attribute("provider", Accepts::Object(&PROVIDER), Shows::Object(&PROVIDER)),
    attribute("environment", KEY_VALUES, Shows::MappingWithNull),
    attribute("env_file", ENV_FILES, Shows::Nothing),
    attribute("expose", TEXTS_OR_NUMBERS, Shows::Texts),
    attribute("extends", Accepts::Either(&[TEXT, Accepts::Object(&EXTENDS)]), Shows::Nothing),
    attribute("external_links", UNIQUE_TEXTS, Shows::Texts),
    attribute("extra_hosts", HOSTS, Shows::Hosts),
    attribute("group_add", TEXTS_OR_NUMBERS, Shows::Texts),
    attribute(
        "gpus",
        Accepts::Either(&[Accepts::Words(&["all"]), list!(Accepts::Object(&GPU_REQUEST))]),
        Shows::Objects(&GPU_REQUEST),
    ),
    attribute("hostname", TEXT, Shows::Text),
    attribute("healthcheck", Accepts::Object(&HEALTHCHECK), Shows::Object(&HEALTHCHECK)),
    attribute("image", TEXT, Shows::Text),
    attribute("init", FLAG, Shows::FlagIfSet),
    attribute("ipc", TEXT, Shows::Text),
    attribute("isolation", TEXT, Shows::Text),
    attribute("labels", KEY_VALUES, Shows::Mapping),
    attribute("label_file", Accepts::Either(&[TEXT, TEXTS]), Shows::Nothing),
    attribute("links", UNIQUE_TEXTS, Shows::Texts),
    attribute("logging", Accepts::Object(&LOGGING), Shows::Object(&LOGGING)),
    attribute("mem_limit", NUMBER, Shows::Bytes),
    attribute("mem_reservation", INTEGER, Shows::Bytes),
    attribute("memswap_limit", NUMBER, Shows::Bytes),
    attribute("mem_swappiness", INTEGER, Shows::Bytes),
    attribute("mac_address", TEXT, Shows::Text),
    attribute("models", SERVICE_MODELS, Shows::MaybeObjectMap(&SERVICE_MODEL)),
    attribute("network_mode", TEXT, Shows::Text),
    attribute("networks", SERVICE_NETWORKS, Shows::MaybeObjectMap(&SERVICE_NETWORK)),
    attribute("oom_kill_disable", FLAG, Shows::Flag),
    attribute("oom_score_adj", Accepts::Either(&[TEXT, Accepts::IntegerIn(-1000, 1000)]), Shows::Integer),
    attribute("pid", Accepts::Kinds(&[Kind::Null, Kind::String]), Shows::Text),
    attribute("pids_limit", NUMBER, Shows::Integer),
    attribute("platform", TEXT, Shows::Text),
    attribute("ports", PORTS, Shows::Objects(&PORT)),
    attribute("privileged", FLAG, Shows::Flag),
    attribute("pull_policy", PULL_POLICY, Shows::Text),
    attribute("pull_refresh_after", TEXT, Shows::Nothing),
    attribute("read_only", FLAG, Shows::Flag),
    attribute("restart", TEXT, Shows::Text),
    attribute("runtime", TEXT, Shows::Text),
    attribute("scale", INTEGER, Shows::IntegerIfSet),
    attribute("secrets", GRANTS, Shows::Objects(&GRANT)),
    attribute("security_opt", UNIQUE_TEXTS, Shows::Texts),
    attribute("shm_size", NUMBER, Shows::Bytes),
    attribute("stdin_open", FLAG, Shows::Flag),
    attribute("stop_grace_period", TEXT, Shows::DurationIfSet),
    attribute("stop_signal", TEXT, Shows::Text),
    attribute("storage_opt", Accepts::Kinds(&[Kind::Mapping]), Shows::Mapping),
    attribute("sysctls", KEY_VALUES, Shows::Mapping),
    attribute("tmpfs", TEXT_OR_TEXTS, Shows::Texts),
    attribute("tty", FLAG, Shows::Flag),
    attribute("ulimits", ULIMITS, Shows::Ulimits),
    attribute("use_api_socket", BOOLEAN, Shows::Flag),
    attribute("user", TEXT, Shows::Text),
    attribute("userns_mode", TEXT, Shows::Text),
    attribute("uts", TEXT, Shows::Text),
    attribute(
        "volumes",
        unique_list!(Accepts::Either(&[TEXT, Accepts::Object(&MOUNT)])),
        Shows::Objects(&MOUNT),
    ),
    attribute("volumes_from", UNIQUE_TEXTS, Shows::Texts),
    attribute("working_dir", TEXT, Shows::Text),
    attribute("post_start", list!(Accepts::Object(&HOOK)), Shows::Objects(&HOOK)),
    attribute("pre_stop", list!(Accepts::Object(&HOOK)), Shows::Objects(&HOOK)),
}
