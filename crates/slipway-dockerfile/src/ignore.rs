//! Which files of a context a `.dockerignore` leaves out (`spec/dockerfile.md` section 6); also `--exclude`.
//!
//! A walk asks [`IgnoreRules::verdict`] for each entry, handing in the verdict on its directory, so that no path is
//! matched twice. Of several rules that match, the last one wins; a rule that matches a directory matches all that
//! is below it.

use crate::glob::{BadPattern, Glob};

/// One line of an ignore file.
#[derive(Clone, Debug)]
pub struct IgnoreRule {
    /// The line as written, without blanks around it.
    pub text: String,
    /// Counted from 1; among patterns that come from no file, the position.
    pub line: usize,
    /// `!…`: takes back what rules before it leave out.
    pub is_exception: bool,
    matcher: Matcher,
}

/// The rules of an ignore file, in their order.
#[derive(Clone, Debug, Default)]
pub struct IgnoreRules {
    rules: Vec<IgnoreRule>,
}

/// An ignore file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    #[error("illegal exclusion pattern: \"!\"")]
    LoneException { line: usize },
    #[error("{source}")]
    BadPattern { pattern: String, line: usize, source: BadPattern },
}

/// What the rules say about one path. The default is the verdict on the root of a context.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The rule that leaves the path out.
    excluded_by: Option<usize>,
    /// One bit for each rule that matched the path or a directory above it; empty if none did.
    matched: Vec<u64>,
}

impl Verdict {
    pub fn is_excluded(&self) -> bool {
        self.excluded_by.is_some()
    }

    fn has_matched(&self, rule: usize) -> bool {
        self.matched.get(rule / 64).is_some_and(|bits| bits >> (rule % 64) & 1 == 1)
    }

    fn set_matched(&mut self, rule: usize) {
        let n_needed = rule / 64 + 1;
        if self.matched.len() < n_needed {
            self.matched.resize(n_needed, 0);
        }
        self.matched[rule / 64] |= 1 << (rule % 64);
    }
}

impl IgnoreRules {
    /// Reads an ignore file. Bytes that are no UTF-8 are replaced by U+FFFD, and so match nothing.
    pub fn parse(text: &[u8]) -> Result<IgnoreRules, IgnoreError> {
        let text = String::from_utf8_lossy(text);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut rules = Vec::new();
        for (n_before, line) in text.lines().enumerate() {
            let trimmed = line.trim();
            if line.starts_with('#') || trimmed.is_empty() {
                continue;
            }
            let (mark, pattern) = match trimmed.strip_prefix('!') {
                Some(pattern) => ("!", pattern.trim()),
                None => ("", trimmed),
            };
            let cleaned = if pattern.is_empty() { String::new() } else { clean(pattern) };
            // A context has no files outside of itself, so a leading slash means its root.
            let relative = cleaned.strip_prefix('/').filter(|rest| !rest.is_empty()).unwrap_or(&cleaned);
            rules.extend(IgnoreRule::parse(trimmed, &format!("{mark}{relative}"), n_before + 1)?);
        }
        Ok(IgnoreRules { rules })
    }

