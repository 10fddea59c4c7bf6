//! Answers one question: what does the reference's `bake` say to each case of `crates/slipway/tests/bake/`?

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::recorded::answer_all;

/// Asks about every case of the tables whose name contains `filter`, and writes the answers into the tables.
pub(crate) fn run(root: &Path, enter: &Path, filter: &str) -> Result<()> {
    let enter = enter.to_str().context("the path of the reference is no text")?;
    answer_all(&root.join("crates/slipway/tests/bake"), filter, |case, folder| {
        case.answer = case.run(&[enter], &["docker", "buildx"], folder)?;
        Ok(())
    })
}
