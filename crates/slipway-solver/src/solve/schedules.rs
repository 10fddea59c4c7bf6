//! Every order in which steps can end, tried out: on all graphs of a few vertices, for several numbers of places, with
//! one step that fails or a user who interrupts at any moment.
//!
//! A step runs until the explorer lets it end. Between two such decisions the solver must have started exactly as many
//! steps as are ready and have a place: a wake-up that is lost would leave it with fewer.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use slipway_graph::op::{FolderId, LocalSource, Op, Source};
use slipway_graph::{Graph, KeyWriter, Vertex, VertexId};
use slipway_oci::{Digest, Platform};

use super::*;

/// Far more than a wake-up takes. No test passes because of it.
const PATIENCE: Duration = Duration::from_secs(600);

/// What the explorer does next.
#[derive(Clone, Copy, Debug)]
enum Decision {
    End(usize),
    Fail(usize),
    Interrupt,
}

#[derive(Default)]
struct World {
    running: BTreeSet<usize>,
    started: Vec<usize>,
    solved: BTreeSet<usize>,
    failed: Option<usize>,
    is_stopped: bool,
    is_over: bool,
}

/// Steps that wait to be told how they end.
struct Steps<'a> {
    edges: &'a [Vec<usize>],
    world: Mutex<World>,
    changed: Condvar,
}

impl Steps<'_> {
    fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.world.lock().unwrap());
        self.changed.notify_all();
    }

    #[track_caller]
    fn wait_until(&self, is_so: impl Fn(&World) -> bool) -> std::sync::MutexGuard<'_, World> {
        let world = self.world.lock().unwrap();
        let (world, waited) = self.changed.wait_timeout_while(world, PATIENCE, |world| !is_so(world)).unwrap();
        assert!(!waited.timed_out(), "nothing happens any more: {:?} run, {:?} started", world.running, world.started);
        world
    }

    /// How many steps should be running now.
    fn n_expected(&self, world: &World, jobs: usize) -> usize {
        let is_ready =
            |v: &usize| !world.started.contains(v) && self.edges[*v].iter().all(|input| world.solved.contains(input));
        let n_ready = (0..self.edges.len()).filter(is_ready).count();
        jobs.min(world.running.len() + n_ready)
    }
}

impl Ops for &Steps<'_> {
    type Output = usize;
    type Error = &'static str;

    fn definition_key(&self, vertex: VertexId, inputs: &[Digest]) -> Result<Digest, &'static str> {
        let mut key = KeyWriter::new("schedule");
        key.text(&vertex.0.to_string());
        for input in inputs {
            key.text(input.as_str());
        }
        Ok(key.finish())
    }

    fn content_key(&self, _: VertexId, _: &[usize]) -> Result<Option<Digest>, &'static str> {
        Ok(None)
    }

    fn run(&self, vertex: VertexId, inputs: &[usize], cancel: &Cancel) -> Result<usize, &'static str> {
        let id = vertex.0;
        self.change(|world| {
            assert!(!world.started.contains(&id), "{id} runs twice");
            assert!(inputs.iter().all(|input| world.solved.contains(input)), "{id} runs before its inputs");
            world.started.push(id);
            world.running.insert(id);
        });
        // As with real steps, whoever cancels is not the thread that waits here.
        loop {
            let world = self.world.lock().unwrap();
            let is_told = |world: &World| world.solved.contains(&id) || world.failed == Some(id);
            let (mut world, _) =
                self.changed.wait_timeout_while(world, Duration::from_millis(1), |world| !is_told(world)).unwrap();
            let outcome = match (world.solved.contains(&id), world.failed == Some(id), cancel.is_canceled()) {
                (true, _, _) => Ok(id),
                (_, true, _) => Err("failed"),
                (_, _, true) => Err("stopped"),
                _ => continue,
            };
            world.running.remove(&id);
            self.changed.notify_all();
            return outcome;
        }
    }

    fn identity(&self, output: &usize) -> Digest {
        Digest::of(output.to_string().as_bytes())
    }
}

/// Remembers nothing.
struct Forgetful;

impl Cache<&Steps<'_>> for Forgetful {
    type Lock = ();

    fn lookup(&self, _: &Digest) -> Result<Option<usize>, &'static str> {
        Ok(None)
    }

    fn record(&self, _: &[Digest], _: &usize) -> Result<(), &'static str> {
        Ok(())
    }

    fn lock(&self, _: &Digest, cancel: &Cancel) -> Result<Option<()>, &'static str> {
        Ok((!cancel.is_canceled()).then_some(()))
    }
}

struct Nobody;

impl<'a> Observer<&'a Steps<'a>> for Nobody {
    fn planned(&self, _: &[VertexId]) {}
    fn left(&self, _: &[VertexId]) {}
    fn keyed(&self, _: VertexId, _: &Digest) {}
    fn cached(&self, _: VertexId, _: Hit) {}
    fn started(&self, _: VertexId) {}
    fn done(&self, _: VertexId, _: &usize) {}
    fn failed(&self, _: VertexId, _: &&'static str) {}
    fn panicked(&self, vertex: VertexId, message: &str) {
        panic!("{vertex:?}: {message}");
    }
    fn canceled(&self, _: VertexId) {}
}

