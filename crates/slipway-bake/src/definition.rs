//! From files to targets: all definitions read, evaluated and merged (`spec/bake.md` sections 3, 5 and 8).

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::{Diagnostics, SourceFile};
use crate::overrides::Override;
use crate::program::{Inputs, Program};
use crate::syntax::{Body, json, native};
use crate::target::{Target, texts};
use crate::value::{Type, Value};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum BakeError {
    /// Something is wrong in a file.
    #[error("the definition is not valid")]
    Definition(Diagnostics),
    #[error("{0}")]
    Other(String),
}

impl From<Diagnostics> for BakeError {
    fn from(diagnostics: Diagnostics) -> BakeError {
        BakeError::Definition(diagnostics)
    }
}

/// A named list of targets and other groups.
#[derive(Clone, Debug, Default)]
pub struct Group {
    pub description: String,
    /// `None` if the definition says `null`, which is what a Compose file without builds comes to.
    pub targets: Option<Vec<String>>,
}

/// A variable as it was declared, and what it came to.
#[derive(Clone, Debug)]
pub struct Variable {
    pub name: String,
    pub description: String,
    pub ty: Option<Type>,
    pub value: Value,
}

/// What all files together say.
#[derive(Debug)]
pub struct Definition {
    pub targets: BTreeMap<String, Target>,
    pub groups: BTreeMap<String, Group>,
    pub variables: Vec<Variable>,
    /// Whether contexts are relative to where the files are, and those of this machine begin with `cwd://`.
    pub is_remote: bool,
    /// What a user should know about the files, with the place.
    pub warnings: Vec<String>,
}

impl Definition {
    /// Reads `files` in their order; later ones win.
    pub fn read(files: &[SourceFile], inputs: &Inputs<'_>) -> Result<Definition, BakeError> {
        let bodies = (0..files.len()).map(|index| parse(files, index)).collect::<Result<Vec<_>, _>>()?;
        let program = Program::new(files, &bodies, inputs)?;
        program.check_globals()?;
        let mut definition = Definition {
            targets: BTreeMap::new(),
            groups: BTreeMap::new(),
            variables: Vec::new(),
            is_remote: false,
            warnings: Vec::new(),
        };
        definition.add_blocks(&program)?;
        definition.add_variables(&program)?;
        definition.warnings = crate::unknown::warnings(files, &bodies);
        Ok(definition)
    }

    /// Puts what these files say on top of what `base` says; groups of the same name take the place of those below.
    pub fn on_top_of(mut self, base: Definition) -> Definition {
        for (name, mut target) in base.targets {
            if let Some(own) = self.targets.remove(&name) {
                target.merge(own);
            }
            self.targets.insert(name, target);
        }
        for (name, group) in base.groups {
            self.groups.entry(name).or_insert(group);
        }
        self
    }

    fn add_blocks(&mut self, program: &Program<'_>) -> Result<(), Diagnostics> {
        for (name, targets) in program.matrices() {
            self.groups.insert(name.to_owned(), Group { targets: Some(targets), ..Group::default() });
        }
        for (index, instance) in program.instances.iter().enumerate() {
            let attribute = |name: &str| program.attribute_of(index, name);
            if instance.block.kind == "group" {
                let Some(targets) = attribute("targets")? else {
                    return program.missing_targets(instance.block);
                };
                let description = attribute("description")?;
                let description = description.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
                let group = Group { description, targets: texts(&targets) };
                self.groups.insert(instance.name.clone(), group);
                continue;
            }
            let mut target = Target::default();
            for set in &instance.block.body.attributes {
                if let Some(value) = attribute(&set.name)? {
                    target.set(&set.name, &value);
                }
            }
            self.targets.entry(instance.name.clone()).or_default().merge(target);
        }
        Ok(())
    }

    fn add_variables(&mut self, program: &Program<'_>) -> Result<(), Diagnostics> {
        for (name, block) in &program.variables {
            let description = match block.body.attribute("description") {
                Some(description) => program.eval_whole(&description.expr, &Default::default())?,
                None => Value::null(),
            };
            self.variables.push(Variable {
                name: (*name).to_owned(),
                description: description.as_str().unwrap_or_default().to_owned(),
                ty: program.declared_type(name),
                value: program.global(name, Default::default())?.unwrap_or_else(Value::null),
            });
        }
        Ok(())
    }

