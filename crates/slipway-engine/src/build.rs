//! One build, from request to result.
//!
//! ```text
//! a contexts     which folders may be read, and where the Dockerfile is
//! b parse        text to syntax tree
//! c lower        syntax tree to graph; base images are looked up on the way, all that are known to be needed at once
//! d solve        what must run runs; layers that will be exported are made meanwhile
//! e finish       every layer has its diff ID
//! f assemble     config, history, times
//! g export       to where it was asked for
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::time::{Instant, SystemTime};

use slipway_dockerfile::lint::{CheckOptions, LintInputs, Warning, lint};
use slipway_dockerfile::{
    Diagnostic, Dockerfile, IgnoreRules, ImagePlace, ImageQuestion, KnownImages, LowerInputs, Lowered, Lowering,
    Severity, form_errors, lower, parse, similar_stage,
};
use slipway_graph::request::{BuildRequest, ContextLocation, DockerfileLocation, NamedContext};
use slipway_graph::{Event, Events, LineRange, StepId};
use slipway_oci::{Digest, Platform};
use slipway_registry::Registry;
use slipway_solver::{Cancel, Plan, SolveError, solve};
use slipway_store::{OverlayFlavor, Snapshot, Store};
use tempfile::TempDir;

use crate::assemble::{LayerFacts, assemble};
use crate::context::Owners;
use crate::contexts::{Contexts, MAIN};
use crate::descriptors::{self, OriginalLimit};
use crate::durability;
use crate::export::{self, Export, Image, ImageLayer};
use crate::images::{ImageError, Images};
use crate::layers::{self, LayerMaker};
use crate::observe::{self, BuildObserver};
use crate::ops::exec::HostFiles;
use crate::ops::http::HttpSources;
use crate::ops::{EngineOps, StoreCache};
use crate::stdin_context::{self, StdinContext};

/// What an engine is made of.
pub struct EngineParts {
    pub store: Store,
    pub registry: Registry,
    /// How overlays are written by this process: as root, or as root of a user namespace.
    pub flavor: OverlayFlavor,
    /// Where helper programs of the host are looked for, as in `PATH`.
    pub search_path: OsString,
}

/// Builds images. One engine serves any number of builds.
pub struct Engine {
    store: Store,
    registry: Registry,
    flavor: OverlayFlavor,
    search_path: OsString,
    nofile: OriginalLimit,
}

/// What came of a build.
#[derive(Debug)]
pub struct Built {
    /// Digest of the image config.
    pub image_id: Option<Digest>,
    pub warnings: Vec<Warning>,
    pub dockerfile: SourceFile,
}

/// A Dockerfile as the user knows it.
#[derive(Clone, Debug, Default)]
pub struct SourceFile {
    pub name: String,
    pub text: String,
}

/// Why there is no image, and the file that a message may point into.
#[derive(Debug)]
pub struct BuildError {
    pub failure: BuildFailure,
    pub dockerfile: Option<SourceFile>,
}

/// What went wrong.
#[derive(Debug)]
pub enum BuildFailure {
    /// The user's file.
    Dockerfile(Vec<Diagnostic>),
    /// One step.
    Step {
        lines: Option<LineRange>,
        name: String,
        source: Box<dyn Error + Send + Sync>,
        /// What to try, where that is known for sure.
        hint: Option<String>,
    },
    /// The user interrupted.
    Canceled,
    Other(Box<dyn Error + Send + Sync>),
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Their file or their command failed.
    User,
    /// Kernel, disk or network.
    Environment,
    /// Ours.
    Bug,
}

impl BuildError {
    /// Whose fault it is, as far as that can be told.
    pub fn class(&self) -> ErrorClass {
        match self.failure {
            BuildFailure::Dockerfile(_) | BuildFailure::Step { .. } | BuildFailure::Canceled => ErrorClass::User,
            BuildFailure::Other(_) => ErrorClass::Environment,
        }
    }
}

/// Why a base image is not known.
#[derive(Debug, thiserror::Error)]
#[error("{written}")]
struct LookUpError {
    /// The image as the Dockerfile names it.
    written: String,
    source: Box<ImageError>,
}

