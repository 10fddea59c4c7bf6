//! Which programs does a shell script start, with which words?
//!
//! No shell: nothing is expanded, control flow is skipped over. Words keep their place in the Dockerfile, so that a fix
//! can be put right there. What cannot be understood ends the list of commands early, which makes rules silent rather
//! than wrong.

use std::ops::Range;

use slipway_dockerfile::Span;

/// One program and its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Command {
    /// `NAME=value` in front of the program.
    pub(crate) assignments: Vec<Word>,
    /// The program, then its arguments. Never empty.
    pub(crate) words: Vec<Word>,
    /// Its output goes to the next command of the list.
    pub(crate) is_piped: bool,
}

/// A word without its quotes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    /// Its place in the Dockerfile, quotes included; empty for words of JSON arrays and triggers.
    pub(crate) span: Span,
}

impl Word {
    /// Whether only the shell knows what it stands for.
    pub(crate) fn is_variable(&self) -> bool {
        self.text.contains(['$', '`'])
    }
}

impl Command {
    /// The words of an exec form.
    pub(crate) fn of_exec_form<'a>(words: impl Iterator<Item = &'a str>) -> Option<Command> {
        let words: Vec<_> = words.map(|text| Word { text: text.to_owned(), span: Span::default() }).collect();
        (!words.is_empty()).then_some(Command { words, ..Command::default() })
    }

    pub(crate) fn program(&self) -> &str {
        &self.words[0].text
    }

    pub(crate) fn is_program(&self, names: &[&str]) -> bool {
        names.contains(&self.program())
    }

    /// All words after the program.
    pub(crate) fn arguments(&self) -> &[Word] {
        &self.words[1..]
    }

    /// The arguments that are no flags. `with_value` names the flags whose value is a word of its own.
    pub(crate) fn operands(&self, with_value: &[&str]) -> Vec<&Word> {
        let mut operands = Vec::new();
        let mut words = self.arguments().iter();
        while let Some(word) = words.next() {
            match word.text.strip_prefix('-') {
                Some(name) if !name.is_empty() => {
                    if with_value.contains(&word.text.as_str()) {
                        words.next();
                    }
                }
                _ => operands.push(word),
            }
        }
        operands
    }

    /// Whether a flag is given: `y` as `-y` or in `-qy`, `yes` as `--yes` or `--yes=…`.
    pub(crate) fn has_flag(&self, names: &[&str]) -> bool {
        self.arguments().iter().any(|word| match (word.text.strip_prefix("--"), word.text.strip_prefix('-')) {
            (Some(long), _) => names.contains(&long.split('=').next().unwrap_or(long)),
            // A single dash in front of a long name, as `wget -nv` and `tar -xzf` have them.
            (None, Some(short)) => names.iter().any(|name| match name.len() {
                1 => short.contains(name) && !short.contains('='),
                _ => short == *name,
            }),
            (None, None) => false,
        })
    }

    /// The value of a flag, in the next word or behind `=`.
    pub(crate) fn flag_value(&self, name: &str) -> Option<&str> {
        let mut words = self.arguments().iter();
        while let Some(word) = words.next() {
            if word.text == name {
                return words.next().map(|value| value.text.as_str());
            }
            if let Some(value) = word.text.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
                return Some(value);
            }
        }
        None
    }

    /// The word that is exactly `text`.
    pub(crate) fn argument(&self, text: &str) -> Option<&Word> {
        self.arguments().iter().find(|word| word.text == text)
    }
}

/// The commands of the script at `range` of `text`, in the order in which they are written; those inside `$(…)` come
/// before the command that uses them. `escape` at the end of a line joins it with the next one.
pub(crate) fn commands(text: &str, range: Range<usize>, escape: char) -> Vec<Command> {
    let Some(script) = text.get(range.clone()) else { return Vec::new() };
    let mut reader = Reader {
        script,
        base: range.start,
        at: 0,
        escape,
        closing: None,
        depth: 0,
        awaited: Vec::new(),
        found: Vec::new(),
    };
    reader.list();
    reader.found
}

/// Words that steer the shell where a program could stand.
const RESERVED: [&str; 14] =
    ["if", "then", "elif", "else", "fi", "while", "until", "do", "done", "esac", "{", "}", "!", "time"];

