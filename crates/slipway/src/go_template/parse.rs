//! What does the text of a template say? Values are looked at by `evaluate.rs` only.

use serde_json::Value;

use super::functions::Function;
use super::{Dialect, TemplateError, place};

/// More parentheses or blocks than anybody writes; each takes stack.
const MAX_DEPTH: usize = 100;

/// A piece of a template.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(String),
    Print(Pipeline),
    /// `if` and its `else if`s, then what `else` stands before.
    If {
        arms: Vec<(Pipeline, Vec<Node>)>,
        otherwise: Vec<Node>,
    },
    With {
        value: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Range {
        list: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
}

/// Commands with `|` between them, perhaps given to variables.
#[derive(Clone, Debug, Default)]
pub(super) struct Pipeline {
    /// At most one; for `range` two. Nothing is printed if there are any.
    pub(super) variables: Vec<String>,
    /// `=` instead of `:=`.
    pub(super) is_assignment: bool,
    pub(super) commands: Vec<Command>,
}

/// One or more operands; of several, the first is a function.
#[derive(Clone, Debug)]
pub(super) struct Command {
    /// Its bytes in the template.
    pub(super) span: (usize, usize),
    pub(super) operands: Vec<Operand>,
}

/// A value, and the fields that are taken from it one after the other, each with the byte of its dot.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    pub(super) start: usize,
    pub(super) base: Base,
    pub(super) fields: Vec<(String, usize)>,
}

#[derive(Clone, Debug)]
pub(super) enum Base {
    Dot,
    Variable(String),
    Literal(Value),
    Function(Function),
    Parentheses(Pipeline),
}

/// What ends a list of nodes: that of the text, `end` or `else`.
enum End {
    Text,
    Block,
    Else,
    /// With the condition.
    ElseIf(Pipeline),
}

pub(super) fn parse(text: &str, dialect: Dialect) -> Result<Vec<Node>, TemplateError> {
    let mut parser = Parser { text, dialect, at: 0, trims_next: false, variables: vec!["$".to_owned()], depth: 0 };
    match parser.nodes()? {
        (nodes, End::Text) => Ok(nodes),
        (_, End::Block) => Err(parser.error("unexpected {{end}}")),
        (_, End::Else | End::ElseIf(_)) => Err(parser.error("unexpected {{else}}")),
    }
}

struct Parser<'a> {
    text: &'a str,
    dialect: Dialect,
    /// The next byte.
    at: usize,
    /// The action before ended in `-}}`.
    trims_next: bool,
    /// Those that can be seen here, the innermost last.
    variables: Vec<String>,
    depth: usize,
}

