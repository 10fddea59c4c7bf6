//! A project as one of the definitions that `bake` reads (`spec/bake.md` section 18).
//!
//! What `bake` makes of a Compose file is not what `compose build` does with it: names of images, labels of Compose and
//! outputs are left out, and `x-bake` adds what Compose has no word for.

use std::collections::BTreeMap;

use serde_json::{Value as JsonValue, json};

use crate::bake::host_addresses_by_name;
use crate::fault::{ComposeError, Fault};
use crate::project::Project;
use crate::quantity;
use crate::short_forms::variables;
use crate::tree::{Map, Node, Value};

/// Attributes of a target.
type Json = serde_json::Map<String, JsonValue>;

/// Lists of `x-bake`: what they are called there and in a target.
const LISTS: [&str; 8] = ["tags", "cache-from", "cache-to", "secret", "ssh", "platforms", "output", "no-cache-filter"];

impl Project {
    /// The builds of all services as a bake definition in JSON; its group `default` is all of them.
    pub fn to_bake_input(&self) -> Result<String, ComposeError> {
        definition(self).map_err(|fault| self.told(fault))
    }
}

fn definition(project: &Project) -> Result<String, Fault> {
    let mut targets = Json::new();
    for (name, service) in project.services() {
        let Some(build) = service.get("build").and_then(Node::map) else { continue };
        targets.insert(target_name(name), target(service, build, project)?);
    }
    let mut definition = Json::new();
    if !project.services().is_empty() {
        let names: Vec<&String> = targets.keys().collect();
        let names = if names.is_empty() { JsonValue::Null } else { json!(names) };
        definition.insert("group".to_owned(), json!({ "default": { "targets": names } }));
    }
    definition.insert("target".to_owned(), targets.into());
    // Compose has filled in its variables; what is left is no template. Only texts have these characters, so the whole
    // document can be gone over at once.
    Ok(JsonValue::from(definition).to_string().replace("${", "$${").replace("%{", "%%{"))
}

/// Names of targets have no dots.
fn target_name(service: &str) -> String {
    service.replace('.', "_")
}

fn target(service: &Node, build: &Map, project: &Project) -> Result<JsonValue, Fault> {
    let mut target = Json::new();
    for (attribute, name) in [
        ("context", "context"),
        ("dockerfile", "dockerfile"),
        ("dockerfile_inline", "dockerfile-inline"),
        ("network", "network"),
        ("target", "target"),
    ] {
        if let Some(text) = build.get(attribute).and_then(Node::text).filter(|text| !text.is_empty()) {
            target.insert(name.to_owned(), json!(text));
        }
    }
    for (attribute, name) in [("no_cache", "no-cache"), ("pull", "pull")] {
        if build.get(attribute).is_some_and(Node::is_true) {
            target.insert(name.to_owned(), json!(true));
        }
    }
    let entries = |attribute: &str| build.get(attribute).map(variables).unwrap_or_default();
    let texts = |entries: Map| -> Json { entries.into_iter().map(|(key, node)| (key, text_of(&node))).collect() };
    target.insert("contexts".to_owned(), contexts(entries("additional_contexts")).into());
    target.insert("labels".to_owned(), texts(entries("labels")).into());
    target.insert("args".to_owned(), args(entries("args"), service, project).into());
    target.insert("extra-hosts".to_owned(), json!(host_addresses_by_name(build)?));
    if let Some(size) = build.get("shm_size").and_then(|size| quantity::bytes(&size.value.spelled())).filter(|n| *n > 0)
    {
        target.insert("shm-size".to_owned(), json!(quantity::short(size)));
    }
    let mut lists: BTreeMap<&str, Vec<JsonValue>> = BTreeMap::new();
    for (attribute, name) in
        [("tags", "tags"), ("cache_from", "cache-from"), ("cache_to", "cache-to"), ("platforms", "platforms")]
    {
        let items = build.get(attribute).and_then(Node::list).unwrap_or_default();
        lists.insert(name, items.iter().map(text_of).collect());
    }
    lists.insert("secret", secrets(build, project)?);
    lists.insert("ssh", ssh(build));
    lists.insert("ulimits", ulimits(build));
    lists.insert("attest", attestations(build));
    if let Some(extension) = build.get("x-bake").filter(|extension| !extension.is_null()) {
        extend(&mut target, &mut lists, extension)?;
    }
    let image = service.text_of("image").filter(|image| !image.is_empty());
    let tags = lists.entry("tags").or_default();
    if let Some(image) = image.filter(|_| tags.is_empty()) {
        tags.push(json!(image));
    }
    let lists = lists.into_iter().filter(|(_, items)| !items.is_empty());
    target.extend(lists.map(|(name, items)| (name.to_owned(), items.into())));
    Ok(target.into())
}

fn text_of(node: &Node) -> JsonValue {
    json!(node.value.spelled())
}

