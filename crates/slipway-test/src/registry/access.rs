//! Who may use the test registry: everybody, one account with a password, or the bearer of a token.
//!
//! A token is the list of its scopes in base64. Any test registry's `/token` makes them and any other one accepts
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

/// What becomes of a request.
pub(super) enum Verdict {
    Allowed,
    Refused(Answer),
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

    pub(super) fn judge(
        &self,
        authorization: Option<&str>,
        repository: Option<&str>,
        is_read: bool,
        base_url: &str,
    ) -> Verdict {
        match self {
            Access::Open => Verdict::Allowed,
            Access::Basic { username, password } => {
                if is_login(authorization, username, password) {
                    return Verdict::Allowed;
                }
                Verdict::Refused(Answer::error(401, "UNAUTHORIZED").header("WWW-Authenticate", "Basic realm=\"test\""))
            }
            Access::Bearer { realm, .. } => {
                let action = if is_read { "pull" } else { "push" };
                let scopes = authorization.and_then(token_scopes);
                let is_allowed = match (&scopes, repository) {
                    (Some(_), None) => true,
                    (Some(scopes), Some(repository)) => scopes.iter().any(|scope| grants(scope, repository, action)),
                    (None, _) => false,
                };
                if is_allowed {
                    return Verdict::Allowed;
                }
                let own = format!("{base_url}/token");
                let realm = realm.as_deref().unwrap_or(&own);
                let scope = repository.map_or(String::new(), |name| format!(",scope=\"repository:{name}:{action}\""));
                let challenge = format!("Bearer realm=\"{realm}\",service=\"test\"{scope}");
                Verdict::Refused(Answer::error(401, "UNAUTHORIZED").header("WWW-Authenticate", &challenge))
            }
        }
    }

    /// The token service.
    pub(super) fn token(&self, exchange: &mut Exchange) -> io::Result<Answer> {
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
        let answer = serde_json::json!({ "token": format!("t.{token}"), "expires_in": expires_in_seconds });
        Ok(Answer::json(200, &answer.to_string()))
    }
}

fn is_login(authorization: Option<&str>, username: &str, password: &str) -> bool {
    authorization == Some(format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))).as_str())
}

fn token_scopes(authorization: &str) -> Option<Vec<String>> {
    let bytes = URL_SAFE_NO_PAD.decode(authorization.strip_prefix("Bearer t.")?).ok()?;
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
