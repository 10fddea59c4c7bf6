//! How many bytes is `64m`? The sizes of `--shm-size` and of `RUN --mount=type=tmpfs,size=`.

/// A number with an optional unit: `512`, `64m`, `1.5g`, `2KiB`, `3 kb`. Units are powers of 1024 in any case of letters;
/// fractions of a byte are cut off. The texts are those that users of Docker know, so `1e3`, `+5` and `1_000` are numbers too.
pub fn bytes_of(text: &str) -> Option<u64> {
    let last_of_number = text.rfind(|c: char| c.is_ascii_digit() || matches!(c, '.' | ' '))?;
    let (number, unit) = text.split_at(last_of_number + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let factor = factor_of(&unit.to_ascii_lowercase())?;
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | '+' | '-' | 'e' | 'E');
    let number: f64 = Some(without_separators(number)?).filter(|n| n.chars().all(is_number))?.parse().ok()?;
    // Beyond the largest number it stays there.
    (number >= 0.0).then_some((number * factor) as u64)
}

/// `number` without the `_` that stand one by one between its digits; `None` if one stands elsewhere.
fn without_separators(number: &str) -> Option<String> {
    let bytes = number.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let is_between_digits = |(at, _): (usize, &str)| at > 0 && is_digit(at - 1) && is_digit(at + 1);
    number.match_indices('_').all(is_between_digits).then(|| number.replace('_', ""))
}

fn factor_of(unit: &str) -> Option<f64> {
    let (letter, rest) = match unit.chars().next() {
        None => return Some(1.0),
        Some(letter) => unit.split_at(letter.len_utf8()),
    };
    let exponent = match (letter, rest) {
        ("b", "") => 0,
        ("k", "" | "b" | "ib") => 1,
        ("m", "" | "b" | "ib") => 2,
        ("g", "" | "b" | "ib") => 3,
        ("t", "" | "b" | "ib") => 4,
        ("p", "" | "b" | "ib") => 5,
        _ => return None,
    };
    Some(1024_f64.powi(exponent))
}

#[cfg(test)]
mod tests {
    use super::bytes_of;

    #[test]
    fn sizes_are_binary() {
        for (text, expected) in [
            ("0", 0),
            ("512", 512),
            ("5b", 5),
            ("64m", 64 << 20),
            ("64M", 64 << 20),
            ("1.5g", 3 << 29),
            (".5m", 1 << 19),
            ("2KiB", 2048),
            ("3 kb", 3072),
            ("1e3", 1000),
            ("+5k", 5120),
            ("1_000_0.5k", 10_240_512),
            ("1p", 1 << 50),
        ] {
            assert_eq!(bytes_of(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "", " ", "x", "k", "1z", "5i", "5ib", "5bb", "5kk", "5kbb", "5kiib", "-5", "1.2.3k", "5  k", " 5k", "5k ",
            "1e", "0x10", "_1", "1_", "1__0", "1_.5", "inf", "nan0", "5\u{e9}",
        ] {
            assert_eq!(bytes_of(text), None, "{text}");
        }
    }
}
