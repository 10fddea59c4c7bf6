//! What ShellCheck says about the scripts of `RUN`, where it is installed.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use slipway_lint::{Script, Severity, ShellFinding, scripts};
use slipway_sandbox::find_program;

/// A command line has room for so many file names of ours.
const MAX_SCRIPTS_AT_ONCE: usize = 500;

/// About files that a script reads, which are in the image, and about shells that images call by another name.
const POINTLESS: &str = "--exclude=SC1090,SC1091,SC2187";

/// Lines that are put in front of a script: its shell, and the variables that have a value.
const N_ADDED_LINES: usize = 2;

/// Why ShellCheck has nothing to say.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShellCheckError {
    #[error("cannot put scripts where ShellCheck finds them")]
    Write(#[source] io::Error),
    #[error("cannot run `{}`", program.display())]
    Run { program: PathBuf, source: io::Error },
    #[error("`{}` did not answer as ShellCheck does: {said}", program.display())]
    Answer { program: PathBuf, said: String },
}

#[derive(Deserialize)]
struct Answer {
    comments: Vec<Comment>,
}

#[derive(Deserialize)]
struct Comment {
    file: PathBuf,
    line: usize,
    level: String,
    code: u32,
    message: String,
}

/// What is found in each of `texts`, in their order; nothing if ShellCheck is nowhere in `search_path`.
pub(super) fn check(texts: &[&[u8]], search_path: &OsStr) -> Result<Vec<Vec<ShellFinding>>, ShellCheckError> {
    let mut findings = vec![Vec::new(); texts.len()];
    let Some(program) = find_program(search_path, "shellcheck") else { return Ok(findings) };
    let mut all: Vec<(usize, Script)> = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let (dockerfile, _) = slipway_dockerfile::parse(text);
        all.extend(scripts(&dockerfile).into_iter().map(|script| (index, script)));
    }
    let folder = tempfile::tempdir().map_err(ShellCheckError::Write)?;
    for chunk in all.chunks(MAX_SCRIPTS_AT_ONCE) {
        for (name, (_, script)) in chunk.iter().enumerate() {
            fs::write(folder.path().join(name.to_string()), shell_text(script)).map_err(ShellCheckError::Write)?;
        }
        for comment in ask(&program, folder.path(), chunk.len())? {
            let name = comment.file.to_str().and_then(|name| name.parse::<usize>().ok());
            let Some((index, script)) = name.and_then(|name| chunk.get(name)) else { continue };
            // What it says about the lines that were added is nothing that the user wrote.
            let Some(line) = comment.line.checked_sub(N_ADDED_LINES + 1) else { continue };
            findings[*index].push(ShellFinding {
                code: format!("SC{}", comment.code),
                severity: comment.level.parse().unwrap_or(Severity::Info),
                line: script.first_line + line,
                message: one_line(&comment.message),
            });
        }
    }
    Ok(findings)
}

/// A script with what it needs to know in front.
fn shell_text(script: &Script) -> String {
    let variables: String = script.variables.iter().map(|name| format!(" {name}=x")).collect();
    let export = if variables.is_empty() { String::new() } else { format!("export{variables}") };
    format!("#!/bin/{}\n{export}\n{}", script.dialect.program(), script.text)
}

fn ask(program: &Path, folder: &Path, n_scripts: usize) -> Result<Vec<Comment>, ShellCheckError> {
    let output = Command::new(program)
        .args(["--norc", "--format=json1", POINTLESS])
        .args((0..n_scripts).map(|name| name.to_string()))
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| ShellCheckError::Run { program: program.to_owned(), source })?;
    let answer = serde_json::from_slice::<Answer>(&output.stdout).map_err(|_| ShellCheckError::Answer {
        program: program.to_owned(),
        said: one_line(&String::from_utf8_lossy(&output.stderr)),
    })?;
    Ok(answer.comments)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}
