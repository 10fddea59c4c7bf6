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
            "list" | "set" | "map" => {
                let detail =
                    format!("The {keyword} type constructor requires one argument specifying the element type.");
                fail(expr.span, SUMMARY, detail)
            }
            "object" => {
                let detail = "The object type constructor requires one argument specifying the attribute types and \
                              values as a map.";
                fail(expr.span, SUMMARY, detail)
            }
            "tuple" => {
                let detail = "The tuple type constructor requires one argument specifying the element types as a list.";
                fail(expr.span, SUMMARY, detail)
            }
            _ => fail(expr.span, SUMMARY, format!("The keyword {keyword:?} is not a valid type specification.")),
        };
    }
    let ExprKind::Call(call) = &expr.kind else { return fail(expr.span, SUMMARY, GENERAL) };
    if call.name == "optional" {
        let detail = "Keyword \"optional\" is valid only as a modifier for object type attributes.";
        return fail(call.name_span, SUMMARY, detail);
    }
    let [argument] = &call.arguments[..] else {
        let detail = format!("The {} type constructor requires one argument.", call.name);
        return fail(expr.span, SUMMARY, detail);
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
        _ => fail(expr.span, SUMMARY, format!("Keyword {:?} is not a valid type constructor.", call.name)),
    }
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
