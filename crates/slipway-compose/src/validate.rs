//! Answers one question: does what a project says fit together? (`spec/compose.md` section 3.6)

use std::net::IpAddr;

use crate::fault::Fault;
use crate::normalize::service_reference;
use crate::tree::{Map, Node, Value};

/// Checks of values that need no other part of the project; they hold for each file with those before it.
pub(crate) fn check_resources(model: &Node) -> Result<(), Fault> {
    for (name, volume) in entries(model, "volumes") {
        check_external(name, volume)?;
    }
    for (name, config) in entries(model, "configs") {
        check_content(config, &format!("configs.{name}"), &["file", "environment", "content"])?;
    }
    for (name, secret) in entries(model, "secrets") {
        check_content(secret, &format!("secrets.{name}"), &["file", "environment"])?;
    }
    for (name, service) in entries(model, "services") {
        check_service_values(service, &format!("services.{name}"))?;
    }
    Ok(())
}

fn entries<'a>(node: &'a Node, section: &str) -> impl Iterator<Item = (&'a String, &'a Node)> {
    node.get(section).and_then(Node::map).into_iter().flatten()
}

fn items<'a>(node: &'a Node, name: &str) -> &'a [Node] {
    node.get(name).and_then(Node::list).unwrap_or_default()
}

/// What is made elsewhere has nothing but a name here.
fn check_external(name: &str, volume: &Node) -> Result<(), Fault> {
    let is_odd = |key: &str| !matches!(key, "external" | "name") && !key.starts_with("x-");
    let odd = volume.map().into_iter().flatten().find(|(key, _)| is_odd(key));
    match odd.filter(|_| volume.get("external").is_some_and(Node::is_true)) {
        Some((key, node)) => {
            let reason = format!("volumes.{name}: conflicting parameters \"external\" and {key:?} specified");
            Err(Fault::new(reason).at(node.mark))
        }
        None => Ok(()),
    }
}

fn check_content(node: &Node, place: &str, sources: &[&str]) -> Result<(), Fault> {
    let n_sources = sources.iter().filter(|source| node.get(source).is_some()).count();
    let names = sources.join("|");
    if n_sources > 1 {
        return Err(Fault::new(format!("{place}: {names} attributes are mutually exclusive")).at(node.mark));
    }
    let is_kept_elsewhere = node.get("driver").is_some() || node.get("external").is_some();
    if n_sources == 0 && !is_kept_elsewhere {
        return Err(Fault::new(format!("{place}: one of {names} must be set")).at(node.mark));
    }
    Ok(())
}

fn check_service_values(service: &Node, place: &str) -> Result<(), Fault> {
    for port in items(service, "ports") {
        if let Some(host) = port.text_of("host_ip")
            && !host.is_empty()
            && !host.contains('$')
            && host.parse::<IpAddr>().is_err()
        {
            return Err(Fault::new(format!("{place}.ports.[]: invalid ip address: {host}")).at(port.mark));
        }
    }
    let watches = service.get("develop").map(|develop| items(develop, "watch")).unwrap_or_default();
    if let Some(watch) = watches.iter().find(|watch| watch.text_of("path") == Some("")) {
        return Err(Fault::new(format!("{place}.develop.watch.[].path: value can't be blank")).at(watch.mark));
    }
    let reservations = service
        .get("deploy")
        .and_then(|deploy| deploy.get("resources")?.get("reservations"))
        .map(|reservations| (items(reservations, "devices"), "deploy.resources.reservations.devices.[]"));
    for (requests, name) in [Some((items(service, "gpus"), "gpus.[]")), reservations].into_iter().flatten() {
        for request in requests.iter().filter(|request| request.get("count").is_some()) {
            if request.get("device_ids").is_some() {
                let reason = format!("{place}.{name}: \"count\" and \"device_ids\" attributes are exclusive");
                return Err(Fault::new(reason).at(request.mark));
            }
        }
    }
    Ok(())
}

/// Checks that need the whole project; `disabled` are services that no active profile turns on.
pub(crate) fn check_consistency(model: &Node, disabled: &Map) -> Result<(), Fault> {
    for (name, service) in entries(model, "services") {
        check_service(name, service, model, disabled).map_err(|fault| fault.at(service.mark))?;
    }
    check_cycles(model)
}

fn invalid(reason: String) -> Fault {
    Fault::new(format!("{reason}: invalid compose project"))
}

