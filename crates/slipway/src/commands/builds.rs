//! `slipway builds`, `docker buildx history`: what is remembered of builds that are over (`spec/cli.md` section 14).

mod filter;
mod inspect;
mod list;
mod replay;

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use slipway_engine::{BuildRecord, BundleError, LogError, Status, StepRecord, read_bundle, read_log, write_bundle};
use slipway_oci::Digest;
use slipway_store::{BlobError, BuildRecordError, FsError, OverlayFlavor, Store};

use crate::cli::builds::{BuildsCommand, InspectCommand};
use crate::cli::report::ReportArgs;
use crate::commands::report;
use crate::go_template::TemplateError;
use crate::report::CommandError;
use crate::{place, trace};
use filter::{BuildFilter, FilterError};

/// Why there is no build to speak of.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoBuildError {
    #[error("no records found")]
    Empty,
    #[error("no record found for ref {0:?}")]
    Unknown(String),
    #[error("no completed build found with offset {0}")]
    Offset(usize),
    #[error("{0:?} is the beginning of several ids")]
    Ambiguous(String),
    #[error("no step of the build is number {0} or called so")]
    NoSuchStep(String),
    #[error("rm requires at least one argument")]
    NothingToRemove,
    #[error("rm requires either --all or at least one argument")]
    AllAndSome,
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error("{0}")]
    Template(String),
    #[error("at least one of --type, --platform or DIGEST must be specified")]
    WhichAttachment,
    #[error("invalid digest {0:?}")]
    AttachmentDigest(String),
    #[error("no matching attachment found for ref {0:?}")]
    NoAttachment(String),
    #[error("{0} is no longer in the store")]
    AttachmentGone(Digest),
    #[error("cannot specify refs when using --all")]
    ExportAllAndSome,
    #[error("refusing to write to console, use --output to specify a file")]
    Console,
    #[error("cannot write `{}`", path.display())]
    Output { path: PathBuf, source: io::Error },
    #[error("cannot read `{}`", path.display())]
    Input { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error("cannot look into the store")]
    Blob(#[from] BlobError),
    #[error("cannot read the records of builds")]
    Fs(#[from] FsError),
    #[error("cannot forget builds")]
    Remove(#[from] BuildRecordError),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Carries out one of the commands; without any, lists.
pub(crate) fn run(command: Option<&BuildsCommand>) -> Result<(), CommandError> {
    // It measures layers, so it looks at them from within the namespace that they belong to.
    if let Some(BuildsCommand::Open { build }) = command {
        return open(build.as_deref());
    }
    let store = open_store()?;
    let all = records(&store).map_err(failed)?;
    let find = |build: &Option<String>| find(&all, build.as_deref()).map_err(failed);
    match command {
        None => print(listed(&all, "table", false)?.as_bytes()),
        Some(BuildsCommand::List { format, filters, no_trunc, .. }) => {
            let filter = BuildFilter::parse(filters, Timestamp::now()).map_err(|error| failed(error.into()))?;
            let chosen: Vec<BuildRecord> = all.into_iter().filter(|build| filter.accepts(build)).collect();
            print(listed(&chosen, format, *no_trunc)?.as_bytes())
        }
        Some(BuildsCommand::Inspect { part: Some(part), .. }) => {
            let InspectCommand::Attachment { build, digest, platform, kind } = part;
            let (digest, platform, kind) = (digest.as_deref(), platform.as_deref(), kind.as_deref());
            let bytes = inspect::attachment(&store, find(build)?, digest, kind, platform);
            print(&bytes.map_err(failed)?)
        }
        Some(BuildsCommand::Inspect { build, format, .. }) => {
            print(inspect::inspect(find(build)?, format).map_err(failed)?.as_bytes())
        }
        Some(BuildsCommand::Trace { build, compare }) => {
            let other = compare.is_some().then(|| find(compare)).transpose()?.cloned();
            let traced: Vec<BuildRecord> = std::iter::once(find(build)?.clone()).chain(other).collect();
            print(format!("{:#}\n", trace::to_json(&traced, &trace::service_name(), None)).as_bytes())
        }
        Some(BuildsCommand::Export { builds, all: exports_all, output, .. }) => {
            export(&store, &all, builds, *exports_all, output.as_deref()).map_err(failed)
        }
        Some(BuildsCommand::Import { files, .. }) => print(import(&store, files).map_err(failed)?.as_bytes()),
        Some(BuildsCommand::Remove { builds, all: removes_all }) => {
            remove(&store, &all, builds, *removes_all).map_err(failed)
        }
        Some(BuildsCommand::Logs { build, step, progress }) => {
            let record = find(build)?;
            let log = read_log(&store, &record.id).map_err(|error| failed(error.into()))?;
            match step {
                Some(step) => replay::print_step(record, log, step),
                None => replay::replay(record, log, progress),
            }
        }
        Some(BuildsCommand::Open { .. }) => unreachable!("because it was carried out above"),
    }
}

fn listed(builds: &[BuildRecord], format: &str, is_long: bool) -> Result<String, CommandError> {
    let text = list::list(builds, format, is_long, Timestamp::now());
    text.map_err(|error: TemplateError| failed(NoBuildError::Template(error.to_string())))
}

/// Writes the page of `slipway report` where it is nobody's way, and says the address that a browser takes.
fn open(build: Option<&str>) -> Result<(), CommandError> {
    // First of all: it may begin the process again.
    place::enter(place::find(None)?)?;
    let folder = tempfile::Builder::new().prefix("slipway-report-").tempdir();
    let folder = folder.map_err(|error| CommandError::Options(error.into()))?;
    let output = folder.path().join("index.html");
    report::write(&ReportArgs { build: build.map(str::to_owned), output: output.clone(), against: None })?;
    // The browser comes later.
    let _ = folder.keep();
    print(format!("file://{}\n", output.display()).as_bytes())
}

fn export(
    store: &Store,
    all: &[BuildRecord],
    builds: &[String],
    exports_all: bool,
    output: Option<&Path>,
) -> Result<(), NoBuildError> {
    let chosen: Vec<&BuildRecord> = match (exports_all, builds) {
        (true, []) if all.is_empty() => return Err(NoBuildError::Empty),
        (true, []) => all.iter().collect(),
        (true, _) => return Err(NoBuildError::ExportAllAndSome),
        (false, []) => vec![find(all, None)?],
        (false, builds) => builds.iter().map(|build| find(all, Some(build))).collect::<Result<_, _>>()?,
    };
    match output.filter(|path| *path != Path::new("-")) {
        Some(path) => {
            let file = File::create(path).map_err(|source| NoBuildError::Output { path: path.to_owned(), source })?;
            Ok(write_bundle(store, &chosen, file)?)
        }
        None if io::stdout().is_terminal() => Err(NoBuildError::Console),
        None => Ok(write_bundle(store, &chosen, io::stdout().lock())?),
    }
}

/// What was taken in, a line a build.
fn import(store: &Store, files: &[PathBuf]) -> Result<String, NoBuildError> {
    let mut found = Vec::new();
    if files.is_empty() {
        found.extend(read_bundle(store, io::stdin().lock())?);
    }
    for path in files {
        let file = File::open(path).map_err(|source| NoBuildError::Input { path: path.clone(), source })?;
        found.extend(read_bundle(store, file)?);
    }
    Ok(found.iter().map(|record| format!("{} {}\n", record.id, name(record))).collect())
}

/// The store, for those who only look.
pub(crate) fn open_store() -> Result<Store, CommandError> {
    let root = place::store_root(place::find(None)?);
    // Nothing is mounted here, so it does not matter how overlays are marked.
    Store::open(&root, OverlayFlavor::UserNamespace).map_err(|error| CommandError::Options(error.into()))
}

/// All builds, the newest first.
pub(crate) fn records(store: &Store) -> Result<Vec<BuildRecord>, NoBuildError> {
    Ok(BuildRecord::all(store)?)
}

/// The build that is meant: the beginning of an id, also with builder and node before it; `^N` is the N-th before the
/// newest, which is also meant if nothing is said.
pub(crate) fn find<'a>(all: &'a [BuildRecord], reference: Option<&str>) -> Result<&'a BuildRecord, NoBuildError> {
    let Some(reference) = reference else { return all.first().ok_or(NoBuildError::Empty) };
    if let Some(offset) = reference.strip_prefix('^').and_then(|number| number.parse().ok()) {
        return all.get(offset).ok_or(NoBuildError::Offset(offset));
    }
    let id = reference.rsplit('/').next().unwrap_or(reference);
    let mut matching = all.iter().filter(|record| !id.is_empty() && record.id.starts_with(id));
    match (matching.next(), matching.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(NoBuildError::Ambiguous(reference.to_owned())),
        (None, _) => Err(NoBuildError::Unknown(reference.to_owned())),
    }
}

fn failed(error: NoBuildError) -> CommandError {
    CommandError::Options(error.into())
}

fn print(text: &[u8]) -> Result<(), CommandError> {
    io::stdout().write_all(text).map_err(|error| CommandError::Options(error.into()))
}

fn remove(store: &Store, all: &[BuildRecord], builds: &[String], removes_all: bool) -> Result<(), NoBuildError> {
    let ids: Vec<String> = match (removes_all, builds) {
        (true, []) => all.iter().map(|record| record.id.clone()).collect(),
        (true, _) => return Err(NoBuildError::AllAndSome),
        (false, []) => return Err(NoBuildError::NothingToRemove),
        (false, builds) => {
            builds.iter().map(|build| Ok(find(all, Some(build))?.id.clone())).collect::<Result<_, NoBuildError>>()?
        }
    };
    Ok(store.remove_builds(&ids)?)
}

/// What the build calls itself, else the name of its folder.
pub(crate) fn name(record: &BuildRecord) -> String {
    let request = &record.request;
    if let Some((_, name)) = request.build_args.iter().find(|(arg, _)| arg == "BUILDKIT_BUILD_NAME") {
        return name.clone();
    }
    let last = |path: &str| Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
    let mut name = last(&request.context).unwrap_or_else(|| request.context.clone());
    if let Some(file) = last(&request.dockerfile).filter(|file| file != "Dockerfile") {
        name = format!("{name}/{file}");
    }
    match &request.target {
        Some(target) => format!("{name} ({target})"),
        None => name,
    }
}

pub(crate) fn status(status: Status) -> &'static str {
    match status {
        Status::Completed => "Completed",
        Status::Error => "Error",
        Status::Canceled => "Canceled",
    }
}

fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        ..60 => format!("{:.1}s", duration.as_secs_f64()),
        _ => format!("{}m {:>2}s", seconds / 60, seconds % 60),
    }
}

fn length(record: &BuildRecord) -> Duration {
    nanoseconds(record.completed_ns - record.started_ns)
}

fn nanoseconds(count: i64) -> Duration {
    Duration::from_nanos(u64::try_from(count).unwrap_or(0))
}

pub(crate) fn time(ns: i64) -> Timestamp {
    Timestamp::from_nanosecond(ns.into()).unwrap_or_default()
}

/// How many steps there were, how many of them came to an end, and how many were cached.
fn counts(record: &BuildRecord) -> (usize, usize, usize) {
    let cached = record.steps.iter().filter(|step| step.hit.is_some()).count();
    let is_done = |step: &&StepRecord| step.hit.is_some() || (step.completed_ns.is_some() && step.error.is_none());
    (record.steps.len(), record.steps.iter().filter(is_done).count(), cached)
}

#[cfg(test)]
mod tests {
    use slipway_engine::RequestSummary;

    use super::*;

    pub(super) fn record(id: &str, context: &str, target: Option<&str>) -> BuildRecord {
        let request = RequestSummary {
            context: context.to_owned(),
            dockerfile: "Dockerfile".to_owned(),
            target: target.map(str::to_owned),
            platforms: Vec::new(),
            build_args: Vec::new(),
            labels: Vec::new(),
            tags: Vec::new(),
            secrets: Vec::new(),
            named_contexts: Vec::new(),
            settings: slipway_engine::RequestSettings::default(),
        };
        let (started_ns, completed_ns) = (1_000_000_000, 84_000_000_000);
        let (status, error, image_id) = (Status::Completed, None, None);
        BuildRecord {
            id: id.to_owned(),
            request,
            started_ns,
            completed_ns,
            status,
            error,
            image_id,
            image_bytes: None,
            compressed_bytes: None,
            materials: Vec::new(),
            attachments: Vec::new(),
            layers: Vec::new(),
            warnings: Vec::new(),
            steps: Vec::new(),
        }
    }

    #[test]
    fn builds_are_found_by_the_beginning_of_their_ids_and_by_age() {
        let all = [record("abc", "/x", None), record("abd", "/x", None)];
        let id = |reference| find(&all, reference).map(|record| record.id.as_str());
        assert_eq!(id(None).unwrap(), "abc");
        assert_eq!(id(Some("^1")).unwrap(), "abd");
        assert_eq!(id(Some("default/default/abd")).unwrap(), "abd");
        assert_eq!(id(Some("x")).unwrap_err().to_string(), "no record found for ref \"x\"");
        assert_eq!(id(Some("^9")).unwrap_err().to_string(), "no completed build found with offset 9");
        assert!(matches!(id(Some("ab")), Err(NoBuildError::Ambiguous(_))));
        assert!(matches!(find(&[], None), Err(NoBuildError::Empty)));
    }
}
