//! The scripts of `RUN` as a shell would get them, for linters of shell scripts, and what those found.

use std::collections::BTreeSet;

use slipway_dockerfile::{Args, Dockerfile, Heredoc, Instruction, Keyword};

use crate::Severity;
use crate::source::{Base, Shell, Source, Step, is_shell_script};

/// The language of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Sh,
    Bash,
    Dash,
    Ksh,
}

impl Dialect {
    /// The program that reads it.
    pub fn program(self) -> &'static str {
        match self {
            Dialect::Sh => "sh",
            Dialect::Bash => "bash",
            Dialect::Dash => "dash",
            Dialect::Ksh => "ksh",
        }
    }
}

/// A script of a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// With a line for each line of the file, so that lines can be told back. Ends in a line break.
    pub text: String,
    pub dialect: Dialect,
    /// The line of the file that the text begins in, from 1.
    pub first_line: usize,
    /// Names of variables that have a value when it runs.
    pub variables: Vec<String>,
}

/// What a linter of shell scripts says about a line of the Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShellFinding {
    /// As the linter calls it: `SC2086`.
    pub code: String,
    pub severity: Severity,
    pub line: usize,
    pub message: String,
}

/// What a builder gives every step a value for if the user has one.
const PROXIES: [&str; 8] =
    ["FTP_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "ftp_proxy", "http_proxy", "https_proxy", "no_proxy"];

/// The scripts of all `RUN` instructions whose shell is known, in the order of the file.
pub fn scripts(dockerfile: &Dockerfile) -> Vec<Script> {
    let source = Source::of(dockerfile, None);
    let (mut scripts, mut lines) = (Vec::new(), Lines { text: &dockerfile.text, offset: 0, line: 1 });
    let mut by_stage: Vec<BTreeSet<String>> = Vec::new();
    for stage in &source.stages {
        let mut variables = match stage.base {
            Base::Stage(below) => by_stage[below].clone(),
            _ => BTreeSet::new(),
        };
        for step in &stage.steps {
            variables.extend(names_set_by(&step.instruction));
            if let Some((start, text, dialect)) = script(dockerfile, step) {
                let proxies = PROXIES.into_iter().map(str::to_owned);
                let names = variables.iter().cloned().chain(proxies).collect();
                scripts.push(Script { text, dialect, first_line: lines.line_of(start), variables: names });
            }
        }
        by_stage.push(variables);
    }
    scripts
}

/// Where the script of a step begins, and what a shell would read.
fn script(dockerfile: &Dockerfile, step: &Step<'_>) -> Option<(usize, String, Dialect)> {
    let Shell::Posix { dialect: Some(dialect), .. } = step.shell else { return None };
    let (true, Args::Raw(script)) = (step.is(Keyword::Run), &step.instruction.args) else { return None };
    if step.is_trigger {
        // Its lines are joined already.
        let start = dockerfile.instructions.iter().find(|written| written.lines == step.lines)?.span.start;
        return Some((start, script.text.clone() + "\n", dialect));
    }
    match &step.instruction.heredocs[..] {
        [] => {
            let range = script.span.range();
            let text = with_shell_lines(dockerfile.text.get(range.clone())?, dockerfile.directives.escape);
            Some((range.start, text, dialect))
        }
        [body] if script.text.trim() == body.word.text && is_shell_script(body) => {
            let dialect = named_dialect(body).unwrap_or(dialect);
            Some((body.body_span.start, body.stripped_body(), dialect))
        }
        _ => None,
    }
}

/// The shell that the first line of a heredoc names.
fn named_dialect(body: &Heredoc) -> Option<Dialect> {
    let words: Vec<&str> = body.body.strip_prefix("#!")?.lines().next()?.split_ascii_whitespace().collect();
    match Shell::of(&words) {
        Shell::Posix { dialect, .. } => dialect,
        Shell::Other => None,
    }
}

/// `text` of a Dockerfile with its lines joined as a shell joins them: comments and empty lines between continued ones
/// are nothing to a Dockerfile, and the end to a shell.
fn with_shell_lines(text: &str, escape: char) -> String {
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim_end();
        let is_nothing = index > 0 && (trimmed.is_empty() || trimmed.trim_start().starts_with('#'));
        lines.push(match trimmed.strip_suffix(escape) {
            _ if is_nothing => "\\".to_owned(),
            Some(continued) => format!("{continued}\\"),
            None => line.to_owned(),
        });
    }
    lines.join("\n") + "\n"
}

