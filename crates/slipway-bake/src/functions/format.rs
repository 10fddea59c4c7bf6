//! `format` and `formatlist`: values into texts by a pattern with verbs.

use unicode_segmentation::UnicodeSegmentation;

use super::{Answer, Function, Problem, items_of, nullable, str_of, text, to_json, variadic};
use crate::convert::convert;
use crate::number::Number;
use crate::program::Program;
use crate::value::{Type, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    variadic("format", &[text("format")], nullable("args"), |a, _| {
        Ok(Value::string(formatted(str_of(&a[0]), &a[1..])?))
    }),
    variadic("formatlist", &[text("format")], nullable("args"), format_list),
];

/// Widths and precisions beyond that are taken for mistakes.
const MAX_WIDTH: usize = 4096;

#[derive(Default)]
struct Verb {
    letter: char,
    is_sharp: bool,
    has_plus: bool,
    has_blank: bool,
    has_zero: bool,
    is_left: bool,
    width: Option<usize>,
    precision: Option<usize>,
    /// From 1.
    index: Option<usize>,
}

fn formatted(pattern: &str, arguments: &[Value]) -> Result<String, Problem> {
    let mut result = String::new();
    let (mut n_used, mut next) = (0, 0);
    let mut rest = pattern;
    while let Some(at) = rest.find('%') {
        result.push_str(&rest[..at]);
        let start = pattern.len() - rest.len() + at;
        let (verb, after) = read_verb(&rest[at + 1..]).map_err(|unread| {
            let offset = pattern.len() - unread.len();
            match unread.chars().next() {
                Some(character) => format!("unrecognized format character {character:?} at offset {offset}"),
                None => format!("invalid format string starting at offset {offset}"),
            }
        })?;
        let spelled = &rest[at..rest.len() - after.len()];
        if !"%vtbdoxXeEfgGsq".contains(verb.letter) {
            return Err(format!("unsupported format verb {:?} in {spelled:?} at offset {start}", verb.letter).into());
        }
        rest = after;
        if verb.letter == '%' {
            result.push('%');
            continue;
        }
        let index = verb.index.map_or(next, |index| index - 1);
        let Some(argument) = arguments.get(index) else {
            let (needed, had) = (index + 1, arguments.len());
            return Err(format!(
                "not enough arguments for {spelled:?} at {start}: need index {needed} but have {had} total"
            )
            .into());
        };
        (next, n_used) = (index + 1, n_used.max(index + 1));
        let shown = shown(&verb, argument)
            .map_err(|problem| Problem::Call(format!("unsupported value for {spelled:?} at {start}: {problem}")))?;
        result.push_str(&shown);
    }
    result.push_str(rest);
    if n_used < arguments.len() {
        let problem = match n_used {
            0 => "too many arguments; no verbs in format string".to_owned(),
            _ => format!("too many arguments; only {n_used} used by format string"),
        };
        // The pattern itself is the first argument.
        return Err(Problem::Argument(n_used + 1, problem));
    }
    Ok(result)
}

/// Behind the percent sign: the verb, and what follows it. Where there is none, the rest that cannot be read.
fn read_verb(text: &str) -> Result<(Verb, &str), &str> {
    let mut verb = Verb::default();
    let mut rest = text;
    while let Some(flag) = rest.chars().next() {
        match flag {
            '#' => verb.is_sharp = true,
            '+' => verb.has_plus = true,
            ' ' => verb.has_blank = true,
            '0' => verb.has_zero = true,
            '-' => verb.is_left = true,
            _ => break,
        }
        rest = &rest[1..];
    }
    let number = |rest: &mut &str| {
        let n_digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number = rest[..n_digits].parse::<usize>().ok().filter(|number| *number <= MAX_WIDTH);
        *rest = &rest[n_digits..];
        number
    };
    verb.width = number(&mut rest);
    if let Some(after) = rest.strip_prefix('.') {
        rest = after;
        verb.precision = Some(number(&mut rest).unwrap_or(0));
    }
    if let Some(after) = rest.strip_prefix('[') {
        rest = after;
        verb.index = Some(number(&mut rest).filter(|index| *index > 0).ok_or(after)?);
        rest = rest.strip_prefix(']').ok_or(rest)?;
    }
    verb.letter = rest.chars().next().filter(|letter| letter.is_ascii_alphabetic() || *letter == '%').ok_or(rest)?;
    Ok((verb, &rest[1..]))
}

