//! What users of Docker have configured already: proxies for builds, credentials, mirrors (`spec/cli.md` 3.3, 10).
//!
//! Files that are missing or cannot be read count as empty: they belong to another program.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;
use slipway_registry::{ClientConfig, HostTls};

use crate::config::{self, RegistrySettings};
use crate::containers_config;
use crate::env_vars::{self, EnvVar};

const SYSTEM_DAEMON_CONFIG: &str = "/etc/docker/daemon.json";

/// The registry client's view of this machine. Reads a few small files and no certificates. A mistake in slipway's own
/// configuration is told by whoever wants to connect.
pub(crate) fn registry_config(is_offline: bool) -> ClientConfig {
    let (own, mistake) = match config::registries() {
        Ok(registries) => (registries, None),
        Err(error) => (Vec::new(), Some(slipway_engine::chain(&error))),
    };
    let daemon_configs = [Some(PathBuf::from(SYSTEM_DAEMON_CONFIG)), user_daemon_config()];
    let daemon_configs: Vec<Value> = daemon_configs.iter().flatten().filter_map(|path| read_json(path)).collect();
    let mut mirrors = mirrors_of_variable(&env_vars::SLIPWAY_MIRROR.get().unwrap_or_default());
    for registry in &own {
        mirrors.extend(registry.mirrors.iter().map(|url| (registry.host.clone(), url.clone())));
    }
    mirrors.extend(daemon_configs.iter().flat_map(|config| texts(config, "registry-mirrors")).map(on_docker_hub));
    let registries = containers_config::read(user_config_folder());
    mirrors.extend(registries.mirrors);
    let mut insecure_hosts: Vec<String> =
        daemon_configs.iter().flat_map(|config| texts(config, "insecure-registries")).collect();
    insecure_hosts.extend(registries.insecure_hosts);
    let mut client = ClientConfig {
        is_offline,
        mistake,
        docker_config: docker_config_path(),
        auth_files: podman_auth_files(),
        docker_auth_config: env_vars::DOCKER_AUTH_CONFIG.get(),
        helper_path: env_vars::PATH.get_os(),
        mirrors,
        insecure_hosts,
        http_proxy: env_vars::first_of(env_vars::HTTP_PROXY),
        https_proxy: env_vars::first_of(env_vars::HTTPS_PROXY),
        no_proxy: env_vars::first_of(env_vars::NO_PROXY),
        ca_file: path_of(env_vars::SSL_CERT_FILE),
        ..ClientConfig::default()
    };
    // As Docker without root and Podman have them.
    let folders = user_config_folder();
    client.certs_dirs.extend(folders.iter().flat_map(|f| [f.join("docker/certs.d"), f.join("containers/certs.d")]));
    for RegistrySettings { host, mirrors: _, is_plain_http, ca_file, client: pair, token_services } in own {
        client.trusted_realms.extend(token_services.into_iter().map(|service| (host.clone(), service)));
        client.insecure_hosts.extend(is_plain_http.then(|| host.clone()));
        client.host_tls.push(HostTls { host, ca_file, client: pair });
    }
    client
}

/// The proxies that Docker's `config.json` sets for builds, by upper-case variable name.
pub(crate) fn build_proxies() -> Vec<(String, String)> {
    let config = docker_config_path().and_then(|path| read_json(&path)).unwrap_or_default();
    proxies_of(&config)
}

/// Filters that Docker's `config.json` adds to those of every prune (`spec/cli.md` section 7.2).
pub(crate) fn prune_filters() -> Vec<String> {
    let config = docker_config_path().and_then(|path| read_json(&path)).unwrap_or_default();
    texts(&config, "pruneFilters").collect()
}

/// What the `git` program may see of this environment: where programs are, proxies and certificates.
pub(crate) fn git_variables() -> Vec<(String, OsString)> {
    let proxies = [env_vars::HTTP_PROXY, env_vars::HTTPS_PROXY, env_vars::NO_PROXY].map(|spellings| {
        // The lower-case spelling is the one that curl reads.
        let [_, name] = spellings;
        Some((name.name().to_owned(), env_vars::first_of(spellings)?.into()))
    });
    let path = env_vars::PATH.get_os().map(|path| ("PATH".to_owned(), path));
    let certificates = env_vars::SSL_CERT_FILE.get_os().map(|file| ("GIT_SSL_CAINFO".to_owned(), file));
    proxies.into_iter().chain([path, certificates]).flatten().collect()
}

