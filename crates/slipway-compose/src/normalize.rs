//! Says what a project leaves unsaid: default networks and names, implied dependencies (`spec/compose.md` 3.5, 2.3).

use crate::dotenv::Variables;
use crate::paths;
use crate::tree::{Map, Node, Value};

/// Fills in the defaults of a whole project.
pub(crate) fn normalize(model: &mut Node, name: &str, environment: &Variables) {
    let Some(map) = model.map_mut() else { return };
    let mut uses_default_network = false;
    if let Some(Value::Map(services)) = map.get_mut("services").map(|services| &mut services.value) {
        for service in services.values_mut().filter_map(Node::map_mut) {
            normalize_service(service, environment);
            uses_default_network |= service.get("networks").is_some_and(|networks| networks.get("default").is_some());
        }
    }
    if uses_default_network {
        let networks = map.entry("networks".to_owned()).or_insert_with(|| Map::new().into());
        if networks.is_null() {
            networks.value = Value::Map(Map::new());
        }
        if let Some(networks) = networks.map_mut() {
            networks.entry("default".to_owned()).or_insert_with(|| Map::new().into());
        }
    }
    for section in ["networks", "volumes", "secrets", "configs"] {
        let Some(entries) = map.get_mut(section).and_then(Node::map_mut) else { continue };
        for (key, entry) in entries {
            if entry.is_null() {
                entry.value = Value::Map(Map::new());
            }
            let Some(entry) = entry.map_mut() else { continue };
            let is_external = entry.get("external").is_some_and(Node::is_true);
            let default = if is_external { key.clone() } else { format!("{name}_{key}") };
            let has_name = entry.get("name").and_then(Node::text).is_some_and(|name| !name.is_empty());
            if !has_name {
                entry.insert("name".to_owned(), default.into());
            }
        }
    }
}

fn normalize_service(service: &mut Map, environment: &Variables) {
    let has_networks = service.get("networks").and_then(Node::map).is_some_and(|networks| !networks.is_empty());
    let has_mode = service.get("network_mode").and_then(Node::text).is_some_and(|mode| !mode.is_empty());
    if !has_networks && !has_mode && !service.contains_key("provider") {
        let default = Map::from([("default".to_owned(), Node::null())]);
        service.insert("networks".to_owned(), default.into());
    }
    if let Some(policy) = service.get_mut("pull_policy")
        && policy.text() == Some("if_not_present")
    {
        policy.value = Value::Text("missing".to_owned());
    }
    if let Some(build) = service.get_mut("build").and_then(Node::map_mut) {
        normalize_build(build, environment);
    }
    if let Some(own) = service.get_mut("environment") {
        take_values(own, environment);
    }
    imply_dependencies(service);
    for mount in list_mut(service, "volumes").into_iter().filter_map(Node::map_mut) {
        if let Some(Value::Text(target)) = mount.get_mut("target").map(|target| &mut target.value)
            && !target.is_empty()
        {
            *target = paths::clean(target);
        }
    }
    for secret in list_mut(service, "secrets").into_iter().filter_map(Node::map_mut) {
        let target = format!("/run/secrets/{}", secret.get("source").and_then(Node::text).unwrap_or_default());
        secret.entry("target".to_owned()).or_insert_with(|| target.into());
    }
}

fn list_mut<'a>(map: &'a mut Map, name: &str) -> Vec<&'a mut Node> {
    match map.get_mut(name).map(|node| &mut node.value) {
        Some(Value::List(items)) => items.iter_mut().collect(),
        _ => Vec::new(),
    }
}

fn normalize_build(build: &mut Map, environment: &Variables) {
    let is_set = |name: &str| build.get(name).and_then(Node::text).is_some_and(|text| !text.is_empty());
    if !is_set("dockerfile") && !is_set("dockerfile_inline") {
        build.insert("dockerfile".to_owned(), "Dockerfile".into());
    }
    if let Some(args) = build.get_mut("args") {
        take_values(args, environment);
        match &mut args.value {
            Value::Map(map) => map.retain(|_, value| !value.is_null()),
            Value::List(items) => items.retain(|item| item.text().is_none_or(|text| text.contains('='))),
            _ => {}
        }
    }
}

/// Gives variables without a value that of the environment, if it has one.
pub(crate) fn take_values(own: &mut Node, environment: &Variables) {
    match &mut own.value {
        Value::List(items) => {
            for item in items {
                if let Value::Text(text) = &mut item.value
                    && let Some(value) = environment.get(text.as_str())
                {
                    *text = format!("{text}={value}");
                }
            }
        }
        Value::Map(map) => {
            for (name, entry) in map.iter_mut().filter(|(_, entry)| entry.is_null()) {
                if let Some(value) = environment.get(name) {
                    entry.value = Value::Text(value.clone());
                }
            }
        }
        _ => {}
    }
}

/// The service that `service:name` names.
pub(crate) fn service_reference(node: &Node) -> Option<&str> {
    node.text()?.strip_prefix("service:")
}

/// Who shares something with a service, or has links to it, has to wait for it.
fn imply_dependencies(service: &mut Map) {
    let texts = |name: &str| service.get(name).map(|node| node.texts()).unwrap_or_default();
    let mut implied: Vec<(String, bool)> = Vec::new();
    for link in texts("links") {
        implied.push((link.split(':').next().unwrap_or_default().to_owned(), true));
    }
    for name in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        let other = service.get(name).and_then(service_reference);
        implied.extend(other.map(|other| (other.to_owned(), true)));
    }
    for source in texts("volumes_from").iter().filter(|source| !source.starts_with("container:")) {
        implied.push((source.split(':').next().unwrap_or_default().to_owned(), false));
    }
    if implied.is_empty() {
        return;
    }
    let depends_on = service.entry("depends_on".to_owned()).or_insert_with(|| Map::new().into());
    let Some(depends_on) = depends_on.map_mut() else { return };
    for (other, restarts) in implied {
        let mut dependency =
            Map::from([("condition".to_owned(), "service_started".into()), ("required".to_owned(), true.into())]);
        if restarts {
            dependency.insert("restart".to_owned(), true.into());
        }
        depends_on.entry(other).or_insert_with(|| dependency.into());
    }
}
