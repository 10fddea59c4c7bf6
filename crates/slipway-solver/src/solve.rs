//! The walk from the wanted vertices to their outputs.
//!
//! 1. Every reachable vertex gets its *definition key*, inputs first: made of the op and its inputs' keys, without
//!    running anything.
//! 2. From the targets downwards, definition keys are looked up. A hit ends the walk there: its inputs are not run,
//!    pulled or read, unless one of them ignores the cache and so has to run anyway.
//! 3. What is left runs as soon as its inputs are there, at most `jobs` at once. With the inputs at hand two more keys
//!    can still give a hit: the one made of the inputs' *identities* (an input was rebuilt by another way, but is the
//!    very output that an earlier build used) and the *content key* (it came out equal). The latter is made only if
//!    the others miss: to read an input may mean to fetch it.
//! 4. An output is recorded under all its keys after it is complete, never before. An op whose files of the host change
//!    while it reads them has other keys afterwards, and with it everything that uses its output.
//!
//! A panic while a vertex is worked on ends the walk as a failure does: others are canceled, and the error holds its text.
//!
//! Identical work of several processes is done once: whoever runs a vertex holds the lock of its definition key, and
//! looks again after having waited for it.

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;

use slipway_graph::{Graph, KeyWriter, VertexId};
use slipway_oci::Digest;

use crate::Cancel;

/// What the solver has to be told about ops.
pub trait Ops: Sync {
    /// What a vertex is worth once solved.
    type Output: Clone + Send + Sync;
    type Error: Send;

    /// The key of a vertex whose inputs have the keys `inputs`. May read files of the host, never outputs. Once the vertex
    /// has run, the key speaks of what was read by then.
    fn definition_key(&self, vertex: VertexId, inputs: &[Digest]) -> Result<Digest, Self::Error>;

    /// The key by the content that the vertex selects from its inputs; `None` if the op has no such key. Inputs that
    /// do not count by content count by their identity.
    fn content_key(&self, vertex: VertexId, inputs: &[Self::Output]) -> Result<Option<Digest>, Self::Error>;

    /// Does the work.
    fn run(&self, vertex: VertexId, inputs: &[Self::Output], cancel: &Cancel) -> Result<Self::Output, Self::Error>;

    /// A name of the output that no other output of this store has; the same on all machines, where it has such a name.
    fn identity(&self, output: &Self::Output) -> Digest;
}

/// What is remembered between builds.
pub trait Cache<O: Ops>: Sync {
    /// Held while a vertex is worked on; dropping it lets the next one in, also in other processes.
    type Lock;

    /// The output recorded under `key`.
    fn lookup(&self, key: &Digest) -> Result<Option<O::Output>, O::Error>;

    /// Remembers `output` under all of `keys`.
    fn record(&self, keys: &[Digest], output: &O::Output) -> Result<(), O::Error>;

    /// Waits until nobody else works on `key`; `None` if the build was canceled meanwhile.
    fn lock(&self, key: &Digest, cancel: &Cancel) -> Result<Option<Self::Lock>, O::Error>;
}

/// Why a vertex did not have to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    /// Nobody asked for it: what uses it was there.
    NotNeeded,
    /// Its definition key was known.
    Definition,
    /// Inputs were made in another way, but are the very outputs that an earlier build used.
    Identity,
    /// What it reads of its inputs is what an earlier build read.
    Content,
}

/// Is told what becomes of each vertex. Calls may come from any thread.
pub trait Observer<O: Ops>: Sync {
    /// All vertices that the targets reach, inputs first, before anything else is reported.
    fn planned(&self, vertices: &[VertexId]);
    /// All vertices that the first look into the cache has left, before the first of them starts. They will run,
    /// unless their inputs come out as they once were. Called by the thread that solves.
    fn left(&self, vertices: &[VertexId]);
    /// The definition key of a vertex, before it is looked up; again if it has become another one since.
    fn keyed(&self, vertex: VertexId, definition: &Digest);
    fn cached(&self, vertex: VertexId, hit: Hit);
    fn started(&self, vertex: VertexId);
    /// The vertex ran; its output is recorded.
    fn done(&self, vertex: VertexId, output: &O::Output);
    fn failed(&self, vertex: VertexId, error: &O::Error);
    /// What was done for the vertex panicked; `message` is what the panic said.
    fn panicked(&self, vertex: VertexId, message: &str);
    /// Started, but stopped because of a failure elsewhere or by the user.
    fn canceled(&self, vertex: VertexId);
}

