//! Into and over collections: attributes, indexes, splats, `for`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::{Evaluated, Scope, fail};
use crate::convert::{convert, unify};
use crate::diagnostic::Span;
use crate::number::Number;
use crate::program::Program;
use crate::syntax::{Expr, For, Step};
use crate::value::{Type, Value};

/// `value.name`.
pub(super) fn attribute(value: &Value, name: &str, span: Span) -> Evaluated<Value> {
    match value {
        Value::Null(_) => {
            let detail = "This value is null, so it does not have any attributes.";
            fail(span, "Attempt to get attribute from null value", detail)
        }
        Value::Object(entries) => entries.get(name).cloned().map_or_else(
            || {
                let detail = format!("This object does not have an attribute named {name:?}.");
                fail(span, "Unsupported attribute", detail)
            },
            Ok,
        ),
        Value::Map(_, entries) => entries.get(name).cloned().map_or_else(
            || {
                let detail = format!("This map does not have an element with the key {name:?}.");
                fail(span, "Missing map element", detail)
            },
            Ok,
        ),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let detail = format!("Can't access attributes on a primitive-typed value ({}).", value.type_of());
            fail(span, "Unsupported attribute", detail)
        }
        _ => fail(span, "Unsupported attribute", "This value does not have any attributes."),
    }
}

/// `value[key]`.
pub(super) fn index(value: &Value, key: &Value, span: Span) -> Evaluated<Value> {
    const SUMMARY: &str = "Invalid index";
    const UNKNOWN: &str = "The given key does not identify an element in this collection value";
    if value.is_null() {
        let detail = "This value is null, so it does not have any indices.";
        return fail(span, "Attempt to index null value", detail);
    }
    if key.is_null() {
        return fail(span, SUMMARY, "Can't use a null value as an indexing key.");
    }
    match value {
        Value::List(_, items) | Value::Tuple(items) => match convert(key, &Type::Number) {
            Ok(Value::Number(number)) => match number.to_count().and_then(|index| items.get(index)) {
                Some(item) => Ok(item.clone()),
                None => {
                    let reason = match number.is_negative() {
                        true => ": a negative number is not a valid index for a sequence",
                        false if number.floor() != number => {
                            ": indexing a sequence requires a whole number, but the given index has a fractional part"
                        }
                        false => "",
                    };
                    fail(span, SUMMARY, format!("{UNKNOWN}{reason}."))
                }
            },
            other => fail(span, SUMMARY, format!("{UNKNOWN}: {}.", other.err().unwrap_or_default())),
        },
        Value::Map(_, entries) | Value::Object(entries) => match convert(key, &Type::String) {
            Ok(Value::String(name)) => match entries.get(&*name) {
                Some(item) => Ok(item.clone()),
                None => fail(span, SUMMARY, format!("{UNKNOWN}.")),
            },
            other => fail(span, SUMMARY, format!("{UNKNOWN}: {}.", other.err().unwrap_or_default())),
        },
        Value::Set(..) => {
            let detail = "Elements of a set are identified only by their value and don't have any separate index or \
                          key to select with, so it's only possible to perform operations across all elements of the \
                          set.";
            fail(span, SUMMARY, detail)
        }
        _ => fail(span, SUMMARY, "This value does not have any indices."),
    }
}

/// Keys and values in the order of iteration: by index, or by key.
pub(super) fn entries(source: &Value, span: Span) -> Evaluated<Vec<(Value, Value)>> {
    match source {
        Value::List(_, items) | Value::Tuple(items) => {
            let indexed = items.iter().enumerate();
            Ok(indexed.map(|(i, item)| (Value::Number(Number::from_count(i)), item.clone())).collect())
        }
        Value::Set(_, items) => Ok(items.iter().map(|item| (item.clone(), item.clone())).collect()),
        Value::Map(_, entries) | Value::Object(entries) => {
            Ok(entries.iter().map(|(key, value)| (Value::string(key), value.clone())).collect())
        }
        Value::Null(_) => {
            let detail = "A null value cannot be used as the collection in a 'for' expression.";
            fail(span, "Iteration over null value", detail)
        }
        _ => {
            let detail =
                format!("A value of type {} cannot be used as the collection in a 'for' expression.", source.type_of());
            fail(span, "Iteration over non-iterable value", detail)
        }
    }
}

