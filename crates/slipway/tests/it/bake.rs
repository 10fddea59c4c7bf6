//! `slipway bake --print` and `--list` give what the reference gives, byte for byte.

use std::fs;
use std::path::Path;

use slipway_test::recorded_table;

use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[test("agrees_with_the_reference", agrees_with_the_reference)];

fn agrees_with_the_reference() {
    assert_agreement("bake");
}

/// Each case of the tables in `tests/<kind>` has the recorded answer. The folder's name becomes that of the project.
#[track_caller]
pub(crate) fn assert_agreement(kind: &str) {
    let tables = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(kind);
    let mut differences = Vec::new();
    let mut n_cases = 0;
    for entry in fs::read_dir(tables).unwrap() {
        let path = entry.unwrap().path();
        for case in recorded_table::parse(&fs::read_to_string(&path).unwrap()) {
            let temporary = tempfile::tempdir().unwrap();
            let folder = temporary.path().join("demo");
            fs::create_dir_all(&folder).unwrap();
            let answer = case.run(&[], &[env!("CARGO_BIN_EXE_slipway")], &folder).unwrap();
            n_cases += 1;
            if answer != case.answer {
                let table = path.file_name().unwrap_or_default().display();
                differences.push(format!(
                    "{table}: {}\n  wanted: {}\n{}\n  got: {}\n{}",
                    case.title, case.answer.error, case.answer.stdout, answer.error, answer.stdout
                ));
            }
        }
    }
    assert!(n_cases > 0, "no cases were found");
    assert!(differences.is_empty(), "{} of {n_cases} differ:\n{}", differences.len(), differences.join("\n"));
}
