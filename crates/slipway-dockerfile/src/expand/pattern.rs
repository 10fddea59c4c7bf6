//! The patterns of `${v#p}`, `${v%p}` and `${v/p/r}`: `*`, `?`, and backslash escapes (`spec/dockerfile.md` 2.1).

/// An escape that a pattern does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid escape '\\{character}'")]
pub struct BadEscape {
    pub character: char,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// `*`: any number of characters.
    Run,
    /// `?`: one character.
    Any,
    Literal(char),
}

impl Token {
    /// Neither `*` nor `?` matches a line feed.
    fn matches(self, c: char) -> bool {
        match self {
            Token::Run | Token::Any => c != '\n',
            Token::Literal(literal) => literal == c,
        }
    }
}

/// A parsed pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    tokens: Vec<Token>,
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
        Ok(Pattern { tokens })
    }

    pub(super) fn without_prefix(&self, value: &str, is_longest: bool) -> String {
        let chars: Vec<char> = value.chars().collect();
        let n_trimmed = match_length(&self.tokens, &chars, is_longest).unwrap_or(0);
        chars[n_trimmed..].iter().collect()
    }

    pub(super) fn without_suffix(&self, value: &str, is_longest: bool) -> String {
        let tokens: Vec<Token> = self.tokens.iter().rev().copied().collect();
        let chars: Vec<char> = value.chars().rev().collect();
        let n_trimmed = match_length(&tokens, &chars, is_longest).unwrap_or(0);
        chars[n_trimmed..].iter().rev().collect()
    }

    /// The first match, as long as possible, replaced by `replacement` as it stands.
    pub(super) fn replace_first(&self, value: &str, replacement: &str) -> String {
        let chars: Vec<char> = value.chars().collect();
        let found = (0..=chars.len())
            .find_map(|start| match_length(&self.tokens, &chars[start..], true).map(|length| (start, length)));
        let Some((start, length)) = found else {
            return value.to_owned();
        };
        let before = chars[..start].iter();
        let after = chars[start + length..].iter();
        before.copied().chain(replacement.chars()).chain(after.copied()).collect()
    }

    /// All matches, replaced by what the template `replacement` makes of each.
    pub(super) fn replace_all(&self, value: &str, replacement: &str) -> String {
        let chars: Vec<char> = value.chars().collect();
        let mut result = String::new();
        let mut at = 0;
        let mut last_end = None;
        while at <= chars.len() {
            let length = match_length(&self.tokens, &chars[at..], true);
            // An empty match right behind another match does not count.
            if let Some(length) = length.filter(|length| *length > 0 || last_end != Some(at)) {
                let matched: String = chars[at..at + length].iter().collect();
                result += &fill_template(replacement, &matched);
                at += length;
                last_end = Some(at);
                if length > 0 {
                    continue;
                }
            }
            result.extend(chars.get(at));
            at += 1;
        }
        result
    }
}

/// How many of `chars` the tokens match from the start.
///
/// Of several lengths the one that a regular expression engine finds: each `*` in turn takes as much (or as little)
/// as the rest allows.
fn match_length(tokens: &[Token], chars: &[char], is_longest: bool) -> Option<usize> {
    // Where the tokens from a certain one on cannot match is remembered, so that many `*` do not take exponential time.
    let mut is_dead_end = vec![false; (tokens.len() + 1) * (chars.len() + 1)];
    match_from(tokens, chars, 0, is_longest, &mut is_dead_end)
}

fn match_from(
    tokens: &[Token],
    chars: &[char],
    at: usize,
    is_longest: bool,
    is_dead_end: &mut [bool],
) -> Option<usize> {
    let Some((&token, rest)) = tokens.split_first() else {
        return Some(at);
    };
    let place = tokens.len() * (chars.len() + 1) + at;
    if is_dead_end[place] {
        return None;
    }
    let end = if token == Token::Run {
        let n_most = chars[at..].iter().take_while(|&&c| token.matches(c)).count();
        let mut try_taking = |n: usize| match_from(rest, chars, at + n, is_longest, is_dead_end);
        if is_longest { (0..=n_most).rev().find_map(&mut try_taking) } else { (0..=n_most).find_map(&mut try_taking) }
    } else if chars.get(at).is_some_and(|&c| token.matches(c)) {
        match_from(rest, chars, at + 1, is_longest, is_dead_end)
    } else {
        None
    };
    if end.is_none() {
        is_dead_end[place] = true;
    }
    end
}

/// Replaces references to groups of a regular expression (`$0`, `${1}`, `$name`, `$$`), for that is what the
/// reference builder takes a replacement for. Patterns have no groups, so all but `$0` are empty.
fn fill_template(template: &str, matched: &str) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('$') {
        text += before;
        if let Some(behind) = behind.strip_prefix('$') {
            text.push('$');
            rest = behind;
            continue;
        }
        let (name, end) = group_name(behind);
        match name {
            "" => text.push('$'),
            "0" => text += matched,
            _ => {}
        }
        rest = &behind[end..];
    }
    text + rest
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
    use super::{BadEscape, Pattern};

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
        assert_eq!(pattern("b*").without_suffix("foobarbaz", false), "foobar");
        assert_eq!(pattern("b*").without_suffix("foobarbaz", true), "foo");
        assert_eq!(pattern(r"a\*c").without_suffix("xa*c", false), "x");
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
            assert_eq!(pattern(text).replace_all(value, replacement), all, "{text} {value}");
        }
    }

    #[test]
    fn many_stars_end_in_time() {
        let stars = "*a".repeat(40);
        assert_eq!(pattern(&stars).without_prefix(&"a".repeat(39), true), "a".repeat(39));
    }

    #[test]
    fn unknown_escapes() {
        assert_eq!(Pattern::parse(r"\x").unwrap_err(), BadEscape { character: 'x' });
        assert_eq!(Pattern::parse(r"\").unwrap_err().to_string(), "invalid escape '\\\u{fffd}'");
    }
}
