//! Answers one question: what does the reference's `bake` say to each case of `crates/slipway/tests/bake/`?

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use slipway_test::recorded_table;

/// Asks about every case of the tables whose name contains `filter`, and writes the answers into the tables.
pub(crate) fn run(root: &Path, enter: &Path, filter: &str) -> Result<()> {
    let enter = enter.to_str().context("the path of the reference is no text")?;
    for entry in fs::read_dir(root.join("crates/slipway/tests/bake"))? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().contains(filter) {
            continue;
        }
        let path = entry.path();
        let mut cases = recorded_table::parse(&fs::read_to_string(&path)?);
        for case in &mut cases {
            let folder = tempfile::tempdir()?;
            case.answer = case.run(&[enter], &["docker", "buildx"], folder.path())?;
        }
        fs::write(&path, recorded_table::format(&cases))?;
        println!("{} cases in {}", cases.len(), path.display());
    }
    Ok(())
}
