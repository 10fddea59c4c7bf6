//! The attributes of targets and groups: their types, and the short notations of entries (`spec/bake.md` sections 7
//! and 9).

use std::collections::BTreeMap;

use crate::convert::convert;
use crate::csv;
use crate::functions::to_json;
use crate::value::{Type, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Bool,
    Texts,
    Map,
    Attest,
    Cache,
    Output,
    Secret,
    Ssh,
}

/// The type of an attribute of a `target` or `group`; `None` if there is no such attribute.
pub(crate) fn kind(block: &str, name: &str) -> Option<Kind> {
    match (block, name) {
        ("group", "targets") => Some(Kind::Texts),
        (_, "description") => Some(Kind::Text),
        ("group", _) => None,
        (_, "context" | "dockerfile" | "dockerfile-inline" | "target" | "call" | "network" | "shm-size") => {
            Some(Kind::Text)
        }
        (_, "pull" | "no-cache") => Some(Kind::Bool),
        (_, "inherits" | "tags" | "platforms" | "annotations" | "no-cache-filter" | "ulimits" | "entitlements") => {
            Some(Kind::Texts)
        }
        (_, "args" | "labels" | "contexts" | "extra-hosts") => Some(Kind::Map),
        (_, "attest") => Some(Kind::Attest),
        (_, "cache-from" | "cache-to") => Some(Kind::Cache),
        (_, "output") => Some(Kind::Output),
        (_, "secret") => Some(Kind::Secret),
        (_, "ssh") => Some(Kind::Ssh),
        _ => None,
    }
}

/// `value` in the shape of its attribute; the error says what is wanted.
pub(crate) fn decode(value: &Value, kind: Kind) -> Result<Value, String> {
    match kind {
        Kind::Text => convert(value, &Type::String),
        Kind::Bool => convert(value, &Type::Bool),
        Kind::Texts => {
            let texts = convert(value, &Type::List(Box::new(Type::String)))?;
            match texts.items().unwrap_or_default().iter().any(Value::is_null) {
                true => Err("null value is not allowed".to_owned()),
                false => Ok(texts),
            }
        }
        Kind::Map => convert(value, &Type::Map(Box::new(Type::String))),
        _ if value.is_null() => Ok(Value::tuple(Vec::new())),
        _ => {
            let Some(items) = value.items() else {
                let entry = if matches!(kind, Kind::Secret | Kind::Ssh) { "object" } else { "map of string" };
                return Err(format!("list of {entry} required"));
            };
            let entries = items.iter().map(|item| entries(item, kind)).collect::<Result<Vec<_>, _>>()?;
            Ok(Value::tuple(entries.concat()))
        }
    }
}

/// What one item of a list of entries stands for; mostly one entry.
fn entries(item: &Value, kind: Kind) -> Result<Vec<Value>, String> {
    let fields: Vec<Fields> = match item {
        Value::Null(_) => Vec::new(),
        Value::String(text) if text.is_empty() => Vec::new(),
        Value::String(text) => from_text(text, kind)?,
        Value::Object(given) | Value::Map(_, given) => vec![from_object(given, kind)?],
        _ => return Err("map of string required".to_owned()),
    };
    let as_value =
        |fields: Fields| Value::object(fields.into_iter().map(|(name, value)| (name, Value::string(value))).collect());
    Ok(fields.into_iter().map(as_value).collect())
}

/// A decoded value as references see it: entries have all fields of their kind, with empty texts for those not set.
pub(crate) fn as_referred(value: &Value, block: &str, name: &str) -> Value {
    let fields: &[&str] = match kind(block, name) {
        Some(Kind::Output) => &["dest"],
        Some(Kind::Secret) => &["env", "id", "src"],
        Some(Kind::Ssh) => &["id", "paths"],
        _ => return value.clone(),
    };
    let whole = |entry: &Value| {
        let mut entry = entry.entries().cloned().unwrap_or_default();
        for field in fields {
            let text = entry.entry((*field).to_owned()).or_insert_with(|| Value::string(""));
            if *field == "paths" {
                *text = Value::strings(text.as_str().unwrap_or_default().split(',').filter(|path| !path.is_empty()));
            }
        }
        Value::object(entry)
    };
    Value::tuple(value.items().unwrap_or_default().iter().map(whole).collect())
}

/// What can be said of a secret.
const SECRET_FIELDS: [&str; 5] = ["id", "src", "source", "env", "type"];

/// An entry: names and values.
pub(crate) type Fields = BTreeMap<String, String>;

