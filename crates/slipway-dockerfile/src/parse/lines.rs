//! From bytes to logical lines: where a physical line ends, and which ones are one instruction.

use std::ops::Range;

use crate::{Span, Word};

/// The longest physical line in bytes, its line feed not counted (`spec/dockerfile.md` section 1.1).
pub(super) const MAX_LINE_BYTES: usize = 65535;

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// One line of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct PhysicalLine<'a> {
    /// Without carriage returns and line feeds at the end, and without a byte order mark.
    pub(super) text: &'a str,
    /// As it is in the file, line feed included.
    pub(super) raw: &'a str,
    /// Where `text` starts in the file.
    pub(super) start: usize,
    /// Counted from 1.
    pub(super) number: usize,
}

impl PhysicalLine<'_> {
    pub(super) fn is_comment(&self) -> bool {
        self.text.trim_start().starts_with('#')
    }

    pub(super) fn is_blank(&self) -> bool {
        self.text.trim_start().is_empty()
    }
}

/// Hands out the lines of a file up to the end, or up to a line that is too long.
pub(super) struct Lines<'a> {
    text: &'a str,
    at: usize,
    /// The number of the line handed out last; 0 before the first.
    number: usize,
    too_long: Option<Span>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Lines<'a> {
        Lines { text, at: 0, number: 0, too_long: None }
    }

    /// The number of the line handed out last; 0 before the first.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// The line that ended the reading, if one was longer than [`MAX_LINE_BYTES`].
    pub(super) fn too_long(&self) -> Option<Span> {
        self.too_long
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = PhysicalLine<'a>;

    fn next(&mut self) -> Option<PhysicalLine<'a>> {
        let rest = &self.text[self.at..];
        if rest.is_empty() || self.too_long.is_some() {
            return None;
        }
        let length = rest.find('\n').unwrap_or(rest.len());
        if length > MAX_LINE_BYTES {
            self.too_long = Some(Span { start: self.at, end: self.at + length });
            return None;
        }
        let raw = &rest[..rest.len().min(length + 1)];
        let unmarked = if self.at == 0 { raw.strip_prefix(BYTE_ORDER_MARK).unwrap_or(raw) } else { raw };
        let start = self.at + (raw.len() - unmarked.len());
        self.at += raw.len();
        self.number += 1;
        Some(PhysicalLine { text: unmarked.trim_end_matches(['\r', '\n']), raw, start, number: self.number })
    }
}

/// `line` without the escape character that continues it on the next line; `None` if it ends here.
///
/// A doubled escape character is an escaped one and continues nothing.
pub(super) fn without_continuation(line: &str, escape: char) -> Option<&str> {
    let before = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!before.ends_with(escape)).then_some(before)
}

/// The text of an instruction, joined from physical lines, which knows where each byte came from.
#[derive(Debug, Default)]
pub(super) struct LogicalLine {
    text: String,
    /// Offset in `text` and in the file of each piece, ascending.
    pieces: Vec<(usize, usize)>,
}

impl LogicalLine {
    /// Appends `text`, which stands at byte `start` of the file.
    pub(super) fn push(&mut self, text: &str, start: usize) {
        self.pieces.push((self.text.len(), start));
        self.text.push_str(text);
    }

    pub(super) fn whole(&self) -> Fragment<'_> {
        Fragment { line: self, range: 0..self.text.len() }
    }

    /// The stretch of the file that covers `range`; comments in between are in it.
    fn span(&self, range: &Range<usize>) -> Span {
        let start = self.file_offset(range.start);
        // An end that is also the beginning of the next piece belongs to the piece before it.
        let end = if range.is_empty() { start } else { self.file_offset(range.end - 1) + 1 };
        Span { start, end }
    }

    fn file_offset(&self, offset: usize) -> usize {
        let n_before = self.pieces.partition_point(|(piece, _)| *piece <= offset);
        let (piece, start) = self.pieces[n_before.saturating_sub(1)];
        start + (offset - piece)
    }
}

/// A part of a logical line.
#[derive(Clone, Debug)]
pub(super) struct Fragment<'a> {
    line: &'a LogicalLine,
    range: Range<usize>,
}

impl<'a> Fragment<'a> {
    pub(super) fn text(&self) -> &'a str {
        &self.line.text[self.range.clone()]
    }

    pub(super) fn span(&self) -> Span {
        self.line.span(&self.range)
    }

    /// The part of this part that `range` says, counted from its own start.
    pub(super) fn part(&self, range: Range<usize>) -> Fragment<'a> {
        let start = self.range.start;
        Fragment { line: self.line, range: start + range.start..start + range.end }
    }

    /// From `offset` to the end.
    pub(super) fn from(&self, offset: usize) -> Fragment<'a> {
        self.part(offset..self.range.len())
    }

    /// Without white space at both ends.
    pub(super) fn trimmed(&self) -> Fragment<'a> {
        let text = self.text();
        let start = text.len() - text.trim_start().len();
        self.part(start..start + text.trim().len())
    }

    pub(super) fn word(&self) -> Word {
        Word { text: self.text().to_owned(), span: self.span() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Lines, LogicalLine, MAX_LINE_BYTES, without_continuation};

    #[test]
    fn line_ends_and_byte_order_mark_are_not_text() {
        let lines: Vec<_> = Lines::new("\u{feff}a\r\nb\rc\n\nd").map(|l| (l.text, l.start, l.number)).collect();
        assert_eq!(lines, [("a", 3, 1), ("b\rc", 6, 2), ("", 10, 3), ("d", 11, 4)]);
    }

    #[test]
    fn only_the_first_line_loses_a_byte_order_mark() {
        let lines: Vec<_> = Lines::new("a\n\u{feff}b").map(|l| l.text).collect();
        assert_eq!(lines, ["a", "\u{feff}b"]);
    }

    #[test]
    fn a_line_of_65536_bytes_ends_the_reading() {
        let longest = "x".repeat(MAX_LINE_BYTES);
        assert_eq!(Lines::new(&format!("{longest}\n")).count(), 1);
        let text = format!("a\n{longest}x\nb");
        let mut lines = Lines::new(&text);
        assert_eq!(lines.by_ref().count(), 1);
        assert_eq!(lines.too_long().map(|span| span.range()), Some(2..2 + MAX_LINE_BYTES + 1));
    }

    #[test]
    fn continuations() {
        for (line, expect) in [
            ("a \\", Some("a ")),
            ("a\\ \t", Some("a")),
            ("\\", Some("")),
            ("a\\\\", None),
            ("a\\\\\\", None),
            ("a\\ b", None),
            ("a`", None),
            ("", None),
        ] {
            assert_eq!(without_continuation(line, '\\'), expect, "{line}");
        }
        assert_eq!(without_continuation("a `", '`'), Some("a "));
    }

    #[test]
    fn spans_reach_over_continuations() {
        let mut line = LogicalLine::default();
        line.push("ENV a=b", 10);
        line.push("c d=e", 30);
        assert_eq!(line.whole().text(), "ENV a=bc d=e");
        assert_eq!(line.whole().part(4..8).span().range(), 14..31);
        assert_eq!(line.whole().part(4..7).span().range(), 14..17);
        assert_eq!(line.whole().part(7..8).span().range(), 30..31);
        assert_eq!(line.whole().part(12..12).span().range(), 35..35);
    }
}
