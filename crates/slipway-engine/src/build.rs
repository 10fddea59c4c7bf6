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

use std::collections::BTreeSet;
use std::error::Error;
use std::ffi::OsString;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Instant, SystemTime};

use slipway_dockerfile::{Diagnostic, ImageKey};
use slipway_graph::op::HttpSource;
use slipway_graph::request::{BuildRequest, ContextLocation, DockerfileLocation};
use slipway_graph::{Event, Events, Graph, LineRange, MainContext, StepId, VertexId};
use slipway_oci::{Digest, Platform};
use slipway_registry::Registry;
use slipway_solver::{Cancel, Plan, SolveError, solve};
use slipway_store::{OverlayFlavor, Snapshot, Store};

use crate::assemble::Draft;
use crate::contexts::Contexts;
use crate::descriptors::{self, OriginalLimit};
use crate::durability;
use crate::export::{self, Export, ExportedImage, Image, ImageLayer};
use crate::frontend::Frontend;
use crate::images::Images;
use crate::inputs::{Fetched, InputError, find_inputs};
use crate::layer::diff::open_dir;
use crate::layers::{self, BlobForm, LayerMaker};
use crate::observe::{self, BuildObserver};
use crate::ops::exec::HostFiles;
use crate::ops::git::GitInputs;
use crate::ops::http::HttpInputs;
use crate::ops::shell::ShellSeat;
use crate::ops::{EngineOps, RemoteSources, StoreCache};
use crate::platforms::{Blueprint, ImagePlan};
use crate::records::BuildRecord;
use crate::records::recorder::Recorder;
use crate::remote_context::{self, RemoteContext, RemoteContextError};
use crate::rootfs::Root;
use crate::ssh::Agents;
use crate::store_disk;

/// What an engine is made of.
pub struct EngineParts {
    pub store: Store,
    pub registry: Registry,
    /// How overlays are written by this process: as root, or as root of a user namespace.
    pub flavor: OverlayFlavor,
    /// Where helper programs of the host are looked for, as in `PATH`.
    pub search_path: OsString,
    /// Variables of the host that the `git` program may see: `PATH`, proxies, certificates.
    pub git_variables: Vec<(String, OsString)>,
    /// Who wants a shell in steps: in those that fail, and where the request says so.
    pub shell_seat: Option<Arc<dyn ShellSeat>>,
}

/// Builds images. One engine serves any number of builds.
pub struct Engine {
    store: Store,
    registry: Registry,
    flavor: OverlayFlavor,
    search_path: OsString,
    shell_seat: Option<Arc<dyn ShellSeat>>,
    nofile: OriginalLimit,
    git_variables: Vec<(String, OsString)>,
}

/// What came of a build.
#[derive(Debug)]
pub struct Built {
    /// Digest of the image config, or of the index of several images.
    pub image_id: Option<Digest>,
    /// The last output that is an image with a manifest.
    pub image: Option<ExportedImage>,
    /// What happened on the way; also kept in the store. `None` if nobody asked for a result.
    pub record: Option<BuildRecord>,
}

/// A Dockerfile as the user knows it.
#[derive(Clone, Debug, Default)]
pub struct SourceFile {
    pub name: String,
    /// Where it lies, as typed; the name if it lies nowhere.
    pub path: String,
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
    /// slipway did, while it worked on a step; `message` is what the panic said.
    Panic {
        lines: Option<LineRange>,
        name: String,
        message: String,
    },
    /// The user interrupted.
    Canceled,
    /// What the request names is of no use; nothing was begun.
    Request(Box<dyn Error + Send + Sync>),
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
            BuildFailure::Request(_) | BuildFailure::Other(_) => ErrorClass::Environment,
            BuildFailure::Panic { .. } => ErrorClass::Bug,
        }
    }
}

