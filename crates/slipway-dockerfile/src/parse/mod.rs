//! Answers what is written in a Dockerfile: text in, syntax tree and complaints out (`spec/dockerfile.md` section 1).
//!
//! 1. `lines`: physical lines; continuations joined to logical ones that know where each byte stands in the file.
//! 2. `directives`: what the comments at the top say.
//! 3. `words`, `json`: the logical line falls into keyword, flags and arguments.
//! 4. `arguments`: the arguments in the form that the keyword takes.
//! 5. `heredoc`: the bodies behind the line.

mod arguments;
mod directives;
mod heredoc;
mod json;
mod lines;
#[cfg(test)]
mod tests;
mod words;

use slipway_graph::LineRange;

use crate::{Args, Diagnostic, Directives, Dockerfile, Heredoc, Instruction, Keyword, Severity, Span};
use arguments::ArgumentError;
use lines::{Fragment, Lines, LogicalLine, PhysicalLine, without_continuation};

/// Parses a Dockerfile.
///
/// Never fails: an instruction that cannot be understood is missing in the tree and present in the diagnostics,
/// which are all errors; the first one is that which the reference builder reports. Bytes that are no UTF-8 are
/// replaced by U+FFFD.
pub fn parse(text: &[u8]) -> (Dockerfile, Vec<Diagnostic>) {
    let text = String::from_utf8_lossy(text).into_owned();
    let mut parser = Parser::new(&text);
    parser.run();
    let Parser { directives, instructions, mut diagnostics, .. } = parser;
    // What is wrong with the lines comes before what is wrong with the form of instructions: the reference builder ends
    // at the former before it looks at the latter.
    diagnostics.sort_by_key(|diagnostic| (diagnostic.is_about_form, diagnostic.lines.first, diagnostic.span.start));
    (Dockerfile { text, directives, instructions }, diagnostics)
}

/// Parses the text of an `ONBUILD` trigger as an image keeps it. The escape character is always `\`; spans point
/// into `text`.
///
/// Fails with the first thing that is wrong, also if `text` is not exactly one instruction.
pub fn parse_trigger(text: &str) -> Result<Instruction, Diagnostic> {
    let (dockerfile, diagnostics) = parse(text.as_bytes());
    if let Some(first) = diagnostics.into_iter().next() {
        return Err(first);
    }
    <[Instruction; 1]>::try_from(dockerfile.instructions).map(|[instruction]| instruction).map_err(|instructions| {
        let lines = LineRange { first: 1, last: instructions.last().map_or(1, |last| last.lines.last) };
        error("onbuild trigger should be a single expression", Span { start: 0, end: text.len() }, lines)
    })
}

/// So many comments are kept above an instruction at least. Names are looked for in all of them: a file of comments and
/// names only would be looked through again for each name.
const MAX_COMMENTS: usize = 500;

fn error(message: impl ToString, span: Span, lines: LineRange) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        message: message.to_string(),
        span,
        lines,
        is_about_form: false,
        hint: None,
    }
}

struct Parser<'a> {
    lines: Lines<'a>,
    directives: Directives,
    /// Lines at the top that are directives, and so no comments.
    n_directive_lines: usize,
    /// The comments since the last instruction.
    comments: Vec<String>,
    /// Also those that turned out to be broken.
    n_instructions: usize,
    instructions: Vec<Instruction>,
    diagnostics: Vec<Diagnostic>,
}

