//! Reads characters: blanks, comments, names, numbers. The parsers of expressions and bodies stand on it.

use crate::diagnostic::{Diagnostic, Span};

/// A place in a text, and how lines are taken there.
pub(crate) struct Scanner<'a> {
    pub(crate) text: &'a str,
    /// The next byte.
    pub(crate) at: usize,
    pub(crate) file: usize,
    /// Where `text` begins in its file; more than 0 for a text inside of a JSON file.
    pub(crate) base: usize,
    pub(crate) n_open: usize,
    /// Within parentheses and brackets the end of a line is a blank.
    pub(crate) newlines_are_blanks: bool,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str, file: usize, base: usize) -> Scanner<'a> {
        Scanner { text, at: 0, file, base, n_open: 0, newlines_are_blanks: false }
    }

    pub(crate) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(crate) fn is_next(&self, token: &str) -> bool {
        self.rest().starts_with(token)
    }

    /// Takes `token` if it is next.
    pub(crate) fn take(&mut self, token: &str) -> bool {
        let is_next = self.is_next(token);
        if is_next {
            self.at += token.len();
        }
        is_next
    }

    pub(crate) fn span(&self, start: usize, end: usize) -> Span {
        Span { file: self.file, start: self.base + start, end: self.base + end }
    }

    pub(crate) fn span_from(&self, start: usize) -> Span {
        self.span(start, self.at)
    }

    /// The next character; a line end belongs to the line that it ends.
    pub(crate) fn next_span(&self) -> Span {
        let length = self.rest().chars().next().map_or(0, char::len_utf8);
        self.span(self.at, self.at + length)
    }

    pub(crate) fn error<T>(&self, span: Span, summary: &str, detail: impl Into<String>) -> Result<T, Diagnostic> {
        Err(Diagnostic::new(span, summary, detail))
    }

    /// What is next does not belong here: because it belongs nowhere, or because of `detail`.
    pub(crate) fn unexpected<T>(&self, summary: &str, detail: &str) -> Result<T, Diagnostic> {
        const BITWISE: &str = "Bitwise operators are not supported. Did you mean boolean";
        let next = self.rest().chars().next().unwrap_or('\n');
        let doubled = self.rest().chars().nth(1) == Some(next);
        let (kind, reason) = match next {
            '&' if !doubled => ("Unsupported operator", format!("{BITWISE} AND (\"&&\")?")),
            '|' if !doubled => ("Unsupported operator", format!("{BITWISE} OR (\"||\")?")),
            '~' => ("Unsupported operator", format!("{BITWISE} NOT (\"!\")?")),
            '\'' => (
                "Invalid character",
                "Single quotes are not valid. Use double quotes (\") to enclose strings.".to_owned(),
            ),
            '`' => {
                let why = "The \"`\" character is not valid. To create a multi-line string, use the \"heredoc\" syntax, \
                           like \"<<EOT\".";
                ("Invalid character", why.to_owned())
            }
            ';' => {
                let why = "The \";\" character is not valid. Use newlines to separate arguments and blocks, and commas to \
                           separate items in collection values.";
                ("Invalid character", why.to_owned())
            }
            '\u{2018}'..='\u{201f}' => {
                let why = "\"Curly quotes\" are not valid here. These can sometimes be inadvertently introduced when \
                           sharing code via documents or discussion forums. It might help to replace the character \
                           with a \"straight quote\".";
                ("Invalid character", why.to_owned())
            }
            '@' | '$' | '\\' | '^' => {
                ("Invalid character", "This character is not used within the language.".to_owned())
            }
            _ if next != '\n' && next.is_control() || !next.is_ascii() && !next.is_alphanumeric() => {
                ("Invalid character", "This character is not used within the language.".to_owned())
            }
            _ => return self.error(self.next_token(), summary, detail),
        };
        // All quotes of that kind are, and that the first stands in the wrong place is counted, too.
        let is_curly = |c: &char| ('\u{2018}'..='\u{201f}').contains(c);
        let n_quotes = if is_curly(&next) { self.rest().chars().filter(is_curly).count() } else { 1 };
        Err(Diagnostic::new(self.next_span(), kind, reason).followed_by(n_quotes))
    }

    /// The next name or number as a whole, or the next character.
    fn next_token(&self) -> Span {
        let rest = self.rest();
        let is_number = rest.starts_with(|c: char| c.is_ascii_digit());
        let is_of_word =
            |c: char| if is_number { c.is_ascii_digit() } else { c.is_alphanumeric() || c == '_' || c == '-' };
        let length = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
        if length == 0 { self.next_span() } else { self.span(self.at, self.at + length) }
    }

    /// Skips blanks and comments; line ends too, where they mean nothing.
    pub(crate) fn skip_blanks(&mut self) {
        self.skip(self.newlines_are_blanks);
    }

    /// Skips blanks, comments and line ends.
    pub(crate) fn skip_lines(&mut self) {
        self.skip(true);
    }

    fn skip(&mut self, skips_newlines: bool) {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' => self.at += 1,
                b'\r' if self.is_next("\r\n") && !skips_newlines => break,
                b'\r' => self.at += 1,
                b'\n' if skips_newlines => self.at += 1,
                b'#' => self.skip_line_comment(),
                b'/' if self.is_next("//") => self.skip_line_comment(),
                b'/' if self.is_next("/*") => {
                    self.at = self.rest().find("*/").map_or(self.text.len(), |end| self.at + end + 2);
                }
                _ => break,
            }
        }
    }

    /// Stops in front of the line end.
    fn skip_line_comment(&mut self) {
        self.at = self.rest().find('\n').map_or(self.text.len(), |end| self.at + end);
    }

    /// Takes one line end, or says that there is none. The end of the text is one.
    pub(crate) fn take_newline(&mut self) -> bool {
        self.take("\n") || self.take("\r\n") || self.at == self.text.len()
    }

    /// Takes a name: letters, digits, `_` and `-`, not beginning with a digit or `-`.
    pub(crate) fn take_name(&mut self) -> Option<(String, Span)> {
        let start = self.at;
        let is_start = |c: char| c.is_alphabetic() || c == '_';
        if !self.rest().starts_with(is_start) {
            return None;
        }
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).unwrap_or(rest.len());
        self.at += end;
        Some((rest[..end].to_owned(), self.span_from(start)))
    }

    /// The text of a number, if one is next.
    pub(crate) fn take_number(&mut self) -> Option<&'a str> {
        let bytes = self.rest().as_bytes();
        let n_digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        let mut end = n_digits(0);
        if end == 0 {
            return None;
        }
        if bytes.get(end) == Some(&b'.') && n_digits(end + 1) > 0 {
            end += 1 + n_digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let n_sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            if bytes.len() > end + 1 + n_sign && n_digits(end + 1 + n_sign) > 0 {
                end += 1 + n_sign + n_digits(end + 1 + n_sign);
            }
        }
        let text = &self.rest()[..end];
        self.at += end;
        Some(text)
    }

    /// Goes one level deeper, to a bound.
    pub(crate) fn open(&mut self) -> Result<(), Diagnostic> {
        self.n_open += 1;
        if self.n_open > super::MAX_NESTING {
            return self.error(self.next_span(), "Too deeply nested", "Brackets and blocks are nested too deeply.");
        }
        Ok(())
    }

    pub(crate) fn close(&mut self) {
        self.n_open -= 1;
    }
}
