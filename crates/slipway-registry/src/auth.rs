//! What goes into the `Authorization` header of a request to a registry?
//!
//! Nothing, until the registry answers 401; from then on its challenge is remembered and every request comes with the
//! right header at once. Who may see credentials:
//!
//! | asks for them                            | gets                                                       |
//! |------------------------------------------|------------------------------------------------------------|
//! | the registry host itself                 | its own credential                                         |
//! | its token service, https, same site      | its own credential                                         |
//! | a token service over plain http          | that, only if the registry too is spoken to in plain http  |
//! | a token service on another site          | nothing (an anonymous token is fetched), unless configured |
//! | whatever a redirect leads to             | nothing, not even an answer to its 401                     |

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::http::{Method, Uri};

use crate::challenge::Challenge;
use crate::client::{ClientConfig, HttpClient, Request, RequestBody, Response};
use crate::credentials::{Credential, CredentialStore, Source};
use crate::failure::{Failure, Operation};
use crate::mirror::Endpoint;
use crate::origin::{Origin, query_escaped};

/// Tokens are about a kilobyte; nothing sensible is longer than this.
const TOKEN_ANSWER_BYTES: u64 = 1 << 20;
/// How long a token is good for if its service does not say (distribution spec, token authentication).
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
/// Tokens are renewed this long before they end, so that none ends on its way.
const MARGIN: Duration = Duration::from_secs(10);

/// What a request wants to do, in the terms of token services.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    repository: String,
    operation: Operation,
    /// A second repository that blobs are mounted from.
    mount_from: Option<String>,
}

impl Scope {
    pub(crate) fn pull(repository: &str) -> Scope {
        Scope { repository: repository.to_owned(), operation: Operation::Pull, mount_from: None }
    }

    pub(crate) fn push(repository: &str, mount_from: Option<&str>) -> Scope {
        Scope {
            repository: repository.to_owned(),
            operation: Operation::Push,
            mount_from: mount_from.map(str::to_owned),
        }
    }

    /// Nothing but that somebody is who they say.
    pub(crate) fn log_in() -> Scope {
        Scope { repository: String::new(), operation: Operation::LogIn, mount_from: None }
    }

    pub(crate) fn operation(&self) -> Operation {
        self.operation
    }

    fn texts(&self) -> Vec<String> {
        let actions = match self.operation {
            Operation::Pull => "pull",
            Operation::Push => "pull,push",
            Operation::LogIn => return Vec::new(),
        };
        let own = format!("repository:{}:{actions}", self.repository);
        let other = self.mount_from.as_ref().map(|from| format!("repository:{from}:pull"));
        std::iter::once(own).chain(other).collect()
    }
}

/// A header value, and until when it is good.
#[derive(Clone)]
struct Token {
    header: String,
    ends: Instant,
}

/// One token each, fetched by one thread while others wait for it.
type TokenSlot = Arc<Mutex<Option<Token>>>;

/// Remembers what the registries asked for and the tokens they gave.
pub(crate) struct Authenticator {
    credentials: CredentialStore,
    challenges: Mutex<HashMap<Origin, Challenge>>,
    tokens: Mutex<HashMap<(Origin, Scope), TokenSlot>>,
}

impl Authenticator {
    pub(crate) fn new(credentials: CredentialStore) -> Authenticator {
        Authenticator { credentials, challenges: Mutex::default(), tokens: Mutex::default() }
    }

    pub(crate) fn credentials(&self) -> &CredentialStore {
        &self.credentials
    }

    /// Sends `request` to `endpoint` with the authorization it needs, and answers one challenge if there is one.
    ///
    /// A streamed body cannot be sent twice: then the 401 is returned, and the next call comes with the right header.
    pub(crate) fn send(
        &self,
        http: &HttpClient,
        config: &ClientConfig,
        endpoint: &Endpoint,
        scope: &Scope,
        mut request: Request<'_>,
    ) -> Result<Response, Failure> {
        let asker = Asker { http, config, endpoint, scope };
        // An upload may go to a storage server elsewhere, which must not see the registry's token.
        let is_at_home = Origin::of(&request.uri).as_ref() == Some(&endpoint.origin);
        if is_at_home {
            request.authorization = self.authorization(&asker, None)?;
        }
        let response = http.send_at_most(config, &mut request, endpoint.max_attempts)?;
        if response.status != 401 || !is_at_home || Origin::of(&response.uri).as_ref() != Some(&endpoint.origin) {
            return Ok(response);
        }
        let Some(challenge) = Challenge::from_headers(&response.headers) else { return Ok(response) };
        self.challenges
            .lock()
            .expect("because nothing panics while it is held")
            .insert(endpoint.origin.clone(), challenge);
        let refused = request.authorization.take();
        let answer = self.authorization(&asker, refused.as_deref())?;
        if answer.is_none() || answer == refused || matches!(request.body, RequestBody::Stream(..)) {
            return Ok(response);
        }
        request.authorization = answer;
        http.send_at_most(config, &mut request, endpoint.max_attempts)
    }

