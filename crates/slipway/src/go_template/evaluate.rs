//! What does a template make of a value?

use serde_json::Value;

use super::functions::{self, Function};
use super::imagetools;
use super::parse::{Base, Command, Node, Operand, Pipeline};
use super::{Dialect, Shape, TemplateError, place};

/// One run of a template.
pub(super) struct Evaluation<'a> {
    text: &'a str,
    dialect: Dialect,
    root: &'a Value,
    shape: Shape,
    /// The value holds names of columns.
    is_header: bool,
    /// The innermost last.
    variables: Vec<(String, Value)>,
    written: String,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(text: &'a str, dialect: Dialect, data: &'a Value, shape: Shape, is_header: bool) -> Self {
        let variables = vec![("$".to_owned(), data.clone())];
        Evaluation { text, dialect, root: data, shape, is_header, variables, written: String::new() }
    }

    /// What is written.
    pub(super) fn run(mut self, nodes: &[Node]) -> Result<String, TemplateError> {
        self.nodes(nodes, self.root)?;
        Ok(self.written)
    }

    /// A scope of its own: variables that it declares are gone afterwards.
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<(), TemplateError> {
        let n_variables = self.variables.len();
        nodes.iter().try_for_each(|node| self.node(node, dot))?;
        self.variables.truncate(n_variables);
        Ok(())
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<(), TemplateError> {
        match node {
            Node::Text(text) => self.written.push_str(text),
            Node::Print(pipeline) => {
                let value = self.assigned(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    let text = self.nothing(pipeline, &value).unwrap_or_else(|| functions::printed(&value));
                    self.written.push_str(&text);
                }
            }
            Node::If { arms, otherwise } => {
                let n_variables = self.variables.len();
                let mut chosen = otherwise;
                for (condition, body) in arms {
                    if functions::is_true(&self.assigned(condition, dot)?) {
                        chosen = body;
                        break;
                    }
                }
                self.nodes(chosen, dot)?;
                self.variables.truncate(n_variables);
            }
            Node::With { value, body, otherwise } => {
                let n_variables = self.variables.len();
                let value = self.assigned(value, dot)?;
                match functions::is_true(&value) {
                    true => self.nodes(body, &value)?,
                    false => self.nodes(otherwise, dot)?,
                }
                self.variables.truncate(n_variables);
            }
            Node::Range { list, body, otherwise } => self.range(list, body, otherwise, dot)?,
        }
        Ok(())
    }

    /// What is printed for a field of a typed document that has no value.
    fn nothing(&self, pipeline: &Pipeline, value: &Value) -> Option<String> {
        let (Shape::Typed(types), Value::Null, [command]) = (self.shape, value, pipeline.commands.as_slice()) else {
            return None;
        };
        let [Operand { fields, .. }] = command.operands.as_slice() else { return None };
        let (name, before) = fields.split_last()?;
        Some(types.nothing(&name.0, before.last().map(|(name, _)| name.as_str())).to_owned())
    }

    fn range(&mut self, list: &Pipeline, body: &[Node], otherwise: &[Node], dot: &Value) -> Result<(), TemplateError> {
        let items: Vec<(Value, Value)> = match self.value(list, dot)? {
            Value::Null => Vec::new(),
            Value::Array(items) => items.into_iter().enumerate().map(|(i, item)| (Value::from(i), item)).collect(),
            Value::Object(map) => {
                let mut entries: Vec<_> = map.into_iter().map(|(key, item)| (Value::String(key), item)).collect();
                entries.sort_by(|(a, _), (b, _)| a.as_str().cmp(&b.as_str()));
                entries
            }
            other => {
                let reason = format!("range can't iterate over {}", functions::printed(&other));
                return Err(self.error(list.commands[0].span, reason));
            }
        };
        if items.is_empty() {
            return self.nodes(otherwise, dot);
        }
        let n_variables = self.variables.len();
        for (key, item) in items {
            let values = match list.variables.as_slice() {
                [] => Vec::new(),
                [only] => vec![(only.clone(), item.clone())],
                [index, value, ..] => vec![(index.clone(), key), (value.clone(), item.clone())],
            };
            self.variables.extend(values);
            self.nodes(body, &item)?;
            self.variables.truncate(n_variables);
        }
        Ok(())
    }

    /// The value, which its variables get.
    fn assigned(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let value = self.value(pipeline, dot)?;
        if let Some(name) = pipeline.variables.first() {
            let known = self.variables.iter_mut().rev().find(|(known, _)| known == name);
            match known.filter(|_| pipeline.is_assignment) {
                Some((_, slot)) => *slot = value.clone(),
                None => self.variables.push((name.clone(), value.clone())),
            }
        }
        Ok(value)
    }

    fn value(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let mut result: Option<Value> = None;
        for command in &pipeline.commands {
            result = Some(self.command(command, result, dot)?);
        }
        Ok(result.unwrap_or(Value::Null))
    }

    /// A command, whose last argument is what the one before it in the pipeline gave.
    fn command(&mut self, command: &Command, piped: Option<Value>, dot: &Value) -> Result<Value, TemplateError> {
        let Some((first, others)) = command.operands.split_first() else { return Ok(Value::Null) };
        let Base::Function(function) = first.base else {
            return match piped {
                None => self.operand(first, dot),
                Some(_) => {
                    let (start, end) = command.span;
                    let reason = format!("can't give argument to non-function {}", &self.text[start..end]);
                    Err(self.error(command.span, reason))
                }
            };
        };
        let mut arguments = Vec::new();
        for operand in others {
            arguments.push(self.operand(operand, dot)?);
            // What follows is not looked at, as in Go: `and .A .A.B` is safe.
            if function.is_decided_by(&arguments[arguments.len() - 1]) && piped.is_none() {
                break;
            }
        }
        arguments.extend(piped);
        let value = self.call(function, &arguments, command.span)?;
        self.fields(first, value)
    }

    fn call(&self, function: Function, arguments: &[Value], span: (usize, usize)) -> Result<Value, TemplateError> {
        if let Some(first) = arguments.first().filter(|_| self.is_header && function.is_for_cells()) {
            return Ok(first.clone());
        }
        if let ([value], Function::Json, Dialect::Imagetools) = (arguments, function, self.dialect) {
            return Ok(Value::String(imagetools::json(value, value == self.root)));
        }
        function
            .call(arguments)
            .map_err(|reason| self.error(span, format!("error calling {}: {reason}", function.name())))
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, TemplateError> {
        let value = match &operand.base {
            Base::Dot => dot.clone(),
            Base::Literal(value) => value.clone(),
            Base::Variable(name) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                found.map_or(Value::Null, |(_, value)| value.clone())
            }
            Base::Parentheses(pipeline) => self.value(pipeline, dot)?,
            Base::Function(function) => {
                let length = self.text[operand.start..].find(|c: char| !c.is_alphanumeric());
                let end = operand.start + length.unwrap_or(self.text.len() - operand.start);
                self.call(*function, &[], (operand.start, end))?
            }
        };
        self.fields(operand, value)
    }

    fn fields(&self, operand: &Operand, mut value: Value) -> Result<Value, TemplateError> {
        let is_of_root = matches!(operand.base, Base::Dot) && value == *self.root;
        for (index, (name, dot)) in operand.fields.iter().enumerate() {
            let found = match &mut value {
                Value::Object(map) => match self.dialect {
                    Dialect::Docker => map.get_mut(name).map(Value::take),
                    Dialect::Imagetools => imagetools::field(map, name),
                },
                Value::Null if self.dialect == Dialect::Imagetools => Some(Value::Null),
                _ => None,
            };
            let absent = || match self.shape {
                Shape::Typed(types) if matches!(value, Value::Object(_) | Value::Null) => {
                    types.absent(name, index.checked_sub(1).map(|before| operand.fields[before].0.as_str()))
                }
                _ => None,
            };
            let Some(found) = found.or_else(absent) else {
                let reason = match (&value, self.shape) {
                    (Value::Object(_), Shape::Struct(kind)) if is_of_root && index == 0 => {
                        format!("can't evaluate field {name} in type {kind}")
                    }
                    (Value::Object(_) | Value::Null, _) => format!("map has no entry for key {name:?}"),
                    (_, Shape::Typed(_)) => format!("can't evaluate field {name} in type interface {{}}"),
                    (other, _) => format!("can't evaluate field {name} in type {}", functions::type_name(other)),
                };
                let at = self.text[operand.start..dot + 1 + name.len()].to_owned();
                return Err(self.error_at(*dot, at, reason));
            };
            value = found;
        }
        Ok(value)
    }

    fn error(&self, span: (usize, usize), reason: String) -> TemplateError {
        self.error_at(span.0, self.text[span.0..span.1].to_owned(), reason)
    }

    fn error_at(&self, offset: usize, at: String, reason: String) -> TemplateError {
        let (line, column) = place(self.text, offset);
        TemplateError::Execute { line, column, at, reason }
    }
}
