//! Builds, from requests to results. Several requests that are carried out together become one graph and are solved as
//! one, so that what they share is done once.
//!
//! ```text
//! a contexts     which folders may be read, and where the Dockerfile is     \\
//! b parse        text to syntax tree                                         > of each request: prepare.rs
//! c lower        syntax tree to graph; base images are looked up on the way /
//! d solve        what must run runs; layers that will be exported are made meanwhile, and sent to shared caches
//! e finish       every layer has its diff ID
//! f assemble     config, history, times
//! g export       to where it was asked for
//! h cache        for others, to where they look for it
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::Read;
use std::iter;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use slipway_graph::request::{
    BuildRequest, CachePlace, CacheSource, ContextLocation, DockerfileLocation, LockUse, NamedRequest,
};
use slipway_graph::{Event, Events, Graph, Pins, StepId, VertexId};
use slipway_oci::{DiffId, Digest, Platform};
use slipway_solver::Cancel;
use slipway_store::{LayerSizes, OverlayFlavor};

use crate::assemble::Draft;
use crate::attest::provenance::{Made, Run, new_run_id};
use crate::attest::{self, Attestation};
use crate::contexts::Contexts;
use crate::durability;
use crate::engine::Engine;
use crate::export::{self, Export, ExportedImage, Image, ImageLayer, LayerOrigin};
use crate::failure::{BuildError, BuildFailure, Failed, unusable};
use crate::inputs::Fetched;
use crate::layers;
use crate::now_ns;
use crate::observe;
use crate::ops::{self, RemoteSources};
use crate::pins;
use crate::platforms::{Blueprint, ImagePlan};
use crate::prepare::Prepared;
use crate::records::audience::Audience;
use crate::records::{BuildRecord, LayerRecord, MaterialRecord};
use crate::remote::{self, Fetching, RootFs};
use crate::reproduce::{self, TracedStep};
use crate::shared_cache::export::{self as cache_export, CacheExport};
use crate::shared_cache::import::{Imports, LostCache};
use crate::shared_cache::outbox::Outboxes;
use crate::solve::{Solved, Wanted};
use crate::ssh::Agents;

/// What came of a build.
#[derive(Debug, Default)]
pub struct Built {
    /// Digest of the image config, or of the index of several images.
    pub image_id: Option<Digest>,
    /// The last output that is an image with a manifest.
    pub image: Option<ExportedImage>,
    /// How large the image is: the first of several. `None` if there is none.
    pub size: Option<LayerSizes>,
    /// What it was made of, as far as that is from outside of the machine.
    pub materials: Vec<MaterialRecord>,
    /// The layers of its images, one image after the other, bottom first, and the steps that made them.
    pub layers: Vec<LayerRecord>,
    /// What happened on the way; also kept in the store. `None` if nobody asked for a result.
    pub record: Option<BuildRecord>,
    /// What the lock file is to say from now on, if the build was to find it out.
    pub pins: Option<Pins>,
    /// How it was made, as far as the request wants it in the file about the build: a SLSA predicate for each platform,
    /// and which platform that is where the result is an index.
    pub provenance: Vec<(Option<Platform>, serde_json::Value)>,
    /// What its steps changed, if the request wants to have it compared.
    pub steps: Vec<TracedStep>,
}

/// A Dockerfile as the user knows it.
#[derive(Clone, Debug, Default)]
pub struct SourceFile {
    pub name: String,
    /// Where it lies, as typed; the name if it lies nowhere.
    pub path: String,
    pub text: String,
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
    /// When the build began, in nanoseconds since 1970.
    pub(crate) started_ns: i64,
}

