//! Functions of texts. Lengths and positions count what people see as one character.

use unicode_segmentation::UnicodeSegmentation;

use super::{Answer, Function, Problem, any, fixed, items_of, number, str_of, text, texts, variadic, whole};
use crate::program::Program;
use crate::value::{Type, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("basename", &[text("path")], |a, _| Ok(Value::string(base_name(str_of(&a[0]))))),
    fixed("dirname", &[text("path")], |a, _| Ok(Value::string(dir_name(str_of(&a[0]))))),
    fixed("chomp", &[text("str")], |a, _| Ok(Value::string(str_of(&a[0]).trim_end_matches(['\n', '\r'])))),
    fixed("homedir", &[], |_, program| Ok(Value::string(program.inputs.home))),
    fixed("indent", &[number("spaces"), text("str")], |a, _| {
        let n_blanks = usize::try_from(whole(a, 0)?).map_err(|_| "the number of spaces must not be negative")?;
        let line_start = format!("\n{}", " ".repeat(n_blanks.min(1 << 16)));
        Ok(Value::string(str_of(&a[1]).replace('\n', &line_start)))
    }),
    variadic("join", &[text("separator")], any("lists"), join),
    fixed("lower", &[text("str")], |a, _| Ok(Value::string(lower(str_of(&a[0]))))),
    fixed("replace", &[text("str"), text("substr"), text("replace")], |a, program| {
        let (text, from, to) = (str_of(&a[0]), str_of(&a[1]), str_of(&a[2]));
        let n_found = (text.len() + 1) as u64;
        program
            .charge(n_found * to.len() as u64, crate::diagnostic::Span::default())
            .map_err(|_| "the result is too long")?;
        Ok(Value::string(text.replace(from, to)))
    }),
    fixed("reverse", &[text("str")], |a, _| Ok(Value::string(str_of(&a[0]).graphemes(true).rev().collect::<String>()))),
    fixed("split", &[text("separator"), text("str")], |a, _| Ok(split(str_of(&a[0]), str_of(&a[1])))),
    fixed("strlen", &[text("str")], |a, _| Ok(Value::int(str_of(&a[0]).graphemes(true).count() as i64))),
    fixed("substr", &[text("str"), number("offset"), number("length")], substr),
    fixed("title", &[text("str")], |a, _| Ok(Value::string(title(str_of(&a[0]))))),
    fixed("trim", &[text("str"), text("cutset")], |a, _| {
        let cut: Vec<char> = str_of(&a[1]).chars().collect();
        Ok(Value::string(str_of(&a[0]).trim_matches(&cut[..])))
    }),
    fixed("trimprefix", &[text("str"), text("prefix")], |a, _| {
        let text = str_of(&a[0]);
        Ok(Value::string(text.strip_prefix(str_of(&a[1])).unwrap_or(text)))
    }),
    fixed("trimspace", &[text("str")], |a, _| Ok(Value::string(str_of(&a[0]).trim()))),
    fixed("trimsuffix", &[text("str"), text("suffix")], |a, _| {
        let text = str_of(&a[0]);
        Ok(Value::string(text.strip_suffix(str_of(&a[1])).unwrap_or(text)))
    }),
    fixed("upper", &[text("str")], |a, _| Ok(Value::string(str_of(&a[0]).chars().map(upper).collect::<String>()))),
    fixed("sort", &[texts("list")], |a, _| {
        let items = items_of(&a[0]);
        if let Some(index) = items.iter().position(Value::is_null) {
            return Err(format!("given list element {index} is null; a null string cannot be sorted").into());
        }
        let mut items: Vec<&str> = items.iter().map(str_of).collect();
        items.sort_unstable();
        Ok(Value::strings(items))
    }),
];

fn join(a: &[Value], _: &Program<'_>) -> Answer {
    if a.len() < 2 {
        return Err("at least one list is required".into());
    }
    let mut words = Vec::new();
    for (index, list) in a.iter().enumerate().skip(1) {
        let strings = crate::convert::convert(list, &Type::List(Box::new(Type::String)));
        let strings = strings.map_err(|problem| Problem::Argument(index, problem))?;
        for (position, item) in strings.items().unwrap_or_default().iter().enumerate() {
            match item.as_str() {
                Some(word) => words.push(word.to_owned()),
                None => {
                    let problem = format!("element {position} is null; cannot concatenate null values");
                    return Err(Problem::Argument(index, problem));
                }
            }
        }
    }
    Ok(Value::string(words.join(str_of(&a[0]))))
}

fn split(separator: &str, text: &str) -> Value {
    if separator.is_empty() {
        let characters: Vec<String> = text.chars().map(String::from).collect();
        return Value::strings(characters);
    }
    Value::strings(text.split(separator))
}

/// A negative offset counts from the end; a negative length is the whole rest, as is one of zero after such an offset.
fn substr(a: &[Value], _: &Program<'_>) -> Answer {
    let (text, offset, length) = (str_of(&a[0]), whole(a, 1)?, whole(a, 2)?);
    let characters: Vec<&str> = text.graphemes(true).collect();
    let n = characters.len() as i64;
    let start = if offset < 0 { (n + offset).max(0) } else { offset.min(n) };
    let end = if length < 0 || length == 0 && offset < 0 { n } else { start.saturating_add(length).min(n) };
    Ok(Value::string(characters[start as usize..end as usize].concat()))
}

/// One letter for each: those that would become several stay.
fn upper(letter: char) -> char {
    let mut letters = letter.to_uppercase();
    letters.next().filter(|_| letters.next().is_none()).unwrap_or(letter)
}

fn lower(text: &str) -> String {
    text.chars().filter_map(|letter| letter.to_lowercase().next()).collect()
}

/// The first letter of each word in upper case; a word goes on over letters, digits and `_`.
fn title(text: &str) -> String {
    let mut is_within = false;
    let mut result = String::with_capacity(text.len());
    for character in text.chars() {
        match is_within {
            true => result.push(character),
            false => result.push(upper(character)),
        }
        is_within = character.is_alphanumeric() || character == '_';
    }
    result
}

/// The path without `.`, `..` and double slashes, as far as that can be done on paper; `.` if nothing is left.
pub(crate) fn clean_path(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if is_absolute => {}
            _ => parts.push(part),
        }
    }
    match (is_absolute, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

fn base_name(path: &str) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    let trimmed = path.trim_end_matches('/');
    match trimmed.rsplit('/').next() {
        Some("") | None => "/".to_owned(),
        Some(name) => name.to_owned(),
    }
}

fn dir_name(path: &str) -> String {
    clean_path(path.rfind('/').map_or("", |slash| &path[..=slash]))
}
