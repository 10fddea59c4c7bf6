//! Stages as boxes of characters, for terminals:
//!
//! ```text
//! ┌──────────────────────┐
//! │ build           1.2s │
//! │ FROM golang:1.21     │
//! │ ● RUN go build  1.2s │
//! └──────────┬───────────┘
//! ┌──────────▼───────────┐
//! ```
//!
//! Where a window is too narrow for that, or lines would be too many, boxes stand below each other and say in words
//! what they use.

use std::fmt::Write as _;

use crate::face::{FaceLine, Tone, face, one_line, shortened, width};
use crate::layered::{Extent, Layout, Link, Place, Route, layout};
use crate::stages::{Stage, StageGraph, StepState};

/// What the picture is drawn for.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// In characters.
    pub width: usize,
    pub has_colors: bool,
}

/// Boxes are tried with these widths, the first that fits is taken.
const BOX_WIDTHS: [usize; 5] = [52, 44, 36, 30, 24];
/// More characters than that are a list, not a picture.
const MAX_CELLS: i64 = 4 << 20;
/// On both sides of the text of a box: the border and a blank.
const PADDING: usize = 2;

const BOLD: &str = "\x1b[1m";
const FAINT: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const BLUE: &str = "\x1b[34m";
const RESET: &str = "\x1b[0m";

/// The picture of `graph`, with a line at the end that says what the marks mean if there are any.
pub fn terminal(graph: &StageGraph, window: Window) -> String {
    let faces: Vec<Vec<FaceLine>> = graph.stages.iter().map(|stage| face(graph, stage)).collect();
    let mut text = match picture(graph, &faces, window.width) {
        Some(drawn) => paint(graph, &faces, &drawn, window),
        None => list(graph, &faces, window),
    };
    if graph.has_history() {
        let marks = [StepState::Hit, StepState::Ran, StepState::Failed, StepState::Canceled]
            .map(|state| format!("{} {}", StepState::mark(Some(state)), StepState::word(Some(state))));
        let _ = writeln!(text, "\n{}", shortened(&format!("last build: {}", marks.join("  ")), window.width));
    }
    text
}

fn picture(graph: &StageGraph, faces: &[Vec<FaceLine>], window_width: usize) -> Option<Layout> {
    let link = |edge: crate::stages::Edge| Link { from: edge.from, to: edge.to, is_solid: edge.is_base };
    let links: Vec<Link> = graph.edges().into_iter().map(link).collect();
    for box_width in BOX_WIDTHS {
        let extents: Vec<Extent> = faces.iter().map(|face| extent(face, box_width)).collect();
        let drawn = layout(&extents, &links, 0);
        if !drawn.left_out.is_empty() || i64::from(drawn.width) * i64::from(drawn.height) > MAX_CELLS {
            return None;
        }
        if usize::try_from(drawn.width).is_ok_and(|width| width <= window_width) {
            return Some(drawn);
        }
    }
    None
}

fn extent(face: &[FaceLine], box_width: usize) -> Extent {
    let cells = |n: usize| i32::try_from(n).unwrap_or(i32::MAX / 4);
    Extent { width: cells(width(face).clamp(8, box_width) + 2 * PADDING), height: cells(face.len() + 2) }
}

/// A character of the picture.
#[derive(Clone, Copy)]
struct Cell {
    char: char,
    color: &'static str,
    /// Directions in which a line goes on from here; 0 if this is no part of a line.
    arms: u8,
    /// Which box the line comes from.
    owner: usize,
}

const UP: u8 = 1;
const DOWN: u8 = 2;
const LEFT: u8 = 4;
const RIGHT: u8 = 8;

struct Canvas {
    width: usize,
    cells: Vec<Cell>,
}

impl Canvas {
    fn set(&mut self, x: usize, y: usize, char: char, color: &'static str) {
        if let Some(cell) = self.cells.get_mut(y * self.width + x) {
            *cell = Cell { char, color, arms: 0, owner: 0 };
        }
    }

    fn write(&mut self, x: usize, y: usize, text: &str, color: &'static str) {
        text.chars().enumerate().for_each(|(n, char)| self.set(x + n, y, char, color));
    }

