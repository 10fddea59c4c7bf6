//! Answers one question: what does the reference builder make of each row of the tables in
//! `crates/slipway-dockerfile/tests/`?
//!
//! - `words.txt`: words and what they expand to. All words are labels of one image, so that one build answers them all;
//!   one that cannot be expanded ends the build, is noted, and left out of the next.
//! - `paths.txt`: patterns and the files that they select, one build each.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use slipway_test::image::Image;

use crate::record::ensure_answered;

/// The tables' folder, below the root of the workspace.
const FOLDER: &str = "crates/slipway-dockerfile/tests";

/// Fills in the answers of both tables.
pub(crate) fn run(root: &Path, enter: &Path) -> Result<()> {
    let folder = root.join(FOLDER);
    let reference = Reference { enter: enter.to_owned(), folder: tempfile::tempdir()? };
    rewrite(&folder.join("words.txt"), |text| words(text, &reference))?;
    rewrite(&folder.join("paths.txt"), |text| paths(text, &reference))
}

fn rewrite(path: &Path, answer: impl FnOnce(&str) -> Result<String>) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("read({})", path.display()))?;
    fs::write(path, answer(&text)?)?;
    println!("{} recorded", path.display());
    Ok(())
}

/// The reference builder, and a folder to work in.
struct Reference {
    enter: PathBuf,
    folder: tempfile::TempDir,
}

impl Reference {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Builds `context` as `dockerfile` says, into `output`. Gives what the builder said if it failed.
    fn build(&self, dockerfile: &str, output: &str) -> Result<Result<(), String>> {
        fs::write(self.path("Dockerfile"), dockerfile)?;
        fs::create_dir_all(self.path("context"))?;
        let done = Command::new(&self.enter)
            .args(["docker", "buildx", "build", "--progress=plain", "--provenance=false", "-f", "Dockerfile", "-o"])
            .args([output, "context"])
            .current_dir(self.folder.path())
            .output()
            .context("run(docker buildx build)")?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        if done.status.success() {
            return Ok(Ok(()));
        }
        ensure_answered(&said)?;
        Ok(Err(said))
    }
}

/// `words.txt` with its answers. The rows are `variable NAME VALUE` and `ESCAPE WORD ANSWER`, parted by tabs.
fn words(text: &str, reference: &Reference) -> Result<String> {
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut answers: BTreeMap<usize, String> = BTreeMap::new();
    for escape in ["\\", "`"] {
        let mut open: Vec<usize> = (0..rows.len()).filter(|at| rows[*at][0] == escape).collect();
        while !open.is_empty() {
            let (dockerfile, n_before) = labels(&rows, escape, &open);
            match reference.build(&dockerfile, "type=oci,dest=image.tar")? {
                Ok(()) => {
                    let labels = Image::read(&reference.path("image.tar"))?.labels();
                    for at in open.drain(..) {
                        let value = labels.get(&format!("w{at}")).with_context(|| format!("no label w{at}"))?;
                        answers.insert(at, format!("= {value}"));
                    }
                }
                Err(said) => {
                    let line = failed_line(&said)?;
                    let at = open.remove(line - n_before - 1);
                    answers.insert(at, format!("! {}", last_message(&said)?));
                }
            }
        }
    }
    let lines = rows.iter().enumerate().map(|(at, row)| match answers.get(&at) {
        Some(answer) => format!("{}\t{}\t{answer}\n", row[0], row[1]),
        None => row.join("\t") + "\n",
    });
    Ok(lines.collect())
}

/// A Dockerfile with a label for each of the rows `open`, and how many lines stand before the first.
fn labels(rows: &[Vec<&str>], escape: &str, open: &[usize]) -> (String, usize) {
    let mut lines = vec![format!("# escape={escape}"), "FROM scratch".to_owned()];
    let variables = rows.iter().filter(|row| row[0] == "variable");
    lines.extend(variables.map(|row| format!("ENV {}='{}'", row[1], row[2])));
    let n_before = lines.len();
    lines.extend(open.iter().map(|at| format!("LABEL w{at} {}", rows[*at][1])));
    (lines.join("\n") + "\n", n_before)
}

