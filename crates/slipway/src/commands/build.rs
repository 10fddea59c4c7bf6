//! `slipway build [OPTIONS] PATH | URL | -`

mod verify;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use slipway_engine::{Built, Engine, EngineParts, ShellSeat, WindowSize};
use slipway_graph::request::{BuildRequest, CacheBypass, ContextLocation, DockerfileLocation, NamedRequest};
use slipway_oci::Digest;
use slipway_registry::Registry;
use slipway_sandbox::ladder::Place;
use slipway_solver::Cancel;
use slipway_store::{Bounds, OpenError, OverlayFlavor, Store};

use crate::cli::Rejected;
use crate::cli::build::BuildArgs;
use crate::commands::{call, explain};
use crate::config::{self, ConfigError};
use crate::progress::{Recording, Reporter, Style, log_window};
use crate::report::CommandError;
use crate::shell_seat::TerminalSeat;
use crate::surroundings::ThisMachine;
use crate::watch::{self, Plan};
use crate::{
    client_config, docker_engines, env_vars, interrupt, lock_file, metadata, place, summary, trace, work_tree,
};

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// The file that `--iidfile` names cannot be written or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the image ID file `{path}`")]
struct ImageIdFileError {
    path: String,
    source: io::Error,
}

/// Builds, and prints the image id if that is all that is wanted.
pub(crate) fn run(mut args: BuildArgs, is_debug: bool, words: &[OsString]) -> Result<(), CommandError> {
    let context = only_context(&mut args, words)?;
    let is_watching = args.watch;
    let style = Style::choose(&args.progress, args.quiet).map_err(|error| CommandError::Options(error.into()))?;
    let is_quiet = args.quiet;
    let terminal = TerminalUse {
        for_shell: args.on_failure == "shell" || !args.shell.is_empty(),
        for_steps: gives_steps_terminal(args.run_tty, style),
    };
    let sandbox = args.sandbox;
    let wants_summary = args.summary;
    let verifies = args.verify_reproducible;
    let (explains, expect_cached) = (args.explain, std::mem::take(&mut args.expect_cached));
    let mut remarks: Vec<String> = args.remarks().into_iter().map(str::to_owned).collect();
    let flags = args.into_flags(context, client_config::build_proxies());
    let mut request = BuildRequest::from_flags(&flags, &ThisMachine).map_err(|error| {
        let moment = error.moment();
        CommandError::of_flags(error.into(), moment, words)
    })?;
    lock_file::read_into(&mut request).map_err(|error| CommandError::Options(error.into()))?;
    if is_watching {
        let plan = || Ok(Plan::of_one(&request));
        return watch::run(words, plan);
    }
    if let Some(call) = request.call {
        return call::run(call, &request, sandbox, style, is_debug, remarks);
    }
    remarks.extend(work_tree::read_into([&mut request]));
    // Before the first thread.
    let place = place::find(sandbox)?;
    remove_image_id(&request)?;
    let named = [NamedRequest { name: String::new(), request }];
    let reporter = || Reporter::start(style, is_debug);
    let (mut built, unlike) = match verifies {
        true => verify::build_twice(&named, place, reporter, remarks)?,
        false => (carry_out(&named, place, terminal, reporter, remarks)?, Vec::new()),
    };
    summary::tell(&named, &built, place, style, wants_summary);
    let built = built.pop().expect("because every request has a result");
    let [NamedRequest { request, .. }] = named;
    write_image_id(&request, &built)?;
    let found = built.pins.iter().map(|pins| (&request, pins));
    lock_file::write_all(found).map_err(|error| CommandError::Preparation(error.into()))?;
    if let Some(path) = &request.metadata_file {
        metadata::write(path, &built).map_err(|error| CommandError::Preparation(error.into()))?;
    }
    if is_quiet {
        print_image_id(&built)?;
    }
    if explains || !expect_cached.is_empty() {
        account_for(&built, place, explains, &expect_cached)?;
    }
    if verifies { verify::tell(&built, &unlike) } else { Ok(()) }
}

