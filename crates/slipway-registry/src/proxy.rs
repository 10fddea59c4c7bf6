//! Which hosts are spoken to directly although a proxy is configured? `NO_PROXY`, read as Go's tools read it.

use std::net::IpAddr;

use crate::origin::Origin;

/// Whether `no_proxy` names `origin`. Loopback addresses never go through a proxy.
///
/// Entries are separated by commas: `*`, a domain (it and everything below), `.domain` (only what is below), an
/// address, a network in CIDR notation; all but the last may end in `:port`.
pub(crate) fn is_exempt_from_proxy(origin: &Origin, no_proxy: &str) -> bool {
    origin.is_loopback() || no_proxy.split(',').map(str::trim).any(|entry| names(entry, origin))
}

fn names(entry: &str, origin: &Origin) -> bool {
    if entry.is_empty() {
        return false;
    }
    let address = origin.host().parse::<IpAddr>().ok();
    if let Some((network, prefix)) = entry.split_once('/') {
        let (Ok(network), Ok(prefix), Some(address)) = (network.parse(), prefix.parse(), address) else { return false };
        return network_contains(network, prefix, address);
    }
    let (name, port) = match entry.rsplit_once(':') {
        // Without brackets, several colons are an IPv6 address and no port.
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, port.parse::<u16>().ok()),
        _ => (entry, None),
    };
    if port.is_some_and(|port| port != origin.port()) {
        return false;
    }
    let name = name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    if name == "*" {
        return true;
    }
    if let Some(address) = address {
        return name.parse() == Ok(address);
    }
    let below = name.trim_start_matches('*');
    match below.strip_prefix('.') {
        Some(_) => origin.host().ends_with(below),
        None => origin.host() == below || origin.host().ends_with(&format!(".{below}")),
    }
}

fn network_contains(network: IpAddr, prefix: u32, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) if prefix <= 32 => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) if prefix <= 128 => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_name_hosts() {
        for (no_proxy, url, is_exempt) in [
            ("", "https://a.example", false),
            ("*", "https://a.example", true),
            ("example", "https://a.example", true),
            ("a.example", "https://aa.example", false),
            (".example", "https://a.example", true),
            (".a.example", "https://a.example", false),
            ("x, A.example:443", "https://a.example", true),
            ("a.example:80", "https://a.example", false),
            ("10.0.0.0/8", "https://10.1.2.3", true),
            ("10.0.0.0/8", "https://11.1.2.3", false),
            ("0.0.0.0/0", "https://11.1.2.3", true),
            ("fd00::/8", "https://[fd00::1]", true),
            ("fd00::1", "https://[fd00::1]", true),
            ("10.1.2.3", "https://10.1.2.3:5000", true),
            ("", "http://localhost:5000", true),
        ] {
            let origin = Origin::of(&url.parse().unwrap()).unwrap();
            assert_eq!(is_exempt_from_proxy(&origin, no_proxy), is_exempt, "{no_proxy} {url}");
        }
    }
}
