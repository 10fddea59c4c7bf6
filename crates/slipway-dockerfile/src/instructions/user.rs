//! `USER`: who later steps and containers run as.

use super::{flags, one_argument};
use crate::stage_builder::Step;
use crate::{Diagnostic, Instruction};

#[derive(Clone, Debug)]
pub(crate) struct User(String);

pub(super) fn check(instruction: &Instruction) -> Result<User, Diagnostic> {
    flags::check_none(instruction)?;
    Ok(User(one_argument(instruction)))
}

pub(super) fn lower(user: &User, step: &mut Step<'_, '_>) -> Result<(), Diagnostic> {
    let user = step.expand(&user.0)?;
    step.record(format!("USER {user}"), false);
    step.stage.config.config.user = user;
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::lower::tests::{Case, errors};

    #[test]
    fn the_user_is_expanded_and_stored() {
        let case = Case::new("FROM scratch\nUSER ${U:-nobody}\n");
        assert_eq!(case.config().config.user, "nobody");
        assert_eq!(case.history(), ["USER nobody"]);
        assert_eq!(errors("FROM scratch\nUSER\n"), ["USER requires exactly one argument"]);
    }
}
