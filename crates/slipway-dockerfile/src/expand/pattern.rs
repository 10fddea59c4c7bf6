//! The patterns of `${v#p}`, `${v%p}` and `${v/p/r}`: `*`, `?`, and backslash escapes (`spec/dockerfile.md` 2.1).
//!
//! The reference builder makes regular expressions of them. Here a pattern is pieces with a `*` between each two, and
//! matching looks for one piece after the other: no backtracking, no recursion, and for pieces without `?` a time that
//! grows with the length of the value only.

/// An escape that a pattern does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid escape '\\{character}'")]
pub struct BadEscape {
    pub character: char,
}

/// The result would be larger than the caller wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// `*`: any number of characters.
    Run,
    /// `?`: one character.
    Any,
    Literal(char),
}

/// What stands between two `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// `None` is `?`.
    Mixed(Vec<Option<char>>),
}

impl Piece {
    fn of(tokens: &[Token]) -> Piece {
        let literal = |token: &Token| match token {
            Token::Literal(c) => Some(*c),
            Token::Any | Token::Run => None,
        };
        let characters = tokens.iter().map(literal);
        match characters.clone().collect() {
            Some(text) => Piece::Text(text),
            None => Piece::Mixed(characters.collect()),
        }
    }

    /// How much of the start of `text` it takes.
    fn match_start(&self, text: &str) -> Option<usize> {
        match self {
            Piece::Text(piece) => text.starts_with(piece).then_some(piece.len()),
            Piece::Mixed(characters) => {
                let mut rest = text.chars();
                let is_match = characters.iter().all(|c| rest.next().is_some_and(|found| c.is_none_or(|c| c == found)));
                is_match.then(|| text.len() - rest.as_str().len())
            }
        }
    }

    /// Where in `text` it starts if it is to take all up to the end.
    fn match_end(&self, text: &str) -> Option<usize> {
        match self {
            Piece::Text(piece) => text.ends_with(piece).then(|| text.len() - piece.len()),
            Piece::Mixed(characters) => {
                let mut rest = text.chars();
                let mut wanted = characters.iter().rev();
                let is_match = wanted.all(|c| rest.next_back().is_some_and(|found| c.is_none_or(|c| c == found)));
                is_match.then_some(rest.as_str().len())
            }
        }
    }

    /// The first place in `text`, as start and end.
    fn find(&self, text: &str) -> Option<(usize, usize)> {
        match self {
            Piece::Text(piece) => text.find(piece).map(|start| (start, start + piece.len())),
            Piece::Mixed(_) => boundaries(text).find_map(|at| self.match_start(&text[at..]).map(|n| (at, at + n))),
        }
    }

    /// The end of the last place in `text`.
    fn find_last_end(&self, text: &str) -> Option<usize> {
        match self {
            Piece::Text(piece) => text.rfind(piece).map(|start| start + piece.len()),
            Piece::Mixed(_) => boundaries(text).rev().find(|at| self.match_end(&text[..*at]).is_some()),
        }
    }
}

/// The places between the characters of `text`, its ends included.
fn boundaries(text: &str) -> impl DoubleEndedIterator<Item = usize> {
    text.char_indices().map(|(at, _)| at).chain([text.len()])
}

/// The part of a pattern that matches within one line, for neither `*` nor `?` takes a line feed.
#[derive(Clone, Debug)]
struct LinePattern {
    first: Piece,
    /// Each after a `*`.
    others: Vec<Piece>,
}

impl LinePattern {
    fn of(tokens: &[Token]) -> LinePattern {
        let mut pieces = tokens.split(|token| *token == Token::Run).map(Piece::of);
        let first = pieces.next().expect("because splitting gives at least one part");
        LinePattern { first, others: pieces.collect() }
    }

    /// Where a match ends that starts at the start of `line`.
    ///
    /// The first place of a piece leaves the most to those behind it. So the shortest match takes the first place of
    /// each, and the longest one the last place of the last.
    fn match_start(&self, line: &str, is_longest: bool) -> Option<usize> {
        self.match_others(line, self.first.match_start(line)?, is_longest)
    }