/// So deep may substitutions be nested.
const MAX_DEPTH: usize = 16;

struct Reader<'a> {
    script: &'a str,
    /// Where the script begins in the Dockerfile.
    base: usize,
    at: usize,
    escape: char,
    /// What ends the innermost substitution.
    closing: Option<char>,
    depth: usize,
    /// What ends the heredocs that begin in the next line.
    awaited: Vec<String>,
    found: Vec<Command>,
}

/// Words that name no program.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Head {
    /// `for x in a b`, up to the end of the line.
    Loop,
    /// `case x`, up to `in`.
    Case,
    /// `a|b`, up to the parenthesis.
    Pattern,
}

impl Reader<'_> {
    /// Reads commands up to the end, or up to what closes them, which is taken.
    fn list(&mut self) {
        let mut command = Command::default();
        let mut head = None;
        while let Some(next) = self.peek() {
            if self.skip_blank(next) {
                continue;
            }
            if Some(next) == self.closing {
                self.bump();
                break;
            }
            match next {
                // Inside `[[ … ]]` they compare and match.
                '&' | '|' | '(' | ')' | '<' | '>' if is_test(&command) => {
                    self.bump();
                }
                '\n' | ';' | '&' | '|' | '(' | ')' => {
                    let joint = self.joint();
                    head = match (head, joint) {
                        (Some(Head::Pattern), _) if next != ')' => Some(Head::Pattern),
                        (_, Joint::Branch) => Some(Head::Pattern),
                        _ => None,
                    };
                    self.end(&mut command, joint == Joint::Pipe && head.is_none());
                    if next == '\n' {
                        self.skip_heredocs();
                    }
                }
                '<' | '>' => self.redirect(),
                '#' => self.skip_line(),
                _ => {
                    let word = self.word();
                    self.take(word, &mut command, &mut head);
                }
            }
        }
        self.end(&mut command, false);
    }

    fn take(&mut self, word: Word, command: &mut Command, head: &mut Option<Head>) {
        // The number in `2>/dev/null`.
        if word.text.bytes().all(|b| b.is_ascii_digit()) && matches!(self.peek(), Some('<' | '>')) {
            return;
        }
        match (&*head, word.text.as_str()) {
            (Some(Head::Case), "in") => *head = Some(Head::Pattern),
            (Some(Head::Pattern), "esac") => *head = None,
            _ => {}
        }
        if head.is_some() {
            return;
        }
        if command.words.is_empty() {
            match word.text.as_str() {
                text if RESERVED.contains(&text) => return,
                "case" => *head = Some(Head::Case),
                "for" | "select" | "function" => *head = Some(Head::Loop),
                _ => {}
            }
            if head.is_some() {
                return;
            }
            if is_assignment(&word.text) {
                command.assignments.push(word);
                return;
            }
        }
        command.words.push(word);
    }

    fn end(&mut self, command: &mut Command, is_piped: bool) {
        let command = std::mem::take(command);
        if !command.words.is_empty() {
            self.found.push(Command { is_piped, ..command });
        } else if let (true, Some(last)) = (is_piped, self.found.last_mut()) {
            // `(a; b) | c`, `done | c`
            last.is_piped = true;
        }
    }

    /// Takes what joins two commands.
    fn joint(&mut self) -> Joint {
        let first = self.bump();
        match (first, self.peek()) {
            (Some(';'), Some(';' | '&')) => {
                while let Some(';' | '&') = self.peek() {
                    self.bump();
                }
                Joint::Branch
            }
            (Some('&'), Some('&')) | (Some('|'), Some('|')) => {
                self.bump();
                Joint::Other
            }
            (Some('|'), Some('&')) => {
                self.bump();
                Joint::Pipe
            }
            // `&>file`
            (Some('&'), Some('>')) => {
                self.redirect();
                Joint::Other
            }
            (Some('|'), _) => Joint::Pipe,
            _ => Joint::Other,
        }
    }

    /// Takes `>file`, `2>&1`, `<<<text`, `<<EOF`.
    fn redirect(&mut self) {
        let start = self.at;
        while matches!(self.peek(), Some('<' | '>' | '&' | '|' | '-')) {
            self.bump();
        }
        let operator = &self.script[start..self.at];
        let is_heredoc = operator.starts_with("<<") && !operator.starts_with("<<<");
        // `<(…)` is a command of its own.
        if self.peek() == Some('(') {
            return;
        }
        while let Some(next) = self.peek() {
            if !self.skip_blank(next) {
                break;
            }
        }
        if self.peek().is_some_and(|next| !is_operator(next)) {
            let word = self.word();
            if is_heredoc {
                self.awaited.push(word.text);
            }
        }
    }

    /// The lines of heredocs are no commands.
    fn skip_heredocs(&mut self) {
        for end in std::mem::take(&mut self.awaited) {
            for line in self.script[self.at..].split_inclusive('\n') {
                self.at += line.len();
                if line.trim() == end {
                    break;
                }
            }
        }
    }

    fn word(&mut self) -> Word {
        let start = self.at;
        let mut text = String::new();
        while let Some(next) = self.peek() {
            let is_end = next.is_ascii_whitespace() || is_operator(next) || Some(next) == self.closing;
            if is_end || self.continuation().is_some() {
                break;
            }
            self.bump();
            match next {
                '\'' => {
                    let end = self.script[self.at..].find('\'').map_or(self.script.len(), |n| self.at + n);
                    text.push_str(&self.script[self.at..end]);
                    self.at = (end + 1).min(self.script.len());
                }
                '"' => self.double_quoted(&mut text),
                '\\' => text.extend(self.bump()),
                '$' | '`' => self.expansion(next, &mut text),
                other => text.push(other),
            }
        }
        Word { text, span: Span { start: self.base + start, end: self.base + self.at } }
    }

    fn double_quoted(&mut self, text: &mut String) {
        while let Some(next) = self.bump() {
            match next {
                '"' => return,
                '\\' => match self.bump() {
                    Some('\n') | None => {}
                    Some(escaped @ ('"' | '\\' | '$' | '`')) => text.push(escaped),
                    Some(other) => text.extend(['\\', other]),
                },
                '$' | '`' => self.expansion(next, text),
                other => text.push(other),
            }
        }
    }

    /// After `$` or a backtick. A variable stays as it is written; the commands of a substitution are read.
    fn expansion(&mut self, sign: char, text: &mut String) {
        let start = self.at - 1;
        match (sign, self.peek()) {
            ('$', Some('(')) if self.script[self.at..].starts_with("((") => {
                let end = self.script[self.at..].find("))").map_or(self.script.len(), |n| self.at + n + 2);
                self.at = end;
            }
            ('$', Some('(')) => {
                self.bump();
                self.substitution(')');
            }
            ('$', Some('{')) => {
                let end = self.script[self.at..].find('}').map_or(self.script.len(), |n| self.at + n + 1);
                self.at = end;
            }
            ('`', _) if self.escape != '`' => self.substitution('`'),
            _ => {}
        }
        text.push_str(&self.script[start..self.at]);
    }

    fn substitution(&mut self, closing: char) {
        if self.depth == MAX_DEPTH {
            self.at = self.script.len();
            return;
        }
        self.depth += 1;
        let outer = self.closing.replace(closing);
        self.list();
        self.closing = outer;
        self.depth -= 1;
    }

    /// Takes a blank or the end of a line that goes on; whether there was one.
    fn skip_blank(&mut self, next: char) -> bool {
        if matches!(next, ' ' | '\t' | '\r') {
            self.bump();
            return true;
        }
        let Some(after) = self.continuation() else { return false };
        self.at = after;
        // Comments and empty lines between joined lines are none of the shell's business.
        loop {
            let line = self.script[self.at..].split_inclusive('\n').next().unwrap_or_default();
            let is_skipped = line.trim().is_empty() || line.trim_start().starts_with('#');
            if line.is_empty() || !is_skipped || !line.ends_with('\n') {
                return true;
            }
            self.at += line.len();
        }
    }

    /// Where the next line begins, if this one ends here and is continued.
    fn continuation(&self) -> Option<usize> {
        let rest = self.script[self.at..].strip_prefix(self.escape)?;
        let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\r']).len();
        rest[blank..].starts_with('\n').then(|| self.at + self.escape.len_utf8() + blank + 1)
    }

    fn skip_line(&mut self) {
        self.at = self.script[self.at..].find('\n').map_or(self.script.len(), |n| self.at + n);
    }

    fn peek(&self) -> Option<char> {
        self.script[self.at..].chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }
}