impl Program<'_> {
    pub(super) fn for_expression(&self, expression: &For, span: Span, scope: &Scope<'_>) -> Evaluated<Value> {
        let source = self.eval(&expression.collection, scope)?;
        let mut items = Vec::new();
        let mut object: BTreeMap<String, Value> = BTreeMap::new();
        let mut groups: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (key, value) in entries(&source, expression.collection.span)? {
            let mut inner = Scope::within(scope);
            inner.names.extend(expression.key_name.clone().map(|name| (name, key)));
            inner.names.insert(expression.value_name.clone(), value);
            self.charge(8, span)?;
            if let Some(condition) = &expression.condition
                && !self.includes(condition, &inner)?
            {
                continue;
            }
            let Some(key) = &expression.key else {
                items.push(self.eval(&expression.value, &inner)?);
                continue;
            };
            let name = self.for_key(key, &inner)?;
            let value = self.eval(&expression.value, &inner)?;
            if expression.groups {
                groups.entry(name).or_default().push(value);
                continue;
            }
            match object.entry(name) {
                Entry::Vacant(entry) => drop(entry.insert(value)),
                Entry::Occupied(entry) => {
                    let detail = format!(
                        "Two different items produced the key {:?} in this 'for' expression. If duplicates are \
                         expected, use the ellipsis (...) after the value expression to enable grouping by key.",
                        entry.key()
                    );
                    return fail(key.start(), "Duplicate object key", detail);
                }
            }
        }
        Ok(match (&expression.key, expression.groups) {
            (None, _) => Value::tuple(items),
            (Some(_), false) => Value::object(object),
            (Some(_), true) => {
                Value::object(groups.into_iter().map(|(name, values)| (name, Value::tuple(values))).collect())
            }
        })
    }

    fn includes(&self, condition: &Expr, scope: &Scope<'_>) -> Evaluated<bool> {
        let value = self.eval(condition, scope)?;
        match convert(&value, &Type::Bool) {
            Ok(Value::Bool(is_true)) => Ok(is_true),
            Ok(_) => {
                let detail = "The value of the 'if' clause must not be null.";
                fail(condition.span, "Condition is null", detail)
            }
            Err(problem) => {
                let detail = format!("The 'if' clause value is invalid: {problem}.");
                fail(condition.span, "Invalid 'for' condition", detail)
            }
        }
    }

    fn for_key(&self, key: &Expr, scope: &Scope<'_>) -> Evaluated<String> {
        let value = self.eval(key, scope)?;
        match convert(&value, &Type::String) {
            Ok(Value::String(name)) => Ok(name.to_string()),
            Ok(_) => {
                let detail = "Key expression in 'for' expression must not produce a null value.";
                fail(key.start(), "Invalid object key", detail)
            }
            Err(problem) => {
                let detail = format!("The key expression produced an invalid result: {problem}.");
                fail(key.start(), "Invalid object key", detail)
            }
        }
    }

    /// `source[*].steps`; a value that is no sequence counts as one item, null as none.
    pub(super) fn splat(&self, source: &Expr, steps: &[Step], scope: &Scope<'_>) -> Evaluated<Value> {
        let value = self.eval(source, scope)?;
        if value.is_null() {
            return Ok(Value::tuple(Vec::new()));
        }
        let items = value.items().map_or_else(|| vec![value.clone()], <[Value]>::to_vec);
        let items: Vec<Value> =
            items.into_iter().map(|item| self.steps(item, steps, scope)).collect::<Evaluated<_>>()?;
        let types: Vec<Type> = items.iter().map(Value::type_of).collect();
        match (&value, unify(&types)) {
            (Value::List(..) | Value::Set(..), Some(element)) => Ok(Value::list(element, items)),
            _ => Ok(Value::tuple(items)),
        }
    }
}
