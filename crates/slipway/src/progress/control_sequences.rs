//! What of a step's output may reach the user's terminal: text and colours, but nothing that moves the cursor, clears
//! the screen, or sets a title.

/// Longer sequences set no colour that is in use anywhere.
const MAX_COLOR_BYTES: usize = 64;

/// What a terminal would show of one line of output: the last of several overwrites, and of control sequences none but
/// those that set colours, if these are wanted.
pub(super) fn visible(line: &str, keeps_colors: bool) -> String {
    let line = line.trim_end_matches(['\n', '\r']);
    let mut rest = line.rsplit('\r').next().unwrap_or_default();
    let mut text = String::new();
    while let Some(char) = rest.chars().next() {
        let length = if char == '\x1b' { sequence_length(rest) } else { char.len_utf8() };
        let (this, after) = rest.split_at(length);
        match char {
            '\x1b' if keeps_colors && is_color(this) => text.push_str(this),
            '\t' => text.push_str("    "),
            char if char.is_control() => {}
            char => text.push(char),
        }
        rest = after;
    }
    text
}

/// How many bytes the control sequence has that `text` begins with (ECMA-48 sections 5.3 to 5.6).
fn sequence_length(text: &str) -> usize {
    let until = |from: usize, is_last: fn(u8) -> bool| {
        let length = text.bytes().skip(from).position(is_last).map(|position| from + position + 1);
        length.unwrap_or(text.len())
    };
    match text.as_bytes().get(1) {
        Some(b'[') => until(2, |byte| (b'@'..=b'~').contains(&byte)),
        // Strings, such as the title of a window; they end with BEL or a sequence of their own, which is dropped next.
        Some(b']' | b'P' | b'X' | b'^' | b'_') => {
            let end = text[2..].find(['\x07', '\x1b']);
            end.map_or(text.len(), |end| 2 + end)
        }
        Some(b' '..=b'~') => until(1, |byte| (b'0'..=b'~').contains(&byte)),
        _ => 1,
    }
}

/// Whether a control sequence is "select graphic rendition": numbers between `ESC [` and `m`.
fn is_color(sequence: &str) -> bool {
    let numbers = sequence.strip_prefix("\x1b[").and_then(|rest| rest.strip_suffix('m'));
    numbers.is_some_and(|numbers| {
        numbers.len() <= MAX_COLOR_BYTES && numbers.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b';' | b':'))
    })
}

/// As much of `text` as fits into `width` columns, and how many these are. Colours take no room and end with the text.
pub(super) fn cut(text: &str, width: usize) -> (String, usize) {
    let (mut shown, mut n_shown, mut has_color) = (String::new(), 0, false);
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        let is_sequence = char == '\x1b';
        if !is_sequence && n_shown == width {
            break;
        }
        let (this, after) = rest.split_at(if is_sequence { sequence_length(rest) } else { char.len_utf8() });
        shown.push_str(this);
        n_shown += usize::from(!is_sequence);
        has_color |= is_sequence;
        rest = after;
    }
    if has_color {
        shown.push_str("\x1b[0m");
    }
    (shown, n_shown)
}

/// What a terminal would show of output: text and line ends.
pub(crate) fn plain_text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        shown += &visible(line, false);
        if line.ends_with('\n') {
            shown.push('\n');
        }
    }
    shown
}

/// A line of output with what a terminal may be sent of it.
pub(super) fn harmless(line: &[u8], keeps_colors: bool) -> String {
    cut(&visible(&String::from_utf8_lossy(line), keeps_colors), usize::MAX).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_of_output_take_no_room_and_end_with_the_line() {
        assert_eq!(cut("a\x1b[31mbcd", 3), ("a\x1b[31mbc\x1b[0m".to_owned(), 3));
        assert_eq!(cut("\x1b[1mé\x1b[m", 3), ("\x1b[1mé\x1b[m\x1b[0m".to_owned(), 1));
        assert_eq!(cut("plain", 9), ("plain".to_owned(), 5));
    }

    #[test]
    fn output_cannot_draw_on_the_screen() {
        let progress = "10%\r\x1b[2K\x1b[1;32m100%\x1b[0m\tok\x07\r\n";
        assert_eq!(visible(progress, false), "100%    ok");
        assert_eq!(visible(progress, true), "\x1b[1;32m100%\x1b[0m    ok");
        let others = "\x1b]0;title\x07a\x1b]2;b\x1b\\b\x1b(0c\x1b[?25l\x1b[3Ad\x1b[>4;2me\x1bcf\x1b[31";
        assert_eq!(visible(others, true), "abcdef");
        assert_eq!(harmless(b"\xff\x1b[31mred\x1b[5A\n", true), "\u{fffd}\x1b[31mred\x1b[0m");
    }
}
