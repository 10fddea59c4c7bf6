//! Answers one question: does a tree have the attributes and the kinds of values that Compose files may have?

use crate::attributes::{Accepts, Kind, Names, Object, PROJECT};
use crate::fault::Fault;
use crate::tree::{Map, Node, Value};

/// Checks a whole file, merged with those before it.
pub(crate) fn check_project(root: &Node) -> Result<(), Fault> {
    check_object(root, &PROJECT, &Place::default()).map_err(|found| {
        let Finding { place, reason, fault_of } = found;
        let fault = Fault::new(format!("{place} {reason}")).at(fault_of.mark);
        match fault_of.value {
            Value::Float(_) if reason.ends_with("must be a string") => {
                fault.hint("digits without quotes are a number; put quotes around a version")
            }
            _ => with_suggestion(fault, &reason, &place),
        }
    })
}

/// A hint for an attribute that is almost right.
fn with_suggestion(fault: Fault, reason: &str, place: &str) -> Fault {
    let Some(name) = reason.strip_prefix("additional properties '").and_then(|rest| rest.split('\'').next()) else {
        return fault;
    };
    let object = match place.split('.').collect::<Vec<_>>()[..] {
        [""] => &PROJECT,
        ["services", _] => &crate::attributes::SERVICE,
        ["services", _, "build"] => &crate::attributes::BUILD,
        _ => return fault,
    };
    match object.attributes.iter().find(|attribute| is_near(attribute.name, name)) {
        Some(attribute) => fault.hint(format!("did you mean `{}`?", attribute.name)),
        None => fault,
    }
}

/// Whether one letter more, less or other, or two swapped, make `typed` of `name`; `-` counts as `_`.
fn is_near(name: &str, typed: &str) -> bool {
    let (name, typed): (Vec<char>, Vec<char>) = (name.chars().collect(), typed.replace('-', "_").chars().collect());
    let n_before = name.iter().zip(&typed).take_while(|(a, b)| a == b).count();
    let (name, typed) = (&name[n_before..], &typed[n_before..]);
    let n_after = name.iter().rev().zip(typed.iter().rev()).take_while(|(a, b)| a == b).count();
    let (name, typed) = (&name[..name.len() - n_after], &typed[..typed.len() - n_after]);
    match (name, typed) {
        ([], []) | ([_], []) | ([], [_]) | ([_], [_]) => true,
        ([a, b], [c, d]) => a == d && b == c,
        _ => false,
    }
}

/// The keys and indexes on the way to a value.
#[derive(Clone, Debug, Default)]
struct Place(Vec<String>);

impl Place {
    fn entry(&self, key: &str) -> Place {
        let mut parts = self.0.clone();
        parts.push(key.to_owned());
        Place(parts)
    }
}

struct Finding<'a> {
    place: String,
    reason: String,
    fault_of: &'a Node,
}

impl Finding<'_> {
    /// How far the file was understood: a mapping with a wrong name in it is a mapping at least.
    fn depth(&self) -> usize {
        let n_parts = if self.place.is_empty() { 0 } else { self.place.matches('.').count() + 1 };
        n_parts + usize::from(self.reason.starts_with("additional properties"))
    }
}

type Checked<'a> = Result<(), Finding<'a>>;

fn finding<'a>(place: &Place, reason: impl Into<String>, node: &'a Node) -> Finding<'a> {
    Finding { place: place.0.join("."), reason: reason.into(), fault_of: node }
}

fn check<'a>(node: &'a Node, accepts: &Accepts, place: &Place) -> Checked<'a> {
    match accepts {
        Accepts::Kinds(kinds) => check_kind(node, kinds, place),
        Accepts::Words(words) => {
            let text = text_of(node, place)?;
            if words.contains(&text) {
                return Ok(());
            }
            let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
            Err(finding(place, format!("value must be one of {}", words.join(", ")), node))
        }
        Accepts::Matching { pattern, matches } => {
            let text = text_of(node, place)?;
            match matches(text) {
                true => Ok(()),
                false => Err(finding(place, format!("'{text}' does not match pattern '{pattern}'"), node)),
            }
        }
        Accepts::IntegerIn(lowest, highest) => {
            check_kind(node, &[Kind::Integer], place)?;
            match node.value {
                Value::Int(number) if number < *lowest => {
                    Err(finding(place, format!("must be greater than or equal to {lowest}"), node))
                }
                Value::Int(number) if number > *highest => {
                    Err(finding(place, format!("must be less than or equal to {highest}"), node))
                }
                _ => Ok(()),
            }
        }
        Accepts::List { items, is_unique } => check_list(node, items, *is_unique, place),
        Accepts::Object(object) => check_object(node, object, place),
        Accepts::MaybeObject(object) => {
            if node.is_null() {
                Ok(())
            } else {
                check_object(node, object, place)
            }
        }
        Accepts::Entries { names, values, is_closed } => check_entries(node, *names, values, *is_closed, place),
        Accepts::Either(alternatives) => check_either(node, alternatives, place),
    }
}

