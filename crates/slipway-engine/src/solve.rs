//! Step d of a build: the graph is solved; what must run runs, and layers that will be exported are made meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use slipway_graph::request::NamedRequest;
use slipway_graph::{Graph, StepId, VertexId};
use slipway_oci::Digest;
use slipway_solver::{Cancel, Plan, SolveError, solve};
use slipway_store::{OverlayFlavor, Snapshot};

use crate::build::Job;
use crate::contexts::Contexts;
use crate::engine::Engine;
use crate::failure::{BuildFailure, Failed};
use crate::layers::{BlobWish, LayerMaker};
use crate::observe::BuildObserver;
use crate::ops::exec::HostFiles;
use crate::ops::{ContextReads, EngineCache, EngineOps, OpError, Session};
use crate::records::audience::SharedSteps;
use crate::remote::RootFs;
use crate::shared_cache::import::LostCache;
use crate::shared_cache::outbox::Outboxes;
use crate::store_disk;
use crate::unmet::{self, Unmet};

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
    /// Vertices whose newest layers will be those of images.
    pub(crate) exported: BTreeMap<VertexId, BlobWish>,
    /// What goes to other machines meanwhile.
    pub(crate) outboxes: &'a Outboxes,
    /// Vertices whose files are needed whatever the steps do with them.
    pub(crate) files_wanted: BTreeSet<VertexId>,
    /// The vertex that somebody sits down in.
    pub(crate) shell_at: Option<VertexId>,
    /// What is lacking already, found while Dockerfiles were read.
    pub(crate) unmet: Vec<Unmet>,
}

/// The root file systems of the results, and how many steps had to run for them.
pub(crate) struct Solved {
    pub(crate) root_fs: BTreeMap<VertexId, RootFs>,
    /// By vertex; none if nobody wants the build's cache.
    pub(crate) definitions: Vec<Digest>,
    /// By vertex.
    pub(crate) steps: Vec<StepId>,
    pub(crate) n_run: usize,
}

/// Why nothing was solved.
enum Unsolved {
    /// Without this cache it may go better.
    Lost(LostCache),
    Failed(Failed),
}

impl Engine {
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
        let Wanted { graph, results, owners, users, contexts, exported, outboxes, files_wanted, shell_at, mut unmet } =
            wanted;
        let Job { requests, agents, sources, imports, audience, cancel: user_cancel, .. } = job;
        // The solver cancels what is left after a failure, which may be one that the build goes on after.
        let own_cancel = Arc::new(Cancel::new());
        let other_end = Arc::clone(&own_cancel);
        let _guard = user_cancel.on_cancel(move || other_end.cancel());
        let cancel = own_cancel.as_ref();
        let steps: Vec<StepId> = (0..graph.len()).map(|_| audience.new_step()).collect();
        let events = SharedSteps::new(audience, &steps, users);
        let isolates = requests.iter().any(|named| named.request.isolates_steps);
        let (empty, search_path) = (self.store.root().join("empty"), self.search_path.clone());
        let shuffles_folders = requests.iter().any(|named| named.request.shuffles_folders);
        let host_files = HostFiles::new(empty, self.nofile, search_path, self.step_terminal, isolates);
        let host_files = host_files.with_folders_shuffled(shuffles_folders);
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
            files_wanted: &files_wanted,
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
        let made = |vertex, snapshot: &Snapshot| outboxes.made(vertex, snapshot);
        let solved = std::thread::scope(|scope| {
            let layers = LayerMaker::new(scope, self.store.clone(), cancel, &made);
            let hand_in = |unmade| layers.hand_in(unmade);
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
                outboxes,
                grown: &grown,
                host_files,
                n_run,
            };
            solve(&plan, ops, &EngineCache { store: &self.store, registry: &self.registry, imports }, &observer)
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
        let mut root_fs = BTreeMap::new();
        for (vertex, output) in results.into_iter().zip(outputs) {
            let found = ops.root_fs(vertex, &output).map_err(|error| failed(owners[vertex.0], error))?;
            root_fs.insert(vertex, found);
        }
        let needs_keys = |named: &NamedRequest| !named.request.cache_to.is_empty() || named.request.traces_steps;
        let definitions = if requests.iter().any(needs_keys) { ops.definitions() } else { Ok(Vec::new()) };
        let definitions = definitions.map_err(|error| failed(0, error))?;
        Ok(Solved { root_fs, definitions, n_run: n_run.into_inner(), steps })
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
}

/// Steps mostly wait: for compilers, for the network, for each other's locks. The kernel shares the processors out
/// better than a low limit here would.
fn default_jobs() -> usize {
    // Not `available_parallelism`, which reads files to learn a quota that does not matter here.
    let n_processors = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count() as usize);
    4 * n_processors.max(4)
}
