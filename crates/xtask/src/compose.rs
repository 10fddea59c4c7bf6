//! Answers one question: what does the reference's `compose` say to each case of `crates/slipway/tests/compose/`?

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use slipway_test::base::Base;
use slipway_test::recorded_images;

use crate::recorded::answer_all;

/// Asks about every case of the tables whose name contains `filter`, and writes the answers into the tables.
pub(crate) fn run(root: &Path, enter: &Path, filter: &str) -> Result<()> {
    let enter = enter.to_str().context("the path of the reference is no text")?;
    answer_all(&root.join("crates/slipway/tests/compose"), filter, |case, folder| {
        case.answer = case.run(&[enter], &["docker"], &project_folder(folder)?)?;
        case.answer.stdout = with_sorted_targets(&case.answer.stdout);
        Ok(())
    })
}

/// Builds every case of `crates/slipway/tests/compose_images/` whose table's name contains `filter`, and writes what is in
/// the images into the tables.
pub(crate) fn run_images(root: &Path, enter: &Path, base: &Base, filter: &str) -> Result<()> {
    let enter = enter.to_str().context("the path of the reference is no text")?;
    answer_all(&root.join("crates/slipway/tests/compose_images"), filter, |case, folder| {
        let answer = case.run(&[enter], &["docker"], &project_folder(folder)?)?;
        ensure!(answer.error.is_empty(), "{}: {}", case.title, answer.error);
        case.answer.stdout = recorded_images::contents(case, &[enter, "docker"], &[], base)?;
        let names = recorded_images::names(case)?;
        let removed = Command::new(enter).args(["docker", "rmi"]).args(names).output()?;
        let said = String::from_utf8_lossy(&removed.stderr);
        ensure!(removed.status.success(), "{}: the images stay: {said}", case.title);
        Ok(())
    })
}

/// A folder in `folder` whose name is that of the project.
fn project_folder(folder: &Path) -> Result<PathBuf> {
    let project = folder.join("demo");
    fs::create_dir(&project)?;
    Ok(project)
}

/// The order of the targets that `build --print` lists differs from run to run of the reference.
fn with_sorted_targets(text: &str) -> String {
    let is_inner = |line: &&str| line.trim() != "]";
    let Some(start) = text.lines().position(|line| line.trim() == "\"targets\": [") else { return text.to_owned() };
    let lines: Vec<&str> = text.lines().collect();
    let (before, rest) = lines.split_at(start + 1);
    let n_targets = rest.iter().copied().take_while(is_inner).count();
    let mut targets: Vec<&str> = rest[..n_targets].iter().map(|line| line.trim_end_matches(',')).collect();
    targets.sort_unstable();
    let targets = targets.join(",\n");
    [before, &[targets.as_str()], &rest[n_targets..]].concat().join("\n") + "\n"
}
