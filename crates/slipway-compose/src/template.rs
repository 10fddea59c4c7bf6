//! Answers one question: what does `${NAME:-default}` become?

use std::collections::BTreeMap;

use crate::variable::Variable;

/// Why a text cannot be filled in.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// Something after `${` that is no expression, or one that has no end.
    #[error("invalid expression")]
    Invalid,
    /// `${NAME:?why}`, and there is no such variable.
    #[error("required variable {name} is missing a value{}", why_text(.why))]
    Missing { name: String, why: String },
}

fn why_text(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(": {why}") }
}

/// Variables for [`substitute`], and what it has to say about them.
pub(crate) struct Scope<'a> {
    pub(crate) lookup: &'a dyn Fn(&str) -> Option<String>,
    /// Names of variables that were asked for and are not there, one for each time.
    pub(crate) missing: Vec<String>,
}

/// `text` with the values of variables (`spec/compose.md` section 3.2).
pub(crate) fn substitute(text: &str, scope: &mut Scope<'_>) -> Result<String, TemplateError> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        filled.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            filled.push('$');
            rest = after;
        } else if rest.starts_with('{') {
            let (expression, after) = braced(rest)?;
            filled.push_str(&value_of(&expression, scope)?);
            rest = after;
        } else {
            let (name, after) = rest.split_at(name_length(rest));
            match name {
                "" => filled.push('$'),
                name => filled.push_str(&value_or_blank(name, scope)),
            }
            rest = after;
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

/// The variables that `text` names, with what would stand in for them.
pub(crate) fn collect_variables(text: &str, variables: &mut BTreeMap<String, Variable>) {
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
        } else if rest.starts_with('{') {
            let Ok((expression, after)) = braced(rest) else { continue };
            let mut variable = Variable::default();
            match expression.operator {
                "-" | ":-" => variable.default = expression.word.to_owned(),
                "+" | ":+" => variable.alternate = expression.word.to_owned(),
                "?" | ":?" => variable.is_required = true,
                _ => {}
            }
            variables.insert(expression.name.to_owned(), variable);
            collect_variables(expression.word, variables);
            rest = after;
        } else {
            let (name, after) = rest.split_at(name_length(rest));
            if !name.is_empty() {
                variables.entry(name.to_owned()).or_default();
            }
            rest = after;
        }
    }
}

/// What stands between braces.
struct Expression<'a> {
    name: &'a str,
    /// Empty, or one of `-`, `?`, `+`, with or without a colon in front.
    operator: &'a str,
    word: &'a str,
}

/// The expression that `text` begins with, and what follows it.
fn braced(text: &str) -> Result<(Expression<'_>, &str), TemplateError> {
    let end = closing_brace(text).ok_or(TemplateError::Invalid)?;
    let (inside, after) = (&text[1..end], &text[end + 1..]);
    let (name, tail) = inside.split_at(name_length(inside));
    if name.is_empty() {
        return Err(TemplateError::Invalid);
    }
    let n_operator = match tail.as_bytes() {
        [] => 0,
        [b':', b'-' | b'?' | b'+', ..] => 2,
        [b'-' | b'?' | b'+', ..] => 1,
        _ => return Err(TemplateError::Invalid),
    };
    let (operator, word) = tail.split_at(n_operator);
    Ok((Expression { name, operator, word }, after))
}

/// Where the brace that `text` begins with is closed; only `${` opens further ones.
fn closing_brace(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut n_open = 1;
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'}' => {
                n_open -= 1;
                if n_open == 0 {
                    return Some(at);
                }
            }
            b'$' if bytes.get(at + 1) == Some(&b'{') => {
                n_open += 1;
                at += 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

fn name_length(text: &str) -> usize {
    let starts_name = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_name {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

fn value_of(expression: &Expression<'_>, scope: &mut Scope<'_>) -> Result<String, TemplateError> {
    let Expression { name, operator, word } = *expression;
    if operator.is_empty() {
        return Ok(value_or_blank(name, scope));
    }
    let is_empty_missing = operator.starts_with(':');
    let value = (scope.lookup)(name).filter(|value| !(is_empty_missing && value.is_empty()));
    match (operator.trim_start_matches(':'), value) {
        ("-" | "?", Some(value)) => Ok(value),
        ("-", None) | ("+", Some(_)) => substitute(word, scope),
        ("+", None) => Ok(String::new()),
        _ => Err(TemplateError::Missing { name: name.to_owned(), why: substitute(word, scope)? }),
    }
}

fn value_or_blank(name: &str, scope: &mut Scope<'_>) -> String {
    (scope.lookup)(name).unwrap_or_else(|| {
        scope.missing.push(name.to_owned());
        String::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<(String, Vec<String>), TemplateError> {
        let lookup = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let mut scope = Scope { lookup: &lookup, missing: Vec::new() };
        let text = substitute(text, &mut scope)?;
        Ok((text, scope.missing))
    }

    #[test]
    fn expressions_become_values() {
        for (text, expected) in [
            ("$$A $A$A ${A}x $1 $", "$A 11 1x $1 $"),
            ("${NOPE:-a}b}", "ab}"),
            ("${EMPTY-def}", ""),
            ("${EMPTY:-def}", "def"),
            ("${NOPE-${OTHER:-${A}}}", "1"),
            ("${A:+set} ${NOPE:+set} ${EMPTY+set} ${EMPTY:+set}", "set  set "),
            ("${A?why} ${A:?why}", "1 1"),
            ("${NOPE:-$$x}", "$x"),
            ("${A:-${NOPE?never asked}}", "1"),
        ] {
            assert_eq!(filled(text), Ok((expected.to_owned(), vec![])), "{text}");
        }
    }

    #[test]
    fn each_missing_variable_is_told() {
        assert_eq!(filled("$X${X}${Y}").unwrap(), (String::new(), vec!["X".into(), "X".into(), "Y".into()]));
    }

    #[test]
    fn mistakes_are_refused() {
        for text in ["${", "${1A}", "${A/foo/bar}", "${A", "${A:-${B}", "${}", "${A:}"] {
            assert_eq!(filled(text), Err(TemplateError::Invalid), "{text}");
        }
        let missing = filled("${NOPE:?must ${A}}").unwrap_err();
        assert_eq!(missing.to_string(), "required variable NOPE is missing a value: must 1");
        assert_eq!(filled("${EMPTY:?}").unwrap_err().to_string(), "required variable EMPTY is missing a value");
    }
}
