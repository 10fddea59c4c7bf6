//! What stands in the box of a stage, line by line; the same in the terminal and in SVG.

use crate::stages::{Provider, Stage, StageGraph, StepState};

/// How a line is meant; who draws has a colour for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Title,
    Base,
    Step(Option<StepState>),
}

/// A line of a box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FaceLine {
    pub(crate) left: String,
    /// At the right edge.
    pub(crate) right: String,
    pub(crate) tone: Tone,
}

impl FaceLine {
    /// How many characters it needs.
    fn width(&self) -> usize {
        let right = if self.right.is_empty() { 0 } else { self.right.chars().count() + 2 };
        self.left.chars().count() + right
    }

    /// Both parts in `width` characters: what is too long of the left one is cut.
    pub(crate) fn fitted(&self, width: usize) -> (String, String) {
        let n_right = self.right.chars().count();
        if n_right + 4 > width {
            return (shortened(&self.left, width), String::new());
        }
        let room = if n_right == 0 { width } else { width - n_right - 2 };
        (shortened(&self.left, room), self.right.clone())
    }
}

/// The lines for a stage.
pub(crate) fn face(graph: &StageGraph, stage: &Stage) -> Vec<FaceLine> {
    let remark = match (stage.is_target, stage.is_reached) {
        (true, _) => " (target)",
        (false, true) => "",
        (false, false) => " (not reached)",
    };
    let title = format!("{}{remark}", one_line(&stage.name));
    let mut lines = vec![FaceLine { left: title, right: stage.measure(), tone: Tone::Title }];
    if !matches!(stage.base, Provider::Stage(_)) {
        let left = format!("FROM {}", one_line(graph.name_of(&stage.base)));
        lines.push(FaceLine { left, right: String::new(), tone: Tone::Base });
    }
    let step = |step: &crate::Step| FaceLine {
        left: format!("{} {}", StepState::mark(step.state), one_line(&step.text)),
        right: step.measure(),
        tone: Tone::Step(step.state),
    };
    lines.extend(stage.steps.iter().map(step));
    lines
}

/// How wide the lines want to be.
pub(crate) fn width(lines: &[FaceLine]) -> usize {
    lines.iter().map(FaceLine::width).max().unwrap_or(0)
}

/// `text` with no more than `width` characters.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        Some(_) => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

/// Without line ends and whatever else controls a terminal.
pub(crate) fn one_line(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_and_control_nothing() {
        let line = FaceLine { left: "RUN make everything".into(), right: "1.2s".into(), tone: Tone::Base };
        assert_eq!(line.width(), 25);
        assert_eq!(line.fitted(16), ("RUN make …".to_owned(), "1.2s".to_owned()));
        assert_eq!(line.fitted(7), ("RUN ma…".to_owned(), String::new()));
        assert_eq!(line.fitted(0), ("…".to_owned(), String::new()));
        assert_eq!(one_line("RUN a\n\t b\x1b[2J"), "RUN a b [2J");
    }
}