/// How two commands are joined.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Joint {
    Pipe,
    /// `;;` in front of the next pattern of `case`.
    Branch,
    Other,
}

/// Whether `command` is a `[[` whose `]]` is still to come.
fn is_test(command: &Command) -> bool {
    let is = |word: Option<&Word>, text: &str| word.is_some_and(|word| word.text == text);
    is(command.words.first(), "[[") && !is(command.words.last(), "]]")
}

fn is_operator(c: char) -> bool {
    matches!(c, ';' | '&' | '|' | '(' | ')' | '<' | '>')
}

fn is_assignment(word: &str) -> bool {
    let Some((name, _)) = word.split_once('=') else { return false };
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(script: &str) -> String {
        let all = commands(script, 0..script.len(), '\\');
        let one = |command: &Command| {
            let words: Vec<&str> = command.words.iter().map(|word| word.text.as_str()).collect();
            format!("{}{}", words.join(","), if command.is_piped { "|" } else { "" })
        };
        all.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn scripts_are_taken_apart() {
        for (script, expected) in [
            ("apt-get update && apt-get install -y a=1", "apt-get,update apt-get,install,-y,a=1"),
            ("a \"b c\" 'd e' f\\ g", "a,b c,d e,f g"),
            ("wget -O- x|sh 2>&1; y", "wget,-O-,x| sh y"),
            ("A=1 B=2 c d=3", "c,d=3"),
            ("if ! a; then b; else c; fi", "a b c"),
            ("for x in a b; do c $x; done", "c,$x"),
            ("case $x in a) b;; c|d) e;; (f) g ;; esac; h", "b e g h"),
            ("case $x in\n a|b)\n c;;\n *) d\nesac | e", "c d| e"),
            ("(a; b) | c", "a b| c"),
            ("for x in a; do b; done | c", "b| c"),
            ("x $((1|2)) | y", "x,$((1|2))| y"),
            ("[[ a =~ b|c && d ]] && e", "[[,a,=~,b,c,d,]] e"),
            ("(cd /x && make) || true", "cd,/x make true"),
            ("x \"$(pip install y)\" z", "pip,install,y x,$(pip install y),z"),
            ("x `y z`", "y,z x,`y z`"),
            ("a \\\n  # note\n\n  b \\\n && c", "a,b c"),
            ("a # rest\nb", "a b"),
            ("a > /dev/null < x >>y b", "a,b"),
            ("a <<EOF\nsudo\nEOF\nb", "a b"),
            ("a <<-'A' <<B > c && d\nsudo\n\tA\nvim\nB\ne", "a d e"),
            ("a &> log & b", "a b"),
            ("a ${X:-b c} d", "a,${X:-b c},d"),
            ("a 'open", "a,open"),
            ("", ""),
        ] {
            assert_eq!(shown(script), expected, "{script}");
        }
    }

    #[test]
    fn words_know_their_place() {
        let text = "RUN a \\\n 'b c' d";
        let found = commands(text, 4..text.len(), '\\');
        let places: Vec<&str> = found[0].words.iter().map(|word| &text[word.span.range()]).collect();
        assert_eq!(places, ["a", "'b c'", "d"]);
    }

    #[test]
    fn flags_are_found_in_all_spellings() {
        let text = "tool -qy --force=1 --name x -o=1 y";
        let command = &commands(text, 0..text.len(), '\\')[0];
        assert!(command.has_flag(&["y"]) && command.has_flag(&["force"]) && !command.has_flag(&["o", "z"]));
        assert_eq!(command.flag_value("--name"), Some("x"));
        let operands: Vec<_> = command.operands(&["--name"]).iter().map(|word| word.text.clone()).collect();
        assert_eq!(operands, ["y"]);
    }
}
