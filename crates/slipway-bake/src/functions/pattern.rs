//! Functions of regular expressions, in the notation of RE2.

use std::collections::BTreeMap;

use regex::{Captures, Regex, RegexBuilder};

use super::{Function, Problem, fixed, str_of, text};
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("regex", &[text("pattern"), text("string")], |a, _| {
        let pattern = pattern(a, 0)?;
        match pattern.captures(str_of(&a[1])) {
            Some(captures) => Ok(found(&pattern, &captures)),
            None => Err("pattern did not match any part of the given string".into()),
        }
    }),
    fixed("regexall", &[text("pattern"), text("string")], |a, _| {
        let pattern = pattern(a, 0)?;
        let all: Vec<Value> = pattern.captures_iter(str_of(&a[1])).map(|captures| found(&pattern, &captures)).collect();
        let element = all.first().map_or(crate::value::Type::Dynamic, Value::type_of);
        Ok(Value::list(element, all))
    }),
    fixed("regex_replace", &[text("str"), text("pattern"), text("replace")], |a, program| {
        let replaced = pattern(a, 1)?.replace_all(str_of(&a[0]), str_of(&a[2])).into_owned();
        let span = crate::diagnostic::Span::default();
        program.charge(replaced.len() as u64, span).map_err(|_| "the result is too long")?;
        Ok(Value::string(replaced))
    }),
];

/// A pattern may take that much memory; expressions that people write take some kilobytes.
const MAX_PATTERN_BYTES: usize = 1 << 20;

fn pattern(a: &[Value], index: usize) -> Result<Regex, Problem> {
    RegexBuilder::new(str_of(&a[index])).size_limit(MAX_PATTERN_BYTES).build().map_err(|problem| {
        let reason = problem.to_string();
        let last = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
        Problem::Argument(index, format!("invalid regexp pattern: {last}"))
    })
}

/// The text that matched, or what its groups took: by name, or in their order.
fn found(pattern: &Regex, captures: &Captures<'_>) -> Value {
    let group = |index: usize| captures.get(index).map_or_else(Value::null, |group| Value::string(group.as_str()));
    if captures.len() == 1 {
        return group(0);
    }
    let named: BTreeMap<String, Value> = pattern
        .capture_names()
        .enumerate()
        .filter_map(|(index, name)| Some((name?.to_owned(), group(index))))
        .collect();
    match named.is_empty() {
        true => Value::tuple((1..captures.len()).map(group).collect()),
        false => Value::object(named),
    }
}
