//! Is a user name and password good at a registry, and where is it kept? What `docker login` and `logout` do
//! (`spec/cli.md` section 10).

use std::fmt;
use std::path::PathBuf;

use ureq::http::{Method, StatusCode};

use crate::Registry;
use crate::auth::Scope;
use crate::client::{ClientConfig, Request};
use crate::credentials::{
    Credential, CredentialError, CredentialStore, KeptLogin, Source, forget_login, keep_login, key_of,
};
use crate::failure::Failure;
use crate::mirror::Endpoint;

/// The registry that somebody logs in to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginServer {
    /// As in references.
    host: String,
}

impl LoginServer {
    /// A host, or a URL that begins with one; nothing stands for Docker Hub.
    pub fn of(text: &str) -> LoginServer {
        let text = text.trim();
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        let host = rest.split('/').next().unwrap_or_default();
        let host = if host.is_empty() || key_of(host) != host { "docker.io" } else { host };
        LoginServer { host: host.to_owned() }
    }

    /// Whether it is Docker Hub.
    pub fn is_hub(&self) -> bool {
        self.host == "docker.io"
    }
}

/// The name under which its login is kept.
impl fmt::Display for LoginServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(key_of(&self.host))
    }
}

/// A login that is kept already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownLogin {
    /// `None` if a token stands for the user.
    pub username: Option<String>,
    /// The file, variable or program that has it, in words for a message.
    pub source: String,
}

/// A registry does not take a login. Shows no secret.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The registry itself says so.
    #[error("login attempt to {url} failed with status: {status}")]
    Status { url: String, status: StatusCode },
    /// Its token service says so.
    #[error("Get {url:?}: unauthorized{}", suffix(detail))]
    Unauthorized { url: String, detail: String },
    #[error("Get {url:?}: {failure}")]
    Failed { url: String, failure: Failure },
}

impl LoginError {
    /// Whether it is the user name or password that is wrong.
    pub fn is_refusal(&self) -> bool {
        match self {
            LoginError::Status { status, .. } => *status == StatusCode::UNAUTHORIZED,
            LoginError::Unauthorized { .. } => true,
            LoginError::Failed { .. } => false,
        }
    }
}

fn suffix(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(": {detail}") }
}

impl Registry {
    /// Asks `server` whether it takes this login.
    pub fn check_login(&self, server: &LoginServer, username: &str, password: &str) -> Result<(), LoginError> {
        let credentials = CredentialStore::typed(&server.host, username, password);
        // A client of its own: this one may have tokens of another login.
        let client = Registry::with_credentials(self.shared.config.clone(), credentials);
        client.check_known_login(server)
    }

    /// Asks `server` whether it takes the login that is kept for it.
    pub fn check_known_login(&self, server: &LoginServer) -> Result<(), LoginError> {
        let endpoint = Endpoint::of_host(&self.shared.config, &server.host)
            .map_err(|failure| LoginError::Failed { url: server.host.clone(), failure })?;
        let url = format!("{}/v2/", endpoint.origin.base_url());
        let uri = url.parse().map_err(|_| LoginError::Failed {
            url: url.clone(),
            failure: Failure::Protocol("this is no name of a host".to_owned()),
        })?;
        let response = match self.send(&endpoint, &Scope::log_in(), Request::new(Method::GET, uri)) {
            Ok(response) => response,
            Err(Failure::Denied { detail, .. }) => return Err(LoginError::Unauthorized { url, detail }),
            Err(failure) => return Err(LoginError::Failed { url, failure }),
        };
        if response.is_success() {
            return Ok(());
        }
        match StatusCode::from_u16(response.status) {
            Ok(status) => Err(LoginError::Status { url, status }),
            Err(_) => {
                let failure = Failure::Protocol("its answer has no status".to_owned());
                Err(LoginError::Failed { url, failure })
            }
        }
    }

    /// The login that is kept for `server`.
    pub fn known_login(&self, server: &LoginServer) -> Option<KnownLogin> {
        let auth = &self.shared.auth;
        let Source::Kept(source) = auth.credentials().source(&server.host)? else { return None };
        let username = match auth.credentials().lookup(&server.host)? {
            Credential::Basic { username, .. } => Some(username),
            Credential::IdentityToken(_) | Credential::RegistryToken(_) => None,
        };
        Some(KnownLogin { username, source })
    }
}

/// The file that logins are written into, or that says which helper keeps them.
pub struct LoginFile<'a> {
    config: &'a ClientConfig,
    path: PathBuf,
}

impl LoginFile<'_> {
    /// The `config.json` of `config`; `None` if there is no place for it.
    pub fn of(config: &ClientConfig) -> Option<LoginFile<'_>> {
        Some(LoginFile { config, path: config.docker_config.clone()? })
    }

    /// Keeps a login, in the place of one that may be there.
    pub fn keep(&self, server: &LoginServer, username: &str, password: &str) -> Result<KeptLogin, CredentialError> {
        keep_login(&self.path, self.config, &server.to_string(), (username, password))
    }

    /// Forgets the login for `server`, if there is one.
    pub fn forget(&self, server: &LoginServer) -> Result<(), CredentialError> {
        forget_login(&self.path, self.config, &server.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_have_many_spellings() {
        for (text, key) in [
            ("", "https://index.docker.io/v1/"),
            ("docker.io", "https://index.docker.io/v1/"),
            ("https://index.docker.io/v1/", "https://index.docker.io/v1/"),
            ("registry-1.docker.io", "https://index.docker.io/v1/"),
            ("ghcr.io", "ghcr.io"),
            ("https://ghcr.io/v2/", "ghcr.io"),
            ("http://127.0.0.1:5000", "127.0.0.1:5000"),
        ] {
            assert_eq!(LoginServer::of(text).to_string(), key, "{text}");
        }
    }
}
