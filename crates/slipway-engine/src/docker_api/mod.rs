//! What does a container engine have, and how does an image get into it? Docker's API, which Podman's service speaks as
//! well (`spec/cli.md` section 11).

mod http;

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Deserialize;
use slipway_oci::{DiffId, Digest, Reference};
use slipway_registry::query_escaped;

use self::http::{Answer, Body, Connection};

/// The newest version of the API that is spoken here.
const OWN_VERSION: ApiVersion = ApiVersion(1, 47);
/// How long an engine may take to say anything at all; it unpacks images before it answers.
const SILENCE: Duration = Duration::from_secs(600);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a container engine may be listening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DockerAddress {
    Unix(PathBuf),
    /// `host:port`, without encryption.
    Tcp(String),
    /// `[user@]host[:port]`, where `docker system dial-stdio` is run.
    Ssh(String),
}

impl fmt::Display for DockerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DockerAddress::Unix(path) => write!(f, "unix://{}", path.display()),
            DockerAddress::Tcp(host) => write!(f, "tcp://{host}"),
            DockerAddress::Ssh(host) => write!(f, "ssh://{host}"),
        }
    }
}

/// Which engines are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DockerEngines {
    /// The first that answers is taken.
    pub addresses: Vec<DockerAddress>,
    /// The version of the API to speak, whatever they can (`DOCKER_API_VERSION`).
    pub api_version: Option<String>,
}

/// Why an engine did not get an image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DockerApiError {
    #[error(
        "failed to connect to the docker API at {address}; check if the path is correct and if the daemon is running"
    )]
    Unreachable { address: DockerAddress, source: io::Error },
    #[error("the container engine at {address} broke off")]
    Broken { address: DockerAddress, source: io::Error },
    #[error("the container engine at {address} refuses to {what}: {message}")]
    Refused { address: DockerAddress, what: &'static str, message: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ApiVersion(u32, u32);

impl ApiVersion {
    fn parse(text: &str) -> Option<ApiVersion> {
        let (major, minor) = text.split_once('.')?;
        Some(ApiVersion(major.parse().ok()?, minor.parse().ok()?))
    }
}

/// A container engine that answers.
pub(crate) struct DockerApi {
    address: DockerAddress,
    connection: Connection,
    /// What paths begin with: `/v1.47`, or nothing.
    prefix: String,
    keeps_manifests: bool,
    is_podman: bool,
}

/// What it says of an image.
#[derive(Deserialize)]
pub(crate) struct KnownImage {
    /// The digest of what its names point to, or of its config.
    #[serde(rename = "Id")]
    pub(crate) id: Digest,
    #[serde(rename = "RootFS", default)]
    root_fs: RootFs,
}

#[derive(Default, Deserialize)]
struct RootFs {
    #[serde(rename = "Layers", default)]
    layers: Vec<DiffId>,
}

impl KnownImage {
    /// Its layers, bottom first.
    pub(crate) fn layers(&self) -> &[DiffId] {
        &self.root_fs.layers
    }
}

#[derive(Deserialize)]
struct Info {
    /// Names and values.
    #[serde(rename = "DriverStatus", default)]
    driver_status: Option<Vec<Vec<String>>>,
}

/// A line of the answer to a load, or the answer to something that failed.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

impl DockerApi {
    /// Connects to the engine at `address` and finds out what it can.
    pub(crate) fn connect(
        address: &DockerAddress,
        api_version: Option<&str>,
        search_path: &OsStr,
    ) -> Result<DockerApi, DockerApiError> {
        let unreachable = |source| DockerApiError::Unreachable { address: address.clone(), source };
        let connection = open(address, search_path).map_err(unreachable)?;
        let (address, prefix) = (address.clone(), String::new());
        let mut api = DockerApi { address, connection, prefix, keeps_manifests: false, is_podman: false };
        let pong = api.connection.ask("HEAD", "/_ping", None).map_err(unreachable)?;
        if !pong.is_success() {
            return Err(api.refused("be asked", &pong));
        }
        let offered = pong.header("api-version").and_then(ApiVersion::parse);
        let spoken = api_version.and_then(ApiVersion::parse).or(offered.map(|offered| offered.min(OWN_VERSION)));
        api.prefix = spoken.map_or(String::new(), |ApiVersion(major, minor)| format!("/v{major}.{minor}"));
        api.is_podman = pong.header("libpod-api-version").is_some();
        let info = api.ask("describe itself", "GET", "/info", None)?;
        api.keeps_manifests = serde_json::from_slice::<Info>(&info.body).is_ok_and(|info| has_containerd_store(&info));
        Ok(api)
    }

    /// Whether its images are manifests and indexes, and not configs with unpacked layers.
    pub(crate) fn keeps_manifests(&self) -> bool {
        self.keeps_manifests
    }

    /// Whether archives may lack what it has already.
    pub(crate) fn takes_parts(&self) -> bool {
        !self.is_podman
    }

    /// The image that it has under a name or an id.
    pub(crate) fn image(&mut self, name: &str) -> Result<Option<KnownImage>, DockerApiError> {
        let path = format!("{}/images/{name}/json", self.prefix);
        let answer = self.send("GET", &path, None)?;
        match answer.status {
            404 => Ok(None),
            _ if answer.is_success() => Ok(serde_json::from_slice(&answer.body).ok()),
            _ => Err(self.refused("describe an image", &answer)),
        }
    }

    /// Gives an image that it has a name.
    pub(crate) fn tag(&mut self, id: &Digest, name: &Reference) -> Result<(), DockerApiError> {
        let repository = format!("{}/{}", name.host(), name.repository());
        let tag = name.tag_or_latest().unwrap_or("latest");
        let path = format!("/images/{id}/tag?repo={}&tag={}", query_escaped(&repository), query_escaped(tag));
        self.ask("name an image", "POST", &path, None).map(drop)
    }

    /// Gives it the images of an archive, which `write` writes.
    pub(crate) fn load(&mut self, write: Body<'_>) -> Result<(), DockerApiError> {
        let what = "load the image";
        let answer = self.ask(what, "POST", "/images/load?quiet=1", Some(write))?;
        // Failures after the first byte of the answer are lines of it.
        let lines = answer.body.split(|byte| *byte == b'\n');
        let failure = lines.filter_map(|line| serde_json::from_slice::<Message>(line).ok()?.error).next();
        match failure {
            Some(message) => Err(DockerApiError::Refused { address: self.address.clone(), what, message }),
            None => Ok(()),
        }
    }

    fn ask(
        &mut self,
        what: &'static str,
        method: &str,
        path: &str,
        body: Option<Body<'_>>,
    ) -> Result<Answer, DockerApiError> {
        let answer = self.send(method, &format!("{}{path}", self.prefix), body)?;
        if answer.is_success() { Ok(answer) } else { Err(self.refused(what, &answer)) }
    }

    fn send(&mut self, method: &str, path: &str, body: Option<Body<'_>>) -> Result<Answer, DockerApiError> {
        let broken = |source| DockerApiError::Broken { address: self.address.clone(), source };
        self.connection.ask(method, path, body).map_err(broken)
    }

    fn refused(&self, what: &'static str, answer: &Answer) -> DockerApiError {
        let said = serde_json::from_slice::<Message>(&answer.body).ok().and_then(|message| message.message);
        let message = said.unwrap_or_else(|| format!("status {}", answer.status));
        DockerApiError::Refused { address: self.address.clone(), what, message }
    }
}

/// Whether images are kept by containerd, which takes OCI layouts of any kind.
fn has_containerd_store(info: &Info) -> bool {
    let status = info.driver_status.iter().flatten();
    status.into_iter().any(|entry| entry.iter().eq(["driver-type", "io.containerd.snapshotter.v1"]))
}

fn open(address: &DockerAddress, search_path: &OsStr) -> io::Result<Connection> {
    match address {
        DockerAddress::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(SILENCE))?;
            Ok(Connection::new(Box::new(stream.try_clone()?), Box::new(stream), "docker"))
        }
        DockerAddress::Tcp(host) => {
            let stream = connect_tcp(host)?;
            stream.set_read_timeout(Some(SILENCE))?;
            Ok(Connection::new(Box::new(stream.try_clone()?), Box::new(stream), host))
        }
        DockerAddress::Ssh(host) => over_ssh(host, search_path),
    }
}

