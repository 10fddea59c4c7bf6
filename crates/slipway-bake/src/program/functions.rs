//! Functions that a definition declares.

use std::collections::BTreeSet;

use super::Program;
use crate::diagnostic::{Diagnostic, Span};
use crate::eval::{Evaluated, fail};
use crate::functions::is_standard;
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
        return fail(params.expr.span, "Invalid expression", "A static list expression is required.");
    };
    let parameters = items.iter().map(name_of).collect::<Result<_, _>>()?;
    let rest = block.body.attribute("variadic_params").map(|rest| {
        let whole = rest.name_span.to(rest.expr.span);
        name_of(&rest.expr).map_err(|diagnostic| Diagnostic { span: Some(whole), ..diagnostic })
    });
    let rest = rest.transpose()?;
    Ok(OwnFunction { parameters, rest, result: &result.expr })
}

impl Program<'_> {
    /// A function may look up its parameters and global names, whether or not anybody calls it.
    pub(super) fn refuse_unknown_names(&self) -> Evaluated<()> {
        self.functions.values().try_for_each(|function| {
            let unknown = |kind: &str, name: &str| {
                let detail = format!("{kind} {name:?} does not exist: undefined");
                fail(function.result.span, "Invalid expression", detail)
            };
            let lookups = Lookups::of(function.result);
            let is_function = |name: &&&str| is_standard(name) || self.functions.contains_key(**name);
            if let Some(name) = lookups.functions.iter().find(|name| !is_function(name)) {
                return unknown("function", name);
            }
            let is_own = |name: &str| function.parameters.iter().chain(&function.rest).any(|own| own == name);
            match lookups.variables.iter().find(|name| !is_own(name) && !self.is_global(name)) {
                Some(name) => unknown("variable", name),
                None => Ok(()),
            }
        })
    }

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
        path.push(name);
        // Within the path a name may come again, which is what is looked for.
        for callee in Lookups::of(function.result).functions {
            done.retain(|name| !path.contains(name));
            self.follow_calls(callee, Some(function.result.span), path, done)?;
        }
        path.pop();
        done.insert(name);
        Ok(())
    }
}

/// The names that an expression looks up.
#[derive(Default)]
struct Lookups<'e> {
    functions: Vec<&'e str>,
    variables: Vec<&'e str>,
    /// Names that loops around the place make.
    bound: Vec<&'e str>,
}

impl<'e> Lookups<'e> {
    fn of(expr: &'e Expr) -> Lookups<'e> {
        let mut lookups = Lookups::default();
        lookups.add(expr);
        lookups
    }

    fn add(&mut self, expr: &'e Expr) {
        match &expr.kind {
            ExprKind::Null | ExprKind::Bool(_) | ExprKind::Number(_) | ExprKind::Text(_) => {}
            ExprKind::Template(parts) => self.add_parts(parts),
            ExprKind::Wrapped(inner) | ExprKind::Parentheses(inner) => self.add(inner),
            ExprKind::Traversal { root, steps, .. } => {
                if !self.bound.contains(&root.as_str()) {
                    self.variables.push(root);
                }
                self.add_steps(steps);
            }
            ExprKind::Relative { source, steps } | ExprKind::Splat { source, steps } => {
                self.add(source);
                self.add_steps(steps);
            }
            ExprKind::Tuple(items) => items.iter().for_each(|item| self.add(item)),
            ExprKind::Object(items) => items.iter().for_each(|item| {
                self.add(&item.key);
                self.add(&item.value);
            }),
            ExprKind::For(expression) => {
                self.add(&expression.collection);
                self.within(&expression.key_name, &expression.value_name, |lookups| {
                    lookups.add(&expression.value);
                    expression.key.iter().chain(&expression.condition).for_each(|expr| lookups.add(expr));
                });
            }
            ExprKind::Call(call) => {
                self.functions.push(&call.name);
                call.arguments.iter().for_each(|argument| self.add(argument));
            }
            ExprKind::Unary { operand, .. } => self.add(operand),
            ExprKind::Binary { left, right, .. } => {
                self.add(left);
                self.add(right);
            }
            ExprKind::Conditional { condition, yes, no } => {
                [condition, yes, no].into_iter().for_each(|expr| self.add(expr));
            }
        }
    }

    /// Adds what stands inside a loop with these names.
    fn within(&mut self, key: &'e Option<String>, value: &'e str, add: impl FnOnce(&mut Self)) {
        let n_before = self.bound.len();
        self.bound.extend(key.as_deref());
        self.bound.push(value);
        add(self);
        self.bound.truncate(n_before);
    }

    fn add_steps(&mut self, steps: &'e [Step]) {
        for step in steps {
            if let StepKind::Index(key) = &step.kind {
                self.add(key);
            }
        }
    }

    fn add_parts(&mut self, parts: &'e [Part]) {
        for part in parts {
            match part {
                Part::Text(_) => {}
                Part::Value(expr) => self.add(expr),
                Part::If { condition, yes, no } => {
                    self.add(condition);
                    self.add_parts(yes);
                    self.add_parts(no);
                }
                Part::For { key_name, value_name, collection, body } => {
                    self.add(collection);
                    self.within(key_name, value_name, |lookups| lookups.add_parts(body));
                }
            }
        }
    }
}
