//! Steps a to c of builds that are carried out together: which files does each of them read, and what does its
//! Dockerfile mean?

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::fd::AsFd;

use slipway_dockerfile::{ImageKey, Linked};
use slipway_graph::op::{HttpSource, Source};
use slipway_graph::request::{ContextLocation, DockerfileLocation};
use slipway_graph::{Events, Graph, MainContext, StepId};
use slipway_oci::Platform;

use crate::build::{Job, SourceFile, internal_step};
use crate::contexts::Contexts;
use crate::engine::Engine;
use crate::failure::{BuildError, BuildFailure, Failed};
use crate::frontend::Frontend;
use crate::inputs::{Fetched, InputError, Inputs, find_inputs};
use crate::layer::diff::open_dir;
use crate::links;
use crate::platforms::{Blueprint, Recipe};
use crate::remote::Fetching;
use crate::remote_context::{self, RemoteContext, RemoteContextError};
use crate::rootfs::Root;
use crate::shared_cache::outbox::Outboxes;
use crate::solve::Wanted;

/// All that can be known before anything runs.
pub(crate) struct Prepared {
    pub(crate) contexts: Contexts,
    pub(crate) blueprint: Blueprint,
    /// By request.
    pub(crate) dockerfiles: Vec<SourceFile>,
    /// Folders that archives were unpacked to are removed with them.
    _inputs: Vec<Found>,
}

/// What a request reads, and the step that found it.
struct Found {
    inputs: Inputs,
    step: StepId,
}

/// A Dockerfile and what it means.
type ReadOutcome = Result<(SourceFile, Recipe), BuildError>;

/// How many Dockerfiles are read at the same time.
const MAX_READERS: usize = 32;

impl Engine {
    /// Reads all Dockerfiles and puts what they mean into one graph; what others are linked to comes first.
    pub(crate) fn prepare(&self, job: Job<'_>, stdin: &mut dyn Read) -> Result<Prepared, BuildError> {
        let rounds = links::rounds(job.requests).map_err(|(build, error)| BuildError {
            build,
            failure: BuildFailure::Request(Box::new(error)),
            dockerfile: None,
        })?;
        let mut contexts = Contexts::new(Some(self.store.clone()));
        let mut found = Vec::with_capacity(job.requests.len());
        for build in 0..job.requests.len() {
            let own = self.find(build, job, stdin, &mut contexts);
            found.push(own.map_err(|failure| without_source(build, failure, job))?);
        }
        let (mut blueprint, mut linked) = (Blueprint::default(), BTreeMap::new());
        let mut dockerfiles = vec![SourceFile::default(); job.requests.len()];
        for round in rounds.iter().flat_map(|round| round.chunks(MAX_READERS)) {
            for (build, outcome) in self.read_round(round, &found, &contexts, &linked, job) {
                let (dockerfile, recipe) = outcome?;
                let name = &job.requests[build].name;
                linked.insert(name.clone(), Linked { images: recipe.images.clone() });
                blueprint.add(build, recipe);
                dockerfiles[build] = dockerfile;
            }
        }
        Ok(Prepared { contexts, blueprint, dockerfiles, _inputs: found })
    }

    /// Step a.
    fn find(
        &self,
        build: usize,
        job: Job<'_>,
        stdin: &mut dyn Read,
        contexts: &mut Contexts,
    ) -> Result<Found, BuildFailure> {
        let (request, events) = (&job.requests[build].request, job.audience.of(build));
        let step = events.new_step();
        let fetched = self.fetch(build, job)?;
        let find = || find_inputs(request, fetched, stdin, contexts);
        let inputs = internal_step(&events, step, &request.load_step_name(), find).map_err(BuildFailure::Other)?;
        Ok(Found { inputs, step })
    }

    /// Steps b and c of requests that do not need each other.
    fn read_round(
        &self,
        round: &[usize],
        found: &[Found],
        contexts: &Contexts,
        linked: &BTreeMap<String, Linked>,
        job: Job<'_>,
    ) -> Vec<(usize, ReadOutcome)> {
        let read = |build: usize| (build, self.read(build, &found[build], contexts, linked, job));
        if let [only] = round {
            return vec![read(*only)];
        }
        std::thread::scope(|scope| {
            let threads: Vec<_> = round.iter().map(|build| scope.spawn(move || read(*build))).collect();
            threads.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        })
    }

