//! Path patterns as Go's `filepath.Match` has them, and with `**` as `.dockerignore` has it.
//!
//! | pattern   | matches                                          |
//! |-----------|--------------------------------------------------|
//! | `*`       | any run of bytes without `/`                     |
//! | `?`       | one character but `/`                            |
//! | `[a-z]`   | one character of the class; `[^a-z]` all others  |
//! | `\c`      | `c`                                              |
//! | `**`      | ignore rules only: any number of path components |
//!
//! Matching works on bytes, for names of files need not be UTF-8, but `?` and classes take a whole character.

/// A pattern that breaks off within a class or an escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct BadPattern;

/// Whether the whole of `path` matches `pattern`; `*` and `?` do not match `/` (Go's `filepath.Match`).
///
/// Fails if the pattern is malformed, also in a part that was not needed to decide.
pub fn match_pattern(pattern: &str, path: impl AsRef<[u8]>) -> Result<bool, BadPattern> {
    Ok(Glob::parse(pattern, DoubleStar::IsStar)?.matches(path.as_ref()))
}

/// What `**` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DoubleStar {
    /// The same as `*`.
    IsStar,
    /// Any number of path components.
    CrossesDirectories,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Literal(Vec<u8>),
    /// `?`
    Any,
    Class {
        is_negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// `*`
    Star,
    /// `**` or `**/` in front of something: nothing, or anything up to a `/`.
    Directories,
    /// `**` at the end.
    Everything,
}

/// A pattern that is ready to be matched many times.
#[derive(Clone, Debug)]
pub(crate) struct Glob {
    tokens: Vec<Token>,
}

impl Glob {
    pub(crate) fn parse(pattern: &str, double_star: DoubleStar) -> Result<Glob, BadPattern> {
        let mut tokens = Vec::new();
        let mut rest = pattern;
        while let Some(c) = rest.chars().next() {
            let start = rest;
            rest = &rest[c.len_utf8()..];
            match c {
                '*' if double_star == DoubleStar::CrossesDirectories && rest.starts_with('*') => {
                    rest = &rest[1..];
                    rest = rest.strip_prefix('/').unwrap_or(rest);
                    tokens.push(if rest.is_empty() { Token::Everything } else { Token::Directories });
                }
                '*' if tokens.last() == Some(&Token::Star) => {}
                '*' => tokens.push(Token::Star),
                '?' => tokens.push(Token::Any),
                '[' => {
                    let (class, behind) = class(rest)?;
                    tokens.push(class);
                    rest = behind;
                }
                '\\' => {
                    let escaped = rest.chars().next().ok_or(BadPattern)?;
                    push_literal(&mut tokens, &rest[..escaped.len_utf8()]);
                    rest = &rest[escaped.len_utf8()..];
                }
                _ => push_literal(&mut tokens, &start[..c.len_utf8()]),
            }
        }
        Ok(Glob { tokens })
    }

    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        matches(&self.tokens, path)
    }

    /// Whether something below `directory` can match. Errs on the side of yes.
    pub(crate) fn may_match_below(&self, directory: &[u8]) -> bool {
        let (literal, is_whole) = match self.tokens.as_slice() {
            [] => return false,
            [Token::Literal(literal)] => (literal.as_slice(), true),
            [Token::Literal(literal), ..] => (literal.as_slice(), false),
            _ => return true,
        };
        // Below the directory all paths start with its name and a slash.
        let n_common = literal.len().min(directory.len());
        if literal[..n_common] != directory[..n_common] {
            return false;
        }
        match literal.get(directory.len()) {
            Some(next) => *next == b'/',
            None => !is_whole,
        }
    }
}

fn push_literal(tokens: &mut Vec<Token>, text: &str) {
    match tokens.last_mut() {
        Some(Token::Literal(literal)) => literal.extend_from_slice(text.as_bytes()),
        _ => tokens.push(Token::Literal(text.as_bytes().to_vec())),
    }
}

/// The class of which `[` is consumed, and what follows it. A class has at least one range.
fn class(text: &str) -> Result<(Token, &str), BadPattern> {
    let (is_negated, mut rest) = match text.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut ranges = Vec::new();
    loop {
        if let Some(behind) = rest.strip_prefix(']').filter(|_| !ranges.is_empty()) {
            return Ok((Token::Class { is_negated, ranges }, behind));
        }
        let first;
        (first, rest) = class_character(rest)?;
        let mut last = first;
        if let Some(behind) = rest.strip_prefix('-') {
            (last, rest) = class_character(behind)?;
        }
        ranges.push((first, last));
    }
}

fn class_character(text: &str) -> Result<(char, &str), BadPattern> {
    let mut chars = text.chars();
    let c = match chars.next() {
        None | Some('-' | ']') => return Err(BadPattern),
        Some('\\') => chars.next().ok_or(BadPattern)?,
        Some(c) => c,
    };
    Ok((c, chars.as_str()))
}

/// Where matching goes on after a mismatch: the tokens behind a wildcard, and the text it has not taken yet.
type Retry<'t> = (&'t [Token], usize);

