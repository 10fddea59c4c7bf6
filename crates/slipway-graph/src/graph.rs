//! The graph of work: vertices that take other vertices as inputs.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use slipway_oci::Platform;

use crate::op::Op;

/// A vertex of one [`Graph`]. Inputs always have smaller ids than the vertices that use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VertexId(pub usize);

/// Lines of the Dockerfile, counted from 1, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineRange {
    pub first: usize,
    pub last: usize,
}

/// An op, what it works on, and how people know it.
#[derive(Clone, Debug)]
pub struct Vertex {
    pub op: Op,
    /// Outputs of other vertices; their order has the meaning that the op gives it.
    pub inputs: Vec<VertexId>,
    /// The platform that the op's program runs on.
    pub platform: Platform,
    /// Shown to people: `[build 2/3] RUN make`.
    pub name: String,
    /// Whether results of earlier builds are not to be used for it (`--no-cache`).
    pub ignores_cache: bool,
    /// Where in the Dockerfile it comes from.
    pub lines: Option<LineRange>,
}

impl Vertex {
    /// What makes it the same as another one.
    fn identity(&self) -> (&Op, &[VertexId], Option<&Platform>, bool) {
        let platform = matches!(self.op, Op::Exec(_)).then_some(&self.platform);
        (&self.op, &self.inputs, platform, self.ignores_cache)
    }
}

/// The vertices that the wanted result reaches. Adding a vertex that is there already gives the one that is there.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    vertices: Vec<Vertex>,
    /// By the hash of what makes a vertex the same as another one; an op may be large, and is kept once.
    known: HashMap<u64, Vec<VertexId>>,
    hasher: RandomState,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Graph {
        Graph::default()
    }

    /// Adds `vertex`, unless one with the same op and inputs is there: then that one is returned (and keeps its name).
    /// The platform makes a difference only where a program runs.
    pub fn add(&mut self, vertex: Vertex) -> VertexId {
        assert!(vertex.inputs.iter().all(|i| i.0 < self.vertices.len()), "inputs are added before their users");
        let alike = self.known.entry(self.hasher.hash_one(vertex.identity())).or_default();
        if let Some(id) = alike.iter().find(|id| self.vertices[id.0].identity() == vertex.identity()) {
            return *id;
        }
        let id = VertexId(self.vertices.len());
        alike.push(id);
        self.vertices.push(vertex);
        id
    }

    /// Adds all vertices of `other`. Gives the ids that they have here, in the order of `other`.
    pub fn absorb(&mut self, other: Graph) -> Vec<VertexId> {
        let mut places: Vec<VertexId> = Vec::with_capacity(other.len());
        for mut vertex in other.vertices {
            for input in &mut vertex.inputs {
                *input = places[input.0];
            }
            places.push(self.add(vertex));
        }
        places
    }

    /// The vertex called `id`.
    pub fn vertex(&self, id: VertexId) -> &Vertex {
        &self.vertices[id.0]
    }

    /// All vertices, inputs before their users.
    pub fn iter(&self) -> impl Iterator<Item = (VertexId, &Vertex)> {
        self.vertices.iter().enumerate().map(|(i, v)| (VertexId(i), v))
    }

    /// How many vertices there are.
    pub fn len(&self) -> usize {
        self.vertices.len()
    }

    /// Whether there is no vertex.
    pub fn is_empty(&self) -> bool {
        self.vertices.is_empty()
    }

    /// For each vertex, whether `targets` need it, directly or through others.
    pub fn reachable(&self, targets: &[VertexId]) -> Vec<bool> {
        let mut is_reachable = vec![false; self.vertices.len()];
        for target in targets {
            is_reachable[target.0] = true;
        }
        for index in (0..self.vertices.len()).rev() {
            if is_reachable[index] {
                for input in &self.vertices[index].inputs {
                    is_reachable[input.0] = true;
                }
            }
        }
        is_reachable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{FolderId, LocalSource, Source};

    fn graph(platform: &str, ops: &[Op]) -> Graph {
        let mut graph = Graph::new();
        let mut inputs = Vec::new();
        for op in ops {
            let vertex = Vertex {
                op: op.clone(),
                inputs,
                platform: platform.parse().unwrap(),
                name: format!("{platform} step"),
                ignores_cache: false,
                lines: None,
            };
            inputs = vec![graph.add(vertex)];
        }
        graph
    }

    #[test]
    fn what_two_graphs_have_in_common_is_there_once() {
        let context =
            |name: &str| Op::Source(Source::Local(LocalSource { name: name.to_owned(), folder: FolderId(0) }));
        let mut both = Graph::new();
        let amd = both.absorb(graph("linux/amd64", &[Op::Source(Source::Scratch), context("a")]));
        let arm = both.absorb(graph("linux/arm64", &[Op::Source(Source::Scratch), context("a"), context("b")]));
        assert_eq!(amd, arm[..2]);
        assert_eq!(both.len(), 3);
        assert_eq!(both.vertex(arm[2]).inputs, [arm[1]]);
        // A vertex keeps the name that it was first added with.
        assert_eq!(both.vertex(arm[1]).name, "linux/amd64 step");
        assert_eq!(both.vertex(arm[2]).name, "linux/arm64 step");
    }
}
