//! The graph of work: vertices that take other vertices as inputs.

use std::collections::HashMap;

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

/// The vertices that the wanted result reaches. Adding a vertex that is there already gives the one that is there.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    vertices: Vec<Vertex>,
    known: HashMap<(Op, Vec<VertexId>, Platform, bool), VertexId>,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Graph {
        Graph::default()
    }

    /// Adds `vertex`, unless one with the same op, inputs and platform is there: then that one is returned
    /// (and keeps its name).
    pub fn add(&mut self, vertex: Vertex) -> VertexId {
        assert!(vertex.inputs.iter().all(|i| i.0 < self.vertices.len()), "inputs are added before their users");
        let identity = (vertex.op.clone(), vertex.inputs.clone(), vertex.platform.clone(), vertex.ignores_cache);
        *self.known.entry(identity).or_insert_with(|| {
            self.vertices.push(vertex);
            VertexId(self.vertices.len() - 1)
        })
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
