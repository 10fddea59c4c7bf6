//! `slipway build --call=…` and `--check`: answers a question about the Dockerfile instead of building it.

use std::io::{self, Write};

use slipway_engine::Inspector;
use slipway_graph::request::{BuildRequest, Call, Method};
use slipway_registry::Registry;
use slipway_sandbox::ladder::Rung;
use slipway_store::{Bounds, OverlayFlavor};

use crate::calls::{check, describe, outline, targets};
use crate::commands::build::{self, Terminals};
use crate::progress::{Reporter, Style};
use crate::report::CommandError;
use crate::{client_config, metadata, place};

/// Prints the answer to `call`.
pub(crate) fn run(
    call: Call,
    request: &BuildRequest,
    sandbox: Option<Rung>,
    style: Style,
    is_debug: bool,
    remarks: Vec<String>,
) -> Result<(), CommandError> {
    let answer = answer(call, request, sandbox, style, is_debug, remarks)?;
    let text = if call.is_json { answer.json.clone() } else { answer.headline.clone() + &answer.text };
    io::stdout().write_all(text.as_bytes()).map_err(|error| CommandError::Preparation(error.into()))?;
    if let Some(path) = &request.metadata_file {
        metadata::write_answer(path, &answer).map_err(|error| CommandError::Preparation(error.into()))?;
    }
    match answer.failure {
        Some(text) => Err(CommandError::Checked(text)),
        None if answer.has_findings && !call.ignores_status => Err(CommandError::Findings),
        None => Ok(()),
    }
}

/// Finds the answer to `call` out.
///
/// No namespace is entered unless files are fetched: nothing is mounted, and the store, which is opened only to look a
/// base image up, holds nothing there that belongs to anybody else.
pub(crate) fn answer(
    call: Call,
    request: &BuildRequest,
    sandbox: Option<Rung>,
    style: Style,
    is_debug: bool,
    mut remarks: Vec<String>,
) -> Result<Answer, CommandError> {
    let (store_root, flavor) = match request.fetches_inputs() {
        // Before the first thread.
        true => {
            let place = place::find(sandbox)?;
            (place::store_root(place), place::enter(place)?)
        }
        false => (client_config::store_root(), OverlayFlavor::Outside),
    };
    let registry = Registry::new(client_config::registry_config(request.is_offline));
    let open_engine =
        || build::engine_within(Bounds::default(), &store_root, flavor, registry.clone(), Terminals::default());
    let inspector = Inspector::new(&open_engine);
    let reporter = Reporter::start(style, is_debug);
    let answer = ask(call, request, &inspector, &reporter);
    remarks.extend(registry.warnings());
    reporter.finish(remarks);
    answer
}

/// What a Dockerfile answers.
pub(crate) struct Answer {
    /// What stands in front of the text.
    pub(crate) headline: String,
    /// For people.
    pub(crate) text: String,
    /// For programs.
    pub(crate) json: String,
    /// It says what is doubtful, or that nothing is.
    pub(crate) is_check: bool,
    /// Something is doubtful.
    pub(crate) has_findings: bool,
    /// The file cannot be built, and why.
    pub(crate) failure: Option<String>,
}

fn ask(
    call: Call,
    request: &BuildRequest,
    inspector: &Inspector<'_>,
    reporter: &Reporter,
) -> Result<Answer, CommandError> {
    let stdin = &mut io::stdin();
    let plain = |text, json| Answer {
        headline: String::new(),
        text,
        json,
        is_check: false,
        has_findings: false,
        failure: None,
    };
    Ok(match call.method {
        Method::Check => {
            let checked = inspector.check(request, stdin, reporter).map_err(CommandError::Build)?;
            Answer {
                headline: check::headline(&checked),
                text: check::as_text(&checked),
                json: check::as_json(&checked),
                is_check: true,
                has_findings: !checked.warnings.is_empty(),
                failure: checked.failure.as_ref().map(|failure| check::failure_text(&checked, failure)),
            }
        }
        Method::Outline => {
            let (file, found) = inspector.outline(request, stdin, reporter).map_err(CommandError::Build)?;
            plain(outline::as_text(&found), outline::as_json(&found, &file.text))
        }
        Method::Targets => {
            let (file, found) = inspector.targets(request, stdin, reporter).map_err(CommandError::Build)?;
            plain(targets::as_text(&found), targets::as_json(&found, &file.text))
        }
        Method::Describe => plain(describe::as_text(), describe::as_json()),
    })
}
