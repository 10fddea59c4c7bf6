//! What users have configured for slipway itself: `slipway/config.toml` below the folder of settings, or the file that
//! `SLIPWAY_CONFIG` names.
//!
//! ```toml
//! [store]
//! max-used-space = "20GB"   # no more than this stays, if it may go
//! min-free-space = "5GB"    # so much is to be free on the disk
//! reserved-space = "2GB"    # so much stays in any case
//!
//! [registry."docker.io"]
//! mirrors = ["https://mirror.example.org"]   # asked before it, in this order
//!
//! [registry."registry.lan:5000"]
//! http = true                        # spoken to without TLS
//! ca = "lan.pem"                     # trusted for it, beside the usual certificates
//! client-cert = "me.pem"             # how this side proves itself
//! client-key = "me.key"
//! token-services = ["login.lan"]     # hosts on other sites that may see its credentials
//! ```
//!
//! Sizes are written as for `slipway prune`, paths start at the folder of the file. The file is ours, so a mistake in it
//! is told.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use slipway_graph::size::bytes_of;
use slipway_store::Bounds;

use crate::{client_config, env_vars};

/// Why the configuration is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read the configuration {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot read the configuration {}", path.display())]
    Syntax { path: PathBuf, source: Box<toml::de::Error> },
    #[error("`{key}` in the configuration {} is no size: `{value}`; write one such as `20GB`", path.display())]
    Size { path: PathBuf, key: &'static str, value: String },
    #[error("`{value}` in the configuration {} is no host: write `[registry.\"registry.example.org:5000\"]`", path.display())]
    Host { path: PathBuf, value: String },
    #[error("`{value}` in the configuration {} is no mirror of {host}: write `https://host[:port]`", path.display())]
    Mirror { path: PathBuf, host: String, value: String },
    #[error("`client-cert` and `client-key` of {host} in the configuration {} need each other", path.display())]
    HalfClient { path: PathBuf, host: String },
}

/// What the file says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Settings {
    store: Bounds,
    registries: Vec<RegistrySettings>,
}

/// What the file says about the registry at a host.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RegistrySettings {
    /// `host[:port]`.
    pub(crate) host: String,
    /// URLs.
    pub(crate) mirrors: Vec<String>,
    pub(crate) is_plain_http: bool,
    pub(crate) ca_file: Option<PathBuf>,
    /// Certificate and key.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
    /// Hosts.
    pub(crate) token_services: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    store: StoreTable,
    #[serde(default)]
    registry: BTreeMap<String, RegistryTable>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct RegistryTable {
    mirrors: Vec<String>,
    http: bool,
    ca: Option<PathBuf>,
    client_cert: Option<PathBuf>,
    client_key: Option<PathBuf>,
    token_services: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct StoreTable {
    max_used_space: Option<String>,
    min_free_space: Option<String>,
    reserved_space: Option<String>,
}

/// What the store is to be kept within; without a file, nothing.
pub(crate) fn store_cap() -> Result<Bounds, ConfigError> {
    read().map(|settings| settings.store)
}

/// What is set for single registries, sorted by host.
pub(crate) fn registries() -> Result<Vec<RegistrySettings>, ConfigError> {
    read().map(|settings| settings.registries)
}

fn read() -> Result<Settings, ConfigError> {
    let named = env_vars::SLIPWAY_CONFIG.get_os().map(PathBuf::from);
    let is_named = named.is_some();
    let usual = || Some(client_config::user_config_folder()?.join("slipway/config.toml"));
    let Some(path) = named.or_else(usual) else { return Ok(Settings::default()) };
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text, path),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => Ok(Settings::default()),
        Err(source) => Err(ConfigError::Read { path, source }),
    }
}

fn parse(text: &str, path: PathBuf) -> Result<Settings, ConfigError> {
    let File { store, registry } = match toml::from_str(text) {
        Ok(file) => file,
        Err(source) => return Err(ConfigError::Syntax { path, source: Box::new(source) }),
    };
    let registries = registry.into_iter().map(|(host, table)| of_registry(host, table, &path));
    Ok(Settings { registries: registries.collect::<Result<_, _>>()?, store: of_store(store, &path)? })
}

