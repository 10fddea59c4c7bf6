#[test]
fn case_and_punctuation_do_not_matter() {
    let counts = tally::tally("The dog, the cat. THE END");
    assert_eq!(counts["the"], 3);
    assert_eq!(counts["dog"], 1);
    assert_eq!(counts.len(), 4);
}

#[test]
fn lone_punctuation_is_no_word() {
    assert!(tally::tally(" -- … ! ").is_empty());
}
