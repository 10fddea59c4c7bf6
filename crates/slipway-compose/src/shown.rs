//! What `compose config` shows of a tree, before it is written as YAML or JSON: attributes in their order, values in
//! their normal spelling, nothing that is empty.

use crate::attributes::{Object, Shows};
use crate::fault::Fault;
use crate::merge;
use crate::quantity;
use crate::short_forms::variables;
use crate::tree::{Map, Node, Value};
use crate::words;

/// A value to be written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shown {
    Null,
    Bool(bool),
    Int(i64),
    Large(u64),
    Float(f64),
    Text(String),
    /// A date: how it is written without quotes.
    Time(String),
    List(Vec<Shown>),
    Map(Vec<Entry>),
}

/// An entry of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) value: Shown,
    pub(crate) format: Format,
}

/// Which of the formats show something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Both,
    Yaml,
    Json,
}

fn entry(key: &str, value: Shown) -> Entry {
    Entry { key: key.to_owned(), value, format: Format::Both }
}

fn text(text: impl Into<String>) -> Shown {
    Shown::Text(text.into())
}

/// A tree as it is, keys sorted as the reference sorts them.
pub(crate) fn raw(node: &Node) -> Shown {
    match &node.value {
        Value::Null | Value::Reset => Shown::Null,
        Value::Bool(flag) => Shown::Bool(*flag),
        Value::Int(number) => Shown::Int(*number),
        Value::Large(number) => Shown::Large(*number),
        Value::Float(number) => Shown::Float(*number),
        Value::Time(time) => Shown::Time(time.standard.clone()),
        Value::Text(value) => text(value.as_str()),
        Value::List(items) => Shown::List(items.iter().map(raw).collect()),
        Value::Map(map) => sorted(map.iter().map(|(key, value)| entry(key, raw(value))).collect()),
    }
}

/// Entries in the order of their keys, in which numbers count as such: `a2` comes before `a10`.
fn sorted(mut entries: Vec<Entry>) -> Shown {
    entries.sort_by(|a, b| crate::yaml_text::compare_keys(&a.key, &b.key));
    Shown::Map(entries)
}

/// What is shown of a mapping with known attributes. `place` is what messages call it.
pub(crate) fn object(map: &Map, object: &Object, place: &str) -> Result<Shown, Fault> {
    let mut entries = Vec::new();
    for attribute in object.attributes {
        let node = map.get(attribute.name);
        let place = if place.is_empty() { attribute.name.to_owned() } else { format!("{place}.{}", attribute.name) };
        let shown = shown(node, &attribute.shows, &place);
        let shown = shown.map_err(|fault| fault.at(node.and_then(|node| node.mark)))?;
        let Some((value, format)) = shown else { continue };
        let key = attribute.name.to_owned();
        if matches!(attribute.shows, Shows::Titled(_)) {
            let title = format!("{}{}", key[..1].to_uppercase(), &key[1..]);
            entries.push(Entry { key: title, value: value.clone(), format: Format::Json });
            entries.push(Entry { key, value, format: Format::Yaml });
        } else {
            entries.push(Entry { key, value, format });
        }
    }
    for (key, value) in map.iter().filter(|(key, _)| object.attribute(key).is_none()) {
        entries.push(Entry { key: key.clone(), value: raw(value), format: Format::Yaml });
    }
    Ok(Shown::Map(entries))
}

fn shown(node: Option<&Node>, shows: &Shows, place: &str) -> Result<Option<(Shown, Format)>, Fault> {
    let both = |value| Ok(Some((value, Format::Both)));
    match (shows, node) {
        (Shows::Nothing, _) => Ok(None),
        (Shows::Command, None) => Ok(Some((Shown::Null, Format::Json))),
        (Shows::Command, Some(node)) if node.is_null() => Ok(Some((Shown::Null, Format::Json))),
        (Shows::FlagOrTrue, None) => both(Shown::Bool(true)),
        (Shows::Part(part), node) => {
            let Shown::Map(entries) = object(node.and_then(Node::map).unwrap_or(&Map::new()), part, place)? else {
                return Ok(None);
            };
            let is_empty = entries.iter().all(|entry| entry.format == Format::Json);
            Ok(Some((Shown::Map(entries), if is_empty { Format::Json } else { Format::Both })))
        }
        (_, None) => Ok(None),
        (shows, Some(node)) => Ok(value_of(node, shows, place)?.map(|value| (value, Format::Both))),
    }
}

