//! Functions of lists, tuples, maps and objects.

use std::collections::BTreeMap;

use super::{
    Answer, Function, Problem, any, fixed, items_of, list, nullable, number, sequence, str_of, text, texts, variadic,
    whole,
};
use crate::convert::{convert, unify};
use crate::number::Number;
use crate::program::Program;
use crate::value::{Type, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("chunklist", &[list("list"), number("size")], chunk_list),
    variadic("coalesce", &[], nullable("vals"), |a, _| {
        let types: Vec<Type> = a.iter().map(Value::type_of).collect();
        let common = unify(&types).filter(|_| !a.is_empty()).ok_or("all arguments must have the same type")?;
        let found = a.iter().find(|value| !value.is_null()).ok_or("no non-null arguments")?;
        Ok(convert(found, &common)?)
    }),
    variadic("coalescelist", &[], nullable("vals"), |a, _| {
        if a.is_empty() {
            return Err("at least one argument is required".into());
        }
        if a.iter().any(|value| sequence(value).is_none()) {
            return Err("coalescelist arguments must be lists or tuples".into());
        }
        a.iter().find(|value| !items_of(value).is_empty()).cloned().ok_or_else(|| "no non-null arguments".into())
    }),
    fixed("compact", &[texts("list")], |a, _| {
        let items = items_of(&a[0]).iter().filter_map(Value::as_str).filter(|text| !text.is_empty());
        Ok(Value::strings(items))
    }),
    variadic("concat", &[], any("seqs"), concat),
    fixed("contains", &[any("list"), any("value")], |a, _| {
        let items = a[0].items().ok_or("argument must be list, tuple, or set")?;
        Ok(Value::Bool(items.iter().any(|item| item.equals(&a[1]))))
    }),
    fixed("distinct", &[list("list")], distinct),
    fixed("element", &[any("list"), number("index")], |a, _| {
        let items = sequence(&a[0]).ok_or_else(|| format!("cannot read elements from {}", a[0].type_of()))?;
        let index = whole(a, 1).map_err(|problem| format!("invalid index: {problem}"))?;
        if items.is_empty() {
            return Err("cannot use element function with an empty list".into());
        }
        Ok(items[index.rem_euclid(items.len() as i64) as usize].clone())
    }),
    fixed("flatten", &[any("list")], |a, _| {
        a[0].items().ok_or("can only flatten lists, sets and tuples")?;
        let mut flat = Vec::new();
        flatten(&a[0], &mut flat);
        Ok(Value::tuple(flat))
    }),
    fixed("hasindex", &[any("collection"), any("key")], |a, _| {
        if !is_indexed(&a[0]) {
            return Err(NOT_INDEXED.into());
        }
        Ok(Value::Bool(item(&a[0], &a[1]).is_some()))
    }),
    fixed("index", &[any("collection"), any("key")], index),
    fixed("indexof", &[any("list"), any("value")], |a, _| {
        let items = sequence(&a[0]).ok_or("argument must be a list or tuple")?;
        if items.is_empty() {
            return Err("cannot search an empty list".into());
        }
        let found = items.iter().position(|item| item.equals(&a[1])).ok_or("item not found")?;
        Ok(Value::Number(Number::from_count(found)))
    }),
    fixed("keys", &[any("inputMap")], |a, _| {
        let problem = || Problem::Argument(0, "must have map or object type".to_owned());
        let keys = a[0].entries().ok_or_else(problem)?.keys().map(Value::string).collect();
        Ok(match &a[0] {
            Value::Object(_) => Value::tuple(keys),
            _ => Value::list(Type::String, keys),
        })
    }),
    fixed("length", &[any("collection")], |a, _| match &a[0] {
        Value::Map(_, entries) => Ok(Value::Number(Number::from_count(entries.len()))),
        other => match other.items() {
            Some(items) => Ok(Value::Number(Number::from_count(items.len()))),
            None => Err(NOT_INDEXED.into()),
        },
    }),
    fixed("lookup", &[any("inputMap"), text("key"), any("default")], |a, _| {
        let problem = || Problem::Argument(0, "lookup() requires a map as the first argument".to_owned());
        let found = a[0].entries().ok_or_else(problem)?.get(str_of(&a[1])).unwrap_or(&a[2]);
        match &a[0] {
            Value::Map(element, _) => {
                let problem = "the default value must have the same type as the map elements";
                convert(found, element).map_err(|_| Problem::Argument(2, problem.to_owned()))
            }
            _ => Ok(found.clone()),
        }
    }),
    variadic("merge", &[], nullable("maps"), merge),
    fixed("reverselist", &[any("list")], |a, _| {
        let problem = || format!("can only reverse list or tuple values, not {}", a[0].type_of());
        let items = a[0].items().ok_or_else(|| Problem::Argument(0, problem()))?.iter().rev().cloned().collect();
        Ok(same_kind(&a[0], items))
    }),
    fixed("slice", &[any("list"), number("start_index"), number("end_index")], |a, _| {
        let refused = |index: usize, problem: &str| Problem::Argument(index, problem.to_owned());
        if let Value::Set(..) = &a[0] {
            let problem = "cannot slice a set, because its elements do not have indices; explicitly convert to a list \
                           if the ordering of the result is not important";
            return Err(refused(0, problem));
        }
        let items = sequence(&a[0]).ok_or_else(|| refused(0, "must be a list or tuple value"))?;
        let position = |index: usize, name: &str| {
            let position =
                whole(a, index).map_err(|problem| refused(index, &format!("invalid {name} index: {problem}")))?;
            let position = usize::try_from(position);
            let position = position.map_err(|_| refused(index, &format!("{name} index must not be less than zero")))?;
            let too_far = format!("{name} index must not be greater than the length of the list");
            if position > items.len() { Err(refused(index, &too_far)) } else { Ok(position) }
        };
        let (start, end) = (position(1, "start")?, position(2, "end")?);
        if start > end {
            return Err(refused(1, "start index must not be greater than end index"));
        }
        Ok(same_kind(&a[0], items[start..end].to_vec()))
    }),
    fixed("values", &[any("mapping")], |a, _| {
        let values = a[0].entries().ok_or("values() requires a map as the first argument")?.values().cloned().collect();
        Ok(match &a[0] {
            Value::Map(element, _) => Value::list(element.clone(), values),
            _ => Value::tuple(values),
        })
    }),
    fixed("zipmap", &[texts("keys"), any("values")], |a, _| {
        let (keys, values) = (items_of(&a[0]), sequence(&a[1]));
        let values = values.ok_or("values argument must be a list or tuple value")?;
        if let Some(index) = keys.iter().position(Value::is_null) {
            return Err(format!("keys list has null value at index {index}").into());
        }
        if keys.len() != values.len() {
            let (n, m) = (keys.len(), values.len());
            return Err(format!("number of keys ({n}) does not match number of values ({m})").into());
        }
        let entries = keys.iter().map(|key| str_of(key).to_owned()).zip(values.iter().cloned()).collect();
        Ok(match &a[1] {
            Value::List(element, _) => Value::map(element.clone(), entries),
            _ => Value::object(entries),
        })
    }),
];

