//! Answers one question: what do two files say together? (`spec/compose.md` section 3.3)

use std::collections::HashMap;

use crate::fault::Fault;
use crate::short_forms;
use crate::tree::{Map, Node, Path, Value};
use crate::volume;

/// `base` with what `over` says on top, both at `path`.
pub(crate) fn merge(base: Node, over: Node, path: &Path) -> Result<Node, Fault> {
    match path.parts()[..] {
        ["services", _, "command" | "entrypoint"] | ["services", _, "healthcheck", "test"] => return Ok(over),
        ["services", _, "logging"] => return merge_logging(base, over, path),
        ["services", _, "build"] => {
            let base = short_forms::build(base);
            return merge_kinds(base, short_forms::build(over), path);
        }
        ["services", _, "depends_on"] => {
            return merge_kinds(short_forms::depends_on(base), short_forms::depends_on(over), path);
        }
        ["services", _, "networks" | "models"] => {
            return merge_kinds(short_forms::name_map(base), short_forms::name_map(over), path);
        }
        ["services", _, "build", "ssh"] => {
            return merge_kinds(short_forms::ssh(base), short_forms::ssh(over), path);
        }
        ["services", _, "extra_hosts"] | ["services", _, "build", "extra_hosts"] => {
            return Ok(joined(host_items(base), host_items(over)));
        }
        ["services", _, "ulimits", _] | ["services", _, "build", "ulimits", _] => return Ok(over),
        ["networks", _, "ipam", "config"] => return Ok(merge_pools(base, over)),
        _ if is_sequence(path) => return Ok(joined(items(base), items(over))),
        _ => {}
    }
    merge_kinds(base, over, path)
}

/// Attributes that are lists in the end, whichever form they are written in.
fn is_sequence(path: &Path) -> bool {
    match path.parts()[..] {
        ["networks" | "volumes", _, "labels"]
        | ["services", _, "deploy", "labels"]
        | ["services", _, "volumes", _, "volume", "labels"]
        | ["services", _, "build", "args" | "labels" | "additional_contexts"] => true,
        ["services", _, name] => matches!(
            name,
            "annotations"
                | "dns"
                | "dns_opt"
                | "dns_search"
                | "env_file"
                | "label_file"
                | "environment"
                | "labels"
                | "sysctls"
                | "tmpfs"
        ),
        _ => false,
    }
}

fn merge_kinds(base: Node, over: Node, path: &Path) -> Result<Node, Fault> {
    let mark = over.mark;
    let cannot = || {
        Fault::new(format!("cannot override {path}"))
            .at(mark)
            .hint("`!override` in front of the value replaces what earlier files say")
    };
    match (base.value, over.value) {
        (value @ (Value::Map(_) | Value::List(_)), Value::Null) => Ok(Node { value, ..over_nothing(base.mark) }),
        (Value::Map(base), Value::Map(over)) => Ok(Node::from(merge_maps(base, over, path)?).at(mark)),
        (Value::List(mut base), Value::List(over)) => {
            base.extend(over);
            Ok(Node::from(base).at(mark))
        }
        (Value::Map(_) | Value::List(_), _) => Err(cannot()),
        (_, value) => Ok(Node { value, mark, replaces: false }),
    }
}

fn over_nothing(mark: Option<crate::tree::Mark>) -> Node {
    Node::null().at(mark)
}

fn merge_maps(mut base: Map, over: Map, path: &Path) -> Result<Map, Fault> {
    for (key, entry) in over {
        let merged = match base.remove(&key) {
            Some(other) => merge(other, entry, &path.entry(&key))?,
            None => entry,
        };
        base.insert(key, merged);
    }
    Ok(base)
}

/// Options belong to a driver: with another one they do not stay.
fn merge_logging(base: Node, over: Node, path: &Path) -> Result<Node, Fault> {
    let (old, new) = (base.get("driver"), over.get("driver"));
    match old.is_none() || new.is_none() || old == new {
        true => merge_kinds(base, over, path),
        false => Ok(over),
    }
}

/// Address pools are the same if their subnets are.
fn merge_pools(base: Node, over: Node) -> Node {
    let mark = over.mark;
    let (Value::List(mut pools), Value::List(later)) = (base.value, over.value) else { return Node::null() };
    for pool in later {
        let same = pools.iter_mut().find(|old| old.get("subnet") == pool.get("subnet"));
        match same.and_then(Node::map_mut) {
            Some(old) => old.extend(pool.map().cloned().unwrap_or_default()),
            None => pools.push(pool),
        }
    }
    Node::from(pools).at(mark)
}

fn joined(mut base: Vec<Node>, over: Vec<Node>) -> Node {
    let mark = over.first().or(base.first()).and_then(|item| item.mark);
    base.extend(over);
    Node::from(base).at(mark)
}

