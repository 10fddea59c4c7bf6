//! Which words of a line announce a heredoc, and where its body ends (`spec/dockerfile.md` section 1.7).

use std::ops::Range;

use crate::expand::{literal_words, raw_words};

/// A word like `<<EOF`, before its body is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Announcement {
    pub(super) name: String,
    pub(super) descriptor: Option<u32>,
    pub(super) expands: bool,
    pub(super) strips_tabs: bool,
    /// Where the word stands in the line.
    pub(super) range: Range<usize>,
}

impl Announcement {
    /// Whether `line` (without its line end) ends the body.
    pub(super) fn is_terminator(&self, line: &str) -> bool {
        let line = if self.strips_tabs { line.trim_start_matches('\t') } else { line };
        line == self.name
    }
}

/// The heredocs that a logical line announces, in their order. A line that the shell's rules cannot take apart
/// announces none.
pub(super) fn announced(line: &str) -> Vec<Announcement> {
    if !line.contains("<<") {
        return Vec::new();
    }
    let words = raw_words(line).unwrap_or_default();
    words.into_iter().filter_map(|(word, range)| announcement(&word, range)).collect()
}

fn announcement(word: &str, range: Range<usize>) -> Option<Announcement> {
    let (digits, rest) = word.split_once("<<")?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (strips_tabs, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let delimiter = rest.trim_start();
    if delimiter.contains('<') {
        return None;
    }
    let [name] = <[String; 1]>::try_from(literal_words(delimiter, false)?).ok()?;
    let [quoted] = <[String; 1]>::try_from(literal_words(delimiter, true)?).ok()?;
    // An escape in the delimiter leaves the body open to expansion, unlike in a shell; the reference builder has it so.
    let expands = name == quoted;
    Some(Announcement { name, descriptor: digits.parse().ok(), expands, strips_tabs, range })
}

#[cfg(test)]
mod tests {
    use super::announced;

    /// Each heredoc as `name`, with `!` if it does not expand, `-` if it strips tabs, and its descriptor.
    fn check(line: &str) -> String {
        let describe = |found: super::Announcement| {
            let mut text = found.name;
            text += if found.expands { "" } else { "!" };
            text += if found.strips_tabs { "-" } else { "" };
            found.descriptor.map_or(text.clone(), |descriptor| format!("{text} {descriptor}"))
        };
        announced(line).into_iter().map(describe).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn words_that_announce() {
        for (line, expect) in [
            ("RUN <<EOF", "EOF"),
            ("RUN <<-EOF", "EOF-"),
            ("RUN <<\"EOF\"", "EOF!"),
            ("RUN <<'EOF'", "EOF!"),
            ("RUN <<E\"O\"F", "EOF!"),
            (r"RUN <<\EOF", "EOF"),
            ("RUN <<''EOF", "EOF!"),
            ("COPY <<'one two' /f", "one two!"),
            ("RUN << EOF", "EOF"),
            ("RUN x <<  EOF y", "EOF"),
            ("RUN 3<<EOF", "EOF 3"),
            ("RUN 0<<EOF", "EOF 0"),
            ("RUN <<$EOF", "$EOF"),
            ("RUN cat <<A <<-B", "A,B-"),
        ] {
            assert_eq!(check(line), expect, "{line}");
        }
    }

    #[test]
    fn words_that_do_not() {
        for line in
            ["RUN <<<EOF", "RUN \"<<EOF\"", "RUN <<", "RUN a<<EOF", "RUN <<- EOF", "RUN it's <<EOF", "RUN <<A<<B"]
        {
            assert_eq!(check(line), "", "{line}");
        }
    }

    #[test]
    fn terminators() {
        let plain = &announced("RUN <<EOF")[0];
        assert!(plain.is_terminator("EOF"));
        assert!(!plain.is_terminator("\tEOF") && !plain.is_terminator("EOF ") && !plain.is_terminator("EOFX"));
        let stripping = &announced("RUN <<-EOF")[0];
        assert!(stripping.is_terminator("\t\tEOF"));
        assert!(!stripping.is_terminator("  EOF"));
    }
}
