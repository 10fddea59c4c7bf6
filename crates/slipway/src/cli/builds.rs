//! The flags of what looks at builds that are over: `builds` and `explain`.

use clap::{Args, Subcommand};

/// What can be asked about builds that are over. Builds are named by the beginning of an id or `^N`, the N-th before
/// the newest.
#[derive(Debug, Subcommand)]
pub(crate) enum BuildsCommand {
    /// List builds, the newest first
    #[command(name = "ls", alias = "list")]
    List {
        #[arg(long, value_enum, default_value = "table")]
        format: ListFormat,
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
    Inspect {
        build: Option<String>,
        #[arg(long, value_enum, default_value = "pretty")]
        format: ListFormat,
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
    /// Not here: `slipway report` writes a page, which a browser opens
    #[command(hide = true, disable_help_flag = true)]
    Open {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Not here: records are in the store, and the page of `slipway report` can be given to others
    #[command(hide = true, disable_help_flag = true)]
    Export {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Not here: see `export`
    #[command(hide = true, disable_help_flag = true)]
    Import {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
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

/// How something is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ListFormat {
    /// For people
    #[value(alias = "pretty")]
    Table,
    /// For programs
    Json,
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
