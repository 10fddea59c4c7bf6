//! Calls: the standard functions (`spec/bake.md` section 6) and those of the definition.

mod collection;
mod encoding;
mod encryption;
mod format;
mod network;
mod numeric;
mod pattern;
mod sets;
mod text;
mod time;
mod version;

pub(crate) use encoding::{from_json, to_json};
pub(crate) use text::clean_path;

use crate::convert::convert;
use crate::diagnostic::{Diagnostic, Located, place_text};
use crate::eval::{Evaluated, Scope, all, fail};
use crate::number::Number;
use crate::program::Program;
use crate::syntax::{Call, Expr};
use crate::value::{Type, Value};

/// A standard function.
pub(crate) struct Function {
    pub(crate) name: &'static str,
    parameters: &'static [Parameter],
    /// Takes all further arguments.
    rest: Option<Parameter>,
    run: fn(&[Value], &Program<'_>) -> Answer,
}

/// What a function is given at one place.
#[derive(Clone, Copy)]
pub(crate) struct Parameter {
    name: &'static str,
    kind: Kind,
    takes_null: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Any,
    Text,
    Number,
    Bool,
    Texts,
    /// A list whose items have one type, whichever.
    List,
    Set,
}

/// Why a function gives no value.
pub(crate) enum Problem {
    /// The argument with this index is to blame.
    Argument(usize, String),
    Call(String),
}

pub(crate) type Answer = Result<Value, Problem>;

impl From<String> for Problem {
    fn from(text: String) -> Problem {
        Problem::Call(text)
    }
}

impl From<&str> for Problem {
    fn from(text: &str) -> Problem {
        Problem::Call(text.to_owned())
    }
}

const fn any(name: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Any, takes_null: false }
}

const fn nullable(name: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Any, takes_null: true }
}

const fn text(name: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Text, takes_null: false }
}

const fn number(name: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Number, takes_null: false }
}

const fn boolean(name: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Bool, takes_null: false }
}

const fn texts(name: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Texts, takes_null: false }
}

const fn list(name: &'static str) -> Parameter {
    Parameter { name, kind: Kind::List, takes_null: false }
}

const fn set(name: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Set, takes_null: false }
}

