//! `slipway build --verify-reproducible`: builds twice, and says which steps do not come to the same files.
//!
//! What a step could depend on is made different for the second build as far as that can be done from outside: it runs
//! later, without cache, under another host name, on one processor, with another number of steps at the same time, and with
//! folders that list their files in another order. If a difference is not explained by then, a third build has all of that
//! but the last: what is alike then, the order of folders made differ.

use std::io::{self, Write as _};
use std::thread;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use slipway_engine::{
    Built, Cause, Engine, TracedStep, UnlikeFile, UnlikeStep, Unlikeness, Variation, blame_folder_order,
};
use slipway_graph::Events;
use slipway_graph::request::{
    Attestations, BuildRequest, CacheBypass, ContextLocation, DockerfileLocation, NamedRequest, Output,
};
use slipway_sandbox::ladder::Place;
use slipway_solver::Cancel;

use super::{Terminals, engine, registry_of};
use crate::interrupt;
use crate::place;
use crate::progress::Reporter;
use crate::report::CommandError;

/// Standard input can be read once.
#[derive(Debug, thiserror::Error)]
#[error("--verify-reproducible builds twice, and standard input can be read once: give the context as a folder or URL")]
struct StdinError;

/// The host name of steps, and the build argument that changes it.
const HOST_NAME: &str = "buildkitsandbox";
const HOST_NAME_ARG: &str = "BUILDKIT_SANDBOX_HOSTNAME";
const OTHER_HOST_NAME: &str = "another-host";
const EPOCH_ARG: &str = "SOURCE_DATE_EPOCH";

/// Times in layers are whole seconds.
const UNTIL_THE_CLOCK_HAS_MOVED: Duration = Duration::from_millis(1100);

/// Builds what `named` asks for, and then again without writing any result; gives the steps that differ.
pub(super) fn build_twice(
    named: &[NamedRequest; 1],
    place: Place,
    reporter: impl Fn() -> Reporter,
    mut remarks: Vec<String>,
) -> Result<(Vec<Built>, Vec<UnlikeStep>), CommandError> {
    let [NamedRequest { name, request }] = named;
    if request.context == ContextLocation::Stdin || request.dockerfile == DockerfileLocation::Stdin {
        return Err(CommandError::Options(Box::new(StdinError)));
    }
    let flavor = place::enter(place)?;
    let cancel = interrupt::watch().map_err(|error| CommandError::Preparation(error.into()))?;
    let registry = registry_of(named);
    let engine = engine(&place::store_root(place), flavor, registry.clone(), Terminals::default())
        .map_err(|error| CommandError::Preparation(error.into()))?;
    let build = |request: BuildRequest, remarks: Vec<String>| {
        let reporter = reporter();
        let traced = [NamedRequest { name: name.clone(), request: BuildRequest { traces_steps: true, ..request } }];
        let outcome = build_once(&engine, &traced, &reporter, &cancel);
        reporter.finish([remarks, registry.warnings()].concat());
        outcome
    };
    let first = build(request.clone(), std::mem::take(&mut remarks))?;
    thread::sleep(UNTIL_THE_CLOCK_HAS_MOVED);
    let (host_names, epoch) = (host_names(request), latest_time(request));
    let build_varied = |shuffles_folders| {
        let request = BuildRequest { shuffles_folders, ..varied(request) };
        let (built, n_processors) = on_one_processor(|| build(request, Vec::new()));
        let variation = Variation { host_names: host_names.clone(), n_processors, epoch };
        engine
            .compare_steps(&steps(&first), &steps(&built?), &variation)
            .map_err(|error| CommandError::Preparation(error.into()))
    };
    let mut unlike = build_varied(true)?;
    if unlike.iter().any(UnlikeStep::is_unexplained) {
        blame_folder_order(&mut unlike, &build_varied(false)?);
    }
    Ok((first, unlike))
}

fn steps(built: &[Built]) -> Vec<TracedStep> {
    built.first().map(|built| built.steps.clone()).unwrap_or_default()
}

