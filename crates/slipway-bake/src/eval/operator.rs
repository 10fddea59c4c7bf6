//! Operators.

use super::{Evaluated, Scope, fail};
use crate::convert::convert;
use crate::number::Number;
use crate::program::Program;
use crate::syntax::{BinaryOperator, Expr, UnaryOperator};
use crate::value::{Type, Value};

const INVALID: &str = "Invalid operand";

impl Program<'_> {
    pub(super) fn unary(&self, operator: UnaryOperator, operand: &Expr, scope: &Scope<'_>) -> Evaluated<Value> {
        let value = self.eval(operand, scope)?;
        let ty = match operator {
            UnaryOperator::Not => Type::Bool,
            UnaryOperator::Negate => Type::Number,
        };
        match convert(&value, &ty) {
            Ok(Value::Bool(is_true)) => Ok(Value::Bool(!is_true)),
            Ok(Value::Number(number)) => Ok(Value::Number(number.negated())),
            Ok(_) => fail(operand.span, "Operation failed", "Error during operation: argument must not be null."),
            Err(problem) => fail(operand.span, INVALID, format!("Unsuitable value for unary operand: {problem}.")),
        }
    }

    pub(super) fn binary(
        &self,
        operator: BinaryOperator,
        left: &Expr,
        right: &Expr,
        scope: &Scope<'_>,
    ) -> Evaluated<Value> {
        use BinaryOperator as Op;
        match operator {
            Op::Equal => Ok(Value::Bool(self.eval(left, scope)?.equals(&self.eval(right, scope)?))),
            Op::NotEqual => Ok(Value::Bool(!self.eval(left, scope)?.equals(&self.eval(right, scope)?))),
            Op::And => {
                let is_true = self.bool_operand(left, "left", scope)? && self.bool_operand(right, "right", scope)?;
                Ok(Value::Bool(is_true))
            }
            Op::Or => {
                let is_true = self.bool_operand(left, "left", scope)? || self.bool_operand(right, "right", scope)?;
                Ok(Value::Bool(is_true))
            }
            _ => {
                let (a, b) = self.number_operands(left, right, scope)?;
                let comparison = match operator {
                    Op::Greater => Some(a > b),
                    Op::GreaterOrEqual => Some(a >= b),
                    Op::Less => Some(a < b),
                    Op::LessOrEqual => Some(a <= b),
                    _ => None,
                };
                if let Some(is_true) = comparison {
                    return Ok(Value::Bool(is_true));
                }
                let (result, problem) = arithmetic(operator, &a, &b);
                match result {
                    Some(number) => Ok(Value::Number(number)),
                    None => fail(
                        left.span.to(right.span),
                        "Operation failed",
                        format!("Error during operation: {problem}."),
                    ),
                }
            }
        }
    }

    /// Both are looked at, even if the first is no number.
    fn number_operands(&self, left: &Expr, right: &Expr, scope: &Scope<'_>) -> Evaluated<(Number, Number)> {
        let operands =
            (self.operand(left, "left", &Type::Number, scope), self.operand(right, "right", &Type::Number, scope));
        match operands {
            (Ok(Value::Number(a)), Ok(Value::Number(b))) => Ok((a, b)),
            (Ok(_), Ok(_)) => {
                let detail = "Error during operation: argument must not be null.";
                fail(left.span.to(right.span), "Operation failed", detail)
            }
            (Err(mut found), Err(more)) => {
                found.0.extend(more.0);
                Err(found)
            }
            (Err(found), Ok(_)) | (Ok(_), Err(found)) => Err(found),
        }
    }

    fn bool_operand(&self, expr: &Expr, side: &str, scope: &Scope<'_>) -> Evaluated<bool> {
        match self.operand(expr, side, &Type::Bool, scope)? {
            Value::Bool(is_true) => Ok(is_true),
            _ => fail(expr.span, "Operation failed", "Error during operation: argument must not be null."),
        }
    }

    fn operand(&self, expr: &Expr, side: &str, ty: &Type, scope: &Scope<'_>) -> Evaluated<Value> {
        let value = self.eval(expr, scope)?;
        convert(&value, ty)
            .or_else(|problem| fail(expr.span, INVALID, format!("Unsuitable value for {side} operand: {problem}.")))
    }
}

/// The result, and why there is none.
fn arithmetic(operator: BinaryOperator, a: &Number, b: &Number) -> (Option<Number>, &'static str) {
    match operator {
        BinaryOperator::Add => (a.plus(b), "can't compute sum of opposing infinities"),
        BinaryOperator::Subtract => (a.minus(b), "can't subtract infinity from itself"),
        BinaryOperator::Multiply => (a.times(b), "can't multiply zero by infinity, or the result is too large"),
        BinaryOperator::Divide => (a.divided_by(b), "can't divide zero by zero or infinity by infinity"),
        _ => (a.remainder(b), "can't use modulo with zero or infinity"),
    }
}
