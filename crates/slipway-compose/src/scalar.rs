//! Answers one question: what value is an unquoted word of a Compose file?
//!
//! The rules are those of the reference's reader: YAML 1.2 with YAML 1.1's octal numbers and dates, `yes` is a text.

use crate::tree::{Time, Value};

/// The value of a word without quotes and tag.
pub(crate) fn resolve(word: &str) -> Value {
    match word {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let found = match word.as_bytes()[0] {
        b'0'..=b'9' => time(word).map(Value::Time).or_else(|| number(word)),
        b'+' | b'-' => number(word),
        b'.' => float(word).map(Value::Float),
        _ => None,
    };
    found.unwrap_or_else(|| Value::Text(word.to_owned()))
}

fn number(word: &str) -> Option<Value> {
    let plain = word.replace('_', "");
    let (is_negative, unsigned) = match plain.as_bytes().first()? {
        b'-' => (true, &plain[1..]),
        b'+' => (false, &plain[1..]),
        _ => (false, plain.as_str()),
    };
    if let Some(size) = magnitude(unsigned) {
        return match (i64::try_from(size), is_negative) {
            (Ok(size), true) => Some(Value::Int(-size)),
            (Ok(size), false) => Some(Value::Int(size)),
            (Err(_), false) => Some(Value::Large(size)),
            (Err(_), true) => float(&plain).map(Value::Float),
        };
    }
    float(&plain).map(Value::Float)
}

/// Decimal, or with one of the prefixes `0x`, `0o`, `0b`, `0`.
fn magnitude(digits: &str) -> Option<u64> {
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    let is_number = digits.chars().all(|c| c.is_ascii_alphanumeric());
    u64::from_str_radix(digits, base).ok().filter(|_| is_number)
}

fn float(word: &str) -> Option<f64> {
    let is_number = word.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '+' | '-' | 'e' | 'E'));
    word.parse().ok().filter(|_| is_number)
}

/// `2024-01-01`, or with a time: `2024-1-1 10:00:00.5`, `2024-01-01T10:00:00Z`.
fn time(word: &str) -> Option<Time> {
    let mut date = word.splitn(3, '-');
    let (year, month, rest) = (date.next()?, date.next()?, date.next()?);
    if year.len() != 4 {
        return None;
    }
    let n_day = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (day, clock) = rest.split_at(n_day);
    let year: u32 = year.parse().ok()?;
    let (month, day) = (two_digits(month, 1, 12)?, two_digits(day, 1, 31)?);
    if day > days_of(year, month) {
        return None;
    }
    let (clock, zone) = match clock.chars().next() {
        None => ("00:00:00".to_owned(), ""),
        Some(separator @ (' ' | 'T' | 't')) => clock_and_zone(&clock[1..], separator == ' ')?,
        Some(_) => return None,
    };
    let date = format!("{year:04}-{month:02}-{day:02}");
    let is_universal = matches!(zone, "" | "Z");
    let (offset, name) = if is_universal { ("+0000".to_owned(), "UTC") } else { (zone.replace(':', ""), "") };
    let name = if is_universal { name.to_owned() } else { offset.clone() };
    Some(Time {
        standard: format!("{date}T{clock}{}", if is_universal { "Z" } else { zone }),
        spelled_out: format!("{date} {clock} {offset} {name}"),
    })
}

fn days_of(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

/// `10:00:00.5` with two digits each, and the zone; after a blank there is no zone.
fn clock_and_zone(text: &str, is_plain: bool) -> Option<(String, &str)> {
    let end = text.find(['Z', '+', '-']).unwrap_or(text.len());
    let (clock, zone) = text.split_at(end);
    let (whole, fraction) = match clock.split_once('.') {
        Some((whole, fraction)) => (whole, fraction.trim_end_matches('0')),
        None => (clock, ""),
    };
    let mut parts = whole.splitn(3, ':');
    let (hour, minute, second) =
        (two_digits(parts.next()?, 0, 23)?, two_digits(parts.next()?, 0, 59)?, two_digits(parts.next()?, 0, 59)?);
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) || !is_zone(zone, is_plain) {
        return None;
    }
    let fraction = if fraction.is_empty() { String::new() } else { format!(".{fraction}") };
    Some((format!("{hour:02}:{minute:02}:{second:02}{fraction}"), zone))
}

fn is_zone(zone: &str, is_plain: bool) -> bool {
    match zone.as_bytes() {
        [] => is_plain,
        [b'Z'] => !is_plain,
        [b'+' | b'-', h1, h2, b':', m1, m2] => !is_plain && [h1, h2, m1, m2].iter().all(|digit| digit.is_ascii_digit()),
        _ => false,
    }
}

fn two_digits(text: &str, lowest: u32, highest: u32) -> Option<u32> {
    let is_number = matches!(text.len(), 1 | 2) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_number && (lowest..=highest).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_no_spelling() {
        for (word, expected) in
            [("007", 7), ("012", 10), ("0o12", 10), ("0x10", 16), ("0b11", 3), ("-5", -5), ("+5", 5), ("1_000", 1000)]
        {
            assert_eq!(resolve(word), Value::Int(expected), "{word}");
        }
        assert_eq!(resolve("18446744073709551615"), Value::Large(u64::MAX));
        for (word, expected) in [("1e3", 1000.0), ("1.0", 1.0), ("0.10", 0.1), (".5", 0.5), ("08", 8.0), ("1.", 1.0)] {
            assert_eq!(resolve(word), Value::Float(expected), "{word}");
        }
    }

    #[test]
    fn other_words_are_texts() {
        for word in ["yes", "no", "on", "y", "1a", "0x", "1.2.3", "-", "+", "12:30", "2024-13-01", "2023-02-29", "1k"] {
            assert_eq!(resolve(word), Value::Text(word.to_owned()), "{word}");
        }
    }

    #[test]
    fn dates_become_moments() {
        let spelled = |word| resolve(word).spelled();
        assert_eq!(spelled("2024-01-01"), "2024-01-01 00:00:00 +0000 UTC");
        assert_eq!(spelled("2024-1-2 3:4:5.50"), "2024-01-02 03:04:05.5 +0000 UTC");
        assert_eq!(spelled("2024-01-02T03:04:05+02:00"), "2024-01-02 03:04:05 +0200 +0200");
    }
}
