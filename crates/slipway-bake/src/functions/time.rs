//! Functions of times, all in UTC unless a text says otherwise.

use std::collections::BTreeMap;

use jiff::civil::ISOWeekDate;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, Zoned};

use super::{Answer, Function, Problem, any, fixed, number, str_of, text, whole};
use crate::program::Program;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("formatdate", &[text("format"), text("time")], |a, _| {
        Ok(Value::string(formatted(str_of(&a[0]), &parse_time(a, 1)?)?))
    }),
    fixed("formattimestamp", &[text("format"), any("time")], format_timestamp),
    fixed("timeadd", &[text("timestamp"), text("duration")], |a, _| {
        let time = time_of(str_of(&a[0]))?;
        let duration = parse_duration(str_of(&a[1]))?;
        let sum = time.checked_add(duration).map_err(|_| "the result is beyond the calendar")?;
        Ok(Value::string(rfc3339(&sum)))
    }),
    fixed("timestamp", &[], |_, program| Ok(Value::string(rfc3339(&utc(program.inputs.now_seconds)?)))),
    fixed("unixtimestampparse", &[number("unix_timestamp")], unix_timestamp_parse),
];

fn utc(seconds: i64) -> Result<Zoned, Problem> {
    let time = Timestamp::from_second(seconds).map_err(|_| "the time is beyond the calendar")?;
    Ok(time.to_zoned(TimeZone::UTC))
}

fn parse_time(a: &[Value], index: usize) -> Result<Zoned, Problem> {
    time_of(str_of(&a[index])).map_err(|problem| Problem::Argument(index, problem))
}

fn time_of(text: &str) -> Result<Zoned, String> {
    let problem = || format!("not a valid RFC3339 timestamp: {}", why_no_time(text));
    // The parser takes other letters between date and time, too.
    if text.as_bytes().get(10) != Some(&b'T') {
        return Err(problem());
    }
    let time: Timestamp = text.parse().map_err(|_| problem())?;
    let offset = match text.as_bytes().last() {
        Some(b'Z') => Offset::UTC,
        _ => {
            let sign = text.len().checked_sub(6).and_then(|at| text.get(at..)).ok_or_else(problem)?;
            let part = |range: std::ops::Range<usize>| sign.get(range).and_then(|digits| digits.parse::<i32>().ok());
            let seconds = part(1..3).zip(part(4..6)).map(|(hours, minutes)| hours * 3600 + minutes * 60);
            let seconds = seconds.map(|seconds| if sign.starts_with('-') { -seconds } else { seconds });
            seconds.and_then(|seconds| Offset::from_seconds(seconds).ok()).ok_or_else(problem)?
        }
    };
    Ok(time.to_zoned(TimeZone::fixed(offset)))
}

/// What is wrong with a text that is no `2006-01-02T15:04:05Z`: the first part that does not fit.
fn why_no_time(text: &str) -> String {
    const PARTS: [(&str, usize, u32, &str); 6] = [
        ("year", 4, 9999, "-"),
        ("month", 2, 12, "-"),
        ("day of month", 2, 31, "T"),
        ("hour", 2, 23, ":"),
        ("minute", 2, 59, ":"),
        ("second", 2, 59, ""),
    ];
    let unfit = |rest: &str, name: &str| match rest {
        "" => format!("end of string before {name}"),
        rest => format!("cannot use {rest:?} as {name}"),
    };
    let mut rest = text;
    for (name, n_digits, last, separator) in PARTS {
        let digits = rest.get(..n_digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(number) = digits.and_then(|digits| digits.parse::<u32>().ok()) else { return unfit(rest, name) };
        rest = &rest[n_digits..];
        if number > last || (number == 0 && name == "month") {
            return unfit(rest, name);
        }
        rest = match (rest.strip_prefix(separator), separator, rest) {
            (Some(rest), _, _) => rest,
            (None, "T", _) => return "missing required time introducer 'T'".to_owned(),
            (None, _, "") => return format!("end of string where {separator:?} is expected"),
            (None, _, rest) => return format!("found {rest:?} where {separator:?} is expected"),
        };
    }
    if let Some(fraction) = rest.strip_prefix('.') {
        rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    match (rest.strip_prefix('Z'), rest.len()) {
        (Some(""), _) => "day out of range".to_owned(),
        (Some(more), _) => unfit(more, "timestamp segment"),
        // As far as it can be told from here, only the number of hours or minutes is wrong.
        (None, 6) if rest.starts_with(['+', '-']) => unfit("", "UTC offset"),
        (None, _) => unfit(rest, "UTC offset"),
    }
}

fn rfc3339(time: &Zoned) -> String {
    format!("{}{}", time.strftime("%Y-%m-%dT%H:%M:%S"), zone(time, ":", true))
}

fn zone(time: &Zoned, separator: &str, says_z: bool) -> String {
    let seconds = time.offset().seconds();
    if seconds == 0 && says_z {
        return "Z".to_owned();
    }
    let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
    format!("{sign}{:02}{separator}{:02}", minutes / 60, minutes % 60)
}

/// `1h30m`, `-1.5s`, `200ms`.
fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let is_of_number = |c: char| c.is_ascii_digit() || c == '.';
    let mut nanoseconds = 0f64;
    while !rest.is_empty() {
        let n_digits = rest.find(|c| !is_of_number(c)).unwrap_or(rest.len());
        let amount: f64 = rest[..n_digits].parse().map_err(|_| invalid())?;
        rest = &rest[n_digits..];
        let end = rest.find(is_of_number).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            unit => return Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
        };
        nanoseconds += amount * unit;
        rest = &rest[end..];
    }
    let duration = SignedDuration::from_nanos(nanoseconds as i64);
    Ok(if is_negative { -duration } else { duration })
}

