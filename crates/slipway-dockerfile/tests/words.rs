//! Answers one question: does every word of `words.txt` become what the reference builder makes of it?
//!
//! `cargo xtask record-tables` writes the answers there: `= value`, or `! message`.

use std::collections::HashMap;

use slipway_dockerfile::expand;

const TABLE: &str = include_str!("words.txt");

/// Words of which slipway says better what is wrong: the reference names the end of the word as a modifier.
const BETTER: [(&str, &str); 1] = [("${a", "! failed to process \"${a\": syntax error: missing '}'")];

#[test]
fn words_expand_as_the_reference_expands_them() {
    let rows: Vec<Vec<&str>> = TABLE.lines().map(|line| line.split('\t').collect()).collect();
    let variables: HashMap<&str, &str> =
        rows.iter().filter(|row| row[0] == "variable").map(|row| (row[1], row[2])).collect();
    let words = rows.iter().filter(|row| row[0] != "variable");
    let mut wrong = Vec::new();
    let mut n_words = 0;
    for row in words {
        let [escape, word, answer] = row[..] else { panic!("a row without an answer: {row:?}") };
        let escape = escape.chars().next().expect("an escape character is there");
        let got = match expand(word, escape, |name| variables.get(name).map(|value| (*value).to_owned())) {
            Ok(value) => format!("= {value}"),
            Err(error) => format!("! {error}"),
        };
        n_words += 1;
        let expected = BETTER.iter().find(|(better, _)| *better == word).map_or(answer, |(_, message)| message);
        if got != expected {
            wrong.push(format!("{escape} {word}\n  reference {answer}\n  slipway   {got}"));
        }
    }
    assert!(n_words >= 300, "only {n_words} words");
    assert!(wrong.is_empty(), "{} of {n_words} words:\n{}", wrong.len(), wrong.join("\n"));
}