fn connect_tcp(host: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the host has no address");
    for address in std::net::ToSocketAddrs::to_socket_addrs(host)? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn over_ssh(host: &str, search_path: &OsStr) -> io::Result<Connection> {
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, Some(port)),
        _ => (host, None),
    };
    let mut command = Command::new("ssh");
    command.env("PATH", search_path).args(port.iter().flat_map(|port| ["-p", port]));
    // Nothing after `--` is a flag, whatever it is called.
    command.args(["-o", "ConnectTimeout=10", "-T", "--", host, "docker", "system", "dial-stdio"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let missing = || io::Error::other("ssh has no standard streams");
    let (stdin, stdout) = (child.stdin.take().ok_or_else(missing)?, child.stdout.take().ok_or_else(missing)?);
    // It ends when its input does, which is when the connection is dropped.
    std::thread::spawn(move || child.wait());
    let reader: Box<dyn Read + Send> = Box::new(stdout);
    let writer: Box<dyn Write + Send> = Box::new(stdin);
    Ok(Connection::new(reader, writer, "docker"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(ApiVersion::parse("1.9") < ApiVersion::parse("1.43"));
        assert_eq!(ApiVersion::parse("1.x"), None);
        assert_eq!(ApiVersion::parse("1.51").map(|version| version.min(OWN_VERSION)), Some(OWN_VERSION));
    }

    #[test]
    fn engines_with_the_store_of_containerd_are_known() {
        let is_known = |text| has_containerd_store(&serde_json::from_str::<Info>(text).unwrap());
        assert!(is_known(r#"{"DriverStatus":[["a","b"],["driver-type","io.containerd.snapshotter.v1"]]}"#));
        for text in [r#"{"DriverStatus":[["Backing Filesystem","extfs"]]}"#, r#"{"DriverStatus":null}"#, "{}"] {
            assert!(!is_known(text), "{text}");
        }
    }
}
