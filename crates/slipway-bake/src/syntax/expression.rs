//! Expressions in native notation (`spec/bake.md` section 4).

use super::scanner::Scanner;
use super::{BinaryOperator, Call, Expr, ExprKind, For, ObjectItem, Step, StepKind, UnaryOperator};
use crate::diagnostic::{Diagnostic, Span};
use crate::number::Number;

type Parsed<T> = Result<T, Diagnostic>;

/// Operators from the loosest to the tightest; of those on one level the longer spelling stands first.
const LEVELS: [&[(&str, BinaryOperator)]; 6] = [
    &[("||", BinaryOperator::Or)],
    &[("&&", BinaryOperator::And)],
    &[("==", BinaryOperator::Equal), ("!=", BinaryOperator::NotEqual)],
    &[
        (">=", BinaryOperator::GreaterOrEqual),
        ("<=", BinaryOperator::LessOrEqual),
        (">", BinaryOperator::Greater),
        ("<", BinaryOperator::Less),
    ],
    &[("+", BinaryOperator::Add), ("-", BinaryOperator::Subtract)],
    &[("*", BinaryOperator::Multiply), ("/", BinaryOperator::Divide), ("%", BinaryOperator::Remainder)],
];

/// How many operators or steps may follow each other: the tree grows one level deeper with each.
const MAX_CHAIN: usize = 250;

fn too_long<T>(scanner: &Scanner<'_>) -> Parsed<T> {
    scanner.error(scanner.next_span(), "Too deeply nested", "Too many operators or steps follow each other.")
}

/// Reads an expression that begins at the next character.
pub(crate) fn parse(scanner: &mut Scanner<'_>) -> Parsed<Expr> {
    scanner.open()?;
    let expr = conditional(scanner);
    scanner.close();
    expr
}