    /// A part of a line. Lines of different boxes that cross are not joined.
    fn arm(&mut self, (x, y): (i32, i32), arms: u8, owner: usize, is_solid: bool) {
        let Some(cell) = self.cells.get_mut(y as usize * self.width + x as usize) else { return };
        let is_crossing = cell.arms != 0 && cell.owner != owner;
        cell.arms = match is_crossing {
            true if arms & (UP | DOWN) != 0 => UP | DOWN,
            true => cell.arms,
            false => cell.arms | arms,
        };
        if !is_crossing {
            cell.owner = owner;
        }
        cell.char = line_char(cell.arms, is_solid);
        cell.color = "";
    }

    fn to_text(&self, has_colors: bool) -> String {
        let mut text = String::with_capacity(self.cells.len() * 2);
        for row in self.cells.chunks(self.width) {
            let n_shown = row.iter().rposition(|cell| cell.char != ' ').map_or(0, |last| last + 1);
            let mut color = "";
            for cell in &row[..n_shown] {
                if has_colors && cell.color != color {
                    text.push_str(if cell.color.is_empty() { "" } else { RESET });
                    text.push_str(if cell.color.is_empty() { RESET } else { cell.color });
                    color = cell.color;
                }
                text.push(cell.char);
            }
            text.push_str(if color.is_empty() { "\n" } else { "\x1b[0m\n" });
        }
        text
    }
}

fn line_char(arms: u8, is_solid: bool) -> char {
    const CHARS: [char; 16] = [' ', '│', '│', '│', '─', '┘', '┐', '┤', '─', '└', '┌', '├', '─', '┴', '┬', '┼'];
    match CHARS[usize::from(arms & 15)] {
        '│' if !is_solid => '┊',
        '─' if !is_solid => '┄',
        char => char,
    }
}

fn paint(graph: &StageGraph, faces: &[Vec<FaceLine>], drawn: &Layout, window: Window) -> String {
    let (width, height) = (drawn.width.max(1) as usize, drawn.height as usize);
    let blank = Cell { char: ' ', color: "", arms: 0, owner: 0 };
    let mut canvas = Canvas { width, cells: vec![blank; width * height] };
    for route in &drawn.routes {
        paint_line(&mut canvas, route);
    }
    for ((stage, face), place) in graph.stages.iter().zip(faces).zip(&drawn.boxes) {
        paint_box(&mut canvas, stage, face, *place);
    }
    for route in &drawn.routes {
        paint_ends(&mut canvas, route, drawn);
    }
    canvas.to_text(window.has_colors)
}

fn paint_line(canvas: &mut Canvas, route: &Route) {
    for pair in route.points.windows(2) {
        let [(x1, y1), (x2, y2)] = [pair[0], pair[1]];
        let mut arm = |at, arms| canvas.arm(at, arms, route.from, route.is_solid);
        if x1 == x2 {
            for y in y1..=y2 {
                let arms = if y > y1 { UP } else { 0 } | if y < y2 { DOWN } else { 0 };
                // A line that is as long as a cell goes through it.
                arm((x1, y), if y1 == y2 { UP | DOWN } else { arms });
            }
        } else {
            let (first, last) = (x1.min(x2), x1.max(x2));
            for x in first..=last {
                arm((x, y1), if x > first { LEFT } else { 0 } | if x < last { RIGHT } else { 0 });
            }
        }
    }
}

fn paint_box(canvas: &mut Canvas, stage: &Stage, face: &[FaceLine], place: Place) {
    let (x, y, width) = (place.x as usize, place.y as usize, place.width as usize);
    let color = if stage.is_reached { "" } else { FAINT };
    let (bar, post) = if stage.is_reached { ("─", '│') } else { ("╌", '╎') };
    let bar = bar.repeat(width - 2);
    canvas.write(x, y, &format!("┌{bar}┐"), color);
    let inner = width - 2 * PADDING;
    for (n, line) in face.iter().enumerate() {
        let (left, right) = line.fitted(inner);
        canvas.set(x, y + 1 + n, post, color);
        canvas.write(x + 1, y + 1 + n, &" ".repeat(width - 2), "");
        canvas.write(x + PADDING, y + 1 + n, &left, tone_color(line.tone, stage.is_reached));
        let n_right = right.chars().count();
        canvas.write(x + PADDING + inner - n_right, y + 1 + n, &right, FAINT);
        canvas.set(x + width - 1, y + 1 + n, post, color);
    }
    canvas.write(x, y + 1 + face.len(), &format!("└{bar}┘"), color);
}

