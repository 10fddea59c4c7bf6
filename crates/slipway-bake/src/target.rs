//! A target: what one build is asked for, and how a later definition changes an earlier one (`spec/bake.md` sections 7
//! and 8).

use std::collections::BTreeMap;

use crate::attribute::Fields;
use crate::value::Value;

/// One build. `None` and empty mean that nothing was said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Target {
    pub description: String,
    pub inherits: Vec<String>,
    pub annotations: Vec<String>,
    pub attest: Vec<Fields>,
    pub context: Option<String>,
    pub contexts: BTreeMap<String, String>,
    pub dockerfile: Option<String>,
    pub dockerfile_inline: Option<String>,
    pub args: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub tags: Option<Vec<String>>,
    pub cache_from: Vec<Fields>,
    pub cache_to: Option<Vec<Fields>>,
    /// The stage to build.
    pub stage: Option<String>,
    pub secrets: Vec<Fields>,
    pub ssh: Vec<Fields>,
    pub platforms: Option<Vec<String>>,
    pub outputs: Option<Vec<Fields>>,
    pub pull: Option<bool>,
    pub no_cache: Option<bool>,
    pub network: Option<String>,
    pub no_cache_filter: Vec<String>,
    pub shm_size: Option<String>,
    pub ulimits: Vec<String>,
    pub call: Option<String>,
    pub entitlements: Vec<String>,
    pub extra_hosts: BTreeMap<String, String>,
}

impl Target {
    /// Takes over the decoded value of one attribute.
    pub(crate) fn set(&mut self, name: &str, value: &Value) {
        match name {
            "description" => self.description = text(value).unwrap_or_default(),
            "inherits" => self.inherits = texts(value).unwrap_or_default(),
            "annotations" => self.annotations = texts(value).unwrap_or_default(),
            "attest" => self.attest = entries(value),
            "context" => self.context = text(value),
            "contexts" => self.contexts = map(value),
            "dockerfile" => self.dockerfile = text(value),
            "dockerfile-inline" => self.dockerfile_inline = text(value),
            "args" => self.args = map(value),
            "labels" => self.labels = map(value),
            "tags" => self.tags = texts(value),
            "cache-from" => self.cache_from = entries(value),
            "cache-to" => self.cache_to = Some(entries(value)),
            "target" => self.stage = text(value),
            "secret" => self.secrets = entries(value),
            "ssh" => self.ssh = entries(value),
            "platforms" => self.platforms = texts(value),
            "output" => self.outputs = Some(entries(value)),
            "pull" => self.pull = boolean(value),
            "no-cache" => self.no_cache = boolean(value),
            "network" => self.network = text(value),
            "no-cache-filter" => self.no_cache_filter = texts(value).unwrap_or_default(),
            "shm-size" => self.shm_size = text(value),
            "ulimits" => self.ulimits = texts(value).unwrap_or_default(),
            "call" => self.call = text(value),
            "entitlements" => self.entitlements = texts(value).unwrap_or_default(),
            "extra-hosts" => self.extra_hosts = map(value),
            _ => {}
        }
    }

    /// Adds what `later` says: some of it takes the place of what was, some comes on top.
    pub(crate) fn merge(&mut self, later: Target) {
        if !later.description.is_empty() {
            self.description = later.description;
        }
        self.context = later.context.or(self.context.take());
        self.dockerfile = later.dockerfile.or(self.dockerfile.take());
        self.dockerfile_inline = later.dockerfile_inline.or(self.dockerfile_inline.take());
        self.tags = later.tags.or(self.tags.take());
        self.cache_to = later.cache_to.or(self.cache_to.take());
        self.stage = later.stage.or(self.stage.take());
        self.platforms = later.platforms.or(self.platforms.take());
        self.outputs = later.outputs.or(self.outputs.take());
        self.pull = later.pull.or(self.pull);
        self.no_cache = later.no_cache.or(self.no_cache);
        self.network = later.network.or(self.network.take());
        self.shm_size = later.shm_size.or(self.shm_size.take());
        self.call = later.call.or(self.call.take());
        self.contexts.extend(later.contexts);
        self.args.extend(later.args);
        self.labels.extend(later.labels);
        self.extra_hosts.extend(later.extra_hosts);
        self.inherits.extend(later.inherits);
        self.annotations.extend(later.annotations);
        self.cache_from.extend(later.cache_from);
        self.no_cache_filter.extend(later.no_cache_filter);
        self.ulimits.extend(later.ulimits);
        self.entitlements.extend(later.entitlements);
        later.attest.into_iter().for_each(|entry| put(&mut self.attest, entry, "type"));
        later.secrets.into_iter().for_each(|entry| put(&mut self.secrets, entry, "id"));
        later.ssh.into_iter().for_each(|entry| put(&mut self.ssh, entry, "id"));
    }

