//! Stages as boxes in an SVG file of its own, or in a page. The layout is that of the terminal, a character being 8 by 18
//! units.

use std::fmt::Write as _;

use crate::escape::escaped;
use crate::face::{FaceLine, Tone, face, width};
use crate::layered::{Extent, Layout, Link, Place, layout};
use crate::stages::{Edge, Stage, StageGraph, StepState};

const CELL_WIDTH: i32 = 8;
const CELL_HEIGHT: i32 = 18;
const MARGIN: i32 = 12;
/// Cells between layers, for lines to be seen.
const ROOM: i32 = 1;
const MAX_BOX_CHARS: usize = 58;
/// How round corners of lines are.
const RADIUS: i32 = 6;

/// In light and dark; the page that holds the picture may set the variables itself.
const STYLE: &str = "\
.sg{color-scheme:light dark;font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.sg text{fill:var(--sg-text,#1c2430);white-space:pre}
.sg rect{fill:var(--sg-box,#fff);stroke:var(--sg-line,#8793a5);stroke-width:1.2}
.sg path{fill:none;stroke:var(--sg-line,#8793a5);stroke-width:1.4}
.sg path.copy{stroke-dasharray:5 4}
.sg .arrow{fill:var(--sg-line,#8793a5);stroke:none}
.sg .title{font-weight:700}
.sg .base,.sg .right{fill:var(--sg-soft,#5d6b7e)}
.sg .hit{fill:var(--sg-hit,#1d5fc4)}
.sg .ran{fill:var(--sg-ran,#14713a)}
.sg .failed{fill:var(--sg-failed,#b3261e)}
.sg .target rect{stroke:var(--sg-text,#1c2430);stroke-width:2.2}
.sg .unreached{opacity:.6}
.sg .unreached rect{stroke-dasharray:4 4}
@media (prefers-color-scheme:dark){.sg text{fill:var(--sg-text,#e6ebf2)}.sg rect{fill:var(--sg-box,#1a212c)}
.sg .base,.sg .right{fill:var(--sg-soft,#9aa8bb)}.sg .hit{fill:var(--sg-hit,#7db2ff)}.sg .ran{fill:var(--sg-ran,#5fd08a)}
.sg .failed{fill:var(--sg-failed,#ff8a80)}.sg .target rect{stroke:var(--sg-text,#e6ebf2)}}
";

/// A whole SVG file.
pub fn svg(graph: &StageGraph) -> String {
    let faces: Vec<Vec<FaceLine>> = graph.stages.iter().map(|stage| face(graph, stage)).collect();
    let extents: Vec<Extent> = faces.iter().map(|face| extent(face)).collect();
    let edges = graph.edges();
    let link = |edge: &Edge| Link { from: edge.from, to: edge.to, is_solid: edge.is_base };
    let drawn = layout(&extents, &edges.iter().map(link).collect::<Vec<_>>(), ROOM);
    let (width, height) = (drawn.width * CELL_WIDTH + 2 * MARGIN, drawn.height * CELL_HEIGHT + 2 * MARGIN);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"sg\" role=\"img\" aria-labelledby=\"sg-title sg-desc\" \
         viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">\n\
         <title id=\"sg-title\">Stages</title>\n<desc id=\"sg-desc\">{}</desc>\n<style>{STYLE}</style>\n",
        escaped(&description(graph, &edges))
    );
    write_lines(&mut text, &drawn);
    for ((stage, face), place) in graph.stages.iter().zip(&faces).zip(&drawn.boxes) {
        write_box(&mut text, stage, face, *place);
    }
    text.push_str("</svg>\n");
    text
}

fn extent(face: &[FaceLine]) -> Extent {
    let cells = |n: usize| i32::try_from(n).unwrap_or(i32::MAX / 64);
    Extent { width: cells(width(face).clamp(12, MAX_BOX_CHARS) + 3), height: cells(face.len() + 1) }
}

/// What the picture shows, in words.
fn description(graph: &StageGraph, edges: &[Edge]) -> String {
    const MAX_SENTENCES: usize = 60;
    let name = |index: usize| graph.stages[index].name.as_str();
    let sentence = |edge: &Edge| {
        let verb = if edge.is_base { "is based on" } else { "copies from" };
        format!("{} {verb} {}.", name(edge.to), name(edge.from))
    };
    let mut sentences: Vec<String> = edges.iter().take(MAX_SENTENCES).map(sentence).collect();
    if edges.len() > MAX_SENTENCES {
        sentences.push(format!("And {} more lines.", edges.len() - MAX_SENTENCES));
    }
    format!("{} stages. {}", graph.stages.len(), sentences.join(" "))
}

fn center((x, y): (i32, i32)) -> (i32, i32) {
    (MARGIN + x * CELL_WIDTH + CELL_WIDTH / 2, MARGIN + y * CELL_HEIGHT + CELL_HEIGHT / 2)
}

fn write_lines(text: &mut String, drawn: &Layout) {
    for route in &drawn.routes {
        let mut points: Vec<(i32, i32)> = route.points.iter().map(|point| center(*point)).collect();
        if let (true, Some(last)) = (route.ends, points.last_mut()) {
            // Boxes begin at the upper edge of their cell.
            last.1 -= CELL_HEIGHT / 2;
            let (x, y) = *last;
            let _ = writeln!(text, "<path class=\"arrow\" d=\"M{x} {y}l-4 -7h8z\"/>");
        }
        let class = if route.is_solid { "" } else { " class=\"copy\"" };
        let _ = writeln!(text, "<path{class} d=\"{}\"/>", rounded(&points));
    }
    for link in &drawn.left_out {
        let (from, to) = (drawn.boxes[link.from], drawn.boxes[link.to]);
        let (x1, y1) = center((from.x + from.width / 2, from.y + from.height));
        let (x2, y2) = center((to.x + to.width / 2, to.y));
        let class = if link.is_solid { "" } else { " class=\"copy\"" };
        let _ = writeln!(text, "<path{class} d=\"M{x1} {y1}L{x2} {}\"/>", y2 - CELL_HEIGHT / 2);
    }
}

/// A path through `points` whose corners are round.
fn rounded(points: &[(i32, i32)]) -> String {
    let mut path = String::new();
    for (n, (x, y)) in points.iter().enumerate() {
        let corner = n.checked_sub(1).and_then(|before| Some((points[before], *points.get(n + 1)?)));
        match corner {
            None => {
                let _ = write!(path, "{}{x} {y}", if n == 0 { 'M' } else { 'L' });
            }
            Some((before, after)) => {
                let (ax, ay) = towards((*x, *y), before);
                let (bx, by) = towards((*x, *y), after);
                let _ = write!(path, "L{ax} {ay}Q{x} {y} {bx} {by}");
            }
        }
    }
    path
}

/// A point near `corner` on the way to `other`.
fn towards(corner: (i32, i32), other: (i32, i32)) -> (i32, i32) {
    let step = |from: i32, to: i32| from + (to - from).signum() * RADIUS.min((to - from).abs() / 2);
    (step(corner.0, other.0), step(corner.1, other.1))
}

fn write_box(text: &mut String, stage: &Stage, face: &[FaceLine], place: Place) {
    let (x, y) = (MARGIN + place.x * CELL_WIDTH, MARGIN + place.y * CELL_HEIGHT);
    let (width, height) = (place.width * CELL_WIDTH, place.height * CELL_HEIGHT);
    let class = match (stage.is_target, stage.is_reached) {
        (true, _) => "target",
        (false, true) => "stage",
        (false, false) => "unreached",
    };
    let _ = writeln!(text, "<g class=\"{class}\">");
    let _ = writeln!(text, "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>");
    let inner = (place.width - 3).max(0) as usize;
    for (n, line) in face.iter().enumerate() {
        let (left, right) = line.fitted(inner);
        let (text_x, text_y) = (x + 12, y + 9 + CELL_HEIGHT * n as i32 + 13);
        let class = match line.tone {
            Tone::Title => "title",
            Tone::Base => "base",
            Tone::Step(state) => StepState::word(state),
        };
        let _ = write!(text, "<text x=\"{text_x}\" y=\"{text_y}\" class=\"{class}\">{}", escaped(&left));
        if left != line.left {
            let _ = write!(text, "<title>{}</title>", escaped(&line.left));
        }
        text.push_str("</text>\n");
        if !right.is_empty() {
            let right_x = x + width - 12;
            let _ = writeln!(
                text,
                "<text x=\"{right_x}\" y=\"{text_y}\" class=\"right\" text-anchor=\"end\">{}</text>",
                escaped(&right)
            );
        }
    }
    text.push_str("</g>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples;

    #[test]
    fn a_picture_names_stages_and_steps() {
        insta::assert_snapshot!(svg(&examples::rails()));
    }

    #[test]
    fn nothing_that_a_dockerfile_says_is_markup() {
        let text = svg(&examples::hostile());
        assert!(!text.contains("<script") && !text.contains('\x1b'), "{text}");
    }

    #[test]
    fn large_graphs_are_drawn_too() {
        for graph in [examples::chain(10_000), examples::fan(10_000), examples::tall(10_000)] {
            let n_bytes = svg(&graph).len();
            assert!(n_bytes < 20_000_000, "{n_bytes}");
        }
    }
}
