//! The flags of `sizes`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// The flags of `sizes`.
#[derive(Debug, Args)]
pub(crate) struct SizesArgs {
    /// The folder with the files of the build
    #[arg(value_name = "PATH", default_value = ".", hide_default_value = true)]
    pub(crate) context: String,
    /// Name of the Dockerfile (default: PATH/Dockerfile)
    #[arg(short = 'f', long, default_value = "", hide_default_value = true)]
    pub(crate) file: String,
    /// Set build-time variables
    #[arg(long = "build-arg")]
    pub(crate) build_args: Vec<String>,
    /// Additional build contexts (name=path)
    #[arg(long = "build-context")]
    pub(crate) build_contexts: Vec<String>,
    /// Secret to expose to the builds (id=mysecret[,src=/local/secret])
    #[arg(long = "secret")]
    pub(crate) secrets: Vec<String>,
    /// SSH agent socket or keys to expose to the builds
    #[arg(long = "ssh")]
    pub(crate) ssh: Vec<String>,
    /// Networking mode for RUN instructions (default, none, host)
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) network: String,
    /// How to write the table
    #[arg(long, value_enum, default_value_t = SizesFormat::Table, hide_default_value = true)]
    pub(crate) format: SizesFormat,
    /// Write into a file instead of to standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Type of progress output (auto, none, plain, quiet, rawjson, tty)
    #[arg(long, default_value = "auto")]
    pub(crate) progress: String,
}

/// What the sizes become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SizesFormat {
    /// For people
    Table,
    /// For a page
    Markdown,
    /// For programs
    Json,
}
