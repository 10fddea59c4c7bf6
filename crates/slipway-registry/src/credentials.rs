//! Which user name and password belong to a registry host? (`spec/cli.md` section 10.)
//!
//! Asked in this order: `DOCKER_AUTH_CONFIG`, then for each file (`config.json`, then those of Podman) the host's
//! credential helper, the general credential store, its `auths`. A source that cannot be used is a warning, not an
//! error: most images are public.
//!
//! ```text
//! credentials/file.rs     what is in such a file, and how a login is written into it
//! credentials/program.rs  the programs that keep credentials
//! ```

mod file;
mod program;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::client::ClientConfig;
use file::{DockerConfig, decode_auth};
use program::Helper;

pub use file::ConfigFileError;
pub use program::HelperError;

/// Under which name Docker Hub's credentials are kept, whatever its hosts are called.
pub(crate) const HUB_KEY: &str = "https://index.docker.io/v1/";
/// The user name that says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// What proves to a registry who is asking. Printing one shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// A user name and a password or access token.
    Basic { username: String, password: String },
    /// An OAuth refresh token, to be changed into access tokens.
    IdentityToken(String),
    /// An access token that is sent as it is.
    RegistryToken(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Basic { username, .. } => write!(f, "Basic({username})"),
            Credential::IdentityToken(_) => f.write_str("IdentityToken"),
            Credential::RegistryToken(_) => f.write_str("RegistryToken"),
        }
    }
}

/// A credential, and where it was found.
#[derive(Clone)]
struct Found {
    credential: Credential,
    source: Source,
}

/// Where a credential comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The caller has it from the user.
    Typed,
    /// A file, variable or program, in words for an error message.
    Kept(String),
}

/// Why a source of credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    #[error(transparent)]
    File(#[from] ConfigFileError),
    #[error(transparent)]
    Helper(#[from] HelperError),
}

/// The sources of credentials, each host asked for at most once.
pub(crate) struct CredentialStore {
    files: Vec<(PathBuf, OnceLock<DockerConfig>)>,
    helper_path: Option<OsString>,
    from_environment: BTreeMap<String, Credential>,
    known: Mutex<HashMap<String, Option<Found>>>,
    warnings: Mutex<Vec<String>>,
}

impl CredentialStore {
    /// Takes the sources from `client`; nothing is read or run yet.
    pub(crate) fn new(client: &ClientConfig) -> CredentialStore {
        let auth_config = client.docker_auth_config.as_deref();
        let (from_environment, warning) = match auth_config.filter(|text| !text.is_empty()).map(parse_auth_config) {
            None => (BTreeMap::new(), None),
            Some(Ok(entries)) => (entries, None),
            Some(Err(reason)) => {
                let warning = format!("Failed to create credential store from DOCKER_AUTH_CONFIG:  {reason}");
                (BTreeMap::new(), Some(warning))
            }
        };
        let files = client.docker_config.iter().chain(&client.auth_files);
        CredentialStore {
            files: files.map(|path| (path.clone(), OnceLock::new())).collect(),
            helper_path: client.helper_path.clone(),
            from_environment,
            known: Mutex::new(HashMap::new()),
            warnings: Mutex::new(warning.into_iter().collect()),
        }
    }

    /// Knows one login, which was typed.
    pub(crate) fn typed(host: &str, username: &str, password: &str) -> CredentialStore {
        let credential = Credential::Basic { username: username.to_owned(), password: password.to_owned() };
        let found = Found { credential, source: Source::Typed };
        CredentialStore {
            files: Vec::new(),
            helper_path: None,
            from_environment: BTreeMap::new(),
            known: Mutex::new(HashMap::from([(host.to_owned(), Some(found))])),
            warnings: Mutex::default(),
        }
    }

    /// The credential of registry `host`, as it is written in references; `None` means anonymous.
    pub(crate) fn lookup(&self, host: &str) -> Option<Credential> {
        self.found(host).map(|found| found.credential)
    }

    /// Where the credential of `host` comes from.
    pub(crate) fn source(&self, host: &str) -> Option<Source> {
        self.found(host).map(|found| found.source)
    }

    fn found(&self, host: &str) -> Option<Found> {
        // Held while a helper runs: several layers of one image ask for the same host at once.
        let mut known = self.known.lock().expect("because nothing panics while it is held");
        if let Some(found) = known.get(host) {
            return found.clone();
        }
        let found = lookup_keys(host).iter().find_map(|key| self.find(key));
        known.insert(host.to_owned(), found.clone());
        found
    }

    /// What went wrong while looking for credentials so far.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.lock().expect("because nothing panics while it is held").clone()
    }

    fn warn(&self, warning: String) {
        self.warnings.lock().expect("because nothing panics while it is held").push(warning);
    }

    fn find(&self, key: &str) -> Option<Found> {
        if let Some(credential) = self.from_environment.get(key) {
            let source = Source::Kept("`DOCKER_AUTH_CONFIG`".to_owned());
            return Some(Found { credential: credential.clone(), source });
        }
        self.files.iter().find_map(|(path, config)| {
            self.find_in(path, self.config(path, config), key).unwrap_or_else(|error| {
                self.warn(error.to_string());
                None
            })
        })
    }

    fn find_in(&self, path: &Path, config: &DockerConfig, key: &str) -> Result<Option<Found>, CredentialError> {
        let (credential, source) = match config.helper(key) {
            Some(name) => {
                let helper = Helper { name, search_path: self.helper_path.as_deref() };
                (helper.get(key)?, format!("`{}`", helper.program()))
            }
            None => (config.credential(key)?, format!("`{}`", path.display())),
        };
        Ok(credential.map(|credential| Found { credential, source: Source::Kept(source) }))
    }

    fn config<'a>(&self, path: &Path, config: &'a OnceLock<DockerConfig>) -> &'a DockerConfig {
        config.get_or_init(|| {
            DockerConfig::read(path).unwrap_or_else(|error| {
                self.warn(error.to_string());
                DockerConfig::default()
            })
        })
    }
}

