//! Functions of sets.

use super::{Answer, Function, Problem, any, fixed, items_of, set, variadic};
use crate::convert::{convert, unify};
use crate::program::Program;
use crate::value::{Type, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("sethaselement", &[set("set"), any("elem")], |a, _| {
        Ok(Value::Bool(items_of(&a[0]).iter().any(|item| item.equals(&a[1]))))
    }),
    variadic("setintersection", &[set("first_set")], set("other_sets"), |a, _| {
        combine(a, |item, others| others.iter().all(|other| other.contains(item)))
    }),
    variadic("setproduct", &[], any("sets"), product),
    fixed("setsubtract", &[set("a"), set("b")], |a, _| {
        combine(a, |item, others| others.iter().all(|other| !other.contains(item)))
    }),
    variadic("setsymmetricdifference", &[set("first_set")], set("other_sets"), symmetric_difference),
    variadic("setunion", &[set("first_set")], set("other_sets"), |a, _| {
        let (element, sets) = as_sets(a)?;
        Ok(Value::set(element, sets.into_iter().flatten().collect()))
    }),
];

/// All arguments as sets of one type.
fn as_sets(a: &[Value]) -> Result<(Type, Vec<Vec<Value>>), Problem> {
    let types: Vec<Type> = a.iter().filter_map(Value::element_type).cloned().collect();
    let element = unify(&types).ok_or("given sets must all have compatible element types")?;
    let sets = a.iter().map(|set| {
        let items = items_of(set).iter().map(|item| convert(item, &element));
        items.collect::<Result<Vec<_>, _>>()
    });
    let sets = sets.collect::<Result<_, _>>()?;
    Ok((element, sets))
}

fn combine(a: &[Value], keeps: fn(&Value, &[Vec<Value>]) -> bool) -> Answer {
    let (element, mut sets) = as_sets(a)?;
    let first = sets.remove(0);
    Ok(Value::set(element, first.into_iter().filter(|item| keeps(item, &sets)).collect()))
}

fn symmetric_difference(a: &[Value], _: &Program<'_>) -> Answer {
    let (element, sets) = as_sets(a)?;
    let mut result: Vec<Value> = Vec::new();
    for set in sets {
        let (mut kept, added): (Vec<Value>, Vec<Value>) =
            (result.iter().filter(|item| !set.contains(item)).cloned().collect(), set);
        kept.extend(added.into_iter().filter(|item| !result.contains(item)));
        result = kept;
    }
    Ok(Value::set(element, result))
}

/// More combinations than that are taken for a mistake.
const MAX_PRODUCT: usize = 1 << 16;

fn product(a: &[Value], _: &Program<'_>) -> Answer {
    if a.len() < 2 {
        return Err("at least two arguments are required".into());
    }
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    let mut has_set = false;
    for (index, sequence) in a.iter().enumerate() {
        let problem = || Problem::Argument(index, "a set or a list is required".to_owned());
        has_set |= matches!(sequence, Value::Set(..));
        let list = match sequence {
            // Items of several types become what they have in common.
            Value::Tuple(_) => &convert(sequence, &Type::List(Box::new(Type::Dynamic)))?,
            _ => sequence,
        };
        let items = list.items().ok_or_else(problem)?;
        if rows.len().saturating_mul(items.len()) > MAX_PRODUCT {
            return Err(format!("there would be more than {MAX_PRODUCT} combinations").into());
        }
        rows = rows
            .iter()
            .flat_map(|row| items.iter().map(|item| [&row[..], std::slice::from_ref(item)].concat()))
            .collect();
    }
    let rows = rows.into_iter().map(Value::tuple);
    Ok(if has_set { Value::set(Type::Dynamic, rows.collect()) } else { Value::tuple(rows.collect()) })
}
