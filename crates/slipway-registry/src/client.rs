//! How does one HTTP request reach a server? Agents with the right certificates and proxy, redirects, retries, caps.
//!
//! Redirects are followed by hand, because credentials belong to one origin: as soon as a redirect leaves it, the
//! `Authorization` header is gone and does not come back. Requests without a body are repeated after failures that
//! pass (a broken connection, 429, 5xx); a streamed body can only be sent again by the caller who can reopen it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use ureq::http::{self, HeaderMap, Method, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, AsSendBody, Proxy, SendBody};

use crate::certificates::{HostCertificates, load_roots};
use crate::failure::Failure;
use crate::origin::{Origin, is_loopback_host, resolve_location};
use crate::patience::{BodyBytes, Patience, is_silence};
use crate::proxy::is_exempt_from_proxy;

/// As many as browsers and Go follow at least; a loop ends here.
const MAX_REDIRECTS: usize = 10;
/// How often a request without a body is sent before its last failure counts.
const MAX_ATTEMPTS: u32 = 5;
/// The longest wait between two attempts. If `Retry-After` asks for more, there is no further attempt.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a server may say nothing at all. Registries hash a pushed layer before they answer, hence minutes.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a body may stall. A stalled blob is resumed, so this need not be patient.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Everything that the registry client knows about its surroundings. The caller reads files and environment
/// variables such as `DOCKER_CONFIG`; this crate reads none of the latter.
#[derive(Clone)]
pub struct ClientConfig {
    /// Path of Docker's `config.json`; a missing file counts as an empty one.
    pub docker_config: Option<PathBuf>,
    /// More files of that kind, asked in this order after it: those of Podman (containers-auth.json(5)).
    pub auth_files: Vec<PathBuf>,
    /// The text of `DOCKER_AUTH_CONFIG` (`spec/cli.md` section 10).
    pub docker_auth_config: Option<String>,
    /// Where credential helpers are looked for, in `PATH`'s syntax; `None` for the `PATH` of this process.
    pub helper_path: Option<OsString>,
    /// Registry host and mirror URL (`docker.io`, `http://mirror.local:5000`), asked in this order before the
    /// registry itself, for pulls only.
    pub mirrors: Vec<(String, String)>,
    /// Hosts (`host[:port]`) that speak plain HTTP. `localhost`, `127.0.0.0/8` and `[::1]` always do.
    pub insecure_hosts: Vec<String>,
    /// Registry host and host of a token service on another site that may see its credentials.
    pub trusted_realms: Vec<(String, String)>,
    /// Proxy for `http://` URLs.
    pub http_proxy: Option<String>,
    /// Proxy for `https://` URLs.
    pub https_proxy: Option<String>,
    /// Hosts that no proxy is used for, in `NO_PROXY`'s syntax.
    pub no_proxy: Option<String>,
    /// PEM file that replaces the system's certificates (`SSL_CERT_FILE`).
    pub ca_file: Option<PathBuf>,
    /// Folders of `<host[:port]>/*.crt` (more trusted roots) and `*.cert` with `*.key` (client certificates).
    pub certs_dirs: Vec<PathBuf>,
    /// The same for single hosts.
    pub host_tls: Vec<HostTls>,
    /// What is wrong with the user's settings, if something is: then no connection is made.
    pub mistake: Option<String>,
    /// Whether no connection is made at all.
    pub is_offline: bool,
    /// Value of the `User-Agent` header.
    pub user_agent: String,
    /// The wait before the second attempt; it doubles with each further one.
    pub first_wait: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        ClientConfig {
            docker_config: None,
            auth_files: Vec::new(),
            docker_auth_config: None,
            helper_path: None,
            mirrors: Vec::new(),
            insecure_hosts: Vec::new(),
            // Docker Hardened Images are sold by Docker Hub and use its accounts (`spec/cli.md` section 10).
            trusted_realms: vec![("dhi.io".to_owned(), "auth.docker.io".to_owned())],
            http_proxy: None,
            https_proxy: None,
            no_proxy: None,
            ca_file: None,
            certs_dirs: vec![PathBuf::from("/etc/docker/certs.d"), PathBuf::from("/etc/containers/certs.d")],
            host_tls: Vec::new(),
            mistake: None,
            is_offline: false,
            user_agent: concat!("slipway/", env!("CARGO_PKG_VERSION")).to_owned(),
            first_wait: Duration::from_millis(500),
        }
    }
}

