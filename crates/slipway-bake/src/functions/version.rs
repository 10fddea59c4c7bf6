//! `semvercmp`: whether a version meets a constraint.

use super::{Answer, Function, fixed, str_of, text};
use crate::program::Program;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[fixed("semvercmp", &[text("version"), text("contraint")], compare)];

#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    numbers: [u64; 3],
    pre_release: String,
    /// How many of the numbers were written; the others are zero or `x`.
    n_given: usize,
}

impl Version {
    fn parse(text: &str) -> Option<Version> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let text = text.split('+').next().unwrap_or_default();
        let (numbers, pre_release) = text.split_once('-').unwrap_or((text, ""));
        let mut version = Version { numbers: [0; 3], pre_release: pre_release.to_owned(), n_given: 0 };
        for (index, part) in numbers.split('.').enumerate() {
            if matches!(part, "x" | "X" | "*") {
                return Some(version);
            }
            *version.numbers.get_mut(index)? = part.parse().ok()?;
            version.n_given = index + 1;
        }
        Some(version)
    }

    fn order(&self, other: &Version) -> std::cmp::Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| match (&*self.pre_release, &*other.pre_release) {
            ("", "") => std::cmp::Ordering::Equal,
            ("", _) => std::cmp::Ordering::Greater,
            (_, "") => std::cmp::Ordering::Less,
            (a, b) => pre_release_order(a, b),
        })
    }

    /// The first version behind all that agree with the first `n` numbers.
    fn after(&self, n: usize) -> Version {
        let mut numbers = [0; 3];
        numbers[..n].copy_from_slice(&self.numbers[..n]);
        numbers[n - 1] = numbers[n - 1].saturating_add(1);
        Version { numbers, pre_release: String::new(), n_given: 3 }
    }
}

fn pre_release_order(a: &str, b: &str) -> std::cmp::Ordering {
    let key = |part: &str| match part.parse::<u64>() {
        Ok(number) => (0, number, String::new()),
        Err(_) => (1, 0, part.to_owned()),
    };
    a.split('.').map(key).cmp(b.split('.').map(key))
}

fn compare(a: &[Value], _: &Program<'_>) -> Answer {
    let is_complete = |version: &Version| version.n_given > 0;
    let version = Version::parse(str_of(&a[0])).filter(is_complete).ok_or("invalid semantic version")?;
    let mut is_met = false;
    for alternative in str_of(&a[1]).split("||") {
        let rules = rules(alternative).ok_or_else(|| format!("improper constraint: {}", str_of(&a[1])))?;
        is_met |= rules.iter().all(|(operator, bound)| meets(&version, operator, bound));
    }
    Ok(Value::Bool(is_met))
}

const OPERATORS: [&str; 11] = ["!=", ">=", "=>", "<=", "=<", "~>", "=", ">", "<", "~", "^"];

/// Operators with their versions; commas and blanks mean "and".
fn rules(text: &str) -> Option<Vec<(&'static str, Version)>> {
    if let Some((from, to)) = text.split_once(" - ") {
        return Some(vec![(">=", Version::parse(from.trim())?), ("<=", Version::parse(to.trim())?)]);
    }
    let mut rules = Vec::new();
    let mut rest = text.trim_start_matches([' ', ',']);
    while !rest.is_empty() {
        let operator = OPERATORS.into_iter().find(|operator| rest.starts_with(operator));
        rest = rest[operator.map_or(0, str::len)..].trim_start();
        let end = rest.find([' ', ',']).unwrap_or(rest.len());
        rules.push((operator.unwrap_or("="), Version::parse(&rest[..end])?));
        rest = rest[end..].trim_start_matches([' ', ',']);
    }
    (!rules.is_empty()).then_some(rules)
}

fn meets(version: &Version, operator: &str, bound: &Version) -> bool {
    // A release that is not final meets only constraints that name one.
    if !version.pre_release.is_empty() && bound.pre_release.is_empty() {
        return false;
    }
    let order = version.order(bound);
    let is_at_least = order.is_ge();
    // With numbers left out, the bound stands for all versions that begin with the others.
    let is_within = |n: usize| n == 0 || is_at_least && version.order(&bound.after(n)).is_lt();
    let is_partial = bound.n_given < 3;
    match operator {
        "=" if is_partial => is_within(bound.n_given),
        "=" => order.is_eq(),
        "!=" if is_partial => !is_within(bound.n_given),
        "!=" => order.is_ne(),
        ">" if is_partial => bound.n_given > 0 && version.order(&bound.after(bound.n_given)).is_ge(),
        ">" => order.is_gt(),
        ">=" | "=>" => is_at_least,
        "<" => order.is_lt(),
        "<=" | "=<" if is_partial => bound.n_given == 0 || version.order(&bound.after(bound.n_given)).is_lt(),
        "<=" | "=<" => order.is_le(),
        "~" | "~>" => is_within(bound.n_given.min(2)),
        // The first number that is not zero must stay.
        _ => {
            let first = bound.numbers.iter().position(|number| *number != 0).map_or(bound.n_given, |at| at + 1);
            is_within(first.min(bound.n_given.max(1)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints() {
        for (version, constraint, is_met) in [
            ("1.2.3", ">=1.0.0", true),
            ("1.2.3-rc1", ">=1.0.0", false),
            ("1.5.0", ">1", false),
            ("2.0.0", ">1", true),
            ("v1.2.3", "~1.2", true),
            ("1.3.0", "~1.2", false),
            ("1.9.0", "^1.2.3", true),
            ("0.3.0", "^0.2.3", false),
            ("1.2.9", "1.2.x", true),
            ("1.2.3", ">=1.0.0, <1.2.0 || >=1.2.3", true),
            ("1.4.5", "1.2 - 1.4.5", true),
            ("1.2.3", "!=1.2", false),
        ] {
            let version = Version::parse(version).unwrap();
            let holds = constraint
                .split("||")
                .any(|part| rules(part).unwrap().iter().all(|(operator, bound)| meets(&version, operator, bound)));
            assert_eq!(holds, is_met, "{version:?} {constraint}");
        }
        assert!(rules("foo").is_none());
    }
}
