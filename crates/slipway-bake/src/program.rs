//! The names of a definition and what they stand for: each is evaluated when it is first asked for, and once
//! (`spec/bake.md` section 5).

mod functions;
mod instances;
mod overrides;
mod reference;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};

use crate::convert::convert;
use crate::diagnostic::{Diagnostic, Diagnostics, SourceFile, Span};
use crate::eval::{Evaluated, Scope, fail};
use crate::functions::{distance, is_standard};
use crate::syntax::{Attribute, Block, Body, Expr, ExprKind};
use crate::type_expression;
use crate::value::{Type, Value};

pub(crate) use functions::OwnFunction;
pub(crate) use instances::Instance;

/// What a definition may know of the world.
pub struct Inputs<'a> {
    /// Values given for variables, which win over the environment.
    pub variables: &'a [(String, String)],
    /// The environment, as far as the definition may see it.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// What `BAKE_CMD_CONTEXT` stands for: where the command was given, or the URL that it named for that.
    pub command_context: &'a str,
    /// The platform of this machine.
    pub local_platform: &'a str,
    /// The user's folder.
    pub home: &'a str,
    /// Seconds since 1970.
    pub now_seconds: i64,
    /// Sixteen new random bytes.
    pub random: &'a dyn Fn() -> [u8; 16],
}

#[derive(Clone)]
enum State {
    InProgress,
    Done(Value),
}

pub(crate) struct Program<'a> {
    pub(crate) files: &'a [SourceFile],
    pub(crate) inputs: &'a Inputs<'a>,
    /// The last block of each name.
    pub(crate) variables: BTreeMap<&'a str, &'a Block>,
    attributes: BTreeMap<&'a str, &'a Attribute>,
    pub(crate) functions: BTreeMap<&'a str, OwnFunction<'a>>,
    pub(crate) instances: Vec<Instance<'a>>,
    globals: RefCell<HashMap<String, State>>,
    decoded: RefCell<HashMap<(usize, String), State>>,
    /// The expression that messages about cycles point at.
    current: Cell<Span>,
    pub(crate) depth: Cell<usize>,
    pub(crate) work: Cell<u64>,
    /// Whether an expression may refer to targets and groups.
    pub(crate) sees_targets: Cell<bool>,
}

/// Names that blocks begin with, and no variables have.
const KEYWORDS: [&str; 4] = ["variable", "function", "group", "target"];

