//! `slipway builds`, `docker buildx history`: what is remembered of builds that are over (`spec/cli.md` section 14).

mod filter;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde_json::json;
use slipway_engine::{BuildRecord, LogError, LogPiece, LogReader, Status, StepRecord, read_log};
use slipway_graph::{Event, Events, StepId};
use slipway_store::{BuildRecordError, FsError, OverlayFlavor, Store};

use crate::cli::builds::{BuildsCommand, ListFormat};
use crate::commands::images::age;
use crate::progress::{Reporter, Style};
use crate::report::CommandError;
use crate::{place, trace};
use filter::{BuildFilter, FilterError};

/// How many builds `ls` shows.
const MAX_LISTED: usize = 50;

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
    #[error("slipway opens no browser; `slipway report` writes a page about a build that one can open")]
    NoBrowser,
    #[error(
        "slipway neither writes nor reads .dockerbuild archives; `slipway report` writes a page that can be passed on"
    )]
    NoBundles,
    #[error("cannot read the records of builds")]
    Fs(#[from] FsError),
    #[error("cannot forget builds")]
    Remove(#[from] BuildRecordError),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Carries out one of the commands; without any, lists.
pub(crate) fn run(command: Option<&BuildsCommand>) -> Result<(), CommandError> {
    let store = open_store()?;
    let all = records(&store).map_err(failed)?;
    let text = match command {
        None => table(&all, false, Timestamp::now()),
        Some(BuildsCommand::List { format, filters, no_trunc, .. }) => {
            let filter = BuildFilter::parse(filters, Timestamp::now()).map_err(|error| failed(error.into()))?;
            let chosen: Vec<BuildRecord> = all.into_iter().filter(|build| filter.accepts(build)).collect();
            match format {
                ListFormat::Table => table(&chosen, *no_trunc, Timestamp::now()),
                ListFormat::Json => json_lines(&chosen),
            }
        }
        Some(BuildsCommand::Inspect { build, format }) => {
            inspect(find(&all, build.as_deref()).map_err(failed)?, *format)
        }
        Some(BuildsCommand::Trace { build, compare }) => {
            let mut traced = vec![find(&all, build.as_deref()).map_err(failed)?.clone()];
            if let Some(other) = compare {
                traced.push(find(&all, Some(other)).map_err(failed)?.clone());
            }
            format!("{:#}\n", trace::to_json(&traced, &trace::service_name(), None))
        }
        Some(BuildsCommand::Open { .. }) => return Err(failed(NoBuildError::NoBrowser)),
        Some(BuildsCommand::Export { .. } | BuildsCommand::Import { .. }) => {
            return Err(failed(NoBuildError::NoBundles));
        }
        Some(BuildsCommand::Remove { builds, all: removes_all }) => {
            return remove(&store, &all, builds, *removes_all).map_err(failed);
        }
        Some(BuildsCommand::Logs { build, step, progress }) => {
            let record = find(&all, build.as_deref()).map_err(failed)?;
            let log = read_log(&store, &record.id).map_err(|error| failed(error.into()))?;
            return match step {
                Some(step) => print_step(record, log, step),
                None => replay(record, log, progress),
            };
        }
    };
    print(text.as_bytes())
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

fn table(all: &[BuildRecord], is_long: bool, now: Timestamp) -> String {
    let header = ["BUILD ID", "NAME", "STATUS", "CREATED AT", "DURATION"].map(str::to_owned);
    let row = |record: &BuildRecord| {
        let name = name(record);
        let name = if is_long { name } else { tail(&name) };
        let created = age(time(record.started_ns), now);
        [record.id.clone(), name, status(record.status).to_owned(), created, duration(length(record))]
    };
    let rows: Vec<_> = std::iter::once(header).chain(all.iter().take(MAX_LISTED).map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(7) + 3;
    let widths = [0, 1, 2, 3].map(width);
    let mut text = String::new();
    for [id, name, status, created, duration] in &rows {
        let [a, b, c, d] = widths;
        let _ = writeln!(text, "{id:a$}{name:b$}{status:c$}{created:d$}{duration}");
    }
    text
}

fn json_lines(all: &[BuildRecord]) -> String {
    let line = |record: &BuildRecord| {
        let (total, completed, cached) = counts(record);
        let fields = json!({
            "ref": record.id,
            "name": name(record),
            "status": status(record.status),
            "created_at": time(record.started_ns).to_string(),
            "completed_at": time(record.completed_ns).to_string(),
            "total_steps": total,
            "completed_steps": completed,
            "cached_steps": cached,
        });
        format!("{fields}\n")
    };
    all.iter().take(MAX_LISTED).map(line).collect()
}

fn inspect(record: &BuildRecord, format: ListFormat) -> String {
    let (total, completed, cached) = counts(record);
    let request = &record.request;
    let pairs = |pairs: &[(String, String)]| -> Vec<_> {
        pairs.iter().map(|(name, value)| json!({ "Name": name, "Value": value })).collect()
    };
    if format == ListFormat::Json {
        let mut fields = json!({
            "Name": name(record),
            "Ref": record.id,
            "Context": request.context,
            "Dockerfile": request.dockerfile,
            "Target": request.target,
            "Platform": request.platforms,
            "StartedAt": time(record.started_ns).to_string(),
            "CompletedAt": time(record.completed_ns).to_string(),
            "Duration": record.completed_ns - record.started_ns,
            "Status": status(record.status).to_lowercase(),
            "Error": record.error.as_ref().map(|message| json!({ "Message": message })),
            "NumCompletedSteps": completed,
            "NumTotalSteps": total,
            "NumCachedSteps": cached,
            "BuildArgs": pairs(&request.build_args),
            "Labels": pairs(&request.labels),
        });
        if let Some(fields) = fields.as_object_mut() {
            fields.retain(|_, value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()));
        }
        return format!("{fields:#}\n");
    }
    let mut text = String::new();
    let mut line = |title: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "{:<14} {value}", format!("{title}:"));
        }
    };
    line("Name", &name(record));
    line("Ref", &record.id);
    line("Context", &request.context);
    line("Dockerfile", &request.dockerfile);
    line("Target", request.target.as_deref().unwrap_or_default());
    line("Platforms", &request.platforms.join(", "));
    line("Tags", &request.tags.join(", "));
    line("Secrets", &request.secrets.join(", "));
    line("Started", &time(record.started_ns).to_string());
    line("Duration", &duration(length(record)));
    line("Status", status(record.status));
    line("Error", record.error.as_deref().unwrap_or_default());
    line("Image", record.image_id.as_ref().map_or("", |id| id.as_str()));
    let share = (100 * cached).checked_div(total).unwrap_or(0);
    line("Build Steps", &format!("{completed}/{total} ({share}% cached)"));
    for (title, pairs) in [("BUILD ARG", &request.build_args), ("LABEL", &request.labels)] {
        if !pairs.is_empty() {
            let _ = writeln!(text, "\n{title:<24} VALUE");
        }
        for (name, value) in pairs {
            let _ = writeln!(text, "{name:<24} {value}");
        }
    }
    let _ = writeln!(text, "\nSTEP  DURATION  NAME");
    for step in &record.steps {
        let took = match (step.hit, step.started_ns.zip(step.completed_ns)) {
            (Some(_), _) => "cached".to_owned(),
            (None, Some((start, end))) => duration(nanoseconds(end - start)),
            (None, None) => "-".to_owned(),
        };
        let _ = writeln!(text, "{:<5} {took:<9} {}", step.number + 1, step.name);
    }
    text
}

