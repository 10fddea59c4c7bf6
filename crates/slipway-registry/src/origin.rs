//! Which server does a URL name? The answer decides where credentials may go, so it is given in one place.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ureq::http::Uri;

/// Scheme, host and port of a URL. Two URLs with equal origins are answered by the same server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    is_https: bool,
    /// Lower case, an IPv6 address without its brackets.
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of an absolute `http` or `https` URL; `None` for anything else.
    pub(crate) fn of(uri: &Uri) -> Option<Origin> {
        let is_https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if host.is_empty() {
            return None;
        }
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        Some(Origin { is_https, host, port })
    }

    pub(crate) fn is_https(&self) -> bool {
        self.is_https
    }

    /// The host name or address without port and brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback_name(&self.host)
    }

    /// `scheme://host:port` without a trailing slash; default ports are left out.
    pub(crate) fn base_url(&self) -> String {
        format!("{}://{self}", if self.is_https { "https" } else { "http" })
    }

    /// Whether both are run by the same party, as far as names can tell: the same host on any port, or two hosts
    /// below one registered domain (`registry-1.docker.io` and `auth.docker.io`, `registry.gitlab.com` and
    /// `gitlab.com`).
    pub(crate) fn is_same_site_as(&self, other: &Origin) -> bool {
        if self.host == other.host {
            return true;
        }
        match (registered_domain(&self.host), registered_domain(&other.host)) {
            (Some(mine), Some(theirs)) => mine == theirs,
            _ => false,
        }
    }
}

/// `host[:port]`, as people write it.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        match (self.is_https, self.port) {
            (true, 443) | (false, 80) => Ok(()),
            (_, port) => write!(f, ":{port}"),
        }
    }
}

/// Whether `host` (with or without a port) is this machine: `localhost`, `127.0.0.0/8` or `[::1]`.
pub(crate) fn is_loopback_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|h| h.split_once(']')) {
        Some((v6, _)) => is_loopback_name(v6),
        None => is_loopback_name(host.split_once(':').map_or(host, |(name, _)| name)),
    }
}

fn is_loopback_name(name: &str) -> bool {
    name == "localhost"
        || name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        || name.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback())
}

/// The part of a host name that somebody registered, as far as can be told without the public suffix list:
/// two labels, or three below a country's `co.uk`-like second level. `None` for addresses and bare names.
fn registered_domain(host: &str) -> Option<&str> {
    if host.parse::<IpAddr>().is_ok() {
        return None;
    }
    let labels: Vec<&str> = host.split('.').collect();
    let [.., second, top] = labels[..] else { return None };
    // A short second level below a country is shared by strangers more often than it is somebody's own name.
    let n_labels = if top.len() == 2 && second.len() <= 3 { 3 } else { 2 };
    if labels.len() < n_labels {
        return None;
    }
    let length = labels[labels.len() - n_labels..].iter().map(|l| l.len() + 1).sum::<usize>() - 1;
    Some(&host[host.len() - length..])
}

/// What a `Location` header means, seen from the URL that was asked (RFC 3986 section 5, without dot segments).
pub(crate) fn resolve_location(base: &Uri, location: &str) -> Option<Uri> {
    let scheme = base.scheme_str()?;
    let authority = base.authority()?;
    let path = base.path();
    let absolute = if location.starts_with("http://") || location.starts_with("https://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') {
        format!("{scheme}://{authority}{path}{location}")
    } else if has_scheme(location) {
        // Of another kind: a file of this machine, or a protocol that registries do not speak.
        return None;
    } else {
        let folder = path.rfind('/').map_or("/", |slash| &path[..=slash]);
        format!("{scheme}://{authority}{folder}{location}")
    };
    let uri: Uri = absolute.parse().ok()?;
    Origin::of(&uri).map(|_| uri)
}

/// Whether a reference is an absolute URL: a colon in the first segment of a relative one is not allowed (RFC 3986
/// section 4.2).
fn has_scheme(location: &str) -> bool {
    location.split(['/', '?', '#']).next().is_some_and(|first| first.contains(':'))
}

/// `text` with every byte escaped that has a meaning in a query string.
pub fn query_escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(url: &str) -> Origin {
        Origin::of(&url.parse().unwrap()).unwrap()
    }

    #[test]
    fn sites_are_told_apart() {
        for (a, b, same) in [
            ("https://registry-1.docker.io", "https://auth.docker.io", true),
            ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", true),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001", true),
            ("http://127.0.0.1:5000", "http://localhost:5000", false),
            ("http://127.0.0.1:5000", "http://126.0.0.1:5000", false),
            ("https://good.co.uk", "https://evil.co.uk", false),
            ("https://a.good.co.uk", "https://b.good.co.uk", true),
            ("https://docker.io", "https://docker.io.evil.com", false),
            ("https://registry", "https://token", false),
        ] {
            assert_eq!(origin(a).is_same_site_as(&origin(b)), same, "{a} {b}");
        }
    }

    #[test]
    fn default_ports_are_the_same_origin() {
        assert_eq!(origin("https://A.example/x"), origin("https://a.example:443/y"));
        assert_ne!(origin("https://a.example"), origin("http://a.example"));
        assert_eq!(origin("http://[::1]:5000/").to_string(), "[::1]:5000");
        assert_eq!(origin("https://a.example:8443").base_url(), "https://a.example:8443");
    }

    #[test]
    fn locations_resolve_against_the_asked_url() {
        let base: Uri = "https://a.example:8443/v2/x/uploads/?q=1".parse().unwrap();
        for (location, resolved) in [
            ("http://b.example/y", Some("http://b.example/y")),
            ("//b.example/y", Some("https://b.example/y")),
            ("/v2/y?z=1", Some("https://a.example:8443/v2/y?z=1")),
            ("?z=1", Some("https://a.example:8443/v2/x/uploads/?z=1")),
            ("id", Some("https://a.example:8443/v2/x/uploads/id")),
            ("//", None),
            ("file:///etc/passwd", None),
            ("sha256:ab", None),
        ] {
            assert_eq!(resolve_location(&base, location).map(|u| u.to_string()).as_deref(), resolved, "{location}");
        }
    }

    #[test]
    fn loopback_hosts() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:80", "[::1]"] {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in ["docker.io", "localhost.evil.com", "128.0.0.1", "[::2]:80"] {
            assert!(!is_loopback_host(host), "{host}");
        }
    }

    #[test]
    fn queries_are_escaped() {
        assert_eq!(query_escaped("repository:a/b:pull,push"), "repository%3Aa%2Fb%3Apull%2Cpush");
    }
}
