//! `slipway analyze IMAGE [IMAGE]` and `slipway dive IMAGE`: what layers hold, and what of it is wasted.
//!
//! `dive` is the spelling of scripts: it behaves as the program of that name does in CI (`spec/analyze.md` part A), and
//! so takes one image only.

mod config_text;
mod image_source;
mod origins;
mod report;
mod screen;
mod settings;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use slipway_analyze::{
    Analysis, Detail, Growth, LayerSource, Reading, RuleError, Rules, Status, growth_to_json, to_json,
};
use slipway_engine::BuildRecord;
use slipway_explorer::{Subject, size};
use slipway_store::{OverlayFlavor, Store};

use crate::cli::Rejected;
use crate::cli::analyze::{AnalyzeArgs, AnalyzeCommand};
use crate::cli::build::BuildArgs;
use crate::commands::{build, version};
use crate::exit_code;
use crate::place;
use crate::report::CommandError;
use image_source::{ImageSource, Layers, Scheme};
use settings::Settings;

/// Why an image is not analyzed.
#[derive(Debug, thiserror::Error)]
enum AnalyzeError {
    #[error("cannot load image")]
    Load(#[source] image_source::LoadError),
    #[error("cannot analyze image")]
    Analyze(#[source] slipway_analyze::LayerError),
    #[error("cannot write `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot make the export")]
    Json(#[source] serde_json::Error),
    #[error("{}", lines(errors))]
    Rules { errors: Vec<RuleError> },
    #[error(transparent)]
    Screen(#[from] screen::ScreenError),
    #[error(transparent)]
    Settings(#[from] settings::SettingsError),
    #[error(transparent)]
    Dockerfile(#[from] origins::DockerfileError),
}

fn lines(errors: &[RuleError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn refused(error: impl Into<AnalyzeError>) -> CommandError {
    CommandError::Options(Box::new(error.into()))
}

/// Analyzes one image or compares two.
pub(crate) fn run(args: AnalyzeArgs, is_debug: bool, words: &[OsString]) -> Result<(), CommandError> {
    match &args.images[..] {
        [before, after] if args.command.is_none() => {
            let settings = Settings::of(&args).map_err(refused)?;
            let before = load(before, &settings)?;
            let after = load(after, &settings)?;
            let growth = Growth::between(&before, &after);
            match &settings.json {
                Some(path) => write_export(path, growth_to_json(&growth, &before, &after)),
                None => print(&report::growth(&growth, &before, &after)),
            }
        }
        _ => run_as_dive(args, is_debug, words),
    }
}

/// Analyzes exactly one image.
pub(crate) fn run_as_dive(mut args: AnalyzeArgs, is_debug: bool, words: &[OsString]) -> Result<(), CommandError> {
    if let Some(AnalyzeCommand::Config { config: Some(path), .. }) = &args.command {
        args.config = Some(path.clone());
    }
    let settings = Settings::of(&args).map_err(refused)?;
    let rules = Rules::parse(&settings.rules).map_err(|errors| refused(AnalyzeError::Rules { errors }))?;
    let found = match (args.command.take(), &args.images[..]) {
        (Some(AnalyzeCommand::Config { .. }), []) => return print(&config_text::of(&settings)),
        (Some(AnalyzeCommand::Version { output }), []) => return print(&version::analyze_text(output)),
        (Some(AnalyzeCommand::Build(build_args)), []) => built(*build_args, &settings, is_debug, words)?,
        (None, [name]) => find(&ImageSource::of(name, &settings), name, &settings)?,
        _ => return Err(CommandError::Rejected(exactly_one())),
    };
    if !args.report && !settings.evaluates && settings.json.is_none() && screen::is_possible() {
        return look_through(found.with_origins(&settings)?, &settings);
    }
    let tells_origins = args.json_extended.is_some() || (!settings.evaluates && settings.json.is_none());
    let found = if tells_origins { found.with_origins(&settings)? } else { found };
    let image = found.analyzed(&settings)?;
    if let Some(path) = &settings.json {
        let detail = if args.json_extended.is_some() { Detail::Extended } else { Detail::Plain };
        write_export(path, to_json(&image, detail))?;
        if args.ci != Some(true) {
            return Ok(());
        }
    }
    if !settings.evaluates {
        return print(&(report::analysis(&image) + &report::layers(&image) + &report::stages(&image)));
    }
    settings.tell("Evaluating image  [rules: 3]");
    let verdicts = rules.judge(&image);
    print(&(report::analysis(&image) + &report::evaluation(&verdicts)))?;
    if verdicts.iter().any(|verdict| verdict.status == Status::Fail) {
        return Err(CommandError::Told("evaluation failed\n".to_owned()));
    }
    Ok(())
}

fn write_export(path: &str, text: Result<Vec<u8>, serde_json::Error>) -> Result<(), CommandError> {
    let text = text.map_err(|error| refused(AnalyzeError::Json(error)))?;
    fs::write(path, text).map_err(|source| refused(AnalyzeError::Write { path: path.into(), source }))
}

fn exactly_one() -> Rejected {
    Rejected { text: "ERROR: exactly one argument is required\n".to_owned(), exit_code: exit_code::FAILURE }
}

/// An image whose layers can be read.
struct Found {
    /// What the user calls it.
    name: String,
    layers: Layers,
}

fn load(name: &str, settings: &Settings) -> Result<Analysis, CommandError> {
    find(&ImageSource::of(name, settings), name, settings)?.with_origins(settings)?.analyzed(settings)
}

/// Lets the user look through the layers.
fn look_through(found: Found, settings: &Settings) -> Result<(), CommandError> {
    let is_tag = !found.name.contains("://") && !found.name.starts_with(['/', '.']) && !found.name.contains('@');
    let subject = Subject { tags: is_tag.then(|| found.name.clone()).into_iter().collect(), name: found.name };
    let (compat, ignores_errors) = (settings.compat, settings.ignores_errors);
    let analyze =
        |layers: &[LayerSource<'_>], reading: &Reading| Analysis::observed(layers, compat, ignores_errors, reading);
    screen::explore(found.layers, subject, settings.screens.clone(), analyze).map_err(refused)
}

/// Builds an image, and takes it from the store by its id.
fn built(mut args: BuildArgs, settings: &Settings, is_debug: bool, words: &[OsString]) -> Result<Found, CommandError> {
    // What is built lies in the store as seen from inside.
    let place = place::find(args.sandbox)?;
    place::enter(place)?;
    let folder = tempfile::tempdir().map_err(|error| CommandError::Preparation(error.into()))?;
    if args.iidfile.is_empty() {
        args.iidfile = folder.path().join("id").display().to_string();
    }
    let id_file = PathBuf::from(&args.iidfile);
    build::run(args, is_debug, words)?;
    let id = fs::read_to_string(&id_file)
        .map_err(|source| refused(AnalyzeError::Load(image_source::LoadError::Read { path: id_file, source })))?;
    find(&ImageSource { scheme: Scheme::Built, name: id.trim().to_owned() }, id.trim(), settings)
}

/// Finds the image that the user calls `name`.
fn find(source: &ImageSource, name: &str, settings: &Settings) -> Result<Found, CommandError> {
    let layers = source.load(settings)?;
    // Not before: to see into the store, the process may have had to begin again in a namespace.
    settings.tell(&format!("Loading image   {name}"));
    let layers = layers.map_err(|error| refused(AnalyzeError::Load(error)))?;
    Ok(Found { name: name.to_owned(), layers })
}

impl Found {
    /// With the lines that made the layers, as far as they are known.
    fn with_origins(mut self, settings: &Settings) -> Result<Found, CommandError> {
        origins::from_records(&mut self.layers, &remembered_builds());
        if let Some(question) = &settings.dockerfile {
            question.answer(&mut self.layers).map_err(refused)?;
        }
        Ok(self)
    }

    fn analyzed(&self, settings: &Settings) -> Result<Analysis, CommandError> {
        let analysis = Analysis::of(&self.layers, settings.compat, settings.ignores_errors);
        let image = analysis.map_err(|error| refused(AnalyzeError::Analyze(error)))?;
        settings.tell(&format!(
            "Analyzing image  [layers:{} files:{} size:{}]",
            image.layers.len(),
            image.n_entries(),
            size(image.size_bytes())
        ));
        Ok(image)
    }
}

/// The builds that the store remembers, the newest first. An image is worth looking at without them, too.
fn remembered_builds() -> Vec<BuildRecord> {
    let Some(root) = place::find(None).ok().map(place::store_root).filter(|root| root.join("oci-layout").exists())
    else {
        return Vec::new();
    };
    let store = Store::open(&root, OverlayFlavor::Outside).ok();
    store.and_then(|store| BuildRecord::all(&store).ok()).unwrap_or_default()
}

fn print(text: &str) -> Result<(), CommandError> {
    io::stdout().write_all(text.as_bytes()).map_err(|error| CommandError::Options(error.into()))
}
