//! `LABEL key=value …`.

use super::{flags, is_legacy, pairs};
use crate::facts::Seen;
use crate::stage_builder::Step;
use crate::{Diagnostic, Instruction};

#[derive(Clone, Debug)]
pub(crate) struct Label {
    pairs: Vec<(String, String)>,
    is_legacy: bool,
}

pub(super) fn check(instruction: &Instruction) -> Result<Label, Diagnostic> {
    flags::check_none(instruction)?;
    Ok(Label { pairs: pairs(instruction), is_legacy: is_legacy(instruction) })
}

pub(super) fn lower(label: &Label, step: &mut Step<'_, '_>) -> Result<(), Diagnostic> {
    let mut text = String::from("LABEL");
    for (key, value) in &label.pairs {
        let (key, value) = (step.expand(key)?, step.expand(value)?);
        step.see(Seen::Pair { key: key.clone(), is_legacy: label.is_legacy });
        text += &format!(" {key}={value}");
        step.stage.config.config.labels.insert(key, value);
    }
    step.record(text, false);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::lower::tests::Case;

    #[test]
    fn keys_are_expanded_and_the_last_value_counts() {
        let case = Case::new("FROM scratch\nENV k=key\nLABEL \"$k\"=v a=1\nLABEL a=2\n");
        let labels = case.config().config.labels;
        assert_eq!(labels.into_iter().collect::<Vec<_>>(), [("a".into(), "2".into()), ("key".into(), "v".into())]);
        assert_eq!(case.history()[1..], ["LABEL key=v a=1", "LABEL a=2"]);
    }
}
