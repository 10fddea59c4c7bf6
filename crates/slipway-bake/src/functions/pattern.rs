//! Functions of regular expressions, in the notation of RE2.

use std::collections::BTreeMap;
use std::fmt;

use regex::{Captures, Regex, RegexBuilder};

use super::{Function, Problem, fixed, str_of, text};
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("regex", &[text("pattern"), text("string")], |a, _| {
        let pattern = matched_pattern(a)?;
        match pattern.captures(str_of(&a[1])) {
            Some(captures) => Ok(found(&pattern, &captures)),
            None => Err("pattern did not match any part of the given string".into()),
        }
    }),
    fixed("regexall", &[text("pattern"), text("string")], |a, _| {
        let pattern = matched_pattern(a)?;
        let all: Vec<Value> = pattern.captures_iter(str_of(&a[1])).map(|captures| found(&pattern, &captures)).collect();
        let element = all.first().map_or(crate::value::Type::Dynamic, Value::type_of);
        Ok(Value::list(element, all))
    }),
    fixed("regex_replace", &[text("str"), text("pattern"), text("replace")], |a, program| {
        let replaced = compiled(str_of(&a[1])).map_err(|mistake| format!("error parsing regexp: {mistake}"))?;
        let replaced = replaced.replace_all(str_of(&a[0]), str_of(&a[2])).into_owned();
        let span = crate::diagnostic::Span::default();
        program.charge(replaced.len() as u64, span).map_err(|_| "the result is too long")?;
        Ok(Value::string(replaced))
    }),
];

/// A pattern may take that much memory; expressions that people write take some kilobytes.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// What is wrong with a pattern, and which part of it that is.
struct Mistake {
    what: &'static str,
    part: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}`", self.what, self.part)
    }
}

fn compiled(pattern: &str) -> Result<Regex, Mistake> {
    RegexBuilder::new(pattern).size_limit(MAX_PATTERN_BYTES).build().map_err(|_| mistake(pattern))
}

/// In the words of RE2.
fn mistake(pattern: &str) -> Mistake {
    use regex_syntax::Error;
    use regex_syntax::ast::ErrorKind;
    let error = match regex_syntax::parse(pattern) {
        Err(Error::Parse(error)) => error,
        Err(Error::Translate(error)) => {
            let part = pattern[error.span().start.offset..error.span().end.offset].to_owned();
            return Mistake { what: "invalid character class range", part };
        }
        _ => return Mistake { what: "expression too large", part: String::new() },
    };
    let span = error.span().start.offset..error.span().end.offset;
    let from_start = pattern.get(span.start..).unwrap_or_default();
    let (what, part) = match error.kind() {
        ErrorKind::GroupUnclosed => ("missing closing )", pattern),
        ErrorKind::GroupUnopened => ("unexpected )", pattern),
        ErrorKind::ClassUnclosed => ("missing closing ]", from_start),
        ErrorKind::ClassRangeInvalid => ("invalid character class range", &pattern[span]),
        ErrorKind::RepetitionMissing => {
            let operator = from_start.chars().next().map_or(0, char::len_utf8);
            ("missing argument to repetition operator", &from_start[..operator])
        }
        ErrorKind::RepetitionCountInvalid => ("invalid repeat count", &pattern[span]),
        ErrorKind::EscapeUnexpectedEof => ("trailing backslash at end of expression", ""),
        ErrorKind::EscapeUnrecognized | ErrorKind::UnsupportedBackreference => {
            ("invalid escape sequence", &pattern[span])
        }
        ErrorKind::GroupNameDuplicate { .. }
        | ErrorKind::GroupNameInvalid
        | ErrorKind::GroupNameUnexpectedEof
        | ErrorKind::GroupNameEmpty => {
            let group = pattern.get(..span.start).and_then(|before| before.rfind("(?")).unwrap_or(span.start);
            ("invalid named capture", &pattern[group..])
        }
        _ => ("invalid or unsupported Perl syntax", &pattern[span]),
    };
    Mistake { what, part: part.to_owned() }
}

/// The pattern of a function that gives what groups took: all of them have names, or none.
fn matched_pattern(a: &[Value]) -> Result<Regex, Problem> {
    let refused = |problem: String| Problem::Argument(0, format!("invalid regexp pattern: {problem}"));
    let pattern = compiled(str_of(&a[0])).map_err(|Mistake { what, part }| refused(format!("{what} in {part}")))?;
    let n_named = pattern.capture_names().flatten().count();
    if n_named > 0 && n_named + 1 < pattern.captures_len() {
        return Err(refused("cannot mix both named and unnamed capture groups".to_owned()));
    }
    Ok(pattern)
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
