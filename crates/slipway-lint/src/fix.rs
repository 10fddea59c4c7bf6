//! Changing the text of a Dockerfile.

use slipway_dockerfile::Span;

/// Put `text` in the place of `span`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    pub span: Span,
    pub text: String,
}

/// `text` with all edits made. Equal ones are made once; of several that meet only the first is made: the others are
/// found again when the file is looked at the next time.
pub fn fixed(text: &str, edits: &[Edit]) -> String {
    let mut edits: Vec<&Edit> = edits.iter().collect();
    edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
    edits.dedup();
    let (mut result, mut done) = (String::with_capacity(text.len()), 0);
    for (index, edit) in edits.iter().enumerate() {
        let Span { start, end } = edit.span;
        let is_same_place = index > 0 && edits[index - 1].span == edit.span;
        let Some(kept) = text.get(done..start).filter(|_| start >= done && !is_same_place) else { continue };
        result.push_str(kept);
        result.push_str(&edit.text);
        done = end;
    }
    result.push_str(text.get(done..).unwrap_or_default());
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_made_once_and_never_over_each_other() {
        let edit = |start, end, text: &str| Edit { span: Span { start, end }, text: text.to_owned() };
        assert_eq!(fixed("abcdef", &[edit(4, 5, "E"), edit(1, 2, "B"), edit(1, 2, "B")]), "aBcdEf");
        assert_eq!(fixed("abcdef", &[edit(1, 4, "-"), edit(2, 3, "x"), edit(6, 6, "!")]), "a-ef!");
        assert_eq!(fixed("abc", &[edit(1, 1, "x"), edit(1, 1, "y")]), "axbc");
        assert_eq!(fixed("abc", &[edit(2, 9, "x")]), "abx");
    }
}