impl Engine {
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
        let started_ns = now_ns();
        let job = Job { requests, agents: &agents, sources: &sources, imports: &imports, audience, cancel, started_ns };
        let prepared = self.prepare(job, stdin)?;
        let blueprint = &prepared.blueprint;
        let with_source = |Failed { build, failure }| {
            let failure = failure.unless_canceled(cancel);
            let dockerfile = (!matches!(failure, BuildFailure::Canceled)).then(|| prepared.dockerfiles[build].clone());
            BuildError { build, failure, dockerfile }
        };
        let outboxes = self.outboxes(blueprint, requests);
        let stop = outboxes.stop();
        let _guard = cancel.on_cancel(move || stop.cancel());
        let wanted = self.wanted(blueprint, &prepared.contexts, &outboxes, job);
        let users = blueprint.users();
        let wanted = Wanted { users: &users, ..wanted };
        let mut n_run = 0;
        // Again for each imported cache that lacks a layer which only an output turned out to need.
        let (solved, finished) = loop {
            let solved = self.solve(wanted.clone(), job).map_err(with_source)?;
            n_run += solved.n_run;
            let finish = |build| self.finish(build, (&prepared, &solved), &outboxes, job).map_err(|e| (build, e));
            let finished = blueprint.results.keys().copied().map(finish).collect::<Result<Vec<Built>, _>>();
            let (build, source) = match finished {
                Ok(finished) => break (solved, finished),
                Err(failed) => failed,
            };
            match source.downcast::<LostCache>() {
                Ok(lost) => job.imports.give_up(&lost),
                Err(source) => return Err(with_source(Failed { build, failure: BuildFailure::Other(source) })),
            }
        };
        let mut built = Vec::with_capacity(requests.len());
        for ((build, result), finished) in blueprint.results.iter().zip(finished) {
            let failed = |source| with_source(Failed { build: *build, failure: BuildFailure::Other(source) });
            let request = &requests[*build].request;
            let pins = (request.lock == Some(LockUse::Extend)).then(|| {
                let mut pins = request.pins.clone();
                let is_shared = requests.iter().all(|other| other.request.lock_file() == request.lock_file());
                pins.extend(match is_shared {
                    true => sources.pins(),
                    false => pins::named_by(&blueprint.graph, &result.vertices(), &sources.pins()),
                });
                pins
            });
            let steps = match request.traces_steps {
                true => {
                    let results: Vec<VertexId> = blueprint.results[build].images.iter().map(|i| i.result).collect();
                    let traced = reproduce::traced(&blueprint.graph, &results, &solved.definitions, &self.store);
                    traced.map_err(|error| failed(Box::new(error)))?
                }
                false => Vec::new(),
            };
            built.push(Built { pins, steps, ..finished });
        }
        if n_run > 0 {
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

    /// What takes the caches that `requests` want written to their places.
    fn outboxes(&self, blueprint: &Blueprint, requests: &[NamedRequest]) -> Outboxes {
        // From outside of the namespace that files belong to no layer can be read.
        let mut outboxes = Outboxes::new(self.flavor != OverlayFlavor::Outside);
        for (build, result) in &blueprint.results {
            let results = result.vertices();
            let targets = &requests[*build].request.cache_to;
            outboxes.add(*build, targets, (&blueprint.graph, &results), (&self.store, &self.registry));
        }
        outboxes
    }

    fn wanted<'a>(
        &self,
        blueprint: &'a Blueprint,
        contexts: &'a Contexts,
        outboxes: &'a Outboxes,
        job: Job<'a>,
    ) -> Wanted<'a> {
        let (mut results, mut exported) = (Vec::new(), BTreeMap::new());
        for (build, result) in &blueprint.results {
            let request = &job.requests[*build].request;
            let in_cache = cache_export::wanted_blobs(&request.cache_to);
            let wish = export::wanted_blobs(request, result.is_multi).or(in_cache);
            for ImagePlan { result, .. } in &result.images {
                results.push(*result);
                let mut vertices = outboxes.wanted(*build);
                if export::makes_image(request) {
                    vertices.extend(observe::exported(&blueprint.graph, *result));
                }
                for vertex in vertices {
                    let known = exported.entry(observe::maker_of_layer(&blueprint.graph, vertex)).or_insert(wish);
                    *known = known.or(wish);
                }
            }
            results.extend(result.scanned());
        }
        let files_wanted = files_wanted(blueprint, job.requests);
        let is_shell = job.requests.iter().any(|named| named.request.shell.is_some());
        let shell_at = results.first().copied().filter(|_| is_shell);
        let (graph, owners) = (&blueprint.graph, blueprint.owners.as_slice());
        let unmet = blueprint.unmet.clone();
        Wanted { graph, results, owners, users: &[], contexts, exported, outboxes, files_wanted, shell_at, unmet }
    }

    /// Steps e to h of the request `build`.
    fn finish(
        &self,
        build: usize,
        (prepared, solved): (&Prepared, &Solved),
        outboxes: &Outboxes,
        job: Job<'_>,
    ) -> Result<Built, Box<dyn Error + Send + Sync>> {
        let request = &job.requests[build].request;
        let Blueprint { graph, results, .. } = &prepared.blueprint;
        let result = &results[&build];
        let events = job.audience.of(build);
        let results = result.vertices();
        let cache = CacheExport {
            store: &self.store,
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
            cache.write_all(outboxes.of(build), is_strict)?;
            return Ok(Built::default());
        }
        let has_inline = request.cache_to.iter().any(|target| target.place == CachePlace::Inline);
        let images = result.images.iter().map(|image| {
            let inline = has_inline.then_some(&cache);
            self.image(graph, image, &solved.root_fs[&image.result], inline, job)
        });
        let mut images = images.collect::<Result<Vec<_>, _>>()?;
        let started_ns = job.started_ns;
        let run = Run { id: new_run_id(started_ns), started_ns, finished_ns: now_ns() };
        let (dockerfile, pins) = (&prepared.dockerfiles[build], &job.sources.pins());
        let made = Made { request, dockerfile, graph, pins, run: &run };
        for (image, plan) in images.iter_mut().zip(&result.images) {
            if attest::lists_packages(request) {
                image.attestations.extend(self.packages(made, (image, plan), solved, &events, job.cancel)?);
            }
            image.attestations.extend(attest::about(made, plan));
        }
        let export = Export {
            store: &self.store,
            registry: &self.registry,
            flavor: self.flavor,
            docker_engines: self.docker_engines,
            search_path: &self.search_path,
            images: &images,
            is_multi: result.is_multi,
            wants_manifest: request.metadata_file.is_some(),
            events: &events,
            cancel: job.cancel,
            lost_cache: Mutex::default(),
        };
        let exported = export::export(&export, request).map_err(|error| export.failure(error))?;
        cache.write_all(outboxes.of(build), is_strict)?;
        let provenance = attest::in_metadata(made, result);
        let layers = images.first().map(|image| self.store.layer_sizes(&image.assembled.config.rootfs.diff_ids));
        let size = layers.transpose()?;
        let layers = images.iter().zip(&result.images).flat_map(|(image, plan)| {
            let diff_ids = &image.assembled.config.rootfs.diff_ids;
            made_layers(graph, plan.result, diff_ids, plan.config.rootfs.diff_ids.len(), &solved.steps)
        });
        let layers = layers.collect();
        let mut materials: Vec<MaterialRecord> = Vec::new();
        for material in result.images.iter().flat_map(|plan| attest::sources(made, plan)) {
            if !materials.contains(&material) {
                materials.push(material);
            }
        }
        let (image_id, image) = (exported.id, exported.image);
        Ok(Built { image_id, image, provenance, size, materials, layers, ..Built::default() })
    }

    /// The packages in an image, and those in each other file system that was to be searched.
    fn packages(
        &self,
        made: Made<'_>,
        (image, plan): (&Image, &ImagePlan),
        solved: &Solved,
        events: &dyn Events,
        cancel: &Cancel,
    ) -> Result<Vec<Attestation>, Box<dyn Error + Send + Sync>> {
        let fetching = Fetching { store: &self.store, flavor: self.flavor, events, cancel };
        let extras = plan.scanned.iter().map(|(name, vertex)| (Some(name.as_str()), &solved.root_fs[vertex]));
        let parts = iter::once((None, &image.root_fs)).chain(extras);
        let listed = parts.map(|(part, root_fs)| {
            let root = self.store.view(&root_fs.snapshot(fetching)?)?;
            let of = part.map(|part| format!(" of {part}")).unwrap_or_default();
            let name = format!("[{}] listing packages{of}", image.platform());
            let list = || attest::packages(made, part, image.draft.epoch, &root, cancel);
            Ok(internal_step(events, events.new_step(), &name, list)?)
        });
        listed.collect()
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
            started_ns: now_ns(),
        };
        self.fetch(0, job).map_err(|failure| BuildError { build: 0, failure, dockerfile: None })
    }

    /// Steps e and f.
    fn image(
        &self,
        graph: &Graph,
        image: &ImagePlan,
        root_fs: &RootFs,
        inline: Option<&CacheExport<'_>>,
        Job { cancel, .. }: Job<'_>,
    ) -> Result<Image, Box<dyn Error + Send + Sync>> {
        // A base image may list a layer several times (the empty one, mostly); its stack holds each once.
        let base = &image.config.rootfs.diff_ids;
        let n_base_on_stack = base.iter().collect::<BTreeSet<_>>().len();
        let cached = root_fs.cached_above(n_base_on_stack);
        let created_ns = match root_fs {
            RootFs::Here(snapshot) => snapshot.created_ns(),
            // The same in every build, whenever its layers come.
            RootFs::Remote(_) => {
                let of_base = || image.config.created.as_deref().and_then(nanoseconds).unwrap_or(0);
                cached.last().and_then(remote::created_ns).unwrap_or_else(of_base)
            }
        };
        let (mut image_layers, mut layers_ns) = (Vec::new(), Vec::new());
        for diff_id in base {
            image_layers.push(ImageLayer { diff_id: diff_id.clone(), origin: LayerOrigin::Base });
            layers_ns.push(created_ns);
        }
        for layer in cached {
            layers_ns.push(remote::created_ns(&layer).unwrap_or(created_ns));
            image_layers.push(ImageLayer { diff_id: layer.diff_id, origin: LayerOrigin::Cache });
        }
        for place in root_fs.places_above(n_base_on_stack) {
            let diff_id = layers::finish(&self.store, &place, cancel)?;
            layers_ns.push(self.store.layer_created_ns(place.layer())?.unwrap_or(created_ns));
            image_layers.push(ImageLayer { diff_id, origin: LayerOrigin::Step(place) });
        }
        let diff_ids: Vec<DiffId> = image_layers.iter().map(|layer| layer.diff_id.clone()).collect();
        let step_names: Vec<String> = observe::layer_names(graph, image.result);
        let (mut config, n_base_history, epoch) = (image.config.clone(), image.n_base_history, image.epoch);
        config.inline_cache = inline.map(|cache| cache.inline(image.result, &diff_ids)).transpose()?;
        let draft = Draft { config, n_base_history, layers_ns, step_names, epoch };
        let assembled = draft.finish(diff_ids, epoch)?;
        let base = observe::base_image(graph, image.result).cloned();
        let (root_fs, attestations) = (root_fs.clone(), Vec::new());
        Ok(Image { draft, assembled, root_fs, base, layers: image_layers, attestations })
    }
}

