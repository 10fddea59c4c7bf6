//! Sizes and durations: `64m`, `1m30s`.

/// A number of bytes: units are powers of 1024, in any case of letters.
pub(crate) fn bytes(text: &str) -> Option<i64> {
    let n_number = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(n_number);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let exponent = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return None,
    };
    // Beyond the largest number it stays there.
    number.parse::<f64>().ok().map(|number| (number * 1024_f64.powi(exponent)) as i64)
}

/// A number of bytes in the largest unit of which there is one at least, with four digits: `2GiB`, `1.431MiB`.
pub(crate) fn short(bytes: i64) -> String {
    let (mut number, mut units) = (bytes as f64, ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].into_iter());
    let mut unit = "B";
    while number >= 1024.0
        && let Some(larger) = units.next()
    {
        (number, unit) = (number / 1024.0, larger);
    }
    let n_decimals = match number {
        ..10.0 => 3,
        ..100.0 => 2,
        ..1000.0 => 1,
        _ => 0,
    };
    let text = format!("{number:.n_decimals$}");
    let text = if n_decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

/// Nanoseconds of a duration; days and weeks are known, a number alone is not, unless it is 0.
pub(crate) fn nanoseconds(text: &str) -> Option<i128> {
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let n_number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(n_number);
        let n_unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(n_unit);
        let factor = match unit {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            "d" => 86_400e9,
            "w" => 604_800e9,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * factor;
        rest = after;
    }
    let total = total as i128;
    Some(if is_negative { -total } else { total })
}

/// A duration as the reference spells it: `1m30s`, `1.5s`, `100ms`, `0s`.
pub(crate) fn spelled(nanoseconds: i128) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let size = nanoseconds.unsigned_abs();
    if size < 1_000_000_000 {
        let (unit, name) = match size {
            0 => return "0s".to_owned(),
            1..1000 => (1, "ns"),
            1000..1_000_000 => (1000, "µs"),
            _ => (1_000_000, "ms"),
        };
        return format!("{sign}{}{name}", fraction(size, unit));
    }
    let (minutes, seconds) = (size / 60_000_000_000, size % 60_000_000_000);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    let mut text = sign.to_owned();
    if hours > 0 {
        text += &format!("{hours}h");
    }
    if hours > 0 || minutes > 0 {
        text += &format!("{minutes}m");
    }
    text + &fraction(seconds, 1_000_000_000) + "s"
}

fn fraction(size: u128, unit: u128) -> String {
    let (whole, rest) = (size / unit, size % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let n_digits = unit.to_string().len() - 1;
    format!("{whole}.{rest:0n_digits$}").trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary() {
        for (text, expected) in [("64m", 64 << 20), ("1.5g", 3 << 29), ("2KB", 2048), ("100", 100), ("1 kib", 1024)] {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        assert!(["x", "", "5zb", "-5", "-1"].iter().all(|text| bytes(text).is_none()));
    }

    #[test]
    fn sizes_are_shortened() {
        for (number, expected) in
            [(2 << 30, "2GiB"), (1_500_000, "1.431MiB"), (1000, "1000B"), (1536, "1.5KiB"), (600 << 20, "600MiB")]
        {
            assert_eq!(short(number), expected);
        }
    }

    #[test]
    fn durations_are_spelled_anew() {
        for (text, expected) in [
            ("90s", "1m30s"),
            ("1h", "1h0m0s"),
            ("1.5s", "1.5s"),
            ("100ms", "100ms"),
            ("1500us", "1.5ms"),
            ("2d", "48h0m0s"),
            ("0", "0s"),
            ("1h1s", "1h0m1s"),
        ] {
            assert_eq!(nanoseconds(text).map(spelled).as_deref(), Some(expected), "{text}");
        }
        assert!(["abc", "10", "", "5x"].iter().all(|text| nanoseconds(text).is_none()));
    }
}
