//! `SHELL ["program", "arg"]`: what the shell form of later instructions runs in.

use super::{flags, words};
use crate::stage_builder::Step;
use crate::{Diagnostic, Instruction};

#[derive(Clone, Debug)]
pub(crate) struct Shell(Vec<String>);

pub(super) fn check(instruction: &Instruction) -> Result<Shell, Diagnostic> {
    flags::check_none(instruction)?;
    Ok(Shell(words(instruction).iter().map(|w| w.text.clone()).collect()))
}

pub(super) fn lower(shell: &Shell, step: &mut Step<'_, '_>) -> Result<(), Diagnostic> {
    step.record(format!("SHELL [{}]", shell.0.join(" ")), false);
    step.stage.config.config.shell = shell.0.clone();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::lower::tests::{Case, errors};

    #[test]
    fn later_shell_forms_use_it() {
        let case = Case::new("FROM scratch\nSHELL [\"/b\", \"-e\", \"-c\"]\nCMD x\n");
        assert_eq!(case.config().config.cmd, ["/b", "-e", "-c", "x"]);
        assert_eq!(case.history()[0], "SHELL [/b -e -c]");
        assert_eq!(errors("FROM scratch\nSHELL /bin/bash\n"), ["SHELL requires the arguments to be in JSON form"]);
        assert_eq!(errors("FROM scratch\nSHELL []\n"), ["SHELL requires at least one argument"]);
    }
}