fn text_of<'a, 'n>(node: &'n Node, place: &Place) -> Result<&'a str, Finding<'n>>
where
    'n: 'a,
{
    node.text().ok_or_else(|| finding(place, kind_reason(&[Kind::String]), node))
}

fn check_kind<'a>(node: &'a Node, kinds: &[Kind], place: &Place) -> Checked<'a> {
    let is_kind = |kind: &Kind| match (kind, &node.value) {
        (Kind::Array, Value::List(_))
        | (Kind::Boolean, Value::Bool(_))
        | (Kind::Integer | Kind::Number, Value::Int(_) | Value::Large(_))
        | (Kind::Number, Value::Float(_))
        | (Kind::Null, Value::Null)
        | (Kind::Mapping, Value::Map(_))
        | (Kind::String, Value::Text(_) | Value::Time(_)) => true,
        (Kind::Integer, Value::Float(number)) => number.fract() == 0.0,
        _ => false,
    };
    if kinds.iter().any(is_kind) { Ok(()) } else { Err(finding(place, kind_reason(kinds), node)) }
}

fn kind_reason(kinds: &[Kind]) -> String {
    let names: Vec<&str> = kinds
        .iter()
        .map(|kind| match kind {
            Kind::Array => "array",
            Kind::Boolean => "boolean",
            Kind::Integer => "integer",
            Kind::Null => "null",
            Kind::Number => "number",
            Kind::Mapping => "mapping",
            Kind::String => "string",
        })
        .collect();
    match &names[..] {
        [before @ .., last] if !before.is_empty() => format!("must be a {} or {last}", before.join(", ")),
        _ => format!("must be a {}", names.join("")),
    }
}

fn check_list<'a>(node: &'a Node, items: &Accepts, is_unique: bool, place: &Place) -> Checked<'a> {
    let Some(list) = node.list() else { return Err(finding(place, kind_reason(&[Kind::Array]), node)) };
    for (index, item) in list.iter().enumerate() {
        let place = place.entry(&index.to_string());
        // A date without quotes. The reference knows nothing to do with it either.
        if matches!(item.value, Value::Time(_)) {
            return Err(finding(&place, "invalid jsonType time.Time".to_owned(), item));
        }
        check(item, items, &place)?;
    }
    if !is_unique {
        return Ok(());
    }
    for (later, item) in list.iter().enumerate() {
        if let Some(earlier) = list[..later].iter().position(|other| other == item) {
            return Err(finding(place, format!("items at {earlier} and {later} are equal"), item));
        }
    }
    Ok(())
}

fn map_of<'a>(node: &'a Node, place: &Place) -> Result<&'a Map, Finding<'a>> {
    node.map().ok_or_else(|| finding(place, kind_reason(&[Kind::Mapping]), node))
}

fn check_object<'a>(node: &'a Node, object: &Object, place: &Place) -> Checked<'a> {
    let map = map_of(node, place)?;
    for (key, entry) in map {
        match object.attribute(key) {
            Some(attribute) => check(entry, &attribute.accepts, &place.entry(key))?,
            None if object.admits(key) => {}
            None => return Err(finding(place, format!("additional properties '{key}' not allowed"), entry)),
        }
    }
    match object.required.iter().find(|name| !map.contains_key(**name)) {
        Some(name) => Err(finding(place, format!("missing property '{name}'"), node)),
        None => Ok(()),
    }
}

fn check_entries<'a>(node: &'a Node, names: Names, values: &Accepts, is_closed: bool, place: &Place) -> Checked<'a> {
    for (key, entry) in map_of(node, place)? {
        let is_named_well = match names {
            Names::All => !key.is_empty(),
            Names::Letters => !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase()),
            Names::Resources => {
                let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
                !key.is_empty() && key.bytes().all(is_allowed)
            }
        };
        match (is_named_well, is_closed) {
            (true, _) => check(entry, values, &place.entry(key))?,
            (false, true) => return Err(finding(place, format!("additional properties '{key}' not allowed"), entry)),
            (false, false) => {}
        }
    }
    Ok(())
}

/// Of the reasons why nothing fits, the one for what lies deepest, since there the file came closest.
fn check_either<'a>(node: &'a Node, alternatives: &[Accepts], place: &Place) -> Checked<'a> {
    let mut deepest: Option<Finding<'a>> = None;
    for alternative in alternatives {
        let Err(found) = check(node, alternative, place) else { return Ok(()) };
        if deepest.as_ref().is_none_or(|other| found.depth() > other.depth()) {
            deepest = Some(found);
        }
    }
    deepest.map_or(Ok(()), Err)
}
