//! References to attributes of targets and groups: `target.app.tags[0]`.

use std::collections::BTreeMap;

use super::{Program, State};
use crate::attribute::{self, Kind};
use crate::diagnostic::{Diagnostic, Span};
use crate::eval::{Evaluated, fail};
use crate::value::Value;

impl Program<'_> {
    /// The value of `root.name.attribute`, and how many steps behind the root it takes; all attributes if none is
    /// named. `None` if no block has this name.
    pub(crate) fn reference(
        &self,
        root: &str,
        name: &str,
        attribute: Option<&str>,
        span: Span,
    ) -> Evaluated<Option<(Value, usize)>> {
        let is_meant = |index: &usize| {
            let instance = &self.instances[*index];
            instance.name == name && instance.block.kind == root
        };
        let indexes: Vec<usize> = (0..self.instances.len()).filter(is_meant).collect();
        if indexes.is_empty() {
            return Ok(None);
        }
        if let Some(attribute) = attribute {
            // Of several blocks the last one that says something counts.
            for index in indexes.iter().rev() {
                if let Some(value) = self.attribute_of(*index, attribute)? {
                    return Ok(Some((attribute::as_referred(&value, root, attribute), 2)));
                }
            }
            if attribute == "name" {
                return Ok(Some((Value::string(name), 2)));
            }
            if attribute::kind(root, attribute).is_some() {
                return Ok(Some((Value::null(), 2)));
            }
            let detail = format!("This object does not have an attribute named {attribute:?}.");
            return fail(span, "Unsupported attribute", detail);
        }
        let mut all = BTreeMap::new();
        for index in indexes {
            for attribute in &self.instances[index].block.body.attributes {
                if let Some(value) = self.attribute_of(index, &attribute.name)? {
                    let value = attribute::as_referred(&value, root, &attribute.name);
                    all.insert(attribute.name.clone(), value);
                }
            }
        }
        Ok(Some((Value::object(all), 1)))
    }

    /// The value that an instance itself sets, in the shape of the attribute's type.
    pub(crate) fn attribute_of(&self, index: usize, name: &str) -> Evaluated<Option<Value>> {
        let instance = &self.instances[index];
        let kind = attribute::kind(&instance.block.kind, name);
        let (Some(attribute), Some(kind)) = (instance.block.body.attribute(name), kind) else { return Ok(None) };
        let key = (index, name.to_owned());
        let known = self.decoded.borrow().get(&key).cloned();
        match known {
            Some(State::Done(value)) => return Ok(Some(value)),
            Some(State::InProgress) => {
                let (kind, target) = (&instance.block.kind, &instance.name);
                return self.invalid(&format!("reference cycle not allowed for {kind}.{target}.{name}"));
            }
            None => {}
        }
        self.decoded.borrow_mut().insert(key.clone(), State::InProgress);
        let value = self.eval_whole(&attribute.expr, &instance.scope);
        let value = value.map_err(|mut diagnostics| {
            // The reference cannot use what it could not evaluate, and counts that too.
            let is_alone = diagnostics.0.first().is_none_or(|first| {
                first.summary == "Invalid expression" || first.summary == "Invalid template interpolation value"
            });
            let is_item = kind.has_entries() && matches!(attribute.expr.kind, crate::syntax::ExprKind::Tuple(_));
            if !is_alone && !is_item {
                let detail = "Unsuitable value: value must be known";
                diagnostics.0.push(Diagnostic::new(attribute.expr.start(), "Unsuitable value type", detail));
            }
            diagnostics
        });
        let value = value.and_then(|value| {
            attribute::decode(&value, kind).or_else(|problem| {
                fail(attribute.expr.start(), "Unsuitable value type", format!("Unsuitable value: {problem}"))
            })
        });
        match &value {
            Ok(value) => self.decoded.borrow_mut().insert(key, State::Done(value.clone())),
            Err(_) => self.decoded.borrow_mut().remove(&key),
        };
        value.map(Some)
    }
}

impl Kind {
    fn has_entries(self) -> bool {
        matches!(self, Kind::Attest | Kind::Cache | Kind::Output | Kind::Secret | Kind::Ssh)
    }
}
