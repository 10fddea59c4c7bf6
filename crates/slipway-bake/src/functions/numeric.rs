//! Functions of numbers, comparisons and bools.

use super::{
    Answer, Function, Problem, any, bool_of, boolean, fixed, nullable, number, number_of, str_of, text, variadic, whole,
};
use crate::number::Number;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("absolute", &[number("num")], |a, _| Ok(Value::Number(number_of(&a[0]).absolute()))),
    fixed("add", &[number("a"), number("b")], |a, _| {
        arithmetic(a, Number::plus, "can't compute sum of opposing infinities")
    }),
    fixed("and", &[boolean("a"), boolean("b")], |a, _| Ok(Value::Bool(bool_of(&a[0]) && bool_of(&a[1])))),
    fixed("ceil", &[number("num")], |a, _| Ok(Value::Number(number_of(&a[0]).ceil()))),
    fixed("divide", &[number("a"), number("b")], |a, _| {
        arithmetic(a, Number::divided_by, "can't divide zero by zero or infinity by infinity")
    }),
    fixed("equal", &[nullable("a"), nullable("b")], |a, _| Ok(Value::Bool(a[0].equals(&a[1])))),
    fixed("floor", &[number("num")], |a, _| Ok(Value::Number(number_of(&a[0]).floor()))),
    fixed("greaterthan", &[number("a"), number("b")], |a, _| Ok(Value::Bool(number_of(&a[0]) > number_of(&a[1])))),
    fixed("greaterthanorequalto", &[number("a"), number("b")], |a, _| {
        Ok(Value::Bool(number_of(&a[0]) >= number_of(&a[1])))
    }),
    fixed("int", &[number("num")], |a, _| Ok(Value::Number(number_of(&a[0]).truncated()))),
    fixed("lessthan", &[number("a"), number("b")], |a, _| Ok(Value::Bool(number_of(&a[0]) < number_of(&a[1])))),
    fixed("lessthanorequalto", &[number("a"), number("b")], |a, _| {
        Ok(Value::Bool(number_of(&a[0]) <= number_of(&a[1])))
    }),
    fixed("log", &[number("num"), number("base")], |a, _| {
        from_machine(number_of(&a[0]).to_f64().ln() / number_of(&a[1]).to_f64().ln())
    }),
    variadic("max", &[], number("numbers"), |a, _| extreme(a, |best, other| other > best)),
    variadic("min", &[], number("numbers"), |a, _| extreme(a, |best, other| other < best)),
    fixed("modulo", &[number("a"), number("b")], |a, _| {
        arithmetic(a, Number::remainder, "can't use modulo with zero or infinity")
    }),
    fixed("multiply", &[number("a"), number("b")], |a, _| {
        arithmetic(a, Number::times, "can't multiply zero by infinity, or the result is too large")
    }),
    fixed("negate", &[number("num")], |a, _| Ok(Value::Number(number_of(&a[0]).negated()))),
    fixed("not", &[boolean("val")], |a, _| Ok(Value::Bool(!bool_of(&a[0])))),
    fixed("notequal", &[nullable("a"), nullable("b")], |a, _| Ok(Value::Bool(!a[0].equals(&a[1])))),
    fixed("or", &[boolean("a"), boolean("b")], |a, _| Ok(Value::Bool(bool_of(&a[0]) || bool_of(&a[1])))),
    fixed("parseint", &[any("number"), number("base")], parse_int),
    fixed("pow", &[number("num"), number("power")], |a, _| {
        from_machine(number_of(&a[0]).to_f64().powf(number_of(&a[1]).to_f64()))
    }),
    fixed("signum", &[number("num")], |a, _| Ok(Value::int(whole(a, 0)?.signum()))),
    fixed("subtract", &[number("a"), number("b")], |a, _| {
        arithmetic(a, Number::minus, "can't subtract infinity from itself")
    }),
    variadic("range", &[], number("params"), range),
    fixed("sanitize", &[text("name")], |a, _| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        Ok(Value::string(str_of(&a[0]).replace(|c| !is_plain(c), "_")))
    }),
];

fn arithmetic(a: &[Value], operate: fn(&Number, &Number) -> Option<Number>, problem: &str) -> Answer {
    operate(&number_of(&a[0]), &number_of(&a[1])).map(Value::Number).ok_or_else(|| problem.into())
}

fn from_machine(value: f64) -> Answer {
    Number::from_f64(value).map(Value::Number).ok_or_else(|| "the result is not a number".into())
}

fn extreme(a: &[Value], is_better: fn(&Number, &Number) -> bool) -> Answer {
    let mut numbers = a.iter().map(number_of);
    let first = numbers.next().ok_or("must pass at least one number")?;
    Ok(Value::Number(numbers.fold(first, |best, other| if is_better(&best, &other) { other } else { best })))
}

fn parse_int(a: &[Value], _: &crate::program::Program<'_>) -> Answer {
    let Value::String(digits) = &a[0] else {
        return Err(Problem::Argument(0, format!("first argument must be a string, not {}", a[0].type_of())));
    };
    let base = whole(a, 1).map_err(|problem| Problem::Argument(1, problem))?;
    let Some(base) = u32::try_from(base).ok().filter(|base| (2..=62).contains(base)) else {
        return Err(Problem::Argument(1, "base must be a whole number between 2 and 62 inclusive".to_owned()));
    };
    Number::parse_in_base(digits, base)
        .map(Value::Number)
        .ok_or_else(|| Problem::Argument(0, format!("cannot parse {digits:?} as a base {base} integer")))
}

/// At most as many values as the reference makes.
const MAX_RANGE: usize = 1024;

fn range(a: &[Value], _: &crate::program::Program<'_>) -> Answer {
    let numbers: Vec<Number> = a.iter().map(number_of).collect();
    let (zero, one) = (Number::from_i64(0), Number::from_i64(1));
    let (start, end, step) = match &numbers[..] {
        [end] => (zero.clone(), end.clone(), if *end < zero { one.negated() } else { one }),
        [start, end] => (start.clone(), end.clone(), if end < start { one.negated() } else { one }),
        [start, end, step] => (start.clone(), end.clone(), step.clone()),
        _ => return Err("must have one, two, or three arguments".into()),
    };
    let is_down = step.is_negative();
    if is_down && end > start {
        return Err(Problem::Argument(1, "end must be less than start when step is negative".to_owned()));
    }
    if !is_down && end < start {
        return Err(Problem::Argument(1, "end must be greater than start when step is positive".to_owned()));
    }
    let mut items = Vec::new();
    let mut next = start;
    while if is_down { next > end } else { next < end } {
        if items.len() >= MAX_RANGE {
            return Err("more than 1024 values were generated; either decrease the difference between start and end or use a smaller step".into());
        }
        items.push(Value::Number(next.clone()));
        next = next.plus(&step).ok_or("the range has no end")?;
    }
    Ok(Value::list(crate::value::Type::Number, items))
}