/// A list; of a mapping, items `key=value`.
pub(crate) fn items(node: Node) -> Vec<Node> {
    match node.value {
        Value::Map(map) => map
            .into_iter()
            .map(|(key, entry)| {
                let text = if entry.is_null() { key } else { format!("{key}={}", entry.value.spelled()) };
                Node::from(text).at(entry.mark)
            })
            .collect(),
        Value::List(items) => items,
        Value::Null => Vec::new(),
        _ => vec![node],
    }
}

/// Each host with each of its addresses.
fn host_items(node: Node) -> Vec<Node> {
    let Value::Map(map) = node.value else { return items(node) };
    let addresses = map.into_iter().flat_map(|(host, entry)| {
        let mark = entry.mark;
        items(entry).into_iter().map(move |item| Node::from(format!("{host}={}", item.value.spelled())).at(mark))
    });
    addresses.collect()
}

/// Takes out what later items of lists replace: the later one stands where the earlier one stood.
pub(crate) fn make_unique(node: &mut Node, path: &Path) -> Result<(), Fault> {
    match &mut node.value {
        Value::Map(map) => map.iter_mut().try_for_each(|(key, entry)| make_unique(entry, &path.entry(key))),
        Value::List(items) => {
            let Some(key_of) = key_function(path) else { return Ok(()) };
            let mut positions: HashMap<String, usize> = HashMap::new();
            let mut unique: Vec<Node> = Vec::new();
            for (index, item) in std::mem::take(items).into_iter().enumerate() {
                let place = format!("{path}.[{index}]");
                let key = key_of(&item, &place).map_err(|fault| fault.at(item.mark))?;
                match positions.get(&key) {
                    Some(position) => unique[*position] = item,
                    None => {
                        positions.insert(key, unique.len());
                        unique.push(item);
                    }
                }
            }
            *items = unique;
            Ok(())
        }
        _ => Ok(()),
    }
}

type KeyFunction = fn(&Node, &str) -> Result<String, Fault>;

/// What tells the items of a list from each other; `None` where all of them stay.
fn key_function(path: &Path) -> Option<KeyFunction> {
    match path.parts()[..] {
        ["networks", _, "labels"]
        | ["networks", _, "ipam", "options"]
        | ["services", _, "build", "args" | "additional_contexts" | "tags" | "labels"]
        | ["services", _, "deploy", "labels"]
        | ["services", _, "networks", _, "aliases" | "link_local_ips"] => Some(key_value_key),
        ["services", _, name] => match name {
            "annotations" | "cap_add" | "cap_drop" | "dns" | "dns_opt" | "dns_search" | "environment" | "labels"
            | "links" | "profiles" | "sysctls" | "tmpfs" => Some(key_value_key),
            "env_file" => Some(env_file_key),
            "expose" => Some(expose_key),
            "ports" => Some(port_key),
            "volumes" => Some(volume_key),
            "devices" => Some(device_key),
            "secrets" => Some(|item, place| grant_key(item, place, "/run/secrets")),
            "configs" => Some(|item, place| grant_key(item, place, "")),
            _ => None,
        },
        _ => None,
    }
}

fn kind_name(node: &Node) -> &'static str {
    match node.value {
        Value::Null | Value::Reset => "<nil>",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Large(_) => "uint64",
        Value::Float(_) => "float64",
        Value::Time(_) => "time.Time",
        Value::Text(_) => "string",
        Value::List(_) => "[]interface {}",
        Value::Map(_) => "map[string]interface {}",
    }
}

fn key_value_key(item: &Node, place: &str) -> Result<String, Fault> {
    let text = item.text().ok_or_else(|| Fault::new(format!("{place}: unexpected type {}", kind_name(item))))?;
    Ok(text.split('=').next().unwrap_or_default().to_owned())
}

fn env_file_key(item: &Node, place: &str) -> Result<String, Fault> {
    let path = item.text().or_else(|| item.text_of("path"));
    path.map(str::to_owned).ok_or_else(|| Fault::new(format!("environment path attribute {place} is missing")))
}

fn expose_key(item: &Node, place: &str) -> Result<String, Fault> {
    match item.value {
        Value::Text(_) | Value::Int(_) => Ok(item.value.spelled()),
        _ => Err(Fault::new(format!("{place}: unsupported expose value {}", item.value.spelled()))),
    }
}

fn volume_key(item: &Node, place: &str) -> Result<String, Fault> {
    match &item.value {
        Value::Map(map) => map
            .get("target")
            .and_then(Node::text)
            .map(str::to_owned)
            .ok_or_else(|| Fault::new(format!("service volume {place} is missing a mount target"))),
        Value::Text(text) => {
            let mount = volume::parse(text).map_err(Fault::new)?;
            Ok(mount.text_of("target").unwrap_or_default().to_owned())
        }
        _ => Ok(String::new()),
    }
}