fn of_store(table: StoreTable, path: &Path) -> Result<Bounds, ConfigError> {
    let StoreTable { max_used_space, min_free_space, reserved_space } = table;
    let size = |key: &'static str, value: Option<String>| {
        let bad = |value: &String| ConfigError::Size { path: path.to_owned(), key, value: value.clone() };
        value.map(|value| bytes_of(&value).ok_or_else(|| bad(&value))).transpose()
    };
    Ok(Bounds {
        reserved_bytes: size("reserved-space", reserved_space)?,
        max_used_bytes: size("max-used-space", max_used_space)?,
        min_free_bytes: size("min-free-space", min_free_space)?,
    })
}

fn of_registry(host: String, table: RegistryTable, path: &Path) -> Result<RegistrySettings, ConfigError> {
    let RegistryTable { mirrors, http, ca, client_cert, client_key, token_services } = table;
    let path = path.to_owned();
    if host.is_empty() || host.contains(['/', '*', '@']) {
        return Err(ConfigError::Host { path, value: host });
    }
    let is_mirror = |url: &&String| url.starts_with("https://") || url.starts_with("http://");
    if let Some(bad) = mirrors.iter().find(|url| !is_mirror(url)) {
        return Err(ConfigError::Mirror { path, host, value: bad.clone() });
    }
    let in_folder = |file: PathBuf| path.parent().unwrap_or(Path::new("")).join(file);
    let client = match (client_cert, client_key) {
        (Some(certificate), Some(key)) => Some((in_folder(certificate), in_folder(key))),
        (None, None) => None,
        _ => return Err(ConfigError::HalfClient { path, host }),
    };
    let ca_file = ca.map(in_folder);
    Ok(RegistrySettings { host, mirrors, is_plain_http: http, ca_file, client, token_services })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Settings, String> {
        parse(text, PathBuf::from("/folder/c")).map_err(|error| error.to_string())
    }

    fn of(text: &str) -> Result<Bounds, String> {
        settings(text).map(|settings| settings.store)
    }

    #[test]
    fn registries_have_settings_of_their_own() {
        let text = r#"
            [registry."docker.io"]
            mirrors = ["https://m", "http://127.0.0.1:5000"]
            [registry."r.lan:5000"]
            http = true
            ca = "lan.pem"
            client-cert = "/me.pem"
            client-key = "me.key"
            token-services = ["login.lan"]
        "#;
        let lan = RegistrySettings {
            host: "r.lan:5000".to_owned(),
            mirrors: Vec::new(),
            is_plain_http: true,
            ca_file: Some("/folder/lan.pem".into()),
            client: Some(("/me.pem".into(), "/folder/me.key".into())),
            token_services: vec!["login.lan".to_owned()],
        };
        let found = settings(text).unwrap().registries;
        assert_eq!(found[0].mirrors, ["https://m", "http://127.0.0.1:5000"]);
        assert_eq!(found[1], lan);
        for (text, expected) in [
            ("[registry.\"a/b\"]", "`a/b` in the configuration /folder/c is no host"),
            ("[registry.a]\nmirrors = [\"m\"]", "`m` in the configuration /folder/c is no mirror of a"),
            ("[registry.a]\nclient-key = \"k\"", "need each other"),
            ("[registry.a]\ninsecure = true", "cannot read the configuration"),
        ] {
            let error = settings(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn sizes_are_those_of_prune() {
        let bounds = Bounds { max_used_bytes: Some(20 << 30), min_free_bytes: Some(512), reserved_bytes: None };
        assert_eq!(of("[store]\nmax-used-space = \"20GB\"\nmin-free-space = \"512\"\n"), Ok(bounds));
        assert_eq!(of(""), Ok(Bounds::default()));
    }

    #[test]
    fn mistakes_are_told() {
        assert!(of("[store]\nmax-used-space = \"much\"\n").unwrap_err().contains("`much`"));
        assert!(of("[store]\nmax-use-space = \"1GB\"\n").is_err());
        assert!(of("[stor").is_err());
    }
}
