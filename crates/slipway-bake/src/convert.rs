//! Which values stand for which others: conversions to a type, and the type that several have in common.

use std::collections::BTreeMap;

use crate::number::Number;
use crate::value::{Type, Value};

/// What messages call the type in a demand: `any type` instead of `dynamic`.
pub(crate) fn wanted_name(ty: &Type) -> String {
    match ty {
        Type::Dynamic => "any type".to_owned(),
        _ => ty.to_string(),
    }
}

/// `value` as a value of type `want`; the error says what is needed instead.
pub(crate) fn convert(value: &Value, want: &Type) -> Result<Value, String> {
    if *want == Type::Dynamic {
        return Ok(value.clone());
    }
    let refused = || mismatch(&value.type_of(), want);
    // Where the types would do, it is a single value that does not.
    let within =
        |problem: Option<String>| problem.filter(|_| may_convert(&value.type_of(), want)).unwrap_or_else(refused);
    if value.is_null() {
        return if may_convert(&value.type_of(), want) { Ok(Value::Null(want.clone())) } else { Err(refused()) };
    }
    match (value, want) {
        (Value::Bool(_), Type::Bool) | (Value::Number(_), Type::Number) | (Value::String(_), Type::String) => {
            Ok(value.clone())
        }
        (Value::Bool(is_true), Type::String) => Ok(Value::string(if *is_true { "true" } else { "false" })),
        (Value::Number(number), Type::String) => Ok(Value::string(number.to_string())),
        (Value::String(text), Type::Bool) => match &**text {
            "true" | "1" => Ok(Value::Bool(true)),
            "false" | "0" => Ok(Value::Bool(false)),
            "True" | "TRUE" | "False" | "FALSE" => {
                Err(format!("a bool is required; to convert from string, use lowercase \"{}\"", text.to_lowercase()))
            }
            _ => Err("a bool is required".to_owned()),
        },
        (Value::String(text), Type::Number) => {
            Number::parse(text).map(Value::Number).ok_or_else(|| "a number is required".to_owned())
        }
        (_, Type::List(element)) => {
            let items = value.items().ok_or_else(refused)?;
            let element = value.element_type().filter(|_| **element == Type::Dynamic).unwrap_or(element);
            let (element, items) = convert_items(items, element).map_err(within)?;
            Ok(Value::list(element, items))
        }
        (_, Type::Set(element)) => {
            let items = value.items().ok_or_else(refused)?;
            let element = value.element_type().filter(|_| **element == Type::Dynamic).unwrap_or(element);
            let (element, items) = convert_items(items, element).map_err(within)?;
            Ok(Value::set(element, items))
        }
        (_, Type::Map(element)) => {
            let entries = value.entries().ok_or_else(refused)?;
            let items: Vec<Value> = entries.values().cloned().collect();
            let (element, items) = convert_items(&items, element).map_err(within)?;
            Ok(Value::map(element, entries.keys().cloned().zip(items).collect()))
        }
        (Value::Tuple(items), Type::Tuple(types)) if items.len() == types.len() => {
            let items = items.iter().zip(types).map(|(item, ty)| convert(item, ty));
            Ok(Value::tuple(items.collect::<Result<_, _>>().map_err(|problem| within(Some(problem)))?))
        }
        (Value::Object(entries) | Value::Map(_, entries), Type::Object(types)) => {
            let mut converted = BTreeMap::new();
            for (name, ty) in types {
                let item = match entries.get(name) {
                    Some(item) => convert(item, ty.of_present()).map_err(|problem| within(Some(problem)))?,
                    None if ty.is_optional() => Value::Null(ty.of_present().clone()),
                    None => return Err(refused()),
                };
                converted.insert(name.clone(), item);
            }
            Ok(Value::object(converted))
        }
        _ => Err(refused()),
    }
}

/// Items as one type, which is found out if it is not said. The error is that of an item; there is none if the items
/// have no type in common.
fn convert_items(items: &[Value], want: &Type) -> Result<(Type, Vec<Value>), Option<String>> {
    let element = match want {
        Type::Dynamic => unify(&items.iter().map(Value::type_of).collect::<Vec<_>>()).ok_or(None)?,
        _ => want.clone(),
    };
    let items = items.iter().map(|item| convert(item, &element)).collect::<Result<_, _>>()?;
    Ok((element, items))
}