fn decoding(place: &str, reason: &str) -> Fault {
    Fault::new(format!("decoding failed due to the following error(s):\n\n'{place}' {reason}"))
}

fn value_of(node: &Node, shows: &Shows, place: &str) -> Result<Option<Shown>, Fault> {
    let spelled = || node.value.spelled();
    let if_some = |texts: Vec<Shown>| (!texts.is_empty()).then_some(Shown::List(texts));
    Ok(match shows {
        Shows::Nothing => None,
        Shows::Text => Some(spelled()).filter(|value| !value.is_empty()).map(text),
        Shows::TextIfSet => Some(text(spelled())),
        Shows::Flag => node.is_true().then_some(Shown::Bool(true)),
        Shows::FlagIfSet | Shows::FlagOrTrue => match node.value {
            Value::Bool(flag) => Some(Shown::Bool(flag)),
            _ => None,
        },
        Shows::Integer => Some(integer(node, place)?).filter(|number| *number != 0).map(Shown::Int),
        Shows::IntegerIfSet if node.is_null() => None,
        Shows::IntegerIfSet => Some(Shown::Int(integer(node, place)?)),
        Shows::Float => {
            let number: f32 = spelled().parse().map_err(|_| {
                decoding(place, &format!("strconv.ParseFloat: parsing {:?}: invalid syntax", spelled()))
            })?;
            // The number with the fewest digits that is this one in the reference's precision.
            let number: f64 = number.to_string().parse().unwrap_or_default();
            Some(number).filter(|number| *number != 0.0).map(Shown::Float)
        }
        Shows::Bytes => {
            let size = match node.value {
                // Below zero there is no limit.
                Value::Int(size) => size,
                _ => quantity::bytes(&spelled())
                    .ok_or_else(|| decoding(place, &format!("invalid size: '{}'", spelled())))?,
            };
            (size != 0).then(|| text(size.to_string()))
        }
        Shows::Duration => Some(duration(node, place)?).filter(|shown| *shown != text("0s")),
        Shows::DurationIfSet if node.is_null() => None,
        Shows::DurationIfSet => Some(duration(node, place)?),
        Shows::FileMode => match &node.value {
            Value::Int(mode) => Some(text(format!("{mode:04o}"))),
            _ => {
                let mode = i64::from_str_radix(&spelled(), 8)
                    .map_err(|_| decoding(place, &format!("invalid mode: '{}'", spelled())))?;
                Some(text(format!("{mode:04o}")))
            }
        },
        Shows::DeviceCount if node.text().is_some_and(|count| count.eq_ignore_ascii_case("all")) => {
            Some(Shown::Int(-1))
        }
        Shows::DeviceCount => Some(Shown::Int(integer(node, place)?)),
        Shows::Texts => if_some(merge::items(node.clone()).iter().map(|item| text(item.value.spelled())).collect()),
        Shows::Mapping => mapping(node, false),
        Shows::MappingWithNull => mapping(node, true),
        Shows::ListMapping => list_mapping(node),
        Shows::Command => Some(command(node, place)?),
        Shows::HealthTest => match &node.value {
            Value::Text(line) => Some(Shown::List(vec![text("CMD-SHELL"), text(line.as_str())])),
            _ => if_some(node.texts().into_iter().map(text).collect()),
        },
        Shows::Hosts => hosts(node, place)?,
        Shows::SshKeys => ssh_keys(node),
        Shows::Ulimits => ulimits(node, place)?,
        Shows::Titled(shows) => return value_of(node, shows, place),
        Shows::Object(known) | Shows::Part(known) => match &node.value {
            Value::Map(map) => Some(object(map, known, place)?),
            _ => None,
        },
        Shows::Objects(known) => {
            let items = node
                .list()
                .unwrap_or_default()
                .iter()
                .enumerate()
                .filter_map(|(index, item)| item.map().map(|map| object(map, known, &format!("{place}[{index}]"))));
            if_some(items.collect::<Result<_, _>>()?)
        }
        Shows::ObjectMap(known) | Shows::MaybeObjectMap(known) => object_map(node, known, place)?,
    })
}

fn integer(node: &Node, place: &str) -> Result<i64, Fault> {
    match &node.value {
        Value::Int(number) => Ok(*number),
        Value::Float(number) => Ok(*number as i64),
        value => {
            let spelled = value.spelled();
            spelled.parse().map_err(|_| decoding(place, &format!("strconv.Atoi: parsing {spelled:?}: invalid syntax")))
        }
    }
}

