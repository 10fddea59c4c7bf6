//! Made-up ops: a vertex is worth the text `op(inputs…)`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use slipway_graph::op::{FolderId, LocalSource, Op, Source};
use slipway_graph::{Graph, KeyWriter, Vertex, VertexId};
use slipway_oci::{Digest, Platform};

use super::*;

fn key(kind: &str, texts: &[String]) -> Digest {
    let mut writer = KeyWriter::new(kind);
    writer.texts(texts);
    writer.finish()
}

/// Ops that write down what ran. `versions` stands for something outside that changed: another definition, same name.
#[derive(Default)]
struct MadeUp {
    names: Vec<String>,
    inputs: Vec<Vec<VertexId>>,
    versions: BTreeMap<usize, u32>,
    /// What is outside changes while these vertices run: the version that they read.
    changes_to: BTreeMap<usize, u32>,
    read: Mutex<BTreeMap<usize, u32>>,
    /// Vertices whose output says nothing about their version: they come out equal when rebuilt.
    comes_out_equal: BTreeSet<usize>,
    fails: BTreeSet<usize>,
    panics: BTreeSet<usize>,
    /// Vertices that run until the build is canceled.
    waits: BTreeSet<usize>,
    ran: Mutex<Vec<usize>>,
}

impl MadeUp {
    fn version(&self, vertex: VertexId) -> u32 {
        let read = self.read.lock().unwrap().get(&vertex.0).copied();
        read.or_else(|| self.versions.get(&vertex.0).copied()).unwrap_or_default()
    }
}

impl Ops for MadeUp {
    type Output = String;
    type Error = String;

    fn definition_key(&self, vertex: VertexId, inputs: &[Digest]) -> Result<Digest, String> {
        let version = self.version(vertex);
        let mut texts = vec![self.names[vertex.0].clone(), version.to_string()];
        texts.extend(inputs.iter().map(Digest::to_string));
        Ok(key("definition", &texts))
    }

    fn content_key(&self, vertex: VertexId, inputs: &[String]) -> Result<Option<Digest>, String> {
        let version = self.version(vertex);
        let mut texts = vec![self.names[vertex.0].clone(), version.to_string()];
        texts.extend(inputs.iter().cloned());
        Ok(Some(key("content", &texts)))
    }

    fn run(&self, vertex: VertexId, inputs: &[String], cancel: &Cancel) -> Result<String, String> {
        assert_eq!(inputs.len(), self.inputs[vertex.0].len());
        self.ran.lock().unwrap().push(vertex.0);
        self.read.lock().unwrap().extend(self.changes_to.get(&vertex.0).map(|version| (vertex.0, *version)));
        if self.fails.contains(&vertex.0) {
            return Err(format!("{} failed", self.names[vertex.0]));
        }
        assert!(!self.panics.contains(&vertex.0), "{} is not ready for this", self.names[vertex.0]);
        while self.waits.contains(&vertex.0) && !cancel.is_canceled() {
            std::thread::yield_now();
        }
        if self.waits.contains(&vertex.0) {
            return Err("stopped".to_owned());
        }
        let version = match self.comes_out_equal.contains(&vertex.0) {
            true => 0,
            false => self.version(vertex),
        };
        Ok(format!("{}{version}({})", self.names[vertex.0], inputs.join(",")))
    }

    fn identity(&self, output: &String) -> Digest {
        Digest::of(output.as_bytes())
    }
}

#[derive(Default)]
struct Memory(Mutex<BTreeMap<Digest, String>>);

impl Cache<MadeUp> for Memory {
    type Lock = ();

    fn lookup(&self, key: &Digest) -> Result<Option<String>, String> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }

    fn record(&self, keys: &[Digest], output: &String) -> Result<(), String> {
        let mut map = self.0.lock().unwrap();
        map.extend(keys.iter().map(|k| (k.clone(), output.clone())));
        Ok(())
    }

    fn lock(&self, _: &Digest, cancel: &Cancel) -> Result<Option<()>, String> {
        Ok((!cancel.is_canceled()).then_some(()))
    }
}

#[derive(Default)]
struct Seen {
    left: Mutex<BTreeSet<usize>>,
    cached: Mutex<BTreeSet<usize>>,
    done: Mutex<BTreeSet<usize>>,
    panicked: Mutex<BTreeMap<usize, String>>,
    canceled: Mutex<BTreeSet<usize>>,
}

