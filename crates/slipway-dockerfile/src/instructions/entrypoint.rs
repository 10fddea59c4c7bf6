//! `ENTRYPOINT`: what a container always runs.

use super::{CommandLine, flags};
use crate::facts::Seen;
use crate::go_text::quote_list;
use crate::stage_builder::Step;
use crate::{Diagnostic, Instruction};

#[derive(Clone, Debug)]
pub(crate) struct Entrypoint(CommandLine);

pub(super) fn check(instruction: &Instruction) -> Result<Entrypoint, Diagnostic> {
    flags::check_none(instruction)?;
    Ok(Entrypoint(CommandLine::of(instruction)))
}

pub(super) fn lower(entrypoint: &Entrypoint, step: &mut Step<'_, '_>) -> Result<(), Diagnostic> {
    step.see(Seen::Command { needs_default_shell: entrypoint.0.needs_default_shell(step) });
    let args = entrypoint.0.args(step);
    step.record(format!("ENTRYPOINT {}", quote_list(&args)), false);
    step.stage.config.config.entrypoint = args;
    // A command that was meant for another entrypoint would be passed to this one.
    if !step.stage.has_cmd {
        step.stage.config.config.cmd.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::lower::tests::Case;

    #[test]
    fn an_inherited_command_is_dropped_and_an_own_one_is_kept() {
        for (text, cmd) in [
            ("FROM scratch\nCMD [\"a\"]\nENTRYPOINT [\"x\"]\n", vec!["a"]),
            ("FROM scratch AS a\nCMD [\"a\"]\nFROM a\nENTRYPOINT [\"x\"]\n", vec![]),
            ("FROM scratch AS a\nCMD [\"a\"]\nFROM a\nENTRYPOINT []\n", vec![]),
        ] {
            assert_eq!(Case::new(text).config().config.cmd, cmd, "{text}");
        }
        let case = Case::new("FROM scratch\nENTRYPOINT run me\n");
        assert_eq!(case.config().config.entrypoint, ["/bin/sh", "-c", "run me"]);
        assert_eq!(case.history(), [r#"ENTRYPOINT ["/bin/sh" "-c" "run me"]"#]);
    }
}