/// Why the Dockerfile cannot be had.
#[derive(Debug, thiserror::Error)]
enum InputError {
    #[error("unable to prepare context: path \"{}\" not found", .0.display())]
    NoContext(PathBuf),
    #[error("failed to read dockerfile: open {name}: no such file or directory")]
    NoDockerfile { name: String },
    #[error("failed to read dockerfile: open {name}")]
    ReadDockerfile { name: String, source: io::Error },
    #[error("ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles")]
    TwoDockerfiles,
    #[error("contexts and Dockerfiles at URLs are not supported yet: `{0}`")]
    Url(String),
    #[error("building for several platforms at once is not supported yet")]
    SeveralPlatforms,
    #[error("unsupported frontend `{0}`: slipway has the Dockerfile language built in and runs no other")]
    Frontend(String),
    #[error("invalid SOURCE_DATE_EPOCH: {0}")]
    Epoch(String),
    #[error("the base image of the stage cannot be resolved")]
    Unresolved,
    #[error("cannot make a folder for the context")]
    TemporaryFolder(#[source] io::Error),
}

/// Contexts and Dockerfile of a build, found and read.
struct Inputs {
    contexts: Contexts,
    dockerfile_name: String,
    dockerfile_text: Vec<u8>,
    /// A context that came as an archive lies here; removed with the value.
    _temporary: Option<TempDir>,
}

/// The root file system of the target, and how many steps had to run for it.
struct Solved {
    snapshot: Snapshot,
    n_run: usize,
}

impl Engine {
    /// An engine that has not touched anything yet, except that the process may now open as many files as its hard
    /// limit allows.
    pub fn new(parts: EngineParts) -> Engine {
        let nofile = descriptors::raise_limit();
        let EngineParts { store, registry, flavor, search_path } = parts;
        Engine { store, registry, flavor, search_path, nofile }
    }

    /// Builds what `request` asks for. `stdin` is read only if the request says so.
    ///
    /// # Errors
    /// Everything that keeps the result from being written; then none of the outputs exists, though steps that
    /// succeeded stay in the cache.
    pub fn build(
        &self,
        request: &BuildRequest,
        stdin: &mut dyn Read,
        events: &dyn Events,
        cancel: &Cancel,
    ) -> Result<Built, BuildError> {
        let started = Instant::now();
        let name = format!("[internal] load build definition from {}", dockerfile_name(&request.dockerfile));
        let inputs = internal_step(events, &name, || self.inputs(request, stdin)).map_err(other)?;
        let (dockerfile, diagnostics) = parse(&inputs.dockerfile_text);
        let source = SourceFile { name: inputs.dockerfile_name.clone(), text: dockerfile.text.clone() };
        let with_source = |failure| match cancel.is_canceled() && !matches!(failure, BuildFailure::Step { .. }) {
            // Whatever was in the way of those who were told to stop.
            true => BuildError { failure: BuildFailure::Canceled, dockerfile: None },
            false => BuildError { failure, dockerfile: Some(source.clone()) },
        };
        let mut errors: Vec<_> = diagnostics.into_iter().filter(|d| d.severity == Severity::Error).collect();
        if !errors.is_empty() {
            errors.extend(form_errors(&dockerfile));
            errors.sort_by_key(|error| (error.is_about_form, error.lines.first));
            return Err(with_source(BuildFailure::Dockerfile(errors)));
        }
        check_frontend(&dockerfile).map_err(|e| with_source(BuildFailure::Other(Box::new(e))))?;
        let (lowered, warnings) = self.lower(&dockerfile, request, events).map_err(with_source)?;
        let solved = self.solve(&lowered, request, &inputs.contexts, events, cancel).map_err(with_source)?;
        let Solved { snapshot, n_run } = solved;
        let image = self.image(&lowered, snapshot, request, cancel).map_err(|e| with_source(BuildFailure::Other(e)))?;
        let export = Export { store: &self.store, registry: &self.registry, image: &image, events, cancel };
        export::export(&export, request).map_err(|e| with_source(BuildFailure::Other(Box::new(e))))?;
        if n_run > 0 {
            durability::after_build(&self.store, started.elapsed());
        }
        Ok(Built { image_id: Some(image.assembled.digest.clone()), warnings, dockerfile: source })
    }