fn duration(node: &Node, place: &str) -> Result<Shown, Fault> {
    let spelled = node.value.spelled();
    let nanoseconds = quantity::nanoseconds(&spelled)
        .ok_or_else(|| decoding(place, &format!("time: invalid duration {spelled:?}")).hint("for example `1m30s`"))?;
    Ok(text(quantity::spelled(nanoseconds)))
}

fn mapping(node: &Node, shows_null: bool) -> Option<Shown> {
    let own = match &node.value {
        Value::Map(map) => map.clone(),
        _ => variables(node),
    };
    let entries: Vec<Entry> = own
        .iter()
        .map(|(key, value)| match value.is_null() && shows_null {
            true => entry(key, Shown::Null),
            false => entry(key, text(value.value.spelled())),
        })
        .collect();
    (!entries.is_empty()).then(|| sorted(entries))
}

fn list_mapping(node: &Node) -> Option<Shown> {
    let entries: Vec<Entry> = node
        .map()?
        .iter()
        .map(|(key, value)| {
            let texts = merge::items(value.clone()).iter().map(|item| text(item.value.spelled())).collect();
            entry(key, Shown::List(texts))
        })
        .collect();
    (!entries.is_empty()).then(|| sorted(entries))
}

fn command(node: &Node, place: &str) -> Result<Shown, Fault> {
    let words = match &node.value {
        Value::Text(line) => words::split(line).ok_or_else(|| decoding(place, "invalid command line string"))?,
        _ => node.texts().into_iter().map(str::to_owned).collect(),
    };
    Ok(Shown::List(words.into_iter().map(text).collect()))
}

fn hosts(node: &Node, place: &str) -> Result<Option<Shown>, Fault> {
    let hosts = host_addresses(node).map_err(|reason| decoding(place, &reason))?;
    let items: Vec<Shown> = hosts.into_iter().map(|(host, address)| text(format!("{host}={address}"))).collect();
    Ok((!items.is_empty()).then_some(Shown::List(items)))
}

/// Hosts and addresses, sorted by host; one host may have several.
pub(crate) fn host_addresses(node: &Node) -> Result<Vec<(String, String)>, String> {
    let mut hosts = Vec::new();
    if let Some(map) = node.map() {
        for (host, value) in map {
            for address in merge::items(value.clone()) {
                hosts.push((host.clone(), address.value.spelled()));
            }
        }
    } else {
        for item in node.texts() {
            let (host, address) = item
                .split_once('=')
                .or_else(|| item.split_once(':'))
                .filter(|(host, address)| !host.is_empty() && !address.is_empty())
                .ok_or_else(|| format!("invalid additional host, missing IP: {item}"))?;
            hosts.push((host.to_owned(), address.to_owned()));
        }
    }
    for (_, address) in &mut hosts {
        if let Some(inner) = address.strip_prefix('[').and_then(|address| address.strip_suffix(']')) {
            *address = inner.to_owned();
        }
    }
    hosts.sort();
    Ok(hosts)
}

fn ssh_keys(node: &Node) -> Option<Shown> {
    let keys = node.map()?.iter().map(|(id, path)| match path.value.spelled().as_str() {
        "" => text(id.as_str()),
        path => text(format!("{id}: {path}")),
    });
    let keys: Vec<Shown> = keys.collect();
    (!keys.is_empty()).then_some(Shown::List(keys))
}

fn ulimits(node: &Node, place: &str) -> Result<Option<Shown>, Fault> {
    let mut entries = Vec::new();
    for (name, limit) in node.map().into_iter().flatten() {
        let place = format!("{place}[{name}]");
        let value = match &limit.value {
            Value::Map(ends) => {
                let mut shown = Vec::new();
                for end in ["soft", "hard"] {
                    let Some(value) = ends.get(end) else { continue };
                    shown.push(entry(end, Shown::Int(integer(value, &place)?)));
                }
                Shown::Map(shown)
            }
            _ => Shown::Int(integer(limit, &place)?),
        };
        entries.push(entry(name, value));
    }
    Ok((!entries.is_empty()).then(|| sorted(entries)))
}

fn object_map(node: &Node, known: &Object, place: &str) -> Result<Option<Shown>, Fault> {
    let mut entries = Vec::new();
    for (name, value) in node.map().into_iter().flatten() {
        let shown = match &value.value {
            Value::Map(map) => object(map, known, &format!("{place}[{name}]"))?,
            _ => Shown::Null,
        };
        entries.push(entry(name, shown));
    }
    Ok((!entries.is_empty()).then(|| sorted(entries)))
}
