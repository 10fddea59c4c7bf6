//! Templates: quoted texts, heredocs, and the texts of JSON files.

use super::expression::{for_head, parse, with_newlines};
use super::scanner::Scanner;
use super::{Expr, ExprKind, Part};
use crate::diagnostic::Diagnostic;

type Parsed<T> = Result<T, Diagnostic>;

/// What a template stands in, which decides where it ends and what a backslash means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Quoted,
    /// To the end of the text; at most so many blanks are left out at the start of each line.
    Plain {
        n_indent: usize,
    },
}

struct Reader<'s, 'a> {
    scanner: &'s mut Scanner<'a>,
    form: Form,
    /// The last sequence ended in `~}`.
    trims_next: bool,
}

/// What ended a list of parts.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Template,
    Else,
    If,
    For,
}

/// A text in double quotes.
pub(super) fn quoted(scanner: &mut Scanner<'_>) -> Parsed<Expr> {
    let start = scanner.at;
    scanner.at += 1;
    let mut reader = Reader { scanner: &mut *scanner, form: Form::Quoted, trims_next: false };
    let parts = reader.whole()?;
    scanner.at += 1;
    Ok(template(parts, scanner, start))
}

/// `<<EOT` and `<<-EOT`.
pub(super) fn heredoc(scanner: &mut Scanner<'_>) -> Parsed<Expr> {
    let start = scanner.at;
    scanner.at += 2;
    let is_flush = scanner.take("-");
    let Some((marker, _)) = scanner.take_name().filter(|_| scanner.is_next("\n") || scanner.is_next("\r\n")) else {
        let detail = "Expected the start of an expression, but found an invalid expression token.";
        return scanner.error(scanner.span(start, start + 1), "Invalid expression", detail);
    };
    scanner.take_newline();
    let (text_start, mut line_start) = (scanner.at, scanner.at);
    let text_end = loop {
        let line = scanner.text[line_start..].split_inclusive('\n').next().unwrap_or_default();
        if line.trim() == marker {
            break line_start;
        }
        if line.is_empty() {
            let detail = "No closing marker was found for the string.";
            let end = scanner.text.len();
            return scanner.error(scanner.span(end, end), "Unterminated template string", detail);
        }
        line_start += line.len();
    };
    let n_indent = if is_flush { common_indent(&scanner.text[text_start..text_end]) } else { 0 };
    let mut inner = Scanner::new(&scanner.text[..text_end], scanner.file, scanner.base);
    (inner.at, inner.n_open) = (text_start, scanner.n_open);
    let mut reader = Reader { scanner: &mut inner, form: Form::Plain { n_indent }, trims_next: false };
    let parts = reader.whole()?;
    let closing = &scanner.text[text_end..];
    let n_blanks = closing.len() - closing.trim_start().len();
    scanner.at = text_end + n_blanks + marker.len();
    Ok(Expr { kind: ExprKind::Template(parts), span: scanner.span_from(start) })
}

fn common_indent(text: &str) -> usize {
    let indents = text.lines().filter(|line| !line.trim().is_empty()).map(|line| line.len() - line.trim_start().len());
    indents.min().unwrap_or(0)
}

/// A text that is a template as a whole, as those of JSON are.
pub(crate) fn plain(text: &str, file: usize, base: usize) -> Parsed<Expr> {
    let mut scanner = Scanner::new(text, file, base);
    let mut reader = Reader { scanner: &mut scanner, form: Form::Plain { n_indent: 0 }, trims_next: false };
    let parts = reader.whole()?;
    Ok(template(parts, &scanner, 0))
}

fn template(mut parts: Vec<Part>, scanner: &Scanner<'_>, start: usize) -> Expr {
    let span = scanner.span_from(start);
    let kind = match (parts.len(), parts.pop()) {
        (1, Some(Part::Value(expr))) => ExprKind::Wrapped(Box::new(expr)),
        (_, last) => {
            parts.extend(last);
            ExprKind::Template(parts)
        }
    };
    Expr { kind, span }
}

impl Reader<'_, '_> {
    fn whole(&mut self) -> Parsed<Vec<Part>> {
        match self.parts()? {
            (parts, End::Template) => Ok(parts),
            (_, end) => {
                let detail = format!("Unexpected {} directive.", keyword(&end));
                self.scanner.error(self.scanner.next_span(), "Unexpected directive", detail)
            }
        }
    }

    /// Up to the end, or behind the directive that ends this part.
    fn parts(&mut self) -> Parsed<(Vec<Part>, End)> {
        let mut parts = Vec::new();
        loop {
            let mut text = self.text()?;
            if std::mem::take(&mut self.trims_next) {
                text = text.trim_start().to_owned();
            }
            let is_at_end = !self.scanner.is_next("${") && !self.scanner.is_next("%{");
            if !is_at_end && self.scanner.text[self.scanner.at + 2..].starts_with('~') {
                text.truncate(text.trim_end().len());
            }
            if !text.is_empty() {
                parts.push(Part::Text(text));
            }
            if is_at_end {
                return Ok((parts, End::Template));
            }
            self.scanner.open()?;
            if self.scanner.take("${") {
                self.scanner.take("~");
                let value = with_newlines(self.scanner, true, |scanner| {
                    scanner.skip_blanks();
                    parse(scanner)
                })?;
                self.end_sequence("Extra characters after interpolation expression")?;
                parts.push(Part::Value(value));
            } else if let Err(end) = self.directive(&mut parts)? {
                self.scanner.close();
                return Ok((parts, end));
            }
            self.scanner.close();
        }
    }