/// The decisions of one run, and how many there were to choose from: together the place in the tree of all runs.
#[derive(Default)]
struct Path {
    choices: Vec<(usize, usize)>,
    n_made: usize,
}

impl Path {
    fn choose(&mut self, n: usize) -> usize {
        if self.n_made == self.choices.len() {
            self.choices.push((0, n));
        }
        self.n_made += 1;
        self.choices[self.n_made - 1].0
    }

    /// Goes to the next run; `false` after the last.
    fn advance(&mut self) -> bool {
        self.n_made = 0;
        while let Some((choice, n)) = self.choices.pop() {
            if choice + 1 < n {
                self.choices.push((choice + 1, n));
                return true;
            }
        }
        false
    }
}

fn graph(edges: &[Vec<usize>]) -> Graph {
    let mut graph = Graph::new();
    for (index, inputs) in edges.iter().enumerate() {
        graph.add(Vertex {
            op: Op::Source(Source::Local(LocalSource { name: index.to_string(), folder: FolderId::default() })),
            inputs: inputs.iter().map(|input| VertexId(*input)).collect(),
            platform: Platform::new("linux", "amd64", None),
            name: index.to_string(),
            ignores_cache: false,
            lines: None,
        });
    }
    graph
}

/// All graphs of `n` vertices: each set of edges from later to earlier ones.
fn graphs(n: usize) -> impl Iterator<Item = Vec<Vec<usize>>> {
    let pairs: Vec<(usize, usize)> = (0..n).flat_map(|user| (0..user).map(move |input| (user, input))).collect();
    (0..1_usize << pairs.len()).map(move |set| {
        let mut edges = vec![Vec::new(); n];
        for (index, (user, input)) in pairs.iter().enumerate() {
            if set >> index & 1 == 1 {
                edges[*user].push(*input);
            }
        }
        edges
    })
}

fn run_once(edges: &[Vec<usize>], jobs: usize, path: &mut Path) {
    let graph = graph(edges);
    let targets: Vec<VertexId> = (0..edges.len()).map(VertexId).collect();
    let steps = Steps { edges, world: Mutex::default(), changed: Condvar::new() };
    let cancel = Cancel::new();
    let plan = Plan { graph: &graph, targets: &targets, jobs, cancel: &cancel };
    let result = std::thread::scope(|scope| {
        let solver = scope.spawn(|| {
            let result = solve(&plan, &&steps, &Forgetful, &Nobody);
            steps.change(|world| world.is_over = true);
            result
        });
        loop {
            let world = steps.wait_until(|w| w.is_over || w.running.len() == steps.n_expected(w, jobs));
            if world.is_over {
                break;
            }
            let running: Vec<usize> = world.running.iter().copied().collect();
            drop(world);
            if running.is_empty() {
                // All is solved; the solver is on its way out.
                drop(steps.wait_until(|world| world.is_over));
                break;
            }
            let mut decisions: Vec<Decision> = running.iter().map(|id| Decision::End(*id)).collect();
            decisions.extend(running.iter().map(|id| Decision::Fail(*id)));
            decisions.push(Decision::Interrupt);
            match decisions[path.choose(decisions.len())] {
                Decision::End(id) => {
                    steps.change(|world| _ = world.solved.insert(id));
                    drop(steps.wait_until(|world| !world.running.contains(&id)));
                    continue;
                }
                Decision::Fail(id) => steps.change(|world| (world.failed, world.is_stopped) = (Some(id), true)),
                Decision::Interrupt => {
                    steps.change(|world| world.is_stopped = true);
                    cancel.cancel();
                }
            }
            drop(steps.wait_until(|world| world.is_over));
            break;
        }
        solver.join().unwrap()
    });
    let world = steps.world.into_inner().unwrap();
    assert!(world.running.is_empty(), "{:?} still run", world.running);
    match (world.failed, world.is_stopped, result) {
        (Some(id), _, Err(SolveError::Vertex { vertex, .. })) => assert_eq!(vertex.0, id),
        (None, true, Err(SolveError::Canceled)) => {}
        (None, false, Ok(outputs)) => assert_eq!(outputs, (0..edges.len()).collect::<Vec<_>>()),
        (failed, is_stopped, result) => panic!("{failed:?}, {is_stopped}: {result:?}"),
    }
}

#[test]
fn every_order_of_ends_failures_and_interrupts() {
    let mut n_runs = 0;
    for n in 1..=4 {
        for edges in graphs(n) {
            for jobs in [1, 2, 4] {
                let mut path = Path::default();
                loop {
                    run_once(&edges, jobs, &mut path);
                    n_runs += 1;
                    if !path.advance() {
                        break;
                    }
                }
            }
        }
    }
    assert!(n_runs > 3000, "only {n_runs} runs");
}