/// What to solve.
pub struct Plan<'a> {
    pub graph: &'a Graph,
    pub targets: &'a [VertexId],
    /// How many vertices run at the same time; at least one.
    pub jobs: usize,
    pub cancel: &'a Cancel,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum SolveError<E> {
    /// The first vertex that failed, and why. Others were canceled.
    #[error("a step failed")]
    Vertex { vertex: VertexId, error: E },
    /// Work on this vertex was the first to panic: a mistake in the program, not in what it was given.
    #[error("work on a step panicked: {message}")]
    Panicked { vertex: VertexId, message: String },
    #[error("canceled")]
    Canceled,
}

/// Solves the targets and returns their outputs in the same order.
pub fn solve<O: Ops, C: Cache<O>>(
    plan: &Plan<'_>,
    ops: &O,
    cache: &C,
    observer: &dyn Observer<O>,
) -> Result<Vec<O::Output>, SolveError<O::Error>> {
    let mut solver = Solver::new(plan, ops, cache, observer)?;
    solver.look_up_from_targets()?;
    solver.report_untouched();
    solver.report_left();
    solver.run_the_rest()?;
    Ok(plan.targets.iter().map(|t| solver.output(*t)).collect())
}

/// How far a vertex is.
enum VertexState<Output> {
    /// Behind a hit, or not reachable: nothing will be done for it.
    Untouched,
    /// To be worked on when so many of its inputs are solved.
    Waiting {
        missing_inputs: usize,
    },
    Running,
    Solved(Output),
}

struct Solver<'a, O: Ops, C: Cache<O>> {
    plan: &'a Plan<'a>,
    ops: &'a O,
    cache: &'a C,
    observer: &'a dyn Observer<O>,
    reachable: Vec<bool>,
    /// `None` for vertices that are not reachable.
    definitions: Vec<Option<Digest>>,
    /// Whether an ancestor (or the vertex itself) ignores the cache, so that a hit must not hide it.
    must_visit: Vec<bool>,
    states: Vec<VertexState<O::Output>>,
}

impl<'a, O: Ops, C: Cache<O>> Solver<'a, O, C> {
    fn new(
        plan: &'a Plan<'a>,
        ops: &'a O,
        cache: &'a C,
        observer: &'a dyn Observer<O>,
    ) -> Result<Self, SolveError<O::Error>> {
        let reachable = plan.graph.reachable(plan.targets);
        let order: Vec<VertexId> = plan.graph.iter().map(|(id, _)| id).filter(|id| reachable[id.0]).collect();
        observer.planned(&order);
        let n_vertices = plan.graph.len();
        let mut definitions: Vec<Option<Digest>> = vec![None; n_vertices];
        let mut must_visit = vec![false; n_vertices];
        for id in order {
            let vertex = plan.graph.vertex(id);
            let inputs = input_definitions(plan.graph, &definitions, id);
            must_visit[id.0] = vertex.ignores_cache || vertex.inputs.iter().any(|i| must_visit[i.0]);
            match ops.definition_key(id, &inputs) {
                Ok(key) => {
                    observer.keyed(id, &key);
                    definitions[id.0] = Some(key);
                }
                Err(error) => {
                    observer.started(id);
                    observer.failed(id, &error);
                    return Err(SolveError::Vertex { vertex: id, error });
                }
            }
        }
        let states = (0..n_vertices).map(|_| VertexState::Untouched).collect();
        Ok(Solver { plan, ops, cache, observer, reachable, definitions, must_visit, states })
    }