/// Certificates for one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostTls {
    /// `host[:port]`.
    pub host: String,
    /// PEM file of roots that are trusted beside the usual ones.
    pub ca_file: Option<PathBuf>,
    /// PEM files of this side's certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Leaves out whatever may hold a password: the credentials and the proxies.
impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("docker_config", &self.docker_config)
            .field("mirrors", &self.mirrors)
            .field("insecure_hosts", &self.insecure_hosts)
            .field("no_proxy", &self.no_proxy)
            .field("ca_file", &self.ca_file)
            .finish_non_exhaustive()
    }
}

impl ClientConfig {
    /// Whether `host` (`host[:port]`, as in a reference) is spoken to in plain HTTP.
    pub(crate) fn is_plain_http(&self, host: &str) -> bool {
        is_loopback_host(host) || self.insecure_hosts.iter().any(|insecure| insecure == host)
    }
}

/// What is sent after the head of a request.
pub(crate) enum RequestBody<'a> {
    /// GET and HEAD.
    None,
    /// Known bytes, none for a POST that only asks for something.
    Bytes(&'a [u8]),
    /// A stream of exactly this many bytes. It can be sent once.
    Stream(&'a mut dyn Read, u64),
}

impl RequestBody<'_> {
    fn can_be_repeated(&self) -> bool {
        !matches!(self, RequestBody::Stream(..))
    }
}

/// One request, before redirects.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: Vec<(&'a str, String)>,
    /// Value of the `Authorization` header, for the origin of `uri` alone.
    pub(crate) authorization: Option<String>,
    pub(crate) body: RequestBody<'a>,
    /// How long one attempt may take in all, the body of its answer included.
    pub(crate) timeout: Option<Duration>,
}

impl Request<'_> {
    pub(crate) fn new(method: Method, uri: Uri) -> Request<'static> {
        Request { method, uri, headers: Vec::new(), authorization: None, body: RequestBody::None, timeout: None }
    }

    /// The same request with one more header.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// An answer whose body has not been read yet. Any status: what is an error depends on who asks.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// Where the answer came from, after redirects.
    pub(crate) uri: Uri,
    body: ureq::Body,
    patience: Option<Patience>,
}

impl Response {
    /// The text of a header, if it is there and readable.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header("content-length").and_then(|text| text.parse().ok())
    }

    /// The whole body, if it is no longer than `limit_bytes`.
    pub(crate) fn read_at_most(self, limit_bytes: u64) -> Result<Vec<u8>, Failure> {
        let too_large = Failure::TooLarge { limit_bytes };
        if self.content_length().is_some_and(|length| length > limit_bytes) {
            return Err(too_large);
        }
        let mut bytes = Vec::new();
        self.into_reader()
            .take(limit_bytes + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::Unreachable { reason: error.to_string() })?;
        if bytes.len() as u64 > limit_bytes {
            return Err(too_large);
        }
        Ok(bytes)
    }

    /// The body as a stream.
    pub(crate) fn into_reader(self) -> BodyBytes {
        BodyBytes { reader: self.body.into_reader(), sender: self.patience.zip(Origin::of(&self.uri)) }
    }
}

/// The one HTTP client. It keeps an agent (and so a connection pool) for each origin, which its clones share.
#[derive(Clone)]
pub(crate) struct HttpClient {
    agents: Arc<Mutex<HashMap<Origin, Agent>>>,
    system_roots: Arc<OnceLock<Result<Vec<Certificate<'static>>, String>>>,
    /// `None` is the usual one, which gives nobody up.
    patience: Option<Patience>,
}

impl HttpClient {
    pub(crate) fn new() -> HttpClient {
        HttpClient { agents: Arc::default(), system_roots: Arc::default(), patience: None }
    }

    /// The same client with less patience.
    pub(crate) fn with_patience(&self, patience: Patience) -> HttpClient {
        HttpClient { patience: Some(patience), ..self.clone() }
    }

    /// Sends `request`, repeats it where that may help, follows redirects, and returns the first real answer.
    pub(crate) fn send(&self, config: &ClientConfig, request: &mut Request<'_>) -> Result<Response, Failure> {
        self.send_at_most(config, request, MAX_ATTEMPTS)
    }

