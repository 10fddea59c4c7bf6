//! What is to be built, as a bake definition: `compose build --print`, and what a build is made of
//! (`spec/compose.md` section 4).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map as Json, Value as JsonValue, json};

use crate::fault::{ComposeError, Fault};
use crate::normalize::service_reference;
use crate::paths;
use crate::project::Project;
use crate::quantity;
use crate::short_forms::variables;
use crate::shown::host_addresses;
use crate::tree::{Map, Node, Value};

/// The version of Compose whose labels images get.
const VERSION: &str = "2.40.3";

/// The flags of `compose build` that change what is built.
#[derive(Clone, Copy, Debug, Default)]
pub struct BuildOptions<'a> {
    /// `NAME=value`, or `NAME` with the value of the environment.
    pub build_args: &'a [String],
    pub no_cache: bool,
    pub pull: bool,
    pub push: bool,
    pub checks: bool,
    pub builds_dependencies: bool,
    /// `default` or `id=path`.
    pub ssh: Option<&'a str>,
    /// What stands between the names of project and service in the name of an image.
    pub separator: &'a str,
    /// `DOCKER_DEFAULT_PLATFORM`.
    pub default_platform: Option<&'a str>,
}

impl Project {
    /// The builds of these services, and of those that they begin from, as a bake definition in JSON; of all services
    /// that are on if none is named. `None` if there is nothing to build.
    pub fn to_bake(&self, names: &[String], options: &BuildOptions<'_>) -> Result<Option<String>, ComposeError> {
        bake_definition(self, names, options).map_err(|fault| self.told(fault))
    }
}

fn bake_definition(project: &Project, names: &[String], options: &BuildOptions<'_>) -> Result<Option<String>, Fault> {
    let selected = selected(project, names, options)?;
    if selected.is_empty() {
        return Ok(None);
    }
    let targets = target_names(selected.keys().map(String::as_str));
    let mut json = Json::new();
    for (name, service) in &selected {
        let Some(build) = service.get("build").and_then(Node::map) else { continue };
        let scene = Scene { project, options, targets: &targets };
        json.insert(targets[name.as_str()].clone(), target(name, service, build, &scene)?);
    }
    let group: BTreeSet<&String> = targets.values().collect();
    let definition = json!({ "group": { "default": { "targets": group } }, "target": json });
    let text = serde_json::to_string_pretty(&definition).expect("because JSON values can always be written");
    Ok(Some(text))
}

/// Services with a build: those that are asked for, and those whose results they begin from.
fn selected<'a>(
    project: &'a Project,
    names: &[String],
    options: &BuildOptions<'_>,
) -> Result<BTreeMap<String, &'a Node>, Fault> {
    let find = |name: &str| project.services().get(name).or_else(|| project.disabled_services().get(name));
    let mut left: Vec<String> = match names {
        [] => project.services().keys().cloned().collect(),
        names => names.to_vec(),
    };
    let mut seen: BTreeMap<String, &Node> = BTreeMap::new();
    while let Some(name) = left.pop() {
        let Some(service) = find(&name) else { return Err(Fault::new(format!("no such service: {name}"))) };
        if seen.insert(name, service).is_some() {
            continue;
        }
        let contexts = service.get("build").and_then(|build| build.get("additional_contexts")).and_then(Node::map);
        let sources = contexts.into_iter().flatten().filter_map(|(_, source)| service_reference(source));
        left.extend(sources.map(str::to_owned));
        if options.builds_dependencies {
            let depends_on = service.get("depends_on").and_then(Node::map).into_iter().flatten();
            left.extend(depends_on.map(|(other, _)| other.clone()).filter(|other| find(other).is_some()));
        }
    }
    seen.retain(|_, service| service.get("build").is_some());
    Ok(seen)
}

/// Names of targets have no dots; what would then be equal gets a `_` at the end.
fn target_names<'a>(services: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, String> {
    let mut names: BTreeMap<&str, String> = BTreeMap::new();
    for service in services {
        let mut name = service.replace('.', "_");
        while names.values().any(|other| *other == name) {
            name.push('_');
        }
        names.insert(service, name);
    }
    names
}

/// What all targets are made in.
struct Scene<'a> {
    project: &'a Project,
    options: &'a BuildOptions<'a>,
    targets: &'a BTreeMap<&'a str, String>,
}

