//! How much may the parts of a file make of each other?
//!
//! A stage takes over what its base has set, a step its variables, a trigger is carried out in each stage on top of it:
//! a file of a megabyte could ask for terabytes. Nothing that people write comes near the limit.

use std::cell::Cell;

const MAX_BYTES: usize = 256 << 20;
/// What any value costs, however short.
const PER_VALUE_BYTES: usize = 64;

/// Counts the bytes that are taken over from one place of a file to another. Those who expand words only look, and yet
/// have to tell what came out: hence a cell.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    taken: Cell<usize>,
}

impl Budget {
    /// Counts `n_bytes`.
    pub(crate) fn take(&self, n_bytes: usize) {
        self.taken.set(self.taken.get().saturating_add(n_bytes));
    }

    /// Says so if it is too much by now.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.taken.get() <= MAX_BYTES {
            return Ok(());
        }
        let limit = MAX_BYTES >> 20;
        Err(format!(
            "the stages and steps up to here take over more than {limit} MiB from each other and from variables"
        ))
    }
}

/// What it costs to take `values` over.
pub(crate) fn cost<'v>(values: impl IntoIterator<Item = &'v str>) -> usize {
    values.into_iter().map(|value| PER_VALUE_BYTES + value.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::{Budget, MAX_BYTES, cost};

    #[test]
    fn the_limit_itself_is_allowed() {
        let budget = Budget::default();
        budget.take(MAX_BYTES);
        assert_eq!(budget.check(), Ok(()));
        budget.take(1);
        assert!(budget.check().is_err());
        budget.take(usize::MAX);
        assert!(budget.check().is_err());
    }

    #[test]
    fn empty_values_cost_something() {
        assert!(cost(["", ""]) > 0);
    }
}