/// Reads with line ends as blanks or as separators, and returns to what was before.
pub(super) fn with_newlines<T>(
    scanner: &mut Scanner<'_>,
    are_blanks: bool,
    read: impl FnOnce(&mut Scanner<'_>) -> Parsed<T>,
) -> Parsed<T> {
    let before = std::mem::replace(&mut scanner.newlines_are_blanks, are_blanks);
    let result = read(scanner);
    scanner.newlines_are_blanks = before;
    result
}

fn conditional(scanner: &mut Scanner<'_>) -> Parsed<Expr> {
    let condition = binary(scanner, 0)?;
    scanner.skip_blanks();
    if !scanner.take("?") {
        return Ok(condition);
    }
    scanner.skip_blanks();
    let yes = parse(scanner)?;
    scanner.skip_blanks();
    if !scanner.take(":") {
        let detail = "The conditional operator (...?...:...) requires a false expression, delimited by a colon.";
        return scanner.error(scanner.next_span(), "Missing false expression in conditional", detail);
    }
    scanner.skip_blanks();
    let no = parse(scanner)?;
    let span = condition.span.to(no.span);
    let kind = ExprKind::Conditional { condition: Box::new(condition), yes: Box::new(yes), no: Box::new(no) };
    Ok(Expr { kind, span })
}

fn binary(scanner: &mut Scanner<'_>, level: usize) -> Parsed<Expr> {
    let Some(operators) = LEVELS.get(level) else { return term(scanner) };
    let mut left = binary(scanner, level + 1)?;
    for _ in 0..MAX_CHAIN {
        scanner.skip_blanks();
        let Some((_, operator)) = operators.iter().find(|(spelling, _)| scanner.take(spelling)) else {
            return Ok(left);
        };
        scanner.skip_blanks();
        let right = binary(scanner, level + 1)?;
        let span = left.span.to(right.span);
        let kind = ExprKind::Binary { operator: *operator, left: Box::new(left), right: Box::new(right) };
        left = Expr { kind, span };
    }
    too_long(scanner)
}

fn term(scanner: &mut Scanner<'_>) -> Parsed<Expr> {
    let start = scanner.at;
    let unary = [("!", UnaryOperator::Not), ("-", UnaryOperator::Negate)];
    if let Some((_, operator)) = unary.iter().find(|(spelling, _)| scanner.take(spelling)) {
        scanner.skip_blanks();
        scanner.open()?;
        let operand = Box::new(term(scanner)?);
        scanner.close();
        return Ok(Expr { kind: ExprKind::Unary { operator: *operator, operand }, span: scanner.span_from(start) });
    }
    let primary = primary(scanner)?;
    postfix(scanner, primary)
}

fn primary(scanner: &mut Scanner<'_>) -> Parsed<Expr> {
    let start = scanner.at;
    if let Some(text) = scanner.take_number() {
        let span = scanner.span_from(start);
        let Some(number) = Number::parse(text) else {
            return scanner.error(span, "Invalid number literal", "The number is too large to be written out.");
        };
        return Ok(Expr { kind: ExprKind::Number(number), span });
    }
    if let Some((name, span)) = scanner.take_name() {
        let before_call = scanner.at;
        scanner.skip_blanks();
        if scanner.is_next("(") {
            return call(scanner, name, span);
        }
        scanner.at = before_call;
        let kind = match name.as_str() {
            "true" => ExprKind::Bool(true),
            "false" => ExprKind::Bool(false),
            "null" => ExprKind::Null,
            _ => ExprKind::Traversal { root: name, root_span: span, steps: Vec::new() },
        };
        return Ok(Expr { kind, span });
    }
    match scanner.peek() {
        Some(b'"') => super::template::quoted(scanner),
        Some(b'<') if scanner.is_next("<<") => super::template::heredoc(scanner),
        Some(b'(') => parentheses(scanner),
        Some(b'[') => tuple(scanner),
        Some(b'{') => object(scanner),
        Some(_) => {
            let detail = "Expected the start of an expression, but found an invalid expression token.";
            scanner.unexpected("Invalid expression", detail)
        }
        None => {
            let detail = "Expected the start of an expression, but found the end of the file.";
            scanner.error(scanner.next_span(), "Missing expression", detail)
        }
    }
}

fn parentheses(scanner: &mut Scanner<'_>) -> Parsed<Expr> {
    let start = scanner.at;
    scanner.at += 1;
    let inner = with_newlines(scanner, true, |scanner| {
        scanner.skip_blanks();
        let inner = parse(scanner)?;
        scanner.skip_blanks();
        Ok(inner)
    })?;
    if !scanner.take(")") {
        let detail = "Expected a closing parenthesis to terminate the expression.";
        return scanner.error(scanner.next_span(), "Unbalanced parentheses", detail);
    }
    Ok(Expr { kind: ExprKind::Parentheses(Box::new(inner)), span: scanner.span_from(start) })
}

fn call(scanner: &mut Scanner<'_>, name: String, name_span: Span) -> Parsed<Expr> {
    scanner.at += 1;
    let (arguments, is_spread) = with_newlines(scanner, true, |scanner| {
        let mut arguments = Vec::new();
        loop {
            scanner.skip_blanks();
            if scanner.is_next(")") {
                return Ok((arguments, false));
            }
            arguments.push(parse(scanner)?);
            scanner.skip_blanks();
            if scanner.take("...") {
                scanner.skip_blanks();
                return Ok((arguments, true));
            }
            if !scanner.take(",") && !scanner.is_next(")") {
                let detail = "A comma is required to separate each function argument from the next.";
                return scanner.error(scanner.next_span(), "Missing argument separator", detail);
            }
        }
    })?;
    let close = scanner.next_span();
    if !scanner.take(")") {
        let detail = "An expanded function argument (with ...) must be immediately followed by closing parentheses.";
        return scanner.error(close, "Missing closing parenthesis", detail);
    }
    let span = name_span.to(close);
    Ok(Expr { kind: ExprKind::Call(Call { name, name_span, arguments, is_spread, close }), span })
}

/// Whether a `for` stands at the start of the brackets that were just opened.
fn take_for(scanner: &mut Scanner<'_>) -> bool {
    let before = scanner.at;
    scanner.skip_lines();
    if scanner.take_name().is_some_and(|(name, _)| name == "for") {
        return true;
    }
    scanner.at = before;
    false
}

fn tuple(scanner: &mut Scanner<'_>) -> Parsed<Expr> {
    let start = scanner.at;
    scanner.at += 1;
    if take_for(scanner) {
        return for_expression(scanner, start, "]");
    }
    let items = with_newlines(scanner, true, |scanner| {
        let mut items = Vec::new();
        loop {
            scanner.skip_blanks();
            if scanner.take("]") {
                return Ok(items);
            }
            items.push(parse(scanner)?);
            scanner.skip_blanks();
            if !scanner.take(",") && !scanner.is_next("]") {
                let detail = "Expected a comma to mark the beginning of the next item.";
                let span = token_span(scanner);
                return scanner.error(span, "Missing item separator", detail);
            }
        }
    })?;
    Ok(Expr { kind: ExprKind::Tuple(items), span: scanner.span_from(start) })
}

/// The next name, or the next character.
fn token_span(scanner: &mut Scanner<'_>) -> Span {
    let before = scanner.at;
    let name = scanner.take_name();
    scanner.at = before;
    name.map_or_else(|| scanner.next_span(), |(_, span)| span)
}

fn object(scanner: &mut Scanner<'_>) -> Parsed<Expr> {
    let start = scanner.at;
    scanner.at += 1;
    if take_for(scanner) {
        return for_expression(scanner, start, "}");
    }
    let items = with_newlines(scanner, false, |scanner| {
        let mut items = Vec::new();
        loop {
            scanner.skip_lines();
            if scanner.take("}") {
                return Ok(items);
            }
            items.push(object_item(scanner)?);
            scanner.skip_blanks();
            let is_separated =
                scanner.take(",") || scanner.is_next("}") || scanner.peek().is_some() && scanner.take_newline();
            if !is_separated {
                let detail = "Expected a newline or comma to mark the beginning of the next attribute.";
                return scanner.error(scanner.next_span(), "Missing attribute separator", detail);
            }
        }
    })?;
    Ok(Expr { kind: ExprKind::Object(items), span: scanner.span_from(start) })
}

fn object_item(scanner: &mut Scanner<'_>) -> Parsed<ObjectItem> {
    let start = scanner.at;
    let mut key = parse(scanner)?;
    if key.keyword().is_some() {
        key.kind = ExprKind::Text(scanner.text[start..scanner.at].trim_end().to_owned());
    } else if matches!(key.kind, ExprKind::Traversal { .. }) {
        let detail = "If this expression is intended to be a reference, wrap it in parentheses. If it's instead \
                      intended as a literal name containing periods, wrap it in quotes to create a string literal.";
        return Err(Diagnostic::new(key.span, "Ambiguous attribute key", detail).followed_by(1));
    }
    scanner.skip_blanks();
    if !scanner.take("=") && !scanner.take(":") {
        if !matches!(scanner.peek(), None | Some(b'\n' | b'\r' | b',' | b'}')) {
            let detail = "Expected an equals sign (\"=\") to mark the beginning of the attribute value.";
            return scanner.error(scanner.next_span(), "Missing key/value separator", detail);
        }
        let detail = "Expected an attribute value, introduced by an equals sign (\"=\").";
        return scanner.error(scanner.next_span(), "Missing attribute value", detail);
    }
    scanner.skip_blanks();
    Ok(ObjectItem { key, value: parse(scanner)? })
}

/// Behind the word `for`.
fn for_expression(scanner: &mut Scanner<'_>, start: usize, close: &str) -> Parsed<Expr> {
    let is_object = close == "}";
    let kind = with_newlines(scanner, true, |scanner| {
        let (key_name, value_name, collection) = for_head(scanner)?;
        scanner.skip_blanks();
        if !scanner.take(":") {
            let detail = "For expression requires a colon after the collection expression.";
            return scanner.error(scanner.next_span(), "Invalid 'for' expression", detail);
        }
        scanner.skip_blanks();
        let mut value = parse(scanner)?;
        let mut key = None;
        scanner.skip_blanks();
        if scanner.take("=>") {
            scanner.skip_blanks();
            key = Some(std::mem::replace(&mut value, parse(scanner)?));
        }
        if key.is_some() != is_object {
            let detail = match is_object {
                true => "The 'for' expression of an object requires a key expression, followed by an arrow.",
                false => "Key expression is not valid when building a tuple.",
            };
            return scanner.error(scanner.next_span(), "Invalid 'for' expression", detail);
        }
        scanner.skip_blanks();
        let groups = scanner.take("...");
        scanner.skip_blanks();
        let mut condition = None;
        if scanner.is_next("if") {
            scanner.at += 2;
            scanner.skip_blanks();
            condition = Some(parse(scanner)?);
            scanner.skip_blanks();
        }
        if !scanner.take(close) {
            let detail = "Extra characters after the end of the 'for' expression.";
            return scanner.error(scanner.next_span(), "Invalid 'for' expression", detail);
        }
        Ok(For { key_name, value_name, collection, key, value, condition, groups })
    })?;
    Ok(Expr { kind: ExprKind::For(Box::new(kind)), span: scanner.span_from(start) })
}

/// `k, v in collection`.
pub(super) fn for_head(scanner: &mut Scanner<'_>) -> Parsed<(Option<String>, String, Expr)> {
    let name = |scanner: &mut Scanner<'_>| {
        scanner.skip_blanks();
        match scanner.take_name() {
            Some((name, _)) => Ok(name),
            None => {
                let detail = "For expression requires variable name after 'for'.";
                scanner.error(scanner.next_span(), "Invalid 'for' expression", detail)
            }
        }
    };
    let mut value_name = name(scanner)?;
    let mut key_name = None;
    scanner.skip_blanks();
    if scanner.take(",") {
        key_name = Some(std::mem::replace(&mut value_name, name(scanner)?));
        scanner.skip_blanks();
    }
    if scanner.take_name().is_none_or(|(word, _)| word != "in") {
        let detail = "For expression requires the 'in' keyword after its name declarations.";
        return scanner.error(scanner.next_span(), "Invalid 'for' expression", detail);
    }
    scanner.skip_blanks();
    Ok((key_name, value_name, parse(scanner)?))
}