    fn match_others(&self, line: &str, first_end: usize, is_longest: bool) -> Option<usize> {
        let Some((last, middle)) = self.others.split_last() else {
            return Some(first_end);
        };
        let at = find_each(middle, line, first_end)?;
        let rest = &line[at..];
        let end = if is_longest { last.find_last_end(rest) } else { last.find(rest).map(|(_, end)| end) };
        end.map(|end| at + end)
    }

    fn matches_all_of(&self, line: &str) -> bool {
        let Some((last, middle)) = self.others.split_last() else {
            return self.first.match_start(line) == Some(line.len());
        };
        let at = self.first.match_start(line).and_then(|at| find_each(middle, line, at));
        at.is_some_and(|at| last.match_end(&line[at..]).is_some())
    }

    /// The longest match at the first place where there is one. If the first place of the first piece leads nowhere, a
    /// later one leads nowhere either.
    fn find(&self, line: &str) -> Option<(usize, usize)> {
        let (start, first_end) = self.first.find(line)?;
        self.match_others(line, first_end, true).map(|end| (start, end))
    }

    /// The longest match that goes to the end of `line`: its start.
    fn find_at_end(&self, line: &str) -> Option<usize> {
        let Some((last, middle)) = self.others.split_last() else {
            return self.first.match_end(line);
        };
        let (start, first_end) = self.first.find(line)?;
        let at = find_each(middle, line, first_end)?;
        last.match_end(&line[at..]).map(|_| start)
    }
}

/// Where the last of `pieces` ends if each takes the first place behind the one before it, from `at` on.
fn find_each(pieces: &[Piece], line: &str, at: usize) -> Option<usize> {
    pieces.iter().try_fold(at, |at, piece| piece.find(&line[at..]).map(|(_, end)| at + end))
}

/// A parsed pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// What stands before the first line feed in the pattern, between two of them, and behind the last.
    before: Vec<LinePattern>,
    last: LinePattern,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Pattern, BadEscape> {
        let mut tokens = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Run,
                '?' => Token::Any,
                '\\' => match chars.next() {
                    // `/` and `}` end the operands of `${…}`, so these two may be escaped besides the wildcards.
                    Some(literal @ ('*' | '?' | '\\' | '/' | '}')) => Token::Literal(literal),
                    other => return Err(BadEscape { character: other.unwrap_or(char::REPLACEMENT_CHARACTER) }),
                },
                literal => Token::Literal(literal),
            });
        }
        let mut lines: Vec<_> = tokens.split(|token| *token == Token::Literal('\n')).map(LinePattern::of).collect();
        let last = lines.pop().expect("because splitting gives at least one part");
        Ok(Pattern { before: lines, last })
    }

    /// `value` without the start that matches.
    pub(super) fn without_prefix<'v>(&self, value: &'v str, is_longest: bool) -> &'v str {
        self.match_lines(&self.before, value, is_longest).map_or(value, |end| &value[end..])
    }

    /// Where a match of the lines `before` and the last one ends that starts at the start of `text`.
    fn match_lines(&self, before: &[LinePattern], text: &str, is_longest: bool) -> Option<usize> {
        let mut at = 0;
        for pattern in before {
            let (line, _) = text[at..].split_once('\n')?;
            if !pattern.matches_all_of(line) {
                return None;
            }
            at += line.len() + 1;
        }
        self.last.match_start(first_line(&text[at..]), is_longest).map(|end| at + end)
    }

    /// The first match in `text` from `at` on, as long as possible.
    ///
    /// `line_end` is where an earlier search in `text` found the end of its line: a long line with many matches is not
    /// walked to its end for each of them.
    fn find(&self, text: &str, at: usize, line_end: &mut Option<usize>) -> Option<(usize, usize)> {
        let mut start = at;
        loop {
            let end = line_end.filter(|end| *end >= start).unwrap_or_else(|| start + first_line(&text[start..]).len());
            *line_end = Some(end);
            let line = &text[start..end];
            let found = match self.before.split_first() {
                None => self.last.find(line),
                Some((first, others)) => first.find_at_end(line).and_then(|found| {
                    let next = line.len() + 1;
                    let end = self.match_lines(others, text[start..].get(next..)?, true)?;
                    Some((found, next + end))
                }),
            };
            if let Some((from, to)) = found {
                return Some((start + from, start + to));
            }
            if end == text.len() {
                return None;
            }
            start = end + 1;
        }
    }

    /// The first match, as long as possible, replaced by `replacement` as it stands.
    pub(super) fn replace_first(&self, value: &str, replacement: &str) -> String {
        match self.find(value, 0, &mut None) {
            Some((start, end)) => [&value[..start], replacement, &value[end..]].concat(),
            None => value.to_owned(),
        }
    }

    /// All matches, replaced by what the template `replacement` makes of each.
    ///
    /// Fails if that is more than `max_bytes`.
    pub(super) fn replace_all(&self, value: &str, replacement: &str, max_bytes: usize) -> Result<String, TooLarge> {
        let template = Template::parse(replacement);
        let mut result = String::new();
        let mut copied = 0;
        let mut at = 0;
        let mut line_end = None;
        while let Some((start, end)) = self.find(value, at, &mut line_end) {
            // An empty match right behind another match does not count.
            if start < end || start == 0 || start > copied {
                result.push_str(&value[copied..start]);
                template.push_filled(&value[start..end], &mut result);
                copied = end;
            }
            if result.len() > max_bytes {
                return Err(TooLarge);
            }
            // Behind an empty match the search goes on one character further.
            let step = if start == end { value[end..].chars().next().map(char::len_utf8) } else { Some(0) };
            let Some(step) = step else { break };
            at = end + step;
        }
        result.push_str(&value[copied..]);
        Ok(result)
    }
}