/// Where a login was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptLogin {
    /// Into this file, as it is.
    Readable(PathBuf),
    /// It is there already.
    Known,
    /// Into the hands of a helper.
    Helper,
}

/// Keeps the login for `key` where the file at `path` says that it is to be.
pub(crate) fn keep_login(
    path: &Path,
    client: &ClientConfig,
    key: &str,
    (username, password): (&str, &str),
) -> Result<KeptLogin, CredentialError> {
    let config = DockerConfig::read(path)?;
    let put =
        |entry: Value| move |auths: &mut Map<String, Value>| auths.insert(key.to_owned(), entry.clone()) != Some(entry);
    let Some(name) = config.helper(key) else {
        let is_changed = file::edit_auths(path, put(file::auth_entry(Some((username, password)))))?;
        return Ok(if is_changed { KeptLogin::Readable(path.to_owned()) } else { KeptLogin::Known });
    };
    Helper { name, search_path: client.helper_path.as_deref() }.store(key, username, password)?;
    // Other programs look here for the names of the registries that helpers know.
    file::edit_auths(path, put(file::auth_entry(None)))?;
    Ok(KeptLogin::Helper)
}

/// Forgets the login for `key`, in the file at `path` and in the helper that it names.
pub(crate) fn forget_login(path: &Path, client: &ClientConfig, key: &str) -> Result<(), CredentialError> {
    let config = DockerConfig::read(path)?;
    if let Some(name) = config.helper(key) {
        Helper { name, search_path: client.helper_path.as_deref() }.erase(key)?;
    }
    if !path.exists() {
        return Ok(());
    }
    file::edit_auths(path, |auths| {
        let n_before = auths.len();
        auths.retain(|name, _| name != key && file::host_part(name) != key);
        auths.len() < n_before
    })?;
    Ok(())
}

/// The name under which the login of `host` is kept.
pub(crate) fn key_of(host: &str) -> &str {
    match host {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => HUB_KEY,
        _ => host,
    }
}

/// The names under which the credential of `host` may be kept, the most specific one first.
fn lookup_keys(host: &str) -> Vec<&str> {
    match host {
        // Services of Docker that take the accounts of its Hub.
        "dhi.io" | "registry.scout.docker.com" => vec![host, HUB_KEY],
        _ => vec![key_of(host)],
    }
}

/// Reads `DOCKER_AUTH_CONFIG`, which is stricter than the file: nothing but `auths`, nothing in it but `auth`.
fn parse_auth_config(text: &str) -> Result<BTreeMap<String, Credential>, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct AuthConfig {
        auths: BTreeMap<String, OnlyAuth>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct OnlyAuth {
        auth: String,
    }
    let config: AuthConfig = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let decode = |(host, entry): (String, OnlyAuth)| match decode_auth(&entry.auth) {
        Ok(credential) => Ok((host, credential)),
        Err(error) => Err(error.to_string()),
    };
    config.auths.into_iter().map(decode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(username: &str, password: &str) -> Credential {
        Credential::Basic { username: username.to_owned(), password: password.to_owned() }
    }

    fn store(config: Option<PathBuf>, auth_config: Option<&str>) -> CredentialStore {
        CredentialStore::new(&ClientConfig {
            docker_config: config,
            docker_auth_config: auth_config.map(str::to_owned),
            ..ClientConfig::default()
        })
    }

    #[test]
    fn hub_has_one_key_and_its_cousins_fall_back_to_it() {
        let text = format!(r#"{{"auths":{{"{HUB_KEY}":{{"auth":"dTpw"}},"ghcr.io":{{"auth":"Zzpo"}}}}}}"#);
        let store = store(None, Some(&text));
        for host in ["docker.io", "registry-1.docker.io", "dhi.io"] {
            assert_eq!(store.lookup(host), Some(basic("u", "p")), "{host}");
        }
        assert_eq!(store.lookup("ghcr.io"), Some(basic("g", "h")));
        assert_eq!(store.lookup("quay.io"), None);
    }

    #[test]
    fn a_strange_auth_config_is_a_warning() {
        for text in
            [r#"{"auths":{"a":{}}}"#, r#"{"auths":{},"credsStore":"x"}"#, "{", r#"{"auths":{"a":{"auth":"dXA="}}}"#]
        {
            let store = store(None, Some(text));
            assert_eq!(store.lookup("a"), None);
            let warnings = store.warnings();
            assert!(
                warnings[0].starts_with("Failed to create credential store from DOCKER_AUTH_CONFIG:  "),
                "{warnings:?}"
            );
        }
    }

    #[test]
    fn a_missing_helper_is_named_and_means_anonymous() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, r#"{"credHelpers":{"a.example":"surely-missing","b.example":"../x"}}"#).unwrap();
        let store = store(Some(path), None);
        assert_eq!(store.lookup("a.example"), None);
        assert_eq!(store.lookup("b.example"), None);
        let warnings = store.warnings().join("\n");
        assert!(warnings.contains("`docker-credential-surely-missing`: executable file not found"), "{warnings}");
        assert!(warnings.contains("its name is a path"), "{warnings}");
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{:?}", basic("u", "hidden")), "Basic(u)");
        assert!(!format!("{:?}", Credential::IdentityToken("hidden".into())).contains("hidden"));
    }
}
