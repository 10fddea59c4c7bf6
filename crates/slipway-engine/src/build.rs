//! Builds, from requests to results. Several requests that are carried out together become one graph and are solved as
//! one, so that what they share is done once.
//!
//! ```text
//! a contexts     which folders may be read, and where the Dockerfile is     \\
//! b parse        text to syntax tree                                         > of each request: prepare.rs
//! c lower        syntax tree to graph; base images are looked up on the way /
//! d solve        what must run runs; layers that will be exported are made meanwhile
//! e finish       every layer has its diff ID
//! f assemble     config, history, times
//! g export       to where it was asked for
//! h cache        for others, to where they look for it
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::ffi::OsString;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Instant, SystemTime};

use slipway_dockerfile::Diagnostic;
use slipway_graph::op::Source;
use slipway_graph::request::{
    BuildRequest, CachePlace, CacheSource, ContextLocation, DockerfileLocation, LockUse, NamedRequest,
};
use slipway_graph::{Event, Events, Graph, LineRange, Pins, StepId, VertexId};
use slipway_oci::{DiffId, Digest};
use slipway_registry::Registry;
use slipway_solver::{Cancel, Plan, SolveError, solve};
use slipway_store::{Bounds, OverlayFlavor, Snapshot, Store};

use crate::assemble::Draft;
use crate::cap::Cap;
use crate::contexts::Contexts;
use crate::descriptors::{self, OriginalLimit};
use crate::durability;
use crate::export::{self, Export, ExportedImage, Image, ImageLayer};
use crate::images::Images;
use crate::inputs::Fetched;
use crate::layers::{self, BlobForm, LayerMaker};
use crate::observe::{self, BuildObserver};
use crate::ops::exec::{HostFiles, WindowSize};
use crate::ops::git::GitInputs;
use crate::ops::http::HttpInputs;
use crate::ops::shell::ShellSeat;
use crate::ops::{self, ContextReads, EngineCache, EngineOps, OpError, RemoteSources, Session};
use crate::platforms::{Blueprint, ImagePlan, ResultPlan};
use crate::records::BuildRecord;
use crate::records::audience::{Audience, SharedSteps};
use crate::shared_cache::export::{self as cache_export, CacheExport};
use crate::shared_cache::import::{Imports, LostCache};
use crate::ssh::Agents;
use crate::store_disk;
use crate::unmet::{self, Unmet};

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
    /// If given, steps write to a terminal of this size instead of to pipes. It is in no key.
    pub step_terminal: Option<WindowSize>,
    /// What the store is kept within, while builds go on and when they end; without bounds it grows.
    pub cap: Bounds,
}

/// Builds images. One engine serves any number of builds.
pub struct Engine {
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    pub(crate) flavor: OverlayFlavor,
    pub(crate) search_path: OsString,
    shell_seat: Option<Arc<dyn ShellSeat>>,
    step_terminal: Option<WindowSize>,
    pub(crate) nofile: OriginalLimit,
    git_variables: Vec<(String, OsString)>,
    cap: Cap,
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
    /// What the lock file is to say from now on, if the build was to find it out.
    pub pins: Option<Pins>,
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
    /// Which of the requests failed, by its place.
    pub build: usize,
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

impl BuildFailure {
    /// Those who were told to stop have nothing to say for themselves, unless they were what stopped the others.
    pub(crate) fn unless_canceled(self, cancel: &Cancel) -> BuildFailure {
        match self {
            BuildFailure::Step { .. } | BuildFailure::Panic { .. } => self,
            _ if cancel.is_canceled() => BuildFailure::Canceled,
            _ => self,
        }
    }
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
pub(crate) struct Job<'a> {
    pub(crate) requests: &'a [NamedRequest],
    /// By request.
    pub(crate) agents: &'a [Agents],
    pub(crate) sources: &'a RemoteSources,
    pub(crate) imports: &'a Imports<'a>,
    pub(crate) audience: &'a Audience<'a>,
    pub(crate) cancel: &'a Cancel,
}

/// What to solve.
#[derive(Clone)]
pub(crate) struct Wanted<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) results: Vec<VertexId>,
    /// By vertex: the request that brought it.
    pub(crate) owners: &'a [usize],
    /// By vertex: all requests that need it, the owner first.
    pub(crate) users: &'a [Vec<usize>],
    pub(crate) contexts: &'a Contexts,
    /// Vertices whose newest layers will be those of images, and the form of their blobs if they leave the store.
    pub(crate) exported: BTreeMap<VertexId, Option<BlobForm>>,
    /// The vertex that somebody sits down in.
    pub(crate) shell_at: Option<VertexId>,
    /// What is lacking already, found while Dockerfiles were read.
    pub(crate) unmet: Vec<Unmet>,
}

