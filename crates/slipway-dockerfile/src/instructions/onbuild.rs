//! `ONBUILD instruction`: kept for the stages that are based on this one (`spec/dockerfile.md` section 3.14).

use super::{Command, flags};
use crate::stage_builder::{Step, error_at};
use crate::{Args, Diagnostic, Instruction, Keyword, parse};

#[derive(Clone, Debug)]
pub(crate) struct Onbuild {
    /// The instruction as it is stored in the config, heredoc bodies included.
    pub(crate) trigger: String,
}

pub(super) fn check(instruction: &Instruction) -> Result<Onbuild, Diagnostic> {
    flags::check_none(instruction)?;
    let trigger = match &instruction.args {
        Args::Trigger(word) => word.text.clone(),
        Args::Json(_) | Args::Words(_) | Args::Raw(_) | Args::Pairs { .. } | Args::Typed { .. } => String::new(),
    };
    Ok(Onbuild { trigger })
}

pub(super) fn lower(onbuild: &Onbuild, step: &mut Step<'_, '_>) -> Result<(), Diagnostic> {
    step.stage.config.config.on_build.push(onbuild.trigger.clone());
    Ok(())
}

/// Reads a trigger of a base. Whatever is wrong with it is reported at `from`, the `FROM` that sets it off.
pub(crate) fn parse_trigger(trigger: &str, from: &Instruction) -> Result<(Instruction, Command), Diagnostic> {
    let at_from = |mut diagnostic: Diagnostic| {
        (diagnostic.span, diagnostic.lines) = (from.span, from.lines);
        // The line that it would name is not one of this file.
        diagnostic.is_about_form = false;
        diagnostic
    };
    let mut instruction = parse::parse_trigger(trigger).map_err(at_from)?;
    if instruction.keyword == Keyword::From {
        // No file can say this, but the config of an image can.
        return Err(error_at(from, from.span, "FROM isn't allowed as an ONBUILD trigger"));
    }
    let command =
        Command::check(&instruction).and_then(|command| command.check_sources(&instruction)).map_err(at_from)?;
    (instruction.span, instruction.lines) = (from.span, from.lines);
    Ok((instruction, command))
}

#[cfg(test)]
mod tests {
    use crate::lower::tests::{Case, errors};

    #[test]
    fn triggers_run_in_the_child_and_not_in_the_grandchild() {
        let case = Case::new("FROM scratch AS a\nONBUILD ENV T=1\nFROM a AS b\nENV B=1\nFROM b\nENV C=1\n");
        assert_eq!(case.history(), ["ENV T=1", "ENV B=1", "ENV C=1"]);
        let parent = Case::new("FROM scratch AS a\nONBUILD ENV T=1\n").config();
        assert_eq!(parent.config.on_build, ["ENV T=1"]);
    }

    #[test]
    fn stages_that_only_triggers_need_are_built() {
        let text = "FROM scratch AS s\nCOPY x /f\nFROM scratch AS a\nONBUILD COPY --from=s /f /g\nFROM a\n";
        assert!(Case::new(text).graph().contains("[stage-2 1/1] ONBUILD COPY --from=s /f /g"));
    }

    #[test]
    fn forbidden_triggers_are_refused() {
        for (trigger, message) in [
            ("FROM x", "FROM isn't allowed as an ONBUILD trigger"),
            ("ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ] {
            assert_eq!(errors(&format!("FROM scratch\nONBUILD {trigger}\n")), [message]);
        }
    }
}
