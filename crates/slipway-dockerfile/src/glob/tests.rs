//! Patterns and what they match.

use super::{BadPattern, Glob, match_pattern};

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
    Glob::parse_ignore_rule(pattern).unwrap()
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
fn escapes_of_ignore_rules() {
    for (pattern, path, expect) in [
        (r"\d", "5", true),
        (r"\D", "5", false),
        (r"\W", "ä", true),
        (r"[\w.]", ".", true),
        (r"[^\S]", " ", true),
        ("[[:^alpha:]]", "a", false),
        (r"\x61\.b", "a.b", true),
        (r"a\b", "a", true),
        (r"a\B*", "a.b", false),
        (r"*\z", "a", true),
        (r"*^b", "^b", false),
        ("[a-]", "-", false),
    ] {
        let is_match = Glob::parse_ignore_rule(pattern).is_ok_and(|glob| glob.matches(path.as_bytes()));
        assert_eq!(is_match, expect, "{pattern} {path}");
    }
    for pattern in [r"\c", r"\ä", r"\x6", "[b-a]", "[[:no:]]", r"\8"] {
        assert_eq!(Glob::parse_ignore_rule(pattern).unwrap_err(), BadPattern, "{pattern}");
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
