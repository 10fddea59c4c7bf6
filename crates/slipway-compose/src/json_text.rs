//! Writes JSON byte for byte as the reference does.

use crate::go_number;
use crate::shown::{Entry, Format, Shown};

/// With two blanks a level and without a last line end.
pub(crate) fn write(shown: &Shown) -> String {
    let mut text = String::new();
    write_value(shown, Some(0), &mut text);
    text
}

/// On one line, without blanks.
pub(crate) fn compact(shown: &Shown) -> String {
    let mut text = String::new();
    write_value(shown, None, &mut text);
    text
}

fn new_line(indent: Option<usize>, text: &mut String) {
    if let Some(indent) = indent {
        text.push('\n');
        text.push_str(&" ".repeat(indent));
    }
}

fn write_value(value: &Shown, indent: Option<usize>, text: &mut String) {
    let inner = indent.map(|indent| indent + 2);
    match value {
        Shown::Null => text.push_str("null"),
        Shown::Bool(flag) => text.push_str(&flag.to_string()),
        Shown::Int(number) => text.push_str(&number.to_string()),
        Shown::Large(number) => text.push_str(&number.to_string()),
        Shown::Float(number) => text.push_str(&go_number::json(*number)),
        Shown::Text(value) | Shown::Time(value) => write_text(value, text),
        Shown::List(items) if items.is_empty() => text.push_str("[]"),
        Shown::List(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                new_line(inner, text);
                write_value(item, inner, text);
            }
            new_line(indent, text);
            text.push(']');
        }
        Shown::Map(entries) => write_map(entries, indent, inner, text),
    }
}

fn write_map(entries: &[Entry], indent: Option<usize>, inner: Option<usize>, text: &mut String) {
    let shown: Vec<&Entry> = entries.iter().filter(|entry| entry.format != Format::Yaml).collect();
    if shown.is_empty() {
        text.push_str("{}");
        return;
    }
    text.push('{');
    for (index, entry) in shown.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        new_line(inner, text);
        write_text(&entry.key, text);
        text.push_str(if inner.is_some() { ": " } else { ":" });
        write_value(&entry.value, inner, text);
    }
    new_line(indent, text);
    text.push('}');
}

fn write_text(value: &str, text: &mut String) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..'\u{20}' => {
                text.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}
