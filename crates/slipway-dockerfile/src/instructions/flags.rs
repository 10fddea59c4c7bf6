//! `--name[=value]` in front of the arguments: which are known, how often, with which values.

use crate::stage_builder::error_at;
use crate::{Diagnostic, Flag, Instruction, suggest};

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlagKind {
    Text,
    /// Bare, `=true` or `=false`.
    Bool,
    /// Text, any number of times.
    Texts,
}

/// The flags of an instruction, checked.
pub(super) struct Flags<'i> {
    flags: &'i [Flag],
}

/// Refuses flags that are not in `known`, repeated or without a fitting value.
pub(super) fn check<'i>(
    instruction: &'i Instruction,
    known: &[(&'static str, FlagKind)],
) -> Result<Flags<'i>, Diagnostic> {
    for (index, flag) in instruction.flags.iter().enumerate() {
        let error = |message: String| error_at(instruction, flag.span, message);
        let Some((_, kind)) = known.iter().find(|(name, _)| *name == flag.name) else {
            return Err(unknown(instruction, flag, known));
        };
        let is_repeated = || instruction.flags[..index].iter().any(|f| f.name == flag.name);
        if *kind != FlagKind::Texts && is_repeated() {
            return Err(error(format!("duplicate flag specified: --{}", flag.name)));
        }
        match (kind, flag.value.as_deref()) {
            (FlagKind::Text | FlagKind::Texts, None) | (FlagKind::Bool, Some("")) => {
                return Err(error(format!("missing a value on flag: --{}", flag.name)));
            }
            (FlagKind::Bool, Some(value)) if bool_of(value).is_none() => {
                return Err(error(format!("expecting boolean value for flag --{}, not: {value}", flag.name)));
            }
            (FlagKind::Text | FlagKind::Texts | FlagKind::Bool, _) => {}
        }
    }
    Ok(Flags { flags: &instruction.flags })
}

/// Refuses all flags.
pub(super) fn check_none(instruction: &Instruction) -> Result<(), Diagnostic> {
    check(instruction, &[]).map(|_| ())
}

fn unknown(instruction: &Instruction, flag: &Flag, known: &[(&'static str, FlagKind)]) -> Diagnostic {
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    let closest = suggest::closest(&flag.name, names.iter().copied());
    let tail = closest.as_ref().map(|name| format!(" (did you mean {name}?)")).unwrap_or_default();
    let mut diagnostic = error_at(instruction, flag.span, format!("unknown flag: --{}{tail}", flag.name));
    diagnostic.hint = closest.map(|name| format!("did you mean `--{name}`?"));
    diagnostic
}

fn bool_of(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

impl Flags<'_> {
    /// The value of `--name=value`.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.flags.iter().find(|f| f.name == name).and_then(|f| f.value.clone())
    }

    /// The value of `--name=value`, where an empty one is as good as none.
    pub(super) fn text_if_any(&self, name: &str) -> Option<String> {
        self.text(name).filter(|value| !value.is_empty())
    }

    /// All values of a flag that may be repeated.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        self.flags.iter().filter(|f| f.name == name).filter_map(|f| f.value.clone()).collect()
    }

    /// A yes or no, where one is given.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        let flag = self.flags.iter().find(|f| f.name == name)?;
        Some(flag.value.as_deref().is_none_or(|value| bool_of(value) == Some(true)))
    }
}

#[cfg(test)]
mod tests {
    use crate::lower::tests::errors;

    #[test]
    fn flags_are_refused_with_the_known_texts() {
        for (line, message) in [
            ("COPY --chwon=1 a b", "unknown flag: --chwon (did you mean chown?)"),
            ("COPY --from=a --from=b x y", "duplicate flag specified: --from"),
            ("COPY --link= a b", "missing a value on flag: --link"),
            ("COPY --chown a b", "missing a value on flag: --chown"),
            ("COPY --link=maybe a b", "expecting boolean value for flag --link, not: maybe"),
            ("ENV --x=1 a=b", "unknown flag: --x"),
            ("LABEL --x", "unknown flag: --x"),
            ("SHELL --x /bin/sh", "unknown flag: --x"),
            ("USER --x", "USER requires exactly one argument"),
        ] {
            assert_eq!(errors(&format!("FROM scratch\n{line}\n")), [message], "{line}");
        }
        assert!(errors("FROM scratch\nCOPY --link=FALSE a b\n").is_empty());
    }
}