fn target(name: &str, service: &Node, build: &Map, scene: &Scene<'_>) -> Result<JsonValue, Fault> {
    let Scene { project, options, targets } = scene;
    let text = |key: &str| build.get(key).and_then(Node::text).filter(|text| !text.is_empty());
    let texts = |key: &str| build.get(key).map(Node::texts).unwrap_or_default();
    let is_true = |key: &str| build.get(key).is_some_and(Node::is_true);
    let mut json = Json::new();
    let mut put = |key: &str, value: JsonValue| {
        let is_empty = match &value {
            JsonValue::Null | JsonValue::Bool(false) => true,
            JsonValue::String(text) => text.is_empty(),
            JsonValue::Array(items) => items.is_empty(),
            JsonValue::Object(entries) => entries.is_empty(),
            _ => false,
        };
        if !is_empty {
            json.insert(key.to_owned(), value);
        }
    };
    let context = text("context").unwrap_or(".");
    put("context", json!(context));
    let contexts = build.get("additional_contexts").map(variables).unwrap_or_default();
    let contexts = contexts.into_iter().map(|(key, source)| match service_reference(&source) {
        Some(other) => (key, json!(format!("target:{}", targets.get(other).map_or(other, String::as_str)))),
        None => (key, json!(source.value.spelled())),
    });
    put("contexts", JsonValue::Object(contexts.collect()));
    put("dockerfile", json!(text("dockerfile").map(|dockerfile| dockerfile_path(context, dockerfile))));
    put("dockerfile-inline", json!(text("dockerfile_inline").map(literal)));
    put("args", args(build, project, options));
    let mut labels = build.get("labels").map(variables).unwrap_or_default();
    for (key, value) in [("project", project.name.as_str()), ("service", name), ("version", VERSION)] {
        labels.insert(format!("com.docker.compose.{key}"), value.into());
    }
    put("labels", labels.iter().map(|(key, value)| (key.clone(), json!(value.value.spelled()))).collect());
    let mut tags: Vec<String> = Vec::new();
    let image = image_of(project, name, service, options.separator);
    for tag in texts("tags").into_iter().map(str::to_owned).chain([image]) {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    put("tags", json!(tags));
    put("cache-from", json!(texts("cache_from")));
    put("cache-to", json!(texts("cache_to")));
    put("target", json!(text("target")));
    put("secret", json!(secrets(build, project)));
    put("ssh", json!(ssh(build, options)?));
    let platforms = platforms(name, service, build, options)?;
    put("platforms", json!(platforms));
    put("pull", json!(options.pull || is_true("pull")));
    put("no-cache", json!(options.no_cache || is_true("no_cache")));
    put("network", json!(text("network")));
    put("no-cache-filter", json!(texts("no_cache_filter")));
    put("shm-size", json!(size(build)));
    put("ulimits", json!(ulimits(build)));
    put("call", json!(options.checks.then_some("lint")));
    put("entitlements", json!(entitlements(build)));
    put("extra-hosts", json!(host_addresses_by_name(build)?));
    let is_named = service.text_of("image").is_some_and(|image| !image.is_empty());
    let output = match (options.checks, platforms.len() > 1, options.push && is_named) {
        (true, _, _) => None,
        (false, true, pushes) => Some(format!("type=image,push={pushes}")),
        (false, false, true) => Some("type=registry".to_owned()),
        (false, false, false) => Some("type=docker".to_owned()),
    };
    put("output", json!(output.into_iter().collect::<Vec<_>>()));
    put("attest", json!(attestations(build)));
    Ok(JsonValue::Object(json))
}

/// A text in which bake finds nothing to fill in.
fn literal(text: &str) -> String {
    text.replace("${", "$${")
}

fn image_of(project: &Project, name: &str, service: &Node, separator: &str) -> String {
    let image = service.text_of("image").filter(|image| !image.is_empty()).map(str::to_owned);
    image.unwrap_or_else(|| format!("{}{separator}{name}", project.name))
}

/// Below the context, if that is a folder.
fn dockerfile_path(context: &str, dockerfile: &str) -> String {
    if paths::is_remote_context(context) { dockerfile.to_owned() } else { paths::join(context, dockerfile) }
}

fn args(build: &Map, project: &Project, options: &BuildOptions<'_>) -> JsonValue {
    let mut args = build.get("args").map(variables).unwrap_or_default();
    for text in options.build_args {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text.as_str(), project.environment.get(text).cloned()),
        };
        args.insert(name.to_owned(), value.map_or_else(Node::null, Node::from));
    }
    let given = args.iter().filter(|(_, value)| !value.is_null());
    given.map(|(name, value)| (name.clone(), json!(literal(&value.value.spelled())))).collect()
}

fn secrets(build: &Map, project: &Project) -> Vec<String> {
    let grants = build.get("secrets").and_then(Node::list).unwrap_or_default();
    let secrets = grants.iter().filter_map(|grant| {
        let source = grant.text_of("source")?;
        let id = grant.text_of("target").unwrap_or(source);
        let secret = project.resources("secrets").get(source)?;
        let (file, variable) = (secret.text_of("file"), secret.text_of("environment"));
        match (file, variable) {
            (Some(file), _) => Some(format!("id={id},type=file,src={file}")),
            (None, Some(variable)) => Some(format!("id={id},type=env,env={variable}")),
            (None, None) => None,
        }
    });
    secrets.collect()
}

