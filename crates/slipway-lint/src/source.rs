//! A Dockerfile as rules look at it: stages that know their base, and instructions of which scripts are taken apart.

use std::borrow::Cow;

use slipway_dockerfile::{Args, Dockerfile, Heredoc, Instruction, Keyword, Span, parse_trigger};
use slipway_graph::LineRange;

use crate::scripts::Dialect;
use crate::shell::{self, Command};

/// The file, and what is known of what lies around it.
pub(crate) struct Source<'a> {
    pub(crate) dockerfile: &'a Dockerfile,
    pub(crate) stages: Vec<Stage<'a>>,
    /// Whether the folder of the file has an ignore file; `None` if nobody looked.
    pub(crate) has_ignore_file: Option<bool>,
}

/// From one `FROM` to the next.
pub(crate) struct Stage<'a> {
    pub(crate) from: &'a Instruction,
    /// In lower case.
    pub(crate) name: Option<String>,
    pub(crate) base: Base,
    /// Everything after `FROM`.
    pub(crate) steps: Vec<Step<'a>>,
}

/// What `FROM` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    Scratch,
    /// An earlier stage, by index.
    Stage(usize),
    Image(ImageName),
}

/// The parts of an image name as it is written, variables and all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageName {
    pub(crate) whole: String,
    /// Up to the first `/`, if that names a host.
    pub(crate) registry: Option<String>,
    /// Without tag and digest.
    pub(crate) repository: String,
    pub(crate) tag: Option<String>,
    pub(crate) has_digest: bool,
}

impl ImageName {
    pub(crate) fn parse(whole: &str) -> ImageName {
        let (name, has_digest) = match whole.split_once('@') {
            Some((name, _)) => (name, true),
            None => (whole, false),
        };
        // A colon in front of a slash belongs to the port; one inside `${X:-y}` to the variable.
        let colon = name.rfind(':').filter(|at| !name[*at..].contains('/') && !name[*at..].contains('}'));
        let (repository, tag) = match colon {
            Some(at) => (&name[..at], Some(name[at + 1..].to_owned())),
            None => (name, None),
        };
        let host = repository.split_once('/').map(|(host, _)| host);
        let registry = host.filter(|host| host.contains(['.', ':', '$']) || *host == "localhost").map(str::to_owned);
        ImageName { whole: whole.to_owned(), registry, repository: repository.to_owned(), tag, has_digest }
    }

    pub(crate) fn has_variable(&self) -> bool {
        self.whole.contains('$')
    }
}

/// An instruction of a stage; that of a trigger is taken out of its `ONBUILD`.
pub(crate) struct Step<'a> {
    pub(crate) instruction: Cow<'a, Instruction>,
    /// In the file, also for a trigger.
    pub(crate) lines: LineRange,
    /// Spans point into the file.
    pub(crate) is_trigger: bool,
    /// Of a `RUN`.
    pub(crate) commands: Vec<Command>,
    /// The shell that a `RUN` is for.
    pub(crate) shell: Shell,
}

/// What reads the scripts of `RUN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shell {
    /// The Bourne shell and its descendants; `dialect` is `None` where linters of scripts have no word for it.
    Posix { dialect: Option<Dialect>, fails_in_pipes: bool },
    /// PowerShell, `cmd` and others that nothing is known about.
    Other,
}

impl Shell {
    const DEFAULT: Shell = Shell::Posix { dialect: Some(Dialect::Sh), fails_in_pipes: false };

    pub(crate) fn of(words: &[&str]) -> Shell {
        let program = words.first().map_or("", |word| word.rsplit(['/', '\\']).next().unwrap_or(word));
        // What is called `sh` may be a shell that has no such option.
        let has_option = !matches!(program, "sh" | "dash");
        let fails_in_pipes = has_option && words.iter().any(|word| *word == "pipefail" || word.ends_with("o pipefail"));
        let dialect = match program {
            "sh" => Some(Dialect::Sh),
            "bash" => Some(Dialect::Bash),
            "ash" | "dash" | "busybox" => Some(Dialect::Dash),
            "ksh" => Some(Dialect::Ksh),
            "zsh" => None,
            _ => return Shell::Other,
        };
        Shell::Posix { dialect, fails_in_pipes }
    }
}