impl Observer<MadeUp> for Seen {
    fn planned(&self, _: &[VertexId]) {}
    fn left(&self, vertices: &[VertexId]) {
        self.left.lock().unwrap().extend(vertices.iter().map(|id| id.0));
    }
    fn keyed(&self, _: VertexId, _: &Digest) {}
    fn cached(&self, vertex: VertexId, _: Hit) {
        self.cached.lock().unwrap().insert(vertex.0);
    }
    fn started(&self, _: VertexId) {}
    fn done(&self, vertex: VertexId, _: &String) {
        self.done.lock().unwrap().insert(vertex.0);
    }
    fn failed(&self, _: VertexId, _: &String) {}
    fn panicked(&self, vertex: VertexId, message: &str) {
        self.panicked.lock().unwrap().insert(vertex.0, message.to_owned());
    }
    fn canceled(&self, vertex: VertexId) {
        self.canceled.lock().unwrap().insert(vertex.0);
    }
}

/// `edges[i]` are the inputs of vertex `i`.
fn graph(edges: &[&[usize]], ignores_cache: &[usize]) -> (Graph, MadeUp) {
    let mut graph = Graph::new();
    let mut ops = MadeUp::default();
    for (index, inputs) in edges.iter().enumerate() {
        let name = format!("v{index}");
        let inputs: Vec<VertexId> = inputs.iter().map(|i| VertexId(*i)).collect();
        graph.add(Vertex {
            op: Op::Source(Source::Local(LocalSource { name: name.clone(), folder: FolderId::default() })),
            inputs: inputs.clone(),
            platform: Platform::new("linux", "amd64", None),
            name: name.clone(),
            ignores_cache: ignores_cache.contains(&index),
            lines: None,
        });
        ops.names.push(name);
        ops.inputs.push(inputs);
    }
    (graph, ops)
}

struct Outcome {
    ran: Vec<usize>,
    left: BTreeSet<usize>,
    cached: BTreeSet<usize>,
    result: Result<Vec<String>, SolveError<String>>,
}

fn run(graph: &Graph, ops: &MadeUp, memory: &Memory, target: usize) -> Outcome {
    let seen = Seen::default();
    let plan = Plan { graph, targets: &[VertexId(target)], jobs: 4, cancel: &Cancel::new() };
    let result = solve(&plan, ops, memory, &seen);
    let ran = std::mem::take(&mut *ops.ran.lock().unwrap());
    assert!(result.is_err() || seen.done.lock().unwrap().len() == ran.len());
    let (left, cached) = (seen.left.into_inner().unwrap(), seen.cached.into_inner().unwrap());
    Outcome { ran, left, cached, result }
}

#[test]
fn a_second_build_runs_nothing() {
    let (graph, ops) = graph(&[&[], &[0], &[0], &[1, 2]], &[]);
    let memory = Memory::default();
    let first = run(&graph, &ops, &memory, 3);
    assert_eq!(first.ran.len(), 4);
    assert_eq!(first.result.unwrap(), ["v30(v10(v00()),v20(v00()))"]);
    let second = run(&graph, &ops, &memory, 3);
    assert!(second.ran.is_empty() && second.left.is_empty());
    assert_eq!(second.cached.len(), 4);
}

#[test]
fn what_the_target_does_not_reach_is_left_alone() {
    let (graph, ops) = graph(&[&[], &[0], &[0]], &[]);
    let outcome = run(&graph, &ops, &Memory::default(), 1);
    assert!(!outcome.ran.contains(&2) && !outcome.cached.contains(&2));
}

#[test]
fn a_hit_hides_what_is_behind_it() {
    let (graph, ops) = graph(&[&[], &[0], &[1]], &[]);
    let memory = Memory::default();
    run(&graph, &ops, &memory, 1);
    let outcome = run(&graph, &ops, &memory, 2);
    assert_eq!(outcome.ran, [2]);
    assert_eq!(outcome.left, BTreeSet::from([2]));
    assert_eq!(outcome.cached, BTreeSet::from([0, 1]));
}

#[test]
fn an_input_that_came_out_equal_is_a_hit_downstream() {
    let (graph, mut ops) = graph(&[&[], &[0], &[1], &[2]], &[]);
    ops.comes_out_equal.insert(1);
    let memory = Memory::default();
    run(&graph, &ops, &memory, 3);
    ops.versions.insert(1, 7);
    let outcome = run(&graph, &ops, &memory, 3);
    assert_eq!(outcome.ran, [1]);
    assert_eq!(outcome.cached, BTreeSet::from([0, 2, 3]));
}

