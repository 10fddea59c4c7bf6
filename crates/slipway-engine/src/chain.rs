//! An error and what caused it, on one line.

use std::error::Error;

/// The texts of `error` and its causes, joined by colons. A cause that the text before it already ends in is not repeated.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::chain;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Told(&'static str, #[source] Option<Box<Told>>);

    #[test]
    fn causes_follow_and_are_not_repeated() {
        let inner = Told("no such file", None);
        let middle = Told("open(x): no such file", Some(Box::new(inner)));
        assert_eq!(chain(&Told("cannot read", Some(Box::new(middle)))), "cannot read: open(x): no such file");
    }
}
