//! What CI systems fold and mark in a log: groups of lines, and annotations at lines of files.
//!
//! Lines of steps begin with a number and a time (`#5 0.123 text`), so that nothing which a step writes is a command.

use std::time::{SystemTime, UNIX_EPOCH};

use slipway_engine::{BuildError, BuildFailure};
use slipway_graph::LineRange;
use slipway_graph::event::FileWarning;

use crate::env_vars;
use crate::report::headline;
use crate::workflow_command::command;

/// A system that reads marks in logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ci {
    GitHub,
    GitLab,
}

impl Ci {
    /// The one that this process runs in.
    pub(super) fn of_environment() -> Option<Ci> {
        if env_vars::GITHUB_ACTIONS.is_true() {
            return Some(Ci::GitHub);
        }
        env_vars::GITLAB_CI.is_true().then_some(Ci::GitLab)
    }

    /// The line that a group begins with. `number` tells it from other groups of the build.
    pub(super) fn begin(self, number: u32, title: &str) -> String {
        match self {
            Ci::GitHub => command("group", &[], title) + "\n",
            Ci::GitLab => format!(
                "\x1b[0Ksection_start:{}:slipway_{number}[collapsed=true]\r\x1b[0K{}\n",
                seconds(),
                title.replace(['\r', '\n', '\x1b'], " ")
            ),
        }
    }

    /// The line that it ends with.
    pub(super) fn end(self, number: u32) -> String {
        match self {
            Ci::GitHub => command("endgroup", &[], "") + "\n",
            Ci::GitLab => format!("\x1b[0Ksection_end:{}:slipway_{number}\r\x1b[0K\n", seconds()),
        }
    }

    /// A line that marks what a warning is about, where there is such a thing.
    pub(super) fn warning(self, warning: &FileWarning) -> Option<String> {
        let title = warning.short.split(':').next().unwrap_or_default();
        self.annotation("warning", &warning.path, Some(warning.lines), title, &warning.short)
    }

    /// A line that marks where a build failed.
    pub(super) fn failure(self, error: &BuildError) -> Option<String> {
        let lines = match &error.failure {
            BuildFailure::Dockerfile(diagnostics) => diagnostics.first().map(|first| first.lines),
            BuildFailure::Step { lines, .. } | BuildFailure::Panic { lines, .. } => *lines,
            BuildFailure::Canceled => return None,
            BuildFailure::Request(_) | BuildFailure::Other(_) => None,
        };
        let path = error.dockerfile.as_ref().map_or("", |file| file.path.as_str());
        self.annotation("error", path, lines, "Build failed", &headline(error))
    }

    fn annotation(self, level: &str, path: &str, lines: Option<LineRange>, title: &str, text: &str) -> Option<String> {
        if self != Ci::GitHub {
            return None;
        }
        let number = |line: fn(LineRange) -> usize| lines.map(|lines| line(lines).to_string()).unwrap_or_default();
        let (first, last) = (number(|lines| lines.first), number(|lines| lines.last));
        // A line means nothing without a file.
        let path = if lines.is_some() { path } else { "" };
        Some(command(level, &[("file", path), ("line", &first), ("endLine", &last), ("title", title)], text) + "\n")
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