/// An instruction of which the heredoc bodies are not read yet.
struct Joined {
    line: LogicalLine,
    lines: LineRange,
    has_empty_continuation: bool,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Parser<'a> {
        let (directives, n_directive_lines, errors) = directives::read(text);
        let at = |line| LineRange { first: line, last: line };
        Parser {
            lines: Lines::new(text),
            directives,
            n_directive_lines,
            comments: Vec::new(),
            n_instructions: 0,
            instructions: Vec::new(),
            diagnostics: errors.into_iter().map(|e| error(e.message, e.span, at(e.line))).collect(),
        }
    }

    fn run(&mut self) {
        while let Some(line) = self.lines.next() {
            if line.is_comment() {
                self.remember_comment(&line);
            } else if !line.is_blank() {
                let joined = self.join(&line);
                self.n_instructions += 1;
                self.instruction(joined);
                self.comments.clear();
            }
        }
        self.finish();
    }

    /// `#` alone forgets what came before it. The first character of the line is dropped whatever it is, as the
    /// reference builder does it: an indented comment keeps its `#`.
    fn remember_comment(&mut self, line: &PhysicalLine<'_>) {
        if line.number <= self.n_directive_lines {
            return;
        }
        let mut characters = line.text.chars();
        characters.next();
        let comment = characters.as_str().trim();
        if comment.is_empty() {
            self.comments.clear();
        } else {
            self.comments.push(comment.to_owned());
            if self.comments.len() >= 2 * MAX_COMMENTS {
                self.comments.drain(..MAX_COMMENTS);
            }
        }
    }

    /// Reads the lines that continue `first`.
    fn join(&mut self, first: &PhysicalLine<'_>) -> Joined {
        let mut joined = Joined {
            line: LogicalLine::default(),
            lines: LineRange { first: first.number, last: first.number },
            has_empty_continuation: false,
        };
        // White space in front is dropped here, and kept on the lines that follow: there it is part of the value.
        let mut text = first.text.trim_start();
        let mut start = first.start + (first.text.len() - text.len());
        while let Some(continued) = without_continuation(text, self.directives.escape) {
            joined.line.push(continued, start);
            let Some(line) = self.next_continuation(&mut joined.has_empty_continuation) else {
                joined.lines.last = self.lines.number();
                return joined;
            };
            (text, start) = (line.text, line.start);
        }
        joined.line.push(text, start);
        joined.lines.last = self.lines.number();
        joined
    }

    /// The next line that is neither a comment nor empty.
    fn next_continuation(&mut self, has_empty: &mut bool) -> Option<PhysicalLine<'a>> {
        for line in self.lines.by_ref() {
            if line.is_comment() {
                continue;
            }
            if !line.is_blank() {
                return Some(line);
            }
            *has_empty = true;
        }
        None
    }

    fn instruction(&mut self, joined: Joined) {
        let Joined { line, mut lines, has_empty_continuation } = joined;
        let whole = line.whole().trimmed();
        let (keyword_word, rest) = words::split_first(&whole);
        let rest = rest.unwrap_or_else(|| whole.from(whole.text().len()));
        let (flags, arguments) = words::split_flags(&rest, self.directives.escape);

        let Some(keyword) = Keyword::of(keyword_word.text()) else {
            let message = arguments::unknown_instruction(keyword_word.text());
            self.diagnostics.push(error(message, keyword_word.span(), lines).about_form());
            return;
        };
        let args = arguments::split(keyword, &arguments, self.directives.escape);
        let heredocs = match can_have_heredocs(keyword, &arguments, &args, self.directives.escape) {
            true => self.heredocs(&whole),
            false => Ok(Vec::new()),
        };
        lines.last = self.lines.number();

        // The order in which the reference builder looks for these.
        let (problem, is_about_form) = match (args, heredocs) {
            (Err(problem), _) => (problem.to_string(), false),
            (Ok(_), Err(Unterminated)) => ("unterminated heredoc".to_owned(), false),
            (Ok(args), Ok(heredocs)) => match arguments::check(keyword, !flags.is_empty(), &args) {
                Err(problem) => (problem.to_string(), true),
                Ok(()) => {
                    self.instructions.push(Instruction {
                        keyword,
                        keyword_word: keyword_word.word(),
                        flags,
                        args: with_bodies(args, &rest, line.whole().text(), &heredocs),
                        heredocs,
                        logical_line: whole.text().to_owned(),
                        lines,
                        span: whole.span(),
                        comments: std::mem::take(&mut self.comments),
                        has_empty_continuation,
                    });
                    return;
                }
            },
        };
        let place = if arguments.text().is_empty() { &whole } else { &arguments };
        self.diagnostics.push(Diagnostic { is_about_form, ..error(problem, place.span(), lines) });
    }

    /// Reads the bodies of the heredocs that `line` announces.
    fn heredocs(&mut self, line: &Fragment<'_>) -> Result<Vec<Heredoc>, Unterminated> {
        heredoc::announced(line.text()).into_iter().map(|announced| self.body(announced, line)).collect()
    }

    fn body(&mut self, announced: heredoc::Announcement, line: &Fragment<'_>) -> Result<Heredoc, Unterminated> {
        let mut body = String::new();
        let mut start = None;
        for physical in self.lines.by_ref() {
            let start = *start.get_or_insert(physical.start);
            if announced.is_terminator(physical.text) {
                let heredoc::Announcement { name, descriptor, expands, strips_tabs, range } = announced;
                let body_span = Span { start, end: physical.start + physical.text.len() };
                let word = line.part(range).word();
                return Ok(Heredoc { name, descriptor, expands, strips_tabs, body, body_span, word });
            }
            body.push_str(physical.raw);
        }
        Err(Unterminated)
    }

    fn finish(&mut self) {
        let first_line = LineRange { first: 1, last: 1 };
        let n_lines = self.lines.number();
        if self.n_instructions == 0 {
            let is_empty = n_lines == 0 && self.lines.too_long().is_none();
            let message = if is_empty { "the Dockerfile cannot be empty" } else { "file with no instructions" };
            self.diagnostics.push(error(message, Span::default(), first_line));
        } else if let Some(span) = self.lines.too_long() {
            let message = format!("dockerfile line greater than max allowed size of {}", lines::MAX_LINE_BYTES);
            self.diagnostics.push(error(message, span, LineRange { first: n_lines + 1, last: n_lines + 1 }));
        }
    }
}

/// The file ended before the terminator of a heredoc.
struct Unterminated;

/// Heredocs belong to `RUN`, `COPY` and `ADD`, also behind `ONBUILD`, but not to their JSON forms.
fn can_have_heredocs(
    keyword: Keyword,
    arguments: &Fragment<'_>,
    args: &Result<Args, ArgumentError>,
    escape: char,
) -> bool {
    match keyword {
        Keyword::Run | Keyword::Copy | Keyword::Add => !matches!(args, Ok(Args::Json(_)) | Err(_)),
        Keyword::Onbuild => {
            let (keyword, rest) = words::split_first(arguments);
            let Some(keyword) = Keyword::of(keyword.text()).filter(|keyword| *keyword != Keyword::Onbuild) else {
                return false;
            };
            rest.is_some_and(|rest| {
                let (_, rest) = words::split_flags(&rest, escape);
                can_have_heredocs(keyword, &rest, &arguments::split(keyword, &rest, escape), escape)
            })
        }
        _ => false,
    }
}

/// Gives a trigger the text that an image keeps: all that follows `ONBUILD`, then each heredoc's body and its name
/// (`spec/dockerfile.md` section 3.14). Other arguments stay as they are.
fn with_bodies(args: Args, rest: &Fragment<'_>, line: &str, heredocs: &[Heredoc]) -> Args {
    let Args::Trigger(_) = args else {
        return args;
    };
    let mut word = rest.word();
    // White space at the end is kept, as the reference builder keeps it.
    word.text += &line[line.trim_end().len()..];
    for heredoc in heredocs {
        word.text += "\n";
        word.text += &heredoc.body;
        word.text += &heredoc.name;
    }
    Args::Trigger(word)
}
