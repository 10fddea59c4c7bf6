//! Answers one question: which variables does a `.env` file set? (`spec/compose.md` section 2.4)

use std::collections::BTreeMap;

use crate::template::{Scope, substitute};

/// Names and values.
pub type Variables = BTreeMap<String, String>;

/// Why a file of variables cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct DotenvError {
    /// From 1.
    pub line: usize,
    pub reason: String,
}

/// The variables of `text`. Expressions see `outer`, then earlier lines, then what earlier files said, `before`; a name
/// without a value takes that of `outer`.
pub fn parse(text: &str, outer: &dyn Fn(&str) -> Option<String>, before: &Variables) -> Result<Variables, DotenvError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let mut reader = Reader { rest: &text, line: 1, outer, before, found: Variables::new() };
    while reader.skip_to_statement() {
        reader.statement()?;
    }
    Ok(reader.found)
}

/// The variables of a file where quotes and `$` have no meaning: `env_file` with `format: raw`.
pub(crate) fn parse_raw(text: &str) -> Variables {
    let lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    outer: &'a dyn Fn(&str) -> Option<String>,
    before: &'a Variables,
    found: Variables,
}

impl Reader<'_> {
    /// Passes over blank lines and comments; false at the end.
    fn skip_to_statement(&mut self) -> bool {
        loop {
            let trimmed = self.rest.trim_start();
            self.advance(self.rest.len() - trimmed.len());
            if !self.rest.starts_with('#') {
                return !self.rest.is_empty();
            }
            self.advance(self.rest.find('\n').unwrap_or(self.rest.len()));
        }
    }

    fn advance(&mut self, n_bytes: usize) {
        let (passed, rest) = self.rest.split_at(n_bytes);
        self.line += passed.matches('\n').count();
        self.rest = rest;
    }

    fn fault(&self, reason: String) -> DotenvError {
        DotenvError { line: self.line, reason }
    }

    /// `NAME=value`, `NAME: value`, or `NAME` alone; `export ` may stand in front.
    fn statement(&mut self) -> Result<(), DotenvError> {
        if let Some(after) = self.rest.strip_prefix("export")
            && after.starts_with([' ', '\t'])
        {
            self.advance(self.rest.len() - after.trim_start_matches([' ', '\t']).len());
        }
        let end = self.rest.find(['=', ':', '\n']).unwrap_or(self.rest.len());
        let name = self.rest[..end].trim_end().to_owned();
        let is_of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']') || c.is_whitespace();
        if let Some(odd) = name.chars().find(|c| !is_of_name(*c)) {
            let line = self.rest.lines().next().unwrap_or_default();
            return Err(self.fault(format!("unexpected character {:?} in variable name {line:?}", odd.to_string())));
        }
        if name.contains(' ') {
            return Err(self.fault("key cannot contain a space".to_owned()));
        }
        if self.rest[end..].starts_with('\n') || end == self.rest.len() {
            self.advance(end);
            if let Some(value) = (self.outer)(&name) {
                self.found.insert(name, value);
            }
            return Ok(());
        }
        self.advance(end + 1);
        self.advance(self.rest.len() - self.rest.trim_start_matches([' ', '\t']).len());
        let value = self.value()?;
        self.found.insert(name, value);
        Ok(())
    }

    fn value(&mut self) -> Result<String, DotenvError> {
        match self.rest.chars().next() {
            Some(quote @ ('\'' | '"')) => self.quoted(quote),
            _ => {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                let line = &self.rest[..end];
                let text = without_comment(line).trim_end();
                let value = self.expanded(text)?;
                self.advance(end);
                Ok(value)
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, DotenvError> {
        let Some(end) = closing_quote(self.rest, quote) else {
            let line = self.rest.lines().next().unwrap_or_default();
            let reason = format!("unterminated quoted value {line}");
            // The end of the file is where the reference looks for the quote.
            return Err(DotenvError { line: self.line + self.rest.matches('\n').count(), reason });
        };
        let text = self.rest[1..end].to_owned();
        let value = match quote {
            '"' => self.expanded(&unescaped(&text))?,
            _ => text,
        };
        self.advance(end + 1);
        // What follows a closing quote on its line has no meaning.
        self.advance(self.rest.find('\n').unwrap_or(self.rest.len()));
        Ok(value)
    }

    fn expanded(&self, text: &str) -> Result<String, DotenvError> {
        let own = |name: &str| self.found.get(name).or_else(|| self.before.get(name)).cloned();
        let lookup = |name: &str| (self.outer)(name).or_else(|| own(name));
        let mut scope = Scope { lookup: &lookup, missing: Vec::new() };
        substitute(text, &mut scope).map_err(|error| self.fault(error.to_string()))
    }
}

/// A `#` begins a comment where a blank is in front of it.
fn without_comment(line: &str) -> &str {
    let is_comment = |at: &usize| *at == 0 || line[..*at].ends_with([' ', '\t']);
    let at = line.match_indices('#').map(|(at, _)| at).find(is_comment);
    at.map_or(line, |at| &line[..at])
}

fn closing_quote(text: &str, quote: char) -> Option<usize> {
    let bytes = text.as_bytes();
    (1..bytes.len()).find(|at| bytes[*at] == quote as u8 && bytes[at - 1] != b'\\')
}

/// Escapes between double quotes; a `$` that was escaped is a literal one.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('t') => plain.push('\t'),
            Some('$') => plain.push_str("$$"),
            Some(other) => plain.push(other),
            None => plain.push('\\'),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, DotenvError> {
        let outer = |name: &str| (name == "OUT").then(|| "out".to_owned());
        parse(text, &outer, &Variables::new()).map(|found| found.into_iter().collect())
    }

    #[test]
    fn values_are_read_in_all_spellings() {
        for (text, expected) in [
            ("A=a b # c", "a b"),
            ("A=a#b", "a#b"),
            ("A: yaml", "yaml"),
            ("export A=g", "g"),
            ("  A = sp ", "sp"),
            ("A='$X\\n'", "$X\\n"),
            ("A='two\nlines'", "two\nlines"),
            ("A=\"x $OUT\\t\\\"q\"", "x out\t\"q"),
            ("A=\"\\$OUT\"", "$OUT"),
            ("A=${NOPE:-z}", "z"),
            ("A=", ""),
            ("# comment\n\nA=1\n", "1"),
            ("A=1\r\n", "1"),
        ] {
            assert_eq!(read(text), Ok(vec![("A".to_owned(), expected.to_owned())]), "{text}");
        }
    }

    #[test]
    fn earlier_lines_and_the_outside_are_seen() {
        let expected = [("A", "1"), ("B", "1out"), ("OUT", "out")];
        let expected: Vec<_> = expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(read("A=1\nB=$A$OUT\nOUT\nNOPE\n"), Ok(expected));
    }

    #[test]
    fn mistakes_have_their_line() {
        let told = |text| read(text).unwrap_err().to_string();
        assert_eq!(told("A B=1"), "line 1: key cannot contain a space");
        assert_eq!(told("B=1\nA='x"), "line 2: unterminated quoted value 'x");
        assert!(told("A!=1").starts_with("line 1: unexpected character \"!\" in variable name"));
    }

    #[test]
    fn raw_files_have_no_quotes() {
        let found = parse_raw("A='$X' # c\n#B=1\n");
        assert_eq!(found.get("A").map(String::as_str), Some("'$X' # c"));
        assert_eq!(found.len(), 1);
    }
}