    fn read(
        &self,
        build: usize,
        Found { inputs, step }: &Found,
        contexts: &Contexts,
        linked: &BTreeMap<String, Linked>,
        job: Job<'_>,
    ) -> ReadOutcome {
        let (request, events) = (&job.requests[build].request, job.audience.of(build));
        let ignore_rules = inputs.ignore_rules(contexts);
        let ignore_rules =
            ignore_rules.map_err(|error| without_source(build, BuildFailure::Other(error.into()), job))?;
        let images = self.images(request, job.sources);
        let look_up = |key: &ImageKey| Ok(images.look_up(key)?);
        let time_of = |source: &Source| self.time_of(source, request, job.sources, job.cancel);
        let frontend = Frontend {
            request,
            inputs,
            linked,
            ignore_rules: &ignore_rules,
            needs_all_stages: false,
            look_up: &look_up,
            time_of: &time_of,
            events: &events,
        };
        let reading = frontend.read(&inputs.dockerfile_text);
        events.recorder().read_args(&reading.dockerfile);
        let source = inputs.source(&reading.dockerfile);
        reading.report(*step, &source, &events);
        match reading.outcome {
            Ok(recipe) => Ok((source, recipe)),
            Err(failure) => {
                let failure = failure.unless_canceled(job.cancel);
                let dockerfile = (!matches!(failure, BuildFailure::Canceled)).then_some(source);
                Err(BuildError { build, failure, dockerfile })
            }
        }
    }

    /// What is remote and needed before anything else: the context, because the Dockerfile is in it, or the
    /// Dockerfile itself.
    pub(crate) fn fetch(&self, build: usize, job: Job<'_>) -> Result<Fetched, BuildFailure> {
        let failed = |error: RemoteContextError| BuildFailure::Other(error.into());
        let (request, http) = (&job.requests[build].request, &job.sources.http);
        let inputs = self.http_inputs(request);
        let context = match &request.context {
            ContextLocation::Folder(_) | ContextLocation::Stdin => None,
            ContextLocation::Git(reference) => Some(remote_context::of_git(reference, &request.build_args)),
            ContextLocation::Http(url) => Some(remote_context::of_http(url, http, inputs).map_err(failed)?),
        };
        let context = context.map(|context| self.fetch_context(context, build, job)).transpose()?;
        let dockerfile = match &request.dockerfile {
            DockerfileLocation::Url(url) => {
                let source = HttpSource { url: url.clone(), filename: "Dockerfile".to_owned(), checksum: None };
                Some(remote_context::read_url(&source, http, inputs).map_err(failed)?)
            }
            DockerfileLocation::Default
            | DockerfileLocation::Path(_)
            | DockerfileLocation::Inline(_)
            | DockerfileLocation::Stdin => None,
        };
        Ok(Fetched { context, dockerfile })
    }

    fn fetch_context(&self, context: MainContext, build: usize, job: Job<'_>) -> Result<RemoteContext, BuildFailure> {
        let mut graph = Graph::new();
        let result = context.add_to(&mut graph, &Platform::host());
        let wanted = Wanted {
            graph: &graph,
            results: vec![result],
            owners: &vec![build; graph.len()],
            users: &vec![vec![build]; graph.len()],
            contexts: &Contexts::new(None),
            exported: BTreeMap::new(),
            outboxes: &Outboxes::new(false),
            files_wanted: BTreeSet::from([result]),
            shell_at: None,
            unmet: Vec::new(),
        };
        let solved = self.solve(wanted, job).map_err(|Failed { failure, .. }| failure)?;
        let fetching =
            Fetching { store: &self.store, flavor: self.flavor, events: &job.audience.of(build), cancel: job.cancel };
        let snapshot = solved.root_fs[&result].snapshot(fetching).map_err(|error| BuildFailure::Other(error.into()))?;
        let view = self.store.view(&snapshot).map_err(|error| BuildFailure::Other(error.into()))?;
        let files = open_dir(view.as_fd(), c".").map_err(|errno| InputError::Context(errno.into()));
        Ok(RemoteContext { context, files: Root::new(files.map_err(|error| BuildFailure::Other(error.into()))?) })
    }
}

fn without_source(build: usize, failure: BuildFailure, job: Job<'_>) -> BuildError {
    BuildError { build, failure: failure.unless_canceled(job.cancel), dockerfile: None }
}
