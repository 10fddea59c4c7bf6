//! Which paths does a pattern of `COPY` mean?
//!
//! One component of a path follows Go's `filepath.Match`; `**` as a component stands for any number of them
//! (`spec/dockerfile.md` sections 3.4 and 6).

use super::{PathRules, RuleHit};

/// A pattern over whole relative paths.
#[derive(Clone, Debug)]
pub struct PathPattern {
    components: Vec<Component>,
}

#[derive(Clone, Debug)]
enum Component {
    /// `**`
    AnyDepth,
    Glob(Vec<u8>),
}

/// A pattern that has no meaning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern `{pattern}`")]
pub struct PatternError {
    pattern: String,
}

impl PathPattern {
    /// Reads a pattern; `/` at its ends and `.` components mean nothing.
    pub fn parse(pattern: &str) -> Result<PathPattern, PatternError> {
        let components: Vec<Component> = crate::rootfs::components(pattern.as_bytes())
            .map(|c| if c == b"**" { Component::AnyDepth } else { Component::Glob(c.to_vec()) })
            .collect();
        let is_sound = components.iter().all(|component| match component {
            Component::AnyDepth => true,
            Component::Glob(glob) => is_well_formed(glob),
        });
        if is_sound { Ok(PathPattern { components }) } else { Err(PatternError { pattern: pattern.to_owned() }) }
    }

    /// Whether it means `path` or a folder above it, and with that all that the folder holds.
    pub fn covers(&self, path: &[u8]) -> bool {
        let path: Vec<&[u8]> = crate::rootfs::components(path).collect();
        (1..=path.len()).any(|n| self.fit(&path[..n]) == Fit::Whole)
    }

    /// Whether it may mean something below `folder`.
    pub fn may_match_below(&self, folder: &[u8]) -> bool {
        let folder: Vec<&[u8]> = crate::rootfs::components(folder).collect();
        self.fit(&folder) != Fit::No
    }

    fn fit(&self, path: &[&[u8]]) -> Fit {
        fit(&self.components, path)
    }
}

/// How far a path goes along with a pattern.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fit {
    No,
    /// More components could make it match.
    Beginning,
    Whole,
}

fn fit(pattern: &[Component], path: &[&[u8]]) -> Fit {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => Fit::Whole,
        (None, Some(_)) => Fit::No,
        (Some(_), None) => Fit::Beginning,
        // `a/**` means what is in `a`, not `a` itself.
        (Some((Component::AnyDepth, [])), Some(_)) => Fit::Whole,
        (Some((Component::AnyDepth, rest)), Some((_, deeper))) => fit(rest, path).max(fit(pattern, deeper)),
        (Some((Component::Glob(glob), rest)), Some((name, deeper))) if matches_glob(glob, name) => fit(rest, deeper),
        (Some((Component::Glob(_), _)), Some(_)) => Fit::No,
    }
}

/// The patterns of `--exclude`, in their order: the last one that covers a path decides, `!` lets it in again.
#[derive(Clone, Debug)]
pub struct PatternList {
    patterns: Vec<(bool, PathPattern, String)>,
}

impl PatternList {
    /// Reads the patterns; blank ones mean nothing.
    pub fn parse<T: AsRef<str>>(patterns: &[T]) -> Result<PatternList, PatternError> {
        let mut list = Vec::new();
        for text in patterns {
            let text = text.as_ref().trim();
            let (leaves_out, pattern) = match text.strip_prefix('!') {
                Some(rest) => (false, rest.trim()),
                None => (true, text),
            };
            if !pattern.is_empty() {
                list.push((leaves_out, PathPattern::parse(pattern)?, text.to_owned()));
            }
        }
        Ok(PatternList { patterns: list })
    }
}

impl PathRules for PatternList {
    fn excluded_by(&self, path: &[u8]) -> Option<RuleHit> {
        let (index, (leaves_out, _, text)) =
            self.patterns.iter().enumerate().rev().find(|(_, (_, pattern, _))| pattern.covers(path))?;
        leaves_out.then(|| RuleHit { line: index + 1, rule: text.clone() })
    }

    fn readmits_below(&self, folder: &[u8]) -> bool {
        self.patterns.iter().any(|(leaves_out, pattern, _)| !leaves_out && pattern.may_match_below(folder))
    }
}

/// Whether a path has a component that is more than a name (Go's `filepath.Match`).
pub(crate) fn has_wildcard(component: &[u8]) -> bool {
    let mut bytes = component.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

/// Whether one `name` (no `/` in it) is what `glob` means.
pub(crate) fn matches_glob(glob: &[u8], name: &[u8]) -> bool {
    let (mut glob, mut name) = (glob, name);
    // Where to go on if the last `*` has to take one more character.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', rest @ ..] = glob {
            retry = Some((rest, name));
            glob = rest;
            continue;
        }
        if glob.is_empty() && name.is_empty() {
            return true;
        }
        if let Some((rest_of_glob, rest_of_name)) = matches_one(glob, name) {
            (glob, name) = (rest_of_glob, rest_of_name);
            continue;
        }
        match retry {
            Some((after_star, [_, shorter @ ..])) => {
                retry = Some((after_star, shorter));
                (glob, name) = (after_star, shorter);
            }
            _ => return false,
        }
    }
}

