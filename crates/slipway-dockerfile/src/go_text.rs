//! How the reference prints values: quoted strings and durations end up in image histories and error texts.

use crate::quote::quoted;

/// `["a" "b c"]` (`%q` of a list).
pub(crate) fn quote_list<T: AsRef<str>>(texts: &[T]) -> String {
    let quoted: Vec<String> = texts.iter().map(|t| quoted(t.as_ref())).collect();
    format!("[{}]", quoted.join(" "))
}

/// `1h0m0s`, `1.5s`, `20ms`, `0s`; `nanoseconds` is not negative.
pub(crate) fn duration(nanoseconds: i64) -> String {
    const SECOND: i64 = 1_000_000_000;
    let with_fraction = |unit: i64, digits: usize, name: &str| {
        let fraction = format!("{:0digits$}", nanoseconds % unit);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{}{point}{fraction}{name}", nanoseconds / unit)
    };
    match nanoseconds {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanoseconds}ns"),
        1_000..1_000_000 => with_fraction(1_000, 3, "µs"),
        1_000_000..SECOND => with_fraction(1_000_000, 6, "ms"),
        _ => {
            let minutes = nanoseconds / SECOND / 60;
            let rest = nanoseconds - minutes * 60 * SECOND;
            let fraction = format!("{:09}", rest % SECOND);
            let fraction = fraction.trim_end_matches('0');
            let point = if fraction.is_empty() { "" } else { "." };
            let seconds = format!("{}{point}{fraction}s", rest / SECOND);
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, m) => format!("{m}m{seconds}"),
                (h, m) => format!("{h}h{m}m{seconds}"),
            }
        }
    }
}

/// The nanoseconds that a Go duration (`1h30m`, `1.5s`, `0`) means, or why it is none, in Go's words.
pub(crate) fn parse_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quoted(text));
    let (sign, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (-1.0, &text[1..]),
        Some(b'+') => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().map_err(|_| invalid())?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            "" => return Err(format!("time: missing unit in duration {}", quoted(text))),
            unit => return Err(format!("time: unknown unit {} in duration {}", quoted(unit), quoted(text))),
        };
        rest = &rest[end..];
        total += number * unit;
    }
    // The largest Go duration is 2^63 - 1 ns.
    if total < 9.2e18 { Ok((sign * total).round() as i64) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_separated_by_blanks() {
        assert_eq!(quote_list(&["a", "b c"]), "[\"a\" \"b c\"]");
        assert_eq!(quote_list::<&str>(&[]), "[]");
    }

    #[test]
    fn durations_go_there_and_back() {
        for (text, nanoseconds, printed) in [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("30s", 30_000_000_000, "30s"),
            ("1.5s", 1_500_000_000, "1.5s"),
            ("90s", 90_000_000_000, "1m30s"),
            ("1h", 3_600_000_000_000, "1h0m0s"),
            ("1us", 1_000, "1µs"),
            ("20ms", 20_000_000, "20ms"),
        ] {
            assert_eq!(parse_duration(text), Ok(nanoseconds), "{text}");
            assert_eq!(duration(nanoseconds), printed);
        }
        for (bad, reason) in [
            ("", "invalid duration \"\""),
            ("-", "invalid duration \"-\""),
            ("s", "invalid duration \"s\""),
            ("1", "missing unit in duration \"1\""),
            ("1s2", "missing unit in duration \"1s2\""),
            ("1x", "unknown unit \"x\" in duration \"1x\""),
        ] {
            assert_eq!(parse_duration(bad), Err(format!("time: {reason}")));
        }
    }
}
