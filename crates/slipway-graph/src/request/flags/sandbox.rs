//! What the steps of a build get: hosts, network, limits, entitlements (`spec/cli.md` sections 3.1, 4.7).

use super::Moment;
use super::csv;
use crate::op::{HostAddress, Network, Ulimit};
use crate::size;

const ULIMIT_KINDS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Why a flag about steps is refused.
#[derive(Debug, thiserror::Error)]
pub enum SandboxFlagError {
    #[error("invalid host {text}")]
    Host { text: String },
    #[error(
        "network mode {mode:?} not supported by buildkit - you can define a custom network for your builder using the network driver-opt in buildx create"
    )]
    Network { mode: String },
    #[error("unknown entitlement {name}")]
    Entitlement { name: String },
    #[error("invalid argument {value:?} for \"--ulimit\" flag: {source}")]
    Ulimit { value: String, source: UlimitError },
    #[error("invalid argument {value:?} for \"--shm-size\" flag: invalid size: '{value}'")]
    ShmSize { value: String },
}

/// Why a text is no `type=soft[:hard]`.
#[derive(Debug, thiserror::Error)]
pub enum UlimitError {
    #[error("invalid ulimit argument: {0}")]
    NoPair(String),
    #[error("invalid ulimit type: {0}")]
    UnknownKind(String),
    #[error("strconv.ParseInt: parsing {0:?}: invalid syntax")]
    NoNumber(String),
    #[error("too many limit value arguments - {0}, can only have up to two, `soft[:hard]`")]
    TooMany(String),
    #[error("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")]
    SoftAboveHard { soft: i64, hard: i64 },
}

impl SandboxFlagError {
    pub(crate) fn moment(&self) -> Moment {
        match self {
            SandboxFlagError::Ulimit { .. } | SandboxFlagError::ShmSize { .. } => Moment::Argument,
            SandboxFlagError::Host { .. } | SandboxFlagError::Network { .. } | SandboxFlagError::Entitlement { .. } => {
                Moment::Build
            }
        }
    }
}

/// What `--allow` grants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entitlements {
    pub(crate) host_network: bool,
    pub(crate) insecure: bool,
    pub(crate) local_delete: bool,
}

/// `--allow`. Devices are accepted and give nothing: no step has a way to ask for one yet.
pub(crate) fn entitlements(names: &[String]) -> Result<Entitlements, SandboxFlagError> {
    let mut granted = Entitlements::default();
    for name in names {
        match name.as_str() {
            "network.host" => granted.host_network = true,
            "security.insecure" => granted.insecure = true,
            "buildx.local.delete" => granted.local_delete = true,
            device if device == "device" || device.starts_with("device=") => {}
            _ => return Err(SandboxFlagError::Entitlement { name: name.to_owned() }),
        }
    }
    Ok(granted)
}

/// `--network`.
pub(crate) fn network(mode: &str) -> Result<Network, SandboxFlagError> {
    match mode {
        "" | "default" => Ok(Network::Default),
        "none" => Ok(Network::None),
        "host" => Ok(Network::Host),
        _ => Err(SandboxFlagError::Network { mode: mode.to_owned() }),
    }
}

/// `--add-host host=ip` or `host:ip`, several of them separated by commas.
pub fn extra_hosts(texts: &[String]) -> Result<Vec<(String, HostAddress)>, SandboxFlagError> {
    let mut hosts = Vec::new();
    for text in texts {
        let entries = csv::fields(text).map_err(|_| SandboxFlagError::Host { text: text.to_owned() })?;
        for entry in entries {
            let host = extra_host(&entry).ok_or(SandboxFlagError::Host { text: entry })?;
            hosts.push(host);
        }
    }
    Ok(hosts)
}

fn extra_host(entry: &str) -> Option<(String, HostAddress)> {
    let (name, address) = entry.split_once('=').or_else(|| entry.split_once(':'))?;
    let address = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
    let address = match address {
        "host-gateway" => HostAddress::Gateway,
        address => HostAddress::Fixed(address.parse().ok()?),
    };
    (!name.is_empty()).then(|| (name.to_owned(), address))
}