    /// Rules from patterns that are not lines of a file (`COPY --exclude`): there are no comments, and a leading
    /// slash is part of the pattern.
    pub fn from_patterns<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<IgnoreRules, IgnoreError> {
        let mut rules = Vec::new();
        for (n_before, pattern) in patterns.into_iter().enumerate() {
            rules.extend(IgnoreRule::parse(pattern.trim(), pattern, n_before + 1)?);
        }
        Ok(IgnoreRules { rules })
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether a rule takes back what others leave out.
    pub fn has_exceptions(&self) -> bool {
        self.rules.iter().any(|rule| rule.is_exception)
    }

    /// The verdict on `path`, which is relative to the root of the context and has no `/` at its ends, given that on
    /// its directory.
    pub fn verdict(&self, path: impl AsRef<[u8]>, directory: &Verdict) -> Verdict {
        let path = path.as_ref();
        let mut verdict = Verdict::default();
        for (index, rule) in self.rules.iter().enumerate() {
            // A rule that changes nothing is not looked at, and then does not count as matched for what is below.
            // That can be seen (`a/*.log` and then `!a` still leaves out `a/x.log`), so it is the same here as in the
            // reference builder.
            let is_worth_matching = rule.is_exception == verdict.is_excluded();
            if directory.has_matched(index) || (is_worth_matching && rule.matcher.matches(path)) {
                verdict.set_matched(index);
                verdict.excluded_by = (!rule.is_exception).then_some(index);
            }
        }
        verdict
    }

    /// The verdict on `path` by way of all directories above it.
    pub fn verdict_from_root(&self, path: impl AsRef<[u8]>) -> Verdict {
        let path = path.as_ref();
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        slashes.chain([path.len()]).fold(Verdict::default(), |directory, end| self.verdict(&path[..end], &directory))
    }

    /// Whether a walk has to go into `directory`: it is not left out, or an exception may match something below it.
    pub fn must_walk(&self, directory: impl AsRef<[u8]>, verdict: &Verdict) -> bool {
        let Some(excluded_by) = verdict.excluded_by else {
            return true;
        };
        // Exceptions further up are overruled by the rule that leaves the directory out.
        let later = &self.rules[excluded_by + 1..];
        later.iter().any(|rule| rule.is_exception && rule.matcher.may_match_below(directory.as_ref()))
    }

    /// The rule that leaves the path out on which `verdict` was given.
    pub fn excluded_by(&self, verdict: &Verdict) -> Option<&IgnoreRule> {
        verdict.excluded_by.map(|index| &self.rules[index])
    }
}

impl IgnoreRule {
    /// The rule that `pattern` is, with `!` in front if it is an exception; `None` if it is blank. `text` is what was
    /// written.
    fn parse(text: &str, pattern: &str, line: usize) -> Result<Option<IgnoreRule>, IgnoreError> {
        let pattern = pattern.trim();
        if pattern.is_empty() {
            return Ok(None);
        }
        let cleaned = clean(pattern);
        let (is_exception, pattern) = match cleaned.strip_prefix('!') {
            Some("") => return Err(IgnoreError::LoneException { line }),
            Some(pattern) => (true, pattern),
            None => (false, cleaned.as_str()),
        };
        let matcher = Matcher::parse(pattern).map_err(|source| {
            let pattern = pattern.to_owned();
            IgnoreError::BadPattern { pattern, line, source }
        })?;
        Ok(Some(IgnoreRule { text: text.to_owned(), line, is_exception, matcher }))
    }
}

/// A pattern, in the form that is fastest to match.
#[derive(Clone, Debug)]
enum Matcher {
    /// A plain path.
    Exact(Vec<u8>),
    /// `**` and plain text to the end. Without a slash after `**`, as in `**.go`, any end of a name matches.
    Suffix(Vec<u8>),
    /// Plain text and then `**`.
    Prefix(Vec<u8>),
    Glob(Glob),
}

impl Matcher {
    fn parse(pattern: &str) -> Result<Matcher, BadPattern> {
        let is_plain = |text: &str| !text.contains(['*', '?', '[', ']', '\\']);
        if is_plain(pattern) {
            return Ok(Matcher::Exact(pattern.into()));
        }
        if let Some(suffix) = pattern.strip_prefix("**").filter(|suffix| is_plain(suffix)) {
            return Ok(Matcher::Suffix(suffix.into()));
        }
        if let Some(prefix) = pattern.strip_suffix("**").filter(|prefix| is_plain(prefix)) {
            return Ok(Matcher::Prefix(prefix.into()));
        }
        Glob::parse_ignore_rule(pattern).map(Matcher::Glob)
    }

    fn matches(&self, path: &[u8]) -> bool {
        match self {
            Matcher::Exact(exact) => path == exact,
            Matcher::Suffix(suffix) => path.ends_with(suffix) || suffix.strip_prefix(b"/") == Some(path),
            Matcher::Prefix(prefix) => path.starts_with(prefix),
            Matcher::Glob(glob) => glob.matches(path),
        }
    }

