//! Writes the short forms of attributes out as the long ones (`spec/compose.md` section 3.5).

use crate::fault::Fault;
use crate::merge;
use crate::tree::{Map, Node, Value};
use crate::{port, volume};

/// Writes out all short forms of a file. With `is_lenient` ports or volumes that cannot be read stay as they are: they
/// may hold variables that have not been filled in.
pub(crate) fn write_out(root: &mut Node, is_lenient: bool) -> Result<(), Fault> {
    let Some(map) = root.map_mut() else { return Ok(()) };
    for (name, section) in map {
        let Some(entries) = section.map_mut() else { continue };
        match name.as_str() {
            "services" => entries.values_mut().try_for_each(|entry| service(entry, is_lenient))?,
            "networks" | "volumes" | "secrets" | "configs" => {
                entries.iter_mut().try_for_each(|(key, entry)| external(entry, &format!("{name}.{key}")))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// A build without a context has the folder of its project.
pub(crate) fn set_default_contexts(root: &mut Node) {
    let Some(services) = root.map_mut().and_then(|map| map.get_mut("services")).and_then(Node::map_mut) else { return };
    for build in services.values_mut().filter_map(|service| service.map_mut()?.get_mut("build")?.map_mut()) {
        let has_context = build.get("context").and_then(Node::text).is_some_and(|context| !context.is_empty());
        if !has_context {
            build.insert("context".to_owned(), ".".into());
        }
    }
}

fn service(node: &mut Node, is_lenient: bool) -> Result<(), Fault> {
    let Some(map) = node.map_mut() else { return Ok(()) };
    let attributes = std::mem::take(map);
    for (name, value) in attributes {
        let mark = value.mark;
        let value = match name.as_str() {
            "build" => build_attributes(build(value))?,
            "depends_on" => depends_on(value),
            "networks" | "models" => name_map(value),
            "env_file" => each(list(value), env_file),
            "label_file" | "dns" | "dns_search" | "tmpfs" => list(value),
            "extends" => extends(value),
            "gpus" => gpus(value),
            "ports" => ports(value, is_lenient)?,
            "volumes" => volumes(value, is_lenient)?,
            "secrets" | "configs" => each(value, grant),
            "devices" => devices(value)?,
            "develop" => develop(value),
            _ => value,
        };
        map.insert(name, value.at(mark));
    }
    // Names of servers that are empty are left out, which lets variables switch them off.
    if let Some(Value::List(servers)) = map.get_mut("dns").map(|dns| &mut dns.value) {
        servers.retain(|server| server.text() != Some("") && !server.is_null());
    }
    Ok(())
}

fn single(key: &str, value: impl Into<Node>) -> Node {
    Map::from([(key.to_owned(), value.into())]).into()
}

fn each(node: Node, change: fn(Node) -> Node) -> Node {
    match node.value {
        Value::List(items) => Node::from(items.into_iter().map(change).collect::<Vec<_>>()).at(node.mark),
        _ => node,
    }
}

/// A text alone is a list of one.
fn list(node: Node) -> Node {
    match node.value {
        Value::Text(_) => {
            let mark = node.mark;
            Node::from(vec![node]).at(mark)
        }
        _ => node,
    }
}

/// `build: folder`
pub(crate) fn build(node: Node) -> Node {
    let mark = node.mark;
    match node.value {
        Value::Text(text) => single("context", Node::from(text).at(mark)).at(mark),
        _ => node,
    }
}

fn build_attributes(mut node: Node) -> Result<Node, Fault> {
    let Some(map) = node.map_mut() else { return Ok(node) };
    for (name, value) in map.iter_mut() {
        let old = std::mem::replace(value, Node::null());
        let mark = old.mark;
        *value = match name.as_str() {
            "secrets" => each(old, grant),
            "ssh" => ssh_checked(old)?,
            "no_cache_filter" => list(old),
            "additional_contexts" => key_value_map(old),
            "provenance" | "sbom" if matches!(old.value, Value::Bool(_)) => Node::from(old.value.spelled()),
            _ => old,
        }
        .at(mark);
    }
    Ok(node)
}

/// `- name=value` as a mapping.
fn key_value_map(node: Node) -> Node {
    let mark = node.mark;
    match node.value {
        Value::List(items) => {
            let entries = items.into_iter().map(|item| {
                let text = item.value.spelled();
                let (key, value) = text.split_once('=').unwrap_or((&text, ""));
                (key.to_owned(), Node::from(value).at(item.mark))
            });
            Node::from(entries.collect::<Map>()).at(mark)
        }
        _ => node,
    }
}

/// `- default` and `- id=path` as a mapping from ids to paths.
pub(crate) fn ssh(node: Node) -> Node {
    let mark = node.mark;
    let entry = |text: &str, mark| match text.split_once('=') {
        Some((id, path)) => (id.to_owned(), Node::from(path).at(mark)),
        None => (text.to_owned(), Node::null().at(mark)),
    };
    match node.value {
        Value::List(items) => {
            let entries = items.iter().map(|item| entry(&item.value.spelled(), item.mark));
            Node::from(entries.collect::<Map>()).at(mark)
        }
        Value::Text(text) => Node::from(Map::from([entry(&text, mark)])).at(mark),
        _ => node,
    }
}

fn ssh_checked(node: Node) -> Result<Node, Fault> {
    let node = ssh(node);
    for (id, path) in node.map().into_iter().flatten() {
        if path.is_null() && id != "default" {
            return Err(Fault::new(format!("invalid ssh key {id:?}"))
                .at(path.mark)
                .hint("give the key an id: `id=path`"));
        }
    }
    Ok(node)
}

/// `- service`: it has to be started, and has to be there.
pub(crate) fn depends_on(node: Node) -> Node {
    let started = || {
        Node::from(Map::from([
            ("condition".to_owned(), "service_started".into()),
            ("required".to_owned(), true.into()),
        ]))
    };
    let mark = node.mark;
    match node.value {
        Value::List(items) => {
            let entries = items.into_iter().map(|item| (item.value.spelled(), started().at(item.mark)));
            Node::from(entries.collect::<Map>()).at(mark)
        }
        Value::Map(mut map) => {
            for entry in map.values_mut() {
                if let Some(entry) = entry.map_mut() {
                    entry.entry("required".to_owned()).or_insert_with(|| true.into());
                }
            }
            Node::from(map).at(mark)
        }
        value => Node::from(value).at(mark),
    }
}

/// `- name` as a mapping to nothing.
pub(crate) fn name_map(node: Node) -> Node {
    let mark = node.mark;
    match node.value {
        Value::List(items) => {
            let entries = items.into_iter().map(|item| (item.value.spelled(), Node::null().at(item.mark)));
            Node::from(entries.collect::<Map>()).at(mark)
        }
        _ => node,
    }
}

fn env_file(node: Node) -> Node {
    let mark = node.mark;
    let mut map = match node.value {
        Value::Text(_) => Map::from([("path".to_owned(), node)]),
        Value::Map(map) => map,
        _ => return node,
    };
    map.entry("required".to_owned()).or_insert_with(|| true.into());
    Node::from(map).at(mark)
}

fn extends(node: Node) -> Node {
    match node.text() {
        Some(_) => single("service", node),
        None => node,
    }
}

fn gpus(node: Node) -> Node {
    match node.text() {
        Some("all") => vec![single("count", "all")].into(),
        _ => node,
    }
}

/// `- name` of a secret or config.
fn grant(node: Node) -> Node {
    let mark = node.mark;
    match node.value {
        Value::Text(_) => single("source", node).at(mark),
        _ => node,
    }
}

fn ports(node: Node, is_lenient: bool) -> Result<Node, Fault> {
    let mark = node.mark;
    let Value::List(items) = &node.value else { return Ok(node) };
    let mut ports = Vec::new();
    for item in items.iter().cloned() {
        let mark = item.mark;
        match &item.value {
            Value::Text(text) => match port::parse(text) {
                Ok(parsed) => ports.extend(parsed.into_iter().map(|port| port.at(mark))),
                Err(_) if is_lenient => return Ok(node),
                Err(reason) => return Err(Fault::new(reason).at(mark)),
            },
            Value::Int(_) => ports.push(with_port_defaults(single("target", item)).at(mark)),
            _ => ports.push(with_port_defaults(item)),
        }
    }
    Ok(Node::from(ports).at(mark))
}

fn with_port_defaults(mut node: Node) -> Node {
    if let Some(map) = node.map_mut() {
        map.entry("protocol".to_owned()).or_insert_with(|| "tcp".into());
        map.entry("mode".to_owned()).or_insert_with(|| "ingress".into());
    }
    node
}

fn volumes(node: Node, is_lenient: bool) -> Result<Node, Fault> {
    let mark = node.mark;
    let Value::List(items) = node.value else { return Ok(node) };
    let mut mounts = Vec::new();
    for item in items {
        let mark = item.mark;
        let Some(text) = item.text() else {
            mounts.push(item);
            continue;
        };
        match volume::parse(text) {
            Ok(mount) => mounts.push(mount.at(mark)),
            Err(_) if is_lenient => mounts.push(item),
            Err(reason) => return Err(Fault::new(reason).at(mark)),
        }
    }
    Ok(Node::from(mounts).at(mark))
}

/// `source:target:permissions`
fn devices(node: Node) -> Result<Node, Fault> {
    let mark = node.mark;
    let Value::List(items) = node.value else { return Ok(node) };
    let mut devices = Vec::new();
    for item in items {
        let mark = item.mark;
        let Some(text) = item.text() else {
            devices.push(item);
            continue;
        };
        let (source, target, permissions) = match text.split(':').collect::<Vec<_>>()[..] {
            [source] => (source, source, "rwm"),
            [source, target] => (source, target, "rwm"),
            [source, target, permissions] => (source, target, permissions),
            _ => {
                let reason = format!("confusing device mapping, please use long syntax: {text}");
                return Err(Fault::new(reason).at(mark));
            }
        };
        let fields = [("source", source), ("target", target), ("permissions", permissions)];
        let device: Map = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        devices.push(Node::from(device).at(mark));
    }
    Ok(Node::from(devices).at(mark))
}

fn develop(mut node: Node) -> Node {
    let watches = node.map_mut().and_then(|map| map.get_mut("watch"));
    if let Some(Value::List(watches)) = watches.map(|watches| &mut watches.value) {
        for watch in watches.iter_mut().filter_map(Node::map_mut) {
            for name in ["include", "ignore"] {
                if let Some(value) = watch.remove(name) {
                    watch.insert(name.to_owned(), list(value));
                }
            }
        }
    }
    node
}

/// `external: {name: x}`, the old form of `external: true` with `name: x`.
fn external(node: &mut Node, place: &str) -> Result<(), Fault> {
    if node.is_null() && !place.starts_with("services") {
        node.value = Value::Map(Map::new());
    }
    let Some(map) = node.map_mut() else { return Ok(()) };
    let Some(Value::Map(old)) = map.get("external").map(|external| external.value.clone()) else { return Ok(()) };
    let mark = map.get("external").and_then(|external| external.mark);
    if let Some(name) = old.get("name") {
        if map.get("name").is_some_and(|own| own != name) {
            let reason = format!("{place}: name and external.name conflict; only use name");
            return Err(Fault::new(reason).at(mark));
        }
        map.insert("name".to_owned(), name.clone());
    }
    map.insert("external".to_owned(), Node::from(true).at(mark));
    Ok(())
}

/// The variables of `environment` or `args`: a name without a value is null.
pub(crate) fn variables(node: &Node) -> Map {
    let items = merge::items(node.clone()).into_iter().filter(|item| !item.is_null());
    let entries = items.map(|item| {
        let text = item.value.spelled();
        match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), Node::from(value).at(item.mark)),
            None => (text, Node::null().at(item.mark)),
        }
    });
    entries.collect()
}