    /// The target with all it inherits, and what `overrides` say about it and its parents.
    pub(crate) fn resolved(&self, name: &str, overrides: &[Override]) -> Result<Target, BakeError> {
        let mut resolver =
            Resolver { definition: self, overrides, in_progress: BTreeSet::new(), known: BTreeMap::new() };
        let (mut target, _) = resolver.resolve(name)?;
        target.normalize(self.is_remote);
        Ok(target)
    }
}

/// Whether a file can be read at all, whatever it says.
pub fn check_syntax(file: &SourceFile) -> Result<(), Diagnostics> {
    parse(std::slice::from_ref(file), 0).map(drop)
}

/// Names tell JSON from HCL. Without a telling name, JSON is what begins like it.
fn parse(files: &[SourceFile], index: usize) -> Result<Body, Diagnostics> {
    let SourceFile { name, text } = &files[index];
    let name = name.to_lowercase();
    let is_json = name.ends_with(".json") || (!name.ends_with(".hcl") && text.trim_start().starts_with('{'));
    let body = if is_json { json::parse(files, index) } else { native::parse(files, index) };
    body.map_err(Diagnostics::from)
}

struct Resolver<'a> {
    definition: &'a Definition,
    overrides: &'a [Override],
    in_progress: BTreeSet<String>,
    /// Targets that no cycle touches.
    known: BTreeMap<String, Target>,
}

/// Targets that inherit through more steps than that are taken for a mistake.
const MAX_ANCESTORS: usize = 500;

impl Resolver<'_> {
    /// The merged target, and whether a cycle was cut on the way.
    fn resolve(&mut self, name: &str) -> Result<(Target, bool), BakeError> {
        if let Some(target) = self.known.get(name) {
            return Ok((target.clone(), false));
        }
        let Some(own) = self.definition.targets.get(name) else {
            return Err(BakeError::Other(format!("failed to find target {name}")));
        };
        if self.in_progress.len() > MAX_ANCESTORS {
            return Err(BakeError::Other(format!("target {name} inherits through too many others")));
        }
        // A target inherits nothing from one that inherits from it.
        if !self.in_progress.insert(name.to_owned()) {
            return Ok((Target::default(), true));
        }
        let (mut target, mut is_cut) = (Target::default(), false);
        for parent in &own.inherits {
            let (parent, parent_is_cut) = self.resolve(parent)?;
            target.merge(parent);
            is_cut |= parent_is_cut;
        }
        target.merge(own.clone());
        for change in self.overrides.iter().filter(|change| change.applies_to(name)) {
            change.apply(&mut target)?;
        }
        crate::overrides::settle(&mut target, self.overrides, name)?;
        self.in_progress.remove(name);
        if !is_cut {
            self.known.insert(name.to_owned(), target.clone());
        }
        Ok((target, is_cut))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Reads `text`, and says how many random values it asked for: each takes one evaluation.
    fn n_evaluations(text: String) -> usize {
        let count = Cell::new(0);
        let random = || {
            count.set(count.get() + 1);
            [0; 16]
        };
        let inputs = Inputs {
            variables: &[],
            environment: &|_| None,
            command_context: "cwd://",
            local_platform: "linux/amd64",
            home: "/root",
            now_seconds: 0,
            random: &random,
        };
        let files = [SourceFile { name: "docker-bake.hcl".to_owned(), text }];
        let definition = Definition::read(&files, &inputs).unwrap();
        let names: Vec<String> = definition.targets.keys().cloned().collect();
        assert_eq!(definition.select(&names, &[], None).unwrap().targets.len(), names.len());
        count.get()
    }

    #[test]
    fn each_attribute_is_evaluated_once() {
        let definition = |n: usize| {
            format!(
                r#"
                variable "ONCE" {{
                  default = uuidv4()
                }}
                target "base" {{
                  args = {{ U = uuidv4() }}
                }}
                target "each" {{
                  name     = "each-${{i}}"
                  matrix   = {{ i = range({n}) }}
                  inherits = ["base"]
                  args     = {{ OWN = uuidv4(), U = target.base.args.U, V = ONCE }}
                  labels   = {{ own = target.base.args.U, other = ONCE }}
                }}
                "#
            )
        };
        // One for the variable, one for the base, and one for each of the others.
        assert_eq!([10, 200].map(|n| n_evaluations(definition(n))), [12, 202]);
    }
}
