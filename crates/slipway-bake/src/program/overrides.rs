//! Values that variables are given from outside: by flag or by the environment (`spec/bake.md` section 5.3).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::Program;
use crate::attribute::parse_bool;
use crate::convert::convert;
use crate::csv;
use crate::functions::from_json;
use crate::number::Number;
use crate::syntax::json::{beginning, decoder_reason, is_about_value};
use crate::value::{Type, Value};

impl Program<'_> {
    /// The value that the variable `name` was given; the error says why the text is none.
    pub(super) fn given_value(
        &self,
        name: &str,
        ty: Option<&Type>,
        default: Option<&Value>,
    ) -> Result<Option<Value>, String> {
        let json_name = format!("{name}_JSON");
        let json = match self.variables.contains_key(json_name.as_str()) {
            true => None,
            false => self.given_text(&json_name),
        };
        if let (Some(ty), Some(json)) = (ty, &json) {
            let problem = |problem: String| format!("failed to convert variable {name} from JSON: {problem}");
            return read_json(json, ty).map(Some).map_err(problem);
        }
        let Some(text) = self.given_text(name).or(json) else { return Ok(None) };
        let is_declared = ty.is_some();
        let ty = ty.cloned().or_else(|| default.map(Value::type_of)).unwrap_or(Type::String);
        match ty {
            Type::Dynamic if !is_declared => Ok(Some(Value::string(text))),
            Type::Bool | Type::Number | Type::String => primitive(name, &text, &ty).map(Some),
            _ if !is_declared => Err(unsupported(&ty, name)),
            _ => collection(name, &text, &ty).map(Some),
        }
    }

    fn given_text(&self, name: &str) -> Option<String> {
        let given = self.inputs.variables.iter().rev().find(|(given, _)| given == name);
        given.map(|(_, value)| value.clone()).or_else(|| (self.inputs.environment)(name))
    }
}

/// The value of type `ty` that `text` begins with; nobody reads on.
fn read_json(text: &str, ty: &Type) -> Result<Value, String> {
    let json = beginning(text).map_err(|diagnostic| {
        let reason = decoder_reason(text, &diagnostic);
        let (bracket, kind) = match ty {
            Type::List(_) => ('[', "list"),
            Type::Set(_) => ('[', "set"),
            Type::Tuple(_) => ('[', "tuple"),
            Type::Map(_) => ('{', "map"),
            Type::Object(_) => ('{', "object"),
            _ => return reason,
        };
        let trimmed = text.trim_start();
        match is_about_value(&diagnostic) {
            true if trimmed.starts_with(bracket) => format!("failed to read {kind} value: {reason}"),
            _ if trimmed.starts_with(['[', '{']) && !trimmed.starts_with(bracket) => {
                format!("missing expected {bracket}")
            }
            _ => reason,
        }
    })?;
    value_of_json(&from_json(json), ty)
}

/// `value`, which was JSON, as one of type `ty`. Objects may lack attributes, and have no others than those of the type.
fn value_of_json(value: &Value, ty: &Type) -> Result<Value, String> {
    if value.is_null() {
        return Ok(Value::Null(ty.clone()));
    }
    let items = || value.items().ok_or("missing expected [");
    let entries = || value.entries().ok_or("missing expected {");
    let all = |element: &Type| items()?.iter().map(|item| value_of_json(item, element)).collect::<Result<Vec<_>, _>>();
    match ty {
        Type::List(element) | Type::Set(element) => convert(&Value::tuple(all(element)?), ty),
        Type::Map(element) => {
            let entry = |(name, item): (&String, &Value)| Ok((name.clone(), value_of_json(item, element)?));
            convert(&Value::object(entries()?.iter().map(entry).collect::<Result<_, String>>()?), ty)
        }
        Type::Tuple(types) => {
            let (items, n_wanted) = (items()?, types.len());
            match items.len().cmp(&n_wanted) {
                Ordering::Greater => return Err(format!("too many tuple elements (need {n_wanted})")),
                Ordering::Less => return Err(format!("not enough tuple elements (need {n_wanted})")),
                Ordering::Equal => {}
            }
            let items = items.iter().zip(types).map(|(item, ty)| value_of_json(item, ty));
            Ok(Value::tuple(items.collect::<Result<_, _>>()?))
        }
        Type::Object(types) => {
            let entries = entries()?;
            if let Some(name) = entries.keys().find(|name| !types.contains_key(*name)) {
                return Err(format!("unsupported attribute {name:?}"));
            }
            let attribute = |(name, ty): (&String, &Type)| {
                let item = entries.get(name).map(|item| value_of_json(item, ty.of_present())).transpose()?;
                Ok((name.clone(), item.unwrap_or_else(|| Value::Null(ty.of_present().clone()))))
            };
            Ok(Value::object(types.iter().map(attribute).collect::<Result<_, String>>()?))
        }
        // The type stands beside the value, but that can be seen.
        Type::Dynamic => {
            let entries = entries()?;
            let missing = |name: &str| format!("missing {name} in dynamically-typed value");
            entries.get("type").ok_or_else(|| missing("type"))?;
            entries.get("value").cloned().ok_or_else(|| missing("value"))
        }
        _ => {
            let is_collection = value.items().is_some() || value.entries().is_some();
            let is_text = value.as_str().is_some() || *ty == Type::String && !is_collection;
            let is_fit = is_text || value.type_of() == *ty;
            if is_fit { convert(value, ty) } else { Err(format!("{ty} is required")) }
        }
    }
}

