//! Answers one question: are the documents of an image written as the reference writes them?
//!
//! Digests are made of these bytes, so the order of members, escapes, blanks, and which members are there at all
//! matter. A document in the usual form adds nothing to a summary; any other adds a line that shows it, with digests,
//! sizes and times left out.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::image::OLDEST_YEAR;

use self::Presence::{Always, NullIfEmpty, OmittedIfEmpty};

/// The media types that a summary does not mention.
pub(crate) const USUAL_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const USUAL_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const USUAL_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// Whether a member is written when it says nothing.
#[derive(Clone, Copy)]
enum Presence {
    Always,
    NullIfEmpty,
    OmittedIfEmpty,
}

/// A member of an object: its name, when it is written, and the shape of its value or of the items of its list.
struct Member(&'static str, Presence, Shape);

/// What is known of a value.
#[derive(Clone, Copy)]
enum Shape {
    /// Written as it is; the members of objects sorted.
    Any,
    /// An object, or a list of such objects, with these members in this order and no others.
    Object(&'static [Member]),
}

const fn omitted(name: &'static str) -> Member {
    Member(name, OmittedIfEmpty, Shape::Any)
}

const CONFIG: &[Member] = &[
    Member("architecture", Always, Shape::Any),
    omitted("author"),
    Member("config", Always, Shape::Object(RUNTIME)),
    Member("created", Always, Shape::Any),
    Member("history", NullIfEmpty, Shape::Object(HISTORY)),
    Member("os", Always, Shape::Any),
    omitted("os.features"),
    omitted("os.version"),
    Member("rootfs", Always, Shape::Object(ROOTFS)),
    omitted("variant"),
];

const RUNTIME: &[Member] = &[
    omitted("User"),
    omitted("ExposedPorts"),
    omitted("Env"),
    omitted("Entrypoint"),
    omitted("Cmd"),
    omitted("Volumes"),
    omitted("WorkingDir"),
    omitted("Labels"),
    omitted("StopSignal"),
    omitted("ArgsEscaped"),
    Member("Healthcheck", OmittedIfEmpty, Shape::Object(HEALTHCHECK)),
    omitted("OnBuild"),
    omitted("Shell"),
];

const HEALTHCHECK: &[Member] = &[
    omitted("Test"),
    omitted("Interval"),
    omitted("Timeout"),
    omitted("StartPeriod"),
    omitted("StartInterval"),
    omitted("Retries"),
];

const HISTORY: &[Member] =
    &[omitted("created"), omitted("created_by"), omitted("author"), omitted("comment"), omitted("empty_layer")];

const ROOTFS: &[Member] = &[Member("type", Always, Shape::Any), Member("diff_ids", NullIfEmpty, Shape::Any)];

const MANIFEST: &[Member] = &[
    Member("schemaVersion", Always, Shape::Any),
    Member("mediaType", Always, Shape::Any),
    Member("config", Always, Shape::Object(DESCRIPTOR)),
    Member("layers", NullIfEmpty, Shape::Object(DESCRIPTOR)),
    omitted("annotations"),
];

const DESCRIPTOR: &[Member] = &[
    Member("mediaType", Always, Shape::Any),
    Member("digest", Always, Shape::Any),
    Member("size", Always, Shape::Any),
    omitted("urls"),
    omitted("annotations"),
];

const INDEX: &[Member] = &[
    Member("schemaVersion", Always, Shape::Any),
    Member("mediaType", Always, Shape::Any),
    Member("manifests", Always, Shape::Object(INDEX_ENTRY)),
    omitted("annotations"),
];

/// The types of an index of several images, the one that the reference uses first.
const LISTS: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];

const INDEX_OF_LISTS: &[Member] = &[
    Member("schemaVersion", Always, Shape::Any),
    Member("mediaType", Always, Shape::Any),
    Member("manifests", Always, Shape::Object(DESCRIPTOR)),
    omitted("annotations"),
];

const INDEX_ENTRY: &[Member] = &[
    Member("mediaType", Always, Shape::Any),
    Member("digest", Always, Shape::Any),
    Member("size", Always, Shape::Any),
    omitted("annotations"),
    Member("platform", Always, Shape::Object(PLATFORM)),
];

const PLATFORM: &[Member] = &[
    Member("architecture", Always, Shape::Any),
    Member("os", Always, Shape::Any),
    omitted("os.version"),
    omitted("variant"),
];

/// A line for each document of an image that is not in the usual form.
pub(crate) fn unusual(config: &[u8], manifest: &[u8]) -> Vec<String> {
    let documents = [
        ("config", config, compact(&usual(&parsed(config), Shape::Object(CONFIG)))),
        ("manifest", manifest, indented(&usual(&parsed(manifest), Shape::Object(MANIFEST)))),
    ];
    documents.into_iter().filter_map(|(name, bytes, expected)| remark(name, bytes, &expected)).collect()
}

/// A line if the index that lies beside the blobs is not in the usual form.
pub(crate) fn unusual_index(index: &[u8]) -> Vec<String> {
    let value = parsed(index);
    // What stands for several platforms has none.
    let is_list = value["manifests"][0]["mediaType"].as_str().is_some_and(|kind| LISTS.contains(&kind));
    let shape = Shape::Object(if is_list { INDEX_OF_LISTS } else { INDEX });
    remark("index", index, &compact(&usual(&value, shape))).into_iter().collect()
}

/// A line if the index of several images is not in the usual form.
pub(crate) fn unusual_list(list: &[u8]) -> Vec<String> {
    remark("list", list, &indented(&usual(&parsed(list), Shape::Object(INDEX)))).into_iter().collect()
}

/// A line if the index of several images has not the type that the reference uses by default.
pub(crate) fn unusual_list_type(list: &Value) -> Option<String> {
    (list["mediaType"] != LISTS[0]).then(|| format!("type {}", list["mediaType"]))
}

fn remark(name: &str, bytes: &[u8], expected: &str) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    (text != expected).then(|| format!("json {name} {}", compact(&without_chance(&parsed(bytes)))))
}

