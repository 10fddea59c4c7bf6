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

/// The nanoseconds that a Go duration (`1h30m`, `1.5s`, `0`) means; `None` if it is none.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        rest = &rest[end..];
        total += number * unit;
    }
    // The largest Go duration is 2^63 - 1 ns.
    (total < 9.2e18).then_some((sign * total).round() as i64)
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
            assert_eq!(parse_duration(text), Some(nanoseconds), "{text}");
            assert_eq!(duration(nanoseconds), printed);
        }
        for bad in ["", "1", "s", "1x", "-", "1s2"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
