//! The flags of `analyze` and `dive` (`spec/analyze.md` section 1).

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use slipway_analyze::Compat;

use super::build::BuildArgs;

/// The flags of `analyze`.
#[derive(Debug, Args)]
pub(crate) struct AnalyzeArgs {
    /// An image: a name, a docker archive or OCI layout; or two, to see what grew
    ///
    /// A name is looked for in the store, then taken as a path, then asked of its registry. `docker://`, `podman://`,
    /// `docker-archive://`, `oci-layout://` and `registry://` in front of it say where it is.
    #[arg(value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
    /// Where the image is (docker, podman, docker-archive, oci-layout, registry)
    #[arg(long)]
    pub(crate) source: Option<String>,
    /// Of an image for several platforms, the one for this
    #[arg(long)]
    pub(crate) platform: Option<String>,
    /// The Dockerfile of an image that was built elsewhere, to find out which line made each layer
    #[arg(short, long, value_name = "DOCKERFILE")]
    pub(crate) file: Option<PathBuf>,
    /// With --file: the stage that the image is; the last one if not given
    #[arg(long, requires = "file")]
    pub(crate) target: Option<String>,
    /// With --file: build-time variables that the image was built with
    #[arg(long = "build-arg", value_name = "NAME=VALUE", requires = "file", value_parser = name_and_value)]
    pub(crate) build_args: Vec<(String, String)>,
    /// Take layers that break off as far as they go
    #[arg(short, long)]
    pub(crate) ignore_errors: Option<bool>,
    /// Write what was found to a file for programs
    #[arg(short, long, value_name = "PATH")]
    pub(crate) json: Option<String>,
    /// The same, with more numbers than `dive` has
    #[arg(long, value_name = "PATH", conflicts_with = "json")]
    pub(crate) json_extended: Option<String>,
    /// Evaluate the rules, and fail if one of them fails; the same as CI=true in the environment
    #[arg(long)]
    pub(crate) ci: Option<bool>,
    /// File with the values of the rules [default: .dive-ci]
    #[arg(long, value_name = "PATH")]
    pub(crate) ci_config: Option<String>,
    /// Lowest share of the image that is needed, from 0 to 1 [default: 0.9]
    #[arg(long = "lowestEfficiency", value_name = "SHARE")]
    pub(crate) lowest_efficiency: Option<String>,
    /// Most bytes that may be wasted (20MB) [default: disabled]
    #[arg(long = "highestWastedBytes", value_name = "SIZE")]
    pub(crate) highest_wasted_bytes: Option<String>,
    /// Highest share of what is not of the first layer that may be wasted, from 0 to 1 [default: 0.1]
    #[arg(long = "highestUserWastedPercent", value_name = "SHARE")]
    pub(crate) highest_user_wasted_percent: Option<String>,
    /// File with settings
    #[arg(short, long, value_name = "PATH")]
    pub(crate) config: Option<String>,
    /// How near to dive's own numbers
    #[arg(long, value_enum, default_value = "corrected")]
    pub(crate) dive_compat: CompatFlag,
    /// Print a report, also on a terminal
    #[arg(long)]
    pub(crate) report: bool,
    /// Say nothing about what is being done
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Option<AnalyzeCommand>,
}

fn name_and_value(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[derive(Debug, Subcommand)]
pub(crate) enum AnalyzeCommand {
    /// Build an image, and analyze it
    Build(Box<BuildArgs>),
    /// Print the settings that are in force, as a settings file
    Config {
        /// Accepted for scripts: settings are always read
        #[arg(long, hide = true)]
        load: bool,
        /// File with settings
        #[arg(short, long, value_name = "PATH")]
        config: Option<String>,
    },
    /// Print the version
    Version {
        /// How to print it
        #[arg(short, long, value_enum, default_value_t = VersionFormat::Text, hide_default_value = true)]
        output: VersionFormat,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VersionFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompatFlag {
    /// Without its mistakes
    Corrected,
    /// With them
    Strict,
}

impl From<CompatFlag> for Compat {
    fn from(flag: CompatFlag) -> Compat {
        match flag {
            CompatFlag::Corrected => Compat::Corrected,
            CompatFlag::Strict => Compat::Strict,
        }
    }
}