/// Names that `ENV` and `ARG` give values to, as far as a shell can have them.
fn names_set_by(instruction: &Instruction) -> impl Iterator<Item = String> {
    let words: Vec<&str> = match (&instruction.keyword, &instruction.args) {
        (Keyword::Env, Args::Pairs { pairs, .. }) => pairs.iter().map(|(name, _)| name.text.as_str()).collect(),
        (Keyword::Arg, Args::Words(words)) => words.iter().map(|word| word.text.as_str()).collect(),
        _ => Vec::new(),
    };
    let is_name = |name: &String| {
        name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
    };
    let names: Vec<String> = words.iter().map(|word| word.split('=').next().unwrap_or(word).to_owned()).collect();
    names.into_iter().filter(is_name)
}

/// Counts lines; asked for places in their order, so that a file is gone through once.
struct Lines<'a> {
    text: &'a str,
    offset: usize,
    line: usize,
}

impl Lines<'_> {
    fn line_of(&mut self, offset: usize) -> usize {
        let between = self.text.as_bytes().get(self.offset..offset).unwrap_or_default();
        self.line += between.iter().filter(|byte| **byte == b'\n').count();
        self.offset = self.offset.max(offset);
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scripts_of(text: &str) -> Vec<Script> {
        scripts(&slipway_dockerfile::parse(text.as_bytes()).0)
    }

    #[test]
    fn lines_of_a_script_are_lines_of_the_file() {
        let text =
            "FROM a\n\nRUN --mount=type=cache,target=/c \\\n  # why\n  echo a && \\\n\n  # not\n  echo b\nRUN x\n";
        let found = scripts_of(text);
        assert_eq!(found.len(), 2);
        for (script, first) in found.iter().zip(["echo a && \\", "x"]) {
            assert_eq!(script.text.lines().next(), Some(first));
            assert!(text.lines().nth(script.first_line - 1).unwrap().contains(first.split(' ').next().unwrap()));
        }
        assert_eq!(found[0].text, "echo a && \\\n\\\n\\\n  echo b\n");
        assert_eq!(found[1].first_line, 9);
    }

    #[test]
    fn the_escape_of_the_file_becomes_that_of_the_shell() {
        assert_eq!(scripts_of("# escape=`\nFROM a\nRUN a `\n  b\n")[0].text, "a \\\n  b\n");
    }

    #[test]
    fn the_shell_is_the_one_of_the_stage_or_of_the_script() {
        let text = "FROM a\nRUN x\nSHELL [\"/bin/bash\", \"-c\"]\nRUN x\nRUN <<E\n#!/bin/ksh\nx\nE\nRUN <<E\n#!/bin/python\nE\n\
                    SHELL [\"pwsh\", \"-c\"]\nRUN x\nFROM b\n# hadolint shell = dash\nRUN x\nRUN [\"x\"]\nONBUILD RUN x\n";
        let dialects: Vec<&str> = scripts_of(text).iter().map(|script| script.dialect.program()).collect();
        assert_eq!(dialects, ["sh", "bash", "ksh", "dash", "dash"]);
        let text = "# hadolint shell=powershell.exe\nARG x\nFROM a\nRUN x\nFROM b\nRUN x\n";
        assert_eq!(scripts_of(text), []);
    }

    #[test]
    fn variables_are_those_of_the_stage_and_what_it_stands_on() {
        let text = "ARG G=1\nFROM a AS x\nENV b=1 c.d=2\nRUN x\nFROM x\nARG a=2 e\nRUN x\nFROM a\nRUN x\n";
        let variables = scripts_of(text).into_iter().map(|script| {
            let (own, proxies) = script.variables.split_at(script.variables.len() - PROXIES.len());
            assert_eq!(proxies, PROXIES);
            own.to_vec()
        });
        assert_eq!(variables.collect::<Vec<_>>(), [vec!["b"], vec!["a", "b", "e"], vec![]]);
    }
}
