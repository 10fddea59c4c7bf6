//! Fills the values of variables into the texts of a file, and makes numbers and flags of texts where those belong
//! (`spec/compose.md` section 3.2).

use std::collections::BTreeMap;

use crate::attributes::{Accepts, Attribute, Object, PROJECT, Shows};
use crate::fault::Fault;
use crate::template::{Scope, TemplateError, collect_variables, substitute};
use crate::tree::{Node, Path, Value};
use crate::variable::Variable;

/// What texts are filled in with, and what there is to say about it.
pub(crate) struct Filler<'a> {
    pub(crate) lookup: &'a dyn Fn(&str) -> Option<String>,
    pub(crate) warnings: Vec<String>,
}

impl Filler<'_> {
    /// Fills in a whole file.
    pub(crate) fn fill_project(&mut self, root: &mut Node) -> Result<(), Fault> {
        self.fill_object(root, &PROJECT, &Path::default())
    }

    /// Fills in a text that stands alone, like the name of a project.
    pub(crate) fn fill_text(&mut self, text: &str, path: &Path) -> Result<String, Fault> {
        let mut scope = Scope { lookup: self.lookup, missing: Vec::new() };
        let filled = substitute(text, &mut scope).map_err(|error| template_fault(&error, text, path))?;
        let told =
            scope.missing.iter().map(|name| format!("The {name:?} variable is not set. Defaulting to a blank string."));
        self.warnings.extend(told);
        Ok(filled)
    }

    fn fill_object(&mut self, node: &mut Node, object: &Object, path: &Path) -> Result<(), Fault> {
        let Some(map) = node.map_mut() else { return self.fill(node, path) };
        for (key, entry) in map {
            let path = path.entry(key);
            match object.attribute(key) {
                Some(attribute) => self.fill_attribute(entry, attribute, &path)?,
                None => self.fill(entry, &path)?,
            }
        }
        Ok(())
    }

    fn fill_attribute(&mut self, node: &mut Node, attribute: &Attribute, path: &Path) -> Result<(), Fault> {
        self.fill_accepted(node, &attribute.accepts, path)?;
        self.cast(node, &attribute.shows, path)
    }

    /// Follows the form of an attribute as far as it knows mappings.
    fn fill_accepted(&mut self, node: &mut Node, accepts: &Accepts, path: &Path) -> Result<(), Fault> {
        match (accepts, &mut node.value) {
            (Accepts::Object(object) | Accepts::MaybeObject(object), Value::Map(_)) => {
                self.fill_object(node, object, path)
            }
            (Accepts::List { items, .. }, Value::List(list)) => {
                let path = path.item();
                list.iter_mut().try_for_each(|item| self.fill_accepted(item, items, &path))
            }
            (Accepts::Entries { values, .. }, Value::Map(map)) => {
                map.iter_mut().try_for_each(|(key, entry)| self.fill_accepted(entry, values, &path.entry(key)))
            }
            (Accepts::Either(alternatives), value) => match alternatives.iter().find(|one| goes_into(one, value)) {
                Some(alternative) => self.fill_accepted(node, alternative, path),
                None => self.fill(node, path),
            },
            _ => self.fill(node, path),
        }
    }

    /// Fills in all texts of a value that no attribute describes.
    fn fill(&mut self, node: &mut Node, path: &Path) -> Result<(), Fault> {
        match &mut node.value {
            Value::Text(text) => {
                *text = self.fill_text(text, path).map_err(|fault| fault.at(node.mark))?;
                Ok(())
            }
            Value::List(items) => {
                let path = path.item();
                items.iter_mut().try_for_each(|item| self.fill(item, &path))
            }
            Value::Map(map) => map.iter_mut().try_for_each(|(key, entry)| self.fill(entry, &path.entry(key))),
            _ => Ok(()),
        }
    }

    /// Makes what is shown as a number or a flag one.
    fn cast(&mut self, node: &mut Node, shows: &Shows, path: &Path) -> Result<(), Fault> {
        let mark = node.mark;
        match (shows, &mut node.value) {
            (Shows::Ulimits, Value::Map(map)) => map.iter_mut().try_for_each(|(name, limit)| {
                let path = path.entry(name);
                match &mut limit.value {
                    Value::Map(ends) => ends
                        .iter_mut()
                        .filter(|(end, _)| matches!(end.as_str(), "soft" | "hard"))
                        .try_for_each(|(end, value)| self.cast(value, &Shows::Integer, &path.entry(end))),
                    _ => self.cast(limit, &Shows::Integer, &path),
                }
            }),
            (_, Value::Text(text)) => {
                let cast = match shows {
                    Shows::Flag | Shows::FlagIfSet | Shows::FlagOrTrue => self.flag(text).map(Value::Bool),
                    Shows::Integer | Shows::IntegerIfSet => integer(text, path).map(Value::Int),
                    Shows::Float => float(text).map(Value::Float),
                    _ => return Ok(()),
                };
                let place = format!("error while interpolating {path}: failed to cast to expected type");
                node.value = cast.map_err(|reason| Fault::new(reason).within(&place).at(mark))?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn flag(&mut self, text: &str) -> Result<bool, String> {
        let flag = match text.to_ascii_lowercase().as_str() {
            "true" => return Ok(true),
            "false" => return Ok(false),
            "1" | "t" | "y" | "yes" | "on" => true,
            "0" | "f" | "n" | "no" | "off" => false,
            _ => return Err(format!("invalid boolean: {text}")),
        };
        if !matches!(text, "1" | "t" | "T" | "0" | "f" | "F") {
            self.warnings.push(format!("{text:?} for boolean is not supported by YAML 1.2, please use `{flag}`"));
        }
        Ok(flag)
    }
}

/// Whether a value of this kind is described by this alternative.
fn goes_into(accepts: &Accepts, value: &Value) -> bool {
    match value {
        Value::Map(_) => {
            matches!(accepts, Accepts::Object(_) | Accepts::MaybeObject(_) | Accepts::Entries { .. })
        }
        Value::List(_) => matches!(accepts, Accepts::List { .. }),
        _ => false,
    }
}

fn template_fault(error: &TemplateError, text: &str, path: &Path) -> Fault {
    match error {
        TemplateError::Invalid => Fault::new(format!(
            "invalid interpolation format for {path}.\nYou may need to escape any $ with another $.\n{text}"
        )),
        TemplateError::Missing { name, .. } => Fault::new(format!("error while interpolating {path}: {error}"))
            .hint(format!("set `{name}` in the environment or in a `.env` file")),
    }
}

fn integer(text: &str, path: &Path) -> Result<i64, String> {
    let function = match path.parts().last() {
        Some(
            &("cpu_period" | "cpu_quota" | "cpu_rt_period" | "cpu_rt_runtime" | "cpu_shares" | "oom_score_adj"
            | "pids_limit"),
        ) => "ParseInt",
        _ => "Atoi",
    };
    text.parse().map_err(|_| format!("strconv.{function}: parsing {text:?}: invalid syntax"))
}

fn float(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("strconv.ParseFloat: parsing {text:?}: invalid syntax"))
}

/// The variables that the texts of a tree name.
pub(crate) fn variables_of(node: &Node, variables: &mut BTreeMap<String, Variable>) {
    match &node.value {
        Value::Text(text) => collect_variables(text, variables),
        Value::List(items) => items.iter().for_each(|item| variables_of(item, variables)),
        Value::Map(map) => map.values().for_each(|entry| variables_of(entry, variables)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn filled(text: &str) -> Result<(Node, Vec<String>), Fault> {
        let lookup = |name: &str| match name {
            "N" => Some("5".to_owned()),
            "YES" => Some("yes".to_owned()),
            "BAD" => Some("abc".to_owned()),
            _ => None,
        };
        let mut filler = Filler { lookup: &lookup, warnings: Vec::new() };
        let mut root = yaml::parse(text, "", 0)?.remove(0).root;
        filler.fill_project(&mut root)?;
        Ok((root, filler.warnings))
    }

    fn service(text: &str) -> Result<Node, Fault> {
        Ok(filled(&format!("services: {{a: {text}}}"))?.0.get("services").unwrap().get("a").unwrap().clone())
    }

    #[test]
    fn texts_become_what_belongs_there() {
        let a =
            service("{scale: $N, privileged: $YES, ulimits: {nproc: $N}, ports: [{target: $N}], image: $N}").unwrap();
        assert_eq!(a.get("scale"), Some(&Node::from(5)));
        assert!(a.get("privileged").unwrap().is_true());
        assert_eq!(a.get("ulimits").unwrap().get("nproc"), Some(&Node::from(5)));
        assert_eq!(a.get("ports").unwrap().list().unwrap()[0].get("target"), Some(&Node::from(5)));
        assert_eq!(a.text_of("image"), Some("5"));
    }

    #[test]
    fn keys_stay_as_they_are() {
        assert_eq!(service("{labels: {$N: $N}}").unwrap().get("labels").unwrap().text_of("$N"), Some("5"));
    }

    #[test]
    fn mistakes_name_their_place() {
        let reason = |text: &str| service(text).unwrap_err().reason;
        assert_eq!(
            reason("{scale: $BAD}"),
            "error while interpolating services.a.scale: failed to cast to expected type: \
             strconv.Atoi: parsing \"abc\": invalid syntax"
        );
        assert_eq!(
            reason("{command: ['${']}"),
            "invalid interpolation format for services.a.command.[].\nYou may need to escape any $ with another $.\n${"
        );
    }

    #[test]
    fn warnings_are_collected() {
        let (_, warnings) = filled("services: {a: {image: $X, tty: $YES}}").unwrap();
        assert_eq!(
            warnings,
            [
                "The \"X\" variable is not set. Defaulting to a blank string.",
                "\"yes\" for boolean is not supported by YAML 1.2, please use `true`"
            ]
        );
    }
}
