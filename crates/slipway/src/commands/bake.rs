//! `slipway bake [OPTIONS] [TARGET...]`: builds what a bake file describes, or shows it.

mod checks;
mod definition;
mod definition_files;
mod entitlements;
mod flags;
mod questions;
mod remote;
mod watched;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

use slipway_bake::{BakeError, Definition, Override, Selection, SourceFile};
use slipway_engine::Built;
use slipway_graph::request::flags::Surroundings as _;
use slipway_graph::request::{BuildRequest, NamedRequest};

use crate::cli::bake::{BakeArgs, CallFlag};
use crate::commands::build::{self, TerminalUse};
use crate::progress::{Reporter, Style};
use crate::report::CommandError;
use crate::surroundings::ThisMachine;
use crate::{env_vars, lock_file, metadata, place, summary, watch, work_tree};
use entitlements::Rights;
use questions::Question;
use remote::Remote;

/// How targets are built, apart from what they say themselves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BuildSettings<'a> {
    pub(crate) progress: &'a str,
    pub(crate) is_quiet: bool,
    /// Entitlements that are granted.
    pub(crate) allow: &'a [String],
    pub(crate) metadata_file: Option<&'a str>,
    /// Steps write to a terminal, if there is a screen.
    pub(crate) run_tty: bool,
    /// The end has a summary, whatever the screen.
    pub(crate) summary: bool,
    /// What `--call` says beside the name of a method.
    pub(crate) call_fields: &'a str,
    pub(crate) names: NameUse,
}

impl<'a> BuildSettings<'a> {
    fn of(args: &'a BakeArgs, call: Option<&'a CallFlag>) -> BuildSettings<'a> {
        BuildSettings {
            progress: &args.progress,
            is_quiet: false,
            allow: &args.allow,
            metadata_file: args.metadata_file.as_deref(),
            run_tty: args.run_tty,
            summary: args.summary,
            call_fields: call.map_or("", |call| &call.fields),
            names: NameUse { lock: args.lock, locked: args.locked, offline: args.offline },
        }
    }
}

/// What names stand for, and who may be asked about it, as `build` has these flags.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NameUse {
    pub(crate) lock: bool,
    pub(crate) locked: bool,
    pub(crate) offline: bool,
}

/// Builds the default group of a definition that was made from something else.
pub(crate) fn build_definition(
    file: SourceFile,
    settings: BuildSettings<'_>,
    is_debug: bool,
    words: &[OsString],
) -> Result<(), CommandError> {
    let definition = definition::evaluated(&[file])?;
    let selection = select(&definition, &[], &[]).map_err(told)?;
    build_all(&selection, settings, false, is_debug, words)
}

/// Shows or builds the targets that `args` name.
pub(crate) fn run(args: &BakeArgs, is_debug: bool, words: &[OsString]) -> Result<(), CommandError> {
    let (list, call) = (args.list().map_err(told)?, args.call().map_err(told)?);
    if args.print && list.is_some() {
        return Err(told("--print and --list are mutually exclusive"));
    }
    Style::choose(&args.progress, false).map_err(told)?;
    let here = ThisMachine.working_dir();
    let allowed = Rights::of_flags(&args.allow, &here).map_err(told)?.with_folder(&here);
    if args.watch {
        return watch::run(words, || watched::plan(args));
    }
    let mut remote = args.targets.first().and_then(|first| Remote::of_argument(first));
    let is_second_remote = |second: &&String| remote.is_some() && Remote::of_argument(second).is_some();
    let command_context = args.targets.get(1).filter(is_second_remote);
    let targets = match &args.only[..] {
        [] => &args.targets[usize::from(remote.is_some()) + usize::from(command_context.is_some())..],
        only => only,
    };
    let command_context = command_context.map_or(definition::WORKING_DIR, String::as_str);
    let files = match &mut remote {
        Some(remote) => remote.fetch(&args.files, &args.progress, args.offline)?,
        None => definition_files::find(&args.files)?,
    };
    let mut definition = definition::read(files, &args.variables, command_context)?;
    definition.is_remote = remote.is_some();
    for warning in &definition.warnings {
        // Nobody is left to be told that the terminal is gone.
        let _ = writeln!(io::stderr(), "WARNING: {warning}");
    }
    if let Some(list) = list {
        let rows = match list.of_variables {
            true => definition.list_variables(list.as_json),
            false => definition.list_targets(list.as_json),
        };
        return write_out(&(args.deprecation().unwrap_or_default() + &rows));
    }
    let mut selection = select(&definition, targets, &args.overrides(call.as_ref())).map_err(told)?;
    selection.targets.values().try_for_each(checks::check).map_err(told)?;
    if args.print {
        return write_out(&selection.to_json());
    }
    let mut unchanged = select(&definition, targets, &[]).ok();
    if let Some(remote) = &remote {
        remote.rebase(&mut selection)?;
        unchanged.as_mut().map(|unchanged| remote.rebase(unchanged)).transpose()?;
    }
    let lacking = lacking_rights(&selection, unchanged.as_ref(), allowed, &here);
    entitlements::ask_for(lacking, &here, remote.is_some(), words)?;
    let as_json = call.as_ref().is_some_and(|call| call.is_json);
    build_all(&selection, BuildSettings::of(args, call.as_ref()), as_json, is_debug, words)
}

