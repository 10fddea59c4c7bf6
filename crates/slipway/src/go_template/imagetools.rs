//! What do fields and `json` mean in templates of `imagetools inspect`?
//!
//! There, values are structs of Go: a template says `.RootFS.DiffIDs` where the JSON of the same says `rootfs.diff_ids`.

use serde_json::{Map, Value};

/// Fields of the root that its JSON leaves out, as the reference does.
const HIDDEN: [&str; 2] = ["provenance", "sbom"];

/// Texts that may be missing in the JSON, because they are empty, without being unknown.
const TEXTS: [&str; 15] = [
    "architecture",
    "artifacttype",
    "author",
    "comment",
    "created",
    "createdby",
    "data",
    "digest",
    "mediatype",
    "os",
    "osversion",
    "stopsignal",
    "user",
    "variant",
    "workingdir",
];

/// The same for all else.
const OTHERS: [&str; 23] = [
    "additionalspdxs",
    "annotations",
    "argsescaped",
    "cmd",
    "config",
    "emptylayer",
    "entrypoint",
    "env",
    "exposedports",
    "healthcheck",
    "history",
    "image",
    "labels",
    "manifest",
    "manifests",
    "onbuild",
    "osfeatures",
    "platform",
    "rootfs",
    "slsa",
    "spdx",
    "urls",
    "volumes",
];

/// The field that Go calls `name`.
pub(super) fn field(map: &mut Map<String, Value>, name: &str) -> Option<Value> {
    if let Some(exact) = map.get_mut(name) {
        return Some(exact.take());
    }
    // Only what begins with a capital can be seen from a template.
    if !name.starts_with(|first: char| first.is_ascii_uppercase()) {
        return None;
    }
    let wanted = plain(name);
    match map.iter_mut().find(|(key, _)| plain(key) == wanted) {
        Some((_, value)) => Some(value.take()),
        None if TEXTS.contains(&wanted.as_str()) => Some(Value::String(String::new())),
        None if OTHERS.contains(&wanted.as_str()) => Some(Value::Null),
        None => None,
    }
}

/// A name without what differs between Go and JSON.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '.')).map(|c| c.to_ascii_lowercase()).collect()
}

/// Several lines of JSON.
pub(super) fn json(value: &Value, is_root: bool) -> String {
    let mut value = value.clone();
    if let (Some(fields), true) = (value.as_object_mut(), is_root) {
        fields.retain(|name, _| !HIDDEN.contains(&plain(name).as_str()));
    }
    let bytes = slipway_oci::to_indented(&value).expect("because a value of JSON can be written");
    String::from_utf8_lossy(&bytes).into_owned()
}