const NOT_INDEXED: &str = "collection must be a list, a map or a tuple";

fn is_indexed(value: &Value) -> bool {
    matches!(value, Value::Map(..)) || sequence(value).is_some()
}

/// A list stays a list, a tuple a tuple.
fn same_kind(model: &Value, items: Vec<Value>) -> Value {
    match model {
        Value::Tuple(_) => Value::tuple(items),
        Value::List(element, _) | Value::Set(element, _) => Value::list(element.clone(), items),
        _ => Value::tuple(items),
    }
}

fn chunk_list(a: &[Value], _: &Program<'_>) -> Answer {
    let items = items_of(&a[0]);
    let size = whole(a, 1).map_err(|problem| format!("invalid size: {problem}"))?;
    let size = usize::try_from(size).map_err(|_| "the size argument must be positive")?;
    let chunks = items.chunks(if size == 0 { items.len().max(1) } else { size });
    Ok(Value::list(a[0].type_of(), chunks.map(|chunk| same_kind(&a[0], chunk.to_vec())).collect()))
}

fn concat(a: &[Value], _: &Program<'_>) -> Answer {
    let mut all = Vec::new();
    for (index, list) in a.iter().enumerate() {
        let problem = || format!("all arguments must be lists or tuples; got {}", list.type_of());
        all.extend_from_slice(sequence(list).ok_or_else(|| Problem::Argument(index, problem()))?);
    }
    let types: Vec<Type> = a.iter().map(Value::type_of).collect();
    match (a.iter().all(|list| matches!(list, Value::List(..))), unify(&types)) {
        (true, Some(Type::List(element))) => {
            let items = all.iter().map(|item| convert(item, &element)).collect::<Result<_, _>>()?;
            Ok(Value::list(*element, items))
        }
        _ if a.is_empty() => Err("at least one argument is required".into()),
        _ => Ok(Value::tuple(all)),
    }
}