const fn fixed(
    name: &'static str,
    parameters: &'static [Parameter],
    run: fn(&[Value], &Program<'_>) -> Answer,
) -> Function {
    Function { name, parameters, rest: None, run }
}

const fn variadic(
    name: &'static str,
    parameters: &'static [Parameter],
    rest: Parameter,
    run: fn(&[Value], &Program<'_>) -> Answer,
) -> Function {
    Function { name, parameters, rest: Some(rest), run }
}

/// Functions that look at their arguments before they are evaluated.
const SPECIAL: [&str; 3] = ["can", "convert", "try"];

fn tables() -> impl Iterator<Item = &'static Function> {
    [
        collection::FUNCTIONS,
        encoding::FUNCTIONS,
        encryption::FUNCTIONS,
        format::FUNCTIONS,
        network::FUNCTIONS,
        numeric::FUNCTIONS,
        pattern::FUNCTIONS,
        sets::FUNCTIONS,
        text::FUNCTIONS,
        time::FUNCTIONS,
        version::FUNCTIONS,
    ]
    .into_iter()
    .flatten()
}

/// Whether the language has a function of this name.
pub(crate) fn is_standard(name: &str) -> bool {
    SPECIAL.contains(&name) || tables().any(|function| function.name == name)
}

/// The text of an argument that its parameter has made one.
fn str_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number_of(value: &Value) -> Number {
    match value {
        Value::Number(number) => number.clone(),
        _ => Number::from_i64(0),
    }
}

fn bool_of(value: &Value) -> bool {
    matches!(value, Value::Bool(true))
}

/// The whole number of an argument.
fn whole(arguments: &[Value], index: usize) -> Result<i64, String> {
    let number = number_of(&arguments[index]);
    let problem = || format!("value must be a whole number, between {} and {}", i64::MIN, i64::MAX);
    number.to_i64().ok_or_else(problem)
}

/// The items of a list or tuple.
fn sequence(value: &Value) -> Option<&[Value]> {
    if matches!(value, Value::Set(..)) { None } else { value.items() }
}

/// The items of an argument that its parameter has made a list or set.
fn items_of(value: &Value) -> &[Value] {
    value.items().unwrap_or_default()
}

impl Program<'_> {
    pub(crate) fn call(&self, call: &Call, scope: &Scope<'_>) -> Evaluated<Value> {
        match call.name.as_str() {
            "try" => return self.first_that_works(call, scope),
            "can" => {
                self.check_count(call, &["expression"], false, call.arguments.len())?;
                return Ok(Value::Bool(self.attempt(&call.arguments[0], scope).is_ok()));
            }
            "convert" => return self.convert_call(call, scope),
            _ => {}
        }
        let standard = tables().find(|function| function.name == call.name);
        if standard.is_none() && !self.functions.contains_key(call.name.as_str()) {
            let hint = self.similar_function(&call.name).map(|name| format!(" Did you mean {name:?}?"));
            let detail = format!("There is no function named {:?}.{}", call.name, hint.unwrap_or_default());
            return fail(call.name_span, "Call to unknown function", detail);
        }
        let (names, is_variadic) = match standard {
            Some(function) => (function.parameters.iter().map(|own| own.name).collect(), function.rest.is_some()),
            None => {
                let own = &self.functions[call.name.as_str()];
                (own.parameters.iter().map(String::as_str).collect::<Vec<_>>(), own.rest.is_some())
            }
        };
        if !call.is_spread {
            self.check_count(call, &names, is_variadic, call.arguments.len())?;
        }
        let arguments = self.arguments(call, scope)?;
        self.check_count(call, &names, is_variadic, arguments.len())?;
        let value = match standard {
            Some(function) => self.call_standard(function, call, arguments),
            None => self.call_own(call, arguments),
        }?;
        self.charge(value.weight(), call.name_span)?;
        Ok(value)
    }

    fn arguments(&self, call: &Call, scope: &Scope<'_>) -> Evaluated<Vec<Value>> {
        let mut values = all(call.arguments.iter().map(|argument| self.eval(argument, scope)))?;
        if call.is_spread
            && let (Some(last), Some(expr)) = (values.pop(), call.arguments.last())
        {
            let Some(items) = last.items() else {
                let detail = "The expanding argument (indicated by ...) must be of a tuple, list, or set type.";
                return fail(expr.span, "Invalid expanding argument value", detail);
            };
            values.extend_from_slice(items);
        }
        Ok(values)
    }

    fn check_count(&self, call: &Call, names: &[&str], is_variadic: bool, n_given: usize) -> Evaluated<()> {
        let n_wanted = names.len();
        if n_given < n_wanted {
            let qualifier = if is_variadic { "at least " } else { "" };
            let (name, missing) = (&call.name, names[n_given]);
            let detail =
                format!("Function {name:?} expects {qualifier}{n_wanted} argument(s). Missing value for {missing:?}.");
            return fail(call.close, "Not enough function arguments", detail);
        }
        if n_given > n_wanted && !is_variadic {
            let last = call.arguments.len().saturating_sub(1);
            let span = match call.arguments.get(n_wanted.min(last)) {
                Some(list) if call.is_spread && n_wanted >= last => list.span,
                argument => argument.map_or(call.close, Expr::start),
            };
            let detail = format!("Function {:?} expects only {n_wanted} argument(s).", call.name);
            return fail(span, "Too many function arguments", detail);
        }
        Ok(())
    }

    fn call_standard(&self, function: &Function, call: &Call, mut arguments: Vec<Value>) -> Evaluated<Value> {
        let parameter = |index: usize| function.parameters.get(index).copied().or(function.rest);
        let refused = |index: usize, problem: &str| {
            let span = call.arguments.get(index).or(call.arguments.last()).map_or(call.name_span, Expr::start);
            let name = parameter(index).map_or("", |parameter| parameter.name);
            let detail = format!("Invalid value for {name:?} parameter: {problem}.");
            fail(span, "Invalid function argument", detail)
        };
        for (index, argument) in arguments.iter_mut().enumerate() {
            let Some(parameter) = parameter(index) else { continue };
            let ty = match parameter.kind {
                Kind::Any => Type::Dynamic,
                Kind::Text => Type::String,
                Kind::Number => Type::Number,
                Kind::Bool => Type::Bool,
                Kind::Texts => Type::List(Box::new(Type::String)),
                Kind::List => Type::List(Box::new(Type::Dynamic)),
                Kind::Set => Type::Set(Box::new(Type::Dynamic)),
            };
            match convert(argument, &ty) {
                Ok(value) if value.is_null() && !parameter.takes_null => {
                    return refused(index, "argument must not be null");
                }
                Ok(value) => *argument = value,
                Err(problem) => return refused(index, &problem),
            }
        }
        match (function.run)(&arguments, self) {
            Ok(value) => Ok(value),
            Err(Problem::Argument(index, problem)) => refused(index, &problem),
            Err(Problem::Call(problem)) => self.failed_call(call, &problem),
        }
    }

    fn failed_call(&self, call: &Call, problem: &str) -> Evaluated<Value> {
        let mut span = call.name_span;
        span.end += 1;
        let detail = format!("Call to function {:?} failed: {problem}.", call.name);
        fail(span, "Error in function call", detail)
    }

    /// A function of the definition sees its parameters and global names.
    fn call_own(&self, call: &Call, arguments: Vec<Value>) -> Evaluated<Value> {
        let function = &self.functions[call.name.as_str()];
        if let Some(index) = arguments.iter().position(Value::is_null) {
            let span = call.arguments.get(index).or(call.arguments.last()).map_or(call.name_span, Expr::start);
            let name = function.parameters.get(index).or(function.rest.as_ref()).map_or("", String::as_str);
            let detail = format!("Invalid value for {name:?} parameter: argument must not be null.");
            return fail(span, "Invalid function argument", detail);
        }
        let mut scope = Scope::default();
        let mut arguments = arguments.into_iter();
        scope.names.extend(function.parameters.iter().cloned().zip(arguments.by_ref()));
        if let Some(rest) = &function.rest {
            scope.names.insert(rest.clone(), Value::tuple(arguments.collect()));
        }
        self.eval(function.result, &scope).or_else(|diagnostics| match diagnostics.0.first() {
            Some(diagnostic) => {
                let problem = Located { diagnostic, files: self.files }.to_string();
                self.failed_call(call, &problem)
            }
            None => Err(diagnostics),
        })
    }

    /// The value of an expression that may fail.
    fn attempt(&self, expr: &Expr, scope: &Scope<'_>) -> Evaluated<Value> {
        let depth = self.depth.get();
        let value = self.eval(expr, scope);
        // An evaluation that was given up did not count back.
        self.depth.set(depth);
        value
    }

    fn first_that_works(&self, call: &Call, scope: &Scope<'_>) -> Evaluated<Value> {
        if call.arguments.is_empty() {
            return self.failed_call(call, "at least one argument is required");
        }
        let mut failures = String::new();
        for expr in &call.arguments {
            match self.attempt(expr, scope) {
                Ok(value) => return Ok(value),
                Err(diagnostics) => diagnostics.0.iter().for_each(|Diagnostic { summary, span, detail, .. }| {
                    let place = span.and_then(|span| place_text(span, self.files)).unwrap_or_default();
                    failures += &format!("- {summary} (at {place})\n  {detail}\n");
                }),
            }
        }
        let problem =
            format!("no expression succeeded:\n{failures}\nAt least one expression must produce a successful result");
        self.failed_call(call, &problem)
    }

    fn convert_call(&self, call: &Call, scope: &Scope<'_>) -> Evaluated<Value> {
        self.check_count(call, &["value", "type"], false, call.arguments.len())?;
        let ty = crate::type_expression::parse(&call.arguments[1])?;
        let value = self.eval(&call.arguments[0], scope)?;
        convert(&value, &ty).map_err(|problem| {
            let detail = format!("Invalid value for \"value\" parameter: {problem}.");
            Diagnostic::new(call.arguments[0].start(), "Invalid function argument", detail).into()
        })
    }

    fn similar_function(&self, name: &str) -> Option<String> {
        let mut known: Vec<&str> = tables().map(|function| function.name).chain(SPECIAL).collect();
        known.extend(self.functions.keys().copied());
        known.sort_unstable();
        known.into_iter().find(|other| distance(name, other) < 3).map(str::to_owned)
    }
}

/// How many letters must be added, dropped or changed to make `a` of `b`.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
