//! Sizes as people read them.

/// `131 B`, `4.3 MB`, `32 kB`: one decimal below ten of a unit, none for bytes.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let exponent = (bytes.ilog10() / 3) as usize;
    let value = bytes as f64 / 1000_f64.powi(i32::try_from(exponent).unwrap_or_default());
    let value = (value * 10.0 + 0.5).floor() / 10.0;
    let unit = UNITS[exponent];
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_decimal() {
        for (bytes, text) in [
            (0, "0 B"),
            (9, "9 B"),
            (131, "131 B"),
            (1000, "1.0 kB"),
            (4_300_000, "4.3 MB"),
            (9_960, "10 kB"),
            (32_025, "32 kB"),
            (1_999_999, "2.0 MB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }
}
