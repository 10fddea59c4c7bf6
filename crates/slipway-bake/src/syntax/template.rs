//! Templates: quoted texts, heredocs, and the texts of JSON files.

use super::expression::{for_head, parse, with_newlines};
use super::scanner::Scanner;
use super::{Expr, ExprKind, Part};
use crate::diagnostic::{Diagnostic, Span};
use crate::functions::distance;

type Parsed<T> = Result<T, Diagnostic>;

/// What a template stands in, which decides where it ends and what a backslash means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Quoted,
    /// To the end of the text, one line after the other.
    Heredoc,
    /// To the end of the text.
    Plain,
}

struct Reader<'s, 'a> {
    scanner: &'s mut Scanner<'a>,
    form: Form,
    /// The last sequence ended in `~}`.
    trims_next: bool,
}

/// What ended a list of parts; a directive with its place.
#[derive(Clone, Copy, Debug)]
enum End {
    Template,
    Else(Span),
    If(Span),
    For(Span),
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
    let mut inner = Scanner::new(&scanner.text[..text_end], scanner.file, scanner.base);
    (inner.at, inner.n_open) = (text_start, scanner.n_open);
    let mut reader = Reader { scanner: &mut inner, form: Form::Heredoc, trims_next: false };
    let mut parts = reader.whole()?;
    if is_flush {
        flush(&mut parts);
    }
    let closing = &scanner.text[text_end..];
    let n_blanks = closing.len() - closing.trim_start().len();
    scanner.at = text_end + n_blanks + marker.len();
    Ok(Expr { kind: ExprKind::Template(parts), span: scanner.span_from(start) })
}

/// Takes the blanks away that all lines begin with. A line of blanks has no say, and keeps them.
fn flush(parts: &mut [Part]) {
    let mut starts = LineStarts { is_at_start: true, n_least: usize::MAX, texts: Vec::new() };
    starts.add(parts);
    let n_least = starts.n_least;
    for text in starts.texts {
        let n_bytes: usize = text.chars().take(n_least).map(char::len_utf8).sum();
        text.drain(..n_bytes);
    }
}

/// The texts that lines begin with, and how many blanks all of them have.
struct LineStarts<'p> {
    is_at_start: bool,
    n_least: usize,
    texts: Vec<&'p mut String>,
}

impl<'p> LineStarts<'p> {
    fn add(&mut self, parts: &'p mut [Part]) {
        for part in parts {
            match part {
                Part::Text(text) => self.add_text(text),
                Part::Value(_) => self.add_sequence(),
                Part::If { yes, no, .. } => {
                    self.add_sequence();
                    self.add(yes);
                    self.add_sequence();
                    self.add(no);
                    self.add_sequence();
                }
                Part::For { body, .. } => {
                    self.add_sequence();
                    self.add(body);
                    self.add_sequence();
                }
            }
        }
    }

    fn add_text(&mut self, text: &'p mut String) {
        let ends_line = text.ends_with('\n');
        if std::mem::replace(&mut self.is_at_start, ends_line) {
            let n_blanks = text.chars().take_while(|c| c.is_whitespace()).count();
            let is_blank = ends_line && n_blanks == text.chars().count();
            if !is_blank {
                self.n_least = self.n_least.min(n_blanks);
                self.texts.push(text);
            }
        }
    }

    fn add_sequence(&mut self) {
        if std::mem::take(&mut self.is_at_start) {
            self.n_least = 0;
        }
    }
}

