//! Writes YAML byte for byte as the reference does: two blanks a level, texts without quotes where that is safe.

use std::cmp::Ordering;

use crate::go_number;
use crate::scalar;
use crate::shown::{Entry, Format, Shown};
use crate::tree::Value;

/// The document.
pub(crate) fn write(shown: &Shown) -> String {
    let mut text = String::new();
    match shown {
        Shown::Map(entries) if entries.iter().any(is_shown) => write_map(entries, 0, false, &mut text),
        Shown::List(items) if !items.is_empty() => write_list(items, 0, &mut text),
        _ => text.push_str(&format!("{}\n", inline(shown, 0))),
    }
    text
}

fn is_shown(entry: &Entry) -> bool {
    entry.format != Format::Json
}

/// `continues` says that the first key stands on a line that is begun, after `- `.
fn write_map(entries: &[Entry], indent: usize, continues: bool, text: &mut String) {
    for (index, entry) in entries.iter().filter(|entry| is_shown(entry)).enumerate() {
        if index > 0 || !continues {
            text.push_str(&" ".repeat(indent));
        }
        text.push_str(&key(&entry.key));
        text.push(':');
        write_value(&entry.value, indent, text);
    }
}

fn write_value(value: &Shown, indent: usize, text: &mut String) {
    match value {
        Shown::Map(entries) if entries.iter().any(is_shown) => {
            text.push('\n');
            write_map(entries, indent + 2, false, text);
        }
        Shown::List(items) if !items.is_empty() => {
            text.push('\n');
            write_list(items, indent + 2, text);
        }
        _ => text.push_str(&format!(" {}\n", inline(value, indent + 2))),
    }
}

fn write_list(items: &[Shown], indent: usize, text: &mut String) {
    for item in items {
        text.push_str(&" ".repeat(indent));
        text.push('-');
        match item {
            Shown::Map(entries) if entries.iter().any(is_shown) => {
                text.push(' ');
                write_map(entries, indent + 2, true, text);
            }
            Shown::List(inner) if !inner.is_empty() => {
                // The items of a list in a list begin on the line of the outer one.
                let mut block = String::new();
                write_list(inner, indent + 2, &mut block);
                text.push_str(&block[indent + 1..]);
            }
            _ => text.push_str(&format!(" {}\n", inline(item, indent + 2))),
        }
    }
}

/// A value that needs no lines of its own, but for texts of several lines, which are indented by `indent`.
fn inline(value: &Shown, indent: usize) -> String {
    match value {
        Shown::Null => "null".to_owned(),
        Shown::Bool(flag) => flag.to_string(),
        Shown::Int(number) => number.to_string(),
        Shown::Large(number) => number.to_string(),
        Shown::Float(number) => go_number::yaml(*number),
        Shown::Time(time) => time.clone(),
        Shown::Text(text) => scalar_text(text, Some(indent)),
        Shown::List(_) => "[]".to_owned(),
        Shown::Map(_) => "{}".to_owned(),
    }
}

fn key(text: &str) -> String {
    scalar_text(text, None)
}

/// A text in the style that the reference chooses; `None` for keys, which stay on one line.
fn scalar_text(text: &str, indent: Option<usize>) -> String {
    let analysis = Analysis::of(text);
    let has_lines = text.contains('\n');
    if let Some(indent) = indent.filter(|_| has_lines && analysis.may_be_block) {
        return literal(text, indent);
    }
    if has_lines || !is_text_when_plain(text) {
        return double_quoted(text);
    }
    if analysis.may_be_plain {
        return text.to_owned();
    }
    match analysis.may_be_single_quoted {
        true => format!("'{}'", text.replace('\'', "''")),
        false => double_quoted(text),
    }
}

/// Whether a reader would take the word for a text if it had no quotes, in YAML 1.1 too.
fn is_text_when_plain(text: &str) -> bool {
    let is_old_flag = matches!(
        text,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF"
    );
    matches!(scalar::resolve(text), Value::Text(_)) && !is_old_flag && !is_sexagesimal(text)
}