    /// What may have been wrong with the credentials where access to `endpoint` was denied, in words for an error
    /// message: that they were held back, or where they come from.
    pub(crate) fn note(&self, config: &ClientConfig, endpoint: &Endpoint) -> Option<String> {
        let host = &endpoint.credential_host;
        let source = self.credentials.source(host)?;
        let challenges = self.challenges.lock().expect("because nothing panics while it is held");
        let realm = match challenges.get(&endpoint.origin) {
            Some(Challenge::Bearer { realm, .. }) => realm.parse().ok().and_then(|realm: Uri| Origin::of(&realm)),
            _ => None,
        };
        match (realm.filter(|realm| !may_see_credentials(config, endpoint, realm)), source) {
            (Some(realm), _) => {
                Some(format!("the credentials for {host} were not sent to its token service at {realm}"))
            }
            (None, Source::Kept(source)) => Some(format!("the credentials for {host} come from {source}")),
            (None, Source::Typed) => None,
        }
    }

    /// The header for a request, if the endpoint is known to want one. `refused` is a header that just got a 401.
    fn authorization(&self, asker: &Asker<'_>, refused: Option<&str>) -> Result<Option<String>, Failure> {
        let challenges = self.challenges.lock().expect("because nothing panics while it is held");
        let Some(challenge) = challenges.get(&asker.endpoint.origin).cloned() else { return Ok(None) };
        drop(challenges);
        let credential = self.credentials.lookup(&asker.endpoint.credential_host);
        match (challenge, credential) {
            (_, Some(Credential::RegistryToken(token))) => Ok(Some(format!("Bearer {token}"))),
            (Challenge::Basic, Some(Credential::Basic { username, password })) => Ok(Some(basic(&username, &password))),
            (Challenge::Basic, _) => Ok(None),
            (Challenge::Bearer { realm, service, .. }, credential) => {
                self.token(asker, &realm, service.as_deref(), credential, refused).map(Some)
            }
        }
    }

    /// A token from memory, or a new one.
    fn token(
        &self,
        asker: &Asker<'_>,
        realm: &str,
        service: Option<&str>,
        credential: Option<Credential>,
        refused: Option<&str>,
    ) -> Result<String, Failure> {
        let key = (asker.endpoint.origin.clone(), asker.scope.clone());
        let slot = self.tokens.lock().expect("because nothing panics while it is held").entry(key).or_default().clone();
        let mut slot = slot.lock().expect("because nothing panics while it is held");
        if let Some(token) = slot.as_ref()
            && Some(token.header.as_str()) != refused
            && token.ends > Instant::now()
        {
            return Ok(token.header.clone());
        }
        let realm: Uri = realm
            .parse()
            .map_err(|_| Failure::Protocol("the registry names a token service that is no URL".to_owned()))?;
        let token = asker
            .fetch_token(&realm, service, credential)
            .map_err(|failure| failure.with_note(self.note(asker.config, asker.endpoint)))?;
        let header = token.header.clone();
        *slot = Some(token);
        Ok(header)
    }
}

/// Whether the token service `realm` may see the credentials of `endpoint`; the table at the top of this file.
fn may_see_credentials(config: &ClientConfig, endpoint: &Endpoint, realm: &Origin) -> bool {
    let is_named = config
        .trusted_realms
        .iter()
        .any(|(host, trusted)| *host == endpoint.credential_host && trusted == realm.host());
    let is_private = realm.is_https() || !endpoint.origin.is_https();
    is_private && (is_named || realm.is_same_site_as(&endpoint.origin))
}

fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

/// Who wants a token, and for what.
struct Asker<'a> {
    http: &'a HttpClient,
    config: &'a ClientConfig,
    endpoint: &'a Endpoint,
    scope: &'a Scope,
}