fn distinct(a: &[Value], _: &Program<'_>) -> Answer {
    let mut distinct: Vec<Value> = Vec::new();
    for item in items_of(&a[0]) {
        if !distinct.contains(item) {
            distinct.push(item.clone());
        }
    }
    Ok(same_kind(&a[0], distinct))
}

fn flatten(value: &Value, flat: &mut Vec<Value>) {
    match value.items() {
        Some(items) => items.iter().for_each(|item| flatten(item, flat)),
        None => flat.push(value.clone()),
    }
}

fn item(collection: &Value, key: &Value) -> Option<Value> {
    match collection {
        Value::List(_, items) | Value::Tuple(items) => {
            let Value::Number(number) = key else { return None };
            items.get(number.to_count()?).cloned()
        }
        Value::Map(_, entries) => entries.get(key.as_str()?).cloned(),
        _ => None,
    }
}

fn index(a: &[Value], _: &Program<'_>) -> Answer {
    let (collection, key) = (&a[0], &a[1]);
    match (collection, key) {
        (Value::Tuple(items), Value::Number(_)) => {
            let position = whole(a, 1).map_err(|problem| format!("invalid key for tuple: {problem}"))?;
            let item = usize::try_from(position).ok().and_then(|position| items.get(position));
            item.cloned().ok_or_else(|| format!("key must be between 0 and {} inclusive", items.len()).into())
        }
        (Value::Tuple(_), _) => Err("key for tuple must be number".into()),
        (Value::List(..), key) if !matches!(key, Value::Number(_)) => Err("key for list must be number".into()),
        (Value::Map(..), key) if key.as_str().is_none() => Err("key for map must be string".into()),
        (Value::List(..) | Value::Map(..), _) => item(collection, key).ok_or_else(|| "invalid index".into()),
        _ => Err(NOT_INDEXED.into()),
    }
}

/// Later arguments win; nulls are passed over.
fn merge(a: &[Value], _: &Program<'_>) -> Answer {
    let mut merged = BTreeMap::new();
    for value in a.iter().filter(|value| !value.is_null()) {
        let problem = || format!("arguments must be maps or objects, got {:?}", value.type_of().to_string());
        merged.extend(value.entries().ok_or_else(problem)?.clone());
    }
    let types: Vec<Type> = a.iter().filter(|value| !value.is_null()).map(Value::type_of).collect();
    match unify(&types) {
        Some(Type::Map(element)) if types.iter().all(|ty| matches!(ty, Type::Map(_))) => {
            let entries = merged.iter().map(|(key, value)| Ok((key.clone(), convert(value, &element)?)));
            Ok(Value::map((*element).clone(), entries.collect::<Result<_, String>>()?))
        }
        _ => Ok(Value::object(merged)),
    }
}