/// Says why steps ran, and fails if one did that was expected to be cached.
fn account_for(built: &Built, place: Place, explains: bool, expect_cached: &[String]) -> Result<(), CommandError> {
    let Some(record) = &built.record else { return Ok(()) };
    let store = Store::open(&place::store_root(place), OverlayFlavor::Outside)
        .map_err(|error| CommandError::Preparation(error.into()))?;
    let explanation = explain::of(&store, record).map_err(|error| CommandError::Preparation(error.into()))?;
    if explains {
        let text = explain::text(&explanation);
        io::stderr().write_all(text.as_bytes()).map_err(|error| CommandError::Preparation(error.into()))?;
    }
    let check = |stage: &String| explain::check_cached(&explanation, stage);
    expect_cached.iter().try_for_each(check).map_err(|error| CommandError::Options(error.into()))
}

/// What a build does with the user's terminal, besides drawing on it.
#[derive(Clone, Copy)]
pub(crate) struct TerminalUse {
    /// A step that fails, or the request, opens a shell there.
    pub(crate) for_shell: bool,
    /// Steps write to a terminal, whose colours are shown.
    pub(crate) for_steps: bool,
}

/// Whether steps get a terminal: if that is wanted, and there is a screen that shows what they do with it.
pub(crate) fn gives_steps_terminal(is_flag_set: bool, style: Style) -> bool {
    style == Style::Tty && (is_flag_set || env_vars::SLIPWAY_RUN_TTY.is_true())
}

/// Builds what `requests` ask for, all with one graph; without entering a namespace if that is possible.
pub(crate) fn carry_out(
    requests: &[NamedRequest],
    place: Place,
    terminal: TerminalUse,
    reporter: impl Fn() -> Reporter,
    remarks: Vec<String>,
) -> Result<Vec<Built>, CommandError> {
    let started = SystemTime::now();
    let outcome = match build_from_cache(requests, place, &reporter, &remarks) {
        Some(built) => Ok(built),
        None => build(requests, place, terminal, reporter, remarks),
    };
    if let Some(remark) = trace::send(requests, place, started) {
        // Nobody is left to be told that the terminal is gone.
        let _ = writeln!(io::stderr(), "WARNING: {remark}");
    }
    outcome
}

/// Builds, in a user namespace if it takes one.
fn build(
    requests: &[NamedRequest],
    place: Place,
    terminal: TerminalUse,
    reporter: impl Fn() -> Reporter,
    mut remarks: Vec<String>,
) -> Result<Vec<Built>, CommandError> {
    let flavor = place::enter(place)?;
    let cancel = interrupt::watch().map_err(|error| CommandError::Preparation(error.into()))?;
    let reporter = reporter();
    let seat = terminal.for_shell.then(|| TerminalSeat::new(reporter.stillness())).flatten();
    let is_unattended = terminal.for_shell && seat.is_none();
    let terminals = Terminals { seat, for_steps: terminal.for_steps.then_some(log_window as WindowSize) };
    let registry = registry_of(requests);
    let engine = engine(&place::store_root(place), flavor, registry.clone(), terminals)
        .map_err(|error| CommandError::Preparation(error.into()))?;
    let outcome = engine.build(requests, &mut io::stdin(), &reporter, &cancel);
    remarks.extend(registry.warnings());
    if is_unattended && outcome.is_err() {
        remarks.push("--on-failure=shell needs a terminal on standard input and standard error.".to_owned());
    }
    let annotation = outcome.as_ref().err().and_then(|error| reporter.annotation(error));
    reporter.finish(remarks);
    if let Some(annotation) = annotation {
        // Nobody is left to be told that the terminal is gone.
        let _ = io::stderr().write_all(annotation.as_bytes());
    }
    outcome.map_err(|error| match requests[error.build].name.as_str() {
        "" => CommandError::Build(error),
        name => CommandError::Target { name: name.to_owned(), error },
    })
}

