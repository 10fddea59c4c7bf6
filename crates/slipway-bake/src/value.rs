//! The values that expressions come to, and their types.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use crate::number::Number;

/// What a value may be; `Dynamic` is any.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Type {
    Dynamic,
    Bool,
    Number,
    String,
    List(Box<Type>),
    Set(Box<Type>),
    Map(Box<Type>),
    Tuple(Vec<Type>),
    Object(BTreeMap<String, Type>),
    /// Of an attribute of an object that may be left out; it is null then.
    Optional(Box<Type>),
}

impl Type {
    /// The type of the value where there is one.
    pub(crate) fn of_present(&self) -> &Type {
        match self {
            Type::Optional(ty) => ty,
            ty => ty,
        }
    }

    pub(crate) fn is_optional(&self) -> bool {
        matches!(self, Type::Optional(_))
    }

    pub(crate) fn is_primitive(&self) -> bool {
        matches!(self, Type::Bool | Type::Number | Type::String)
    }
}

/// The name that messages use.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let element = |f: &mut fmt::Formatter<'_>, kind: &str, element: &Type| match element {
            Type::Dynamic => write!(f, "{kind} of any single type"),
            _ => write!(f, "{kind} of {element}"),
        };
        match self {
            Type::Dynamic => f.write_str("dynamic"),
            Type::Bool => f.write_str("bool"),
            Type::Number => f.write_str("number"),
            Type::String => f.write_str("string"),
            Type::List(ty) => element(f, "list", ty),
            Type::Set(ty) => element(f, "set", ty),
            Type::Map(ty) => element(f, "map", ty),
            Type::Tuple(_) => f.write_str("tuple"),
            Type::Object(_) => f.write_str("object"),
            Type::Optional(ty) => ty.fmt(f),
        }
    }
}

/// A value. Cloning is cheap.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null(Type),
    Bool(bool),
    Number(Number),
    String(Rc<str>),
    /// All items have the type.
    List(Type, Rc<Vec<Value>>),
    /// Like a list, sorted and without duplicates.
    Set(Type, Rc<Vec<Value>>),
    Map(Type, Rc<BTreeMap<String, Value>>),
    Tuple(Rc<Vec<Value>>),
    Object(Rc<BTreeMap<String, Value>>),
}

impl Value {
    pub(crate) fn null() -> Value {
        Value::Null(Type::Dynamic)
    }

    pub(crate) fn string(text: impl AsRef<str>) -> Value {
        Value::String(Rc::from(text.as_ref()))
    }

    pub(crate) fn int(value: i64) -> Value {
        Value::Number(Number::from_i64(value))
    }

    pub(crate) fn tuple(items: Vec<Value>) -> Value {
        Value::Tuple(Rc::new(items))
    }

    pub(crate) fn object(items: BTreeMap<String, Value>) -> Value {
        Value::Object(Rc::new(items))
    }

    pub(crate) fn list(element: Type, items: Vec<Value>) -> Value {
        Value::List(element, Rc::new(items))
    }

    pub(crate) fn strings<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> Value {
        Value::list(Type::String, items.into_iter().map(Value::string).collect())
    }

    pub(crate) fn set(element: Type, mut items: Vec<Value>) -> Value {
        items.sort_by(Value::order);
        items.dedup();
        Value::Set(element, Rc::new(items))
    }

    pub(crate) fn map(element: Type, items: BTreeMap<String, Value>) -> Value {
        Value::Map(element, Rc::new(items))
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Value::Null(_))
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The items of a list, set or tuple.
    pub(crate) fn items(&self) -> Option<&[Value]> {
        match self {
            Value::List(_, items) | Value::Set(_, items) | Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The type that all items of a list or set have, also where there are none.
    pub(crate) fn element_type(&self) -> Option<&Type> {
        match self {
            Value::List(element, _) | Value::Set(element, _) => Some(element),
            _ => None,
        }
    }

    /// The entries of a map or object.
    pub(crate) fn entries(&self) -> Option<&BTreeMap<String, Value>> {
        match self {
            Value::Map(_, entries) | Value::Object(entries) => Some(entries),
            _ => None,
        }
    }

    /// The type, exact to the last element.
    pub fn type_of(&self) -> Type {
        match self {
            Value::Null(ty) => ty.clone(),
            Value::Bool(_) => Type::Bool,
            Value::Number(_) => Type::Number,
            Value::String(_) => Type::String,
            Value::List(ty, _) => Type::List(Box::new(ty.clone())),
            Value::Set(ty, _) => Type::Set(Box::new(ty.clone())),
            Value::Map(ty, _) => Type::Map(Box::new(ty.clone())),
            Value::Tuple(items) => Type::Tuple(items.iter().map(Value::type_of).collect()),
            Value::Object(items) => Type::Object(items.iter().map(|(k, v)| (k.clone(), v.type_of())).collect()),
        }
    }

    /// Whether both are the same value of the same type; a number never equals a text.
    pub(crate) fn equals(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Null(_), Value::Null(_)) => true,
            _ => self == other,
        }
    }

    /// How much memory a copy would take, roughly in bytes.
    pub(crate) fn weight(&self) -> u64 {
        match self {
            Value::Null(_) | Value::Bool(_) | Value::Number(_) => 8,
            Value::String(text) => 8 + text.len() as u64,
            Value::List(_, items) | Value::Set(_, items) | Value::Tuple(items) => {
                8 + items.iter().map(Value::weight).sum::<u64>()
            }
            Value::Map(_, entries) | Value::Object(entries) => {
                8 + entries.iter().map(|(key, value)| key.len() as u64 + value.weight()).sum::<u64>()
            }
        }
    }

    /// The order of sets: by kind, then by value; nulls come last.
    fn order(&self, other: &Value) -> std::cmp::Ordering {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Number(a), Value::Number(b)) => a.cmp(b),
            (Value::String(a), Value::String(b)) => a.cmp(b),
            _ => self.is_null().cmp(&other.is_null()).then_with(|| self.order_text().cmp(&other.order_text())),
        }
    }

    /// What collections in a set are ordered by: in the reference numbers count as texts there.
    fn order_text(&self) -> String {
        let items = |items: &[Value]| items.iter().map(|item| item.order_text() + ";").collect::<String>();
        let entries = |entries: &BTreeMap<String, Value>| {
            entries.iter().map(|(key, value)| format!("{key:?}:{};", value.order_text())).collect::<String>()
        };
        match self {
            Value::Null(_) => "null".to_owned(),
            Value::Bool(is_true) => if *is_true { "T" } else { "F" }.to_owned(),
            Value::Number(number) => number.to_string(),
            Value::String(text) => format!("{text:?}"),
            Value::List(_, list) | Value::Set(_, list) => format!("[{}]", items(list)),
            Value::Tuple(list) => format!("<{}>", items(list)),
            Value::Map(_, map) => format!("{{{}}}", entries(map)),
            Value::Object(map) => format!("<{}>", entries(map)),
        }
    }
}
