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
    let (is_negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if unsigned == "0" {
        return Ok(0);
    }
    if unsigned.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    let mut rest = unsigned;
    while !rest.is_empty() {
        let (whole, after) = split_digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), split_digits);
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let unit: u64 = match &after[..end] {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "" => return Err(format!("time: missing unit in duration {}", quoted(text))),
            unit => return Err(format!("time: unknown unit {} in duration {}", quoted(unit), quoted(text))),
        };
        rest = &after[end..];
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        let nanoseconds = whole.checked_mul(unit).and_then(|n| n.checked_add(part_of(fraction, unit)));
        total = nanoseconds.and_then(|n| total.checked_add(n)).ok_or_else(invalid)?;
    }
    let total = i64::try_from(total).map_err(|_| invalid())?;
    Ok(if is_negative { -total } else { total })
}

/// The digits at the front of `text`, and what comes behind them.
fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// The nanoseconds of `0.<fraction>` times `unit`, rounded down.
fn part_of(fraction: &str, unit: u64) -> u64 {
    // More digits than these are worth less than a nanosecond of any unit.
    let digits = &fraction[..fraction.len().min(15)];
    let scale = 10_u64.pow(digits.len() as u32);
    let value: u64 = digits.parse().unwrap_or(0);
    (u128::from(value) * u128::from(unit) / u128::from(scale)) as u64
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
            ("+1h2m3.000000004s", 3_723_000_000_004, "1h2m3.000000004s"),
            ("2562047h47m16.854775807s", i64::MAX, "2562047h47m16.854775807s"),
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