impl<'a> Program<'a> {
    /// Finds all names, and evaluates what says which targets there are.
    pub(crate) fn new(files: &'a [SourceFile], bodies: &'a [Body], inputs: &'a Inputs<'a>) -> Evaluated<Program<'a>> {
        let mut program = Program {
            files,
            inputs,
            variables: BTreeMap::new(),
            attributes: BTreeMap::new(),
            functions: BTreeMap::new(),
            instances: Vec::new(),
            globals: RefCell::default(),
            decoded: RefCell::default(),
            current: Cell::default(),
            depth: Cell::default(),
            work: Cell::default(),
            sees_targets: Cell::new(true),
        };
        let attributes = bodies.iter().flat_map(|body| &body.attributes);
        program.attributes.extend(attributes.map(|attribute| (attribute.name.as_str(), attribute)));
        program.attributes.retain(|name, _| !KEYWORDS.contains(name));
        for block in bodies.iter().flat_map(|body| &body.blocks) {
            if KEYWORDS.contains(&block.kind.as_str()) {
                only_label(block)?;
            }
            match block.kind.as_str() {
                "variable" => drop(program.variables.insert(&block.labels[0].0, block)),
                "function" if !is_standard(&block.labels[0].0) => {
                    program.functions.insert(&block.labels[0].0, functions::declared(block)?);
                }
                _ => {}
            }
        }
        program.refuse_recursion()?;
        program.refuse_unknown_names()?;
        for block in bodies.iter().flat_map(|body| &body.blocks) {
            if let "target" | "group" = block.kind.as_str() {
                program.add_instances(block)?;
            }
        }
        Ok(program)
    }

    /// Evaluates all variables and global attributes, wanted or not, and then their rules.
    pub(crate) fn check_globals(&self) -> Evaluated<()> {
        for name in self.variables.keys().chain(self.attributes.keys()) {
            self.global(name, Span::default())?;
        }
        let mut found = Vec::new();
        self.sees_targets.set(false);
        for block in self.variables.values() {
            for rule in block.body.blocks.iter().filter(|rule| rule.kind == "validation") {
                if let Err(diagnostics) = self.validate(rule) {
                    found.extend(diagnostics.0);
                }
            }
        }
        self.sees_targets.set(true);
        if found.is_empty() { Ok(()) } else { Err(Diagnostics(found)) }
    }

    fn validate(&self, rule: &Block) -> Evaluated<()> {
        const NO_RESULT: &str = "Condition expression must return either true or false, not null.";
        let Some(condition) = rule.body.attribute("condition") else {
            return fail(self.start_of_body(rule), "Invalid condition result", NO_RESULT);
        };
        let value = self.eval(&condition.expr, &Scope::default())?;
        let span = condition.expr.span;
        if value.is_null() {
            return fail(span, "Invalid condition result", NO_RESULT);
        }
        match convert(&value, &Type::Bool) {
            Ok(Value::Bool(true)) => Ok(()),
            Ok(_) => {
                let message = rule.body.attribute("error_message");
                let text = message.map(|message| self.eval(&message.expr, &Scope::default())).transpose()?;
                let text = text.as_ref().and_then(Value::as_str).filter(|text| !text.is_empty());
                fail(span, "Validation failed", text.unwrap_or("This check failed, but has an invalid error message."))
            }
            Err(problem) => {
                let detail = format!("Invalid condition result value: {problem}");
                fail(span, "Invalid condition result", detail)
            }
        }
    }

    /// Evaluates an expression that stands alone; messages about cycles point at it.
    pub(crate) fn eval_whole(&self, expr: &Expr, scope: &Scope<'_>) -> Evaluated<Value> {
        let before = self.current.replace(expr.span);
        let value = self.eval(expr, scope);
        self.current.set(before);
        value
    }

    /// Refuses the whole expression that is being evaluated.
    pub(crate) fn invalid<T>(&self, what: &str) -> Evaluated<T> {
        fail(self.current.get(), "Invalid expression", what)
    }

    fn is_global(&self, name: &str) -> bool {
        matches!(name, "BAKE_CMD_CONTEXT" | "BAKE_LOCAL_PLATFORM")
            || self.variables.contains_key(name)
            || self.attributes.contains_key(name)
    }

    /// The value of a global name; `None` if there is none.
    pub(crate) fn global(&self, name: &str, _span: Span) -> Evaluated<Option<Value>> {
        match name {
            "BAKE_CMD_CONTEXT" => return Ok(Some(Value::string(self.inputs.command_context))),
            "BAKE_LOCAL_PLATFORM" => return Ok(Some(Value::string(self.inputs.local_platform))),
            _ => {}
        }
        let (variable, attribute) = (self.variables.get(name), self.attributes.get(name));
        if variable.is_none() && attribute.is_none() {
            return Ok(None);
        }
        let known = self.globals.borrow().get(name).cloned();
        match known {
            Some(State::Done(value)) => return Ok(Some(value)),
            Some(State::InProgress) => return self.invalid(&format!("variable cycle not allowed for {name}")),
            None => {}
        }
        self.globals.borrow_mut().insert(name.to_owned(), State::InProgress);
        let default = attribute.copied().or_else(|| variable.and_then(|block| block.body.attribute("default")));
        let value = self.resolve_global(name, variable.copied(), default);
        match &value {
            Ok(value) => self.globals.borrow_mut().insert(name.to_owned(), State::Done(value.clone())),
            // Asked again, it fails in the same way.
            Err(_) => self.globals.borrow_mut().remove(name),
        };
        value.map(Some)
    }

    fn resolve_global(&self, name: &str, variable: Option<&Block>, default: Option<&Attribute>) -> Evaluated<Value> {
        // Variables come before targets, but for those that global attributes stand for.
        let sees_targets = self.sees_targets.replace(variable.is_none());
        let default = default.map(|default| self.eval_whole(&default.expr, &Scope::default())).transpose();
        self.sees_targets.set(sees_targets);
        let default = default?;
        let Some(block) = variable else { return Ok(default.unwrap_or_else(Value::null)) };
        let ty = type_attribute(block).map(|ty| type_expression::parse(&ty.expr)).transpose()?;
        let place = self.start_of_body(block);
        let default = match (&ty, default) {
            (Some(ty), Some(default)) => Some(convert(&default, ty).map_err(|problem| {
                let detail = format!("invalid type {ty} for variable {name} default value: {problem}");
                Diagnostic::new(place, "Invalid value", detail)
            })?),
            (_, default) => default,
        };
        let given = self.given_value(name, ty.as_ref(), default.as_ref());
        let given = given.map_err(|problem| Diagnostic::new(place, "Invalid value", problem))?;
        Ok(given.or(default).unwrap_or_else(|| match ty {
            Some(ty) => Value::Null(ty),
            None => Value::string(""),
        }))
    }

    /// The declared type of a variable, if it has one.
    pub(crate) fn declared_type(&self, name: &str) -> Option<Type> {
        let block = self.variables.get(name)?;
        type_expression::parse(&type_attribute(block)?.expr).ok()
    }

    pub(crate) fn similar_variable(&self, name: &str) -> Option<&'a str> {
        self.variables.keys().chain(self.attributes.keys()).copied().find(|other| distance(name, other) < 3)
    }
}

