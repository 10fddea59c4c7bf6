//! `slipway build [OPTIONS] PATH | URL | -`

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use slipway_engine::{Built, Engine, EngineParts};
use slipway_graph::request::BuildRequest;
use slipway_registry::Registry;
use slipway_sandbox::ladder::{Place, Rung};
use slipway_sandbox::userns::{self, Entered, Mode};
use slipway_store::{OverlayFlavor, Store};

use crate::cli::{BuildArgs, Rejected};
use crate::commands::call;
use crate::progress::{Reporter, Style};
use crate::report::CommandError;
use crate::surroundings::ThisMachine;
use crate::{client_config, env_vars, interrupt, place};

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
    let style = Style::choose(&args.progress, args.quiet).map_err(|error| CommandError::Options(error.into()))?;
    // Before the first thread, and before anything is read that the inner process would read again.
    // A question about the Dockerfile is answered without one.
    let place = place::find(args.sandbox)?;
    let flavor = if args.is_call() { None } else { Some(enter_namespace(place)?) };
    let is_quiet = args.quiet;
    let mut remarks: Vec<String> = args.remarks().into_iter().map(str::to_owned).collect();
    let flags = args.into_flags(context, client_config::build_proxies());
    let request = BuildRequest::from_flags(&flags, &ThisMachine).map_err(|error| {
        let moment = error.moment();
        CommandError::of_flags(error.into(), moment, words)
    })?;
    let Some(flavor) = flavor else {
        let call = request.call.expect("because `is_call` and the request read the flag alike");
        return call::run(call, &request, style, is_debug, remarks);
    };
    remove_image_id(&request)?;
    let cancel = interrupt::watch().map_err(|error| CommandError::Preparation(error.into()))?;
    let store =
        Store::open(&place::store_root(place), flavor).map_err(|error| CommandError::Preparation(error.into()))?;
    let registry = Registry::new(client_config::registry_config());
    let search_path = env_vars::PATH.get_os().unwrap_or_default();
    let git_variables = client_config::git_variables();
    let engine = Engine::new(EngineParts { store, registry: registry.clone(), flavor, search_path, git_variables });
    let reporter = Reporter::start(style, is_debug);
    let outcome = engine.build(&request, &mut io::stdin(), &reporter, &cancel);
    remarks.extend(registry.warnings());
    reporter.finish(remarks);
    let built = outcome.map_err(CommandError::Build)?;
    write_image_id(&request, &built)?;
    if is_quiet { print_image_id(&built) } else { Ok(()) }
}

fn only_context(args: &mut BuildArgs, words: &[OsString]) -> Result<String, CommandError> {
    match args.contexts.pop() {
        Some(context) if args.contexts.is_empty() => Ok(context),
        _ => Err(CommandError::Rejected(Rejected::argument_count(words))),
    }
}

fn enter_namespace(wanted: Option<Rung>) -> Result<(Place, OverlayFlavor), CommandError> {
    let place = place::find(wanted)?;
    // What is remembered about the machine may have changed.
    match userns::enter(place).inspect_err(|_| place::forget())? {
        Entered::Inside(Mode::Root) => Ok((place, OverlayFlavor::Root)),
        Entered::Inside(Mode::UserNamespace { .. }) => Ok((place, OverlayFlavor::UserNamespace)),
        Entered::Finished(status) => userns::end_like(status),
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
    let Some(id) = &built.image_id else { return Ok(()) };
    writeln!(io::stdout(), "{id}").map_err(|error| CommandError::Preparation(error.into()))
}