fn format_timestamp(a: &[Value], _: &Program<'_>) -> Answer {
    let time = match &a[1] {
        Value::Number(number) => {
            utc(number.to_i64().ok_or_else(|| Problem::Argument(1, "unix timestamp must be an integer".to_owned()))?)?
        }
        Value::String(_) => parse_time(a, 1)?,
        other => {
            let problem = format!("must be a RFC3339 timestamp or a unix timestamp, not {}", other.type_of());
            return Err(Problem::Argument(1, problem));
        }
    };
    if str_of(&a[0]) == "X" {
        return Ok(Value::string(time.timestamp().as_second().to_string()));
    }
    Ok(Value::string(formatted(str_of(&a[0]), &time)?))
}

/// Runs of one letter are verbs, quoted text and everything else stands for itself.
fn formatted(format: &str, time: &Zoned) -> Result<String, Problem> {
    let mut result = String::new();
    let mut rest = format;
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            let (text, after) = literal(&rest[1..])?;
            result.push_str(&text);
            rest = after;
            continue;
        }
        let end = rest.find(|c| c != first).unwrap_or(rest.len());
        let verb = &rest[..end];
        match first.is_ascii_alphabetic() {
            true => result.push_str(&verb_text(verb, time)?),
            false => result.push_str(verb),
        }
        rest = &rest[end..];
    }
    Ok(result)
}

/// Up to the closing quote; two of them are one that stands for itself.
fn literal(text: &str) -> Result<(String, &str), Problem> {
    let (mut result, mut rest) = (String::new(), text);
    loop {
        let Some((before, after)) = rest.split_once('\'') else {
            return Err(Problem::Argument(0, "unterminated literal '".to_owned()));
        };
        result.push_str(before);
        match after.strip_prefix('\'') {
            Some(after) => {
                result.push('\'');
                rest = after;
            }
            None => return Ok((if result.is_empty() { "'".to_owned() } else { result }, after)),
        }
    }
}

fn verb_text(verb: &str, time: &Zoned) -> Result<String, Problem> {
    let hour12 = match time.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    Ok(match verb {
        "YYYY" => time.strftime("%Y").to_string(),
        "YY" => time.strftime("%y").to_string(),
        "MMMM" => time.strftime("%B").to_string(),
        "MMM" => time.strftime("%b").to_string(),
        "MM" => format!("{:02}", time.month()),
        "M" => time.month().to_string(),
        "DD" => format!("{:02}", time.day()),
        "D" => time.day().to_string(),
        "EEEE" => time.strftime("%A").to_string(),
        "EEE" => time.strftime("%a").to_string(),
        "hh" => format!("{:02}", time.hour()),
        "h" => time.hour().to_string(),
        "HH" => format!("{hour12:02}"),
        "H" => hour12.to_string(),
        "AA" => (if time.hour() < 12 { "AM" } else { "PM" }).to_owned(),
        "aa" => (if time.hour() < 12 { "am" } else { "pm" }).to_owned(),
        "mm" => format!("{:02}", time.minute()),
        "m" => time.minute().to_string(),
        "ss" => format!("{:02}", time.second()),
        "s" => time.second().to_string(),
        "Z" => zone(time, ":", true),
        "ZZZ" if time.offset().seconds() == 0 => "UTC".to_owned(),
        "ZZZ" | "ZZZZ" => zone(time, "", false),
        "ZZZZZ" => zone(time, ":", false),
        _ => {
            let problem = format!("invalid date format verb {verb:?}{}", accepted_verbs(verb));
            return Err(Problem::Argument(0, problem));
        }
    })
}

/// What runs of this letter there are, if any.
fn accepted_verbs(verb: &str) -> &'static str {
    match verb.as_bytes().first() {
        Some(b'Y') => r#": year must either be "YY" or "YYYY""#,
        Some(b'M') => r#": month must be "M", "MM", "MMM", or "MMMM""#,
        Some(b'D') => r#": day of month must either be "D" or "DD""#,
        Some(b'E') => r#": day of week must either be "EEE" or "EEEE""#,
        Some(b'h') => r#": 24-hour must either be "h" or "hh""#,
        Some(b'H') => r#": 12-hour must either be "H" or "HH""#,
        Some(b'A') => r#": must be "AA""#,
        Some(b'a') => r#": must be "aa""#,
        Some(b'm') => r#": minute must either be "m" or "mm""#,
        Some(b's') => r#": second must either be "s" or "ss""#,
        Some(b'Z') => ": timezone must be Z, ZZZZ, or ZZZZZ",
        _ => "",
    }
}

fn unix_timestamp_parse(a: &[Value], _: &Program<'_>) -> Answer {
    let time = utc(whole(a, 0)?)?;
    let week: ISOWeekDate = time.date().iso_week_date();
    let weekday = i64::from(time.weekday().to_sunday_zero_offset());
    let fields = [
        ("year", Value::int(time.year().into())),
        ("year_day", Value::int(time.day_of_year().into())),
        ("day", Value::int(time.day().into())),
        ("month", Value::int(time.month().into())),
        ("month_name", Value::string(time.strftime("%B").to_string())),
        ("weekday", Value::int(weekday)),
        ("weekday_name", Value::string(time.strftime("%A").to_string())),
        ("hour", Value::int(time.hour().into())),
        ("minute", Value::int(time.minute().into())),
        ("second", Value::int(time.second().into())),
        ("rfc3339", Value::string(rfc3339(&time))),
        ("iso_year", Value::int(week.year().into())),
        ("iso_week", Value::int(week.week().into())),
    ];
    Ok(Value::object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<BTreeMap<_, _>>()))
}
