//! How the text of an instruction falls into words: keyword, flags, blank-separated words, shell-like words.

use crate::Flag;

use super::lines::Fragment;

/// What separates the keyword and plain words.
const BLANKS: [char; 5] = ['\t', '\x0b', '\x0c', '\r', ' '];

/// The first word and the rest behind the blanks that follow it; `None` for the rest if there are no blanks.
pub(super) fn split_first<'a>(text: &Fragment<'a>) -> (Fragment<'a>, Option<Fragment<'a>>) {
    let all = text.text();
    let Some(end) = all.find(BLANKS) else {
        return (text.clone(), None);
    };
    let rest = all.len() - all[end..].trim_start_matches(BLANKS).len();
    (text.part(0..end), Some(text.from(rest)))
}

/// All words, separated by blanks; quotes mean nothing.
pub(super) fn blank_separated<'a>(text: &Fragment<'a>) -> Vec<Fragment<'a>> {
    let mut words = Vec::new();
    let mut rest = Some(text.trimmed());
    while let Some(fragment) = rest {
        let (word, behind) = split_first(&fragment);
        if !word.text().is_empty() {
            words.push(word);
        }
        rest = behind;
    }
    words
}

/// The words of `ENV`, `LABEL` and `ARG`: separated by white space, except where quoted or escaped. Quotes and
/// escapes stay in the words, for expansion removes them; an escape character at the very end is dropped.
pub(super) fn shell_like<'a>(text: &Fragment<'a>, escape: char) -> Vec<Fragment<'a>> {
    let all = text.text();
    let mut words = Vec::new();
    let mut start = None;
    let mut end = all.len();
    let mut quote = None;
    let mut chars = all.char_indices();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            if let Some(start) = start.take() {
                words.push(text.part(start..at));
            }
            continue;
        }
        start.get_or_insert(at);
        if c == escape && quote != Some('\'') {
            if chars.next().is_none() {
                end = at;
            }
        } else if quote == Some(c) {
            quote = None;
        } else if quote.is_none() && (c == '\'' || c == '"') {
            quote = Some(c);
        }
    }
    if let Some(start) = start.filter(|start| *start < end) {
        words.push(text.part(start..end));
    }
    words
}

/// The flags in front, and what follows them without white space around it.
///
/// In a flag quotes and escapes are removed. `--` alone ends the flags and is dropped.
pub(super) fn split_flags<'a>(text: &Fragment<'a>, escape: char) -> (Vec<Flag>, Fragment<'a>) {
    let mut flags = Vec::new();
    let mut rest = text.trimmed();
    while rest.text().starts_with("--") {
        let (word, end) = unquoted_word(rest.text(), escape);
        let span = rest.part(0..end).span();
        rest = rest.from(end).trimmed();
        if word == "--" {
            break;
        }
        let flag = &word[2..];
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        flags.push(Flag { name: name.to_owned(), value, span });
    }
    (flags, rest)
}

/// The first word of `text` without quotes and escapes, and where it ends.
fn unquoted_word(text: &str, escape: char) -> (String, usize) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            return (word, at);
        }
        if c == escape {
            word.extend(chars.next().map(|(_, escaped)| escaped));
        } else if quote == Some(c) {
            quote = None;
        } else if quote.is_none() && (c == '\'' || c == '"') {
            quote = Some(c);
        } else {
            word.push(c);
        }
    }
    (word, text.len())
}

#[cfg(test)]
mod tests {
    use super::super::lines::{Fragment, LogicalLine};
    use super::{blank_separated, shell_like, split_flags};

    fn line(text: &str) -> LogicalLine {
        let mut line = LogicalLine::default();
        line.push(text, 0);
        line
    }

    fn texts<'a>(words: &[Fragment<'a>]) -> Vec<&'a str> {
        words.iter().map(Fragment::text).collect()
    }

    #[test]
    fn plain_words_know_no_quotes() {
        assert_eq!(texts(&blank_separated(&line(" \"a b\"\t c ").whole())), ["\"a", "b\"", "c"]);
        assert!(blank_separated(&line("  ").whole()).is_empty());
    }

    #[test]
    fn shell_like_words_keep_their_quotes() {
        for (text, expect) in [
            ("a=1  b=2", &["a=1", "b=2"][..]),
            (r#"a="x y"z b='p "q' "#, &[r#"a="x y"z"#, r#"b='p "q'"#]),
            (r"a=x\ y b", &[r"a=x\ y", "b"]),
            (r#"a="x\" y" b"#, &[r#"a="x\" y""#, "b"]),
            (r"a='x\' b", &[r"a='x\'", "b"]),
            (r"a=x\", &["a=x"]),
            (r"a \", &["a"]),
            ("\"\"", &["\"\""]),
            ("a=\"open b", &["a=\"open b"]),
        ] {
            assert_eq!(texts(&shell_like(&line(text).whole(), '\\')), expect, "{text}");
        }
        assert_eq!(texts(&shell_like(&line("a=x` y b\\ c").whole(), '`')), ["a=x` y", "b\\", "c"]);
    }

    #[test]
    fn flags_come_first() {
        for (text, flags, rest) in [
            ("--a --b=c d --e", "a|b=c", "d --e"),
            ("--x=\"a b\" --y='c \"d' z", "x=a b|y=c \"d", "z"),
            ("-- --odd /d", "", "--odd /d"),
            ("--a -- --odd", "a", "--odd"),
            ("--", "", ""),
            ("--x=", "x=", ""),
            (r"--x=a\ b c", "x=a b", "c"),
            ("-x a", "", "-x a"),
        ] {
            let line = line(text);
            let (found, behind) = split_flags(&line.whole(), '\\');
            let found: Vec<String> = found
                .into_iter()
                .map(|flag| flag.value.map_or(flag.name.clone(), |value| format!("{}={value}", flag.name)))
                .collect();
            assert_eq!((found.join("|").as_str(), behind.text()), (flags, rest), "{text}");
        }
    }
}