/// The line of `Dockerfile:LINE` in front of the excerpt.
fn failed_line(said: &str) -> Result<usize> {
    let place = said.lines().rev().find_map(|line| line.strip_prefix("Dockerfile:"));
    place.and_then(|line| line.parse().ok()).with_context(|| format!("no line in:\n{said}"))
}

/// The message of `ERROR: failed to build: failed to solve: MESSAGE`.
fn last_message(said: &str) -> Result<&str> {
    let message = said.lines().rev().find_map(|line| line.split_once("failed to solve: "));
    message.map(|(_, message)| message).with_context(|| format!("no message in:\n{said}"))
}

/// `paths.txt` with its answers.
///
/// The first line lists the files of the context. Then blocks follow, parted by empty lines: a line `ignore`, `exclude`
/// or `copy` says what the patterns are for, each line after it is a pattern, and the last one is the answer. A line
/// `~ why` in front of the answer is for slipway's test.
fn paths(text: &str, reference: &Reference) -> Result<String> {
    let (tree, blocks) = text.split_once("\n\n").context("paths.txt has no blocks")?;
    for path in tree.lines().filter(|line| !line.starts_with("# ")) {
        let path = reference.path("context").join(path);
        fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
        fs::write(path, "")?;
    }
    let mut answered = vec![tree.to_owned()];
    for block in blocks.trim_end().split("\n\n") {
        let lines: Vec<&str> =
            block.lines().filter(|line| !line.starts_with("=> ") && !line.starts_with("=! ")).collect();
        let (kind, patterns) = lines.split_first().context("a block is empty")?;
        let patterns: Vec<&str> = patterns.iter().filter(|line| !line.starts_with("~ ")).copied().collect();
        answered.push(format!("{}\n{}", lines.join("\n"), selected(kind, &patterns, reference)?));
    }
    Ok(answered.join("\n\n") + "\n")
}

/// What the patterns leave (`ignore`, `exclude`) or pick (`copy`).
fn selected(kind: &str, patterns: &[&str], reference: &Reference) -> Result<String> {
    let ignore_file = reference.path("Dockerfile.dockerignore");
    fs::write(&ignore_file, if kind == "ignore" { patterns.join("\n") + "\n" } else { String::new() })?;
    let dockerfile = match kind {
        "ignore" => "FROM scratch\nCOPY . /\n".to_owned(),
        "exclude" => {
            let flags: String = patterns.iter().map(|pattern| format!("--exclude={} ", quoted(pattern))).collect();
            format!("FROM scratch\nCOPY {flags}. /\n")
        }
        // From a stage, for of a context only those files are sent whose names fit the pattern as an ignore rule.
        "copy" => {
            let pattern = quoted(patterns.first().context("no pattern")?);
            format!("FROM scratch AS tree\nCOPY . /\nFROM scratch\nCOPY --from=tree {pattern} /d/\n")
        }
        _ => bail!("`{kind}` is no kind of patterns"),
    };
    let output = reference.path("output");
    if output.exists() {
        fs::remove_dir_all(&output)?;
    }
    if let Err(said) = reference.build(&dockerfile, "type=local,dest=output")? {
        return Ok(format!("=! {}", without_ref(last_message(&said)?)));
    }
    let mut files = Vec::new();
    files_below(&output, "", &mut files)?;
    files.sort();
    ensure!(files.iter().all(|file| !file.contains(' ')), "a name with a blank cannot be noted");
    Ok(format!("=> {}", files.join(" ")))
}

/// `message` without the name of what was looked through, which is another one each time.
fn without_ref(message: &str) -> &str {
    message.split_once(" of ref ").and_then(|(_, rest)| rest.split_once(": ")).map_or(message, |(_, reason)| reason)
}

/// `pattern` as a word that means itself.
fn quoted(pattern: &str) -> String {
    pattern.chars().flat_map(|c| ["\\'\"$ ".contains(c).then_some('\\'), Some(c)]).flatten().collect()
}

fn files_below(folder: &Path, prefix: &str, files: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let path = format!("{prefix}{}", OsStr::to_string_lossy(&name));
        if entry.file_type()?.is_dir() {
            files_below(&entry.path(), &format!("{path}/"), files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