impl Parser<'_> {
    fn error(&self, reason: impl Into<String>) -> TemplateError {
        TemplateError::Parse { line: place(self.text, self.at).0, reason: reason.into() }
    }

    fn nodes(&mut self) -> Result<(Vec<Node>, End), TemplateError> {
        self.deeper()?;
        let n_variables = self.variables.len();
        let mut nodes = Vec::new();
        let end = loop {
            let rest = &self.text[self.at..];
            let (plain, is_last) = match rest.find("{{") {
                Some(length) => (&rest[..length], false),
                None => (rest, true),
            };
            self.at += plain.len();
            let mut plain = if self.trims_next { plain.trim_start() } else { plain };
            self.trims_next = false;
            let after = &self.text[self.at..];
            let trims = after.strip_prefix("{{-").is_some_and(|rest| rest.starts_with(char::is_whitespace));
            if !is_last && trims {
                plain = plain.trim_end();
            }
            if !plain.is_empty() {
                nodes.push(Node::Text(plain.to_owned()));
            }
            if is_last {
                break End::Text;
            }
            self.at += if trims { 3 } else { 2 };
            match self.action()? {
                Ok(node) => nodes.extend(node),
                Err(end) => break end,
            }
        };
        self.variables.truncate(n_variables);
        self.depth -= 1;
        Ok((nodes, end))
    }

    fn deeper(&mut self) -> Result<(), TemplateError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(self.error("nested too deeply")) } else { Ok(()) }
    }

    /// From behind `{{` to behind `}}`, with the whole block if one begins here.
    fn action(&mut self) -> Result<Result<Option<Node>, End>, TemplateError> {
        if let Some(rest) = self.text[self.at..].trim_start().strip_prefix("/*") {
            let end = rest.find("*/").ok_or_else(|| self.error("unclosed comment"))?;
            self.at = self.text.len() - rest.len() + end + 2;
            self.close()?;
            return Ok(Ok(None));
        }
        self.blanks();
        let start = self.at;
        let word = self.word();
        match word.as_str() {
            "end" => {
                self.close()?;
                Ok(Err(End::Block))
            }
            "else" => {
                self.blanks();
                let is_if = self.text[self.at..].starts_with("if");
                if !is_if {
                    self.close()?;
                    return Ok(Err(End::Else));
                }
                self.at += "if".len();
                let condition = self.pipeline(1)?;
                self.close()?;
                Ok(Err(End::ElseIf(condition)))
            }
            "if" | "with" | "range" => {
                let n_variables = self.variables.len();
                let pipeline = self.pipeline(if word == "range" { 2 } else { 1 })?;
                self.close()?;
                let node = match word.as_str() {
                    "if" => self.conditional(pipeline)?,
                    word => {
                        let (body, otherwise) = self.body_and_else()?;
                        match word {
                            "with" => Node::With { value: pipeline, body, otherwise },
                            _ => Node::Range { list: pipeline, body, otherwise },
                        }
                    }
                };
                self.variables.truncate(n_variables);
                Ok(Ok(Some(node)))
            }
            "define" | "template" | "block" | "break" | "continue" => {
                Err(self.error(format!("{word} is not supported")))
            }
            _ => {
                self.at = start;
                let pipeline = self.pipeline(1)?;
                self.close()?;
                Ok(Ok(Some(Node::Print(pipeline))))
            }
        }
    }

    fn conditional(&mut self, condition: Pipeline) -> Result<Node, TemplateError> {
        let mut arms = Vec::new();
        let mut condition = condition;
        loop {
            let (body, end) = self.nodes()?;
            arms.push((condition, body));
            match end {
                End::Block => return Ok(Node::If { arms, otherwise: Vec::new() }),
                End::ElseIf(next) => condition = next,
                End::Else => return Ok(Node::If { arms, otherwise: self.last_body()? }),
                End::Text => return Err(self.error("unexpected EOF")),
            }
        }
    }

    fn body_and_else(&mut self) -> Result<(Vec<Node>, Vec<Node>), TemplateError> {
        let (body, end) = self.nodes()?;
        match end {
            End::Block => Ok((body, Vec::new())),
            End::Else => Ok((body, self.last_body()?)),
            End::ElseIf(_) => Err(self.error("unexpected <if> in {{else}}")),
            End::Text => Err(self.error("unexpected EOF")),
        }
    }

    fn last_body(&mut self) -> Result<Vec<Node>, TemplateError> {
        match self.nodes()? {
            (body, End::Block) => Ok(body),
            (_, End::Text) => Err(self.error("unexpected EOF")),
            (_, End::Else | End::ElseIf(_)) => Err(self.error("expected end; found {{else}}")),
        }
    }

    /// The end of an action.
    fn close(&mut self) -> Result<(), TemplateError> {
        self.blanks();
        let is_spaced = self.text[..self.at].ends_with(char::is_whitespace);
        let rest = &self.text[self.at..];
        if is_spaced && rest.starts_with("-}}") {
            self.at += 3;
            self.trims_next = true;
            return Ok(());
        }
        if rest.starts_with("}}") {
            self.at += 2;
            return Ok(());
        }
        match rest.chars().next() {
            None => Err(self.error("unclosed action")),
            Some(c) => Err(self.error(format!("unexpected {:?} in operand", c.to_string()))),
        }
    }

    /// Commands up to `}}` or `)`. `max_variables` may stand in front.
    fn pipeline(&mut self, max_variables: usize) -> Result<Pipeline, TemplateError> {
        self.deeper()?;
        let mut pipeline = Pipeline::default();
        self.declaration(&mut pipeline, max_variables)?;
        loop {
            pipeline.commands.push(self.command()?);
            self.blanks();
            if !self.text[self.at..].starts_with('|') {
                break;
            }
            self.at += 1;
        }
        if !pipeline.is_assignment {
            self.variables.extend(pipeline.variables.iter().cloned());
        }
        self.depth -= 1;
        Ok(pipeline)
    }

    /// `$a :=`, `$a =`, `$i, $a :=`; nothing is taken if it is none of these.
    fn declaration(&mut self, pipeline: &mut Pipeline, max_variables: usize) -> Result<(), TemplateError> {
        let start = self.at;
        let mut names = Vec::new();
        loop {
            self.blanks();
            if !self.text[self.at..].starts_with('$') {
                break;
            }
            self.at += 1;
            names.push(format!("${}", self.word()));
            self.blanks();
            if names.len() == max_variables || !self.text[self.at..].starts_with(',') {
                break;
            }
            self.at += 1;
        }
        let rest = &self.text[self.at..];
        let length = if rest.starts_with(":=") { 2 } else { usize::from(rest.starts_with('=')) };
        if names.is_empty() || length == 0 {
            self.at = start;
            return Ok(());
        }
        pipeline.is_assignment = length == 1;
        if let Some(unknown) = names.iter().find(|name| pipeline.is_assignment && !self.variables.contains(name)) {
            return Err(self.error(format!("undefined variable {unknown:?}")));
        }
        pipeline.variables = names;
        self.at += length;
        Ok(())
    }

    fn command(&mut self) -> Result<Command, TemplateError> {
        self.blanks();
        let start = self.at;
        let mut operands = Vec::new();
        let mut end = start;
        loop {
            self.blanks();
            let rest = &self.text[self.at..];
            let is_trimmed_end = rest.starts_with("-}}") && end < self.at;
            if is_trimmed_end || rest.is_empty() || rest.starts_with("}}") || rest.starts_with(['|', ')']) {
                break;
            }
            operands.push(self.operand()?);
            end = self.at;
        }
        match operands.first() {
            None if self.at == self.text.len() => Err(self.error("unclosed action")),
            None => Err(self.error("missing value for command")),
            Some(first) if operands.len() > 1 && !matches!(first.base, Base::Function(_)) => {
                Err(self.error(format!("can't give argument to non-function {}", &self.text[start..end])))
            }
            Some(_) => Ok(Command { span: (start, end), operands }),
        }
    }

    fn operand(&mut self) -> Result<Operand, TemplateError> {
        let start = self.at;
        let rest = &self.text[start..];
        let first = rest.chars().next().ok_or_else(|| self.error("unclosed action"))?;
        let base = match first {
            '.' => {
                // The dot is read again in front of the first field.
                let is_field = rest[1..].starts_with(|c: char| c.is_alphabetic() || c == '_');
                self.at += usize::from(!is_field);
                Base::Dot
            }
            '$' => {
                self.at += 1;
                let name = format!("${}", self.word());
                if !self.variables.contains(&name) {
                    return Err(self.error(format!("undefined variable {name:?}")));
                }
                Base::Variable(name)
            }
            '(' => {
                self.at += 1;
                let inner = self.pipeline(1)?;
                self.blanks();
                if !self.text[self.at..].starts_with(')') {
                    return Err(self.error("unclosed left paren"));
                }
                self.at += 1;
                Base::Parentheses(inner)
            }
            '"' | '`' | '\'' => Base::Literal(self.quoted(first)?),
            '0'..='9' | '+' | '-' => Base::Literal(self.number()?),
            c if c.is_alphabetic() || c == '_' => self.named()?,
            c => return Err(self.error(format!("unexpected {:?} in operand", c.to_string()))),
        };
        let mut fields = Vec::new();
        while self.text[self.at..].starts_with('.') {
            let dot = self.at;
            self.at += 1;
            let name = self.word();
            if name.is_empty() {
                return Err(self.error("unexpected <.> in operand"));
            }
            fields.push((name, dot));
        }
        Ok(Operand { start, base, fields })
    }

    fn named(&mut self) -> Result<Base, TemplateError> {
        let name = self.word();
        Ok(match name.as_str() {
            "true" | "false" => Base::Literal(Value::Bool(name == "true")),
            "nil" => Base::Literal(Value::Null),
            _ => {
                let function = Function::named(&name).filter(|function| function.is_of(self.dialect));
                Base::Function(function.ok_or_else(|| self.error(format!("function {name:?} not defined")))?)
            }
        })
    }

    fn quoted(&mut self, quote: char) -> Result<Value, TemplateError> {
        let mut text = String::new();
        let mut chars = self.text[self.at + 1..].char_indices();
        while let Some((index, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.at += index + 2;
                    // A character is its number.
                    return Ok(match (quote, text.chars().next()) {
                        ('\'', Some(only)) => Value::from(u32::from(only)),
                        _ => Value::String(text),
                    });
                }
                '\\' if quote != '`' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, c @ ('\\' | '"' | '\''))) => text.push(c),
                    _ => return Err(self.error("invalid syntax")),
                },
                '\n' if quote != '`' => break,
                c => text.push(c),
            }
        }
        Err(self.error(if quote == '`' { "unterminated raw quoted string" } else { "unterminated quoted string" }))
    }

    fn number(&mut self) -> Result<Value, TemplateError> {
        let rest = &self.text[self.at..];
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"+-._".contains(c)).unwrap_or(rest.len());
        let typed = &rest[..length];
        let value = match typed.trim_start_matches('+') {
            text if text.contains(['.', 'e']) => text.parse::<f64>().ok().map(Value::from),
            text => text.parse::<i64>().ok().map(Value::from),
        };
        let value = value.ok_or_else(|| self.error(format!("bad number syntax: {typed:?}")))?;
        self.at += length;
        Ok(value)
    }

    fn word(&mut self) -> String {
        let rest = &self.text[self.at..];
        let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        self.at += length;
        rest[..length].to_owned()
    }

    fn blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }
}