fn build_once(
    engine: &Engine,
    named: &[NamedRequest],
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<Vec<Built>, CommandError> {
    engine.build(named, &mut io::empty(), events, cancel).map_err(CommandError::Build)
}

/// Runs `work` where programs see one processor; also gives how many they saw before, and then.
fn on_one_processor<T>(work: impl FnOnce() -> T) -> (T, [usize; 2]) {
    let Ok(all) = sched_getaffinity(None) else { return (work(), [1, 1]) };
    let n_all = all.count() as usize;
    let mut one = CpuSet::new();
    if let Some(first) = (0..CpuSet::MAX_CPU).find(|processor| all.is_set(*processor)) {
        one.set(first);
    }
    // Threads and processes have what those have that started them.
    let is_limited = sched_setaffinity(None, &one).is_ok();
    let done = work();
    // It was so before.
    let _ = sched_setaffinity(None, &all);
    (done, [n_all, if is_limited { 1 } else { n_all }])
}

/// A further build: nothing of it is written anywhere but into the cache.
fn varied(request: &BuildRequest) -> BuildRequest {
    let mut varied = request.clone();
    let [_, host_name] = host_names(request);
    varied.build_args.insert(HOST_NAME_ARG.to_owned(), host_name);
    varied.jobs = Some(if request.jobs == Some(1) { 4 } else { 1 });
    varied.cache_bypass = CacheBypass::Everything;
    varied.outputs = vec![Output::CacheOnly];
    varied.attestations = Attestations::default();
    // What names stand for is not asked again: the inputs are to be the same.
    varied.pulls_always = false;
    (varied.cache_from, varied.cache_to) = (Vec::new(), Vec::new());
    (varied.iidfile, varied.metadata_file) = (None, None);
    varied
}

fn host_names(request: &BuildRequest) -> [String; 2] {
    let first = request.build_args.get(HOST_NAME_ARG).map_or(HOST_NAME, String::as_str);
    [first.to_owned(), if first == OTHER_HOST_NAME { HOST_NAME } else { OTHER_HOST_NAME }.to_owned()]
}

/// The time that no file of any output is younger than, if the request says so.
fn latest_time(request: &BuildRequest) -> Option<i64> {
    let of_build = request.build_args.get(EPOCH_ARG).and_then(|text| text.parse().ok());
    let latest = |output: &Output| match output {
        Output::Image(image)
        | Output::Load { image, .. }
        | Output::Oci { image, .. }
        | Output::Docker { image, .. } => image.epoch.or(of_build).filter(|_| image.rewrites_times),
        Output::Local { files, .. } | Output::Tar { files, .. } => files.epoch.or(of_build),
        Output::CacheOnly => None,
    };
    request.outputs.iter().map(latest).collect::<Option<Vec<i64>>>()?.into_iter().max()
}

/// Says which steps differ, and fails if one does.
pub(super) fn tell(built: &Built, unlike: &[UnlikeStep]) -> Result<(), CommandError> {
    let text = match unlike {
        [] => format!("Reproducible: {} steps came to the same files twice.\n", built.steps.len()),
        unlike => report(unlike),
    };
    io::stderr().write_all(text.as_bytes()).map_err(|error| CommandError::Preparation(error.into()))?;
    if unlike.is_empty() { Ok(()) } else { Err(CommandError::Findings) }
}

fn report(unlike: &[UnlikeStep]) -> String {
    let mut text = format!("Not reproducible: {} steps did not come to the same files twice.\n", unlike.len());
    for UnlikeStep { name, lines, files, n_more } in unlike {
        let line = lines.map(|lines| format!(" (line {})", lines.first)).unwrap_or_default();
        text += &format!("  {name}{line}\n");
        for UnlikeFile { path, unlikeness, cause } in files {
            text += &format!("    /{path}: {}{}\n", difference(unlikeness), cause.map(reason).unwrap_or_default());
        }
        if *n_more > 0 {
            text += &format!("    and {n_more} more\n");
        }
    }
    let has_times = unlike.iter().flat_map(|step| &step.files).any(|file| file.unlikeness == Unlikeness::TimeOnly);
    if has_times {
        text += "Times of files are those of the build; with SOURCE_DATE_EPOCH and the output option\n\
                 rewrite-timestamp=true they are not.\n";
    }
    text
}

fn difference(unlikeness: &Unlikeness) -> String {
    match unlikeness {
        Unlikeness::OnlyFirst => "only the first build made it".to_owned(),
        Unlikeness::OnlySecond => "only the second build made it".to_owned(),
        Unlikeness::Kind => "it is another kind of file".to_owned(),
        Unlikeness::Mode => "its mode differs".to_owned(),
        Unlikeness::Owner => "its owner differs".to_owned(),
        Unlikeness::LinkTarget => "the link leads elsewhere".to_owned(),
        Unlikeness::TimeOnly => "only its time differs".to_owned(),
        Unlikeness::Content { offset } => format!("its content differs from byte {offset} on"),
    }
}

fn reason(cause: Cause) -> &'static str {
    match cause {
        Cause::HostName => ": the host name",
        Cause::Processors => ": the number of processors",
        Cause::FolderOrder => ", because it depends on directory order",
        Cause::Order => ": the same lines in another order",
        Cause::Time => ": the time",
    }
}

#[cfg(test)]
mod tests {
    use slipway_graph::LineRange;

    use super::*;

    #[test]
    fn a_report_names_step_file_and_reason() {
        let file = |path: &str, unlikeness, cause| UnlikeFile { path: path.to_owned(), unlikeness, cause };
        let unlike = UnlikeStep {
            name: "[2/2] RUN hostname > /h".to_owned(),
            lines: Some(LineRange { first: 2, last: 2 }),
            files: vec![
                file("h", Unlikeness::Content { offset: 7 }, Some(Cause::HostName)),
                file("o", Unlikeness::OnlySecond, Some(Cause::FolderOrder)),
                file("t", Unlikeness::TimeOnly, None),
            ],
            n_more: 3,
        };
        assert_eq!(
            report(&[unlike]),
            "Not reproducible: 1 steps did not come to the same files twice.\n  \
             [2/2] RUN hostname > /h (line 2)\n    /h: its content differs from byte 7 on: the host name\n    \
             /o: only the second build made it, because it depends on directory order\n    \
             /t: only its time differs\n    and 3 more\n\
             Times of files are those of the build; with SOURCE_DATE_EPOCH and the output option\n\
             rewrite-timestamp=true they are not.\n"
        );
    }
}