#[test]
fn what_changes_while_it_is_read_is_recorded_as_what_was_read() {
    let (graph, mut ops) = graph(&[&[], &[0], &[1]], &[]);
    let memory = Memory::default();
    ops.changes_to.insert(0, 5);
    let changed = ["v20(v10(v05()))"];
    let outcome = run(&graph, &ops, &memory, 2);
    assert_eq!((outcome.ran, outcome.result.unwrap()), (vec![0, 1, 2], changed.map(str::to_owned).to_vec()));
    ops.changes_to.clear();
    ops.read.lock().unwrap().clear();
    ops.versions.insert(0, 5);
    let outcome = run(&graph, &ops, &memory, 2);
    assert_eq!((outcome.ran, outcome.result.unwrap()), (vec![], changed.map(str::to_owned).to_vec()));
    // Nothing was recorded for what it was when the build began.
    ops.versions.clear();
    assert_eq!(run(&graph, &ops, &memory, 2).ran, [0, 1, 2]);
    // What is known of the changed one is found also if it only changes during the build.
    ops.versions.insert(0, 3);
    ops.changes_to.insert(0, 5);
    let outcome = run(&graph, &ops, &memory, 2);
    assert_eq!((outcome.ran, outcome.cached), (vec![0], BTreeSet::from([1, 2])));
}

#[test]
fn ignoring_the_cache_runs_that_vertex_and_no_other() {
    let (graph, ops) = graph(&[&[], &[0], &[1]], &[1]);
    let memory = Memory::default();
    run(&graph, &ops, &memory, 2);
    let outcome = run(&graph, &ops, &memory, 2);
    assert_eq!(outcome.ran, [1]);
}

#[test]
fn after_a_failure_nothing_starts_and_the_failure_is_named() {
    let (graph, mut ops) = graph(&[&[], &[0], &[1], &[2]], &[]);
    ops.fails.insert(1);
    let memory = Memory::default();
    let outcome = run(&graph, &ops, &memory, 3);
    assert_eq!(outcome.ran, [0, 1]);
    let Err(SolveError::Vertex { vertex, error }) = outcome.result else { panic!("expected a failed vertex") };
    assert_eq!((vertex, error.as_str()), (VertexId(1), "v1 failed"));
    ops.fails.clear();
    assert_eq!(run(&graph, &ops, &memory, 3).ran, [1, 2, 3], "what was done before the failure is kept");
}

#[test]
fn a_panic_ends_the_build_and_cancels_what_runs_beside_it() {
    let (graph, mut ops) = graph(&[&[], &[0], &[0], &[1, 2]], &[]);
    ops.panics.insert(1);
    ops.waits.insert(2);
    let seen = Seen::default();
    let plan = Plan { graph: &graph, targets: &[VertexId(3)], jobs: 4, cancel: &Cancel::new() };
    let result = solve(&plan, &ops, &Memory::default(), &seen);
    let Err(SolveError::Panicked { vertex, message }) = result else { panic!("expected the panic, not {result:?}") };
    assert_eq!((vertex, message.as_str()), (VertexId(1), "v1 is not ready for this"));
    assert_eq!(seen.panicked.into_inner().unwrap(), BTreeMap::from([(1, message)]));
    // Whether it had begun when the panic came is chance; it is not left waiting either way.
    assert!(seen.canceled.into_inner().unwrap().is_subset(&BTreeSet::from([2])));
    assert!(!ops.ran.into_inner().unwrap().contains(&3));
}

/// Random graphs: inputs run before their users, each vertex at most once, and exactly what is reachable runs.
#[test]
fn random_graphs_run_each_reachable_vertex_once_and_inputs_first() {
    let mut seed = 7_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    for _ in 0..200 {
        let n = 1 + random(12);
        let edges: Vec<Vec<usize>> =
            (0..n).map(|i| if i == 0 { vec![] } else { (0..random(4)).map(|_| random(i)).collect() }).collect();
        let slices: Vec<&[usize]> = edges.iter().map(Vec::as_slice).collect();
        let (graph, ops) = graph(&slices, &[]);
        let memory = Memory::default();
        let target = random(n);
        let outcome = run(&graph, &ops, &memory, target);
        let reachable = graph.reachable(&[VertexId(target)]);
        let position = |v: usize| outcome.ran.iter().position(|r| *r == v);
        assert_eq!(outcome.ran.len(), reachable.iter().filter(|r| **r).count());
        for (v, inputs) in edges.iter().enumerate().filter(|(v, _)| reachable[*v]) {
            assert!(inputs.iter().all(|i| position(*i) < position(v)), "{edges:?} {:?}", outcome.ran);
        }
        assert!(run(&graph, &ops, &memory, target).ran.is_empty());
    }
}
