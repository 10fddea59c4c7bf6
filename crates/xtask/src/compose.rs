//! Answers one question: what does the reference's `compose` say to each case of `crates/slipway/tests/compose/`?

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use slipway_test::bake_table;

/// Asks about every case of every table, and writes the answers into the tables.
pub(crate) fn run(root: &Path, enter: &Path) -> Result<()> {
    let enter = enter.to_str().context("the path of the reference is no text")?;
    for entry in fs::read_dir(root.join("crates/slipway/tests/compose"))? {
        let path = entry?.path();
        let mut cases = bake_table::parse(&fs::read_to_string(&path)?);
        for case in &mut cases {
            let temporary = tempfile::tempdir()?;
            // The name of the folder is that of the project.
            let folder = temporary.path().join("demo");
            fs::create_dir(&folder)?;
            case.answer = case.run(&[enter], &["docker"], &folder)?;
        }
        fs::write(&path, bake_table::format(&cases))?;
        println!("{} cases in {}", cases.len(), path.display());
    }
    Ok(())
}
