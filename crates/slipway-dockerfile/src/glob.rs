//! Path patterns as Go's `filepath.Match` has them, and as ignore rules have them.
//!
//! | pattern   | matches                                          | of an ignore rule                                   |
//! |-----------|--------------------------------------------------|-----------------------------------------------------|
//! | `*`       | any run of bytes without `/`                     |                                                     |
//! | `?`       | one character but `/`                            |                                                     |
//! | `[a-z]`   | one character of the class; `[^a-z]` all others  | also `[\d]` and `[[:alpha:]]`                       |
//! | `\c`      | `c`                                              | a letter or digit means what Go's regexps make of it |
//! | `**`      | the same as `*`                                  | any number of path components                       |
//! | `^`       | itself                                           | the start of the path, so mostly nothing            |
//!
//! The reference builder makes a regular expression of an ignore rule, and not all that is special there is taken away
//! on the way. What a file may hold and still mean something is kept here; `|`, `{n}` and wildcards inside of a class
//! are not: here they mean themselves.
//!
//! Matching works on bytes, for names of files need not be UTF-8, but `?` and classes take a whole character.

#[cfg(test)]
mod tests;

/// A pattern that breaks off within a class or an escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct BadPattern;

/// Whether the whole of `path` matches `pattern`; `*` and `?` do not match `/` (Go's `filepath.Match`).
///
/// Fails if the pattern is malformed, also in a part that was not needed to decide.
pub fn match_pattern(pattern: &str, path: impl AsRef<[u8]>) -> Result<bool, BadPattern> {
    Ok(Glob::parse(pattern)?.matches(path.as_ref()))
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Literal(Vec<u8>),
    /// `?`
    Any,
    Class {
        is_negated: bool,
        ranges: Ranges,
    },
    /// `*`
    Star,
    /// `**` or `**/` in front of something: nothing, or anything up to a `/`.
    Directories,
    /// `**` at the end.
    Everything,
    Assertion(Assertion),
}

/// What is true or not at a place, and takes no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Assertion {
    Start,
    End,
    /// Between a letter, digit or `_` and something else, or not.
    WordBoundary {
        is_negated: bool,
    },
}

/// A pattern that is ready to be matched many times.
#[derive(Clone, Debug)]
pub(crate) struct Glob {
    tokens: Vec<Token>,
}

impl Glob {
    /// A pattern of `filepath.Match`.
    pub(crate) fn parse(pattern: &str) -> Result<Glob, BadPattern> {
        let mut tokens = Vec::new();
        let mut rest = pattern;
        while let Some((c, behind)) = split_first(rest) {
            rest = behind;
            match c {
                '*' => push_star(&mut tokens),
                '?' => tokens.push(Token::Any),
                '[' => rest = push_class(&mut tokens, rest, class)?,
                '\\' => {
                    let (escaped, behind) = split_first(rest).ok_or(BadPattern)?;
                    push_literal(&mut tokens, escaped);
                    rest = behind;
                }
                _ => push_literal(&mut tokens, c),
            }
        }
        Ok(Glob { tokens })
    }

