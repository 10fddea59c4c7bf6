//! What can templates call?

use std::cmp::Ordering;

use serde_json::Value;

use super::Dialect;

/// A function of the template language or one that Docker adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    And,
    Eq,
    Ge,
    Gt,
    Html,
    Index,
    Join,
    Js,
    Json,
    Le,
    Len,
    Lower,
    Lt,
    Ne,
    Not,
    Or,
    Pad,
    Print,
    Printf,
    Println,
    Slice,
    Split,
    Title,
    Truncate,
    Upper,
    UrlQuery,
}

const NAMES: [(&str, Function); 26] = [
    ("and", Function::And),
    ("eq", Function::Eq),
    ("ge", Function::Ge),
    ("gt", Function::Gt),
    ("html", Function::Html),
    ("index", Function::Index),
    ("join", Function::Join),
    ("js", Function::Js),
    ("json", Function::Json),
    ("le", Function::Le),
    ("len", Function::Len),
    ("lower", Function::Lower),
    ("lt", Function::Lt),
    ("ne", Function::Ne),
    ("not", Function::Not),
    ("or", Function::Or),
    ("pad", Function::Pad),
    ("print", Function::Print),
    ("printf", Function::Printf),
    ("println", Function::Println),
    ("slice", Function::Slice),
    ("split", Function::Split),
    ("title", Function::Title),
    ("truncate", Function::Truncate),
    ("upper", Function::Upper),
    ("urlquery", Function::UrlQuery),
];

/// The widest that a value is filled up to.
const MAX_WIDTH: usize = 10_000;

impl Function {
    pub(super) fn named(name: &str) -> Option<Function> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, function)| *function)
    }

    /// Whether templates of `dialect` can call it.
    pub(super) fn is_of(self, dialect: Dialect) -> bool {
        match dialect {
            Dialect::Docker => true,
            Dialect::Imagetools => self == Function::Json || !self.is_for_cells(),
        }
    }

    pub(super) fn name(self) -> &'static str {
        NAMES.iter().find(|(_, function)| *function == self).map_or("", |(name, _)| name)
    }

    /// Whether it changes how a cell looks: headers of tables are left as they are.
    pub(super) fn is_for_cells(self) -> bool {
        use Function as F;
        matches!(self, F::Json | F::Split | F::Join | F::Title | F::Lower | F::Upper | F::Truncate | F::Pad)
    }

    /// Whether `argument` decides the result, so that those behind it are not needed.
    pub(super) fn is_decided_by(self, argument: &Value) -> bool {
        match self {
            Function::And => !is_true(argument),
            Function::Or => is_true(argument),
            _ => false,
        }
    }

    /// The result; the error is a text as Go has it.
    pub(super) fn call(self, arguments: &[Value]) -> Result<Value, String> {
        use Function as F;
        let text = |index: usize| arguments.get(index).map(printed).unwrap_or_default();
        self.check_count(arguments.len())?;
        Ok(match self {
            F::And => arguments.iter().find(|value| !is_true(value)).or(arguments.last()).cloned().unwrap_or_default(),
            F::Or => arguments.iter().find(|value| is_true(value)).or(arguments.last()).cloned().unwrap_or_default(),
            F::Not => Value::Bool(!is_true(&arguments[0])),
            F::Eq => Value::Bool(arguments[1..].iter().any(|other| is_equal(&arguments[0], other))),
            F::Ne => Value::Bool(!is_equal(&arguments[0], &arguments[1])),
            F::Lt => Value::Bool(ordering(arguments)?.is_lt()),
            F::Le => Value::Bool(ordering(arguments)?.is_le()),
            F::Gt => Value::Bool(ordering(arguments)?.is_gt()),
            F::Ge => Value::Bool(ordering(arguments)?.is_ge()),
            F::Len => Value::from(length(&arguments[0])?),
            F::Index => arguments[1..].iter().try_fold(arguments[0].clone(), item)?,
            F::Slice => slice(arguments)?,
            F::Json => Value::String(json_text(&arguments[0])),
            F::Lower => Value::String(text(0).to_lowercase()),
            F::Upper => Value::String(text(0).to_uppercase()),
            F::Title => Value::String(title(&text(0))),
            F::Split => text(0).split(text(1).as_str()).map(str::to_owned).collect::<Vec<_>>().into(),
            F::Join => {
                let Value::Array(items) = &arguments[0] else {
                    return Err(format!("expected a list, not {}", type_name(&arguments[0])));
                };
                Value::String(items.iter().map(printed).collect::<Vec<_>>().join(&text(1)))
            }
            F::Truncate => Value::String(truncated(text(0), number(&arguments[1])?)),
            F::Pad => match text(0) {
                empty if empty.is_empty() => Value::String(empty),
                text => {
                    let blanks = |n: usize| " ".repeat(n.min(MAX_WIDTH));
                    Value::String(blanks(number(&arguments[1])?) + &text + &blanks(number(&arguments[2])?))
                }
            },
            F::Println => Value::String(arguments.iter().map(printed).collect::<Vec<_>>().join(" ") + "\n"),
            F::Print => Value::String(print(arguments)),
            F::Html => Value::String(for_html(&print(arguments))),
            F::Js => Value::String(for_javascript(&print(arguments))),
            F::UrlQuery => Value::String(for_url(&print(arguments))),
            F::Printf => Value::String(formatted(&text(0), &arguments[1..])),
        })
    }

    fn check_count(self, found: usize) -> Result<(), String> {
        use Function as F;
        let (min, max) = match self {
            F::And | F::Or | F::Index | F::Slice | F::Printf => (1, usize::MAX),
            F::Print | F::Println | F::Html | F::Js | F::UrlQuery => (0, usize::MAX),
            F::Eq => (2, usize::MAX),
            F::Pad => (3, 3),
            F::Ne | F::Lt | F::Le | F::Gt | F::Ge | F::Split | F::Join | F::Truncate => (2, 2),
            F::Not | F::Len | F::Json | F::Lower | F::Upper | F::Title => (1, 1),
        };
        match (min..=max).contains(&found) {
            true => Ok(()),
            false => Err(format!("wrong number of args for {}: want {min} got {found}", self.name())),
        }
    }
}

