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
            return convert(&from_json(document), ty).map(Some).map_err(problem);
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
    let fields = match text.is_empty() {
        true => Vec::new(),
        false => csv::fields(text).map_err(|problem| format!("failed to parse {text} as CSV: {problem}"))?,
    };
    match ty {
        Type::List(element) | Type::Set(element) if element.is_primitive() => {
            let items = fields.iter().map(|field| primitive(name, field, element)).collect::<Result<Vec<_>, _>>();
            let items = items.map_err(|problem| {
                format!("failed to convert variable {name} from CSV: failed to parse element of type {ty}: {problem}")
            })?;
            convert(&Value::tuple(items), ty)
        }
        Type::Tuple(types) if types.iter().all(Type::is_primitive) => {
            if types.len() != fields.len() {
                let (n, m) = (types.len(), fields.len());
                let only = if m < n { "only " } else { "" };
                return Err(format!(
                    "failed to convert variable {name} from CSV: tuple expects {n} elements but {only}{m} provided"
                ));
            }
            let items = fields.iter().zip(types).map(|(field, ty)| primitive(name, field, ty));
            Ok(Value::tuple(items.collect::<Result<_, _>>()?))
        }
        Type::Map(element) if element.is_primitive() => {
            let mut entries = BTreeMap::new();
            for field in &fields {
                let (key, value) = field
                    .split_once(':')
                    .ok_or_else(|| format!("failed to parse {field} as map item: expected key:value"))?;
                entries.insert(key.to_owned(), primitive(name, value, element)?);
            }
            Ok(Value::map((**element).clone(), entries))
        }
        _ => Err(unsupported(ty, name)),
    }
}