    /// Step 2: marks what has to be worked on and takes the hits.
    fn look_up_from_targets(&mut self) -> Result<(), SolveError<O::Error>> {
        let mut open: Vec<VertexId> = self.plan.targets.to_vec();
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            if !self.must_visit[id.0] {
                let found = self.cache.lookup(self.definition(id));
                if let Some(output) = found.map_err(|error| SolveError::Vertex { vertex: id, error })? {
                    self.states[id.0] = VertexState::Solved(output);
                    continue;
                }
            }
            let inputs = &self.plan.graph.vertex(id).inputs;
            open.extend(inputs);
            self.states[id.0] = VertexState::Waiting { missing_inputs: 0 };
        }
        for (id, vertex) in self.plan.graph.iter() {
            if matches!(self.states[id.0], VertexState::Waiting { .. }) {
                let distinct: BTreeSet<VertexId> = vertex.inputs.iter().copied().collect();
                let is_solved = |i: &&VertexId| matches!(self.states[i.0], VertexState::Solved(_));
                let missing_inputs = distinct.len() - distinct.iter().filter(is_solved).count();
                self.states[id.0] = VertexState::Waiting { missing_inputs };
            }
        }
        Ok(())
    }

    /// What is behind a hit, and the hit itself, is cached as far as people are concerned.
    fn report_untouched(&self) {
        for (id, _) in self.plan.graph.iter().filter(|(id, _)| self.reachable[id.0]) {
            match self.states[id.0] {
                VertexState::Untouched => self.observer.cached(id, Hit::NotNeeded),
                VertexState::Solved(_) => self.observer.cached(id, Hit::Definition),
                VertexState::Waiting { .. } | VertexState::Running => {}
            }
        }
    }

    fn report_left(&self) {
        let is_left = |id: &VertexId| matches!(self.states[id.0], VertexState::Waiting { .. });
        let left: Vec<VertexId> = self.plan.graph.iter().map(|(id, _)| id).filter(is_left).collect();
        self.observer.left(&left);
    }

    /// Step 3: one thread a vertex, started when its inputs are there and a place is free.
    fn run_the_rest(&mut self) -> Result<(), SolveError<O::Error>> {
        let users = users_of(self.plan.graph);
        let mut ready: BTreeSet<VertexId> = self.ready_vertices();
        let mut n_running = 0;
        let mut first_failure = None;
        let (sender, receiver) = mpsc::channel();
        std::thread::scope(|scope| {
            loop {
                while n_running < self.plan.jobs.max(1) && !self.plan.cancel.is_canceled() {
                    let Some(id) = ready.pop_first() else { break };
                    let work = self.work(id);
                    self.states[id.0] = VertexState::Running;
                    n_running += 1;
                    let sender = sender.clone();
                    scope.spawn(move || {
                        // Nothing that the work touched is used again: the walk ends with the first panic.
                        let result = catch_unwind(AssertUnwindSafe(|| work.carry_out()));
                        // The receiver outlives the scope, so sending cannot fail.
                        let _ = sender.send((id, result));
                    });
                }
                if n_running == 0 {
                    return;
                }
                let (id, result) = receiver.recv().expect("a running vertex sends its result");
                n_running -= 1;
                match result {
                    Ok(Ok(Some(Made { definition, output }))) => {
                        if *self.definition(id) != definition {
                            self.observer.keyed(id, &definition);
                            self.definitions[id.0] = Some(definition);
                        }
                        self.states[id.0] = VertexState::Solved(output);
                        for user in &users[id.0] {
                            if let VertexState::Waiting { missing_inputs } = &mut self.states[user.0] {
                                *missing_inputs -= 1;
                                if *missing_inputs == 0 {
                                    ready.insert(*user);
                                }
                            }
                        }
                    }
                    Ok(Ok(None)) => {}
                    Ok(Err(error)) => {
                        first_failure.get_or_insert(SolveError::Vertex { vertex: id, error });
                        self.plan.cancel.cancel();
                    }
                    Err(payload) => {
                        let message = panic_message(payload.as_ref());
                        self.observer.panicked(id, &message);
                        first_failure.get_or_insert(SolveError::Panicked { vertex: id, message });
                        self.plan.cancel.cancel();
                    }
                }
            }
        });
        match first_failure {
            Some(failure) => Err(failure),
            None if self.plan.cancel.is_canceled() => Err(SolveError::Canceled),
            None => Ok(()),
        }
    }

    fn ready_vertices(&self) -> BTreeSet<VertexId> {
        let is_ready = |id: &VertexId| matches!(self.states[id.0], VertexState::Waiting { missing_inputs: 0 });
        self.plan.graph.iter().map(|(id, _)| id).filter(is_ready).collect()
    }

    fn work(&self, id: VertexId) -> Work<'a, O, C> {
        let vertex = self.plan.graph.vertex(id);
        Work {
            id,
            ops: self.ops,
            cache: self.cache,
            observer: self.observer,
            cancel: self.plan.cancel,
            ignores_cache: vertex.ignores_cache,
            was_looked_up: !self.must_visit[id.0],
            planned: self.definition(id).clone(),
            input_definitions: input_definitions(self.plan.graph, &self.definitions, id),
            inputs: vertex.inputs.iter().map(|i| self.output(*i)).collect(),
        }
    }

    fn definition(&self, id: VertexId) -> &Digest {
        self.definitions[id.0].as_ref().expect("reachable vertices have definition keys")
    }

    fn output(&self, id: VertexId) -> O::Output {
        match &self.states[id.0] {
            VertexState::Solved(output) => output.clone(),
            _ => unreachable!("asked for the output of a vertex that is not solved"),
        }
    }
}

/// One vertex whose inputs are solved.
struct Work<'a, O: Ops, C: Cache<O>> {
    id: VertexId,
    ops: &'a O,
    cache: &'a C,
    observer: &'a dyn Observer<O>,
    cancel: &'a Cancel,
    ignores_cache: bool,
    was_looked_up: bool,
    /// The definition key before anything ran.
    planned: Digest,
    /// As they are now.
    input_definitions: Vec<Digest>,
    inputs: Vec<O::Output>,
}

