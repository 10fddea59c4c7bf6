//! Answers one question: what does `127.0.0.1:8000-8002:80-82/udp` mean?

use std::net::IpAddr;

use crate::tree::{Map, Node};

/// The long forms: one for each port of a range, in the order of the ports of the container.
pub(crate) fn parse(text: &str) -> Result<Vec<Node>, String> {
    let (rest, protocol) = match text.split_once('/') {
        Some((rest, protocol)) => (rest, protocol.to_ascii_lowercase()),
        None => (text, "tcp".to_owned()),
    };
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp" | "") {
        return Err(format!("Invalid proto: {protocol}"));
    }
    let protocol = if protocol.is_empty() { "tcp" } else { &protocol };
    let (host, published, target) = parts(rest);
    if target.is_empty() {
        return Err("No port specified: <empty>".to_owned());
    }
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if !host.is_empty() && host.parse::<IpAddr>().is_err() {
        return Err(format!("Invalid ip address: {host}"));
    }
    let targets = port_range(target).ok_or_else(|| format!("Invalid containerPort: {target}"))?;
    let published_range = match published {
        "" => None,
        text => Some(port_range(text).ok_or_else(|| format!("Invalid hostPort: {text}"))?),
    };
    let n_targets = targets.1 - targets.0;
    let is_shared = n_targets == 0;
    if let Some((first, last)) = published_range
        && last - first != n_targets
        && !is_shared
    {
        return Err(format!("Invalid ranges specified for container and host Ports: {target} and {published}"));
    }
    let ports = (targets.0..=targets.1).map(|target| {
        let published = published_range.map(|(first, last)| match is_shared && first != last {
            // Any of these: which one is found out when the container starts.
            true => format!("{first}-{last}"),
            false => (first + (target - targets.0)).to_string(),
        });
        let mut port = Map::from([
            ("mode".to_owned(), "ingress".into()),
            ("target".to_owned(), Node::from(i64::from(target))),
            ("protocol".to_owned(), protocol.into()),
        ]);
        port.extend(published.map(|published| ("published".to_owned(), published.into())));
        if !host.is_empty() {
            port.insert("host_ip".to_owned(), host.into());
        }
        Node::from(port)
    });
    let mut ports: Vec<Node> = ports.collect();
    // The reference sorts by the text `port/protocol`.
    ports.sort_by_key(|port| port.get("target").map(|target| target.value.spelled()));
    Ok(ports)
}

/// Address, published ports and ports of the container.
fn parts(text: &str) -> (&str, &str, &str) {
    let (before, target) = text.rsplit_once(':').unwrap_or(("", text));
    let (host, published) = before.rsplit_once(':').unwrap_or(("", before));
    (host, published, target)
}

/// The first and the last of the ports that `80` or `80-85` means.
pub fn port_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let ports = parse(text).unwrap();
        let spelled = |port: &Node, name: &str| port.get(name).map(|node| node.value.spelled()).unwrap_or_default();
        ports
            .iter()
            .map(|port| ["host_ip", "published", "target", "protocol"].map(|name| spelled(port, name)).join(" "))
            .collect()
    }

    #[test]
    fn all_parts_are_read() {
        assert_eq!(told("80"), ["  80 tcp"]);
        assert_eq!(told("8080:80/UDP"), [" 8080 80 udp"]);
        assert_eq!(told("127.0.0.1::80"), ["127.0.0.1  80 tcp"]);
        assert_eq!(told("[::1]:80:90"), ["::1 80 90 tcp"]);
        assert_eq!(told("3000-3001"), ["  3000 tcp", "  3001 tcp"]);
        assert_eq!(told("5000-5001:6000-6001"), [" 5000 6000 tcp", " 5001 6001 tcp"]);
        assert_eq!(told("8000-8002:80"), [" 8000-8002 80 tcp"]);
    }

    #[test]
    fn broken_forms_are_refused() {
        for (text, reason) in [
            ("a:b", "Invalid containerPort: b"),
            ("70000", "Invalid containerPort: 70000"),
            ("9-8:90", "Invalid hostPort: 9-8"),
            ("80/foo", "Invalid proto: foo"),
            ("x:80:90", "Invalid ip address: x"),
            ("1-2:3-5", "Invalid ranges specified for container and host Ports: 3-5 and 1-2"),
            ("", "No port specified: <empty>"),
        ] {
            assert_eq!(parse(text).unwrap_err(), reason);
        }
    }
}