/// `.attr`, `[key]`, `[*]`, `.*` behind an expression.
fn postfix(scanner: &mut Scanner<'_>, mut expr: Expr) -> Parsed<Expr> {
    for _ in 0..MAX_CHAIN {
        let before = scanner.at;
        scanner.skip_blanks();
        let start = scanner.at;
        if scanner.take("[*]") {
            let mut steps = Vec::new();
            while let Some(step) = step(scanner)? {
                steps.push(step);
            }
            expr = Expr { span: expr.span.to(scanner.span_from(start)), kind: splat(expr, steps) };
        } else if scanner.take(".*") {
            let mut steps = Vec::new();
            while scanner.is_next(".") && !scanner.is_next("...") {
                let Some(step) = step(scanner)? else { break };
                steps.push(step);
            }
            expr = Expr { span: expr.span.to(scanner.span_from(start)), kind: splat(expr, steps) };
        } else if let Some(step) = step(scanner)? {
            expr = with_step(expr, step);
        } else {
            scanner.at = before;
            return Ok(expr);
        }
    }
    too_long(scanner)
}

fn splat(source: Expr, steps: Vec<Step>) -> ExprKind {
    ExprKind::Splat { source: Box::new(source), steps }
}

fn with_step(expr: Expr, step: Step) -> Expr {
    let span = expr.span.to(step.span);
    let kind = match expr.kind {
        ExprKind::Traversal { root, root_span, mut steps } => {
            steps.push(step);
            ExprKind::Traversal { root, root_span, steps }
        }
        ExprKind::Relative { source, mut steps } => {
            steps.push(step);
            ExprKind::Relative { source, steps }
        }
        kind => ExprKind::Relative { source: Box::new(Expr { kind, span: expr.span }), steps: vec![step] },
    };
    Expr { kind, span }
}

