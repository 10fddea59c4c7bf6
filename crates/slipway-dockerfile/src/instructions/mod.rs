//! One file per instruction: what may be written, then what it means, then tests.

mod arg;
mod cmd;
mod copy;
mod entrypoint;
mod env;
mod expose;
mod flags;
pub(crate) mod from;
mod healthcheck;
mod label;
mod maintainer;
mod onbuild;
mod remote;
mod run;
mod shell;
mod stopsignal;
mod user;
mod volume;
mod workdir;

use crate::stage_builder::Step;
use crate::{Args, Diagnostic, Instruction, Keyword, Word, paths};

pub(crate) use arg::is_no_variable;
pub(crate) use onbuild::parse_trigger;

/// An instruction whose form has been checked.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    Arg(arg::Arg),
    Cmd(cmd::Cmd),
    Copy(copy::Copy),
    Entrypoint(entrypoint::Entrypoint),
    Env(env::Env),
    Expose(expose::Expose),
    From(from::From),
    Healthcheck(healthcheck::Check),
    Label(label::Label),
    Maintainer(maintainer::Maintainer),
    Onbuild(onbuild::Onbuild),
    Run(run::Run),
    Shell(shell::Shell),
    Stopsignal(stopsignal::Stopsignal),
    User(user::User),
    Volume(volume::Volume),
    Workdir(workdir::Workdir),
}

impl Command {
    /// Checks the form of `instruction`: flags, number and shape of arguments.
    pub(crate) fn check(instruction: &Instruction) -> Result<Command, Diagnostic> {
        Ok(match instruction.keyword {
            Keyword::Add | Keyword::Copy => Command::Copy(copy::check(instruction)?),
            Keyword::Arg => Command::Arg(arg::check(instruction)?),
            Keyword::Cmd => Command::Cmd(cmd::check(instruction)?),
            Keyword::Entrypoint => Command::Entrypoint(entrypoint::check(instruction)?),
            Keyword::Env => Command::Env(env::check(instruction)?),
            Keyword::Expose => Command::Expose(expose::check(instruction)?),
            Keyword::From => Command::From(from::check(instruction)?),
            Keyword::Healthcheck => Command::Healthcheck(healthcheck::check(instruction)?),
            Keyword::Label => Command::Label(label::check(instruction)?),
            Keyword::Maintainer => Command::Maintainer(maintainer::check(instruction)?),
            Keyword::Onbuild => Command::Onbuild(onbuild::check(instruction)?),
            Keyword::Run => Command::Run(run::check(instruction)?),
            Keyword::Shell => Command::Shell(shell::check(instruction)?),
            Keyword::Stopsignal => Command::Stopsignal(stopsignal::check(instruction)?),
            Keyword::User => Command::User(user::check(instruction)?),
            Keyword::Volume => Command::Volume(volume::check(instruction)?),
            Keyword::Workdir => Command::Workdir(workdir::check(instruction)?),
        })
    }

    /// Checks what is no matter of form and yet must be right in stages that are not built, too. The reference builder
    /// does this later, and so does not name the line (see [`Diagnostic::headline`]).
    pub(crate) fn check_sources(self, instruction: &Instruction) -> Result<Command, Diagnostic> {
        if let Command::Copy(copy) = &self {
            copy::check_from(copy, instruction)?;
        }
        Ok(self)
    }

    /// Does to the stage and the graph what the instruction says.
    pub(crate) fn lower(&self, step: &mut Step<'_, '_>) -> Result<(), Diagnostic> {
        match self {
            Command::Arg(c) => arg::lower(c, step),
            Command::Cmd(c) => cmd::lower(c, step),
            Command::Copy(c) => copy::lower(c, step),
            Command::Entrypoint(c) => entrypoint::lower(c, step),
            Command::Env(c) => env::lower(c, step),
            Command::Expose(c) => expose::lower(c, step),
            // A stage begins before its instructions are lowered.
            Command::From(_) => Ok(()),
            Command::Healthcheck(c) => healthcheck::lower(c, step),
            Command::Label(c) => label::lower(c, step),
            Command::Maintainer(c) => maintainer::lower(c, step),
            Command::Onbuild(c) => onbuild::lower(c, step),
            Command::Run(c) => run::lower(c, step),
            Command::Shell(c) => shell::lower(c, step),
            Command::Stopsignal(c) => stopsignal::lower(c, step),
            Command::User(c) => user::lower(c, step),
            Command::Volume(c) => volume::lower(c, step),
            Command::Workdir(c) => workdir::lower(c, step),
        }
    }

