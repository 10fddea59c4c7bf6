//! The syntax tree that both notations, HCL and its JSON form, are read into.

pub(crate) mod expression;
pub(crate) mod json;
pub(crate) mod native;
pub(crate) mod scanner;
pub(crate) mod template;

use crate::diagnostic::Span;
use crate::number::Number;

/// How deep brackets, templates and blocks may be nested.
pub(crate) const MAX_NESTING: usize = 100;

/// Attributes and blocks, in the order of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) blocks: Vec<Block>,
    /// Just behind the last item: where something that is missing would be.
    pub(crate) end: Span,
}

impl Body {
    pub(crate) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Attribute {
    pub(crate) name: String,
    pub(crate) name_span: Span,
    pub(crate) expr: Expr,
}

#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) kind: String,
    pub(crate) kind_span: Span,
    pub(crate) labels: Vec<(String, Span)>,
    /// `{`.
    pub(crate) open: Span,
    pub(crate) body: Body,
}

#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub(crate) kind: ExprKind,
    pub(crate) span: Span,
}

#[derive(Clone, Debug)]
pub(crate) enum ExprKind {
    Null,
    Bool(bool),
    Number(Number),
    /// A JSON text without `${`, or a key.
    Text(String),
    Template(Vec<Part>),
    /// A template that is a single `${…}`: the value itself.
    Wrapped(Box<Expr>),
    /// `root.attr[0]`.
    Traversal {
        root: String,
        root_span: Span,
        steps: Vec<Step>,
    },
    /// The same on the result of an expression.
    Relative {
        source: Box<Expr>,
        steps: Vec<Step>,
    },
    /// `list[*].attr`, or `list.*.attr`.
    Splat {
        source: Box<Expr>,
        steps: Vec<Step>,
    },
    Tuple(Vec<Expr>),
    Object(Vec<ObjectItem>),
    For(Box<For>),
    Call(Call),
    Unary {
        operator: UnaryOperator,
        operand: Box<Expr>,
    },
    Binary {
        operator: BinaryOperator,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    Conditional {
        condition: Box<Expr>,
        yes: Box<Expr>,
        no: Box<Expr>,
    },
    Parentheses(Box<Expr>),
}

#[derive(Clone, Debug)]
pub(crate) struct ObjectItem {
    pub(crate) key: Expr,
    pub(crate) value: Expr,
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) name_span: Span,
    pub(crate) arguments: Vec<Expr>,
    /// The last argument is spread: `f(list...)`.
    pub(crate) is_spread: bool,
    /// `)`.
    pub(crate) close: Span,
}

#[derive(Clone, Debug)]
pub(crate) struct For {
    pub(crate) key_name: Option<String>,
    pub(crate) value_name: String,
    pub(crate) collection: Expr,
    /// `Some` makes an object.
    pub(crate) key: Option<Expr>,
    pub(crate) value: Expr,
    pub(crate) condition: Option<Expr>,
    /// `...`: values of equal keys are collected.
    pub(crate) groups: bool,
}

/// One step into a value.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) kind: StepKind,
    pub(crate) span: Span,
}

#[derive(Clone, Debug)]
pub(crate) enum StepKind {
    Attribute(String),
    Index(Expr),
}

/// A piece of a template.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Text(String),
    Value(Expr),
    If { condition: Expr, yes: Vec<Part>, no: Vec<Part> },
    For { key_name: Option<String>, value_name: String, collection: Expr, body: Vec<Part> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnaryOperator {
    Not,
    Negate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BinaryOperator {
    Or,
    And,
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Expr {
    /// The place that a message about the whole expression points at.
    pub(crate) fn start(&self) -> Span {
        match &self.kind {
            ExprKind::Traversal { root_span, .. } => *root_span,
            // With the parenthesis.
            ExprKind::Call(call) => Span { end: call.name_span.end + 1, ..call.name_span },
            ExprKind::Binary { left, .. } => left.start(),
            ExprKind::Conditional { condition, .. } => condition.start(),
            ExprKind::Relative { source, .. } | ExprKind::Splat { source, .. } => source.start(),
            ExprKind::Tuple(_) | ExprKind::Object(_) | ExprKind::For(_) | ExprKind::Unary { .. } => {
                self.span.first_byte()
            }
            ExprKind::Template(parts) if !parts.is_empty() => {
                Span { start: self.span.start + 1, end: self.span.end.saturating_sub(1), ..self.span }
            }
            ExprKind::Wrapped(inner) | ExprKind::Parentheses(inner) => inner.start(),
            _ => self.span,
        }
    }

    /// The name, if the expression is nothing but a name: a keyword of a type, a parameter.
    pub(crate) fn keyword(&self) -> Option<&str> {
        match &self.kind {
            ExprKind::Traversal { root, steps, .. } if steps.is_empty() => Some(root),
            ExprKind::Bool(true) => Some("true"),
            ExprKind::Bool(false) => Some("false"),
            ExprKind::Null => Some("null"),
            _ => None,
        }
    }
}
