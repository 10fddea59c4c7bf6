//! Which user name and password belong to a registry host? (`spec/cli.md` section 10.)
//!
//! Asked in this order: `DOCKER_AUTH_CONFIG`, the host's credential helper, the general credential store, the
//! `auths` of `config.json`. A source that cannot be used is a warning, not an error: most images are public.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::client::ClientConfig;

/// Under which name Docker Hub's credentials are kept, whatever its hosts are called.
pub(crate) const HUB_KEY: &str = "https://index.docker.io/v1/";
/// More than any helper has to say.
const HELPER_ANSWER_BYTES: u64 = 1 << 20;
/// More than any `config.json` holds; caps what a wrong path can do.
const CONFIG_BYTES: u64 = 16 << 20;

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

/// A credential, and where it was found, in words for an error message.
#[derive(Clone)]
struct Found {
    credential: Credential,
    source: String,
}

/// Why a source of credentials cannot be used.
#[derive(Debug, thiserror::Error)]
enum CredentialError {
    #[error("cannot read `{}`: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("`{}` is no Docker configuration: {source}", path.display())]
    Malformed { path: PathBuf, source: serde_json::Error },
    #[error("invalid auth configuration file")]
    MalformedAuth,
    #[error("error getting credentials from `{program}`: {reason}")]
    Helper { program: String, reason: String },
}

/// The sources of credentials, each host asked for at most once.
pub(crate) struct CredentialStore {
    config_path: Option<PathBuf>,
    helper_path: Option<OsString>,
    from_environment: BTreeMap<String, Credential>,
    config: OnceLock<DockerConfig>,
    known: Mutex<HashMap<String, Option<Found>>>,
    warnings: Mutex<Vec<String>>,
}

/// The parts of `config.json` that are about credentials.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, AuthEntry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: String,
}

#[derive(Default, Deserialize)]
struct AuthEntry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
    #[serde(default)]
    registrytoken: String,
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
        CredentialStore {
            config_path: client.docker_config.clone(),
            helper_path: client.helper_path.clone(),
            from_environment,
            config: OnceLock::new(),
            known: Mutex::new(HashMap::new()),
            warnings: Mutex::new(warning.into_iter().collect()),
        }
    }

    /// The credential of registry `host`, as it is written in references; `None` means anonymous.
    pub(crate) fn lookup(&self, host: &str) -> Option<Credential> {
        self.found(host).map(|found| found.credential)
    }

    /// The file, variable or program that the credential of `host` comes from.
    pub(crate) fn source(&self, host: &str) -> Option<String> {
        self.found(host).map(|found| found.source)
    }

    fn found(&self, host: &str) -> Option<Found> {
        // Held while a helper runs: several layers of one image ask for the same host at once.
        let mut known = self.known.lock().expect("because nothing panics while it is held");
        if let Some(found) = known.get(host) {
            return found.clone();
        }
        let found = lookup_keys(host).iter().find_map(|key| {
            self.find(key).unwrap_or_else(|error| {
                self.warn(error.to_string());
                None
            })
        });
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

    fn find(&self, key: &str) -> Result<Option<Found>, CredentialError> {
        if let Some(credential) = self.from_environment.get(key) {
            let source = "`DOCKER_AUTH_CONFIG`".to_owned();
            return Ok(Some(Found { credential: credential.clone(), source }));
        }
        let config = self.config();
        let helper = config.cred_helpers.get(key).filter(|helper| !helper.is_empty());
        if let Some(helper) = helper.or(Some(&config.creds_store).filter(|helper| !helper.is_empty())) {
            let credential = ask_helper(helper, key, self.helper_path.as_deref())?;
            let source = format!("`{}`", helper_program(helper));
            return Ok(credential.map(|credential| Found { credential, source }));
        }
        let entry = config
            .auths
            .get(key)
            .or_else(|| config.auths.iter().find(|(name, _)| host_part(name) == key).map(|(_, entry)| entry));
        let credential = entry.map_or(Ok(None), credential_of)?;
        let path = self.config_path.as_deref().unwrap_or(Path::new("config.json"));
        let source = format!("`{}`", path.display());
        Ok(credential.map(|credential| Found { credential, source }))
    }

    fn config(&self) -> &DockerConfig {
        self.config.get_or_init(|| {
            let Some(path) = &self.config_path else { return DockerConfig::default() };
            read_config(path).unwrap_or_else(|error| {
                self.warn(error.to_string());
                DockerConfig::default()
            })
        })
    }
}

/// The names under which the credential of `host` may be kept, the most specific one first.
fn lookup_keys(host: &str) -> Vec<&str> {
    match host {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => vec![HUB_KEY],
        // Services of Docker that take the accounts of its Hub.
        "dhi.io" | "registry.scout.docker.com" => vec![host, HUB_KEY],
        _ => vec![host],
    }
}

/// The host of a key of `auths`, which may be a whole URL.
fn host_part(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    rest.split('/').next().unwrap_or(rest)
}