/// Why nothing of type `got` can be `want`.
fn mismatch(got: &Type, want: &Type) -> String {
    let required = || format!("{} required", wanted_name(want));
    let element_problem = |name: String, got: &Type, want: &Type| {
        (!may_convert(got, want)).then(|| format!("element {name}: {}", mismatch(got, want)))
    };
    match (got, want) {
        (Type::Tuple(types), Type::List(element) | Type::Set(element)) => types
            .iter()
            .enumerate()
            .find_map(|(index, ty)| element_problem(index.to_string(), ty, element))
            .unwrap_or_else(|| match element.as_ref() {
                Type::Dynamic => "all list elements must have the same type".to_owned(),
                ty => format!("all elements must be {}", wanted_name(ty)),
            }),
        (Type::Object(types), Type::Map(element)) => types
            .iter()
            .find_map(|(name, ty)| element_problem(format!("{name:?}"), ty, element))
            .unwrap_or_else(|| match element.as_ref() {
                Type::Dynamic => "all map elements must have the same type".to_owned(),
                ty => format!("all elements must be {}", wanted_name(ty)),
            }),
        (Type::Tuple(types), Type::Tuple(wanted)) if types.len() != wanted.len() => {
            format!("tuple must have exactly {} elements, not {}", wanted.len(), types.len())
        }
        (Type::Object(types), Type::Object(wanted)) => {
            let is_missing = |(name, ty): &(&String, &Type)| !ty.is_optional() && !types.contains_key(*name);
            let missing: Vec<String> = wanted.iter().filter(is_missing).map(|(name, _)| format!("{name:?}")).collect();
            match missing.len() {
                0 => wanted
                    .iter()
                    .find_map(|(name, ty)| {
                        let (got, ty) = (types.get(name)?, ty.of_present());
                        (!may_convert(got, ty)).then(|| format!("attribute {name:?}: {}", mismatch(got, ty)))
                    })
                    .unwrap_or_else(required),
                1 => format!("attribute {} is required", missing[0]),
                _ => format!("attributes {} are required", joined_with_and(&missing)),
            }
        }
        _ => required(),
    }
}

fn joined_with_and(words: &[String]) -> String {
    match words {
        [first, second] => format!("{first} and {second}"),
        [rest @ .., last] => format!("{}, and {last}", rest.join(", ")),
        [] => String::new(),
    }
}

/// Whether some value of type `got` can be `want`.
fn may_convert(got: &Type, want: &Type) -> bool {
    match (got, want) {
        _ if got == want => true,
        (_, Type::Dynamic) | (Type::Dynamic, _) => true,
        (Type::String, Type::Bool | Type::Number) | (Type::Bool | Type::Number, Type::String) => true,
        (Type::List(got) | Type::Set(got), Type::List(want) | Type::Set(want)) | (Type::Map(got), Type::Map(want)) => {
            may_convert(got, want)
        }
        (Type::Tuple(types), Type::List(want) | Type::Set(want)) => types.iter().all(|ty| may_convert(ty, want)),
        (Type::Object(types), Type::Map(want)) => types.values().all(|ty| may_convert(ty, want)),
        (Type::Tuple(types), Type::Tuple(wanted)) => {
            types.len() == wanted.len() && types.iter().zip(wanted).all(|(got, want)| may_convert(got, want))
        }
        (Type::Object(types), Type::Object(wanted)) => wanted.iter().all(|(name, want)| match types.get(name) {
            Some(got) => may_convert(got, want.of_present()),
            None => want.is_optional(),
        }),
        _ => false,
    }
}

/// The type that values of all these types can be converted to.
pub(crate) fn unify(types: &[Type]) -> Option<Type> {
    let mut types = types.iter();
    let Some(first) = types.next() else { return Some(Type::Dynamic) };
    types.try_fold(first.clone(), |common, ty| unify_two(&common, ty))
}