fn ssh(build: &Map, options: &BuildOptions<'_>) -> Result<Vec<String>, Fault> {
    let own = build.get("ssh").and_then(Node::map).into_iter().flatten();
    let mut keys: Vec<String> = own.map(|(id, path)| format!("{id}={}", path.value.spelled())).collect();
    if let Some(flag) = options.ssh {
        let (id, path) = flag.split_once('=').unwrap_or((flag, ""));
        if path.is_empty() && id != "default" {
            return Err(Fault::new(format!("invalid ssh key {id:?}")));
        }
        keys.push(format!("{id}={path}"));
    }
    Ok(keys)
}

fn platforms(name: &str, service: &Node, build: &Map, options: &BuildOptions<'_>) -> Result<Vec<String>, Fault> {
    let own: Vec<String> =
        build.get("platforms").map(Node::texts).unwrap_or_default().into_iter().map(str::to_owned).collect();
    let of_service = service.text_of("platform").filter(|platform| !platform.is_empty());
    let wanted = of_service.or(options.default_platform);
    let Some(wanted) = wanted else { return Ok(own) };
    if own.is_empty() {
        return Ok(vec![wanted.to_owned()]);
    }
    if own.iter().any(|platform| platform == wanted) {
        return Ok(own);
    }
    Err(Fault::new(match of_service {
        Some(_) => format!("service {name:?} build configuration does not support platform: {wanted}"),
        None => {
            format!("service {name:?} build.platforms does not support value set by DOCKER_DEFAULT_PLATFORM: {wanted}")
        }
    }))
}

/// Bytes; what cannot be read was refused when the project was.
fn size(build: &Map) -> Option<String> {
    build.get("shm_size").and_then(|size| quantity::bytes(&size.value.spelled())).map(|bytes| bytes.to_string())
}

fn ulimits(build: &Map) -> Vec<String> {
    let limits = build.get("ulimits").and_then(Node::map).into_iter().flatten();
    let spelled = |node: Option<&Node>| node.map(|node| node.value.spelled()).unwrap_or_default();
    limits
        .map(|(name, limit)| match &limit.value {
            Value::Map(ends) => format!("{name}={}:{}", spelled(ends.get("soft")), spelled(ends.get("hard"))),
            value => format!("{name}={}", value.spelled()),
        })
        .collect()
}

fn entitlements(build: &Map) -> Vec<String> {
    let mut entitlements: Vec<String> =
        build.get("entitlements").map(Node::texts).unwrap_or_default().into_iter().map(str::to_owned).collect();
    let insecure = "security.insecure".to_owned();
    if build.get("privileged").is_some_and(Node::is_true) && !entitlements.contains(&insecure) {
        entitlements.push(insecure);
    }
    entitlements
}

/// The `extra_hosts` of a build: several addresses of a host have commas between them.
pub(crate) fn host_addresses_by_name(build: &Map) -> Result<BTreeMap<String, String>, Fault> {
    let Some(node) = build.get("extra_hosts") else { return Ok(BTreeMap::new()) };
    let mut hosts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (host, address) in host_addresses(node).map_err(|reason| Fault::new(reason).at(node.mark))? {
        hosts.entry(host).or_default().push(address);
    }
    Ok(hosts.into_iter().map(|(host, addresses)| (host, addresses.join(","))).collect())
}

fn attestations(build: &Map) -> Vec<String> {
    let attest = |key: &str| match build.get(key).map(|node| node.value.spelled()).as_deref() {
        None | Some("" | "false") => None,
        Some("true") => Some(format!("type={key}")),
        Some(settings) => Some(format!("type={key},{settings}")),
    };
    ["provenance", "sbom"].into_iter().filter_map(attest).collect()
}

/// The entitlements that a project's builds get without being asked for: `privileged: true` is the user's own word.
pub fn granted_entitlements(project: &Project) -> Vec<String> {
    let builds = project.services().values().filter_map(|service| service.get("build")?.map());
    let insecure = builds.flat_map(entitlements).filter(|entitlement| entitlement == "security.insecure");
    insecure.collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_targets_are_all_different() {
        let names = target_names(["a.b", "a_b", "c"].into_iter());
        assert_eq!(names["a.b"], "a_b");
        assert_eq!(names["a_b"], "a_b_");
        assert_eq!(names["c"], "c");
    }

    #[test]
    fn dockerfiles_of_repositories_stay_as_they_are() {
        assert_eq!(dockerfile_path("git@github.com:o/r.git", "D"), "D");
        assert_eq!(dockerfile_path("/c", "../D"), "/D");
        assert_eq!(dockerfile_path("/c", "/abs/D"), "/abs/D");
    }
}