/// Takes one character off `name` if the first element of `glob` means it; gives what remains of both.
fn matches_one<'g, 'n>(glob: &'g [u8], name: &'n [u8]) -> Option<(&'g [u8], &'n [u8])> {
    let (character, rest_of_name) = first_char(name)?;
    let rest_of_glob = match glob {
        [] => return None,
        [b'?', rest @ ..] => rest,
        [b'[', class @ ..] => {
            let (is_in, rest) = read_class(class, character)?;
            if !is_in {
                return None;
            }
            rest
        }
        [b'\\', escaped @ ..] => same_char(escaped, character)?,
        _ => same_char(glob, character)?,
    };
    Some((rest_of_glob, rest_of_name))
}

fn same_char(glob: &[u8], character: u32) -> Option<&[u8]> {
    first_char(glob).filter(|(wanted, _)| *wanted == character).map(|(_, rest)| rest)
}

/// Reads `^a-z…]`: whether `character` is in the class, and what follows it. `None` if it is not well formed.
fn read_class(class: &[u8], character: u32) -> Option<(bool, &[u8])> {
    let (is_negated, mut rest) = match class {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, class),
    };
    let mut is_in = false;
    let mut n_ranges = 0;
    loop {
        if let [b']', after @ ..] = rest
            && n_ranges > 0
        {
            return Some((is_in != is_negated, after));
        }
        let low = class_char(&mut rest)?;
        let high = match rest {
            [b'-', after @ ..] => {
                rest = after;
                class_char(&mut rest)?
            }
            _ => low,
        };
        is_in |= (low..=high).contains(&character);
        n_ranges += 1;
    }
}

fn class_char(rest: &mut &[u8]) -> Option<u32> {
    let text = match *rest {
        [] | [b'-' | b']', ..] => return None,
        [b'\\', escaped @ ..] => escaped,
        text => text,
    };
    let (character, after) = first_char(text)?;
    *rest = after;
    // A class that the text ends in is never closed.
    (!after.is_empty()).then_some(character)
}

/// The first character of UTF-8; a byte that is none stands for itself, beyond all characters.
fn first_char(text: &[u8]) -> Option<(u32, &[u8])> {
    let first = *text.first()?;
    let length = match first {
        0xC0..0xE0 => 2,
        0xE0..0xF0 => 3,
        0xF0..0xF8 => 4,
        _ => 1,
    };
    let decoded = text.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(|s| s.chars().next());
    Some(match decoded {
        Some(character) => (character.into(), &text[length..]),
        None => (0x11_0000 + u32::from(first), &text[1..]),
    })
}

fn is_well_formed(glob: &[u8]) -> bool {
    let mut rest = glob;
    loop {
        rest = match rest {
            [] => return true,
            [b'\\'] => return false,
            [b'\\', _, after @ ..] => after,
            [b'[', class @ ..] => match read_class(class, 0) {
                Some((_, after)) => after,
                None => return false,
            },
            [_, after @ ..] => after,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_follow_go() {
        for (glob, yes, no) in [
            ("abc", vec!["abc"], vec!["ab", "abcd"]),
            ("*", vec!["", "a", ".dot"], vec![]),
            ("a*b*c", vec!["abc", "axbxc", "abbc", "abcbc"], vec!["abx", "ac"]),
            ("a?c", vec!["abc", "a☺c"], vec!["ac", "abbc"]),
            ("a[0-9]", vec!["a0", "a9"], vec!["a[0-9]", "ax"]),
            ("a[[]0-9]", vec!["a[0-9]"], vec!["a0"]),
            ("[^a-c]x", vec!["dx", "☺x"], vec!["bx"]),
            ("a\\*b", vec!["a*b"], vec!["axb"]),
            ("[\\]]", vec!["]"], vec!["\\"]),
            ("[☺a]", vec!["☺", "a"], vec!["b"]),
        ] {
            assert!(is_well_formed(glob.as_bytes()), "{glob}");
            for name in yes {
                assert!(matches_glob(glob.as_bytes(), name.as_bytes()), "{glob} {name}");
            }
            for name in no {
                assert!(!matches_glob(glob.as_bytes(), name.as_bytes()), "{glob} {name}");
            }
        }
        for bad in ["[", "[]", "[]a]", "[a-]", "[-a]", "a\\", "[a", "[^]"] {
            assert!(PathPattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn patterns_cover_what_is_below() {
        for (pattern, path, covers, may_go_on) in [
            ("a/b", "a/b", true, true),
            ("a/b", "a/b/c", true, false),
            ("a/b", "a", false, true),
            ("*.go", "x/a.go", false, false),
            ("**/x.txt", "x.txt", true, true),
            ("**/x.txt", "a/b/x.txt", true, true),
            ("**/x.txt", "a/b", false, true),
            ("a/**/b", "a/b", true, true),
            ("a/**/b", "a/x/y/b/z", true, true),
            ("a/**", "a", false, true),
            ("a/**", "a/x", true, true),
            ("a", "ab", false, false),
        ] {
            let parsed = PathPattern::parse(pattern).unwrap();
            assert_eq!(parsed.covers(path.as_bytes()), covers, "{pattern} {path}");
            assert_eq!(parsed.may_match_below(path.as_bytes()), may_go_on, "{pattern} {path}");
        }
    }

    #[test]
    fn the_last_pattern_decides() {
        let list = PatternList::parse(&["*", "!keep", "keep/not"]).unwrap();
        for (path, rule) in [("x", Some("*")), ("keep", None), ("keep/a", None), ("keep/not/b", Some("keep/not"))] {
            let hit = list.excluded_by(path.as_bytes());
            assert_eq!(hit.map(|h| h.rule).as_deref(), rule, "{path}");
        }
        assert!(list.readmits_below(b"keep"));
        assert!(!list.readmits_below(b"x"));
    }
}