/// The folder of the store.
pub(crate) fn store_root() -> PathBuf {
    if let Some(root) = path_of(env_vars::SLIPWAY_ROOT) {
        return root;
    }
    path_of(env_vars::XDG_DATA_HOME)
        .or_else(|| Some(path_of(env_vars::HOME)?.join(".local/share")))
        .unwrap_or_else(|| PathBuf::from("/var/lib"))
        .join("slipway")
}

pub(crate) fn path_of(variable: EnvVar) -> Option<PathBuf> {
    variable.get_os().map(PathBuf::from)
}

/// The folder of `--config`.
static TYPED_CONFIG_FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Makes `folder` the one of Docker's settings, whatever the environment says.
pub(crate) fn use_docker_config(folder: &Path) {
    // Flags are read once.
    let _ = TYPED_CONFIG_FOLDER.set(folder.to_owned());
}

/// The folder of Docker's settings.
pub(crate) fn docker_config_folder() -> Option<PathBuf> {
    let named = TYPED_CONFIG_FOLDER.get().cloned().or_else(|| path_of(env_vars::DOCKER_CONFIG));
    named.or_else(|| Some(path_of(env_vars::HOME)?.join(".docker")))
}

fn docker_config_path() -> Option<PathBuf> {
    Some(docker_config_folder()?.join("config.json"))
}

/// Files with credentials of Podman's users (containers-auth.json(5)).
fn podman_auth_files() -> Vec<PathBuf> {
    if let Some(named) = path_of(env_vars::REGISTRY_AUTH_FILE) {
        return vec![named];
    }
    let folders = [path_of(env_vars::XDG_RUNTIME_DIR), user_config_folder()];
    folders.into_iter().flatten().map(|folder| folder.join("containers/auth.json")).collect()
}

fn user_daemon_config() -> Option<PathBuf> {
    Some(user_config_folder()?.join("docker/daemon.json"))
}

/// The folder with settings of programs.
pub(crate) fn user_config_folder() -> Option<PathBuf> {
    path_of(env_vars::XDG_CONFIG_HOME).or_else(|| Some(path_of(env_vars::HOME)?.join(".config")))
}

pub(crate) fn read_json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn texts<'a>(config: &'a Value, key: &str) -> impl Iterator<Item = String> + use<'a> {
    config[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned)
}

fn on_docker_hub(url: String) -> (String, String) {
    ("docker.io".to_owned(), url)
}

/// `host=url,host=url`; an entry without a host is a mirror of Docker Hub.
fn mirrors_of_variable(text: &str) -> Vec<(String, String)> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| match entry.split_once('=') {
            Some((host, url)) if !host.contains("://") => (host.trim().to_owned(), url.trim().to_owned()),
            _ => on_docker_hub(entry.to_owned()),
        })
        .collect()
}

fn proxies_of(config: &Value) -> Vec<(String, String)> {
    const NAMES: [(&str, &str); 5] = [
        ("httpProxy", "HTTP_PROXY"),
        ("httpsProxy", "HTTPS_PROXY"),
        ("noProxy", "NO_PROXY"),
        ("ftpProxy", "FTP_PROXY"),
        ("allProxy", "ALL_PROXY"),
    ];
    let default = &config["proxies"]["default"];
    let value = |key: &str| default[key].as_str().filter(|value| !value.is_empty());
    NAMES.into_iter().filter_map(|(key, name)| Some((name.to_owned(), value(key)?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_belong_to_hosts() {
        let pair = |host: &str, url: &str| (host.to_owned(), url.to_owned());
        assert_eq!(
            mirrors_of_variable("docker.io=http://127.0.0.1:5000, ghcr.io=https://m,,https://hub?x=y"),
            [
                pair("docker.io", "http://127.0.0.1:5000"),
                pair("ghcr.io", "https://m"),
                pair("docker.io", "https://hub?x=y")
            ]
        );
        assert_eq!(mirrors_of_variable(""), []);
    }

    #[test]
    fn proxies_have_the_names_of_variables() {
        let config =
            serde_json::json!({"proxies": {"default": {"httpProxy": "http://p", "noProxy": "", "other": "x"}}});
        assert_eq!(proxies_of(&config), [("HTTP_PROXY".to_owned(), "http://p".to_owned())]);
        assert_eq!(proxies_of(&Value::Null), []);
    }

    #[test]
    fn lists_of_the_daemon_are_read() {
        let config = serde_json::json!({"registry-mirrors": ["http://m", 1], "other": true});
        assert_eq!(texts(&config, "registry-mirrors").collect::<Vec<_>>(), ["http://m"]);
        assert_eq!(texts(&config, "insecure-registries").count(), 0);
    }
}
