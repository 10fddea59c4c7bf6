//! Answers one question: what does the reference answer to `--help`, so that a test can compare the flags?

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Asks about every command that `crates/slipway/tests/help` has a file for, named after it: `buildx_build.txt`.
pub(crate) fn run(root: &Path, enter: &Path) -> Result<()> {
    for entry in fs::read_dir(root.join("crates/slipway/tests/help"))? {
        let path = entry?.path();
        let command = path.file_stem().context("a file has a name")?.to_string_lossy().replace('_', " ");
        let output = Command::new(enter).arg("docker").args(command.split(' ')).arg("--help").output()?;
        ensure!(output.status.success(), "docker {command} --help: {}", String::from_utf8_lossy(&output.stderr));
        fs::write(&path, output.stdout)?;
    }
    Ok(())
}