    /// Step a.
    fn inputs(&self, request: &BuildRequest, stdin: &mut dyn Read) -> Result<Inputs, Box<dyn Error + Send + Sync>> {
        let mut contexts = Contexts::new(self.store.clone());
        let mut temporary = None;
        let folder = match &request.context {
            ContextLocation::Url(url) => return Err(InputError::Url(url.clone()).into()),
            ContextLocation::Folder(path) if !path.is_dir() => return Err(InputError::NoContext(path.clone()).into()),
            ContextLocation::Folder(path) => path.clone(),
            ContextLocation::Stdin => match stdin_context::read(stdin)? {
                StdinContext::Folder(unpacked) => {
                    let path = unpacked.path().to_owned();
                    temporary = Some(unpacked);
                    path
                }
                StdinContext::Dockerfile(text) => {
                    if request.dockerfile != DockerfileLocation::Default {
                        return Err(InputError::TwoDockerfiles.into());
                    }
                    let empty = tempfile::tempdir().map_err(InputError::TemporaryFolder)?;
                    contexts.add(MAIN, empty.path().to_owned(), None, Owners::Root);
                    add_named(&mut contexts, &request.named_contexts);
                    let dockerfile_name = "Dockerfile".to_owned();
                    return Ok(Inputs { contexts, dockerfile_name, dockerfile_text: text, _temporary: Some(empty) });
                }
            },
        };
        let in_archive = temporary.is_some();
        let found = read_dockerfile(&folder, &request.dockerfile, in_archive, stdin)?;
        let own_ignore_file = found.path.map(|mut path| {
            path.as_mut_os_string().push(".dockerignore");
            path
        });
        let owners = if in_archive { Owners::Kept } else { Owners::Root };
        contexts.add(MAIN, folder, own_ignore_file, owners);
        add_named(&mut contexts, &request.named_contexts);
        let (dockerfile_name, dockerfile_text) = (found.name, found.text);
        Ok(Inputs { contexts, dockerfile_name, dockerfile_text, _temporary: temporary })
    }

    /// Step c: asks for images until lowering knows enough.
    fn lower(
        &self,
        dockerfile: &Dockerfile,
        request: &BuildRequest,
        events: &dyn Events,
    ) -> Result<(Lowered, Vec<Warning>), BuildFailure> {
        let options =
            CheckOptions::of(dockerfile, &request.build_args).map_err(|error| BuildFailure::Other(Box::new(error)))?;
        let target_platform = match request.platforms.as_slice() {
            [] => Platform::host(),
            [only] => only.clone(),
            _ => return Err(BuildFailure::Other(Box::new(InputError::SeveralPlatforms))),
        };
        let inputs = LowerInputs {
            target: request.target.as_deref(),
            needs_all_stages: false,
            build_args: &request.build_args,
            build_platform: Platform::host(),
            target_platform,
            is_platform_explicit: !request.platforms.is_empty(),
            is_multi_platform: false,
            named_contexts: &request.named_contexts,
            cache_bypass: &request.cache_bypass,
            network: request.network,
            extra_hosts: &request.extra_hosts,
            shm_size_bytes: request.shm_size_bytes,
            ulimits: &request.ulimits,
            labels: &request.labels,
            allows_host_network: request.allows_host_network,
            allows_insecure: request.allows_insecure,
        };
        let mut known = KnownImages::new();
        loop {
            let (outcome, facts) = lower(dockerfile, &inputs, &known);
            match outcome.map_err(BuildFailure::Dockerfile)? {
                Lowering::Done(lowered) => {
                    let inputs = LintInputs { options: &options, ignore_rules: &IgnoreRules::default() };
                    return Ok((*lowered, lint(dockerfile, &facts, &[], inputs)));
                }
                Lowering::NeedImages(questions) => {
                    let n_known = known.len();
                    self.answer(dockerfile, &questions, request, events, &mut known)?;
                    // Asked the same thing twice: going on would never end.
                    if known.len() == n_known {
                        return Err(BuildFailure::Other(Box::new(InputError::Unresolved)));
                    }
                }
            }
        }
    }