fn unsupported(ty: &Type, name: &str) -> String {
    format!("unsupported type {ty} for variable {name}")
}

fn primitive(name: &str, text: &str, ty: &Type) -> Result<Value, String> {
    match ty {
        Type::Bool => parse_bool(text).map(Value::Bool).map_err(|why| format!("failed to parse {name} as bool: {why}")),
        Type::Number => {
            machine_number(text).map(Value::Number).map_err(|why| format!("failed to parse {name} as number: {why}"))
        }
        Type::String => Ok(Value::string(text)),
        _ => Err(unsupported(ty, name)),
    }
}

/// A number as programs read it, which know fewer digits than definitions.
fn machine_number(text: &str) -> Result<Number, String> {
    let refused = |why: &str| format!("strconv.ParseFloat: parsing {text:?}: {why}");
    let value = go_float(text).ok_or_else(|| refused("invalid syntax"))?;
    match (value.is_finite(), text.contains(|c: char| c.is_ascii_digit())) {
        (true, _) => Number::from_f64(value).ok_or_else(|| refused("invalid syntax")),
        (false, true) => Err(refused("value out of range")),
        (false, false) => Err("invalid number value".to_owned()),
    }
}

/// Decimal digits as everywhere, `_` between digits, and hexadecimal ones with a binary exponent: `0x1.8p-2`.
fn go_float(text: &str) -> Option<f64> {
    let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_hexdigit());
    let is_between =
        |(at, _): (usize, &str)| is_digit(text[..at].chars().next_back()) && is_digit(text[at + 1..].chars().next());
    if !text.match_indices('_').all(is_between) {
        return None;
    }
    let digits = text.replace('_', "").to_lowercase();
    let (sign, magnitude) = match digits.strip_prefix('-') {
        Some(magnitude) => (-1.0, magnitude),
        None => (1.0, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    let Some(hexadecimal) = magnitude.strip_prefix("0x") else { return digits.parse().ok() };
    let (mantissa, exponent) = hexadecimal.split_once('p')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let value = u64::from_str_radix(&format!("{whole}{fraction}"), 16).ok()? as f64;
    let exponent = exponent.parse::<i32>().ok()?.checked_sub(4 * fraction.len() as i32)?;
    Some(sign * value * 2f64.powi(exponent))
}

/// Comma-separated items; those of maps are `key:value`. An empty text is an empty collection.
fn collection(name: &str, text: &str, ty: &Type) -> Result<Value, String> {
    let elements: Vec<&Type> = match ty {
        Type::List(element) | Type::Set(element) | Type::Map(element) => vec![element],
        Type::Tuple(types) => types.iter().collect(),
        _ => return Err(unsupported(ty, name)),
    };
    let problem = |problem: String| format!("failed to convert variable {name} from CSV: {problem}");
    if !elements.iter().all(|element| element.is_primitive()) {
        return Err(problem(format!("unsupported type {ty} for CSV specification")));
    }
    let fields = match text.is_empty() {
        true => Vec::new(),
        false => csv::fields(text).map_err(|e| problem(format!("failed to parse {text} as CSV: {e}")))?,
    };
    let preposition = if matches!(ty, Type::Map(_)) { "from" } else { "of" };
    let item = |text: &str, element: &Type| {
        primitive(name, text, element)
            .map_err(|reason| problem(format!("failed to parse element {preposition} type {ty}: {reason}")))
    };
    match ty {
        Type::Tuple(types) => {
            let (n, m) = (types.len(), fields.len());
            if n != m {
                let only = if m < n { "only " } else { "" };
                return Err(problem(format!("tuple expects {n} elements but {only}{m} provided")));
            }
            let items = fields.iter().zip(types).map(|(field, ty)| item(field, ty));
            Ok(Value::tuple(items.collect::<Result<_, _>>()?))
        }
        Type::Map(element) => {
            let mut entries = BTreeMap::new();
            for field in &fields {
                let pieces: Vec<&str> = field.split(':').collect();
                let [key, value] = pieces[..] else {
                    let n = pieces.len();
                    return Err(problem(format!("expected one k/v pair but got {n} pieces from {field}")));
                };
                entries.insert(key.to_owned(), item(value, element)?);
            }
            Ok(Value::map((**element).clone(), entries))
        }
        _ => {
            let items = fields.iter().map(|field| item(field, elements[0])).collect::<Result<Vec<_>, _>>()?;
            convert(&Value::tuple(items), ty)
        }
    }
}