    /// [`Self::send`] with at most `max_attempts` tries at each URL.
    pub(crate) fn send_at_most(
        &self,
        config: &ClientConfig,
        request: &mut Request<'_>,
        max_attempts: u32,
    ) -> Result<Response, Failure> {
        let mut uri = request.uri.clone();
        let mut authorization = request.authorization.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send_to(config, request, &uri, authorization.as_deref(), max_attempts)?;
            let Some(target) = redirect_target(request, &response)? else { return Ok(response) };
            if Origin::of(&target) != Origin::of(&uri) {
                authorization = None;
            }
            uri = target;
        }
        Err(Failure::Protocol(format!("more than {MAX_REDIRECTS} redirects")))
    }

    /// [`Self::send`] without following redirects: headers that sign a request must not reach another host.
    pub(crate) fn send_directly(&self, config: &ClientConfig, request: &mut Request<'_>) -> Result<Response, Failure> {
        let uri = request.uri.clone();
        let authorization = request.authorization.clone();
        self.send_to(config, request, &uri, authorization.as_deref(), MAX_ATTEMPTS)
    }

    /// Sends `request` to `uri` until an answer or a failure is final.
    fn send_to(
        &self,
        config: &ClientConfig,
        request: &mut Request<'_>,
        uri: &Uri,
        authorization: Option<&str>,
        max_attempts: u32,
    ) -> Result<Response, Failure> {
        let max_attempts = if request.body.can_be_repeated() { max_attempts } else { 1 };
        let mut wait = config.first_wait;
        let mut attempt = 1;
        let patience = self.patience.as_ref().zip(Origin::of(uri));
        loop {
            if let Some((patience, origin)) = &patience {
                patience.check(origin)?;
            }
            let outcome = self.send_once(config, request, uri, authorization)?;
            if let (Some((patience, origin)), Err(error)) = (&patience, &outcome)
                && is_silence(error)
            {
                return Err(patience.give_up(origin));
            }
            let asked_wait = match &outcome {
                _ if attempt == max_attempts => None,
                Ok(response) if may_pass(response.status) => Some(retry_after(response).unwrap_or_default()),
                Err(error) if is_broken_connection(error) => Some(Duration::ZERO),
                _ => None,
            };
            // A server that wants to be left alone for an hour has given its answer.
            let Some(asked_wait) = asked_wait.filter(|wait| *wait <= LONGEST_WAIT) else {
                return outcome.map_err(|error| Failure::Unreachable { reason: reason(&error) });
            };
            thread::sleep(asked_wait.max(wait).min(LONGEST_WAIT));
            wait *= 2;
            attempt += 1;
        }
    }

    /// Sends `request` to `uri` once. The outer error is about this side, the inner one about the network.
    fn send_once(
        &self,
        config: &ClientConfig,
        request: &mut Request<'_>,
        uri: &Uri,
        authorization: Option<&str>,
    ) -> Result<Result<Response, ureq::Error>, Failure> {
        if config.is_offline {
            return Err(Failure::Offline);
        }
        if let Some(mistake) = &config.mistake {
            return Err(Failure::Configuration(mistake.clone()));
        }
        let origin =
            Origin::of(uri).ok_or_else(|| Failure::Protocol("the URL is neither http nor https".to_owned()))?;
        let agent = self.agent(config, origin)?;
        let mut head = http::Request::builder().method(request.method.clone()).uri(uri.clone());
        for (name, value) in &request.headers {
            head = head.header(*name, value);
        }
        if let Some(authorization) = authorization {
            head = head.header("Authorization", authorization);
        }
        let malformed = |error: http::Error| Failure::Protocol(format!("cannot form a request: {error}"));
        let mut bytes: &[u8];
        let (reader, size_bytes): (&mut dyn Read, u64) = match &mut request.body {
            RequestBody::None => {
                return Ok(self.run(&agent, uri, head.body(()).map_err(malformed)?, request.timeout));
            }
            RequestBody::Bytes(all) => {
                bytes = all;
                (&mut bytes, all.len() as u64)
            }
            RequestBody::Stream(reader, size_bytes) => (*reader, *size_bytes),
        };
        let head = head.header("Content-Length", size_bytes);
        let message = head.body(SendBody::from_reader(reader)).map_err(malformed)?;
        Ok(self.run(&agent, uri, message, request.timeout))
    }

    fn run(
        &self,
        agent: &Agent,
        uri: &Uri,
        message: http::Request<impl AsSendBody>,
        timeout: Option<Duration>,
    ) -> Result<Response, ureq::Error> {
        let mut message = agent.configure_request(message).timeout_global(timeout);
        if let Some(Patience { limit, .. }) = &self.patience {
            let at_most = |usual: Duration| Some(usual.min(*limit));
            message = message
                .timeout_resolve(Some(*limit))
                .timeout_connect(at_most(CONNECT_TIMEOUT))
                .timeout_recv_response(Some(*limit))
                .timeout_per_read(at_most(STALL_TIMEOUT))
                .timeout_per_write(at_most(STALL_TIMEOUT));
        }
        let (parts, body) = agent.run(message.build())?.into_parts();
        let patience = self.patience.clone();
        Ok(Response { status: parts.status.as_u16(), headers: parts.headers, uri: uri.clone(), body, patience })
    }

    /// The agent for `origin`, made on first use.
    fn agent(&self, config: &ClientConfig, origin: Origin) -> Result<Agent, Failure> {
        let mut agents = self.agents.lock().expect("because nothing panics while it is held");
        if let Some(agent) = agents.get(&origin) {
            return Ok(agent.clone());
        }
        let mut builder = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(config.user_agent.as_str())
            // Compressed answers would have another length and digest than the one that was asked for.
            .accept_encoding("identity")
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(SILENCE_TIMEOUT))
            .timeout_per_read(Some(STALL_TIMEOUT))
            .timeout_per_write(Some(STALL_TIMEOUT))
            // Always set: the default would read the environment.
            .proxy(proxy_for(config, &origin)?);
        if origin.is_https() {
            builder = builder.tls_config(self.tls_config(config, &origin)?);
        }
        let agent = builder.build().new_agent();
        agents.insert(origin, agent.clone());
        Ok(agent)
    }

    fn tls_config(&self, config: &ClientConfig, origin: &Origin) -> Result<TlsConfig, Failure> {
        let mut roots = self
            .system_roots
            .get_or_init(|| load_roots(config.ca_file.as_deref()))
            .clone()
            .map_err(Failure::Configuration)?;
        let own = HostCertificates::load(config, origin).map_err(Failure::Configuration)?;
        roots.extend(own.roots);
        Ok(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots)).client_cert(own.client).build())
    }
}

