//! Values that variables are given from outside: by flag or by the environment (`spec/bake.md` section 5.3).

use std::collections::BTreeMap;

use super::Program;
use crate::convert::convert;
use crate::csv;
use crate::functions::from_json;
use crate::number::Number;
use crate::syntax::json::document;
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
            let document = document(json, 0).map_err(|diagnostic| problem(diagnostic.detail))?;
            return value_of_json(&from_json(document), ty).map(Some).map_err(problem);
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

/// `value` as a variable of type `ty`; the error names what JSON should begin with where the kind is another one.
fn value_of_json(value: &Value, ty: &Type) -> Result<Value, String> {
    let is_list = matches!(ty, Type::List(_) | Type::Set(_) | Type::Tuple(_));
    let is_map = matches!(ty, Type::Map(_) | Type::Object(_));
    if is_list && value.items().is_none() && !value.is_null() {
        return Err("missing expected [".to_owned());
    }
    if is_map && value.entries().is_none() && !value.is_null() {
        return Err("missing expected {".to_owned());
    }
    convert(value, ty)
}

fn unsupported(ty: &Type, name: &str) -> String {
    format!("unsupported type {ty} for variable {name}")
}

fn primitive(name: &str, text: &str, ty: &Type) -> Result<Value, String> {
    match ty {
        Type::Bool => match text {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Value::Bool(false)),
            _ => Err(format!("failed to parse {name} as bool: strconv.ParseBool: parsing {text:?}: invalid syntax")),
        },
        Type::Number => Number::parse(text).map(Value::Number).ok_or_else(|| {
            format!("failed to parse {name} as number: strconv.ParseFloat: parsing {text:?}: invalid syntax")
        }),
        Type::String => Ok(Value::string(text)),
        _ => Err(unsupported(ty, name)),
    }
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
