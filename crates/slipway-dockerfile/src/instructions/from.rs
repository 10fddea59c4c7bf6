//! `FROM [--platform=P] base [AS name]`: begins a stage. What a base may be is decided in `stages.rs`.

use super::flags::{self, FlagKind};
use super::words;
use crate::quote::quoted;
use crate::stage_builder::error_at;
use crate::{Diagnostic, Instruction, Word};

#[derive(Clone, Debug)]
pub(crate) struct From {
    /// As written.
    pub(crate) base: Word,
    /// As written.
    pub(crate) platform: Option<String>,
    /// Lower case.
    pub(crate) name: Option<String>,
}

pub(super) fn check(instruction: &Instruction) -> Result<From, Diagnostic> {
    let flags = flags::check(instruction, &[("platform", FlagKind::Text)])?;
    let (base, name) = match words(instruction) {
        [base, _as, name] => (base.clone(), Some(checked_name(instruction, name)?)),
        [base, ..] => (base.clone(), None),
        [] => (Word::default(), None),
    };
    Ok(From { base, platform: flags.text_if_any("platform"), name })
}

fn checked_name(instruction: &Instruction, word: &Word) -> Result<String, Diagnostic> {
    let name = word.text.to_lowercase();
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    if name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(is_name) {
        return Ok(name);
    }
    let reason = "name can't start with a number or contain symbols";
    Err(error_at(instruction, word.span, format!("invalid name for build stage: {}, {reason}", quoted(&word.text))))
}

#[cfg(test)]
mod tests {
    use crate::lower::tests::errors;

    #[test]
    fn the_form_is_checked() {
        let reason = "name can't start with a number or contain symbols";
        assert_eq!(errors("FROM a AS 1x\n"), [format!("invalid name for build stage: \"1x\", {reason}")]);
        for text in ["FROM a b\n", "FROM a AS\n", "FROM a FOR b\n"] {
            assert_eq!(errors(text), ["FROM requires either one or three arguments"], "{text}");
        }
    }
}
