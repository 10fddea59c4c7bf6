//! The JSON form of arguments: `["a", "b"]`.

use serde_json::value::RawValue;

use crate::Word;

use super::lines::Fragment;

/// An array that holds something else than strings. All other mistakes make the text no JSON at all.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("when using JSON array syntax, arrays must be comprised of strings only")]
pub(super) struct NotStrings;

/// The strings of a JSON array; `None` if `arguments` is not one, and then it is ordinary text.
///
/// The span of a word is that of its JSON string, quotes included.
pub(super) fn strings(arguments: &Fragment<'_>) -> Result<Option<Vec<Word>>, NotStrings> {
    let arguments = arguments.trimmed();
    let text = arguments.text();
    if !text.starts_with('[') {
        return Ok(None);
    }
    let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(text) else {
        return Ok(None);
    };
    let mut words = Vec::with_capacity(elements.len());
    for element in elements {
        let raw = element.get();
        if !raw.starts_with('"') {
            return Err(NotStrings);
        }
        let decoded = serde_json::from_str(raw).or_else(|_| serde_json::from_str(&without_lone_surrogates(raw)));
        let Ok(decoded) = decoded else {
            return Ok(None);
        };
        // `raw` is borrowed from `text`, so the distance of their addresses is its place.
        let start = raw.as_ptr().addr() - text.as_ptr().addr();
        words.push(Word { text: decoded, span: arguments.part(start..start + raw.len()).span() });
    }
    Ok(Some(words))
}

/// The JSON string `raw` with `\ufffd` for every half of a surrogate pair that stands alone, as Go's decoder reads it.
fn without_lone_surrogates(raw: &str) -> String {
    let mut clean = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(start) = rest.find('\\') {
        clean.push_str(&rest[..start]);
        rest = &rest[start..];
        let unit = code_unit(rest);
        let (text, length) = match (unit, unit.and_then(|_| code_unit(&rest[6..]))) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (&rest[..12], 12),
            (Some(0xd800..=0xdfff), _) => (r"\ufffd", 6),
            _ => (&rest[..2], 2),
        };
        clean.push_str(text);
        rest = &rest[length..];
    }
    clean + rest
}

/// What an escape like `\u00e9` at the front of `text` stands for.
fn code_unit(text: &str) -> Option<u16> {
    u16::from_str_radix(text.strip_prefix(r"\u")?.get(..4)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::super::lines::LogicalLine;
    use super::{NotStrings, strings};

    fn check(text: &str) -> Result<Option<Vec<String>>, NotStrings> {
        let mut line = LogicalLine::default();
        line.push(text, 0);
        let words = strings(&line.whole())?;
        Ok(words.map(|words| words.into_iter().map(|w| format!("{} @{}", w.text, &text[w.span.range()])).collect()))
    }

    fn strings_of(text: &str) -> Option<Vec<String>> {
        let mut line = LogicalLine::default();
        line.push(text, 0);
        let words = strings(&line.whole()).ok()??;
        Some(words.into_iter().map(|w| w.text).collect())
    }

    #[test]
    fn arrays_of_strings() {
        assert_eq!(check("[]"), Ok(Some(vec![])));
        let expect = vec!["a b @\"a b\"".to_owned(), "\"é @\"\\\"\\u00e9\"".to_owned()];
        assert_eq!(check(r#" [ "a b", "\"\u00e9" ] "#), Ok(Some(expect)));
    }

    #[test]
    fn halves_of_surrogate_pairs() {
        let decoded = |text: &str| strings_of(text).unwrap();
        assert_eq!(
            decoded(r#"["\ud83d\ude00", "\ud800", "\udc00x\ud800\n\\ud800"]"#),
            ["😀", "\u{fffd}", "\u{fffd}x\u{fffd}\n\\ud800"]
        );
    }

    #[test]
    fn what_is_no_json_is_text() {
        for text in [r#"["echo"] x"#, "['a']", "[]junk", "[", r#"["a",]"#, "a", "", "{}"] {
            assert_eq!(check(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn other_elements_are_an_error() {
        for text in [r#"["a", 1]"#, "[null]", "[[]]", "[true, \"a\"]"] {
            assert_eq!(check(text), Err(NotStrings), "{text}");
        }
    }
}
