//! `-p`: which ports of the container are offered, and where (`spec/cli.md` section 9.4).

use std::net::IpAddr;

use slipway_compose::port_range;
use slipway_engine::{Protocol, PublishedPort};

/// Why a port cannot be understood, in Docker's words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PortFlagError {
    #[error("no port specified: {0}<empty>")]
    Empty(String),
    #[error("invalid proto: {0}")]
    Protocol(String),
    #[error("invalid containerPort: {0}")]
    Container(String),
    #[error("invalid hostPort: {0}")]
    Host(String),
    #[error("invalid IP address: {0}")]
    Address(String),
    #[error("invalid ranges specified for container and host Ports: {0} and {1}")]
    Ranges(String, String),
    #[error("the protocol sctp is not known here: tcp or udp")]
    Sctp,
}

/// `[[IP:]HOST[-HOST2]:]CONTAINER[-CONTAINER2][/tcp|udp]`.
pub(crate) fn parse(text: &str) -> Result<Vec<PublishedPort>, PortFlagError> {
    let (ports, protocol) = text.split_once('/').map_or((text, "tcp"), |(ports, protocol)| (ports, protocol));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => return Err(PortFlagError::Sctp),
        _ => return Err(PortFlagError::Protocol(protocol.to_owned())),
    };
    let (before, container) = ports.rsplit_once(':').map_or((None, ports), |(before, port)| (Some(before), port));
    let (address, host) = match before {
        None => ("", ""),
        // An address of IPv6 has colons itself, and so it has brackets.
        Some(before) => match before.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, host)) => (address, host.trim_start_matches(':')),
            None => before.rsplit_once(':').unwrap_or(("", before)),
        },
    };
    if container.is_empty() {
        return Err(PortFlagError::Empty(text.to_owned()));
    }
    let address = match address {
        "" => None,
        address => Some(address.parse::<IpAddr>().map_err(|_| PortFlagError::Address(address.to_owned()))?),
    };
    let container_ports = port_range(container).ok_or_else(|| PortFlagError::Container(container.to_owned()))?;
    let host_ports = match host {
        "" => (0, 0),
        host => port_range(host).ok_or_else(|| PortFlagError::Host(host.to_owned()))?,
    };
    let port = |container_port, host_ports| PublishedPort { host: address, host_ports, container_port, protocol };
    let length = |(first, last): (u16, u16)| last - first;
    if host.is_empty() || length(container_ports) == 0 {
        return Ok((container_ports.0..=container_ports.1).map(|number| port(number, host_ports)).collect());
    }
    if length(container_ports) != length(host_ports) {
        return Err(PortFlagError::Ranges(container.to_owned(), host.to_owned()));
    }
    let pairs = (container_ports.0..=container_ports.1).zip(host_ports.0..=host_ports.1);
    Ok(pairs.map(|(number, host)| port(number, (host, host))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(host: Option<&str>, host_ports: (u16, u16), container_port: u16, protocol: Protocol) -> PublishedPort {
        PublishedPort { host: host.map(|host| host.parse().unwrap()), host_ports, container_port, protocol }
    }

    #[test]
    fn ports_and_ranges_are_read() {
        use Protocol::{Tcp, Udp};
        for (text, expected) in [
            ("80", vec![port(None, (0, 0), 80, Tcp)]),
            ("8080:80", vec![port(None, (8080, 8080), 80, Tcp)]),
            ("127.0.0.1:8080:80/udp", vec![port(Some("127.0.0.1"), (8080, 8080), 80, Udp)]),
            ("127.0.0.1::80", vec![port(Some("127.0.0.1"), (0, 0), 80, Tcp)]),
            ("[::1]:8080:80", vec![port(Some("::1"), (8080, 8080), 80, Tcp)]),
            ("8000-8001:80-81", vec![port(None, (8000, 8000), 80, Tcp), port(None, (8001, 8001), 81, Tcp)]),
            ("8000-8005:80", vec![port(None, (8000, 8005), 80, Tcp)]),
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_as_docker_tells_them() {
        for (text, expected) in [
            ("80:b", "invalid containerPort: b"),
            ("99999:80", "invalid hostPort: 99999"),
            ("x:1:80", "invalid IP address: x"),
            ("1-2:80-85", "invalid ranges specified for container and host Ports: 80-85 and 1-2"),
            ("80/x", "invalid proto: x"),
            ("80:", "no port specified: 80:<empty>"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), expected, "{text}");
        }
    }
}
