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
    list: Option<String>,
    /// The same as --list=targets
    #[arg(long, hide = true)]
    list_targets: bool,
    /// The same as --list=variables
    #[arg(long, hide = true)]
    list_variables: bool,
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
    #[arg(long, overrides_with = "check")]
    call: Option<String>,
    /// Shorthand for --call=check
    #[arg(long, overrides_with = "call")]
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

/// How all targets are evaluated: `--call=NAME[,format=json][,ignorestatus=BOOL]`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CallFlag {
    /// May be empty, which is a build.
    name: String,
    pub(crate) is_json: bool,
    /// All fields but the name, as `build --call` takes them.
    pub(crate) fields: String,
}

impl CallFlag {
    fn parse(text: &str) -> Result<CallFlag, String> {
        let mut call = CallFlag::default();
        for field in text.split(',') {
            match field.split_once('=') {
                Some(("format", format)) => {
                    call.is_json = format == "json";
                    call.fields += &format!(",{field}");
                }
                Some(("ignorestatus", value)) => {
                    go_bool(value).map_err(|_| format!("invalid ignorestatus print value: {value}"))?;
                    call.fields += &format!(",{field}");
                }
                Some(_) => return Err(format!("invalid print field: {field}")),
                None if !call.name.is_empty() => return Err(format!("invalid print value: {text}")),
                None if field == "check" => call.name = "lint".to_owned(),
                None => call.name = field.to_owned(),
            }
        }
        Ok(call)
    }
}

/// What `--list` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListFlag {
    pub(crate) of_variables: bool,
    pub(crate) as_json: bool,
}

impl ListFlag {
    /// `targets`, `variables`, or `type=…,format=table|json`.
    fn parse(text: &str) -> Result<ListFlag, String> {
        let (mut kind, mut format) = (text, "table");
        if text.contains(',') || text.starts_with("type=") {
            kind = "";
            for field in text.split(',') {
                let (name, value) = field.split_once('=').ok_or_else(|| format!("invalid value {field}"))?;
                match name.trim().to_lowercase().as_str() {
                    "type" => kind = value,
                    "format" => format = value,
                    name => return Err(format!("unexpected key '{name}' in '{field}'")),
                }
            }
        }
        let of_variables = match kind {
            "targets" => false,
            "variables" => true,
            _ => return Err(format!("invalid list type {kind:?}")),
        };
        match format {
            "table" | "" => Ok(ListFlag { of_variables, as_json: false }),
            "json" => Ok(ListFlag { of_variables, as_json: true }),
            _ => Err(format!("invalid list format {format:?}")),
        }
    }
}

impl BakeArgs {
    /// What is to be listed, if anything.
    pub(crate) fn list(&self) -> Result<Option<ListFlag>, String> {
        match self.list.as_deref() {
            None if self.list_targets => Ok(Some(ListFlag { of_variables: false, as_json: false })),
            None if self.list_variables => Ok(Some(ListFlag { of_variables: true, as_json: false })),
            None | Some("") => Ok(None),
            Some(list) => ListFlag::parse(list).map(Some),
        }
    }

    /// What is said about a flag that has another spelling today.
    pub(crate) fn deprecation(&self) -> Option<String> {
        let what = match (self.list_targets, self.list_variables) {
            (true, _) => "targets",
            (_, true) => "variables",
            _ => return None,
        };
        Some(format!("Flag --list-{what} has been deprecated, list-{what} is deprecated, use list={what} instead\n"))
    }

    /// How targets are evaluated, if a flag says so.
    pub(crate) fn call(&self) -> Result<Option<CallFlag>, String> {
        match self.call.as_deref() {
            _ if self.check => CallFlag::parse("check").map(Some),
            None | Some("") => Ok(None),
            Some(text) => CallFlag::parse(text).map(Some),
        }
    }

    /// All that is to be set: what the user typed, then what other flags stand for.
    pub(crate) fn overrides(&self, call: Option<&CallFlag>) -> Vec<String> {
        let mut sets = self.sets.clone();
        let mut add = |text: String| sets.push(format!("*.{text}"));
        if self.push {
            add("push=true".to_owned());
        }
        if self.load {
            add("load=true".to_owned());
        }
        if let Some(call) = call {
            add(format!("call={}", call.name));
        }
        if let Some(value) = self.no_cache {
            add(format!("no-cache={value}"));
        }
        if let Some(value) = self.pull {
            add(format!("pull={value}"));
        }
        for (kind, value) in [("sbom", &self.sbom), ("provenance", &self.provenance)] {
            let Some(value) = value.as_ref().filter(|value| !value.is_empty()) else { continue };
            match go_bool(value) {
                Ok(true) => add(format!("attest=type={kind}")),
                Ok(false) => add(format!("attest=type={kind},disabled=true")),
                Err(_) => add(format!("attest=type={kind},{value}")),
            }
        }
        sets
    }
}
