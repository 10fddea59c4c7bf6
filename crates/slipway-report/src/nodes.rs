//! Steps as nodes of their own, for languages that draw by themselves (Mermaid, DOT).

use std::collections::BTreeMap;
use std::ops::Range;

use crate::stages::{Provider, StageGraph, StepState};

/// What a node stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeKind {
    Step,
    Image,
    Context,
}

pub(crate) struct Node {
    /// Good as a name in both languages.
    pub(crate) id: String,
    pub(crate) label: String,
    pub(crate) measure: String,
    pub(crate) state: Option<StepState>,
    pub(crate) kind: NodeKind,
}

pub(crate) struct NodeEdge {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// In contrast to files that are copied or mounted.
    pub(crate) is_base: bool,
}

/// All nodes of a graph: those of the stages, then images and contexts, each once.
pub(crate) struct Nodes {
    nodes: Vec<Node>,
    stages: Vec<Range<usize>>,
    pub(crate) edges: Vec<NodeEdge>,
}

impl Nodes {
    pub(crate) fn of(graph: &StageGraph) -> Nodes {
        let mut nodes = Nodes { nodes: Vec::new(), stages: Vec::new(), edges: Vec::new() };
        for (index, stage) in graph.stages.iter().enumerate() {
            let first = nodes.nodes.len();
            nodes.nodes.push(Node {
                id: format!("s{index}_from"),
                label: format!("FROM {}", graph.name_of(&stage.base)),
                measure: String::new(),
                state: None,
                kind: NodeKind::Step,
            });
            nodes.nodes.extend(stage.steps.iter().enumerate().map(|(n, step)| Node {
                id: format!("s{index}_{n}"),
                label: step.text.clone(),
                measure: step.measure(),
                state: step.state,
                kind: NodeKind::Step,
            }));
            nodes.stages.push(first..nodes.nodes.len());
        }
        let mut sources = BTreeMap::new();
        for (index, stage) in graph.stages.iter().enumerate() {
            let first = nodes.stages[index].start;
            nodes.link(&stage.base, first, true, &mut sources);
            for (n, step) in stage.steps.iter().enumerate() {
                let node = first + 1 + n;
                nodes.edges.push(NodeEdge { from: node - 1, to: node, is_base: true });
                for provider in &step.takes_from {
                    nodes.link(provider, node, false, &mut sources);
                }
            }
        }
        nodes
    }

    fn link(&mut self, from: &Provider, to: usize, is_base: bool, sources: &mut BTreeMap<(bool, String), usize>) {
        let (name, kind) = match from {
            Provider::Stage(index) => {
                let from = self.stages[*index].end - 1;
                return self.edges.push(NodeEdge { from, to, is_base });
            }
            Provider::Scratch => return,
            Provider::Image(name) => (name, NodeKind::Image),
            Provider::Context(name) => (name, NodeKind::Context),
        };
        let n_known = self.nodes.len();
        let node = *sources.entry((kind == NodeKind::Image, name.clone())).or_insert(n_known);
        if node == n_known {
            let id = format!("source{}", sources.len());
            let (label, measure) = (name.clone(), String::new());
            self.nodes.push(Node { id, label, measure, state: None, kind });
        }
        self.edges.push(NodeEdge { from: node, to, is_base });
    }

    pub(crate) fn of_stage(&self, index: usize) -> &[Node] {
        &self.nodes[self.stages[index].clone()]
    }

    /// Images and contexts.
    pub(crate) fn sources(&self) -> &[Node] {
        &self.nodes[self.stages.last().map_or(0, |last| last.end)..]
    }

    pub(crate) fn id(&self, node: usize) -> &str {
        &self.nodes[node].id
    }
}
