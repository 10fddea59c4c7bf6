//! Text in double quotes, spelt as the reference builder spells it in its messages.

use std::fmt::Write;

/// `text` in double quotes, with what does not print escaped (Go's `%q`).
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0b' => out.push_str("\\v"),
            '\x0c' => out.push_str("\\f"),
            c if c != ' ' && (c.is_control() || c.is_whitespace()) => push_code_point(&mut out, c),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn push_code_point(out: &mut String, c: char) {
    let code = u32::from(c);
    let written = match code {
        0..=0x7f => write!(out, "\\x{code:02x}"),
        0x80..=0xffff => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
    written.expect("because writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn escapes_what_does_not_print() {
        assert_eq!(quoted("a \"b\" \\"), r#""a \"b\" \\""#);
        assert_eq!(quoted("\t\n\x01\u{a0}é"), r#""\t\n\x01\u00a0é""#);
    }
}