fn first_line(text: &str) -> &str {
    text.split('\n').next().unwrap_or(text)
}

/// `pattern` the other way round, with escapes still in front of what they escape: the shortest match at the end of a
/// value is found as one at the start of the reversed value.
pub(super) fn reversed(pattern: &str) -> String {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let escaped = if c == '\\' { rest[1..].chars().next() } else { None };
        let (part, behind) = rest.split_at(c.len_utf8() + escaped.map_or(0, char::len_utf8));
        parts.push(part);
        rest = behind;
    }
    parts.into_iter().rev().collect()
}

/// A replacement in which `$0` stands for what was matched. The reference builder takes it for the replacement of a
/// regular expression (`$0`, `${1}`, `$name`, `$$`); as patterns have no groups, all other references are empty.
struct Template<'t> {
    parts: Vec<Part<'t>>,
}

enum Part<'t> {
    Text(&'t str),
    Matched,
}

impl<'t> Template<'t> {
    fn parse(template: &'t str) -> Template<'t> {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some((before, behind)) = rest.split_once('$') {
            parts.push(Part::Text(before));
            if let Some(behind) = behind.strip_prefix('$') {
                parts.push(Part::Text("$"));
                rest = behind;
                continue;
            }
            let (name, end) = group_name(behind);
            match name {
                "" => parts.push(Part::Text("$")),
                "0" => parts.push(Part::Matched),
                _ => {}
            }
            rest = &behind[end..];
        }
        parts.push(Part::Text(rest));
        parts.retain(|part| !matches!(part, Part::Text("")));
        Template { parts }
    }

    fn push_filled(&self, matched: &str, result: &mut String) {
        for part in &self.parts {
            result.push_str(match part {
                Part::Text(text) => text,
                Part::Matched => matched,
            });
        }
    }
}

/// The name at the start of `text`, in braces or not, and where it ends; empty if there is none.
fn group_name(text: &str) -> (&str, usize) {
    let (open, inside) = match text.strip_prefix('{') {
        Some(inside) => (1, inside),
        None => (0, text),
    };
    let length = inside.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inside.len());
    let name = &inside[..length];
    if open == 0 || name.is_empty() {
        return (name, length);
    }
    if inside[length..].starts_with('}') { (name, length + 2) } else { ("", 0) }
}

