//! What a Compose file says, as a tree: values with the place in the file that each came from.

use std::collections::BTreeMap;
use std::fmt;

use crate::go_number;

/// A place in one of the files that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Index in the list of files.
    pub(crate) file: usize,
    /// From 1.
    pub(crate) line: usize,
}

/// The entries of a mapping. Compose files give no meaning to their order.
pub type Map = BTreeMap<String, Node>;

/// A value and its place; an entry of a mapping has the place of its key.
#[derive(Clone, Debug)]
pub struct Node {
    pub value: Value,
    /// `None` for what no file says.
    pub mark: Option<Mark>,
    /// Tagged `!override`: nothing is merged into it.
    pub(crate) replaces: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    /// An integer beyond `i64`.
    Large(u64),
    Float(f64),
    Time(Time),
    Text(String),
    List(Vec<Node>),
    Map(Map),
    /// Tagged `!reset`: what earlier files say here goes.
    Reset,
}

/// An unquoted date, in the two spellings that it is printed in.
#[derive(Clone, Debug, PartialEq)]
pub struct Time {
    /// `2024-01-01T00:00:00Z`
    pub(crate) standard: String,
    /// `2024-01-01 00:00:00 +0000 UTC`
    pub(crate) spelled_out: String,
}

/// Two values are the same wherever they come from.
impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        self.value == other.value
    }
}

impl From<Value> for Node {
    fn from(value: Value) -> Node {
        Node { value, mark: None, replaces: false }
    }
}

impl From<Map> for Node {
    fn from(map: Map) -> Node {
        Value::Map(map).into()
    }
}

impl From<Vec<Node>> for Node {
    fn from(items: Vec<Node>) -> Node {
        Value::List(items).into()
    }
}

impl From<&str> for Node {
    fn from(text: &str) -> Node {
        Value::Text(text.to_owned()).into()
    }
}

impl From<String> for Node {
    fn from(text: String) -> Node {
        Value::Text(text).into()
    }
}

impl From<bool> for Node {
    fn from(flag: bool) -> Node {
        Value::Bool(flag).into()
    }
}

impl From<i64> for Node {
    fn from(number: i64) -> Node {
        Value::Int(number).into()
    }
}

impl Node {
    pub fn null() -> Node {
        Value::Null.into()
    }

    pub(crate) fn at(mut self, mark: Option<Mark>) -> Node {
        self.mark = mark;
        self
    }

    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// An entry of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.map()?.get(key)
    }

    /// The text of an entry of a mapping.
    pub fn text_of(&self, key: &str) -> Option<&str> {
        self.get(key)?.text()
    }

    pub fn is_true(&self) -> bool {
        self.value == Value::Bool(true)
    }

    /// The texts of a list; items of other kinds are left out.
    pub fn texts(&self) -> Vec<&str> {
        self.list().unwrap_or_default().iter().filter_map(Node::text).collect()
    }
}

impl Value {
    /// What a scalar is as text in `args`, `environment` and `labels`; nothing for null.
    pub fn spelled(&self) -> String {
        match self {
            Value::Null | Value::Reset | Value::List(_) | Value::Map(_) => String::new(),
            Value::Bool(flag) => flag.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Large(number) => number.to_string(),
            Value::Float(number) => go_number::plain(*number),
            Value::Time(time) => time.spelled_out.clone(),
            Value::Text(text) => text.clone(),
        }
    }
}

/// Where in the tree a value is: `services.web.build`. Items of lists are all called `[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path(Vec<String>);

impl Path {
    pub(crate) fn of(parts: &[&str]) -> Path {
        Path(parts.iter().map(|part| (*part).to_owned()).collect())
    }

    pub(crate) fn entry(&self, key: &str) -> Path {
        let mut parts = self.0.clone();
        parts.push(key.to_owned());
        Path(parts)
    }

    pub(crate) fn item(&self) -> Path {
        self.entry("[]")
    }

    pub(crate) fn parts(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}
