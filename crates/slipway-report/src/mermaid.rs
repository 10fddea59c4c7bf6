//! Stages and steps as a Mermaid flowchart, which GitHub, GitLab and many editors draw.

use std::fmt::Write as _;

use crate::face::one_line;
use crate::nodes::{NodeKind, Nodes};
use crate::stages::{StageGraph, StepState};

/// The text of a flowchart.
pub fn mermaid(graph: &StageGraph) -> String {
    let nodes = Nodes::of(graph);
    let mut text = "flowchart TD\n".to_owned();
    for (index, stage) in graph.stages.iter().enumerate() {
        let _ = writeln!(text, "  subgraph s{index}[\"{}\"]", escaped(&stage.name));
        for node in nodes.of_stage(index) {
            let label = [node.label.as_str(), &node.measure].join(" ");
            let class = if stage.is_reached { StepState::word(node.state) } else { "unreached" };
            let _ = writeln!(text, "    {}[\"{}\"]:::{class}", node.id, escaped(label.trim_end()));
        }
        text.push_str("  end\n");
    }
    for node in nodes.sources() {
        let (open, close) = if node.kind == NodeKind::Image { ("([", "])") } else { ("[/", "/]") };
        let _ = writeln!(text, "  {}{open}\"{}\"{close}", node.id, escaped(&node.label));
    }
    for edge in &nodes.edges {
        let arrow = if edge.is_base { "-->" } else { "-.->" };
        let _ = writeln!(text, "  {} {arrow} {}", nodes.id(edge.from), nodes.id(edge.to));
    }
    text.push_str(
        "  classDef hit fill:#dbeafe,stroke:#2563eb,color:#111\n  classDef ran fill:#dcfce7,stroke:#16a34a,color:#111\n\
         \x20 classDef failed fill:#fee2e2,stroke:#dc2626,color:#111\n\
         \x20 classDef unreached stroke-dasharray:4 4,color:#777\n",
    );
    text
}

/// As Mermaid wants what has a meaning in its language.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in one_line(text).chars() {
        match char {
            '"' | '#' | '<' | '>' | '&' | '`' | ';' | '\\' | '[' | ']' | '{' | '}' | '(' | ')' | '|' => {
                let _ = write!(escaped, "#{};", u32::from(char));
            }
            char => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples;

    #[test]
    fn a_flowchart_has_stages_steps_and_sources() {
        insta::assert_snapshot!(mermaid(&examples::rails()));
    }

    #[test]
    fn nothing_that_a_dockerfile_says_is_mermaid() {
        let text = mermaid(&examples::hostile());
        assert!(
            !text.contains("<script") && !text.lines().any(|line| line.trim_start().starts_with("click")),
            "{text}"
        );
        assert_eq!(escaped("a\"]\n  click x"), "a#34;#93; click x");
    }
}
