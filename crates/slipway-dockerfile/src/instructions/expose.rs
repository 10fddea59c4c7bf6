//! `EXPOSE port[-port][/proto] …` (`spec/dockerfile.md` section 3.7).

use std::net::IpAddr;

use slipway_oci::Empty;

use super::{flags, words};
use crate::facts::Seen;
use crate::quote::quoted;
use crate::stage_builder::Step;
use crate::{Diagnostic, Instruction, expand};

#[derive(Clone, Debug)]
pub(crate) struct Expose {
    /// Sorted, not expanded.
    ports: Vec<String>,
}

pub(super) fn check(instruction: &Instruction) -> Result<Expose, Diagnostic> {
    flags::check_none(instruction)?;
    let mut ports: Vec<String> = words(instruction).iter().map(|w| w.text.clone()).collect();
    ports.sort();
    Ok(Expose { ports })
}

pub(super) fn lower(expose: &Expose, step: &mut Step<'_, '_>) -> Result<(), Diagnostic> {
    let mut shown = Vec::new();
    for port in &expose.ports {
        let words = expand::expand_words(port, step.escape(), |name| step.stage.variable(name))
            .map_err(|e| step.error(e.to_string()))?;
        for word in words {
            step.see(seen(&word));
            shown.extend(ports_of(&word).map_err(|e| step.error(e))?);
        }
    }
    step.record(format!("EXPOSE [{}]", shown.join(" ")), false);
    step.stage.config.config.exposed_ports.extend(shown.into_iter().map(|port| (port, Empty {})));
    Ok(())
}

fn seen(spec: &str) -> Seen {
    let (address, protocol) = spec.split_once('/').unwrap_or((spec, ""));
    let is_mapping = address.rsplitn(3, ':').skip(1).any(|part| !part.is_empty());
    Seen::Port { text: spec.to_owned(), protocol: protocol.to_owned(), is_mapping }
}

/// The single ports, `80/tcp`, that `[ip:][host:]container[-container][/proto]` stands for.
fn ports_of(spec: &str) -> Result<Vec<String>, String> {
    let (address, proto) = match spec.split_once('/') {
        Some((address, proto)) if !proto.is_empty() => (address, proto.to_ascii_lowercase()),
        Some((address, _)) => (address, "tcp".to_owned()),
        None => (spec, "tcp".to_owned()),
    };
    let parts: Vec<&str> = address.rsplitn(3, ':').collect();
    let (container, host, ip) = match parts[..] {
        [container] => (container, "", ""),
        [container, host] => (container, host, ""),
        [container, host, ip] => (container, host, ip),
        _ => unreachable!("because rsplitn(3) gives one to three parts"),
    };
    if container.is_empty() {
        return Err(format!("invalid port: {}: no port specified", quoted(spec)));
    }
    if !["tcp", "udp", "sctp"].contains(&proto.as_str()) {
        return Err(format!("invalid port: {}: invalid proto: {proto}", quoted(spec)));
    }
    let ip = ip.trim_start_matches('[').trim_end_matches(']');
    if !ip.is_empty() && ip.parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address: {ip}"));
    }
    let (first, last) = range(container).ok_or_else(|| format!("invalid containerPort: {container}"))?;
    if !host.is_empty() {
        let (host_first, host_last) = range(host).ok_or_else(|| format!("invalid hostPort: {host}"))?;
        // One port of the container may be offered on any of several ports of the host.
        if last - first != host_last - host_first && first != last {
            return Err(format!("invalid ranges specified for container and host Ports: {container} and {host}"));
        }
    }
    Ok((first..=last).map(|port| format!("{port}/{proto}")).collect())
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::ports_of;
    use crate::lower::tests::Case;

    #[test]
    fn arguments_are_sorted_expanded_and_split() {
        let case = Case::new("FROM scratch\nENV P=\"80 81/udp\"\nEXPOSE 90 53-54/UDP $P\n");
        assert_eq!(case.history()[1], "EXPOSE [80/tcp 81/udp 53/udp 54/udp 90/tcp]");
        let ports: Vec<String> = case.config().config.exposed_ports.into_keys().collect();
        assert_eq!(ports, ["53/udp", "54/udp", "80/tcp", "81/udp", "90/tcp"]);
    }

    #[test]
    fn only_the_container_part_counts() {
        assert_eq!(ports_of("1.2.3.4:80:81").unwrap(), ["81/tcp"]);
        for (spec, message) in [
            ("/tcp", "invalid port: \"/tcp\": no port specified"),
            ("80/foo", "invalid port: \"80/foo\": invalid proto: foo"),
            ("x", "invalid containerPort: x"),
            ("70000", "invalid containerPort: 70000"),
            ("x:80", "invalid hostPort: x"),
            ("1-2:3-5", "invalid ranges specified for container and host Ports: 3-5 and 1-2"),
            ("nosuch:1:80", "invalid IP address: nosuch"),
        ] {
            assert_eq!(ports_of(spec).unwrap_err(), message);
        }
    }
}