/// A line for each blob type besides those of the layers that the reference does not use by default.
pub(crate) fn unusual_types(manifest: &Value) -> Vec<String> {
    [(&manifest["mediaType"], USUAL_MANIFEST), (&manifest["config"]["mediaType"], USUAL_CONFIG)]
        .into_iter()
        .filter(|(found, usual)| *found != usual)
        .map(|(found, _)| format!("type {found}"))
        .collect()
}

/// The names and annotations that an image carries outside its config.
pub(crate) fn names(index: &Value, manifest: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in index["manifests"].as_array().into_iter().flatten() {
        for (key, value) in entry["annotations"].as_object().into_iter().flatten() {
            // What the clock said is of no interest.
            let is_clock = key == "org.opencontainers.image.created" && value.as_str() >= Some(OLDEST_YEAR);
            if !is_clock {
                lines.push(format!("index {key} {value}"));
            }
        }
    }
    lines.extend(annotations(manifest));
    lines
}

/// The annotations of a manifest or index.
pub(crate) fn annotations(document: &Value) -> Vec<String> {
    let annotations = document["annotations"].as_object();
    annotations.into_iter().flatten().map(|(key, value)| format!("annotation {key} {value}")).collect()
}

/// The annotations of an entry of an index.
pub(crate) fn descriptor_annotations(entry: &Value) -> Vec<String> {
    annotations(entry).into_iter().map(|line| format!("entry {line}")).collect()
}

/// The line for the `manifest.json` of `docker save`: its bytes, but for the digests in it.
pub(crate) fn docker_manifest(document: &[u8]) -> String {
    let text = String::from_utf8_lossy(document);
    let mut parts = text.split("blobs/sha256/");
    let first = parts.next().unwrap_or_default();
    let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let rest: String = parts.map(|part| format!("blobs/sha256/…{}", part.trim_start_matches(is_digit))).collect();
    format!("json manifest.json {first}{rest}")
}

/// A document that is none is shown as the text it is.
fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into())
}