/// Which step made each layer of the image of `result`: the first `n_base` came with the base image, so with the step
/// that named it. `steps` go by vertex.
fn made_layers(
    graph: &Graph,
    result: VertexId,
    diff_ids: &[DiffId],
    n_base: usize,
    steps: &[StepId],
) -> Vec<LayerRecord> {
    let bottom = observe::bottom(graph, result);
    let makers: Vec<VertexId> =
        observe::exported(graph, result).into_iter().map(|vertex| observe::maker_of_layer(graph, vertex)).collect();
    let step_of = |index: usize| {
        // Counted from the top: there the files of a folder that the image begins with do not count.
        let maker = (index + makers.len()).checked_sub(diff_ids.len()).and_then(|place| makers.get(place));
        let vertex = if index < n_base { bottom } else { maker.copied().or(bottom) };
        vertex.and_then(|vertex| steps.get(vertex.0)).map(|step| step.0)
    };
    diff_ids
        .iter()
        .enumerate()
        .map(|(index, diff_id)| LayerRecord { diff_id: diff_id.clone(), step: step_of(index) })
        .collect()
}

/// Results that are wanted as files, and the base images of who passes on what all steps made.
fn files_wanted(blueprint: &Blueprint, requests: &[NamedRequest]) -> BTreeSet<VertexId> {
    let mut wanted = BTreeSet::new();
    let has_imports = requests.iter().any(|named| !named.request.cache_from.is_empty());
    for (build, result) in &blueprint.results {
        let request = &requests[*build].request;
        let results = result.vertices();
        for target in &request.cache_to {
            wanted.extend(cache_export::vertices(&blueprint.graph, &results, target.extent));
        }
        // A layer that a cache has is given other times file by file.
        if export::reads_files(request) || has_imports && export::rewrites_times(request) {
            wanted.extend(results);
        }
        wanted.extend(result.scanned());
    }
    wanted
}

/// A time as configs have it, in nanoseconds since 1970.
fn nanoseconds(time: &str) -> Option<i64> {
    time.parse::<jiff::Timestamp>().ok().and_then(|time| i64::try_from(time.as_nanosecond()).ok())
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
    events.emit(Event::StepPlanned { step, name: name.to_owned(), inputs: Vec::new() });
    events.emit(Event::StepStarted { step, at: SystemTime::now() });
    let result = work();
    let at = SystemTime::now();
    events.emit(match &result {
        Ok(_) => Event::StepDone { step, at },
        Err(error) => Event::StepFailed { step, message: error.to_string(), at },
    });
    result
}
