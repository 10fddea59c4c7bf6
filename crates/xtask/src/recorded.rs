//! Which tables of recorded cases are answered anew, and where do the answers go?

use std::fs;
use std::path::Path;

use anyhow::Result;
use slipway_test::recorded_table::{self, RecordedCase};

/// Has `answer` answer each case of the tables in `tables` whose name contains `filter`, with an empty folder to work in,
/// and writes the tables.
pub(crate) fn answer_all(
    tables: &Path,
    filter: &str,
    mut answer: impl FnMut(&mut RecordedCase, &Path) -> Result<()>,
) -> Result<()> {
    for entry in fs::read_dir(tables)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().contains(filter) {
            continue;
        }
        let path = entry.path();
        let mut cases = recorded_table::parse(&fs::read_to_string(&path)?);
        for case in &mut cases {
            let folder = tempfile::tempdir()?;
            answer(case, folder.path())?;
        }
        fs::write(&path, recorded_table::format(&cases))?;
        println!("{} cases in {}", cases.len(), path.display());
    }
    Ok(())
}