    /// Leaves out what is empty or there twice, and fills in what has a default.
    pub(crate) fn normalize(&mut self, keeps_cwd: bool) {
        self.inherits.clear();
        for list in [&mut self.annotations, &mut self.no_cache_filter, &mut self.ulimits, &mut self.entitlements] {
            deduplicate(list);
        }
        [&mut self.tags, &mut self.platforms].into_iter().flatten().for_each(deduplicate);
        for list in [Some(&mut self.cache_from), self.cache_to.as_mut(), self.outputs.as_mut()].into_iter().flatten() {
            let mut seen: Vec<Fields> = Vec::new();
            list.retain(|entry| {
                let is_new = !seen.contains(entry);
                if is_new {
                    seen.push(entry.clone());
                }
                is_new
            });
        }
        for output in self.outputs.iter_mut().flatten() {
            let is_archive = matches!(output.get("type").map(String::as_str), Some("tar" | "oci"));
            if is_archive && !output.contains_key("dest") {
                output.insert("dest".to_owned(), "-".to_owned());
            }
        }
        self.contexts.retain(|_, value| !value.is_empty());
        if self.network.as_deref() == Some("host") && !self.entitlements.iter().any(|name| name == "network.host") {
            self.entitlements.push("network.host".to_owned());
        }
        if self.dockerfile.as_ref().is_none_or(String::is_empty) {
            self.dockerfile = Some("Dockerfile".to_owned());
        }
        let context = self.context.take().unwrap_or_else(|| ".".to_owned());
        let is_of_cwd = context.starts_with("cwd://");
        self.context = Some(if keeps_cwd && is_of_cwd { context } else { clean_context(&context) });
    }
}

/// A local path in its shortest form; anything else as it is.
fn clean_context(context: &str) -> String {
    let is_remote = context.contains("://") || context.starts_with("git@") || context.starts_with("github.com/");
    match context.strip_prefix("cwd://") {
        Some(path) => crate::functions::clean_path(path),
        None if is_remote || context.starts_with("target:") => context.to_owned(),
        None => crate::functions::clean_path(context),
    }
}

/// In the place of the entry with the same `key`, or at the end.
pub(crate) fn put(list: &mut Vec<Fields>, entry: Fields, key: &str) {
    match list.iter_mut().find(|other| other.get(key) == entry.get(key)) {
        Some(other) => *other = entry,
        None => list.push(entry),
    }
}

fn deduplicate(list: &mut Vec<String>) {
    let mut seen = std::collections::BTreeSet::new();
    list.retain(|item| !item.is_empty() && seen.insert(item.clone()));
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(is_true) => Some(*is_true),
        _ => None,
    }
}

pub(crate) fn texts(value: &Value) -> Option<Vec<String>> {
    Some(value.items()?.iter().filter_map(text).collect())
}

/// Entries that are null neither set nor unset anything.
fn map(value: &Value) -> BTreeMap<String, String> {
    let entries = value.entries().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), text(value)?))).collect()
}

fn entries(value: &Value) -> Vec<Fields> {
    value.items().unwrap_or_default().iter().map(map).filter(|entry| !entry.is_empty()).collect()
}