/// Whether `if` takes the value for true.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is) => *is,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// The value as `{{.}}` prints it: Go's `%v`. A list that is not there prints as one without items.
pub(super) fn printed(value: &Value) -> String {
    match value {
        Value::Null => "[]".to_owned(),
        Value::Bool(is) => is.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(printed).collect::<Vec<_>>().join(" ")),
        // Only sets have such items, which are structs without fields.
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => {
            let mut entries: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{}", printed(value))).collect();
            entries.sort();
            format!("map[{}]", entries.join(" "))
        }
    }
}

/// JSON as Go writes it: compact, and safe inside HTML.
pub(crate) fn json_text(value: &Value) -> String {
    value.to_string().replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
}

pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn is_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

fn ordering(arguments: &[Value]) -> Result<Ordering, String> {
    let found = match (&arguments[0], &arguments[1]) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().zip(b.as_f64()).and_then(|(a, b)| a.partial_cmp(&b)),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    };
    found.ok_or_else(|| "incompatible types for comparison".to_owned())
}

fn length(value: &Value) -> Result<usize, String> {
    match value {
        Value::Null => Ok(0),
        Value::String(text) => Ok(text.len()),
        Value::Array(items) => Ok(items.len()),
        Value::Object(map) => Ok(map.len()),
        Value::Bool(_) | Value::Number(_) => Err(format!("len of type {}", type_name(value))),
    }
}

fn item(value: Value, key: &Value) -> Result<Value, String> {
    match (value, key) {
        (Value::Object(mut map), Value::String(key)) => {
            Ok(map.get_mut(key).map_or_else(|| Value::String(String::new()), Value::take))
        }
        (Value::Null, Value::String(_)) => Ok(Value::String(String::new())),
        (Value::Array(mut items), key) => {
            let index = number(key)?;
            let item = items.get_mut(index).map(Value::take);
            item.ok_or_else(|| format!("index out of range: {index}"))
        }
        (Value::String(text), key) => {
            let index = number(key)?;
            let byte = text.as_bytes().get(index).copied();
            byte.map(Value::from).ok_or_else(|| format!("index out of range: {index}"))
        }
        (Value::Null, _) => Err("index of untyped nil".to_owned()),
        (value, _) => Err(format!("can't index item of type {}", type_name(&value))),
    }
}

