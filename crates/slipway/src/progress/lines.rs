//! Lines of a picture, fitted to the window.

use std::time::Duration;

use super::control_sequences::cut;

/// In front of each line that a step wrote.
pub(super) const LOG_INDENT: &str = " => => # ";

/// A line of the picture before it is fitted to the terminal.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) time: Option<Duration>,
    pub(super) tone: Tone,
    /// What is left out first if the window is too low.
    pub(super) is_detail: bool,
}

/// What a colour stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Done,
    Failed,
    Canceled,
    Title,
    Faint,
}

impl Tone {
    fn color(self) -> Option<&'static str> {
        match self {
            Tone::Plain => None,
            Tone::Done => Some("\x1b[34m"),
            Tone::Failed => Some("\x1b[31m"),
            Tone::Canceled => Some("\x1b[33m"),
            Tone::Title => Some("\x1b[1m"),
            Tone::Faint => Some("\x1b[2m"),
        }
    }
}

impl Line {
    pub(super) fn important(text: String) -> Line {
        Line { text, time: None, tone: Tone::Plain, is_detail: false }
    }

    pub(super) fn detail(text: String, tone: Tone) -> Line {
        Line { text, time: None, tone, is_detail: true }
    }

    /// How many columns it takes of a window that has `width`.
    pub(super) fn n_columns(&self, width: usize) -> usize {
        if self.time.is_some() { width } else { cut(&self.text, width).1 }
    }

    /// As wide as the terminal: the text cut, the time at the right edge.
    pub(super) fn fitted(&self, width: usize, has_colors: bool) -> String {
        let time = self.time.map(|time| format!(" {:.1}s", time.as_secs_f64())).unwrap_or_default();
        let n_left = width.saturating_sub(time.len());
        let (mut text, n_shown) = cut(&self.text, n_left);
        if !time.is_empty() && n_left > 0 {
            text.extend(std::iter::repeat_n(' ', n_left - n_shown));
            text += &time;
        }
        match self.tone.color() {
            Some(color) if has_colors => format!("{color}{text}\x1b[0m"),
            _ => text,
        }
    }
}

/// Leaves out details, the oldest first, then whole rows, until the picture fits below one free line.
pub(super) fn fit_height(mut lines: Vec<Line>, height: usize) -> Vec<Line> {
    let n_max = height.saturating_sub(1).max(2);
    let mut n_excess = lines.len().saturating_sub(n_max);
    let mut is_header = true;
    lines.retain(|line| {
        let goes = !is_header && line.is_detail && n_excess > 0;
        is_header = false;
        n_excess -= usize::from(goes);
        !goes
    });
    lines.truncate(n_max);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_can_be_left_out() {
        let line = Line::detail(" => x".to_owned(), Tone::Done);
        assert_eq!(line.fitted(80, true), "\x1b[34m => x\x1b[0m");
        assert_eq!(line.fitted(80, false), " => x");
    }
}
