//! Any bytes are an ignore file: matching ends, and a walk that stops where it may misses nothing.
//!
//! What stands behind the first empty line are paths, one a line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slipway_dockerfile::{IgnoreRules, Verdict, match_pattern};

fuzz_target!(|bytes: &[u8]| {
    let cut = bytes.windows(2).position(|two| two == b"\n\n").unwrap_or(bytes.len());
    let (text, paths) = bytes.split_at(cut);
    let paths = paths.split(|byte| *byte == b'\n').filter(|path| is_relative(path));
    let rules = IgnoreRules::parse(text);
    for path in paths {
        if let Ok(rules) = &rules {
            check(rules, path);
        }
        for pattern in String::from_utf8_lossy(text).lines() {
            drop(match_pattern(pattern, path));
        }
    }
});

/// Whether it is a path as a walk finds it.
fn is_relative(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').all(|component| !matches!(component, b"" | b"." | b".."))
}

/// Step by step from the root, as a walk does it, the verdict is the same, and a folder that need not be walked holds
/// nothing that is kept.
fn check(rules: &IgnoreRules, path: &[u8]) {
    let mut verdict = Verdict::default();
    let mut is_walked = true;
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    for end in ends {
        let directory = &path[..end];
        verdict = rules.verdict(directory, &verdict);
        assert!(is_walked || verdict.is_excluded(), "{:?} is kept", directory.escape_ascii().to_string());
        is_walked &= rules.must_walk(directory, &verdict);
    }
    let last = rules.verdict(path, &verdict);
    assert_eq!(last, rules.verdict_from_root(path));
    assert!(is_walked || last.is_excluded(), "{:?} is kept", path.escape_ascii().to_string());
}
