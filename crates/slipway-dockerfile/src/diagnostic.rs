//! What is wrong (or doubtful) in a user's file, and where.

use std::ops::Range;

use slipway_graph::LineRange;

/// A stretch of the Dockerfile: bytes from `start` up to, not including, `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    /// The span as a range of byte offsets.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

/// A finding in a Dockerfile. Collected, never thrown: a broken line does not hide the ones after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// One line; for errors the reference builder's text, so that people find what they know.
    pub message: String,
    /// The exact place.
    pub span: Span,
    /// The physical lines of the instruction that holds `span`.
    pub lines: LineRange,
    /// Whether the message is about the form of an instruction; then [`Diagnostic::headline`] names its line.
    pub is_about_form: bool,
    /// What to try, where that is known for sure: ``did you mean `COPY`?``
    pub hint: Option<String>,
}

impl Diagnostic {
    /// The message as the last line of a failed build has it. The reference builder names the line of what it finds
    /// while it takes instructions apart, and of nothing that it finds earlier or later (`spec/dockerfile.md`
    /// section 1.8).
    pub fn headline(&self) -> String {
        if self.is_about_form {
            return format!("dockerfile parse error on line {}: {}", self.lines.first, self.message);
        }
        self.message.clone()
    }

    /// The same finding as one about the form of an instruction.
    pub(crate) fn about_form(self) -> Diagnostic {
        Diagnostic { is_about_form: true, ..self }
    }
}