/// A text that is a template as a whole, as those of JSON are.
pub(crate) fn plain(text: &str, file: usize, base: usize) -> Parsed<Expr> {
    let mut scanner = Scanner::new(text, file, base);
    let mut reader = Reader { scanner: &mut scanner, form: Form::Plain, trims_next: false };
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
            (_, end @ (End::Else(span) | End::If(span) | End::For(span))) => {
                let summary = format!("Unexpected {} directive", keyword(end));
                self.scanner.error(span, &summary, "The control directives within this template are unbalanced.")
            }
        }
    }

    /// Up to the end, or behind the directive that ends this part.
    fn parts(&mut self) -> Parsed<(Vec<Part>, End)> {
        let mut parts = Vec::new();
        loop {
            let mut text = self.text()?;
            let is_line = self.form == Form::Heredoc && text.ends_with('\n');
            if std::mem::take(&mut self.trims_next) {
                text = text.trim_start().to_owned();
            }
            if !text.is_empty() {
                parts.push(Part::Text(text));
            }
            if is_line {
                continue;
            }
            if !self.scanner.is_next("${") && !self.scanner.is_next("%{") {
                return Ok((parts, End::Template));
            }
            if self.scanner.text[self.scanner.at + 2..].starts_with('~')
                && let Some(Part::Text(before)) = parts.last_mut()
            {
                before.truncate(before.trim_end().len());
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
                let (no, end) = if let End::Else(_) = end { self.parts()? } else { (Vec::new(), end) };
                if !matches!(end, End::If(_)) {
                    return self.unclosed("endif", end, start);
                }
                parts.push(Part::If { condition, yes, no });
            }
            "for" => {
                let (key_name, value_name, collection) = with_newlines(self.scanner, true, for_head)?;
                self.end_sequence(extra)?;
                let (body, end) = self.parts()?;
                if !matches!(end, End::For(_)) {
                    return self.unclosed("endfor", end, start);
                }
                parts.push(Part::For { key_name, value_name, collection, body });
            }
            "else" | "endif" | "endfor" => {
                self.end_sequence(extra)?;
                let span = self.scanner.span_from(start);
                return Ok(Err(match word.as_str() {
                    "else" => End::Else(span),
                    "endif" => End::If(span),
                    _ => End::For(span),
                }));
            }
            _ => {
                let known =
                    ["if", "for", "else", "endif", "endfor"].into_iter().find(|known| distance(&word, known) < 3);
                let hint = known.map(|known| format!(" Did you mean {known:?}?")).unwrap_or_default();
                let detail = format!("{word:?} is not a valid template control keyword.{hint}");
                let span = self.scanner.span(self.scanner.at - word.len(), self.scanner.at);
                return self.scanner.error(span, "Invalid template control keyword", detail);
            }
        }
        Ok(Ok(()))
    }

    fn unclosed<T>(&self, wanted: &str, end: End, start: usize) -> Parsed<T> {
        let detail = format!("The directive must be closed with {wanted}, but found {}.", keyword(end));
        self.scanner.error(self.scanner.span(start, start + 2), "Unexpected end of template", detail)
    }

    /// Literal text up to the next sequence or the end.
    fn text(&mut self) -> Parsed<String> {
        let mut text = String::new();
        loop {
            let scanner = &mut *self.scanner;
            let Some(next) = scanner.rest().chars().next() else {
                return match self.form {
                    Form::Plain | Form::Heredoc => Ok(text),
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
                    let problem = Diagnostic::new(scanner.next_span(), "Invalid multi-line string", detail);
                    return Err(problem.followed_by(1));
                }
                '\\' if self.form == Form::Quoted => text.push(escape(scanner)?),
                _ => {
                    text.push(next);
                    scanner.at += next.len_utf8();
                    if next == '\n' && self.form == Form::Heredoc {
                        return Ok(text);
                    }
                }
            }
        }
    }
}

fn keyword(end: End) -> &'static str {
    match end {
        End::Template => "the end of the template",
        End::Else(_) => "else",
        End::If(_) => "endif",
        End::For(_) => "endfor",
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
    let code = u32::from_str_radix(digits, 16).ok();
    let Some(character) = code.and_then(char::from_u32) else {
        if let Some(code) = code {
            let detail = format!("Cannot encode character U+{code:04x} in UTF-8.");
            return scanner.error(scanner.span(start, start + 2 + n_digits), "Invalid escape sequence", detail);
        }
        let detail = format!("The \\{kind} escape sequence must be followed by {n_digits} hexadecimal digits.");
        return scanner.error(scanner.span(start, start + 2), "Invalid escape sequence", detail);
    };
    scanner.at += 2 + n_digits;
    Ok(character)
}
