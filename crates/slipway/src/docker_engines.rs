//! Where are container engines? `DOCKER_HOST`, a context of Docker's, or the sockets of Docker and Podman
//! (`spec/cli.md` section 11).

use std::path::{Path, PathBuf};

use slipway_engine::{DockerAddress, DockerEngines};
use slipway_oci::Digest;

use crate::client_config::{docker_config_folder, path_of, read_json};
use crate::env_vars;

const DOCKER_SOCKET: &str = "/var/run/docker.sock";
const PODMAN_SOCKET: &str = "podman/podman.sock";
/// The context that stands for no context.
const DEFAULT: &str = "default";

/// The engines to be asked: that of the named `context`, or those that the user has.
pub(crate) fn find(context: Option<&str>) -> Result<DockerEngines, String> {
    let addresses = match context {
        Some(name) => of_context(name)?,
        None => match (env_vars::DOCKER_HOST.get(), current_context()) {
            (Some(host), _) => vec![parse(&host)?],
            (None, Some(name)) => of_context(&name)?,
            (None, None) => usual_sockets(),
        },
    };
    Ok(DockerEngines { addresses, api_version: env_vars::DOCKER_API_VERSION.get() })
}

fn current_context() -> Option<String> {
    let configured = || {
        let config = read_json(&docker_config_folder()?.join("config.json"))?;
        config["currentContext"].as_str().map(str::to_owned)
    };
    env_vars::DOCKER_CONTEXT.get().or_else(configured).filter(|name| !name.is_empty() && name != DEFAULT)
}

fn of_context(name: &str) -> Result<Vec<DockerAddress>, String> {
    if name == DEFAULT {
        return env_vars::DOCKER_HOST.get().map_or_else(|| Ok(usual_sockets()), |host| Ok(vec![parse(&host)?]));
    }
    let folder = docker_config_folder().ok_or_else(|| format!("context {name:?}: context not found"))?;
    let path = folder.join("contexts/meta").join(Digest::of(name.as_bytes()).hex()).join("meta.json");
    let meta = read_json(&path).ok_or_else(|| format!("context {name:?}: context not found: {}", path.display()))?;
    match meta["Endpoints"]["docker"]["Host"].as_str() {
        Some(host) if !host.is_empty() => Ok(vec![parse(host)?]),
        _ => Ok(usual_sockets()),
    }
}

/// Docker's socket, then those of Podman's service, the user's own first.
fn usual_sockets() -> Vec<DockerAddress> {
    let user = path_of(env_vars::XDG_RUNTIME_DIR).map(|folder| folder.join(PODMAN_SOCKET));
    let podman = user.into_iter().chain([Path::new("/run").join(PODMAN_SOCKET)]).filter(|path| path.exists());
    std::iter::once(PathBuf::from(DOCKER_SOCKET)).chain(podman).map(DockerAddress::Unix).collect()
}

fn parse(host: &str) -> Result<DockerAddress, String> {
    let uses_tls = env_vars::DOCKER_TLS_VERIFY.get().is_some();
    match host.split_once("://") {
        Some(("unix", path)) => Ok(DockerAddress::Unix(path.into())),
        Some(("tcp" | "http", _)) if uses_tls => Err(format!(
            "`{host}` is to be spoken to with TLS (DOCKER_TLS_VERIFY), which slipway does not do: use ssh:// instead"
        )),
        Some(("tcp" | "http", address)) => {
            let address = address.trim_end_matches('/');
            let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            Ok(DockerAddress::Tcp(if has_port { address.to_owned() } else { format!("{address}:2375") }))
        }
        Some(("ssh", target)) => Ok(DockerAddress::Ssh(target.trim_end_matches('/').to_owned())),
        _ => Err(format!("`{host}` is no address of a container engine: unix://, tcp:// and ssh:// are")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, expected) in [
            ("unix:///run/x.sock", DockerAddress::Unix("/run/x.sock".into())),
            ("tcp://10.0.0.1", DockerAddress::Tcp("10.0.0.1:2375".to_owned())),
            ("tcp://[::1]:99", DockerAddress::Tcp("[::1]:99".to_owned())),
            ("ssh://me@host:22/", DockerAddress::Ssh("me@host:22".to_owned())),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        for text in ["", "npipe:////./pipe/docker_engine", "/run/x.sock"] {
            assert!(parse(text).unwrap_err().contains("is no address"), "{text}");
        }
    }
}