impl<'a> Source<'a> {
    pub(crate) fn of(dockerfile: &'a Dockerfile, has_ignore_file: Option<bool>) -> Source<'a> {
        let mut stages: Vec<Stage<'a>> = Vec::new();
        // What a comment above the first stage names holds for all of them.
        let mut default_shell = Shell::DEFAULT;
        let mut shell = default_shell;
        for instruction in &dockerfile.instructions {
            if let (true, Some(named)) = (stages.is_empty(), shell_comment(instruction)) {
                default_shell = Shell::of(&[&named]);
            }
            if instruction.keyword == Keyword::From {
                stages.push(stage(instruction, &stages));
                shell = default_shell;
            } else if let Some(stage) = stages.last_mut() {
                if let Some(named) = shell_comment(instruction) {
                    shell = Shell::of(&[&named]);
                }
                if instruction.keyword == Keyword::Shell {
                    shell = Shell::of(&json_words(instruction));
                }
                stage.steps.push(step(dockerfile, instruction, shell));
            }
        }
        Source { dockerfile, stages, has_ignore_file }
    }

    /// The stage that `COPY --from=name`, `FROM name` of the stage `before` means.
    pub(crate) fn stage_called(&self, name: &str, before: usize) -> Option<usize> {
        stage_called(&self.stages[..before.min(self.stages.len())], name)
    }

    /// The stage and those that it stands on, the lowest last.
    pub(crate) fn chain(&self, index: usize) -> Vec<usize> {
        let mut chain = vec![index];
        while let Some(&Stage { base: Base::Stage(below), .. }) = chain.last().map(|last| &self.stages[*last]) {
            chain.push(below);
        }
        chain
    }

    /// Whether what a stage holds is in an image that somebody wants: the last one, or one that no stage uses.
    /// What only passes files on may be as large as it likes.
    pub(crate) fn ships(&self, index: usize) -> bool {
        let last = self.stages.len() - 1;
        if self.chain(last).contains(&index) {
            return true;
        }
        let is_used = (0..self.stages.len()).any(|other| self.needs(other).contains(&index));
        !is_used
    }

    /// Whether the layers of a stage are in the image of the last one, or below those of any other.
    pub(crate) fn stays(&self, index: usize) -> bool {
        let is_last = index == self.stages.len() - 1;
        is_last || self.stages.iter().any(|stage| stage.base == Base::Stage(index))
    }

    /// Stages in which and below which `is_wanted` is true of no step, apart from those that others only take files from
    /// and those that a stage with such a step stands on.
    pub(crate) fn stages_without(&self, is_wanted: impl Fn(&Step<'_>) -> bool) -> Vec<usize> {
        let own: Vec<bool> = self.stages.iter().map(|stage| stage.steps.iter().any(&is_wanted)).collect();
        let (mut is_below, mut is_above) = (own.clone(), own);
        for (index, stage) in self.stages.iter().enumerate() {
            if let Base::Stage(below) = stage.base {
                is_below[index] |= is_below[below];
            }
            let copied = stage.steps.iter().flat_map(|step| self.sources(step, index));
            copied.for_each(|other| is_above[other] = true);
        }
        for (index, stage) in self.stages.iter().enumerate().rev() {
            if let Base::Stage(below) = stage.base {
                is_above[below] |= is_above[index];
            }
        }
        (0..self.stages.len()).filter(|index| !is_below[*index] && !is_above[*index]).collect()
    }

    /// The stages that `index` stands on or takes files from.
    pub(crate) fn needs(&self, index: usize) -> Vec<usize> {
        let stage = &self.stages[index];
        let mut needs: Vec<usize> = stage.steps.iter().flat_map(|step| self.sources(step, index)).collect();
        if let Base::Stage(below) = stage.base {
            needs.push(below);
        }
        needs
    }

    fn sources(&self, step: &Step<'_>, index: usize) -> Vec<usize> {
        let copied = step.flag("from").map(str::to_owned);
        let mounted = step.mounts().into_iter().filter_map(|mount| mount.from);
        copied.into_iter().chain(mounted).filter_map(|name| self.stage_called(&name, index)).collect()
    }

    /// All stages that building the last one builds.
    pub(crate) fn reached(&self) -> Vec<bool> {
        let mut reached = vec![false; self.stages.len()];
        let mut open: Vec<usize> = self.stages.len().checked_sub(1).into_iter().collect();
        while let Some(index) = open.pop() {
            if !std::mem::replace(&mut reached[index], true) {
                open.extend(self.needs(index));
            }
        }
        reached
    }

    /// All steps with the index of their stage.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (usize, &Step<'a>)> {
        self.stages.iter().enumerate().flat_map(|(index, stage)| stage.steps.iter().map(move |step| (index, step)))
    }

    /// All commands with their step and the index of its stage.
    pub(crate) fn commands(&self) -> impl Iterator<Item = (usize, &Step<'a>, &Command)> {
        self.steps().flat_map(|(index, step)| step.commands.iter().map(move |command| (index, step, command)))
    }
}

fn stage<'a>(from: &'a Instruction, earlier: &[Stage<'a>]) -> Stage<'a> {
    let words = from.words();
    let name = match words[..] {
        [_, r#as, name, ..] if r#as.eq_ignore_ascii_case("as") => Some(name.to_lowercase()),
        _ => None,
    };
    let written = words.first().copied().unwrap_or_default();
    let base = match stage_called(earlier, written) {
        // A number names no stage here.
        Some(index) if written.parse::<usize>().is_err() => Base::Stage(index),
        _ if written == "scratch" => Base::Scratch,
        _ => Base::Image(ImageName::parse(written)),
    };
    Stage { from, name, base, steps: Vec::new() }
}

fn stage_called(stages: &[Stage<'_>], name: &str) -> Option<usize> {
    let wanted = name.to_lowercase();
    let by_name = stages.iter().rposition(|stage| stage.name.as_deref() == Some(&wanted));
    by_name.or_else(|| name.parse::<usize>().ok().filter(|index| *index < stages.len()))
}

fn step<'a>(dockerfile: &Dockerfile, instruction: &'a Instruction, shell: Shell) -> Step<'a> {
    let lines = instruction.lines;
    let (instruction, is_trigger) = match &instruction.args {
        Args::Trigger(word) => match parse_trigger(&word.text) {
            Ok(inner) => (Cow::Owned(inner), true),
            Err(_) => (Cow::Borrowed(instruction), false),
        },
        _ => (Cow::Borrowed(instruction), false),
    };
    let commands = match instruction.keyword == Keyword::Run {
        true => run_commands(dockerfile, &instruction, is_trigger, shell),
        false => Vec::new(),
    };
    Step { instruction, lines, is_trigger, commands, shell }
}

fn run_commands(dockerfile: &Dockerfile, run: &Instruction, is_trigger: bool, shell: Shell) -> Vec<Command> {
    if shell == Shell::Other {
        return Vec::new();
    }
    let script = match &run.args {
        Args::Json(words) => {
            return Command::of_exec_form(words.iter().map(|word| word.text.as_str())).into_iter().collect();
        }
        Args::Raw(script) => script,
        _ => return Vec::new(),
    };
    let escape = dockerfile.directives.escape;
    if is_trigger {
        let mut commands = shell::commands(&script.text, 0..script.text.len(), escape);
        for word in commands.iter_mut().flat_map(|command| &mut command.words) {
            word.span = Span::default();
        }
        return commands;
    }
    match &run.heredocs[..] {
        [] => shell::commands(&dockerfile.text, script.span.range(), escape),
        // `RUN <<EOF`: the body is the script, unless it names another interpreter.
        [body] if script.text.trim() == body.word.text && is_shell_script(body) => {
            let start = body.body_span.start;
            shell::commands(&dockerfile.text, start..start + body.body.len(), '\\')
        }
        [body] if script.text.trim() == body.word.text => Vec::new(),
        // What the bodies are depends on the programs that read them.
        _ => shell::commands(&dockerfile.text, script.span.range(), escape),
    }
}

pub(crate) fn is_shell_script(heredoc: &Heredoc) -> bool {
    heredoc.body.strip_prefix("#!").is_none_or(|rest| {
        let words: Vec<&str> = rest.lines().next().unwrap_or_default().split_ascii_whitespace().collect();
        let words = if words.first().is_some_and(|word| word.ends_with("/env")) { &words[1..] } else { &words[..] };
        Shell::of(words) != Shell::Other
    })
}

/// What `# hadolint shell=` right above an instruction names.
fn shell_comment(instruction: &Instruction) -> Option<String> {
    let comment = instruction.comments.iter().rev().find_map(|comment| comment.strip_prefix("hadolint"))?;
    let name = comment.trim_start().strip_prefix("shell")?.trim_start().strip_prefix('=')?;
    Some(name.trim().to_owned())
}

fn json_words(instruction: &Instruction) -> Vec<&str> {
    match &instruction.args {
        Args::Json(words) => words.iter().map(|word| word.text.as_str()).collect(),
        _ => Vec::new(),
    }
}

/// Reading an instruction.
pub(crate) trait Words {
    /// The arguments, quotes removed where they stand around the whole word.
    fn words(&self) -> Vec<&str>;
}

impl Words for Instruction {
    fn words(&self) -> Vec<&str> {
        match &self.args {
            Args::Json(words) | Args::Words(words) => words.iter().map(|word| unquoted(&word.text)).collect(),
            Args::Raw(word) => vec![unquoted(word.text.trim())],
            Args::Pairs { .. } | Args::Typed { .. } | Args::Trigger(_) => Vec::new(),
        }
    }
}

/// `text` without the quotes around all of it.
pub(crate) fn unquoted(text: &str) -> &str {
    let inside = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inside('"').or_else(|| inside('\'')).unwrap_or(text)
}

/// A `--mount` of `RUN`.
pub(crate) struct Mount {
    pub(crate) kind: String,
    pub(crate) target: String,
    pub(crate) from: Option<String>,
}

impl Step<'_> {
    pub(crate) fn is(&self, keyword: Keyword) -> bool {
        self.instruction.keyword == keyword
    }

    pub(crate) fn flag(&self, name: &str) -> Option<&str> {
        self.instruction.flags.iter().find(|flag| flag.name == name)?.value.as_deref()
    }

    /// The sources and the target of a `COPY` or `ADD`, heredocs left out of the sources.
    pub(crate) fn paths(&self) -> Option<(Vec<&str>, &str)> {
        let words = self.instruction.words();
        let (target, sources) = words.split_last()?;
        let is_file = |source: &&&str| !self.instruction.heredocs.iter().any(|heredoc| heredoc.word.text == **source);
        Some((sources.iter().filter(is_file).copied().collect(), target))
    }

    pub(crate) fn mounts(&self) -> Vec<Mount> {
        let values = self.instruction.flags.iter().filter(|flag| flag.name == "mount");
        values.filter_map(|flag| flag.value.as_deref()).map(mount).collect()
    }

    /// Whether a folder that is no part of the layer lies at `path` or above it.
    pub(crate) fn mounts_over(&self, path: &str) -> bool {
        self.mounts().iter().any(|mount| {
            let target = mount.target.trim_end_matches('/');
            let covers = path == target || path.strip_prefix(target).is_some_and(|rest| rest.starts_with('/'));
            matches!(mount.kind.as_str(), "cache" | "tmpfs") && covers
        })
    }

    pub(crate) fn has_cache_mount(&self) -> bool {
        self.mounts().iter().any(|mount| mount.kind == "cache")
    }
}

fn mount(value: &str) -> Mount {
    let fields: Vec<(&str, &str)> =
        value.split(',').map(|field| field.split_once('=').unwrap_or((field, ""))).collect();
    let field = |names: &[&str]| {
        fields.iter().find(|(name, _)| names.contains(&name.to_lowercase().as_str())).map(|(_, value)| unquoted(value))
    };
    Mount {
        kind: field(&["type"]).unwrap_or("bind").to_owned(),
        target: field(&["target", "dst", "destination"]).unwrap_or_default().to_owned(),
        from: field(&["from"]).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_names_have_parts() {
        let parts = |text: &str| {
            let name = ImageName::parse(text);
            (name.registry, name.repository, name.tag, name.has_digest)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(parts("alpine"), (None, "alpine".to_owned(), None, false));
        assert_eq!(parts("a.b:5000/x/y:1"), (some("a.b:5000"), "a.b:5000/x/y".to_owned(), some("1"), false));
        assert_eq!(parts("x@sha256:00"), (None, "x".to_owned(), None, true));
        assert_eq!(parts("node:${V:-20}"), (None, "node:${V:-20}".to_owned(), None, false));
    }

    #[test]
    fn stages_know_what_they_need_and_what_ships() {
        let text = "FROM a AS base\nFROM base AS build\nRUN --mount=from=tools,target=/t x\nFROM b AS test\n\
                    FROM base\nCOPY --from=build /x /x\n";
        let (dockerfile, _) = slipway_dockerfile::parse(text.as_bytes());
        let source = Source::of(&dockerfile, None);
        assert_eq!(source.chain(3), [3, 0]);
        assert_eq!(source.needs(3), [1, 0]);
        assert_eq!(source.reached(), [true, true, false, true]);
        let ships: Vec<bool> = (0..4).map(|index| source.ships(index)).collect();
        assert_eq!(ships, [true, false, true, true]);
    }

    #[test]
    fn scripts_of_other_interpreters_are_left_alone() {
        let text = "FROM a\nRUN <<EOF\n#!/usr/bin/env python3\nsudo\nEOF\nRUN <<EOF\n#!/bin/sh -e\nsudo\nEOF\nSHELL [\"powershell\"]\nRUN sudo\nONBUILD RUN x\n";
        let (dockerfile, _) = slipway_dockerfile::parse(text.as_bytes());
        let source = Source::of(&dockerfile, None);
        let lines: Vec<usize> = source.commands().map(|(_, step, _)| step.lines.first).collect();
        assert_eq!(lines, [6]);
    }
}
