//! Types as they are written: `list(string)`, `object({a = number})`.

use std::collections::BTreeMap;

use crate::diagnostic::Span;
use crate::eval::{Evaluated, fail};
use crate::syntax::{Expr, ExprKind};
use crate::value::Type;

const SUMMARY: &str = "Invalid type specification";

/// The type that `expr` spells.
pub(crate) fn parse(expr: &Expr) -> Evaluated<Type> {
    const GENERAL: &str = "A type specification is either a primitive type keyword (bool, number, string) or a complex \
                           type constructor call, like list(string).";
    if let Some(keyword) = expr.keyword() {
        return match keyword {
            "any" => Ok(Type::Dynamic),
            "bool" => Ok(Type::Bool),
            "number" => Ok(Type::Number),
            "string" => Ok(Type::String),
            _ => match only_argument(keyword) {
                Some(detail) => fail(expr.span, SUMMARY, detail),
                None => fail(expr.span, SUMMARY, format!("The keyword {keyword:?} is not a valid type specification.")),
            },
        };
    }
    let ExprKind::Call(call) = &expr.kind else { return fail(expr.span, SUMMARY, GENERAL) };
    if call.name == "optional" {
        let detail = "Keyword \"optional\" is valid only as a modifier for object type attributes.";
        return fail(call.name_span, SUMMARY, detail);
    }
    let brackets = Span { start: call.name_span.end, ..call.close };
    if let "any" | "bool" | "number" | "string" = call.name.as_str() {
        let detail = format!("Primitive type keyword {:?} does not expect arguments.", call.name);
        return fail(brackets, SUMMARY, detail);
    }
    let Some(wanted) = only_argument(&call.name) else {
        return fail(expr.span, SUMMARY, format!("Keyword {:?} is not a valid type constructor.", call.name));
    };
    let argument = match &call.arguments[..] {
        [argument] => argument,
        [] => return fail(brackets, SUMMARY, wanted),
        [_, further @ ..] => return fail(further[0].span.to(further[further.len() - 1].span), SUMMARY, wanted),
    };
    match (call.name.as_str(), &argument.kind) {
        ("list", _) => Ok(Type::List(Box::new(parse(argument)?))),
        ("set", _) => Ok(Type::Set(Box::new(parse(argument)?))),
        ("map", _) => Ok(Type::Map(Box::new(parse(argument)?))),
        ("tuple", ExprKind::Tuple(items)) => Ok(Type::Tuple(items.iter().map(parse).collect::<Evaluated<_>>()?)),
        ("object", ExprKind::Object(items)) => {
            let mut types = BTreeMap::new();
            for item in items {
                let ExprKind::Text(name) = &item.key.kind else {
                    let detail = "Object constructor map keys must be attribute names.";
                    return fail(item.key.span, SUMMARY, detail);
                };
                types.insert(name.clone(), parse_attribute(&item.value)?);
            }
            Ok(Type::Object(types))
        }
        ("tuple", _) => fail(argument.span, SUMMARY, "Tuple type constructor requires a list of element types."),
        _ => {
            let detail = "Object type constructor requires a map whose keys are attribute names and whose values are \
                          the corresponding attribute types.";
            fail(argument.span, SUMMARY, detail)
        }
    }
}

/// What the one argument of a constructor has to be; `None` if there is no such constructor.
fn only_argument(constructor: &str) -> Option<String> {
    let what = match constructor {
        "list" | "set" | "map" => "the element type",
        "object" => "the attribute types and values as a map",
        "tuple" => "the element types as a list",
        _ => return None,
    };
    Some(format!("The {constructor} type constructor requires one argument specifying {what}."))
}

/// The type of an attribute of an object, which may be `optional(…)`.
fn parse_attribute(expr: &Expr) -> Evaluated<Type> {
    let ExprKind::Call(call) = &expr.kind else { return parse(expr) };
    match (call.name.as_str(), &call.arguments[..]) {
        ("optional", [ty]) => Ok(Type::Optional(Box::new(parse(ty)?))),
        ("optional", []) => {
            let detail = "Optional attribute modifier requires the attribute type as its argument.";
            fail(call.name_span, SUMMARY, detail)
        }
        ("optional", [_, _, ..]) => {
            let detail = "Optional attribute modifier expects only one argument: the attribute type.";
            fail(Span { start: call.name_span.end, ..call.close }, SUMMARY, detail)
        }
        _ => parse(expr),
    }
}