    /// A pattern of an ignore rule. It must be one of `filepath.Match`, too.
    pub(crate) fn parse_ignore_rule(pattern: &str) -> Result<Glob, BadPattern> {
        Glob::parse(pattern)?;
        let mut tokens = Vec::new();
        let mut rest = pattern;
        while let Some((c, behind)) = split_first(rest) {
            rest = behind;
            match c {
                '*' if rest.starts_with('*') => {
                    rest = &rest[1..];
                    rest = rest.strip_prefix('/').unwrap_or(rest);
                    tokens.push(if rest.is_empty() { Token::Everything } else { Token::Directories });
                }
                '*' => push_star(&mut tokens),
                '?' => tokens.push(Token::Any),
                '[' => rest = push_class(&mut tokens, rest, ignore_class)?,
                '^' => tokens.push(Token::Assertion(Assertion::Start)),
                '\\' => rest = push_escaped(&mut tokens, rest)?,
                _ => push_literal(&mut tokens, c),
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

fn split_first(text: &str) -> Option<(char, &str)> {
    let mut chars = text.chars();
    chars.next().map(|c| (c, chars.as_str()))
}

fn push_literal(tokens: &mut Vec<Token>, c: char) {
    if !matches!(tokens.last(), Some(Token::Literal(_))) {
        tokens.push(Token::Literal(Vec::new()));
    }
    if let Some(Token::Literal(literal)) = tokens.last_mut() {
        literal.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// Several stars are one.
fn push_star(tokens: &mut Vec<Token>) {
    if tokens.last() != Some(&Token::Star) {
        tokens.push(Token::Star);
    }
}

/// Adds the class at the start of `rest`, of which `[` is consumed, and gives what follows it.
fn push_class<'p>(
    tokens: &mut Vec<Token>,
    rest: &'p str,
    parse: fn(&str) -> Result<(Ranges, &str), BadPattern>,
) -> Result<&'p str, BadPattern> {
    let (is_negated, rest) = match rest.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let (ranges, rest) = parse(rest)?;
    tokens.push(Token::Class { is_negated, ranges });
    Ok(rest)
}

/// Adds what `\` and the start of `rest` mean in an ignore rule, and gives what follows.
fn push_escaped<'p>(tokens: &mut Vec<Token>, rest: &'p str) -> Result<&'p str, BadPattern> {
    let (c, behind) = split_first(rest).ok_or(BadPattern)?;
    let assertion = match c {
        'A' => Some(Assertion::Start),
        'z' => Some(Assertion::End),
        'b' | 'B' => Some(Assertion::WordBoundary { is_negated: c == 'B' }),
        _ => None,
    };
    if let Some(assertion) = assertion {
        tokens.push(Token::Assertion(assertion));
        return Ok(behind);
    }
    if let Some(ranges) = letter_class(c) {
        tokens.push(Token::Class { is_negated: false, ranges });
        return Ok(behind);
    }
    let (c, behind) = escaped_character(rest)?;
    push_literal(tokens, c);
    Ok(behind)
}

/// The character that `\` and the start of `rest` stand for in an ignore rule.
fn escaped_character(rest: &str) -> Result<(char, &str), BadPattern> {
    let (c, behind) = split_first(rest).ok_or(BadPattern)?;
    let character = match c {
        'a' => '\x07',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        'x' => {
            let digits = behind.get(..2).ok_or(BadPattern)?;
            let code = u8::from_str_radix(digits, 16).map_err(|_| BadPattern)?;
            return Ok((char::from(code), &behind[2..]));
        }
        c if c.is_ascii_alphanumeric() || !c.is_ascii() => return Err(BadPattern),
        c => c,
    };
    Ok((character, behind))
}

/// Characters from the first up to and including the last.
type Ranges = Vec<(char, char)>;

const DIGITS: &[(char, char)] = &[('0', '9')];
const SPACES: &[(char, char)] = &[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')];
const WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];

/// The class that a letter behind a `\` stands for, if it stands for one.
fn letter_class(letter: char) -> Option<Ranges> {
    Some(match letter {
        'd' => DIGITS.to_vec(),
        's' => SPACES.to_vec(),
        'w' => WORD.to_vec(),
        'D' => all_but(DIGITS),
        'S' => all_but(SPACES),
        'W' => all_but(WORD),
        _ => return None,
    })
}

/// The class `[:name:]`; `[:^name:]` is all others.
fn named_class(name: &str) -> Result<Ranges, BadPattern> {
    if let Some(name) = name.strip_prefix('^') {
        return named_class(name).map(|ranges| all_but(&ranges));
    }
    let ranges: &[(char, char)] = match name {
        "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => &[('A', 'Z'), ('a', 'z')],
        "ascii" => &[('\0', '\x7f')],
        "blank" => &[('\t', '\t'), (' ', ' ')],
        "cntrl" => &[('\0', '\x1f'), ('\x7f', '\x7f')],
        "digit" => DIGITS,
        "graph" => &[('!', '~')],
        "lower" => &[('a', 'z')],
        "print" => &[(' ', '~')],
        "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "space" => &[('\t', '\r'), (' ', ' ')],
        "upper" => &[('A', 'Z')],
        "word" => WORD,
        "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return Err(BadPattern),
    };
    Ok(ranges.to_vec())
}

/// What is in none of `ranges`, which are in order and do not touch.
fn all_but(ranges: &[(char, char)]) -> Ranges {
    let before = |c: char| char::from_u32(u32::from(c).checked_sub(1)?);
    let behind = |c: char| char::from_u32(u32::from(c) + 1);
    let starts = [Some('\0')].into_iter().chain(ranges.iter().map(|(_, last)| behind(*last)));
    let ends = ranges.iter().map(|(first, _)| before(*first)).chain([Some(char::MAX)]);
    starts.zip(ends).filter_map(|(start, end)| Some((start?, end?))).filter(|(start, end)| start <= end).collect()
}

/// The class at the start of `text` as ignore rules have it, of which `[` and `^` are consumed.
fn ignore_class(text: &str) -> Result<(Ranges, &str), BadPattern> {
    let mut ranges = Ranges::new();
    let mut rest = text;
    loop {
        if let Some(behind) = rest.strip_prefix(']').filter(|_| rest.len() < text.len()) {
            return Ok((ranges, behind));
        }
        if let Some((name, behind)) = rest.strip_prefix("[:").and_then(|named| named.split_once(":]")) {
            ranges.extend(named_class(name)?);
            rest = behind;
            continue;
        }
        let escaped = rest.strip_prefix('\\').and_then(split_first);
        if let Some((class, behind)) = escaped.and_then(|(c, behind)| Some((letter_class(c)?, behind))) {
            ranges.extend(class);
            rest = behind;
            continue;
        }
        let first;
        (first, rest) = ignore_class_character(rest)?;
        let mut last = first;
        if let Some(behind) = rest.strip_prefix('-').filter(|behind| !behind.starts_with(']')) {
            (last, rest) = ignore_class_character(behind)?;
        }
        if first > last {
            return Err(BadPattern);
        }
        ranges.push((first, last));
    }
}

fn ignore_class_character(text: &str) -> Result<(char, &str), BadPattern> {
    match text.strip_prefix('\\') {
        Some(escaped) => escaped_character(escaped),
        None => split_first(text).ok_or(BadPattern),
    }
}

/// The class at the start of `text`, of which `[` and `^` are consumed, and what follows it. It has at least one range.
fn class(text: &str) -> Result<(Ranges, &str), BadPattern> {
    let mut ranges = Ranges::new();
    let mut rest = text;
    loop {
        if let Some(behind) = rest.strip_prefix(']').filter(|_| !ranges.is_empty()) {
            return Ok((ranges, behind));
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
            Some((Token::Assertion(assertion), behind)) => holds(*assertion, path, at).then_some((behind, 0)),
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

fn holds(assertion: Assertion, path: &[u8], at: usize) -> bool {
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    match assertion {
        Assertion::Start => at == 0,
        Assertion::End => at == path.len(),
        Assertion::WordBoundary { is_negated } => {
            let before = at.checked_sub(1).and_then(|before| path.get(before));
            (is_word(before) != is_word(path.get(at))) != is_negated
        }
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
        Token::Star | Token::Directories | Token::Everything | Token::Assertion(_) => None,
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
