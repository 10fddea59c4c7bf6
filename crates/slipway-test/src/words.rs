//! Answers one question: which words does a line of a case hold?
//!
//! Blanks separate words; single or double quotes group, and vanish. Nothing is expanded or escaped.

use anyhow::{Result, bail};

/// Splits `line` into words. A quote may open in the middle of a word, as in `text="a b"`.
pub(crate) fn split(line: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    if let Some(open) = quote {
        bail!("a quote ({open}) is not closed in `{line}`");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_group_and_vanish() {
        let words = split(r#"build --build-arg A="x y" '' ."#).expect("the line is well formed");
        assert_eq!(words, ["build", "--build-arg", "A=x y", "", "."]);
    }

    #[test]
    fn an_open_quote_is_an_error() {
        assert!(split("a 'b").is_err());
    }
}
