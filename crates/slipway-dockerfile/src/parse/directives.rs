//! What the comments at the top of a file tell the parser: `syntax`, `escape`, `check`.
//!
//! There are two readers, as in the reference builder. One finds `escape`, and complains; it looks at the file as
//! the instructions do. The other finds `syntax` and `check`, never complains, and also understands files that are
//! no Dockerfiles at all but name a frontend that can read them. White space in front of a directive hides it from
//! this one.

use crate::{Directives, Span, Word};

use super::lines::Lines;

/// One `# key=value` line.
struct Directive<'a> {
    key: Key,
    value: &'a str,
    span: Span,
    line: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Syntax,
    Escape,
    Check,
}

impl Key {
    fn of(word: &str) -> Option<Key> {
        [Key::Syntax, Key::Escape, Key::Check].into_iter().find(|key| key.as_str().eq_ignore_ascii_case(word))
    }

    fn as_str(self) -> &'static str {
        match self {
            Key::Syntax => "syntax",
            Key::Escape => "escape",
            Key::Check => "check",
        }
    }
}

/// What is wrong with a directive.
pub(super) struct DirectiveError {
    pub(super) message: String,
    pub(super) span: Span,
    pub(super) line: usize,
}

/// The directives of a file, how many lines they take, and what is wrong with them.
pub(super) fn read(text: &str) -> (Directives, usize, Vec<DirectiveError>) {
    let mut directives = Directives { syntax: syntax(text), check: check(text), ..Directives::default() };
    let mut errors = Vec::new();
    let mut seen = Vec::new();
    let mut n_lines = 0;
    for directive in leading(text, "#", 0, str::trim_start) {
        n_lines = directive.line;
        let Directive { key, value, span, line } = directive;
        if seen.contains(&key) {
            let message = format!("only one {} parser directive can be used", key.as_str());
            errors.push(DirectiveError { message, span, line });
            continue;
        }
        seen.push(key);
        if key != Key::Escape {
            continue;
        }
        match value {
            "\\" => directives.escape = '\\',
            "`" => directives.escape = '`',
            _ => {
                let message = format!("invalid escape token '{value}' does not match ` or \\");
                errors.push(DirectiveError { message, span, line });
            }
        }
    }
    (directives, n_lines, errors)
}

/// The frontend that the file asks for, in any of the three spellings.
fn syntax(text: &str) -> Option<Word> {
    let n_skipped = usize::from(has_shebang(text));
    let find = |marker| leading(text, marker, n_skipped, as_it_is).find(|directive| directive.key == Key::Syntax);
    if let Some(Directive { value, span, .. }) = find("#").or_else(|| find("//")) {
        let reference = value.split(' ').next().unwrap_or(value);
        let span = Span { start: span.start, end: span.start + reference.len() };
        return Some(Word { text: reference.to_owned(), span });
    }
    let json: serde_json::Value = serde_json::from_str(text).ok()?;
    let reference = json.get("syntax")?.as_str()?;
    let start = text.find(reference).unwrap_or(0);
    Some(Word { text: reference.to_owned(), span: Span { start, end: start + reference.len() } })
}

fn check(text: &str) -> Option<Word> {
    leading(text, "#", usize::from(has_shebang(text)), as_it_is)
        .find(|directive| directive.key == Key::Check)
        .map(|Directive { value, span, .. }| Word { text: value.to_owned(), span })
}

fn has_shebang(text: &str) -> bool {
    Lines::new(text).next().is_some_and(|line| line.text.starts_with("#!"))
}

/// What a line is to the reader that passes over no white space in front.
fn as_it_is(line: &str) -> &str {
    line
}

/// The directives at the top, after `n_skipped` lines. The first line that is none ends them for good. `trim` is what
/// happens to a line before it is looked at.
fn leading<'a>(
    text: &'a str,
    marker: &'a str,
    n_skipped: usize,
    trim: fn(&str) -> &str,
) -> impl Iterator<Item = Directive<'a>> {
    Lines::new(text).skip(n_skipped).map_while(move |line| {
        let comment = trim(line.text).strip_prefix(marker)?;
        let (key, value) = comment.split_once('=')?;
        let key = Key::of(key.trim())?;
        let value = value.trim();
        if value.is_empty() {
            return None;
        }
        let end = line.start + line.text.trim_end().len();
        Some(Directive { key, value, span: Span { start: end - value.len(), end }, line: line.number })
    })
}

#[cfg(test)]
mod tests {
    use super::read;

    /// `syntax`, `escape`, `check` of a file, and the complaints.
    fn check(text: &str) -> (Option<String>, char, Option<String>, Vec<String>) {
        let (directives, _, errors) = read(text);
        for word in directives.syntax.iter().chain(&directives.check) {
            assert_eq!(&text[word.span.range()], word.text, "span in {text}");
        }
        let errors = errors.into_iter().map(|error| error.message).collect();
        (directives.syntax.map(|w| w.text), directives.escape, directives.check.map(|w| w.text), errors)
    }

    #[test]
    fn syntax_is_found_in_all_spellings() {
        for text in [
            "#syntax=a/b",
            "# SYNTAX = a/b \r\nFROM x",
            "\u{feff}# syntax=a/b --flag",
            "#!/usr/bin/x\n#syntax=a/b",
            "//syntax=a/b\n",
            "{\"syntax\": \"a/b\"}",
            "# escape=`\n# syntax=a/b",
        ] {
            assert_eq!(check(text).0.as_deref(), Some("a/b"), "{text}");
        }
    }

    #[test]
    fn only_the_top_counts() {
        for text in [
            "\n# syntax=a",
            "# hi\n# syntax=a",
            "## syntax=a",
            "FROM a\n# syntax=a",
            "# syntax=\n# syntax=b",
            " # syntax=a",
        ] {
            assert_eq!(check(text).0, None, "{text}");
        }
        assert_eq!(check("# unknown=1\n# escape=`").1, '\\');
        assert_eq!(check("# a comment\n# escape=`").1, '\\');
        assert_eq!(check("#!/usr/bin/x\n# escape=`").1, '\\');
    }

    #[test]
    fn escape_and_check() {
        assert_eq!(check("# escape=`").1, '`');
        assert_eq!(check("  # escape=`").1, '`');
        assert_eq!(check("  # check=skip=all").2, None);
        assert_eq!(check("# check=skip=all;error=true").2.as_deref(), Some("skip=all;error=true"));
        assert_eq!(check("# escape=x").3, ["invalid escape token 'x' does not match ` or \\"]);
        assert_eq!(check("# escape=`\n# escape=`").3, ["only one escape parser directive can be used"]);
    }
}