/// What all parts of a build get.
#[derive(Clone, Copy)]
struct Job<'a> {
    request: &'a BuildRequest,
    sources: &'a RemoteSources,
    agents: &'a Agents,
    events: &'a Recorder<'a>,
    cancel: &'a Cancel,
}

/// What to solve.
struct Wanted<'a> {
    graph: &'a Graph,
    results: &'a [VertexId],
    /// `None` unless the layers of the results will be those of images; then in which form, if they leave the store.
    image_form: Option<Option<BlobForm>>,
}

/// The root file systems of the images, and how many steps had to run for them.
struct Solved {
    snapshots: Vec<Snapshot>,
    n_run: usize,
}

impl Engine {
    /// An engine that has not touched anything yet, except that the process may now open as many files as its hard
    /// limit allows.
    pub fn new(parts: EngineParts) -> Engine {
        let nofile = match parts.flavor {
            // Nothing is mounted, and who comes after this process has to see the user's limit.
            OverlayFlavor::Outside => OriginalLimit::read(),
            OverlayFlavor::Root | OverlayFlavor::UserNamespace => descriptors::raise_limit(),
        };
        let EngineParts { store, registry, flavor, search_path, git_variables, shell_seat } = parts;
        Engine { store, registry, flavor, search_path, shell_seat, nofile, git_variables }
    }

