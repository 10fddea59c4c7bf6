//! Times and sizes as people read them.

use std::time::Duration;

/// `0.4s`, `1m 23s`, `2h 5m`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        ..60 => format!("{:.1}s", duration.as_secs_f64()),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{}h {}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// `12B`, `3.4MB`: three digits, decimal units.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let n_decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.n_decimals$}{}", UNITS[unit])
}

/// `+3.4MB`, `-12B`, `±0B`.
pub fn growth(before_bytes: u64, after_bytes: u64) -> String {
    let sign = match after_bytes.cmp(&before_bytes) {
        std::cmp::Ordering::Less => "-",
        std::cmp::Ordering::Equal => "±",
        std::cmp::Ordering::Greater => "+",
    };
    format!("{sign}{}", size(after_bytes.abs_diff(before_bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_few_digits() {
        let sizes = [0, 999, 1000, 9_994, 9_995, 99_949, 99_950, 999_500, 3_400_000, u64::MAX].map(size);
        let expected = ["0B", "999B", "1.00kB", "9.99kB", "10.0kB", "99.9kB", "100kB", "1.00MB", "3.40MB", "18447PB"];
        assert_eq!(sizes, expected);
        let times = [0, 59_940, 60_000, 3_600_000].map(|ms| duration(Duration::from_millis(ms)));
        assert_eq!(times, ["0.0s", "59.9s", "1m 0s", "1h 0m"]);
        assert_eq!([growth(1, 1), growth(2000, 1000), growth(0, 5)], ["±0B", "-1.00kB", "+5B"]);
    }
}