fn unify_two(a: &Type, b: &Type) -> Option<Type> {
    match (a, b) {
        _ if a == b => Some(a.clone()),
        (Type::Dynamic, other) | (other, Type::Dynamic) => Some(other.clone()),
        (Type::String, Type::Bool | Type::Number) | (Type::Bool | Type::Number, Type::String) => Some(Type::String),
        (Type::List(a), Type::List(b)) => Some(Type::List(Box::new(unify_two(a, b)?))),
        (Type::Set(a), Type::Set(b)) => Some(Type::Set(Box::new(unify_two(a, b)?))),
        (Type::Map(a), Type::Map(b)) => Some(Type::Map(Box::new(unify_two(a, b)?))),
        (Type::List(a), Type::Set(b)) | (Type::Set(a), Type::List(b)) => Some(Type::List(Box::new(unify_two(a, b)?))),
        (Type::Tuple(a), Type::Tuple(b)) if a.len() == b.len() => {
            let types: Option<Vec<Type>> = a.iter().zip(b).map(|(a, b)| unify_two(a, b)).collect();
            Some(Type::Tuple(types?))
        }
        (Type::Tuple(a), Type::Tuple(b)) => {
            let all: Vec<Type> = a.iter().chain(b).cloned().collect();
            Some(Type::List(Box::new(unify(&all)?)))
        }
        (Type::Tuple(types), Type::List(element)) | (Type::List(element), Type::Tuple(types)) => {
            let common = types.iter().try_fold((**element).clone(), |common, ty| unify_two(&common, ty))?;
            Some(Type::List(Box::new(common)))
        }
        (Type::Tuple(types), Type::Set(element)) | (Type::Set(element), Type::Tuple(types)) => {
            let common = types.iter().try_fold((**element).clone(), |common, ty| unify_two(&common, ty))?;
            Some(Type::Set(Box::new(common)))
        }
        (Type::Object(a), Type::Object(b)) if a.keys().eq(b.keys()) => {
            let pairs = a.iter().zip(b.values());
            let types: Option<BTreeMap<String, Type>> =
                pairs.map(|((name, a), b)| Some((name.clone(), unify_two(a, b)?))).collect();
            Some(Type::Object(types?))
        }
        (Type::Object(a), Type::Object(b)) => {
            let all: Vec<Type> = a.values().chain(b.values()).cloned().collect();
            Some(Type::Map(Box::new(unify(&all)?)))
        }
        (Type::Object(types), Type::Map(element)) | (Type::Map(element), Type::Object(types)) => {
            let common = types.values().try_fold((**element).clone(), |common, ty| unify_two(&common, ty))?;
            Some(Type::Map(Box::new(common)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stand_for_numbers_and_bools() {
        assert_eq!(convert(&Value::string("12"), &Type::Number), Ok(Value::int(12)));
        assert_eq!(convert(&Value::string("1"), &Type::Bool), Ok(Value::Bool(true)));
        assert_eq!(convert(&Value::Bool(true), &Type::String), Ok(Value::string("true")));
        assert_eq!(convert(&Value::string("x"), &Type::Bool), Err("a bool is required".to_owned()));
        assert_eq!(convert(&Value::int(1), &Type::Bool), Err("bool required".to_owned()));
    }

    #[test]
    fn messages_name_the_element() {
        let list = Type::List(Box::new(Type::String));
        let nested = Value::tuple(vec![Value::string("a"), Value::tuple(Vec::new())]);
        assert_eq!(convert(&nested, &list), Err("element 1: string required".to_owned()));
        assert_eq!(convert(&Value::string("a"), &list), Err("list of string required".to_owned()));
    }

    #[test]
    fn common_types() {
        let tuple = |types: &[Type]| Type::Tuple(types.to_vec());
        assert_eq!(unify(&[Type::String, Type::Number]), Some(Type::String));
        assert_eq!(unify(&[Type::Bool, Type::Number]), None);
        assert_eq!(unify(&[tuple(&[Type::String]), tuple(&[])]), Some(Type::List(Box::new(Type::String))));
    }
}
