//! Variables, quotes and escapes in the words of instructions (`spec/dockerfile.md` sections 2.1 and 2.2).
//!
//! What runs here looks like a shell's expansion but is the reference builder's own: fewer operators, patterns
//! without brackets, and no splitting of values except where [`expand_words`] is asked for it.

mod pattern;

use std::ops::Range;

use crate::quote::quoted;
use pattern::{BadEscape, Pattern};

/// A word that cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to process {}: {problem}", quoted(word))]
pub struct ExpandError {
    /// The whole word, as written.
    pub word: String,
    pub problem: ExpandProblem,
}

/// Why a word cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandProblem {
    #[error("unexpected end of statement while looking for matching single-quote")]
    OpenSingleQuote,
    #[error("unexpected end of statement while looking for matching double-quote")]
    OpenDoubleQuote,
    #[error("syntax error: missing '}}'")]
    NoClosingBrace,
    #[error("syntax error: missing '/' in ${{}}")]
    NoSecondSlash,
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    #[error("unsupported modifier ({modifier}) in substitution")]
    UnsupportedModifier { modifier: String },
    /// `${name?message}` of a variable that has no value.
    #[error("{name}: {message}")]
    Required { name: String, message: String },
    #[error("invalid pattern ({pattern}) in substitution: {escape}")]
    InvalidPattern { pattern: String, escape: BadEscape },
    /// No reader of the file could follow it; the reference builder goes on until its stack is full.
    #[error("more than {MAX_DEPTH} substitutions inside each other")]
    TooDeep,
    /// A few lines that double a value each would otherwise take all memory.
    #[error("variables add more than {} MiB to what is written", MAX_ADDED_BYTES >> 20)]
    TooLarge,
}

/// How deep `${a:-${b:-…}}` may go.
const MAX_DEPTH: usize = 200;
/// How many bytes all substitutions of a word may give, those inside of others among them.
const MAX_ADDED_BYTES: usize = 4 << 20;

/// Expands one word to one word: variables are replaced, quotes and escapes removed.
///
/// `escape` is what the file's `escape` directive says. `variables` gives the value of a name, or `None` if it is not
/// set; it is asked at each use, so a caller learns there which variables are used and which are missing. Values are
/// taken as they are: no quote, blank or `$` in a value means anything.
pub fn expand(word: &str, escape: char, variables: impl Fn(&str) -> Option<String>) -> Result<String, ExpandError> {
    Expander::new(word, variables, Rules { escape, ..Rules::default() }).one_word()
}

/// As [`expand`], but blanks that come from values or stand outside of quotes separate words (`EXPOSE`).
pub fn expand_words(
    word: &str,
    escape: char,
    variables: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>, ExpandError> {
    let (_, words) = Expander::new(word, variables, Rules { escape, ..Rules::default() }).run()?;
    Ok(texts(words))
}

/// Expands the body of a heredoc: quotes are text, and the escape is `\` whatever the directive says.
pub fn expand_heredoc(body: &str, variables: impl Fn(&str) -> Option<String>) -> Result<String, ExpandError> {
    let rules = Rules { quotes_are_text: true, ..Rules::default() };
    Expander::new(body, variables, rules).one_word()
}

/// `line` with the variables that are set filled in; quotes, escapes and other variables stay as they are written.
/// For showing to people.
pub(crate) fn fill_in(
    line: &str,
    escape: char,
    variables: impl Fn(&str) -> Option<String>,
) -> Result<String, ExpandError> {
    let rules = Rules { escape, keeps_quotes: true, keeps_escapes: true, keeps_unset: true, ..Rules::default() };
    Expander::new(line, variables, rules).one_word()
}

/// The words of a line with quotes, escapes and variables left in them, and where each stands in the line.
///
/// `None` if the line has no such reading, for instance because a quote is open.
pub(crate) fn raw_words(line: &str) -> Option<Vec<PlacedWord>> {
    let rules = Rules { keeps_quotes: true, keeps_escapes: true, keeps_unset: true, ..Rules::default() };
    Expander::new(line, |_| None, rules).run().ok().map(|(_, words)| words)
}

/// The words of `text` without escapes and, unless `keeps_quotes`, without quotes; variables stay as written.
pub(crate) fn literal_words(text: &str, keeps_quotes: bool) -> Option<Vec<String>> {
    let rules = Rules { keeps_quotes, keeps_unset: true, ..Rules::default() };
    Expander::new(text, |_| None, rules).run().ok().map(|(_, words)| texts(words))
}

/// A word and where it stands in the text that was taken apart.
pub(crate) type PlacedWord = (String, Range<usize>);

fn texts(words: Vec<PlacedWord>) -> Vec<String> {
    words.into_iter().map(|(text, _)| text).collect()
}

/// In what the kinds of expansion differ.
struct Rules {
    escape: char,
    /// Quotes work, and stay in the result.
    keeps_quotes: bool,
    /// Escapes work, and stay in the result. Patterns need this: they have escapes of their own.
    keeps_escapes: bool,
    /// Quotes do not work.
    quotes_are_text: bool,
    /// A variable that is not set stays as it is written.
    keeps_unset: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Rules { escape: '\\', keeps_quotes: false, keeps_escapes: false, quotes_are_text: false, keeps_unset: false }
    }
}

