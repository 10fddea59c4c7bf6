//! The one place that turns errors into text: where in the file, what, why, and what to try.
//!
//! The last line is always `ERROR: …`, in the words of the reference builder (`spec/dockerfile.md` section 10.4).

use std::error::Error;
use std::fmt::Write as _;

use slipway_dockerfile::Diagnostic;
use slipway_engine::{BuildError, BuildFailure, ErrorClass, SourceFile, chain};
use slipway_graph::LineRange;
use slipway_graph::request::flags::Moment;
use slipway_sandbox::userns::EnterError;

use crate::cli::Rejected;
use crate::exit_code;

const RULE: &str = "--------------------\n";

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("a typing mistake")]
    Rejected(Rejected),
    /// Refused before anything was done.
    #[error(transparent)]
    Options(Box<dyn Error + Send + Sync>),
    /// What a build needs is not there.
    #[error(transparent)]
    Preparation(Box<dyn Error + Send + Sync>),
    #[error(transparent)]
    Enter(#[from] EnterError),
    #[error("the build failed")]
    Build(BuildError),
    /// One of several builds failed.
    #[error("target {name}")]
    Target { name: String, error: BuildError },
    #[error(transparent)]
    Solve(Box<dyn Error + Send + Sync>),
    /// A check came to this mistake; the text ends with the lines of the file.
    #[error("{0}")]
    Checked(String),
    /// The whole text, in which the file is shown already.
    #[error("{0}")]
    Told(String),
    /// A container that could not be run, or that ended with this code; the text says why.
    #[error("{text}")]
    Container { text: String, exit_code: u8 },
    /// A check found something, and has said so.
    #[error("the check found something")]
    Findings,
}

impl CommandError {
    /// For errors of flags: `moment` says what stands in front of the text.
    pub(crate) fn of_flags(error: Box<dyn Error + Send + Sync>, moment: Moment, words: &[std::ffi::OsString]) -> Self {
        match moment {
            Moment::Argument => CommandError::Rejected(Rejected::argument(&error.to_string(), words)),
            Moment::Options => CommandError::Options(error),
            Moment::Build => CommandError::Preparation(error),
            Moment::Solve => CommandError::Solve(error),
        }
    }
}

/// The whole text for the user, and the exit code.
pub(crate) fn render(error: &CommandError) -> (String, u8) {
    match error {
        CommandError::Rejected(rejected) => (rejected.text.clone(), rejected.exit_code),
        CommandError::Options(error) => (format!("ERROR: {}\n", chain(error.as_ref())), exit_code::FAILURE),
        CommandError::Preparation(error) => {
            (format!("ERROR: failed to build: {}\n", chain(error.as_ref())), exit_code::FAILURE)
        }
        CommandError::Solve(error) => (failed_to_solve(&chain(error.as_ref())), exit_code::FAILURE),
        CommandError::Enter(error) => {
            let message = format!("ERROR: failed to build: {}\n", chain(error));
            (hint_line(error.hint().as_deref()) + &message, exit_code::FAILURE)
        }
        CommandError::Build(error) => (build_error(error), exit_code_of(error)),
        CommandError::Target { name, error } => {
            let text = build_error(error);
            (text.replacen("ERROR: failed to build: ", &format!("ERROR: target {name}: "), 1), exit_code_of(error))
        }
        CommandError::Checked(text) => (format!("ERROR: {text}"), exit_code::FAILURE),
        CommandError::Told(text) => (text.clone(), exit_code::FAILURE),
        CommandError::Container { text, exit_code } => (text.clone(), *exit_code),
        CommandError::Findings => (String::new(), exit_code::FAILURE),
    }
}

fn exit_code_of(error: &BuildError) -> u8 {
    match (&error.failure, error.class()) {
        (BuildFailure::Canceled, _) => exit_code::INTERRUPTED,
        (_, ErrorClass::Bug) => exit_code::BUG,
        (_, ErrorClass::User | ErrorClass::Environment) => exit_code::FAILURE,
    }
}

fn build_error(error: &BuildError) -> String {
    let file = error.dockerfile.as_ref();
    match &error.failure {
        BuildFailure::Dockerfile(diagnostics) => dockerfile_errors(diagnostics, file),
        BuildFailure::Step { lines, hint, .. } => {
            step_excerpt(file, *lines) + &hint_line(hint.as_deref()) + &failed_to_solve(&headline(error))
        }
        BuildFailure::Panic { lines, .. } => {
            let hint = "this is a mistake in slipway, not in the Dockerfile: please report it, with this output";
            step_excerpt(file, *lines) + &hint_line(Some(hint)) + &failed_to_solve(&headline(error))
        }
        BuildFailure::Request(_) => format!("ERROR: failed to build: {}\n", headline(error)),
        BuildFailure::Canceled | BuildFailure::Other(_) => failed_to_solve(&headline(error)),
    }
}

