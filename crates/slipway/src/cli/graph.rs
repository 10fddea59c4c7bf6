//! The flags of `graph`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// The flags of `graph`.
#[derive(Debug, Args)]
pub(crate) struct GraphArgs {
    /// Where the files of the build are
    #[arg(value_name = "PATH | URL", default_value = ".", hide_default_value = true)]
    pub(crate) context: String,
    /// Name of the Dockerfile (default: PATH/Dockerfile)
    #[arg(short = 'f', long, default_value = "", hide_default_value = true)]
    pub(crate) file: String,
    /// The stage that is to be built; the last one if not given
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) target: String,
    /// Set build-time variables
    #[arg(long = "build-arg")]
    pub(crate) build_args: Vec<String>,
    /// Additional build contexts (name=path)
    #[arg(long = "build-context")]
    pub(crate) build_contexts: Vec<String>,
    /// How to draw
    #[arg(long, value_enum, default_value_t = GraphFormat::Terminal, hide_default_value = true)]
    pub(crate) format: GraphFormat,
    /// Write into a file instead of to standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// What the stages become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// Boxes of characters
    Terminal,
    /// A picture
    Svg,
    /// A flowchart for pages that draw Mermaid
    Mermaid,
    /// A digraph for Graphviz
    Dot,
    /// For programs
    Json,
}
