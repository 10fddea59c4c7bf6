//! How the reference spells floating-point numbers, which differs between texts, YAML and JSON.

/// As a value of `args` or `environment`: `1`, `0.1`, `1e+06`.
pub(crate) fn plain(number: f64) -> String {
    spelled(number, -4, 6)
}

/// As a number in YAML: `1.5`, `1e+06`.
pub(crate) fn yaml(number: f64) -> String {
    if number.is_nan() {
        return ".nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    plain(number)
}

/// As a number in JSON: `1.5`, `1e+21`.
pub(crate) fn json(number: f64) -> String {
    spelled(number, -6, 21)
}

/// With an exponent below `lowest` and from `end` on.
fn spelled(number: f64, lowest: i32, end: i32) -> String {
    if !number.is_finite() {
        return if number.is_nan() {
            "NaN"
        } else if number > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        }
        .to_owned();
    }
    let (digits, exponent) = digits(number);
    if number == 0.0 || (lowest..end).contains(&exponent) {
        return format!("{number}");
    }
    let sign = if number < 0.0 { "-" } else { "" };
    let fraction = if digits.len() > 1 { format!(".{}", &digits[1..]) } else { String::new() };
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{}{fraction}e{exponent_sign}{:02}", &digits[..1], exponent.abs())
}

/// The fewest digits that tell the number from its neighbours, and the power of ten of the first.
fn digits(number: f64) -> (String, i32) {
    let text = format!("{:e}", number.abs());
    let (mantissa, exponent) = text.split_once('e').expect("because `{:e}` always writes an exponent");
    (mantissa.replace('.', ""), exponent.parse().expect("because the exponent of an f64 is a small number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spelled_as_the_reference_does() {
        let cases = [
            (1.0, "1", "1"),
            (1.5, "1.5", "1.5"),
            (0.1, "0.1", "0.1"),
            (1e6, "1e+06", "1000000"),
            (123_456_789.5, "1.234567895e+08", "123456789.5"),
            (1e21, "1e+21", "1e+21"),
            (1e-5, "1e-05", "0.00001"),
            (-2.5, "-2.5", "-2.5"),
        ];
        for (number, in_text, in_json) in cases {
            assert_eq!((plain(number).as_str(), json(number).as_str()), (in_text, in_json));
        }
        assert_eq!(yaml(f64::NEG_INFINITY), "-.inf");
    }
}
