//! Stages and steps in the language of Graphviz.

use std::fmt::Write as _;

use crate::face::one_line;
use crate::nodes::{NodeKind, Nodes};
use crate::stages::{StageGraph, StepState};

/// The text of a digraph.
pub fn dot(graph: &StageGraph) -> String {
    let nodes = Nodes::of(graph);
    let mut text =
        "digraph stages {\n  rankdir=TB;\n  node [shape=box, fontname=\"monospace\", fontsize=10];\n".to_owned();
    for (index, stage) in graph.stages.iter().enumerate() {
        let style = if stage.is_reached { "rounded" } else { "dashed" };
        let _ = writeln!(text, "  subgraph cluster_{index} {{");
        let _ = writeln!(text, "    label={}; style={style};", quoted(&stage.name));
        for node in nodes.of_stage(index) {
            let label = [node.label.as_str(), &node.measure].join(" ");
            let color = match (stage.is_reached, node.state) {
                (false, _) => "gray",
                (true, Some(StepState::Hit)) => "blue",
                (true, Some(StepState::Ran)) => "darkgreen",
                (true, Some(StepState::Failed)) => "red",
                (true, Some(StepState::Canceled) | None) => "black",
            };
            let _ = writeln!(text, "    {} [label={}, color={color}];", node.id, quoted(label.trim_end()));
        }
        text.push_str("  }\n");
    }
    for node in nodes.sources() {
        let shape = if node.kind == NodeKind::Image { "cylinder" } else { "folder" };
        let _ = writeln!(text, "  {} [label={}, shape={shape}];", node.id, quoted(&node.label));
    }
    for edge in &nodes.edges {
        let style = if edge.is_base { "" } else { " [style=dashed]" };
        let _ = writeln!(text, "  {} -> {}{style};", nodes.id(edge.from), nodes.id(edge.to));
    }
    text.push_str("}\n");
    text
}

/// A string of DOT.
fn quoted(text: &str) -> String {
    format!("\"{}\"", one_line(text).replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples;

    #[test]
    fn a_digraph_has_stages_steps_and_sources() {
        insta::assert_snapshot!(dot(&examples::rails()));
    }

    #[test]
    fn strings_end_where_they_should() {
        assert_eq!(quoted("a\"; b\\\n"), r#""a\"; b\\""#);
    }
}
