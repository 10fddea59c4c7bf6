//! The stages of a file as somebody who wants to build one of them sees them (`spec/dockerfile.md` section 9.3).

use slipway_graph::LineRange;

use crate::instructions::Command;
use crate::{Diagnostic, Dockerfile};

/// A stage that can be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Lower case.
    pub name: Option<String>,
    /// What is built if nothing is asked for.
    pub is_default: bool,
    pub description: Option<String>,
    /// As written.
    pub base: String,
    /// As written.
    pub platform: Option<String>,
    /// The `FROM`.
    pub lines: LineRange,
}

/// All stages, in the order of the file.
///
/// # Errors
/// What is wrong with the form of an instruction; what the instructions mean is not looked at.
pub fn targets(dockerfile: &Dockerfile) -> Result<Vec<Target>, Vec<Diagnostic>> {
    let (mut targets, mut errors) = (Vec::new(), Vec::new());
    for instruction in &dockerfile.instructions {
        match Command::check(instruction) {
            Ok(Command::From(from)) => targets.push(Target {
                description: from.name.as_deref().and_then(|name| instruction.description_of(name)),
                name: from.name,
                is_default: false,
                base: from.base.text,
                platform: from.platform,
                lines: instruction.lines,
            }),
            Ok(_) => {}
            Err(error) => errors.push(error.about_form()),
        }
    }
    if let Some(last) = targets.last_mut() {
        last.is_default = true;
    }
    if errors.is_empty() { Ok(targets) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    use super::targets;
    use crate::parse;

    #[test]
    fn bases_are_shown_as_written() {
        let text = "ARG V\n# a for all\nFROM base:${V} AS A\nFROM --platform=$BUILDPLATFORM a\n";
        let found = targets(&parse(text.as_bytes()).0).unwrap();
        assert_eq!((found[0].name.as_deref(), found[0].description.as_deref()), (Some("a"), Some("for all")));
        assert_eq!((found[0].base.as_str(), found[0].is_default), ("base:${V}", false));
        assert_eq!((found[1].name.as_deref(), found[1].is_default), (None, true));
        assert_eq!(found[1].platform.as_deref(), Some("$BUILDPLATFORM"));
    }

    #[test]
    fn a_broken_instruction_is_told() {
        let found = targets(&parse(b"FROM a\nCOPY --nope a b\n").0).unwrap_err();
        assert_eq!(found[0].headline(), "dockerfile parse error on line 2: unknown flag: --nope");
    }
}
