//! Functions of lists, tuples, maps and objects.

use std::collections::BTreeMap;

use super::{
    Answer, Function, Problem, any, fixed, items_of, nullable, number, number_of, str_of, text, texts, variadic, whole,
};
use crate::convert::{convert, unify};
use crate::number::Number;
use crate::program::Program;
use crate::value::{Type, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("chunklist", &[any("list"), number("size")], chunk_list),
    variadic("coalesce", &[], nullable("vals"), |a, _| {
        let types: Vec<Type> = a.iter().map(Value::type_of).collect();
        let common = unify(&types).filter(|_| !a.is_empty()).ok_or("all arguments must have the same type")?;
        let found = a.iter().find(|value| !value.is_null()).ok_or("no non-null arguments")?;
        Ok(convert(found, &common)?)
    }),
    variadic("coalescelist", &[], nullable("vals"), |a, _| {
        let is_filled = |value: &&Value| value.items().is_some_and(|items| !items.is_empty());
        a.iter().find(is_filled).cloned().ok_or_else(|| "no non-null arguments".into())
    }),
    fixed("compact", &[texts("list")], |a, _| {
        let items = a[0].items().unwrap_or_default().iter().filter_map(Value::as_str).filter(|text| !text.is_empty());
        Ok(Value::strings(items))
    }),
    variadic("concat", &[], any("seqs"), concat),
    fixed("contains", &[any("list"), any("value")], |a, _| {
        Ok(Value::Bool(items_of(a, 0)?.iter().any(|item| item.equals(&a[1]))))
    }),
    fixed("distinct", &[any("list")], distinct),
    fixed("element", &[any("list"), number("index")], |a, _| {
        let (items, index) = (items_of(a, 0)?, whole(a, 1)?);
        if items.is_empty() {
            return Err("cannot use element function with an empty list".into());
        }
        Ok(items[index.rem_euclid(items.len() as i64) as usize].clone())
    }),
    fixed("flatten", &[any("list")], |a, _| {
        items_of(a, 0)?;
        let mut flat = Vec::new();
        flatten(&a[0], &mut flat);
        Ok(Value::tuple(flat))
    }),
    fixed("hasindex", &[any("collection"), any("key")], |a, _| Ok(Value::Bool(item(&a[0], &a[1]).is_some()))),
    fixed("index", &[any("collection"), any("key")], |a, _| item(&a[0], &a[1]).ok_or_else(|| "invalid index".into())),
    fixed("indexof", &[any("list"), any("value")], |a, _| {
        let items = items_of(a, 0)?;
        if items.is_empty() {
            return Err("cannot search an empty list".into());
        }
        let found = items.iter().position(|item| item.equals(&a[1])).ok_or("item not found")?;
        Ok(Value::Number(Number::from_count(found)))
    }),
    fixed("keys", &[any("inputMap")], |a, _| {
        let keys = entries_of(a, 0)?.keys().map(Value::string).collect();
        Ok(match &a[0] {
            Value::Object(_) => Value::tuple(keys),
            _ => Value::list(Type::String, keys),
        })
    }),
    fixed("length", &[any("collection")], |a, _| match &a[0] {
        Value::Map(_, entries) => Ok(Value::Number(Number::from_count(entries.len()))),
        other => match other.items() {
            Some(items) => Ok(Value::Number(Number::from_count(items.len()))),
            None => Err("collection must be a list, a map or a tuple".into()),
        },
    }),
    fixed("lookup", &[any("inputMap"), text("key"), nullable("default")], |a, _| {
        Ok(entries_of(a, 0)?.get(str_of(&a[1])).unwrap_or(&a[2]).clone())
    }),
    variadic("merge", &[], nullable("maps"), merge),
    fixed("reverselist", &[any("list")], |a, _| {
        let items = items_of(a, 0)?.iter().rev().cloned().collect();
        Ok(same_kind(&a[0], items))
    }),
    fixed("slice", &[any("list"), number("start_index"), number("end_index")], |a, _| {
        let (items, start, end) = (items_of(a, 0)?, number_of(&a[1]).to_count(), number_of(&a[2]).to_count());
        let start = start.filter(|start| *start <= items.len());
        let Some(start) = start else {
            return Err(Problem::Argument(1, "start index must not be greater than the length of the list".to_owned()));
        };
        match end.filter(|end| (start..=items.len()).contains(end)) {
            Some(end) => Ok(same_kind(&a[0], items[start..end].to_vec())),
            None => Err(Problem::Argument(
                2,
                "end index must be between the start index and the length of the list".to_owned(),
            )),
        }
    }),
    fixed("values", &[any("mapping")], |a, _| {
        let values = entries_of(a, 0)?.values().cloned().collect();
        Ok(match &a[0] {
            Value::Map(element, _) => Value::list(element.clone(), values),
            _ => Value::tuple(values),
        })
    }),
    fixed("zipmap", &[texts("keys"), any("values")], |a, _| {
        let (keys, values) = (a[0].items().unwrap_or_default(), items_of(a, 1)?);
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

fn entries_of(a: &[Value], index: usize) -> Result<&BTreeMap<String, Value>, Problem> {
    a[index].entries().ok_or_else(|| Problem::Argument(index, "must have map or object type".to_owned()))
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
    let (items, size) = (items_of(a, 0)?, whole(a, 1)?);
    let Ok(size) = usize::try_from(size) else {
        return Err(Problem::Argument(1, "the size argument must be positive".to_owned()));
    };
    let chunks = items.chunks(if size == 0 { items.len().max(1) } else { size });
    Ok(Value::tuple(chunks.map(|chunk| same_kind(&a[0], chunk.to_vec())).collect()))
}

fn concat(a: &[Value], _: &Program<'_>) -> Answer {
    let mut all = Vec::new();
    for index in 0..a.len() {
        all.extend_from_slice(items_of(a, index)?);
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
    let items = items_of(a, 0)?;
    let types: Vec<Type> = items.iter().map(Value::type_of).collect();
    let element = unify(&types).ok_or_else(|| Problem::Argument(0, "list of any single type required".to_owned()))?;
    let mut distinct: Vec<Value> = Vec::new();
    for item in items {
        let item = convert(item, &element)?;
        if !distinct.contains(&item) {
            distinct.push(item);
        }
    }
    Ok(Value::list(element, distinct))
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
            let Ok(Value::Number(number)) = convert(key, &Type::Number) else { return None };
            items.get(number.to_count()?).cloned()
        }
        Value::Map(_, entries) => {
            let Ok(Value::String(name)) = convert(key, &Type::String) else { return None };
            entries.get(&*name).cloned()
        }
        _ => None,
    }
}

/// Later arguments win; nulls are passed over.
fn merge(a: &[Value], _: &Program<'_>) -> Answer {
    let mut merged = BTreeMap::new();
    for (index, value) in a.iter().enumerate().filter(|(_, value)| !value.is_null()) {
        merged.extend(entries_of(a, index)?.clone());
        debug_assert!(value.entries().is_some(), "just looked at");
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
