//! The flags of `bake` (`spec/bake.md` section 1).

use clap::Args;

use super::go_bool;

/// The flags of `bake`.
#[derive(Debug, Args)]
pub(crate) struct BakeArgs {
    /// Targets and groups to build; patterns with `*` and `?` are allowed
    #[arg(value_name = "TARGET")]
    pub(crate) targets: Vec<String>,
    /// Build again whenever a file changes that a target reads; only the targets that it touches
    #[arg(long)]
    pub(crate) watch: bool,
    /// Of the targets, only these; what --watch says to itself
    #[arg(long, hide = true)]
    pub(crate) only: Vec<String>,
    /// Build definition file
    #[arg(short = 'f', long = "file")]
    pub(crate) files: Vec<String>,
    /// Override target value (e.g., "targetpattern.key=value")
    #[arg(long = "set")]
    sets: Vec<String>,
    /// Set a variable value (e.g., "name=value")
    #[arg(long = "var")]
    pub(crate) variables: Vec<String>,
    /// Print the options without building
    #[arg(long)]
    pub(crate) print: bool,
    /// List targets or variables
    #[arg(long)]
    pub(crate) list: Option<String>,
    /// Shorthand for --set=*.output=type=registry
    #[arg(long)]
    push: bool,
    /// Shorthand for --set=*.output=type=docker
    #[arg(long)]
    load: bool,
    /// Do not use results of earlier builds
    #[arg(long)]
    no_cache: Option<bool>,
    /// Always ask the registry for base images
    #[arg(long)]
    pull: Option<bool>,
    /// Shorthand for --set=*.attest=type=provenance
    #[arg(long)]
    provenance: Option<String>,
    /// Shorthand for --set=*.attest=type=sbom
    #[arg(long)]
    sbom: Option<String>,
    /// Method for evaluating the builds (build, check, outline, targets)
    #[arg(long)]
    call: Option<String>,
    /// Shorthand for --call=check
    #[arg(long)]
    check: bool,
    /// Allow builds to access specified resources
    #[arg(long = "allow")]
    pub(crate) allow: Vec<String>,
    /// Write build result metadata to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata_file: Option<String>,
    /// Type of progress output (auto, none, plain, quiet, rawjson, tty)
    #[arg(long, default_value = "auto")]
    pub(crate) progress: String,
    /// Write what names stand for into slipway.lock beside each Dockerfile; what is there stays
    #[arg(long)]
    pub(crate) lock: bool,
    /// Take names as slipway.lock has them, and fail if it lacks one
    #[arg(long)]
    pub(crate) locked: bool,
    /// Build without a network from what is in the store, or list what is missing
    #[arg(long)]
    pub(crate) offline: bool,
    /// Say at the end what the builds came to, also with plain progress
    #[arg(long)]
    pub(crate) summary: bool,
    /// Give RUN steps a terminal to write to while the screen is drawn (also SLIPWAY_RUN_TTY=1)
    #[arg(long)]
    pub(crate) run_tty: bool,
}

impl BakeArgs {
    /// All that is to be set: what the user typed, then what other flags stand for.
    pub(crate) fn overrides(&self) -> Vec<String> {
        let mut sets = self.sets.clone();
        let mut add = |text: String| sets.push(format!("*.{text}"));
        if self.push {
            add("push=true".to_owned());
        }
        if self.load {
            add("load=true".to_owned());
        }
        match self.call.as_deref() {
            _ if self.check => add("call=lint".to_owned()),
            Some("check") => add("call=lint".to_owned()),
            Some(call) => add(format!("call={call}")),
            None => {}
        }
        if let Some(value) = self.no_cache {
            add(format!("no-cache={value}"));
        }
        if let Some(value) = self.pull {
            add(format!("pull={value}"));
        }
        for (kind, value) in [("sbom", &self.sbom), ("provenance", &self.provenance)] {
            let Some(value) = value else { continue };
            match go_bool(value) {
                Ok(true) => add(format!("attest=type={kind}")),
                Ok(false) => add(format!("attest=type={kind},disabled=true")),
                Err(_) => add(format!("attest=type={kind},{value}")),
            }
        }
        sets
    }
}