/// Why a build failed, on one line, without the words that all messages begin with.
pub(crate) fn headline(error: &BuildError) -> String {
    match &error.failure {
        BuildFailure::Dockerfile(diagnostics) => {
            diagnostics.first().map_or_else(|| "the Dockerfile is not valid".to_owned(), Diagnostic::headline)
        }
        BuildFailure::Step { source, .. } | BuildFailure::Request(source) | BuildFailure::Other(source) => {
            chain(source.as_ref())
        }
        BuildFailure::Panic { name, message, .. } => panic_text(name, message),
        BuildFailure::Canceled => "context canceled".to_owned(),
    }
}

/// The lines that a step came from, if it came from any.
fn step_excerpt(file: Option<&SourceFile>, lines: Option<LineRange>) -> String {
    file.zip(lines).map(|(file, lines)| excerpt(&file.name, &file.text, lines, None)).unwrap_or_default()
}

/// What is said of a panic while slipway worked on the step `name`.
pub(crate) fn panic_text(name: &str, message: &str) -> String {
    format!("slipway panicked in the step `{name}`: {message}")
}

/// A block and a hint for each finding. With several, each block is followed by its message, and the first one, which
/// may have caused the others, is the last line again.
fn dockerfile_errors(diagnostics: &[Diagnostic], file: Option<&SourceFile>) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        if let Some(file) = file {
            text.push_str(&excerpt(&file.name, &file.text, diagnostic.lines, Some(diagnostic)));
        }
        if diagnostics.len() > 1 {
            text.push_str(&format!("error: {}\n", diagnostic.headline()));
        }
        text.push_str(&hint_line(diagnostic.hint.as_deref()));
    }
    let message = diagnostics.first().map_or_else(|| "the Dockerfile is not valid".to_owned(), Diagnostic::headline);
    text + &failed_to_solve(&message)
}

pub(crate) fn hint_line(hint: Option<&str>) -> String {
    hint.map(|hint| format!("hint: {hint}\n")).unwrap_or_default()
}

fn failed_to_solve(message: &str) -> String {
    format!("ERROR: failed to build: failed to solve: {message}\n")
}

/// Lines of a file with the wrong ones marked; below the line of `finding`, its exact place.
pub(crate) fn excerpt(name: &str, file_text: &str, lines: LineRange, finding: Option<&Diagnostic>) -> String {
    // A file that ends in a newline is shown with an empty last line, as the reference does.
    let all: Vec<&str> = file_text.split('\n').map(|line| line.trim_end_matches('\r')).collect();
    let n_around = if lines.first == lines.last { 2 } else { 1 };
    let first = lines.first.saturating_sub(n_around).max(1);
    let last = (lines.last + n_around).min(all.len());
    let place = finding.and_then(|finding| place_in_line(file_text, finding));
    let mut text = format!("{name}:{}\n{RULE}", lines.first);
    for number in first..=last {
        let marker = if (lines.first..=lines.last).contains(&number) { ">>>" } else { "   " };
        let line = all[number - 1];
        let _ = writeln!(text, " {number:3} | {marker} {line}");
        if let Some((n_before, n_marked)) = place.filter(|place| place.number == number).map(Place::columns(line)) {
            let _ = writeln!(text, "     |     {}{}", " ".repeat(n_before), "^".repeat(n_marked));
        }
    }
    text + RULE
}

/// A stretch of one line, in bytes from its start.
#[derive(Clone, Copy)]
struct Place {
    number: usize,
    start: usize,
    end: usize,
}

impl Place {
    /// How many characters of `line` are before the place, and how many are in it.
    fn columns(line: &str) -> impl Fn(Place) -> (usize, usize) {
        move |place| {
            let n_chars = |range| line.get(range).map_or(0, |part: &str| part.chars().count());
            (n_chars(0..place.start), n_chars(place.start..place.end.min(line.len())).max(1))
        }
    }
}

/// The part of the finding's span in its first line; `None` if it says no more than the marked lines do.
fn place_in_line(text: &str, finding: &Diagnostic) -> Option<Place> {
    let span = finding.span;
    if span.start >= span.end || span.end > text.len() || !text.is_char_boundary(span.start) {
        return None;
    }
    let line_start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = text[span.start..].find('\n').map_or(text.len(), |newline| span.start + newline);
    let line = text[line_start..line_end].trim_end();
    let place = Place {
        number: text[..span.start].matches('\n').count() + 1,
        start: span.start - line_start,
        end: span.end.min(line_end) - line_start,
    };
    let is_whole_line = place.start == 0 && place.end >= line.len();
    (!is_whole_line).then_some(place)
}

#[cfg(test)]
mod tests {
    use slipway_dockerfile::{Severity, Span};

    use super::*;