/// The root file systems of the results, and how many steps had to run for them.
pub(crate) struct Solved {
    pub(crate) snapshots: BTreeMap<VertexId, Snapshot>,
    /// By vertex; none if nobody wants the build's cache.
    definitions: Vec<Digest>,
    n_run: usize,
}

/// Why nothing was solved.
enum Unsolved {
    /// Without this cache it may go better.
    Lost(LostCache),
    Failed(Failed),
}

/// A request that cannot be carried out, and why.
pub(crate) struct Failed {
    pub(crate) build: usize,
    pub(crate) failure: BuildFailure,
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
        let EngineParts { store, registry, flavor, search_path, git_variables, shell_seat, step_terminal, cap } = parts;
        let cap = Cap::new(cap, flavor);
        Engine { store, registry, flavor, search_path, shell_seat, step_terminal, nofile, git_variables, cap }
    }

    /// Builds what `requests` ask for, with one graph; the results are in their order. `stdin` is read only if a request
    /// says so. Records of the builds stay in the store, unless all that was wanted is a shell, or to find out whether the
    /// engine has to enter a namespace.
    ///
    /// # Errors
    /// Everything that keeps a result from being written. If a step fails, none of the outputs exists, though steps that
    /// succeeded stay in the cache.
    pub fn build(
        &self,
        requests: &[NamedRequest],
        stdin: &mut dyn Read,
        events: &dyn Events,
        cancel: &Cancel,
    ) -> Result<Vec<Built>, BuildError> {
        let remark = |message| events.emit(Event::Remark { message });
        self.store.take_remarks().into_iter().for_each(remark);
        let audience = Audience::start(requests, events, &self.store);
        let mut attempt = (self.build_cancelable(requests, stdin, &audience, cancel), audience);
        if let (Err(error), _) = &attempt
            && self.may_repair(requests, error)
            && !cancel.is_canceled()
        {
            let damaged = self.store.repair_after_failure().unwrap_or_default();
            for finding in &damaged {
                remark(format!("damage in the store is set aside: {finding}"));
            }
            if !damaged.is_empty() {
                let audience = Audience::start(requests, events, &self.store);
                attempt = (self.build_cancelable(requests, stdin, &audience, cancel), audience);
            }
        }
        let (mut outcome, audience) = attempt;
        let is_rehearsal = self.flavor == OverlayFlavor::Outside && outcome.is_err();
        let is_shell = requests.iter().any(|named| named.request.shell.is_some());
        if !is_shell && !is_rehearsal {
            audience.finish(&mut outcome);
        }
        outcome
    }

    /// Whether damage in the store can be why a build failed, and the build can be begun again.
    fn may_repair(&self, requests: &[NamedRequest], error: &BuildError) -> bool {
        let reads_stdin = requests.iter().any(|NamedRequest { request, .. }| {
            request.context == ContextLocation::Stdin || request.dockerfile == DockerfileLocation::Stdin
        });
        let is_ours = match &error.failure {
            BuildFailure::Step { source, .. } => !ops::is_of_user(source.as_ref()),
            BuildFailure::Other(_) => true,
            BuildFailure::Dockerfile(_)
            | BuildFailure::Panic { .. }
            | BuildFailure::Canceled
            | BuildFailure::Request(_) => false,
        };
        is_ours && !reads_stdin && self.flavor != OverlayFlavor::Outside
    }

    /// One attempt. A failure cancels the rest of the attempt, and nothing else.
    fn build_cancelable(
        &self,
        requests: &[NamedRequest],
        stdin: &mut dyn Read,
        audience: &Audience<'_>,
        cancel: &Cancel,
    ) -> Result<Vec<Built>, BuildError> {
        let attempt = Arc::new(Cancel::new());
        let canceled = Arc::clone(&attempt);
        let _guard = cancel.on_cancel(move || canceled.cancel());
        self.build_recorded(requests, stdin, audience, &attempt)
    }

    fn build_recorded(
        &self,
        requests: &[NamedRequest],
        stdin: &mut dyn Read,
        audience: &Audience<'_>,
        cancel: &Cancel,
    ) -> Result<Vec<Built>, BuildError> {
        let started = Instant::now();
        let agents = requests
            .iter()
            .enumerate()
            .map(|(build, named)| Agents::open(&named.request.ssh).map_err(|error| unusable(build, error)));
        let agents = agents.collect::<Result<Vec<_>, _>>()?;
        let sources = RemoteSources::default();
        let import_events = audience.of(0);
        let imports = Imports::new(self.cache_sources(requests), &self.registry, &import_events);
        let job = Job { requests, agents: &agents, sources: &sources, imports: &imports, audience, cancel };
        let prepared = self.prepare(job, stdin)?;
        let blueprint = &prepared.blueprint;
        let with_source = |Failed { build, failure }| {
            let failure = failure.unless_canceled(cancel);
            let dockerfile = (!matches!(failure, BuildFailure::Canceled)).then(|| prepared.dockerfiles[build].clone());
            BuildError { build, failure, dockerfile }
        };
        let wanted = self.wanted(blueprint, &prepared.contexts, job);
        let users = blueprint.users();
        let wanted = Wanted { users: &users, ..wanted };
        let solved = self.solve(wanted, job).map_err(with_source)?;
        let mut built = Vec::with_capacity(requests.len());
        for (build, result) in &blueprint.results {
            let finished = self.finish(*build, result, &blueprint.graph, &solved, job);
            let failed = |source| with_source(Failed { build: *build, failure: BuildFailure::Other(source) });
            let request = &requests[*build].request;
            let pins = (request.lock == Some(LockUse::Extend)).then(|| {
                let mut pins = request.pins.clone();
                pins.extend(sources.pins());
                pins
            });
            built.push(Built { pins, ..finished.map_err(failed)? });
        }
        if solved.n_run > 0 {
            durability::after_build(&self.store, started.elapsed());
            self.cap.keep(&self.store);
        }
        Ok(built)
    }

    /// The caches that any of `requests` names, each once. Only who can unpack layers has a use for them.
    fn cache_sources<'a>(&self, requests: &'a [NamedRequest]) -> Vec<&'a CacheSource> {
        let mut sources: Vec<&CacheSource> = Vec::new();
        for source in requests.iter().flat_map(|named| &named.request.cache_from) {
            let is_reachable = !self.registry.is_offline()
                || matches!(source, CacheSource::Place(CachePlace::Local { .. }) | CacheSource::Unusable(_));
            if is_reachable && self.flavor != OverlayFlavor::Outside && !sources.contains(&source) {
                sources.push(source);
            }
        }
        sources
    }

    fn wanted<'a>(&self, blueprint: &'a Blueprint, contexts: &'a Contexts, job: Job<'a>) -> Wanted<'a> {
        let (mut results, mut exported) = (Vec::new(), BTreeMap::new());
        for (build, result) in &blueprint.results {
            let request = &job.requests[*build].request;
            let form = export::wanted_form(request, result.is_multi);
            results.extend(result.images.iter().map(|image| image.result));
            if !export::makes_image(request) {
                continue;
            }
            let form = form.or(cache_export::wanted_form(&request.cache_to));
            for image in &result.images {
                let vertices = match cache_export::wants_all(&request.cache_to) {
                    true => cache_export::all_of(&blueprint.graph, &[image.result]),
                    false => observe::exported(&blueprint.graph, image.result),
                };
                for vertex in vertices {
                    let known = exported.entry(vertex).or_insert(form);
                    *known = known.or(form);
                }
            }
        }
        let is_shell = job.requests.iter().any(|named| named.request.shell.is_some());
        let shell_at = results.first().copied().filter(|_| is_shell);
        let (graph, owners) = (&blueprint.graph, blueprint.owners.as_slice());
        let unmet = blueprint.unmet.clone();
        Wanted { graph, results, owners, users: &[], contexts, exported, shell_at, unmet }
    }

    /// Steps e to h of the request `build`.
    fn finish(
        &self,
        build: usize,
        result: &ResultPlan,
        graph: &Graph,
        solved: &Solved,
        job: Job<'_>,
    ) -> Result<Built, Box<dyn Error + Send + Sync>> {
        let request = &job.requests[build].request;
        let events = job.audience.of(build);
        let results: Vec<VertexId> = result.images.iter().map(|image| image.result).collect();
        let cache = CacheExport {
            store: &self.store,
            registry: &self.registry,
            graph,
            definitions: &solved.definitions,
            results: &results,
            imports: job.imports,
            events: &events,
            cancel: job.cancel,
        };
        // From outside of the namespace that files belong to nothing is forgiven: whoever looks from there is about to
        // look again from within.
        let is_strict = self.flavor == OverlayFlavor::Outside;
        if !export::makes_image(request) {
            cache.write_all(&request.cache_to, is_strict)?;
            return Ok(Built { image_id: None, image: None, record: None, pins: None });
        }
        let has_inline = request.cache_to.iter().any(|target| target.place == CachePlace::Inline);
        let images = result.images.iter().map(|image| {
            let inline = has_inline.then_some(&cache);
            self.image(graph, image, &solved.snapshots[&image.result], inline, job)
        });
        let images = images.collect::<Result<Vec<_>, _>>()?;
        let export = Export {
            store: &self.store,
            registry: &self.registry,
            images: &images,
            is_multi: result.is_multi,
            wants_manifest: request.metadata_file.is_some(),
            events: &events,
            cancel: job.cancel,
        };
        let exported = export::export(&export, request)?;
        cache.write_all(&request.cache_to, is_strict)?;
        Ok(Built { image_id: exported.id, image: exported.image, record: None, pins: None })
    }

    /// Where base images are looked up.
    pub(crate) fn images<'a>(&'a self, request: &'a BuildRequest, sources: &'a RemoteSources) -> Images<'a> {
        Images {
            store: &self.store,
            registry: &self.registry,
            pulls_always: request.pulls_always,
            lock: request.lock,
            pins: &request.pins,
            digests: &sources.images,
        }
    }

    /// When `source` changed last, in seconds since 1970.
    pub(crate) fn time_of(
        &self,
        source: &Source,
        request: &BuildRequest,
        sources: &RemoteSources,
        cancel: &Cancel,
    ) -> Result<Option<i64>, Box<dyn Error + Send + Sync>> {
        let http_inputs = self.http_inputs(request);
        Ok(sources.time_of(source, http_inputs, self.git_inputs(request, cancel))?)
    }

    /// What has to be fetched before the Dockerfile can be read, for somebody who does not build.
    pub(crate) fn fetch_inputs(&self, request: &BuildRequest, events: &dyn Events) -> Result<Fetched, BuildError> {
        let requests = [NamedRequest { name: String::new(), request: request.clone() }];
        let agents = [Agents::open(&request.ssh).map_err(|error| unusable(0, error))?];
        let (sources, cancel) = (RemoteSources::default(), Cancel::new());
        let audience = Audience::start(&requests, events, &self.store);
        let import_events = audience.of(0);
        let imports = Imports::new(Vec::new(), &self.registry, &import_events);
        let job = Job {
            requests: &requests,
            agents: &agents,
            sources: &sources,
            imports: &imports,
            audience: &audience,
            cancel: &cancel,
        };
        self.fetch(0, job).map_err(|failure| BuildError { build: 0, failure, dockerfile: None })
    }

    pub(crate) fn http_inputs<'a>(&'a self, request: &'a BuildRequest) -> HttpInputs<'a> {
        HttpInputs { store: &self.store, registry: &self.registry, secrets: &request.secrets, pins: &request.pins }
    }

    pub(crate) fn git_inputs<'a>(&'a self, request: &'a BuildRequest, cancel: &'a Cancel) -> GitInputs<'a> {
        GitInputs {
            store: &self.store,
            secrets: &request.secrets,
            ssh: &request.ssh,
            host_variables: &self.git_variables,
            cancel,
            pins: &request.pins,
            is_offline: self.registry.is_offline(),
        }
    }

    /// Step d, again for each imported cache that turns out to be broken.
    pub(crate) fn solve(&self, wanted: Wanted<'_>, job: Job<'_>) -> Result<Solved, Failed> {
        loop {
            match self.solve_once(wanted.clone(), job) {
                Ok(solved) => return Ok(solved),
                Err(Unsolved::Failed(failed)) => return Err(failed),
                Err(Unsolved::Lost(lost)) => job.imports.give_up(&lost),
            }
        }
    }

    fn solve_once(&self, wanted: Wanted<'_>, job: Job<'_>) -> Result<Solved, Unsolved> {
        let Wanted { graph, results, owners, users, contexts, exported, shell_at, mut unmet } = wanted;
        let Job { requests, agents, sources, imports, audience, cancel: user_cancel } = job;
        // The solver cancels what is left after a failure, which may be one that the build goes on after.
        let own_cancel = Arc::new(Cancel::new());
        let other_end = Arc::clone(&own_cancel);
        let _guard = user_cancel.on_cancel(move || other_end.cancel());
        let cancel = own_cancel.as_ref();
        let steps: Vec<StepId> = (0..graph.len()).map(|_| audience.new_step()).collect();
        let events = SharedSteps::new(audience, &steps, users);
        let isolates = requests.iter().any(|named| named.request.isolates_steps);
        let (empty, search_path) = (self.store.root().join("empty"), self.search_path.clone());
        let host_files = HostFiles::new(empty, self.nofile, search_path, self.step_terminal, isolates);
        let sessions = requests.iter().zip(agents).map(|(NamedRequest { request, .. }, agents)| Session {
            secrets: &request.secrets,
            ssh: &request.ssh,
            agents,
            limits: &request.limits,
            lock: request.lock,
            pins: &request.pins,
        });
        let ops = EngineOps {
            graph,
            store: &self.store,
            registry: &self.registry,
            flavor: self.flavor,
            contexts,
            context_reads: ContextReads::default(),
            sessions: &sessions.collect::<Vec<_>>(),
            owners,
            shell_seat: self.shell_seat.as_deref(),
            shell_at,
            host_files: &host_files,
            sources,
            git_variables: &self.git_variables,
            imports,
            cancel,
            events: &events,
            steps: &steps,
        };
        let build = results.first().map_or(0, |result| owners[result.0]);
        match unmet::of(&ops, &results) {
            Ok(more) => unmet.extend(more),
            Err(error) => {
                let failure = BuildFailure::Other(Box::new(error));
                return Err(Unsolved::Failed(Failed { build, failure }));
            }
        }
        if !unmet.is_empty() {
            return Err(Unsolved::Failed(Failed { build, failure: unmet::failure(unmet) }));
        }
        let jobs = requests.iter().filter_map(|named| named.request.jobs).max();
        let plan = Plan { graph, targets: &results, jobs: jobs.unwrap_or_else(default_jobs), cancel };
        let n_run = AtomicUsize::new(0);
        let solved = std::thread::scope(|scope| {
            let layers = LayerMaker::new(scope, self.store.clone(), cancel);
            let hand_in = |snapshot: &Snapshot, form| layers.hand_in(snapshot, form);
            let cap = self.cap.watch(scope, self.store.clone());
            let grown = || cap.grown();
            let host_files = (self.flavor != OverlayFlavor::Outside).then_some(&host_files);
            let (ops, n_run) = (&ops, &n_run);
            let observer = BuildObserver {
                graph,
                audience: &events,
                ops,
                steps: &steps,
                exported: &exported,
                hand_in: &hand_in,
                grown: &grown,
                host_files,
                n_run,
            };
            solve(&plan, ops, &EngineCache { store: &self.store, imports }, &observer)
        });
        events.take_notes(&ops);
        let outputs = solved.map_err(|error| match error {
            SolveError::Vertex { error: OpError::LostCache(lost), .. } => Unsolved::Lost(lost),
            error => Unsolved::Failed(self.failed(error, graph, owners)),
        })?;
        let failed = |build, error| match error {
            OpError::LostCache(lost) => Unsolved::Lost(lost),
            error => Unsolved::Failed(Failed { build, failure: BuildFailure::Other(Box::new(error)) }),
        };
        let mut snapshots = BTreeMap::new();
        for (vertex, output) in results.into_iter().zip(outputs) {
            let snapshot = ops.snapshot_of(&output).map_err(|error| failed(owners[vertex.0], error))?;
            snapshots.insert(vertex, snapshot);
        }
        let exports_cache = requests.iter().any(|named| !named.request.cache_to.is_empty());
        let definitions = if exports_cache { ops.definitions() } else { Ok(Vec::new()) };
        let definitions = definitions.map_err(|error| failed(0, error))?;
        Ok(Solved { snapshots, definitions, n_run: n_run.into_inner() })
    }

    fn failed(&self, error: SolveError<OpError>, graph: &Graph, owners: &[usize]) -> Failed {
        let (build, failure) = match error {
            SolveError::Canceled => (0, BuildFailure::Canceled),
            SolveError::Vertex { vertex: id, error } => {
                let vertex = graph.vertex(id);
                let (lines, name, hint) = (vertex.lines, vertex.name.clone(), error.hint());
                let hint = hint.or_else(|| store_disk::hint(&error, self.store.root()));
                (owners[id.0], BuildFailure::Step { lines, name, source: Box::new(error), hint })
            }
            SolveError::Panicked { vertex: id, message } => {
                let vertex = graph.vertex(id);
                (owners[id.0], BuildFailure::Panic { lines: vertex.lines, name: vertex.name.clone(), message })
            }
        };
        Failed { build, failure }
    }

    /// Steps e and f.
    fn image(
        &self,
        graph: &Graph,
        image: &ImagePlan,
        snapshot: &Snapshot,
        inline: Option<&CacheExport<'_>>,
        Job { cancel, .. }: Job<'_>,
    ) -> Result<Image, Box<dyn Error + Send + Sync>> {
        // A base image may list a layer several times (the empty one, mostly); its stack holds each once.
        let base = &image.config.rootfs.diff_ids;
        let n_base_on_stack = base.iter().collect::<BTreeSet<_>>().len();
        let finished = layers::finish(&self.store, snapshot, cancel)?;
        let (mut image_layers, mut layers_ns) = (Vec::new(), Vec::new());
        for diff_id in base {
            image_layers.push(ImageLayer { diff_id: diff_id.clone(), place: None });
            layers_ns.push(snapshot.created_ns());
        }
        for (index, (layer, diff_id)) in finished.into_iter().enumerate().skip(n_base_on_stack) {
            image_layers.push(ImageLayer { diff_id, place: Some(index) });
            layers_ns.push(self.store.layer_created_ns(&layer)?.unwrap_or_else(|| snapshot.created_ns()));
        }
        let diff_ids: Vec<DiffId> = image_layers.iter().map(|layer| layer.diff_id.clone()).collect();
        let step_names: Vec<String> = observe::layer_names(graph, image.result);
        let (mut config, n_base_history, epoch) = (image.config.clone(), image.n_base_history, image.epoch);
        config.inline_cache = inline.map(|cache| cache.inline(image.result, &diff_ids)).transpose()?;
        let draft = Draft { config, n_base_history, layers_ns, step_names, epoch };
        let assembled = draft.finish(diff_ids, epoch)?;
        Ok(Image { draft, assembled, snapshot: snapshot.clone(), layers: image_layers })
    }
}

/// Steps mostly wait: for compilers, for the network, for each other's locks. The kernel shares the processors out
/// better than a low limit here would.
fn default_jobs() -> usize {
    // Not `available_parallelism`, which reads files to learn a quota that does not matter here.
    let n_processors = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count() as usize);
    4 * n_processors.max(4)
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

/// What the request `build` names is of no use.
fn unusable(build: usize, error: impl Error + Send + Sync + 'static) -> BuildError {
    BuildError { build, failure: BuildFailure::Request(Box::new(error)), dockerfile: None }
}

/// The failure of the only request there is.
pub(crate) fn other(source: Box<dyn Error + Send + Sync>) -> BuildError {
    BuildError { build: 0, failure: BuildFailure::Other(source), dockerfile: None }
}