fn shown(verb: &Verb, value: &Value) -> Result<String, String> {
    if verb.letter == 'v' {
        return Ok(match value {
            _ if verb.is_sharp => padded(verb, to_json(value)),
            Value::Null(_) => padded(verb, "null".to_owned()),
            Value::String(text) => padded(verb, text.to_string()),
            Value::Number(number) => {
                padded_number(&Verb { has_plus: false, has_blank: false, ..*verb }, number.general(None))
            }
            Value::Bool(is_true) => padded(verb, is_true.to_string()),
            other => padded(verb, to_json(other)),
        });
    }
    if value.is_null() {
        return Err("null value cannot be formatted".to_owned());
    }
    match verb.letter {
        't' => match convert(value, &Type::Bool)? {
            // No width holds for it.
            Value::Bool(is_true) => Ok(is_true.to_string()),
            _ => Err("a bool is required".to_owned()),
        },
        's' | 'q' => {
            let text = convert(value, &Type::String)?;
            let mut text = text.as_str().unwrap_or_default().to_owned();
            if let Some(precision) = verb.precision {
                text = text.graphemes(true).take(precision).collect();
            }
            Ok(padded(verb, if verb.letter == 'q' { crate::print::quoted(&text) } else { text }))
        }
        _ => match convert(value, &Type::Number)? {
            Value::Number(number) => number_text(verb, &number).map(|text| padded_number(verb, text)),
            _ => Err("a number is required".to_owned()),
        },
    }
}

fn number_text(verb: &Verb, number: &Number) -> Result<String, String> {
    let base = match verb.letter {
        'd' => Some(10),
        'b' => Some(2),
        'o' => Some(8),
        'x' | 'X' => Some(16),
        _ => None,
    };
    if let Some(base) = base {
        let digits = number.in_base(base).ok_or("an integer is required")?;
        let prefix = match (verb.is_sharp, verb.letter) {
            (true, 'x') => "0x",
            (true, 'X') => "0X",
            (true, 'o') => "0",
            (true, 'b') => "0b",
            _ => "",
        };
        let (sign, digits) = digits.strip_prefix('-').map_or(("", &*digits), |digits| ("-", digits));
        let digits = if verb.letter == 'X' { digits.to_uppercase() } else { digits.to_owned() };
        let digits = if digits == "0" && verb.precision == Some(0) { String::new() } else { digits };
        return Ok(format!("{sign}{prefix}{digits:0>width$}", width = verb.precision.unwrap_or(0)));
    }
    let text = match verb.letter {
        'f' => number.fixed(verb.precision.unwrap_or(6)),
        'e' | 'E' => number.exponential(verb.precision.unwrap_or(6)),
        _ => number.general(verb.precision),
    };
    Ok(if verb.letter.is_uppercase() { text.to_uppercase() } else { text })
}

fn padded_number(verb: &Verb, text: String) -> String {
    let text = match (text.starts_with(['-', '+']), verb.has_plus, verb.has_blank) {
        (false, true, _) => format!("+{text}"),
        (false, false, true) => format!(" {text}"),
        _ => text,
    };
    let n_missing = verb.width.unwrap_or(0).saturating_sub(text.chars().count());
    let is_of_digits = !"dboxX".contains(verb.letter) || verb.precision.is_none();
    if verb.has_zero && !verb.is_left && is_of_digits && n_missing > 0 {
        let n_sign = usize::from(text.starts_with(['-', '+', ' ']));
        return format!("{}{}{}", &text[..n_sign], "0".repeat(n_missing), &text[n_sign..]);
    }
    padded(verb, text)
}

fn padded(verb: &Verb, text: String) -> String {
    let blanks = " ".repeat(verb.width.unwrap_or(0).saturating_sub(text.graphemes(true).count()));
    if verb.is_left { text + &blanks } else { blanks + &text }
}

/// Once for each item of the lists, which have one length; other arguments stay.
fn format_list(a: &[Value], _: &Program<'_>) -> Answer {
    let is_list = |value: &Value| value.items().is_some();
    let lists = a.iter().enumerate().skip(1).filter(|(_, argument)| is_list(argument));
    let mut lengths = lists.map(|(index, list)| (index, items_of(list).len()));
    let first = lengths.next();
    if let Some((first, n_items)) = first
        && let Some((index, n)) = lengths.find(|(_, n)| *n != n_items)
    {
        let problem =
            format!("argument {index} has length {n}, which is inconsistent with argument {first} of length {n_items}");
        return Err(Problem::Argument(index, problem));
    }
    let rows = (0..first.map_or(1, |(_, n_items)| n_items)).map(|row| {
        let arguments: Vec<Value> = a[1..]
            .iter()
            .map(|argument| argument.items().and_then(|items| items.get(row)).unwrap_or(argument).clone())
            .collect();
        formatted(str_of(&a[0]), &arguments).map_err(|problem| match problem {
            Problem::Argument(_, text) | Problem::Call(text) if a.len() == 1 => text,
            Problem::Argument(_, text) | Problem::Call(text) => format!("error on format iteration {row}: {text}"),
        })
    });
    Ok(Value::strings(rows.collect::<Result<Vec<_>, _>>()?))
}