/// Where a variable says its type; null says nothing.
fn type_attribute(block: &Block) -> Option<&Attribute> {
    block.body.attribute("type").filter(|ty| !matches!(ty.expr.kind, ExprKind::Null))
}

/// Refuses blocks with more labels than one, or none.
fn only_label(block: &Block) -> Evaluated<()> {
    let kind = &block.kind;
    match &block.labels[..] {
        [_] => Ok(()),
        [] => {
            let detail = format!("All {kind} blocks must have 1 labels (name).");
            fail(block.open, &format!("Missing name for {kind}"), detail)
        }
        [_, extra, ..] => {
            let detail = format!("Only 1 labels (name) are expected for {kind} blocks.");
            fail(extra.1, &format!("Extraneous label for {kind}"), detail)
        }
    }
}

impl Program<'_> {
    /// Refuses a group without a list.
    pub(crate) fn missing_targets<T>(&self, block: &Block) -> Evaluated<T> {
        self.missing(block, "targets")
    }

    fn missing<T>(&self, block: &Block, name: &str) -> Evaluated<T> {
        let detail = format!("The argument {name:?} is required, but no definition was found.");
        fail(self.start_of_body(block), "Missing required argument", detail)
    }

    /// Where messages about a block as a whole point to: its brace, or its attribute if it has but one line.
    fn start_of_body(&self, block: &Block) -> Span {
        // A block of a JSON file is known by its end.
        if self.files[block.open.file].text.get(block.open.start..block.open.end) == Some("}") {
            return block.open;
        }
        let is_on_line = |attribute: &&Attribute| {
            let between = block.open.start..attribute.name_span.start;
            self.files[block.open.file].text.get(between).is_some_and(|text| !text.contains('\n'))
        };
        let only = block.body.attributes.first().filter(is_on_line);
        let place = only.map_or(block.open, |attribute| attribute.name_span);
        Span { end: place.start, ..place }
    }
}