fn check_service(name: &str, service: &Node, model: &Node, disabled: &Map) -> Result<(), Fault> {
    let has = |attribute: &str| service.get(attribute).is_some_and(|node| !node.is_null());
    let image = service.text_of("image").unwrap_or_default();
    if !has("build") && image.is_empty() && !has("provider") {
        return Err(invalid(format!("service {name:?} has neither an image nor a build context specified"))
            .hint("give it `image: …` or `build: …`"));
    }
    if let Some(build) = service.get("build") {
        check_build(name, service, build, model)?;
    }
    if service.text_of("network_mode").is_some_and(|mode| !mode.is_empty()) && has("networks") {
        return Err(invalid(format!("service {name} declares mutually exclusive `network_mode` and `networks`")));
    }
    let health = service.get("healthcheck").and_then(|check| check.get("test")).and_then(Node::list);
    if let Some(first) = health.and_then(|test| test.first())
        && !matches!(first.text(), Some("CMD" | "CMD-SHELL" | "NONE"))
    {
        return Err(
            Fault::new("healthcheck.test must start either by \"CMD\", \"CMD-SHELL\" or \"NONE\"").at(first.mark)
        );
    }
    check_dependencies(name, service, model, disabled)?;
    check_references(name, service, model)?;
    check_scale(name, service)?;
    check_limits(name, service)?;
    check_watches(name, service)?;
    check_mounts(name, service)
}

fn check_build(name: &str, service: &Node, build: &Node, model: &Node) -> Result<(), Fault> {
    let is_set = |attribute| build.text_of(attribute).is_some_and(|text: &str| !text.is_empty());
    if is_set("dockerfile") && is_set("dockerfile_inline") {
        return Err(invalid(format!("service {name:?} declares mutualy exclusive dockerfile and dockerfile_inline"))
            .at(build.get("dockerfile_inline").and_then(|node| node.mark)));
    }
    for (context, source) in entries(build, "additional_contexts") {
        let Some(other) = source.text().and_then(|text| text.strip_prefix("service:")) else { continue };
        let other_service = model.get("services").and_then(|services| services.get(other));
        let reason = match other_service {
            None => format!("service {name:?} declares unknown service {other:?} as additional contexts {context}"),
            Some(found) if found.get("build").is_none() => {
                format!("service {name:?} declares non-buildable service {other:?} as additional contexts {context}")
            }
            Some(_) => continue,
        };
        return Err(Fault::new(reason).at(source.mark));
    }
    let platforms = items(build, "platforms");
    let platform = service.text_of("platform").unwrap_or_default();
    if !platforms.is_empty() && !platform.is_empty() && !platforms.iter().any(|one| one.text() == Some(platform)) {
        return Err(invalid(format!("service.build.platforms MUST include service.platform {platform:?}"))
            .at(build.get("platforms").and_then(|node| node.mark)));
    }
    Ok(())
}

fn check_dependencies(name: &str, service: &Node, model: &Node, disabled: &Map) -> Result<(), Fault> {
    for (other, dependency) in entries(service, "depends_on") {
        let is_there = model.get("services").and_then(|services| services.get(other)).is_some();
        let is_optional = dependency.get("required") == Some(&Node::from(false));
        let is_disabled = disabled.contains_key(other);
        if !(is_there || is_disabled && is_optional) {
            let fault = invalid(format!("service {name:?} depends on undefined service {other:?}")).at(dependency.mark);
            return Err(match is_disabled {
                true => fault.hint(format!("`{other}` is there, but none of its profiles is active")),
                false => fault,
            });
        }
    }
    if let Some(other) = service.text_of("network_mode").and_then(|mode| mode.strip_prefix("service:"))
        && model.get("services").and_then(|services| services.get(other)).is_none()
    {
        return Err(Fault::new(format!("service {name:?} not found for network_mode 'service:{other}'")));
    }
    Ok(())
}

fn check_references(name: &str, service: &Node, model: &Node) -> Result<(), Fault> {
    let undefined = |kind: &str, section: &str, target: &str, node: &Node| match model
        .get(section)
        .and_then(|section| section.get(target))
    {
        Some(_) => Ok(()),
        None => Err(invalid(format!("service {name:?} refers to undefined {kind} {target}"))
            .at(node.mark)
            .hint(format!("declare it: `{section}: {{{target}: …}}` at the top of the file"))),
    };
    for (network, node) in entries(service, "networks") {
        undefined("network", "networks", network, node)?;
    }
    for mount in items(service, "volumes").iter().filter(|mount| mount.text_of("type") == Some("volume")) {
        if let Some(source) = mount.text_of("source").filter(|source| !source.is_empty()) {
            undefined("volume", "volumes", source, mount)?;
        }
    }
    let empty = Node::null();
    let build = service.get("build").unwrap_or(&empty);
    let groups = [
        (items(build, "secrets"), "build secret", "secrets"),
        (items(service, "configs"), "config", "configs"),
        (items(service, "secrets"), "secret", "secrets"),
    ];
    for (grants, kind, section) in groups {
        for grant in grants {
            undefined(kind, section, grant.text_of("source").unwrap_or_default(), grant)?;
        }
    }
    for (other, node) in entries(service, "models") {
        undefined("model", "models", other, node)?;
    }
    Ok(())
}

