//! The flags of what looks at builds that are over: `builds` and `explain`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What can be asked about builds that are over. Builds are named by the beginning of an id or `^N`, the N-th before
/// the newest.
#[derive(Debug, Subcommand)]
pub(crate) enum BuildsCommand {
    /// List builds, the newest first
    #[command(name = "ls", alias = "list")]
    List {
        /// How to write it: table, json, or a Go template
        #[arg(long, default_value = "table")]
        format: String,
        /// Which ones: ref=, repository=, status= (also !=), startedAt>, completedAt>, duration> (also >=, <, <=)
        #[arg(long = "filter", value_name = "FILTER")]
        filters: Vec<String>,
        /// Accepted for scripts: there are no others
        #[arg(long, hide = true)]
        local: bool,
        /// Do not shorten names
        #[arg(long)]
        no_trunc: bool,
    },
    /// Show what was asked for, what came of it, and how long each step took
    #[command(args_conflicts_with_subcommands = true)]
    Inspect {
        build: Option<String>,
        /// How to write it: pretty, json, or a Go template
        #[arg(long, default_value = "pretty")]
        format: String,
        #[command(subcommand)]
        part: Option<InspectCommand>,
    },
    /// Show what the steps of a build wrote; of one step, its output alone
    Logs {
        build: Option<String>,
        /// Its number, or a part of its name
        step: Option<String>,
        /// Type of progress output (plain, rawjson, tty)
        #[arg(long, default_value = "plain")]
        progress: String,
    },
    /// Print a build as spans of OpenTelemetry (OTLP in JSON)
    Trace {
        build: Option<String>,
        /// Another build beside it
        #[arg(long, value_name = "BUILD")]
        compare: Option<String>,
    },
    /// Write a page about a build for a browser, and say its address
    Open { build: Option<String> },
    /// Write builds into a file, for another machine; the newest if none is named
    Export {
        builds: Vec<String>,
        /// All builds that are remembered
        #[arg(long)]
        all: bool,
        /// The file to write
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Accepted for scripts: what is remembered does not change any more
        #[arg(long, hide = true)]
        finalize: bool,
    },
    /// Take in builds of another machine
    Import {
        /// A file that `export` wrote; standard input if none is named
        #[arg(short, long = "file", value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Standard input
        #[arg(value_parser = ["-"], hide = true)]
        stdin: Option<String>,
    },
    /// Forget builds
    #[command(name = "rm")]
    Remove {
        builds: Vec<String>,
        /// Forget all of them
        #[arg(long)]
        all: bool,
    },
}

/// A part of what is known of a build.
#[derive(Debug, Subcommand)]
pub(crate) enum InspectCommand {
    /// Print a document that the build made
    Attachment {
        build: Option<String>,
        digest: Option<String>,
        /// Of several, the one for this platform
        #[arg(long)]
        platform: Option<String>,
        /// Which one: index, manifest, image, or its media type
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
    },
}

/// The flags of `explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The beginning of an id, or `^N`: the N-th before the newest; the newest if not given
    pub(crate) build: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