/// `--ulimit type=soft[:hard]`.
pub(crate) fn ulimit(text: &str) -> Result<Ulimit, SandboxFlagError> {
    parse_ulimit(text).map_err(|source| SandboxFlagError::Ulimit { value: text.to_owned(), source })
}

/// `type=soft[:hard]`.
pub fn parse_ulimit(text: &str) -> Result<Ulimit, UlimitError> {
    let number = |text: &str| text.parse::<i64>().map_err(|_| UlimitError::NoNumber(text.to_owned()));
    let (kind, limits) = text.split_once('=').ok_or_else(|| UlimitError::NoPair(text.to_owned()))?;
    if !ULIMIT_KINDS.contains(&kind) {
        return Err(UlimitError::UnknownKind(kind.to_owned()));
    }
    let parts: Vec<&str> = limits.split(':').collect();
    let (soft, hard) = match parts[..] {
        [both] => (number(both)?, number(both)?),
        [soft, hard] => (number(soft)?, number(hard)?),
        _ => return Err(UlimitError::TooMany(limits.to_owned())),
    };
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(UlimitError::SoftAboveHard { soft, hard });
    }
    Ok(Ulimit { kind: kind.to_owned(), soft, hard })
}

/// `--shm-size`; 0 is as good as not given.
pub(crate) fn shm_size(text: &str) -> Result<Option<u64>, SandboxFlagError> {
    let size = size::bytes_of(text).ok_or_else(|| SandboxFlagError::ShmSize { value: text.to_owned() })?;
    Ok((size > 0).then_some(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_addresses() {
        let read = |text: &str| extra_hosts(&[text.to_owned()]).map_err(|error| error.to_string());
        let host = |name: &str, address: &str| (name.to_owned(), HostAddress::Fixed(address.parse().unwrap()));
        assert_eq!(read("h:1.2.3.4"), Ok(vec![host("h", "1.2.3.4")]));
        assert_eq!(read("g=[::1],h=1.2.3.4"), Ok(vec![host("g", "::1"), host("h", "1.2.3.4")]));
        assert_eq!(read("g:::1"), Ok(vec![host("g", "::1")]));
        assert_eq!(read("h=host-gateway"), Ok(vec![("h".to_owned(), HostAddress::Gateway)]));
        assert_eq!(read("h"), Err("invalid host h".to_owned()));
        assert_eq!(read("h=x"), Err("invalid host h=x".to_owned()));
    }

    #[test]
    fn ulimits_have_a_soft_and_a_hard_side() {
        let read = |text: &str| {
            ulimit(text).map(|u| format!("{}={}:{}", u.kind, u.soft, u.hard)).unwrap_or_else(|error| error.to_string())
        };
        let refused = |text: &str, reason: &str| {
            assert_eq!(read(text), format!("invalid argument {text:?} for \"--ulimit\" flag: {reason}"));
        };
        assert_eq!(read("nofile=10"), "nofile=10:10");
        assert_eq!(read("nofile=10:-1"), "nofile=10:-1");
        refused("foo", "invalid ulimit argument: foo");
        refused("foo=1", "invalid ulimit type: foo");
        refused("nofile=a", "strconv.ParseInt: parsing \"a\": invalid syntax");
        refused("nofile=2:1", "ulimit soft limit must be less than or equal to hard limit: 2 > 1");
    }

    #[test]
    fn entitlements_and_networks_have_names() {
        let granted = entitlements(&["network.host".to_owned(), "device=gpu".to_owned()]).unwrap();
        assert_eq!(granted, Entitlements { host_network: true, ..Entitlements::default() });
        assert_eq!(entitlements(&["foo".to_owned()]).unwrap_err().to_string(), "unknown entitlement foo");
        assert_eq!(network("none").unwrap(), Network::None);
        assert!(network("foo").unwrap_err().to_string().starts_with("network mode \"foo\" not supported"));
    }
}