    /// Builds what `request` asks for. `stdin` is read only if the request says so. A record of the build stays in the
    /// store, unless all that was wanted is a shell, or to find out whether the engine has to enter a namespace.
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
        let recorder = Recorder::start(request, events, &self.store);
        let mut outcome = self.build_recorded(request, stdin, &recorder, cancel);
        let is_rehearsal = self.flavor == OverlayFlavor::Outside && outcome.is_err();
        if request.shell.is_none() && !is_rehearsal {
            let record = recorder.finish(&outcome);
            if let Ok(built) = &mut outcome {
                built.record = Some(record);
            }
        }
        outcome
    }

    fn build_recorded(
        &self,
        request: &BuildRequest,
        stdin: &mut dyn Read,
        events: &Recorder<'_>,
        cancel: &Cancel,
    ) -> Result<Built, BuildError> {
        let started = Instant::now();
        let unusable = |e| BuildError { failure: BuildFailure::Request(Box::new(e)), dockerfile: None };
        let agents = Agents::open(&request.ssh).map_err(unusable)?;
        let step = events.new_step();
        let name = request.load_step_name();
        let sources = RemoteSources::default();
        let job = Job { request, sources: &sources, agents: &agents, events, cancel };
        let fetched = self.fetch(job).map_err(|failure| BuildError { failure, dockerfile: None })?;
        let find = || find_inputs(request, fetched, stdin, Some(self.store.clone()));
        let inputs = internal_step(events, step, &name, find).map_err(other)?;
        let ignore_rules = inputs.ignore_rules().map_err(|error| other(error.into()))?;
        let images = Images { store: &self.store, registry: &self.registry, pulls_always: request.pulls_always };
        let look_up = |key: &ImageKey| Ok(images.look_up(key)?);
        let frontend = Frontend {
            request,
            main_context: &inputs.main_context,
            ignore_rules: &ignore_rules,
            needs_all_stages: false,
            look_up: &look_up,
            events,
        };
        let reading = frontend.read(&inputs.dockerfile_text);
        events.read_args(&reading.dockerfile);
        let source = inputs.source(&reading.dockerfile);
        reading.report(step, &source, events);
        let with_source = |failure| match cancel.is_canceled()
            && !matches!(failure, BuildFailure::Step { .. } | BuildFailure::Panic { .. })
        {
            // Whatever was in the way of those who were told to stop.
            true => BuildError { failure: BuildFailure::Canceled, dockerfile: None },
            false => BuildError { failure, dockerfile: Some(source.clone()) },
        };
        let blueprint = reading.outcome.map_err(with_source)?;
        let Blueprint { graph, images, is_multi } = &blueprint;
        let results: Vec<VertexId> = images.iter().map(|image| image.result).collect();
        let form = export::wanted_form(request, *is_multi);
        let wanted = Wanted { graph, results: &results, image_form: Some(form) };
        let Solved { snapshots, n_run } = self.solve(wanted, &inputs.contexts, job).map_err(with_source)?;
        let images = images.iter().zip(snapshots);
        let images = images.map(|(image, snapshot)| self.image(graph, image, snapshot, job));
        let images = images.collect::<Result<Vec<_>, _>>().map_err(|e| with_source(BuildFailure::Other(e)))?;
        let (store, registry, is_multi) = (&self.store, &self.registry, *is_multi);
        let wants_manifest = request.metadata_file.is_some();
        let export = Export { store, registry, images: &images, is_multi, wants_manifest, events, cancel };
        let exported = export::export(&export, request).map_err(|e| with_source(BuildFailure::Other(Box::new(e))))?;
        // Only what is taken away first when space is short depends on it.
        let _ = self.store.remember_uses(crate::now_ns());
        if n_run > 0 {
            durability::after_build(&self.store, started.elapsed());
        }
        Ok(Built { image_id: exported.id, image: exported.image, record: None })
    }

    /// What is remote and needed before anything else: the context, because the Dockerfile is in it, or the
    /// Dockerfile itself.
    fn fetch(&self, job: Job<'_>) -> Result<Fetched, BuildFailure> {
        let failed = |error: RemoteContextError| BuildFailure::Other(error.into());
        let (request, http) = (job.request, &job.sources.http);
        let inputs = HttpInputs { store: &self.store, registry: &self.registry, secrets: &request.secrets };
        let context = match &request.context {
            ContextLocation::Folder(_) | ContextLocation::Stdin => None,
            ContextLocation::Git(reference) => Some(remote_context::of_git(reference, &request.build_args)),
            ContextLocation::Http(url) => Some(remote_context::of_http(url, http, inputs).map_err(failed)?),
        };
        let context = context.map(|context| self.fetch_context(context, job)).transpose()?;
        let dockerfile = match &request.dockerfile {
            DockerfileLocation::Url(url) => {
                let source = HttpSource { url: url.clone(), filename: "Dockerfile".to_owned(), checksum: None };
                Some(remote_context::read_url(&source, http, inputs).map_err(failed)?)
            }
            DockerfileLocation::Default | DockerfileLocation::Path(_) | DockerfileLocation::Stdin => None,
        };
        Ok(Fetched { context, dockerfile })
    }

    fn fetch_context(&self, context: MainContext, job: Job<'_>) -> Result<RemoteContext, BuildFailure> {
        let mut graph = Graph::new();
        let result = context.add_to(&mut graph, &Platform::host());
        let wanted = Wanted { graph: &graph, results: &[result], image_form: None };
        let Solved { snapshots, .. } = self.solve(wanted, &Contexts::new(Some(self.store.clone())), job)?;
        let view = self.store.view(&snapshots[0]).map_err(|error| BuildFailure::Other(error.into()))?;
        let files = open_dir(view.as_fd(), c".").map_err(|errno| InputError::Context(errno.into()));
        Ok(RemoteContext { context, files: Root::new(files.map_err(|error| BuildFailure::Other(error.into()))?) })
    }

    /// Step d.
    fn solve(&self, wanted: Wanted<'_>, contexts: &Contexts, job: Job<'_>) -> Result<Solved, BuildFailure> {
        let (Wanted { graph, results, image_form }, Job { request, sources, agents, events, cancel }) = (wanted, job);
        let steps: Vec<StepId> = (0..graph.len()).map(|_| events.new_step()).collect();
        let host_files = HostFiles::new(self.store.root().join("empty"), self.nofile, self.search_path.clone());
        let git_inputs = GitInputs {
            store: &self.store,
            secrets: &request.secrets,
            ssh: &request.ssh,
            host_variables: &self.git_variables,
            cancel,
        };
        let ops = EngineOps {
            graph,
            store: &self.store,
            registry: &self.registry,
            flavor: self.flavor,
            contexts,
            secrets: &request.secrets,
            agents,
            limits: &request.limits,
            shell_seat: self.shell_seat.as_deref(),
            shell_at: request.shell.and(image_form).and(results.first().copied()),
            host_files: &host_files,
            sources,
            git_inputs,
            events,
            steps: &steps,
        };
        let plan = Plan { graph, targets: results, jobs: request.jobs.unwrap_or_else(default_jobs), cancel };
        let n_run = AtomicUsize::new(0);
        let solved = std::thread::scope(|scope| {
            let layers = LayerMaker::start(scope, self.store.clone(), image_form.flatten(), cancel);
            let exported = match image_form {
                Some(_) => results.iter().flat_map(|result| observe::exported(graph, *result)).collect(),
                None => BTreeSet::new(),
            };
            let host_files = (self.flavor != OverlayFlavor::Outside).then_some(&host_files);
            let (steps, layers, n_run) = (&steps, &layers, &n_run);
            let observer = BuildObserver {
                graph,
                events,
                recorder: events,
                ops: &ops,
                steps,
                exported,
                layers,
                host_files,
                n_run,
            };
            solve(&plan, &ops, &StoreCache(&self.store), &observer)
        });
        events.take_notes(&ops);
        let outputs = solved.map_err(|error| match error {
            SolveError::Canceled => BuildFailure::Canceled,
            SolveError::Vertex { vertex, error } => {
                let vertex = graph.vertex(vertex);
                let (lines, name, hint) = (vertex.lines, vertex.name.clone(), error.hint());
                let hint = hint.or_else(|| store_disk::hint(&error, self.store.root()));
                BuildFailure::Step { lines, name, source: Box::new(error), hint }
            }
            SolveError::Panicked { vertex, message } => {
                let vertex = graph.vertex(vertex);
                BuildFailure::Panic { lines: vertex.lines, name: vertex.name.clone(), message }
            }
        })?;
        let snapshots = outputs.iter().map(|output| ops.snapshot_of(output)).collect::<Result<_, _>>();
        let snapshots = snapshots.map_err(|e| BuildFailure::Other(Box::new(e)))?;
        Ok(Solved { snapshots, n_run: n_run.into_inner() })
    }

    /// Steps e and f.
    fn image(
        &self,
        graph: &Graph,
        image: &ImagePlan,
        snapshot: Snapshot,
        Job { cancel, .. }: Job<'_>,
    ) -> Result<Image, Box<dyn Error + Send + Sync>> {
        // A base image may list a layer several times (the empty one, mostly); its stack holds each once.
        let base = &image.config.rootfs.diff_ids;
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
        let step_names: Vec<String> = observe::layer_names(graph, image.result);
        let (config, n_base_history, epoch) = (image.config.clone(), image.n_base_history, image.epoch);
        let draft = Draft { config, n_base_history, layers_ns, step_names, epoch };
        let assembled = draft.finish(diff_ids, epoch)?;
        Ok(Image { draft, assembled, snapshot, layers: image_layers })
    }
}

/// Steps mostly wait: for compilers, for the network, for each other's locks. The kernel shares the processors out
/// better than a low limit here would.
fn default_jobs() -> usize {
    4 * std::thread::available_parallelism().map_or(1, std::num::NonZero::get).max(4)
}

/// Reports `work` as the step `step`.
pub(crate) fn internal_step<T, E>(
    events: &dyn Events,
    step: StepId,
    name: &str,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E>
where
    E: std::fmt::Display,
{
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

pub(crate) fn other(source: Box<dyn Error + Send + Sync>) -> BuildError {
    BuildError { failure: BuildFailure::Other(source), dockerfile: None }
}