struct Expander<'a, V> {
    source: &'a str,
    at: usize,
    /// How many `${…}` are open here.
    depth: usize,
    /// What substitutions have given so far.
    n_added_bytes: usize,
    rules: Rules,
    variables: V,
}

impl<'a, V: Fn(&str) -> Option<String>> Expander<'a, V> {
    fn new(source: &'a str, variables: V, rules: Rules) -> Self {
        Expander { source, at: 0, depth: 0, n_added_bytes: 0, rules, variables }
    }

    /// The source as one word.
    fn one_word(self) -> Result<String, ExpandError> {
        // Most words hold nothing to expand.
        match self.source.contains(['$', '\'', '"', self.rules.escape]) {
            true => self.run().map(|(text, _)| text),
            false => Ok(self.source.to_owned()),
        }
    }

    /// The source as one word, and as several.
    fn run(mut self) -> Result<(String, Vec<PlacedWord>), ExpandError> {
        let mut splitter = WordSplitter::default();
        match self.text_until(None, &mut splitter) {
            Ok(text) => Ok((text, splitter.finish())),
            Err(problem) => Err(ExpandError { word: self.source.to_owned(), problem }),
        }
    }

    fn peek(&self) -> Option<char> {
        self.source[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    /// Consumes `c` if it is next.
    fn eat(&mut self, c: char) -> bool {
        let is_next = self.peek() == Some(c);
        if is_next {
            self.at += c.len_utf8();
        }
        is_next
    }

    /// Expands up to `stop`, which is consumed, or up to the end of the source.
    fn text_until(&mut self, stop: Option<char>, splitter: &mut WordSplitter) -> Result<String, ExpandProblem> {
        let mut text = String::new();
        while let Some(c) = self.peek() {
            let start = self.at;
            if stop == Some(c) {
                self.next();
                return Ok(text);
            }
            match c {
                '$' => {
                    let value = self.variable()?;
                    splitter.push_splitting(&value, start..self.at);
                    text += &value;
                }
                '\'' | '"' if !self.rules.quotes_are_text => {
                    let inside = if c == '"' { self.double_quoted()? } else { self.single_quoted()? };
                    splitter.push_whole(&inside, start..self.at);
                    text += &inside;
                }
                c if c == self.rules.escape => {
                    let escaped = self.escaped();
                    splitter.push_whole(&escaped, start..self.at);
                    text += &escaped;
                }
                '<' => {
                    let mark = self.heredoc_mark();
                    splitter.push_whole(mark, start..self.at);
                    text += mark;
                }
                c => {
                    self.next();
                    splitter.push_splitting(c.encode_utf8(&mut [0; 4]), start..self.at);
                    text.push(c);
                }
            }
        }
        // Whoever asked for a stop knows what is missing.
        if stop.is_some() { Err(ExpandProblem::NoClosingBrace) } else { Ok(text) }
    }

    /// An escape character and what it escapes; at the end of the word it is dropped.
    fn escaped(&mut self) -> String {
        let mut text = String::new();
        let escape = self.next();
        if self.rules.keeps_escapes {
            text.extend(escape);
        }
        text.extend(self.next());
        text
    }

    /// `<`, or `<<` with the blanks behind it: `<< EOF` is one word, as it is for a shell.
    fn heredoc_mark(&mut self) -> &'a str {
        let start = self.at;
        self.next();
        if self.eat('<') {
            while self.peek().is_some_and(char::is_whitespace) {
                self.next();
            }
        }
        &self.source[start..self.at]
    }

    fn single_quoted(&mut self) -> Result<String, ExpandProblem> {
        let start = self.at;
        self.next();
        let length = self.source[self.at..].find('\'').ok_or_else(|| {
            self.at = self.source.len();
            ExpandProblem::OpenSingleQuote
        })?;
        let inside = self.at..self.at + length;
        self.at = inside.end + 1;
        let range = if self.rules.keeps_quotes { start..self.at } else { inside };
        Ok(self.source[range].to_owned())
    }

    fn double_quoted(&mut self) -> Result<String, ExpandProblem> {
        let mut text = String::new();
        self.next();
        if self.rules.keeps_quotes {
            text.push('"');
        }
        loop {
            match self.peek().ok_or(ExpandProblem::OpenDoubleQuote)? {
                '"' => {
                    self.next();
                    if self.rules.keeps_quotes {
                        text.push('"');
                    }
                    return Ok(text);
                }
                '$' => text += &self.variable()?,
                c if c == self.rules.escape => {
                    self.next();
                    if self.rules.keeps_escapes {
                        text.push(c);
                    }
                    // Before any other character the escape character is itself; where escapes are kept it is then
                    // there twice.
                    let escapes = self.peek().is_some_and(|next| ['"', '$', c].contains(&next));
                    text.extend(if escapes { self.next() } else { Some(c) });
                }
                c => {
                    self.next();
                    text.push(c);
                }
            }
        }
    }

    fn variable(&mut self) -> Result<String, ExpandProblem> {
        let value = self.substitution()?;
        self.n_added_bytes += value.len();
        if self.n_added_bytes > MAX_ADDED_BYTES { Err(ExpandProblem::TooLarge) } else { Ok(value) }
    }

    fn substitution(&mut self) -> Result<String, ExpandProblem> {
        let start = self.at;
        self.next();
        if self.eat('{') {
            return self.braced_variable(start);
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        Ok((self.variables)(&name).unwrap_or_else(|| self.unset(start)))
    }

    /// What stands for a variable that is not set and was written from `start` to here.
    fn unset(&self, start: usize) -> String {
        if self.rules.keeps_unset { self.source[start..self.at].to_owned() } else { String::new() }
    }

    /// `${…}`, of which `${` is consumed. `start` is where the `$` stands.
    fn braced_variable(&mut self, start: usize) -> Result<String, ExpandProblem> {
        match self.peek() {
            None => return Err(ExpandProblem::NoClosingBrace),
            Some('{' | '}' | ':') => return Err(ExpandProblem::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        match self.next().ok_or(ExpandProblem::NoClosingBrace)? {
            '}' => Ok((self.variables)(&name).unwrap_or_else(|| self.unset(start))),
            ':' => {
                let operator = self.next().ok_or(ExpandProblem::NoClosingBrace)?;
                match operator {
                    '-' | '+' | '?' => self.alternative(start, &name, operator, true),
                    '#' | '%' => Err(ExpandProblem::UnsupportedModifier { modifier: format!(":{operator}") }),
                    _ => self.unsupported(start, &name, format!(":{operator}")),
                }
            }
            operator @ ('-' | '+' | '?') => self.alternative(start, &name, operator, false),
            operator @ ('#' | '%') => self.trimmed(start, &name, operator),
            '/' => self.replaced(start, &name),
            operator => Err(ExpandProblem::UnsupportedModifier { modifier: operator.to_string() }),
        }
    }

    /// Reads on to the closing brace first, for that it is missing is the more basic mistake. Where unset variables are
    /// kept, what the operator would do is left to a shell.
    fn unsupported(&mut self, start: usize, name: &str, modifier: String) -> Result<String, ExpandProblem> {
        self.operand('}', false, ExpandProblem::NoClosingBrace)?;
        if self.rules.keeps_unset && (self.variables)(name).is_none() {
            return Ok(self.unset(start));
        }
        Err(ExpandProblem::UnsupportedModifier { modifier })
    }

    /// `${name-word}`, `${name+word}`, `${name?word}`, and with a colon, for which an empty value is none.
    fn alternative(
        &mut self,
        start: usize,
        name: &str,
        operator: char,
        empty_is_unset: bool,
    ) -> Result<String, ExpandProblem> {
        let word = self.operand('}', false, ExpandProblem::NoClosingBrace)?;
        let value = (self.variables)(name);
        if value.is_none() && self.rules.keeps_unset {
            return Ok(self.unset(start));
        }
        let is_unset = value.is_none();
        let present = value.filter(|value| !(empty_is_unset && value.is_empty()));
        match (operator, present) {
            ('-', None) => Ok(word),
            ('+', None) => Ok(String::new()),
            ('+', Some(_)) => Ok(word),
            ('?', None) => {
                let reason = if is_unset { "is not allowed to be unset" } else { "is not allowed to be empty" };
                let message = if word.is_empty() { reason.to_owned() } else { word };
                Err(ExpandProblem::Required { name: name.to_owned(), message })
            }
            (_, Some(value)) => Ok(value),
            (_, None) => Ok(String::new()),
        }
    }

    /// `${name#pattern}`, `##`, `%`, `%%`.
    fn trimmed(&mut self, start: usize, name: &str, operator: char) -> Result<String, ExpandProblem> {
        let operand = self.operand('}', true, ExpandProblem::NoClosingBrace)?;
        let value = (self.variables)(name);
        if value.is_none() && self.rules.keeps_unset {
            return Ok(self.unset(start));
        }
        // Doubled by what the operand expands to, too: `${v#$p}` with `p=#x` is `${v##x}`.
        let (text, is_longest) = match operand.strip_prefix(operator) {
            Some(text) => (text, true),
            None => (operand.as_str(), false),
        };
        let value = value.unwrap_or_default();
        if operator == '#' {
            return Ok(parse_pattern(text)?.without_prefix(&value, is_longest).to_owned());
        }
        let value: String = value.chars().rev().collect();
        let trimmed = parse_pattern(&pattern::reversed(text))?.without_prefix(&value, is_longest);
        Ok(trimmed.chars().rev().collect())
    }

    /// `${name/pattern/replacement}` and `${name//pattern/replacement}`.
    fn replaced(&mut self, start: usize, name: &str) -> Result<String, ExpandProblem> {
        let is_global = self.eat('/');
        let text = self.operand('/', true, ExpandProblem::NoSecondSlash)?;
        let replacement = self.operand('}', true, ExpandProblem::NoClosingBrace)?;
        let value = (self.variables)(name);
        if value.is_none() && self.rules.keeps_unset {
            return Ok(self.unset(start));
        }
        let pattern = parse_pattern(&text)?;
        let value = value.unwrap_or_default();
        match is_global {
            true => pattern.replace_all(&value, &replacement, MAX_ADDED_BYTES).map_err(|_| ExpandProblem::TooLarge),
            false => Ok(pattern.replace_first(&value, &replacement)),
        }
    }

    /// What stands up to `stop`, expanded. Whatever is wrong at the very end of the word is reported as `missing`.
    fn operand(&mut self, stop: char, keeps_escapes: bool, missing: ExpandProblem) -> Result<String, ExpandProblem> {
        if self.depth == MAX_DEPTH {
            return Err(ExpandProblem::TooDeep);
        }
        self.depth += 1;
        let outer = std::mem::replace(&mut self.rules.keeps_escapes, keeps_escapes);
        let text = self.text_until(Some(stop), &mut WordSplitter::default());
        self.rules.keeps_escapes = outer;
        self.depth -= 1;
        text.map_err(|problem| if self.peek().is_none() { missing } else { problem })
    }

    /// A name: letters, digits and `_`; or digits alone; or one of the shell's special parameters.
    fn name(&mut self) -> String {
        let rest = &self.source[self.at..];
        let Some(first) = rest.chars().next() else {
            return String::new();
        };
        let length = if "@*#?-$!".contains(first) {
            first.len_utf8()
        } else if is_digit(first) {
            rest.find(|c: char| !is_digit(c)).unwrap_or(rest.len())
        } else {
            rest.find(|c: char| !c.is_alphabetic() && !is_digit(c) && c != '_').unwrap_or(rest.len())
        };
        self.at += length;
        rest[..length].to_owned()
    }
}

/// Whether it is a digit in some script; fractions and superscripts are none.
fn is_digit(c: char) -> bool {
    let is_other_number = matches!(c, '²' | '³' | '¹' | '¼'..='¾' | '\u{2070}'..='\u{218f}' | '\u{2460}'..='\u{24ff}');
    c.is_numeric() && !is_other_number
}

fn parse_pattern(text: &str) -> Result<Pattern, ExpandProblem> {
    Pattern::parse(text).map_err(|escape| ExpandProblem::InvalidPattern { pattern: text.to_owned(), escape })
}

/// Collects the words of a text and their places in the source.
#[derive(Default)]
struct WordSplitter {
    done: Vec<PlacedWord>,
    current: Option<PlacedWord>,
}

impl WordSplitter {
    /// Adds text in which white space separates words.
    fn push_splitting(&mut self, text: &str, source: Range<usize>) {
        for c in text.chars() {
            if c.is_whitespace() {
                self.end_word();
            } else {
                self.push_whole(c.encode_utf8(&mut [0; 4]), source.clone());
            }
        }
    }

    /// Adds text in which white space is a character like others.
    fn push_whole(&mut self, text: &str, source: Range<usize>) {
        let (word, place) = self.current.get_or_insert_with(|| (String::new(), source.clone()));
        word.push_str(text);
        place.end = source.end;
    }

    /// An empty word is none, even if it was quoted.
    fn end_word(&mut self) {
        if let Some(word) = self.current.take_if(|(text, _)| !text.is_empty()) {
            self.done.push(word);
        }
    }

    fn finish(mut self) -> Vec<PlacedWord> {
        self.end_word();
        self.done
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::{ExpandProblem, expand, expand_heredoc, expand_words, raw_words};

    fn variable(name: &str) -> Option<String> {
        let value = match name {
            "a" => "1",
            "empty" => "",
            "foo" => "foobarbaz",
            "F" => "/tmp/foo.txt",
            "path" => "/foo*/*/*.txt",
            "N" => r"\*/",
            "ports" => "80 81/udp",
            "é" => "accent",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn check(cases: &[(&str, &str)]) {
        for (word, expect) in cases {
            assert_eq!(expand(word, '\\', variable).as_deref(), Ok(*expect), "{word}");
        }
    }

    fn check_errors(cases: &[(&str, &str)]) {
        for (word, expect) in cases {
            let problem = expand(word, '\\', variable).map_err(|error| error.problem.to_string());
            assert_eq!(problem, Err((*expect).to_owned()), "{word}");
        }
    }

    #[test]
    fn names() {
        check(&[
            ("$a", "1"),
            ("${a}b", "1b"),
            ("$ab", ""),
            ("$a.b$a", "1.b1"),
            ("$é", "accent"),
            ("$1x", "x"),
            ("$12x", "x"),
            ("$@", ""),
            ("$$a", "a"),
            ("$.", "$."),
            ("$", "$"),
            ("$ a", "$ a"),
            ("${1}", ""),
        ]);
    }

    #[test]
    fn defaults_and_alternatives() {
        check(&[
            ("${u:-w}|${empty:-w}|${a:-w}", "w|w|1"),
            ("${u-w}|${empty-w}|${a-w}", "w||1"),
            ("${u:+w}|${empty:+w}|${a:+w}", "||w"),
            ("${u+w}|${empty+w}|${a+w}", "|w|w"),
            ("${a:?w}|${a?w}|${empty?w}", "1|1|"),
            ("${u:-${v:-$a}}", "1"),
            ("${u:-'}'}", "}"),
            ("${u:-\\}}", "}"),
            ("${u:-a b}", "a b"),
        ]);
    }

    #[test]
    fn required_values() {
        check_errors(&[
            ("${u:?msg}", "u: msg"),
            ("${u?msg $a}", "u: msg 1"),
            ("${u?}", "u: is not allowed to be unset"),
            ("${u:?}", "u: is not allowed to be unset"),
            ("${empty:?}", "empty: is not allowed to be empty"),
        ]);
    }

    #[test]
    fn patterns() {
        check(&[
            ("${foo#*a}|${foo##*a}|${foo%b*}|${foo%%b*}", "rbaz|z|foobar|foo"),
            ("${foo/ba/X}|${foo//ba/X}", "fooXrbaz|fooXrXz"),
            (r"${F//\//\/}", r"\/tmp\/foo.txt"),
            ("${path/$N/.}", "/foo.*/*.txt"),
            ("${foo#x}|${u#x}|${u/x/y}", "foobarbaz||"),
            ("${foo/b*/}", "foo"),
            ("${foo//b?r/$a}", "foo1baz"),
        ]);
    }

    #[test]
    fn growth_has_an_end() {
        let nested = |depth: usize| "${u:-".repeat(depth) + "x" + &"}".repeat(depth);
        check(&[(&nested(200), "x")]);
        check_errors(&[(&nested(201), "more than 200 substitutions inside each other")]);
        check_errors(&[(&nested(100_000), "more than 200 substitutions inside each other")]);
        let large = |_: &str| Some("x".repeat(3 << 20));
        for word in ["$a$a", "\"$a$a\"", "${a//x/$$xx}"] {
            let problem = expand(word, '\\', large).map_err(|error| error.problem);
            assert_eq!(problem, Err(ExpandProblem::TooLarge), "{word}");
        }
    }

    #[test]
    fn malformed_substitutions() {
        check_errors(&[
            ("${a:#x}", "unsupported modifier (:#) in substitution"),
            ("${a:%x}", "unsupported modifier (:%) in substitution"),
            ("${a=x}", "unsupported modifier (=) in substitution"),
            ("${a:=x}", "unsupported modifier (:=) in substitution"),
            ("${a^}", "unsupported modifier (^) in substitution"),
            ("${}", "syntax error: bad substitution"),
            ("${:x}", "syntax error: bad substitution"),
            ("${{a}", "syntax error: bad substitution"),
            ("${a", "syntax error: missing '}'"),
            ("${", "syntax error: missing '}'"),
            ("${a:", "syntax error: missing '}'"),
            ("${a:-x", "syntax error: missing '}'"),
            ("${a/x/y", "syntax error: missing '}'"),
            ("${a/x}", "syntax error: missing '/' in ${}"),
            (r"${a/\x/y}", r"invalid pattern (\x) in substitution: invalid escape '\x'"),
        ]);
    }

    #[test]
    fn quotes_and_escapes() {
        check(&[
            ("'$a'", "$a"),
            ("\"$a\"", "1"),
            (r"\$a", "$a"),
            (r#""\$a \" \\ \n""#, r#"$a " \ \n"#),
            (r"a\ b\", "a b"),
            (r#"x"y"'z'"#, "xyz"),
            ("\"it's\"", "it's"),
            ("a < b << c", "a < b << c"),
        ]);
        check_errors(&[
            ("'a", "unexpected end of statement while looking for matching single-quote"),
            ("\"a", "unexpected end of statement while looking for matching double-quote"),
        ]);
        let windows = expand("C:\\a`$a\"`\"`x\"", '`', variable);
        assert_eq!(windows.as_deref(), Ok("C:\\a$a\"`x"));
    }

    #[test]
    fn an_error_names_the_word() {
        let error = expand("\"a ${}", '\\', variable).unwrap_err();
        assert_eq!(error.problem, ExpandProblem::BadSubstitution);
        assert_eq!(error.to_string(), r#"failed to process "\"a ${}": syntax error: bad substitution"#);
    }

    #[test]
    fn each_use_is_a_lookup() {
        let asked = RefCell::new(Vec::new());
        let ask = |name: &str| {
            asked.borrow_mut().push(name.to_owned());
            variable(name)
        };
        expand("$a'$b'${y:-$x}$$", '\\', ask).unwrap();
        assert_eq!(asked.into_inner(), ["a", "x", "y", "$"]);
    }

    #[test]
    fn values_split_into_words_only_on_request() {
        let words = |word| expand_words(word, '\\', variable).unwrap();
        assert_eq!(words("$ports"), ["80", "81/udp"]);
        assert_eq!(words("\"$ports\""), ["80 81/udp"]);
        assert_eq!(words("1$ports$a x"), ["180", "81/udp1", "x"]);
        assert!(words("$u").is_empty());
        check(&[("$ports", "80 81/udp")]);
    }

    #[test]
    fn heredoc_bodies_keep_quotes() {
        let body = "$a \\$a \"q$a\" '$a' \\n \\\\ ${a:+\"x\"} b\\\nc\n";
        let expanded = expand_heredoc(body, variable).unwrap();
        assert_eq!(expanded, "1 $a \"q1\" '1' n \\ \"x\" b\nc\n");
    }

    #[test]
    fn raw_words_stay_as_written() {
        let line = r#"RUN a "b c"d \e ${x:-y} << EOF $f <<<g"#;
        let words = raw_words(line).unwrap();
        for (text, range) in &words {
            assert_eq!(&line[range.clone()], text);
        }
        let texts: Vec<&str> = words.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, ["RUN", "a", "\"b c\"d", "\\e", "${x:-y}", "<< EOF", "$f", "<<<g"]);
        assert_eq!(raw_words("it's"), None);
        assert_eq!(raw_words("${x^^}"), None);
    }
}
