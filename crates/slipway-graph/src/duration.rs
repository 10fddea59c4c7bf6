//! How long is `1h30m`? Durations as Go writes them (`spec/cli.md` section 4.7).

use std::time::Duration;

/// A duration such as `1h30m`, `1.5s`, `100ms` or `0`; other numbers need a unit.
pub fn duration_of(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let n_digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|n| *n > 0)?;
        let (number, after) = rest.split_at(n_digits);
        let n_unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(n_unit);
        let factor = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * factor;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, expected) in
            [("1h30m", Some(5400.0)), ("1.5s", Some(1.5)), ("0", Some(0.0)), ("5", None), ("", None)]
        {
            assert_eq!(duration_of(text).map(|d| d.as_secs_f64()), expected, "{text}");
        }
    }
}
