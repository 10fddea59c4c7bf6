//! What is wrong in a bake file, and where.

use std::fmt;

/// A stretch of one file, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// Index in the list of files.
    pub file: usize,
    pub start: usize,
    pub end: usize,
}

impl Span {
    /// From the start of `self` to the end of `last`.
    pub(crate) fn to(self, last: Span) -> Span {
        Span { end: last.end.max(self.start), ..self }
    }

    /// The first character, which is one byte long in all places where this is asked for.
    pub(crate) fn first_byte(self) -> Span {
        Span { end: (self.start + 1).min(self.end), ..self }
    }
}

/// A definition file: the name that messages show, and what is in it.
#[derive(Clone, Debug)]
pub struct SourceFile {
    pub name: String,
    pub text: String,
}

impl SourceFile {
    /// Line and column of a byte, both from 1; columns are characters.
    fn position(&self, at: usize) -> (usize, usize) {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let before = &self.text[..at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// One finding: what kind of mistake, and the particulars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub summary: String,
    pub detail: String,
    pub span: Option<Span>,
    /// How many more findings come of this one, and are only counted.
    pub n_followers: usize,
}

impl Diagnostic {
    pub(crate) fn new(span: Span, summary: impl Into<String>, detail: impl Into<String>) -> Diagnostic {
        Diagnostic { summary: summary.into(), detail: detail.into(), span: Some(span), n_followers: 0 }
    }

    /// The same, with so many more that come of it.
    pub(crate) fn followed_by(self, n_followers: usize) -> Diagnostic {
        Diagnostic { n_followers, ..self }
    }
}

/// One or more findings; the first is the one that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Diagnostics {
        Diagnostics(vec![diagnostic])
    }
}

impl Diagnostics {
    /// One line: the place and text of the first finding, and how many more there are.
    pub fn headline(&self, files: &[SourceFile]) -> String {
        let Some(first) = self.0.first() else { return "no diagnostics".to_owned() };
        let others = match self.0.len() - 1 + first.n_followers {
            0 => String::new(),
            n => format!(", and {n} other diagnostic(s)"),
        };
        format!("{}{others}", Located { diagnostic: first, files })
    }

    /// The file of the first finding and the lines it spans, counted from 1.
    pub fn place<'a>(&self, files: &'a [SourceFile]) -> Option<(&'a SourceFile, usize, usize)> {
        let span = self.0.first()?.span?;
        let file = files.get(span.file)?;
        Some((file, file.position(span.start).0, file.position(span.end).0))
    }
}

/// A finding with its place: `docker-bake.hcl:2,7-9: summary; detail`.
pub(crate) struct Located<'a> {
    pub(crate) diagnostic: &'a Diagnostic,
    pub(crate) files: &'a [SourceFile],
}

impl fmt::Display for Located<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnostic { summary, detail, span, .. } = self.diagnostic;
        match span.and_then(|span| place_text(span, self.files)) {
            Some(place) => write!(f, "{place}: ")?,
            None => f.write_str("<nil>: ")?,
        }
        write!(f, "{summary}; {detail}")
    }
}

/// `docker-bake.hcl:2,7-9`, or `docker-bake.hcl:2,7-3,1` for several lines.
pub(crate) fn place_text(span: Span, files: &[SourceFile]) -> Option<String> {
    let file = files.get(span.file)?;
    let ((line, column), (end_line, end_column)) = (file.position(span.start), file.position(span.end));
    Some(match line == end_line {
        true => format!("{}:{line},{column}-{end_column}", file.name),
        false => format!("{}:{line},{column}-{end_line},{end_column}", file.name),
    })
}
