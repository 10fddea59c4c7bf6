//! `ENV key=value …` (`spec/dockerfile.md` section 2.4).

use super::{flags, is_legacy, pairs};
use crate::facts::Seen;
use crate::stage_builder::Step;
use crate::{Diagnostic, Instruction};

#[derive(Clone, Debug)]
pub(crate) struct Env {
    pairs: Vec<(String, String)>,
    is_legacy: bool,
}

pub(super) fn check(instruction: &Instruction) -> Result<Env, Diagnostic> {
    flags::check_none(instruction)?;
    Ok(Env { pairs: pairs(instruction), is_legacy: is_legacy(instruction) })
}

pub(super) fn lower(env: &Env, step: &mut Step<'_, '_>) -> Result<(), Diagnostic> {
    // All pairs see the variables as they were before the instruction.
    let expanded: Vec<(String, String)> = env
        .pairs
        .iter()
        .map(|(key, value)| Ok((step.expand(key)?, step.expand(value)?)))
        .collect::<Result<_, Diagnostic>>()?;
    let mut text = String::from("ENV");
    for (key, value) in expanded {
        step.see(Seen::Pair { key: key.clone(), is_legacy: env.is_legacy });
        step.stage.set_variable(&key, &value);
        step.stage.set_config_variable(&key, &value);
        text += &format!(" {key}={value}");
    }
    step.record(text, false);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::lower::tests::Case;

    #[test]
    fn pairs_of_one_instruction_do_not_see_each_other() {
        let case = Case::new("FROM scratch\nENV a=1\nENV a=2 b=$a c=\"x y\"\nENV a=3\n");
        let env = &case.config().config.env[1..];
        assert_eq!(env, ["a=3", "b=1", "c=x y"]);
        assert_eq!(case.history(), ["ENV a=1", "ENV a=2 b=1 c=x y", "ENV a=3"]);
    }

    #[test]
    fn env_and_arg_shadow_each_other_for_later_steps() {
        let run = |text: &str| Case::new(text).arg("W", "9").run_env();
        assert!(run("FROM scratch\nENV V=1\nARG V=2\nRUN x\n").contains(&"V=2".to_owned()));
        assert!(run("FROM scratch AS p\nENV V=1\nARG V=2\nFROM p\nRUN x\n").contains(&"V=1".to_owned()));
        assert!(run("FROM scratch\nARG W=1\nENV W=2\nRUN x\n").contains(&"W=2".to_owned()));
        assert!(run("FROM scratch AS p\nARG V=1\nFROM p\nRUN x\n").contains(&"V=1".to_owned()));
    }
}