fn check_scale(name: &str, service: &Node) -> Result<(), Fault> {
    let replicas = service.get("deploy").and_then(|deploy| deploy.get("replicas"));
    let scale = service.get("scale");
    if let (Some(scale), Some(replicas)) = (scale, replicas)
        && scale != replicas
    {
        let reason = format!("services.{name}: can't set distinct values on 'scale' and 'deploy.replicas'");
        return Err(invalid(reason).at(scale.mark));
    }
    let (node, attribute) = match scale {
        Some(scale) => (Some(scale), "scale"),
        None => (replicas, "deploy.replicas"),
    };
    let is_many = matches!(node.map(|node| &node.value), Some(Value::Int(2..)));
    if is_many && service.text_of("container_name").is_some_and(|name| !name.is_empty()) {
        let reason =
            format!("services.{attribute}: can't set container_name and {name} as container name must be unique");
        return Err(invalid(reason));
    }
    Ok(())
}

/// Limits that can be said in two places must be the same in both.
fn check_limits(name: &str, service: &Node) -> Result<(), Fault> {
    let Some(resources) = service.get("deploy").and_then(|deploy| deploy.get("resources")) else { return Ok(()) };
    let number = |node: &Node| crate::quantity::bytes(&node.value.spelled()).or(node.value.spelled().parse().ok());
    for (own, group, attribute) in [
        ("cpus", "limits", "cpus"),
        ("mem_limit", "limits", "memory"),
        ("mem_reservation", "reservations", "memory"),
        ("pids_limit", "limits", "pids"),
    ] {
        let Some(group_node) = resources.get(group) else { continue };
        let Some(own_node) = service.get(own) else { continue };
        // What is not said there is zero.
        let there = group_node.get(attribute).cloned().unwrap_or(Node::from(0));
        let is_same = match own {
            "cpus" => own_node.value.spelled().parse::<f32>().ok() == there.value.spelled().parse::<f32>().ok(),
            _ => number(own_node) == number(&there),
        };
        if !is_same {
            let reason = format!(
                "services.{name}: can't set distinct values on '{own}' and 'deploy.resources.{group}.{attribute}'"
            );
            return Err(invalid(reason).at(own_node.mark));
        }
    }
    Ok(())
}

fn check_watches(name: &str, service: &Node) -> Result<(), Fault> {
    let watches = service.get("develop").map(|develop| items(develop, "watch")).unwrap_or_default();
    let needs_target = |watch: &&Node| !matches!(watch.text_of("action"), Some("rebuild" | "restart"));
    match watches.iter().filter(needs_target).find(|watch| watch.get("target").is_none()) {
        Some(watch) => {
            let reason = format!("services.{name}.develop.watch: target is required for non-rebuild actions");
            Err(invalid(reason).at(watch.mark))
        }
        None => Ok(()),
    }
}

fn check_mounts(name: &str, service: &Node) -> Result<(), Fault> {
    let mut taken: Vec<(&str, String)> = Vec::new();
    let tmpfs = items(service, "tmpfs").iter().enumerate().map(|(index, node)| {
        let path = node.text().unwrap_or_default().split(':').next().unwrap_or_default();
        (path, format!("services.{name}.tmpfs[{index}]"), node.mark)
    });
    let volumes = items(service, "volumes").iter().enumerate().map(|(index, node)| {
        (node.text_of("target").unwrap_or_default(), format!("services.{name}.volumes[{index}]"), node.mark)
    });
    for (path, place, mark) in tmpfs.chain(volumes) {
        if let Some((_, other)) = taken.iter().find(|(other, _)| *other == path) {
            return Err(Fault::new(format!("{place}: target {path} already mounted as {other}")).at(mark));
        }
        taken.push((path, place));
    }
    Ok(())
}

/// Services that wait for each other would wait for ever, whether to be started or to be built.
fn check_cycles(model: &Node) -> Result<(), Fault> {
    let waits_for = |service: &Node| -> Vec<String> {
        let depends_on = entries(service, "depends_on").map(|(name, _)| name.clone());
        depends_on.collect()
    };
    let builds_from = |service: &Node| -> Vec<String> {
        let Some(build) = service.get("build") else { return Vec::new() };
        let contexts = entries(build, "additional_contexts");
        contexts.filter_map(|(_, source)| service_reference(source).map(str::to_owned)).collect()
    };
    check_cycle(model, &waits_for)?;
    check_cycle(model, &builds_from)
}

fn check_cycle(model: &Node, next: &dyn Fn(&Node) -> Vec<String>) -> Result<(), Fault> {
    let Some(services) = model.get("services").and_then(Node::map) else { return Ok(()) };
    let mut done: Vec<&str> = Vec::new();
    for start in services.keys() {
        let mut way: Vec<(&str, Vec<String>)> = vec![(start, next(&services[start]))];
        while let Some((name, left)) = way.last_mut() {
            let name = *name;
            let Some(other) = left.pop() else {
                done.push(name);
                way.pop();
                continue;
            };
            let Some((other, service)) = services.get_key_value(&other) else { continue };
            if let Some(first) = way.iter().position(|(passed, _)| passed == other) {
                let names: Vec<&str> = way[first..].iter().map(|(name, _)| *name).chain([other.as_str()]).collect();
                let fault = Fault::new(format!("dependency cycle detected: {}", names.join(" -> ")));
                return Err(fault.at(service.mark));
            }
            if !done.contains(&other.as_str()) {
                way.push((other, next(service)));
            }
        }
    }
    Ok(())
}
