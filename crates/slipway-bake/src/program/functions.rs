//! Functions that a definition declares.

use std::collections::BTreeSet;

use super::Program;
use crate::diagnostic::{Diagnostic, Span};
use crate::eval::{Evaluated, fail};
use crate::syntax::{Block, Expr, ExprKind, Part, Step, StepKind};

pub(crate) struct OwnFunction<'a> {
    pub(crate) parameters: Vec<String>,
    /// Takes all further arguments, as a tuple.
    pub(crate) rest: Option<String>,
    pub(crate) result: &'a Expr,
}

pub(super) fn declared(block: &Block) -> Evaluated<OwnFunction<'_>> {
    let (name, span) = &block.labels[0];
    let invalid = |what: &str| fail(*span, "Invalid function", format!("empty {what} not allowed for {name}"));
    let Some(params) = block.body.attribute("params") else { return invalid("params") };
    let Some(result) = block.body.attribute("result") else {
        // The reference points at the parameters.
        let span = params.name_span.to(params.expr.span);
        return fail(span, "Invalid function", format!("empty result not allowed for {name}"));
    };
    let name_of = |expr: &Expr| match (&expr.kind, expr.keyword()) {
        (ExprKind::Text(name), _) => Ok(name.clone()),
        (_, Some(name)) => Ok(name.to_owned()),
        _ => Err(Diagnostic::new(expr.span, "Invalid param element", "Each parameter name must be an identifier.")),
    };
    let ExprKind::Tuple(items) = &params.expr.kind else {
        let detail = "The parameters must be a list of names.";
        return fail(params.expr.span, "Invalid param element", detail);
    };
    let parameters = items.iter().map(name_of).collect::<Result<_, _>>()?;
    let rest = block.body.attribute("variadic_params").map(|rest| name_of(&rest.expr)).transpose()?;
    Ok(OwnFunction { parameters, rest, result: &result.expr })
}

impl Program<'_> {
    /// A function that calls itself, through others too, would never end.
    pub(super) fn refuse_recursion(&self) -> Evaluated<()> {
        let mut done = BTreeSet::new();
        self.functions.keys().try_for_each(|name| self.follow_calls(name, None, &mut Vec::new(), &mut done))
    }

    fn follow_calls<'p>(
        &'p self,
        name: &'p str,
        from: Option<Span>,
        path: &mut Vec<&'p str>,
        done: &mut BTreeSet<&'p str>,
    ) -> Evaluated<()> {
        let Some(function) = self.functions.get(name) else { return Ok(()) };
        if path.contains(&name) {
            let detail = format!("function cycle not allowed for {name}");
            return fail(from.unwrap_or_default(), "Invalid expression", detail);
        }
        if path.len() > crate::syntax::MAX_NESTING {
            return fail(function.result.span, "Too deeply nested", "Functions call each other too deeply.");
        }
        if !done.insert(name) {
            return Ok(());
        }
        let mut called = Vec::new();
        add_calls(function.result, &mut called);
        path.push(name);
        // Within the path a name may come again, which is what is looked for.
        for callee in called {
            done.retain(|name| !path.contains(name));
            self.follow_calls(callee, Some(function.result.span), path, done)?;
        }
        path.pop();
        done.insert(name);
        Ok(())
    }
}

/// The names of all functions that are called in `expr`.
fn add_calls<'e>(expr: &'e Expr, called: &mut Vec<&'e str>) {
    match &expr.kind {
        ExprKind::Null | ExprKind::Bool(_) | ExprKind::Number(_) | ExprKind::Text(_) => {}
        ExprKind::Template(parts) => add_part_calls(parts, called),
        ExprKind::Wrapped(inner) | ExprKind::Parentheses(inner) => add_calls(inner, called),
        ExprKind::Traversal { steps, .. } => add_step_calls(steps, called),
        ExprKind::Relative { source, steps } | ExprKind::Splat { source, steps } => {
            add_calls(source, called);
            add_step_calls(steps, called);
        }
        ExprKind::Tuple(items) => items.iter().for_each(|item| add_calls(item, called)),
        ExprKind::Object(items) => items.iter().for_each(|item| {
            add_calls(&item.key, called);
            add_calls(&item.value, called);
        }),
        ExprKind::For(expression) => {
            add_calls(&expression.collection, called);
            add_calls(&expression.value, called);
            expression.key.iter().chain(&expression.condition).for_each(|expr| add_calls(expr, called));
        }
        ExprKind::Call(call) => {
            called.push(&call.name);
            call.arguments.iter().for_each(|argument| add_calls(argument, called));
        }
        ExprKind::Unary { operand, .. } => add_calls(operand, called),
        ExprKind::Binary { left, right, .. } => {
            add_calls(left, called);
            add_calls(right, called);
        }
        ExprKind::Conditional { condition, yes, no } => {
            [condition, yes, no].into_iter().for_each(|expr| add_calls(expr, called));
        }
    }
}

fn add_step_calls<'e>(steps: &'e [Step], called: &mut Vec<&'e str>) {
    for step in steps {
        if let StepKind::Index(key) = &step.kind {
            add_calls(key, called);
        }
    }
}

fn add_part_calls<'e>(parts: &'e [Part], called: &mut Vec<&'e str>) {
    for part in parts {
        match part {
            Part::Text(_) => {}
            Part::Value(expr) => add_calls(expr, called),
            Part::If { condition, yes, no } => {
                add_calls(condition, called);
                add_part_calls(yes, called);
                add_part_calls(no, called);
            }
            Part::For { collection, body, .. } => {
                add_calls(collection, called);
                add_part_calls(body, called);
            }
        }
    }
}