fn usual(value: &Value, shape: Shape) -> Value {
    match (value, shape) {
        (Value::Array(items), _) => items.iter().map(|item| usual(item, shape)).collect(),
        (Value::Object(members), Shape::Any) => {
            let sorted: BTreeMap<_, _> = members.iter().map(|(k, v)| (k.clone(), usual(v, shape))).collect();
            Value::Object(sorted.into_iter().collect())
        }
        (Value::Object(members), Shape::Object(known)) => {
            let mut ordered = Map::new();
            for Member(name, presence, shape) in known {
                let member = members.get(*name).unwrap_or(&Value::Null);
                let written = match (presence, says_nothing(member)) {
                    (Always, _) | (_, false) => usual(member, *shape),
                    (NullIfEmpty, true) => Value::Null,
                    (OmittedIfEmpty, true) => continue,
                };
                ordered.insert((*name).to_owned(), written);
            }
            Value::Object(ordered)
        }
        (other, _) => other.clone(),
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

fn compact(value: &Value) -> String {
    escaped(&value.to_string())
}

fn indented(value: &Value) -> String {
    escaped(&format!("{value:#}"))
}

/// Go's encoder escapes what HTML and JavaScript treat specially.
fn escaped(json: &str) -> String {
    let escapes =
        [('<', "\\u003c"), ('>', "\\u003e"), ('&', "\\u0026"), ('\u{2028}', "\\u2028"), ('\u{2029}', "\\u2029")];
    escapes.into_iter().fold(json.to_owned(), |text, (character, escape)| text.replace(character, escape))
}

/// `value` with what differs from build to build replaced by the name of its member.
fn without_chance(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(without_chance).collect(),
        Value::Object(members) => {
            let replaced = members.iter().map(|(key, value)| match key.as_str() {
                "digest" | "size" | "created" | "diff_ids" | "org.opencontainers.image.created" if !value.is_null() => {
                    (key.clone(), Value::from("…"))
                }
                _ => (key.clone(), without_chance(value)),
            });
            Value::Object(replaced.collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG_TEXT: &str = r#"{"architecture":"amd64","config":{"Env":["A=\u0026"],"Cmd":["sh"]},"created":null,"history":null,"os":"linux","rootfs":{"type":"layers","diff_ids":null}}"#;
    const MANIFEST_TEXT: &str = "{\n  \"schemaVersion\": 2,\n  \"mediaType\": \"m\",\n  \"config\": {\n    \"mediaType\": \"c\",\n    \"digest\": \"d\",\n    \"size\": 1\n  },\n  \"layers\": null\n}";
    const INDEX_TEXT: &str = r#"{"schemaVersion":2,"mediaType":"i","manifests":[{"mediaType":"m","digest":"d","size":1,"platform":{"architecture":"amd64","os":"linux"}}]}"#;

    fn lines(config: &str) -> Vec<String> {
        let mut lines = unusual(config.as_bytes(), MANIFEST_TEXT.as_bytes());
        lines.extend(unusual_index(INDEX_TEXT.as_bytes()));
        lines
    }

    #[test]
    fn the_usual_form_says_nothing() {
        assert_eq!(lines(CONFIG_TEXT), Vec::<String>::new());
    }

    #[test]
    fn any_other_form_is_shown() {
        for (found, other) in [
            ("\"created\":null,", ""),
            ("\\u0026", "&"),
            ("\"Env\":[\"A=\\u0026\"],\"Cmd\":[\"sh\"]", "\"Cmd\":[\"sh\"],\"Env\":[\"A=\\u0026\"]"),
            ("\"diff_ids\":null", "\"diff_ids\":[]"),
            ("\"os\":\"linux\"", "\"os\":\"linux\",\"unknown\":1"),
            ("\"Cmd\":[\"sh\"]", "\"Cmd\":[\"sh\"],\"User\":\"\""),
        ] {
            assert!(CONFIG_TEXT.contains(found), "{found}");
            let lines = lines(&CONFIG_TEXT.replace(found, other));
            assert!(lines.len() == 1 && lines[0].starts_with("json config {"), "{other}: {lines:?}");
        }
        let index = INDEX_TEXT.replace(r#","platform":{"architecture":"amd64","os":"linux"}"#, "");
        assert_eq!(unusual(CONFIG_TEXT.as_bytes(), MANIFEST_TEXT.replace("  ", " ").as_bytes()).len(), 1);
        assert_eq!(
            unusual_index(index.as_bytes())[0],
            r#"json index {"schemaVersion":2,"mediaType":"i","manifests":[{"mediaType":"m","digest":"…","size":"…"}]}"#
        );
    }
}