fn slice(arguments: &[Value]) -> Result<Value, String> {
    let length = length(&arguments[0])?;
    let start = arguments.get(1).map_or(Ok(0), number)?;
    let end = arguments.get(2).map_or(Ok(length), number)?;
    let out_of_range = || format!("index out of range: {}", end.max(start));
    match &arguments[0] {
        Value::String(text) => {
            let part = text.as_bytes().get(start..end).ok_or_else(out_of_range)?;
            Ok(Value::String(String::from_utf8_lossy(part).into_owned()))
        }
        Value::Array(items) => Ok(Value::Array(items.get(start..end).ok_or_else(out_of_range)?.to_vec())),
        other => Err(format!("can't slice item of type {}", type_name(other))),
    }
}

/// Each word begins with a capital letter.
fn title(text: &str) -> String {
    let mut before = ' ';
    let capital = |c: char| {
        let is_first = !before.is_alphanumeric() && before != '_' && before != '\'';
        before = c;
        if is_first { c.to_uppercase().collect::<String>() } else { c.to_string() }
    };
    text.chars().map(capital).collect()
}

/// The first `n_bytes`.
fn truncated(text: String, n_bytes: usize) -> String {
    match text.as_bytes().get(..n_bytes) {
        Some(start) => String::from_utf8_lossy(start).into_owned(),
        None => text,
    }
}

fn number(value: &Value) -> Result<usize, String> {
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| match value {
        Value::Number(number) => format!("index out of range: {number}"),
        other => format!("expected integer; found {}", printed(other)),
    })
}

/// A blank stands between values of which neither is a text.
fn print(arguments: &[Value]) -> String {
    let mut text = String::new();
    for (index, value) in arguments.iter().enumerate() {
        if index > 0 && !value.is_string() && !arguments[index - 1].is_string() {
            text.push(' ');
        }
        text.push_str(&printed(value));
    }
    text
}

/// Text that HTML shows as it is.
fn for_html(text: &str) -> String {
    let letter = |c| match c {
        '"' => "&#34;".to_owned(),
        '\'' => "&#39;".to_owned(),
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '\0' => '\u{fffd}'.to_string(),
        c => c.to_string(),
    };
    text.chars().map(letter).collect()
}

/// Text that can stand in a literal of JavaScript.
fn for_javascript(text: &str) -> String {
    let letter = |c: char| match c {
        '\\' | '\'' | '"' => format!("\\{c}"),
        '<' | '>' | '&' | '=' => format!("\\u{:04X}", u32::from(c)),
        c if c < ' ' => format!("\\u{:04X}", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(letter).collect()
}

/// Text that can stand in the query of a URL.
fn for_url(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b' ' => "+".to_owned(),
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// `printf` with `%s %v %d %q %t %f %%`, a width, and the flags `-` and `0`.
fn formatted(format: &str, arguments: &[Value]) -> String {
    let mut text = String::new();
    let mut values = arguments.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let (mut is_left, mut has_zeros, mut width) = (false, false, 0_usize);
        while let Some(flag) = chars.next_if(|c| *c == '-' || *c == '0') {
            (is_left, has_zeros) = (is_left || flag == '-', has_zeros || flag == '0');
        }
        while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
            width = (width * 10 + digit as usize).min(MAX_WIDTH);
            chars.next();
        }
        let verb = match chars.next() {
            None => {
                text.push_str("%!(NOVERB)");
                break;
            }
            Some('%') => {
                text.push('%');
                continue;
            }
            Some(verb) => verb,
        };
        let cell = match values.next() {
            None => format!("%!{verb}(MISSING)"),
            Some(value) => verb_text(verb, value),
        };
        text.push_str(&match (is_left, has_zeros) {
            (true, _) => format!("{cell:<width$}"),
            (false, true) => format!("{cell:0>width$}"),
            (false, false) => format!("{cell:>width$}"),
        });
    }
    text
}

fn verb_text(verb: char, value: &Value) -> String {
    match (verb, value) {
        ('q', Value::String(text)) => format!("{text:?}"),
        ('f', Value::Number(number)) => format!("{:.6}", number.as_f64().unwrap_or_default()),
        ('d', Value::Number(_)) | ('t', Value::Bool(_)) | ('v' | 's', _) => printed(value),
        (verb, value) => format!("%!{verb}({}={})", type_name(value), printed(value)),
    }
}