/// `.attr`, `.0` or `[key]`, if one is next.
fn step(scanner: &mut Scanner<'_>) -> Parsed<Option<Step>> {
    let start = scanner.at;
    if scanner.is_next(".") && !scanner.is_next("...") && !scanner.is_next(".*") {
        scanner.at += 1;
        scanner.skip_blanks();
        if let Some((name, _)) = scanner.take_name() {
            return Ok(Some(Step { kind: StepKind::Attribute(name), span: scanner.span_from(start) }));
        }
        let digits_start = scanner.at;
        while scanner.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            scanner.at += 1;
        }
        let Some(number) = Number::parse(&scanner.text[digits_start..scanner.at]) else {
            let detail = "An attribute name is required after a dot.";
            return scanner.error(scanner.next_span(), "Invalid attribute name", detail);
        };
        let span = scanner.span_from(start);
        return Ok(Some(Step { kind: StepKind::Index(Expr { kind: ExprKind::Number(number), span }), span }));
    }
    if scanner.is_next("[") && !scanner.is_next("[*]") {
        scanner.at += 1;
        let key = with_newlines(scanner, true, |scanner| {
            scanner.skip_blanks();
            let key = parse(scanner)?;
            scanner.skip_blanks();
            Ok(key)
        })?;
        if !scanner.take("]") {
            let detail = "The index operator must end with a closing bracket (\"]\").";
            return scanner.error(scanner.next_span(), "Missing close bracket on index", detail);
        }
        return Ok(Some(Step { kind: StepKind::Index(key), span: scanner.span_from(start) }));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_grows_deep_is_refused() {
        // The stack of a main thread; those of tests are smaller.
        let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(refuse_deep_texts).unwrap();
        thread.join().unwrap();
    }

    fn refuse_deep_texts() {
        let n = 5_000;
        for text in [
            "[".repeat(n),
            "(".repeat(n),
            "-".repeat(n),
            "1+".repeat(n) + "1",
            "true ? 1 : ".repeat(n) + "1",
            "a".to_owned() + &"[*]".repeat(n),
            "f(".repeat(n),
            "\"${".repeat(n),
        ] {
            let refused = parse(&mut Scanner::new(&text, 0, 0)).unwrap_err();
            assert_eq!(refused.summary, "Too deeply nested", "{}", &text[..8]);
        }
    }
}
