//! Any text is a word: expanding it ends, with a text or a reason.
//!
//! The first lines, up to an empty one, give variables (`name=value`); what follows is the word.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slipway_dockerfile::{expand, expand_heredoc, expand_words};

fuzz_target!(|text: &str| {
    let (variables, word) = text.split_once("\n\n").unwrap_or(("", text));
    let variables: Vec<(&str, &str)> = variables.lines().filter_map(|line| line.split_once('=')).collect();
    let value = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    for escape in ['\\', '`'] {
        let whole = expand(word, escape, value);
        let words = expand_words(word, escape, value);
        assert_eq!(whole.is_ok(), words.is_ok());
        if let (Ok(whole), Ok(words)) = (whole, words) {
            // Splitting only leaves out white space.
            let joined: String = words.concat();
            assert_eq!(without_blanks(&joined), without_blanks(&whole));
            assert!(words.iter().all(|word| !word.is_empty()));
        }
    }
    drop(expand_heredoc(word, value));
});

fn without_blanks(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}