#[cfg(test)]
mod tests {
    use super::{BadEscape, Pattern, TooLarge, reversed};

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn prefixes_and_suffixes() {
        for (text, value, shortest, longest) in [
            ("*a", "foobarbaz", "rbaz", "z"),
            ("", "abc", "abc", "abc"),
            ("*", "abc", "abc", ""),
            ("a?", "abc", "c", "c"),
            ("[a]", "[a]b", "b", "b"),
            (r"\*", "*a", "a", "a"),
            ("*", "a\nb", "a\nb", "\nb"),
            ("b", "abc", "abc", "abc"),
        ] {
            assert_eq!(pattern(text).without_prefix(value, false), shortest, "{text}");
            assert_eq!(pattern(text).without_prefix(value, true), longest, "{text}");
        }
    }

    #[test]
    fn replacements() {
        for (text, value, replacement, first, all) in [
            ("a", "banana", "x", "bxnana", "bxnxnx"),
            ("", "ab", "x", "xab", "xaxbx"),
            ("a*", "bab", "x", "bx", "bx"),
            ("a", "aa", "<$0>", "<$0>a", "<a><a>"),
            ("a", "aa", "$1$$${2}$", "$1$$${2}$a", "$$$$"),
            ("z", "ab", "x", "ab", "ab"),
        ] {
            assert_eq!(pattern(text).replace_first(value, replacement), first, "{text} {value}");
            assert_eq!(pattern(text).replace_all(value, replacement, 99).as_deref(), Ok(all), "{text} {value}");
        }
    }

    #[test]
    fn line_feeds_are_matched_by_themselves_only() {
        for (text, value, first, longest_prefix) in [
            ("*", "a\nb", "x\nb", "\nb"),
            ("b*", "a\nbc\nb", "a\nx\nb", "a\nbc\nb"),
            ("a*\n?b", "1a2a3\ncb\n", "1x\n", "1a2a3\ncb\n"),
            ("a*\n*\nb", "a\na\nb", "x", ""),
            ("?\n", "ab\n\n", "ax\n", "ab\n\n"),
            ("\n", "ab", "ab", "ab"),
        ] {
            assert_eq!(pattern(text).replace_first(value, "x"), first, "{text:?} {value:?}");
            assert_eq!(pattern(text).without_prefix(value, true), longest_prefix, "{text:?} {value:?}");
        }
        let all = pattern("*").replace_all("a\n\nb", "x", 99);
        assert_eq!(all.as_deref(), Ok("x\nx\nx"));
    }

    #[test]
    fn wildcards_take_whole_characters() {
        assert_eq!(pattern("?").without_prefix("äb", false), "b");
        assert_eq!(pattern("?b?").replace_first("ääbüü", "x"), "äxü");
        assert_eq!(pattern("").replace_all("äb", "x", 99).as_deref(), Ok("xäxbx"));
        assert_eq!(pattern("*ü?").without_prefix("äüaüb!", true), "!");
    }

    #[test]
    fn patterns_that_explode_end_in_time() {
        let value = "a".repeat(100_000);
        for text in ["*a".repeat(2_000) + "b", "a".repeat(50_000) + "b", "*".repeat(100_000) + "b"] {
            assert_eq!(pattern(&text).without_prefix(&value, true), value);
            assert_eq!(pattern(&text).replace_all(&value, "x", usize::MAX).as_deref(), Ok(value.as_str()));
        }
        assert_eq!(pattern("a").replace_all(&value, "$0$0$0", 200_000), Err(TooLarge));
    }

    #[test]
    fn reversed_patterns_keep_their_escapes() {
        for (text, expect) in [("a*b", "b*a"), (r"a\*c", r"c\*a"), (r"\\x", r"x\\"), (r"x\", r"\x"), ("äb", "bä")] {
            assert_eq!(reversed(text), expect);
        }
    }

    #[test]
    fn unknown_escapes() {
        assert_eq!(Pattern::parse(r"\x").unwrap_err(), BadEscape { character: 'x' });
        assert_eq!(Pattern::parse(r"\").unwrap_err().to_string(), "invalid escape '\\\u{fffd}'");
    }
}
