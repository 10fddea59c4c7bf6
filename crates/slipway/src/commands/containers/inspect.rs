//! What is known of a container, as `docker container inspect` shows it?

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use slipway_engine::{ContainerMount, OpenPort, chain};
use slipway_oci::Digest;

use crate::cli::images::InspectArgs;
use crate::commands::inspect;
use crate::containers::{self, Known, Restart, Status, log};
use crate::report::CommandError;

/// `container inspect`: prints what was found, and fails if something was not.
pub(crate) fn run(args: &InspectArgs) -> Result<(), CommandError> {
    inspect::write(&args.images, &args.format, |name| {
        containers::find(name).map(|known| document(&known)).map_err(|error| chain(&error))
    })
}

/// The members that programs ask for. What a container has from its image is told by the image.
pub(crate) fn document(known: &Known) -> Value {
    let Known { folder, config, state } = known;
    let (program, arguments) = state.command.split_first().map_or(("", &[][..]), |(first, rest)| (first, rest));
    let mut document = json!({
        "Id": config.id,
        "Created": config.created.to_string(),
        "Path": program,
        "Args": arguments,
        "State": {
            "Status": state.status.to_string(),
            "Running": state.is_live(),
            "Paused": false,
            "Restarting": state.status == Status::Restarting,
            "Dead": false,
            "Pid": state.pid.unwrap_or_default(),
            "ExitCode": state.exit_code,
            "Error": state.error.as_deref().unwrap_or_default(),
            "StartedAt": moment(state.started),
            "FinishedAt": moment(state.finished),
        },
        "Image": state.image.as_ref().map(Digest::as_str).unwrap_or_default(),
        "LogPath": folder.path().join(log::LOG),
        "Name": format!("/{}", config.name),
        "RestartCount": state.n_restarts,
        "Platform": "linux",
        "HostConfig": {
            "AutoRemove": config.removes_itself,
            "ReadonlyRootfs": config.request.is_root_readonly,
            "RestartPolicy": restart_policy(config.restart),
        },
        "Mounts": config.request.mounts.iter().map(mount).collect::<Vec<_>>(),
        "Config": {
            "Hostname": config.request.hostname.as_deref().unwrap_or_default(),
            "Tty": config.request.has_terminal,
            "OpenStdin": config.is_interactive,
            "Image": config.request.image,
            "Labels": config.labels,
        },
        "NetworkSettings": {"Ports": ports(&state.ports)},
    });
    if let Some(health) = state.health {
        document["State"]["Health"] = json!({"Status": health});
    }
    document
}

/// What did not happen, happened in the first year, as Go has it.
fn moment(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |time| time.to_string())
}

fn restart_policy(restart: Restart) -> Value {
    let (name, most) = match restart {
        Restart::No => ("no", 0),
        Restart::Always => ("always", 0),
        Restart::UnlessStopped => ("unless-stopped", 0),
        Restart::OnFailure(most) => ("on-failure", most.unwrap_or_default()),
    };
    json!({"Name": name, "MaximumRetryCount": most})
}

fn mount(mount: &ContainerMount) -> Value {
    match mount {
        ContainerMount::Bind { source, target, is_readonly, .. } => {
            json!({"Type": "bind", "Source": source, "Destination": target, "RW": !is_readonly})
        }
        ContainerMount::Volume { name, target, is_readonly, .. } => {
            json!({"Type": "volume", "Name": name, "Driver": "local", "Destination": target, "RW": !is_readonly})
        }
        ContainerMount::Tmpfs { target, is_readonly, .. } => {
            json!({"Type": "tmpfs", "Destination": target, "RW": !is_readonly})
        }
        ContainerMount::Device { source, target } => {
            json!({"Type": "bind", "Source": source, "Destination": target, "RW": true})
        }
        // Its content is for the container only.
        ContainerMount::File { target, .. } => json!({"Type": "tmpfs", "Destination": target, "RW": false}),
    }
}

/// The published ports, by `80/tcp`.
fn ports(ports: &[OpenPort]) -> BTreeMap<String, Vec<Value>> {
    let mut found = BTreeMap::<String, Vec<Value>>::new();
    for port in ports {
        let host = json!({"HostIp": port.host.ip().to_string(), "HostPort": port.host.port().to_string()});
        found.entry(format!("{}/{}", port.container_port, port.protocol)).or_default().push(host);
    }
    found
}
