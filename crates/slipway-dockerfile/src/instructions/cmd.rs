//! `CMD`: what a container runs by default.

use super::{CommandLine, flags};
use crate::facts::Seen;
use crate::go_text::quote_list;
use crate::stage_builder::Step;
use crate::{Diagnostic, Instruction};

#[derive(Clone, Debug)]
pub(crate) struct Cmd(CommandLine);

pub(super) fn check(instruction: &Instruction) -> Result<Cmd, Diagnostic> {
    flags::check_none(instruction)?;
    Ok(Cmd(CommandLine::of(instruction)))
}

pub(super) fn lower(cmd: &Cmd, step: &mut Step<'_, '_>) -> Result<(), Diagnostic> {
    step.see(Seen::Command { needs_default_shell: cmd.0.needs_default_shell(step) });
    let args = cmd.0.args(step);
    step.record(format!("CMD {}", quote_list(&args)), false);
    step.stage.config.config.cmd = args;
    // The reference says so for every `CMD`, on Linux as well.
    step.stage.config.config.args_escaped = true;
    step.stage.has_cmd = true;
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::lower::tests::Case;

    #[test]
    fn both_forms_end_up_as_a_list() {
        for (line, cmd, history) in [
            (r#"CMD ["a","b c"]"#, vec!["a", "b c"], r#"CMD ["a" "b c"]"#),
            ("CMD echo $A", vec!["/bin/sh", "-c", "echo $A"], r#"CMD ["/bin/sh" "-c" "echo $A"]"#),
            ("CMD []", vec![], "CMD []"),
        ] {
            let case = Case::new(&format!("FROM scratch\n{line}\n"));
            let config = case.config();
            assert_eq!(config.config.cmd, cmd);
            assert!(config.config.args_escaped);
            assert_eq!(case.history(), [history]);
        }
    }
}
