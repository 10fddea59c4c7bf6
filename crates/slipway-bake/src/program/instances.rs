//! Targets and groups that blocks stand for; a matrix makes many of one (`spec/bake.md` section 12).

use std::collections::BTreeMap;

use super::Program;
use crate::convert::convert;
use crate::diagnostic::Diagnostic;
use crate::eval::{Evaluated, Scope, fail};
use crate::syntax::Block;
use crate::value::{Type, Value};

/// One block under one name.
pub(crate) struct Instance<'a> {
    pub(crate) name: String,
    pub(crate) block: &'a Block,
    /// The values of the matrix.
    pub(crate) scope: Scope<'static>,
}

/// More combinations than that are taken for a mistake.
const MAX_COMBINATIONS: usize = 10_000;

impl<'a> Program<'a> {
    pub(super) fn add_instances(&mut self, block: &'a Block) -> Evaluated<()> {
        let (label, span) = &block.labels[0];
        let invalid = |detail: &str| fail::<()>(*span, "Invalid name", detail);
        let (matrix, name) = (block.body.attribute("matrix"), block.body.attribute("name"));
        if block.kind == "group" && matrix.is_some() {
            return invalid("matrix is not supported for groups");
        }
        if block.kind == "group" && name.is_some() {
            return invalid("name is not supported for groups");
        }
        let Some(matrix) = matrix else {
            if name.is_some() {
                return invalid("name requires matrix");
            }
            if !is_name(label) {
                return invalid("only \"[a-zA-Z0-9_-]+\" are allowed");
            }
            self.instances.push(Instance { name: label.clone(), block, scope: Scope::default() });
            return Ok(());
        };
        let axes = self.eval_whole(&matrix.expr, &Scope::default())?;
        let Some(axes) = axes.entries() else { return invalid("matrix must be a map") };
        let mut names: Vec<String> = Vec::new();
        let combinations = combinations(axes).map_err(|problem| Diagnostic::new(*span, "Invalid name", problem))?;
        for combination in combinations {
            let scope = Scope { names: combination, outer: None };
            let name = match name {
                None => label.clone(),
                Some(name) => match convert(&self.eval_whole(&name.expr, &scope)?, &Type::String) {
                    Ok(Value::String(name)) => name.to_string(),
                    _ => return invalid("string required"),
                },
            };
            if !is_name(&name) {
                return invalid("only \"[a-zA-Z0-9_-]+\" are allowed");
            }
            if names.contains(&name) {
                return invalid(&format!("duplicate name {name:?}"));
            }
            names.push(name.clone());
            self.instances.push(Instance { name, block, scope });
        }
        Ok(())
    }

    /// Blocks that stand for other targets than the one they are named after, and the names of those.
    pub(crate) fn matrices(&self) -> BTreeMap<&'a str, Vec<String>> {
        let mut matrices: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for instance in self.instances.iter().filter(|instance| instance.block.kind == "target") {
            let names = matrices.entry(&instance.block.labels[0].0).or_default();
            if !names.contains(&instance.name) {
                names.push(instance.name.clone());
            }
        }
        matrices.retain(|label, names| names != &[*label]);
        matrices
    }
}

pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Each value of each axis with each of the others; the first axis is the slowest.
fn combinations(axes: &BTreeMap<String, Value>) -> Result<Vec<BTreeMap<String, Value>>, String> {
    let mut all = vec![BTreeMap::new()];
    for (axis, values) in axes {
        let values: Vec<Value> = match (values.items(), values.entries()) {
            (Some(items), _) => items.to_vec(),
            (None, Some(entries)) => entries.values().cloned().collect(),
            (None, None) => return Err("matrix values must be a list".to_owned()),
        };
        if all.len().saturating_mul(values.len()) > MAX_COMBINATIONS {
            return Err(format!("the matrix has more than {MAX_COMBINATIONS} combinations"));
        }
        all = all
            .iter()
            .flat_map(|names| {
                values.iter().map(move |value| {
                    let mut names = names.clone();
                    names.insert(axis.clone(), value.clone());
                    names
                })
            })
            .collect();
    }
    Ok(all)
}
