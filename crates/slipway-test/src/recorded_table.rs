//! Answers one question: what does a table of cases of `bake` or `compose` say?
//!
//! ```text
//! === a title that says what the case shows
//! $ NAME=value bake --print a
//! --- docker-bake.hcl
//! target "a" {}
//! --- stdout
//! {…}
//! --- error
//! ERROR: failed to find target a
//! ```
//!
//! `stdout` and `error`, the last line of standard error of a run that failed, are written by
//! `cargo xtask record-bake`, `record-compose` and `record-compose-images` alone. The folder that the files are in is
//! called `@folder@` there.

use std::path::Path;
use std::process::{Command, Stdio};
use std::{fs, io};

/// One case of a table.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct RecordedCase {
    pub title: String,
    /// `NAME=value … bake …` or `… compose …`, split at blanks; `@` in a word stands for a blank.
    pub words: Vec<String>,
    /// Names and texts.
    pub files: Vec<(String, String)>,
    pub answer: RecordedAnswer,
}

/// What a run came to.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct RecordedAnswer {
    pub stdout: String,
    /// The last line of standard error; empty after a success.
    pub error: String,
}

/// The cases of a table.
pub fn parse(text: &str) -> Vec<RecordedCase> {
    let mut cases: Vec<RecordedCase> = Vec::new();
    let mut section: Option<String> = None;
    for line in text.split_inclusive('\n') {
        if let Some(title) = line.strip_prefix("=== ") {
            cases.push(RecordedCase { title: title.trim_end().to_owned(), ..RecordedCase::default() });
            section = None;
            continue;
        }
        let Some(case) = cases.last_mut() else { continue };
        if let Some(name) = line.strip_prefix("--- ") {
            let name = name.trim_end().to_owned();
            if name != "stdout" && name != "error" {
                case.files.push((name.clone(), String::new()));
            }
            section = Some(name);
            continue;
        }
        match section.as_deref() {
            None => case.words.extend(
                line.strip_prefix("$ ").unwrap_or_default().split_whitespace().map(|word| word.replace('@', " ")),
            ),
            Some("stdout") => case.answer.stdout.push_str(line),
            Some("error") => case.answer.error = line.trim_end().to_owned(),
            Some(_) => {
                if let Some((_, text)) = case.files.last_mut() {
                    text.push_str(line);
                }
            }
        }
    }
    cases
}

/// The table that [`parse`] reads back.
pub fn format(cases: &[RecordedCase]) -> String {
    let mut text = String::new();
    for case in cases {
        let words: Vec<String> = case.words.iter().map(|word| word.replace(' ', "@")).collect();
        text.push_str(&format!("=== {}\n$ {}\n", case.title, words.join(" ")));
        for (name, content) in &case.files {
            text.push_str(&format!("--- {name}\n{content}"));
        }
        if !case.answer.stdout.is_empty() {
            text.push_str(&format!("--- stdout\n{}", case.answer.stdout));
        }
        if !case.answer.error.is_empty() {
            text.push_str(&format!("--- error\n{}\n", case.answer.error));
        }
    }
    text
}

impl RecordedCase {
    /// Carries the case out in `folder`, which is empty, with `program`; `around` are words that run a program
    /// elsewhere.
    pub fn run(&self, around: &[&str], program: &[&str], folder: &Path) -> io::Result<RecordedAnswer> {
        for (name, text) in &self.files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            fs::write(path, text)?;
        }
        // `~` is the same folder wherever a case is carried out.
        let words = [around, &["env", "-u", "SOURCE_DATE_EPOCH", "HOME=/root"]].concat();
        let is_command = |word: &&String| matches!(word.as_str(), "bake" | "compose");
        let n_variables = self.words.iter().take_while(|word| !is_command(word)).count();
        let (variables, arguments) = self.words.split_at(n_variables);
        let output = Command::new(words[0])
            .args(&words[1..])
            .args(variables)
            .args(program)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .output()?;
        let folder = folder.to_string_lossy();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(folder.as_ref(), "@folder@");
        let stderr = text(&output.stderr);
        let is_success = output.status.success();
        let mut stdout = text(&output.stdout);
        // A table has whole lines only.
        if !stdout.is_empty() && !stdout.ends_with('\n') {
            stdout.push('\n');
        }
        // Nor do they keep blanks at the end of an error.
        let error = if is_success { "" } else { stderr.lines().last().unwrap_or_default().trim_end() };
        Ok(RecordedAnswer { stdout, error: error.to_owned() })
    }
}