/// Only the last wildcard of each kind has to be tried again with more text: what an earlier one could give, the later
/// one can take as well. A `*` that may not take a `/` gives the turn back to the last `**`.
fn matches(tokens: &[Token], path: &[u8]) -> bool {
    let mut at = 0;
    let mut rest = tokens;
    let mut star: Option<Retry<'_>> = None;
    let mut directories: Option<Retry<'_>> = None;
    loop {
        let step = match rest.split_first() {
            None if at == path.len() => return true,
            None => None,
            Some((Token::Everything, _)) => return true,
            Some((Token::Star, behind)) => {
                star = Some((behind, at));
                rest = behind;
                continue;
            }
            Some((Token::Directories, behind)) => {
                directories = Some((behind, at));
                star = None;
                rest = behind;
                continue;
            }
            Some((token, behind)) => single(token, &path[at..]).map(|length| (behind, length)),
        };
        if let Some((behind, length)) = step {
            at += length;
            rest = behind;
            continue;
        }
        if let Some((behind, taken)) = star.filter(|(_, taken)| path.get(*taken).is_some_and(|b| *b != b'/')) {
            star = Some((behind, taken + 1));
            (rest, at) = (behind, taken + 1);
            continue;
        }
        let Some((behind, taken)) = directories else {
            return false;
        };
        let Some(slash) = path[taken..].iter().position(|b| *b == b'/') else {
            return false;
        };
        at = taken + slash + 1;
        rest = behind;
        star = None;
        directories = Some((behind, at));
    }
}

/// How many bytes of `path` a token takes that is no run.
fn single(token: &Token, path: &[u8]) -> Option<usize> {
    match token {
        Token::Literal(literal) => path.starts_with(literal).then_some(literal.len()),
        Token::Any => first_character(path).filter(|(c, _)| *c != '/').map(|(_, length)| length),
        Token::Class { is_negated, ranges } => {
            let (c, length) = first_character(path)?;
            let is_in = ranges.iter().any(|(first, last)| (*first..=*last).contains(&c));
            (is_in != *is_negated).then_some(length)
        }
        Token::Star | Token::Directories | Token::Everything => None,
    }
}

/// The character at the start and its length; a byte that is no UTF-8 counts as U+FFFD.
fn first_character(path: &[u8]) -> Option<(char, usize)> {
    let chunk = path.get(..path.len().min(4))?.utf8_chunks().next()?;
    match chunk.valid().chars().next() {
        Some(c) => Some((c, c.len_utf8())),
        None => Some((char::REPLACEMENT_CHARACTER, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::{BadPattern, DoubleStar, Glob, match_pattern};

    #[test]
    fn go_matches() {
        for (pattern, path, expect) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "aéb", true),
            ("a[^a]b", "aéb", true),
            ("a???b", "aéb", false),
            ("a?b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[\\-x]", "-", true),
            ("[x\\-]", "z", false),
            ("**/a", "b/c/a", false),
            ("*x", "xxx", true),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
        ] {
            assert_eq!(match_pattern(pattern, path), Ok(expect), "{pattern} {path}");
        }
        assert_eq!(match_pattern("a?b", b"a\xffb"), Ok(true));
    }

    #[test]
    fn malformed_patterns() {
        for pattern in ["[]a]", "[-]", "[x-]", "[-x]", "a[", "[a-b-c]", "[", "[^", "[^bc", "a[", "b\\", "*x["] {
            assert_eq!(match_pattern(pattern, "a"), Err(BadPattern), "{pattern}");
        }
    }

    fn crossing(pattern: &str) -> Glob {
        Glob::parse(pattern, DoubleStar::CrossesDirectories).unwrap()
    }

    #[test]
    fn double_stars_cross_directories() {
        for (pattern, path, expect) in [
            ("**", "a/b", true),
            ("**/foo", "foo", true),
            ("**/foo", "a/b/foo", true),
            ("**/foo", "a/xfoo", false),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/xb", false),
            ("**/*.go", "a/b/c.go", true),
            ("**/a*/**/b*c", "x/ay/z/w/bxc", true),
            ("**/a*/**/b*c", "x/ay/z/w/bx/c", false),
            ("**/a/*/c", "a/b/x/a/b/c", true),
            ("a**/b", "ab", true),
        ] {
            assert_eq!(crossing(pattern).matches(path.as_bytes()), expect, "{pattern} {path}");
        }
    }

    #[test]
    fn what_may_match_below() {
        for (pattern, directory, expect) in [
            ("a/b", "a", true),
            ("a/b", "a/b", false),
            ("ab/c", "a", false),
            ("a", "a/b", false),
            ("a/*.md", "a", true),
            ("a/*.md", "a/b", true),
            ("a/*.md", "b", false),
            ("a*", "b", false),
            ("**/x", "a", true),
            ("", "a", false),
        ] {
            assert_eq!(crossing(pattern).may_match_below(directory.as_bytes()), expect, "{pattern} {directory}");
        }
    }
}