fn told(message: impl std::fmt::Display) -> CommandError {
    CommandError::Told(format!("ERROR: {message}\n"))
}

fn write_out(text: &str) -> Result<(), CommandError> {
    io::stdout().write_all(text.as_bytes()).map_err(|error| CommandError::Options(error.into()))
}

/// What the definition asks for and the user has not given: with `--allow`, or by naming it with `--set`, without which
/// the targets are `unchanged`.
fn lacking_rights(selection: &Selection, unchanged: Option<&Selection>, allowed: Rights, here: &Path) -> Rights {
    let rights = |selection: &Selection| Rights::of_targets(selection.targets.values(), here);
    let mut given = allowed;
    let asked = rights(selection);
    if let Some(unchanged) = unchanged {
        given.add(asked.without(&rights(unchanged)));
    }
    asked.without(&given)
}

fn select(definition: &Definition, targets: &[String], overrides: &[String]) -> Result<Selection, BakeError> {
    let overrides: Vec<Override> = overrides
        .iter()
        .map(|text| Override::parse(text, &definition::variable_of_environment))
        .collect::<Result<_, _>>()?;
    let source_date_epoch = env_vars::named_by_user("SOURCE_DATE_EPOCH").filter(|seconds| !seconds.is_empty());
    definition.select(targets, &overrides, source_date_epoch.as_deref())
}

/// All targets together: what they share is done once. Answers to questions are one document if wanted `as_json`.
fn build_all(
    selection: &Selection,
    settings: BuildSettings<'_>,
    as_json: bool,
    is_debug: bool,
    words: &[OsString],
) -> Result<(), CommandError> {
    let style =
        Style::choose(settings.progress, settings.is_quiet).map_err(|error| CommandError::Options(error.into()))?;
    let (mut builds, mut questions) = (Vec::new(), Vec::new());
    for (name, target) in &selection.targets {
        let flags = flags::of_target(target, settings);
        let mut request = BuildRequest::from_flags(&flags, &ThisMachine).map_err(|error| {
            let moment = error.moment();
            CommandError::of_flags(error.into(), moment, words)
        })?;
        lock_file::read_into(&mut request).map_err(|error| CommandError::Options(error.into()))?;
        match request.call {
            Some(call) => questions.push(Question { target: name, call, request }),
            None => builds.push(NamedRequest { name: name.clone(), request }),
        }
    }
    questions::ask(selection, &questions, as_json, style, is_debug)?;
    if builds.is_empty() {
        return Ok(());
    }
    lock_file::check_agreement(&builds).map_err(|error| CommandError::Options(error.into()))?;
    let remarks = work_tree::read_into(builds.iter_mut().map(|build| &mut build.request));
    // Before the first thread.
    let place = place::find(None)?;
    let terminal = TerminalUse { for_shell: false, for_steps: build::gives_steps_terminal(settings.run_tty, style) };
    let built = build::carry_out(&builds, place, terminal, || Reporter::start(style, is_debug), remarks)?;
    let found = builds.iter().zip(&built).filter_map(|(build, built)| Some((&build.request, built.pins.as_ref()?)));
    lock_file::write_all(found).map_err(|error| CommandError::Preparation(error.into()))?;
    summary::tell(&builds, &built, place, style, settings.summary);
    let Some(path) = settings.metadata_file.filter(|path| !path.is_empty()) else { return Ok(()) };
    let named: Vec<(&str, &Built)> = builds.iter().map(|build| build.name.as_str()).zip(&built).collect();
    metadata::write_all(path.as_ref(), &named).map_err(|error| CommandError::Preparation(error.into()))
}