/// Results of services are results of targets.
fn contexts(sources: Map) -> Json {
    let context = |source: String| match source.strip_prefix("service:").or(source.strip_prefix("target:")) {
        Some(other) => json!(format!("target:{}", target_name(other))),
        None => json!(source),
    };
    sources.into_iter().map(|(name, source)| (name, context(source.value.spelled()))).collect()
}

/// An argument without a value has that of the service, or of the environment; without either it is left out.
fn args(args: Map, service: &Node, project: &Project) -> Json {
    let own = service.get("environment").map(variables).unwrap_or_default();
    let value_of = |name: &str| {
        let own = own.get(name).filter(|value| !value.is_null()).map(|value| value.value.spelled());
        own.or_else(|| project.environment.get(name).cloned())
    };
    let value = |name: &str, node: &Node| if node.is_null() { value_of(name) } else { Some(node.value.spelled()) };
    args.into_iter().filter_map(|(name, node)| value(&name, &node).map(|value| (name, json!(value)))).collect()
}

/// Secrets are called what the project calls them, whatever they are called in the build.
fn secrets(build: &Map, project: &Project) -> Result<Vec<JsonValue>, Fault> {
    let grants = build.get("secrets").and_then(Node::list).unwrap_or_default();
    let secret = |grant: &Node| {
        let source = grant.text_of("source").unwrap_or_default();
        let secret = project.resources("secrets").get(source);
        let text = |attribute: &str| secret.and_then(|secret| secret.text_of(attribute)).unwrap_or_default();
        if secret.and_then(|secret| secret.get("external")).is_some_and(Node::is_true) {
            return Err(Fault::new(format!("unsupported external secret {}", text("name"))).at(grant.mark));
        }
        Ok(json!({ "id": source, "src": text("file"), "env": text("environment") }))
    };
    grants.iter().map(secret).collect()
}

fn ssh(build: &Map) -> Vec<JsonValue> {
    let keys = build.get("ssh").and_then(Node::map).into_iter().flatten();
    keys.map(|(id, path)| match path.value.spelled() {
        path if path.is_empty() => json!({ "id": id }),
        path => json!({ "id": id, "paths": [path] }),
    })
    .collect()
}

/// One number is both limits.
fn ulimits(build: &Map) -> Vec<JsonValue> {
    let limits = build.get("ulimits").and_then(Node::map).into_iter().flatten();
    let end = |limit: &Node, name: &str| limit.get(name).map_or("0".to_owned(), |number| number.value.spelled());
    limits
        .map(|(name, limit)| match &limit.value {
            Value::Map(_) => json!(format!("{name}={}:{}", end(limit, "soft"), end(limit, "hard"))),
            number => json!(format!("{name}={0}:{0}", number.spelled())),
        })
        .collect()
}

fn attestations(build: &Map) -> Vec<JsonValue> {
    let attest = |kind: &str| match build.get(kind)?.value.spelled().as_str() {
        "" => None,
        "true" => Some(json!(format!("type={kind}"))),
        "false" => Some(json!(format!("type={kind},disabled=true"))),
        settings => Some(json!(format!("type={kind},{settings}"))),
    };
    ["sbom", "provenance"].into_iter().filter_map(attest).collect()
}

/// Adds what `x-bake` says; attributes that it does not know are no mistake.
fn extend(
    target: &mut Json,
    lists: &mut BTreeMap<&'static str, Vec<JsonValue>>,
    extension: &Node,
) -> Result<(), Fault> {
    let wrong = |name: &str, node: &Node, wanted: &str| {
        Err(Fault::new(format!("x-bake.{name} must be {wanted}")).at(node.mark.or(extension.mark)))
    };
    let Some(entries) = extension.map() else {
        return Err(Fault::new("x-bake must be a mapping").at(extension.mark));
    };
    let is_scalar = |node: &Node| !matches!(node.value, Value::List(_) | Value::Map(_));
    for (name, node) in entries.iter().filter(|(_, node)| !node.is_null()) {
        if let Some(name) = LISTS.into_iter().find(|list| list == name) {
            let own = lists.entry(name).or_default();
            match &node.value {
                Value::List(items) if items.iter().all(is_scalar) => own.extend(items.iter().map(text_of)),
                _ if is_scalar(node) => own.extend(node.value.spelled().split_whitespace().map(JsonValue::from)),
                _ => return wrong(name, node, "a list of texts, or texts with blanks between them"),
            }
        }
        match (name.as_str(), &node.value) {
            ("pull" | "no-cache", Value::Bool(flag)) => {
                target.insert(name.clone(), json!(flag));
            }
            ("pull" | "no-cache", _) => return wrong(name, node, "true or false"),
            ("contexts", Value::Map(sources)) if sources.values().all(is_scalar) => {
                let mut all = contexts(sources.clone());
                // What Compose itself says has the last word.
                if let Some(JsonValue::Object(own)) = target.remove("contexts") {
                    all.extend(own);
                }
                target.insert("contexts".to_owned(), all.into());
            }
            ("contexts", _) => return wrong(name, node, "a mapping to texts"),
            _ => {}
        }
    }
    Ok(())
}