    fn file(text: &str) -> SourceFile {
        SourceFile { name: "Dockerfile".to_owned(), path: "Dockerfile".to_owned(), text: text.to_owned() }
    }

    fn finding(text: &str, part: &str, message: &str, hint: Option<&str>) -> Diagnostic {
        let start = text.find(part).unwrap();
        let line = text[..start].matches('\n').count() + 1;
        Diagnostic {
            severity: Severity::Error,
            message: message.to_owned(),
            span: Span { start, end: start + part.len() },
            lines: LineRange { first: line, last: line },
            is_about_form: false,
            hint: hint.map(str::to_owned),
        }
    }

    #[test]
    fn a_failed_step_is_shown_in_its_file() {
        let source = std::io::Error::other("process \"/bin/sh -c false\" did not complete successfully: exit code: 1");
        let error = CommandError::Build(BuildError {
            build: 0,
            failure: BuildFailure::Step {
                lines: Some(LineRange { first: 2, last: 2 }),
                name: "[2/2] RUN false".to_owned(),
                source: Box::new(source),
                hint: Some("ask `false` why".to_owned()),
            },
            dockerfile: Some(file("FROM a\nRUN false\nRUN b\n")),
        });
        let expected = "\
Dockerfile:2
--------------------
   1 |     FROM a
   2 | >>> RUN false
   3 |     RUN b
   4 |     \n--------------------
hint: ask `false` why
ERROR: failed to build: failed to solve: process \"/bin/sh -c false\" did not complete successfully: exit code: 1
";
        assert_eq!(render(&error), (expected.to_owned(), 1));
    }

    #[test]
    fn several_lines_have_one_line_around_them() {
        let lines = LineRange { first: 3, last: 4 };
        let expected = "\
Dockerfile:3
--------------------
   2 |     b
   3 | >>> c
   4 | >>> d
   5 |     e
--------------------
";
        assert_eq!(excerpt("Dockerfile", "a\nb\nc\nd\ne\nf", lines, None), expected);
    }

    #[test]
    fn a_mistake_in_the_file_is_pointed_at() {
        let text = "FROM a AS builder\nCOPY --from=biulder /x /";
        let message = "no stage is named `biulder`";
        let findings = vec![finding(text, "biulder", message, Some("`builder` is defined on line 1"))];
        let error = CommandError::Build(BuildError {
            build: 0,
            failure: BuildFailure::Dockerfile(findings),
            dockerfile: Some(file(text)),
        });
        let expected = "\
Dockerfile:2
--------------------
   1 |     FROM a AS builder
   2 | >>> COPY --from=biulder /x /
     |                 ^^^^^^^
--------------------
hint: `builder` is defined on line 1
ERROR: failed to build: failed to solve: no stage is named `biulder`
";
        assert_eq!(render(&error), (expected.to_owned(), 1));
    }

    #[test]
    fn of_several_mistakes_each_has_its_message() {
        let text = "FRM a\nRUNN b";
        let findings = [finding(text, "FRM a", "first", None), finding(text, "RUNN b", "second", None)];
        let shown = dockerfile_errors(&findings, Some(&file(text)));
        assert_eq!(shown.matches("error: ").count(), 2);
        assert!(shown.ends_with("error: second\nERROR: failed to build: failed to solve: first\n"));
        assert!(!shown.contains('^'), "a whole line needs no second mark: {shown}");
    }

    #[test]
    fn a_panic_is_slipways_own_fault() {
        let (name, message) = ("[2/2] RUN b".to_owned(), "index out of bounds".to_owned());
        let lines = Some(LineRange { first: 2, last: 2 });
        let error = CommandError::Build(BuildError {
            build: 0,
            failure: BuildFailure::Panic { lines, name, message },
            dockerfile: Some(file("FROM a\nRUN b\n")),
        });
        let (text, code) = render(&error);
        assert_eq!(code, exit_code::BUG);
        let end = "\
hint: this is a mistake in slipway, not in the Dockerfile: please report it, with this output
ERROR: failed to build: failed to solve: slipway panicked in the step `[2/2] RUN b`: index out of bounds
";
        assert!(text.starts_with("Dockerfile:2\n") && text.ends_with(end), "{text}");
    }

    #[test]
    fn an_interrupted_build_has_its_own_code() {
        let error = CommandError::Build(BuildError { build: 0, failure: BuildFailure::Canceled, dockerfile: None });
        assert_eq!(render(&error), ("ERROR: failed to build: failed to solve: context canceled\n".to_owned(), 130));
    }

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot open the store")]
        struct Outer(#[source] std::io::Error);
        assert_eq!(chain(&Outer(std::io::Error::other("it is gone"))), "cannot open the store: it is gone");
        let transparent = CommandError::Preparation(Box::new(Outer(std::io::Error::other("it is gone"))));
        assert_eq!(render(&transparent).0, "ERROR: failed to build: cannot open the store: it is gone\n");
    }
}
