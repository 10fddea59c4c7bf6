//! `ARG name[=default] …` (`spec/dockerfile.md` section 2.5).

use super::words;
use crate::facts::{ArgValue, Seen};
use crate::scanned;
use crate::stage_builder::Step;
use crate::{Diagnostic, Instruction};

/// Whether an arg of this name never becomes an environment variable.
pub(crate) fn is_no_variable(name: &str) -> bool {
    scanned::ARGS.contains(&name)
}

#[derive(Clone, Debug)]
pub(crate) struct Arg {
    /// Names and defaults; the defaults are not expanded yet.
    declared: Vec<(String, Option<String>)>,
}

pub(super) fn check(instruction: &Instruction) -> Result<Arg, Diagnostic> {
    // The reference looks at no flag here.
    let declared = words(instruction)
        .iter()
        .map(|word| match word.text.split_once('=') {
            Some((name, default)) => (name.to_owned(), Some(default.to_owned())),
            None => (word.text.clone(), None),
        })
        .collect();
    Ok(Arg { declared })
}

pub(super) fn lower(arg: &Arg, step: &mut Step<'_, '_>) -> Result<(), Diagnostic> {
    let mut shown = Vec::new();
    for (name, default) in &arg.declared {
        step.see(Seen::Arg { name: name.clone() });
        let given = step.build.build_arg(name);
        let is_given = given.is_some();
        let value = match (given, default) {
            (Some(given), _) => Some(given.to_owned()),
            (None, Some(default)) => Some(step.expand(default)?),
            (None, None) => step.build.globals.get(name),
        };
        let is_inherited = default.is_none() && value.is_some() && !is_given;
        if !is_inherited {
            let description = step.instruction.description_of(name);
            let value = value.clone().unwrap_or_default();
            step.see(Seen::OwnArg(ArgValue { name: name.clone(), value, description }));
        }
        if let Some(value) = &value
            && !is_no_variable(name)
        {
            step.stage.set_variable(name, value);
        }
        shown.push(value.as_ref().map_or_else(|| name.clone(), |value| format!("{name}={value}")));
        step.stage.arg_names.insert(name.clone());
        step.stage.args.push((name.clone(), value));
    }
    step.record(format!("ARG {}", shown.join(" ")), false);
    Ok(())
}

impl Arg {
    /// The names that it declares.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.declared.iter().map(|(name, _)| name.as_str())
    }

    /// The names that it declares, with their defaults, not expanded.
    pub(crate) fn declared(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.declared.iter().map(|(name, default)| (name.as_str(), default.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use crate::lower::tests::{Case, history};

    #[test]
    fn values_come_from_build_args_then_defaults_then_globals() {
        let text = "ARG G=g H\nFROM scratch\nARG G\nARG G=d\nARG X=1 Y=$X\nARG U\nARG E=\n";
        let case = Case::new(text).arg("X", "$b");
        assert_eq!(case.history(), ["ARG G=g", "ARG G=d", "ARG X=$b Y=$b", "ARG U", "ARG E="]);
    }

    #[test]
    fn an_overridden_default_is_not_even_looked_at() {
        let text = "FROM scratch\nARG a=${b?no}\n";
        assert_eq!(Case::new(text).arg("a", "1").history(), ["ARG a=1"]);
        assert_eq!(Case::new(text).errors().len(), 1);
    }

    #[test]
    fn flags_mean_nothing() {
        assert_eq!(history("FROM scratch\nARG --x=y a=b\n"), ["ARG a=b"]);
    }

    #[test]
    fn platform_args_are_inherited_when_declared() {
        let case = Case::new("FROM scratch\nARG TARGETPLATFORM TARGETARCH TARGETVARIANT TARGETSTAGE\n");
        let line = "ARG TARGETPLATFORM=linux/amd64 TARGETARCH=amd64 TARGETVARIANT= TARGETSTAGE=default";
        assert_eq!(case.history(), [line]);
        assert_eq!(history("FROM scratch AS Last\nARG TARGETSTAGE\n"), ["ARG TARGETSTAGE=last"]);
    }
}