/// Where lines leave and enter boxes.
fn paint_ends(canvas: &mut Canvas, route: &Route, drawn: &Layout) {
    let (Some(first), Some(last)) = (route.points.first(), route.points.last()) else { return };
    let from = drawn.boxes[route.from];
    if first.1 == from.y + from.height - 1 && (from.x..from.x + from.width).contains(&first.0) {
        canvas.set(first.0 as usize, first.1 as usize, '┬', "");
    }
    if route.ends {
        canvas.set(last.0 as usize, last.1 as usize, '▼', "");
    }
}

fn tone_color(tone: Tone, is_reached: bool) -> &'static str {
    match tone {
        _ if !is_reached => FAINT,
        Tone::Title => BOLD,
        Tone::Base => FAINT,
        Tone::Step(None | Some(StepState::Canceled)) => "",
        Tone::Step(Some(StepState::Hit)) => BLUE,
        Tone::Step(Some(StepState::Ran)) => GREEN,
        Tone::Step(Some(StepState::Failed)) => RED,
    }
}

/// Stages below each other, each with what it uses.
fn list(graph: &StageGraph, faces: &[Vec<FaceLine>], window: Window) -> String {
    let mut uses = vec![Vec::new(); graph.stages.len()];
    for edge in graph.edges() {
        let verb = if edge.is_base { "FROM" } else { "copies from" };
        uses[edge.to].push(format!("{verb} {}", one_line(&graph.stages[edge.from].name)));
    }
    let mut text = String::new();
    for ((stage, face), uses) in graph.stages.iter().zip(faces).zip(&uses) {
        let mut line = |prefix: &str, content: &str, color: &str| {
            let content = shortened(content, window.width.saturating_sub(prefix.chars().count()));
            let _ = match window.has_colors && !color.is_empty() {
                true => writeln!(text, "{prefix}{color}{content}{RESET}"),
                false => writeln!(text, "{prefix}{content}"),
            };
        };
        for (n, shown) in face.iter().enumerate() {
            let content = [shown.left.as_str(), shown.right.as_str()].join("  ");
            let prefix = if n == 0 { "┌ " } else { "│ " };
            line(prefix, content.trim_end(), tone_color(shown.tone, stage.is_reached));
        }
        match uses.is_empty() {
            true => line("└", "", ""),
            false => line("└ ", &uses.join(", "), FAINT),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples;

    fn drawn(graph: &StageGraph, width: usize) -> String {
        terminal(graph, Window { width, has_colors: false })
    }

    #[test]
    fn stages_are_boxes_with_lines_between_them() {
        insta::assert_snapshot!(drawn(&examples::rails(), 100));
    }

    #[test]
    fn a_narrow_window_gets_a_list() {
        let text = drawn(&examples::rails(), 30);
        assert!(text.lines().all(|line| line.chars().count() <= 30), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn every_width_is_kept_and_none_panics() {
        for width in 0..120 {
            let text = drawn(&examples::rails(), width);
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= width.max(3), "{width}: {widest}");
        }
    }

    #[test]
    fn colors_end_with_their_lines() {
        let text = terminal(&examples::rails(), Window { width: 100, has_colors: true });
        for line in text.lines() {
            let last = line.rfind("\x1b[").map(|at| &line[at..]);
            assert!(last.is_none_or(|rest| rest.starts_with(RESET)), "{line:?}");
        }
    }

    #[test]
    fn large_graphs_are_drawn_too() {
        for graph in [examples::chain(10_000), examples::fan(10_000), examples::tall(10_000)] {
            let n_steps: usize = graph.stages.iter().map(|stage| stage.steps.len()).sum();
            assert!(drawn(&graph, 80).lines().count() >= n_steps);
        }
    }
}
