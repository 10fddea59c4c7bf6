//! A target as the flags of `build` that a person would type for it.

use slipway_bake::Target;
use slipway_graph::request::flags::BuildFlags;

use super::{BuildSettings, NameUse};
use crate::client_config;

/// The flags that stand for `target`.
pub(super) fn of_target(target: &Target, settings: BuildSettings<'_>) -> BuildFlags {
    let BuildSettings { allow, metadata_file, call_fields, names: NameUse { lock, locked, offline }, .. } = settings;
    let pairs = |map: &std::collections::BTreeMap<String, String>| -> Vec<String> {
        map.iter().map(|(key, value)| format!("{key}={value}")).collect()
    };
    let entries = |list: &[std::collections::BTreeMap<String, String>]| -> Vec<String> {
        list.iter()
            .map(|entry| pairs(entry).iter().map(|field| csv_field(field)).collect::<Vec<_>>().join(","))
            .collect()
    };
    let ssh = target.ssh.iter().map(|key| {
        let (id, paths) = (key.get("id").map_or("default", String::as_str), key.get("paths"));
        paths.map_or_else(|| id.to_owned(), |paths| format!("{id}={paths}"))
    });
    let context = target.context.clone().unwrap_or_else(|| ".".to_owned());
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    BuildFlags {
        file: dockerfile(&context, target.dockerfile.as_deref().unwrap_or("Dockerfile")),
        dockerfile_inline: target.dockerfile_inline.clone(),
        context,
        target: text(&target.stage),
        tags: target.tags.clone().unwrap_or_default(),
        build_args: pairs(&target.args),
        proxies: client_config::build_proxies(),
        labels: pairs(&target.labels),
        platforms: target.platforms.clone().unwrap_or_default(),
        build_contexts: pairs(&target.contexts),
        no_cache: target.no_cache.unwrap_or_default(),
        no_cache_filter: target.no_cache_filter.clone(),
        pull: target.pull.unwrap_or_default(),
        network: text(&target.network),
        add_hosts: pairs(&target.extra_hosts),
        allow: granted(target, allow),
        shm_size: text(&target.shm_size),
        ulimits: target.ulimits.clone(),
        secrets: entries(&target.secrets),
        ssh: ssh.collect(),
        outputs: entries(target.outputs.as_deref().unwrap_or_default()),
        annotations: target.annotations.clone(),
        cache_from: entries(&target.cache_from),
        cache_to: entries(target.cache_to.as_deref().unwrap_or_default()),
        attest: entries(&target.attest),
        call: target.call.as_ref().map(|call| call.clone() + call_fields).unwrap_or_default(),
        metadata_file: metadata_file.unwrap_or_default().to_owned(),
        lock,
        locked,
        offline,
        ..BuildFlags::default()
    }
}

/// What the steps may have: by now the user has agreed to all that the target asks for.
fn granted(target: &Target, allow: &[String]) -> Vec<String> {
    let is_of_steps = |name: &&String| ["network.host", "security.insecure"].contains(&name.as_str());
    let mut granted: Vec<String> = allow.iter().filter(is_of_steps).chain(&target.entitlements).cloned().collect();
    granted.push("buildx.local.delete".to_owned());
    granted
}

/// Below the context, if that is a folder of this machine.
fn dockerfile(context: &str, name: &str) -> String {
    let is_remote = context.contains("://") || context.starts_with("git@");
    match name.strip_prefix("cwd://") {
        Some(path) => path.to_owned(),
        None if is_remote || name.contains("://") || name.starts_with('/') => name.to_owned(),
        None => format!("{context}/{name}"),
    }
}

fn csv_field(field: &str) -> String {
    match field.contains([',', '"']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    }
}
