//! Answers one question: which words does a command line in one text have?

/// The words, with quotes and backslashes carried out. At a character that means something to a shell (`|`, `;`, `&`,
/// `<`, `>`) they end, since no shell is there to carry it out. `None` if a quote is not closed.
pub(crate) fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') | (Some('`'), '`') => {
                if c == '`' {
                    word.get_or_insert_default().push(c);
                }
                quote = None;
            }
            (None | Some('"' | '`'), '\\') => word.get_or_insert_default().push(chars.next()?),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '`') => {
                quote = Some(c);
                word.get_or_insert_default().push(c);
            }
            (None, ' ' | '\t' | '\r' | '\n') => words.extend(word.take()),
            (None, ';' | '&' | '|' | '<' | '>') => break,
            (None, '(') if !word.as_deref().is_some_and(|word| word.ends_with('$')) => return None,
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn words_are_split_as_by_a_shell() {
        for (text, expected) in [
            ("a \"b c\" $X", vec!["a", "b c", "$X"]),
            ("sh -c 'echo \"x\"'", vec!["sh", "-c", "echo \"x\""]),
            ("it\\ s x\"y\"z ''", vec!["it s", "xyz", ""]),
            ("a | b", vec!["a"]),
            ("", vec![]),
        ] {
            assert_eq!(split(text).unwrap(), expected, "{text}");
        }
        assert_eq!(split("a \"b"), None);
    }
}