fn read_config(path: &Path) -> Result<DockerConfig, CredentialError> {
    let unreadable = |source| CredentialError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    match std::fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(DockerConfig::default()),
        Err(error) => return Err(unreadable(error)),
        Ok(file) => file.take(CONFIG_BYTES).read_to_end(&mut bytes).map_err(unreadable)?,
    };
    serde_json::from_slice(&bytes).map_err(|source| CredentialError::Malformed { path: path.to_owned(), source })
}

fn credential_of(entry: &AuthEntry) -> Result<Option<Credential>, CredentialError> {
    if !entry.registrytoken.is_empty() {
        return Ok(Some(Credential::RegistryToken(entry.registrytoken.clone())));
    }
    if !entry.identitytoken.is_empty() {
        return Ok(Some(Credential::IdentityToken(entry.identitytoken.clone())));
    }
    if !entry.auth.is_empty() {
        return decode_auth(&entry.auth).map(Some);
    }
    if entry.username.is_empty() && entry.password.is_empty() {
        return Ok(None);
    }
    Ok(Some(Credential::Basic { username: entry.username.clone(), password: entry.password.clone() }))
}

/// Reads base64 of `user:password`.
fn decode_auth(auth: &str) -> Result<Credential, CredentialError> {
    let bytes = STANDARD.decode(auth.trim()).map_err(|_| CredentialError::MalformedAuth)?;
    let text = String::from_utf8(bytes).map_err(|_| CredentialError::MalformedAuth)?;
    let (username, password) = text.split_once(':').ok_or(CredentialError::MalformedAuth)?;
    Ok(Credential::Basic { username: username.to_owned(), password: password.trim_end_matches('\0').to_owned() })
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

fn helper_program(helper: &str) -> String {
    format!("docker-credential-{helper}")
}

/// Runs `docker-credential-<helper> get`, the server's name on its standard input.
fn ask_helper(helper: &str, server: &str, search_path: Option<&OsStr>) -> Result<Option<Credential>, CredentialError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        #[serde(default)]
        username: String,
        #[serde(default)]
        secret: String,
    }
    let program = helper_program(helper);
    let failed = |reason: String| CredentialError::Helper { program: program.clone(), reason };
    // The name is looked up in PATH; with a slash it would be a path from wherever the build was started.
    if helper.contains('/') {
        return Err(failed("its name is a path".to_owned()));
    }
    let (is_success, answer) = run_helper(&program, server, search_path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => failed("executable file not found in $PATH".to_owned()),
        _ => failed(error.to_string()),
    })?;
    if !is_success {
        let text = String::from_utf8_lossy(&answer);
        return match text.trim() {
            "credentials not found in native keychain" => Ok(None),
            reason => Err(failed(reason.chars().filter(|c| !c.is_control()).take(200).collect())),
        };
    }
    // The parser's message is left out: it may quote the secret.
    let answer: Answer = serde_json::from_slice(&answer).map_err(|_| failed("its answer is no JSON".to_owned()))?;
    Ok(match (answer.username.as_str(), answer.secret.is_empty()) {
        ("", true) => None,
        ("<token>", _) => Some(Credential::IdentityToken(answer.secret)),
        _ => Some(Credential::Basic { username: answer.username, password: answer.secret }),
    })
}

fn run_helper(program: &str, server: &str, search_path: Option<&OsStr>) -> io::Result<(bool, Vec<u8>)> {
    let mut command = Command::new(program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    if let Some(search_path) = search_path {
        command.env("PATH", search_path);
    }
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that answers without reading is fine; what it says counts.
        let _ = stdin.write_all(server.as_bytes());
    }
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(HELPER_ANSWER_BYTES).read_to_end(&mut answer)?;
    }
    Ok((child.wait()?.success(), answer))
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

    fn entry(json: &str) -> Result<Option<Credential>, String> {
        credential_of(&serde_json::from_str(json).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn entries_of_auths() {
        assert_eq!(entry(r#"{"auth":"dTpwOnE="}"#), Ok(Some(basic("u", "p:q"))));
        assert_eq!(entry(r#"{"auth":"dTpwAAA="}"#), Ok(Some(basic("u", "p"))));
        assert_eq!(entry(r#"{"username":"u","password":"p"}"#), Ok(Some(basic("u", "p"))));
        assert_eq!(entry(r#"{"auth":"dTpw","identitytoken":"t"}"#), Ok(Some(Credential::IdentityToken("t".into()))));
        assert_eq!(entry(r#"{"registrytoken":"t"}"#), Ok(Some(Credential::RegistryToken("t".into()))));
        assert_eq!(entry("{}"), Ok(None));
        assert_eq!(entry(r#"{"auth":"dXA="}"#), Err("invalid auth configuration file".into()));
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
    fn keys_that_are_urls_name_their_host() {
        assert_eq!(host_part("https://quay.io/v1/"), "quay.io");
        assert_eq!(host_part("localhost:5000"), "localhost:5000");
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
