//! Who may use the test registry: everybody, one account with a password, or the bearer of a token.
//!
//! A token is a generation and the list of its scopes in base64. Any test registry's `/token` makes them and any other one accepts
//! them, so that a test can put the token service on another host.

use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::http::{Answer, Exchange, parse_query};

/// A token request is a short form.
const MAX_FORM_BYTES: u64 = 64 << 10;

/// What a registry demands.
#[derive(Clone, Debug)]
pub enum Access {
    /// Nothing.
    Open,
    /// User name and password in each request.
    Basic { username: String, password: String },
    /// A token from a token service.
    Bearer {
        /// URL of the token service; `None` for this server's own `/token`.
        realm: Option<String>,
        /// The account that the token service knows. Its refresh token is `refresh-<password>`.
        username: String,
        password: String,
        /// The token service lets anybody pull.
        is_public: bool,
        /// What the token service says about how long its tokens are good for.
        expires_in_seconds: u64,
    },
}

/// What a server knows about itself when it judges a request.
pub(super) struct Door<'a> {
    pub(super) base_url: &'a str,
    pub(super) token_generation: u32,
}

impl Access {
    /// Tokens from this server itself, for the account `user` with the password `password`.
    pub fn bearer(is_public: bool) -> Access {
        Access::Bearer {
            realm: None,
            username: "user".to_owned(),
            password: "password".to_owned(),
            is_public,
            expires_in_seconds: 300,
        }
    }

    /// Lets a request pass, or says what to answer instead.
    pub(super) fn judge(
        &self,
        door: &Door<'_>,
        authorization: Option<&str>,
        repository: Option<&str>,
        is_read: bool,
    ) -> Result<(), Answer> {
        match self {
            Access::Open => Ok(()),
            Access::Basic { username, password } => {
                if is_login(authorization, username, password) {
                    return Ok(());
                }
                Err(Answer::error(401, "UNAUTHORIZED").header("WWW-Authenticate", "Basic realm=\"test\""))
            }
            Access::Bearer { realm, .. } => {
                let action = if is_read { "pull" } else { "push" };
                let scopes = authorization.and_then(|header| token_scopes(header, door.token_generation));
                let is_allowed = match (&scopes, repository) {
                    (Some(_), None) => true,
                    (Some(scopes), Some(repository)) => scopes.iter().any(|scope| grants(scope, repository, action)),
                    (None, _) => false,
                };
                if is_allowed {
                    return Ok(());
                }
                let own = format!("{}/token", door.base_url);
                let realm = realm.as_deref().unwrap_or(&own);
                let scope = repository.map_or(String::new(), |name| format!(",scope=\"repository:{name}:{action}\""));
                let challenge = format!("Bearer realm=\"{realm}\",service=\"test\"{scope}");
                Err(Answer::error(401, "UNAUTHORIZED").header("WWW-Authenticate", &challenge))
            }
        }
    }

    /// The token service.
    pub(super) fn token(&self, exchange: &mut Exchange, generation: u32) -> io::Result<Answer> {
        let Access::Bearer { username, password, is_public, expires_in_seconds, .. } = self else {
            return Ok(Answer::error(404, "UNSUPPORTED"));
        };
        let (scopes, is_account) = if exchange.method == "POST" {
            let mut form = String::new();
            exchange.body().take(MAX_FORM_BYTES).read_to_string(&mut form)?;
            let fields = parse_query(&form);
            let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
            let is_account = field("refresh_token") == Some(format!("refresh-{password}"));
            (field("scope").unwrap_or_default().split(' ').map(str::to_owned).collect(), is_account)
        } else {
            (exchange.query_all("scope"), is_login(exchange.header("authorization"), username, password))
        };
        let wants_push = scopes.iter().any(|scope| scope.contains("push"));
        let has_login = exchange.header("authorization").is_some() || exchange.method == "POST";
        let is_stranger_welcome = *is_public && !has_login && !wants_push;
        if !is_account && !is_stranger_welcome {
            return Ok(Answer::error(401, "UNAUTHORIZED"));
        }
        let token = URL_SAFE_NO_PAD.encode(scopes.join(" "));
        let answer = serde_json::json!({ "token": format!("t{generation}.{token}"), "expires_in": expires_in_seconds });
        Ok(Answer::json(200, &answer.to_string()))
    }
}

fn is_login(authorization: Option<&str>, username: &str, password: &str) -> bool {
    authorization == Some(format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))).as_str())
}

fn token_scopes(authorization: &str, generation: u32) -> Option<Vec<String>> {
    let token = authorization.strip_prefix(&format!("Bearer t{generation}."))?;
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    Some(text.split(' ').map(str::to_owned).collect())
}

/// Whether `repository:<name>:<actions>` covers an action.
fn grants(scope: &str, repository: &str, action: &str) -> bool {
    scope
        .strip_prefix("repository:")
        .and_then(|rest| rest.rsplit_once(':'))
        .is_some_and(|(name, actions)| name == repository && actions.split(',').any(|one| one == action))
}