fn device_key(item: &Node, place: &str) -> Result<String, Fault> {
    match &item.value {
        Value::Map(map) => map
            .get("target")
            .or(map.get("source"))
            .and_then(Node::text)
            .map(str::to_owned)
            .ok_or_else(|| Fault::new(format!("service device {place} is missing a mount target"))),
        Value::Text(text) => {
            let mut parts = text.split(':');
            let source = parts.next().unwrap_or_default();
            Ok(parts.next().unwrap_or(source).to_owned())
        }
        _ => Ok(String::new()),
    }
}

fn grant_key(item: &Node, place: &str, folder: &str) -> Result<String, Fault> {
    match &item.value {
        Value::Text(text) => Ok(format!("{folder}/{text}")),
        Value::Map(map) => Ok(match map.get("target") {
            Some(target) => target.value.spelled(),
            None => format!("{folder}/{}", map.get("source").map(|source| source.value.spelled()).unwrap_or_default()),
        }),
        _ => Err(Fault::new(format!("{place}: unsupported expose value {}", item.value.spelled()))),
    }
}

fn port_key(item: &Node, place: &str) -> Result<String, Fault> {
    let Value::Map(map) = &item.value else { return Ok(item.value.spelled()) };
    let text = |name: &str, default: &str| map.get(name).map_or(default.to_owned(), |entry| entry.value.spelled());
    if !map.contains_key("target") {
        return Err(Fault::new(format!("service ports {place} is missing a target port")));
    }
    let host = text("host_ip", "0.0.0.0");
    // To the reference a number and a text of the same digits are different ports.
    let kind = map.get("published").filter(|entry| matches!(entry.value, Value::Int(_))).map_or("", |_| "int ");
    Ok(format!("{host}:{kind}{}:{}/{}", text("published", ""), text("target", ""), text("protocol", "tcp")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn tree(text: &str) -> Node {
        yaml::parse(text, "", 0).unwrap().remove(0).root
    }

    /// What a service says after `base` and `over`.
    fn merged(base: &str, over: &str) -> Result<Node, Fault> {
        let path = Path::of(&["services", "a"]);
        let mut node = merge(tree(base), tree(over), &path)?;
        make_unique(&mut node, &path)?;
        Ok(node)
    }

    #[test]
    fn each_attribute_has_its_rule() {
        for (base, over, expected) in [
            ("{command: [a]}", "{command: b c}", "{command: b c}"),
            ("{ports: ['80:80']}", "{ports: ['81:80', '80:80']}", "{ports: ['80:80', '81:80']}"),
            ("{volumes: [./a:/d, x:/e]}", "{volumes: ['./b:/d:ro']}", "{volumes: ['./b:/d:ro', x:/e]}"),
            ("{build: ./x}", "{build: {args: {A: 1}}}", "{build: {context: ./x, args: {A: 1}}}"),
            ("{build: {args: {A: 1}}}", "{build: ./y}", "{build: {context: ./y, args: {A: 1}}}"),
            ("{environment: {A: 1, B: 2}}", "{environment: [A=3]}", "{environment: [A=3, B=2]}"),
            ("{build: {tags: [a, b]}}", "{build: {tags: [b, c]}}", "{build: {tags: [a, b, c]}}"),
            ("{build: {ssh: [default]}}", "{build: {ssh: [k=x]}}", "{build: {ssh: {default: null, k: x}}}"),
            ("{logging: {driver: a, options: {x: 1}}}", "{logging: {driver: b}}", "{logging: {driver: b}}"),
            ("{networks: [a]}", "{networks: {b: {aliases: [c]}}}", "{networks: {a: null, b: {aliases: [c]}}}"),
            ("{extra_hosts: {a: [x, y]}}", "{extra_hosts: ['b=z']}", "{extra_hosts: [a=x, a=y, b=z]}"),
            ("{x-a: {b: 1}}", "{x-a: {c: 1}}", "{x-a: {b: 1, c: 1}}"),
            (
                "{ulimits: {nofile: 5}}",
                "{ulimits: {nofile: {soft: 1, hard: 2}}}",
                "{ulimits: {nofile: {soft: 1, hard: 2}}}",
            ),
        ] {
            assert_eq!(merged(base, over).unwrap(), tree(expected), "{base} {over}");
        }
    }

    #[test]
    fn what_is_optional_in_one_file_stays_so() {
        let node = merged("{depends_on: [b]}", "{depends_on: {b: {condition: service_healthy}}}").unwrap();
        assert_eq!(node.get("depends_on").unwrap().get("b").unwrap().text_of("condition"), Some("service_healthy"));
    }

    #[test]
    fn kinds_that_do_not_fit_are_refused() {
        let reason = merged("{cap_add: [a]}", "{cap_add: x}").unwrap_err().reason;
        assert_eq!(reason, "cannot override services.a.cap_add");
        let reason = merged("{}", "{volumes: [{type: bind}]}").unwrap_err().reason;
        assert_eq!(reason, "service volume services.a.volumes.[0] is missing a mount target");
    }
}