/// `190:20:30`, a number of YAML 1.1.
fn is_sexagesimal(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut parts = digits.split(':');
    let first = parts.next().unwrap_or_default();
    let is_first =
        first.starts_with(|c: char| c.is_ascii_digit()) && first.chars().all(|c| c.is_ascii_digit() || c == '_');
    let rest: Vec<&str> = parts.collect();
    let is_part = |part: &str| matches!(part.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9']);
    let Some((last, middle)) = rest.split_last() else { return false };
    let (whole, fraction) = last.split_once('.').unwrap_or((last, ""));
    is_first
        && middle.iter().all(|part| is_part(part))
        && is_part(whole)
        && fraction.chars().all(|c| c.is_ascii_digit() || c == '_')
}

/// Which styles a text can be written in.
#[derive(Debug)]
struct Analysis {
    may_be_plain: bool,
    may_be_single_quoted: bool,
    may_be_block: bool,
}

impl Analysis {
    fn of(text: &str) -> Analysis {
        let chars: Vec<char> = text.chars().collect();
        let is_blank = |at: usize| chars.get(at).is_none_or(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
        let mut has_indicators = text.starts_with("---") || text.starts_with("...");
        let (mut has_special, mut has_tab, mut has_breaks) = (false, false, false);
        let (mut break_space, mut space_break) = (false, false);
        let (mut previous_space, mut previous_break) = (false, false);
        for (at, &c) in chars.iter().enumerate() {
            let is_followed_by_blank = is_blank(at + 1);
            has_indicators |= match c {
                '#' => at == 0 || is_blank(at - 1),
                ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => at == 0,
                '?' | '-' => at == 0 && is_followed_by_blank,
                ':' => is_followed_by_blank,
                _ => false,
            };
            match c {
                '\t' => has_tab = true,
                _ => has_special |= !is_printable(c),
            }
            let is_break = is_break(c);
            break_space |= c == ' ' && previous_break;
            space_break |= is_break && previous_space;
            has_breaks |= is_break;
            previous_space = c == ' ';
            previous_break = is_break;
        }
        let is_edge = |c: Option<&char>| c.is_some_and(|c| *c == ' ' || is_break(*c));
        let has_edges = is_edge(chars.first()) || is_edge(chars.last());
        let ends_in_space = chars.last() == Some(&' ');
        let is_odd = space_break || has_special;
        Analysis {
            may_be_plain: !(has_edges || break_space || is_odd || has_tab || has_breaks || has_indicators),
            may_be_single_quoted: !(break_space || is_odd || has_tab),
            may_be_block: !(ends_in_space || is_odd),
        }
    }
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_printable(c: char) -> bool {
    matches!(c, '\n' | '\u{20}'..='\u{7e}' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
        && c != '\u{feff}'
}

/// The block after `|`; what is said behind the bar is about indentation and the last line end.
fn literal(text: &str, indent: usize) -> String {
    let starts_with_blank = text.starts_with([' ', '\n']);
    let hint = if starts_with_blank { "2" } else { "" };
    let end = match text {
        text if !text.ends_with('\n') => "-",
        text if text == "\n" || text.ends_with("\n\n") => "+",
        _ => "",
    };
    let body = text.strip_suffix('\n').unwrap_or(text);
    let lines: Vec<String> = body
        .split('\n')
        .map(|line| if line.is_empty() { String::new() } else { format!("{}{line}", " ".repeat(indent)) })
        .collect();
    format!("|{hint}{end}\n{}", lines.join("\n"))
}

fn double_quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            '\0' => quoted.push_str("\\0"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            '\u{1b}' => quoted.push_str("\\e"),
            '\u{85}' => quoted.push_str("\\N"),
            '\u{2028}' => quoted.push_str("\\L"),
            '\u{2029}' => quoted.push_str("\\P"),
            c if is_printable(c) => quoted.push(c),
            c if (c as u32) < 0x100 => quoted.push_str(&format!("\\x{:02X}", c as u32)),
            c if (c as u32) < 0x10000 => quoted.push_str(&format!("\\u{:04X}", c as u32)),
            c => quoted.push_str(&format!("\\U{:08X}", c as u32)),
        }
    }
    quoted + "\""
}

/// The order of keys: letters after everything else, digits by the number that they form.
pub(crate) fn compare_keys(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut is_in_digits = false;
    for at in 0..a.len().min(b.len()) {
        if a[at] == b[at] {
            is_in_digits = a[at].is_ascii_digit();
            continue;
        }
        let (is_letter, is_other) = (a[at].is_alphabetic(), b[at].is_alphabetic());
        if is_letter && is_other {
            return a[at].cmp(&b[at]);
        }
        if is_letter || is_other {
            return if is_in_digits { is_other.cmp(&is_letter) } else { is_letter.cmp(&is_other) };
        }
        return compare_from(&a, &b, at);
    }
    a.len().cmp(&b.len())
}

/// Compares from the first difference, where neither is a letter.
fn compare_from(a: &[char], b: &[char], at: usize) -> Ordering {
    // A zero is a digit like others if it continues a number, which the digits before it began.
    let has_zero = a[at] == '0' || b[at] == '0';
    let continues = a[..at].iter().rev().take_while(|c| c.is_ascii_digit()).any(|c| *c != '0');
    let first = u64::from(has_zero && continues);
    let number = |chars: &[char]| {
        let digits = chars[at..].iter().map_while(|c| c.to_digit(10));
        digits.fold((first, 0_usize), |(value, n_digits), digit| {
            (value.saturating_mul(10).saturating_add(u64::from(digit)), n_digits + 1)
        })
    };
    number(a).cmp(&number(b)).then(a[at].cmp(&b[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_quotes_where_they_need_them() {
        for (text, expected) in [
            ("plain text", "plain text"),
            ("y", "\"y\""),
            ("1", "\"1\""),
            ("", "\"\""),
            ("1:30", "\"1:30\""),
            ("2024-01-01", "\"2024-01-01\""),
            ("k: v", "'k: v'"),
            ("# x", "'# x'"),
            ("it's", "it's"),
            ("'a'", "'''a'''"),
            ("*a", "'*a'"),
            (" a", "' a'"),
            ("-x", "-x"),
            ("- x", "'- x'"),
            ("a\tb", "\"a\\tb\""),
            ("a#b:c", "a#b:c"),
            ("02:42:ac:11:65:43", "02:42:ac:11:65:43"),
            ("é", "é"),
            ("\u{1}", "\"\\x01\""),
        ] {
            assert_eq!(scalar_text(text, Some(2)), expected, "{text:?}");
        }
    }

    #[test]
    fn several_lines_are_a_block() {
        assert_eq!(scalar_text("a\nb\n", Some(2)), "|\n  a\n  b");
        assert_eq!(scalar_text("a\n\nb", Some(2)), "|-\n  a\n\n  b");
        assert_eq!(scalar_text(" a\n\n", Some(2)), "|2+\n   a\n");
        assert_eq!(scalar_text("a \nb", Some(2)), "\"a \\nb\"");
    }

    #[test]
    fn keys_are_ordered_by_their_numbers() {
        let expected = [
            "_", "1a", "2", "10", "A", "B", "a-b", "a.b", "a1", "a1b", "a1b2", "a1-", "a01", "a001", "a2", "a10",
            "aab", "ab", "b", "é",
        ];
        let mut keys = expected;
        keys.sort_unstable();
        keys.sort_by(|a, b| compare_keys(a, b));
        assert_eq!(keys, expected);
    }
}
