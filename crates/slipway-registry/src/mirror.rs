//! Which servers may hold an image, and in which order are they asked? Mirrors first, the registry itself last.
//!
//! A mirror serves the same repositories under the same paths (as with Docker's `registry-mirrors`). Whatever is wrong
//! with it, the next server is asked; only if the registry itself fails too is there an error, and it tells of all.

use std::collections::HashSet;
use std::sync::Mutex;

use slipway_oci::Reference;
use ureq::http::Uri;

use crate::client::ClientConfig;
use crate::failure::{Attempt, Failure};
use crate::origin::Origin;

/// The registry's own server is asked this often before a broken connection or a 5xx counts.
const ORIGIN_ATTEMPTS: u32 = 5;
/// A mirror gets fewer chances, as there is somebody else to ask.
const MIRROR_ATTEMPTS: u32 = 2;

/// One server that may be asked for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) origin: Origin,
    /// The host under which credentials for this server are looked up. A mirror has its own, never the registry's.
    pub(crate) credential_host: String,
    /// How often a request is sent before its failure counts.
    pub(crate) max_attempts: u32,
}

impl Endpoint {
    /// The server of a registry host, as it is written in references.
    pub(crate) fn of_host(config: &ClientConfig, host: &str) -> Result<Endpoint, Failure> {
        let server = if host == "docker.io" { "registry-1.docker.io" } else { host };
        let scheme = if config.is_plain_http(host) { "http" } else { "https" };
        let origin = origin_of_url(&format!("{scheme}://{server}"))?;
        Ok(Endpoint { origin, credential_host: host.to_owned(), max_attempts: ORIGIN_ATTEMPTS })
    }

    fn of_mirror(url: &str) -> Result<Endpoint, Failure> {
        let origin = origin_of_url(url)?;
        Ok(Endpoint { credential_host: origin.to_string(), origin, max_attempts: MIRROR_ATTEMPTS })
    }

    /// The URL of `path` below the repository of `reference`.
    pub(crate) fn url(&self, repository: &str, path: &str) -> Result<Uri, Failure> {
        format!("{}/v2/{repository}/{path}", self.origin.base_url())
            .parse()
            .map_err(|_| Failure::Protocol("the reference does not fit into a URL".to_owned()))
    }
}

fn origin_of_url(url: &str) -> Result<Origin, Failure> {
    let uri: Option<Uri> = url.trim_end_matches('/').parse().ok();
    uri.filter(|uri| uri.path().len() <= 1)
        .and_then(|uri| Origin::of(&uri))
        .ok_or_else(|| Failure::Configuration("its URL is not of the form `https://host[:port]`".to_owned()))
}

/// The mirrors that could not be reached, so that each costs its time only once.
#[derive(Default)]
pub(crate) struct DeadMirrors(Mutex<HashSet<Origin>>);

impl DeadMirrors {
    fn contains(&self, origin: &Origin) -> bool {
        self.0.lock().expect("because nothing panics while it is held").contains(origin)
    }

    fn insert(&self, origin: Origin) {
        self.0.lock().expect("because nothing panics while it is held").insert(origin);
    }
}

/// Calls `ask` with one server after the other until one helps. If none does, returns what happened at each.
pub(crate) fn first_that_helps<T>(
    config: &ClientConfig,
    dead: &DeadMirrors,
    reference: &Reference,
    mut ask: impl FnMut(&Endpoint) -> Result<T, Failure>,
) -> Result<T, Vec<Attempt>> {
    let mut attempts = Vec::new();
    let mirrors = config.mirrors.iter().filter(|(host, _)| host == reference.host());
    for (_, url) in mirrors {
        let outcome = Endpoint::of_mirror(url).and_then(|mirror| {
            if dead.contains(&mirror.origin) {
                return Err(Failure::Unreachable { reason: "it was not there a moment ago".to_owned() });
            }
            ask(&mirror).inspect_err(|failure| {
                if matches!(failure, Failure::Unreachable { .. }) {
                    dead.insert(mirror.origin);
                }
            })
        });
        match outcome {
            Ok(answer) => return Ok(answer),
            Err(failure) => attempts.push(Attempt { host: host_of_mirror(url), failure }),
        }
    }
    let host = reference.host().to_owned();
    let endpoint = Endpoint::of_host(config, &host);
    let label = endpoint.as_ref().map_or(host, |endpoint| endpoint.origin.to_string());
    endpoint.and_then(|endpoint| ask(&endpoint)).map_err(|failure| {
        attempts.push(Attempt { host: label, failure });
        attempts
    })
}

/// What errors call a mirror: its host, as its URL may hold a password.
fn host_of_mirror(url: &str) -> String {
    origin_of_url(url).map_or_else(|_| "a mirror".to_owned(), |origin| origin.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers_asked(config: &ClientConfig, reference: &str) -> Vec<String> {
        let mut asked = Vec::new();
        let outcome = first_that_helps(config, &DeadMirrors::default(), &reference.parse().unwrap(), |endpoint| {
            asked.push(endpoint.origin.base_url());
            Err::<(), _>(Failure::NotFound)
        });
        assert!(outcome.is_err());
        asked
    }

    #[test]
    fn hosts_become_servers() {
        let config = ClientConfig { insecure_hosts: vec!["plain.example:81".to_owned()], ..ClientConfig::default() };
        for (reference, server) in [
            ("busybox", "https://registry-1.docker.io"),
            ("ghcr.io/a/b", "https://ghcr.io"),
            ("localhost:5000/a", "http://localhost:5000"),
            ("[::1]:5000/a", "http://[::1]:5000"),
            ("plain.example:81/a", "http://plain.example:81"),
            ("plain.example:82/a", "https://plain.example:82"),
        ] {
            assert_eq!(servers_asked(&config, reference), [server]);
        }
    }

    #[test]
    fn mirrors_come_first_and_belong_to_one_host() {
        let config = ClientConfig {
            mirrors: vec![
                ("docker.io".to_owned(), "http://m1:5000".to_owned()),
                ("docker.io".to_owned(), "https://m2/".to_owned()),
                ("ghcr.io".to_owned(), "https://m3".to_owned()),
            ],
            ..ClientConfig::default()
        };
        assert_eq!(servers_asked(&config, "busybox"), ["http://m1:5000", "https://m2", "https://registry-1.docker.io"]);
    }

    #[test]
    fn a_mirror_that_cannot_be_used_is_told_of_without_its_url() {
        let mirrors = vec![("docker.io".to_owned(), "ftp://user:hidden@m1".to_owned())];
        let config = ClientConfig { mirrors, ..ClientConfig::default() };
        let attempts = first_that_helps(&config, &DeadMirrors::default(), &"a".parse().unwrap(), |_| {
            Err::<(), _>(Failure::NotFound)
        })
        .unwrap_err();
        assert_eq!(attempts.len(), 2);
        assert!(!format!("{attempts:?}").contains("hidden"));
    }

    #[test]
    fn a_dead_mirror_is_asked_once() {
        let config =
            ClientConfig { mirrors: vec![("docker.io".to_owned(), "http://m1".to_owned())], ..ClientConfig::default() };
        let dead = DeadMirrors::default();
        let mut n_asked = 0;
        for _ in 0..3 {
            let outcome = first_that_helps(&config, &dead, &"a".parse().unwrap(), |endpoint| {
                n_asked += usize::from(endpoint.origin.host() == "m1");
                Err::<(), _>(Failure::Unreachable { reason: String::new() })
            });
            assert_eq!(outcome.unwrap_err().len(), 2);
        }
        assert_eq!(n_asked, 1);
    }
}
