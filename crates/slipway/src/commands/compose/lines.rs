//! How the lines of several containers are told apart: by a name before each, in a colour of its own.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use jiff::Timestamp;
use rustix::stdio::stdout;
use rustix::termios::isatty;

use crate::containers::log::Stream;
use crate::env_vars;

/// Cyan, yellow, green, magenta, blue, and the same brighter (ECMA-48, SGR).
const COLORS: [u8; 10] = [36, 33, 32, 35, 34, 96, 93, 92, 95, 94];

/// How lines are shown.
pub(super) struct Style {
    pub(super) has_prefix: bool,
    pub(super) has_color: bool,
    pub(super) has_time: bool,
}

impl Style {
    /// Colours are for people who look on, unless `wants_color` or they say something else.
    pub(super) fn of_flags(no_log_prefix: bool, no_color: bool, timestamps: bool, wants_color: Option<bool>) -> Style {
        let is_seen = || isatty(stdout()) && env_vars::NO_COLOR.get_os().is_none();
        let has_color = !no_color && wants_color.unwrap_or_else(is_seen);
        Style { has_prefix: !no_log_prefix, has_color, has_time: timestamps }
    }
}

/// Writes lines with the names of their containers, which are known beforehand.
pub(super) struct Lines {
    style: Style,
    /// By container: what stands before its lines.
    prefixes: BTreeMap<String, String>,
}

impl Lines {
    /// `names` are containers with what people call them.
    pub(super) fn new(style: Style, names: &[(String, String)]) -> Lines {
        let width = names.iter().map(|(_, label)| label.chars().count()).max().unwrap_or(0) + 1;
        let prefix = |(index, (container, label)): (usize, &(String, String))| {
            let text = format!("{label:<width$} | ");
            let color = COLORS[index % COLORS.len()];
            (container.clone(), if style.has_color { format!("\x1b[{color}m{text}\x1b[0m") } else { text })
        };
        let prefixes = names.iter().enumerate().map(prefix).collect();
        Lines { style, prefixes }
    }

    /// Whether the lines of this container are to be shown.
    pub(super) fn shows(&self, container: &str) -> bool {
        self.prefixes.contains_key(container)
    }

    pub(super) fn line(&self, container: &str, stream: Stream, time: Timestamp, text: &str) -> io::Result<()> {
        let Some(prefix) = self.prefixes.get(container) else { return Ok(()) };
        let prefix = if self.style.has_prefix { prefix.as_str() } else { "" };
        let time = if self.style.has_time { format!("{time} ") } else { String::new() };
        let line = format!("{prefix}{time}{}\n", text.trim_end_matches('\n'));
        match stream {
            Stream::Stdout => io::stdout().write_all(line.as_bytes()),
            Stream::Stderr => io::stderr().write_all(line.as_bytes()),
        }
    }
}

/// What people call a container: without the project's name, if it was not given a name of its own.
pub(super) fn label(project: &str, container: &str) -> String {
    let rest = container.strip_prefix(project).and_then(|rest| rest.strip_prefix(['-', '_']));
    rest.unwrap_or(container).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_project_and_are_filled_up() {
        assert_eq!(label("shop", "shop-web-1"), "web-1");
        assert_eq!(label("shop", "thedb"), "thedb");
        let style = Style { has_prefix: true, has_color: false, has_time: false };
        let names = [("p-web-1".to_owned(), "web-1".to_owned()), ("p-database-1".to_owned(), "database-1".to_owned())];
        let lines = Lines::new(style, &names);
        assert_eq!(lines.prefixes["p-web-1"], "web-1       | ");
        assert!(lines.shows("p-database-1") && !lines.shows("other"));
    }
}
