//! `MAINTAINER name`: the image's author (deprecated in favour of a label).

use super::{flags, one_argument};
use crate::stage_builder::Step;
use crate::{Diagnostic, Instruction};

#[derive(Clone, Debug)]
pub(crate) struct Maintainer(String);

pub(super) fn check(instruction: &Instruction) -> Result<Maintainer, Diagnostic> {
    flags::check_none(instruction)?;
    Ok(Maintainer(one_argument(instruction)))
}

pub(super) fn lower(maintainer: &Maintainer, step: &mut Step<'_, '_>) -> Result<(), Diagnostic> {
    step.record(format!("MAINTAINER {}", maintainer.0), false);
    step.stage.config.author = Some(maintainer.0.clone());
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::lower::tests::Case;

    #[test]
    fn the_author_is_not_expanded() {
        let case = Case::new("FROM scratch\nMAINTAINER me $A <x&y>\n");
        assert_eq!(case.config().author.as_deref(), Some("me $A <x&y>"));
        assert_eq!(case.history(), ["MAINTAINER me $A <x&y>"]);
    }
}