/// The build of a user who would have to enter a namespace, as long as there is nothing to run: that takes less time
/// than the namespace.
///
/// Nothing comes of it if anything at all stands in the way. It is found again, and told, by [`build`].
fn build_from_cache(
    requests: &[NamedRequest],
    place: Place,
    reporter: impl Fn() -> Reporter,
    remarks: &[String],
) -> Option<Vec<Built>> {
    let may_hit = |NamedRequest { request, .. }: &NamedRequest| {
        let is_stdin_read =
            request.context == ContextLocation::Stdin || request.dockerfile == DockerfileLocation::Stdin;
        !is_stdin_read
            && !request.pulls_always
            && request.cache_bypass == CacheBypass::Nothing
            && request.shell.is_none()
    };
    // A store that is not there yet has nothing, and is made by who will use it.
    let has_store = place::store_root(place).join("oci-layout").exists();
    if !matches!(place, Place::Outside(_)) || !requests.iter().all(may_hit) || !has_store {
        return None;
    }
    let registry = registry_of(requests);
    let engine =
        engine(&place::store_root(place), OverlayFlavor::Outside, registry.clone(), Terminals::default()).ok()?;
    let recording = Recording::default();
    // Nobody watches for signals, so Ctrl-C ends the process, and nothing that it runs.
    let built = engine.build(requests, &mut io::empty(), &recording, &Cancel::new()).ok()?;
    let reporter = reporter();
    recording.play(&reporter);
    reporter.finish([remarks, &registry.warnings()].concat());
    Some(built)
}

/// The client that all `requests` use; none of them is asked on its own whether it may connect to others.
fn registry_of(requests: &[NamedRequest]) -> Registry {
    let is_offline = requests.iter().any(|named| named.request.is_offline);
    Registry::new(client_config::registry_config(is_offline))
}

/// Where an engine finds terminals.
#[derive(Default)]
pub(crate) struct Terminals {
    seat: Option<TerminalSeat>,
    for_steps: Option<WindowSize>,
}

/// An engine with the store at `store_root`, which it keeps within what is configured.
pub(crate) fn engine(
    store_root: &Path,
    flavor: OverlayFlavor,
    registry: Registry,
    terminals: Terminals,
) -> Result<Engine, EngineError> {
    Ok(engine_within(config::store_cap()?, store_root, flavor, registry, terminals)?)
}

/// An engine with the store at `store_root`, which it keeps within `cap`.
pub(crate) fn engine_within(
    cap: Bounds,
    store_root: &Path,
    flavor: OverlayFlavor,
    registry: Registry,
    terminals: Terminals,
) -> Result<Engine, OpenError> {
    let store = Store::open(store_root, flavor)?;
    let search_path = env_vars::PATH.get_os().unwrap_or_default();
    let git_variables = client_config::git_variables();
    let Terminals { seat, for_steps: step_terminal } = terminals;
    let shell_seat = seat.map(|seat| Arc::new(seat) as Arc<dyn ShellSeat>);
    let docker_engines = docker_engines::find;
    let parts = EngineParts {
        store,
        registry,
        flavor,
        search_path,
        git_variables,
        shell_seat,
        step_terminal,
        cap,
        docker_engines,
    };
    Ok(Engine::new(parts))
}

fn only_context(args: &mut BuildArgs, words: &[OsString]) -> Result<String, CommandError> {
    match args.contexts.pop() {
        Some(context) if args.contexts.is_empty() => Ok(context),
        _ => Err(CommandError::Rejected(Rejected::argument_count(words))),
    }
}

/// An old id must not be taken for the one of this build if it fails.
fn remove_image_id(request: &BuildRequest) -> Result<(), CommandError> {
    let Some(path) = &request.iidfile else { return Ok(()) };
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(image_id_error(path, error)),
        _ => Ok(()),
    }
}

fn write_image_id(request: &BuildRequest, built: &Built) -> Result<(), CommandError> {
    match (&request.iidfile, &built.image_id) {
        (Some(path), Some(id)) => fs::write(path, id.as_str()).map_err(|error| image_id_error(path, error)),
        _ => Ok(()),
    }
}

fn image_id_error(path: &Path, source: io::Error) -> CommandError {
    CommandError::Preparation(Box::new(ImageIdFileError { path: path.display().to_string(), source }))
}

fn print_image_id(built: &Built) -> Result<(), CommandError> {
    // A line without an id stands for a result that has none.
    let id = built.image_id.as_ref().map(Digest::as_str).unwrap_or_default();
    writeln!(io::stdout(), "{id}").map_err(|error| CommandError::Preparation(error.into()))
}