/// The entries that a text in short notation stands for.
pub(crate) fn from_text(text: &str, kind: Kind) -> Result<Vec<Fields>, String> {
    let csv_fields = || csv::fields(text);
    match kind {
        Kind::Cache if !text.contains('=') => {
            let registry =
                |name: String| Fields::from([("type".to_owned(), "registry".to_owned()), ("ref".to_owned(), name)]);
            Ok(csv_fields()?.into_iter().map(registry).collect())
        }
        Kind::Output => match &csv_fields()?[..] {
            [only] if only == text && !only.starts_with("type=") => {
                let ty = if text == "-" { "tar" } else { "local" };
                Ok(vec![Fields::from([("type".to_owned(), ty.to_owned()), ("dest".to_owned(), text.to_owned())])])
            }
            fields => Ok(vec![checked(pairs(fields)?, kind, text)?]),
        },
        Kind::Ssh => {
            let (id, paths) = text.split_once('=').unwrap_or((text, ""));
            let mut fields = Fields::from([("id".to_owned(), id.to_owned())]);
            if !paths.is_empty() {
                fields.insert("paths".to_owned(), paths.to_owned());
            }
            Ok(vec![fields])
        }
        Kind::Secret => {
            let fields = csv_fields().map_err(|problem| format!("failed to parse csv secret: {problem}"))?;
            match fields.iter().find(|field| !field.contains('=')) {
                Some(field) => Err(format!("invalid field '{field}' must be a key=value pair")),
                None => Ok(vec![checked(pairs(&fields)?, kind, text)?]),
            }
        }
        Kind::Attest => {
            let mut fields = pairs(&csv_fields()?)?;
            if let Some(text) = fields.get_mut("disabled") {
                let problem = |problem| format!("invalid value disabled={text}: {problem}");
                *text = parse_bool(text).map_err(problem)?.to_string();
            }
            Ok(vec![checked(fields, kind, text)?])
        }
        _ => Ok(vec![checked(pairs(&csv_fields()?)?, kind, text)?]),
    }
}

fn pairs(fields: &[String]) -> Result<Fields, String> {
    let pair = |field: &String| match field.split_once('=') {
        Some((name, value)) => Ok((name.to_lowercase(), value.to_owned())),
        None => Err(format!("invalid value {field}")),
    };
    fields.iter().map(pair).collect()
}

fn from_object(given: &BTreeMap<String, Value>, kind: Kind) -> Result<Fields, String> {
    let mut fields = Fields::new();
    for (name, value) in given.iter().filter(|(_, value)| !value.is_null()) {
        let text = match (kind, value.items()) {
            (Kind::Ssh, Some(items)) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
            _ => match convert(value, &Type::String).map_err(|problem| format!("element {name:?}: {problem}"))? {
                Value::String(text) => text.to_string(),
                _ => continue,
            },
        };
        // An object may say more of a secret than is known; a text may not.
        let is_unknown = kind == Kind::Secret && !SECRET_FIELDS.contains(&name.to_lowercase().as_str());
        let leaves_out = is_unknown || text.is_empty() && matches!(kind, Kind::Secret | Kind::Ssh | Kind::Output);
        if !leaves_out {
            fields.insert(name.clone(), text);
        }
    }
    if kind == Kind::Attest {
        // An object may leave out what a text may not.
        fields.entry("type".to_owned()).or_default();
        if let Some(text) = fields.get_mut("disabled") {
            *text = parse_bool(text)?.to_string();
        }
    }
    checked(fields, kind, &to_json(&Value::object(given.clone())))
}

/// A bool in one of the spellings that flags have.
pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

/// An entry with all that its kind asks for.
fn checked(mut fields: Fields, kind: Kind, spelled: &str) -> Result<Fields, String> {
    let has_type = fields.contains_key("type");
    match kind {
        Kind::Cache if !has_type => return Err(format!("type required form> {spelled:?}")),
        Kind::Output if !has_type => return Err("type is required for output".to_owned()),
        Kind::Attest if !has_type => return Err("attestation type not specified".to_owned()),
        Kind::Attest => fields.retain(|name, value| name != "disabled" || value != "false"),
        Kind::Secret => {
            if let Some(source) = fields.remove("source") {
                fields.insert("src".to_owned(), source);
            }
            if let Some(name) = fields.keys().find(|name| !SECRET_FIELDS.contains(&name.as_str())) {
                return Err(format!("unexpected key '{name}' in '{name}={}'", fields[name]));
            }
            match fields.remove("type").as_deref() {
                None | Some("file") => {}
                Some("env") if !fields.contains_key("env") => {
                    let source = fields.remove("src").unwrap_or_default();
                    fields.insert("env".to_owned(), source);
                }
                Some("env") => {}
                Some(other) => return Err(format!("unsupported secret type {other:?}")),
            }
        }
        _ => {}
    }
    Ok(fields)
}