    /// Whether something below `directory` can match. Errs on the side of yes.
    fn may_match_below(&self, directory: &[u8]) -> bool {
        match self {
            Matcher::Exact(exact) => exact.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/")),
            Matcher::Suffix(_) | Matcher::Prefix(_) => true,
            Matcher::Glob(glob) => glob.may_match_below(directory),
        }
    }
}

/// The shortest way to write a path: no empty components, no `.`, and `..` only where nothing is in front of it
/// (Go's `filepath.Clean`).
fn clean(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut components: Vec<&str> = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." if components.last().is_some_and(|last| *last != "..") => {
                components.pop();
            }
            ".." if is_absolute => {}
            _ => components.push(component),
        }
    }
    let joined = components.join("/");
    match (is_absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::{IgnoreError, IgnoreRules, Verdict, clean};
    use crate::glob::BadPattern;

    fn rules(text: &str) -> IgnoreRules {
        IgnoreRules::parse(text.as_bytes()).unwrap()
    }

    fn is_excluded(text: &str, path: &str) -> bool {
        rules(text).verdict_from_root(path).is_excluded()
    }

    #[test]
    fn what_is_left_out() {
        for (text, excluded, kept) in [
            ("foo", &["foo", "foo/a"][..], &["a/foo", "foobar"][..]),
            ("**/foo", &["foo", "a/foo", "a/b/foo/c"], &["xfoo"]),
            ("**.go", &["x.go", "a/b.go"], &["a.gox"]),
            ("*.go", &["x.go"], &["a/x.go"]),
            ("*\n!keep\n!a/b", &["x", "a", "a/c"], &["keep", "keep/x", "a/b", "a/b/c"]),
            ("!x\n*", &["x"], &[]),
            (" # x\n#y", &["# x"], &["#y", "x"]),
            ("/foo/", &["foo", "foo/x"], &[]),
            ("\u{feff}foo\r\n\r\n  b/./c//d \r\n", &["foo", "b/c/d"], &["b/c"]),
            ("a/**/b", &["a/b", "a/x/y/b"], &["a/x"]),
            ("a/**", &["a/b", "a/b/c"], &["a"]),
            ("*.md\n!README*.md\nREADME-secret.md", &["a.md", "README-secret.md"], &["README.md", "README-x.md"]),
            ("! foo\nbar\n!  bar/x", &["bar"], &["foo", "bar/x"]),
            ("..\n../a\n.\n/", &[], &["a", "b"]),
            ("a/*.log\n!a", &["a/x.log"], &["a"]),
            ("a[0-9]\n\\*", &["a1", "*"], &["ab", "x"]),
        ] {
            for path in excluded {
                assert!(is_excluded(text, path), "{path} should be left out by {text:?}");
            }
            for path in kept {
                assert!(!is_excluded(text, path), "{path} should be kept by {text:?}");
            }
        }
    }

    #[test]
    fn unusable_files() {
        let error = |text: &str| IgnoreRules::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error("a\n!"), IgnoreError::LoneException { line: 2 });
        assert_eq!(error("!").to_string(), "illegal exclusion pattern: \"!\"");
        let bad = IgnoreError::BadPattern { pattern: "[a".to_owned(), line: 3, source: BadPattern };
        assert_eq!(error("# x\n\n[a"), bad);
        assert_eq!(bad.to_string(), "syntax error in pattern");
    }

    #[test]
    fn the_decisive_rule_is_known() {
        let rules = rules("# top\nsrc*\n!src/keep\n");
        let decisive = |path: &str| {
            let verdict = rules.verdict_from_root(path);
            rules.excluded_by(&verdict).map(|rule| (rule.text.clone(), rule.line))
        };
        assert_eq!(decisive("src/a"), Some(("src*".to_owned(), 2)));
        assert_eq!(decisive("src/keep"), None);
        assert_eq!(decisive("other"), None);
    }

    #[test]
    fn excluded_directories_are_walked_only_for_exceptions() {
        for (text, directory, expect) in [
            ("a", "a", false),
            ("b", "a", true),
            ("*\n!a/b", "a", true),
            ("*\n!a/b", "c", false),
            ("!a/b\n*", "a", false),
            ("*\n!**/x", "a", true),
            ("*\n!ab", "a", false),
        ] {
            let rules = rules(text);
            let verdict = rules.verdict(directory, &Verdict::default());
            assert_eq!(rules.must_walk(directory, &verdict), expect, "{directory} with {text:?}");
        }
    }

    #[test]
    fn patterns_without_a_file() {
        let rules = IgnoreRules::from_patterns(["*.txt", "!keep.txt", "#x", " "]).unwrap();
        for (path, expect) in [("a.txt", true), ("keep.txt", false), ("#x", true), ("d/a.txt", false)] {
            assert_eq!(rules.verdict_from_root(path).is_excluded(), expect, "{path}");
        }
    }

    #[test]
    fn more_rules_than_bits_in_a_word() {
        let text: String = (0..100).map(|n| format!("d{n}\n")).collect();
        assert!(is_excluded(&text, "d99/x"));
        assert!(!is_excluded(&text, "x/d99"));
    }

    #[test]
    fn cleaned_paths() {
        for (path, expect) in [
            ("a//b/./c/", "a/b/c"),
            ("a/../b", "b"),
            ("../a/..", ".."),
            ("/../a", "/a"),
            ("./", "."),
            ("/", "/"),
            ("!../x", "!../x"),
        ] {
            assert_eq!(clean(path), expect);
        }
    }
}
