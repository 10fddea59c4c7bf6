//! Mirrors as users of Podman and Buildah have them: `registries.conf`, version 2 (containers-registries.conf(5)).
//!
//! Only what concerns whole registries is taken: a table whose prefix names a repository says nothing here.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What the files say, in the terms of the registry client.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Registries {
    /// Host and URL of a mirror of it, in the order in which they are asked.
    pub(crate) mirrors: Vec<(String, String)>,
    /// Hosts that are spoken to over plain HTTP.
    pub(crate) insecure_hosts: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
struct File {
    #[serde(default)]
    registry: Vec<Table>,
}

#[derive(Debug, Deserialize)]
struct Table {
    prefix: Option<String>,
    location: Option<String>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    mirror: Vec<Mirror>,
}

#[derive(Debug, Deserialize)]
struct Mirror {
    location: String,
    #[serde(default)]
    insecure: bool,
}

/// Reads the user's file, or if there is none the machine's. One that cannot be read counts as empty: it belongs to
/// another program.
pub(crate) fn read(user_folder: Option<PathBuf>) -> Registries {
    let of_user = user_folder.map(|folder| folder.join("containers/registries.conf"));
    let of_machine = Path::new("/etc/containers/registries.conf");
    let text = of_user.and_then(|path| fs::read_to_string(path).ok()).or_else(|| fs::read_to_string(of_machine).ok());
    text.map(|text| parse(&text)).unwrap_or_default()
}

fn parse(text: &str) -> Registries {
    let file: File = toml::from_str(text).unwrap_or_default();
    let mut registries = Registries::default();
    for table in file.registry {
        let Some(host) = table.prefix.or(table.location).filter(|host| is_host(host)) else { continue };
        let mirrors = table.mirror.into_iter().filter(|mirror| is_host(&mirror.location));
        registries.mirrors.extend(mirrors.map(|mirror| {
            let scheme = if mirror.insecure { "http" } else { "https" };
            (host.clone(), format!("{scheme}://{}", mirror.location))
        }));
        if table.insecure {
            registries.insecure_hosts.push(host);
        }
    }
    registries
}

fn is_host(location: &str) -> bool {
    !location.is_empty() && !location.contains(['/', '*'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_and_plain_http_are_read() {
        let text = r#"
            unqualified-search-registries = ["docker.io"]
            [[registry]]
            location = "docker.io"
            [[registry.mirror]]
            location = "127.0.0.1:5000"
            insecure = true
            [[registry.mirror]]
            location = "mirror.example.org"
            [[registry]]
            location = "registry.lan:5000"
            insecure = true
            [[registry]]
            prefix = "docker.io/team"
            location = "elsewhere.example.org/team"
        "#;
        let pair = |url: &str| ("docker.io".to_owned(), url.to_owned());
        let registries = parse(text);
        assert_eq!(registries.mirrors, [pair("http://127.0.0.1:5000"), pair("https://mirror.example.org")]);
        assert_eq!(registries.insecure_hosts, ["registry.lan:5000"]);
    }

    #[test]
    fn what_cannot_be_read_is_empty() {
        for text in ["", "registry = 1", "[[registry]\n"] {
            assert_eq!(parse(text), Registries::default(), "{text}");
        }
    }
}