impl Asker<'_> {
    fn fetch_token(
        &self,
        realm: &Uri,
        service: Option<&str>,
        credential: Option<Credential>,
    ) -> Result<Token, Failure> {
        let origin = Origin::of(realm)
            .ok_or_else(|| Failure::Protocol("the registry names a token service that is no URL".to_owned()))?;
        let credential = credential.filter(|_| may_see_credentials(self.config, self.endpoint, &origin));
        // A stranger's token would say nothing about a login.
        if credential.is_none() && self.scope.operation() == Operation::LogIn {
            return Err(Failure::Denied { operation: Operation::LogIn, detail: String::new() });
        }
        let response = match &credential {
            Some(Credential::IdentityToken(refresh)) => self.exchange_refresh_token(realm, service, refresh)?,
            Some(Credential::Basic { username, password }) => {
                self.get_token(realm, service, Some((username, password)))?
            }
            Some(Credential::RegistryToken(_)) | None => self.get_token(realm, service, None)?,
        };
        if response.is_success() {
            return parse_token(response);
        }
        let refusal = Failure::of_response(response, self.scope.operation());
        // Credentials that are no longer good should not keep anybody from what is public.
        if credential.is_some() && self.scope.operation() == Operation::Pull {
            let anonymous = self.get_token(realm, service, None)?;
            if anonymous.is_success() {
                return parse_token(anonymous);
            }
        }
        Err(match refusal {
            Failure::NotFound => Failure::Protocol(format!("its token service at {origin} does not exist")),
            refusal => refusal.with_note(Some(format!("refused by the token service at {origin}"))),
        })
    }

    fn get_token(
        &self,
        realm: &Uri,
        service: Option<&str>,
        login: Option<(&String, &String)>,
    ) -> Result<Response, Failure> {
        let mut parameters: Vec<String> = Vec::new();
        parameters.extend(service.map(|service| format!("service={}", query_escaped(service))));
        parameters.extend(self.scope.texts().iter().map(|scope| format!("scope={}", query_escaped(scope))));
        parameters.extend(login.map(|(username, _)| format!("account={}", query_escaped(username))));
        let separator = if realm.query().is_some() { '&' } else { '?' };
        let uri = format!("{realm}{separator}{}", parameters.join("&"))
            .parse()
            .map_err(|_| Failure::Protocol("the registry names a token service that is no URL".to_owned()))?;
        let mut request = Request::new(Method::GET, uri);
        request.authorization = login.map(|(username, password)| basic(username, password));
        self.http.send(self.config, &mut request)
    }

    /// Changes a refresh token into an access token (distribution spec, "OAuth2 token authentication").
    fn exchange_refresh_token(&self, realm: &Uri, service: Option<&str>, refresh: &str) -> Result<Response, Failure> {
        let fields = [
            ("grant_type", "refresh_token"),
            ("service", service.unwrap_or_default()),
            ("client_id", "slipway"),
            ("scope", &self.scope.texts().join(" ")),
            ("refresh_token", refresh),
        ];
        let form: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", query_escaped(value))).collect();
        let form = form.join("&");
        let mut request = Request {
            body: RequestBody::Bytes(form.as_bytes()),
            ..Request::new(Method::POST, realm.clone()).header("Content-Type", "application/x-www-form-urlencoded")
        };
        self.http.send(self.config, &mut request)
    }
}

fn parse_token(response: Response) -> Result<Token, Failure> {
    #[derive(serde::Deserialize)]
    struct Answer {
        #[serde(default)]
        token: String,
        #[serde(default)]
        access_token: String,
        #[serde(default)]
        expires_in: Option<u64>,
    }
    let bytes = response.read_at_most(TOKEN_ANSWER_BYTES)?;
    // The parser's message is left out: it may quote the token.
    let answer: Answer = serde_json::from_slice(&bytes)
        .map_err(|_| Failure::Protocol("the token service's answer is not understood".to_owned()))?;
    let token = if answer.token.is_empty() { answer.access_token } else { answer.token };
    if token.is_empty() || token.bytes().any(|byte| !(0x21..0x7f).contains(&byte)) {
        return Err(Failure::Protocol("the token service's answer holds no token".to_owned()));
    }
    let lifetime = answer.expires_in.map_or(DEFAULT_LIFETIME, Duration::from_secs);
    // A year is for ever here, and cannot overflow the clock.
    let ends = Instant::now() + lifetime.saturating_sub(MARGIN).min(Duration::from_secs(365 * 86_400));
    Ok(Token { header: format!("Bearer {token}"), ends })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        let origin = Origin::of(&url.parse().unwrap()).unwrap();
        Endpoint { credential_host: origin.to_string(), origin, max_attempts: 1 }
    }

    #[test]
    fn credentials_stay_on_their_site() {
        let config = ClientConfig {
            trusted_realms: vec![("quay.example".to_owned(), "sso.other.example".to_owned())],
            ..ClientConfig::default()
        };
        for (registry, realm, may_see) in [
            ("https://registry-1.docker.io", "https://auth.docker.io/token", true),
            ("https://registry-1.docker.io", "http://auth.docker.io/token", false),
            ("https://registry-1.docker.io", "https://auth.evil.io/token", false),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", true),
            ("https://a.example", "http://127.0.0.1/token", false),
            ("https://quay.example", "https://sso.other.example", true),
            ("https://quay.example", "http://sso.other.example", false),
            ("https://a.example", "https://sso.other.example", false),
        ] {
            let realm = Origin::of(&realm.parse().unwrap()).unwrap();
            assert_eq!(may_see_credentials(&config, &endpoint(registry), &realm), may_see, "{registry} {realm}");
        }
    }

    #[test]
    fn a_mount_needs_two_scopes() {
        assert_eq!(Scope::push("a", Some("b")).texts(), ["repository:a:pull,push", "repository:b:pull"]);
        assert_eq!(Scope::pull("a").texts(), ["repository:a:pull"]);
    }
}
