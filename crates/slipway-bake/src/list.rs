//! `--list`: what a definition offers (`spec/bake.md` section 14).

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::convert::{convert, wanted_name};
use crate::definition::{Definition, Variable};
use crate::functions::to_json;
use crate::print::escaped;
use crate::value::{Type, Value};

impl Definition {
    /// All targets and groups but those whose names begin with `_`.
    pub fn list_targets(&self, as_json: bool) -> String {
        let mut rows: BTreeMap<&str, (String, bool)> = BTreeMap::new();
        rows.extend(self.targets.iter().map(|(name, target)| (name.as_str(), (target.description.clone(), false))));
        for (name, group) in &self.groups {
            let mut members = group.targets.clone().unwrap_or_default();
            members.sort_unstable();
            let members = members.join(", ");
            let description = match group.description.as_str() {
                "" => members,
                description => format!("{description} ({members})"),
            };
            rows.insert(name, (description, true));
        }
        rows.retain(|name, _| !name.starts_with('_'));
        if !as_json {
            let rows = rows.into_iter().map(|(name, (description, _))| vec![name.to_owned(), description]);
            return table(std::iter::once(vec!["TARGET".to_owned(), "DESCRIPTION".to_owned()]).chain(rows).collect());
        }
        array(rows.into_iter().map(|(name, (description, is_group))| {
            let mut row = named(name, &description);
            row.extend(is_group.then(|| ("group".to_owned(), true.into())));
            row
        }))
    }

    /// All variables with their types and values.
    pub fn list_variables(&self, as_json: bool) -> String {
        if as_json {
            return array(self.variables.iter().map(|variable| {
                let mut row = named(&variable.name, &variable.description);
                let ty = variable.type_name();
                row.extend((!ty.is_empty()).then(|| ("type".to_owned(), ty.into())));
                row.extend(variable.shown().map(|value| ("value".to_owned(), value.into())));
                row
            }));
        }
        let head = ["VARIABLE", "TYPE", "VALUE", "DESCRIPTION"].map(str::to_owned).to_vec();
        let rows = self.variables.iter().map(|variable| {
            let value = variable.shown().unwrap_or_else(|| "<null>".to_owned());
            vec![variable.name.clone(), variable.type_name(), value, variable.description.clone()]
        });
        table(std::iter::once(head).chain(rows).collect())
    }
}

impl Variable {
    /// Empty where no type was declared.
    fn type_name(&self) -> String {
        self.ty.as_ref().map(wanted_name).unwrap_or_default()
    }

    fn shown(&self) -> Option<String> {
        match &self.value {
            Value::Null(_) => None,
            value => Some(match convert(value, &Type::String) {
                Ok(Value::String(text)) => text.to_string(),
                _ if self.ty == Some(Type::Dynamic) => {
                    format!("{{\"value\":{},\"type\":{}}}", to_json(value), type_json(&value.type_of()))
                }
                _ => to_json(value),
            }),
        }
    }
}

/// A type as JSON tells it beside a value that may have any.
fn type_json(ty: &Type) -> String {
    let of = |kind: &str, inner: String| format!("[\"{kind}\",{inner}]");
    match ty {
        Type::List(element) => of("list", type_json(element)),
        Type::Set(element) => of("set", type_json(element)),
        Type::Map(element) => of("map", type_json(element)),
        Type::Tuple(types) => of("tuple", format!("[{}]", types.iter().map(type_json).collect::<Vec<_>>().join(","))),
        Type::Object(types) => {
            let attribute = |(name, ty): (&String, &Type)| format!("{}:{}", crate::print::quoted(name), type_json(ty));
            of("object", format!("{{{}}}", types.iter().map(attribute).collect::<Vec<_>>().join(",")))
        }
        Type::Optional(ty) => type_json(ty),
        Type::Bool | Type::Number | Type::String | Type::Dynamic => format!("\"{ty}\""),
    }
}

fn named(name: &str, description: &str) -> Map<String, Json> {
    let mut row = Map::from_iter([("name".to_owned(), Json::from(name))]);
    row.extend((!description.is_empty()).then(|| ("description".to_owned(), description.into())));
    row
}

fn array(rows: impl Iterator<Item = Map<String, Json>>) -> String {
    let rows: Vec<Json> = rows.map(Json::from).collect();
    if rows.is_empty() {
        return "null\n".to_owned();
    }
    format!("{}\n", escaped(&format!("{:#}", Json::from(rows))))
}

/// Columns that begin at multiples of eight; all but the last are filled up with tabs.
fn table(rows: Vec<Vec<String>>) -> String {
    let n_columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..n_columns)
        .map(|column| {
            let longest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            (longest + 1).next_multiple_of(8)
        })
        .collect();
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < n_columns {
                let n_missing = widths[column] - cell.chars().count();
                text.push_str(&"\t".repeat(n_missing.div_ceil(8)));
            }
        }
        text.push('\n');
    }
    text
}