    /// `}` or `~}`.
    fn end_sequence(&mut self, summary: &str) -> Parsed<()> {
        self.scanner.skip_lines();
        self.trims_next = self.scanner.take("~");
        if self.scanner.take("}") {
            return Ok(());
        }
        let detail = "Expected a closing brace to end the interpolation expression, but found extra characters.";
        self.scanner.error(self.scanner.next_span(), summary, detail)
    }

    /// `%{if …}`, `%{for …}` with all that belongs to them; the inner error is a directive that ends a part.
    fn directive(&mut self, parts: &mut Vec<Part>) -> Parsed<Result<(), End>> {
        let start = self.scanner.at;
        self.scanner.at += 2;
        self.scanner.take("~");
        self.scanner.skip_lines();
        let word = self.scanner.take_name().map(|(word, _)| word).unwrap_or_default();
        let extra = "Extra characters in template directive";
        match word.as_str() {
            "if" => {
                let condition = with_newlines(self.scanner, true, |scanner| {
                    scanner.skip_blanks();
                    parse(scanner)
                })?;
                self.end_sequence(extra)?;
                let (yes, end) = self.parts()?;
                let (no, end) = if end == End::Else { self.parts()? } else { (Vec::new(), end) };
                self.expect(end, End::If, start)?;
                parts.push(Part::If { condition, yes, no });
            }
            "for" => {
                let (key_name, value_name, collection) = with_newlines(self.scanner, true, for_head)?;
                self.end_sequence(extra)?;
                let (body, end) = self.parts()?;
                self.expect(end, End::For, start)?;
                parts.push(Part::For { key_name, value_name, collection, body });
            }
            "else" | "endif" | "endfor" => {
                self.end_sequence(extra)?;
                return Ok(Err(match word.as_str() {
                    "else" => End::Else,
                    "endif" => End::If,
                    _ => End::For,
                }));
            }
            _ => {
                let detail = format!("{word:?} is not a valid template directive.");
                return self.scanner.error(self.scanner.span_from(start), "Invalid template directive", detail);
            }
        }
        Ok(Ok(()))
    }

    fn expect(&self, end: End, wanted: End, start: usize) -> Parsed<()> {
        if end == wanted {
            return Ok(());
        }
        let detail = format!("The directive must be closed with {}, but found {}.", keyword(&wanted), keyword(&end));
        self.scanner.error(self.scanner.span(start, start + 2), "Unexpected end of template", detail)
    }

    /// Literal text up to the next sequence or the end.
    fn text(&mut self) -> Parsed<String> {
        let mut text = String::new();
        loop {
            if let Form::Plain { n_indent } = self.form {
                self.skip_indent(n_indent);
            }
            let scanner = &mut *self.scanner;
            let Some(next) = scanner.rest().chars().next() else {
                return match self.form {
                    Form::Plain { .. } => Ok(text),
                    Form::Quoted => {
                        let detail = "No closing marker was found for the string.";
                        scanner.error(scanner.next_span(), "Unterminated template string", detail)
                    }
                };
            };
            match next {
                '$' | '%' if scanner.rest()[1..].starts_with('{') => return Ok(text),
                '$' | '%' if scanner.is_next("$${") || scanner.is_next("%%{") => {
                    text.push(next);
                    text.push('{');
                    scanner.at += 3;
                }
                '"' if self.form == Form::Quoted => return Ok(text),
                '\n' if self.form == Form::Quoted => {
                    let detail = "Quoted strings may not be split over multiple lines. To produce a multi-line string, \
                                  either use the \\n escape to represent a newline character or use the \"heredoc\" \
                                  multi-line template syntax.";
                    return scanner.error(scanner.next_span(), "Invalid multi-line string", detail);
                }
                '\\' if self.form == Form::Quoted => text.push(escape(scanner)?),
                _ => {
                    text.push(next);
                    scanner.at += next.len_utf8();
                }
            }
        }
    }

    /// At the start of a line, goes over the blanks that all lines have.
    fn skip_indent(&mut self, n_indent: usize) {
        if n_indent == 0 || !self.scanner.text[..self.scanner.at].ends_with('\n') {
            return;
        }
        let rest = self.scanner.rest();
        let n_blanks = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        self.scanner.at += n_blanks.min(n_indent);
    }
}

fn keyword(end: &End) -> &'static str {
    match end {
        End::Template => "the end of the template",
        End::Else => "else",
        End::If => "endif",
        End::For => "endfor",
    }
}

/// The character that a backslash and what follows stand for.
fn escape(scanner: &mut Scanner<'_>) -> Parsed<char> {
    let start = scanner.at;
    let kind = scanner.rest()[1..].chars().next().unwrap_or('\n');
    let simple = match kind {
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        '"' => Some('"'),
        '\\' => Some('\\'),
        _ => None,
    };
    if let Some(character) = simple {
        scanner.at += 2;
        return Ok(character);
    }
    let n_digits = match kind {
        'u' => 4,
        'U' => 8,
        _ => {
            let span = scanner.span(start, start + 1 + kind.len_utf8());
            let detail = format!("The symbol {:?} is not a valid escape sequence selector.", kind.to_string());
            return scanner.error(span, "Invalid escape sequence", detail);
        }
    };
    let digits = scanner.rest().get(2..2 + n_digits).unwrap_or_default();
    let character = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
    let Some(character) = character else {
        let detail = format!("The \\{kind} escape sequence must be followed by {n_digits} hexadecimal digits.");
        return scanner.error(scanner.span(start, start + 2), "Invalid escape sequence", detail);
    };
    scanner.at += 2 + n_digits;
    Ok(character)
}
