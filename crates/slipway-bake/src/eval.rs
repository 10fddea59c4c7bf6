//! What an expression comes to (`spec/bake.md` section 4).

mod collection;
mod operator;

use std::collections::BTreeMap;

use crate::convert::{convert, unify};
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::program::Program;
use crate::syntax::{Expr, ExprKind, ObjectItem, Part, Step, StepKind};
use crate::value::{Type, Value};

pub(crate) type Evaluated<T> = Result<T, Diagnostics>;

/// How deep evaluations may be nested: references, calls and brackets together.
const MAX_DEPTH: usize = 300;
/// How many bytes of values one definition may make, in all. Definitions that people write need some thousand.
const MAX_WORK: u64 = 256 << 20;

/// Names that an expression can see on top of the global ones.
#[derive(Clone, Default)]
pub(crate) struct Scope<'a> {
    pub(crate) names: BTreeMap<String, Value>,
    pub(crate) outer: Option<&'a Scope<'a>>,
}

impl<'a> Scope<'a> {
    pub(crate) fn within(outer: &'a Scope<'a>) -> Scope<'a> {
        Scope { names: BTreeMap::new(), outer: Some(outer) }
    }

    fn find(&self, name: &str) -> Option<&Value> {
        self.names.get(name).or_else(|| self.outer.and_then(|outer| outer.find(name)))
    }
}

pub(crate) fn fail<T>(span: Span, summary: &str, detail: impl Into<String>) -> Evaluated<T> {
    Err(Diagnostic::new(span, summary, detail).into())
}

/// All the values, or all that is wrong with any of them.
pub(crate) fn all<T>(results: impl Iterator<Item = Evaluated<T>>) -> Evaluated<Vec<T>> {
    let (mut values, mut found) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(diagnostics) => found.extend(diagnostics.0),
        }
    }
    if found.is_empty() { Ok(values) } else { Err(Diagnostics(found)) }
}