/// How many steps there were, how many of them came to an end, and how many were cached.
fn counts(record: &BuildRecord) -> (usize, usize, usize) {
    let cached = record.steps.iter().filter(|step| step.hit.is_some()).count();
    let is_done = |step: &&StepRecord| step.hit.is_some() || (step.completed_ns.is_some() && step.error.is_none());
    (record.steps.len(), record.steps.iter().filter(is_done).count(), cached)
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

/// The last 36 characters.
fn tail(name: &str) -> String {
    let n_chars = name.chars().count();
    if n_chars <= 36 {
        return name.to_owned();
    }
    format!("..{}", name.chars().skip(n_chars - 34).collect::<String>())
}

pub(crate) fn status(status: Status) -> &'static str {
    match status {
        Status::Completed => "Completed",
        Status::Error => "Error",
        Status::Canceled => "Canceled",
    }
}

/// The steps whose results a step used.
fn inputs_of(step: &StepRecord) -> Vec<StepId> {
    step.vertex.iter().flat_map(|vertex| &vertex.inputs).map(|input| StepId(*input)).collect()
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

/// Prints what one step wrote. `step` is its number, or a part of its name.
fn print_step(record: &BuildRecord, log: LogReader, step: &str) -> Result<(), CommandError> {
    let by_number =
        step.trim_start_matches('#').parse().ok().and_then(|number: u32| record.step(number.checked_sub(1)?));
    let found = by_number.or_else(|| record.steps.iter().find(|candidate| candidate.name.contains(step)));
    let number = found.ok_or_else(|| failed(NoBuildError::NoSuchStep(step.to_owned())))?.number;
    for piece in log {
        let piece = piece.map_err(|error| failed(error.into()))?;
        if piece.step == number {
            print(&piece.bytes)?;
        }
    }
    Ok(())
}

/// Shows the build as if it happened now.
fn replay(record: &BuildRecord, log: LogReader, progress: &str) -> Result<(), CommandError> {
    let style = Style::choose(progress, false).map_err(|error| CommandError::Options(error.into()))?;
    let reporter = Reporter::start(style, false);
    let outcome = replay_to(&reporter, record, log);
    reporter.finish(Vec::new());
    outcome.map_err(|error| failed(error.into()))
}

/// Hands on what happened, in its order. Logs come as they are read: they may be longer than the memory.
fn replay_to(
    events: &dyn Events,
    record: &BuildRecord,
    log: impl Iterator<Item = Result<LogPiece, LogError>>,
) -> Result<(), LogError> {
    let mut others = milestones(record).into_iter().peekable();
    for piece in log {
        let LogPiece { step, stream, at_ns, bytes } = piece?;
        let is_before = |(at, event): &(i64, Event)| {
            *at < at_ns || (*at == at_ns && !matches!(event, Event::StepDone { .. } | Event::StepFailed { .. }))
        };
        while let Some((_, event)) = others.next_if(is_before) {
            events.emit(event);
        }
        events.emit(Event::StepLog { step: StepId(step), stream, bytes, at: system_time(at_ns) });
    }
    others.for_each(|(_, event)| events.emit(event));
    Ok(())
}

/// All that happened but what steps wrote, in its order, with the time in nanoseconds since 1970.
fn milestones(record: &BuildRecord) -> Vec<(i64, Event)> {
    let mut timed: Vec<(i64, Event)> = Vec::new();
    for record in &record.steps {
        let step = StepId(record.number);
        let start = record.started_ns.unwrap_or(i64::MIN);
        timed.push((i64::MIN, Event::StepPlanned { step, name: record.name.clone(), inputs: inputs_of(record) }));
        if record.hit.is_some() {
            timed.push((start, Event::StepCached { step }));
        } else if record.started_ns.is_some() {
            timed.push((start, Event::StepStarted { step, at: system_time(start) }));
        }
    }
    for record in &record.steps {
        let step = StepId(record.number);
        match (record.completed_ns, &record.error) {
            (Some(end), Some(message)) => {
                let message = message.clone();
                timed.push((end, Event::StepFailed { step, message, at: system_time(end) }));
            }
            (Some(end), None) => timed.push((end, Event::StepDone { step, at: system_time(end) })),
            (None, _) if record.is_canceled => timed.push((i64::MAX, Event::StepCanceled { step })),
            (None, _) => {}
        }
    }
    // Keeps the order above for what happened at the same time.
    timed.sort_by_key(|(at, _)| *at);
    timed
}

fn system_time(ns: i64) -> SystemTime {
    UNIX_EPOCH + nanoseconds(ns)
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

    /// Takes events down.
    #[derive(Default)]
    struct Heard(std::sync::Mutex<Vec<String>>);

    impl Events for Heard {
        fn emit(&self, event: Event) {
            let text = match event {
                Event::StepPlanned { step, .. } => format!("{} planned", step.0),
                Event::StepStarted { step, .. } => format!("{} started", step.0),
                Event::StepDone { step, .. } => format!("{} done", step.0),
                Event::StepLog { step, bytes, .. } => format!("{} {}", step.0, String::from_utf8(bytes).unwrap()),
                other => panic!("{other:?}"),
            };
            self.0.lock().unwrap().push(text);
        }

        fn new_step(&self) -> StepId {
            unreachable!("because nothing is built")
        }
    }

    #[test]
    fn a_replay_has_the_order_of_the_build() {
        let step = |number, started_ns, completed_ns| StepRecord {
            number,
            name: String::new(),
            lines: None,
            started_ns: Some(started_ns),
            completed_ns: Some(completed_ns),
            error: None,
            is_canceled: false,
            hit: None,
            vertex: None,
        };
        let mut build = record("a", "/x", None);
        build.steps = vec![step(0, 10, 20), step(1, 20, 30)];
        let log = [(0, 10, "first"), (0, 20, "last"), (1, 25, "other")].map(|(step, at_ns, text)| {
            Ok(LogPiece { step, stream: slipway_graph::LogStream::Stdout, at_ns, bytes: text.into() })
        });
        let heard = Heard::default();
        replay_to(&heard, &build, log.into_iter()).unwrap();
        let expected =
            ["0 planned", "1 planned", "0 started", "0 first", "1 started", "0 last", "0 done", "1 other", "1 done"];
        assert_eq!(heard.0.into_inner().unwrap(), expected);
        let damaged = [Err(LogError::Damaged(io::ErrorKind::InvalidData.into()))];
        assert!(replay_to(&Heard::default(), &build, damaged.into_iter()).is_err());
    }

    #[test]
    fn builds_are_listed_as_docker_lists_them() {
        let now = Timestamp::from_second(3601).unwrap();
        let all = [
            record("q2gx2gt8rp9dh8bnhq8zfbzcl", "/src/app", Some("prod")),
            record("b", &format!("/{}", "x".repeat(40)), None),
        ];
        let expected = format!(
            "\
BUILD ID                    NAME                                   STATUS      CREATED AT          DURATION
q2gx2gt8rp9dh8bnhq8zfbzcl   app (prod)                             Completed   About an hour ago   1m 23s
b                           ..{}   Completed   About an hour ago   1m 23s
",
            "x".repeat(34)
        );
        assert_eq!(table(&all, false, now), expected);
        assert_eq!(duration(Duration::from_millis(4540)), "4.5s");
        assert_eq!(duration(Duration::from_secs(63)), "1m  3s");
    }
}