    /// Looks up all images at the same time.
    fn answer(
        &self,
        dockerfile: &Dockerfile,
        questions: &[ImageQuestion],
        request: &BuildRequest,
        events: &dyn Events,
        known: &mut KnownImages,
    ) -> Result<(), BuildFailure> {
        let images = Images { store: &self.store, registry: &self.registry, pulls_always: request.pulls_always };
        let answers: Vec<_> = std::thread::scope(|scope| {
            let ask = |question: &'_ ImageQuestion| {
                let key = question.key.clone();
                let name = format!("[internal] load metadata for {}", image_name(&question.key.place));
                let images = &images;
                scope.spawn(move || internal_step(events, &name, || images.look_up(&key)))
            };
            let threads: Vec<_> = questions.iter().map(ask).collect();
            threads.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        for (question, answer) in questions.iter().zip(answers) {
            let image = answer.map_err(|source| BuildFailure::Step {
                lines: Some(question.lines),
                name: question.written.clone(),
                source: Box::new(LookUpError { written: question.written.clone(), source: Box::new(source) }),
                hint: similar_stage(dockerfile, &question.written),
            })?;
            known.insert(question.key.clone(), image);
        }
        Ok(())
    }

    /// Step d.
    fn solve(
        &self,
        lowered: &Lowered,
        request: &BuildRequest,
        contexts: &Contexts,
        events: &dyn Events,
        cancel: &Cancel,
    ) -> Result<Solved, BuildFailure> {
        let graph = &lowered.graph;
        let steps: Vec<StepId> = (0..graph.len()).map(|_| events.new_step()).collect();
        let host_files = HostFiles::new(self.store.root().join("empty"), self.nofile, self.search_path.clone());
        let http = HttpSources::default();
        let ops = EngineOps {
            graph,
            store: &self.store,
            registry: &self.registry,
            flavor: self.flavor,
            contexts,
            secrets: &request.secrets,
            ssh: &request.ssh,
            host_files: &host_files,
            http: &http,
            events,
            steps: &steps,
        };
        let targets = [lowered.result];
        let plan = Plan { graph, targets: &targets, jobs: request.jobs.unwrap_or_else(default_jobs), cancel };
        let n_run = AtomicUsize::new(0);
        let solved = std::thread::scope(|scope| {
            let layers = LayerMaker::start(scope, self.store.clone(), export::wanted_form(request), cancel);
            let exported = observe::exported(graph, lowered.result);
            let observer = BuildObserver { graph, events, steps: &steps, exported, layers: &layers, n_run: &n_run };
            solve(&plan, &ops, &StoreCache(&self.store), &observer)
        });
        let output = solved.map_err(|error| match error {
            SolveError::Canceled => BuildFailure::Canceled,
            SolveError::Vertex { vertex, error } => {
                let vertex = graph.vertex(vertex);
                let (lines, name, hint) = (vertex.lines, vertex.name.clone(), error.hint());
                BuildFailure::Step { lines, name, source: Box::new(error), hint }
            }
        })?;
        let snapshot = match output.into_iter().next() {
            Some(output) => ops.snapshot_of(&output).map_err(|e| BuildFailure::Other(Box::new(e)))?,
            None => Snapshot::scratch(),
        };
        Ok(Solved { snapshot, n_run: n_run.into_inner() })
    }

    /// Steps e and f.
    fn image(
        &self,
        lowered: &Lowered,
        snapshot: Snapshot,
        request: &BuildRequest,
        cancel: &Cancel,
    ) -> Result<Image, Box<dyn Error + Send + Sync>> {
        // A base image may list a layer several times (the empty one, mostly); its stack holds each once.
        let base = &lowered.config.rootfs.diff_ids;
        let n_base_on_stack = base.iter().collect::<std::collections::BTreeSet<_>>().len();
        let finished = layers::finish(&self.store, &snapshot, cancel)?;
        let (mut image_layers, mut layers_ns) = (Vec::new(), Vec::new());
        for diff_id in base {
            image_layers.push(ImageLayer { diff_id: diff_id.clone(), place: None });
            layers_ns.push(snapshot.created_ns());
        }
        for (index, (layer, diff_id)) in finished.into_iter().enumerate().skip(n_base_on_stack) {
            image_layers.push(ImageLayer { diff_id, place: Some(index) });
            layers_ns.push(self.store.layer_created_ns(&layer)?.unwrap_or_else(|| snapshot.created_ns()));
        }
        let diff_ids = image_layers.iter().map(|layer| layer.diff_id.clone()).collect();
        let graph = &lowered.graph;
        let step_names: Vec<String> = observe::layer_names(graph, lowered.result);
        let epoch = epoch(&request.build_args)?;
        let facts = LayerFacts { layers_ns: &layers_ns, step_names: &step_names, epoch };
        let assembled = assemble(lowered.config.clone(), lowered.n_base_history, diff_ids, &facts)?;
        Ok(Image { assembled, snapshot, layers: image_layers })
    }
}

/// The name of the Dockerfile that is looked for.
fn dockerfile_name(location: &DockerfileLocation) -> String {
    match location {
        DockerfileLocation::Path(path) => path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
        DockerfileLocation::Default | DockerfileLocation::Stdin | DockerfileLocation::Url(_) => "Dockerfile".to_owned(),
    }
}

fn image_name(place: &ImagePlace) -> String {
    match place {
        ImagePlace::Reference(reference) => reference.with_default_tag().to_string(),
        ImagePlace::OciLayout { name, .. } => name.clone(),
    }
}

/// A Dockerfile that was found.
struct FoundDockerfile {
    /// `None` if it came on standard input.
    path: Option<PathBuf>,
    /// As people know it.
    name: String,
    text: Vec<u8>,
}

/// Looks for the Dockerfile. `folder` is the context; paths are relative to the working directory, or to the context
/// if that came as an archive.
fn read_dockerfile(
    folder: &Path,
    location: &DockerfileLocation,
    in_archive: bool,
    stdin: &mut dyn Read,
) -> Result<FoundDockerfile, Box<dyn Error + Send + Sync>> {
    let path = match location {
        DockerfileLocation::Url(url) => return Err(InputError::Url(url.clone()).into()),
        DockerfileLocation::Stdin => {
            let mut text = Vec::new();
            let error = |source| InputError::ReadDockerfile { name: "-".to_owned(), source };
            stdin.take(MAX_DOCKERFILE_BYTES).read_to_end(&mut text).map_err(error)?;
            return Ok(FoundDockerfile { path: None, name: "Dockerfile".to_owned(), text });
        }
        DockerfileLocation::Path(path) if in_archive => folder.join(path),
        DockerfileLocation::Path(path) => path.clone(),
        DockerfileLocation::Default => {
            let usual = folder.join("Dockerfile");
            let lower_case = folder.join("dockerfile");
            if !usual.exists() && lower_case.exists() { lower_case } else { usual }
        }
    };
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let file = match std::fs::File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(InputError::NoDockerfile { name }.into()),
        Err(source) => return Err(InputError::ReadDockerfile { name, source }.into()),
    };
    let mut text = Vec::new();
    file.take(MAX_DOCKERFILE_BYTES)
        .read_to_end(&mut text)
        .map_err(|source| InputError::ReadDockerfile { name: name.clone(), source })?;
    Ok(FoundDockerfile { path: Some(path), name, text })
}

const MAX_DOCKERFILE_BYTES: u64 = 16 << 20;

fn add_named(contexts: &mut Contexts, named: &BTreeMap<String, NamedContext>) {
    for (name, context) in named {
        if let NamedContext::Folder(path) = context {
            contexts.add(name, path.clone(), None, Owners::Root);
        }
    }
}

/// The language is built in: any version of its own frontend means it, every other frontend is refused by name.
fn check_frontend(dockerfile: &Dockerfile) -> Result<(), InputError> {
    let Some(syntax) = &dockerfile.directives.syntax else { return Ok(()) };
    let image = syntax.text.split('@').next().unwrap_or_default();
    let is_ours = |name: &str| matches!(name, "docker/dockerfile" | "docker/dockerfile-upstream");
    let without_tag = match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    };
    let without_host = without_tag.strip_prefix("docker.io/").unwrap_or(without_tag);
    match is_ours(without_host) || is_ours(without_tag.split_once('/').map_or("", |(_, rest)| rest)) {
        true => Ok(()),
        false => Err(InputError::Frontend(syntax.text.clone())),
    }
}

fn epoch(build_args: &BTreeMap<String, String>) -> Result<Option<i64>, InputError> {
    match build_args.get("SOURCE_DATE_EPOCH").map(String::as_str) {
        None | Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| InputError::Epoch(text.to_owned())),
    }
}

/// Steps mostly wait: for compilers, for the network, for each other's locks. The kernel shares the processors out
/// better than a low limit here would.
fn default_jobs() -> usize {
    4 * std::thread::available_parallelism().map_or(1, std::num::NonZero::get).max(4)
}

/// Reports `work` as a step of its own.
fn internal_step<T, E>(events: &dyn Events, name: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E>
where
    E: std::fmt::Display,
{
    let step = events.new_step();
    events.emit(Event::StepPlanned { step, name: name.to_owned() });
    events.emit(Event::StepStarted { step, at: SystemTime::now() });
    let result = work();
    let at = SystemTime::now();
    events.emit(match &result {
        Ok(_) => Event::StepDone { step, at },
        Err(error) => Event::StepFailed { step, message: error.to_string(), at },
    });
    result
}

fn other(source: Box<dyn Error + Send + Sync>) -> BuildError {
    BuildError { failure: BuildFailure::Other(source), dockerfile: None }
}