/// An output, and the definition key that says what it was made of.
struct Made<Output> {
    definition: Digest,
    output: Output,
}

impl<O: Ops, C: Cache<O>> Work<'_, O, C> {
    /// `None` if canceled.
    fn carry_out(&self) -> Result<Option<Made<O::Output>>, O::Error> {
        let result = self.find_or_run();
        match &result {
            Ok(Some(_)) => {}
            Ok(None) => self.observer.canceled(self.id),
            // A step that was killed because another one failed has nothing to say for itself.
            Err(_) if self.cancel.is_canceled() => {
                self.observer.canceled(self.id);
                return Ok(None);
            }
            Err(error) => self.observer.failed(self.id, error),
        }
        result
    }

    fn find_or_run(&self) -> Result<Option<Made<O::Output>>, O::Error> {
        let definition = self.definition()?;
        let mut keys = vec![definition.clone()];
        if let Some((hit, output)) = self.find(&mut keys)? {
            self.cache.record(&keys, &output)?;
            self.observer.cached(self.id, hit);
            return Ok(Some(Made { definition, output }));
        }
        let Some(_lock) = self.cache.lock(&definition, self.cancel)? else { return Ok(None) };
        if !self.ignores_cache
            && let Some(output) = self.cache.lookup(&definition)?
        {
            self.observer.cached(self.id, Hit::Definition);
            return Ok(Some(Made { definition, output }));
        }
        self.observer.started(self.id);
        let output = self.ops.run(self.id, &self.inputs, self.cancel)?;
        let made_of = self.definition()?;
        let keys = if made_of == definition { keys } else { self.keys(&made_of)? };
        self.cache.record(&keys, &output)?;
        self.observer.done(self.id, &output);
        Ok(Some(Made { definition: made_of, output }))
    }

    fn definition(&self) -> Result<Digest, O::Error> {
        self.ops.definition_key(self.id, &self.input_definitions)
    }

    /// The definition key, the key by the identities of the inputs, the content key.
    fn keys(&self, definition: &Digest) -> Result<Vec<Digest>, O::Error> {
        let mut keys = vec![definition.clone()];
        if !self.inputs.is_empty() {
            keys.push(self.identity_key()?);
            keys.extend(self.ops.content_key(self.id, &self.inputs)?);
        }
        Ok(keys)
    }

    /// Looks up one key after the other until one hits. `keys` hold the definition key, and get those that are made.
    fn find(&self, keys: &mut Vec<Digest>) -> Result<Option<(Hit, O::Output)>, O::Error> {
        let has_missed = self.was_looked_up && keys[0] == self.planned;
        if !has_missed && let Some(output) = self.look_up(&keys[0])? {
            return Ok(Some((Hit::Definition, output)));
        }
        if self.inputs.is_empty() {
            return Ok(None);
        }
        let by_identity = self.identity_key()?;
        keys.push(by_identity.clone());
        if let Some(output) = self.look_up(&by_identity)? {
            return Ok(Some((Hit::Identity, output)));
        }
        let Some(by_content) = self.ops.content_key(self.id, &self.inputs)? else { return Ok(None) };
        keys.push(by_content.clone());
        Ok(self.look_up(&by_content)?.map(|output| (Hit::Content, output)))
    }

    /// What is recorded under `key`, unless the vertex ignores the cache.
    fn look_up(&self, key: &Digest) -> Result<Option<O::Output>, O::Error> {
        if self.ignores_cache { Ok(None) } else { self.cache.lookup(key) }
    }

    /// The key by the identities of the inputs.
    fn identity_key(&self) -> Result<Digest, O::Error> {
        let identities: Vec<Digest> = self.inputs.iter().map(|i| self.ops.identity(i)).collect();
        let by_identity = self.ops.definition_key(self.id, &identities)?;
        let mut writer = KeyWriter::new("by identity");
        writer.text(by_identity.as_str());
        Ok(writer.finish())
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it gave no reason".to_owned())
}

fn input_definitions(graph: &Graph, definitions: &[Option<Digest>], id: VertexId) -> Vec<Digest> {
    let definition = |i: &VertexId| definitions[i.0].clone().expect("inputs get their keys first");
    graph.vertex(id).inputs.iter().map(definition).collect()
}

/// For each vertex, those that have it as an input (each once).
fn users_of(graph: &Graph) -> Vec<Vec<VertexId>> {
    let mut users = vec![Vec::new(); graph.len()];
    for (id, vertex) in graph.iter() {
        for input in vertex.inputs.iter().collect::<BTreeSet<_>>() {
            users[input.0].push(id);
        }
    }
    users
}

#[cfg(test)]
mod schedules;
#[cfg(test)]
mod tests;