/// Where `response` sends `request`, if it is a redirect that may be followed.
fn redirect_target(request: &Request<'_>, response: &Response) -> Result<Option<Uri>, Failure> {
    let keeps_method = matches!(request.method, Method::GET | Method::HEAD);
    let is_redirect = match response.status {
        301..=303 => keeps_method,
        307 | 308 => request.body.can_be_repeated(),
        _ => false,
    };
    if !is_redirect {
        return Ok(None);
    }
    let location = response
        .header("location")
        .ok_or_else(|| Failure::Protocol(format!("status {} without a `Location`", response.status)))?;
    let target = resolve_location(&response.uri, location)
        .ok_or_else(|| Failure::Protocol("a redirect to something that is no http or https URL".to_owned()))?;
    Ok(Some(target))
}

/// Whether the same request may get a better answer later.
pub(crate) fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// The seconds of a `Retry-After` header. Its other form, a date, is not used by registries.
fn retry_after(response: &Response) -> Option<Duration> {
    response.header("retry-after")?.trim().parse().ok().map(Duration::from_secs)
}

/// Whether a connection existed and broke. One that was never made (refused, unknown host, bad certificate) does not
/// get better by asking again.
fn is_broken_connection(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::TimedOut
        ),
        ureq::Error::Timeout(timeout) => {
            !matches!(timeout, ureq::Timeout::Connect | ureq::Timeout::Resolve | ureq::Timeout::Global)
        }
        ureq::Error::Protocol(_) => true,
        _ => false,
    }
}

/// The text of a network error without the library's own prefixes.
fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::HostNotFound => "no such host".to_owned(),
        other => other.to_string(),
    }
}

fn proxy_for(config: &ClientConfig, origin: &Origin) -> Result<Option<Proxy>, Failure> {
    let url = if origin.is_https() { &config.https_proxy } else { &config.http_proxy };
    let Some(url) = url.as_deref().filter(|url| !url.is_empty()) else { return Ok(None) };
    if is_exempt_from_proxy(origin, config.no_proxy.as_deref().unwrap_or_default()) {
        return Ok(None);
    }
    // The URL stays out of the message: it may hold a password.
    Proxy::new(url).map(Some).map_err(|_| Failure::Configuration("the proxy URL cannot be used".to_owned()))
}