impl Program<'_> {
    /// The value of `expr` with the names of `scope`.
    pub(crate) fn eval(&self, expr: &Expr, scope: &Scope<'_>) -> Evaluated<Value> {
        let depth = self.depth.get() + 1;
        if depth > MAX_DEPTH {
            return fail(expr.span, "Too deeply nested", "References and calls are nested too deeply.");
        }
        self.depth.set(depth);
        let value = self.eval_kind(expr, scope);
        self.depth.set(depth - 1);
        value
    }

    fn eval_kind(&self, expr: &Expr, scope: &Scope<'_>) -> Evaluated<Value> {
        match &expr.kind {
            ExprKind::Null => Ok(Value::null()),
            ExprKind::Bool(is_true) => Ok(Value::Bool(*is_true)),
            ExprKind::Number(number) => Ok(Value::Number(number.clone())),
            ExprKind::Text(text) => Ok(Value::string(text)),
            ExprKind::Template(parts) => self.template(parts, expr.span, scope).map(Value::string),
            ExprKind::Wrapped(inner) | ExprKind::Parentheses(inner) => self.eval(inner, scope),
            ExprKind::Traversal { root, root_span, steps } => {
                let (value, n_taken) = self.root(root, *root_span, steps, scope)?;
                self.charge(value.weight(), expr.span)?;
                self.steps(value, &steps[n_taken..], scope)
            }
            ExprKind::Relative { source, steps } => self.steps(self.eval(source, scope)?, steps, scope),
            ExprKind::Splat { source, steps } => self.splat(source, steps, scope),
            ExprKind::Tuple(items) => {
                let items = items.iter().map(|item| self.eval(item, scope));
                Ok(Value::tuple(all(items)?))
            }
            ExprKind::Object(items) => self.object(items, scope),
            ExprKind::For(expression) => self.for_expression(expression, expr.span, scope),
            ExprKind::Call(call) => self.call(call, scope),
            ExprKind::Unary { operator, operand } => self.unary(*operator, operand, scope),
            ExprKind::Binary { operator, left, right } => self.binary(*operator, left, right, scope),
            ExprKind::Conditional { condition, yes, no } => self.conditional(condition, yes, no, scope),
        }
    }

    /// Counts what values take, and refuses definitions that would fill the memory.
    pub(crate) fn charge(&self, weight: u64, span: Span) -> Evaluated<()> {
        let work = self.work.get() + weight;
        self.work.set(work);
        if work > MAX_WORK {
            return fail(span, "Too much work", "The values of this definition take too much memory.");
        }
        Ok(())
    }

    /// The value that a traversal begins with, and how many of its steps lead there.
    fn root(&self, root: &str, span: Span, steps: &[Step], scope: &Scope<'_>) -> Evaluated<(Value, usize)> {
        if let Some(value) = scope.find(root) {
            return Ok((value.clone(), 0));
        }
        if let Some(value) = self.global(root, span)? {
            return Ok((value, 0));
        }
        if let "target" | "group" = root
            && self.sees_targets.get()
        {
            let constant = |step: Option<&Step>| -> Evaluated<Option<String>> {
                match step.map(|step| &step.kind) {
                    Some(StepKind::Attribute(name)) => Ok(Some(name.clone())),
                    Some(StepKind::Index(key)) => match self.eval(key, scope)? {
                        Value::String(name) => Ok(Some(name.to_string())),
                        _ => Ok(None),
                    },
                    None => Ok(None),
                }
            };
            let (name, attribute) = (constant(steps.first())?, constant(steps.get(1))?);
            let Some(name) = name else {
                return self.invalid(&format!("cannot access {root} as a variable"));
            };
            let step_span = |index: usize| steps.get(index).map_or(span, |step| step.span);
            if let Some(found) = self.reference(root, &name, attribute.as_deref(), step_span(1))? {
                return Ok(found);
            }
            if root == "target" && self.instances.iter().any(|instance| instance.block.kind == root) {
                let detail = format!("This map does not have an element with the key {name:?}.");
                return fail(step_span(0), "Missing map element", detail);
            }
        }
        let hint = self.similar_variable(root).map(|name| format!(" Did you mean {name:?}?")).unwrap_or_default();
        fail(span, "Unknown variable", format!("There is no variable named {root:?}.{hint}"))
    }

    pub(crate) fn steps(&self, mut value: Value, steps: &[Step], scope: &Scope<'_>) -> Evaluated<Value> {
        for step in steps {
            value = match &step.kind {
                StepKind::Attribute(name) => collection::attribute(&value, name, step.span)?,
                StepKind::Index(key) => collection::index(&value, &self.eval(key, scope)?, step.span)?,
            };
        }
        Ok(value)
    }

    fn object(&self, items: &[ObjectItem], scope: &Scope<'_>) -> Evaluated<Value> {
        let entries = items.iter().map(|item| {
            let key = self.eval(&item.key, scope)?;
            if key.is_null() {
                return fail(item.key.start(), "Null value as key", "Can't use a null value as a key.");
            }
            let Ok(Value::String(key)) = convert(&key, &Type::String) else {
                let detail = "Can't use this value as a key: string required.";
                return fail(item.key.span, "Incorrect key type", detail);
            };
            Ok((key.to_string(), self.eval(&item.value, scope)?))
        });
        Ok(Value::object(all(entries)?.into_iter().collect()))
    }

    fn template(&self, parts: &[Part], span: Span, scope: &Scope<'_>) -> Evaluated<String> {
        let mut text = String::new();
        self.add_parts(parts, scope, &mut text)?;
        self.charge(text.len() as u64, span)?;
        Ok(text)
    }

    fn add_parts(&self, parts: &[Part], scope: &Scope<'_>, text: &mut String) -> Evaluated<()> {
        for part in parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Value(expr) => text.push_str(&self.interpolated(expr, scope)?),
                Part::If { condition, yes, no } => {
                    let parts = if self.is_true(condition, scope)? { yes } else { no };
                    self.add_parts(parts, scope, text)?;
                }
                Part::For { key_name, value_name, collection, body } => {
                    let source = self.eval(collection, scope)?;
                    for (key, value) in collection::entries(&source, collection.span)? {
                        let mut inner = Scope::within(scope);
                        inner.names.extend(key_name.clone().map(|name| (name, key)));
                        inner.names.insert(value_name.clone(), value);
                        let before = text.len();
                        self.add_parts(body, &inner, text)?;
                        self.charge((text.len() - before) as u64 + 8, collection.span)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn interpolated(&self, expr: &Expr, scope: &Scope<'_>) -> Evaluated<String> {
        const SUMMARY: &str = "Invalid template interpolation value";
        let value = self.eval(expr, scope)?;
        if value.is_null() {
            let detail = "The expression result is null. Cannot include a null value in a string template.";
            return fail(expr.span, SUMMARY, detail);
        }
        match convert(&value, &Type::String) {
            Ok(Value::String(text)) => Ok(text.to_string()),
            converted => {
                let problem = converted.err().unwrap_or_default();
                let detail = format!("Cannot include the given value in a string template: {problem}.");
                fail(expr.span, SUMMARY, detail)
            }
        }
    }

    /// The value of a condition.
    fn is_true(&self, condition: &Expr, scope: &Scope<'_>) -> Evaluated<bool> {
        let value = self.eval(condition, scope)?;
        if value.is_null() {
            let detail = "The condition value is null. Conditions must either be true or false.";
            return fail(condition.span, "Null condition", detail);
        }
        match convert(&value, &Type::Bool) {
            Ok(Value::Bool(is_true)) => Ok(is_true),
            _ => {
                let detail = "The condition expression must be of type bool.";
                fail(condition.span, "Incorrect condition type", detail)
            }
        }
    }

    /// Both arms have a say in the type; a mistake in the arm that is not chosen is none.
    fn conditional(&self, condition: &Expr, yes: &Expr, no: &Expr, scope: &Scope<'_>) -> Evaluated<Value> {
        let (yes_expr, no_expr) = (yes, no);
        let is_yes = self.is_true(condition, scope)?;
        let (chosen, other) = if is_yes { (yes, no) } else { (no, yes) };
        let value = self.eval(chosen, scope)?;
        let Ok(other) = self.eval(other, scope) else { return Ok(value) };
        if value.is_null() || other.is_null() {
            return Ok(value);
        }
        let Some(common) = unify(&[value.type_of(), other.type_of()]) else {
            let (yes, no) = if is_yes { (&value, &other) } else { (&other, &value) };
            let detail = format!(
                "The true and false result expressions must have consistent types. The 'true' value is {}, but the \
                 'false' value is {}.",
                yes.type_of(),
                no.type_of()
            );
            return fail(yes_expr.span.to(no_expr.span), "Inconsistent conditional result types", detail);
        };
        convert(&value, &common).map_err(|problem| {
            let detail = format!("The true result value has the wrong type: {problem}.");
            Diagnostic::new(chosen.span, "Inconsistent conditional result types", detail).into()
        })
    }
}