    /// A `RUN` that does nothing, where `here` would come next; with its mounts, if that is a `RUN` as well.
    pub(crate) fn for_shell(here: Option<&Command>) -> Command {
        Command::Run(match here {
            Some(Command::Run(run)) => run.without_command(),
            Some(_) | None => run::Run::default(),
        })
    }

    /// The names that an `ARG` declares.
    pub(crate) fn declared_args(&self) -> Vec<&str> {
        match self {
            Command::Arg(arg) => arg.names().collect(),
            _ => Vec::new(),
        }
    }

    /// The text that an `ONBUILD` keeps.
    pub(crate) fn trigger(&self) -> Option<&str> {
        match self {
            Command::Onbuild(onbuild) => Some(&onbuild.trigger),
            _ => None,
        }
    }

    /// Whether it is counted in step names.
    pub(crate) fn is_step(&self) -> bool {
        matches!(self, Command::Copy(_) | Command::Run(_) | Command::Workdir(_))
    }

    /// The stages, images and contexts that it takes files from.
    pub(crate) fn needs(&self) -> Vec<Need<'_>> {
        match self {
            Command::Copy(copy) => copy.from.as_deref().map(Need::Copied).into_iter().collect(),
            Command::Run(run) => run.mount_sources().map(|(from, target)| Need::Mounted { from, target }).collect(),
            _ => Vec::new(),
        }
    }
}

/// How an instruction names the place that it takes files from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need<'c> {
    /// `COPY --from`.
    Copied(&'c str),
    /// `RUN --mount=from=`.
    Mounted { from: &'c str, target: &'c str },
}

// How many arguments there are, and in which form, the parser has checked (`parse/arguments.rs`).

/// The only argument of instructions that take the rest of the line.
fn one_argument(instruction: &Instruction) -> String {
    match &instruction.args {
        Args::Raw(word) => word.text.clone(),
        Args::Json(_) | Args::Words(_) | Args::Pairs { .. } | Args::Typed { .. } | Args::Trigger(_) => String::new(),
    }
}

/// The words of instructions that take a list.
fn words(instruction: &Instruction) -> &[Word] {
    match &instruction.args {
        Args::Json(words) | Args::Words(words) => words,
        Args::Raw(_) | Args::Pairs { .. } | Args::Typed { .. } | Args::Trigger(_) => &[],
    }
}

/// The name of the file that a heredoc becomes. It is made in an empty folder first, where no name leads further down.
fn heredoc_file(name: &str, step: &Step<'_, '_>) -> Result<String, Diagnostic> {
    let path = paths::rooted(name);
    match path[1..].contains('/') {
        true => Err(step.error(format!("open {path}: no such file or directory"))),
        false => Ok(path[1..].to_owned()),
    }
}

/// The pairs of `ENV` and `LABEL`.
fn pairs(instruction: &Instruction) -> Vec<(String, String)> {
    match &instruction.args {
        Args::Pairs { pairs, .. } => pairs.iter().map(|(key, value)| (key.text.clone(), value.text.clone())).collect(),
        Args::Json(_) | Args::Words(_) | Args::Raw(_) | Args::Typed { .. } | Args::Trigger(_) => Vec::new(),
    }
}

/// Whether the pairs are written without `=`.
fn is_legacy(instruction: &Instruction) -> bool {
    matches!(instruction.args, Args::Pairs { is_legacy: true, .. })
}

/// A command in exec form (`["a", "b"]`) or in shell form (`a b`).
#[derive(Clone, Debug)]
enum CommandLine {
    Exec(Vec<String>),
    Shell(String),
}

/// Nothing, in shell form.
impl Default for CommandLine {
    fn default() -> CommandLine {
        CommandLine::Shell(String::new())
    }
}

impl CommandLine {
    fn of(instruction: &Instruction) -> CommandLine {
        CommandLine::of_args(&instruction.args)
    }

    fn of_args(args: &Args) -> CommandLine {
        match args {
            Args::Json(words) => CommandLine::Exec(words.iter().map(|w| w.text.clone()).collect()),
            Args::Raw(word) => CommandLine::Shell(word.text.clone()),
            Args::Words(_) | Args::Pairs { .. } | Args::Typed { .. } | Args::Trigger(_) => {
                CommandLine::Shell(String::new())
            }
        }
    }

    /// Whether it runs in a shell that neither this file nor the base image chose.
    fn needs_default_shell(&self, step: &Step<'_, '_>) -> bool {
        matches!(self, CommandLine::Shell(_)) && step.stage.config.config.shell.is_empty()
    }

    /// The arguments of the program to start.
    fn args(&self, step: &Step<'_, '_>) -> Vec<String> {
        match self {
            CommandLine::Exec(args) => args.clone(),
            CommandLine::Shell(text) => step.stage.in_shell(text),
        }
    }
}
